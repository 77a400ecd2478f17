//! `--allow-process-faults`: signals to processes that raftq did not start. Exactly the node that
//! is meant gets them, and whoever was paused goes on, whatever becomes of raftq. Needs root; run
//! it by `make test`.

mod live_lab;

use live_lab::{Ending, Family, LIMIT, Net, RAFTQ, Raftq, STEP, Shape};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raftq_harness::clock::wait_for;
use raftq_harness::probe::Probe;
use std::fs;
use std::process::Command;

const ALLOW: &str = "--allow-process-faults";
const PAUSE: &str = "rules: [{ name: still, node: n1, do: pause }]\n";

/// The letter that `/proc` shows for a process.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn await_state(pid: u32, stopped: bool) {
    let is_so = || (state(pid).expect("it lives") == 'T') == stopped;
    wait_for(&format!("stopped: {stopped}"), LIMIT, STEP, || is_so().then_some(()))
        .expect("it comes to that");
}

/// Two nodes, each with a process at its peer address.
fn nodes(net: &Net) -> (Probe, Probe) {
    let serve = |i| net.serve(i, "tcp", Family::V4);
    (serve(0), serve(1))
}

/// Attaches, and waits until the first node stands still and the second does not.
fn paused(net: &Net, n1: u32, n2: u32) -> Raftq<'_> {
    let mut raftq = Raftq::attach(net, PAUSE, &[ALLOW, "--for", "120s"]);
    raftq.await_line("n1 pause done");
    assert_eq!(state(n1), Some('T'));
    assert_ne!(state(n2), Some('T'));
    raftq
}

/// Until no record and no note of anybody paused is left.
fn await_no_record(raftq: &Raftq<'_>) {
    let of_run = |path: &std::path::Path| path.extension().is_some_and(|e| e != "lock");
    wait_for("raftq's records to be gone", LIMIT, STEP, || {
        let entries = fs::read_dir(raftq.file("run")).expect("its folder").flatten();
        let mut paths = entries.map(|entry| entry.path());
        (!paths.any(|path| of_run(&path))).then_some(())
    })
    .expect("they go");
}

fn must_be_done(ended: &Ending) {
    assert!(!ended.stderr.contains("was not done"), "{ended}");
    assert!(!ended.stderr.contains("may not go on"), "{ended}");
}

#[test]
fn a_pause_ends_with_its_time() {
    for shape in [Shape::Namespaces, Shape::Bridge, Shape::Ports] {
        let net = Net::new(shape, 2);
        let (mut n1, mut n2) = nodes(&net);
        let rules = "rules: [{ name: still, node: n1, do: pause, for: 700ms }]\n";
        let mut raftq = Raftq::attach(&net, rules, &[ALLOW]);
        raftq.await_line("n1 pause done");
        assert_eq!(state(n1.process().pid()), Some('T'), "{shape:?}");
        assert_ne!(state(n2.process().pid()), Some('T'), "{shape:?}");
        raftq.await_line("n1 resumed");
        await_state(n1.process().pid(), false);
        must_be_done(&raftq.end());
    }
}

#[test]
fn a_pause_ends_with_raftq_by_ctrl_c_by_sigterm_and_while_it_is_stopped() {
    let net = Net::new(Shape::Namespaces, 2);
    let (mut n1, mut n2) = nodes(&net);
    let (n1, n2) = (n1.process().pid(), n2.process().pid());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut raftq = paused(&net, n1, n2);
        raftq.process().signal(signal).expect("sent");
        must_be_done(&raftq.end());
        assert_ne!(state(n1), Some('T'), "{signal}");
    }
    let mut raftq = paused(&net, n1, n2);
    raftq.process().signal(Signal::SIGTSTP).expect("sent");
    await_state(raftq.process().pid(), true);
    assert_ne!(state(n1), Some('T'));
    raftq.process().signal(Signal::SIGCONT).expect("sent");
    raftq.await_line("continued");
    must_be_done(&raftq.interrupt());
}

#[test]
fn a_pause_ends_when_raftq_is_killed() {
    let net = Net::new(Shape::Namespaces, 2);
    let (mut n1, mut n2) = nodes(&net);
    let (n1, n2) = (n1.process().pid(), n2.process().pid());
    let mut raftq = paused(&net, n1, n2);
    raftq.process().kill().expect("killed");
    await_state(n1, false);
    await_no_record(&raftq);
}

#[test]
fn a_pause_ends_by_cleaning_when_the_guardian_was_killed_too() {
    let net = Net::new(Shape::Namespaces, 2);
    let (mut n1, mut n2) = nodes(&net);
    let (n1, n2) = (n1.process().pid(), n2.process().pid());
    let mut raftq = paused(&net, n1, n2);
    let said = raftq.stderr();
    let (_, guardian) = said.split_once("guardian ").expect("it says its guardian");
    let digits: String = guardian.chars().take_while(char::is_ascii_digit).collect();
    let guardian = Pid::from_raw(digits.parse().expect("a pid"));
    // Stopped first, or it could start a new guardian in between.
    raftq.process().signal(Signal::SIGSTOP).expect("sent");
    await_state(raftq.process().pid(), true);
    kill(guardian, Signal::SIGKILL).expect("sent");
    raftq.process().kill().expect("killed");
    assert_eq!(state(n1), Some('T'));
    let mut clean = Command::new(RAFTQ);
    clean.arg("clean").env("RAFTQ_RUN_DIR", raftq.file("run"));
    let said = clean.output().expect("it runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("1 processes that it had stopped go on"), "{said}");
    await_state(n1, false);
    await_no_record(&raftq);
}

#[test]
fn a_kill_and_a_stop_end_exactly_the_process_that_is_meant() {
    for (shape, action, by) in [
        (Shape::Namespaces, "kill", Signal::SIGKILL),
        (Shape::Ports, "crash", Signal::SIGKILL),
        (Shape::Namespaces, "stop", Signal::SIGTERM),
    ] {
        let net = Net::new(shape, 2);
        let (mut n1, mut n2) = nodes(&net);
        let rules = format!("rules: [{{ name: gone, node: n1, do: {action} }}]\n");
        let mut raftq = Raftq::attach(&net, &rules, &[ALLOW, "--for", "120s"]);
        raftq.await_line(&format!("n1 {action} done"));
        let status = n1.process().wait(LIMIT).expect("it is gone");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(by as i32), "{action}");
        assert_eq!(n2.process().ended(), None, "{action}");
        must_be_done(&raftq.interrupt());
    }
}

#[test]
fn what_takes_more_than_a_signal_is_refused_at_the_start() {
    let net = Net::new(Shape::Namespaces, 2);
    for (rule, allow, word) in [
        ("node: n1, do: kill", false, "pass --allow-process-faults"),
        ("node: n1, do: pause, for: 1s", false, "pass --allow-process-faults"),
        ("node: n1, do: kill, for: 1s", true, "says `for`"),
        ("node: n1, do: stop, for: 1s", true, "says `for`"),
        ("node: n1, do: restart", true, "is a `restart`"),
        ("node: n1, do: wipe", true, "is a `wipe`"),
        ("node: n1, do: start", true, "is a `start`"),
        ("node: n1, do: rolling restart", true, "is a `rolling restart`"),
        ("node: n1, do: remove", true, "is a `remove`"),
    ] {
        let rules = format!("rules: [{{ name: it, {rule} }}]\n");
        let args: &[&str] = if allow { &[ALLOW] } else { &[] };
        let ended = Raftq::start(&net, &rules, args).end();
        assert_eq!(ended.code, 5, "{rule}: {ended}");
        assert!(ended.stderr.contains(word), "{rule}: {ended}");
    }
}

#[test]
fn a_node_without_a_process_and_one_that_is_stopped_already_are_told() {
    let net = Net::new(Shape::Namespaces, 2);
    let mut n2 = net.serve(1, "tcp", Family::V4);
    let pid = n2.process().pid();
    n2.process().pause().expect("it stops");
    let rules =
        "rules: [{ name: gone, node: n1, do: kill }, { name: still, node: n2, do: pause }]\n";
    let mut raftq = Raftq::attach(&net, rules, &[ALLOW, "--for", "120s"]);
    raftq.await_line("no process listens at its peer address");
    raftq.await_line("was stopped by somebody else before");
    raftq.interrupt();
    assert_eq!(state(pid), Some('T'), "what raftq did not stop it does not let go on");
    n2.process().resume().expect("it goes on");
}
