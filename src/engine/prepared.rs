//! A table made ready for the engine, away from the loop: laid out, with its counters.
//!
//! Everything a table needs in memory is reserved here, so that the loop only swaps a box.

use super::counters::Counters;
use super::dice::Draw;
use super::flows::{FLOWS_MAX, FlowId, Flows};
use super::heal::Starved;
use super::identity::Identity;
use super::layout::{Edge, Layout};
use super::memory::{Memory, wipe};
use super::{Facts, walk};
use crate::observe::Leaders;
use crate::packet::NodeId;
use crate::rules::table::{OpenSides, Rule, Table};
use crate::time::Nanos;
use crate::wire::Message;
use std::collections::HashMap;
use std::sync::Arc;

/// Room for what events start and end between two looks at the rules.
const EDGES_MAX: usize = 256;

/// A table ready to be put in force.
#[derive(Debug)]
pub struct Prepared {
    pub(super) table: Arc<Table>,
    pub(super) identity: Identity,
    pub(super) layout: Layout,
    pub(super) counters: Arc<Counters>,
    /// For each rule, its index in the table before, found by name.
    pub(super) former: Vec<Option<usize>>,
    /// The other way round: for each rule of the table before, its index in this one.
    heirs: Vec<Option<u16>>,
    /// Rules that have just become active, or changed while they were: their drops still
    /// have to be applied to what is held.
    pub(super) fresh: Vec<u16>,
    /// Rules that have just ended, where what they did may have to be healed.
    pub(super) ended: Vec<u16>,
    /// Rules that started or ended because this table was adopted.
    pub(super) untold: Vec<Edge>,
    /// Whether there may be any of these two.
    pub(super) just_adopted: bool,
    /// Rules that follow events, and rules that follow the leader.
    pub(super) eventful: Vec<u16>,
    following: Vec<u16>,
    /// Rules that hold packets.
    pub(super) holding: Vec<u16>,
    /// What rules that heal by resets have starved.
    pub(super) heals: Vec<Starved>,
    /// Connections seen so far, per link.
    connections: Vec<u32>,
    /// Matching segments so far: per flow, direction and drawing rule. Untouched pages of
    /// it cost nothing.
    draws: Vec<u32>,
    /// Whether anything was drawn or starved of a flow, and which columns of draws are in use:
    /// what is not is neither written nor read.
    used: Vec<bool>,
    drawn: Vec<bool>,
    /// What single actions remember.
    pub(super) memory: Memory,
}

impl Prepared {
    /// Lays a table out. `former` is the table that it takes over from; `shares_stack`
    /// says of a node whether others live in its network stack.
    ///
    /// A table takes over only from one with the same nodes: what is held, known of flows
    /// and counted bears their ids. Whoever re-reads a file refuses another cluster first.
    #[must_use]
    pub fn new(
        table: Arc<Table>,
        former: Option<&Table>,
        shares_stack: impl Fn(NodeId) -> bool,
    ) -> Box<Self> {
        let names = |table: &Table| table.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
        assert!(
            former.is_none_or(|former| names(former) == names(&table)),
            "a table takes over from one with the same nodes in the same order"
        );
        let layout = Layout::new(&table);
        let (former, heirs) = kin(&table, former);
        Box::new(Self {
            identity: Identity::new(&table.nodes, shares_stack),
            counters: Arc::new(Counters::new(table.rules.len(), table.links())),
            former,
            heirs,
            // Once for the adoption, and once for an edge at the same time.
            fresh: Vec::with_capacity(table.rules.len() * 2 + EDGES_MAX),
            ended: Vec::with_capacity(table.rules.len() + EDGES_MAX),
            // Those of an adoption, and of a few events.
            untold: Vec::with_capacity(table.rules.len() + EDGES_MAX),
            just_adopted: false,
            eventful: rules_that(&table, |rule| rule.on.is_some()),
            following: rules_that(&table, |rule| {
                rule.sides.as_ref().is_some_and(OpenSides::follows)
            }),
            holding: rules_that(&table, |rule| super::holds::of(&rule.actions).is_some()),
            heals: rules_that(&table, |rule| rule.heals_by_reset)
                .into_iter()
                .map(|rule| Starved::new(rule, FLOWS_MAX))
                .collect(),
            memory: Memory::new(
                layout.flow_columns as usize,
                layout.link_columns as usize,
                table.links(),
            ),
            connections: vec![0; table.links()],
            draws: vec![0; layout.columns * 2 * FLOWS_MAX],
            used: vec![false; FLOWS_MAX],
            drawn: vec![false; layout.columns],
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

    /// The rule that goes on for one of the table before.
    pub(super) fn heir(&self, old: u16) -> Option<u16> {
        self.heirs.get(usize::from(old)).copied().flatten()
    }

    /// Takes over what events have brought about for rules of the former table.
    pub(super) fn keep_events(&mut self, old: &Self, t: Nanos) {
        for &rule in &self.eventful {
            let i = usize::from(rule);
            let Some(former) = self.former[i] else { continue };
            let event = |rule: &Rule| rule.on.map(|on| on.event);
            if event(&self.table.rules[i]) == event(&old.table.rules[former]) {
                self.layout.inherit_event(i, &old.layout.steps[former], t);
            }
        }
    }

    /// Whether some rule follows the leader.
    #[inline]
    pub(super) fn follows(&self) -> bool {
        !self.following.is_empty()
    }

    /// Somebody else leads: rules that follow the leader are about that node, and what they drop
    /// they drop of what is held, too.
    pub(super) fn follow(&mut self, current: Option<NodeId>) {
        for &rule in &self.following {
            let step = &mut self.layout.steps[usize::from(rule)];
            if let Some(special) = &mut step.special {
                special.follow(current);
                if step.active && self.fresh.len() < self.fresh.capacity() {
                    self.fresh.push(rule);
                    self.just_adopted = true;
                }
            }
        }
    }

    /// A rule became active, or ended, with a packet: what follows from it, follows when rules
    /// are looked at next.
    pub(super) fn note_edge(&mut self, edge: Edge) {
        if edge.active {
            self.counters.rules[usize::from(edge.rule)].activations.add(1);
            if self.fresh.len() < self.fresh.capacity() {
                self.fresh.push(edge.rule);
            }
        } else if self.ended.len() < self.ended.capacity() {
            self.ended.push(edge.rule);
        }
        if self.untold.len() < self.untold.capacity() {
            self.untold.push(edge);
        }
        self.just_adopted = true;
    }

    /// A rule that was active in the former table and still is goes on; one that is active
    /// only now, at `t` since the start, counts as just started.
    pub(super) fn keep_activations(&mut self, old: &Self, t: Nanos) {
        for (i, former) in self.former.iter().enumerate() {
            let rule = i as u16;
            let was = former.filter(|&f| old.layout.is_active_at(f, t));
            let step = &mut self.layout.steps[i];
            if let Some(f) = *former {
                // Who waits for its end goes on from here.
                step.endings = old.layout.steps[f].endings;
            }
            match (was, step.active) {
                (Some(f), true) => {
                    step.since = old.layout.steps[f].since;
                    let triggers = self.table.rules[i].trigger().is_some();
                    step.triggered = old.layout.steps[f].triggered && triggers;
                    let mut over = step.triggered;
                    if let (Some(new), Some(old)) =
                        (&mut step.special, &old.layout.steps[f].special)
                    {
                        new.go_on(old, &self.former);
                        over |= new.is_used_up();
                    }
                    if over {
                        self.layout.fire(rule);
                    }
                    let waits = old.fresh.contains(&(f as u16));
                    if waits || !same_deeds(&self.table.rules[i], &old.table.rules[f]) {
                        self.fresh.push(rule);
                    }
                }
                (None, true) => {
                    self.counters.rules[i].activations.add(1);
                    self.fresh.push(rule);
                    let leaderless = self.layout.steps[i].is_leaderless();
                    self.untold.push(Edge { rule, at: t, active: true, leaderless });
                }
                (Some(_), false) => {
                    step.endings = step.endings.wrapping_add(1);
                    self.ended.push(rule);
                    self.untold.push(Edge { rule, at: t, active: false, leaderless: false });
                }
                (None, false) => {}
            }
        }
        self.just_adopted = true;
    }

    /// Goes on counting connections, and the matching segments of rules that keep their
    /// name: what was drawn before must not be drawn again.
    pub(super) fn keep_draws(&mut self, old: &mut Self, flows: usize) {
        if self.connections.len() == old.connections.len() {
            std::mem::swap(&mut self.connections, &mut old.connections);
        }
        self.keep_memory(old, flows);
        self.used.copy_from_slice(&old.used);
        let (width, old_width) = (self.layout.columns, old.layout.columns);
        for (i, former) in self.former.iter().enumerate() {
            let column = self.layout.steps[i].column;
            let former = former.and_then(|f| old.layout.steps.get(f)).and_then(|s| s.column);
            let (Some(column), Some(former)) = (column, former) else { continue };
            let (column, former) = (column as usize, former as usize);
            if !old.drawn[former] {
                continue;
            }
            self.drawn[column] = true;
            for flow in (0..flows).filter(|&flow| old.used[flow]) {
                for row in [flow * 2, flow * 2 + 1] {
                    self.draws[row * width + column] = old.draws[row * old_width + former];
                }
            }
        }
    }

    /// Actions that stand in both tables remember what they did: a bottleneck that was busy is.
    fn keep_memory(&mut self, old: &Self, flows: usize) {
        for (i, former) in self.former.iter().enumerate() {
            let Some(former) = former.and_then(|f| old.layout.steps.get(f)) else { continue };
            let pairs = self.layout.steps[i].actions.clone().zip(former.actions.clone());
            for (new, former) in pairs {
                let (new, former) = (new as usize, former as usize);
                if self.layout.actions[new] == old.layout.actions[former] {
                    let cells = [self.layout.cells[new], old.layout.cells[former]];
                    self.memory.inherit(cells[0], &old.memory, cells[1], flows);
                }
            }
        }
    }

    /// A flow takes a place: its draws start anew.
    pub(super) fn new_flow(&mut self, id: FlowId) {
        self.memory.new_flow(id);
        if std::mem::take(&mut self.used[id.0 as usize]) {
            self.heals.iter_mut().for_each(|heal| heal.forget(id));
            let width = self.layout.columns * 2;
            let at = id.0 as usize * width;
            wipe(&mut self.draws[at..at + width]);
        }
    }

    /// What a rule has starved, if it heals that by resets; and the flow is one to be forgotten.
    pub(super) fn starved(&mut self, rule: u16, id: FlowId) -> Option<&mut Starved> {
        let at = self.heals.binary_search_by_key(&rule, |heal| heal.rule).ok()?;
        self.used[id.0 as usize] = true;
        self.heals.get_mut(at)
    }

    /// Numbers a packet's connection among those of its link, when its first packet comes;
    /// not when something is first drawn for it, since that would hang on other rules.
    #[inline]
    pub(super) fn number_connection(&mut self, facts: &Facts, flows: &mut Flows) {
        let Some(id) = facts.flow else { return };
        let connection = &mut flows.get_mut(id).connection[usize::from(facts.direction)];
        if *connection == 0 {
            let connections = &mut self.connections[usize::from(facts.link.0)];
            *connections += 1;
            *connection = *connections;
        }
    }

    /// Counts the segments of a packet that matches a rule, and names the draws of the first
    /// of them; `None` where the rule draws nothing. A packet whose flow is forgotten draws
    /// as the connection 0.
    #[inline]
    pub(super) fn draw(&mut self, rule: u16, facts: &Facts, flows: &Flows) -> Option<Draw> {
        let step = &self.layout.steps[usize::from(rule)];
        let column = step.column? as usize;
        let mut draw =
            Draw { rule: step.key, link: facts.link, connection: 0, segment: 0, part: 0 };
        if let Some(id) = facts.flow {
            let direction = usize::from(facts.direction);
            draw.connection = flows.get(id).connection[direction];
            self.used[id.0 as usize] = true;
            self.drawn[column] = true;
            let row = (id.0 as usize * 2 + direction) * self.layout.columns;
            let segments = &mut self.draws[row + column];
            draw.segment = segments.wrapping_add(1);
            *segments = segments.wrapping_add(u32::from(facts.segments));
        }
        Some(draw)
    }

    /// How much of a packet that meets a rule's other conditions is hit: segments, or messages
    /// where it is about messages. A rule that is used up by it is left out from now on.
    #[inline(never)]
    pub(super) fn hits(
        &mut self,
        rule: u16,
        facts: &Facts,
        heard: &[Message],
        leaders: Option<&Leaders>,
    ) -> u64 {
        let step = &mut self.layout.steps[usize::from(rule)];
        let Some(special) = &mut step.special else { return u64::from(facts.segments) };
        let from = facts.link.ends(self.table.nodes.len()).0;
        let hits = special.hits(from, facts.segments, heard, leaders);
        if special.is_used_up() {
            self.layout.fire(rule);
        }
        hits
    }

    /// The actions of a rule, each with its index.
    pub(super) fn actions(&self, rule: u16) -> std::ops::Range<u32> {
        self.layout.steps[usize::from(rule)].actions.clone()
    }

    /// Whether a rule that has just become active drops this held packet.
    pub(super) fn drops_held(
        &mut self,
        rule: u16,
        now: Nanos,
        start: Nanos,
        facts: &Facts,
        flows: &Flows,
    ) -> bool {
        if !self.layout.covers(rule, facts.link) {
            return false;
        }
        let step = &self.layout.steps[usize::from(rule)];
        if step.fired || step.is_about_messages() {
            return false;
        }
        if !walk::matches(step, facts, flows, start) {
            return false;
        }
        // What an earlier rule accepts never comes to this one. Where that is by chance, the
        // roll was made when the packet came and is not known any more: this one applies.
        let mut at = self.layout.begin(facts);
        while let Some(other) = self.layout.next_open(facts, &mut at).filter(|&r| r < rule) {
            let step = &self.layout.steps[usize::from(other)];
            if step.accepts && walk::matches(step, facts, flows, start) {
                return false;
            }
        }
        let segments = self.hits(rule, facts, &[], None);
        if segments == 0 {
            return false;
        }
        self.counters.rules[usize::from(rule)].note_match(now.saturating_sub(start), segments);
        let draw = self.draw(rule, facts, flows);
        let drops = self.layout.drops(rule, facts) && walk::chance(self, rule, facts, draw);
        if drops {
            self.counters.rules[usize::from(rule)].acted.add(segments);
        }
        drops
    }
}

/// Rules that have their names from the table before: for each of this one its index there, and the
/// other way round.
fn kin(table: &Table, former: Option<&Table>) -> (Vec<Option<usize>>, Vec<Option<u16>>) {
    let old = former.map_or(&[][..], |former| &former.rules);
    let named: HashMap<&str, usize> =
        old.iter().enumerate().map(|(i, rule)| (rule.name.as_str(), i)).collect();
    let index = |rule: &Rule| named.get(rule.name.as_str()).copied();
    let former: Vec<Option<usize>> = table.rules.iter().map(index).collect();
    let mut heirs = vec![None; old.len()];
    for (i, old) in former.iter().enumerate() {
        if let Some(old) = old {
            heirs[*old] = Some(i as u16);
        }
    }
    (former, heirs)
}

fn rules_that(table: &Table, is: impl Fn(&Rule) -> bool) -> Vec<u16> {
    let rules = table.rules.iter().enumerate();
    rules.filter(|(_, rule)| is(rule)).map(|(i, _)| i as u16).collect()
}

/// Whether two rules do the same to the same packets, whenever they are active.
fn same_deeds(a: &Rule, b: &Rule) -> bool {
    a.links == b.links && a.sides == b.sides && a.filter == b.filter && a.actions == b.actions
}
