//! What stands in the way of the packets: nothing, the C loop, or raftq.
//!
//! All of them see the same packets at the same hook. The C loop gets the very firewall rules that
//! raftq installs, read back while raftq is attached, so that both pay for the same matches. It
//! runs twice: as such programs run, and under `SCHED_FIFO` as raftq does.

use crate::Fault;
use crate::child::Child;
use crate::clock::cpu_ns;
use crate::world::World;
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const PEER_PORT: u16 = 9000;
const ATTACH_MS: u64 = 10_000;
/// Each rule names a port of its own, none of them in use, so that every packet is compared with
/// all of them. They lie above the ports that the kernel gives to connecting sockets.
const RULES: u16 = 64;
const UNUSED_PORTS: u16 = 61_001;

/// Who reads the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Engine {
    /// No queue and no rules
    None,
    /// The accept-all loop on `libnetfilter_queue`
    C,
    /// The same under `SCHED_FIFO`
    CFifo,
    /// raftq with a table of 64 rules
    Raftq,
}

/// Where packets are queued.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// INPUT in both nodes' namespaces
    Nodes,
    /// FORWARD in the namespace of the bridge
    Bridge,
}

/// The two binaries that are compared.
pub(crate) struct Binaries {
    pub(crate) raftq: PathBuf,
    pub(crate) c: PathBuf,
}

/// An engine at work. Dropping it ends it; its rules go with it.
pub(crate) struct Running {
    child: Option<Child>,
    installed: Vec<String>,
}

impl Engine {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::C, Self::CFifo, Self::Raftq];

    /// As a column is headed.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::None => "no queue",
            Self::C => "C",
            Self::CFifo => "C, FIFO",
            Self::Raftq => "raftq",
        }
    }
}

impl Hook {
    /// The namespaces whose firewall is concerned.
    pub(crate) fn namespaces(self, world: &World) -> Vec<&str> {
        match self {
            Self::Nodes => vec![&world.n2, &world.n1],
            Self::Bridge => vec![&world.hub],
        }
    }

    /// The network of the addresses that traffic uses here.
    pub(crate) fn network(self) -> &'static str {
        match self {
            Self::Nodes => "10.77.0",
            Self::Bridge => "10.78.0",
        }
    }

    /// Rules as raftq would need them, for when raftq is not there to be copied.
    pub(crate) fn plain_rules(self) -> String {
        let (net, hook) = match self {
            Self::Nodes => (self.network(), "INPUT"),
            Self::Bridge => (self.network(), "FORWARD"),
        };
        let mut rules = String::from("*mangle\n");
        for (from, to) in [(1, 2), (2, 1)] {
            for proto in ["tcp", "udp"] {
                let _ = writeln!(
                    rules,
                    "-A {hook} -s {net}.{from}/32 -d {net}.{to}/32 -p {proto} -m multiport \
                     --ports {PEER_PORT} -j NFQUEUE --queue-num 7 --queue-bypass"
                );
            }
        }
        rules + "COMMIT\n"
    }

    fn cluster(self, world: &World) -> String {
        let mut text = String::from("cluster:\n  nodes:\n");
        for (number, netns) in [(1, &world.n1), (2, &world.n2)] {
            let at = format!("\"{}.{number}:{PEER_PORT}\"", self.network());
            let _ = match self {
                Self::Nodes => writeln!(text, "    n{number}: {{ at: {at}, netns: {netns} }}"),
                Self::Bridge => writeln!(text, "    n{number}: {at}"),
            };
        }
        text
    }
}

/// A table of 64 rules on every link, none of which matches the load.
pub(crate) fn long_table(hook: Hook, world: &World) -> String {
    let mut text = hook.cluster(world) + "rules:\n";
    for number in 0..RULES {
        let port = UNUSED_PORTS + number;
        let _ = writeln!(
            text,
            "  - {{ name: r{number}, between: [n1, n2], where: {{ port: {port} }}, do: drop, \
             optional: true }}"
        );
    }
    text
}

/// A table that delays one direction by 10 ms.
pub(crate) fn delay_table(world: &World) -> String {
    Hook::Nodes.cluster(world)
        + "rules:\n  - { name: late, from: n1, to: n2, do: { delay: 10ms } }\n"
}

/// Starts raftq with a table and waits until it is attached.
pub(crate) fn start_raftq(
    world: &World,
    binaries: &Binaries,
    hook: Hook,
    table: &str,
    cpu: usize,
) -> Result<Running, Fault> {
    let rules = world.file("rules.yaml", table)?;
    let [raftq, rules] = [word(&binaries.raftq)?, word(&rules)?];
    let mut words = match hook {
        Hook::Nodes => vec![],
        Hook::Bridge => vec!["ip", "netns", "exec", &world.hub],
    };
    words.extend([raftq, "--rules", rules, "--for", "60s", "--json"]);
    let mut child = Child::spawn(world, cpu, &words)?;
    child.wait_for(world, "attached", ATTACH_MS)?;
    Ok(Running { child: Some(child), installed: Vec::new() })
}

/// Starts an engine for undisturbed traffic. `rules` is what the C loop gets in each namespace.
pub(crate) fn start(
    engine: Engine,
    world: &World,
    binaries: &Binaries,
    hook: Hook,
    rules: &[String],
    cpu: usize,
) -> Result<Running, Fault> {
    let fifo: &[&str] = match engine {
        Engine::None => return Ok(Running { child: None, installed: Vec::new() }),
        Engine::Raftq => {
            return start_raftq(world, binaries, hook, &long_table(hook, world), cpu);
        }
        Engine::C => &[],
        Engine::CFifo => &["chrt", "--fifo", "1"],
    };
    let namespaces = hook.namespaces(world);
    let mut queues = Vec::new();
    for (netns, rules) in namespaces.iter().zip(rules) {
        queues.push(format!("{netns}:{}", queue_number(rules)?));
    }
    let mut words = fifo.to_vec();
    words.push(word(&binaries.c)?);
    words.extend(queues.iter().map(String::as_str));
    let mut child = Child::spawn(world, cpu, &words)?;
    child.wait_for(world, "ready", ATTACH_MS)?;
    let mut running = Running { child: Some(child), installed: Vec::new() };
    for (netns, rules) in namespaces.iter().zip(rules) {
        World::firewall(netns, rules)?;
        running.installed.push((*netns).to_owned());
    }
    Ok(running)
}

/// The firewall rules that raftq installs at this hook, one text a namespace.
pub(crate) fn rules_of_raftq(
    world: &World,
    binaries: &Binaries,
    hook: Hook,
) -> Result<Vec<String>, Fault> {
    let running = start_raftq(world, binaries, hook, &long_table(hook, world), 1)?;
    let saves: Result<Vec<_>, _> =
        hook.namespaces(world).into_iter().map(World::saved_firewall).collect();
    let saves = saves?;
    for (netns, rules) in hook.namespaces(world).iter().zip(&saves) {
        queue_number(rules).map_err(|error| {
            format!("raftq installed no rules in {netns}: {error}{}", running.complaint())
        })?;
    }
    running.stop(world)?;
    Ok(saves)
}

impl Running {
    /// CPU nanoseconds of the engine so far: its process, all threads, and live children.
    pub(crate) fn cpu(&self) -> Result<u64, Fault> {
        let Some(child) = &self.child else { return Ok(0) };
        let mut sum = 0;
        for pid in family(child.pid()) {
            sum += cpu_ns(pid)?;
        }
        Ok(sum)
    }

    fn complaint(&self) -> String {
        self.child.as_ref().map(Child::complaint).unwrap_or_default()
    }

    /// Ends the engine as its user would, and returns what it printed.
    pub(crate) fn stop(mut self, world: &World) -> Result<String, Fault> {
        let Some(mut child) = self.child.take() else { return Ok(String::new()) };
        let printed = child.stop(world, Signal::SIGINT)?;
        drop(self);
        for netns in Hook::Nodes.namespaces(world).into_iter().chain([&*world.hub]) {
            if World::saved_firewall(netns)?.contains("NFQUEUE") {
                return Err(format!("an engine left its rules behind in {netns}").into());
            }
        }
        Ok(printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for netns in &self.installed {
            // The namespace is ours and goes away with everything in it if this fails.
            let _ = World::firewall(netns, "*mangle\nCOMMIT\n");
        }
    }
}

fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    pids
}

fn queue_number(rules: &str) -> Result<u16, Fault> {
    let after = rules.split("--queue-num ").nth(1).and_then(|rest| rest.split_whitespace().next());
    after.and_then(|word| word.parse().ok()).ok_or_else(|| {
        format!("no `--queue-num N` in the mangle table that iptables-save shows:\n{rules}").into()
    })
}

fn word(path: &Path) -> Result<&str, Fault> {
    path.to_str().ok_or_else(|| format!("the path {} is not UTF-8", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_number_is_read_from_saved_rules() {
        assert_eq!(queue_number(&Hook::Nodes.plain_rules()).unwrap(), 7);
        assert!(queue_number("*mangle\nCOMMIT\n").is_err());
    }
}
