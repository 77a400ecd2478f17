//! Each impairment against its definition, through the whole engine: rules as files have them are
//! compiled, packets of several connections are judged one by one, held and let go.
//!
//! `tests/statistics/` asks the same of the dice alone, more narrowly. Here it is asked whether the
//! engine rolls the right ones: which draw for which packet, what is remembered of which
//! connection, and what becomes of a delay or a loss on the way out. Thresholds are those of
//! `tests/statistics/`: a right implementation passes by any seed in all but one of 10,000 cases.
//!
//! ```text
//! loss.rs        rates, runs, correlation, models, packets that are several segments
//! delays.rs      distributions and correlation, with and without the order of a connection
//! changes.rs     copies, damage, reordering
//! turns.rs       bottlenecks and slots
//! independent.rs connections, links and rules know nothing of each other; what repeats
//! twins.rs       naive twins of what remembers, packet by packet
//! ```

mod changes;
mod delays;
mod independent;
mod loss;
mod turns;
mod twins;

#[path = "../statistics/chain.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod chain;
#[path = "../engine_support/mod.rs"]
mod engine_support;
#[path = "../statistics/measure.rs"]
mod measure;
#[path = "../statistics/shapes.rs"]
mod shapes;

use engine_support::lab::{End, Fate, Lab, Packet, udp};
use measure::{SIGMAS, autocorrelation, deviation};
use raftq::time::Nanos;

/// Connections, and packets of each.
const CONNECTIONS: usize = 4;
const EACH: usize = 25_000;

const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

/// From n1 to n2, one of each connection by turns, and all of it again after a while; what became
/// of each connection's packets.
fn play(rule: &str, apart: Nanos) -> Vec<Vec<Fate>> {
    played(&mut Lab::of(rule), apart)
}

fn played(lab: &mut Lab, apart: Nanos) -> Vec<Vec<Fate>> {
    let packets: Vec<Packet> =
        (0..CONNECTIONS as u16).map(|i| udp((1, 40_000 + i), 2, 100)).collect();
    for i in 0..EACH as u64 {
        for packet in &packets {
            lab.send(Nanos(apart.0 * i), packet);
        }
    }
    lab.run_until(lab.now + Nanos::from_secs(10));
    let of = |connection| lab.fates.iter().skip(connection).step_by(CONNECTIONS).cloned();
    (0..CONNECTIONS).map(|connection| of(connection).collect()).collect()
}

fn dropped(fates: &[Fate]) -> Vec<bool> {
    fates.iter().map(|fate| fate.end == End::Dropped).collect()
}

fn numbers(hits: &[bool]) -> Vec<f64> {
    hits.iter().map(|hit| f64::from(u8::from(*hit))).collect()
}

/// A share of all, and how outcomes that are `lag` apart go together: `rho^lag`.
fn assert_chance(what: &str, hits: &[bool], p: f64, rho: f64) {
    let n = hits.len() as f64;
    let found = hits.iter().filter(|hit| **hit).count() as f64 / n;
    // The variance of a mean whose parts correlate by rho^k: all covariances sum up to
    // (1 + rho) / (1 - rho) of the variance.
    let off = SIGMAS * (p * (1.0 - p) * (1.0 + rho) / (1.0 - rho) / n).sqrt();
    assert!((found - p).abs() < off, "{what}: {found}, {p} +- {off}");
    // The fourth moment of a standardised Bernoulli value.
    let kurtosis = (1.0 - 3.0 * p * (1.0 - p)) / (p * (1.0 - p));
    assert_falls(what, &numbers(hits), rho, kurtosis);
}

fn assert_falls(what: &str, values: &[f64], rho: f64, kurtosis: f64) {
    let n = values.len() as f64;
    let mut wanted = 1.0;
    for lag in 1..=3 {
        wanted *= rho;
        let found = autocorrelation(values, lag);
        let off = SIGMAS * deviation(n, kurtosis, rho, lag);
        assert!((found - wanted).abs() < off, "{what}, lag {lag}: {found}, {wanted} +- {off}");
    }
}
