//! Joined anywhere, and with segments lost for good, what is still told is true: in each direction
//! a part, in order, of what is told of the whole capture. Only what one message takes from others
//! may be unknown instead: terms, members and positions that etcd's appends inherit, and what an
//! answer of hashicorp/raft or NATS is about where its question was lost.

mod wire_support;

use proptest::prelude::*;
use raftq::packet::Endpoint;
use raftq::wire::{Group, Kind, Message};
use std::collections::HashMap;
use wire_support::recut::Dice;
use wire_support::{Capture, Captured, Told, capture, names, read};

/// Whether a message, read with less knowledge, is this one.
fn is_part_of(told: &Told, whole: &Told) -> bool {
    let (less, full) = (&told.message, &whole.message);
    let asked = less.kind != Kind::Other && less.group != Group::UNKNOWN;
    let unknown = |less: &Message| Message {
        kind: if asked { full.kind } else { less.kind },
        group: if asked { full.group } else { less.group },
        term: less.term.and(full.term),
        from: less.from.and(full.from),
        to: less.to.and(full.to),
        previous: less.previous.and(full.previous),
        index: if asked { full.index } else { less.index.and(full.index) },
        ..*full
    };
    *less == unknown(less) && told.entries == whole.entries
}

/// What was kept of a capture, how many messages it told, and how many there were.
fn check(capture: &Capture, kept: &[Captured]) -> Result<[usize; 2], TestCaseError> {
    let (all, _) = read(capture, &capture.segments);
    let (told, coverage) = read(capture, kept);
    let mut whole: HashMap<(Endpoint, Endpoint), std::slice::Iter<'_, &Told>> = HashMap::new();
    let mut by_ends: HashMap<_, Vec<&Told>> = HashMap::new();
    for told in &all {
        by_ends.entry((told.heard.src, told.heard.dst)).or_default().push(told);
    }
    for (ends, told) in &by_ends {
        whole.insert(*ends, told.iter());
    }
    for one in &told {
        let rest = whole.get_mut(&(one.heard.src, one.heard.dst));
        let found = rest.is_some_and(|rest| rest.any(|whole| is_part_of(one, whole)));
        prop_assert!(found, "{}: told, and not there: {one:?}", capture.name);
    }
    prop_assert_eq!(coverage.all_messages() as usize, told.len());
    Ok([told.len(), all.len()])
}

/// A capture from anywhere on, with one in so many segments lost; payload of some is cut short.
fn thinned(capture: &Capture, dice: &mut Dice, one_in: u64) -> Vec<Captured> {
    let start = dice.roll(capture.segments.len() as u64 / 2) as usize;
    let mut kept = Vec::new();
    for segment in &capture.segments[start..] {
        match dice.roll(one_in * 2) {
            0 | 1 if !segment.payload.is_empty() => {
                let len = segment.payload.len() as u64;
                let mut cut = segment.clone();
                cut.payload.truncate(dice.roll(len) as usize);
                cut.whole = false;
                // Some are lost altogether.
                kept.extend((dice.roll(2) == 0).then_some(cut));
            }
            _ => kept.push(segment.clone()),
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_true(which: prop::sample::Index, seed: u64, one_in in 2..100_u64) {
        let names = names();
        let capture = capture(&names[which.index(names.len())]);
        check(&capture, &thinned(&capture, &mut Dice(seed), one_in))?;
    }
}

#[test]
fn little_is_lost_where_little_is_missing() {
    for name in names() {
        let capture = capture(&name);
        let kept = thinned(&capture, &mut Dice(3), 40);
        let share = kept.len() as f64 / capture.segments.len() as f64;
        let [told, all] = check(&capture, &kept).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Those that begin with their connections are hardly read when joined later.
        let least = if name.contains("startup") { 0.0 } else { share * 0.6 };
        assert!(told as f64 >= all as f64 * least, "{name}: {told} of {all}, {share:.2} kept");
    }
}
