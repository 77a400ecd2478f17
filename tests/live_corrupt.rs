//! Damage: a wrong checksum is noticed by the kernel, a right one lets the program have it. Needs
//! root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Ending, Family, Net, Raftq, Shape};
use measure_lab::{
    FROM, Got, Moved, Sink, Stats, await_nothing_held, be_patient, count, pattern, send, transfer,
};
use std::time::Duration;

const BULK: usize = 8 << 20;

/// Everything at once: what TCP, UDP and both families take for damaged.
fn discarded(net: &Net, node: usize) -> (u64, u64) {
    let stats = Stats::of(net.node(node));
    let udp = stats.get("UdpInCsumErrors") + stats.get("Udp6InCsumErrors");
    (stats.get("TcpInCsumErrors"), udp)
}

/// Bulk of which some segments are damaged, at a place of a cluster.
fn damaged(net: &Net, family: Family, what: &str) -> (Moved, Ending) {
    let rules = format!(
        "seed: 4\nrules:\n  - {{ name: damage, from: n1, to: n2, where: {{ payload: '>100' }}, \
         do: {what} }}\n"
    );
    let raftq = Raftq::attach(net, &rules, &["--json"]);
    let moved = transfer(net, (0, 1), family, BULK);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert!(ending.of_rule("damage", "matched") >= (BULK / 1_460) as u64, "{ending}");
    (moved, ending)
}

/// Every place, and both families.
fn everywhere(test: impl Fn(&Net, Family)) {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        for family in [Family::V4, Family::V6] {
            test(&Net::new(shape, 2), family);
        }
    }
}

fn is_sent_again(net: &Net, family: Family, what: &str, delays: bool) {
    let (moved, ending) = damaged(net, family, what);
    moved.must_be_intact(BULK);
    // A delay acts on all of them.
    let acted = if delays { discarded(net, 1).0 } else { ending.of_rule("damage", "acted") };
    let again = count(net, 0, "TcpRetransSegs");
    println!("{:?} {family:?} {what}: {acted} damaged, {again} sent again", net.shape);
    assert!((25..=100).contains(&acted), "1 % of 5,800 are 58\n{ending}");
    assert_eq!(discarded(net, 1), (acted, 0), "{ending}");
    assert!(again >= acted, "{again} sent again of {acted}\n{ending}");
    let twice = count(net, 1, "TcpExtTCPDSACKOldSent") + count(net, 1, "TcpExtTCPDSACKOfoSent");
    assert!(again - acted <= twice, "{again} again, {acted} damaged, {twice} twice\n{ending}");
}

#[test]
fn what_arrives_with_a_wrong_checksum_is_sent_again() {
    everywhere(|net, family| is_sent_again(net, family, "{ corrupt: 1% }", false));
}

#[test]
fn what_is_delayed_as_well_is_damaged_all_the_same() {
    everywhere(|net, family| {
        is_sent_again(net, family, "[{ corrupt: 1% }, { delay: 5ms }]", true);
    });
}

/// The program gets one wrong bit a damaged segment.
fn is_read(net: &Net, family: Family, what: &str) -> u64 {
    be_patient(net, 2);
    let (moved, ending) = damaged(net, family, what);
    assert_eq!(moved.bytes.len(), BULK);
    let changes = moved.changes();
    println!("{:?} {family:?} {what}: {} bits changed", net.shape, changes.len());
    assert!(changes.iter().all(|(_, change)| change.is_power_of_two()), "{changes:?}");
    assert_eq!(discarded(net, 1), (0, 0), "nobody but the program notices\n{ending}");
    assert_eq!(count(net, 0, "TcpRetransSegs"), 0, "{ending}");
    if !what.contains("delay") {
        assert_eq!(ending.of_rule("damage", "acted"), changes.len() as u64, "{ending}");
    }
    changes.len() as u64
}

#[test]
fn what_has_a_right_checksum_is_read_as_it_came() {
    everywhere(|net, family| {
        let bits = is_read(net, family, "{ corrupt: { chance: 1%, checksum: right } }");
        assert!((25..=100).contains(&bits), "1 % of 5,800 are 58");
    });
    everywhere(|net, family| {
        let what = "[{ corrupt: { chance: 1%, checksum: right } }, { delay: 5ms }]";
        let bits = is_read(net, family, what);
        assert!((25..=100).contains(&bits), "1 % of 5,800 are 58");
    });
}

#[test]
fn a_range_of_bytes_is_changed_in_the_stream() {
    everywhere(|net, family| {
        be_patient(net, 2);
        let what = "{ corrupt: { chance: 1%, bytes: 10..14, checksum: right } }";
        let (moved, ending) = damaged(net, family, what);
        let changes = moved.changes();
        let acted = ending.of_rule("damage", "acted");
        println!("{:?} {family:?}: {acted} segments, {} bytes changed", net.shape, changes.len());
        assert!(acted >= 25, "{ending}");
        assert_eq!(changes.len() as u64, 4 * acted, "{ending}");
        for four in changes.chunks(4) {
            let row: Vec<usize> = four.iter().map(|(at, _)| at - four[0].0).collect();
            assert_eq!(row, [0, 1, 2, 3], "four in a row");
        }
    });
}

const N: u32 = 300;

/// Datagrams under a rule that changes them.
fn datagrams(
    net: &Net,
    family: Family,
    what: &str,
    size: usize,
) -> (Vec<Got>, Vec<Duration>, Ending) {
    let rules = format!(
        "seed: 4\nrules:\n  - {{ name: damage, from: n1, to: n2, where: {{ port: {FROM} }}, \
         do: {what} }}\n"
    );
    let raftq = Raftq::attach(net, &rules, &["--json"]);
    let sink = Sink::open(net, 1, family);
    let sent = send(net, (0, 1), family, (N, Duration::from_millis(1), size));
    sink.await_marker(net, 0);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("damage", "matched"), u64::from(N), "{ending}");
    (sink.end(), sent, ending)
}

#[test]
fn a_datagram_with_a_wrong_checksum_is_discarded() {
    for size in [64, 1_200] {
        everywhere(|net, family| {
            let (got, _, ending) = datagrams(net, family, "{ corrupt: 20% }", size);
            let acted = ending.of_rule("damage", "acted");
            println!("{:?} {family:?} {size} bytes: {acted} of {N} damaged", net.shape);
            assert!((32..=88).contains(&acted), "four deviations of 60 are 28\n{ending}");
            assert_eq!(discarded(net, 1), (0, acted), "{ending}");
            assert_eq!(got.len() as u64 + acted, u64::from(N), "{ending}");
        });
    }
}

#[test]
fn a_range_of_a_datagram_is_changed_and_delayed() {
    for size in [64, 1_200] {
        everywhere(|net, family| {
            let what = "[{ corrupt: { bytes: 8..12, checksum: right } }, { delay: 30ms }]";
            let (got, sent, ending) = datagrams(net, family, what, size);
            assert_eq!(ending.of_rule("damage", "acted"), u64::from(N), "{ending}");
            assert_eq!(discarded(net, 1), (0, 0), "{ending}");
            assert_eq!(got.len() as u64, u64::from(N), "{ending}");
            let was = pattern(size);
            for (i, got) in got.iter().enumerate() {
                assert_eq!(got.number as usize, i, "in order");
                let changed: Vec<usize> =
                    (4..size).filter(|at| got.bytes[*at] != was[*at]).collect();
                assert_eq!(changed, [8, 9, 10, 11], "datagram {i}");
                let took = got.at.saturating_sub(sent[i]);
                assert!(took >= Duration::from_millis(30), "datagram {i} after {took:?}");
            }
        });
    }
}

/// There is room for 4,096 that are held; those beyond go on as they were, and that is told.
#[test]
fn what_there_is_no_room_to_damage_is_told() {
    const MANY: u32 = 4_200;
    let net = Net::new(Shape::Namespaces, 2);
    let rules = format!(
        "rules:\n  - {{ name: damage, from: n1, to: n2, where: {{ port: {FROM} }}, do: \
         [{{ corrupt: {{ bytes: 8..9, checksum: right }} }}, {{ delay: 2s }}] }}\n"
    );
    let raftq = Raftq::attach(&net, &rules, &["--json"]);
    let sink = Sink::open(&net, 1, Family::V4);
    send(&net, (0, 1), Family::V4, (MANY, Duration::from_micros(50), 64));
    let got = sink.await_count(MANY as usize);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let was = pattern(64)[8];
    assert_eq!(got.iter().filter(|got| got.bytes[8] != was).count(), 4_096, "{ending}");
    assert_eq!(ending.total("undamaged"), u64::from(MANY) - 4_096, "{ending}");
    assert!(ending.stderr.contains("were to be damaged"), "{ending}");
}
