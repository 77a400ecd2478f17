//! Randomness against its definitions: rates, bursts, distributions, correlation, independence.
//!
//! Everything is seeded and hashed, so each test says the same for good. Thresholds are those that
//! a right implementation passes by any seed in all but one of 10,000 cases or fewer; each says
//! how it comes about. That they are narrow enough is shown by what they refuse.
//!
//! ```text
//! chain.rs       a slow solver for Markov chains: what is to be expected, and how exactly
//! shapes.rs      the definitions of distributions; measure.rs  how far a sample is from them
//! loss.rs        both models of loss: rate, bursts, time in each state; twins.rs: draw by draw
//! delays.rs      each distribution by a Kolmogorov-Smirnov distance
//! correlated.rs  what is kept and what is added by a correlation, and what netem's does
//! independent.rs connections, links, rules, parts and seeds know nothing of each other
//! pinned.rs      a few draws of each kind, bit by bit
//! ```

mod chain;
mod correlated;
mod delays;
mod independent;
mod loss;
mod measure;
mod pinned;
mod shapes;
mod twins;

use measure::{SIGMAS, autocorrelation, critical, deviation, distance};
use raftq::engine::dice::{Draw, rule_key};
use raftq::packet::LinkId;

/// The seed of all of them.
const SEED: u64 = 7;

/// The first draws of the second action of a rule, segment by segment.
fn draws(n: u32) -> impl Iterator<Item = Draw> {
    let first =
        Draw { rule: rule_key("statistics"), link: LinkId(5), connection: 3, segment: 0, part: 0 };
    (0..n).map(move |segment| Draw { segment, ..first }.of_action(2))
}

/// A share of 2^32, from a probability.
#[expect(clippy::cast_sign_loss, reason = "no probability is negative")]
fn share(p: f64) -> u64 {
    (p * 4_294_967_296.0).round() as u64
}
