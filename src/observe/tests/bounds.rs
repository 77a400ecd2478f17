//! Nothing grows without a limit, and nothing that was forgotten speaks.

use super::super::store::{BYTES_MAX, Fact, Store};
use super::super::{Event, Observer, Seen};
use super::events;
use crate::wire::{Entry, Position};
use proptest::prelude::*;
use std::sync::Arc;

fn append(index: u64, entries: u64) -> Seen {
    let event = events(&format!("n1>n2 append 3 at {index}/3")).remove(0);
    let Event::Seen(mut seen) = event else { panic!("a message") };
    let at = |i| Position { index: index + i, term: 3 };
    seen.entries = (1..=entries).map(|i| Entry { at: at(i), hash: i }).collect();
    seen
}

fn add(store: &mut Store, seen: &Seen) {
    let seen = Arc::new(seen.clone());
    for entry in &seen.entries {
        let fact = Fact {
            term: entry.at.term,
            hash: Some(entry.hash),
            leader_term: 3,
            seen: Arc::clone(&seen),
        };
        store.add(0, entry.at.index, fact);
    }
}

#[test]
fn the_oldest_message_goes_with_all_it_said() {
    let mut store = Store::default();
    let mut count = 0;
    while store.sizes().0 == count {
        add(&mut store, &append(count as u64 * 2, 2));
        count += 1;
    }
    assert!(count > 50_000, "{count} messages are much to remember");
    assert_eq!(store.sizes(), (count - 1, 2 * (count - 1)));
    assert!(store.bytes() <= BYTES_MAX);
    assert!(store.at(0, 1).is_empty() && store.at(0, 2).is_empty());
    assert_eq!((store.at(0, 3).len(), store.at(0, 4).len()), (1, 1));
}

#[test]
fn a_few_messages_of_many_entries_are_bounded_too() {
    let mut store = Store::default();
    let each = 100_000;
    for i in 0..6 {
        add(&mut store, &append(i * each, each));
        assert!(store.bytes() <= BYTES_MAX);
    }
    assert!(store.at(0, 1).is_empty());
    assert_eq!(store.at(0, 6 * each).len(), 1);
}

#[test]
fn what_a_message_repeats_beside_one_new_entry_counts_too() {
    let mut store = Store::default();
    for i in 0..6_000 {
        let seen = Arc::new(append(i, 1_000));
        let last = seen.entries[999];
        let seen = Arc::clone(&seen);
        let fact = Fact { term: 3, hash: Some(last.hash), leader_term: 3, seen };
        store.add(0, last.at.index, fact);
    }
    assert!(store.bytes() <= BYTES_MAX);
    assert!((1..6_000).contains(&store.sizes().0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever numbers messages bear, nothing panics.
    #[test]
    fn no_number_makes_it_panic(
        kinds in proptest::collection::vec(0..crate::wire::Kind::ALL.len(), 1..60),
        numbers in proptest::collection::vec(
            prop_oneof![0_u64..4, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()], 1..40),
        nodes in proptest::collection::vec(0_u16..200, 1..10),
    ) {
        let mut observer = Observer::new();
        let mut numbers = numbers.into_iter().cycle();
        let mut nodes = nodes.into_iter().cycle();
        let mut next = || numbers.next().expect("endless");
        let mut node = || crate::packet::NodeId(nodes.next().expect("endless"));
        let mut leaders = super::super::Leaders::default();
        for kind in kinds {
            let mut seen = append(1, 0);
            (seen.at.0, seen.flow) = (next(), next());
            seen.opened = Some(crate::time::Nanos(next()));
            seen.from = Some(node());
            let message = &mut seen.message;
            message.kind = crate::wire::Kind::ALL[kind];
            message.term = Some(next());
            (message.from, message.to) = (
                Some(crate::wire::Member(next())),
                Some(crate::wire::Member(next())),
            );
            message.granted = Some(next() % 2 == 0);
            message.previous = Some(Position { index: next(), term: next() });
            message.commit = Some(next());
            message.entries = next() as u32;
            let entry = |index, term, hash| Entry { at: Position { index, term }, hash };
            seen.entries = vec![entry(next(), next(), next()), entry(next(), next(), next())];
            leaders.hear(seen.from, &seen.message, &seen.entries);
            let at = seen.at;
            observer.see(&Event::Seen(seen));
            let node = node();
            observer.see(&match next() % 8 {
                0 => Event::Started { at, node },
                1 => Event::Ended { at, node },
                2 => Event::Wiped { at, node },
                _ => Event::Missed { at, messages: next() },
            });
        }
        prop_assert!(observer.finish().told > 0);
    }
}
