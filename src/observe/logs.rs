//! What leaders say of their logs, against each other and against what was committed.
//!
//! Everything here rests on statements of leaders about their own logs ([`Fact`]) and on
//! commits that full appends declare. Of a term only the member counts that led it first; where a
//! second one does, that is an alarm of its own. And statements are put together only where one
//! process made them: a leader is one process, unless its node forgot its term.
//!
//! # Leader completeness
//!
//! When the leader of term T declares index C committed, its log up to C is committed: a majority
//! held it in terms up to T. Whoever leads in a term above T was elected by a majority of which
//! one had held it, and had not yet adopted the higher term; so the log of every later leader has
//! it, *whatever the order in which the messages are seen*. Two things refute that: another entry
//! in a later leader's log, at an index up to C where the entry of T's leader is known; and a
//! vote request of a later leader that says its log ends before C, or in a lower term than an
//! entry that was committed.
//!
//! # Commit by an earlier term's count
//!
//! A leader raises its commit only to entries of its own term (figure 8). What it has learnt
//! before it was elected it does not raise. Some implementations cut the commit of an append to
//! the end of what the append covers, so that a claim may rise while the leader's commit stands
//! still; but a claim *below* that end is not cut: it is what the leader knew. (Of a protocol
//! that cuts it further, to what the receiver is known to have, a decoder must tell no commit.)
//! Two such claims of one leader in one direction of one connection, the later one higher, show
//! that it was raised in between, to exactly the later one.

use super::alarm::{Invariant, Told};
use super::group::GroupState;
use super::store::{Fact, Store};
use super::words;
use super::{Keep, Seen};
use crate::wire::{Kind, Member, Position, Way};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Terms whose commits are remembered, and indexes at which terms differ; the oldest go first.
const CLAIMS_MAX: usize = 1_024;
const CONTESTED_MAX: usize = 4_096;

/// Directions in which commits are followed; then all are begun anew.
const RISING_MAX: usize = 16_384;

/// How far the leader of a term declared its log committed.
#[derive(Debug)]
struct Claim {
    member: Member,
    commit: u64,
    seen: Arc<Seen>,
    /// The highest committed entry whose term is known, and who said so.
    top: Option<(Position, Arc<Seen>)>,
}

/// The last exact commit that a leader told in one direction.
#[derive(Debug)]
struct Rising {
    term: u64,
    member: Member,
    commit: u64,
    seen: Arc<Seen>,
}

/// The logs of one group.
#[derive(Debug, Default)]
pub(super) struct Logs {
    id: u32,
    claims: BTreeMap<u64, Claim>,
    contested: BTreeSet<u64>,
    rising: FxHashMap<(u64, Way), Rising>,
}

impl Logs {
    pub(super) fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// The leader of a term sends an append or a snapshot.
    pub(super) fn hear(
        &mut self,
        (state, store): (&GroupState, &mut Store),
        (member, term): (Member, u64),
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        if !state.is_leader(member, term) {
            return;
        }
        let message = &keep.seen.message;
        let entries = keep.seen.entries.iter().map(|entry| (entry.at, Some(entry.hash)));
        let stated = message.previous.into_iter().map(|at| (at, None)).chain(entries);
        let mut end = 0;
        for (at, hash) in stated {
            end = end.max(at.index);
            if at.index > 0 && at.term > 0 {
                self.state(store, term, (at, hash), keep, told);
            }
        }
        if message.kind == Kind::Append
            && let Some(commit) = message.commit
        {
            let claimed = (member, term, commit);
            self.claim((state, store), claimed, keep, told);
            if commit < end {
                self.rise(store, claimed, keep, told);
            }
        }
    }

    /// At `at`, its leader has this entry.
    fn state(
        &mut self,
        store: &mut Store,
        leader_term: u64,
        (at, hash): (Position, Option<u64>),
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let facts = store.at(self.id, at.index);
        let mut is_new = true;
        let mut differs = false;
        for fact in facts {
            let is_same_leader = fact.leader_term == leader_term;
            if fact.term != at.term {
                differs = true;
                if is_same_leader {
                    changed_own((fact, at), leader_term, keep, told);
                } else {
                    let new = Fact { term: at.term, hash, leader_term, seen: keep.arc() };
                    self.overwritten(at.index, fact, &new, told);
                }
                continue;
            }
            if is_same_leader {
                told.alarms.made(Invariant::LeaderAppendOnly);
                // Known already, unless this message adds the hash.
                is_new &= fact.hash.is_none() && hash.is_some();
            } else if let Some(claim) = self.claims.get(&fact.leader_term.min(leader_term))
                && claim.commit >= at.index
            {
                told.alarms.made(Invariant::LeaderCompleteness);
            }
            if let (Some(known), Some(hash)) = (fact.hash, hash) {
                told.alarms.made(Invariant::LogMatching);
                if known != hash {
                    mismatch((fact, at), keep, told);
                }
            }
        }
        if differs && self.contested.insert(at.index) && self.contested.len() > CONTESTED_MAX {
            self.contested.pop_first();
        }
        if let Some(claim) = self.claims.get_mut(&leader_term)
            && at.index <= claim.commit
            && claim.top.as_ref().is_none_or(|(top, _)| top.index < at.index)
        {
            claim.top = Some((at, keep.arc()));
        }
        if is_new {
            let fact = Fact { term: at.term, hash, leader_term, seen: keep.arc() };
            store.add(self.id, at.index, fact);
        }
    }

    /// Two leaders have different terms at an index: was the earlier one's committed?
    fn overwritten(&self, index: u64, one: &Fact, other: &Fact, told: &mut Told<'_>) {
        let (low, high) =
            if one.leader_term < other.leader_term { (one, other) } else { (other, one) };
        let Some(claim) = self.claims.get(&low.leader_term) else { return };
        if claim.commit < index || !told.lives.is_same_process(&low.seen, &claim.seen) {
            return;
        }
        told.alarms.made(Invariant::LeaderCompleteness);
        let key = (low.leader_term, high.leader_term);
        let evidence = [&*low.seen, &claim.seen, &high.seen];
        let wiped = without_data(told);
        told.alarms.raise(Invariant::LeaderCompleteness, key, &evidence, || {
            format!(
                "{}, leader of term {}, had declared everything up to {} committed at {}, with an \
                 entry of term {} at {index}; {}, leader of term {}, has one of term {} there at \
                 {}{}{}",
                told.names.sender(&low.seen),
                low.leader_term,
                claim.commit,
                words::time(claim.seen.at),
                low.term,
                told.names.sender(&high.seen),
                high.leader_term,
                high.term,
                words::time(high.seen.at),
                words::group(high.seen.message.group),
                wiped,
            )
        });
    }

    /// The leader of a term declares its log committed up to an index.
    fn claim(
        &mut self,
        (state, store): (&GroupState, &Store),
        (member, term, commit): (Member, u64, u64),
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let before = self.claims.get(&term).map_or(0, |claim| claim.commit);
        if commit > before {
            let claim = self.claims.entry(term).or_insert_with(|| Claim {
                member,
                commit,
                seen: keep.arc(),
                top: None,
            });
            (claim.commit, claim.seen) = (commit, keep.arc());
            if let Some(fact) = store.of_leader(self.id, commit, term) {
                let at = Position { index: commit, term: fact.term };
                claim.top = Some((at, Arc::clone(&fact.seen)));
            }
            if self.claims.len() > CLAIMS_MAX {
                self.claims.pop_first();
            }
            for &index in self.contested.range(before + 1..=commit) {
                let facts = store.at(self.id, index);
                let Some(low) = facts.iter().find(|fact| fact.leader_term == term) else {
                    continue;
                };
                for high in facts.iter().filter(|f| f.leader_term > term && f.term != low.term) {
                    self.overwritten(index, low, high, told);
                }
            }
        }
        // Leaders of later terms are rare here: this one has been voted out.
        for (&later, _) in state.leaders.range((Excluded(term), Unbounded)) {
            self.complete(state, term, later, told);
        }
    }

    /// A leader, or where its log ended when it stood, is new: against all that was committed.
    pub(super) fn elected(&self, state: &GroupState, term: u64, told: &mut Told<'_>) {
        for (&earlier, _) in self.claims.range(..term) {
            self.complete(state, earlier, term, told);
        }
    }

    /// Does the log with which a leader was elected reach what was committed before?
    fn complete(&self, state: &GroupState, earlier: u64, later: u64, told: &mut Told<'_>) {
        let Some(claim) = self.claims.get(&earlier) else { return };
        let Some((led, last, request)) = state.elected_with(later, told.lives) else { return };
        told.alarms.made(Invariant::LeaderCompleteness);
        let top = claim.top.as_ref().filter(|(top, said)| {
            top.term > last.term && told.lives.is_same_process(said, &claim.seen)
        });
        if last.index >= claim.commit && top.is_none() {
            return;
        }
        let mut evidence = vec![&*claim.seen, request, &led.seen];
        let wiped = without_data(told);
        let mut what = format!("everything up to {} committed", claim.commit);
        if last.index >= claim.commit
            && let Some((top, said)) = top
        {
            evidence.push(said);
            what = format!("{what}, with an entry of term {} at {}", top.term, top.index);
        }
        told.alarms.raise(Invariant::LeaderCompleteness, (earlier, later), &evidence, || {
            format!(
                "{}, leader of term {earlier}, had declared {what} at {}; {} leads in term {later} \
                 with a log that ended at {} (term {}) when it stood at {}{}{}",
                told.names.member(claim.member),
                words::time(claim.seen.at),
                told.names.member(led.member),
                last.index,
                last.term,
                words::time(request.at),
                words::group(state.group),
                wiped,
            )
        });
    }

    /// An exact commit, in one direction of a connection.
    fn rise(
        &mut self,
        store: &Store,
        (member, term, commit): (Member, u64, u64),
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let way = (keep.seen.flow, keep.seen.way);
        let before = self.rising.get(&way);
        let before = before.filter(|rising| rising.term == term && rising.member == member);
        if let Some(rising) = before {
            if commit <= rising.commit {
                return;
            }
            if let Some(fact) = store.of_leader(self.id, commit, term)
                && told.lives.is_same_process(&fact.seen, keep.seen)
            {
                told.alarms.made(Invariant::CommitsOwnTerm);
                if fact.term < term {
                    let now = keep.seen;
                    let evidence = [&*rising.seen, &fact.seen, now];
                    told.alarms.raise(Invariant::CommitsOwnTerm, (term, 0), &evidence, || {
                        format!(
                            "{}, leader of term {term}, raised its commit from {} at {} to \
                             {commit} at {}, where an entry of term {} stands: copies of an \
                             earlier term's entries must not count{}",
                            told.names.sender(now),
                            rising.commit,
                            words::time(rising.seen.at),
                            words::time(now.at),
                            fact.term,
                            words::group(now.message.group),
                        )
                    });
                }
            }
        } else if self.rising.len() >= RISING_MAX {
            self.rising.clear();
        }
        self.rising.insert(way, Rising { term, member, commit, seen: keep.arc() });
    }
}

/// A leader says two things of one index in its own log.
fn changed_own((fact, at): (&Fact, Position), term: u64, keep: &Keep<'_>, told: &mut Told<'_>) {
    let now = keep.seen;
    told.alarms.made(Invariant::LeaderAppendOnly);
    told.alarms.raise(Invariant::LeaderAppendOnly, (term, 0), &[&fact.seen, now], || {
        format!(
            "{}, leader of term {term}, had an entry of term {} at index {} at {}, and one of term \
             {} at {}{}",
            told.names.sender(now),
            fact.term,
            at.index,
            words::time(fact.seen.at),
            at.term,
            words::time(now.at),
            words::group(now.message.group),
        )
    });
}

/// One index and term, two entries.
fn mismatch((fact, at): (&Fact, Position), keep: &Keep<'_>, told: &mut Told<'_>) {
    let now = keep.seen;
    let key = (at.index, at.term);
    told.alarms.raise(Invariant::LogMatching, key, &[&fact.seen, now], || {
        format!(
            "entry {} of term {} is not the same in two appends: that of {} at {}, and that of {} \
             at {}{}",
            at.index,
            at.term,
            told.names.sender(&fact.seen),
            words::time(fact.seen.at),
            told.names.sender(now),
            words::time(now.at),
            words::group(now.message.group),
        )
    });
}

fn without_data(told: &Told<'_>) -> &'static str {
    if told.lives.any_wiped() { "; a node had been started without its data" } else { "" }
}
