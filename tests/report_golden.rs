//! Folders of real runs, trimmed, tell the stories that stand in `tests/golden/report/`; what is
//! missing or cut off in a folder is named, and the rest is told all the same.
//!
//! `UPDATE_GOLDEN=1` writes what is told now; read the difference before you keep it.

use raftq::report::story::Story;
use raftq::report::{REPORT, tell};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn tests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

fn runs() -> Vec<String> {
    let entries = fs::read_dir(tests().join("report_runs")).expect("folders of runs").flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The story of a folder, wherever that is.
fn story(folder: &Path) -> Story {
    let mut story = tell(folder).unwrap_or_else(|why| panic!("{why}"));
    let place = std::mem::replace(&mut story.run.folder, "RUN".into());
    for command in &mut story.run.repeat {
        *command = command.replace(&place, "RUN");
    }
    story
}

/// A line for each part of a story, and for each element of its lists of things.
fn rendered(story: &Story) -> String {
    let value = serde_json::to_value(story).expect("it is JSON");
    let mut text = String::new();
    for (name, part) in value.as_object().expect("an object") {
        match part {
            Value::Array(all) if all.iter().any(Value::is_object) => {
                let _ = writeln!(text, "{name}:");
                for one in all {
                    let _ = writeln!(text, "  {one}");
                }
            }
            Value::Object(columns) if columns.values().any(Value::is_array) => {
                let _ = writeln!(text, "{name}:");
                columns.iter().for_each(|(k, v)| writeln!(text, "  {k}: {v}").expect("a text"));
            }
            part => {
                let _ = writeln!(text, "{name}: {part}");
            }
        }
    }
    text
}

/// A copy of a run's folder.
fn copy(name: &str) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let from = tests().join("report_runs").join(name);
    fs::create_dir(copy.path().join("nodes")).expect("a folder");
    for folder in [from.clone(), from.join("nodes")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_file() {
                let to = copy.path().join(path.strip_prefix(&from).expect("inside"));
                fs::copy(&path, to).expect("a copy");
            }
        }
    }
    copy
}

fn raftq(args: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_raftq")).args(args).output().expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn each_folder_tells_the_story_that_stands_beside() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let names = runs();
    assert!(names.len() >= 2, "only {names:?} were found");
    let mut wrong = Vec::new();
    for name in names {
        let got = rendered(&story(&tests().join("report_runs").join(&name)));
        let path = tests().join("golden/report").join(format!("{name}.txt"));
        if update {
            fs::write(&path, &got).expect("the text can be written");
            continue;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        let mut both = wanted.lines().zip(got.lines());
        if let Some((wanted, got)) = both.find(|(a, b)| a != b) {
            wrong.push(format!("{name}:\n- {wanted}\n+ {got}"));
        } else if wanted.len() != got.len() {
            wrong.push(format!("{name}: {} bytes instead of {}", got.len(), wanted.len()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 would write\n\n{}", wrong.join("\n"));
}

const RUN: &str = "cut-and-kill";

#[test]
fn a_run_that_was_killed_tells_all_but_its_verdict() {
    let folder = copy(RUN);
    let whole = story(folder.path());
    fs::remove_file(folder.path().join("summary.json")).expect("it was there");
    let killed = story(folder.path());
    assert_eq!((killed.verdict.word.as_str(), killed.verdict.exit_code), ("undecided", 2));
    assert!(killed.verdict.findings[0].detail.contains("the run has no summary"));
    assert_eq!(killed.bands, whole.bands);
    assert_eq!(killed.elections, whole.elections);
    assert_eq!(killed.messages, whole.messages);
    assert_eq!(killed.calls, whole.calls);
    assert_eq!(killed.logs, whole.logs);
    assert_eq!(killed.run.started, whole.run.started);
    assert!(killed.faults.is_some());
    assert_eq!(killed.run.seed, whole.run.seed);
    let names = |phases: &[raftq::report::story::Phase]| -> Vec<String> {
        phases.iter().map(|phase| phase.name.clone()).collect()
    };
    assert_eq!(names(&killed.phases), names(&whole.phases));
    let sums = |story: &Story| -> Vec<(String, u64, u64)> {
        let sum = |rule: &raftq::report::story::RuleSum| {
            (rule.name.clone(), rule.activations, rule.matched)
        };
        let mut sums: Vec<_> = story.rules.iter().map(sum).collect();
        sums.sort();
        sums
    };
    assert_eq!(sums(&killed), sums(&whole), "what rules did stands in the events, too");
    let (before, after) = (&whole.loads[0], &killed.loads[0]);
    assert_eq!((after.ok, after.failed, after.unknown), (before.ok, before.failed, before.unknown));
}

#[test]
fn without_the_wire_roles_are_what_nodes_said_when_they_were_asked() {
    let folder = copy(RUN);
    fs::remove_file(folder.path().join("wire.jsonl")).expect("it was there");
    let story = story(folder.path());
    assert!(story.messages.at.is_empty());
    let leads = |node: &raftq::report::story::NodeLane| {
        node.roles.iter().any(|span| span.role == "leader" && span.term.is_some())
    };
    assert!(story.nodes.iter().filter(|node| leads(node)).count() >= 2, "{:?}", story.nodes);
    let down = story.nodes.iter().flat_map(|node| &node.states).find(|span| span.state == "down");
    assert!(down.is_some_and(|span| span.why.contains("kill the leader")), "{:?}", story.nodes);
    assert!(!story.elections.is_empty(), "the summary has them");
}

#[test]
fn without_the_events_the_rest_is_told_and_what_is_missing_is_named() {
    let folder = copy(RUN);
    fs::remove_file(folder.path().join("events.jsonl")).expect("it was there");
    let story = story(folder.path());
    assert_eq!(story.verdict.word, "holds");
    assert!(story.bands.is_empty() && !story.messages.at.is_empty());
    let named = |warning: &String| warning.starts_with("events.jsonl cannot be read");
    assert!(story.verdict.warnings.iter().any(named), "{:?}", story.verdict.warnings);
}

#[test]
fn what_an_older_raftq_left_is_told_as_far_as_it_goes() {
    let folder = copy(RUN);
    let path = folder.path().join("summary.json");
    let text = fs::read_to_string(&path).expect("a summary");
    let mut summary: Value = serde_json::from_str(&text).expect("JSON");
    summary.as_object_mut().expect("an object").remove("version");
    fs::write(&path, summary.to_string()).expect("a file");
    let events = folder.path().join("events.jsonl");
    let old: Vec<String> = fs::read_to_string(&events)
        .expect("events")
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let fields = line.as_object_mut().expect("an object");
            fields.remove("fact");
            fields.remove("run_ns");
            line.to_string()
        })
        .collect();
    fs::write(&events, old.join("\n") + "\n").expect("a file");
    let story = story(folder.path());
    assert_eq!(story.verdict.word, "undecided");
    let warnings = story.verdict.warnings.join("\n");
    assert!(warnings.contains("as an older raftq left it"), "{warnings}");
    let cut = story.bands.iter().find(|band| band.rule == "cut the leader off");
    assert!(cut.is_some_and(|band| band.matched == -1 && band.ended), "{:?}", story.bands);
}

/// Whoever was killed may have left any part of any file.
#[test]
fn no_file_that_is_cut_anywhere_keeps_the_rest_from_being_told() {
    let folder = copy(RUN);
    let entries = fs::read_dir(folder.path()).expect("a folder").flatten();
    let files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|p| p.is_file()).collect();
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let whole = fs::read(&path).expect("a file");
        for part in [0, 1, 3, 5, 7] {
            fs::write(&path, &whole[..whole.len() * part / 8]).expect("a file");
            let story = story(folder.path());
            assert_eq!(story.nodes.len(), 3, "{} at {part}/8", path.display());
            let parts = [&story.calls.end.len(), &story.calls.text.len(), &story.calls.lane.len()];
            assert!(parts.iter().all(|len| **len == story.calls.begin.len()));
        }
        // And what nobody ever wrote there.
        fs::write(&path, b"\xff\xfe{\"t_ns\":null}\n[]\n").expect("a file");
        let _ = story(folder.path());
        fs::write(&path, whole).expect("as it was");
    }
}

#[test]
fn the_command_makes_the_page_and_refuses_with_a_way_out() {
    let folder = copy(RUN);
    let at = shown(folder.path());
    let (code, stdout, stderr) = raftq(&["report", &at]);
    let page = folder.path().join(REPORT);
    assert_eq!((code, stdout.trim()), (Some(0), shown(&page).as_str()), "{stderr}");
    let first = fs::read(&page).expect("the page");
    assert!(first.starts_with(b"<!doctype html>"));
    let other = folder.path().join("other.html");
    let (code, _, stderr) = raftq(&["report", &at, "--out", &shown(&other)]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(fs::read(&other).expect("the page") == first, "the same bytes");
    let (code, stdout, _) = raftq(&["report", &at, "--json"]);
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &told["verdict"]["word"]), (Some(0), &Value::from("holds")));

    let empty = tempfile::tempdir().expect("a folder");
    let nowhere = shown(&folder.path().join("no/such/place.html"));
    let refused = |args: &[&str], code: i32, word: &str| {
        let (got, _, stderr) = raftq(&[&["report"], args].concat());
        assert_eq!(got, Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(word) && stderr.contains("help: "), "{args:?}: {stderr}");
    };
    refused(&[&shown(&folder.path().join("none"))], 4, "there is no such folder");
    refused(&[&shown(empty.path())], 4, "it is no run's folder");
    refused(&[&shown(&page)], 4, "this is a file");
    refused(&[&at, "--out", &nowhere], 5, "cannot be written");
}
