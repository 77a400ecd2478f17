//! The demonstration's story, checked claim by claim, wherever raftq attaches: the leader of a
//! real etcd cluster is cut off and comes back. Needs root and `make setup`; run it by
//! `make test`.

mod live_lab;

use live_lab::RAFTQ;
use raftq_harness::demo::{Demo, Failure, Topology};
use raftq_harness::owner::Scratch;
use serde_json::Value;
use std::fs;

/// Long enough for an election that a split vote makes longer.
const CUT: &str = "
groups:
  victim: leader
rules:
  - name: cut the victim off
    between: [victim, rest]
    do: drop
    at: 1s
    for: 6s
";

/// Runs the story and looks at raftq's own account of it.
fn tells(topology: Topology, args: &[&str]) {
    let folder = Scratch::new("rqlive").expect("a folder");
    let rules = folder.path().join("cut.yaml");
    fs::write(&rules, CUT).expect("a file");
    let args = args.iter().chain(&["--json"]).map(Into::into).collect();
    let demo = Demo { raftq: RAFTQ.into(), rules, topology, raftq_args: args };
    let seen = demo.run().unwrap_or_else(|failure| match failure {
        Failure::Environment(e) => panic!("{topology:?}: this host lacks something: {e}"),
        Failure::Claim(e) => panic!("{topology:?}: a claim does not hold: {e}"),
    });
    assert!(seen.majority_writes > 0 && seen.isolated_failures > 1, "{seen:?}");
    let report: Value = serde_json::from_str(&seen.report).expect("a document");
    let rule = &report["rules"][0];
    assert_eq!(rule["activations"], 1, "{report:#}");
    assert_eq!(rule["leaked"], 0, "{report:#}");
    assert_eq!(rule["matched"], rule["acted"], "{report:#}");
    assert!(rule["acted"].as_u64() > Some(10), "{report:#}");
    let links = report["links"].as_array().expect("links");
    let dropped: u64 = links.iter().filter_map(|link| link["dropped"].as_u64()).sum();
    assert_eq!(Some(dropped), rule["acted"].as_u64(), "{report:#}");
    // Both directions of both of the victim's links, and never the majority's own.
    let cut = links.iter().filter(|link| link["dropped"] != 0).count();
    assert_eq!(cut, 4, "{report:#}");
    for what in ["lost", "overflow", "unreadable", "refused"] {
        assert_eq!(report["totals"][what], 0, "{what}: {report:#}");
    }
}

#[test]
fn in_namespaces() {
    tells(Topology::Namespaces, &[]);
}

#[test]
fn in_namespaces_by_the_nfq_crate() {
    tells(Topology::Namespaces, &["--queue", "nfq"]);
}

#[test]
fn in_namespaces_by_legacy_iptables() {
    tells(Topology::Namespaces, &["--iptables", "legacy"]);
}

#[test]
fn behind_a_bridge() {
    tells(Topology::Bridge, &[]);
}

#[test]
fn on_a_loopback_with_ports() {
    tells(Topology::Loopback, &[]);
}

#[test]
fn on_a_loopback_with_ports_by_the_nfq_crate() {
    tells(Topology::Loopback, &["--queue", "nfq"]);
}

#[test]
fn on_a_loopback_with_addresses() {
    tells(Topology::Addresses127, &[]);
}
