//! Randomness as a function of what is decided, not of when.
//!
//! A draw is a hash of (seed, rule, from, to, which of the link's connections, which
//! matching segment of it). No ports and no times enter, so that the same table over the
//! same recorded packets repeats exactly, on every machine.

use crate::packet::LinkId;
use crate::rules::table::{Delay, Distribution};
use crate::time::Nanos;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Identifies one draw; every field enters the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Hash of the rule's name ([`rule_key`]): inserting a rule leaves the others' draws.
    pub rule: u64,
    /// The ordered pair of nodes.
    pub link: LinkId,
    /// Ordinal of the connection among those of its link.
    pub connection: u32,
    /// Ordinal of the matching segment in its connection and direction.
    pub segment: u32,
    /// What is drawn for that segment: 0 is the rule's chance, from 1 on its delays.
    pub part: u32,
}

impl Draw {
    /// Of nothing: for rules that draw nothing.
    pub(super) const NONE: Self =
        Self { rule: 0, link: LinkId(0), connection: 0, segment: 0, part: 0 };

    /// The same for a segment that stands so many behind.
    pub(super) fn behind(self, segments: u32) -> Self {
        Self { segment: self.segment.wrapping_add(segments), ..self }
    }
}

/// The stable key of a rule, from its name.
#[must_use]
pub fn rule_key(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

impl Draw {
    /// 64 evenly distributed bits.
    #[must_use]
    pub fn bits(self, seed: u64) -> u64 {
        let mut bytes = [0; 22];
        bytes[..8].copy_from_slice(&self.rule.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.link.0.to_le_bytes());
        bytes[10..14].copy_from_slice(&self.connection.to_le_bytes());
        bytes[14..18].copy_from_slice(&self.segment.to_le_bytes());
        bytes[18..].copy_from_slice(&self.part.to_le_bytes());
        xxh3_64_with_seed(&bytes, seed)
    }

    /// Whether an event with a chance of `share / 2^32` happens.
    #[must_use]
    pub fn happens(self, seed: u64, share: u64) -> bool {
        (self.bits(seed) >> 32) < share
    }
}

/// placeholder
pub fn correlated(draw: Draw, seed: u64, _rho: u64, _memory: &mut u64) -> u64 {
    draw.bits(seed)
}
/// placeholder
pub fn lost(_m: &crate::rules::random::Loss, _s: &mut u64, _seed: u64, _draw: Draw) -> bool {
    false
}
/// One delay, drawn with 64 random bits.
#[must_use]
pub fn delay(delay: &Delay, _tables: &[crate::rules::dist::DistTable], bits: u64) -> Nanos {
    if delay.jitter == Nanos::ZERO {
        return delay.by;
    }
    let by = delay.by.0 as f64;
    let jitter = delay.jitter.0 as f64;
    let offset = match delay.distribution {
        Distribution::Uniform => unit(bits) * 2.0 - 1.0,
        Distribution::Normal => normal(bits).clamp(-4.0, 4.0),
        _ => 0.0, // placeholder
    };
    #[expect(clippy::cast_sign_loss, reason = "clamped at zero")]
    Nanos((by + jitter * offset).max(0.0) as u64)
}

/// A number in `[0, 1)` from the upper 53 bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A standard normal value by Box and Muller's transform, from both halves of the bits.
fn normal(bits: u64) -> f64 {
    let u = ((bits >> 32) as f64 + 1.0) / 4_294_967_296.0;
    let v = (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::table::Order;

    fn draws(n: u32) -> impl Iterator<Item = Draw> {
        let rule = rule_key("a rule");
        (0..n).map(move |segment| Draw { rule, link: LinkId(1), connection: 1, segment, part: 0 })
    }

    #[test]
    fn a_draw_is_the_same_on_every_machine() {
        let (rule, link) = (rule_key("x"), LinkId(3));
        let draw = Draw { rule, link, connection: 2, segment: 1, part: 0 };
        assert_eq!(draw.bits(7), draw.bits(7));
        assert_ne!(draw.bits(7), draw.bits(8));
        assert_ne!(draw.bits(7), Draw { segment: 2, ..draw }.bits(7));
        assert_ne!(draw.bits(7), Draw { connection: 1, ..draw }.bits(7));
        assert_ne!(draw.bits(7), Draw { part: 1, ..draw }.bits(7));
        // The published value for no bytes; names and draws of old recordings hang on it.
        assert_eq!(rule_key(""), 0x2d06_8005_38d3_94c2, "xxh3 is fixed for good");
    }

    #[test]
    fn a_third_happens_a_third_of_the_time() {
        let share = (1u64 << 32) / 3;
        let hits = draws(100_000).filter(|d| d.happens(7, share)).count();
        assert!((32_800..33_900).contains(&hits), "{hits} of 100,000");
        assert!(draws(1000).all(|d| d.happens(7, 1 << 32)), "100 % is always");
    }

    #[test]
    fn jitter_stays_inside_its_shape() {
        let uniform = Delay {
            by: Nanos::from_millis(20),
            jitter: Nanos::from_millis(5),
            distribution: Distribution::Uniform,
            order: Order::Flow,
            correlation: 0,
        };
        let drawn: Vec<u64> = draws(10_000).map(|d| delay(&uniform, &[], d.bits(1)).0).collect();
        assert!(drawn.iter().all(|d| (15_000_000..=25_000_000).contains(d)));
        let mean = drawn.iter().sum::<u64>() / 10_000;
        assert!((19_900_000..20_100_000).contains(&mean), "mean {mean}");

        let normal = Delay { distribution: Distribution::Normal, ..uniform };
        let drawn: Vec<u64> = draws(10_000).map(|d| delay(&normal, &[], d.bits(1)).0).collect();
        let within = drawn.iter().filter(|d| (15_000_000..=25_000_000).contains(*d)).count();
        assert!((6_600..7_050).contains(&within), "one deviation holds 68 %: {within}");
        assert!(drawn.iter().all(|d| *d <= normal.longest().0));
    }
}
