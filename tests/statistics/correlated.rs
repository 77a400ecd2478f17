//! A correlation keeps what each value alone is, and adds rho^k at lag k; netem's does neither.

use crate::{SEED, SIGMAS, autocorrelation, critical, deviation, distance, draws, share};
use raftq::engine::dice::{correlated, delay, happens};
use raftq::rules::table::{ALWAYS, Delay, Distribution, Order};
use raftq::time::Nanos;

const N: u32 = 500_000;
const RHOS: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

fn values(rho: f64) -> Vec<u64> {
    let mut memory = 0;
    draws(N).map(|draw| correlated(draw, SEED, share(rho), &mut memory)).collect()
}

fn assert_falls_by_rho(rho: f64, values: &[f64], kurtosis: f64) {
    let mut wanted = 1.0;
    for lag in 1..=3 {
        wanted *= rho;
        let found = autocorrelation(values, lag);
        let may = SIGMAS * deviation(f64::from(N), kurtosis, rho, lag);
        assert!((found - wanted).abs() < may, "{rho}, lag {lag}: {found}, {wanted} +- {may}");
    }
}

#[test]
fn whatever_is_drawn_is_correlated_by_powers_of_rho() {
    let by = Nanos::from_millis(50);
    let jitter = Nanos::from_millis(10);
    let normal = Delay {
        by,
        jitter,
        distribution: Distribution::Normal,
        order: Order::Flow,
        correlation: 0,
    };
    for rho in RHOS {
        let drawn = values(rho);
        let evenly: Vec<f64> = drawn.iter().map(|bits| *bits as f64).collect();
        assert_falls_by_rho(rho, &evenly, 1.8);
        let delays: Vec<f64> =
            drawn.iter().map(|bits| delay(&normal, &[], *bits).0 as f64).collect();
        assert_falls_by_rho(rho, &delays, 3.0);
        // What happens one time in five: the fourth moment of such a value is 1 / pq - 3.
        let events: Vec<f64> =
            drawn.iter().map(|bits| f64::from(happens(*bits, share(0.2)))).collect();
        assert_falls_by_rho(rho, &events, 1.0 / 0.16 - 3.0);
    }
}

/// An event's covariances at lag k are rho^k of its variance, whatever the event is. So all
/// variances grow by (1 + rho) / (1 - rho), as if there were that much fewer values.
fn independent_ones(rho: f64) -> f64 {
    f64::from(N) * (1.0 - rho) / (1.0 + rho)
}

#[test]
fn each_value_alone_stays_evenly_distributed() {
    for rho in RHOS {
        let upper: Vec<u64> = values(rho).iter().map(|bits| bits >> 32).collect();
        let found = distance(upper, |x| (x / 4_294_967_296.0).clamp(0.0, 1.0));
        let limit = critical(independent_ones(rho));
        assert!(found < limit, "{rho}: {found}, at most {limit}");
    }
}

#[test]
fn a_rate_is_kept() {
    for (rho, rate) in RHOS.into_iter().flat_map(|rho| [0.01, 0.1, 0.5].map(|rate| (rho, rate))) {
        let hits = values(rho).iter().filter(|bits| happens(**bits, share(rate))).count();
        let found = hits as f64 / f64::from(N);
        let deviation = (rate * (1.0 - rate) / independent_ones(rho)).sqrt();
        assert!((found - rate).abs() < SIGMAS * deviation, "{rho}: {found}, not {rate}");
    }
}

#[test]
fn without_a_correlation_values_are_drawn_anew_and_with_all_of_it_never() {
    let mut memory = 0;
    for draw in draws(1_000) {
        let value = correlated(draw, SEED, 0, &mut memory);
        assert_eq!(value, draw.bits(SEED) | 1);
        assert_ne!(memory, 0, "that would mean that nothing was drawn yet");
    }
    let mut memory = 0;
    let first = draws(1).next().expect("one").bits(SEED) | 1;
    assert!(draws(1_000).all(|draw| correlated(draw, SEED, ALWAYS, &mut memory) == first));
}

/// The figures in the documentation of `correlated`: the rate of netem's blend.
#[test]
fn netems_blend_loses_less_than_it_says() {
    let blended = |rho: f64, rate: f64| {
        let mut value = 0.5;
        let lost = draws(N).filter(|draw| {
            value =
                (draw.bits(SEED) >> 11) as f64 / (1_u64 << 53) as f64 * (1.0 - rho) + value * rho;
            value < rate
        });
        lost.count() as f64 / f64::from(N)
    };
    for (rho, rate, wanted, off) in [
        (0.25, 0.01, 0.0, 2e-5),
        (0.25, 0.1, 0.0174, 1e-3),
        (0.25, 0.3, 0.234, 4e-3),
        (0.5, 0.1, 0.0011, 3e-4),
        (0.5, 0.3, 0.13, 4e-3),
        (0.75, 0.3, 0.032, 4e-3),
        (0.75, 0.5, 0.5, 1e-2),
    ] {
        let found = blended(rho, rate);
        assert!((found - wanted).abs() < off, "{rate} at {rho}: {found}, not {wanted}");
    }
}
