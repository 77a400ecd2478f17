//! Toxiproxy: what a toxic does to the bytes of a connection that n1 has dialled to n2.

use crate::Checks;
use crate::checks::{check, ms};
use crate::engine_support::lab::{End, Fate, Lab, answer, tcp, udp};
use crate::measure::{SIGMAS, critical, distance};
use crate::shapes::uniform_below;
use raftq::rules::table::Reject;
use raftq::time::Nanos;

const CLIENT: (u8, u16) = (1, 40_000);

const fn s(n: u64) -> Nanos {
    Nanos::from_secs(n)
}

pub(crate) fn checks() -> Checks {
    vec![
        ("latency latency=1000", check(|line| latency(line.lab()))),
        ("latency latency=1000 jitter=100", check(|line| jitter(line.lab(), line.lab()))),
        ("bandwidth rate=100", check(|line| bandwidth(line.lab()))),
        ("slow_close delay=1000", check(|line| slow_close(line.lab()))),
        ("timeout timeout=3000", check(|line| closes_after(line.lab(), s(3)))),
        ("timeout timeout=0", check(|line| black_hole(line.lab()))),
        ("reset_peer timeout=0", check(|line| reset(line.lab()))),
        ("reset_peer timeout=2000", check(|line| closes_after(line.lab(), s(2)))),
        ("slicer average_size=1000 size_variation=0 delay=10000", check(|line| slices(line.lab()))),
        ("limit_data bytes=1048576", check(|line| limit_data(line.lab()))),
        ("enabled=false", check(|line| disabled(line.lab()))),
        ("toxicity=0.5 on timeout, reset_peer", check(|line| toxicity(line.lab()))),
        ("stream=upstream", check(|line| stream(line.lab(), true))),
        ("stream=downstream", check(|line| stream(line.lab(), false))),
    ]
}

fn data(seq: u32, bytes: usize) -> crate::engine_support::lab::Packet {
    tcp(CLIENT, 2, "data", (seq, bytes))
}

/// Sends now, and says what became of it by then.
fn fate(lab: &mut Lab, at: Nanos, packet: &crate::engine_support::lab::Packet) -> Fate {
    let number = lab.send(at, packet);
    lab.fates[number].clone()
}

/// Whoever dials is answered at once; each opens at sequence number 1.
fn handshake(lab: &mut Lab, at: Nanos) {
    for packet in [
        tcp(CLIENT, 2, "syn", (0, 0)),
        answer(2, CLIENT, "synack", (0, 0)),
        tcp(CLIENT, 2, "ack", (1, 0)),
    ] {
        assert!(fate(lab, at, &packet).arrived(), "the handshake is left alone");
    }
}

fn latency(mut lab: Lab) {
    handshake(&mut lab, Nanos::ZERO);
    // A single byte is late already.
    let number = lab.send(ms(1), &data(1, 1));
    assert!(fate(&mut lab, ms(1), &answer(2, CLIENT, "data", (1, 100))).arrived());
    lab.run_until(s(2));
    assert!(lab.fates[number].arrived());
    assert_eq!(lab.fates[number].late(), s(1));
}

fn jitter(mut far: Lab, mut near: Lab) {
    // Further apart than jitter can bring them together, each has a delay of its own.
    let packet = data(1, 1);
    far.stream(5_000, ms(250), &packet);
    far.run_until(far.now + s(2));
    let late: Vec<u64> = far.fates.iter().map(|fate| fate.late().0).collect();
    let found = distance(late, uniform_below(1e9, 1e8));
    assert!(far.fates.iter().all(Fate::arrived) && found < critical(5_000.0), "{found}");
    near.stream(1_000, ms(1), &packet);
    near.run_until(near.now + s(2));
    assert_eq!(near.arrivals.len(), 1_000);
    assert!(near.arrivals.is_sorted(), "bytes stay in order");
}

fn bandwidth(mut lab: Lab) {
    // 300,000 bytes of each of two connections.
    for i in 0..300 {
        for port in [40_000, 50_000] {
            lab.send(Nanos::ZERO, &tcp((1, port), 2, "data", (1 + i * 960, 960)));
        }
    }
    lab.run_until(s(3));
    let last = &lab.fates[598..];
    assert!(last.iter().all(|fate| fate.arrived() && fate.at == s(3)), "{last:?}");
    assert!(lab.fates.iter().all(Fate::arrived));
}

fn slow_close(mut lab: Lab) {
    handshake(&mut lab, Nanos::ZERO);
    assert!(fate(&mut lab, ms(1), &data(1, 100)).arrived());
    let fin = lab.send(ms(2), &tcp(CLIENT, 2, "fin", (101, 0)));
    lab.run_until(s(2));
    assert!(lab.fates[fin].arrived() && lab.fates[fin].late() == s(1));
}

/// No byte gets through, and behind the time the connection is closed.
fn closes_after(mut lab: Lab, after: Nanos) {
    let start = ms(5);
    for at in [start, start + ms(300), start + after.saturating_sub(ms(1))] {
        assert_eq!(fate(&mut lab, at, &data(1, 1)).end, End::Trimmed, "lost at {at:?}");
    }
    let back =
        fate(&mut lab, start + after.saturating_sub(ms(1)), &answer(2, CLIENT, "data", (1, 9)));
    assert!(back.arrived(), "the other stream goes on until then");
    assert_eq!(fate(&mut lab, start + after, &data(1, 1)).end, End::Reset(1));
}

fn black_hole(mut lab: Lab) {
    let minutes = [0, 1, 5, 10, 60];
    for at in minutes.map(|m| s(60 * m)) {
        assert_eq!(fate(&mut lab, at, &data(1, 100)).end, End::Trimmed);
        assert_eq!(fate(&mut lab, at, &data(101, 100)).end, End::Trimmed);
        assert!(fate(&mut lab, at, &answer(2, CLIENT, "data", (1, 9))).arrived());
    }
    assert!(lab.rsts.is_empty(), "nothing is closed");
}

fn reset(mut lab: Lab) {
    assert_eq!(fate(&mut lab, Nanos::ZERO, &data(1, 100)).end, End::Reset(1));
    let other = tcp((2, 40_000), 1, "data", (1, 100));
    assert!(fate(&mut lab, ms(1), &other).arrived());
}

/// Nearest only: pieces that come at once leave one by one.
fn slices(mut lab: Lab) {
    for i in 0..20 {
        lab.send(Nanos::ZERO, &data(1 + i * 1_000, if i % 2 == 0 { 1_000 } else { 1 }));
    }
    lab.run_until(s(1));
    for (fate, n) in lab.fates.iter().zip(1..) {
        assert!(fate.arrived() && fate.at == ms(10 * n), "{fate:?}");
    }
}

fn limit_data(mut lab: Lab) {
    handshake(&mut lab, Nanos::ZERO);
    let piece = 16_384;
    for i in 0..64 {
        assert!(fate(&mut lab, ms(1), &data(1 + i * piece, 16_384)).arrived(), "{i}");
        let back = answer(2, CLIENT, "data", (1 + i * piece, 16_384));
        assert!(fate(&mut lab, ms(1), &back).arrived());
    }
    let end = 64 * piece + 1;
    assert!(fate(&mut lab, ms(2), &answer(2, CLIENT, "data", (end, 100))).arrived());
    assert_eq!(fate(&mut lab, ms(2), &data(end, 1)).end, End::Reset(end));
}

fn disabled(mut lab: Lab) {
    let refused = End::Rejected(Reject::TcpReset);
    assert_eq!(fate(&mut lab, ms(1), &tcp((1, 41_000), 2, "syn", (9, 0))).end, refused);
    assert_eq!(fate(&mut lab, ms(1), &tcp((2, 41_000), 1, "syn", (9, 0))).end, refused);
    // One that was there before.
    assert_eq!(fate(&mut lab, ms(1), &data(77, 10)).end, End::Reset(77));
    let there = tcp((1, 42_000), 2, "ack", (5, 0));
    assert_eq!(fate(&mut lab, ms(1), &there).end, End::Reset(5));
    let back = answer(2, (1, 43_000), "data", (6, 10));
    assert_eq!(fate(&mut lab, ms(1), &back).end, End::Reset(6));
    assert!(fate(&mut lab, ms(1), &tcp((1, 40_000), 3, "data", (1, 10))).arrived());
}

/// Half of all connections lose all their bytes, the others none.
fn toxicity(mut lab: Lab) {
    let (n, mut hit) = (2_000_u16, 0.0);
    for port in 30_000..30_000 + n {
        let client = (1, port);
        assert!(fate(&mut lab, ms(1), &tcp(client, 2, "syn", (0, 0))).arrived());
        assert!(fate(&mut lab, ms(1), &answer(2, client, "synack", (0, 0))).arrived());
        let ends = [1, 2, 3, 4].map(|seq| {
            let end = fate(&mut lab, ms(1), &tcp(client, 2, "data", (seq, 1))).end;
            assert!(fate(&mut lab, ms(1), &answer(2, client, "data", (seq, 1))).arrived());
            end
        });
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        assert!(matches!(ends[0], End::Arrived | End::Trimmed));
        hit += f64::from(u8::from(ends[0] == End::Trimmed));
    }
    let share = hit / f64::from(n);
    assert!((share - 0.5).abs() < SIGMAS * (0.25 / f64::from(n)).sqrt(), "{share}");
}

fn stream(mut lab: Lab, up: bool) {
    for (dialler, listener) in [(1, 2), (2, 1), (3, 2)] {
        let client = (dialler, 40_000);
        let there = lab.send(lab.now, &tcp(client, listener, "data", (1, 10)));
        let back = lab.send(lab.now, &answer(listener, client, "data", (1, 10)));
        let handshake = lab.send(lab.now, &tcp((dialler, 41_000), listener, "syn", (0, 0)));
        lab.run_until(lab.now + s(1));
        for (number, upstream) in [(there, true), (handshake, true), (back, false)] {
            let wanted = if upstream == up { ms(100) } else { Nanos::ZERO };
            assert!(lab.fates[number].arrived());
            assert_eq!(lab.fates[number].late(), wanted, "{dialler}");
        }
    }
    // Of UDP between two peer ports nobody can tell.
    let both = lab.send(lab.now, &udp((1, 2_380), 2, 10));
    assert!(lab.fates[both].arrived());
}
