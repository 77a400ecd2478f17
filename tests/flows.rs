//! The flow table at its limit: who has to go, and what tells two flows in one place apart.

mod engine_support;

use engine_support::packet::{Build, flags};
use raftq::engine::flows::{Dialler, FlowKey, Flows, Touched};
use raftq::packet::{NodeId, PacketView, Proto};
use raftq::time::Nanos;

const SECOND: Nanos = Nanos::from_secs(1);

fn view(port: u16, kind: &str, seq: u32) -> PacketView {
    let flags = flags(kind).expect("a kind of segment");
    let build = Build::tcp(&format!("10.77.0.1:{port}"), "10.77.0.2:2380", flags, 0);
    let bytes = Build { seq, ..build }.bytes();
    PacketView::parse(&bytes, bytes.len() as u32, 0).expect("a whole packet")
}

fn touch(flows: &mut Flows, now: Nanos, view: &PacketView) -> Touched {
    let key = FlowKey::of(view.src, view.dst, view.proto).0;
    flows.touch(now, key, view)
}

#[test]
fn both_directions_are_one_flow() {
    let there = view(40_000, "ack", 1);
    let (key, direction) = FlowKey::of(there.src, there.dst, Proto::Tcp);
    let (back, other) = FlowKey::of(there.dst, there.src, Proto::Tcp);
    assert_eq!(key, back);
    assert_ne!(direction, other);
    assert_ne!(key, FlowKey::of(there.src, there.dst, Proto::Udp).0, "a transport is a flow's own");
}

#[test]
fn a_repeated_syn_keeps_the_flow_and_another_takes_its_place() {
    let mut flows = Flows::new(4);
    let first = touch(&mut flows, SECOND, &view(40_000, "syn", 7));
    assert!(first.fresh);
    let generation = flows.get(first.id).generation;
    let again = touch(&mut flows, SECOND + SECOND, &view(40_000, "syn", 7));
    assert!(!again.fresh && again.id == first.id);
    assert_eq!(flows.get(again.id).generation, generation);
    assert_eq!(flows.get(again.id).opened, Some(SECOND + SECOND), "it was seen again");

    let anew = touch(&mut flows, SECOND + SECOND, &view(40_000, "syn", 8));
    assert!(anew.fresh && !anew.evicted && anew.id == first.id);
    assert_ne!(flows.get(anew.id).generation, generation);
    assert!(flows.same(anew.id, generation).is_none(), "the former flow is gone");
    assert_eq!(flows.len(), 1);
}

#[test]
fn a_known_dialler_is_forgotten_when_somebody_dials() {
    let mut flows = Flows::new(4);
    let data = view(40_000, "data", 1);
    let key = FlowKey::of(data.src, data.dst, data.proto).0;
    let entered = flows.enter(SECOND, key, Dialler::Node(NodeId(1)));
    assert!(entered.fresh);
    assert!(!flows.enter(SECOND, key, Dialler::Node(NodeId(2))).fresh);
    assert!(!touch(&mut flows, SECOND, &data).fresh);
    assert_eq!(flows.get(entered.id).dialler, Dialler::Node(NodeId(2)));
    assert_eq!(flows.get(entered.id).opened, None, "its SYN was never seen");
    assert!(touch(&mut flows, SECOND, &view(40_000, "syn", 1)).fresh);
    assert_eq!(flows.get(entered.id).dialler, Dialler::Unasked);
}

#[test]
fn silent_flows_go_first_and_uncounted() {
    let mut flows = Flows::new(3);
    for port in 1..=3 {
        touch(&mut flows, SECOND, &view(port, "syn", 1));
    }
    let late = Nanos::from_secs(62);
    touch(&mut flows, late, &view(1, "ack", 2));
    touch(&mut flows, late, &view(3, "ack", 2));
    let new = touch(&mut flows, late, &view(4, "syn", 1));
    assert!(new.fresh && !new.evicted, "the second was silent for a minute");
    assert!(!touch(&mut flows, late, &view(1, "ack", 3)).fresh);
    assert!(!touch(&mut flows, late, &view(3, "ack", 3)).fresh);
    let forgotten = touch(&mut flows, late, &view(2, "ack", 3));
    assert!(forgotten.fresh && forgotten.evicted, "nobody is silent now");
    assert_eq!(flows.get(forgotten.id).opened, None, "its age is forgotten");
}

#[test]
fn flows_with_packets_held_or_waiting_go_last() {
    let mut flows = Flows::new(3);
    let ids = [1, 2, 3].map(|port| touch(&mut flows, SECOND, &view(port, "syn", 1)).id);
    flows.get_mut(ids[0]).held[1] = 1;
    flows.get_mut(ids[2]).waiting = 1;
    // Silent or not: what something depends on stays.
    let late = Nanos::from_secs(100);
    for port in 10..20 {
        assert_eq!(touch(&mut flows, late, &view(port, "syn", 1)).id, ids[1]);
    }
    assert!(!touch(&mut flows, late, &view(1, "ack", 2)).fresh);
    assert!(!touch(&mut flows, late, &view(3, "ack", 2)).fresh);

    flows.get_mut(ids[1]).held[0] = 1;
    let generations = ids.map(|id| flows.get(id).generation);
    let forced = touch(&mut flows, late, &view(30, "syn", 1));
    assert!(forced.evicted, "one of them has to go");
    let kept = (0..3).filter(|&i| flows.same(ids[i], generations[i]).is_some()).count();
    assert_eq!(kept, 2, "and whoever holds its generation finds it gone");
    assert_eq!(flows.get(forced.id).held, [0, 0]);
}

#[test]
fn the_table_never_grows_beyond_its_places() {
    let mut flows = Flows::new(50);
    for i in 0..5_000_u32 {
        let kind = if i % 3 == 0 { "syn" } else { "data" };
        let touched = touch(&mut flows, Nanos(u64::from(i)), &view((i % 777) as u16, kind, i));
        assert!(touched.id.0 < 50);
        assert_eq!(flows.get(touched.id).key.proto, Proto::Tcp);
    }
    assert_eq!(flows.len(), 50);
    assert!(!flows.is_empty());
}
