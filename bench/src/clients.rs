//! The verdict loop with a thousand clients beside it and without, by turns.
//!
//! One process each time (`load/beside.rs`), on both cores, as `raftq run` is: on one, the loop at
//! this rate and the calls together are more than a core can do. A delay of 10 ms at 20,000 packets
//! a second makes every packet's lateness a measure of whether the loop ran when it was due.

use crate::Fault;
use crate::child::Child;
use crate::driver::{load_average, machine};
use crate::engine::delay_table;
use crate::measure::{DELAY_RATE, SOURCE_CPU, find_lateness};
use crate::report::{CLIENTS, show, write_into};
use crate::stats::median;
use crate::world::World;
use clap::Args;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::PathBuf;

const ATTACH_MS: u64 = 20_000;

/// The most that clients may add to the median lateness, and to that of the slowest packet of a
/// hundred: what the loop promises on a machine of its own, in microseconds.
const MOST_US: [f64; 2] = [20.0, 250.0];

/// The least share of the rate that must have been reached for the figures to say anything.
const REACHED: f64 = 0.95;

#[derive(Args)]
pub(crate) struct Options {
    /// Rounds that count, after one that does not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..100))]
    rounds: u32,
    /// How long each measurement takes
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Calls a second of all of them
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Exit with 1 when a target is missed, with 2 when nothing can be said
    #[arg(long)]
    check: bool,
    /// Put the figures between the markers of this file
    #[arg(long)]
    write: Option<PathBuf>,
    /// The day to write beside them
    #[arg(long, default_value = "an unknown day")]
    date: String,
}

/// Lateness p50 and p99 in microseconds, and the calls answered a second.
#[derive(Clone, Copy)]
struct Sample([f64; 3]);

/// Measures and prints; the exit code.
pub(crate) fn run(options: &Options) -> Result<u8, Fault> {
    let load = load_average();
    let world = World::make()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        eprintln!("raftq-bench: round {round} of {}", options.rounds);
        let pair = [measure(&world, options, 0)?, measure(&world, options, options.clients)?];
        if round > 0 {
            without.push(pair[0]);
            with.push(pair[1]);
        }
    }
    let [without, with] = [medians(&without), medians(&with)];
    let reached = with[2] >= f64::from(options.rate) * REACHED;
    let met = (0..2).all(|i| with[i] <= MOST_US[i]);
    let table = table(options, without, with);
    println!("{table}");
    if !reached {
        println!("undecided: only {:.0} of {} calls/s were made", with[2], options.rate);
    } else if !met {
        println!("MISSED: a thousand clients are felt beside the loop");
    }
    if let Some(path) = &options.write {
        let Options { date, rounds, seconds, .. } = options;
        let how = format!(
            "Taken on {date} by `bench/clients`: {}, load average\n{load} before it began. Medians \
             of {rounds} rounds of {seconds} s each, with and without by turns, after a\nround \
             that was thrown away.",
            machine()
        );
        write_into(path, CLIENTS, &format!("{how}\n\n{table}"))?;
    }
    Ok(match (options.check, reached, met) {
        (true, false, _) => 2,
        (true, true, false) => 1,
        _ => 0,
    })
}

fn measure(world: &World, options: &Options, clients: usize) -> Result<Sample, Fault> {
    let rules = world.file("rules.yaml", &delay_table(world))?;
    let history = world.file("history.jsonl", "")?;
    let exe = std::env::current_exe()?;
    let [exe, rules, history] =
        [&exe, &rules, &history].map(|path| path.to_str().ok_or("a path that is not UTF-8"));
    let (clients, rate) = (clients.to_string(), options.rate.to_string());
    let words = [exe?, "beside", rules?, history?, "--clients", &clients, "--rate", &rate];
    let mut raftq = Child::spawn(world, None, &words)?;
    raftq.wait_for(world, "attached", ATTACH_MS)?;
    let mut sink = Child::load(world, SOURCE_CPU, &world.n2, "sink 10.77.0.2:9000")?;
    sink.wait_for(world, "ready", 2_000)?;
    let seconds = options.seconds;
    let source = format!("flood 10.77.0.1:39000 10.77.0.2:9000 {seconds} --rate {DELAY_RATE}");
    let mut source = Child::load(world, SOURCE_CPU, &world.n1, &source)?;
    source.finish(world, std::time::Duration::from_secs_f64(seconds + 10.0).as_millis() as u64)?;
    let printed = raftq.stop(world, Signal::SIGINT)?;
    let document: Value = serde_json::from_str(&printed)
        .map_err(|error| format!("`beside` printed no JSON ({error}): {printed}"))?;
    let [p50, p99] = find_lateness(&document)
        .ok_or_else(|| format!("no lateness of the delayed link in: {printed}"))?;
    Ok(Sample([p50, p99, document["answered_per_s"].as_f64().unwrap_or_default()]))
}

fn medians(samples: &[Sample]) -> [f64; 3] {
    [0, 1, 2].map(|i| {
        let values: Vec<f64> = samples.iter().map(|sample| sample.0[i]).collect();
        median(&values).unwrap_or_default()
    })
}

fn table(options: &Options, without: [f64; 3], with: [f64; 3]) -> String {
    let Options { clients, rate, .. } = options;
    let show = |value: f64| show(Some(value));
    let mut text = format!(
        "| figure | alone | {clients} clients, {rate} calls/s | target | |\n|---|--:|--:|---|---|"
    );
    for (i, name) in ["p50", "p99"].into_iter().enumerate() {
        let met = if with[i] <= MOST_US[i] { "met" } else { "MISSED" };
        let _ = write!(
            text,
            "\n| lateness of 10 ms at 20,000/s, {name}, us | {} | {} | at most {} us | {met} |",
            show(without[i]),
            show(with[i]),
            MOST_US[i],
        );
    }
    let _ = write!(text, "\n| calls answered a second | - | {} |  |  |", show(with[2]));
    text
}
