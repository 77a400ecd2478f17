//! Summaries that real runs have left, read again, and held to their schema.

mod summary_lab;

use raftq::run::verdict::{SUMMARY, Summary};
use raftq::run::words::{CheckVerdict, RunVerdict};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use summary_lab::{stored, strangers};
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/summaries").join(format!("{name}.json"))
}

/// The folder of a run, as far as its summary. Where the format has grown, `UPDATE_GOLDEN=1` writes
/// the files as this raftq would.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(path(name), folder.path().join(SUMMARY)).expect("a summary");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let summary = Summary::read(folder.path()).expect("new fields have defaults");
        fs::write(folder.path().join(SUMMARY), summary.json()).expect("it");
        fs::write(path(name), summary.json()).expect("it");
    }
    folder
}

#[test]
fn a_run_that_held_is_read_again() {
    let folder = folder("holds");
    let summary = stored(folder.path());
    assert_eq!((summary.verdict, summary.exit_code), (RunVerdict::Holds, 0));
    assert_eq!((summary.nodes, summary.seed), (3, 7));
    assert!(summary.findings.iter().all(|finding| finding.verdict == CheckVerdict::Holds));
    let cut = &summary.network.rules[0];
    assert_eq!(cut.name, "cut the leader off");
    assert!(cut.acted > 0 && summary.recovery.is_some() && !summary.unavailable.is_empty());
    let wire = summary.network.wire.as_ref().expect("the wire was watched");
    assert!(!wire.elections.is_empty() && wire.coverage.messages > 0);
    assert!(summary.done.iter().any(|one| one.what.contains("n") && one.t.0 > 0));
}

#[test]
fn a_violation_is_read_with_its_evidence() {
    use raftq_harness::check::Verdict;
    let folder = folder("violated");
    let summary = stored(folder.path());
    assert_eq!((summary.verdict, summary.exit_code), (RunVerdict::Violated, 1));
    let (history, judgement) = &summary.histories[0];
    assert_eq!(history, "history.jsonl");
    let check = judgement.worst().expect("a check");
    let Verdict::Violated { evidence } = &check.verdict else { panic!("{check:?}") };
    assert!(evidence.lines.iter().any(|line| line.blamed), "{evidence}");
}

fn holds() -> Value {
    serde_json::from_str(&fs::read_to_string(path("holds")).expect("it")).expect("JSON")
}

#[test]
fn the_schema_allows_what_a_later_raftq_adds_and_refuses_what_it_would_misread() {
    assert_eq!(strangers(&holds()), Vec::<String>::new());
    let mut more = holds();
    more["weather"] = json!("fair");
    assert_eq!(strangers(&more), Vec::<String>::new());
    for (place, wrong) in [
        ("/verdict", json!("fine")),
        ("/findings/0/verdict", json!("maybe")),
        ("/faults_ns/0", json!(-1)),
        ("/network/wire/invariants/0/invariant", json!("peace")),
        ("/histories/0/1/checks/0/verdict", json!("violated")),
        ("/seed", Value::Null),
    ] {
        let mut document = holds();
        *document.pointer_mut(place).unwrap_or_else(|| panic!("{place} is gone")) = wrong;
        assert!(!strangers(&document).is_empty(), "{place} may be anything");
    }
    let mut less = holds();
    less.as_object_mut().expect("an object").remove("verdict");
    assert!(!strangers(&less).is_empty(), "a verdict may be missing");
}
