//! The one reading of time.

use std::time::Instant;

/// Now, by a monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the node's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
