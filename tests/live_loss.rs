//! Loss, as TCP's own statistics and numbered datagrams see it. Needs root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Ending, Family, Net, Raftq, Shape};
use measure_lab::{FROM, Sink, count, numbers, send, transfer};
use std::time::Duration;

const BULK: usize = 8 << 20;

/// A segment of 1,500 bytes carries no more than this.
const MSS: u64 = 1_460;

fn loses_of_bulk(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    let rules = "seed: 5\nrules:\n  - { name: lose, from: n1, to: n2, where: { payload: '>0' }, \
                 do: { loss: 1% } }\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let moved = transfer(&net, (0, 1), family, BULK);
    let ending = raftq.interrupt();
    moved.must_be_intact(BULK);
    ending.must_be_clean(0);
    let (matched, lost) = (ending.of_rule("lose", "matched"), ending.of_rule("lose", "acted"));
    let again = count(&net, 0, "TcpRetransSegs");
    let twice = dsacks_sent(&net, 1);
    println!("{shape:?} {family:?}: {matched} matched, {lost} lost, {again} again, {twice} DSACKs");
    // One by one, though they came as a few large packets.
    assert!(matched >= BULK as u64 / MSS, "{ending}");
    assert!(within(matched, 0.01, lost), "{lost} of {matched}\n{ending}");
    assert_eq!(ending.link("n1", "n2", "dropped"), lost, "{ending}");
    // Each that was lost had to be sent again. What was sent again and had not been lost arrived
    // twice, of which its receiver tells in a DSACK each.
    assert!(again >= lost, "{again} were sent again, {lost} lost\n{ending}");
    assert!(again - lost <= twice, "{again} again, {lost} lost, {twice} arrived twice\n{ending}");
}

/// What arrived a second time, as the receiver told its peer.
fn dsacks_sent(net: &Net, node: usize) -> u64 {
    count(net, node, "TcpExtTCPDSACKOldSent") + count(net, node, "TcpExtTCPDSACKOfoSent")
}

/// Whether a share of so many is what chance makes of it: further off than four deviations are one
/// of 16,000 seeds.
fn within(of: u64, share: f64, hits: u64) -> bool {
    let of = of as f64;
    let deviation = (of * share * (1.0 - share)).sqrt();
    (hits as f64 - of * share).abs() <= 4.0 * deviation
}

#[test]
fn what_tcp_loses_it_sends_again_in_namespaces() {
    for family in [Family::V4, Family::V6] {
        loses_of_bulk(Shape::Namespaces, family);
    }
}

#[test]
fn what_tcp_loses_it_sends_again_behind_a_bridge() {
    for family in [Family::V4, Family::V6] {
        loses_of_bulk(Shape::Bridge, family);
    }
}

/// Which of many datagrams a loss lets arrive, and what raftq counted.
fn survivors(shape: Shape, family: Family, of: u32, model: &str) -> (Vec<u32>, Ending) {
    let net = Net::new(shape, 2);
    let rules = format!(
        "seed: 5\nrules:\n  - {{ name: lose, from: n1, to: n2, where: {{ port: {FROM} }}, \
         do: {{ loss: {model} }} }}\n"
    );
    let raftq = Raftq::attach(&net, &rules, &["--json"]);
    let sink = Sink::open(&net, 1, family);
    send(&net, (0, 1), family, (of, Duration::from_micros(20), 64));
    sink.await_marker(&net, 0);
    let ending = raftq.interrupt();
    let got = numbers(&sink.end());
    ending.must_be_clean(0);
    assert_eq!(count(&net, 1, "UdpRcvbufErrors") + count(&net, 1, "Udp6RcvbufErrors"), 0);
    assert_eq!(ending.of_rule("lose", "matched"), u64::from(of), "{ending}");
    let lost = u64::from(of) - got.len() as u64;
    assert_eq!(ending.of_rule("lose", "acted"), lost, "{ending}");
    assert!(got.is_sorted(), "nothing overtakes anything");
    (got, ending)
}

/// The lengths of the gaps in what arrived.
fn bursts(got: &[u32], of: u32) -> Vec<u32> {
    let ends = [got, &[of]].concat();
    let mut next = 0;
    let mut gaps = Vec::new();
    for n in ends {
        gaps.extend((n > next).then(|| n - next));
        next = n + 1;
    }
    gaps
}

#[test]
fn a_share_of_datagrams_is_lost() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        for family in [Family::V4, Family::V6] {
            let (got, ending) = survivors(shape, family, 5_000, "10%");
            let lost = 5_000 - got.len() as u64;
            println!("{shape:?} {family:?}: {lost} of 5000 lost, 10 % asked");
            assert!(within(5_000, 0.1, lost), "{lost}\n{ending}");
        }
    }
}

/// Mean length of bursts within four deviations of a geometric distribution's, whose mean is
/// `1 / leaves`; and as many bursts as begin with the chance `begins` from good times.
fn bursts_as_asked(name: &str, got: &[u32], of: u32, (begins, leaves): (f64, f64)) {
    let gaps = bursts(got, of);
    let n = gaps.len() as f64;
    let mean = f64::from(gaps.iter().sum::<u32>()) / n;
    let off = 4.0 * ((1.0 - leaves).sqrt() / leaves) / n.sqrt();
    // One cycle of good and bad times takes 1/p + 1/r packets, and varies by as much as both do.
    let cycle = 1.0 / begins + 1.0 / leaves;
    let varies = ((1.0 - begins) / begins.powi(2) + (1.0 - leaves) / leaves.powi(2)).sqrt();
    let expected = f64::from(of) / cycle;
    let spread = 4.0 * varies * (f64::from(of) / cycle.powi(3)).sqrt();
    println!("{name}: {n} bursts ({expected:.0} +- {spread:.0}), {mean:.2} long (+- {off:.2})");
    assert!((mean - 1.0 / leaves).abs() <= off, "bursts of {mean:.2}");
    assert!((n - expected).abs() <= spread, "{n} bursts");
}

const MANY: u32 = 10_000;

#[test]
fn gilbert_and_elliott_lose_datagrams_in_bursts() {
    let model = "{ gemodel: { p: 4%, r: 25% } }";
    let (got, _) = survivors(Shape::Namespaces, Family::V4, MANY, model);
    bursts_as_asked("gemodel", &got, MANY, (0.04, 0.25));
}

#[test]
fn the_four_states_lose_datagrams_in_bursts_and_alone() {
    let model = "{ state: { p13: 4%, p31: 25% } }";
    let (got, _) = survivors(Shape::Bridge, Family::V6, MANY, model);
    bursts_as_asked("state", &got, MANY, (0.04, 0.25));
    let alone = "{ state: { p13: 0.0001%, p14: 5% } }";
    let (got, ending) = survivors(Shape::Namespaces, Family::V4, MANY, alone);
    let gaps = bursts(&got, MANY);
    let lost = u64::from(MANY) - got.len() as u64;
    println!("state, alone: {lost} lost in {} bursts", gaps.len());
    assert_eq!(gaps.iter().max(), Some(&1), "who is lost alone is followed by one that is not");
    // From state 1 it leaves for state 4 with 5 %, and comes back at once.
    assert!(within(u64::from(MANY), 0.05 / 1.05, lost), "{lost}\n{ending}");
}
