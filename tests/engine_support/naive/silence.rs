//! The engine's stupid twin: nodes of which nothing passes.

use super::{Event, Naive};
use raftq::packet::LinkId;

impl Naive {
    /// Faults of these nodes begin, for which nothing of them may pass; what is held of them
    /// leaves, too, where `held` says so.
    pub(crate) fn silence(&mut self, fault: u16, nodes: &[u16], held: bool) -> Vec<Event> {
        self.begin(fault, nodes.to_vec(), held, None)
    }

    /// A fault no longer needs a node's silence.
    pub(crate) fn speak(&mut self, node: u16) {
        let depth = self.silences.entry(node).or_default();
        *depth = depth.saturating_sub(1);
    }

    pub(super) fn begin(
        &mut self,
        fault: u16,
        nodes: Vec<u16>,
        held: bool,
        by: Option<LinkId>,
    ) -> Vec<Event> {
        for node in &nodes {
            *self.silences.entry(*node).or_default() += 1;
        }
        let mut events = Vec::new();
        self.held.sort_by_key(|held| (held.due, held.arrival));
        for one in std::mem::take(&mut self.held) {
            if held && self.ends_at(one.link, &nodes) {
                let segments = u64::from(one.view.segments);
                self.link(one.link).dropped += segments;
                self.silenced += segments;
                events.push(Event::Left { packet: one.arrival, dropped: true });
            } else {
                self.held.push(one);
            }
        }
        events.push(Event::Silent { fault, nodes, by });
        events
    }

    fn ends_at(&self, link: LinkId, nodes: &[u16]) -> bool {
        let (from, to) = link.ends(self.table.nodes.len());
        nodes.contains(&from.0) || nodes.contains(&to.0)
    }

    pub(super) fn is_silent(&self, link: LinkId) -> bool {
        let silent = self.silences.iter().filter(|(_, depth)| **depth > 0);
        let silent: Vec<u16> = silent.map(|(node, _)| *node).collect();
        self.ends_at(link, &silent)
    }
}
