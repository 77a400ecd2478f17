//! A stream compared with a naive twin: an array of bytes of which the first copy counts.

use super::stream::{Arrival, HELD_MAX, PATIENCE, PIECES_MAX, Piece, Stream};
use crate::packet::tcp_flags::{ACK, FIN, SYN};
use crate::time::Nanos;
use proptest::collection::vec;
use proptest::prelude::*;

/// What was handed on, with gaps in their places.
#[derive(Clone, Debug, Default, PartialEq)]
struct Out {
    bytes: Vec<Option<u8>>,
}

impl Out {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Bytes { bytes, .. } => {
                assert!(!bytes.is_empty());
                self.bytes.extend(bytes.iter().map(|&b| Some(b)));
            }
            Piece::Gap(missing) => {
                assert!(missing > 0);
                self.bytes.extend((0..missing).map(|_| None));
            }
        }
    }
}

/// Every byte in a cell of its own.
#[derive(Default)]
struct Twin {
    cells: Vec<Option<u8>>,
    cuts: Vec<usize>,
    out: Out,
}

impl Twin {
    fn take(&mut self, start: usize, bytes: &[u8], whole: bool) {
        let end = start + bytes.len();
        self.cells.resize(self.cells.len().max(end), None);
        for (cell, &byte) in self.cells[start..end].iter_mut().zip(bytes) {
            // What was given up does not come back.
            cell.get_or_insert(byte);
        }
        if !whole {
            self.cuts.push(end);
        }
        loop {
            let next = self.out.bytes.len();
            match self.cells.get(next) {
                Some(Some(byte)) => self.out.bytes.push(Some(*byte)),
                Some(None) if self.cuts.contains(&next) => {
                    let behind = self.cells[next..].iter().position(Option::is_some);
                    let Some(missing) = behind else { return };
                    self.out.bytes.extend((0..missing).map(|_| None));
                }
                _ => return,
            }
        }
    }
}

fn arrival(seq: u32, flags: u8, payload: &[u8]) -> Arrival<'_> {
    Arrival { at: Nanos::ZERO, seq, flags, payload, whole: true }
}

fn take(stream: &mut Stream, arrival: &Arrival<'_>) -> Vec<(Vec<u8>, u64)> {
    let mut got = Vec::new();
    stream.take(arrival, &mut |piece| match piece {
        Piece::Bytes { bytes, .. } => got.push((bytes.to_vec(), 0)),
        Piece::Gap(missing) => got.push((Vec::new(), missing)),
    });
    got
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Segments of few bytes at any of so few places that no limit is hit, bytes that differ
    /// between copies, some cut short.
    #[test]
    fn whatever_comes_the_naive_twin_hands_on_the_same(
        isn: u32,
        segments in vec((0..40_usize, 1..20_usize, any::<u8>(), 0..8_u8), 1..60),
    ) {
        let mut stream = Stream::default();
        stream.take(&arrival(isn, SYN, &[]), &mut |_| unreachable!("a SYN has no bytes"));
        let (mut twin, mut out) = (Twin::default(), Out::default());
        for (start, len, byte, cut) in segments {
            let bytes: Vec<u8> = (0..len).map(|i| byte.wrapping_add(i as u8)).collect();
            let shown = if cut == 0 { &bytes[..len.div_ceil(2)] } else { &bytes[..] };
            let seq = isn.wrapping_add(1).wrapping_add(start as u32);
            let whole = cut != 0;
            let new = Arrival { whole, ..arrival(seq, ACK, shown) };
            stream.take(&new, &mut |piece| out.take(piece));
            twin.take(start, shown, whole);
            prop_assert_eq!(&out, &twin.out);
        }
    }

    /// A stream in segments of any size, shuffled within limits and repeated.
    #[test]
    fn a_stream_arrives_whole_in_whatever_order(
        isn: u32,
        cuts in vec(1..3_000_usize, 1..40),
        order in vec((any::<u16>(), any::<bool>()), 40),
    ) {
        let bytes: Vec<u8> = (0..cuts.iter().sum()).map(|i: usize| (i * 31 / 7) as u8).collect();
        let mut segments = Vec::new();
        let mut start = 0;
        for (cut, (place, again)) in cuts.iter().zip(&order) {
            segments.push((*place, start, start + cut));
            if *again {
                segments.push((place.wrapping_mul(7), start, (start + cut + 50).min(bytes.len())));
            }
            start += cut;
        }
        segments.sort_unstable();
        let (mut stream, mut out) = (Stream::default(), Out::default());
        stream.take(&arrival(isn, SYN, &[]), &mut |_| ());
        for (_, start, end) in segments {
            let seq = isn.wrapping_add(1).wrapping_add(start as u32);
            let new = arrival(seq, ACK, &bytes[start..end]);
            stream.take(&new, &mut |piece| out.take(piece));
        }
        prop_assert_eq!(out.bytes, bytes.iter().map(|&b| Some(b)).collect::<Vec<_>>());
        prop_assert!(stream.memory() <= 4 * HELD_MAX);
    }
}

#[test]
fn in_order_and_nothing_kept_the_very_slice_is_handed_on() {
    let mut stream = Stream::default();
    let payload = [7; 100];
    let mut seen = 0;
    for i in 0..3 {
        let new = arrival((u32::MAX - 150).wrapping_add(i * 100), ACK, &payload);
        stream.take(&new, &mut |piece| match piece {
            Piece::Bytes { bytes, starts: true } => {
                assert_eq!(bytes.as_ptr_range(), payload.as_ptr_range());
                seen += 1;
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!((seen, stream.memory()), (3, 0));
}

#[test]
fn what_overlaps_does_not_start_with_a_segment() {
    let mut stream = Stream::default();
    take(&mut stream, &arrival(10, ACK, b"abc"));
    let mut starts = Vec::new();
    let mut note = |piece: Piece<'_>| {
        let Piece::Bytes { starts: s, .. } = piece else { panic!("{piece:?}") };
        starts.push(s);
    };
    stream.take(&arrival(12, ACK, b"cd"), &mut note);
    stream.take(&arrival(16, ACK, b"gh"), &mut note);
    stream.take(&arrival(14, ACK, b"efGHi"), &mut note);
    assert_eq!(starts, [false, true, true, false]);
}

#[test]
fn a_hole_is_given_up_after_so_many_pieces_bytes_or_so_much_time() {
    let piece = |at: u64, seq: u32, payload| Arrival {
        at: Nanos::from_millis(at),
        ..arrival(seq, ACK, payload)
    };
    let mut stream = Stream::default();
    take(&mut stream, &arrival(0, ACK, b"x"));
    for i in 0..PIECES_MAX as u32 {
        assert_eq!(take(&mut stream, &arrival(10 + i * 10, ACK, b"y")), []);
    }
    let got = take(&mut stream, &arrival(10 + PIECES_MAX as u32 * 10, ACK, b"y"));
    assert_eq!(got, [(vec![], 9), (b"y".to_vec(), 0)]);

    let mut stream = Stream::default();
    let large = vec![0; 65_000];
    take(&mut stream, &arrival(0, ACK, b"x"));
    let got: Vec<_> =
        (0..5).map(|i| take(&mut stream, &arrival(2 + i * 65_000, ACK, &large)).len()).collect();
    assert_eq!(got, [0, 0, 0, 0, 6]);
    assert!(stream.memory() <= 3 * HELD_MAX, "{}", stream.memory());

    let mut stream = Stream::default();
    take(&mut stream, &piece(0, 0, b"x"));
    assert_eq!(take(&mut stream, &piece(5, 2, b"y")), []);
    let late = PATIENCE.0 / 1_000_000 + 5;
    assert_eq!(take(&mut stream, &piece(late, 3, b"z")), []);
    let got = take(&mut stream, &piece(late + 1, 5, b"!"));
    assert_eq!(got, [(vec![], 1), (b"y".to_vec(), 0), (b"z".to_vec(), 0)]);
    // What fills the hole too late is not handed on any more.
    assert_eq!(take(&mut stream, &piece(late + 2, 1, b"w")), []);
    assert_eq!(take(&mut stream, &piece(late + 2, 4, b"4")).len(), 2);
}

#[test]
fn far_away_it_goes_on_there() {
    let mut stream = Stream::default();
    take(&mut stream, &arrival(100, ACK, b"x"));
    let got = take(&mut stream, &arrival(0xc000_0000, ACK, b"y"));
    assert_eq!(got, [(vec![], 0xc000_0000 - 101), (b"y".to_vec(), 0)]);
    assert_eq!(take(&mut stream, &arrival(0xc000_0001, ACK, b"z")), [(b"z".to_vec(), 0)]);
}

#[test]
fn it_is_done_when_all_bytes_before_its_fin_are_there() {
    let mut stream = Stream::default();
    take(&mut stream, &arrival(9, SYN, &[]));
    assert!(stream.is_untouched() && stream.syn() == Some(9));
    take(&mut stream, &arrival(12, ACK | FIN, b"cd"));
    assert!(!stream.is_done() && !stream.is_untouched());
    assert!(stream.could_end_at(10) && stream.could_end_at(15) && !stream.could_end_at(16));
    take(&mut stream, &arrival(10, ACK, b"ab"));
    assert!(stream.is_done() && !stream.could_end_at(10));
}
