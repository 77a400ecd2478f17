//! Real etcd comes up and elects wherever raftq attaches: a namespace each, ports, addresses.
//! Needs root and `make setup`; run it by `make test`.

use raftq_harness::etcd::{EtcdCluster, Options, Place};
use raftq_harness::netns::{BridgeOptions, Bridged, Stack};
use std::time::Duration;

const CALL_MAX: Duration = Duration::from_secs(2);

/// What a healthy cluster does, and that its processes really are in the place's namespace.
fn serves(place: Place<'_>) {
    let options = Options {
        heartbeat: Duration::from_millis(50),
        election: Duration::from_millis(500),
        ..Options::default()
    };
    let mut cluster = EtcdCluster::start(place, 3, &options).expect("etcd starts");
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
