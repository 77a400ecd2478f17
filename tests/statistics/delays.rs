//! Each distribution of delays beside its definition, by a Kolmogorov-Smirnov distance.
//!
//! The definitions are calculated apart from the engine's functions: the normal integral as a
//! series and by Simpson's rule, where the engine has `erfc` and draws by Box and Muller.

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

/// The normal distribution up to x, by Marsaglia's series: all terms are positive.
fn normal(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal(-x);
    }
    let (mut sum, mut term, mut i) = (x, x, 1.0);
    while term > sum * 1e-17 {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * density(x)
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// Below a delay, in deviations, of a normal one that is clamped at four and at zero.
fn normal_below(by: f64, jitter: f64) -> impl Fn(f64) -> f64 {
    move |ns| match (ns - by) / jitter {
        x if ns <= 0.0 || x <= -4.0 => 0.0,
        x if x > 4.0 => 1.0,
        x => normal(x),
    }
}

/// Below a delay that is Pareto's with a shape of 3, stretched by so much, and clamped.
fn pareto_below(stretch: f64, clamp: f64) -> impl Fn(f64) -> f64 {
    move |ns| match (ns - BY) / JITTER {
        x if x > clamp => 1.0,
        x => 1.0 - (x / stretch + 1.5).max(1.0).powi(-3),
    }
}

/// One deviation of Pareto's distribution with the shape 3 is the square root of 3/4.
const STRETCH: f64 = 1.154_700_538_379_251_5;

/// Below a delay that is a quarter normal and three quarters Pareto at the same quantile: both
/// along a grid of quantiles that Simpson's rule sums up, and straight lines between.
fn pareto_normal_below() -> impl Fn(f64) -> f64 {
    const STEP: f64 = 1.0 / 1_024.0;
    let mut below = 0.0;
    let grid: Vec<(f64, f64)> = (-8 * 1_024..8 * 1_024)
        .map(|i| {
            let z = f64::from(i) * STEP;
            let middle = density(z - STEP / 2.0);
            below += STEP / 6.0 * (density(z - STEP) + 4.0 * middle + density(z));
            let pareto = ((1.0 - below).max(1e-18).cbrt().recip() - 1.5) * STRETCH;
            let x = 0.25 * z.clamp(-4.0, 4.0) + 0.75 * pareto.min(10.0);
            (BY + JITTER * x, below)
        })
        .collect();
    move |ns| {
        let i = grid.partition_point(|(at, _)| *at < ns);
        match (i.checked_sub(1).map(|i| grid[i]), grid.get(i)) {
            (Some((a, low)), Some((b, high))) => low + (high - low) * (ns - a) / (b - a),
            (None, _) => 0.0,
            (_, None) => 1.0,
        }
    }
}

fn assert_near(distribution: Distribution, below: impl Fn(f64) -> f64) {
    let found = distance(drawn(JITTER_NS, distribution, &[]), below);
    let limit = critical(f64::from(N));
    assert!(found < limit, "{distribution:?}: {found}, at most {limit}");
}

#[test]
fn uniform() {
    assert_near(Distribution::Uniform, |ns| ((ns - BY + JITTER) / (2.0 * JITTER)).clamp(0.0, 1.0));
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
    assert_near(Distribution::Pareto, pareto_below(STRETCH, 10.0));
}

#[test]
fn pareto_normal() {
    assert_near(Distribution::ParetoNormal, pareto_normal_below());
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
    let netems = distance(paretos(), pareto_below(4.0 / 3.0, 10.0));
    let clamped = distance(paretos(), pareto_below(STRETCH, 4.0));
    let independent = {
        // A quarter and three quarters of two draws, not of two values at the same quantile.
        let (mut sums, paretos) = (drawn(JITTER_NS, Distribution::Normal, &[]), paretos());
        for (sum, pareto) in sums.iter_mut().zip(paretos.iter().rev()) {
            *sum = *sum / 4 + pareto * 3 / 4;
        }
        distance(sums, pareto_normal_below())
    };
    for found in [wider, netems, clamped, independent] {
        assert!(found > limit, "{found}, and only {limit} would be refused");
    }
}
