//! What machines read of a run: `summary.json` and `junit.xml`, also of one that came to nothing.

use super::experiment::{Experiment, Failure};
use super::verdict::{SUMMARY, Summary};
use crate::kernel::clock;
use crate::report::junit::{self, JUNIT, Made};
use std::time::Duration;

impl Experiment {
    /// Writes what machines read. A verdict that does not reach them is as good as none.
    pub(super) fn tell_machines(
        &self,
        result: Result<Summary, Failure>,
        epoch: Duration,
    ) -> Result<Summary, Failure> {
        let took = raftq_harness::clock::since(epoch);
        let made = Made { began: clock::day_at(epoch.into()), took };
        match result {
            Ok(mut summary) => {
                if let Err(why) = summary.write(&self.folder) {
                    summary.unwritten(SUMMARY, &why.to_string());
                }
                if let Err(why) = junit::write(&self.folder, junit::suite(&summary, &made)) {
                    summary.unwritten(JUNIT, &why);
                    // Told in the result in any case.
                    let _ = summary.write(&self.folder);
                }
                Ok(summary)
            }
            Err(failure) => {
                if self.folder.exists() {
                    // The error itself is told, and the exit code says it, too.
                    let _ = junit::write(&self.folder, junit::failed(self, &failure, &made));
                }
                Err(failure)
            }
        }
    }
}
