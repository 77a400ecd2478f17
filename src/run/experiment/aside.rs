//! What somebody who presses Ctrl-C need not wait for.

use super::Failure;
use crate::kernel::poll;
use crate::time::Nanos;
use raftq_harness::check::{Budget, Judgement, judge};
use raftq_harness::clock::interrupted;
use raftq_harness::cluster::Cluster;
use std::path::Path;
use std::sync::Arc;

/// Ends a cluster's processes first where somebody is waiting for raftq to end: a client whose
/// call goes unanswered would wait for as long as it may.
pub(super) struct Hurry(pub(super) Arc<Cluster>);

impl Drop for Hurry {
    fn drop(&mut self) {
        if interrupted() {
            for node in 0..self.0.size() {
                // What cannot be killed is ended by the cluster's own guards, or is gone.
                let _ = self.0.kill(node);
            }
        }
    }
}

/// Judges on a thread of its own, so that an interrupt is heard meanwhile: it has nothing to
/// clean up, and ends with the process.
pub(super) fn judge_aside(path: &Path, budget: Budget) -> Result<Judgement, Failure> {
    let owned = path.to_owned();
    let thread = std::thread::Builder::new().name("judge".into());
    let thread = thread.spawn(move || judge(&owned, budget));
    let thread = thread.map_err(|e| Failure::Environment(format!("no thread ({e})")))?;
    while !thread.is_finished() {
        if interrupted() {
            return Err(Failure::Environment("interrupted".into()));
        }
        poll::pause(Nanos::from_millis(5));
    }
    let judged = thread.join().map_err(|_| Failure::Environment("judging panicked".into()))?;
    Ok(judged?)
}
