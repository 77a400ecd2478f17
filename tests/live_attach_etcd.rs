//! A running etcd cluster is found by the URL of one node: its members, their addresses and who
//! leads. Needs root and `make setup`; run it by `make test`.

use nix::sys::signal::Signal;
use raftq_harness::etcd::{EtcdCluster, Options, Place};
use raftq_harness::firewall::Rules;
use raftq_harness::netns::{BridgeOptions, Bridged, Namespace, Stack};
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const CUT: &str = "\
rules:
  - { name: cut the leader off, between: [leader, rest], do: drop, at: 500ms, for: 3s }
";

struct Ending {
    code: Option<i32>,
    json: Value,
    stderr: String,
}

/// raftq with these rules, from within a namespace.
fn raftq(inside: &Namespace, rules: &str, args: &[&str]) -> Ending {
    let folder = Scratch::new("rqlive").expect("a folder");
    let file = folder.path().join("rules.yaml");
    fs::write(&file, rules).expect("a file");
    let own: [OsString; 4] = ["--json".into(), "--rules".into(), file.into(), "--adapter".into()];
    let mut process = Process::spawn(Launch {
        name: "raftq".into(),
        program: env!("CARGO_BIN_EXE_raftq").into(),
        args: own.into_iter().chain(args.iter().map(Into::into)).collect(),
        env: Vec::new(),
        netns: Some(inside.path()),
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("raftq starts");
    let code = process.wait(LIMIT).expect("it ends").code();
    let json = serde_json::from_str(&process.stdout()).unwrap_or(Value::Null);
    Ending { code, json, stderr: process.stderr() }
}

/// The leader of that moment is cut off both ways, and nobody else.
fn cuts_the_leader(place: Place<'_>) {
    let mut etcd = EtcdCluster::start(place, 3, &Options::default()).expect("etcd runs");
    let leader = etcd.wait_for_leader(LIMIT).expect("a leader");
    let before = Rules::of(place.clients()).expect("the firewall");
    let url = format!("http://{}", place.client(1));
    // The first URL leads nowhere, the second is taken.
    let args = ["etcd", "--attach", "http://127.0.0.1:9", "--attach", &url];
    let ended = raftq(place.clients(), CUT, &args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for i in 0..3 {
        let found = format!("n{} at {}", i + 1, place.peer(i));
        assert!(ended.stderr.contains(&found), "{found}:\n{}", ended.stderr);
    }
    let rule = &ended.json["rules"][0];
    assert_eq!(rule["activations"], 1, "{rule}");
    assert!(rule["acted"].as_u64() > Some(10), "{rule}");
    let links = ended.json["links"].as_array().expect("links");
    let name = format!("n{}", leader + 1);
    for link in links {
        let cut = link["from"] == name.as_str() || link["to"] == name.as_str();
        let dropped = link["dropped"].as_u64() > Some(0);
        assert_eq!(cut, dropped, "{name} led: {link}\n{}", ended.stderr);
    }
    // The others have another leader meanwhile, or the old one again afterwards.
    etcd.wait_for_leader(LIMIT).expect("a leader after the cut");
    let after = Rules::of(place.clients()).expect("the firewall");
    assert_eq!(before.changes(&after), Vec::<String>::new(), "all is as it was");
}

#[test]
fn behind_a_bridge_the_leader_is_found_and_cut_off() {
    let net = Bridged::new("rqlive", 3, BridgeOptions::default()).expect("a bridge");
    cuts_the_leader(Place::Bridged(&net));
}

#[test]
fn on_one_loopback_the_leader_is_found_and_cut_off() {
    let stack = Stack::new("rqlive").expect("a namespace");
    cuts_the_leader(Place::Ports(&stack));
}

#[test]
fn what_cannot_be_found_is_told_with_a_way_out() {
    let stack = Stack::new("rqlive").expect("a namespace");
    let told = |args: &[&str], code: i32, words: &[&str]| {
        let ended = raftq(stack.namespace(), CUT, args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{args:?}, {word}: {}", ended.stderr);
        }
    };
    let nobody = ["etcd", "--attach", "http://127.0.0.1:9"];
    told(&nobody, 5, &["cannot be asked for its members", "refused", "ip netns exec"]);
    told(&["etcd", "--attach", "n1"], 4, &["write http://HOST:PORT"]);
    told(&["nothing", "--attach", "http://127.0.0.1:9"], 4, &["there is no adapter `nothing`"]);
    told(&["embedded", "--attach", "http://127.0.0.1:9"], 4, &["it has no `members`"]);
    // Nothing is done to processes that raftq did not start.
    let place = Place::Ports(&stack);
    let _etcd = EtcdCluster::start(place, 1, &Options::default()).expect("etcd runs");
    let url = format!("http://{}", place.client(0));
    let kill = "rules: [{ name: gone, node: leader, do: kill }]\n";
    let ended = raftq(stack.namespace(), kill, &["etcd", "--attach", &url]);
    assert_eq!(ended.code, Some(5), "{}", ended.stderr);
    assert!(ended.stderr.contains("a process that raftq did not start"), "{}", ended.stderr);
}
