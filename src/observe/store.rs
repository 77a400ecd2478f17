//! What leaders said of their logs: bounded; the oldest message is forgotten with all it said.
//!
//! A leader's append says what stands at the index before its entries, and at theirs, in *its
//! own* log. A [`Fact`] is one such statement, kept with the message that made it.

use super::Seen;
use crate::wire::Entry;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Memory for all statements of all groups, and for the messages that made them. What each takes
/// is reckoned at its worst, such as a hash table that has just doubled. Full of appends of one
/// entry, of 16, or of 1000, it was measured to take 75, 57 and 74 MB.
pub(super) const BYTES_MAX: usize = 96 << 20;

/// What an index takes: its slot in the table.
const INDEX_BYTES: usize = 4 * size_of::<(Place, Vec<Fact>)>();

/// What a statement takes, with the allocator's share.
const FACT_BYTES: usize = size_of::<Fact>() + 16;

/// Statements about one index. In a healthy cluster each leader that mentions it adds one.
const FACTS_MAX: usize = 8;

/// At an index, in the log of the leader of `leader_term`, stands an entry of `term`.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// The entry's term.
    pub(super) term: u64,
    /// Its hash, where the message carried it.
    pub(super) hash: Option<u64>,
    /// The term of the leader who said so.
    pub(super) leader_term: u64,
    /// The message that says so.
    pub(super) seen: Arc<Seen>,
}

type Place = (u32, u64);

/// All statements of all groups.
#[derive(Debug, Default)]
pub(super) struct Store {
    facts: FxHashMap<Place, Vec<Fact>>,
    /// Messages with facts, and of which group, the oldest first.
    kept: VecDeque<(u32, Arc<Seen>)>,
    /// What all of it takes.
    bytes: usize,
}

/// What a message takes while it is kept.
fn message_bytes(seen: &Seen) -> usize {
    size_of::<Seen>() + seen.entries.len() * size_of::<Entry>() + 96
}

impl Store {
    /// What is known of an index.
    #[inline]
    pub(super) fn at(&self, group: u32, index: u64) -> &[Fact] {
        self.facts.get(&(group, index)).map_or(&[], Vec::as_slice)
    }

    /// What the leader of a term has at an index.
    pub(super) fn of_leader(&self, group: u32, index: u64, leader_term: u64) -> Option<&Fact> {
        self.at(group, index).iter().find(|fact| fact.leader_term == leader_term)
    }

    /// Adds a statement.
    pub(super) fn add(&mut self, group: u32, index: u64, fact: Fact) {
        let is_last = |(_, last): &(u32, Arc<Seen>)| Arc::ptr_eq(last, &fact.seen);
        if !self.kept.back().is_some_and(is_last) {
            self.kept.push_back((group, Arc::clone(&fact.seen)));
            self.bytes += message_bytes(&fact.seen);
        }
        let facts = self.facts.entry((group, index)).or_insert_with(|| {
            self.bytes += INDEX_BYTES;
            Vec::new()
        });
        if facts.len() == FACTS_MAX {
            facts.remove(0);
        } else {
            self.bytes += FACT_BYTES;
        }
        // Most indexes have one statement, and few have many.
        facts.reserve_exact(1);
        facts.push(fact);
        while self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    /// Messages and indexes that are kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.kept.len(), self.facts.len())
    }

    /// What all of it takes, counted anew.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let messages: usize = self.kept.iter().map(|(_, seen)| message_bytes(seen)).sum();
        let facts: usize = self.facts.values().map(|facts| facts.len() * FACT_BYTES).sum();
        assert_eq!(self.bytes, messages + facts + self.facts.len() * INDEX_BYTES);
        self.bytes
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget_oldest(&mut self) {
        let Some((group, seen)) = self.kept.pop_front() else {
            self.clear();
            return;
        };
        self.bytes -= message_bytes(&seen);
        let before = seen.message.previous.map(|previous| previous.index);
        for index in before.into_iter().chain(seen.entries.iter().map(|entry| entry.at.index)) {
            let std::collections::hash_map::Entry::Occupied(mut at) =
                self.facts.entry((group, index))
            else {
                continue;
            };
            let facts = at.get_mut();
            let before = facts.len();
            facts.retain(|fact| !Arc::ptr_eq(&fact.seen, &seen));
            facts.shrink_to_fit();
            self.bytes -= (before - facts.len()) * FACT_BYTES;
            if facts.is_empty() {
                at.remove();
                self.bytes -= INDEX_BYTES;
            }
        }
    }
}
