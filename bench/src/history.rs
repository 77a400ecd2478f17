//! A history of clients that call a correct register for each key, by a seed: what the checker is
//! measured with. Nothing is called; each call takes effect at a moment between its two lines.

use crate::Fault;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;

/// What is written.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Calls in all
    #[arg(long, default_value_t = 1_000_000)]
    calls: u32,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// A fifth of the calls compare and set
    #[arg(long)]
    cas: bool,
    /// Of 10,000 calls, how many nobody learns the outcome of
    #[arg(long, default_value_t = 10)]
    unknown: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Shape {
    /// A million calls on 100 keys by 50 clients.
    pub(crate) fn standard(cas: bool) -> Self {
        Self { calls: 1_000_000, keys: 100, clients: 50, cas, unknown: 10, seed: 1 }
    }
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[derive(Clone, Copy)]
enum Step {
    Invoke,
    TakeEffect,
    Answer,
}

/// One client, and the call that it has under way.
struct Client {
    process: u64,
    key: usize,
    f: &'static str,
    from: Option<u64>,
    to: u64,
    /// What a read saw.
    seen: Option<u64>,
    done: bool,
    unknown: bool,
    /// When it will take effect, and be answered.
    times: (u64, u64),
}

struct World<'o> {
    shape: &'o Shape,
    dice: Dice,
    clients: Vec<Client>,
    keys: Vec<Option<u64>>,
    values: u64,
    processes: u64,
    out: &'o mut dyn Write,
}

/// Writes it, in order of time.
pub(crate) fn write(shape: &Shape, out: &mut dyn Write) -> Result<(), Fault> {
    writeln!(out, r#"{{"raftq_history":1,"workload":"register","seed":{}}}"#, shape.seed)?;
    let clients = (0..u64::from(shape.clients)).map(|process| Client {
        process,
        key: 0,
        f: "read",
        from: None,
        to: 0,
        seen: None,
        done: true,
        unknown: false,
        times: (0, 0),
    });
    let mut world = World {
        shape,
        dice: Dice(shape.seed),
        clients: clients.collect(),
        keys: vec![None; shape.keys as usize],
        values: 0,
        processes: u64::from(shape.clients),
        out,
    };
    let mut due: BinaryHeap<Reverse<(u64, usize, u8)>> = BinaryHeap::new();
    for i in 0..world.clients.len() {
        due.push(Reverse((world.dice.below(1_000_000), i, Step::Invoke as u8)));
    }
    let mut left = shape.calls;
    while let Some(Reverse((now, i, step))) = due.pop() {
        let next = match step {
            0 if left == 0 => continue,
            0 => {
                left -= 1;
                world.invoke(i, now)?;
                (world.clients[i].times.0, Step::TakeEffect)
            }
            1 => {
                world.take_effect(i);
                (world.clients[i].times.1, Step::Answer)
            }
            _ => {
                world.answer(i, now)?;
                (now + 1_000 + world.dice.below(200_000), Step::Invoke)
            }
        };
        due.push(Reverse((next.0, i, next.1 as u8)));
    }
    Ok(world.out.flush()?)
}

impl World<'_> {
    fn invoke(&mut self, i: usize, now: u64) -> Result<(), Fault> {
        let key = self.dice.below(u64::from(self.shape.keys)) as usize;
        let f = match self.dice.below(10) {
            0..4 => "read",
            4..6 if self.shape.cas => "cas",
            _ => "write",
        };
        self.values += 1;
        let takes = 100_000 + self.dice.below(1_900_000);
        let effect = now + 1 + self.dice.below(takes - 1);
        let unknown = f != "read" && self.dice.below(10_000) < self.shape.unknown;
        // What it read a moment ago, or what somebody else has replaced since.
        let from = if self.dice.below(4) == 0 { None } else { self.keys[key] };
        let client = Client {
            process: self.clients[i].process,
            key,
            f,
            from,
            to: self.values,
            seen: None,
            done: true,
            unknown,
            times: (effect, now + takes),
        };
        self.clients[i] = client;
        self.line(i, now, "invoke", true)
    }

    fn take_effect(&mut self, i: usize) {
        let client = &mut self.clients[i];
        let now = &mut self.keys[client.key];
        match client.f {
            "read" => client.seen = *now,
            // Half of the unknown ones never happen.
            _ if client.unknown && client.to.is_multiple_of(2) => {}
            "cas" if *now != client.from => client.done = false,
            _ => *now = Some(client.to),
        }
    }

    fn answer(&mut self, i: usize, now: u64) -> Result<(), Fault> {
        if !self.clients[i].unknown {
            return self.line(i, now, "ok", false);
        }
        self.line(i, now, "info", false)?;
        self.clients[i].process = self.processes;
        self.processes += 1;
        Ok(())
    }

    fn line(&mut self, i: usize, t: u64, kind: &str, invokes: bool) -> Result<(), Fault> {
        let value = |v: Option<u64>| v.map_or("null".to_owned(), |v| format!("\"v{v}\""));
        let Client { process, key, f, from, to, seen, done, .. } = self.clients[i];
        let value = match f {
            "read" => value(seen.filter(|_| !invokes)),
            "cas" => format!("[{},{}]", value(from), value(Some(to))),
            _ => value(Some(to)),
        };
        let done = if done || invokes { "" } else { r#","done":false"# };
        let node = process % 3 + 1;
        write!(self.out, r#"{{"t":{t},"process":{process},"type":"{kind}","f":"{f}","#)?;
        Ok(writeln!(self.out, r#""key":"k{key}","value":{value}{done},"node":"n{node}"}}"#)?)
    }
}
