//! Resets in flight: both ends are told at once, by a RST that each of them believes, in every
//! shape and family. Needs root; run it by `make test`.

mod fault_lab;
mod live_lab;

use fault_lab::{RESET, await_errno, counters, errno, pair, read_all};
use live_lab::{Family, Net, Raftq, Shape};
use raftq_harness::probe::{Probe, What, numbers};
use std::io::Write as _;

/// Every shape and family, with a sink on n2.
fn everywhere(test: impl Fn(&Net, Family, Probe)) {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let at = net.peer(1, family);
            let sink = Probe::listen(net.node(1), "sink", "tcp", at).expect("it listens");
            test(&net, family, sink);
        }
    }
}

/// Whoever asks one question and then only listens is told that it never arrived, although TCP
/// would have nothing to say until its timer ends.
#[test]
fn both_ends_are_told_at_once() {
    everywhere(|net, family, mut sink| {
        let rules = "rules: [{ name: cut, from: n1, to: n2, where: { payload: \">0\" }, \
                     do: reset }]\n";
        let raftq = Raftq::attach(net, rules, &["--json"]);
        let names = ["TcpEstabResets", "TcpRetransSegs", "TcpOutRsts", "TcpExtTCPChallengeACK"];
        let before = names.map(|name| counters(net, 2, name));
        let args = "--count 1 --timeout 15s";
        let mut asker = net.talk("ask", ("tcp", family), (0, 1), args);
        await_errno(&mut asker, RESET);
        let got = await_errno(&mut sink, RESET);
        let after = names.map(|name| counters(net, 2, name));
        let ending = raftq.interrupt();
        let what = format!("{:?} {family:?}\n{ending}", net.shape);
        assert_eq!(numbers(&got, What::Got), Vec::<u32>::new(), "{what}");
        let [torn, again, rsts, doubted] = [0, 1, 2, 3].map(|i| after[i] - before[i]);
        assert_eq!(torn, 2, "connections that a RST ended\n{what}");
        // Nobody had to send again to learn of it, and no stack sent a RST of its own.
        assert_eq!((again, rsts, doubted), (0, 0, 0), "{what}");
        ending.must_be_clean(0);
        assert_eq!(ending.of_rule("cut", "matched"), 1, "{what}");
        assert_eq!(ending.of_rule("cut", "acted"), 1, "{what}");
        assert_eq!(ending.total("resets"), 1, "{what}");
        assert_eq!(ending.link("n1", "n2", "dropped"), 1, "{what}");
    });
}

/// What is held when a connection is reset never arrives, and the RST bears the number of its
/// first byte: else the receiver would not believe it.
#[test]
fn a_reset_takes_the_place_of_the_earliest_that_is_held() {
    let rules = "rules:\n  \
        - { name: cut, from: n1, to: n2, where: { contains: END }, do: reset }\n  \
        - { name: late, from: n1, to: n2, where: { payload: \">0\" }, do: { delay: 3s } }\n";
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let raftq = Raftq::attach(&net, rules, &["--json"]);
            let mut pair = pair(&net, (0, 1), family);
            let before = counters(&net, 2, "TcpExtTCPChallengeACK");
            for words in ["one", "two", "END"] {
                pair.client.write_all(words.as_bytes()).expect("it may");
            }
            assert_eq!(read_all(&mut pair.server), (vec![], Some(RESET)), "{shape:?} {family:?}");
            assert_eq!(read_all(&mut pair.client), (vec![], Some(RESET)), "{shape:?} {family:?}");
            let doubted = counters(&net, 2, "TcpExtTCPChallengeACK") - before;
            let ending = raftq.interrupt();
            ending.must_be_clean(0);
            assert_eq!(doubted, 0, "{shape:?} {family:?}\n{ending}");
            assert!(ending.of_rule("late", "acted") >= 2, "{ending}");
            assert_eq!(ending.of_rule("cut", "acted"), 1, "{ending}");
            let held = ending.of_rule("late", "acted");
            assert_eq!(ending.link("n1", "n2", "delayed"), held, "{ending}");
            assert_eq!(ending.link("n1", "n2", "dropped"), held + 1, "{ending}");
        }
    }
}

/// A message is lost, then the connection: both ends learn of it by the first segment that is sent
/// again behind that time.
#[test]
fn a_stall_ends_by_resetting_both_ends() {
    everywhere(|net, family, mut sink| {
        let rules = "rules: [{ name: stall, from: n1, to: n2, \
                     where: { payload: \">0\", first: 1 }, do: { stall: { reset_after: 1s } } }]\n";
        let raftq = Raftq::attach(net, rules, &["--json"]);
        let args = "--count 100 --every 100ms --linger 15s";
        let mut sender = net.talk("send", ("tcp", family), (0, 1), args);
        let sent = await_errno(&mut sender, RESET);
        let got = await_errno(&mut sink, RESET);
        let ending = raftq.interrupt();
        let what = format!("{:?} {family:?}\n{ending}", net.shape);
        assert_eq!(numbers(&got, What::Got), Vec::<u32>::new(), "{what}");
        assert!(numbers(&sent, What::Sent).len() >= 3, "it went on for a while\n{what}");
        ending.must_be_clean(0);
        assert_eq!(ending.of_rule("stall", "matched"), 1, "{what}");
        assert_eq!(ending.total("resets"), 1, "{what}");
        assert!(ending.total("stalled") >= 2, "{what}");
    });
}

/// A connection that somebody else uses meanwhile goes on.
#[test]
fn other_connections_live_on() {
    let net = Net::new(Shape::Namespaces, 2);
    let rules = "rules: [{ name: cut, from: n1, to: n2, where: { contains: STOP }, do: reset }]\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let mut one = pair(&net, (0, 1), Family::V4);
    let mut two = pair(&net, (1, 0), Family::V4);
    two.server.write_all(b"no END").expect("it may");
    one.client.write_all(b"STOP").expect("it may");
    assert_eq!(read_all(&mut one.server), (vec![], Some(RESET)));
    assert_eq!(errno(&one.client.write_all(b"more")), Some(RESET));
    two.server.write_all(b" nor here").expect("it lives");
    drop(two.server);
    assert_eq!(read_all(&mut two.client), (b"no END nor here".to_vec(), None));
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("cut", "acted"), 1, "{ending}");
}
