//! Whole experiments by the real program: what holds, what is caught, and what is left behind
//! when something goes wrong, which is nothing.

mod run_lab;
mod summary_lab;

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::owner::Scratch;
use run_lab::{LIMIT, RAFTQ, Run, SHORT, STEP, clean, root, run, run_text};
use std::fs;
use std::process::Command;
use summary_lab::stored;

#[test]
fn a_healthy_cluster_holds_and_its_folder_has_everything() {
    let ran = run("sanity.yaml", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    for file in ["history.jsonl", "events.jsonl", "scenario.yaml", "seed", "nodes/n1.log"] {
        assert!(ran.out.join(file).is_file(), "{file} is missing");
    }
    for check in ["linearizable", "durable", "recovers", "available"] {
        assert_eq!(ran.check(check), "holds", "{check}");
    }
    let summary = stored(&ran.out);
    assert_eq!(summary.verdict.word(), "holds");
    let junit = fs::read_to_string(ran.out.join("junit.xml")).expect("a suite");
    let junit = quick_junit::Report::deserialize_from_str(&junit).expect("JUnit's XML");
    assert_eq!((junit.failures, junit.errors, junit.tests), (0, 0, summary.findings.len() + 2));
    // The same verdict from the file alone.
    let again = Command::new(RAFTQ).arg("check").arg(ran.out.join("history.jsonl")).output();
    let again = again.expect("raftq runs");
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
}

#[test]
fn etcd_holds_and_runs_on_one_loopback_too() {
    let ran = run_text(SHORT, &["--adapter", "etcd", "--topology", "loopback"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(ran.check("linearizable"), "holds");
}

#[test]
fn a_leader_that_is_cut_off_and_answers_from_memory_is_caught() {
    let args = ["--node-arg=--bug=stale-without-prevote", "--seed", "1"];
    let ran = run("bugs/lonely.yaml", &args);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    // Evidence is wrapped where a line is full.
    let words = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("fits nowhere. Some order of the calls"), "{}", ran.stdout);
    let summary = stored(&ran.out);
    let cut = &summary.network.rules[0];
    assert_eq!(cut.activations, 2, "the cut came and went: {cut:?}");
    assert!(cut.acted > 0, "the cut acted: {cut:?}");
}

#[test]
fn kills_pauses_and_crashes_are_done_to_the_nodes_that_are_meant() {
    let text = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 100, timeout: 300ms }
warm_up: 200ms
settle: 200ms
rules:
  - { name: gone, node: n1, do: kill, at: 100ms, for: 500ms }
  - { name: silent, node: n2, do: crash, at: 1500ms, for: 500ms }
  - { name: still, node: leader, do: pause, at: 3500ms, for: 500ms }
  - { name: fresh, node: n3, do: restart, at: 5500ms }
";
    let ran = run_text(text, &["--seed", "3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let events = ran.events();
    for part in [
        "n1 kill done",
        "n1 started again",
        "n2 crash done",
        "n2 started again",
        "pause done",
        "resumed",
        "n3 restart done",
    ] {
        assert!(events.contains(part), "{part} is missing:\n{events}");
    }
    let log = |node: &str| fs::read_to_string(ran.out.join("nodes").join(node)).expect("a log");
    assert_eq!(log("n1.log").matches("--- raftq: start").count(), 2);
    assert_eq!(log("n3.log").matches("--- raftq: start").count(), 2);
}

fn start() -> Run {
    let folder = Scratch::new("rqunit").expect("a folder");
    Run::start(folder, &root().join("tests/scenarios/restart.yaml"), &[])
}

#[test]
fn an_interrupt_at_any_phase_leaves_nothing_behind() {
    for word in ["starting 3 nodes", "clients call", "attached", "kill the leader\" kill"] {
        let mut run = start();
        run.await_word(word);
        run.process.signal(Signal::SIGINT).expect("a signal");
        let ran = run.ends();
        assert!(ran.code.is_some_and(|code| code != 0), "{word}: {:?}", ran.code);
    }
}

#[test]
fn after_a_sigkill_no_node_runs_on_and_clean_removes_the_rest() {
    let mut run = start();
    run.await_word("attached");
    let history = run.out.join("history-1.jsonl");
    run.process.kill().expect("SIGKILL");
    // The death signal reaches every node, and the guardian takes the rules out.
    wait_for("the nodes to die", LIMIT, STEP, || run.processes().is_empty().then_some(()))
        .expect("no orphan");
    let _ = clean();
    run.nothing_is_left();
    // What was called until then can be judged.
    let check = Command::new(RAFTQ).arg("check").arg(&history).output().expect("raftq runs");
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}
