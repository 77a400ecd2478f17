//! Bottlenecks and slots: what passes a second, what waits, what is dropped, and how what is
//! delivered in bunches arrives. Needs root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Family, Net, Raftq, Shape};
use measure_lab::{
    FROM, Got, Moved, Sink, await_nothing_held, be_patient, count, numbers, send, transfer,
    transfers,
};
use std::time::Duration;

/// Bytes that take two seconds and more at 100 Mbit/s.
const BULK: usize = 32 << 20;

fn one_rule(name: &str, of: &str, what: &str) -> String {
    format!("rules:\n  - {{ name: {name}, from: n1, to: n2, {of}do: {what} }}\n")
}

/// A link of so many bits a second, used by bulk in the direction of the rule.
fn fills(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    let raftq = Raftq::attach(&net, &one_rule("narrow", "", "{ rate: 100mbit }"), &["--json"]);
    let moved = transfer(&net, (0, 1), family, BULK);
    let ending = raftq.interrupt();
    moved.must_be_intact(BULK);
    ending.must_be_clean(0);
    let filled = moved.rate() / 100e6;
    let lost = ending.link("n1", "n2", "dropped");
    println!("{shape:?} {family:?}: {:.1} % are payload; {lost} dropped", filled * 100.0);
    assert!((0.9..=1.0).contains(&filled), "{filled} of it\n{ending}");
    assert!(ending.of_rule("narrow", "acted") >= (BULK / 1_460) as u64, "{ending}");
    assert!(ending.of_rule("narrow", "matched") >= ending.of_rule("narrow", "acted"), "{ending}");
}

#[test]
fn bulk_fills_a_bottleneck_in_namespaces() {
    fills(Shape::Namespaces, Family::V4);
    fills(Shape::Namespaces, Family::V6);
}

#[test]
fn bulk_fills_a_bottleneck_behind_a_bridge() {
    fills(Shape::Bridge, Family::V4);
}

/// A neck that is narrow and has little room before it: what comes as one large packet is many
/// segments there, of which some have room.
#[test]
fn bulk_fills_a_bottleneck_with_little_room_too() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        let what = "{ rate: { bits: 4mbit, limit: 30ms } }";
        let raftq = Raftq::attach(&net, &one_rule("narrow", "", what), &["--json"]);
        let len = 1 << 20;
        let moved = transfer(&net, (0, 1), Family::V4, len);
        let ending = raftq.interrupt();
        moved.must_be_intact(len);
        ending.must_be_clean(0);
        let (lost, again) = (ending.link("n1", "n2", "dropped"), count(&net, 0, "TcpRetransSegs"));
        let filled = moved.rate() / 4e6;
        println!(
            "{shape:?}: {:.1} % of 4 Mbit/s are payload; {lost} dropped, {again} sent again",
            filled * 100.0
        );
        assert!(again >= lost && lost > 0, "{again} sent again, {lost} dropped\n{ending}");
        assert!((0.9..=1.0).contains(&filled), "{filled} of it\n{ending}");
    }
}

/// Two connections at once from n1 to n2.
fn two(per: &str) -> Vec<Moved> {
    let net = Net::new(Shape::Namespaces, 2);
    let what = format!("{{ rate: {{ bits: 40mbit, per: {per} }} }}");
    let raftq = Raftq::attach(&net, &one_rule("narrow", "", &what), &["--json"]);
    let len = BULK / 4;
    let both = transfers(&net, (0, 1), Family::V4, len, 2);
    let ending = raftq.interrupt();
    for moved in &both {
        moved.must_be_intact(len);
    }
    ending.must_be_clean(0);
    assert!(ending.of_rule("narrow", "acted") >= (2 * len / 1_460) as u64, "{ending}");
    both
}

#[test]
fn each_flow_has_a_bottleneck_of_its_own_or_all_share_one() {
    let own: Vec<f64> = two("flow").iter().map(|moved| moved.rate() / 40e6).collect();
    println!("per flow: {own:.3?} of 40 Mbit/s");
    assert!(own.iter().all(|share| (0.9..=1.0).contains(share)), "{own:?}");
    let shared = two("link");
    // Both begin at once, and while the slower one moves all goes through the same neck.
    let longest = shared.iter().map(|moved| moved.took).max().expect("two");
    let all: usize = shared.iter().map(|moved| moved.bytes.len()).sum();
    let share = all as f64 * 8.0 / longest.as_secs_f64() / 40e6;
    println!("per link: {share:.3} of 40 Mbit/s in all");
    assert!((0.9..=1.05).contains(&share), "{share}");
}

/// Datagrams of 1,000 bytes, IP header and all, sent at once into 1 Mbit/s: 8 ms each.
fn poured(rate: &str, shape: Shape, family: Family, n: u32) -> (Vec<Got>, Vec<Duration>) {
    let net = Net::new(shape, 2);
    let rules = one_rule("narrow", &format!("where: {{ port: {FROM} }}, "), rate);
    let raftq = Raftq::attach(&net, &rules, &["--json"]);
    let sink = Sink::open(&net, 1, family);
    let headers = if family == Family::V4 { 28 } else { 48 };
    let sent = send(&net, (0, 1), family, (n, Duration::ZERO, 1_000 - headers));
    sink.await_marker(&net, 0);
    // Its end would let it go early.
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    let got = sink.end();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("narrow", "matched"), u64::from(n), "{ending}");
    let dropped = ending.link("n1", "n2", "dropped");
    assert_eq!(got.len() as u64 + dropped, u64::from(n), "{ending}");
    assert!(numbers(&got).is_sorted(), "a bottleneck keeps the order");
    (got, sent)
}

/// How long after the first datagram was sent each arrived, in milliseconds.
fn arrivals(got: &[Got], sent: &[Duration]) -> Vec<f64> {
    got.iter().map(|got| got.at.saturating_sub(sent[0]).as_secs_f64() * 1e3).collect()
}

/// What the time it took to send them lets in besides.
fn meanwhile(sent: &[Duration]) -> usize {
    let took = sent[sent.len() - 1].saturating_sub(sent[0]);
    (took.as_millis() / 8) as usize + 1
}

#[test]
fn what_would_wait_too_long_in_a_bottleneck_is_dropped() {
    for (shape, family) in [(Shape::Namespaces, Family::V4), (Shape::Bridge, Family::V6)] {
        let rate = "{ rate: { bits: 1mbit, limit: 100ms } }";
        let (got, sent) = poured(rate, shape, family, 100);
        let times = arrivals(&got, &sent);
        println!("{shape:?} {family:?}: {} of 100 got in, arriving at {times:.0?} ms", got.len());
        // 12 take 96 ms; a thirteenth would wait for 104.
        let most = 12 + meanwhile(&sent) + 1;
        assert!((12..=most).contains(&got.len()), "{} passed, of at most {most}", got.len());
        assert_eq!(numbers(&got)[..12], (0..12).collect::<Vec<_>>(), "the tail is dropped");
        for (i, ms) in times.iter().enumerate() {
            let due = (i + 1) as f64 * 8.0;
            assert!(*ms >= due, "number {i} came after {ms} ms, before {due}");
        }
    }
}

#[test]
fn a_burst_passes_a_bottleneck_at_once() {
    let rate = "{ rate: { bits: 1mbit, burst: 10kB, limit: 1s } }";
    let (got, sent) = poured(rate, Shape::Namespaces, Family::V4, 40);
    let times = arrivals(&got, &sent);
    println!("burst: {times:.0?} ms");
    assert_eq!(got.len(), 40, "none waits for a second");
    for (i, ms) in times.iter().enumerate() {
        let due = (i + 1).saturating_sub(10) as f64 * 8.0;
        assert!(*ms >= due, "number {i} came after {ms} ms, before {due}");
    }
    let at_once = got[9].at.saturating_sub(sent[9]).as_secs_f64() * 1e3;
    assert!(at_once < 40.0, "the tenth had to wait for {at_once} ms, as if nothing was saved up");
}

/// Datagrams a millisecond apart, with the times of their arrival, under a slot.
fn slotted(slot: &str, shape: Shape, n: u32) -> (Vec<Got>, Vec<Duration>) {
    let net = Net::new(shape, 2);
    let rules = one_rule("slots", &format!("where: {{ port: {FROM} }}, "), slot);
    let raftq = Raftq::attach(&net, &rules, &["--json"]);
    let sink = Sink::open(&net, 1, Family::V4);
    let sent = send(&net, (0, 1), Family::V4, (n, Duration::from_millis(1), 64));
    let got = sink.await_count(n as usize);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    for what in ["matched", "acted"] {
        assert_eq!(ending.of_rule("slots", what), u64::from(n), "{ending}");
    }
    assert_eq!(numbers(&got), (0..n).collect::<Vec<_>>(), "in order, and each once");
    (got, sent)
}

/// Arrivals without a silence of `silence` between them: the times of the first, and how many.
fn bunches(got: &[Got], silence: Duration) -> Vec<(Duration, usize)> {
    let mut all: Vec<(Duration, usize)> = Vec::new();
    let mut last = Duration::ZERO;
    for got in got {
        match all.last_mut() {
            Some((_, size)) if got.at.saturating_sub(last) < silence => *size += 1,
            _ => all.push((got.at, 1)),
        }
        last = got.at;
    }
    all
}

#[test]
fn a_slot_delivers_in_bunches() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let (got, sent) = slotted("{ slot: 60ms }", shape, 900);
        let all = bunches(&got, Duration::from_millis(25));
        println!(
            "{shape:?}: {} bunches of {:?}",
            all.len(),
            all.iter().map(|b| b.1).collect::<Vec<_>>()
        );
        // A slot begins 60 ms behind the first datagram that waits for it, which comes a
        // millisecond or so behind the slot before.
        let span = sent[899].saturating_sub(sent[0]).as_secs_f64() / 0.061;
        assert!((all.len() as f64 - span).abs() <= 3.0, "{} bunches in {span} slots", all.len());
        let first = &got[0];
        assert!(first.at.saturating_sub(sent[0]) >= Duration::from_millis(60));
        // None of a bunch arrives more than a slot after it was sent, give or take the machine.
        let late = got.iter().filter(|got| {
            got.at.saturating_sub(sent[got.number as usize]) > Duration::from_millis(75)
        });
        assert!(late.count() <= 90, "more than a tenth are later than their slot");
    }
}

#[test]
fn a_slot_takes_no_more_packets_than_it_has_room_for() {
    let (got, _) = slotted("{ slot: { every: 40ms, packets: 5 } }", Shape::Namespaces, 50);
    let all = bunches(&got, Duration::from_millis(15));
    println!("{:?}", all.iter().map(|b| b.1).collect::<Vec<_>>());
    for five in got.chunks(5) {
        let [first, .., last] = five else { panic!("five each") };
        let spread = last.at.saturating_sub(first.at);
        assert!(spread < Duration::from_millis(35), "one bunch over {spread:?}");
    }
    // Slot n is due n times 40 ms after the first datagram, and no datagram is early.
    for (i, two) in got.chunks(5).collect::<Vec<_>>().windows(2).enumerate() {
        let apart = two[1][4].at.saturating_sub(two[0][0].at);
        assert!(apart >= Duration::from_millis(25), "slots {i} and the next are {apart:?} apart");
    }
    let whole = got[49].at.saturating_sub(got[0].at);
    assert!(whole >= Duration::from_millis(9 * 40 - 15), "ten slots within {whole:?}");
}

/// Twenty segments of a GSO packet are twenty packets to a slot.
#[test]
fn bulk_in_slots_keeps_its_order_and_its_rate() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        be_patient(&net, 2);
        let rules = one_rule("slots", "", "{ slot: { every: 10ms, packets: 20 } }");
        let raftq = Raftq::attach(&net, &rules, &["--json"]);
        let len = BULK / 8;
        let moved = transfer(&net, (0, 1), Family::V4, len);
        let ending = raftq.interrupt();
        moved.must_be_intact(len);
        ending.must_be_clean(0);
        // Of 1,448 bytes each.
        let filled = moved.rate() / (20.0 * 1_448.0 * 8.0 / 0.010);
        println!("{shape:?}: {:.1} % of what slots take", filled * 100.0);
        assert!((0.8..=1.02).contains(&filled), "{filled}\n{ending}");
        assert_eq!(count(&net, 0, "TcpRetransSegs"), 0, "{ending}");
        assert_eq!(count(&net, 1, "TcpExtTCPOFOQueue"), 0, "{ending}");
        assert!(ending.of_rule("slots", "acted") >= (len / 1_460) as u64, "{ending}");
    }
}
