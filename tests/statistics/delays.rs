//! Each distribution of delays beside its definition (`shapes.rs`), by a Kolmogorov-Smirnov
//! distance.

use crate::shapes::{PARETO, normal_below, pareto_below, pareto_normal_below, uniform_below};
use crate::{SEED, critical, distance, draws};
use raftq::engine::dice::delay;
use raftq::rules::table::{Delay, DistTable, Distribution, Order};
use raftq::time::Nanos;

const N: u32 = 200_000;
const BY: f64 = 20e6;
const JITTER: f64 = 5e6;
const BY_NS: Nanos = Nanos::from_millis(20);
const JITTER_NS: Nanos = Nanos::from_millis(5);

fn drawn(jitter: Nanos, distribution: Distribution, tables: &[DistTable]) -> Vec<u64> {
    let shape = Delay { by: BY_NS, jitter, distribution, order: Order::Flow, correlation: 0 };
    draws(N).map(|draw| delay(&shape, tables, draw.bits(SEED)).0).collect()
}

fn assert_near(distribution: Distribution, below: impl Fn(f64) -> f64) {
    let found = distance(drawn(JITTER_NS, distribution, &[]), below);
    let limit = critical(f64::from(N));
    assert!(found < limit, "{distribution:?}: {found}, at most {limit}");
}

#[test]
fn uniform() {
    assert_near(Distribution::Uniform, uniform_below(BY, JITTER));
}

#[test]
fn normal_delays() {
    assert_near(Distribution::Normal, normal_below(BY, JITTER));
}

/// A deviation as large as the mean: one of six is below zero, and leaves at once.
#[test]
fn normal_delays_below_zero_are_none() {
    let delays = drawn(BY_NS, Distribution::Normal, &[]);
    let at_once = delays.iter().filter(|d| **d == 0).count() as f64 / f64::from(N);
    let deviation = (0.1587_f64 * 0.8413 / f64::from(N)).sqrt();
    assert!((at_once - 0.1587).abs() < 4.0 * deviation, "{at_once}");
    assert!(distance(delays, normal_below(BY, BY)) < critical(f64::from(N)));
}

#[test]
fn pareto() {
    assert_near(Distribution::Pareto, pareto_below(BY, JITTER, PARETO));
}

#[test]
fn pareto_normal() {
    assert_near(Distribution::ParetoNormal, pareto_normal_below(BY, JITTER));
}

#[test]
fn a_table_gives_each_of_its_values_alike() {
    // Some twice, some near each other, one that would be before the packet came.
    let text = "-8192 -8191 -100 0 0 0 1 2 5000 8192 32767 -32768 400 401 402";
    let table = DistTable::parse(text).expect("a table");
    let scaled = |value: i16| (BY + JITTER * f64::from(value) / 8192.0).round().max(0.0);
    let values: Vec<f64> = table.values().iter().map(|value| scaled(*value)).collect();
    let below =
        |ns: f64| values.iter().filter(|value| **value < ns).count() as f64 / values.len() as f64;
    let delays = drawn(JITTER_NS, table.distribution(1), &[tiny(), table.clone()]);
    assert!(delays.contains(&0), "-4 deviations of 5 ms are before 20 ms");
    let longest = delays.iter().max().map(|longest| *longest as f64);
    assert_eq!(longest, Some(scaled(i16::MAX)));
    let found = distance(delays, below);
    assert!(found < critical(f64::from(N)), "{found}");
}

fn tiny() -> DistTable {
    DistTable::parse("1").expect("a table")
}

/// The means and deviations that the documentation of each tells.
#[test]
fn means_and_deviations() {
    let shapes = [
        (Distribution::Uniform, 0.0, 0.577),
        (Distribution::Normal, 0.0, 1.0),
        (Distribution::Pareto, -0.006, 0.87),
        (Distribution::ParetoNormal, -0.004, 0.857),
    ];
    for (distribution, mean, deviation) in shapes {
        let delays = drawn(JITTER_NS, distribution, &[]);
        let n = f64::from(N);
        let values = || delays.iter().map(|d| (*d as f64 - BY) / JITTER);
        let found = values().sum::<f64>() / n;
        let power = |k: i32| values().map(|x| (x - found).powi(k)).sum::<f64>() / n;
        assert!((found - mean).abs() < 4.0 / n.sqrt(), "{distribution:?}: mean {found}");
        // A sample's deviation is itself off by sqrt((m4 - s^4) / (4 s^2 n)).
        let s = power(2).sqrt();
        let off = ((power(4) - s.powi(4)) / (4.0 * s * s * n)).sqrt();
        assert!((s - deviation).abs() < 4.0 * off, "{distribution:?}: deviation {s} +- {off}");
    }
}

/// What is nearly right is found out: jitter of 2 % more, another clamp, netem's stretch.
#[test]
fn what_is_nearly_right_is_found_out() {
    let limit = critical(f64::from(N));
    let normals = drawn(JITTER_NS, Distribution::Normal, &[]);
    let wider = distance(normals, normal_below(BY, JITTER * 1.02));
    let paretos = || drawn(JITTER_NS, Distribution::Pareto, &[]);
    let netems = distance(paretos(), pareto_below(BY, JITTER, (4.0 / 3.0, 10.0)));
    let clamped = distance(paretos(), pareto_below(BY, JITTER, (PARETO.0, 4.0)));
    let independent = {
        // A quarter and three quarters of two draws, not of two values at the same quantile.
        let (mut sums, paretos) = (drawn(JITTER_NS, Distribution::Normal, &[]), paretos());
        for (sum, pareto) in sums.iter_mut().zip(paretos.iter().rev()) {
            *sum = *sum / 4 + pareto * 3 / 4;
        }
        distance(sums, pareto_normal_below(BY, JITTER))
    };
    for found in [wider, netems, clamped, independent] {
        assert!(found > limit, "{found}, and only {limit} would be refused");
    }
}
