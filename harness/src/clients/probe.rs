//! Whether writes succeed, asked from outside the load.
//!
//! An open loop: a small write to each node every 50 ms, sent on time whatever became of those
//! before it, since a call into a minority may hang for seconds. One thread keeps the time and
//! hands each write to a worker that is free; there is a new worker where none is. At rest one
//! a node is enough, and each has a connection of its own.

use super::load::{Sessions, nanos};
use super::window::{Sample, Window, windows};
use crate::clock::now;
use crate::error::Context;
use crate::netns::enter;
use crate::system::{Answer, Request, Session};
use crate::{Error, Result};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, park_timeout};
use std::time::Duration;

/// Between two writes to one node.
const EVERY: Duration = Duration::from_millis(50);

/// How long one may take.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// Workers a node: seven can wait for their answers at a time, and twice as many may overrun
/// their time before a write is not sent.
const WORKERS_MAX: usize = 20;

/// The most writes remembered: a day of five nodes.
const SAMPLES_MAX: usize = 10_000_000;

/// What a worker's thread needs of stack.
const STACK: usize = 512 << 10;

/// What was seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Availability {
    /// Writes that were tried.
    pub tried: u64,
    /// Writes that were acknowledged.
    pub succeeded: u64,
    /// Writes whose time came while no worker was free, or while raftq itself did not run:
    /// nothing is known of these moments.
    pub unsent: u64,
    /// How late the slowest of a hundred writes was sent, in microseconds.
    pub late_p99_us: u64,
    /// Times in which no node acknowledged a write.
    pub unavailable: Vec<Window>,
    /// Every write, in order of sending.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// Writes under way; dropping stops them.
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    pace: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Seen {
    samples: Vec<Sample>,
    late_us: Histogram<u64>,
    unsent: u64,
}

/// One write that is to be sent now.
struct Job {
    due: Duration,
    value: u64,
}

impl Probe {
    /// Starts for `nodes` nodes; times count from `epoch`.
    pub fn start(
        nodes: usize,
        sessions: &Sessions,
        netns: Option<&Path>,
        epoch: Duration,
    ) -> Result<Self> {
        let late_us = Histogram::new(3).context(|| "the probe's histogram".into())?;
        let seen = Seen { samples: Vec::new(), late_us, unsent: 0 };
        let seen = Arc::new(Mutex::new(seen));
        let node = |node| Node::new(node, sessions, netns, &seen, epoch);
        let mut nodes: Vec<Node> = (0..nodes).map(node).collect::<Result<_>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pace = Builder::new().name("probe".into()).stack_size(STACK);
        let pace = pace.spawn(move || {
            keep_time(&mut nodes, &stopped);
            for node in nodes {
                node.join();
            }
        });
        Ok(Self { stop, seen, pace: Some(pace.context(|| "the probe's thread".into())?) })
    }

    /// Whether a write that was sent at `t` (nanoseconds of the run's clock) or later has
    /// succeeded, and when the first such was acknowledged.
    #[must_use]
    pub fn first_success_since(&self, t: u64) -> Option<u64> {
        let seen = lock(&self.seen);
        // Samples come in order of their ends, as nearly as threads can tell.
        let slack = nanos(ANSWER_MAX);
        let late = seen.samples.iter().rev().take_while(|s| s.known.saturating_add(slack) >= t);
        late.filter(|s| s.ok && s.sent >= t).map(|s| s.known).min()
    }

    /// Stops, and says what was seen.
    #[must_use]
    pub fn finish(mut self) -> Availability {
        self.join();
        let mut seen = lock(&self.seen);
        let mut samples = std::mem::take(&mut seen.samples);
        samples.sort_by_key(|sample| (sample.sent, sample.node));
        Availability {
            tried: samples.len() as u64,
            succeeded: samples.iter().filter(|sample| sample.ok).count() as u64,
            unsent: seen.unsent,
            late_p99_us: seen.late_us.value_at_quantile(0.99),
            unavailable: windows(&samples),
            samples,
        }
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(pace) = self.pace.take() {
            pace.thread().unpark();
            let _ = pace.join();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.join();
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands out writes, to one node after the other so that they are spread evenly.
fn keep_time(nodes: &mut [Node], stop: &AtomicBool) {
    let turns = nodes.len().max(1) as u32;
    let gap = EVERY / turns;
    let (mut due, mut value) = (now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let left = due.saturating_sub(now());
        if !left.is_zero() {
            park_timeout(left);
            continue;
        }
        let turn = (value % u64::from(turns)) as usize;
        if let Some(node) = nodes.get_mut(turn) {
            // Moments that were slept through are not made up for by a burst.
            let missed = now().saturating_sub(due) >= EVERY;
            node.send(Job { due, value }, missed);
        }
        value += 1;
        due += gap;
    }
}

/// The writes to one node, and who makes them.
struct Node {
    number: usize,
    jobs: Sender<Job>,
    todo: Receiver<Job>,
    workers: Vec<JoinHandle<()>>,
    sessions: Sessions,
    netns: Option<PathBuf>,
    seen: Arc<Mutex<Seen>>,
    epoch: Duration,
}

impl Node {
    fn new(
        number: usize,
        sessions: &Sessions,
        netns: Option<&Path>,
        seen: &Arc<Mutex<Seen>>,
        epoch: Duration,
    ) -> Result<Self> {
        // Without room: what is handed over is in the hands of one who waited for it.
        let (jobs, todo) = bounded(0);
        let mut node = Self {
            number,
            jobs,
            todo,
            workers: Vec::new(),
            sessions: Arc::clone(sessions),
            netns: netns.map(Path::to_owned),
            seen: Arc::clone(seen),
            epoch,
        };
        let (ready, started) = bounded(1);
        node.hire(None, Some(ready))?;
        started.recv().unwrap_or_else(|_| Err(Error::new("a probe ended at once")))?;
        Ok(node)
    }

    fn send(&mut self, job: Job, missed: bool) {
        let sent = !missed
            && match self.jobs.try_send(job) {
                Ok(()) => true,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    self.workers.len() < WORKERS_MAX && self.hire(Some(job), None).is_ok()
                }
            };
        if !sent {
            lock(&self.seen).unsent += 1;
        }
    }

    fn hire(&mut self, job: Option<Job>, ready: Option<Sender<Result<()>>>) -> Result<()> {
        let (todo, netns) = (self.todo.clone(), self.netns.clone());
        let mut worker = Worker {
            node: self.number,
            sessions: Arc::clone(&self.sessions),
            session: None,
            seen: Arc::clone(&self.seen),
            epoch: self.epoch,
        };
        let work = move || {
            let entered = netns.as_deref().map_or(Ok(()), enter);
            let usable = entered.is_ok();
            if let Some(ready) = ready {
                let _ = ready.send(entered);
            }
            if usable {
                job.into_iter().chain(todo.iter()).for_each(|job| worker.write(&job));
            }
        };
        let thread = Builder::new().name(format!("probe {}", self.number)).stack_size(STACK);
        self.workers.push(thread.spawn(work).context(|| "a probe's thread".into())?);
        Ok(())
    }

    /// Lets every worker end the write it is in.
    fn join(self) {
        drop((self.jobs, self.todo));
        for worker in self.workers {
            let _ = worker.join();
        }
    }
}

struct Worker {
    node: usize,
    sessions: Sessions,
    session: Option<Box<dyn Session>>,
    seen: Arc<Mutex<Seen>>,
    epoch: Duration,
}

impl Worker {
    fn write(&mut self, job: &Job) {
        let (node, t) = (self.node, |at: Duration| nanos(at.saturating_sub(self.epoch)));
        if self.session.is_none() {
            self.session = (self.sessions)(node).ok();
        }
        let key = format!("probe/{node}");
        let request = Request::Write { key, value: job.value.to_string() };
        let sent = now();
        let answer = self.session.as_mut().map(|session| session.call(&request, ANSWER_MAX));
        let ok = matches!(answer, Some(Ok(Answer::Done)));
        let sample = Sample { sent: t(sent), known: t(now()), node, ok };
        if !ok {
            self.session = None;
        }
        let late = sent.saturating_sub(job.due).as_micros();
        let mut seen = lock(&self.seen);
        let _ = seen.late_us.record(u64::try_from(late).unwrap_or(u64::MAX));
        if seen.samples.len() < SAMPLES_MAX {
            seen.samples.push(sample);
        }
    }
}

#[cfg(test)]
mod tests;
