//! Which packets have to come again as single segments: those of links whose rules need it, what
//! is behind them, and nothing else.

mod engine_support;

use engine_support::packet::Build;
use raftq::engine::{Engine, Limits, Prepared};
use raftq::packet::{PacketView, tcp_flags};
use raftq::rules;
use raftq::time::Nanos;
use std::sync::Arc;

const N1: &str = "10.0.0.1:2380";
const N2: &str = "10.0.0.2:2380";
const N3: &str = "10.0.0.3:2380";
/// The end of a connection that n1 has dialled.
const FROM: &str = "10.0.0.1:40000";

fn engine(rules: &str) -> Engine {
    let text = format!(
        "cluster:\n  protocol: etcd\n  nodes: {{ n1: \"{N1}\", n2: \"{N2}\", n3: \"{N3}\" }}\n\
         rules:\n{rules}"
    );
    let compiled = rules::compile("test.yaml", &text, &[]);
    let table = compiled.unwrap_or_else(|report| panic!("{report:?}\n{text}")).table;
    let limits = Limits { queues: 2, held: 100, flows: 100 };
    let mut engine = Engine::new(Prepared::new(Arc::new(table), None, |_| false), limits);
    engine.start(Nanos::ZERO);
    engine.advance(Nanos::ZERO, |_| {}, &mut |_| {});
    engine
}

fn view(from: &str, to: &str, payload: usize) -> PacketView {
    let bytes = Build::tcp(from, to, tcp_flags::ACK, payload).bytes();
    PacketView::parse(&bytes, bytes.len() as u32, 1_500).expect("it is whole")
}

/// Whether a GSO packet of a connection is diverted, with all its bytes at hand.
fn diverts(engine: &mut Engine, from: &str, to: &str) -> bool {
    engine.diverts(Nanos::ZERO, &view(from, to, 4_000), true)
}

#[test]
fn only_gso_packets_of_the_rules_links() {
    let mut engine =
        engine("  - { name: roll, from: n1, to: n2, where: { chance: 5% }, do: drop }\n");
    assert!(!engine.diverts(Nanos::ZERO, &view(FROM, N2, 100), false), "it is one segment");
    assert!(!diverts(&mut engine, FROM, N3));
    assert!(!diverts(&mut engine, "10.0.0.2:40000", N1));
    assert!(!diverts(&mut engine, "10.0.0.9:40000", N2), "it is no node");
    assert!(!engine.has_diverted());
    assert!(diverts(&mut engine, FROM, N2));
    assert!(engine.has_diverted());
}

#[test]
fn a_bottleneck_or_slot_that_one_large_packet_would_fill_takes_segments() {
    for (action, cuts) in [
        ("{ rate: 100mbit }", false),
        // 64 KiB take 131 ms of a second, and 5.2 of 30 ms.
        ("{ rate: 4mbit }", true),
        ("{ rate: { bits: 100mbit, limit: 30ms } }", true),
        ("{ rate: { bits: 100mbit, limit: 60ms } }", false),
        ("{ slot: 20ms }", false),
        ("{ slot: { every: 20ms, packets: 5 } }", true),
        ("{ slot: { every: 20ms, bytes: 64KiB } }", true),
        ("{ slot: { every: 20ms, bytes: 1MiB } }", false),
    ] {
        let mut engine = engine(&format!("  - {{ from: n1, to: n2, do: {action} }}\n"));
        assert_eq!(diverts(&mut engine, FROM, N2), cuts, "{action}");
        assert!(!diverts(&mut engine, FROM, N3), "{action}");
    }
}

#[test]
fn what_comes_behind_one_follows_it_until_all_are_in() {
    let mut engine =
        engine("  - { name: roll, from: n1, to: n2, where: { chance: 5% }, do: drop }\n");
    assert!(diverts(&mut engine, FROM, N2));
    assert!(engine.diverts(Nanos::ZERO, &view(FROM, N2, 0), true), "it would overtake");
    assert!(!engine.diverts(Nanos::ZERO, &view("10.0.0.1:40001", N2, 0), true), "another flow");
    engine.segments_are_in();
    assert!(!engine.has_diverted());
    assert!(!engine.diverts(Nanos::ZERO, &view(FROM, N2, 0), true));
}

#[test]
fn of_more_flows_than_can_be_told_apart_everything_follows() {
    let mut engine =
        engine("  - { name: roll, from: n1, to: n2, where: { chance: 5% }, do: drop }\n");
    for port in 10_000..12_000 {
        assert!(diverts(&mut engine, &format!("10.0.0.1:{port}"), N2));
    }
    for port in 10_000..12_000 {
        let small = view(&format!("10.0.0.1:{port}"), N2, 0);
        assert!(engine.diverts(Nanos::ZERO, &small, true), "port {port} would overtake");
    }
    engine.segments_are_in();
    assert!(!engine.diverts(Nanos::ZERO, &view(FROM, N3, 0), true));
}

#[test]
fn only_while_the_rule_is_active_and_about_such_packets() {
    let mut engine = engine(
        "  - { name: cut, from: n1, to: n2, at: 1s, for: 1s, do: { drop: { what: data } } }\n  \
         - { name: other, from: n1, to: n3, where: { port: 9, first: 3 }, do: drop }\n  \
         - { name: late, between: [n1, n3], do: { delay: 1ms } }\n",
    );
    assert!(!diverts(&mut engine, FROM, N3), "its ports are others, and a delay needs nothing");
    for (second, diverted) in [(0, false), (1, true), (2, false)] {
        let now = Nanos::from_secs(second);
        engine.advance(now, |_| {}, &mut |_| {});
        engine.segments_are_in();
        assert_eq!(engine.diverts(now, &view(FROM, N2, 4_000), true), diverted, "second {second}");
    }
    engine.segments_are_in();
    engine.drain(&mut |_| {});
    assert!(!diverts(&mut engine, FROM, N2), "no rule acts any more");
}

/// The packet that makes it active is the first that it is about.
#[test]
fn a_rule_that_waits_for_an_event_has_segments_before_it_comes() {
    let mut engine = engine(
        "  - { name: at once, from: n1, to: n2, on: election_started, for: 1s, do: reset }\n",
    );
    assert!(diverts(&mut engine, FROM, N2));
    assert!(!diverts(&mut engine, FROM, N3));
}
