//! The measuring side's own clock, so that nothing measured is also what measures.

use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux")
}

/// CPU nanoseconds that a process has used so far: all its threads, ended ones too, user and
/// kernel. Work the kernel does on a packet inside the process's own send is charged to it.
pub(crate) fn cpu_ns(pid: u32) -> nix::Result<u64> {
    read(clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?)
}

/// Gives the CPU away for about `ms` milliseconds: a poll on nothing.
pub(crate) fn nap_ms(ms: u16) {
    // A signal ends the nap early, and a nap promises no more than that.
    let _ = poll(&mut [], PollTimeout::from(ms));
}

fn read(clock: ClockId) -> nix::Result<u64> {
    let t = clock_gettime(clock)?;
    Ok(t.tv_sec().cast_unsigned() * 1_000_000_000 + t.tv_nsec().cast_unsigned())
}

/// Asks `done` every few milliseconds; false when it has not come true within `ms`.
pub(crate) fn poll_until(ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let deadline = now_ns() + ms * 1_000_000;
    loop {
        if done() {
            return true;
        }
        if now_ns() >= deadline {
            return false;
        }
        nap_ms(3);
    }
}
