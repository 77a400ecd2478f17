//! The reads at the end, after everything was healed: what is there now?

use super::load::{Sessions, nanos};
use super::perform::perform;
use super::writer::Recorder;
use crate::clock::{Deadline, interrupted, now, pause};
use crate::error::Context;
use crate::history::{Event, Kind, Workload};
use crate::netns::enter;
use crate::workload::{Call, Keys, final_calls};
use crate::{Error, Result};
use std::path::Path;
use std::time::Duration;

/// How long one read may take.
const READ_MAX: Duration = Duration::from_secs(2);

/// Between two attempts at one read.
const STEP: Duration = Duration::from_millis(50);

/// Where the reads go, and how they are stamped.
#[derive(Debug, Clone, Copy)]
pub struct From<'a> {
    /// The namespace to call from.
    pub netns: Option<&'a Path>,
    /// The nodes' names.
    pub nodes: &'a [String],
    /// When the run's clock started.
    pub epoch: Duration,
}

/// Reads everything that was ever called, in turn through every node; a read that gets no answer
/// is made anew through the next one. How many reads were answered; an error if some were not
/// until the limit was over.
pub fn read_back(
    workload: Workload,
    keys: &Keys,
    sessions: &Sessions,
    recorder: &Recorder,
    from: From<'_>,
    process: u64,
    limit: Duration,
) -> Result<u64> {
    let calls = final_calls(workload, keys);
    let (total, deadline) = (calls.len(), Deadline::after(limit));
    let read = || {
        from.netns.map_or(Ok(()), enter)?;
        let mut reader =
            Reader { workload, sessions, recorder, from, deadline, process, open: Vec::new() };
        let mut answered = 0;
        for (i, call) in calls.iter().enumerate() {
            answered += u64::from(reader.until_answered(call, i)?);
        }
        Ok(answered)
    };
    // A thread of its own, since it stays in the namespace that it enters.
    let answered = std::thread::scope(|scope| scope.spawn(read).join())
        .map_err(|_| Error::new("the final reads panicked"))??;
    if answered < total as u64 {
        return Err(Error::new(format!(
            "only {answered} of {total} final reads were answered within {limit:?}"
        )));
    }
    Ok(answered)
}

struct Reader<'a> {
    workload: Workload,
    sessions: &'a Sessions,
    recorder: &'a Recorder,
    from: From<'a>,
    deadline: Deadline,
    process: u64,
    open: Vec<Option<Box<dyn crate::system::Session>>>,
}

impl Reader<'_> {
    fn until_answered(&mut self, call: &Call, first: usize) -> Result<bool> {
        let nodes = self.from.nodes.len().max(1);
        self.open.resize_with(nodes, || None);
        for attempt in 0.. {
            if self.deadline.passed() || interrupted() {
                return Ok(false);
            }
            let node = (first + attempt) % nodes;
            if self.once(call, node)? {
                return Ok(true);
            }
            self.open[node] = None;
            pause(STEP);
        }
        Ok(false)
    }

    fn once(&mut self, call: &Call, node: usize) -> Result<bool> {
        if self.open[node].is_none() {
            // A node that cannot be spoken to is one that does not answer; others may.
            let Ok(session) = (self.sessions)(node) else { return Ok(false) };
            self.open[node] = Some(session);
        }
        let session = self.open[node].as_deref_mut().expect("opened just now");
        let stamp = || nanos(now().saturating_sub(self.from.epoch));
        let line = Event {
            t: stamp(),
            process: self.process,
            client: None,
            kind: Kind::Invoke,
            f: call.f,
            key: Some(call.key.clone()),
            value: call.value.clone(),
            done: true,
            is_final: true,
            node: self.from.nodes.get(node).cloned(),
            error: None,
        };
        let written = self.recorder.put(line.clone());
        let outcome = perform(session, self.workload, call, READ_MAX.min(self.deadline.left()));
        let answered = outcome.kind == Kind::Ok;
        let end = Event {
            t: stamp(),
            kind: outcome.kind,
            value: outcome.value,
            done: outcome.done,
            error: outcome.error,
            ..line
        };
        let written = self.recorder.put(end) && written;
        let lost = || "the history cannot be written any more".to_owned();
        written.then_some(()).ok_or("no writer").context(lost)?;
        Ok(answered)
    }
}
