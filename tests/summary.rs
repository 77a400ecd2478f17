//! What machines are told of a run: summaries that real runs have left, read again, held to their
//! schema, and told as suites of tests.

mod summary_lab;

use quick_junit::{NonSuccessKind, TestCaseStatus, TestSuite, XmlString};
use raftq::report::junit::{self, JUNIT, Made};
use raftq::run::verdict::{SUMMARY, Summary};
use raftq::run::words::{CheckVerdict, RunVerdict};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
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
    assert!(summary.done.iter().any(|one| one.what.contains("kill done") && one.t.0 > 0));
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

/// The stored run with other values at some places, as a suite of tests that was parsed again.
fn suite(name: &str, changes: &[(&str, Value)]) -> TestSuite {
    let text = fs::read_to_string(path(name)).expect("it");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    for (place, value) in changes {
        *document.pointer_mut(place).unwrap_or_else(|| panic!("{place} is gone")) = value.clone();
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(SUMMARY), document.to_string()).expect("a file");
    let summary = Summary::read(folder.path()).expect("a summary");
    let made = Made { began: "2026-11-27T02:00:00.5Z".into(), took: Duration::from_millis(14_250) };
    junit::write(folder.path(), junit::suite(&summary, &made)).expect("a file");
    let text = fs::read_to_string(folder.path().join(JUNIT)).expect("it");
    allowed(&text);
    let mut report = quick_junit::Report::deserialize_from_str(&text).expect("JUnit's XML");
    let counted = (report.tests, report.failures, report.errors);
    let suite = report.test_suites.remove(0);
    assert_eq!(counted, (suite.tests, suite.failures, suite.errors));
    assert_eq!(report.time, Some(made.took));
    suite
}

/// Readers such as Jenkins refuse a file with attributes that their schema does not name.
fn allowed(text: &str) {
    for (tag, names) in [
        ("testsuites", &["name", "time", "tests", "failures", "errors"][..]),
        ("testsuite", &["name", "time", "tests", "failures", "errors", "skipped", "timestamp"][..]),
        ("testcase", &["name", "time", "classname"][..]),
    ] {
        let begin = format!("<{tag} ");
        let tags: Vec<&str> = text.split(&begin).skip(1).collect();
        assert!(!tags.is_empty(), "no {tag}: {text}");
        for tag in tags {
            let attributes = tag.split('>').next().expect("an end");
            // Before each value stands its name; values have no quotes in them.
            for name in attributes.split('"').step_by(2) {
                let name = name.trim_matches([' ', '=', '/']);
                assert!(name.is_empty() || names.contains(&name), "{name}: {attributes}");
            }
        }
    }
}

/// A case as `kind: type: message`, with its text.
fn told(suite: &TestSuite, name: &str) -> (String, String) {
    let case = suite.test_cases.iter().find(|case| case.name.as_str() == name);
    let text = |text: &Option<XmlString>| text.as_ref().map_or("", |t| t.as_str()).to_owned();
    match &case.unwrap_or_else(|| panic!("no case {name}")).status {
        TestCaseStatus::Success { .. } => ("passed".into(), String::new()),
        TestCaseStatus::NonSuccess { kind, message, ty, description, .. } => {
            let kind = if *kind == NonSuccessKind::Failure { "failure" } else { "error" };
            (format!("{kind}: {}: {}", text(ty), text(message)), text(description))
        }
        TestCaseStatus::Skipped { message, .. } => {
            (format!("skipped: {}", text(message)), String::new())
        }
    }
}

#[test]
fn a_check_is_a_test_case_and_evidence_is_its_text() {
    let held = suite("holds", &[]);
    assert_eq!((held.failures, held.errors, held.skipped), (0, 0, 0));
    for check in ["linearizable", "durable", "recovers", "invariants", "rules", "run"] {
        assert_eq!(told(&held, check).0, "passed", "{check}");
    }
    assert_eq!(held.timestamp.expect("a start").to_rfc3339(), "2026-11-27T02:00:00.500+00:00");
    let of = |name: &str| held.properties.iter().find(|one| one.name.as_str() == name);
    let value = |name: &str| of(name).unwrap_or_else(|| panic!("no {name}")).value.as_str();
    assert_eq!((value("seed"), value("adapter"), value("nodes")), ("7", "embedded", "3"));
    assert_eq!((value("scenario"), value("verdict")), ("demo", "holds"));

    let violated = suite("violated", &[]);
    assert!(violated.failures > 0 && violated.errors == 0, "{violated:?}");
    let (short, evidence) = told(&violated, "linearizable");
    assert!(short.starts_with("failure: violated: "), "{short}");
    assert!(evidence.contains("fits nowhere") && evidence.contains("  > "), "{evidence}");
    // Control characters of a broken answer, and markup, are no way to break the file.
    let odd = suite("violated", &[("/findings/0/detail", json!("<b>&]]>\u{1}\u{1b}[31m\nmore"))]);
    let (short, text) = told(&odd, "linearizable");
    assert!(short.ends_with("<b>&]]>") && text.ends_with("\nmore"), "{short}: {text}");
}

#[test]
fn what_says_nothing_does_not_pass() {
    let finding = |verdict: &str| json!({ "check": "durable", "verdict": verdict, "detail": "so" });
    let at = "/findings/1";
    let two =
        |verdict, code: u8| suite("holds", &[(at, finding(verdict)), ("/exit_code", json!(code))]);
    assert_eq!(told(&two("undecided", 2), "durable").0, "error: undecided: so");
    let not_made = two("not made", 0);
    assert_eq!(told(&not_made, "durable").0, "skipped: so");
    assert_eq!((not_made.failures, not_made.errors, not_made.skipped), (0, 0, 1));
    // Two workloads make two cases.
    let again = json!({ "check": "linearizable", "verdict": "holds", "detail": "" });
    assert_eq!(told(&suite("holds", &[(at, again)]), "linearizable 2").0, "passed");

    let lost = suite(
        "holds",
        &[
            ("/verdict", json!("undecided")),
            ("/exit_code", json!(2)),
            ("/network/exit_code", json!(2)),
            ("/network/warnings", json!(["9 packets were lost"])),
        ],
    );
    assert_eq!(told(&lost, "run").0, "error: undecided: 9 packets were lost");
    let never = suite(
        "holds",
        &[
            ("/verdict", json!("a rule never matched")),
            ("/exit_code", json!(3)),
            ("/network/exit_code", json!(3)),
            ("/network/rules/0/matched", json!(0)),
        ],
    );
    assert_eq!(told(&never, "rules").0, "error: never matched: never matched: cut the leader off");
    assert_eq!((never.failures, never.errors), (0, 1));
    let aside = suite(
        "holds",
        &[("/network/rules/0/matched", json!(0)), ("/network/rules/0/optional", json!(true))],
    );
    assert_eq!(aside.errors, 0, "{aside:?}");
}

/// Rows of the table of exit codes: code, word, what stands in `junit.xml`.
fn exit_codes() -> Vec<(u8, String, String)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("it");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| exit code |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].parse().expect("a code"), cells[1].to_owned(), cells[3].to_owned())
    })
    .collect()
}

#[test]
fn the_table_of_exit_codes_is_what_raftq_does() {
    let rows = exit_codes();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_raftq")).arg("--help").output();
    let help = String::from_utf8(help.expect("raftq runs").stdout).expect("text");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (code, word, shown) in rows {
        let Some(verdict) = RunVerdict::of(code) else {
            assert!(code == 4 && word.is_empty() && shown.is_empty(), "{code} {word} {shown}");
            continue;
        };
        assert_eq!(word, verdict.word());
        assert!(help.contains(&format!("{code} {word}")), "{code} {word} is not in: {help}");
        // Nothing but the code differs from a run that held, and the file shows it nevertheless.
        let changes = [("/exit_code", json!(code)), ("/verdict", json!(word))];
        let suite = suite(if code == 1 { "violated" } else { "holds" }, &changes);
        let is = match (suite.failures, suite.errors) {
            (0, 0) => "passed",
            (_, 0) => "failure",
            _ => "error",
        };
        assert_eq!(shown, is, "{code}");
    }
}
