//! Whether writes succeed, asked from outside the load.
//!
//! An open loop: a small write to each node every 50 ms, whether or not earlier ones have come
//! back, since a call into a minority may hang for seconds. Several threads a node take turns,
//! so that each has its time-out.

use super::load::{Sessions, nanos};
use crate::clock::{now, pause};
use crate::error::Context;
use crate::netns::enter;
use crate::system::{Answer, Request};
use crate::{Error, Result};
use crossbeam_channel::bounded;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two writes to one node.
const EVERY: Duration = Duration::from_millis(50);

/// How long one may take.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// Threads a node: as many as can wait at a time, and one that is free.
const TURNS: u32 = 7;

/// The most writes remembered: a day of five nodes.
const SAMPLES_MAX: usize = 10_000_000;

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When it was sent, in nanoseconds of the run's clock.
    pub sent: u64,
    /// When its outcome was known.
    pub known: u64,
    /// To which node.
    pub node: usize,
    /// Whether it was acknowledged.
    pub ok: bool,
}

/// A time without a successful write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When the last write before it was sent, in nanoseconds of the run's clock.
    pub from: u64,
    /// When the first successful write behind it was acknowledged.
    pub to: u64,
}

/// What was seen from outside.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Availability {
    /// Writes that were tried.
    pub tried: u64,
    /// Writes that were acknowledged.
    pub succeeded: u64,
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
    samples: Arc<Mutex<Vec<Sample>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Starts for `nodes` nodes; times count from `epoch`.
    pub fn start(
        nodes: usize,
        sessions: &Sessions,
        netns: Option<&Path>,
        epoch: Duration,
    ) -> Result<Self> {
        let mut probe = Self { stop: Arc::default(), samples: Arc::default(), threads: Vec::new() };
        let begin = now();
        for node in 0..nodes {
            for turn in 0..TURNS {
                let (stop, samples) = (Arc::clone(&probe.stop), Arc::clone(&probe.samples));
                let (sessions, netns) = (Arc::clone(sessions), netns.map(Path::to_owned));
                let (ready, started) = bounded(1);
                let work = move || {
                    let entered = netns.as_deref().map_or(Ok(()), enter);
                    let usable = entered.is_ok();
                    let _ = ready.send(entered);
                    let first = begin + EVERY * turn;
                    if usable {
                        ask(node, &sessions, &stop, &samples, first, epoch);
                    }
                };
                let thread = std::thread::Builder::new().name(format!("probe {node}"));
                let thread = thread.stack_size(512 << 10).spawn(work);
                probe.threads.push(thread.context(|| "a probe's thread".into())?);
                started.recv().unwrap_or_else(|_| Err(Error::new("a probe ended at once")))?;
            }
        }
        Ok(probe)
    }

    /// Whether a write that was sent after `t` (nanoseconds of the run's clock) has succeeded,
    /// and when the first such was acknowledged.
    #[must_use]
    pub fn first_success_since(&self, t: u64) -> Option<u64> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|s| s.ok && s.sent >= t).map(|s| s.known).min()
    }

    /// Stops, and says what was seen.
    #[must_use]
    pub fn finish(mut self) -> Availability {
        self.join();
        let mut samples =
            std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        samples.sort_by_key(|sample| (sample.sent, sample.node));
        Availability {
            tried: samples.len() as u64,
            succeeded: samples.iter().filter(|sample| sample.ok).count() as u64,
            unavailable: windows(&samples),
            samples,
        }
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.join();
    }
}

fn ask(
    node: usize,
    sessions: &Sessions,
    stop: &AtomicBool,
    samples: &Mutex<Vec<Sample>>,
    mut due: Duration,
    epoch: Duration,
) {
    let mut session = None;
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let left = due.saturating_sub(now());
        if !left.is_zero() {
            pause(left.min(EVERY));
            continue;
        }
        due += EVERY * TURNS;
        n += 1;
        let sent = now();
        if session.is_none() {
            session = sessions(node).ok();
        }
        let request = Request::Write { key: format!("probe/{node}"), value: n.to_string() };
        let answer = session.as_mut().map(|session| session.call(&request, ANSWER_MAX));
        let ok = matches!(answer, Some(Ok(Answer::Done)));
        if !ok {
            session = None;
        }
        let t = |at: Duration| nanos(at.saturating_sub(epoch));
        let sample = Sample { sent: t(sent), known: t(now()), node, ok };
        let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < SAMPLES_MAX {
            samples.push(sample);
        }
    }
}

/// The times in which no write succeeded, from writes in order of sending: each begins with the
/// sending of the first write to fail behind a success, and ends with the next acknowledgement.
/// Only where every node failed in turn does a time count: one node alone may be cut off.
#[must_use]
pub fn windows(samples: &[Sample]) -> Vec<Window> {
    /// Shorter gaps are how a leader's hiccup looks between two writes.
    const LEAST: u64 = 150_000_000;
    let mut successes: Vec<(u64, u64)> =
        samples.iter().filter(|s| s.ok).map(|s| (s.sent, s.known)).collect();
    successes.sort_unstable();
    let mut windows = Vec::new();
    let mut last = samples.first().map_or(0, |first| first.sent);
    for (sent, known) in successes {
        if sent.saturating_sub(last) > LEAST {
            windows.push(Window { from: last, to: known });
        }
        last = last.max(sent);
    }
    let end = samples.iter().map(|sample| sample.known).max().unwrap_or(last);
    if end.saturating_sub(last) > LEAST * 3 {
        windows.push(Window { from: last, to: end });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sample(sent: u64, ok: bool, node: usize) -> Sample {
        Sample { sent: sent * MS, known: (sent + 2) * MS, node, ok }
    }

    #[test]
    fn a_node_that_is_cut_off_alone_makes_nothing_unavailable() {
        let samples: Vec<Sample> =
            (0..40).flat_map(|i| [sample(i * 50, true, 0), sample(i * 50, false, 1)]).collect();
        assert_eq!(windows(&samples), []);
    }

    #[test]
    fn a_window_lasts_from_the_last_success_to_the_next() {
        let samples: Vec<Sample> =
            (0..40).map(|i| sample(i * 50, !(10..20).contains(&i), 0)).collect();
        assert_eq!(windows(&samples), [Window { from: 450 * MS, to: 1002 * MS }]);
    }

    #[test]
    fn a_window_that_never_ends_ends_with_the_last_attempt() {
        let samples: Vec<Sample> = (0..40).map(|i| sample(i * 50, i < 10, 0)).collect();
        assert_eq!(windows(&samples), [Window { from: 450 * MS, to: 1952 * MS }]);
    }
}
