//! Loss, copies and damage on one loopback, where each sender has to be asked for first: what waits
//! for that is treated like what comes behind it. Needs root; run it by `make test`.
//!
//! n1 is a probe, n2 this process.

mod live_lab;
mod measure_lab;

use live_lab::{Ending, Family, LIMIT, Net, Raftq, Shape};
use measure_lab::{Got, Sink, await_matched, await_nothing_held, count};
use raftq_harness::probe::wire::{Frame, Kind};
use std::io::Read as _;
use std::net::TcpListener;

const N: u32 = 1_000;

/// Bytes of each message, more than a first queue's copies have.
const SIZE: usize = 600;

/// Every way to share a loopback, and every family there.
fn everywhere(test: impl Fn(&Net, Family)) {
    for shape in [Shape::Ports, Shape::Addresses] {
        for &family in Net::new(shape, 2).families() {
            test(&Net::new(shape, 2), family);
        }
    }
}

fn one_rule(what: &str) -> String {
    format!("seed: 2\nrules:\n  - {{ name: it, from: n1, to: n2, {what} }}\n")
}

/// What a probe sends.
fn sent(size: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..N).map(move |n| Frame::sized(Kind::Message, n, size as u16).encode())
}

/// A stream from n1 to n2, as it was read: which bits are not as they were sent.
fn stream(net: &Net, family: Family, what: &str) -> (Vec<u8>, Ending) {
    let at = net.peer(1, family);
    let listener = net.node(1).inside(|| TcpListener::bind(at)).expect("inside");
    let listener = listener.expect("the port is free");
    let raftq = Raftq::attach(net, &one_rule(what), &["--json"]);
    let args = format!("--count {N} --every 1ms --size {SIZE} --linger 20s");
    let sender = net.talk("send", ("tcp", family), (0, 1), &args);
    let (mut connection, _) = listener.accept().expect("dialled");
    let mut bytes = vec![0; N as usize * SIZE];
    connection.read_exact(&mut bytes).expect("all of it comes");
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    drop(sender);
    ending.must_be_clean(0);
    assert!(ending.total("asked") > 0, "{ending}");
    let changed = bytes.iter().zip(sent(SIZE).flatten()).map(|(got, sent)| got ^ sent);
    (changed.filter(|change| *change != 0).collect(), ending)
}

#[test]
fn what_a_stream_loses_is_sent_again() {
    everywhere(|net, family| {
        let (changes, ending) = stream(net, family, "where: { payload: '>0' }, do: { loss: 3% }");
        let (lost, again) = (ending.of_rule("it", "acted"), count(net, 0, "TcpRetransSegs"));
        println!("{:?} {family:?}: {lost} lost, {again} sent again", net.shape);
        assert!(changes.is_empty(), "what is lost comes again as it was");
        assert!(lost >= 5 && again >= lost, "{lost} lost, {again} sent again\n{ending}");
    });
}

#[test]
fn what_arrives_twice_of_a_stream_is_told() {
    everywhere(|net, family| {
        let (changes, ending) =
            stream(net, family, "where: { payload: '>0' }, do: { duplicate: 5% }");
        let acted = ending.of_rule("it", "acted");
        let told = count(net, 0, "TcpExtTCPDSACKOldSent") + count(net, 0, "TcpExtTCPDSACKOfoSent");
        let heard = count(net, 0, "TcpExtTCPDSACKRecv") + count(net, 0, "TcpExtTCPDSACKOfoRecv");
        println!("{:?} {family:?}: {acted} twice, {told} DSACKs, {heard} heard", net.shape);
        assert!(changes.is_empty(), "it is read as it was sent");
        assert!(acted >= 20 && ending.total("injected") == acted, "{ending}");
        assert!(told > 0 && heard > 0, "{told} told, {heard} heard\n{ending}");
        assert_eq!(count(net, 0, "TcpInCsumErrors"), 0);
    });
}

#[test]
fn a_damaged_stream_is_mended_or_read() {
    everywhere(|net, family| {
        let what = "where: { payload: '>0' }, do: { corrupt: 3% }";
        let (changes, ending) = stream(net, family, what);
        let (acted, again) = (ending.of_rule("it", "acted"), count(net, 0, "TcpRetransSegs"));
        println!("{:?} {family:?}: {acted} damaged, {again} sent again", net.shape);
        assert!(changes.is_empty(), "it is read as it was sent");
        assert!(acted >= 5 && again >= acted, "{ending}");
        assert_eq!(count(net, 0, "TcpInCsumErrors"), acted, "{ending}");
    });
    everywhere(|net, family| {
        let what = "where: { payload: '>0' }, do: { corrupt: { chance: 3%, checksum: right } }";
        let (changes, ending) = stream(net, family, what);
        let acted = ending.of_rule("it", "acted");
        println!("{:?} {family:?}: {acted} damaged, {} bits changed", net.shape, changes.len());
        assert!(acted >= 5 && changes.iter().all(|change| change.is_power_of_two()), "{changes:?}");
        // What was sent again without need is read once, and may have been damaged twice.
        let again = count(net, 0, "TcpRetransSegs");
        assert!(changes.len() as u64 <= acted && changes.len() as u64 + again >= acted, "{ending}");
        assert_eq!(count(net, 0, "TcpInCsumErrors"), 0, "{ending}");
    });
}

/// What arrived of datagrams from n1 to n2.
fn datagrams(net: &Net, family: Family, (what, size): (&str, usize)) -> (Vec<Got>, Ending) {
    let sink = Sink::open(net, 1, family);
    let raftq = Raftq::attach(net, &one_rule(what), &["--json"]);
    let args = format!("--count {N} --every 1ms --size {size} --linger 0s");
    let sender = net.talk("send", ("udp", family), (0, 1), &args);
    sender.finish(LIMIT).expect("it sends");
    await_matched(&raftq, "it", N);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("it", "matched"), u64::from(N), "{ending}");
    assert!(ending.total("asked") > 0, "{ending}");
    (sink.end(), ending)
}

#[test]
fn every_datagram_arrives_twice_from_the_first_on() {
    for size in [64, SIZE] {
        everywhere(|net, family| {
            let twice = 2 * N as usize;
            let (got, ending) = datagrams(net, family, ("do: { duplicate: 100% }", size));
            assert_eq!(ending.of_rule("it", "acted"), u64::from(N), "{ending}");
            assert_eq!(ending.total("injected"), u64::from(N), "{ending}");
            assert_eq!(got.len(), twice, "{ending}");
            let mut all: Vec<_> = got.into_iter().map(|got| got.bytes).collect();
            all.sort();
            let expected: Vec<_> = sent(size).flat_map(|bytes| [bytes.clone(), bytes]).collect();
            assert!(all == expected, "two of each, as they were sent");
        });
    }
}

#[test]
fn every_datagram_is_damaged_from_the_first_on() {
    for size in [64, SIZE] {
        everywhere(|net, family| {
            let what = "do: { corrupt: { bytes: 20..24, checksum: right } }";
            let (got, ending) = datagrams(net, family, (what, size));
            assert_eq!(ending.of_rule("it", "acted"), u64::from(N), "{ending}");
            assert_eq!(got.len(), N as usize);
            for (got, sent) in got.iter().zip(sent(size)) {
                let differs = |at: &usize| got.bytes[*at] != sent[*at];
                let at: Vec<usize> = (0..size).filter(differs).collect();
                assert_eq!(at, [20, 21, 22, 23], "{:?}", &got.bytes[..8]);
            }
        });
        everywhere(|net, family| {
            let (got, ending) = datagrams(net, family, ("do: { corrupt: 100% }", size));
            assert_eq!(ending.of_rule("it", "acted"), u64::from(N), "{ending}");
            let discarded = count(net, 0, "UdpInCsumErrors") + count(net, 0, "Udp6InCsumErrors");
            assert_eq!(discarded, u64::from(N), "{ending}");
            assert_eq!(got.len(), 0, "all have a wrong checksum");
        });
    }
}

#[test]
fn a_share_of_datagrams_is_lost_and_counted() {
    everywhere(|net, family| {
        let (got, ending) = datagrams(net, family, ("do: { loss: 10% }", 64));
        let lost = ending.of_rule("it", "acted");
        println!("{:?} {family:?}: {lost} of {N} lost", net.shape);
        assert_eq!(got.len() as u64 + lost, u64::from(N), "{ending}");
        assert!((62..=138).contains(&lost), "four deviations of 100 are 38");
    });
}
