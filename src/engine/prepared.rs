//! A table made ready for the engine, away from the loop: laid out, with its counters.
//!
//! Everything a table needs in memory is reserved here, so that the loop only swaps a box.

use super::counters::Counters;
use super::dice::Draw;
use super::flows::{FLOWS_MAX, FlowId, Flows};
use super::identity::Identity;
use super::layout::Layout;
use super::{Facts, walk};
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{Action, Table, What};
use crate::time::Nanos;
use std::sync::Arc;

/// A table ready to be put in force.
#[derive(Debug)]
pub struct Prepared {
    pub(super) table: Arc<Table>,
    pub(super) identity: Identity,
    pub(super) layout: Layout,
    pub(super) counters: Arc<Counters>,
    /// For each rule, its index in the table before, found by name.
    pub(super) former: Vec<Option<usize>>,
    /// Rules that have just become active and still have to be applied to what is held.
    pub(super) fresh_drops: Vec<u16>,
    /// Connections numbered so far, per link.
    connections: Vec<u32>,
    /// Matching segments so far: per flow, direction and drawing rule. Untouched pages of
    /// it cost nothing.
    draws: Vec<u32>,
}

impl Prepared {
    /// Lays a table out. `former` is the table that it takes over from; `shares_stack`
    /// says of a node whether others live in its network stack.
    #[must_use]
    pub fn new(
        table: Arc<Table>,
        former: Option<&Table>,
        shares_stack: impl Fn(NodeId) -> bool,
    ) -> Box<Self> {
        let layout = Layout::new(&table);
        let index_in = |name: &str| former?.rules.iter().position(|rule| rule.name == name);
        Box::new(Self {
            identity: Identity::new(&table.nodes, shares_stack),
            counters: Arc::new(Counters::new(table.rules.len(), table.links())),
            former: table.rules.iter().map(|rule| index_in(&rule.name)).collect(),
            fresh_drops: Vec::with_capacity(table.rules.len()),
            connections: vec![0; table.links()],
            draws: vec![0; layout.columns * 2 * FLOWS_MAX],
            layout,
            table,
        })
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Its counters, from the moment it is in force.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// A rule that was active in the former table and still is goes on; one that is active
    /// only now counts as just started.
    pub(super) fn keep_activations(&mut self, old: &Self) {
        for (i, former) in self.former.iter().enumerate() {
            let was = former.and_then(|f| old.layout.steps.get(f)).filter(|s| s.active);
            let step = &mut self.layout.steps[i];
            match was {
                Some(was) if step.active => step.since = was.since,
                _ if step.active => {
                    self.counters.rules[i].activations.add(1);
                    self.fresh_drops.push(i as u16);
                }
                _ => {}
            }
        }
    }

    /// A flow takes a place: its draws start anew.
    pub(super) fn new_flow(&mut self, id: FlowId) {
        let width = self.layout.columns * 2;
        let at = id.0 as usize * width;
        self.draws[at..at + width].fill(0);
    }

    /// The next draw of a rule for a flow's direction.
    #[inline]
    pub(super) fn draw(&mut self, rule: u16, facts: &Facts, flows: &mut Flows) -> u64 {
        let step = &self.layout.steps[usize::from(rule)];
        let direction = usize::from(facts.direction);
        let (Some(id), Some(column)) = (facts.flow, step.column) else { return 0 };
        let flow = flows.get_mut(id);
        if flow.connection[direction] == 0 {
            let connections = &mut self.connections[usize::from(facts.link.0)];
            *connections += 1;
            flow.connection[direction] = *connections;
        }
        let row = (id.0 as usize * 2 + direction) * self.layout.columns;
        let segment = &mut self.draws[row + column as usize];
        *segment = segment.wrapping_add(1);
        let link: LinkId = facts.link;
        let (connection, segment) = (flow.connection[direction], *segment);
        Draw { rule: step.key, link, connection, segment }.bits(self.table.seed)
    }

    /// Whether a rule that has just become active drops this held packet.
    pub(super) fn drops_held(
        &mut self,
        rule: u16,
        now: Nanos,
        start: Nanos,
        facts: &Facts,
        flows: &mut Flows,
    ) -> bool {
        if !self.layout.covers(rule, facts.link) {
            return false;
        }
        let step = &self.layout.steps[usize::from(rule)];
        if !walk::matches(step, facts, flows, start) {
            return false;
        }
        let actions = step.actions.start as usize..step.actions.end as usize;
        let drops = self.layout.actions[actions].iter().any(|action| match action {
            Action::Drop(What::Packets) => true,
            Action::Drop(What::Data) => facts.data,
            _ => false,
        });
        let segments = u64::from(facts.segments);
        self.counters.rules[usize::from(rule)].note_match(now.saturating_sub(start), segments);
        let drops = drops && walk::chance(self, rule, facts, flows);
        if drops {
            self.counters.rules[usize::from(rule)].acted.add(segments);
        }
        drops
    }
}
