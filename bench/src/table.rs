//! What rules cost by their number: 10,000 of them and 100 nodes, compiled, laid out and met.
//!
//! Three shapes: spread over the links, one rule each; all on every link, each about a port that
//! no packet has; the same, not active yet. Compiling is timed in CPU time of this process. A
//! decision is counted in instructions, since they do not depend on what else the machine does:
//! `callgrind` counts those of one function in a process of its own. It needs no counters of the
//! processor, which a virtual machine seldom has. What the caches make of a long table is not in
//! the figures.

use crate::Fault;
use crate::clock::cpu_ns;
use crate::stats::median;
use raftq::engine::{Engine, Limits, Prepared};
use raftq::packet::PacketView;
use raftq::rules::{self, Table};
use raftq::time::Nanos;
use std::fmt::Write;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

const NODES: usize = 100;

/// What compiling the largest table may take.
const COMPILE_MS: f64 = 1_000.0;

/// How many times more instructions the largest table may take than the smallest.
const FLAT: f64 = 1.5;

/// What callgrind is told to count.
const COUNTED: &str = "raftq_bench::table::judge";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// Each rule on a link of its own, and matched by its packets
    Spread,
    /// Each on all links and a port of its own, which no packet has
    Ports,
    /// The same, not active yet
    Inactive,
}

const SHAPES: [(Shape, &str); 3] =
    [(Shape::Spread, "spread"), (Shape::Ports, "ports"), (Shape::Inactive, "inactive")];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Numbers of rules, from the least to the most
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000, 10_000])]
    rules: Vec<usize>,
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Packets judged under callgrind
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    packets: u32,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Once {
    #[arg(long)]
    shape: Shape,
    #[arg(long)]
    rules: usize,
    #[arg(long)]
    packets: u32,
}

/// Measures every shape. Ends with 1 where a target is missed.
pub(crate) fn run(options: &Options) -> Result<u8, Fault> {
    let mut missed = false;
    let most = options.rules.iter().copied().max().ok_or("no number of rules")?;
    for (shape, name) in SHAPES {
        let times: Vec<[f64; 3]> =
            (0..options.rounds).map(|_| times(shape, most)).collect::<Result<_, _>>()?;
        let middle = |i: usize| median(&times.iter().map(|t| t[i]).collect::<Vec<_>>());
        let [compile, lay_out, start] =
            [0, 1, 2].map(|i| middle(i).expect("at least one round was made"));
        let met = compile <= COMPILE_MS;
        missed |= !met;
        println!(
            "{name}, {most} rules, {NODES} nodes: compiled in {compile:.0} ms ({}), laid out in \
             {lay_out:.0} ms, started in {start:.0} ms",
            if met { "met" } else { "missed" }
        );
    }
    for (shape, name) in SHAPES {
        let counted: Vec<f64> = options
            .rules
            .iter()
            .map(|&rules| count(Once { shape, rules, packets: options.packets }, name))
            .collect::<Result<_, _>>()?;
        let ratio = counted.iter().copied().fold(0.0, f64::max) / counted[0];
        let flat = ratio <= FLAT;
        missed |= !flat;
        let columns: Vec<String> = options
            .rules
            .iter()
            .zip(&counted)
            .map(|(rules, count)| format!("{count:.0} with {rules}"))
            .collect();
        println!(
            "{name}: instructions a packet: {}; {}",
            columns.join(", "),
            if flat { "flat" } else { "not flat" }
        );
    }
    println!("targets: {COMPILE_MS} ms, {FLAT} times the instructions; medians of times");
    Ok(u8::from(missed))
}

/// Judges packets once, to be counted from outside.
pub(crate) fn once(once: Once) -> Result<(), Fault> {
    let table = Arc::new(compile(once.shape, once.rules)?);
    let packets = packets(once.rules, once.packets)?;
    let plan = Prepared::new(table, None, |_| false);
    let mut engine = Engine::new(plan, Limits { queues: 1, held: 1, flows: 1 });
    start(&mut engine);
    let matched = judge(&mut engine, &packets);
    let wanted = if once.shape == Shape::Spread { packets.len() } else { 0 };
    if matched != wanted {
        return Err(format!("{matched} packets matched a rule, {wanted} should").into());
    }
    Ok(())
}

/// Instructions for one decision.
fn count(once: Once, shape: &str) -> Result<f64, Fault> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}*"))
        .arg(std::env::current_exe()?)
        .args(["table-once", "--shape", shape])
        .args(["--rules", &once.rules.to_string(), "--packets", &once.packets.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind, {shape}, {} rules:\n{text}", once.rules).into());
    }
    let collected = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let collected: f64 = collected.ok_or("callgrind told no count")?.trim().parse()?;
    if collected == 0.0 {
        return Err(format!("callgrind did not find {COUNTED}").into());
    }
    Ok(collected / f64::from(once.packets))
}

/// The one thing that is counted.
#[inline(never)]
fn judge(engine: &mut Engine, packets: &[PacketView]) -> usize {
    let mut matched = 0;
    for packet in packets {
        let decision = black_box(engine.decide(Nanos::from_secs(2), black_box(packet)));
        matched += usize::from(decision.rule.is_some());
    }
    matched
}

fn start(engine: &mut Engine) {
    engine.start(Nanos::from_secs(1));
    engine.advance(Nanos::from_secs(1), |_| {}, &mut |_| {});
}

/// CPU milliseconds to compile a file's text, to lay the table out, and to start its rules.
fn times(shape: Shape, rules: usize) -> Result<[f64; 3], Fault> {
    let text = text(shape, rules)?;
    let me = std::process::id();
    let ms = |from: u64, to: u64| (to - from) as f64 / 1e6;
    let begin = cpu_ns(me)?;
    let table = rules_of(&text)?;
    let compiled = cpu_ns(me)?;
    let plan = Prepared::new(Arc::new(table), None, |_| false);
    let laid_out = cpu_ns(me)?;
    let mut engine = Engine::new(plan, Limits { queues: 1, held: 1, flows: 1 });
    let made = cpu_ns(me)?;
    start(&mut engine);
    let started = cpu_ns(me)?;
    black_box(&engine);
    Ok([ms(begin, compiled), ms(compiled, laid_out), ms(made, started)])
}

fn compile(shape: Shape, rules: usize) -> Result<Table, Fault> {
    rules_of(&text(shape, rules)?)
}

fn rules_of(text: &str) -> Result<Table, Fault> {
    match rules::compile("bench", text, &[]) {
        Ok(compiled) => Ok(compiled.table),
        Err(report) => Err(report.render(false).into()),
    }
}

/// The i-th ordered pair of different nodes, over and over.
fn link(i: usize) -> (usize, usize) {
    let (from, to) = (i / (NODES - 1) % NODES, i % (NODES - 1));
    (from, to + usize::from(to >= from))
}

fn text(shape: Shape, rules: usize) -> Result<String, Fault> {
    let mut text = String::from("cluster:\n  nodes:\n");
    for node in 0..NODES {
        writeln!(text, "    n{node}: 10.0.0.{}:2380", node + 1)?;
    }
    text.push_str("rules:\n");
    for i in 0..rules {
        write!(text, "  - {{ name: r{i}, ")?;
        match shape {
            Shape::Spread => {
                let (from, to) = link(i);
                write!(text, "from: n{from}, to: n{to}, where: {{ proto: tcp, port: 2380 }}")?;
            }
            Shape::Ports | Shape::Inactive => {
                write!(text, "from: any, to: any, where: {{ port: {} }}", 10_000 + i)?;
            }
        }
        let later = if shape == Shape::Inactive { ", at: 1h, for: 1s" } else { "" };
        writeln!(text, "{later}, do: accept }}")?;
    }
    Ok(text)
}

/// Data on the links that rules of [`Shape::Spread`] are about, in no order that repeats soon.
fn packets(rules: usize, number: u32) -> Result<Vec<PacketView>, Fault> {
    let links = rules.min(NODES * (NODES - 1)) as u64;
    let mut random = 7_u64;
    let one = |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (from, to) = link(((random >> 33) % links) as usize);
        let mut bytes = vec![0x45, 0, 0, 140, 0, 0, 0, 0, 64, 6, 0, 0];
        bytes.extend([10, 0, 0, from as u8 + 1, 10, 0, 0, to as u8 + 1]);
        bytes.extend(2380_u16.to_be_bytes());
        bytes.extend(2380_u16.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        PacketView::parse(&bytes, 140, 0).map_err(|why| format!("{why:?}").into())
    };
    (0..number).map(one).collect()
}
