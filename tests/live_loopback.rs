//! Who sent it, on one loopback: nodes that restart under other process ids, and strangers.
//! Needs root and `make setup`; run it by `make test`.

mod live_lab;

use live_lab::{LIMIT, NOTHING, Raftq, STEP};
use raftq_harness::clock::wait_for;
use raftq_harness::etcd::{EtcdCluster, Options, Place, name};
use raftq_harness::netns::Stack;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CALL_MAX: Duration = Duration::from_millis(800);

fn quick() -> Options {
    let (heartbeat, election) = (Duration::from_millis(50), Duration::from_millis(500));
    Options { heartbeat, election, ..Options::default() }
}

fn attach<'s>(cluster: &EtcdCluster<'_>, stack: &'s Stack, rules: &str) -> Raftq<'s> {
    let space = stack.namespace();
    let yaml = cluster.addresses_yaml();
    let mut raftq = Raftq::start_with(&yaml, vec![space], Some(space), rules, &["--json"]);
    raftq.await_line("attached to ");
    raftq
}

/// The process of node `i` ends, and another one takes its place.
fn replace(cluster: &mut EtcdCluster<'_>, i: usize) {
    let former = cluster.process(i).pid();
    cluster.process(i).kill().expect("SIGKILL");
    cluster.restart(i).expect("it starts again");
    assert_ne!(cluster.process(i).pid(), former);
}

/// Restarted once before the cut and once during it: whoever dials then is a new process, and
/// still the node that is cut off.
#[test]
fn a_restarted_node_is_still_that_node() {
    let stack = Stack::new("rqlive").expect("a namespace");
    for place in [Place::Ports(&stack), Place::Addresses127(&stack)] {
        let mut cluster = EtcdCluster::start(place, 3, &quick()).expect("etcd starts");
        let mut raftq = attach(&cluster, &stack, NOTHING);
        let leader = cluster.leader().expect("a leader");
        let (victim, other) = ((leader + 1) % 3, (leader + 2) % 3);
        replace(&mut cluster, victim);
        cluster.wait_for_leader(LIMIT).expect("it comes back");
        cluster.put(victim, "k", "before", LIMIT).expect("it takes writes");

        let victim_name = name(victim);
        raftq.reload(&format!(
            "rules: [{{ name: cut, between: [{victim_name}, rest], do: drop }}]\n"
        ));
        replace(&mut cluster, victim);
        // It takes no calls before it has met its peers, but it dials them.
        let pid = cluster.process(victim).pid();
        wait_for("dials of the restarted node", LIMIT, STEP, || dials(&stack, pid).then_some(()))
            .expect("it dials, and gets no answer");
        for n in 0..10 {
            let lost = cluster.start_put(victim, "lost", &n.to_string(), CALL_MAX / 4);
            cluster.put(other, "k", &n.to_string(), LIMIT).expect("the majority goes on");
            assert!(lost.wait().is_err(), "the restarted node found a way through the cut");
        }
        let ending = raftq.interrupt();
        let agreed = cluster.agree("k", LIMIT).expect("all agree after healing");
        assert_eq!(agreed.value.as_deref(), Some("9"));
        assert_eq!(ending.code, 0, "{ending}");
        assert_eq!(ending.of_rule("cut", "leaked"), 0, "{ending}");
        assert!(ending.of_rule("cut", "acted") > 10, "{ending}");
        assert!(ending.total("asked") > 0, "{ending}");
        // Sockets of a process that was killed belong to nobody; there are but a few.
        assert!(ending.total("unattributed") < 20, "{ending}");
        assert_eq!(ending.link(&name(leader), &name(other), "dropped"), 0, "{ending}");
    }
}

/// Whether a process waits for the answer to a SYN.
fn dials(stack: &Stack, pid: u32) -> bool {
    let output = stack.namespace().run("ss", &["-Htnp", "state", "syn-sent"]).expect("ss");
    String::from_utf8_lossy(&output.stdout).contains(&format!("pid={pid},"))
}

/// A client that talks to a peer port is no node: it gets through any cut, and is counted.
#[test]
fn a_stranger_is_let_through_and_counted() {
    let stack = Stack::new("rqlive").expect("a namespace");
    let cluster = EtcdCluster::start(Place::Ports(&stack), 3, &quick()).expect("etcd starts");
    let cut = "rules: [{ name: cut, between: [n1, rest], do: drop }]\n";
    let raftq = attach(&cluster, &stack, cut);
    let lost = cluster.put(0, "k", "v", CALL_MAX);
    assert!(lost.is_err(), "n1 is cut off");
    for _ in 0..3 {
        let said = ask_version(&stack, cluster.place().peer(0));
        assert!(said.contains("etcdserver"), "{said}");
    }
    let ending = raftq.interrupt();
    cluster.agree("k", LIMIT).expect("all agree after healing");
    assert_eq!(ending.code, 0, "{ending}");
    assert!(ending.total("foreign") >= 15, "{ending}");
    assert_eq!(ending.of_rule("cut", "leaked"), 0, "a stranger is no leak\n{ending}");
    assert!(ending.of_rule("cut", "acted") > 0, "{ending}");
}

/// etcd says its version at the peer port to anybody.
fn ask_version(stack: &Stack, peer: SocketAddr) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&peer, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    stack.namespace().inside(ask).expect("entering").expect("an answer")
}
