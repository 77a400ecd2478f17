//! One sample of each experiment: start the engine, run the load, read the meters, end both.
//!
//! Two cores are assumed. For UDP and bulk the source has core 0 and the reader core 1. Round
//! trips stay on one core, reader included: across cores they measure how long a virtual machine
//! takes to wake an idle core, which is several times everything else.

use crate::Fault;
use crate::child::{Child, numbers};
use crate::engine::{self, Binaries, Engine, Hook};
use crate::world::World;
use serde_json::Value;

pub(crate) const SOURCE_CPU: usize = 0;
pub(crate) const READER_CPU: usize = 1;
/// What the saturated flood leaves the reader of its core.
const TAKEN_PERCENT: u8 = 80;
/// With so many packets waiting, the reader is the limit. The pauses of the saturated flood alone
/// leave a fifth of that.
const BACKLOG: u64 = 1_000;
pub(crate) const DELAY_RATE: u32 = 20_000;

/// How long each part of a sample takes, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    /// Before counting starts.
    pub(crate) warm: u64,
    /// While counting.
    pub(crate) run: u64,
    /// While delaying.
    pub(crate) delay: u64,
}

/// Everything a sample needs.
pub(crate) struct Bench<'a> {
    pub(crate) world: &'a World,
    pub(crate) binaries: &'a Binaries,
    pub(crate) lengths: Lengths,
    pub(crate) node_rules: Vec<String>,
    pub(crate) bridge_rules: Vec<String>,
}

/// Packets a second that reached the sink, and the engine's CPU for each of them.
pub(crate) struct Flood {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
    /// Whether packets piled up before the reader, so that the rate is the reader's.
    pub(crate) backlog: bool,
}

impl Bench<'_> {
    /// UDP flood, flat out. `saturated` leaves the reader 20 % of its core, so that the reader
    /// and not the source is what limits.
    pub(crate) fn flood(&self, engine: Engine, saturated: bool) -> Result<Flood, Fault> {
        let running = self.start(engine, Hook::Nodes, READER_CPU)?;
        let mut sink = self.load(SOURCE_CPU, &self.world.n2, "sink 10.77.0.2:9000")?;
        sink.wait_for(self.world, "ready", 2_000)?;
        let _taken = saturated.then(|| self.take_core()).transpose()?;
        let seconds = seconds(self.lengths.warm + self.lengths.run + 1_000);
        let source = format!("flood 10.77.0.1:39000 10.77.0.2:9000 {seconds}");
        let _source = self.load(SOURCE_CPU, &self.world.n1, &source)?;
        self.world.wait(self.lengths.warm)?;
        let [count, at, lost] = sink.ask(self.world)?;
        let cpu = running.cpu()?;
        self.world.wait(self.lengths.run)?;
        let [count_after, at_after, lost_after] = sink.ask(self.world)?;
        let cpu = running.cpu()? - cpu;
        let backlog = World::waiting_packets(&self.world.n2)? >= BACKLOG;
        if lost_after > lost {
            return Err("the sink itself lost packets: the machine is too busy to measure".into());
        }
        let packets = (count_after - count) as f64;
        if packets == 0.0 {
            return Err(format!("no packet arrived through `{}`", engine.title()).into());
        }
        drop(sink);
        running.stop(self.world)?;
        Ok(Flood {
            rate: packets * 1e9 / (at_after - at) as f64,
            cpu_us: cpu as f64 / packets / 1e3,
            backlog,
        })
    }

    /// TCP round trips of 200 bytes: p50 and p99 in microseconds.
    pub(crate) fn ping(&self, engine: Engine) -> Result<[f64; 2], Fault> {
        let running = self.start(engine, Hook::Nodes, SOURCE_CPU)?;
        let mut echo = self.load(SOURCE_CPU, &self.world.n2, "echo 10.77.0.2:9000")?;
        echo.wait_for(self.world, "ready", 2_000)?;
        let (warm, run) = (self.lengths.warm, self.lengths.run);
        let words = format!("ping 10.77.0.2:9000 {} {}", seconds(warm), seconds(run));
        let mut ping = self.load(SOURCE_CPU, &self.world.n1, &words)?;
        let printed = ping.finish(self.world, warm + run + 5_000)?;
        drop(echo);
        running.stop(self.world)?;
        match numbers(&printed)[..] {
            [p50, p99, count] if count > 0 => Ok([p50 as f64 / 1e3, p99 as f64 / 1e3]),
            _ => Err(format!("no round trips through `{}`", engine.title()).into()),
        }
    }

    /// One TCP stream over the bridge, in Gbit/s.
    pub(crate) fn bulk(&self, engine: Engine) -> Result<f64, Fault> {
        let running = self.start(engine, Hook::Bridge, READER_CPU)?;
        let mut drain = self.load(READER_CPU, &self.world.n2, "drain 10.78.0.2:9000")?;
        drain.wait_for(self.world, "ready", 2_000)?;
        let _pour = self.load(SOURCE_CPU, &self.world.n1, "pour 10.78.0.2:9000")?;
        self.world.wait(self.lengths.warm)?;
        let [bytes, at, _] = drain.ask(self.world)?;
        self.world.wait(self.lengths.run)?;
        let [bytes_after, at_after, _] = drain.ask(self.world)?;
        drop(drain);
        running.stop(self.world)?;
        Ok((bytes_after - bytes) as f64 * 8.0 / (at_after - at) as f64)
    }

    /// Lateness of a 10 ms delay at 20,000 packets a second, as raftq reports it: p50 and p99 in
    /// microseconds. `disturbed` puts a program that never sleeps on the reader's core.
    pub(crate) fn lateness(&self, disturbed: bool) -> Result<[f64; 2], Fault> {
        let table = engine::delay_table(self.world);
        let running =
            engine::start_raftq(self.world, self.binaries, Hook::Nodes, &table, READER_CPU)?;
        let mut sink = self.load(SOURCE_CPU, &self.world.n2, "sink 10.77.0.2:9000")?;
        sink.wait_for(self.world, "ready", 2_000)?;
        let _other =
            disturbed.then(|| self.load(READER_CPU, &self.world.n1, "spin 100")).transpose()?;
        let seconds = seconds(self.lengths.delay);
        let source = format!("flood 10.77.0.1:39000 10.77.0.2:9000 {seconds} --rate {DELAY_RATE}");
        let mut source = self.load(SOURCE_CPU, &self.world.n1, &source)?;
        source.finish(self.world, self.lengths.delay + 5_000)?;
        let printed = running.stop(self.world)?;
        let document: Value = serde_json::from_str(&printed)
            .map_err(|error| format!("raftq --json printed no JSON ({error}): {printed}"))?;
        find_lateness(&document)
            .ok_or_else(|| format!("no lateness of the delayed link in: {printed}").into())
    }

    fn start(&self, engine: Engine, hook: Hook, cpu: usize) -> Result<engine::Running, Fault> {
        let rules = match hook {
            Hook::Nodes => &self.node_rules,
            Hook::Bridge => &self.bridge_rules,
        };
        engine::start(engine, self.world, self.binaries, hook, rules, cpu)
    }

    fn load(&self, cpu: usize, netns: &str, words: &str) -> Result<Child, Fault> {
        Child::load(self.world, cpu, netns, words)
    }

    /// Takes most of the reader's core away, above every scheduling class a reader may have.
    fn take_core(&self) -> Result<Child, Fault> {
        let exe = std::env::current_exe()?;
        let exe = exe.to_str().ok_or("the path of raftq-bench is not UTF-8")?;
        let percent = TAKEN_PERCENT.to_string();
        Child::spawn(self.world, READER_CPU, &["chrt", "--fifo", "99", exe, "spin", &percent])
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

/// The lateness in raftq's document: the numbers `p50_us` and `p99_us` of one object. Only one
/// direction is delayed, and links without delay have nothing or null there.
pub(crate) fn find_lateness(value: &Value) -> Option<[f64; 2]> {
    match value {
        Value::Object(map) => {
            let number = |key: &str| map.get(key).and_then(Value::as_f64);
            match (number("p50_us"), number("p99_us")) {
                (Some(p50), Some(p99)) if p99 > 0.0 => Some([p50, p99]),
                _ => map.values().find_map(find_lateness),
            }
        }
        Value::Array(values) => values.iter().find_map(find_lateness),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lateness_is_found_on_the_link_that_has_one() {
        let document = json!({ "links": [
            { "from": "n2", "to": "n1", "lateness": null },
            { "from": "n1", "to": "n2", "lateness": { "p50_us": 8, "p99_us": 72.5 } },
        ]});
        assert_eq!(find_lateness(&document), Some([8.0, 72.5]));
        assert_eq!(find_lateness(&json!({ "links": [] })), None);
    }
}
