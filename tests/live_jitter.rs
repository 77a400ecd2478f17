//! Delays with jitter, measured one by one: in order they cost TCP nothing but time, out of order
//! they overtake each other, and they are distributed as asked. Needs root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Family, Net, Raftq, Shape};
use measure_lab::{FROM, Got, Sink, be_patient, count, numbers, send, transfer};
use std::fs;
use std::time::Duration;

const BULK: usize = 32 << 20;

/// What a busy machine may add to a delay of most packets.
const LATE: f64 = 6.0;

/// Which share of them may be later than that.
const LATER: f64 = 0.1;

fn bulk_is_only_late(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    be_patient(&net, 2);
    let rules = "seed: 3\nrules:\n  - { name: late, from: n1, to: n2, \
                 do: { delay: { by: 50ms, jitter: 5ms } } }\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let moved = transfer(&net, (0, 1), family, BULK);
    let ending = raftq.interrupt();
    moved.must_be_intact(BULK);
    ending.must_be_clean(0);
    let matched = ending.of_rule("late", "matched");
    println!(
        "{shape:?} {family:?}: {:.0} Mbit/s, shortest round trip {:?}, {matched} segments late",
        moved.rate() / 1e6,
        moved.min_rtt
    );
    assert!(matched >= (BULK / 1_460) as u64, "{ending}");
    assert_eq!(ending.of_rule("late", "acted"), matched, "{ending}");
    assert_eq!(count(&net, 0, "TcpRetransSegs"), 0, "nothing was lost\n{ending}");
    assert_eq!(count(&net, 1, "TcpExtTCPOFOQueue"), 0, "nothing was overtaken\n{ending}");
    // The smallest of many round trips is one of a packet that was hardly late.
    let ms = moved.min_rtt.as_secs_f64() * 1e3;
    assert!((45.0..55.0).contains(&ms), "round trips of {ms} ms and more");
}

#[test]
fn ordered_jitter_costs_bulk_nothing_but_time_in_namespaces() {
    bulk_is_only_late(Shape::Namespaces, Family::V4);
    bulk_is_only_late(Shape::Namespaces, Family::V6);
}

#[test]
fn ordered_jitter_costs_bulk_nothing_but_time_behind_a_bridge() {
    bulk_is_only_late(Shape::Bridge, Family::V4);
}

#[test]
fn free_jitter_reorders_bulk() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        let rules = "seed: 3\nrules:\n  - { name: free, from: n1, to: n2, \
                     do: { delay: { by: 20ms, jitter: 5ms, order: free } } }\n";
        let raftq = Raftq::attach(&net, rules, &["--json"]);
        let len = BULK / 8;
        let moved = transfer(&net, (0, 1), Family::V4, len);
        let ending = raftq.interrupt();
        moved.must_be_intact(len);
        ending.must_be_clean(0);
        let early = count(&net, 1, "TcpExtTCPOFOQueue");
        println!("{shape:?}: {early} packets came too early");
        assert!(early >= 10, "{early} came early\n{ending}");
        assert!(ending.of_rule("free", "acted") >= (len / 1_460) as u64, "{ending}");
    }
}

/// How long each of many datagrams took, in milliseconds, by number; and their order.
fn measured(delay: &str, shape: Shape, family: Family, n: u32) -> (Vec<f64>, Vec<u32>) {
    let net = Net::new(shape, 2);
    let rules = format!(
        "seed: 3\nrules:\n  - {{ name: shaky, from: n1, to: n2, where: {{ port: {FROM} }}, \
         do: {{ delay: {delay} }} }}\n"
    );
    let raftq = Raftq::attach(&net, &rules, &["--json"]);
    let sink = Sink::open(&net, 1, family);
    let sent = send(&net, (0, 1), family, (n, Duration::from_millis(1), 64));
    let got: Vec<Got> = sink.await_count(n as usize);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(sink.end().len(), got.len(), "each arrives once");
    assert_eq!(ending.of_rule("shaky", "matched"), u64::from(n), "{ending}");
    assert_eq!(ending.of_rule("shaky", "acted"), u64::from(n), "{ending}");
    assert_eq!(ending.link("n1", "n2", "delayed"), u64::from(n), "{ending}");
    let took = |got: &Got| got.at.saturating_sub(sent[got.number as usize]).as_secs_f64() * 1e3;
    (got.iter().map(took).collect(), numbers(&got))
}

/// Times against a distribution: none is earlier than that has it, by Kolmogorov and Smirnov's
/// distance; and none later by more than a machine is.
fn must_be_as(name: &str, mut took: Vec<f64>, below: impl Fn(f64) -> f64) {
    took.sort_by(f64::total_cmp);
    let n = took.len() as f64;
    // One of 10,000 samples is further from its own distribution.
    let critical = 2.23 / n.sqrt();
    let (mut early, mut late) = (0.0_f64, 0.0_f64);
    for (i, ms) in took.iter().enumerate() {
        early = early.max((i + 1) as f64 / n - below(*ms));
        late = late.max(below(ms - LATE) - i as f64 / n);
    }
    println!("{name}: {early:.3} early, {late:.3} late by {LATE} ms, {critical:.3} allowed");
    assert!(early <= critical, "{name}: by {early} too early");
    assert!(late <= critical + LATER, "{name}: by {late} too late");
}

#[test]
fn a_pareto_delay_is_paretos() {
    // A shape of 3 has this deviation.
    let stretch = 0.75_f64.sqrt();
    let below = |ms: f64| match (ms - 60.0) / 15.0 {
        x if x >= 10.0 => 1.0,
        x => 1.0 - (x * stretch + 1.5).max(1.0).powi(-3),
    };
    let delay = "{ by: 60ms, jitter: 15ms, distribution: pareto, order: free }";
    for (shape, family) in [(Shape::Namespaces, Family::V4), (Shape::Bridge, Family::V6)] {
        let (took, order) = measured(delay, shape, family, 3_000);
        assert!(!order.is_sorted(), "they may overtake");
        must_be_as(&format!("pareto {shape:?} {family:?}"), took, below);
    }
}

#[test]
fn a_uniform_and_a_normal_delay_are_so() {
    let (took, _) =
        measured("{ by: 40ms, jitter: 30ms, order: free }", Shape::Namespaces, Family::V4, 3_000);
    let first = took.iter().copied().fold(f64::MAX, f64::min);
    assert!(first >= 10.0, "one took {first} ms");
    must_be_as("uniform", took, |ms| ((ms - 10.0) / 60.0).clamp(0.0, 1.0));
    let delay = "{ by: 80ms, jitter: 15ms, distribution: normal, order: free }";
    let (took, _) = measured(delay, Shape::Bridge, Family::V4, 3_000);
    must_be_as("normal", took, |ms| normal((ms - 80.0) / 15.0));
}

/// The normal distribution up to x, by Marsaglia's series.
fn normal(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal(-x);
    }
    let (mut sum, mut term, mut i) = (x, x, 1.0);
    while term > sum * 1e-16 {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// netem's tables have 8,192 for one deviation.
#[test]
fn a_delay_from_a_file_is_as_the_file_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("two.dist");
    // Three of four a deviation early, and one three deviations late.
    fs::write(&file, "# a test's own\n-8192 -8192 -8192\n24576\n").expect("a file");
    let delay = format!("{{ by: 40ms, jitter: 20ms, table: {}, order: free }}", file.display());
    let (took, _) = measured(&delay, Shape::Namespaces, Family::V4, 2_000);
    let between = took.iter().filter(|ms| (20.0 + 2.0 * LATE..100.0).contains(*ms)).count();
    assert!(between as f64 <= LATER * 2_000.0, "{between} are none of the file's");
    must_be_as("table", took, |ms| match ms {
        ms if ms < 20.0 => 0.0,
        ms if ms < 100.0 => 0.75,
        _ => 1.0,
    });
}
