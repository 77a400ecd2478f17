//! The one clock: `CLOCK_MONOTONIC`, read by the shell and passed down; and the date, for names.

use crate::time::Nanos;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, not counting suspend.
#[must_use]
pub fn now() -> Nanos {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux");
    Nanos(t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
}

/// The date and time of day in UTC, as it stands in names: `20261124T155012Z`.
#[must_use]
pub fn stamp() -> String {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on Linux");
    jiff::Timestamp::from_second(t.tv_sec())
        .map_or_else(|_| t.tv_sec().to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// The date and time of day in UTC that it was at this moment of [`now`]'s clock, as RFC 3339 has
/// it; to the millisecond.
#[must_use]
pub fn day_at(moment: Nanos) -> String {
    let then = i128::from(moment.0) + i128::from(since_1970().0);
    jiff::Timestamp::from_nanosecond(then)
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// What has to be added to [`now`] for the time since 1970, as the clock on the wall has it.
#[must_use]
pub fn since_1970() -> Nanos {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on Linux");
    let wall = t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned();
    Nanos(wall).saturating_sub(now())
}
