//! However the bytes of a capture are cut into segments, repeated and mixed up, they tell the same.

mod wire_support;

use proptest::prelude::*;
use raftq::wire::{Entry, Message};
use std::collections::BTreeMap;
use wire_support::recut::{Dice, recut};
use wire_support::{Told, capture, names, read};

type Direction = Vec<(Message, Vec<Entry>)>;

/// The messages of each direction of each connection, in order.
fn by_direction(told: Vec<Told>) -> BTreeMap<(u64, usize), Direction> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Told { heard, message, entries, .. } in told {
        all.entry((heard.flow, heard.way.index())).or_default().push((message, entries));
    }
    all
}

fn check(name: &str, seed: u64) -> Result<(), TestCaseError> {
    let capture = capture(name);
    let (told, coverage) = read(&capture, &capture.segments);
    let segments = recut(&capture, &mut Dice(seed));
    let (again, coverage_again) = read(&capture, &segments);
    let (told, again) = (by_direction(told), by_direction(again));
    prop_assert_eq!(told.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>(), "{}", name);
    for (direction, messages) in &told {
        prop_assert_eq!(messages, &again[direction], "{} {:?}", name, direction);
    }
    prop_assert_eq!(coverage.messages, coverage_again.messages);
    prop_assert_eq!((coverage_again.lost, coverage.read), (0, coverage_again.read));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_in_other_segments_tell_the_same(which: prop::sample::Index, seed: u64) {
        let names = names();
        check(&names[which.index(names.len())], seed)?;
    }
}

#[test]
fn every_capture_is_cut_otherwise_at_least_once() {
    for name in names() {
        check(&name, 7).unwrap_or_else(|e| panic!("{name}: {e}"));
        let capture = capture(&name);
        let segments = recut(&capture, &mut Dice(7));
        let same = capture.segments.iter().zip(&segments).filter(|(a, b)| a.payload == b.payload);
        let (same, all) = (same.count(), segments.len().max(capture.segments.len()));
        assert!(all > same + 10, "{name}: {same} of {all} segments are as they were");
    }
}
