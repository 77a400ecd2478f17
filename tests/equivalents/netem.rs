//! tc-netem and tc-tbf.

use crate::Checks;
use crate::chain::Chain;
use crate::checks::{
    assert_leaves_others_alone, bottleneck, bounded, check, damaged, doubled, jittered, late, lost,
    lost_by, ms, overtaking, peaks,
};
use crate::engine_support::lab::{Fate, Lab, udp};
use crate::measure::{critical, distance};
use crate::shapes::{PARETO, normal_below, pareto_below, pareto_normal_below, uniform_below};
use raftq::rules::{DistTable, scaled};
use raftq::time::Nanos;

const BY: f64 = 100e6;
const JITTER: f64 = 10e6;
const MBIT: u64 = 1_000_000;

pub(crate) fn checks() -> Checks {
    let mut checks = delays();
    checks.extend(chances());
    checks.extend(turns());
    checks
}

fn delays() -> Checks {
    vec![
        ("limit 100", bounded(10 * MBIT, ms(100))),
        ("delay 100ms", late(ms(100))),
        ("delay 100ms 10ms", jittered(0.0, || uniform_below(BY, JITTER))),
        ("delay 100ms 10ms 25%", jittered(0.25, || uniform_below(BY, JITTER))),
        ("delay 100ms 10ms distribution uniform", jittered(0.0, || uniform_below(BY, JITTER))),
        ("delay 100ms 10ms distribution normal", jittered(0.0, || normal_below(BY, JITTER))),
        (
            "delay 100ms 10ms distribution pareto",
            jittered(0.0, || pareto_below(BY, JITTER, PARETO)),
        ),
        (
            "delay 100ms 10ms distribution paretonormal",
            jittered(0.0, || pareto_normal_below(BY, JITTER)),
        ),
        ("delay 100ms 10ms distribution measured", jittered(0.0, measured_below)),
    ]
}

/// Below a delay drawn from the table: each value is as likely.
pub(crate) fn measured_below() -> impl Fn(f64) -> f64 {
    let table = DistTable::parse(include_str!("measured.dist")).expect("a table");
    let late = |value: &i16| BY + scaled(ms(10), *value) as f64;
    let values: Vec<f64> = table.values().iter().map(late).collect();
    move |ns| values.iter().filter(|value| **value < ns).count() as f64 / values.len() as f64
}

fn chances() -> Checks {
    vec![
        ("loss random 10%", lost(0.1, 0.0)),
        ("loss random 10% 25%", lost(0.1, 0.25)),
        // Alone they are Bernoulli's: independent.
        ("loss state 5%", lost(0.05, 0.0)),
        ("loss state 5% 30% 10% 40% 1%", lost_by(|| Chain::markov([0.05, 0.3, 0.1, 0.4, 0.01]))),
        ("loss gemodel 5%", lost(0.05, 0.0)),
        ("loss gemodel 3% 20% 70% 1%", lost_by(|| Chain::gilbert_elliott(0.03, 0.2, 0.7, 0.01))),
        ("corrupt 10%", damaged(0.1, 0.0)),
        ("corrupt 10% 25%", damaged(0.1, 0.25)),
        ("duplicate 10%", doubled(0.1, 0.0)),
        ("duplicate 10% 25%", doubled(0.1, 0.25)),
        ("delay 10ms reorder 25% 50%", overtaking(ms(10), (0.25, 0.5), 1)),
        ("delay 10ms reorder 25% 50% gap 5", overtaking(ms(10), (0.25, 0.5), 5)),
        ("delay 10ms reorder 100% gap 5", overtaking(ms(10), (1.0, 0.0), 5)),
    ]
}

fn turns() -> Checks {
    vec![
        ("rate 1mbit", bottleneck(MBIT, 0, |bytes| bytes + 14)),
        ("rate 1mbit 20", bottleneck(MBIT, 0, |bytes| bytes + 14 + 20)),
        ("rate 1mbit -14", bottleneck(MBIT, 0, |bytes| bytes + 14 - 14)),
        ("rate 1mbit 0 48 5", bottleneck(MBIT, 0, |bytes| (bytes + 14).div_ceil(48) * 53)),
        ("slot 10ms", check(|line| assert_slots(line.lab(), ms(10), ms(10)))),
        ("slot 10ms 30ms", check(|line| slots(line.lab(), uniform_below(20e6, 10e6)))),
        (
            "slot distribution normal 20ms 5ms",
            check(|line| slots(line.lab(), normal_below(20e6, 5e6))),
        ),
        ("slot 10ms packets 4", check(|line| assert_fills(line.lab(), 500, 4))),
        // A fourth packet of 1,028 bytes would exceed 4,000.
        ("slot 10ms bytes 4000", check(|line| assert_fills(line.lab(), 1_000, 3))),
        ("seed 42", check(|line| assert_seeds(&line.top))),
    ]
}

/// When slots begin in which packets arrive that are sent all the time.
fn begins(lab: &mut Lab) -> Vec<u64> {
    lab.stream(40_000, ms(1), &udp((1, 40_000), 2, 100));
    lab.run_until(lab.now + Nanos::from_secs(1));
    assert!(lab.fates.iter().all(Fate::arrived));
    assert!(lab.arrivals.is_sorted(), "in order");
    let mut at: Vec<u64> = lab.fates.iter().map(|fate| fate.at.0).collect();
    at.dedup();
    assert_leaves_others_alone(lab);
    at
}

/// What comes first opens a slot; a time behind it all that has come leaves.
fn assert_slots(mut lab: Lab, least: Nanos, most: Nanos) {
    let begins = begins(&mut lab);
    for slot in begins.windows(2) {
        // A packet comes each millisecond, and the next slot counts from it.
        let time = slot[1] - slot[0];
        assert!((least.0..=most.0 + 1_000_000).contains(&time), "{time}");
    }
    let waited = lab.fates.iter().map(Fate::late);
    assert!(waited.max() <= Some(most), "nobody waits longer than for a slot");
    assert!(begins.len() > 1_000);
}

/// The time to acquire a slot is how long its first packet waits.
fn slots(mut lab: Lab, below: impl Fn(f64) -> f64) {
    let begins = begins(&mut lab);
    let first = |at: &u64| lab.fates.iter().find(|fate| fate.at.0 == *at).map(|f| f.late().0);
    let waits: Vec<u64> = begins.iter().filter_map(first).collect();
    let n = waits.len() as f64;
    let found = distance(waits, below);
    assert!(n > 1_000.0 && found < critical(n), "{n} slots, a distance of {found}");
}

/// Of packets that come at once as many leave in each slot as fit, each 10 ms.
fn assert_fills(mut lab: Lab, payload: usize, count: usize) {
    lab.stream(50, Nanos::ZERO, &udp((1, 40_000), 2, payload));
    lab.run_until(Nanos::from_secs(1));
    for (i, fate) in lab.fates.iter().enumerate() {
        assert!(fate.arrived() && fate.at == ms(10 * (i / count + 1) as u64), "{i}: {fate:?}");
    }
    assert_leaves_others_alone(&mut lab);
}

/// What is drawn hangs on the seed, and on nothing else.
fn assert_seeds(top: &str) {
    let lost = |top: &str, port: u16, apart: Nanos| -> Vec<bool> {
        let mut lab = Lab::with(&["{ name: lose, from: n1, do: { loss: 50% } }"], top);
        lab.stream(1_000, apart, &udp((1, port), 2, 100));
        lab.fates.iter().map(Fate::arrived).collect()
    };
    let once = lost(top, 40_000, ms(1));
    assert_eq!(once, lost(top, 40_000, ms(1)));
    assert_eq!(once, lost(top, 50_000, ms(3)), "neither ports nor times matter");
    assert_ne!(once, lost("seed: 43", 40_000, ms(1)));
}

pub(crate) fn tbf_checks() -> Checks {
    vec![
        ("rate 1mbit", bottleneck(MBIT, 0, |bytes| bytes)),
        ("burst 16kb", bottleneck(MBIT, 16_384, |bytes| bytes)),
        ("latency 400ms", bounded(MBIT, ms(400))),
        ("limit 50000", bounded(MBIT, ms(400))),
        ("peakrate 2mbit minburst 1500", peaks(MBIT, 16_384)),
        ("overhead 24", bottleneck(MBIT, 0, |bytes| bytes + 24)),
        ("linklayer atm", bottleneck(MBIT, 0, |bytes| bytes.div_ceil(48) * 53)),
    ]
}
