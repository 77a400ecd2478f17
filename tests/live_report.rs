//! What a folder tells of a real run: bands, roles, states and excerpts against the events, the
//! summary, the histories and the logs that stand beside. Needs root and `make setup`; run it by
//! `make test`.

mod run_lab;

use nix::sys::signal::Signal;
use raftq::report::REPORT;
use raftq_harness::etcd::{EtcdCluster, Options, Place, name};
use raftq_harness::netns::{BridgeOptions, Bridged};
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process};
use run_lab::{LIMIT, RAFTQ, Ran, run_text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const CUT: &str = "cut the leader off";
const SLOW: &str = "slow";
const KILL: &str = "kill the leader";

const SCENARIO: &str = "\
cluster: { adapter: embedded, nodes: 3 }
load: { workload: register, clients: 2, keys: 2, rate: 60, timeout: 400ms }
warm_up: 200ms
settle: 200ms
rules:
  - { name: cut the leader off, between: [leader, rest], do: { drop: { heal: reset } },
      at: 300ms, for: 3s }
  - { name: slow, from: n1, to: any, do: { delay: 2ms },
      at: 100ms, for: 400ms, every: 1s, times: 3 }
  - { name: kill the leader, node: leader, do: kill, at: 5s, for: 800ms }
";

/// `raftq report`.
fn report(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let done = Command::new(RAFTQ).arg("report").arg(folder).args(args).output();
    let done = done.expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn story(folder: &Path) -> Value {
    let (code, stdout, stderr) = report(folder, &["--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).expect("JSON")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// When a rule became or did this, in microseconds of the run.
fn times(events: &[Value], rule: &str, what: &str) -> Vec<i64> {
    let is = |event: &&Value| {
        event["rule"] == rule && event["what"].as_str().is_some_and(|one| one.starts_with(what))
    };
    events.iter().filter(is).map(|event| number(&event["run_ns"]) / 1_000).collect()
}

/// The span that there was at a moment.
fn at(spans: &Value, moment: i64) -> &Value {
    let is = |span: &&Value| number(&span["from"]) <= moment && moment < number(&span["to"]);
    list(spans).iter().find(is).unwrap_or_else(|| panic!("nothing at {moment}: {spans}"))
}

/// Who led at a moment, by the lanes; a leader that is cut off may go on beside another.
fn led(story: &Value, moment: i64) -> Vec<usize> {
    let nodes = list(&story["nodes"]).iter().enumerate();
    let leads = nodes.filter(|(_, node)| at(&node["roles"], moment)["role"] == "leader");
    leads.map(|(i, _)| i).collect()
}

fn bands<'s>(story: &'s Value, rule: &str) -> Vec<&'s Value> {
    list(&story["bands"]).iter().filter(|band| band["rule"] == rule).collect()
}

fn bands_agree_with_events(story: &Value, events: &[Value]) {
    for (rule, activations) in [(CUT, 1), (SLOW, 3)] {
        let all = bands(story, rule);
        let from: Vec<i64> = all.iter().map(|band| number(&band["from"])).collect();
        let to: Vec<i64> = all.iter().map(|band| number(&band["to"])).collect();
        assert_eq!((from.len(), &from), (activations, &times(events, rule, "active")), "{rule}");
        assert_eq!(to, times(events, rule, "ended"), "{rule}");
        assert!(all.iter().all(|band| band["ended"] == true), "{rule}");
    }
    let [band] = bands(story, CUT)[..] else { panic!("one cut") };
    let cut = list(&band["nodes"]);
    assert_eq!((cut.len(), list(&band["links"]).len()), (1, 4), "who led is in each link: {band}");
    assert!(band["why"].as_str().is_some_and(|why| why.contains(" leads in term ")), "{band}");
    assert!(list(&band["does"])[0].as_str().is_some_and(|does| does.starts_with("drop")));
    let node = cut[0].as_u64().expect("a node") as usize;
    assert!(led(story, number(&band["from"]) - 1_000).contains(&node), "it led before: {band}");
    for band in bands(story, SLOW) {
        assert_eq!((&band["nodes"], list(&band["links"]).len()), (&json!([0]), 2), "{band}");
    }
}

/// Whoever was heard to be elected led from then on, in that term, and nobody else in it.
fn roles_agree_with_elections(story: &Value, events: &[Value]) {
    let mut elected = 0;
    for event in events.iter().filter(|event| event["rule"] == "wire") {
        let what = event["what"].as_str().expect("words");
        let Some((name, term)) = what.split_once(" leads in term ") else { continue };
        let moment = number(&event["run_ns"]) / 1_000;
        let term: i64 = term.parse().expect("a term");
        for node in list(&story["nodes"]) {
            let role = at(&node["roles"], moment);
            let leads = role["role"] == "leader" && role["term"] == term;
            assert_eq!(leads, node["name"] == name, "{what} at {moment}: {role}");
        }
        elected += 1;
    }
    assert!(elected >= 2, "another one was elected, in the cut or after the kill");
}

fn counters_add_up(story: &Value, summary: &Value) {
    for (i, rule) in list(&summary["network"]["rules"]).iter().enumerate() {
        let all = bands(story, rule["name"].as_str().expect("a name"));
        for what in ["matched", "acted", "leaked"] {
            let parts: i64 = all.iter().map(|band| number(&band[what])).sum();
            assert_eq!(parts, number(&rule[what]), "{what} of {rule}");
            assert_eq!(story["rules"][i][what], rule[what]);
        }
        assert!(number(&rule["acted"]) > 0, "it acted: {rule}");
    }
    let packets: i64 = list(&story["links"]).iter().map(|link| number(&link["packets"])).sum();
    let links = list(&summary["network"]["links"]);
    let known: i64 = links.iter().map(|link| number(&link["packets"])).sum();
    assert_eq!(packets, known);
}

fn the_killed_one_was_down_and_its_log_is_shown(story: &Value, events: &[Value], out: &Path) {
    let [band] = bands(story, KILL)[..] else { panic!("one kill: {}", story["bands"]) };
    assert_eq!(band["kind"], "process");
    let node = usize::try_from(number(&band["nodes"][0])).expect("a node");
    let lane = &story["nodes"][node];
    let killed = times(events, "processes", &format!("n{} is down", node + 1));
    let state = |moment| at(&lane["states"], moment)["state"].clone();
    assert_eq!(state(number(&band["from"]) - 1_000), "up");
    assert_eq!(state(killed[0] + 1_000), "down");
    assert_eq!(state(number(&story["run"]["length"]) - 1), "up", "it was started again");
    let down = at(&lane["states"], killed[0] + 1_000);
    // Its start is part of the rule's time, and may take long.
    let ended = number(&down["to"]);
    assert!((killed[0]..number(&band["to"])).contains(&ended), "{down}, {band}");
    assert_eq!(state(ended), "starting");
    assert_eq!(down["why"], format!("\"{KILL}\": killed"), "who did it is told");
    assert_eq!(at(&lane["roles"], killed[0] + 1_000)["role"], "unknown", "it is nothing then");
    let excerpts = list(&story["logs"]);
    let around = |one: &&Value| {
        one["node"].as_u64() == Some(node as u64)
            && one["why"].as_str().expect("why").contains(KILL)
    };
    let told: Vec<&Value> =
        excerpts.iter().filter(around).flat_map(|one| list(&one["lines"])).collect();
    assert!(told.iter().any(|line| **line == "--- raftq: killed"), "{told:?}");
    for one in excerpts {
        let log = fs::read_to_string(out.join(one["file"].as_str().expect("a file"))).expect("it");
        for line in list(&one["lines"]) {
            let said = line.as_str().expect("a line");
            assert!(log.contains(said), "{said} is not of {}", one["file"]);
        }
    }
}

fn calls_are_all_there(story: &Value, summary: &Value, out: &Path) {
    let history = lines(&out.join("history.jsonl"));
    let begun: Vec<i64> = history
        .iter()
        .filter(|line| line["type"] == "invoke")
        .map(|line| number(&line["t"]) / 1_000)
        .collect();
    let mut sorted = begun.clone();
    sorted.sort_unstable();
    let calls = &story["calls"];
    let told: Vec<i64> = list(&calls["begin"]).iter().map(number).collect();
    assert_eq!(told, sorted);
    for (name, column) in calls.as_object().expect("columns") {
        // Nothing is left out: each call stands for itself.
        let expected = if name == "weight" { 0 } else { sorted.len() };
        assert_eq!(list(column).len(), expected, "{name}");
    }
    let counts = &summary["calls"][0][1]["calls"];
    let ok: i64 = counts.as_object().expect("functions").values().map(|one| number(&one[0])).sum();
    assert_eq!(number(&story["loads"][0]["ok"]), ok);
    assert_eq!(story["left_out"], Value::Array(Vec::new()));
}

/// The wire and the trace have clocks of their own: what was cut off arrived nowhere, by both.
fn messages_have_their_fates(story: &Value, out: &Path) {
    let messages = &story["messages"];
    let column = |name: &str| -> Vec<i64> { list(&messages[name]).iter().map(number).collect() };
    let (at, from, to) = (column("at"), column("from"), column("to"));
    let (fate, delay) = (column("fate"), column("delay"));
    let seen = lines(&out.join("wire.jsonl")).iter().filter(|one| one["event"] == "seen").count();
    assert_eq!(at.len(), seen);
    let certain = delay.iter().filter(|delay| **delay >= 0).count();
    assert!(certain * 10 > seen * 9, "{certain} of {seen} are certain");
    let mut dropped = 0;
    for band in bands(story, CUT) {
        let cut = number(&band["nodes"][0]);
        let span = number(&band["from"])..number(&band["to"]);
        for i in 0..at.len() {
            if span.contains(&at[i]) && (from[i] == cut || to[i] == cut) {
                assert!(fate[i] == 2 || delay[i] < 0, "message {i} at {} passed a cut", at[i]);
                dropped += usize::from(fate[i] == 2);
            }
        }
    }
    assert!(dropped > 0, "what was said into a cut is there");
    let slow = bands(story, SLOW);
    let slowed = |at: i64| slow.iter().any(|b| number(&b["from"]) <= at && at < number(&b["to"]));
    let late: Vec<usize> = (0..at.len()).filter(|i| fate[*i] == 1).collect();
    let by_rule = late.iter().filter(|i| slowed(at[**i])).count();
    assert!(by_rule > 0, "somebody was slowed down");
    for i in late {
        assert_eq!(from[i], 0, "message {i} is not of n1 and was delayed");
        // What comes when the rule has ended waits for what is still held of its connection.
        let least = if slowed(at[i]) { 2_000 } else { 1 };
        assert!(delay[i] >= least, "message {i} at {} was delayed by {} us", at[i], delay[i]);
    }
    let packets = &story["packets"];
    assert_eq!(list(&packets["at"]).len(), list(&packets["rule"]).len());
    assert!(list(&packets["rule"]).iter().any(|rule| *rule == 0), "the cut's own packets");
}

/// The page is there, and is made again from the files alone.
fn the_page_is_made_again(ran: &Ran) {
    let page = ran.out.join(REPORT);
    assert!(ran.stdout.contains(&format!("  report    {}", page.display())), "{}", ran.stdout);
    let first = fs::read(&page).expect("the page");
    fs::remove_file(&page).expect("it goes");
    let (code, stdout, stderr) = report(&ran.out, &[]);
    assert_eq!((code, stdout.trim()), (Some(0), page.display().to_string().as_str()), "{stderr}");
    assert!(fs::read(&page).expect("it is there again") == first, "the same bytes");
    let elsewhere = ran.out.with_file_name("elsewhere.html");
    let (code, _, stderr) = report(&ran.out, &["--out", elsewhere.to_str().expect("a name")]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(fs::read(&elsewhere).expect("there, too") == first);
}

#[test]
fn a_run_with_cuts_and_a_kill_is_told_as_it_was() {
    let ran = run_text(SCENARIO, &["--seed", "3", "--trace"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let (story, summary) = (story(&ran.out), ran.summary());
    let events = lines(&ran.out.join("events.jsonl"));
    assert_eq!(story["verdict"]["word"], "holds");
    assert_eq!(story["run"]["started"], summary["timeline"]["started"]);
    bands_agree_with_events(&story, &events);
    roles_agree_with_elections(&story, &events);
    counters_add_up(&story, &summary);
    the_killed_one_was_down_and_its_log_is_shown(&story, &events, &ran.out);
    calls_are_all_there(&story, &summary, &ran.out);
    messages_have_their_fates(&story, &ran.out);
    the_page_is_made_again(&ran);
}

#[test]
fn an_attached_session_leaves_a_folder_that_tells_its_story() {
    const RULES: &str = "\
rules:
  - { name: cut the leader off, between: [leader, rest], do: drop, at: 500ms, for: 3s }
";
    let net = Bridged::new("rqrep", 3, BridgeOptions::default()).expect("a bridge");
    let place = Place::Bridged(&net);
    let mut etcd = EtcdCluster::start(place, 3, &Options::default()).expect("etcd runs");
    let leader = etcd.wait_for_leader(LIMIT).expect("a leader");
    let folder = Scratch::new("rqrep").expect("a folder");
    let (file, out) = (folder.path().join("slow.yaml"), folder.path().join("session"));
    fs::write(&file, RULES).expect("a file");
    let url = format!("http://{}", place.client(0));
    let attach = |out: &Path| {
        let mut process = Process::spawn(Launch {
            name: "raftq".into(),
            program: RAFTQ.into(),
            args: ["--rules".into(), file.clone().into(), "--adapter".into(), "etcd".into()]
                .into_iter()
                .chain(["--attach".into(), url.clone().into(), "--out".into(), out.into()])
                .collect(),
            env: Vec::new(),
            netns: Some(place.clients().path()),
            stdout: folder.path().join("out"),
            stderr: folder.path().join("err"),
            ended_by: Signal::SIGKILL,
        })
        .expect("raftq starts");
        let code = process.wait(LIMIT).expect("it ends").code();
        (code, process.stdout(), process.stderr())
    };
    let (code, stdout, stderr) = attach(&out);
    assert_eq!(code, Some(0), "{stderr}");
    let page = out.join(REPORT);
    assert!(stdout.contains(&format!("  report    {}", page.display())), "{stdout}");
    for name in
        ["rules.yaml", "cluster.yaml", "seed", "events.jsonl", "wire.jsonl", "wire.pcapng", REPORT]
    {
        assert!(out.join(name).is_file(), "{name} is missing");
    }
    let story = story(&out);
    assert_eq!(story["verdict"]["word"], "holds");
    assert_eq!(
        (&story["run"]["scenario"], &story["run"]["adapter"]),
        (&"slow".into(), &"etcd".into())
    );
    let [cut] = bands(&story, CUT)[..] else { panic!("one cut: {}", story["bands"]) };
    let place_of = |i: usize| {
        let all = list(&story["nodes"]);
        all.iter().position(|node| node["name"] == name(i).as_str()).expect("it is there")
    };
    assert_eq!(list(&cut["nodes"]), [place_of(leader)], "whoever led was cut off");
    assert!(number(&cut["acted"]) > 0 && cut["ended"] == true, "{cut}");
    assert_eq!(led(&story, number(&cut["from"]) - 1_000), [place_of(leader)]);
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(out.join("summary.json")).expect("a summary"))
            .expect("JSON");
    assert_eq!(summary["network"]["rules"][0]["acted"], cut["acted"]);
    let messages = lines(&out.join("wire.jsonl")).iter().filter(|l| l["event"] == "seen").count();
    assert_eq!(list(&story["messages"]["at"]).len(), messages);
    assert!(messages > 0 && list(&story["calls"]["begin"]).is_empty());
    // The folder is full by now, and is left as it is.
    let (code, _, stderr) = attach(&out);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("has files in it already; name another --out"), "{stderr}");
}
