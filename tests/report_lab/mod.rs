//! Stories of runs that never were: small ones to look at, one as large as they come, and one
//! whose names are hostile.

#![allow(unreachable_pub, reason = "a module of tests")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of stories are small and of the sign that they need"
)]

pub mod browser;
mod stories;
mod traffic;

pub use stories::{big, holding, hostile, undecided, violated};

/// Numbers that are the same on every machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2) | 1)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % n.max(1)
    }

    /// Around `middle`, mostly below it, now and then far above, as latencies are.
    pub fn latency(&mut self, middle: i64) -> i64 {
        let tail = if self.below(50) == 0 { 12 } else { 1 };
        middle / 2 + self.below(middle.unsigned_abs() * tail) as i64
    }
}

pub const MS: i64 = 1_000;
pub const S: i64 = 1_000_000;
