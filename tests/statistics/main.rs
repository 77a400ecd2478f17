//! Randomness against its definitions: rates, bursts, distributions, correlation, independence.
//!
//! Everything is seeded and hashed, so each test says the same for good. Thresholds are those that
//! a right implementation passes by any seed in all but one of 10,000 cases or fewer; each says
//! how it comes about. That they are narrow enough is shown by what they refuse.
//!
//! ```text
//! chain.rs       a slow solver for Markov chains: what is to be expected, and how exactly
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
mod pinned;
mod twins;

use raftq::engine::dice::{Draw, rule_key};
use raftq::packet::LinkId;

/// The seed of all of them.
const SEED: u64 = 7;

/// How many standard deviations an estimate may be off: a normal one is further off in 6 cases of
/// 100,000.
const SIGMAS: f64 = 4.0;

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

/// The largest distance between the distribution of whole numbers drawn and that of a value which
/// was cut to them; `below(x)` is the probability that the value is smaller than x.
fn distance(mut drawn: Vec<u64>, below: impl Fn(f64) -> f64) -> f64 {
    drawn.sort_unstable();
    let n = drawn.len() as f64;
    let mut worst = 0.0_f64;
    let mut before = 0;
    while before < drawn.len() {
        let value = drawn[before];
        let behind = before + drawn[before..].iter().take_while(|d| **d == value).count();
        let (left, right) = (below(value as f64), below(value as f64 + 1.0));
        worst = worst.max((before as f64 / n - left).abs());
        worst = worst.max((behind as f64 / n - right).abs());
        before = behind;
    }
    worst
}

/// The distance that n independent values exceed in one case of 10,000: by Kolmogorov's limit
/// `2 exp(-2 d^2 n)`, so that `d = sqrt(ln(20,000) / (2 n))`. For values that are not continuous
/// it is less still.
fn critical(n: f64) -> f64 {
    (20_000_f64.ln() / (2.0 * n)).sqrt()
}
