//! Clusters that cannot start: the node, the cause and the end of its log are told, the exit
//! code says whose fault it is, and nothing is left running. Needs root; run it by `make test`.

mod run_lab;

use raftq_harness::owner::Scratch;
use run_lab::{Ran, SHORT, root, run_text};
use std::fs;

/// Runs a short experiment with an adapter of this text.
fn with_adapter(text: &str, args: &[&str]) -> Ran {
    let folder = Scratch::new("rqunit").expect("a folder");
    let file = folder.path().join("a.yaml");
    fs::write(&file, text).expect("an adapter");
    let load = "{ workload: register, mix: { read: 1, write: 1 }, clients: 2, rate: 50 }";
    let text = SHORT.replace("embedded", &file.display().to_string());
    let text = text.replace("{ workload: register, clients: 2, rate: 50 }", load);
    assert!(text.contains(load), "the short scenario has changed");
    run_text(&text, args)
}

/// An adapter that starts this, and whose nodes answer nothing.
fn silent(program: &str, args: &str, ports: &str) -> String {
    format!(
        "about: a test\nnode:\n  program: {program}\n  args: {args}\n  ports: {ports}\n  \
         start_within: 2s\nbase: 'http://{{{{ node.address }}}}:{{{{ node.ports.client }}}}'\n\
         status: {{ get: /, leads: 'false' }}\noperations:\n  read: {{ promise: linearizable, \
         get: /, answers: [] }}\n  write: {{ promise: linearizable, put: /, answers: [] }}\n"
    )
}

const BOTH: &str = "{ peer: 7000, client: 8000 }";

fn refused(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.said());
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing:\n{}", ran.stderr);
    }
}

#[test]
fn a_program_that_is_not_there() {
    let ran = with_adapter(&silent("/nowhere/raft", "[]", BOTH), &[]);
    refused(&ran, 5, &["n1: ", "there is no program at /nowhere/raft"]);
}

#[test]
fn a_node_that_dies_at_its_start() {
    for topology in ["namespaces", "loopback"] {
        let text = silent("sh", "[-c, echo no disk left; sleep 60 & exit 3]", BOTH);
        let ran = with_adapter(&text, &["--topology", topology]);
        let how = "n1 ended by itself: exit status: 3; its log ends";
        refused(&ran, 5, &[how, "no disk left"]);
    }
}

#[test]
fn a_node_that_is_killed_at_its_start() {
    let ran = with_adapter(&silent("sh", "[-c, 'echo too big >&2; kill -9 $$']", BOTH), &[]);
    refused(&ran, 5, &["n1 ended by itself: signal: 9", "too big"]);
}

#[test]
fn a_cluster_that_never_elects() {
    let ran = with_adapter(&silent("sh", "[-c, 'echo alone; exec sleep 60']", BOTH), &[]);
    let words = ["no leader was found within 2s of the start", "n1: ", "n3: ", "alone", "refused"];
    refused(&ran, 5, &words);
}

#[test]
fn nodes_that_each_lead_by_themselves_are_no_cluster() {
    // Each embedded node is told of itself alone.
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    let alone = own.replace("for n in nodes", "for n in [node]");
    assert_ne!(own, alone, "the adapter has changed");
    let ran = with_adapter(&alone.replace("start_within: 10s", "start_within: 4s"), &[]);
    let words = ["no leader was found within 4s", "leads: true, follows n1", "follows n2"];
    refused(&ran, 5, &words);
}

#[test]
fn a_port_that_another_node_has() {
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    // On one address the second node's peer port is the first one's client port.
    let text = own.replace("peer: 2380, client: 2379", "peer: 2380, client: 2480");
    let ran = with_adapter(&text, &["--topology", "loopback"]);
    refused(&ran, 5, &["n2: its peer port", "is in use already", "n1's client port"]);
}

#[test]
fn a_port_that_somebody_took_meanwhile() {
    let own = fs::read_to_string(root().join("adapters/embedded/adapter.yaml")).expect("it");
    // The first node listens where the second one was promised to.
    let own_port = "--listen-client={{ node.address }}:{{ node.ports.client }}";
    let port = "{{ nodes[1].ports.peer if node.name == 'n1' else node.ports.client }}";
    let text = own.replace(own_port, &format!("--listen-client={{{{ node.address }}}}:{port}"));
    assert_ne!(own, text, "the adapter has changed");
    let ran = with_adapter(&text, &["--topology", "loopback"]);
    // Told by raftq, or where both came at the same time by the node that was late.
    refused(&ran, 5, &["in use"]);
}

#[test]
fn an_adapter_without_a_client_port_is_wrong_input() {
    let ran = with_adapter(&silent("sh", "[]", "{ peer: 7000 }"), &[]);
    refused(&ran, 4, &["node.ports needs `client`"]);
}
