//! Delays, as questions and numbered datagrams see them: as long as asked on the links that
//! are named, nothing on the others, in order unless order is left free. Every figure is a
//! median and is compared with undisturbed links of the same run. Needs root; run it by
//! `make test`.

mod live_lab;

use live_lab::{Family, LIMIT, NOTHING, Net, Raftq, STEP, Shape, await_more, median_after, now_us};
use raftq_harness::clock::wait_for;
use raftq_harness::probe::{Probe, What, numbers};

/// Exchanges of which a median is taken.
const MANY: usize = 40;

/// n2 and n3 answer, n1 and n4 ask; every other pair has a link as well, without traffic.
const LINKS: [(usize, usize); 4] = [(0, 1), (0, 2), (3, 1), (3, 2)];

/// One asker, and the link that it measures.
struct Meter {
    asker: Probe,
    link: (usize, usize),
    wire: (&'static str, Family),
}

impl Meter {
    /// The median of many questions from now on.
    fn median_us(&mut self, from_us: u64) -> i64 {
        let events = await_more(&mut self.asker, What::Answered, MANY + 1, from_us);
        // The first may have been asked before.
        let first = events.iter().find(|e| e.what == What::Answered && e.at_us > from_us);
        median_after(&events, first.expect("waited for").at_us).cast_signed()
    }
}

/// The medians of all links at once, by wire.
fn medians(meters: &mut [Meter]) -> Vec<i64> {
    let from_us = now_us();
    meters.iter_mut().map(|meter| meter.median_us(from_us)).collect()
}

/// Takes the medians anew: the link from n1 to n2 is `added_us` slower than it was without a
/// rule, and than its neighbour is now; the others are as fast as they were.
fn adds(meters: &mut [Meter], before: &[i64], added_us: i64, what: &str) {
    let during = medians(meters);
    for (i, meter) in meters.iter().enumerate() {
        let Meter { link, wire, .. } = meter;
        let more = during[i] - before[i];
        let told = format!("{what}: {wire:?} {link:?}: {} us, before {} us", during[i], before[i]);
        if *link == (0, 1) {
            assert!((more - added_us).abs() <= 2_000, "{told}");
            // The undisturbed link of the same asker stands right behind it.
            let beside = during[i] - during[i + 1];
            assert!((beside - added_us).abs() <= 2_000, "{told}, beside {} us", during[i + 1]);
        } else {
            assert!(more.abs() <= 1_000, "{told}");
        }
    }
}

fn delays(shape: Shape, args: &[&str]) {
    let net = Net::new(shape, 4);
    let mut wires = Vec::new();
    for family in net.families() {
        wires.extend([("tcp", *family), ("udp", *family)]);
    }
    let _servers: Vec<Probe> = wires
        .iter()
        .flat_map(|(transport, family)| [1, 2].map(|i| net.serve(i, transport, *family)))
        .collect();
    let mut meters: Vec<Meter> = Vec::new();
    for wire in wires {
        let ask = |link| Meter {
            asker: net.talk("ask", wire, link, "--count 6000 --every 60ms"),
            link,
            wire,
        };
        meters.extend(LINKS.map(ask));
    }
    let both = "rules: [{ name: both, between: [n1, n2], do: { delay: 20ms } }]\n";
    let mut raftq = Raftq::attach(&net, NOTHING, &[args, &["--json"]].concat());
    let before = medians(&mut meters);
    raftq.reload(both);
    adds(&mut meters, &before, 40_000, "both ways");
    let one = "rules: [{ name: one, from: n1, to: n2, do: { delay: 20ms } }]\n";
    raftq.reload(one);
    adds(&mut meters, &before, 20_000, "one way");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("one", "matched"), ending.of_rule("one", "acted"), "{ending}");
    assert!(ending.link("n1", "n2", "delayed") > ending.link("n2", "n1", "delayed"), "{ending}");
    assert!(ending.link("n2", "n1", "delayed") > 0, "{ending}");
    for (from, to) in [("n1", "n3"), ("n3", "n1"), ("n4", "n2"), ("n2", "n4"), ("n4", "n3")] {
        assert!(ending.link(from, to, "packets") > 0, "{from} {to}\n{ending}");
        assert_eq!(ending.link(from, to, "delayed"), 0, "{from} {to}\n{ending}");
    }
    assert!(ending.total("held_most") > 0, "{ending}");
}

#[test]
fn a_delay_is_as_long_as_asked_in_namespaces() {
    delays(Shape::Namespaces, &[]);
}

#[test]
fn a_delay_is_as_long_as_asked_in_namespaces_by_the_nfq_crate() {
    delays(Shape::Namespaces, &["--queue", "nfq"]);
}

#[test]
fn a_delay_is_as_long_as_asked_behind_a_bridge() {
    delays(Shape::Bridge, &[]);
}

#[test]
fn a_delay_is_as_long_as_asked_on_loopback() {
    delays(Shape::Ports, &[]);
}

/// Jitter of half a delay and more, over datagrams a millisecond apart, would shuffle them.
fn jitter(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    let all: Vec<u32> = (0..300).collect();
    let mut orders = Vec::new();
    let delay = |order: &str| {
        format!(
            "rules: [{{ name: shaky, from: n1, to: n2, \
             do: {{ delay: {{ by: 20ms, jitter: 15ms, order: {order} }} }} }}]\n"
        )
    };
    let mut raftq = Raftq::attach(&net, &delay("flow"), &["--json"]);
    for order in ["flow", "free"] {
        raftq.reload(&delay(order));
        let at = net.peer(1, family);
        let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
        let send = net.talk("send", ("udp", family), (0, 1), "--count 300 --every 1ms");
        send.finish(LIMIT).expect("it sends");
        let got = await_more(&mut sink, What::Got, all.len(), 0);
        let numbers = numbers(&got, What::Got);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, all, "{order}: each arrives once");
        orders.push(numbers);
        // Only then is the port free again.
        drop(sink);
    }
    assert_eq!(orders[0], all, "a flow keeps its order");
    assert_ne!(orders[1], all, "unless it is told not to");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("shaky", "acted"), 600, "{ending}");
    assert_eq!(ending.link("n1", "n2", "delayed"), 600, "{ending}");
}

#[test]
fn jitter_keeps_a_flows_order_in_namespaces() {
    jitter(Shape::Namespaces, Family::V4);
}

#[test]
fn jitter_keeps_a_flows_order_on_loopback() {
    jitter(Shape::Ports, Family::V6);
}

/// What a rule held when it ended keeps its due time, and what follows does not overtake it.
#[test]
fn the_end_of_a_delay_leaves_what_is_held_to_its_time() {
    let net = Net::new(Shape::Namespaces, 2);
    let at = net.peer(1, Family::V4);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let rules = "rules: [{ name: late, from: n1, to: n2, do: { delay: 2s }, for: 1s }]\n";
    let mut raftq = Raftq::attach(&net, rules, &["--json"]);
    let args = "--count 100 --every 20ms";
    let mut sender = net.talk("send", ("udp", Family::V4), (0, 1), args);
    raftq.await_ended("late");
    let end_us = now_us();
    await_more(&mut sender, What::Sent, 1, end_us);
    assert_eq!(numbers(&sink.events(), What::Got), Vec::<u32>::new(), "nothing is due yet");
    let ending = raftq.end();
    assert!(
        wait_for("the sink", LIMIT, STEP, || {
            let got = numbers(&sink.events(), What::Got);
            (got.len() == 100).then_some(got)
        })
        .is_ok_and(|got| got == (0..100).collect::<Vec<_>>())
    );
    drop(await_more(&mut sink, What::Got, 100, 0));
    ending.must_be_clean(0);
    assert!(ending.of_rule("late", "acted") > 10, "{ending}");
    assert!(ending.link("n1", "n2", "delayed") > ending.of_rule("late", "acted"), "{ending}");
}
