//! Whatever the bytes, decoders keep their promises, and a reader its bounds.
//!
//! Memory is counted by the allocator, so that a size which data names, and nothing backs, would
//! be seen. Time is bounded by counting: each step of a decoder gets on, or says what it lacks.

mod wire_support;

use proptest::collection::vec;
use proptest::prelude::*;
use raftq::packet::Endpoint;
use raftq::time::Nanos;
use raftq::wire::decoder::KEPT_MAX;
use raftq::wire::{Connection, Decoder, Known, Protocol, Reader, Step, Way};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;
use wire_support::recut::Dice;
use wire_support::{Capture, Captured, capture, names};

struct Counting;

thread_local! {
    /// Bytes that this thread has, and the most that it had.
    static BYTES: Cell<[isize; 2]> = const { Cell::new([0; 2]) };
}

fn count(change: isize) {
    let _ = BYTES.try_with(|bytes| {
        let [now, most] = bytes.get();
        bytes.set([now + change, most.max(now + change)]);
    });
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes that this thread had at a time while `work` ran, beyond those it had before.
fn most(work: impl FnOnce()) -> isize {
    let before = BYTES.with(|bytes| {
        let [now, _] = bytes.get();
        bytes.set([now, now]);
        now
    });
    work();
    BYTES.with(|bytes| bytes.get()[1] - before)
}

/// What each direction of the captures says, all in one.
fn seeds() -> &'static [(Protocol, Vec<u8>)] {
    static SEEDS: OnceLock<Vec<(Protocol, Vec<u8>)>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let mut seeds = Vec::new();
        for name in names() {
            let Capture { protocol, segments, .. } = capture(&name);
            let mut ends: Vec<_> = segments.iter().map(|s| (s.src, s.dst)).collect();
            ends.sort_unstable();
            ends.dedup();
            for ends in ends {
                let own = segments.iter().filter(|s| (s.src, s.dst) == ends);
                let bytes: Vec<u8> = own.flat_map(|s| s.payload.clone()).collect();
                if !bytes.is_empty() {
                    seeds.push((protocol, bytes));
                }
            }
        }
        seeds
    })
}

/// Pieces that are more likely than single bytes to hit something.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
    b"GET /raft/stream/msgapp/1 HTTP/1.1\r\n\r\n",
    b"GET /raft/stream/message/1 HTTP/1.1\r\n\r\n",
    b"POST /raft HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n",
    b"POST /raft/snapshot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"raftq-node/1 c 1 a\n",
    b"raftq-join/1 c n 1\n",
    &[0xff; 9],
    &[0; 8],
    &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    &[2, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff],
    &[0x3f, 0xff, 0xff, 0xff, 8, 3, 16, 1, 24, 2],
    &[0, 0, 0, 10, 8, 8, 16, 1, 24, 3, 32, 1, 64, 5],
];

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice, changes: u64) {
    for _ in 0..changes {
        let at = dice.roll(bytes.len() as u64 + 1) as usize;
        let end = (at + dice.roll(40) as usize).min(bytes.len());
        match dice.roll(5) {
            0 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
            1 => {
                let piece = PIECES[dice.roll(PIECES.len() as u64) as usize];
                bytes.splice(at..at, piece.iter().copied());
            }
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
        }
    }
}

/// Feeds a decoder as a reader would, and checks each of its steps.
fn feed(decoder: &mut dyn Decoder, way: Way, bytes: &[u8], at_once: usize) {
    let known = &mut Known::default();
    let (mut start, mut end) = (0, 0);
    let mut lost = false;
    while end < bytes.len() {
        let fresh = end;
        end = (end + at_once).min(bytes.len());
        if lost {
            start = fresh;
            let Some(before) = decoder.regain(way, &bytes[start..end]) else { continue };
            assert!(before <= end - start, "passes over what is not there");
            start += before;
            lost = false;
        }
        let mut need = 1;
        while start < end && end - start >= need && !lost {
            let shown = &bytes[start..end];
            let step = decoder.step(way, shown, known, &mut |message, entries| {
                assert!(entries.len() <= message.entries as usize);
            });
            match step {
                Step::Took(len) => {
                    assert!((1..=shown.len()).contains(&len), "took {len} of {}", shown.len());
                    start += len;
                }
                Step::Skip(len) => {
                    assert!(len > 0);
                    start = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
                }
                Step::Need(len) => {
                    assert!(len > shown.len() && len <= KEPT_MAX, "{len} of {}", shown.len());
                    need = len;
                }
                Step::Lost(why) => {
                    assert!(!why.is_empty());
                    decoder.lose(way);
                    lost = true;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoders_keep_their_promises(
        which: prop::sample::Index,
        seed: u64,
        changes in 0..12_u64,
        at_once in prop_oneof![1..20_usize, 1..3_000_usize],
        dialler in prop_oneof![Just(None), Just(Some(Way::There)), Just(Some(Way::Back))],
        noise in vec(any::<u8>(), 0..200),
    ) {
        let seeds = seeds();
        let dice = &mut Dice(seed);
        let end = Endpoint { addr: 1, port: 1 };
        for protocol in Protocol::ALL {
            let connection = Connection { ends: [end, end], dialler, whole: seed % 2 == 0 };
            let own: Vec<_> = seeds.iter().filter(|(own, _)| *own == protocol).collect();
            let mut bytes = own[which.index(own.len())].1.clone();
            bytes.truncate(6_000);
            mutate(&mut bytes, dice, changes);
            let others = own[dice.roll(own.len() as u64) as usize].1.clone();
            let most = most(|| {
                let mut decoder = protocol.decoder(&connection);
                for (way, bytes) in [
                    (Way::There, &bytes[..]),
                    (Way::Back, &others[..others.len().min(3_000)]),
                    (Way::Back, &bytes[..]),
                    (Way::There, &noise[..]),
                ] {
                    feed(&mut *decoder, way, bytes, at_once);
                }
            });
            // What is known across connections is as large whatever comes, and dropped with it.
            let bound = 2_000_000 + 8 * (bytes.len() + 3_000).cast_signed();
            prop_assert!(most < bound, "{most} bytes for {} of them", bytes.len());
        }
    }

    #[test]
    fn a_reader_keeps_its_bounds(
        which: prop::sample::Index,
        seed: u64,
        changes in 1..200_u64,
        only in 1..1_500_usize,
    ) {
        let names = names();
        let name = &names[which.index(names.len())];
        let Capture { protocol, peers, mut segments, .. } = capture(name);
        let dice = &mut Dice(seed);
        segments.truncate(only);
        spoil(&mut segments, dice, changes);
        let all: usize = segments.iter().map(|segment| segment.payload.len()).sum();
        let mut coverage = None;
        let most = most(|| {
            let mut reader = Reader::new(protocol, &peers);
            for segment in &segments {
                reader.take(&segment.segment(), &mut |heard, message, entries| {
                    assert_eq!((heard.src, heard.dst), (segment.src, segment.dst));
                    assert!(entries.len() <= message.entries as usize);
                });
            }
            coverage = Some(reader.coverage(Nanos::from_secs(3_600)));
        });
        let coverage = coverage.expect("read");
        // Each byte is taken once, and a message has at least one.
        prop_assert!(coverage.read <= all as u64);
        prop_assert!(coverage.all_messages() <= coverage.read + coverage.skipped);
        prop_assert!(coverage.read_ns <= coverage.there_ns && coverage.share() <= 1.0);
        prop_assert!(coverage.lost_now <= 2 * coverage.flows);
        let bound = 4_000_000 + 8 * all.cast_signed();
        prop_assert!(most < bound, "{most} bytes for {all} of them");
    }
}

/// What a network, or a stranger, may do to segments.
fn spoil(segments: &mut Vec<Captured>, dice: &mut Dice, changes: u64) {
    for _ in 0..changes {
        let i = dice.roll(segments.len() as u64) as usize;
        let j = dice.roll(segments.len() as u64) as usize;
        match dice.roll(9) {
            0 if segments.len() > 1 => drop(segments.remove(i)),
            1 => segments.swap(i, j),
            2 => segments.insert(i, segments[j].clone()),
            3 => {
                let len = segments[i].payload.len() as u64;
                segments[i].payload.truncate(dice.roll(len + 1) as usize);
                segments[i].whole = false;
            }
            4 => segments[i].seq = dice.roll(1 << 32) as u32,
            5 => segments[i].seq = segments[i].seq.wrapping_add(dice.roll(2_000) as u32),
            6 => segments[i].flags ^= 1 << dice.roll(5),
            7 => segments[i].at = Nanos(dice.roll(1 << 40)),
            _ => mutate(&mut segments[i].payload, dice, 1),
        }
    }
}

/// Connections that all keep as much as they may, more than there may be.
#[test]
fn a_reader_that_is_flooded_keeps_so_much_and_no_more() {
    let peer = Endpoint { addr: 9, port: 7000 };
    let large = vec![0; 60_000];
    // A frame of almost 1 MiB, of which the end never comes, and bytes behind a hole.
    let mut head = vec![0, 15, 0xff, 0xf0, 8, 3, 16, 1, 24, 2];
    head.resize(1_000, 0);
    let (mut flows, mut lost) = (0, 0);
    let most = most(|| {
        let mut reader = Reader::new(Protocol::Embedded, &[peer]);
        for port in 1..=3_000 {
            let src = Endpoint { addr: 1, port };
            let mut take = |seq, flags, payload: &[u8]| {
                let at = Nanos(u64::from(port));
                let (dst, payload) = (peer, payload.to_vec());
                let new = Captured { at, src, dst, seq, flags, payload, whole: true };
                reader.take(&new.segment(), &mut |_, _, _| panic!("nothing is whole"));
            };
            take(0, 2, &[]);
            take(1, 16, &head);
            (0..3).for_each(|i| take(1_001 + i * 60_000, 16, &large));
            (4..8).for_each(|i| take(1_001 + i * 60_000, 16, &large));
        }
        let coverage = reader.coverage(Nanos::from_secs(1));
        (flows, lost) = (coverage.flows, coverage.lost);
    });
    assert_eq!(flows, 3_000);
    assert!(lost > 1_000, "{lost} gave way");
    assert!(most < 90 << 20, "{most} bytes");
}
