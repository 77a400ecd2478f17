//! The one clock: `CLOCK_MONOTONIC`, read by the shell and passed down; and the date, for names.

use crate::time::Nanos;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, not counting suspend.
#[must_use]
pub fn now() -> Nanos {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux");
    Nanos(t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
}

/// The date and time of day in UTC so long ago, as RFC 3339 writes it.
#[must_use]
pub fn date_before(ago: Nanos) -> String {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on Linux");
    let then = i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()) - i128::from(ago.0);
    jiff::Timestamp::from_nanosecond(then).map_or_else(|_| String::new(), |at| at.to_string())
}

/// The date and time of day in UTC, as it stands in names: `20261124T155012Z`.
#[must_use]
pub fn stamp() -> String {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on Linux");
    jiff::Timestamp::from_second(t.tv_sec())
        .map_or_else(|_| t.tv_sec().to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// The time of day, UTC, that it was at this moment of [`now`]'s clock, as RFC 3339 has it; to the
/// millisecond.
#[must_use]
pub fn day_at(moment: Nanos) -> String {
    let t = clock_gettime(ClockId::CLOCK_REALTIME).expect("CLOCK_REALTIME exists on Linux");
    let real = i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec());
    let then = real - i128::from(now().0) + i128::from(moment.0);
    jiff::Timestamp::from_nanosecond(then)
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
