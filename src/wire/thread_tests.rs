//! A thread with a decoder that does as it is told: what it sees, and when it hears of a loss.

use super::decoder::{Decoder, KEPT_MAX, Known, Step, Tell, Way};
use super::stream::Piece;
use super::thread::{Reading, Thread};
use super::*;
use crate::time::Nanos;
use std::collections::VecDeque;

/// Answers what it was given; then takes everything.
#[derive(Debug, Default)]
struct Puppet {
    steps: VecDeque<Step>,
    regains: VecDeque<Option<usize>>,
    seen: Vec<String>,
}

impl Decoder for Puppet {
    fn step(&mut self, _: Way, bytes: &[u8], _: &mut Known, _: Tell<'_>) -> Step {
        self.seen.push(String::from_utf8_lossy(bytes).into_owned());
        self.steps.pop_front().unwrap_or(Step::Took(bytes.len()))
    }

    fn lose(&mut self, _: Way) {
        self.seen.push("lose".to_owned());
    }

    fn regain(&mut self, _: Way, bytes: &[u8]) -> Option<usize> {
        self.seen.push(format!("regain {}", String::from_utf8_lossy(bytes)));
        self.regains.pop_front().flatten()
    }
}

/// What the decoder saw, and what was counted.
fn run(
    first: bool,
    steps: &[Step],
    regains: &[Option<usize>],
    pieces: &[Piece<'_>],
) -> (Vec<String>, Coverage) {
    let mut puppet = Puppet { seen: Vec::new(), ..Puppet::default() };
    puppet.steps.extend(steps);
    puppet.regains.extend(regains);
    let mut coverage = Coverage::default();
    let mut thread = Thread::default();
    let mut reading = Reading {
        at: Nanos::ZERO,
        way: Way::There,
        decoder: &mut puppet,
        known: &mut Known::default(),
        coverage: &mut coverage,
        tell: &mut |_, _| (),
    };
    thread.begin(first, &mut reading);
    for piece in pieces {
        thread.take(*piece, &mut reading);
    }
    thread.count_lost(&mut coverage);
    (puppet.seen, coverage)
}

const fn bytes(text: &str) -> Piece<'_> {
    Piece::Bytes { bytes: text.as_bytes(), starts: true }
}

#[test]
fn what_is_not_enough_is_kept_and_shown_again_with_more() {
    let steps = [Step::Took(2), Step::Need(4), Step::Took(4)];
    let pieces = [bytes("aabb"), bytes("b"), bytes("bcc")];
    let (seen, coverage) = run(true, &steps, &[], &pieces);
    // As much as is kept is added at a time, even where less is missing.
    assert_eq!(seen, ["aabb", "bb", "bbbbcc", "cc"]);
    assert_eq!((coverage.read, coverage.unread, coverage.lost), (8, 0, 0));
}

#[test]
fn a_gap_loses_the_thread_once_and_segments_begin_again() {
    let rest = Piece::Bytes { bytes: b"cc", starts: false };
    let pieces =
        [bytes("aa"), Piece::Gap(3), Piece::Gap(1), rest, bytes("dd"), bytes("xee"), bytes("ff")];
    let (seen, coverage) = run(true, &[Step::Need(9)], &[None, Some(1)], &pieces);
    assert_eq!(seen, ["aa", "lose", "regain dd", "regain xee", "ee", "ff"]);
    // What was kept was not read, nor what was missing, nor what was looked at in vain.
    assert_eq!((coverage.read, coverage.unread), (4, 2 + 4 + 2 + 2 + 1));
    assert_eq!((coverage.lost, coverage.regained, coverage.lost_now), (1, 1, 0));
}

#[test]
fn joined_in_the_middle_it_is_told_so_at_first() {
    let (seen, coverage) = run(false, &[], &[None], &[bytes("aa")]);
    assert_eq!(seen, ["lose", "regain aa"]);
    assert_eq!((coverage.lost, coverage.lost_now), (0, 1));
}

#[test]
fn a_gap_within_what_is_passed_over_loses_nothing_but_a_longer_one_does() {
    let (seen, coverage) =
        run(true, &[Step::Skip(9)], &[], &[bytes("aaa"), Piece::Gap(5), bytes("abb")]);
    assert_eq!(seen, ["aaa", "bb"]);
    assert_eq!((coverage.skipped, coverage.read, coverage.lost), (9, 2, 0));
    let (seen, coverage) = run(true, &[Step::Skip(9)], &[], &[bytes("aaa"), Piece::Gap(7)]);
    assert_eq!(seen, ["aaa", "lose"]);
    assert_eq!((coverage.skipped, coverage.unread), (3, 7));
}

#[test]
fn bytes_that_make_no_sense_and_broken_promises_lose_the_thread() {
    let broken = "its decoder does not keep its promise";
    for (step, why) in [
        (Step::Lost("nonsense"), "nonsense"),
        (Step::Took(0), broken),
        (Step::Took(4), broken),
        (Step::Need(3), broken),
        (Step::Need(KEPT_MAX + 1), broken),
        (Step::Skip(0), broken),
    ] {
        let (seen, coverage) = run(true, &[step], &[], &[bytes("aaa")]);
        assert_eq!(seen, ["aaa", "lose"], "{step:?}");
        assert_eq!((coverage.last_lost, coverage.unread), (Some(why), 3), "{step:?}");
    }
}
