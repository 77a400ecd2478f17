//! Other segments that carry the same bytes: cut elsewhere, repeated, overlapping, out of order.

use super::{Captured, read_one_by_one};
use crate::wire_support::Capture;
use raftq::packet::Endpoint;
use raftq::packet::tcp_flags::{FIN, RST, SYN};
use std::collections::HashMap;

/// Pieces that are mixed up with each other at most.
const BLOCK: usize = 24;
/// Bytes of one piece at most, before it overlaps with others.
const PIECE: u64 = 90;

/// Numbers that look random; the same seed gives the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }
}

/// Bytes of one direction that were not sent on yet.
struct Run {
    /// The first of its segments.
    like: Captured,
    bytes: Vec<u8>,
}

type Ends = (Endpoint, Endpoint);

/// Sends the same bytes otherwise. What one side says before the other answers stays before it,
/// and a direction that was joined in the middle is left as it is up to where it was taken up.
pub(crate) fn recut(capture: &Capture, dice: &mut Dice) -> Vec<Captured> {
    let fixed = fixed(capture);
    let mut runs: HashMap<Ends, Run> = HashMap::new();
    // How far each direction was sent on.
    let mut sent: HashMap<Ends, u32> = HashMap::new();
    let mut out = Vec::new();
    for (i, segment) in capture.segments.iter().enumerate() {
        let ends = (segment.src, segment.dst);
        let back = (segment.dst, segment.src);
        let is_control = segment.flags & (SYN | FIN | RST) != 0;
        if is_control || !segment.payload.is_empty() {
            out.extend(runs.remove(&back).into_iter().flat_map(|run| mixed(&run, dice)));
        }
        if is_control || i <= fixed.get(&ends).copied().unwrap_or_default() {
            out.extend(runs.remove(&ends).into_iter().flat_map(|run| mixed(&run, dice)));
            out.push(segment.clone());
            let next = segment.seq.wrapping_add(segment.payload.len() as u32);
            sent.insert(ends, next.wrapping_add(u32::from(segment.flags & SYN != 0)));
            continue;
        }
        let Some(next) = sent.get_mut(&ends) else {
            out.push(segment.clone());
            continue;
        };
        // The capture itself has repetitions.
        let again = next.wrapping_sub(segment.seq) as usize;
        let Some(new) = segment.payload.get(again..).filter(|new| !new.is_empty()) else {
            continue;
        };
        let run = runs.entry(ends).or_insert_with(|| Run {
            like: Captured { seq: *next, ..segment.clone() },
            bytes: Vec::new(),
        });
        run.bytes.extend(new);
        *next = next.wrapping_add(new.len() as u32);
    }
    let mut left: Vec<_> = runs.into_iter().collect();
    left.sort_by_key(|(ends, _)| *ends);
    out.extend(left.iter().flat_map(|(_, run)| mixed(run, dice)));
    out
}

/// Up to which segment each direction stays as it is: where it was first read, or for good.
fn fixed(capture: &Capture) -> HashMap<Ends, usize> {
    let mut fixed = HashMap::new();
    let mut known = HashMap::new();
    read_one_by_one(capture, |i, segment, told| {
        let ends = (segment.src, segment.dst);
        if segment.flags & SYN != 0 {
            known.insert(ends, true);
        }
        let reads = known.entry(ends).or_insert(false);
        if !*reads {
            fixed.insert(ends, i);
            *reads = told > 0;
        }
    });
    fixed
}

fn mixed(run: &Run, dice: &mut Dice) -> Vec<Captured> {
    let piece = |start: usize, end: usize| Captured {
        seq: run.like.seq.wrapping_add(start as u32),
        payload: run.bytes[start..end].to_vec(),
        ..run.like.clone()
    };
    let mut cuts = vec![0];
    while *cuts.last().expect("one") < run.bytes.len() {
        let next = cuts.last().expect("one") + 1 + dice.roll(PIECE) as usize;
        cuts.push(next.min(run.bytes.len()));
    }
    let mut out = Vec::new();
    for block in cuts.windows(2).collect::<Vec<_>>().chunks(BLOCK) {
        let last = block[block.len() - 1][1];
        let first = out.len();
        for cut in block {
            let (start, end) = (cut[0], cut[1]);
            let overlap =
                |dice: &mut Dice| if dice.roll(3) == 0 { dice.roll(60) as usize } else { 0 };
            let start = start.saturating_sub(overlap(dice));
            out.push(piece(start, (end + overlap(dice)).min(last)));
            if dice.roll(4) == 0 {
                out.push(piece(start, end));
            }
        }
        for i in (first + 1..out.len()).rev() {
            out.swap(i, first + dice.roll((i - first + 1) as u64) as usize);
        }
    }
    out
}
