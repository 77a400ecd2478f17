//! `raftq check` as a tool: what it takes, what it says, and its exit codes. Nothing here needs
//! root.

use nix::sys::resource::{UsageWho, getrusage};
use raftq_harness::check::Budget;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const HEADER: &str = "{\"raftq_history\":1,\"workload\":\"register\"}\n";

fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftq"));
    command.arg("check");
    command
}

fn judged(args: &[&Path]) -> (Option<i32>, String, String) {
    let output = check().args(args).output();
    let Output { status, stdout, stderr } = output.expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// A call of one process, begun at `t` and answered at once.
fn call(t: u32, f: &str, value: &str) -> String {
    let line = |t: u32, kind: &str| {
        format!(
            "{{\"t\":{t},\"process\":1,\"type\":\"{kind}\",\"f\":\"{f}\",\"key\":\"k\",\
             \"value\":{value}}}\n"
        )
    };
    [line(t, "invoke"), line(t + 1, "ok")].concat()
}

fn holding() -> String {
    [HEADER, &call(1, "write", "1"), &call(3, "read", "1")].concat()
}

fn violating() -> String {
    [HEADER, &call(1, "write", "1"), &call(3, "read", "2")].concat()
}

/// Twenty unknown additions at once, and a sum that no choice of them makes.
fn undecidable() -> String {
    let add = |i: u32| {
        format!(
            "{{\"t\":1,\"process\":{i},\"type\":\"invoke\",\"f\":\"add\",\"key\":\"k\",\
             \"value\":{}}}\n",
            2_u32 << i
        )
    };
    let adds: String = (2..22).map(add).collect();
    let read = call(5, "read", "3");
    [&HEADER.replace("register", "counter"), adds.as_str(), &read].concat()
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    path
}

#[test]
fn each_verdict_has_its_exit_code_and_several_files_end_with_the_worst() {
    let folder = tempfile::tempdir().expect("a folder");
    let holds = file(folder.path(), "a.jsonl", &holding());
    let violated = file(folder.path(), "b.jsonl", &violating());
    let undecided = file(folder.path(), "c.jsonl", &undecidable());
    let few: &[&Path] = &[Path::new("--budget"), Path::new("1000")];
    let codes = |paths: &[&PathBuf]| {
        let paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
        judged(&[few, &paths].concat())
    };
    let (code, stdout, stderr) = codes(&[&holds]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("a.jsonl: holds"), "{stdout}");
    let (code, stdout, _) = codes(&[&violated]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("b.jsonl: violated") && stdout.contains("read k: 2"), "{stdout}");
    let (code, stdout, _) = codes(&[&undecided]);
    assert_eq!(code, Some(2), "{stdout}");
    assert!(stdout.contains("1000 configurations were not enough"), "{stdout}");
    assert_eq!(codes(&[&holds, &undecided]).0, Some(2));
    let (code, stdout, _) = codes(&[&undecided, &violated, &holds]);
    assert_eq!(code, Some(1));
    for name in ["a.jsonl: holds", "b.jsonl: violated", "c.jsonl: undecided"] {
        assert!(stdout.contains(name), "{name}:\n{stdout}");
    }
}

#[test]
fn the_folder_of_a_run_stands_for_its_histories() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, _, stderr) = judged(&[folder.path()]);
    assert_eq!(code, Some(4));
    assert!(stderr.contains("has neither history*.jsonl nor wire.jsonl in it"), "{stderr}");
    file(folder.path(), "history.jsonl", &holding());
    file(folder.path(), "history-2.jsonl", &violating());
    file(folder.path(), "report.json", "{}");
    let (code, stdout, stderr) = judged(&[folder.path()]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""));
    assert!(stdout.contains("history.jsonl: holds"), "{stdout}");
    assert!(stdout.contains("history-2.jsonl: violated"), "{stdout}");
}

#[test]
fn what_cannot_be_judged_is_told_and_the_others_are_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let holds = file(folder.path(), "holds.jsonl", &holding());
    let broken = file(folder.path(), "broken.jsonl", &holding().replace("\"ok\"", "\"okay\""));
    let refused = [
        (folder.path().join("missing.jsonl"), "missing.jsonl: No such file"),
        (file(folder.path(), "empty.jsonl", ""), "empty.jsonl is empty"),
        (file(folder.path(), "notes.txt", "hello\n"), "notes.txt is no history"),
        (file(folder.path(), "binary", "\u{0}\u{1}\u{2}"), "binary is no history"),
        // Line 3 is the first answer; the parser has read to the end of the wrong word.
        (broken, "broken.jsonl:3:32: no line of a history, such as {"),
    ];
    for (path, why) in &refused {
        let (code, stdout, stderr) = judged(&[path, &holds]);
        assert_eq!(code, Some(4), "{why}");
        assert!(stderr.starts_with("raftq: ") && stderr.contains(why), "{why}:\n{stderr}");
        assert!(stdout.contains("holds.jsonl: holds"), "{why}:\n{stdout}");
    }
}

#[test]
fn a_file_that_is_cut_within_a_line_is_judged_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = violating();
    let cut = file(folder.path(), "cut.jsonl", &text[..text.len() - 10]);
    let (code, stdout, _) = judged(&[&cut]);
    // The answer that was wrong is cut off.
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("note: line 5, the last, is cut off"), "{stdout}");
}

/// Two members lead in one term; the record, whole.
fn two_leaders() -> String {
    let leads = |n: u8| {
        format!(
            "{{\"event\":\"seen\",\"at\":{n},\"flow\":{n},\"way\":0,\"from\":{n},\
             \"kind\":\"heartbeat\",\"term\":7,\"sender\":\"{n}\"}}\n"
        )
    };
    let header = "{\"raftq_wire\":1,\"protocol\":\"etcd\",\"nodes\":[\"n1\",\"n2\"]}\n";
    format!("{header}{}{}", leads(0), leads(1))
}

#[test]
fn what_was_said_on_the_wire_is_judged_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = file(folder.path(), "wire.jsonl", &two_leaders());
    let (code, stdout, stderr) = judged(&[&whole]);
    assert_eq!((code, stderr.as_str()), (Some(1), ""), "{stdout}");
    assert!(stdout.contains("VIOLATED: n1 and n2") && stdout.contains("not tested:"), "{stdout}");
    // Somebody was killed while writing.
    let cut = file(folder.path(), "cut.jsonl", &(two_leaders() + "{\"event\":\"se"));
    let (code, stdout, _) = judged(&[&cut]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("ends in the middle of a line"), "{stdout}");
    let wrong = file(folder.path(), "wrong.jsonl", &(two_leaders() + "{\"event\":\"se\n"));
    let (code, _, stderr) = judged(&[&wrong]);
    assert_eq!(code, Some(4));
    assert!(stderr.contains("wrong.jsonl: line 4: "), "{stderr}");
}

/// Of a pipe nothing may be read twice.
#[test]
fn a_history_may_come_through_a_pipe() {
    let mut child = check()
        .arg("/dev/stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("raftq");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(holding().as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_json_document_has_every_file_with_its_judgement_or_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let violated = file(folder.path(), "v.jsonl", &violating());
    let missing = folder.path().join("missing.jsonl");
    let (code, stdout, _) = judged(&[Path::new("--json"), &violated, &missing]);
    assert_eq!(code, Some(4));
    let all: Value = serde_json::from_str(&stdout).expect("one document");
    let check = &all[0]["judgement"]["checks"][0];
    assert_eq!((&check["name"], &check["verdict"]), (&"linearizable".into(), &"violated".into()));
    assert_eq!(check["evidence"]["lines"][0]["text"], "read k: 2");
    assert!(all[1]["error"].as_str().expect("why").contains("missing.jsonl"), "{all}");
    assert_eq!(all.as_array().map(Vec::len), Some(2));
}

#[test]
fn a_reader_that_went_away_changes_nothing_but_the_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let violated = file(folder.path(), "v.jsonl", &violating());
    let mut child = check()
        .arg(&violated)
        .args(vec![&violated; 50])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("raftq runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_budget_bounds_the_memory_of_what_cannot_be_decided() {
    // Texts blow up fastest: every order of some of thirty unknown additions makes another one.
    let line = |process: u32, kind: &str, f: &str, value: &str| {
        format!("{{:process {process}, :type :{kind}, :f :{f}, :key \"k\", :value {value}}}\n")
    };
    let letter = |i: u32| char::from_u32(u32::from(b'A') + i).expect("a letter");
    let adds = (0..30).map(|i| line(i, "invoke", "append", &format!("\"{}\"", letter(i))));
    let read = [line(99, "invoke", "get", "nil"), line(99, "ok", "get", "\"?\"")];
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "texts.edn", &adds.chain(read).collect::<String>());
    let peak = |budget: usize| {
        let (code, stdout, _) =
            judged(&[Path::new("--budget"), Path::new(&budget.to_string()), &path]);
        assert_eq!(code, Some(2), "{stdout}");
        // Of the largest child yet: those of the other tests are small.
        let most = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss();
        usize::try_from(most).expect("a size") * 1024
    };
    let without = peak(1);
    // Just past a size at which a table doubles.
    let budget = (1 << 19) / 8 * 7 + 1000;
    let taken = peak(budget) - without;
    assert!(taken <= budget * Budget::BYTES, "{taken} bytes for {budget} configurations");
    // Nor is the bound so wide that it says nothing.
    assert!(taken * 4 >= budget * Budget::BYTES, "{taken} bytes for {budget} configurations");
}
