//! Packets that have to come again as single segments, whole: which of them, and what follows them.
//!
//! The fast queue hands over GSO packets and copies of headers, since most packets need no more. A
//! rule that does (a chance, a cut of data) gets what it is about by a second queue, and only
//! that: a packet of the first one is asked about here before anybody reads or judges it. Once a
//! packet of a flow went there, everything behind it has to, or it would overtake, until whoever
//! owns the queues has taken in all of the second one ([`Engine::segments_are_in`]).
//!
//! A rule that an event makes active is about the very packet that showed the event, which is not
//! known before it is read: its links have single segments all the time. For the same reason rules
//! that follow the leader have them on every link that they may come to be about.

use super::flows::{Dialler, FlowId, FlowKey};
use super::identity::Ends;
use super::{Engine, Facts};
use crate::packet::{LinkId, NodeId, PacketView};
use crate::rules::table::Needs;
use crate::time::Nanos;
use rustc_hash::FxBuildHasher;
use std::collections::HashSet;

/// Flows that are told apart between two looks at the second queues; of more, all are diverted.
const FLOWS_MAX: usize = 1_024;

/// The flows of which packets are on their way to a second queue.
#[derive(Debug)]
pub(super) struct Diverted {
    flows: HashSet<FlowKey, FxBuildHasher>,
    /// There were too many to tell apart.
    all: bool,
    /// Whether there are second queues.
    possible: bool,
}

impl Diverted {
    pub(super) fn new() -> Self {
        let flows = HashSet::with_capacity_and_hasher(FLOWS_MAX, FxBuildHasher);
        Self { flows, all: false, possible: false }
    }

    #[inline]
    fn is_none(&self) -> bool {
        self.flows.is_empty()
    }

    fn has(&self, flow: &FlowKey) -> bool {
        self.all || self.flows.contains(flow)
    }

    fn add(&mut self, flow: FlowKey) {
        if self.flows.len() < FLOWS_MAX {
            self.flows.insert(flow);
        } else {
            self.all |= !self.flows.contains(&flow);
        }
    }
}

impl Engine {
    /// Whether a packet of a first queue is to come again by the second, before it is read or
    /// judged. `whole`: the copy has all its bytes. Neither counts nor draws anything.
    #[inline]
    pub fn diverts(&mut self, now: Nanos, view: &PacketView, whole: bool) -> bool {
        let needs = self.plan.layout.needs;
        let lacks = Needs {
            segments: needs.segments && view.segments > 1,
            bytes: needs.bytes && !whole,
            injects: false,
        };
        if !lacks.segments && !lacks.bytes && self.diverted.is_none() {
            return false;
        }
        self.diverts_for(now, view, lacks)
    }

    #[inline(never)]
    fn diverts_for(&mut self, now: Nanos, view: &PacketView, lacks: Needs) -> bool {
        let (flow, _) = FlowKey::of(view.src, view.dst, view.proto);
        if self.diverted.has(&flow) {
            return true;
        }
        if self.start.is_none() || !self.is_needed(now, view, &flow, lacks) {
            return false;
        }
        self.diverted.add(flow);
        true
    }

    /// What the rules in force need of packets, active or not.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.plan.layout.needs
    }

    /// Whether packets may be on their way to second queues.
    #[inline]
    #[must_use]
    pub fn has_diverted(&self) -> bool {
        !self.diverted.is_none()
    }

    /// Everything that was sent to second queues has been taken in, and was judged.
    pub fn segments_are_in(&mut self) {
        self.diverted.flows.clear();
        self.diverted.all = false;
    }

    /// Whether packets can come again at all: each queue has a second one, and that itself.
    pub fn has_second_queues(&mut self, has: bool) {
        self.diverted.possible = has;
    }

    /// Whether a packet that waited for its sender, who is known now, comes again. Its bytes are
    /// not at hand any more.
    pub(super) fn diverts_waiting(&mut self, facts: &Facts, id: FlowId) -> bool {
        if !self.diverted.possible {
            return false;
        }
        let flow = self.flows.get(id).key;
        if self.diverted.has(&flow) {
            return true;
        }
        let lacks = Needs { segments: facts.segments > 1, bytes: true, injects: false };
        let ports = [facts.src_port, facts.dst_port];
        let needed = meets(self.plan.layout.needy(facts.link, facts.proto, ports), lacks);
        if needed {
            self.diverted.add(flow);
        }
        needed
    }

    /// Whether a rule on the packet's link needs what the packet lacks.
    fn is_needed(&self, now: Nanos, view: &PacketView, flow: &FlowKey, lacks: Needs) -> bool {
        let layout = &self.plan.layout;
        let ports = [view.src.port, view.dst.port];
        let on = |from: NodeId, to: NodeId| {
            let link = LinkId::new(from, to, self.plan.table.nodes.len());
            meets(layout.needy(link, view.proto, ports), lacks)
        };
        let (peer, to_peer) = match self.plan.identity.ends(view) {
            Ends::Known(from, to) => return on(from, to),
            Ends::Foreign => return false,
            Ends::ToNode(peer) => (peer, true),
            Ends::FromNode(peer) => (peer, false),
        };
        match self.flows.find(flow).map(|flow| flow.dialler) {
            Some(Dialler::Node(other)) if to_peer => on(other, peer),
            Some(Dialler::Node(other)) => on(peer, other),
            Some(Dialler::Stranger(until) | Dialler::Unfound(until)) if now < until => false,
            // It has to be asked for, and the packet's bytes are gone when the answer comes.
            _ => meets(layout.all_needy(view.proto, ports), lacks),
        }
    }
}

fn meets(mut needs: impl Iterator<Item = Needs>, lacks: Needs) -> bool {
    needs.any(|n| n.segments && lacks.segments || n.bytes && lacks.bytes)
}
