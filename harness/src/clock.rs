//! Waiting for conditions, never for times: every wait has a limit and says what it waited for.
//!
//! The root package's clock is out of reach from here (the dependency points the other way),
//! so this is the harness's own reading of the same `CLOCK_MONOTONIC`.

use crate::{Error, Result};
use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set for good by [`interrupt_waits`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Time since boot, the same in every process of this host.
#[must_use]
pub fn now() -> Duration {
    let t = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists on Linux");
    t.into()
}

/// How long ago `start` was, by the same clock.
#[must_use]
pub fn since(start: Duration) -> Duration {
    now().saturating_sub(start)
}

/// A moment after which a wait is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Duration);

impl Deadline {
    /// The moment `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// What is left; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_sub(now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// What is left, rounded up to poll's milliseconds so that a wait never ends early.
    #[must_use]
    pub fn poll_timeout(self) -> PollTimeout {
        let ms = self.left().as_micros().div_ceil(1000);
        PollTimeout::try_from(u32::try_from(ms).unwrap_or(u32::MAX)).unwrap_or(PollTimeout::MAX)
    }
}

/// Makes every [`wait_for`] of this process fail from now on, so that a program told to end
/// comes back through its guards. Those do not wait that way.
pub fn interrupt_waits() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether that was called.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Asks `ready` every `every` until it has an answer. After `limit` the error names `what`.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    every: Duration,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Deadline::after(limit);
    loop {
        if interrupted() {
            return Err(Error::new(format!("interrupted while waiting for {what}")));
        }
        if let Some(answer) = ready() {
            return Ok(answer);
        }
        if deadline.passed() {
            return Err(Error::new(format!("waited {limit:?} in vain for {what}")));
        }
        pause(every.min(deadline.left()));
    }
}

/// Lets `duration` pass. Only the step of a poll or the pace of a sender, never a guess at how
/// long something else takes.
pub fn pause(duration: Duration) {
    let deadline = Deadline::after(duration);
    while !deadline.passed() {
        // A signal may end the poll early; the loop looks at the clock, not at the result.
        let _ = poll(&mut [], deadline.poll_timeout());
    }
}
