//! What changes by itself while a run goes on, looked at twenty times a second on a thread of its
//! own: how far nodes' logs have grown (`logs.jsonl`), and what nodes say of themselves.
//!
//! With the first, whoever wants to know what a node logged around a moment finds the bytes, and
//! needs to understand no system's timestamps.

use super::facts::{Fact, RoleIs};
use super::recorder::{ASKED, Recorder};
use crate::kernel::clock;
use crate::time::Nanos;
use raftq_harness::cluster::View;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Its name in a run's folder.
pub const LOGS: &str = "logs.jsonl";

/// How often everything is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Lines that the index of logs may have; the last one says that there would be more.
const LINES_MAX: usize = 400_000;

/// Changes of roles that are told.
const ROLES_MAX: usize = 20_000;

/// A log had this size then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grown {
    /// When, in nanoseconds since the start of the run.
    pub run_ns: u64,
    /// Whose.
    pub node: String,
    /// Bytes.
    pub bytes: u64,
    /// Whether this is the last line because there may be no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_last: bool,
}

/// What is looked at.
pub struct Watched {
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Their logs, in the same order; none of a cluster that raftq did not start.
    pub logs: Vec<PathBuf>,
    /// What a node said last; none where nobody asks them.
    pub view: Option<Box<dyn Fn(usize) -> View + Send>>,
}

/// The thread; ended on drop, after a last look.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts it. The index of logs goes into the folder, roles to the recorder.
    pub fn start(folder: &Path, watched: Watched, recorder: &Arc<Recorder>) -> io::Result<Self> {
        let index = if watched.logs.is_empty() {
            None
        } else {
            Some(Index::create(&folder.join(LOGS), watched.logs.len())?)
        };
        let nodes = watched.nodes.len();
        let recorder = Arc::clone(recorder);
        let looking = Looking { watched, index, recorder, told: vec![None; nodes], changes: 0 };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("raftq-sampler".into());
        let thread = thread.spawn(move || looking.run(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Looking {
    watched: Watched,
    index: Option<Index>,
    recorder: Arc<Recorder>,
    /// What each node was told to have said.
    told: Vec<Option<(RoleIs, Option<u64>)>>,
    changes: usize,
}

impl Looking {
    fn run(mut self, stop: &AtomicBool) {
        loop {
            let is_last = stop.load(Ordering::Relaxed);
            self.look();
            if is_last {
                return;
            }
            std::thread::park_timeout(EVERY);
        }
    }

    fn look(&mut self) {
        let now = clock::now().saturating_sub(self.recorder.epoch());
        if let Some(index) = &mut self.index {
            for (i, path) in self.watched.logs.iter().enumerate() {
                let bytes = fs::metadata(path).map_or(0, |file| file.len());
                index.grown(now, &self.watched.nodes[i], i, bytes);
            }
            index.flush();
        }
        let Some(view) = &self.watched.view else { return };
        for i in 0..self.watched.nodes.len() {
            let view = view(i);
            if let Some(said) = said(&view)
                && self.told[i] != Some(said)
                && self.changes < ROLES_MAX
            {
                self.changes += 1;
                self.told[i] = Some(said);
                self.tell(i, Nanos::from(view.at), said);
            }
        }
    }

    fn tell(&self, node: usize, at: Nanos, (role, term): (RoleIs, Option<u64>)) {
        let name = &self.watched.nodes[node];
        let term_text = term.map_or(String::new(), |term| format!(" in term {term}"));
        let what = match role {
            RoleIs::Leader => format!("{name} says that it leads{term_text}"),
            RoleIs::Follower => format!("{name} says that it follows{term_text}"),
            RoleIs::Leaderless => format!("{name} knows no leader{term_text}"),
            RoleIs::Silent => format!("{name} does not answer"),
        };
        let fact = Fact::Role { role, term };
        self.recorder.put(at, ASKED, &what, std::slice::from_ref(name), Some(&fact));
    }
}

/// What a node says of itself; none where it was not asked so far.
fn said(view: &View) -> Option<(RoleIs, Option<u64>)> {
    match &view.status {
        Some(status) if status.leads => Some((RoleIs::Leader, status.term)),
        Some(status) if status.leader.is_some() => Some((RoleIs::Follower, status.term)),
        Some(status) => Some((RoleIs::Leaderless, status.term)),
        None if view.at > Duration::ZERO => Some((RoleIs::Silent, None)),
        None => None,
    }
}

/// The index of logs. Where it cannot be written there are no excerpts, and nothing else is wrong.
struct Index {
    file: BufWriter<File>,
    bytes: Vec<u64>,
    lines: usize,
}

impl Index {
    fn create(path: &Path, logs: usize) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file, bytes: vec![0; logs], lines: 0 })
    }

    fn grown(&mut self, now: Nanos, node: &str, i: usize, bytes: u64) {
        if self.bytes[i] == bytes || self.lines >= LINES_MAX {
            return;
        }
        self.bytes[i] = bytes;
        self.lines += 1;
        let is_last = self.lines == LINES_MAX;
        let line = Grown { run_ns: now.0, node: node.to_owned(), bytes, is_last };
        let line = serde_json::to_string(&line).unwrap_or_default();
        if let Err(e) = writeln!(self.file, "{line}") {
            self.lines = LINES_MAX;
            log::warn!("nodes' logs are not indexed any more: {e}");
        }
    }

    /// Whoever is killed leaves what was there at the last look.
    fn flush(&mut self) {
        if let Err(e) = self.file.flush() {
            self.lines = LINES_MAX;
            log::warn!("nodes' logs are not indexed any more: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raftq_harness::system::NodeStatus;
    use std::sync::Mutex;

    fn view(leads: bool, term: u64) -> View {
        let leader = Some("x".to_owned());
        let status = Some(NodeStatus { leads, leader, member: None, term: Some(term) });
        View { status, at: Duration::from_secs(3), ..View::default() }
    }

    #[test]
    fn logs_are_indexed_as_they_grow_and_roles_told_as_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("n1.log");
        fs::write(&log, "one\n").expect("a log");
        let recorder = Recorder::create(folder.path(), Nanos(1)).expect("events");
        let recorder = Arc::new(recorder);
        let says = Arc::new(Mutex::new(view(false, 2)));
        let heard = Arc::clone(&says);
        let watched = Watched {
            nodes: vec!["n1".into()],
            logs: vec![log.clone()],
            view: Some(Box::new(move |_| heard.lock().expect("not poisoned").clone())),
        };
        let sampler = Sampler::start(folder.path(), watched, &recorder).expect("a thread");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        let until = |word: &str| {
            let limit = Duration::from_secs(10);
            let step = Duration::from_millis(5);
            let both = || read(LOGS) + &read(super::super::recorder::EVENTS);
            let seen = raftq_harness::clock::wait_for(word, limit, step, || {
                both().contains(word).then_some(())
            });
            seen.unwrap_or_else(|e| panic!("{e}: {}", both()));
        };
        until("\"bytes\":4");
        until("n1 says that it follows in term 2");
        fs::write(&log, "one\ntwo\n").expect("a log");
        *says.lock().expect("not poisoned") = view(true, 3);
        until("\"bytes\":8");
        until("n1 says that it leads in term 3");
        fs::write(&log, "one\ntwo\nthree\n").expect("a log");
        // The last look is behind the end of whoever wrote.
        drop(sampler);
        let lines = read(LOGS);
        let grown: Vec<Grown> =
            lines.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        assert_eq!(grown.iter().map(|one| one.bytes).collect::<Vec<_>>(), [4, 8, 14]);
        let said = read(super::super::recorder::EVENTS).matches("\"is\":\"role\"").count();
        assert_eq!(said, 2, "each change once, not each look");
    }
}
