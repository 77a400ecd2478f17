//! A run is repeated from its folder: the same schedule with all that is drawn for it, and the same
//! calls of the same clients, whatever the system makes of them.

mod run_lab;

use raftq_harness::owner::Scratch;
use run_lab::{RAFTQ, Ran, root, run_text};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const SCENARIO: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 3, keys: 3, rate: 150, timeout: 300ms }
seed: 3
warm_up: 200ms
settle: 200ms
groups: { slow_one: }
phases:
  - { name: calm, for: 400ms..600ms }
  - { name: storm, for: 2s..3s }
rules:
  - name: now and then
    in: storm
    where: { chance: 50% }
    do: { delay: 2ms }
    at: 0s..300ms
    for: 100ms..200ms
    every: 300ms..500ms
  - { name: slow, from: slow_one, do: { delay: { by: 3ms, jitter: 2ms } }, for: 1s..2s }
  - name: two of them
    in: storm
    from: random 2
    do: { delay: 1ms }
    at: 100ms..300ms
    for: 500ms
  - { name: again, in: storm, node: random, do: restart, at: 1500ms..1900ms }
";

/// The folder of `ran` again, into a folder beside it.
fn replay(ran: &Ran, folder: &Scratch, more: &[&str]) -> (Option<i32>, Value) {
    let out = folder.path().join("again");
    let output = Command::new(RAFTQ)
        .arg("replay")
        .arg(&ran.out)
        .args(["--json", "--out"])
        .arg(&out)
        .args(more)
        .env("RAFTQ_ADAPTERS", root().join("adapters"))
        .output()
        .expect("raftq runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout);
    (output.status.code(), json.unwrap_or_else(|e| panic!("{e}: {told}")))
}

#[test]
fn schedule_and_calls_are_repeated() {
    let args = ["--set", "slow_one=n2", "--seed", "11", "--trace", "--node-arg=--election-ms=400"];
    let ran = run_text(SCENARIO, &args);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let events = ran.events();
    for phase in ["calm\",\"what\":\"phase ends", "storm\",\"what\":\"phase begins"] {
        assert!(events.contains(phase), "{phase}: {events}");
    }
    let folder = Scratch::new("rqunit").expect("a folder");
    let (code, json) = replay(&ran, &folder, &[]);
    assert_eq!(code, Some(0), "{json:#}");
    let compared = &json["compared"];

    let schedule = &compared["schedule"];
    let events = schedule["events"].as_u64().expect("a number");
    assert!(events >= 14, "phases, rules and faults are told: {schedule:#}");
    assert_eq!(schedule["same"], events, "{schedule:#}");
    assert_eq!(schedule["differences"], json!([]));

    let calls = &compared["calls"][0];
    let common = calls["common"].as_u64().expect("a number");
    assert!(common > 200, "three clients called for some seconds: {calls:#}");
    assert_eq!(calls["alike"], common, "{calls:#}");
    assert_eq!(calls["clients"], 3);

    // Both logged their packets, and rules decided about many.
    let decided = &compared["decisions"]["decided"];
    assert!(decided.as_array().is_some_and(|it| it.iter().all(|n| n.as_u64() > Some(20))));
    assert!(compared["decisions"]["alike"].as_u64() > Some(0), "{compared:#}");

    // The folder of the new run has all that the first one had, and says where it is from.
    let recipe = fs::read_to_string(folder.path().join("again/run.json")).expect("it is there");
    let recipe: Value = serde_json::from_str(&recipe).expect("JSON");
    assert_eq!(recipe["repeats"], ran.out.display().to_string());
    assert_eq!((&recipe["seed"], &recipe["sets"]), (&json!(11), &json!(["slow_one=n2"])));
    assert_eq!(json["run"]["seed"], 11);
    assert_eq!(json["run"]["args"], json!(["--election-ms=400"]));
}

#[test]
fn another_seed_is_not_the_same() {
    let ran = run_text(SCENARIO, &["--set", "slow_one=n2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    // The same folder, as if it had been run with another seed.
    let path = ran.out.join("run.json");
    let recipe = fs::read_to_string(&path).expect("it is there");
    fs::write(&path, recipe.replace("\"seed\": 3", "\"seed\": 4")).expect("it can be written");
    let folder = Scratch::new("rqunit").expect("a folder");
    let (_, json) = replay(&ran, &folder, &["--quiet"]);
    let (schedule, calls) = (&json["compared"]["schedule"], &json["compared"]["calls"][0]);
    assert!(schedule["same"].as_u64() < schedule["events"].as_u64(), "{schedule:#}");
    assert!(calls["alike"].as_u64() < calls["common"].as_u64(), "{calls:#}");
    assert_eq!(calls["differences"].as_array().map(Vec::len), Some(3), "each client: {calls:#}");
    assert!(json["compared"]["decisions"].is_null(), "nobody logged packets");
}
