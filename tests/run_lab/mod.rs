//! A laboratory for whole experiments: `raftq run` as a child, and what it leaves behind.
//!
//! Everything that a run starts inherits a variable in its environment, and everything that it
//! makes bears its process id, so that runs side by side do not see each other's.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::owner::{Scratch, runs, unique};
use raftq_harness::process::{Launch, Process, running};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The program under test.
pub const RAFTQ: &str = env!("CARGO_BIN_EXE_raftq");

/// The longest that anything here may take.
pub const LIMIT: Duration = Duration::from_secs(90);

/// How often a condition is looked at.
pub const STEP: Duration = Duration::from_millis(20);

/// The variable that a run's processes have in common.
const MARK: &str = "RAFTQ_TEST_RUN";

/// A few clients for a moment, undisturbed.
pub const SHORT: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50 }
warm_up: 200ms
lasts: 500ms
settle: 200ms
rules: []
";

/// The project's folder.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pids of living processes that were started with `NAME=value` in their environment, this
/// one excepted; `fits` is asked about the value.
#[must_use]
pub fn marked(name: &str, fits: impl Fn(&str) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&environment);
        let mut said = text.split('\0').filter_map(|one| one.split_once('='));
        said.any(|(key, value)| key == name && fits(value))
    };
    pids.filter(|pid| *pid != std::process::id() && has(pid) && runs(*pid)).collect()
}

/// One `raftq run` under way.
pub struct Run {
    /// The process.
    pub process: Process,
    /// The run's folder.
    pub out: PathBuf,
    mark: String,
    folder: Scratch,
}

/// One that has ended.
pub struct Ran {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it told meanwhile.
    pub stderr: String,
    /// The run's folder.
    pub out: PathBuf,
    folder: Scratch,
}

impl Run {
    /// Starts a scenario's file, or a text of the test's own.
    #[must_use]
    pub fn start(folder: Scratch, scenario: &Path, args: &[&str]) -> Self {
        let (out, mark) = (folder.path().join("run"), unique("rqtest"));
        let mut all: Vec<OsString> = vec!["run".into(), scenario.into()];
        all.extend(["--out".into(), out.clone().into()]);
        all.extend(args.iter().map(Into::into));
        let adapters = root().join("adapters").display().to_string();
        let process = Process::spawn(Launch {
            name: "raftq run".into(),
            program: RAFTQ.into(),
            args: all,
            env: vec![("RAFTQ_ADAPTERS".into(), adapters), (MARK.into(), mark.clone())],
            netns: None,
            stdout: folder.path().join("out"),
            stderr: folder.path().join("err"),
            ended_by: Signal::SIGKILL,
        });
        Self { process: process.expect("raftq starts"), out, mark, folder }
    }

    /// Waits until it says this.
    pub fn await_word(&mut self, word: &str) {
        let process = &mut self.process;
        let said = wait_for(word, LIMIT, STEP, || {
            let over = process.ended().is_some();
            process.stderr().contains(word).then_some(true).or(over.then_some(false))
        });
        assert_eq!(said.as_ref(), Ok(&true), "{word}:\n{}", self.process.stderr());
    }

    /// Processes of it that live: its own, its guardian's, its nodes' and theirs.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        marked(MARK, |mark| mark == self.mark)
    }

    /// What is there that it made: processes, namespaces, folders.
    #[must_use]
    pub fn left_behind(&self) -> Vec<String> {
        let mut left: Vec<String> =
            self.processes().iter().map(|pid| format!("process {pid}")).collect();
        let owner = format!("-{}-", self.process.pid());
        for folder in [Path::new("/run/netns"), Path::new("/dev/shm"), &std::env::temp_dir()] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            left.extend(names.filter(|name| name.starts_with("rq") && name.contains(&owner)));
        }
        left
    }

    /// Waits until nothing is left behind.
    pub fn nothing_is_left(&self) {
        let what = "everything to be gone";
        let gone = wait_for(what, Duration::from_secs(5), STEP, || {
            self.left_behind().is_empty().then_some(())
        });
        assert!(gone.is_ok(), "left behind: {:?}", self.left_behind());
    }

    /// Waits for its end; nothing may be left behind.
    #[must_use]
    pub fn ends(mut self) -> Ran {
        let status: ExitStatus = self.process.wait(LIMIT).expect("it ends");
        self.nothing_is_left();
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        let Self { out, folder, .. } = self;
        Ran { code: status.code(), stdout, stderr, out, folder }
    }
}

impl Ran {
    /// The run's result.
    #[must_use]
    pub fn summary(&self) -> Value {
        let text = fs::read_to_string(self.out.join("summary.json")).expect("a summary");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The verdict of one check.
    #[must_use]
    pub fn check(&self, name: &str) -> String {
        let summary = self.summary();
        let findings = summary["findings"].as_array().expect("findings");
        let one = findings.iter().find(|finding| finding["check"] == name);
        one.map_or("absent", |f| f["verdict"].as_str().expect("a word")).to_owned()
    }

    /// All that it said.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// What happened, a line each.
    #[must_use]
    pub fn events(&self) -> String {
        fs::read_to_string(self.out.join("events.jsonl")).expect("events")
    }
}

/// Runs a shipped scenario to its end.
#[must_use]
pub fn run(scenario: &str, args: &[&str]) -> Ran {
    let folder = Scratch::new("rqunit").expect("a folder");
    Run::start(folder, &root().join("tests/scenarios").join(scenario), args).ends()
}

/// Starts a scenario of the test's own.
#[must_use]
pub fn start_text(text: &str, args: &[&str]) -> Run {
    let folder = Scratch::new("rqunit").expect("a folder");
    let path = folder.path().join("s.yaml");
    fs::write(&path, text).expect("a scenario");
    Run::start(folder, &path, args)
}

/// Runs one to its end.
#[must_use]
pub fn run_text(text: &str, args: &[&str]) -> Ran {
    start_text(text, args).ends()
}

/// Waits until no node of any run is left, and no namespace whose maker is gone: for tests that
/// start raftq in ways of their own. What belongs to a raftq that still runs is somebody else's.
pub fn no_orphans() {
    let gone = wait_for("everything to be gone", Duration::from_secs(5), STEP, || {
        orphans().is_empty().then_some(())
    });
    assert!(gone.is_ok(), "left behind: {:?}", orphans());
}

fn orphans() -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let ours = names.filter_map(|entry| entry.file_name().into_string().ok());
    let maker = |name: &str| name.strip_prefix("rqrun-")?.split('-').next()?.parse::<u32>().ok();
    let spaces = ours.filter(|name| maker(name).is_some_and(|pid| !runs(pid)));
    let raftq = fs::canonicalize(RAFTQ).expect("the program");
    spaces.chain(running(&raftq).iter().map(|pid| format!("process {pid}"))).collect()
}

/// `raftq clean`, and what it said.
#[must_use]
pub fn clean() -> String {
    let cleaned = Command::new(RAFTQ).arg("clean").output().expect("raftq runs");
    let said = String::from_utf8_lossy(&cleaned.stderr).into_owned();
    assert_eq!(cleaned.status.code(), Some(0), "{said}");
    said
}

/// An adapter for the embedded cluster whose nodes are shell scripts: each starts a child that
/// ignores SIGTERM, another one with a session of its own, and then the real node. `folder` is
/// where it is written; its path is returned.
#[must_use]
pub fn script_adapter(folder: &Scratch) -> PathBuf {
    let stubborn = "trap '' TERM; while :; do sleep 1; done";
    let script = folder.path().join("node.sh");
    let text = format!(
        "sh -c \"{stubborn}\" &\nsetsid sh -c \"{stubborn}\" &\n'{RAFTQ}' \"$@\" &\nwait\n"
    );
    fs::write(&script, text).expect("a script");
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    let own = own.replace("program: \"{{ raftq }}\"", "program: sh");
    let text = own.replace("    - node\n", &format!("    - {}\n    - node\n", script.display()));
    assert!(text.contains("program: sh") && text.contains("node.sh"), "the adapter has changed");
    let path = folder.path().join("script.yaml");
    fs::write(&path, text).expect("an adapter");
    path
}
