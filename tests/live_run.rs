//! Whole experiments by the real program: what holds, what is caught, and what is left behind
//! when something goes wrong, which is nothing.

mod run_lab;

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::netns::clean_host;
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process, running};
use run_lab::{RAFTQ, STEP, nothing_is_left, root};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// The longest that anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    _folder: Scratch,
    out: PathBuf,
}

impl Ran {
    fn summary(&self) -> Value {
        let text = fs::read_to_string(self.out.join("summary.json")).expect("a summary");
        serde_json::from_str(&text).expect("JSON")
    }

    fn check(&self, name: &str) -> String {
        let summary = self.summary();
        let findings = summary["findings"].as_array().expect("findings");
        let one = findings.iter().find(|finding| finding["check"] == name);
        one.map_or("absent", |f| f["verdict"].as_str().expect("a word")).to_owned()
    }
}

fn run_in(folder: Scratch, scenario: &Path, args: &[&str]) -> Ran {
    let out = folder.path().join("run");
    let Output { status, stdout, stderr } = Command::new(RAFTQ)
        .arg("run")
        .arg(scenario)
        .arg("--out")
        .arg(&out)
        .args(args)
        .current_dir(root())
        .output()
        .expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    nothing_is_left();
    Ran { code: status.code(), stdout, stderr, _folder: folder, out }
}

fn run(scenario: &str, args: &[&str]) -> Ran {
    let folder = Scratch::new("rqunit").expect("a folder");
    run_in(folder, &root().join("tests/scenarios").join(scenario), args)
}

/// A scenario of the test's own.
fn run_text(text: &str, args: &[&str]) -> Ran {
    let folder = Scratch::new("rqunit").expect("a folder");
    let path = folder.path().join("s.yaml");
    fs::write(&path, text).expect("a scenario");
    run_in(folder, &path, args)
}

const SHORT: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50 }
warm_up: 200ms
lasts: 500ms
settle: 200ms
rules: []
";

#[test]
fn a_healthy_cluster_holds_and_its_folder_has_everything() {
    let ran = run("sanity.yaml", &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for file in ["history.jsonl", "events.jsonl", "scenario.yaml", "seed", "nodes/n1.log"] {
        assert!(ran.out.join(file).is_file(), "{file} is missing");
    }
    for check in ["linearizable", "durable", "recovers", "available"] {
        assert_eq!(ran.check(check), "holds", "{check}");
    }
    // The same verdict from the file alone.
    let again = Command::new(RAFTQ).arg("check").arg(ran.out.join("history.jsonl")).output();
    let again = again.expect("raftq runs");
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stdout));
}

#[test]
fn etcd_holds_and_runs_on_one_loopback_too() {
    let ran = run_text(SHORT, &["--adapter", "etcd", "--topology", "loopback"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.check("linearizable"), "holds");
}

#[test]
fn a_leader_that_is_cut_off_and_answers_from_memory_is_caught() {
    let args = ["--node-arg=--bug=stale-without-prevote", "--seed", "1"];
    let ran = run("bugs/lonely.yaml", &args);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("no order of its calls explains every answer"), "{}", ran.stdout);
    let network = &ran.summary()["network"]["rules"][0];
    assert_eq!(network["activations"], 2, "the cut came and went: {network}");
    assert!(network["acted"].as_u64() > Some(0), "the cut acted: {network}");
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
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let events = fs::read_to_string(ran.out.join("events.jsonl")).expect("events");
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

#[test]
fn what_cannot_work_is_told_with_the_node_and_the_end_of_its_log() {
    let adapter = |program: &str, args: &str, ports: &str| {
        format!(
            "about: a test\nnode:\n  program: {program}\n  args: {args}\n  ports: {ports}\n  \
             start_within: 2s\nbase: http://{{{{ node.address }}}}:1\nstatus: {{ get: /, leads: \
             'false' }}\noperations:\n  read: {{ promise: linearizable, get: /, answers: [] }}\n  \
             write: {{ promise: linearizable, put: /, answers: [] }}\n"
        )
    };
    let told = |adapter: &str| {
        let folder = Scratch::new("rqunit").expect("a folder");
        let file = folder.path().join("a.yaml");
        fs::write(&file, adapter).expect("an adapter");
        let text = format!(
            "cluster: {{ adapter: {} }}\nload: {{ workload: register, mix: {{ read: 1, write: 1 }} \
             }}\nrules: []\n",
            file.display()
        );
        let ran = run_text(&text, &[]);
        (ran.code, ran.stderr)
    };
    let both = "{ peer: 1, client: 2 }";
    let (code, said) = told(&adapter("/nowhere/raft", "[]", both));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("there is no program at /nowhere/raft"), "{said}");
    let (code, said) = told(&adapter("sh", "[-c, echo no disk left; exit 3]", both));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("n1 ended by itself") && said.contains("no disk left"), "{said}");
    let (code, said) = told(&adapter("sleep", "['60']", both));
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("no leader was found within 2s"), "{said}");
    let (code, said) = told(&adapter("sh", "[]", "{ peer: 1 }"));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("node.ports needs `client`"), "{said}");
}

#[test]
fn a_port_in_use_is_told_before_the_node_can() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let file = folder.path().join("a.yaml");
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    // Two nodes on one address, and the second one's peer port is the first one's client port.
    fs::write(&file, own.replace("peer: 2380, client: 2379", "peer: 2380, client: 2480"))
        .expect("an adapter");
    let text = SHORT.replace("embedded", &file.display().to_string());
    let ran = run_text(&text, &["--topology", "loopback"]);
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.contains("is in use already"), "{}", ran.stderr);
}

fn start(folder: &Scratch) -> Process {
    let out = folder.path().join("run");
    let scenario = root().join("tests/scenarios/restart.yaml");
    let args: Vec<OsString> = vec!["run".into(), scenario.into(), "--out".into(), out.into()];
    Process::spawn(Launch {
        name: "raftq".into(),
        program: RAFTQ.into(),
        args,
        env: vec![("RAFTQ_ADAPTERS".into(), root().join("adapters").display().to_string())],
        netns: None,
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("raftq starts")
}

fn await_word(process: &mut Process, word: &str) {
    let said = wait_for(word, LIMIT, STEP, || {
        let over = process.ended().is_some();
        process.stderr().contains(word).then_some(true).or(over.then_some(false))
    });
    assert_eq!(said.as_ref(), Ok(&true), "{word}:\n{}", process.stderr());
}

#[test]
fn an_interrupt_at_any_phase_leaves_nothing_behind() {
    for word in ["starting 3 nodes", "clients call", "attached", "kill the leader\" kill"] {
        let folder = Scratch::new("rqunit").expect("a folder");
        let mut process = start(&folder);
        await_word(&mut process, word);
        process.signal(Signal::SIGINT).expect("a signal");
        let status = process.wait(LIMIT).expect("it ends");
        assert!(status.code().is_some_and(|code| code != 0), "{word}: {status}");
        nothing_is_left();
    }
}

#[test]
fn after_a_sigkill_no_node_runs_on_and_clean_removes_the_rest() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let mut process = start(&folder);
    await_word(&mut process, "attached");
    let history = folder.path().join("run/history-1.jsonl");
    process.kill().expect("SIGKILL");
    // The death signal reaches every node, and the guardian takes the rules out.
    let raftq = fs::canonicalize(RAFTQ).expect("the program");
    wait_for("the nodes to die", LIMIT, STEP, || running(&raftq).is_empty().then_some(()))
        .expect("no orphan");
    let cleaned = Command::new(RAFTQ).arg("clean").output().expect("raftq runs");
    assert_eq!(cleaned.status.code(), Some(0), "{}", String::from_utf8_lossy(&cleaned.stderr));
    nothing_is_left();
    // What was called until then can be judged.
    let check = Command::new(RAFTQ).arg("check").arg(&history).output().expect("raftq runs");
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(clean_host().expect("nothing to clean").is_empty());
}
