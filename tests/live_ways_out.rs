//! Every way out of an attached raftq leaves the firewall as it was, no record and no
//! process: its end, signals, closed terminals and pipes, and half an attach.
//!
//! No node runs here: what is in the way of packets is the same without packets. Needs root;
//! run it by `make test`.

mod death_lab;

use death_lab::{DELAY, Gate, Lab, Raftq, SOON, STEP, exe, kill, state, stop};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::Signal;
use raftq_harness::clock::{pause, wait_for};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn args<'a>(rules: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let rules = rules.to_str().expect("a plain path");
    let mut args = vec!["--iptables", "nft", "--rules", rules];
    // The time only bounds a test that is itself killed.
    args.extend(if more.is_empty() { &["--for", "60s"] } else { more });
    args
}

#[test]
fn the_end_of_its_time() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::start(&lab, "raftq", None, &args(&rules, &["--for", "1s"]));
    raftq.await_line("attached to", 1);
    assert!(!lab.changes().is_empty());
    assert_eq!(raftq.exit_code(), Some(0));
    lab.await_nothing_left();
}

#[test]
fn signals_that_ask_for_an_end() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        for queue in ["raw", "nfq"] {
            let more = ["--queue", queue, "--for", "60s"];
            let mut raftq = Raftq::start(&lab, "raftq", None, &args(&rules, &more));
            raftq.await_line("attached to", 1);
            raftq.signal(signal);
            assert_eq!(raftq.exit_code(), Some(0), "{signal}: {}", raftq.process.log_tail());
            assert_eq!(lab.changes(), Vec::<String>::new(), "{signal}");
            lab.await_nothing_left();
        }
    }
}

#[test]
fn a_namespace_that_takes_no_rules() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    // The first of the calls that install succeeds, the second fails, what removes succeeds.
    let gate = Gate::new(
        &lab,
        "if mkdir \"$gate/first\" 2>/dev/null; then :\n\
         elif mkdir \"$gate/second\" 2>/dev/null; then echo 'not today' >&2; exit 1; fi",
    );
    let mut raftq = Raftq::start(&lab, "raftq", Some(&gate), &args(&rules, &[]));
    assert_eq!(raftq.exit_code(), Some(5));
    let said = raftq.process.stderr();
    assert!(said.contains("could not be installed in netns") && said.contains("not today"));
    assert!(!said.contains("somebody else"), "{said}");
    assert_eq!(lab.changes(), Vec::<String>::new());
    lab.await_nothing_left();
}

#[test]
fn rules_that_cannot_be_removed_keep_their_record_until_they_can() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    for signal in [Signal::SIGINT, Signal::SIGTSTP, Signal::SIGKILL, Signal::SIGSTOP] {
        // Both calls that install succeed, every later one fails.
        let gate = Gate::new(
            &lab,
            "mkdir \"$gate/first\" 2>/dev/null || mkdir \"$gate/second\" 2>/dev/null || exit 1",
        );
        let mut raftq = Raftq::start(&lab, "raftq", Some(&gate), &args(&rules, &[]));
        raftq.await_line("attached to", 1);
        raftq.signal(signal);
        let word = "run `raftq clean`";
        let said = || raftq.process.stderr().contains(word).then_some(());
        wait_for(word, SOON, STEP, said).expect("raftq or its guardian says the way out");
        raftq.signal(Signal::SIGCONT);
        let code = raftq.exit_code();
        assert_eq!(code, (signal != Signal::SIGKILL).then_some(5), "{signal}");
        assert!(!lab.changes().is_empty(), "{signal}");
        assert_eq!(lab.records().len(), 1, "{signal}");
        let output = lab.clean();
        assert!(output.status.success(), "{signal}: {output:?}");
        lab.await_nothing_left();
    }
}

/// raftq on a terminal of its own, which is gone when `terminal` is dropped.
struct OnTerminal {
    child: Child,
    terminal: Option<File>,
}

impl OnTerminal {
    fn start(lab: &Lab, rules: &Path, stderr: Option<&Path>) -> Self {
        let pty = openpty(None, None).expect("a terminal");
        // A terminal is closed when nobody has its other side open, raftq itself included.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("closed on exec");
        let side = || Stdio::from(pty.slave.try_clone().expect("a copy"));
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file"));
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(exe())
            .args(args(rules, &[]))
            .env("RAFTQ_RUN_DIR", lab.run_folder())
            .stdin(side())
            .stdout(side())
            .stderr(stderr.map_or_else(side, file))
            .spawn()
            .expect("it starts");
        Self { child, terminal: Some(pty.master.into()) }
    }

    /// Reads what is shown until the rules are in.
    fn await_attached(&mut self, lab: &Lab) {
        let terminal = self.terminal.as_mut().expect("it is open");
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&shown).contains("attached to") {
            let n = terminal.read(&mut buffer).expect("raftq says something");
            shown.extend_from_slice(&buffer[..n]);
        }
        assert!(!lab.changes().is_empty());
    }

    fn await_end(&mut self) -> Option<i32> {
        let ended = || self.child.try_wait().expect("it is our child");
        wait_for("raftq to end", SOON, STEP, ended).expect("it ends").code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.terminal = None;
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_terminal_that_is_closed() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = OnTerminal::start(&lab, &rules, None);
    raftq.await_attached(&lab);
    raftq.terminal = None;
    raftq.await_end();
    lab.await_nothing_left();
}

#[test]
fn a_terminal_that_is_closed_while_messages_go_to_a_file() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let log = lab.scratch.path().join("log");
    let mut raftq = OnTerminal::start(&lab, &rules, Some(&log));
    let attached = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("attached to").then_some(())
    };
    wait_for("raftq to attach", SOON, STEP, attached).expect("it attaches");
    raftq.terminal = None;
    raftq.await_end();
    lab.await_nothing_left();
}

#[test]
fn killed_when_its_terminal_is_gone_too() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = OnTerminal::start(&lab, &rules, None);
    raftq.await_attached(&lab);
    let pid = i32::try_from(raftq.child.id()).expect("a pid");
    // Stopped, it does not act on the hang-up, and the guardian has nobody to tell.
    stop(pid);
    raftq.terminal = None;
    kill(pid, Signal::SIGKILL);
    raftq.await_end();
    lab.await_nothing_left();
}

#[test]
fn ctrl_z_and_ctrl_c_at_a_terminal() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = OnTerminal::start(&lab, &rules, None);
    raftq.await_attached(&lab);
    let pid = raftq.child.id();
    let mut terminal = raftq.terminal.as_ref().expect("open").try_clone().expect("a copy");
    std::io::Write::write_all(&mut terminal, b"\x1a").expect("Ctrl-Z");
    let stopped = || (state(pid) == Some('T')).then_some(());
    wait_for("raftq to stop", SOON, STEP, stopped).expect("it stops");
    assert_eq!(lab.changes(), Vec::<String>::new());
    kill(i32::try_from(pid).expect("a pid"), Signal::SIGCONT);
    let back = || (!lab.changes().is_empty()).then_some(());
    wait_for("the rules to come back", SOON, STEP, back).expect("they do");
    std::io::Write::write_all(&mut terminal, b"\x03").expect("Ctrl-C");
    assert_eq!(raftq.await_end(), Some(2));
    lab.await_nothing_left();
}

#[test]
fn output_that_nobody_reads() {
    let lab = Lab::new(2);
    // The rule never matches, so there is a warning, too, which nobody hears.
    let rules = lab.rules_file(&DELAY.replace("optional: true", "optional: false"));
    for (program, redirect) in [("head -c 0", ""), ("head -c 0", "2>&1"), ("true", "2>&1 >&-")] {
        let rules = args(&rules, &["--for", "1s"]).join(" ");
        // The shell is left by the pipe's end; raftq's own code goes into a file.
        let code: PathBuf = lab.scratch.path().join("code");
        let line = format!(
            "( {} {rules} {redirect}; echo $? >{} ) | {program}",
            exe().display(),
            code.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("RAFTQ_RUN_DIR", lab.run_folder()).stderr(Stdio::null());
        assert!(shell.status().expect("it runs").success());
        assert_eq!(std::fs::read_to_string(&code).expect("written").trim(), "3", "{line}");
        lab.await_nothing_left();
    }
}

#[test]
fn a_guardian_that_is_killed_is_replaced_and_the_new_one_guards() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    let standing = lab.changes();
    kill(raftq.guardian(), Signal::SIGKILL);
    raftq.await_line("there is a new one", 1);
    assert_eq!(lab.changes(), standing);
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    lab.await_nothing_left();
}

#[test]
fn a_guardian_that_is_stopped_holds_nobody_up() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    stop(raftq.guardian());
    raftq.signal(Signal::SIGINT);
    assert_eq!(raftq.exit_code(), Some(0));
    lab.await_nothing_left();
}

#[test]
fn stopped_for_a_moment_nothing_happens() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    let standing = lab.changes();
    for _ in 0..5 {
        raftq.signal(Signal::SIGSTOP);
        raftq.await_stop();
        pause(Duration::from_millis(200));
        raftq.signal(Signal::SIGCONT);
        pause(Duration::from_millis(150));
    }
    assert_eq!(lab.changes(), standing);
    raftq.signal(Signal::SIGINT);
    assert_eq!(raftq.exit_code(), Some(0), "{}", raftq.process.log_tail());
    lab.await_nothing_left();
}

#[test]
fn stopped_and_then_killed() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    raftq.signal(Signal::SIGSTOP);
    lab.await_firewall_as_before();
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    lab.await_nothing_left();
}

#[test]
fn stopped_from_the_terminal_and_then_killed() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    raftq.signal(Signal::SIGTSTP);
    raftq.await_stop();
    assert_eq!(lab.changes(), Vec::<String>::new());
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    lab.await_nothing_left();
}

#[test]
fn ctrl_z_again_and_again() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    for n in 1..=3 {
        // The second finds it stopping or stopped, and is gone when it is continued.
        raftq.signal(Signal::SIGTSTP);
        raftq.signal(Signal::SIGTSTP);
        raftq.await_stop();
        raftq.signal(Signal::SIGTSTP);
        assert_eq!(lab.changes(), Vec::<String>::new());
        raftq.signal(Signal::SIGCONT);
        raftq.await_line("in force again", n);
        assert!(!lab.changes().is_empty());
    }
    raftq.signal(Signal::SIGINT);
    assert_eq!(raftq.exit_code(), Some(2));
    lab.await_nothing_left();
}

#[test]
fn continued_before_it_has_stopped() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    for n in 1..=5 {
        raftq.signal(Signal::SIGTSTP);
        // As soon as it says that it will stop; it may have done so or not.
        raftq.await_line("stopped:", n);
        raftq.signal(Signal::SIGCONT);
        raftq.await_line("continued:", n);
    }
    raftq.signal(Signal::SIGINT);
    assert_eq!(raftq.exit_code(), Some(2));
    lab.await_nothing_left();
}

#[test]
fn a_guardian_has_no_socket_of_raftqs() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    for queue in ["raw", "nfq"] {
        let more = ["--queue", queue, "--for", "60s"];
        let mut raftq = Raftq::start(&lab, "raftq", None, &args(&rules, &more));
        raftq.await_line("attached to", 1);
        // It would keep a queue bound after raftq's death: packets would wait for nobody.
        let entries = std::fs::read_dir(format!("/proc/{}/fd", raftq.guardian()));
        let links = entries.expect("it runs").flatten().map(|fd| std::fs::read_link(fd.path()));
        let links: Vec<_> = links.flatten().map(|to| to.display().to_string()).collect();
        let sockets: Vec<_> = links.iter().filter(|to| to.starts_with("socket:")).collect();
        assert!(sockets.is_empty() && links.iter().any(|to| to.contains("heart")), "{links:?}");
        raftq.signal(Signal::SIGINT);
        assert_eq!(raftq.exit_code(), Some(0));
        lab.await_nothing_left();
    }
}

#[test]
fn a_stopped_guardian_goes_on_when_raftq_is_killed() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    stop(raftq.guardian());
    // Its process group has no parent in its session any more, so the kernel continues it.
    raftq.signal(Signal::SIGKILL);
    raftq.exit_code();
    lab.await_nothing_left();
}

#[test]
fn stopped_on_its_way_out() {
    let lab = Lab::new(3);
    let rules = lab.rules_file(DELAY);
    for (signal, code) in [(Signal::SIGINT, 0), (Signal::SIGTSTP, 5)] {
        let gate = Gate::closed(&lab, 3..6);
        let mut raftq = Raftq::start(&lab, "raftq", Some(&gate), &args(&rules, &[]));
        raftq.await_line("attached to", 1);
        raftq.signal(signal);
        gate.await_waiting(3);
        // It has begun to remove the rules, and they are still there.
        raftq.signal(Signal::SIGSTOP);
        raftq.await_stop();
        lab.await_firewall_as_before();
        gate.open();
        raftq.signal(Signal::SIGCONT);
        assert_eq!(raftq.exit_code(), Some(code), "{signal}: {}", raftq.process.log_tail());
        lab.await_nothing_left();
    }
}

#[test]
fn frozen_together_with_its_guardian_nothing_happens() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let mut raftq = Raftq::attach(&lab, &rules);
    let standing = lab.changes();
    stop(raftq.guardian());
    raftq.signal(Signal::SIGSTOP);
    raftq.await_stop();
    pause(Duration::from_millis(700));
    kill(raftq.guardian(), Signal::SIGCONT);
    pause(Duration::from_millis(100));
    raftq.signal(Signal::SIGCONT);
    pause(Duration::from_millis(700));
    assert_eq!(lab.changes(), standing);
    raftq.signal(Signal::SIGINT);
    assert_eq!(raftq.exit_code(), Some(0));
    lab.await_nothing_left();
}
