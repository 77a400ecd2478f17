//! What the engine counts: one writer (the loop), any number of readers, relaxed atomics.
//!
//! Counts are of wire segments: a GSO packet counts as the segments it stands for. Each
//! number is exact; two of them read together may be a packet apart.

use super::lateness::Late;
use crate::packet::LinkId;
use crate::time::Nanos;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter with a single writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds; a load and a store, since nobody else writes.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed) + n, Relaxed);
    }

    /// Takes back what was added too early.
    pub(super) fn take_back(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).saturating_sub(n), Relaxed);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}

/// What one rule did.
#[derive(Debug, Default)]
pub struct RuleCounts {
    /// Segments that met link and `where` (before its chance) while it was active; messages,
    /// where it is about messages.
    pub matched: Count,
    /// Of those, what it dropped, trimmed, reset, stalled, delayed, or accepted ahead of later
    /// rules. What a stall takes later is not counted here, but in [`Totals::stalled`].
    pub acted: Count,
    /// Time of the first match, ns since the start plus one; 0: never.
    pub first: Count,
    /// Time of the last match, ns since the start plus one; 0: never.
    pub last: Count,
    /// Times it became active.
    pub activations: Count,
    /// Segments that passed unattributed while this rule was cutting their receiver off.
    pub leaked: Count,
}

/// What one link saw.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Segments that came.
    pub packets: Count,
    /// Their bytes, from the IP header on.
    pub bytes: Count,
    /// Segments dropped, by a rule or a limit.
    pub dropped: Count,
    /// Segments trimmed to their acknowledgement.
    pub trimmed: Count,
    /// Segments held for a time.
    pub delayed: Count,
}

/// What the cluster saw as a whole.
#[derive(Debug, Default)]
pub struct Totals {
    /// Packets read from the queues.
    pub packets: Count,
    /// Packets held now.
    pub held: Count,
    /// The most packets held at once.
    pub held_most: Count,
    /// Packets dropped because as many were held as may be.
    pub overflow: Count,
    /// Packets between the cluster and somebody who is no node: accepted.
    pub foreign: Count,
    /// Packets that could not be read: accepted.
    pub unreadable: Count,
    /// Packets whose sender stayed unknown: treated as the user chose.
    pub unattributed: Count,
    /// Questions asked about who holds a socket.
    pub asked: Count,
    /// Segments dropped because a node at one of their ends was silent: a fault was being done
    /// to its process.
    pub silenced: Count,
    /// Segments of unknown senders that passed while some node was silent, and may be of it.
    pub silence_leaked: Count,
    /// Connections that a RST was sent into.
    pub resets: Count,
    /// Segments dropped or trimmed because their direction of a connection was stalled.
    pub stalled: Count,
    /// Ends of connections that a cut has starved and that could not be told at its end.
    pub unhealed: Count,
    /// Copies of packets that could not be kept, or not be sent.
    pub copies_lost: Count,
    /// Packets that were to be damaged and could not be: not all of their bytes were at hand, or
    /// there was no room to keep what was to go instead of them.
    pub undamaged: Count,
    /// Flows that had to be forgotten early because the table was full.
    pub flows_evicted: Count,
    /// How late held packets left.
    pub late: Late,
}

/// All counters of one table.
#[derive(Debug)]
pub struct Counters {
    /// One a rule, in file order.
    pub rules: Box<[RuleCounts]>,
    /// One a link id.
    pub links: Box<[LinkCounts]>,
    /// The sums.
    pub totals: Totals,
}

impl Counters {
    /// Zeroes for a table of that size.
    #[must_use]
    pub fn new(rules: usize, links: usize) -> Self {
        Self {
            rules: (0..rules).map(|_| RuleCounts::default()).collect(),
            links: (0..links).map(|_| LinkCounts::default()).collect(),
            totals: Totals::default(),
        }
    }

    /// The counters of a link.
    #[must_use]
    pub fn link(&self, link: LinkId) -> &LinkCounts {
        &self.links[usize::from(link.0)]
    }

    /// Carries over what the former table counted; `former[i]` is the index that rule `i`
    /// of this table had there.
    pub(super) fn inherit(&self, old: &Self, former: &[Option<usize>]) {
        for (new, former) in self.rules.iter().zip(former) {
            if let Some(old) = former.and_then(|i| old.rules.get(i)) {
                copy(&[
                    (&old.matched, &new.matched),
                    (&old.acted, &new.acted),
                    (&old.first, &new.first),
                    (&old.last, &new.last),
                    (&old.activations, &new.activations),
                    (&old.leaked, &new.leaked),
                ]);
            }
        }
        for (old, new) in old.links.iter().zip(&self.links) {
            copy(&[
                (&old.packets, &new.packets),
                (&old.bytes, &new.bytes),
                (&old.dropped, &new.dropped),
                (&old.trimmed, &new.trimmed),
                (&old.delayed, &new.delayed),
            ]);
        }
        let (old, new) = (&old.totals, &self.totals);
        copy(&[
            (&old.packets, &new.packets),
            (&old.held, &new.held),
            (&old.held_most, &new.held_most),
            (&old.overflow, &new.overflow),
            (&old.foreign, &new.foreign),
            (&old.unreadable, &new.unreadable),
            (&old.unattributed, &new.unattributed),
            (&old.asked, &new.asked),
            (&old.silenced, &new.silenced),
            (&old.silence_leaked, &new.silence_leaked),
            (&old.resets, &new.resets),
            (&old.stalled, &new.stalled),
            (&old.unhealed, &new.unhealed),
            (&old.copies_lost, &new.copies_lost),
            (&old.undamaged, &new.undamaged),
            (&old.flows_evicted, &new.flows_evicted),
        ]);
        new.late.inherit(&old.late);
    }
}

impl RuleCounts {
    /// Notes a match at `since_start`.
    #[inline]
    pub(super) fn note_match(&self, since_start: Nanos, segments: u64) {
        self.matched.add(segments);
        if self.first.get() == 0 {
            self.first.set(since_start.0 + 1);
        }
        self.last.set(since_start.0 + 1);
    }

    /// First and last match, since the start; `None` where there was none.
    #[must_use]
    pub fn span(&self) -> Option<(Nanos, Nanos)> {
        match (self.first.get(), self.last.get()) {
            (0, _) => None,
            (first, last) => Some((Nanos(first - 1), Nanos(last - 1))),
        }
    }
}

fn copy(pairs: &[(&Count, &Count)]) {
    for (from, to) in pairs {
        to.set(from.get());
    }
}
