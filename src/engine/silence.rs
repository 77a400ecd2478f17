//! Nodes of which nothing passes, because something is being done to their processes.
//!
//! A silence begins with the very packet that triggers a fault, or by order of the main thread,
//! which is told of both and ends it once the slow work is done. Several faults may silence one
//! node; it speaks again when each of them has ended. What is held stays deliverable, except
//! where a whole host is to be lost (`crash`).

use super::{Engine, Release, held::Held, let_go};
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{NodeBits, TRIGGERS_MAX, Trigger};
use crate::time::Nanos;

/// A silence that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silenced {
    /// The fault that it is for, by its index in the table.
    pub fault: u16,
    /// The nodes that are silent.
    pub nodes: NodeBits,
    /// Since when, from the start of the rules' clock.
    pub at: Nanos,
    /// The link of the packet that triggered it, from its sender to itself where the receiver is
    /// not known; none where it was ordered.
    pub by: Option<LinkId>,
    /// Whether what is held of these nodes is dropped.
    pub drops_held: bool,
}

/// Who is silent, and which silences have not been told of.
#[derive(Debug)]
pub(super) struct Silence {
    mask: NodeBits,
    /// Faults that silence each node.
    depth: [u16; NodeBits::BITS as usize],
    untold: Vec<Silenced>,
}

impl Silence {
    pub(super) fn new() -> Self {
        let depth = [0; NodeBits::BITS as usize];
        Self { mask: 0, depth, untold: Vec::with_capacity(TRIGGERS_MAX) }
    }

    /// Whether any node is silent.
    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.mask != 0
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.mask & bit(node) != 0
    }

    /// Whether an end of this link is silent.
    #[inline]
    pub(super) fn covers(&self, link: LinkId, nodes: usize) -> bool {
        if self.mask == 0 {
            return false;
        }
        let (from, to) = link.ends(nodes);
        self.has(from) || self.has(to)
    }

    /// A packet triggers a fault. Does nothing, and says so, where nobody would hear of it: as
    /// many silences wait to be told as may.
    #[must_use]
    pub(super) fn trigger(&mut self, t: Nanos, trigger: &Trigger, by: LinkId, all: usize) -> bool {
        let nodes = if trigger.nodes == 0 { bit(by.ends(all).0) } else { trigger.nodes };
        let Trigger { fault, drops_held, .. } = *trigger;
        self.begin(Silenced { fault, nodes, at: t, by: Some(by), drops_held })
    }

    fn begin(&mut self, silenced: Silenced) -> bool {
        if self.untold.len() == self.untold.capacity() {
            return false;
        }
        self.mask |= silenced.nodes;
        for (i, depth) in self.depth.iter_mut().enumerate() {
            *depth += u16::from(silenced.nodes & (1 << i) != 0);
        }
        self.untold.push(silenced);
        true
    }
}

fn bit(node: NodeId) -> NodeBits {
    1 << node.0
}

impl Engine {
    /// Silences nodes by order, for a fault that no packet triggers; told like the others.
    /// Returns false, and does nothing, where too many have not been told.
    pub fn silence(&mut self, now: Nanos, fault: u16, nodes: NodeBits, drops_held: bool) -> bool {
        let at = now.saturating_sub(self.start.unwrap_or(now));
        self.silence.begin(Silenced { fault, nodes, at, by: None, drops_held })
    }

    /// A fault no longer needs a node to be silent; returns the time of it on the rules' clock.
    pub fn end_silence(&mut self, now: Nanos, node: NodeId) -> Nanos {
        let depth = &mut self.silence.depth[usize::from(node.0)];
        *depth = depth.saturating_sub(1);
        if *depth == 0 {
            self.silence.mask &= !bit(node);
        }
        now.saturating_sub(self.start.unwrap_or(now))
    }

    /// Whether silences have begun that were not told.
    #[inline]
    #[must_use]
    pub fn has_untold_silence(&self) -> bool {
        !self.silence.untold.is_empty()
    }

    /// Tells of silences that have begun, once each, and drops what is held of a host that is to
    /// be lost. Call it before anything held is let out. What `tell` refuses is told again.
    pub fn tell_silences(
        &mut self,
        mut tell: impl FnMut(Silenced) -> bool,
        release: &mut impl FnMut(Release),
    ) {
        for i in 0..self.silence.untold.len() {
            let silenced = &mut self.silence.untold[i];
            if std::mem::take(&mut silenced.drops_held) {
                let nodes = silenced.nodes;
                self.drop_held_of(nodes, release);
            }
        }
        self.silence.untold.retain(|silenced| !tell(*silenced));
    }

    fn drop_held_of(&mut self, nodes: NodeBits, release: &mut impl FnMut(Release)) {
        let (plan, flows) = (&*self.plan, &mut self.flows);
        let all = plan.table.nodes.len();
        let before = self.held.len();
        self.held.remove(|held: &Held| {
            let (from, to) = held.facts.link.ends(all);
            if nodes & (bit(from) | bit(to)) == 0 {
                return false;
            }
            let segments = u64::from(held.facts.segments);
            plan.counters.link(held.facts.link).dropped.add(segments);
            plan.counters.totals.silenced.add(segments);
            let_go(flows, held);
            release(Release { drop: true, ..Release::of(held) });
            true
        });
        if self.held.len() < before {
            self.renew_order();
            self.note_held();
        }
    }
}
