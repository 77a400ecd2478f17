//! A packet triggers what is done to a process, on real nodes by the real program: from that very
//! packet on nothing of the node passes until it is done, and that it was done shows in its log.

use raftq_harness::owner::Scratch;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const RAFTQ: &str = env!("CARGO_BIN_EXE_raftq");

/// What every run here has in common.
const HEAD: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 4, rate: 300, timeout: 300ms }
warm_up: 200ms
settle: 200ms
rules:
";

struct Ran {
    code: Option<i32>,
    said: String,
    summary: Value,
    events: Vec<Value>,
    trace: Vec<Value>,
    folder: Scratch,
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn run(rules: &str) -> Ran {
    let folder = Scratch::new("rqtrig").expect("a folder");
    let (scenario, out) = (folder.path().join("s.yaml"), folder.path().join("run"));
    fs::write(&scenario, format!("{HEAD}{rules}")).expect("a scenario");
    let mut command = Command::new(RAFTQ);
    command.arg("run").arg(&scenario).arg("--trace").arg("--out").arg(&out);
    let done = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("raftq runs");
    let summary = fs::read_to_string(out.join("summary.json")).unwrap_or_default();
    let said = [done.stdout, done.stderr].concat();
    Ran {
        code: done.status.code(),
        said: String::from_utf8_lossy(&said).into_owned(),
        summary: serde_json::from_str(&summary).unwrap_or_default(),
        events: lines(&out.join("events.jsonl")),
        trace: lines(&out.join("trace.jsonl")),
        folder,
    }
}

impl Ran {
    /// When something happened, ns on the rules' clock, and to which node.
    fn event(&self, rule: &str, word: &str) -> (u64, String) {
        let is = |one: &&Value| {
            one["rule"] == rule && one["what"].as_str().is_some_and(|what| what.contains(word))
        };
        let found = self.events.iter().find(is);
        let one = found.unwrap_or_else(|| panic!("`{word}` did not happen:\n{}", self.said));
        let node = one["nodes"][0].as_str().unwrap_or_default();
        (one["t_ns"].as_u64().expect("a time"), node.to_owned())
    }

    /// The packets of a node between two times, ns: those that passed, and those dropped.
    fn between(&self, node: &str, from: u64, to: u64) -> (Vec<&Value>, Vec<&Value>) {
        let within = |line: &&Value| {
            // The trace's times are a share of a nanosecond off.
            let t = (line["t"].as_f64().unwrap_or(-1.0) * 1e9).round();
            let of = |end: &str| line[end].as_str() == Some(node);
            t >= from as f64 && t < to as f64 && (of("from") || of("to"))
        };
        self.trace.iter().filter(within).partition(|line| line["verdict"] != "drop")
    }

    /// Nothing of it passes, beginning with the packet that a rule matched. Returns how many
    /// packets that was.
    fn is_silent(&self, node: &str, from: u64, to: u64, rule: &str) -> usize {
        let (passed, dropped) = self.between(node, from, to);
        assert_eq!(passed, Vec::<&Value>::new(), "{node} is silent from {from} to {to}");
        assert_eq!(dropped[0]["rule"], rule, "the packet itself is the first: {dropped:?}");
        assert!(dropped[1..].iter().all(|line| line["rule"].is_null()), "{dropped:?}");
        dropped.len()
    }

    fn starts(&self, node: &str) -> usize {
        let log = self.folder.path().join("run/nodes").join(format!("{node}.log"));
        fs::read_to_string(log).expect("a log").matches("--- raftq: start").count()
    }

    fn rule(&self, i: usize) -> &Value {
        &self.summary["network"]["rules"][i]
    }
}

#[test]
fn nothing_of_a_node_passes_from_the_packet_that_kills_it_until_it_is_reaped() {
    let name = "kill it as it speaks";
    let ran = run(
        "  - { name: kill it as it speaks, from: leader, to: followers, where: { proto: tcp }, \
         node: leader, do: kill, at: 500ms, for: 1500ms }\nlasts: 5s\n",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let (from, node) = ran.event(name, "triggered by a packet");
    let (to, _) = ran.event(name, "the silence of");
    assert!(ran.event(name, "kill done").0 <= to, "it is reaped when it may be heard of again");
    let dropped = ran.is_silent(&node, from, to, name);
    assert_eq!(ran.summary["network"]["totals"]["silenced"], dropped - 1, "all but the first");
    let rule = ran.rule(0);
    for count in ["activations", "matched", "acted"] {
        assert_eq!(rule[count], 1, "once, by one packet: {rule}");
    }
    let first = rule["first_s"].as_f64().expect("it matched");
    assert!((first * 1e9 - from as f64).abs() < 1.0, "{first} s is the packet's own time");
    // It spoke before and speaks again, with its new process.
    let (before, _) = ran.between(&node, 0, from);
    let (after, _) = ran.between(&node, ran.event(name, "started again").0, u64::MAX);
    assert!(!before.is_empty() && !after.is_empty(), "{}", ran.said);
    assert_eq!(ran.starts(&node), 2, "killed, and started again");
}

#[test]
fn a_crashed_node_is_silent_until_it_is_back_and_a_paused_one_until_it_stands_still() {
    let ran =
        run("  - { name: gone, from: any, to: n1, node: n1, do: crash, at: 300ms, for: 800ms }\n\
         \x20 - { name: still, from: n3, do: pause, at: 3s, for: 500ms }\n");
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let (from, node) = ran.event("gone", "crash n1, triggered");
    let (to, _) = ran.event("gone", "the silence of n1");
    let (back, _) = ran.event("gone", "n1 started again");
    assert!(back <= to && to - from >= 800_000_000, "{from} to {to}, back at {back}");
    let dropped = ran.is_silent(&node, from, to, "gone");
    assert!(dropped > 5, "the others went on trying to reach it: {dropped}");
    assert_eq!(ran.starts("n1"), 2);
    // Nobody is named, so the sender is meant.
    let (from, node) = ran.event("still", "pause n3, triggered by a packet n3>");
    let (to, _) = ran.event("still", "the silence of n3");
    assert!(ran.event("still", "n3 pause done").0 <= to);
    ran.is_silent(&node, from, to, "still");
    assert!(ran.event("still", "n3 resumed").0 >= from + 500_000_000);
    assert_eq!(ran.starts("n3"), 1);
}

#[test]
fn a_trigger_that_no_packet_met_is_a_rule_that_never_matched() {
    let rule = "from: n1, where: { proto: udp }, do: kill, for: 100ms";
    let ran = run(&format!("  - {{ name: never, {rule} }}\nlasts: 500ms\n"));
    assert_eq!(ran.code, Some(3), "{}", ran.said);
    assert!(ran.said.contains("a rule never matched"), "{}", ran.said);
    let ran = run(&format!("  - {{ name: never, {rule}, optional: true }}\nlasts: 500ms\n"));
    assert_eq!(ran.code, Some(0), "{}", ran.said);
}
