//! An attach that is cut short at any moment, or met by another one, leaves nothing.
//!
//! A gate before `iptables-restore` holds raftq at its most delicate moment: the record is
//! written, the programs that put the rules in have been started and have not done it yet.
//! Needs root; run it by `make test`.

mod death_lab;

use death_lab::{DELAY, Gate, Lab, Raftq, SOON, STEP};
use nix::sys::signal::Signal;
use raftq_harness::clock::{pause, wait_for};
use std::path::Path;
use std::time::Duration;

fn start(lab: &Lab, name: &str, gate: Option<&Gate>, rules: &Path) -> Raftq {
    let rules = rules.to_str().expect("a plain path");
    // The time only bounds a test that is itself killed.
    let args = ["--iptables", "nft", "--rules", rules, "--for", "60s"];
    Raftq::start(lab, name, gate, &args)
}

#[test]
fn killed_while_the_rules_go_in() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    let gate = Gate::closed(&lab, 0..3);
    let mut raftq = start(&lab, "raftq", Some(&gate), &rules);
    gate.await_waiting(3);
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    // The programs that raftq started live on, and install after its death; its guardian
    // has all the time to look too early.
    pause(Duration::from_millis(200));
    gate.open();
    lab.await_nothing_left();
}

#[test]
fn killed_with_its_guardian_while_the_rules_go_in_and_cleaned() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    let gate = Gate::closed(&lab, 0..3);
    let mut raftq = start(&lab, "raftq", Some(&gate), &rules);
    gate.await_waiting(3);
    raftq.signal(Signal::SIGSTOP);
    raftq.await_stop();
    for pid in raftq_harness::process::running(&death_lab::exe()) {
        if pid != raftq.process.pid() {
            death_lab::end(i32::try_from(pid).expect("a pid"));
        }
    }
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    let clean = std::thread::scope(|scope| {
        let clean = scope.spawn(|| lab.clean());
        pause(Duration::from_millis(200));
        gate.open();
        clean.join().expect("it runs")
    });
    assert!(clean.status.success(), "{clean:?}");
    lab.await_nothing_left();
}

#[test]
fn asked_to_end_while_the_rules_go_in() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let gate = Gate::closed(&lab, 0..3);
        let mut raftq = start(&lab, "raftq", Some(&gate), &rules);
        gate.await_waiting(3);
        raftq.signal(signal);
        gate.open();
        raftq.await_line("attached to", 1);
        if signal == Signal::SIGHUP {
            raftq.await_line("new table in force", 1);
            raftq.signal(Signal::SIGINT);
        }
        assert_eq!(raftq.exit_code(), Some(0), "{}", raftq.process.log_tail());
        lab.await_nothing_left();
    }
}

#[test]
fn ctrl_z_while_the_rules_go_in() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    let gate = Gate::closed(&lab, 0..3);
    let mut raftq = start(&lab, "raftq", Some(&gate), &rules);
    gate.await_waiting(3);
    raftq.signal(Signal::SIGTSTP);
    gate.open();
    raftq.await_stop();
    assert_eq!(lab.changes(), Vec::<String>::new());
    raftq.signal(Signal::SIGCONT);
    raftq.await_line("in force again", 1);
    raftq.signal(Signal::SIGINT);
    // A rule would have been active while it was stopped.
    assert_eq!(raftq.exit_code(), Some(2));
    lab.await_nothing_left();
}

#[test]
fn stopped_while_the_rules_go_in() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    let gate = Gate::closed(&lab, 0..3);
    let mut raftq = start(&lab, "raftq", Some(&gate), &rules);
    gate.await_waiting(3);
    raftq.signal(Signal::SIGSTOP);
    raftq.await_stop();
    // The guardian acts before the rules are there, and has to act again.
    raftq.await_line("does not answer any more", 1);
    gate.open();
    raftq.await_line("rules came in although", 1);
    lab.await_firewall_as_before();
    raftq.signal(Signal::SIGCONT);
    assert_eq!(raftq.exit_code(), Some(5));
    lab.await_nothing_left();
}

#[test]
fn killed_at_any_moment_of_its_attach() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    // An attach takes a tenth of a second or so.
    for step in 0..30 {
        let mut raftq = start(&lab, "raftq", None, &rules);
        pause(Duration::from_millis(step * 8));
        raftq.signal(Signal::SIGKILL);
        raftq.exit_code();
        lab.await_firewall_as_before();
        let gone = || raftq_harness::process::running(&death_lab::exe()).is_empty().then_some(());
        wait_for("the guardian's end", SOON, STEP, gone).expect("it ends");
        assert_eq!(lab.changes(), Vec::<String>::new(), "after {step}");
        // A raftq that died before it had a guardian may leave a record, never a rule.
        assert!(lab.clean().status.success());
        lab.await_nothing_left();
    }
}

#[test]
fn two_at_the_same_time() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    for _ in 0..3 {
        let mut both = ["one", "two"].map(|name| start(&lab, name, None, &rules));
        let refused = wait_for("one to be refused", SOON, STEP, || {
            both.iter_mut().position(|raftq| raftq.process.ended().is_some())
        });
        let refused = refused.expect("one is");
        let [loser, winner] = if refused == 0 {
            let [one, two] = &mut both;
            [one, two]
        } else {
            let [one, two] = &mut both;
            [two, one]
        };
        assert_eq!(loser.exit_code(), Some(5));
        let said = loser.process.stderr();
        let owner = format!("another raftq (pid {}) already controls", winner.process.pid());
        assert!(said.contains(&owner), "{said}");
        winner.await_line("attached to", 1);
        winner.signal(Signal::SIGINT);
        assert_eq!(winner.exit_code(), Some(0));
        lab.await_nothing_left();
    }
}
