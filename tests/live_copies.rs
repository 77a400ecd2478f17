//! Packets that arrive twice, and packets that overtake others. Needs root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Family, Net, Raftq, Shape};
use measure_lab::{
    FROM, Got, Sink, await_matched, await_nothing_held, count, greet, numbers, send, transfer,
};
use std::collections::HashMap;
use std::time::Duration;

const BULK: usize = 8 << 20;

fn one_rule(name: &str, what: &str) -> String {
    format!(
        "seed: 9\nrules:\n  - {{ name: {name}, from: n1, to: n2, where: {{ port: {FROM} }}, \
         do: {what} }}\n"
    )
}

/// When each of a number arrived.
fn by_number(got: &[Got]) -> HashMap<u32, Vec<Duration>> {
    let mut all: HashMap<u32, Vec<Duration>> = HashMap::new();
    for got in got {
        all.entry(got.number).or_default().push(got.at);
    }
    all
}

/// Every third or so datagram has two copies 40 ms behind it.
fn datagrams_twice(shape: Shape, family: Family, size: usize) {
    const N: u32 = 600;
    let net = Net::new(shape, 2);
    let what = "{ duplicate: { chance: 30%, count: 2, delay: 40ms } }";
    let raftq = Raftq::attach(&net, &one_rule("twice", what), &["--json"]);
    let sink = Sink::open(&net, 1, family);
    greet(&net, (1, 0), family);
    let sent = send(&net, (0, 1), family, (N, Duration::from_millis(1), size));
    sink.await_marker(&net, 0);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    let got = sink.end();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("twice", "matched"), u64::from(N), "{ending}");
    let acted = ending.of_rule("twice", "acted");
    println!("{shape:?} {family:?} {size} bytes: {acted} of {N} arrived three times");
    assert!((135..=225).contains(&acted), "four deviations of 180 are 45, not {acted}");
    assert_eq!(ending.total("injected"), 2 * acted, "{ending}");
    assert_eq!(count(&net, 1, "UdpInCsumErrors") + count(&net, 1, "Udp6InCsumErrors"), 0);
    assert_eq!(got.len() as u64, u64::from(N) + 2 * acted, "{ending}");
    let same = |a: &Got, b: &Got| a.number != b.number || a.bytes == b.bytes;
    let first: HashMap<u32, &Got> = got.iter().rev().map(|got| (got.number, got)).collect();
    assert!(got.iter().all(|got| got.bytes.len() == size && same(got, first[&got.number])));
    for (number, times) in by_number(&got) {
        assert!([1, 3].contains(&times.len()), "{number} came {} times", times.len());
        // A copy is due 40 ms behind the packet, which nobody holds here.
        for copy in &times[1..] {
            let behind = copy.saturating_sub(sent[number as usize]);
            assert!(behind >= Duration::from_millis(40), "{number}: a copy after {behind:?}");
        }
    }
}

#[test]
fn datagrams_arrive_as_often_as_asked_in_namespaces() {
    datagrams_twice(Shape::Namespaces, Family::V4, 64);
    datagrams_twice(Shape::Namespaces, Family::V6, 1_200);
}

#[test]
fn datagrams_arrive_as_often_as_asked_behind_a_bridge() {
    datagrams_twice(Shape::Bridge, Family::V4, 1_200);
    datagrams_twice(Shape::Bridge, Family::V6, 64);
}

/// Nobody has heard of n2 behind the bridge: its copies are counted as not sent.
#[test]
fn copies_to_whom_nobody_has_heard_of_are_told() {
    let net = Net::new(Shape::Bridge, 2);
    let raftq = Raftq::attach(&net, &one_rule("twice", "{ duplicate: 100% }"), &["--json"]);
    let sink = Sink::open(&net, 1, Family::V4);
    send(&net, (0, 1), Family::V4, (20, Duration::ZERO, 64));
    sink.await_marker(&net, 0);
    let ending = raftq.interrupt();
    assert_eq!(numbers(&sink.end()), (0..20).collect::<Vec<_>>());
    ending.must_be_clean(0);
    assert_eq!((ending.total("injected"), ending.total("not_injected")), (0, 20), "{ending}");
    assert!(ending.stderr.contains("could not be sent"), "{ending}");
}

fn bulk_twice(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    let rules = "seed: 9\nrules:\n  - { name: twice, from: n1, to: n2, where: { payload: '>0' }, \
                 do: { duplicate: 3% } }\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let moved = transfer(&net, (0, 1), family, BULK);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    moved.must_be_intact(BULK);
    ending.must_be_clean(0);
    let acted = ending.of_rule("twice", "acted");
    let sent = count(&net, 1, "TcpExtTCPDSACKOldSent") + count(&net, 1, "TcpExtTCPDSACKOfoSent");
    let heard = count(&net, 0, "TcpExtTCPDSACKRecv") + count(&net, 0, "TcpExtTCPDSACKOfoRecv");
    let again = count(&net, 0, "TcpRetransSegs");
    println!(
        "{shape:?} {family:?}: {acted} segments twice, {sent} DSACKs sent, {heard} heard, {again} \
         sent again"
    );
    assert!(acted >= 100, "{ending}");
    assert_eq!(ending.total("injected"), acted, "{ending}");
    assert_eq!(count(&net, 1, "TcpInCsumErrors"), 0, "copies are as good as what they are of");
    // Copies that arrive in one batch may share a DSACK; the kernel sends but so many a second.
    assert!(sent > 0 && sent <= acted + again, "{sent} DSACKs of {acted} copies\n{ending}");
    assert!(heard > 0 && heard <= sent, "{heard} heard of {sent}\n{ending}");
}

#[test]
fn tcp_tells_what_arrives_twice_in_namespaces() {
    bulk_twice(Shape::Namespaces, Family::V4);
    bulk_twice(Shape::Namespaces, Family::V6);
}

#[test]
fn tcp_tells_what_arrives_twice_behind_a_bridge() {
    bulk_twice(Shape::Bridge, Family::V4);
    bulk_twice(Shape::Bridge, Family::V6);
}

/// Of four datagrams in a row the last overtakes a delay of 50 ms; they come 5 ms apart, so that it
/// overtakes some ten.
#[test]
fn of_a_gap_the_last_overtakes() {
    const N: u32 = 200;
    for (shape, family) in [(Shape::Namespaces, Family::V4), (Shape::Bridge, Family::V6)] {
        let net = Net::new(shape, 2);
        let what = "[{ delay: 50ms }, { reorder: { gap: 4 } }]";
        let raftq = Raftq::attach(&net, &one_rule("overtake", what), &["--json"]);
        let sink = Sink::open(&net, 1, family);
        let sent = send(&net, (0, 1), family, (N, Duration::from_millis(5), 64));
        let got = sink.await_count(N as usize);
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert_eq!(sink.end().len(), got.len(), "each arrives once");
        for what in ["matched", "acted"] {
            assert_eq!(ending.of_rule("overtake", what), u64::from(N), "{ending}");
        }
        assert_eq!(ending.link("n1", "n2", "delayed"), u64::from(N) * 3 / 4, "{ending}");
        let delayed: Vec<&Got> = got.iter().filter(|got| got.number % 4 != 3).collect();
        assert!(delayed.is_sorted_by_key(|got| got.number), "the others keep their order");
        for got in delayed {
            let took = got.at.saturating_sub(sent[got.number as usize]);
            assert!(took >= Duration::from_millis(50), "{}: after {took:?}", got.number);
        }
        let overtook = got.iter().enumerate().filter(|(i, one)| {
            one.number % 4 == 3 && got[i + 1..].iter().any(|behind| behind.number < one.number)
        });
        let overtook = overtook.count();
        println!("{shape:?} {family:?}: {overtook} of {} have overtaken somebody", N / 4);
        assert!(overtook >= 45, "{overtook} of 50 overtook somebody");
    }
}

#[test]
fn bulk_that_is_reordered_arrives_out_of_order_and_whole() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        let rules = "seed: 9\nrules:\n  - { name: overtake, from: n1, to: n2, do: \
                     [{ delay: 10ms }, { reorder: 5% }] }\n";
        let raftq = Raftq::attach(&net, rules, &["--json"]);
        let moved = transfer(&net, (0, 1), Family::V4, BULK);
        let ending = raftq.interrupt();
        moved.must_be_intact(BULK);
        ending.must_be_clean(0);
        let early = count(&net, 1, "TcpExtTCPOFOQueue");
        println!("{shape:?}: {early} packets came too early");
        // One in twenty overtakes; those that come behind it are early, too, until it is overtaken.
        assert!(early >= 50, "{early}\n{ending}");
        assert!(ending.of_rule("overtake", "acted") >= (BULK / 1_460) as u64, "{ending}");
    }
}

/// There is room for 4,096 copies; those beyond are left out, and told.
#[test]
fn copies_that_there_is_no_room_for_are_told() {
    const MANY: u32 = 4_200;
    let net = Net::new(Shape::Namespaces, 2);
    let what = "{ duplicate: { chance: 100%, delay: 2s } }";
    let raftq = Raftq::attach(&net, &one_rule("twice", what), &["--json"]);
    let sink = Sink::open(&net, 1, Family::V4);
    send(&net, (0, 1), Family::V4, (MANY, Duration::from_micros(50), 64));
    await_matched(&raftq, "twice", MANY);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(sink.end().len(), MANY as usize + 4_096);
    assert_eq!(ending.total("injected"), 4_096, "{ending}");
    assert_eq!(ending.total("copies_lost"), u64::from(MANY) - 4_096, "{ending}");
    assert!(ending.stderr.contains("no room to keep them"), "{ending}");
}
