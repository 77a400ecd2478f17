//! Deliberate bugs of the embedded cluster, by the table that `make test-bugs` prints: a few
//! quick ones are caught, each by a broken promise, and the table accuses nobody falsely.

use raftq_harness::owner::Scratch;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn bugs(raftq: &Path, folder: &Scratch, witness: &str, bugs: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/bugs.sh"))
            .arg(raftq)
            .arg(folder.path())
            .arg(witness)
            .args(bugs)
            .output()
            .expect("a shell");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("text"))
}

/// The columns of a bug's row.
fn row<'t>(table: &'t str, bug: &str) -> Vec<&'t str> {
    let line = table.lines().find(|line| line.starts_with(bug)).unwrap_or_default();
    line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
}

#[test]
fn quick_bugs_are_caught_by_what_they_break() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let raftq = Path::new(env!("CARGO_BIN_EXE_raftq"));
    let (code, table) =
        bugs(raftq, &folder, "clients", &["lose-tail", "skip-after-snapshot", "stale-cas"]);
    assert_eq!(code, Some(0), "{table}");
    let caught = |bug: &str, checks: &[&str]| {
        let by = row(&table, bug).get(2).copied().unwrap_or_default();
        assert!(by.split(',').any(|one| checks.contains(&one)), "{bug} by {checks:?}:\n{table}");
    };
    // Whose entries are lost or skipped, those of registers or of a set, is a matter of luck.
    let lost = ["durable", "set", "linearizable"];
    caught("lose-tail", &lost);
    caught("skip-after-snapshot", &lost);
    caught("stale-cas", &["linearizable"]);
    assert!(table.ends_with("3 caught, 0 not caught\n"), "{table}");
}

#[test]
fn broken_votes_and_logs_are_caught_by_what_nodes_say() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let raftq = Path::new(env!("CARGO_BIN_EXE_raftq"));
    let (code, table) = bugs(raftq, &folder, "wire", &["forget-vote", "lose-tail"]);
    assert_eq!(code, Some(0), "{table}");
    for bug in ["forget-vote", "lose-tail"] {
        assert_eq!(row(&table, bug).get(2), Some(&"invariants"), "{table}");
    }
    assert!(table.ends_with("2 caught, 0 not caught\n"), "{table}");
}

#[test]
fn a_node_that_dies_is_no_catch() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let raftq = folder.path().join("raftq");
    let said = "  violated  processes    n2 ended by itself\n  violated  recovers     no write\n";
    fs::write(&raftq, format!("#!/bin/sh\nprintf '{said}'\nexit 1\n")).expect("a program");
    fs::set_permissions(&raftq, fs::Permissions::from_mode(0o755)).expect("it may run");
    let (code, table) = bugs(&raftq, &folder, "clients", &["stale-cas"]);
    assert_eq!(code, Some(1), "{table}");
    assert_eq!(row(&table, "stale-cas"), ["stale-cas", "contention", "NOT CAUGHT", "3"]);
    assert!(table.ends_with("0 caught, 1 not caught\n"), "{table}");
}
