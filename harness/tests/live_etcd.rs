//! Real etcd comes up and elects wherever raftq attaches: a namespace each, ports, addresses.
//! Needs root and `make setup`; run it by `make test`.

use raftq_harness::clock::wait_for;
use raftq_harness::etcd::{EtcdCluster, Options, Place};
use raftq_harness::http::CallError;
use raftq_harness::netns::{BridgeOptions, Bridged, Stack};
use std::time::Duration;

const CALL_MAX: Duration = Duration::from_secs(2);

fn quick() -> Options {
    let (heartbeat, election) = (Duration::from_millis(50), Duration::from_millis(500));
    Options { heartbeat, election, ..Options::default() }
}

/// What a healthy cluster does, and that its processes really are in the place's namespace.
fn serves(place: Place<'_>) {
    let mut cluster = EtcdCluster::start(place, 3, &quick()).expect("etcd starts");
    let leader = cluster.leader().expect("a cluster that is ready has a leader");
    cluster.put((leader + 1) % 3, "k", "one", CALL_MAX).expect("a follower takes a write");
    let agreed = cluster.agree("k", Duration::from_secs(5)).expect("all agree");
    assert_eq!(agreed.value.as_deref(), Some("one"));
    assert_eq!(cluster.get(0, "nothing", CALL_MAX), Ok(None));
    for i in 0..3 {
        let inside = raftq_harness::process::inside_namespace(&place.node(i).path());
        assert!(inside.contains(&cluster.process(i).pid()), "n{} is where it belongs", i + 1);
        assert!(cluster.cluster_yaml().contains(&place.peer(i).to_string()));
    }
}

#[test]
fn a_namespace_for_each_node() {
    let net = Bridged::new("rqtest", 3, BridgeOptions::default()).expect("a bridge");
    serves(Place::Bridged(&net));
}

#[test]
fn loopback_with_a_port_for_each_node() {
    let stack = Stack::new("rqtest").expect("a namespace");
    serves(Place::Ports(&stack));
}

#[test]
fn loopback_with_an_address_for_each_node() {
    let stack = Stack::new("rqtest").expect("a namespace");
    serves(Place::Addresses127(&stack));
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_with_its_data() {
    let net = Bridged::new("rqtest", 3, BridgeOptions::default()).expect("a bridge");
    let mut cluster = EtcdCluster::start(Place::Bridged(&net), 3, &quick()).expect("etcd starts");
    let old = cluster.leader().expect("a cluster that is ready has a leader");
    assert!(cluster.restart(old).is_err(), "a node that runs is not started twice");
    cluster.process(old).kill().expect("SIGKILL");
    let refused = cluster.put(old, "k", "lost", CALL_MAX);
    assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
    let limit = Duration::from_secs(5);
    let new = wait_for("a new leader", limit, Duration::from_millis(10), || cluster.leader());
    assert_ne!(new.expect("the others elect"), old);
    cluster.put((old + 1) % 3, "k", "kept", limit).expect("two of three take a write");
    cluster.restart(old).expect("it starts again");
    let agreed = cluster.agree("k", limit).expect("all agree");
    assert_eq!(agreed.value.as_deref(), Some("kept"));
}

#[test]
fn a_node_that_cannot_start_is_told_at_once_with_its_log() {
    let stack = Stack::new("rqtest").expect("a namespace");
    let program = Some("/bin/false".into());
    let options = Options { program, start_max: Duration::from_mins(1), ..quick() };
    let error = EtcdCluster::start(Place::Ports(&stack), 3, &options).expect_err("it is false");
    let said = error.to_string();
    // Which of the three is seen first is chance.
    assert!(said.contains("ended (exit status: 1)"), "{said}");
    assert!(said.contains("(etcd n1 printed nothing)"), "{said}");
}
