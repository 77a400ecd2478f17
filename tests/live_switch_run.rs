//! Rules switched by name in a run: what depends on roles, and what is done to nodes. Needs root;
//! run it by `make test`.

mod api_lab;
mod run_lab;

use api_lab::call;
use raftq::kernel::door;
use raftq_harness::clock::wait_for;
use raftq_harness::owner::Scratch;
use run_lab::{LIMIT, Run, STEP};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const SCENARIO: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50, timeout: 300ms }
warm_up: 200ms
lasts: 60s
settle: 200ms
rules:
  - { name: alone, at: switch, between: [leader, rest], do: drop }
  - { name: follows, on: term_change, times: 1, for: 1h, from: leader, do: { delay: 1ms } }
  - { name: gone, at: switch, node: leader, do: kill }
  - { name: not yet, at: 50s, node: n1, do: kill, optional: true }
";

/// The control socket of this run.
fn socket(run: &Run, pid: u32) -> PathBuf {
    let found = wait_for("its control socket", LIMIT, STEP, || {
        door::sockets().ok()?.into_iter().map(|(_, path)| path).find(|path| {
            let record = path.with_extension("json");
            let record: Option<Value> =
                fs::read(record).ok().and_then(|text| serde_json::from_slice(&text).ok());
            record.is_some_and(|record| record["pid"] == pid)
        })
    });
    found.unwrap_or_else(|e| panic!("{e}: {}", run.process.stderr()))
}

fn switch(socket: &Path, rule: &str, to: &str) -> Value {
    let target = format!("/v1/rules/{}", rule.replace(' ', "%20"));
    let body = json!({ "switch": to }).to_string();
    let (status, answer) = call(socket, "POST", &target, Some(&body));
    assert_eq!(status, 200, "{answer}");
    answer
}

fn rule(socket: &Path, name: &str) -> Value {
    call(socket, "GET", &format!("/v1/rules/{}", name.replace(' ', "%20")), None).1
}

fn status(socket: &Path) -> Value {
    call(socket, "GET", "/v1/status", None).1
}

/// Until what is asked for is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    wait_for(what, LIMIT, STEP, || is_so().then_some(())).unwrap_or_else(|e| panic!("{e}"));
}

/// The lines of a run about a rule, with their times.
fn told(events: &str, name: &str, words: &str) -> Vec<u64> {
    let lines = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of = lines.filter(|line| {
        line["rule"] == name && line["what"].as_str().is_some_and(|what| what.contains(words))
    });
    of.filter_map(|line| line["t_ns"].as_u64()).collect()
}

#[test]
fn the_leader_is_cut_off_and_killed_when_somebody_says_so_and_it_stands_in_the_run() {
    let folder = Scratch::new("rqtest").expect("a folder");
    let file = folder.path().join("switch.yaml");
    fs::write(&file, SCENARIO).expect("a file");
    let mut run = Run::start(folder, &file, &["--seed", "1"]);
    run.await_word("attached to");
    let socket = socket(&run, run.process.pid());
    until("a leader", || !status(&socket)["leader"].is_null());
    let leader = status(&socket)["leader"]["node"].as_str().expect("it leads").to_owned();
    let on = switch(&socket, "alone", "on");
    let cut = rule(&socket, "alone");
    let links: Vec<&str> =
        cut["links"].as_array().expect("links").iter().filter_map(Value::as_str).collect();
    assert_eq!(links.len(), 4, "{cut}");
    assert!(links.iter().all(|link| link.split(" -> ").any(|end| end == leader)), "{cut}");
    until("another leader", || {
        let now = &status(&socket)["leader"]["node"];
        now.is_string() && *now != json!(leader)
    });
    assert!(rule(&socket, "alone")["acted"].as_u64() > Some(0));
    let off = switch(&socket, "alone", "off");
    // A rule that follows an event, switched off and on by a person, means who leads now.
    switch(&socket, "follows", "off");
    switch(&socket, "follows", "on");
    until("it to act", || rule(&socket, "follows")["acted"].as_u64() > Some(0));
    let victim = status(&socket)["leader"]["node"].as_str().expect("it leads").to_owned();
    let killed = switch(&socket, "gone", "on");
    until("somebody else to lead", || {
        let now = &status(&socket)["leader"]["node"];
        now.is_string() && *now != json!(victim)
    });
    assert_eq!(rule(&socket, "gone")["state"], "active");
    // Nothing is loaded while it is under way.
    let other = "rules: [{ name: moved, at: switch, node: random 1 followers, do: transfer }]\n";
    let (refused, answer) = call(&socket, "PUT", "/v1/rules", Some(other));
    assert_eq!(refused, 409, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|why| why.contains("gone")), "{answer}");
    switch(&socket, "gone", "off");
    switch(&socket, "not yet", "off");
    let events = || fs::read_to_string(run.out.join("events.jsonl")).expect("events");
    until("it to run again", || !told(&events(), "gone", "started again").is_empty());
    until("other rules", || call(&socket, "PUT", "/v1/rules", Some(other)).0 == 200);
    let leads = status(&socket)["leader"]["node"].clone();
    switch(&socket, "moved", "on");
    until("another to lead", || {
        let now = &status(&socket)["leader"]["node"];
        now.is_string() && *now != leads
    });
    let events = events();
    for (name, words, answer) in [
        ("alone", "switched on by uid 0", &on),
        ("alone", "switched off by uid 0", &off),
        ("gone", "switched on by uid 0", &killed),
    ] {
        let at = answer["in_force_ns"].as_u64().expect("a time");
        assert_eq!(told(&events, name, words), [at], "{name} {words}");
    }
    // The fault was done from the very time on that was told.
    let silent = told(&events, "gone", "silent from here on");
    assert_eq!(silent.first(), killed["in_force_ns"].as_u64().as_ref(), "{silent:?}");
    assert_eq!(told(&events, "rules", "replaced by").len(), 1);
    run.process.signal(nix::sys::signal::Signal::SIGINT).expect("SIGINT");
    let ran = run.ends();
    assert_eq!(ran.code, Some(2), "somebody ended it: {}", ran.said());
    assert!(!socket.exists());
}
