//! Something else that wants the reader's core: it does nothing, all the time or part of it.

use super::udp::to_ns;
use crate::clock::now_ns;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::time::Duration;

const PERIOD_NS: u64 = 1_000_000;

/// Burns `percent` of every millisecond of the core it is pinned to, until it is killed.
///
/// With 100 it is a plain competitor. With less, and at the highest real-time priority, it leaves
/// a queue reader of any scheduling class the same fixed share of the core.
pub(crate) fn spin(percent: u8) -> ! {
    let busy_ns = to_ns(f64::from(percent) / 100.0 / 1000.0);
    let mut start = now_ns();
    loop {
        while now_ns() < start + busy_ns {
            std::hint::spin_loop();
        }
        start = now_ns().max(start + PERIOD_NS);
        if percent < 100 {
            let until = Duration::from_nanos(start).into();
            let flags = ClockNanosleepFlags::TIMER_ABSTIME;
            // A signal cuts one pause short, which changes the share by nothing that shows.
            let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until);
        }
    }
}
