//! Randomness as a function of what is decided, not of when.
//!
//! A draw is a hash of (seed, rule, from, to, which of the link's connections, which
//! matching segment of it). No ports and no times enter, so that the same table over the
//! same recorded packets repeats exactly, on every machine: what is not whole numbers is
//! calculated by `libm`, in Rust alone, since the standard library's `ln` and `cos` are the
//! machine's. `tests/statistics/` compares all of it with its definitions.
//!
//! ```text
//! mod.rs         which draw; whether something happens
//! correlated.rs  draws that hang on the one before
//! loss.rs        models of loss
//! delay.rs       delays by distribution
//! ```

mod correlated;
mod delay;
mod loss;

pub use correlated::correlated;
pub use delay::delay;
pub use loss::lost;

use crate::packet::LinkId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How many draws there are of one action for one segment.
pub const PARTS: u32 = 8;

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
    /// What is drawn for that segment: the rule's chance has the parts 0 to 7, its first action
    /// 8 to 15, and so on ([`Draw::of_action`]).
    pub part: u32,
}

/// The stable key of a rule, from its name.
#[must_use]
pub fn rule_key(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

impl Draw {
    /// The first draw of an action of the rule, which are numbered from 1; the number 0 is the
    /// rule's chance. Behind it are seven more ([`Draw::and`]).
    #[must_use]
    pub fn of_action(self, number: u32) -> Self {
        Self { part: number.wrapping_mul(PARTS), ..self }
    }

    /// The `k`-th draw behind this one, of the same action: at most 7 behind its first.
    #[must_use]
    pub fn and(self, k: u32) -> Self {
        debug_assert!(self.part % PARTS + k < PARTS, "an action has {PARTS} draws");
        Self { part: self.part.wrapping_add(k), ..self }
    }

    /// Of nothing: for rules that draw nothing.
    pub(super) const NONE: Self =
        Self { rule: 0, link: LinkId(0), connection: 0, segment: 0, part: 0 };

    /// The same for a segment that stands so many behind.
    pub(super) fn behind(self, segments: u32) -> Self {
        Self { segment: self.segment.wrapping_add(segments), ..self }
    }

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
        happens(self.bits(seed), share)
    }
}

/// Whether an event with a chance of `share / 2^32` happens by these 64 bits, which may be those
/// of [`correlated`].
#[must_use]
pub fn happens(bits: u64, share: u64) -> bool {
    (bits >> 32) < share
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn no_two_actions_share_a_draw() {
        let draw = draws(1).next().expect("one");
        let parts = (0..3).flat_map(|n| (0..PARTS).map(move |k| draw.of_action(n).and(k).part));
        assert_eq!(parts.collect::<Vec<_>>(), (0..24).collect::<Vec<_>>());
        assert_eq!(draw.of_action(0), draw, "the chance is drawn first");
    }

    #[test]
    fn a_third_happens_a_third_of_the_time() {
        let share = (1u64 << 32) / 3;
        let hits = draws(100_000).filter(|d| d.happens(7, share)).count();
        assert!((32_800..33_900).contains(&hits), "{hits} of 100,000");
        assert!(draws(1000).all(|d| d.happens(7, 1 << 32)), "100 % is always");
    }
}
