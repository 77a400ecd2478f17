//! Connections as a reader tells them apart, and what it counts; over the embedded node's frames.

use super::reader::{FLOWS_MAX, LINGER};
use super::*;
use crate::packet::Endpoint;
use crate::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::time::Nanos;

const NODE: Endpoint = Endpoint { addr: 1, port: 7000 };
const PEER: Endpoint = Endpoint { addr: 2, port: 40_000 };

const NONE: [u64; 0] = [];

/// A heartbeat with this commit.
fn heartbeat(commit: u8) -> Vec<u8> {
    vec![0, 0, 0, 10, 8, 8, 16, 1, 24, 3, 32, 1, 64, commit]
}

struct Bench {
    reader: Reader,
    at: Nanos,
    whole: bool,
    told: Vec<(Heard, Option<u64>)>,
}

impl Bench {
    fn new() -> Self {
        let reader = Reader::new(Protocol::Embedded, &[NODE]);
        Self { reader, at: Nanos::ZERO, whole: true, told: Vec::new() }
    }

    /// Sends a segment, and says which commits it told.
    fn send(
        &mut self,
        src: Endpoint,
        dst: Endpoint,
        seq: u32,
        flags: u8,
        payload: &[u8],
    ) -> Vec<u64> {
        let Self { reader, at, whole, told } = self;
        let before = told.len();
        let segment = Segment { at: *at, src, dst, seq, flags, payload, whole: *whole };
        reader.take(&segment, &mut |heard, message, _| told.push((*heard, message.commit)));
        self.told[before..].iter().filter_map(|(_, commit)| *commit).collect()
    }

    fn dial(&mut self, port: u16, seq: u32) {
        let src = Endpoint { port, ..PEER };
        assert!(self.send(src, NODE, seq, SYN, &[]).is_empty());
        assert!(self.send(NODE, src, 900, SYN | ACK, &[]).is_empty());
    }

    fn say(&mut self, seq: u32, payload: &[u8]) -> Vec<u64> {
        self.send(PEER, NODE, seq, ACK, payload)
    }

    fn flow(&self) -> u64 {
        self.told.last().expect("told").0.flow
    }

    fn coverage(&self) -> Coverage {
        self.reader.coverage(self.at)
    }
}

#[test]
fn a_message_is_told_by_the_segment_that_makes_it_whole() {
    let mut bench = Bench::new();
    bench.at = Nanos(7);
    bench.dial(PEER.port, 99);
    let two = [heartbeat(1), heartbeat(2)].concat();
    assert_eq!(bench.say(100, &two[..9]), NONE);
    assert_eq!(bench.say(120, &two[20..]), NONE);
    assert_eq!(bench.say(100, &two[..9]), NONE);
    assert_eq!(bench.say(105, &two[5..25]), [1, 2]);
    assert_eq!(bench.say(100, &two), NONE);
    let (heard, _) = bench.told[0];
    let wanted = Heard { flow: 1, way: Way::Back, opened: Some(Nanos(7)), src: PEER, dst: NODE };
    assert_eq!(heard, wanted);
    let Coverage { flows, whole_flows, read, unread, messages, .. } = bench.coverage();
    assert_eq!((flows, whole_flows, read, unread), (1, 1, 28, 0));
    assert_eq!(messages[Kind::Heartbeat as usize], 2);
}

#[test]
fn a_syn_opens_another_connection_unless_it_is_repeated() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(1)), [1]);
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(1)), NONE);
    assert_eq!(bench.say(114, &heartbeat(2)), [2]);
    assert_eq!(bench.flow(), 1);
    bench.dial(PEER.port, 500);
    assert_eq!(bench.say(501, &heartbeat(3)), [3]);
    assert_eq!(bench.flow(), 2);
    // The answer may be seen before the question.
    let late = Endpoint { port: 7, ..PEER };
    bench.send(NODE, late, 900, SYN | ACK, &[]);
    bench.send(late, NODE, 10, SYN, &[]);
    assert_eq!(bench.send(late, NODE, 11, ACK, &heartbeat(4)), [4]);
    assert_eq!((bench.flow(), bench.coverage().flows), (3, 3));
}

#[test]
fn after_its_end_nothing_is_heard_but_a_syn() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(1)), [1]);
    // One that cannot be its end is not.
    bench.send(PEER, NODE, 5_000, RST, &[]);
    assert_eq!(bench.say(114, &heartbeat(2)), [2]);
    bench.send(PEER, NODE, 128, RST, &[]);
    assert_eq!(bench.say(128, &heartbeat(3)), NONE);
    assert_eq!(bench.say(100, &heartbeat(1)), NONE);
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(4)), [4]);
    bench.send(NODE, PEER, 901, RST, &[]);
    assert_eq!(bench.say(114, &heartbeat(5)), NONE);
    bench.at = LINGER + Nanos(1);
    assert_eq!(bench.say(128, &heartbeat(6)), [6]);
    assert_eq!((bench.flow(), bench.told.last().expect("told").0.opened), (3, None));
    assert_eq!(bench.coverage().there_ns, 0);
}

#[test]
fn a_fin_each_way_ends_it_once_all_bytes_are_there() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    bench.send(NODE, PEER, 901, ACK | FIN, &[]);
    bench.send(PEER, NODE, 114, ACK | FIN, &heartbeat(2));
    assert_eq!(bench.say(100, &heartbeat(1)), [1, 2]);
    bench.at = Nanos(50);
    assert_eq!(bench.coverage().there_ns, 0, "both ways are over");
    assert_eq!(bench.say(129, &heartbeat(3)), NONE);
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(4)), [4]);
}

#[test]
fn joined_in_the_middle_it_is_read_from_a_certain_point_on() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(PEER, NODE, 4, ACK, &[]), NONE);
    assert_eq!(bench.coverage().flows, 0);
    assert_eq!(bench.say(5, &heartbeat(1)[5..]), NONE);
    assert_eq!(bench.say(14, &[heartbeat(2), heartbeat(3)[..5].to_vec()].concat()), NONE);
    bench.at = Nanos(30);
    assert_eq!(bench.coverage().lost_now, 1);
    assert_eq!(bench.say(33, &heartbeat(3)[5..]), NONE);
    assert_eq!(bench.say(42, &heartbeat(4)), [4]);
    bench.at = Nanos(40);
    let Coverage { whole_flows, lost, regained, lost_now, read_ns, there_ns, unread, .. } =
        bench.coverage();
    assert_eq!((whole_flows, lost, regained, lost_now), (0, 0, 1, 0));
    assert_eq!((read_ns, there_ns, unread), (10, 40, 9 + 19 + 9));
    // The acceptor sends no frames, and is not the one who dialled.
    assert_eq!(bench.send(NODE, PEER, 7, ACK, &heartbeat(9)), NONE);
    assert_eq!(bench.coverage().lost_now, 1);
}

#[test]
fn what_a_copy_lacks_is_lost_and_what_follows_is_taken_up_again() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(1)), [1]);
    bench.whole = false;
    let two = [heartbeat(2), heartbeat(3)].concat();
    assert_eq!(bench.say(114, &two[..20]), [2]);
    bench.whole = true;
    assert_eq!(bench.say(142, &heartbeat(4)), [4]);
    let Coverage { lost, regained, read, unread, last_lost, .. } = bench.coverage();
    assert_eq!((lost, regained, read, unread), (1, 1, 42, 14));
    assert_eq!(last_lost, Some("bytes are missing"));
}

#[test]
fn what_is_missing_in_bytes_that_are_passed_over_is_not_missed() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    let mut huge = vec![0, 32, 0, 0, 8, 3, 16, 1, 24, 3, 32, 9, 64, 0];
    huge.extend([0x3a, 0x80, 0x80, 0x7f, 0x22, 0xfa, 0xff, 0x7e]);
    let length = 4 + (32 << 16);
    huge.resize(60_000, b'x');
    bench.whole = false;
    assert_eq!(bench.say(100, &huge), NONE);
    assert_eq!(bench.told.len(), 1, "its front is told");
    bench.whole = true;
    assert_eq!(bench.say(100 + length - 40_000, &huge[20_000..]), NONE);
    assert_eq!(bench.say(100 + length, &heartbeat(5)), [5]);
    let Coverage { lost, skipped, unread, .. } = bench.coverage();
    assert_eq!((lost, skipped, unread), (0, u64::from(length), 0));
}

#[test]
fn the_longest_silent_connection_gives_way() {
    let mut bench = Bench::new();
    let first = 10_000;
    for port in first..first + FLOWS_MAX as u16 {
        bench.at = bench.at + Nanos(1);
        bench.dial(port, 99);
    }
    // The first speaks, so that the second is the longest silent.
    let from = |port| Endpoint { port, ..PEER };
    bench.at = bench.at + Nanos(1);
    assert_eq!(bench.send(from(first), NODE, 100, ACK, &heartbeat(1)), [1]);
    bench.dial(9, 99);
    assert_eq!(bench.send(from(first), NODE, 114, ACK, &heartbeat(2)), [2]);
    assert_eq!(bench.flow(), 1);
    assert_eq!(bench.send(from(first + 2), NODE, 100, ACK, &heartbeat(3)), [3]);
    assert_eq!(bench.flow(), 3);
    assert_eq!(bench.send(from(first + 1), NODE, 100, ACK, &heartbeat(4)), [4]);
    assert_eq!(bench.flow(), FLOWS_MAX as u64 + 2, "it is not known any more, and is a new one");
}

#[test]
fn after_raftq_stood_aside_nothing_waits_behind_the_gap() {
    let mut bench = Bench::new();
    bench.dial(PEER.port, 99);
    assert_eq!(bench.say(100, &heartbeat(1)), [1]);
    let flow = bench.flow();
    bench.at = Nanos::from_secs(10);
    bench.reader.stood_aside(bench.at);
    // Whatever came between, a whole frame is a point to begin at.
    assert_eq!(bench.say(5_000, &heartbeat(2)), [2]);
    let (heard, _) = bench.told[1];
    assert_ne!(heard.flow, flow);
    assert_eq!(heard.opened, None, "its SYN may have passed unseen");
    let coverage = bench.coverage();
    assert_eq!((coverage.flows, coverage.lost_now), (2, 0));
    assert_eq!(coverage.last_lost, Some("raftq stood aside"));
    assert_eq!((coverage.read_ns, coverage.there_ns), (0, 20_000_000_000), "both ways, unread");
}
