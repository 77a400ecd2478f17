//! Takes out what dead raftqs have left behind, from their records, and nothing else.
//!
//! Finds namespaces again by identity, spares the rules of raftqs that live, and may be run
//! as often as one likes.

use super::door;
use super::iptables::{self, Removal};
use super::pidfd;
use super::record::{self, Record};
use super::trouble::Trouble;
use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Dead raftqs whose traces are gone now.
    pub cleaned: Vec<Cleaned>,
    /// Live raftqs, left alone.
    pub spared: Vec<Spared>,
    /// What could not be done, a sentence each.
    pub failed: Vec<String>,
}

/// A dead raftq that was cleaned up after.
#[derive(Debug, Serialize)]
pub struct Cleaned {
    /// Its run id.
    pub run_id: String,
    /// Its process, when it lived.
    pub pid: u32,
    /// Where rules of it were found and removed.
    pub removed_in: Vec<String>,
    /// How many processes it had stopped, which go on now.
    pub resumed: usize,
}

/// A live raftq.
#[derive(Debug, Serialize)]
pub struct Spared {
    /// Its run id.
    pub run_id: String,
    /// Its process.
    pub pid: u32,
}

impl Report {
    /// Whether nothing is left of any dead raftq.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.cleaned {
            let done = match run.removed_in.as_slice() {
                [] => "no rules were left, its record is deleted".to_owned(),
                places => format!("removed its rules in {}", places.join(", ")),
            };
            let resumed = match run.resumed {
                0 => String::new(),
                n => format!("; {n} processes that it had stopped go on"),
            };
            writeln!(f, "run {} (pid {}, gone): {done}{resumed}", run.run_id, run.pid)?;
        }
        for run in &self.spared {
            writeln!(f, "run {} (pid {}): lives, left alone", run.run_id, run.pid)?;
        }
        for sentence in &self.failed {
            writeln!(f, "{sentence}")?;
        }
        if self.cleaned.is_empty() && self.failed.is_empty() {
            writeln!(f, "nothing to clean")?;
        }
        Ok(())
    }
}

/// Cleans up after every raftq that is gone.
pub fn clean() -> Result<Report, Trouble> {
    let mut report = Report::default();
    // Without the folder no raftq has ever attached here; do not make one to say so.
    if !record::folder().exists() {
        return Ok(report);
    }
    let _lock = record::lock()?;
    for record in record::all() {
        if record::live(&record) {
            report.spared.push(Spared { run_id: record.run_id, pid: record.pid });
        } else {
            clean_one(&record, &mut report);
        }
    }
    for (path, e) in record::unreadable() {
        report.failed.push(format!(
            "{} cannot be read as a record ({e}); look for RAFTQ chains with iptables-save, then \
             delete the file",
            path.display()
        ));
    }
    sweep_halves();
    Ok(report)
}

fn clean_one(record: &Record, report: &mut Report) {
    let mut removed_in = Vec::new();
    let mut whole = true;
    let mut resumed = 0;
    let going_on = if record::same_boot(record) {
        pidfd::resume_all(&record.run_id)
    } else {
        pidfd::forget_all(&record.run_id).map(|()| 0)
    };
    match going_on {
        Ok(n) => resumed = n,
        Err(e) => {
            whole = false;
            let failed = "processes that it had stopped may not go on: kill -CONT their pids";
            report.failed.push(format!("run {}: {failed} ({e})", record.run_id));
        }
    }
    // A reboot has taken the rules along, and namespaces have other numbers now.
    let rules = if record::same_boot(record) { record.installed.as_slice() } else { &[] };
    for (installed, result) in rules.iter().zip(iptables::remove_all(rules)) {
        match result {
            Ok(Removal::Removed | Removal::RestRemoved) => {
                removed_in.push(installed.ns.label.clone());
            }
            Ok(Removal::WasGone | Removal::NamespaceGone) => {}
            Err(e) => {
                whole = false;
                report.failed.push(format!("run {}: {e}", record.run_id));
            }
        }
    }
    removed_in.dedup();
    if !whole {
        return;
    }
    match record.forget() {
        Ok(()) => report.cleaned.push(Cleaned {
            run_id: record.run_id.clone(),
            pid: record.pid,
            removed_in,
            resumed,
        }),
        Err(e) => report.failed.push(format!("run {}: its record stays ({e})", record.run_id)),
    }
}

/// Files that a raftq was writing when it died, and control sockets without a record. A living one
/// writes its first record with
/// the lock held, and later ones, when it has a new guardian, without: those are spared.
fn sweep_halves() {
    let live: Vec<_> = record::all().into_iter().filter(record::live).collect();
    let spared = |path: &Path| {
        live.iter().any(|record| path.file_stem().is_some_and(|stem| stem == &*record.run_id))
    };
    let entries = fs::read_dir(record::folder()).into_iter().flatten().flatten();
    let half = |path: &Path| path.extension().is_some_and(|e| e == "new" || e == door::ENDING);
    for path in entries.map(|e| e.path()).filter(|path| half(path)) {
        if !spared(&path) {
            let _ = fs::remove_file(path);
        }
    }
}
