//! Bottlenecks and slots: bits a second over simulated time, bursts, what shares what.

use crate::engine_support::lab::{End, Fate, Lab, Packet, node, tcp, udp};
use crate::engine_support::packet::{Build, flags};
use crate::measure::{critical, distance};
use crate::ms;
use crate::shapes::{normal_below, uniform_below};
use raftq::packet::Proto;
use raftq::time::Nanos;

const SECOND: u64 = 1_000_000_000;

/// Bytes that arrived in a stretch of time.
fn bytes(fates: &[Fate], size: u64, from: Nanos, to: Nanos) -> u64 {
    let arrived = fates.iter().filter(|fate| fate.arrived() && (from..to).contains(&fate.at));
    arrived.count() as u64 * size
}

/// For a minute twice as much is sent as passes: what passes is the rate, in each second, and what
/// waits stands still at the limit.
#[test]
fn a_bottleneck_passes_its_rate() {
    for (bits, payload) in [(1_000_000, 1_000), (3_333_333, 77), (20_000_000, 1_472)] {
        let mut lab =
            Lab::of(&format!("{{ from: n1, do: {{ rate: {{ bits: {bits}bit, limit: 50ms }} }} }}"));
        let packets = [40_000, 50_000].map(|port| udp((1, port), 2, payload));
        let size = packets[0].bytes.len() as u64;
        let each = size * 8 * SECOND / bits;
        let seconds = 20_u64.min(60_000 * each / SECOND);
        for i in 0..seconds * SECOND / each * 2 {
            lab.send(Nanos(i * each / 2), &packets[i as usize % 2]);
        }
        lab.run_until(lab.now + ms(60));
        let second = |n: u64| Nanos(n * SECOND);
        for n in 1..seconds {
            let found = bytes(&lab.fates, size, second(n), second(n + 1)) * 8;
            // A packet more or less may end within a second; and a percent for the test's title.
            let off = bits / 100 + size * 8;
            assert!(found.abs_diff(bits) <= off, "{found} bits in second {n}, {bits} wanted");
        }
        let total = bytes(&lab.fates, size, second(1), second(seconds)) * 8;
        let wanted = bits * (seconds - 1);
        assert!(total.abs_diff(wanted) <= size * 8, "{total} bits in all, {wanted} wanted");
        let longest = lab.fates.iter().filter(|fate| fate.arrived()).map(Fate::late).max();
        assert!(longest <= Some(ms(50)) && longest > Some(ms(50).saturating_sub(Nanos(each))));
        assert!(lab.fates.iter().any(|fate| fate.end == End::Dropped));
        assert!(lab.arrivals.is_sorted(), "in order");
    }
}

/// What comes slower than the rate waits for its own bits only.
#[test]
fn a_bottleneck_that_is_half_empty_delays_by_a_packets_own_bits() {
    let mut lab = Lab::of("{ from: n1, do: { rate: 8mbit } }");
    lab.stream(50_000, ms(2), &udp((1, 40_000), 2, 972));
    lab.run_until(lab.now + ms(10));
    assert!(lab.fates.iter().all(|fate| fate.arrived() && fate.late() == ms(1)));
}

/// What the kernel hands over as one packet takes the time of its wire segments, each with headers
/// and overhead of its own.
#[test]
fn a_packet_of_four_segments_takes_the_time_of_four() {
    let bits = flags("data").expect("a kind");
    let ends = (node(1, 40_000), node(2, 2380));
    let build = Build { seq: 1, ..Build::new(ends.0, ends.1, Proto::Tcp, bits, 4 * 1_460) };
    for (more, late) in [("", 6_000), (", overhead: 24", 6_096)] {
        let mut lab = Lab::of(&format!("{{ from: n1, do: {{ rate: {{ bits: 8mbit{more} }} }} }}"));
        lab.send(Nanos::ZERO, &Packet::gso(&build, 1_500));
        lab.run_until(ms(10));
        assert_eq!(lab.fates[0].late(), Nanos::from_micros(late), "{more}");
    }
}

/// In no stretch of time more arrives than its burst and what its rate passes: that is what a token
/// bucket promises. And it is used up: the burst is there after each silence.
#[test]
fn a_burst_passes_at_once_and_no_more_than_that() {
    let mut lab = Lab::of("{ from: n1, do: { rate: { bits: 8mbit, burst: 10000, limit: 2s } } }");
    let packet = udp((1, 40_000), 2, 472);
    // 500 bytes each, 60 at once every 100 ms: 30,000 bytes, where 100,000 would pass.
    for i in 0..200 {
        for _ in 0..60 {
            lab.send(ms(100 * i), &packet);
        }
    }
    lab.run_until(lab.now + ms(500));
    let at: Vec<u64> = lab.fates.iter().map(|fate| fate.at.0).collect();
    for from in 0..at.len() {
        for to in from..at.len().min(from + 200) {
            let sent = (to - from + 1) as u64 * 500;
            let most = 10_000 + (at[to] - at[from]) / 1_000;
            assert!(sent <= most, "{sent} bytes in {} ns", at[to] - at[from]);
        }
    }
    for round in lab.fates.chunks(60) {
        let at_once = round.iter().filter(|fate| fate.late() == Nanos::ZERO).count();
        assert_eq!(at_once, 20, "10,000 bytes");
        assert_eq!(round[59].late(), ms(20), "and the others by the rate");
    }
}

/// `per: link` is one bottleneck for all connections from one node to another, `per: flow` one for
/// each direction of each.
#[test]
fn connections_share_a_bottleneck_or_have_their_own() {
    for (per, together) in [("link", true), ("flow", false)] {
        let mut lab = Lab::of(&format!("{{ do: {{ rate: {{ bits: 8mbit, per: {per} }} }} }}"));
        for i in 0..100 {
            for (from, to) in [(1, 2), (1, 3), (2, 1)] {
                for port in [40_000, 50_000] {
                    lab.send(Nanos::ZERO, &tcp((from, port), to, "data", (1 + i * 960, 960)));
                }
            }
        }
        lab.run_until(Nanos::from_secs(1));
        assert!(lab.fates.iter().all(Fate::arrived));
        let last = ms(if together { 200 } else { 100 });
        for of in 0..3 {
            let mut times: Vec<Nanos> = (lab.fates.chunks(6))
                .flat_map(|round| &round[of * 2..of * 2 + 2])
                .map(|fate| fate.at)
                .collect();
            times.sort_unstable();
            assert_eq!(times.last(), Some(&last), "{per}");
            times.dedup();
            assert_eq!(times.len(), if together { 200 } else { 100 });
        }
    }
}

/// A packet each half millisecond on two connections: all leave in slots of their link.
fn slotted(slot: &str) -> Vec<Fate> {
    let mut lab = Lab::of(&format!("{{ from: n1, do: {{ slot: {{ {slot} }} }} }}"));
    for i in 0..100_000 {
        lab.send(Nanos(500_000 * i), &udp((1, 40_000 + (i % 2) as u16), 2, 100));
    }
    lab.run_until(lab.now + Nanos::from_secs(1));
    assert!(lab.fates.iter().all(Fate::arrived));
    assert!(lab.arrivals.is_sorted(), "in order");
    lab.fates
}

/// How long the first packet of each slot waits is the time that is drawn for it.
#[test]
fn slots_are_spaced_as_the_rule_says() {
    let times = |slot: &str| -> Vec<u64> {
        let fates = slotted(slot);
        let slots = fates.chunk_by(|a, b| a.at == b.at);
        slots.map(|slot| slot[0].late().0).collect()
    };
    assert!(times("every: 10ms").iter().all(|time| *time == 10_000_000));
    let uniform = times("every: 10ms..30ms");
    let normal = times("every: 20ms, jitter: 5ms, distribution: normal");
    let n = [uniform.len() as f64, normal.len() as f64];
    assert!(n.iter().all(|n| *n > 2_000.0), "{n:?} slots");
    let uniform = distance(uniform, uniform_below(20e6, 10e6));
    assert!(uniform < critical(n[0]), "{uniform}");
    let normal = distance(normal, normal_below(20e6, 5e6));
    assert!(normal < critical(n[1]), "{normal}");
}

/// Sent are 40 packets of 128 bytes in each slot of 20 ms; with room for half of them each slot is
/// full, and they begin one every behind the other.
#[test]
fn slots_take_no_more_than_fits() {
    for slot in ["every: 20ms, packets: 20", "every: 20ms, bytes: 2600"] {
        let mut lab = Lab::of(&format!("{{ from: n1, do: {{ slot: {{ {slot} }} }} }}"));
        for i in 0..20_000 {
            lab.send(Nanos(500_000 * i), &udp((1, 40_000 + (i % 2) as u16), 2, 100));
        }
        lab.run_until(lab.now + Nanos::from_secs(30));
        let slots: Vec<&[Fate]> = lab.fates.chunk_by(|a, b| a.at == b.at).collect();
        assert_eq!(slots.len(), 1_000);
        for (slot, n) in slots.iter().zip(1..) {
            assert_eq!((slot.len(), slot[0].at), (20, ms(20 * n)));
        }
    }
}
