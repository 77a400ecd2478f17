//! Delays: each distribution as it leaves the engine, correlation, and the order of a connection.

use crate::engine_support::lab::{Fate, Lab, tcp};
use crate::measure::{critical, distance};
use crate::shapes::{PARETO, normal_below, pareto_below, pareto_normal_below, uniform_below};
use crate::{CONNECTIONS, EACH, assert_falls, ms, play};
use raftq::rules::{DistTable, scaled};
use raftq::time::Nanos;

const BY: f64 = 20e6;
const JITTER: f64 = 5e6;

fn rule(shape: &str) -> String {
    format!("{{ from: n1, do: {{ delay: {{ by: 20ms, jitter: 5ms, order: free, {shape} }} }} }}")
}

fn late(fates: &[Fate]) -> Vec<u64> {
    assert!(fates.iter().all(Fate::arrived), "nothing is lost");
    fates.iter().map(|fate| fate.late().0).collect()
}

/// Each connection by itself, and all together, which is narrower.
fn assert_shape<F: Fn(f64) -> f64>(shape: &str, rho: f64, below: impl Fn() -> F) {
    let connections = play(&rule(shape), ms(1));
    let all: Vec<u64> = connections.iter().flat_map(|fates| late(fates)).collect();
    let samples = connections.iter().map(|fates| late(fates)).chain([all]);
    for sample in samples {
        // Of values that correlate by rho^k the distribution is known as of fewer: the variance of
        // each of its shares is (1 + rho) / (1 - rho) times as large.
        let n = sample.len() as f64 * (1.0 - rho) / (1.0 + rho);
        let found = distance(sample, below());
        assert!(found < critical(n), "{shape}: {found}, at most {}", critical(n));
    }
}

#[test]
fn delays_are_distributed_as_the_rule_says() {
    assert_shape("distribution: uniform", 0.0, || uniform_below(BY, JITTER));
    assert_shape("distribution: normal", 0.0, || normal_below(BY, JITTER));
    assert_shape("distribution: pareto", 0.0, || pareto_below(BY, JITTER, PARETO));
    assert_shape("distribution: paretonormal", 0.0, || pareto_normal_below(BY, JITTER));
    assert_shape("table: measured.dist", 0.0, || {
        let table =
            DistTable::parse(include_str!("../equivalents/measured.dist")).expect("a table");
        let late = |value: &i16| BY + scaled(ms(5), *value) as f64;
        let values: Vec<f64> = table.values().iter().map(late).collect();
        move |ns| values.iter().filter(|value| **value < ns).count() as f64 / values.len() as f64
    });
}

#[test]
fn a_correlation_keeps_the_distribution_and_adds_its_powers() {
    let shapes: [(&str, f64); 2] = [("uniform", 1.8), ("normal", 3.0)];
    for ((shape, kurtosis), rho) in shapes.into_iter().zip([0.3, 0.7]) {
        let shape = format!("distribution: {shape}, correlation: {}%", rho * 100.0);
        if shape.contains("uniform") {
            assert_shape(&shape, rho, || uniform_below(BY, JITTER));
        } else {
            assert_shape(&shape, rho, || normal_below(BY, JITTER));
        }
        for fates in play(&rule(&shape), ms(1)) {
            let values: Vec<f64> = late(&fates).iter().map(|ns| *ns as f64).collect();
            assert_falls(&shape, &values, rho, kurtosis);
        }
    }
}

/// A distribution that is a little off is found out, by as many packets as are asked here.
#[test]
fn a_jitter_that_is_a_twentieth_off_is_found_out() {
    for fates in play(&rule("distribution: uniform"), ms(1)) {
        let found = distance(late(&fates), uniform_below(BY, JITTER * 1.05));
        assert!(found > critical(EACH as f64), "{found}");
    }
}

/// Jitter of a connection that keeps its order: a packet is due when its own delay is over, or with
/// the one before it; different connections pass each other.
#[test]
fn a_connection_in_order_waits_for_its_slowest_and_no_longer() {
    let draws = play(&rule("distribution: normal"), ms(1));
    let ordered = rule("distribution: normal").replace("order: free", "order: flow");
    let kept = play(&ordered, ms(1));
    let mut later = 0;
    for (drawn, kept) in draws.iter().zip(&kept) {
        let mut last = Nanos::ZERO;
        for (own, fate) in drawn.iter().zip(kept) {
            // Which draws are made does not hang on the order.
            last = last.max(own.at);
            assert_eq!(fate.at, last);
            later += usize::from(fate.at > own.at);
        }
    }
    assert!(later > EACH * CONNECTIONS / 2, "with 5 ms of jitter most wait: {later}");
    let mut all: Vec<_> = kept.iter().flatten().map(|fate| (fate.at, fate.sent)).collect();
    all.sort();
    assert!(!all.is_sorted_by_key(|(_, sent)| *sent), "but not for another connection");
}

/// Segments of a connection are delayed as datagrams are, and delays of several rules add up.
#[test]
fn delays_of_rules_add_up() {
    let mut lab = Lab::with(
        &[
            "{ from: n1, do: { delay: { by: 20ms, jitter: 5ms } } }",
            "{ to: n2, do: { delay: 30ms } }",
        ],
        "",
    );
    lab.stream(5_000, ms(20), &tcp((1, 40_000), 2, "data", (1, 100)));
    lab.run_until(lab.now + Nanos::from_secs(1));
    let found = distance(late(&lab.fates), uniform_below(50e6, JITTER));
    assert!(found < critical(5_000.0), "{found}");
}
