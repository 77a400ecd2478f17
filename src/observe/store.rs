//! What leaders said of their logs: bounded; the oldest message is forgotten with all it said.
//!
//! A leader's append says what stands at the index before its entries, and at theirs, in *its
//! own* log. A [`Fact`] is one such statement, kept with the message that made it.

use super::Seen;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that are kept because they said something new.
pub(super) const MESSAGES_MAX: usize = 1 << 17;

/// Indexes, over all groups, of which something is known.
pub(super) const INDEXES_MAX: usize = 1 << 20;

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
        }
        let facts = self.facts.entry((group, index)).or_default();
        if facts.len() == FACTS_MAX {
            facts.remove(0);
        }
        facts.push(fact);
        while self.kept.len() > MESSAGES_MAX || self.facts.len() > INDEXES_MAX {
            self.forget_oldest();
        }
    }

    /// Messages and indexes that are kept.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.kept.len(), self.facts.len())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.facts.clear();
        self.kept.clear();
    }

    fn forget_oldest(&mut self) {
        let Some((group, seen)) = self.kept.pop_front() else {
            self.facts.clear();
            return;
        };
        let before = seen.message.previous.map(|previous| previous.index);
        for index in before.into_iter().chain(seen.entries.iter().map(|entry| entry.at.index)) {
            let std::collections::hash_map::Entry::Occupied(mut at) =
                self.facts.entry((group, index))
            else {
                continue;
            };
            at.get_mut().retain(|fact| !Arc::ptr_eq(&fact.seen, &seen));
            if at.get().is_empty() {
                at.remove();
            }
        }
    }
}
