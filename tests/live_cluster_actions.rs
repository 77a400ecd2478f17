//! What rules do to nodes and to the cluster's members is done, and told.
//! Needs root; run it by `make test`.

mod run_lab;

use nix::sys::signal::Signal;
use raftq_harness::clock::{now, since};
use run_lab::{run, run_text, start_text};
use std::fs;
use std::time::Duration;

fn scenario(adapter: &str, rules: &str) -> String {
    format!(
        "cluster: {{ adapter: {adapter} }}\nload: {{ workload: register, clients: 3, rate: 100, \
         timeout: 500ms }}\nwarm_up: 200ms\nsettle: 500ms\nrecovers_within: 20s\nrules:\n{rules}"
    )
}

/// Each of these stands in the events, in this order.
fn in_order(events: &str, parts: &[&str]) {
    let mut rest = events;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("`{part}` is missing, or too early:\n{events}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn processes_are_stopped_started_paused_resumed_and_rolled() {
    let rules = "
  - { name: stop it, node: n1, do: stop, at: 100ms }
  - { name: start it, node: n1, do: start, at: 1s }
  - { name: still, node: n2, do: pause, at: 3s }
  - { name: go on, node: n2, do: resume, at: 4s }
  - { name: silent, node: n3, do: crash, at: 5s }
  - { name: heard, node: n3, do: start, at: 6s }
  - { name: upgrade, node: any, do: rolling restart, at: 8s }
";
    let ran = run_text(&scenario("embedded", rules), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let told = [
        "n1 stop done",
        "n1 start done",
        "n2 pause done",
        "n2 resume done",
        "n3 crash done",
        "n3 start done",
        "n1 rolling restart done",
        "n2 rolling restart done",
        "n3 rolling restart done",
    ];
    in_order(&ran.events(), &told);
    let log = fs::read_to_string(ran.out.join("nodes/n1.log")).expect("a log");
    in_order(&log, &["start 1 of", "raftq: stopped", "start 2 of", "raftq: stopped", "start 3 of"]);
}

#[test]
fn members_go_and_come_back_and_leadership_moves() {
    // Each waits for the one before it, however long that takes: etcd refuses changes for some
    // seconds after its start.
    let rules = "
  - { name: to n1, node: n1, do: transfer, at: 100ms }
  - { name: out and in, node: n2, do: remove, at: 1s, for: 1s }
  - { name: replaced, node: n3, do: replace, at: 3s }
  - { name: to n2, node: n2, do: transfer, at: 4s }
  - { name: shorter, node: n2, do: compact, at: 5s, optional: true }
";
    for adapter in ["embedded", "etcd"] {
        let ran = run_text(&scenario(adapter, rules), &[]);
        assert_eq!(ran.code, Some(0), "{adapter}: {}", ran.said());
        let told = [
            "n1 transfer done",
            "n2 remove done",
            "n2 added back",
            "n3 replace done",
            "n2 transfer done",
        ];
        in_order(&ran.events(), &told);
        let offered = ran.events().contains("n2 compact done");
        assert_eq!(offered, adapter == "embedded", "{}", ran.said());
        let left_out = ran.said().contains("`shorter` is left out: the adapter etcd");
        assert_eq!(left_out, adapter == "etcd", "{}", ran.said());
        let log = fs::read_to_string(ran.out.join("nodes/n3.log")).expect("a log");
        let done = ["removed from the cluster", "its data was removed", "added to the", "start 2"];
        in_order(&log, &done);
    }
}

#[test]
fn a_crashed_machine_is_replaced_and_a_removed_one_added() {
    let rules = "
  - { name: lost, node: n3, do: crash, at: 500ms }
  - { name: replaced, node: n3, do: replace, at: 1s }
  - { name: out, node: n2, do: remove, at: 2s }
  - { name: in, node: n2, do: add, at: 3s }
lasts: 20s
";
    let ran = run_text(&scenario("embedded", rules), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let told = ["n3 crash done", "n3 replace done", "n2 remove done", "n2 add done"];
    in_order(&ran.events(), &told);
    let log = fs::read_to_string(ran.out.join("nodes/n3.log")).expect("a log");
    let done = ["killed", "removed from the cluster", "its data was removed", "added to the"];
    in_order(&log, &done);
}

#[test]
fn what_has_been_done_already_cannot_be_done_again_and_leaves_the_run_undecided() {
    let rules = "
  - { name: go on, node: n1, do: resume, at: 100ms }
  - { name: in, node: n2, do: add, at: 200ms }
";
    let ran = run_text(&scenario("embedded", rules), &[]);
    assert_eq!(ran.code, Some(2), "{}", ran.said());
    for why in ["n1 cannot be resumed: it runs", "n2 belongs to the cluster already"] {
        assert!(ran.said().contains(why), "{why}:\n{}", ran.said());
    }
}

#[test]
fn an_interrupt_does_not_wait_for_a_change_that_nobody_can_make() {
    let rules = "
  - { name: no majority, node: [n2, n3], do: kill, at: 100ms }
  - { name: out, node: n1, do: remove, at: 3s }
";
    let mut run = start_text(&scenario("embedded", rules), &[]);
    run.await_word("\"out\" remove n1");
    run.process.signal(Signal::SIGINT).expect("a signal");
    let at = now();
    let ran = run.ends();
    assert_eq!(ran.code, Some(2), "{}", ran.said());
    assert!(ran.said().contains("`remove` of n1 was given up"), "{}", ran.said());
    // An attempt may take 5 s, and all of them 20 s.
    assert!(since(at) < Duration::from_secs(15), "{:?}: {}", since(at), ran.said());
    assert!(ran.said().contains("`out` was not done to n1"), "{}", ran.said());
}

#[test]
fn the_shipped_scenario_of_members_holds() {
    let ran = run("membership.yaml", &["--nodes", "3"]);
    assert_eq!(ran.code, Some(4), "n4 is named: {}", ran.said());
    let ran = run("membership.yaml", &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let events = ran.events();
    for rule in ["remove a follower", "replace another one", "remove the leader"] {
        assert!(events.contains(rule), "{rule}: {events}");
    }
    assert_eq!(events.matches("added back\"").count(), 2, "{events}");
}
