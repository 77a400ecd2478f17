//! The clients' threads: their pace, what they count, and how they stop.

use super::client::Client;
use super::counts::{Counts, Tally};
use super::writer::Recorder;
use crate::error::Context;
use crate::history::{Function, Workload};
use crate::netns::enter;
use crate::system::Session;
use crate::workload::{Keys, Skew};
use crate::{Error, Result};
use crossbeam_channel::bounded;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a client's thread needs of stack; there may be thousands.
const STACK: usize = 512 << 10;

/// What a number of clients does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which workload.
    pub workload: Workload,
    /// How many clients, at least one.
    pub clients: usize,
    /// Calls a second of all of them; as fast as answers come without.
    pub rate: Option<u32>,
    /// Different keys in use at a time.
    pub keys: usize,
    /// Which of them are preferred.
    pub skew: f64,
    /// Weights by function; empty for the workload's own.
    pub mix: Vec<(Function, u32)>,
    /// Rest between a client's calls.
    pub think: Duration,
    /// After which a call is given up.
    pub timeout: Duration,
    /// Whether a client stays with its node, whatever that answers.
    pub sticky: bool,
    /// After how many calls a key makes room for a new one.
    pub per_key: u64,
    /// Seed of all choices.
    pub seed: u64,
    /// When the run's clock started.
    pub epoch: Duration,
    /// The namespace to call from.
    pub netns: Option<PathBuf>,
    /// The nodes' names.
    pub nodes: Vec<String>,
}

/// Makes a session with a node, counted from 0.
pub type Sessions = Arc<dyn Fn(usize) -> Result<Box<dyn Session>> + Send + Sync>;

/// Clients under way; dropping stops them.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What clients leave behind that have ended.
#[derive(Debug)]
pub struct Stopped {
    /// What became of their calls.
    pub counts: Counts,
    /// The keys that they met on.
    pub keys: Arc<Keys>,
    /// A process number that nobody has used.
    pub process: u64,
}

/// What the clients of one load have in common.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) keys: Arc<Keys>,
    pub(super) sessions: Sessions,
    pub(super) recorder: Recorder,
    pub(super) stop: AtomicBool,
    /// How many process numbers are taken.
    pub(super) processes: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) unrecorded: AtomicU64,
    pub(super) tally: Mutex<Tally>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("plan", &self.shared.plan).finish_non_exhaustive()
    }
}

impl Load {
    /// Starts every client.
    pub fn start(plan: Plan, sessions: Sessions, recorder: Recorder) -> Result<Self> {
        if plan.clients == 0 {
            return Err(Error::new("no clients at all; ask for one at least"));
        }
        let keys =
            Arc::new(Keys::new(prefix(plan.workload), plan.keys, Skew(plan.skew), plan.per_key));
        let shared = Arc::new(Shared {
            keys,
            sessions,
            recorder,
            stop: AtomicBool::new(false),
            processes: AtomicU64::new(plan.clients as u64),
            answered: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
            tally: Mutex::new(Tally::new()),
            plan,
        });
        let mut load = Self { shared, threads: Vec::new() };
        for i in 0..load.shared.plan.clients {
            let thread = load.client(i)?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    fn client(&self, i: usize) -> Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let (ready, started) = bounded(1);
        let work = move || {
            let entered = shared.plan.netns.as_deref().map_or(Ok(()), enter);
            let usable = entered.is_ok();
            let _ = ready.send(entered);
            if usable {
                Client::new(&shared, i).run();
            }
        };
        let thread = std::thread::Builder::new().name(format!("client {i}")).stack_size(STACK);
        let thread = thread.spawn(work).context(|| format!("the thread of client {i}"))?;
        started.recv().unwrap_or_else(|_| Err(Error::new("a client's thread ended at once")))?;
        Ok(thread)
    }

    /// Calls answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Lines that could not be written to the history so far.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.shared.unrecorded.load(Ordering::Relaxed)
    }

    /// Lets every client end the call it is in, and counts everything.
    #[must_use]
    pub fn stop(mut self) -> Stopped {
        self.join();
        let tally = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Stopped {
            counts: tally.counts(self.unrecorded()),
            keys: Arc::clone(&self.shared.keys),
            process: self.shared.processes.load(Ordering::Relaxed),
        }
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in &self.threads {
            thread.thread().unpark();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// What the keys of a workload begin with, so that several can run beside each other.
fn prefix(workload: Workload) -> &'static str {
    match workload {
        Workload::Register => "r",
        Workload::Append => "a",
        Workload::Set => "s",
        Workload::Counter => "c",
        Workload::Files => "d",
    }
}

/// Nanoseconds, as the history counts.
pub(super) fn nanos(t: Duration) -> u64 {
    u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
