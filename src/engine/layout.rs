//! A table laid out for walking: per link the rules that are active now, found by a packet's ports.
//!
//! Links with the same rules share one list (a class, `classes.rs`), so that memory grows with
//! the distinct combinations and not with nodes squared. What a list makes of a packet is in
//! `index.rs`. Lists change when rules on them start or end, and without allocating: there is
//! always room for all rules of a class. Where many start or end at once, each list is written
//! anew, once.

mod classes;
mod index;

use super::Facts;
use super::dice::rule_key;
use super::memory::{self, Cells};
use super::special::Special;
use crate::packet::{LinkId, Proto};
use crate::rules::table::{
    Action, Event, FlowAge, Hold, Meant, Needs, OpenSides, Rule, Table, Trigger, Until, What,
    Window,
};
use crate::time::Nanos;
use index::{Cursor, Gate, Index};
use std::ops::Range;

/// So many rules go in and out one by one; of more, the lists that they are on are written anew.
const FEW: usize = 16;

/// A rule as the walk needs it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts about one rule, each asked alone")]
pub(super) struct Step {
    pub(super) proto: Option<Proto>,
    /// 0: any.
    pub(super) port: u16,
    pub(super) flow: Option<FlowAge>,
    pub(super) chance: Option<u64>,
    pub(super) actions: Range<u32>,
    /// Column in the table of draws; `None` where the rule draws nothing.
    pub(super) column: Option<u32>,
    pub(super) key: u64,
    pub(super) drops: bool,
    pub(super) keeps_held: bool,
    /// Accepts whatever matches it, by no chance and no count.
    pub(super) accepts: bool,
    /// What of packets it needs.
    needs: Needs,
    /// What only few rules have.
    pub(super) special: Option<Box<Special>>,
    window: Window,
    classes: Vec<u16>,
    pub(super) active: bool,
    /// Whether it has triggered its fault in this activation, or hit as much as it was to, and
    /// matches nothing more.
    pub(super) fired: bool,
    /// Whether it is the former.
    pub(super) triggered: bool,
    /// When this activation came into force, since the start; later than its planned start
    /// where the table was adopted later.
    pub(super) since: Nanos,
    /// How often it has ended.
    pub(super) endings: u32,
    start: Nanos,
    edge: Nanos,
}

/// All rules of a table and, per class of links, the active ones in file order.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) steps: Vec<Step>,
    pub(super) actions: Vec<Action>,
    /// Where each action's memory is.
    pub(super) cells: Vec<Cells>,
    pub(super) flow_columns: u32,
    pub(super) link_columns: u32,
    class_of: Vec<u16>,
    lists: Vec<List>,
    /// The needy ones of all links.
    needy: Index,
    /// Rules that started or ended and are still to be taken in or out.
    changed: Vec<u16>,
    pub(super) columns: usize,
    pub(super) tracks_flows: bool,
    /// Whether it is to be told how far each direction's bytes have come.
    pub(super) tracks_bytes: bool,
    /// Whether rules look at what few do.
    pub(super) looks_closely: bool,
    /// What its rules need of packets, active or not.
    pub(super) needs: Needs,
    next_edge: Nanos,
}

/// The rules of a class of links.
#[derive(Debug)]
struct List {
    all: Box<[u16]>,
    active: Index,
    /// Those that need single segments or all bytes: what is active, and what any packet may
    /// make so.
    needy: Index,
    /// Whether it has to be written anew.
    stale: bool,
}

impl List {
    fn new(all: Box<[u16]>, steps: &[Step]) -> Self {
        let gates = || all.iter().map(|&rule| steps[usize::from(rule)].gate(rule));
        let is_needy = |gate: &Gate| steps[usize::from(gate.rule)].is_needy();
        let (active, needy) = (Index::new(gates()), Index::new(gates().filter(is_needy)));
        Self { active, needy, all, stale: false }
    }

    /// Takes a rule in or out, as it is now.
    fn put(&mut self, rule: u16, step: &Step) {
        self.active.put(step.gate(rule), step.is_open());
        if step.is_needy() {
            self.needy.put(step.gate(rule), step.may_need());
        }
    }

    fn write_anew(&mut self, steps: &[Step]) {
        self.active.clear();
        self.needy.clear();
        for i in 0..self.all.len() {
            let rule = self.all[i];
            let step = &steps[usize::from(rule)];
            if step.is_open() || step.is_eventful() {
                self.put(rule, step);
            }
        }
        self.stale = false;
    }
}

/// Where a walk of a link's rules stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    class: u16,
    at: Cursor,
}

/// A rule that started or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Index of the rule.
    pub rule: u16,
    /// When it did, since the start.
    pub at: Nanos,
    /// Whether it is active now.
    pub active: bool,
    /// Whether it has become active and matches nothing so far: it follows the leader, and nobody
    /// is known to lead.
    pub leaderless: bool,
}

impl Layout {
    pub(super) fn new(table: &Table) -> Self {
        let (class_of, lists) = classes::of(table);
        let mut layout = Self {
            steps: Vec::with_capacity(table.rules.len()),
            actions: Vec::new(),
            cells: Vec::new(),
            flow_columns: 0,
            link_columns: 0,
            class_of,
            lists: Vec::new(),
            needy: Index::default(),
            changed: Vec::with_capacity(table.rules.len()),
            columns: 0,
            tracks_flows: false,
            tracks_bytes: false,
            looks_closely: false,
            needs: table.needs(),
            next_edge: Nanos::ZERO,
        };
        for rule in &table.rules {
            layout.add(rule, table.nodes.len());
        }
        for (class, list) in lists.iter().enumerate() {
            for &rule in list {
                layout.steps[usize::from(rule)].classes.push(class as u16);
            }
        }
        layout.lists = lists.into_iter().map(|all| List::new(all, &layout.steps)).collect();
        let all = layout.steps.iter().enumerate().filter(|(_, step)| step.is_needy());
        layout.needy = Index::new(all.map(|(rule, step)| step.gate(rule as u16)));
        for rule in 0..layout.steps.len() {
            if layout.steps[rule].is_eventful() {
                layout.refresh(rule);
            }
        }
        layout
    }

    fn add(&mut self, rule: &Rule, nodes: usize) {
        let first = self.actions.len() as u32;
        self.actions.extend_from_slice(&rule.actions);
        for action in &rule.actions {
            let (count, per_link) = memory::words(action);
            let columns = if per_link { &mut self.link_columns } else { &mut self.flow_columns };
            self.cells.push(Cells { first: *columns, count, per_link });
            *columns += count;
            self.tracks_flows |= needs_flow(action) || (count > 0 && !per_link);
        }
        let draws = rule.is_random();
        let narrow = &rule.filter.narrow;
        self.looks_closely |= !narrow.is_nothing();
        self.tracks_bytes |= narrow.offset.is_some() || rule.heals_by_reset;
        self.tracks_flows |= draws || self.tracks_bytes || rule.filter.flow.is_some();
        self.tracks_flows |= rule.filter.message.is_some();
        let special = Special::of(rule, nodes);
        let column = draws.then_some(self.columns as u32);
        self.columns += usize::from(draws);
        self.steps.push(Step {
            proto: rule.filter.proto,
            port: rule.filter.port.unwrap_or(0),
            flow: rule.filter.flow,
            chance: rule.filter.chance,
            actions: first..self.actions.len() as u32,
            column,
            key: rule_key(&rule.name),
            keeps_held: rule.keeps_held,
            drops: rule.actions.iter().any(|a| matches!(a, Action::Drop(_))),
            accepts: rule.filter.chance.is_none()
                && rule.filter.narrow.pattern.is_none()
                && rule.filter.message.is_none()
                && rule.filter.first.is_none()
                && rule.filter.every_nth.is_none()
                && rule.actions.contains(&Action::Accept),
            needs: rule.needs(),
            special,
            window: rule.window,
            classes: Vec::new(),
            active: false,
            fired: false,
            triggered: false,
            since: Nanos::ZERO,
            endings: 0,
            start: Nanos::ZERO,
            edge: Nanos::ZERO,
        });
    }

    fn list(&self, link: LinkId) -> &List {
        &self.lists[usize::from(self.class_of[usize::from(link.0)])]
    }

    /// Begins to walk the active rules of the packet's link that its transport and ports do not
    /// rule out.
    #[inline]
    pub(super) fn begin(&self, facts: &Facts) -> Walked {
        let class = self.class_of[usize::from(facts.link.0)];
        let active = &self.lists[usize::from(class)].active;
        Walked { class, at: active.begin(facts.proto, [facts.src_port, facts.dst_port]) }
    }

    /// The next of these rules, in file order.
    #[inline]
    pub(super) fn next_open(&self, facts: &Facts, walked: &mut Walked) -> Option<u16> {
        let active = &self.lists[usize::from(walked.class)].active;
        active.next([facts.src_port, facts.dst_port], &mut walked.at)
    }

    /// Goes on behind a rule that the walk itself has put out.
    pub(super) fn resume(&self, facts: &Facts, behind: u16) -> Walked {
        let class = self.class_of[usize::from(facts.link.0)];
        let active = &self.lists[usize::from(class)].active;
        let ports = [facts.src_port, facts.dst_port];
        Walked { class, at: active.resume(facts.proto, ports, behind) }
    }

    /// What the rules of a link need of such a packet, where that is single segments or all bytes.
    pub(super) fn needy(
        &self,
        link: LinkId,
        proto: Proto,
        ports: [u16; 2],
    ) -> impl Iterator<Item = Needs> {
        let rules = self.list(link).needy.open(proto, ports);
        rules.map(|rule| self.steps[usize::from(rule)].needs)
    }

    /// The same of all links.
    pub(super) fn all_needy(&self, proto: Proto, ports: [u16; 2]) -> impl Iterator<Item = Needs> {
        let rules = self.needy.open(proto, ports);
        rules.map(|rule| self.steps[usize::from(rule)].needs)
    }

    /// Whether a rule is active at `t`, since the start; `advance` may be behind.
    pub(super) fn is_active_at(&self, rule: usize, t: Nanos) -> bool {
        self.steps.get(rule).is_some_and(|step| step.active && t < step.edge)
    }

    /// Whether a rule has an action that drops such a packet, or its data.
    pub(super) fn drops(&self, rule: u16, facts: &Facts) -> bool {
        let actions = &self.steps[usize::from(rule)].actions;
        let actions = &self.actions[actions.start as usize..actions.end as usize];
        actions.iter().any(|action| match action {
            Action::Drop(What::Packets) => true,
            Action::Drop(What::Data) => facts.data,
            _ => false,
        })
    }

    /// Whether a rule is on a link.
    pub(super) fn covers(&self, rule: u16, link: LinkId) -> bool {
        self.list(link).all.binary_search(&rule).is_ok()
    }

    /// When the next rule starts or ends, since the start.
    pub(super) fn next_edge(&self) -> Nanos {
        self.next_edge
    }

    /// Starts and ends the rules whose time has come by `t` (since the start), and tells.
    pub(super) fn advance(&mut self, t: Nanos, mut tell: impl FnMut(Edge)) {
        self.next_edge = Nanos::MAX;
        for i in 0..self.steps.len() {
            let step = &mut self.steps[i];
            if step.edge <= t {
                let now = step.activation(t);
                let (start, end) = now.unwrap_or((Nanos::MAX, Nanos::MAX));
                let active = start <= t;
                let anew = active && (!step.active || start > step.start);
                let was = step.active;
                (step.active, step.edge) = (active, if active { end } else { start });
                if let Some(special) = step.special.as_ref().filter(|s| s.on.is_some()) {
                    step.edge = step.edge.min(special.edge(active));
                }
                if was && (!active || anew) {
                    step.endings = step.endings.wrapping_add(1);
                    tell(Edge { rule: i as u16, at: t, active: false, leaderless: false });
                }
                let rearmed = std::mem::take(&mut self.steps[i].fired);
                if anew {
                    tell(self.steps[i].begin(i as u16, t, start));
                }
                if was != active || rearmed {
                    self.changed.push(i as u16);
                }
            }
            self.next_edge = self.next_edge.min(self.steps[i].edge).min(self.steps[i].hold_edge());
        }
        self.refresh_changed();
    }

    /// What a rule holds is let go, and it holds nothing more in this activation.
    pub(super) fn end_hold(&mut self, rule: u16) {
        if let Some(special) = &mut self.steps[usize::from(rule)].special {
            special.hold_over = true;
        }
        self.fire(rule);
    }

    /// Something has happened at `t`: a rule that follows it becomes active, or will. Returns what
    /// ended and what began by it. `choice` chooses by the number of the activation.
    pub(super) fn event(
        &mut self,
        rule: u16,
        event: Event,
        t: Nanos,
        (meant, choice): (Meant, &dyn Fn(u32) -> u64),
        by: LinkId,
    ) -> [Option<Edge>; 2] {
        let step = &mut self.steps[usize::from(rule)];
        let Some(special) = &mut step.special else { return [None; 2] };
        if special.on.is_none_or(|on| on.event != event) {
            return [None; 2];
        }
        let meant = Meant { choice: choice(special.starts()), ..meant };
        let Some(start) = special.plan(t, meant, by) else { return [None; 2] };
        if start > t {
            step.edge = step.edge.min(start);
            self.next_edge = self.next_edge.min(start);
            return [None; 2];
        }
        step.endings = step.endings.wrapping_add(u32::from(step.active));
        let ended = step.active.then_some(Edge { rule, at: t, active: false, leaderless: false });
        let was_open = !std::mem::take(&mut step.fired) && step.active;
        step.active = true;
        step.edge = special.edge(true);
        self.next_edge = self.next_edge.min(step.edge);
        let began = step.begin(rule, t, start);
        if !was_open {
            self.refresh(usize::from(rule));
        }
        [ended, Some(began)]
    }

    /// What a rule triggers as it becomes active, and the link of the packet that made it so.
    pub(super) fn fires(&self, rule: u16) -> Option<(Trigger, LinkId)> {
        let step = &self.steps[usize::from(rule)];
        let special = step.special.as_ref()?;
        special.on.filter(|on| on.fires)?;
        let trigger = self.actions[step.actions.start as usize..step.actions.end as usize]
            .iter()
            .find_map(|action| match action {
            Action::Trigger(trigger) => Some(*trigger),
            _ => None,
        })?;
        let nodes = if special.nodes == 0 { trigger.nodes } else { special.nodes };
        Some((Trigger { nodes, ..trigger }, special.planned?.by))
    }

    /// A rule of the same name followed the same event in the former table: it goes on.
    pub(super) fn inherit_event(&mut self, rule: usize, old: &Step, t: Nanos) {
        let step = &mut self.steps[rule];
        let (Some(special), Some(former)) = (&mut step.special, &old.special) else { return };
        special.inherit(former);
        step.active = old.active && t < old.edge;
        (step.start, step.since) = (old.start, old.since);
        // It is looked at anew at once.
        step.edge = t;
        self.next_edge = t;
        self.refresh(rule);
    }

    /// A rule has triggered its fault: it is left out until it becomes active anew.
    pub(super) fn trigger(&mut self, rule: u16) {
        self.steps[usize::from(rule)].triggered = true;
        self.fire(rule);
    }

    /// A rule is left out until it becomes active anew.
    pub(super) fn fire(&mut self, rule: u16) {
        self.steps[usize::from(rule)].fired = true;
        self.refresh(usize::from(rule));
    }

    /// Takes a rule into its lists or out of them, as it is now.
    fn refresh(&mut self, rule: usize) {
        let step = &self.steps[rule];
        for &class in &step.classes {
            self.lists[usize::from(class)].put(rule as u16, step);
        }
        if step.is_needy() {
            self.needy.put(step.gate(rule as u16), step.may_need());
        }
    }

    fn refresh_changed(&mut self) {
        if self.changed.len() <= FEW {
            for i in 0..self.changed.len() {
                self.refresh(usize::from(self.changed[i]));
            }
            self.changed.clear();
            return;
        }
        for rule in self.changed.drain(..) {
            for &class in &self.steps[usize::from(rule)].classes {
                self.lists[usize::from(class)].stale = true;
            }
        }
        let stale = self.lists.iter_mut().filter(|list| list.stale);
        stale.for_each(|list| list.write_anew(&self.steps));
        self.needy.clear();
        let needy = self.steps.iter().enumerate().filter(|(_, step)| step.is_needy());
        for (rule, step) in needy {
            self.needy.put(step.gate(rule as u16), step.may_need());
        }
    }
}

impl Step {
    fn activation(&mut self, t: Nanos) -> Option<(Nanos, Nanos)> {
        match &mut self.special {
            Some(special) if special.on.is_some() => special.activation(t),
            _ => self.window.activation(t),
        }
    }

    /// It becomes active.
    fn begin(&mut self, rule: u16, t: Nanos, start: Nanos) -> Edge {
        (self.since, self.start, self.triggered) = (t, start, false);
        if let Some(special) = &mut self.special {
            special.begin();
        }
        Edge { rule, at: t, active: true, leaderless: self.is_leaderless() }
    }

    fn gate(&self, rule: u16) -> Gate {
        Gate { rule, port: self.port, proto: self.proto }
    }

    /// Whether packets are to be asked whether they match.
    fn is_open(&self) -> bool {
        self.active && !self.fired
    }

    /// Whether a packet that comes may be one of those that need more.
    fn may_need(&self) -> bool {
        self.is_open() || self.is_eventful()
    }

    /// Whether it needs more of packets than their headers, GSO or not.
    fn is_needy(&self) -> bool {
        self.needs.segments || self.needs.bytes
    }

    /// Whether the message of a packet may make it active, so that it is about that very packet.
    fn is_eventful(&self) -> bool {
        self.special.as_ref().is_some_and(|special| special.on.is_some())
    }

    /// Whether it follows the leader, and nobody is known to lead.
    pub(super) fn is_leaderless(&self) -> bool {
        self.special.as_ref().is_some_and(|special| {
            let follows = special.sides.as_ref().is_some_and(OpenSides::follows);
            follows && special.masks.is_empty()
        })
    }

    /// Whether it is about this link now, where that changes while it is active, and about such
    /// packets.
    #[cold]
    #[inline(never)]
    pub(super) fn is_for(&self, facts: &Facts) -> bool {
        self.special
            .as_ref()
            .is_none_or(|special| special.covers(facts.link) && special.is_met(facts))
    }

    /// How it holds packets, if it ever does.
    pub(super) fn hold(&self) -> Option<Hold> {
        self.special.as_ref().and_then(|special| special.hold)
    }

    /// How it holds packets now.
    pub(super) fn holds(&self) -> Option<Hold> {
        let special = self.special.as_ref().filter(|special| !special.hold_over && self.active)?;
        special.hold
    }

    /// When it lets go what it holds, where a time says so.
    fn hold_edge(&self) -> Nanos {
        match self.holds() {
            Some(Hold { until: Until::Time(time), .. }) => time,
            _ => Nanos::MAX,
        }
    }

    /// Whether another rule has ended since this one became active, by the number of its endings.
    pub(super) fn has_seen_end(&mut self, endings: u32) -> bool {
        let Some(special) = &mut self.special else { return false };
        endings != *special.endings.get_or_insert(endings)
    }

    /// Whether it is about messages: then it never applies to what is held, whose messages came
    /// before.
    pub(super) fn is_about_messages(&self) -> bool {
        self.special.as_ref().is_some_and(|special| special.message.is_some())
    }
}

/// Whether an action needs to know which flow a packet belongs to.
fn needs_flow(action: &Action) -> bool {
    matches!(
        action,
        Action::Delay(_)
            | Action::Reset
            | Action::Stall { .. }
            | Action::Rate(_)
            | Action::Slot(_)
            | Action::Hold(_)
    )
}
