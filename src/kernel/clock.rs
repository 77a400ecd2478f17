//! The one clock: `CLOCK_MONOTONIC`, read by the shell and passed down.

use crate::time::Nanos;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, not counting suspend.
#[must_use]
pub fn now() -> Nanos {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux");
    Nanos(t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
}
