//! Pumba: netem on a container, and packets that iptables drops on their way in.

use crate::Checks;
use crate::chain::Chain;
use crate::checks::{
    Check, IN, OUT, bottleneck, check, damaged, doubled, jittered, late, lost, lost_by, lost_on,
    ms, passes, sample,
};
use crate::cuts::{late_between, random_scheduled, scheduled};
use crate::engine_support::lab::{End, Lab, Packet, answer, tcp};
use crate::measure::SIGMAS;
use crate::shapes::{normal_below, uniform_below};
use raftq::time::Nanos;

const MINUTE: Nanos = Nanos::from_secs(60);

pub(crate) fn checks() -> Checks {
    let mut checks = netem();
    checks.extend(common());
    checks.extend(iptables());
    checks
}

fn common() -> Checks {
    let minutes = |n: u64| Nanos(MINUTE.0 * n);
    vec![
        ("netem --duration 5m", scheduled(minutes(5), None, ms(100))),
        ("--interval 10m netem --duration 5m", scheduled(minutes(5), Some(minutes(10)), ms(100))),
        ("--random netem", random_scheduled(minutes(5), minutes(10), ms(100))),
        ("netem --target 10.77.0.2", late_between(&[(1, 2)], ms(100))),
        ("netem --egress-port 2380", ports(1, true)),
        ("netem --ingress-port 2380", ports(1, false)),
    ]
}

fn netem() -> Checks {
    vec![
        ("netem delay --time 100", jittered(0.2, || uniform_below(100e6, 10e6))),
        ("netem delay --time 100 --jitter 0", late(ms(100))),
        (
            "netem delay --time 100 --jitter 30 --correlation 50",
            jittered(0.5, || uniform_below(100e6, 30e6)),
        ),
        (
            "netem delay --time 100 --jitter 30 --correlation 0 --distribution normal",
            jittered(0.0, || normal_below(100e6, 30e6)),
        ),
        ("netem loss --percent 10", lost(0.1, 0.0)),
        ("netem loss --percent 10 --correlation 25", lost(0.1, 0.25)),
        (
            "netem loss-state --p13 5 --p31 30 --p32 10 --p23 40 --p14 1",
            lost_by(|| Chain::markov([0.05, 0.3, 0.1, 0.4, 0.01])),
        ),
        (
            "netem loss-gemodel --pg 3 --pb 20 --one-h 70 --one-k 1",
            lost_by(|| Chain::gilbert_elliott(0.03, 0.2, 0.7, 0.01)),
        ),
        ("netem duplicate --percent 10", doubled(0.1, 0.0)),
        ("netem duplicate --percent 10 --correlation 25", doubled(0.1, 0.25)),
        ("netem corrupt --percent 10", damaged(0.1, 0.0)),
        ("netem corrupt --percent 10 --correlation 25", damaged(0.1, 0.25)),
        ("netem rate --rate 1mbit", bottleneck(1_000_000, 0, |bytes| bytes + 14)),
        (
            "netem rate --rate 1mbit --packetoverhead 20",
            bottleneck(1_000_000, 0, |bytes| bytes + 14 + 20),
        ),
        (
            "netem rate --rate 1mbit --cellsize 48 --celloverhead 5",
            bottleneck(1_000_000, 0, |bytes| (bytes + 14).div_ceil(48) * 53),
        ),
    ]
}

fn iptables() -> Checks {
    vec![
        ("iptables loss --mode random --probability 0.2", lost_on(IN, 0.2, 0.0)),
        (
            "iptables loss --mode nth --every 5 --packet 4",
            check(|line| {
                let lab = sample(line, IN);
                for (i, fate) in lab.fates.iter().enumerate() {
                    assert_eq!(fate.end == End::Dropped, i % 5 == 4, "packet {i}");
                }
            }),
        ),
        ("iptables --protocol tcp", protocols(0.2, 0.0)),
        ("iptables --protocol udp", protocols(0.0, 0.2)),
        (
            "iptables --source 10.77.0.2",
            check(|line| {
                lost_on(IN, 0.2, 0.0)(line);
                assert_share(&mut line.lab(), &tcp((3, 40_000), 1, "data", (1, 9)), 0.0);
            }),
        ),
        (
            "iptables --destination 10.77.0.1",
            check(|line| {
                lost_on(IN, 0.2, 0.0)(line);
                assert_share(&mut line.lab(), &tcp((3, 40_000), 1, "data", (1, 9)), 0.2);
                assert!(passes(&mut line.lab(), OUT));
            }),
        ),
        ("iptables --src-port 2380", ports_in(true)),
        ("iptables --dst-port 2380", ports_in(false)),
    ]
}

/// A packet from the peer port of one node, and one to the peer port of the other.
fn both(from: u8, to: u8) -> [(bool, Packet); 2] {
    let here = answer(from, (to, 40_000), "data", (1, 100));
    [(true, here), (false, tcp((from, 40_000), to, "data", (1, 100)))]
}

/// What a node sends from the port, or to it, is late.
fn ports(node: u8, source: bool) -> Check {
    check(move |line| {
        let mut lab = line.lab();
        for to in [2, 3] {
            for (is_source, packet) in both(node, to) {
                let number = lab.send(lab.now, &packet);
                lab.run_until(lab.now + Nanos::from_secs(1));
                let wanted = if is_source == source { ms(100) } else { Nanos::ZERO };
                assert_eq!(lab.fates[number].late(), wanted);
            }
        }
        assert!(both(2, 1).iter().all(|(_, packet)| {
            let number = lab.send(lab.now, packet);
            lab.fates[number].arrived()
        }));
    })
}

/// A share of what a node gets from the port, or to it, is lost.
fn ports_in(source: bool) -> Check {
    check(move |line| {
        for (is_source, packet) in both(2, 1) {
            let share = if is_source == source { 0.2 } else { 0.0 };
            assert_share(&mut line.lab(), &packet, share);
        }
    })
}

fn protocols(of_tcp: f64, of_udp: f64) -> Check {
    check(move |line| {
        let segment = tcp((2, 40_000), 1, "data", (1, 100));
        assert_share(&mut line.lab(), &segment, of_tcp);
        let datagram = crate::engine_support::lab::udp((2, 40_000), 1, 100);
        assert_share(&mut line.lab(), &datagram, of_udp);
        assert!(passes(&mut line.lab(), OUT));
    })
}

/// Of ten thousand packets such a share is dropped, and the others arrive at once.
fn assert_share(lab: &mut Lab, packet: &Packet, share: f64) {
    const N: usize = 10_000;
    lab.stream(N, ms(1), packet);
    let dropped = lab.fates.iter().filter(|fate| fate.end == End::Dropped).count();
    let arrived = lab.fates.iter().filter(|fate| fate.arrived() && fate.late() == Nanos::ZERO);
    assert_eq!(dropped + arrived.count(), N);
    let found = dropped as f64 / N as f64;
    let off = SIGMAS * (share * (1.0 - share) / N as f64).sqrt();
    assert!((found - share).abs() <= off, "{found}, {share} +- {off}");
}
