//! Histories with known verdicts: our own, one claim a file, and those of others that may lie
//! beside the project.

use raftq_harness::check::{Budget, Verdict, judge};
use std::fs;
use std::path::{Path, PathBuf};

fn verdict(path: &Path) -> &'static str {
    let judgement = judge(path, Budget::default()).expect("a history");
    match judgement.worst().expect("a check").verdict {
        Verdict::Holds => "linearizable",
        Verdict::Violated { .. } => "violation",
        Verdict::Undecided { .. } => "undecided",
    }
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

/// A file's name is its claim. What ends in `-violates-CHECK` is a violation that this check
/// finds; all others hold.
#[test]
fn our_own_histories_get_the_verdict_of_their_name() {
    let mut seen = 0;
    for entry in fs::read_dir(own()).expect("the fixtures").flatten() {
        let path = entry.path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        let judgement = judge(&path, Budget::default()).unwrap_or_else(|e| panic!("{e}"));
        let violated: Vec<&str> = judgement
            .checks
            .iter()
            .filter(|check| matches!(check.verdict, Verdict::Violated { .. }))
            .map(|check| &*check.name)
            .collect();
        match name.split_once("-violates-") {
            None => assert!(violated.is_empty(), "{name}: {judgement:#?}"),
            Some((_, rest)) => {
                let check = rest.split('.').next().expect("a check's name");
                assert!(violated.contains(&check), "{name}: only {violated:?} found it");
            }
        }
        seen += 1;
    }
    assert!(seen >= 40, "the fixtures are found ({seen})");
}

#[test]
fn histories_of_others_get_their_known_verdicts() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/histories");
    let folder = std::env::var_os("RAFTQ_HISTORIES").map_or(beside, PathBuf::from);
    let Ok(expected) = fs::read_to_string(folder.join("expected.tsv")) else {
        eprintln!(
            "NOT TESTED: there are no histories at {}; they may not be part of the project. \
             Set RAFTQ_HISTORIES to a folder with an expected.tsv",
            folder.display()
        );
        return;
    };
    let mut wrong = Vec::new();
    for line in expected.lines() {
        let (name, known) = line.split_once('\t').expect("name and verdict");
        let found = verdict(&folder.join(name));
        if found != known.trim() {
            wrong.push(format!("{name}: {found}, known as {known}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(expected.lines().count(), 56);
}

#[test]
fn a_file_that_is_no_history_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |text: &str| {
        let path = folder.path().join("h.jsonl");
        fs::write(&path, text).expect("a file");
        judge(&path, Budget::default()).expect_err("no history").to_string()
    };
    let header = "{\"raftq_history\":1,\"workload\":\"register\"}\n";
    let call = |kind: &str, t: u64| {
        format!("{{\"t\":{t},\"process\":1,\"type\":\"{kind}\",\"f\":\"read\",\"key\":\"k\"}}\n")
    };
    assert!(told("hello\n").contains("is no history"));
    assert!(told("{\"raftq_history\":9,\"workload\":\"register\"}\n").contains(":1: version 9"));
    assert!(told(&format!("{header}nonsense\n{}", call("invoke", 1))).contains("h.jsonl:2:"));
    let twice = [call("invoke", 1), call("invoke", 2)].concat();
    assert!(told(&format!("{header}{twice}")).contains("calls again"));
    assert!(told(&format!("{header}{}", call("ok", 1))).contains("no call under way"));
}

#[test]
fn a_line_that_a_killed_raftq_left_half_written_is_left_out_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("h.jsonl");
    let text = "{\"raftq_history\":1,\"workload\":\"register\"}\n\
        {\"t\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":1}\n\
        {\"t\":2,\"process\":1,\"ty";
    fs::write(&path, text).expect("a file");
    let judgement = judge(&path, Budget::default()).expect("a history");
    assert_eq!(judgement.notes.len(), 1);
    assert_eq!(verdict(&path), "linearizable");
    // The write that was under way may have happened: its value may be read, and need not.
    let read = |value: &str| {
        let line = |t: u32, kind: &str| {
            format!(
                "{{\"t\":{t},\"process\":2,\"type\":\"{kind}\",\"f\":\"read\",\"key\":\"k\",\
                 \"value\":{value}}}\n"
            )
        };
        let half = text.rfind("{\"t\":2").expect("the half line");
        let lines = [&text[..half], &line(3, "invoke"), &line(4, "ok"), &text[half..]].concat();
        fs::write(&path, lines).expect("a file");
        verdict(&path)
    };
    assert_eq!(read("1"), "linearizable");
    assert_eq!(read("null"), "linearizable");
    assert_eq!(read("2"), "violation");
}

#[test]
fn a_broken_line_in_the_middle_is_told_with_its_column_and_what_is_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("h.jsonl");
    let text = "{\"raftq_history\":1,\"workload\":\"register\"}\n\
        {\"t\":1,\"process\":1,\"type\":\"invoke\",\"f\":\"reed\",\"key\":\"k\"}\n\
        {\"t\":2,\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"key\":\"k\"}\n";
    fs::write(&path, text).expect("a file");
    let told = judge(&path, Budget::default()).expect_err("no history").to_string();
    // The parser has read to the end of the wrong word.
    assert!(told.contains("h.jsonl:2:45: no line of a history, such as {"), "{told}");
    assert!(told.contains("`reed`"), "{told}");
    fs::write(&path, "").expect("a file");
    let told = judge(&path, Budget::default()).expect_err("no history").to_string();
    assert!(told.contains("is empty"), "{told}");
}
