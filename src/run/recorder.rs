//! `events.jsonl`: what happened, a line each, written while it happens and by any thread.
//!
//! Each line bears both clocks: `t_ns` counts from the start of the rules' clock, as in the trace
//! and in what was said on the wire (0 before it), `run_ns` from the start of the run, as in the
//! histories. `rule`, `what` and `nodes` are for people; `fact` says the same to machines.

use super::disturb::Happened;
use super::facts::Fact;
use super::timeline::{PhaseTime, Timeline};
use crate::kernel::clock;
use crate::time::Nanos;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Its name in a run's folder.
pub const EVENTS: &str = "events.jsonl";

/// Stands where the rule's name does, for what the run itself does.
pub const RUN: &str = "run";

/// Stands there for what becomes of nodes' processes.
pub const PROCESSES: &str = "processes";

/// Stands there for what nodes say of themselves when they are asked.
pub const ASKED: &str = "asked";

/// Bytes that the file may grow to: what a person or a page could never read is left out, and the
/// last line says so.
const BYTES_MAX: u64 = 256 << 20;

/// The file, and the clocks.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    epoch: Nanos,
    /// When the rules' clock started; `u64::MAX` until it did.
    rules_start: AtomicU64,
    started: String,
    /// Names of the nodes, as the rules' clock started.
    nodes: Mutex<Vec<String>>,
    /// Names and beginnings, since the start of the run.
    phases: Mutex<Vec<(&'static str, Nanos)>>,
    file: Mutex<File>,
    written: AtomicU64,
    lost: AtomicBool,
}

#[derive(Serialize)]
struct Line<'a> {
    t_ns: u64,
    run_ns: u64,
    rule: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    nodes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    fact: Option<&'a Fact>,
}

fn is_empty(nodes: &&[String]) -> bool {
    nodes.is_empty()
}

impl Recorder {
    /// Into this folder, for a run that began at `epoch` on this host's clock.
    pub fn create(folder: &Path, epoch: Nanos) -> io::Result<Self> {
        let path = folder.join(EVENTS);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let started = clock::day_at(epoch);
        let recorder = Self {
            path,
            epoch,
            rules_start: AtomicU64::new(u64::MAX),
            started: started.clone(),
            nodes: Mutex::default(),
            phases: Mutex::default(),
            file: Mutex::new(file),
            written: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        };
        let raftq = env!("CARGO_PKG_VERSION").to_owned();
        recorder.put(epoch, RUN, "begins", &[], Some(&Fact::Run { started, raftq }));
        Ok(recorder)
    }

    /// When the run began, on this host's clock.
    #[must_use]
    pub fn epoch(&self) -> Nanos {
        self.epoch
    }

    /// The rules' clock started then, on this host's clock.
    pub fn rules_start(&self, at: Nanos, nodes: Vec<String>) {
        self.rules_start.store(at.0, Ordering::Relaxed);
        (*held(&self.nodes)).clone_from(&nodes);
        let fact = Fact::Clock { nodes };
        self.put(at, RUN, "the rules' clock starts", &[], Some(&fact));
    }

    /// A phase of the run begins.
    pub fn phase(&self, name: &'static str) {
        let now = clock::now();
        held(&self.phases).push((name, now.saturating_sub(self.epoch)));
        let fact = Fact::Phase { phase: name.to_owned() };
        self.put(now, RUN, name, &[], Some(&fact));
    }

    /// The clocks and phases of the run, which ends now.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let length_ns = clock::now().saturating_sub(self.epoch).0;
        let phases = held(&self.phases);
        let next = phases.iter().skip(1).map(|(_, from)| from.0).chain([length_ns]);
        let one = |((name, from), to): (&(&'static str, Nanos), u64)| PhaseTime {
            name: (*name).to_owned(),
            from_ns: from.0,
            to_ns: to,
        };
        Timeline {
            started: self.started.clone(),
            raftq: env!("CARGO_PKG_VERSION").to_owned(),
            length_ns,
            rules_start_ns: self.rules_start_since().map(|start| start.0),
            nodes: held(&self.nodes).clone(),
            phases: phases.iter().zip(next).map(one).collect(),
        }
    }

    /// When the rules' clock started, since the start of the run; none where it never did.
    fn rules_start_since(&self) -> Option<Nanos> {
        let start = self.rules_start.load(Ordering::Relaxed);
        (start != u64::MAX).then(|| Nanos(start).saturating_sub(self.epoch))
    }

    /// Something happened, on the rules' clock.
    pub fn tell(&self, happened: &Happened) {
        let start = self.rules_start.load(Ordering::Relaxed);
        let at = if start == u64::MAX { clock::now() } else { Nanos(start) + happened.t };
        let Happened { rule, what, nodes, fact, .. } = happened;
        self.put(at, rule, what, nodes, fact.as_ref());
    }

    /// The same on this host's clock.
    pub fn put(&self, at: Nanos, rule: &str, what: &str, nodes: &[String], fact: Option<&Fact>) {
        let start = self.rules_start.load(Ordering::Relaxed);
        let t_ns = at.saturating_sub(Nanos(start)).0;
        let run_ns = at.saturating_sub(self.epoch).0;
        let line = Line { t_ns, run_ns, rule, what, nodes, fact };
        let text = serde_json::to_string(&line).unwrap_or_default() + "\n";
        let before = self.written.fetch_add(text.len() as u64, Ordering::Relaxed);
        if before > BYTES_MAX {
            return;
        }
        let text = if before + text.len() as u64 > BYTES_MAX {
            let what = "further events are left out: the file is as large as it may be";
            let line = Line { t_ns, run_ns, rule: RUN, what, nodes: &[], fact: None };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        } else {
            text
        };
        // One write a line: whoever is killed leaves whole lines, but for the last one.
        let mut file = held(&self.file);
        if file.write_all(text.as_bytes()).is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
    }

    /// What the record lacks, for people.
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        if self.has_failed() {
            Some(format!("{} is not whole: it could not be written", self.path().display()))
        } else {
            let full = "events are left out: their file is as large as it may be";
            self.is_full().then(|| full.to_owned())
        }
    }

    /// Whether something could not be written.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether something was left out, since the file was as large as it may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.written.load(Ordering::Relaxed) > BYTES_MAX
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What somebody who panicked has left is whole all the same.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_phase_lasts_until_the_next_one_begins() {
        let folder = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::create(folder.path(), clock::now()).expect("a file");
        recorder.phase("starting");
        recorder.phase("warming up");
        let Timeline { phases, length_ns, .. } = recorder.timeline();
        assert_eq!(phases.len(), 2);
        assert_eq!((phases[0].name.as_str(), phases[0].to_ns), ("starting", phases[1].from_ns));
        assert_eq!(phases[1].to_ns, length_ns);
    }

    #[test]
    fn lines_bear_both_clocks_and_those_before_the_rules_stand_at_zero() {
        let folder = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::create(folder.path(), Nanos(1_000)).expect("a file");
        recorder.put(Nanos(1_300), RUN, "warming up", &[], None);
        assert_eq!(recorder.rules_start_since(), None);
        recorder.rules_start(Nanos(1_500), vec!["n1".into()]);
        recorder.tell(&Happened::rule(Nanos(40), "cut", "active"));
        let timeline = recorder.timeline();
        assert_eq!(timeline.rules_start_ns, Some(500));
        assert_eq!(timeline.nodes, ["n1"]);
        let text = std::fs::read_to_string(recorder.path()).expect("a file");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[0]["fact"]["is"], "run");
        let day = lines[0]["fact"]["started"].as_str().expect("a day");
        assert!(day.ends_with('Z') && day.contains('T'), "{day}");
        assert_eq!(
            lines[1..],
            [
                json!({ "t_ns": 0, "run_ns": 300, "rule": "run", "what": "warming up" }),
                json!({ "t_ns": 0, "run_ns": 500, "rule": "run",
                        "what": "the rules' clock starts",
                        "fact": { "is": "clock", "nodes": ["n1"] } }),
                json!({ "t_ns": 40, "run_ns": 540, "rule": "cut", "what": "active" }),
            ]
        );
    }
}
