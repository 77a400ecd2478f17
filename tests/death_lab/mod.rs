//! What the tests of raftq's ways out share: raftq as a process, the traces that it could
//! leave, a gate before `iptables-restore`, and writers that never stop asking.
//!
//! Every raftq here has a run folder of its own, so nothing touches the machine's.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

pub mod load;

use nix::sys::signal::Signal;
use raftq::kernel::restore;
use raftq_harness::clock::wait_for;
use raftq_harness::firewall::Rules;
use raftq_harness::netns::{BridgeOptions, Bridged, Namespace};
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process, running};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const STEP: Duration = Duration::from_millis(10);
/// The longest that anything of raftq's own may take.
pub const SOON: Duration = Duration::from_secs(15);

/// A delay on every link, so that there always are packets that raftq holds.
pub const DELAY: &str = "\
rules:
  - name: jitter everywhere
    between: [any, any]
    do: { delay: { by: 10ms, jitter: 5ms } }
    optional: true
";

/// Namespaces, and a folder for raftq's files.
pub struct Lab {
    pub net: Bridged,
    pub scratch: Scratch,
    before: Vec<Rules>,
}

impl Lab {
    pub fn new(nodes: usize) -> Self {
        let net = Bridged::new("rqdeath", nodes, BridgeOptions::default()).expect("a bridge");
        let scratch = Scratch::new("rqdeath").expect("a folder");
        let before = firewalls(&net);
        Self { net, scratch, before }
    }

    /// A cluster of addresses without a process behind them, with these rules.
    pub fn rules_file(&self, rules: &str) -> PathBuf {
        let mut text = String::from("cluster:\n  nodes:\n");
        for (i, space) in self.net.nodes().iter().enumerate() {
            let (n, at, netns) = (i + 1, Bridged::v4(i), space.name());
            let _ = writeln!(text, "    n{n}: {{ at: \"{at}:2380\", netns: {netns} }}");
        }
        self.write("rules.yaml", &(text + rules))
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    pub fn run_folder(&self) -> PathBuf {
        self.scratch.path().join("run")
    }

    /// The files of raftq's records.
    pub fn records(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.run_folder()).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|e| e != "lock")).collect()
    }

    /// How the firewalls differ from what they were before the first raftq.
    pub fn changes(&self) -> Vec<String> {
        let after = firewalls(&self.net);
        self.before.iter().zip(&after).flat_map(|(old, new)| old.changes(new)).collect()
    }

    /// Waits until every firewall is as it was.
    pub fn await_firewall_as_before(&self) {
        let same = || self.changes().is_empty().then_some(());
        if let Err(e) = wait_for("the firewall as before", SOON, STEP, same) {
            panic!("{e}; the changes are\n  {}", self.changes().join("\n  "));
        }
    }

    /// Nothing is left: no rule, no record, no process of raftq's.
    pub fn await_nothing_left(&self) {
        self.await_firewall_as_before();
        let no_process = || running(&exe()).is_empty().then_some(());
        wait_for("the end of raftq's last process", SOON, STEP, no_process).expect("they end");
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "a record stays");
        assert_eq!(self.changes(), Vec::<String>::new(), "after the last process's end");
    }

    /// `raftq clean` with this lab's run folder.
    pub fn clean(&self) -> Output {
        let mut command = Command::new(exe());
        command.arg("clean").env("RAFTQ_RUN_DIR", self.run_folder());
        command.output().expect("it starts")
    }
}

/// A raftq with its output in files.
pub struct Raftq {
    pub process: Process,
}

impl Raftq {
    /// Starts it; `path` comes before the programs of the host.
    pub fn start(lab: &Lab, name: &str, path: Option<&Gate>, args: &[&str]) -> Self {
        let mut env: Vec<OsString> = vec![set("RAFTQ_RUN_DIR", &lab.run_folder())];
        env.extend(path.map(|gate| set("PATH", &gate.search_path())));
        env.push(exe().into());
        env.extend(args.iter().map(Into::into));
        let file = |kind: &str| lab.scratch.path().join(format!("{name}.{kind}"));
        for kind in ["out", "err"] {
            let _ = fs::remove_file(file(kind));
        }
        let launch = Launch {
            name: name.into(),
            // It becomes raftq, with the same pid.
            program: "/usr/bin/env".into(),
            args: env,
            netns: None,
            stdout: file("out"),
            stderr: file("err"),
            env: Vec::new(),
            ended_by: Signal::SIGTERM,
        };
        Self { process: Process::spawn(launch).expect("it starts") }
    }

    /// Starts it and waits until its rules are in force.
    pub fn attach(lab: &Lab, rules: &Path) -> Self {
        let rules = rules.to_str().expect("a plain path");
        // The time only bounds a test that is itself killed.
        let mut raftq = Self::start(lab, "raftq", None, &["--rules", rules, "--for", "120s"]);
        raftq.await_line("attached to", 1);
        raftq
    }

    /// Waits for the n-th status line that holds `word`.
    pub fn await_line(&mut self, word: &str, nth: usize) -> String {
        let process = &mut self.process;
        let found = wait_for("that line", SOON, STEP, || {
            let ended = process.ended();
            let text = process.stderr();
            let line = text.lines().filter(|line| line.contains(word)).nth(nth - 1);
            line.map(|line| Some(line.to_owned())).or_else(|| ended.map(|_| None))
        });
        match found {
            Ok(Some(line)) => line,
            _ => panic!("raftq said no {word:?} (number {nth}):\n{}", process.log_tail()),
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("the signal is sent");
    }

    /// Its exit code, once it has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.wait(SOON).expect("raftq ends").code()
    }

    /// The guardian that it told of when it attached.
    pub fn guardian(&self) -> i32 {
        let text = self.process.stderr();
        let (_, number) = text.split_once("guardian ").expect("it says its guardian");
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a pid")
    }

    /// Waits until it is stopped.
    pub fn await_stop(&self) {
        let log = || self.process.log_tail();
        await_state(self.process.pid(), &['T']).unwrap_or_else(|e| panic!("{e}:\n{}", log()));
    }
}

/// A folder with an `iptables-nft-restore` of our own, which runs `before`, a few lines of
/// shell, and then becomes the real one. In the shell, `$gate` is the folder.
pub struct Gate {
    folder: PathBuf,
}

impl Gate {
    pub fn new(lab: &Lab, before: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("gate{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = lab.scratch.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let real = restore::which("iptables-nft-restore").expect("iptables is installed");
        let program = folder.join("iptables-nft-restore");
        let text = format!(
            "#!/bin/sh\ngate={}\nreal={}\n{before}\nexec $real \"$@\"\n",
            folder.display(),
            real.display()
        );
        fs::write(&program, text).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made runnable");
        Self { folder }
    }

    /// One that stays closed until [`Gate::open`] for some calls, counted from 0; the others
    /// pass. With n namespaces the first n calls install, the next n remove.
    pub fn closed(lab: &Lab, calls: Range<usize>) -> Self {
        let numbers =
            |calls: Range<usize>| calls.map(|i| i.to_string()).collect::<Vec<_>>().join(" ");
        let before = format!(
            "for i in {}; do mkdir \"$gate/passed.$i\" 2>/dev/null && exec $real \"$@\"; done\n\
             for i in {}; do\n\
             mkdir \"$gate/came.$i\" 2>/dev/null || continue\n\
             while [ -e \"$gate/closed\" ]; do sleep 0.01; done\n\
             break\n\
             done",
            numbers(0..calls.start),
            numbers(calls)
        );
        let gate = Self::new(lab, &before);
        fs::write(gate.folder.join("closed"), "").expect("written");
        gate
    }

    pub fn open(&self) {
        fs::remove_file(self.folder.join("closed")).expect("it was closed");
    }

    /// Waits until `n` stand before it.
    pub fn await_waiting(&self, n: usize) {
        let came = || {
            let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name());
            let waiting = names.filter(|name| name.to_string_lossy().starts_with("came.")).count();
            (waiting >= n).then_some(())
        };
        wait_for("iptables-restore to be called", SOON, STEP, came).expect("it is called");
    }

    fn search_path(&self) -> PathBuf {
        let old = std::env::var("PATH").unwrap_or_default();
        format!("{}:{old}", self.folder.display()).into()
    }
}

fn set(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!("{name}="));
    text.push(value);
    text
}

pub fn exe() -> PathBuf {
    fs::canonicalize(env!("CARGO_BIN_EXE_raftq")).expect("raftq is built")
}

fn firewalls(net: &Bridged) -> Vec<Rules> {
    let spaces: Vec<&Namespace> = net.nodes().iter().chain([net.hub()]).collect();
    spaces.into_iter().map(|space| Rules::of(space).expect("the firewall is read")).collect()
}

/// The letter that `/proc` shows for a process.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

fn await_state(pid: u32, wanted: &[char]) -> Result<(), raftq_harness::Error> {
    // One that is not there any more has died and been waited for.
    let there = || wanted.contains(&state(pid).unwrap_or('X')).then_some(());
    wait_for(&format!("pid {pid} in state {wanted:?}"), SOON, STEP, there)
}

/// Stops a process, and waits until it has stopped.
pub fn stop(pid: i32) {
    kill(pid, Signal::SIGSTOP);
    await_state(pid.cast_unsigned(), &['T']).expect("it stops");
}

/// Kills a process, and waits until it does nothing any more.
pub fn end(pid: i32) {
    kill(pid, Signal::SIGKILL);
    await_state(pid.cast_unsigned(), &['Z', 'X']).expect("it ends");
}

pub fn kill(pid: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it is there");
}
