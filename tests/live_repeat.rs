//! A scenario many times, with real clusters: a deliberate bug is found and its rate is bounded,
//! each run stands alone, runs are compared, and whoever ends it gets what there is.

mod run_lab;
mod summary_lab;

use nix::sys::signal::Signal;
use raftq::run::repeat::{self, Repeat};
use raftq::run::words::RunVerdict;
use run_lab::{RAFTQ, Ran, SHORT, run_text, start_text};
use serde_json::Value;
use std::fs;
use std::process::Command;
use summary_lab::stored;

/// A leader that is cut off and answers from memory, while clients stay with it.
const LONELY: &str = "\
cluster: { adapter: embedded }
load:
  workload: register
  clients: 9
  keys: 2
  rate: 500
  timeout: 300ms
  sticky: true
rules:
  - { name: the leader alone, between: [leader, rest], do: drop, at: 200ms, for: 3s }
warm_up: 500ms
settle: 500ms
";

/// What stands in the folder, held to its schema.
fn repeated(ran: &Ran) -> Repeat {
    let text = fs::read_to_string(ran.out.join(repeat::REPEAT)).expect("a document");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let schema: Value = serde_json::from_str(&repeat::schema()).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let strangers: Vec<String> = schema.iter_errors(&document).map(|e| e.to_string()).collect();
    assert!(strangers.is_empty(), "{strangers:?}\n{text}");
    let repeat = Repeat::read(&ran.out).expect("it is there");
    assert_eq!(repeat.json(), text);
    repeat
}

#[test]
fn a_deliberate_bug_is_found_and_each_run_stands_alone() {
    let args = ["--node-arg=--bug=stale-without-prevote", "--seed", "1", "--repeat", "2"];
    let ran = run_text(LONELY, &args);
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    let repeat = repeated(&ran);
    assert_eq!((repeat.runs.len(), repeat.exit_code, repeat.seed), (2, 1, 1));
    assert!(repeat.violated.times >= 1 && repeat.violated.high > 0.5, "{repeat:?}");
    assert_ne!(repeat.runs[0].seed, repeat.runs[1].seed);
    for one in &repeat.runs {
        let summary = stored(&ran.out.join(&one.folder));
        assert_eq!((summary.seed, Some(summary.verdict)), (one.seed, one.verdict));
        let cut = &summary.network.rules[0];
        assert!(cut.activations == 1 && cut.acted > 0, "the cut acted: {cut:?}");
        assert!(ran.stderr.contains(&format!("seed {}", one.seed)), "{}", ran.stderr);
        assert!(ran.out.join(&one.folder).join("report.html").is_file());
    }
    let bad = repeat.runs.iter().find(|one| one.verdict == Some(RunVerdict::Violated));
    let bad = bad.expect("one was violated");
    let again = format!("raftq replay {}/{}", ran.out.display(), bad.folder);
    assert!(ran.stdout.contains(&again), "{}", ran.stdout);
    assert!(ran.stdout.contains("with 95 % confidence"), "{}", ran.stdout);
    let junit = fs::read_to_string(ran.out.join("junit.xml")).expect("a document");
    for one in &repeat.runs {
        assert!(junit.contains(&format!("<testsuite name=\"{}\"", one.folder)), "{junit}");
    }
    assert!(junit.contains("<failure"), "{junit}");

    // Both runs side by side, from their folders.
    let page = ran.out.join("compared.html");
    let compared = Command::new(RAFTQ)
        .arg("report")
        .args(repeat.runs.iter().map(|one| ran.out.join(&one.folder)))
        .args(["--json", "--html"])
        .arg(&page)
        .output()
        .expect("raftq runs");
    let told = String::from_utf8_lossy(&compared.stderr);
    assert_eq!(compared.status.code(), Some(0), "{told}");
    let compared: Value = serde_json::from_slice(&compared.stdout).expect("JSON");
    assert_eq!(compared["groups"].as_array().map(Vec::len), Some(2));
    let run = &compared["groups"][0]["runs"][0];
    for measure in ["recovery", "unavailable_longest", "latency_faults_p99", "elections"] {
        assert!(run["measures"][measure].is_number(), "{measure} was measured: {run:#}");
    }
    let faults = run["measures"]["throughput_faults"].as_f64().expect("calls");
    assert!(faults > 10.0, "clients were answered under faults, too: {run:#}");
    let said = compared["conclusions"][0]["said"].as_str().expect("a sentence");
    assert!(said.contains("one run each: no statement"), "{said}");
    let page = fs::read_to_string(page).expect("a page");
    // As an address, and that as text of a page.
    let link = format!("{}&#x2f;report%2Ehtml", bad.folder).replace('-', "%2D");
    assert!(page.contains(&link), "{page}");

    // The folder of all stands for its runs.
    let all = |args: &[&str]| {
        let all = Command::new(RAFTQ).arg("report").arg(&ran.out).args(args).output();
        let all = all.expect("raftq runs");
        let told = String::from_utf8_lossy(&all.stdout).into_owned();
        assert_eq!(all.status.code(), Some(0), "{told}");
        told
    };
    assert!(all(&[]).contains("the leader alone"), "a table for people");
    // There a long path may stand on several lines.
    let told = all(&["--json"]);
    assert!(told.contains(&bad.folder), "{told}");
}

#[test]
fn whoever_ends_it_gets_the_runs_that_were_made_and_nothing_is_left_behind() {
    let mut run = start_text(SHORT, &["--repeat", "9", "--json"]);
    run.await_word("run 1 of 9");
    run.process.signal(Signal::SIGINT).expect("a signal");
    let ran = run.ends();
    assert_eq!(ran.code, Some(2), "{}", ran.said());
    let repeat = repeated(&ran);
    assert!(repeat.interrupted && repeat.runs.len() < 9, "{repeat:?}");
    assert_eq!(repeat.runs[0].verdict, Some(RunVerdict::Holds));
    assert_eq!(repeat.counts.cut_short, 1, "{repeat:?}");
    assert_eq!(repeat.violated.of, repeat.counts.holds, "what was cut short is not counted");
    assert_eq!(ran.stdout, repeat.json(), "the document, and nothing else");
}
