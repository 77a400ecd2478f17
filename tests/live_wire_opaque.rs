//! A wire that cannot be read, since the protocol is another one than the rules say: nothing is
//! guessed, it is told, and who leads is asked of the nodes where they can be asked. Needs root and
//! `make setup`; run it by `make test`.

mod live_lab;
mod wire_lab;

use nix::sys::signal::Signal;
use raftq_harness::etcd::{EtcdCluster, name};
use raftq_harness::netns::Bridged;
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process};
use serde_json::Value;
use std::fs;
use std::path::Path;
use wire_lab::{CALL, LIMIT, Wired, etcd, net, speaking};

/// Nothing was read, and nothing is said about it but that.
fn nothing_was_read(wire: &Value) {
    assert_eq!(wire["protocol"], "nats");
    for list in ["groups", "elections", "alarms"] {
        assert_eq!(wire[list], Value::Array(Vec::new()), "{list}: {wire}");
    }
    let invariants = wire["invariants"].as_array().expect("a list");
    assert!(!invariants.is_empty() && invariants.iter().all(|one| one["verdict"] == "not made"));
    let coverage = &wire["coverage"];
    assert_eq!((&coverage["messages"], &coverage["missed"]), (&0.into(), &0.into()), "{coverage}");
    // A new connection can be read for as long as nothing is said on it.
    assert!(coverage["percent_of_time"].as_f64() < Some(50.0), "{coverage}");
    assert!(coverage["connections"].as_u64() > Some(0), "{coverage}");
    assert!(coverage["unread_bytes"].as_u64() > Some(0), "{coverage}");
}

fn nobody_can_be_asked(net: &Bridged, etcd: &EtcdCluster<'_>) {
    let rules = "\
rules:
  - { name: by message, where: { message: heartbeat }, do: drop }
  - { name: by event, on: leader_elected, between: [leader, rest], do: drop, for: 5s }
  - { name: by role, between: [leader, rest], do: drop, at: 100ms, for: 5s }
";
    let args = ["--for", "1s"];
    let wired = Wired::attach(net, &speaking(etcd, "nats"), rules, &args);
    etcd.put(0, "opaque", "kept", CALL).expect("nothing is disturbed");
    let left = wired.end();
    left.ending.must_be_clean(3);
    for rule in ["by message", "by event", "by role"] {
        for what in
            ["activations", "matched", "acted"].into_iter().skip(usize::from(rule == "by message"))
        {
            assert_eq!(left.ending.of_rule(rule, what), 0, "{rule}: {}", left.ending);
        }
        let told = left.ending.json["warnings"].as_array().expect("a list");
        let never = |one: &Value| one.as_str().is_some_and(|one| one.contains(rule));
        assert!(told.iter().any(never), "{rule}: {}", left.ending);
    }
    assert!(left.ending.stderr.contains("\"by role\" waits: nobody leads"), "{}", left.ending);
    nothing_was_read(&left.ending.json["wire"]);
    assert!(left.wire.is_empty() && left.trace.len() > 20, "{}", left.trace.len());
    assert!(left.trace.iter().all(|line| line.verdict() == "accept"));
}

/// etcd's adapter, which says that it speaks another protocol.
fn mistaken_adapter(folder: &Scratch) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters/etcd/adapter.yaml");
    let text = fs::read_to_string(path).expect("the adapter");
    assert!(text.contains("\nprotocol: etcd\n"), "it names its protocol");
    let own = folder.path().join("mistaken.yaml");
    fs::write(&own, text.replace("\nprotocol: etcd\n", "\nprotocol: nats\n")).expect("a file");
    own.display().to_string()
}

fn the_nodes_are_asked(net: &Bridged, etcd: &mut EtcdCluster<'_>) {
    let leader = etcd.wait_for_leader(LIMIT).expect("a leader");
    let folder = Scratch::new("rqlive").expect("a folder");
    let rules = folder.path().join("rules.yaml");
    let text = "rules: [{ name: cut, between: [leader, rest], do: drop, at: 200ms, for: 1s }]\n";
    fs::write(&rules, text).expect("a file");
    let url = format!("http://{}", etcd.place().client(leader));
    let (adapter, rules) = (mistaken_adapter(&folder), rules.display().to_string());
    let args = ["--json", "--rules", &rules, "--adapter", &adapter, "--attach", &url];
    let mut raftq = Process::spawn(Launch {
        name: "raftq".into(),
        program: live_lab::RAFTQ.into(),
        args: args.into_iter().map(Into::into).collect(),
        env: Vec::new(),
        netns: Some(net.hub().path()),
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("raftq starts");
    let code = raftq.wait(LIMIT).expect("it ends").code();
    let said = raftq.stderr();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("({} leads, as the nodes say)", name(leader))), "{said}");
    assert!(!said.contains("heard on the wire"), "{said}");
    let json: Value = serde_json::from_str(&raftq.stdout()).expect("JSON");
    assert!(json["rules"][0]["acted"].as_u64() > Some(0), "{json}");
    nothing_was_read(&json["wire"]);
}

#[test]
fn nothing_is_guessed_and_the_nodes_are_asked_instead() {
    let net = net();
    let (mut etcd, _) = etcd(&net);
    nobody_can_be_asked(&net, &etcd);
    the_nodes_are_asked(&net, &mut etcd);
}
