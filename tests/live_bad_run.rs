//! Whole experiments that go wrong or are cut short: a clear word, the right exit code, and
//! nothing left behind. Needs root; run it by `make test`.

mod run_lab;

use nix::sys::signal::Signal;
use raftq_harness::clock::{now, since, wait_for};
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process};
use run_lab::{RAFTQ, STEP, no_orphans, root};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The longest that a run may take until it says a word.
const LIMIT: Duration = Duration::from_secs(30);

/// The longest that an interrupted run may take to end on a machine that is busy.
const SOON: Duration = Duration::from_secs(15);

/// Every phase takes as long as somebody lets it.
const PATIENT: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50, timeout: 300ms }
warm_up: WARM
lasts: LASTS
settle: SETTLE
rules:
  - { name: the leader alone, between: [leader, rest], do: drop }
";

fn patient(warm_up: &str, lasts: &str, settle: &str) -> String {
    PATIENT.replace("WARM", warm_up).replace("LASTS", lasts).replace("SETTLE", settle)
}

fn scenario(folder: &Scratch, text: &str) -> PathBuf {
    let path = folder.path().join("s.yaml");
    fs::write(&path, text).expect("a scenario");
    path
}

fn command(folder: &Scratch, text: &str) -> Command {
    let mut command = Command::new(RAFTQ);
    command.arg("run").arg(scenario(folder, text)).arg("--out").arg(folder.path().join("run"));
    command.env("RAFTQ_ADAPTERS", root().join("adapters"));
    command
}

fn start(folder: &Scratch, program: &str, args: Vec<String>) -> Process {
    Process::spawn(Launch {
        name: "raftq".into(),
        program: program.into(),
        args: args.into_iter().map(Into::into).collect(),
        env: vec![("RAFTQ_ADAPTERS".into(), root().join("adapters").display().to_string())],
        netns: None,
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("it starts")
}

fn words(folder: &Scratch, text: &str) -> Vec<String> {
    let word = |path: PathBuf| path.display().to_string();
    let out = word(folder.path().join("run"));
    vec!["run".into(), word(scenario(folder, text)), "--out".into(), out]
}

fn await_word(file: &Path, word: &str) {
    let said = || fs::read_to_string(file).unwrap_or_default().contains(word).then_some(());
    wait_for(word, LIMIT, STEP, said)
        .unwrap_or_else(|_| panic!("{word}:\n{}", fs::read_to_string(file).unwrap_or_default()));
}

/// Interrupts a run at a word of its own; its exit code, and all that it said.
fn interrupted(text: &str, word: &str, signals: &[Signal]) -> (Option<i32>, String) {
    let folder = Scratch::new("rqunit").expect("a folder");
    let mut process = start(&folder, RAFTQ, words(&folder, text));
    await_word(&folder.path().join("err"), word);
    for signal in signals {
        process.signal(*signal).expect("a signal");
    }
    let begin = now();
    let status = process.wait(LIMIT).expect("it ends");
    assert!(since(begin) < SOON, "{word}: {:?}", since(begin));
    no_orphans();
    let said = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let junit = quick_junit::Report::deserialize_from_str(&said("run/junit.xml"));
    let junit = junit.expect("machines are told as well");
    assert!(junit.errors > 0 && junit.failures == 0, "it did not pass: {junit:?}");
    (status.code(), said("out") + &said("err"))
}

#[test]
fn an_interrupt_before_there_is_anything_to_judge_says_what_stands_where() {
    for (text, word, signal, phase) in [
        (patient("60s", "1s", "0s"), "starting 3 nodes", Signal::SIGINT, "starting"),
        (patient("60s", "1s", "0s"), "warming up", Signal::SIGTERM, "warming up"),
        (patient("0s", "200ms", "60s"), "waiting for writes", Signal::SIGINT, "settling"),
    ] {
        let (code, said) = interrupted(&text, word, &[signal]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("interrupted while {phase}")), "{said}");
        assert!(said.contains("nothing was judged") && said.contains("/run"), "{said}");
        assert_eq!(said.contains("history.jsonl"), phase != "starting", "{said}");
    }
}

#[test]
fn an_interrupt_among_faults_judges_what_was_called_and_a_second_one_does_no_harm() {
    let text = patient("300ms", "60s", "60s");
    let (code, said) = interrupted(&text, "\" active", &[Signal::SIGINT]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("ended the run before its time"), "{said}");
    assert!(said.contains("linearizable"), "{said}");
    let (code, said) = interrupted(&text, "\" active", &[Signal::SIGINT, Signal::SIGTERM]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn answers_that_nobody_understands_are_no_success() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let file = folder.path().join("a.yaml");
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    // What stands there is no JSON.
    fs::write(&file, own.replace("\"/kv", "\"/nowhere")).expect("an adapter");
    let text = format!(
        "cluster: {{ adapter: {} }}\nload: {{ workload: register, clients: 2, rate: 50 }}\n\
         warm_up: 0s\nlasts: 1s\nsettle: 0s\nrecovers_within: 1s\nrules: []\n",
        file.display()
    );
    let output = command(&folder, &text).output().expect("raftq runs");
    no_orphans();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no call was ever answered: "), "{said}");
    assert!(said.contains("no write ever succeeded"), "{said}");
    // What nodes said to each other is judged all the same.
    let held: Vec<&str> = said.lines().filter(|line| line.starts_with("  holds")).collect();
    assert!(matches!(held.as_slice(), [one] if one.contains("invariants")), "{said}");
}

/// A small disk of its own, full but for a little.
struct Disk(PathBuf);

impl Disk {
    fn full(at: PathBuf) -> Self {
        fs::create_dir_all(&at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at);
        assert!(mount.status().expect("mount runs").success());
        let disk = Self(at);
        fs::write(disk.0.join("ballast"), vec![1; 160 << 10]).expect("room for it");
        disk
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_ends_the_run_with_the_file_s_name() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let disk = Disk::full(folder.path().join("disk"));
    let text = patient("60s", "1s", "0s").replace("rate: 50, ", "");
    let begin = now();
    let mut command = Command::new(RAFTQ);
    command.arg("run").arg(scenario(&folder, &text)).arg("--out").arg(disk.0.join("run"));
    let output = command.current_dir(root()).output().expect("raftq runs");
    no_orphans();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("history.jsonl could not be written whole"), "{said}");
    assert!(said.contains("No space left") && said.contains("--out"), "{said}");
    assert!(since(begin) < Duration::from_secs(45), "it did not wait for the end of a phase");
}

#[test]
fn a_reader_that_has_gone_away_changes_nothing() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let text = patient("200ms", "300ms", "0s").replace("rules:\n", "rules: []\n");
    let text = text.lines().filter(|line| !line.contains("name:")).collect::<Vec<_>>().join("\n");
    let mut command = command(&folder, &text);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("raftq");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    no_orphans();
    assert!(folder.path().join("run/summary.json").is_file());
}

#[test]
fn without_root_it_says_so_and_leaves_no_folder() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let (program, out) = (folder.path().join("raftq"), folder.path().join("open"));
    fs::copy(RAFTQ, &program).expect("a copy that anybody may run");
    fs::create_dir(&out).expect("a folder");
    let chmod = Command::new("chmod").arg("a+rwx").args([folder.path(), &out]).status();
    assert!(chmod.expect("chmod runs").success());
    let adapter = folder.path().join("a.yaml");
    fs::copy(root().join("adapters/embedded/adapter.yaml"), &adapter).expect("an adapter");
    let text = patient("1s", "1s", "1s").replace("embedded", &adapter.display().to_string());
    let mut command = Command::new(program);
    command.arg("run").arg(scenario(&folder, &text)).arg("--out").arg(out.join("run"));
    let output = command.uid(65_534).gid(65_534).current_dir("/").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("needs root"), "{said}");
    assert!(!out.join("run").exists(), "a folder of nothing is left");
    no_orphans();
}

/// raftq on a terminal of so many columns, which is written down.
fn on_a_terminal(folder: &Scratch, text: &str, columns: u16) -> Process {
    let raftq =
        format!("stty rows 24 cols {columns}; exec {RAFTQ} {}", words(folder, text).join(" "));
    let typescript = folder.path().join("screen").display().to_string();
    start(folder, "script", vec!["-q".into(), "-f".into(), "-c".into(), raftq, typescript])
}

#[test]
fn a_terminal_that_is_closed_ends_the_run() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let mut terminal = on_a_terminal(&folder, &patient("300ms", "60s", "60s"), 80);
    await_word(&folder.path().join("screen"), "\" active");
    terminal.kill().expect("the terminal goes");
    let over = || folder.path().join("run/summary.json").is_file().then_some(());
    wait_for("a verdict", LIMIT, STEP, over).expect("it is judged without a terminal");
    no_orphans();
}

#[test]
fn on_a_narrow_terminal_one_line_tells_the_phase_what_is_left_and_how_fast_clients_are() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let mut terminal = on_a_terminal(&folder, &patient("2s", "2s", "2s"), 40);
    terminal.wait(LIMIT).expect("it ends");
    no_orphans();
    let screen = fs::read_to_string(folder.path().join("screen")).expect("what was shown");
    let lines: Vec<&str> = screen.split("\r\u{1b}[K").skip(1).collect();
    assert!(lines.iter().any(|line| line.contains("\u{1b}[1m")), "a terminal has colours");
    let lines: Vec<String> =
        lines.into_iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
    let lines: Vec<&String> = lines.iter().filter(|line| line.contains("calls/s")).collect();
    for (phase, part) in
        [("warming up", " s left"), ("faults", "[the lea"), ("settling", " s left")]
    {
        let is_told = |line: &&String| line.starts_with(phase) && line.contains(part);
        assert!(lines.iter().any(is_told), "{phase}: {lines:?}");
    }
    for line in lines {
        let shown = line.split(['\r', '\n']).next().unwrap_or_default();
        assert!(shown.chars().count() < 40, "{shown}");
    }
}
