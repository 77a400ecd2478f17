//! A table laid out for walking: per link a short list of the rules that are active now.
//!
//! Links with the same rules share one list (a class), so that memory grows with the
//! distinct combinations and not with nodes squared. A list is rebuilt when a rule on it
//! starts or ends, never for a packet, and without allocating: it always has room for all
//! rules of its class.

use super::Facts;
use super::dice::rule_key;
use crate::packet::{LinkId, Proto};
use crate::rules::table::{Action, FlowAge, Rule, Table, What, Window};
use crate::time::Nanos;
use std::collections::HashMap;
use std::ops::Range;

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
    /// Accepts whatever matches it, by no chance.
    pub(super) accepts: bool,
    window: Window,
    classes: Vec<u16>,
    pub(super) active: bool,
    /// Whether it has triggered its fault in this activation, and matches nothing more.
    pub(super) fired: bool,
    /// When this activation came into force, since the start; later than its planned start
    /// where the table was adopted later.
    pub(super) since: Nanos,
    start: Nanos,
    edge: Nanos,
}

/// All rules of a table and, per class of links, the active ones in file order.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) steps: Vec<Step>,
    pub(super) actions: Vec<Action>,
    class_of: Vec<u16>,
    lists: Vec<List>,
    pub(super) columns: usize,
    pub(super) tracks_flows: bool,
    next_edge: Nanos,
}

#[derive(Debug)]
struct List {
    all: Box<[u16]>,
    active: Vec<Gate>,
}

/// What of a rule's `where` can be asked without looking the rule up. Most rules of a long
/// list turn a packet away here, and eight of them fit a cache line.
#[derive(Clone, Copy, Debug)]
struct Gate {
    rule: u16,
    /// 0: any.
    port: u16,
    proto: Option<Proto>,
}

impl Gate {
    #[inline]
    fn is_open(self, facts: &Facts) -> bool {
        let port = self.port == 0 || self.port == facts.src_port || self.port == facts.dst_port;
        port && self.proto.is_none_or(|proto| proto == facts.proto)
    }
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
}

impl Layout {
    pub(super) fn new(table: &Table) -> Self {
        let (class_of, lists) = classes(table);
        let mut layout = Self {
            steps: Vec::with_capacity(table.rules.len()),
            actions: Vec::new(),
            class_of,
            lists,
            columns: 0,
            tracks_flows: false,
            next_edge: Nanos::ZERO,
        };
        for rule in &table.rules {
            layout.add(rule);
        }
        for (class, list) in layout.lists.iter().enumerate() {
            for &rule in &list.all {
                layout.steps[usize::from(rule)].classes.push(class as u16);
            }
        }
        layout
    }

    fn add(&mut self, rule: &Rule) {
        let first = self.actions.len() as u32;
        self.actions.extend_from_slice(&rule.actions);
        let delays = rule.actions.iter().any(|a| matches!(a, Action::Delay(_)));
        let draws = rule.filter.chance.is_some()
            || rule.actions.iter().any(|a| matches!(a, Action::Delay(d) if d.jitter > Nanos::ZERO));
        self.tracks_flows |= draws || delays || rule.filter.flow.is_some();
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
            accepts: rule.filter.chance.is_none() && rule.actions.contains(&Action::Accept),
            window: rule.window,
            classes: Vec::new(),
            active: false,
            fired: false,
            since: Nanos::ZERO,
            start: Nanos::ZERO,
            edge: Nanos::ZERO,
        });
    }

    /// The next active rule of the packet's link, in file order, that its transport and
    /// ports do not rule out. `at` is where the walk stands; begin with 0.
    #[inline]
    pub(super) fn next_open(&self, facts: &Facts, at: &mut usize) -> Option<u16> {
        let class = self.class_of[usize::from(facts.link.0)];
        let rest = &self.lists[usize::from(class)].active[*at..];
        let skip = rest.iter().position(|gate| gate.is_open(facts))?;
        *at += skip + 1;
        Some(rest[skip].rule)
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
            Action::Accept | Action::Delay(_) | Action::Trigger(_) => false,
        })
    }

    /// Whether a rule is on a link.
    pub(super) fn covers(&self, rule: u16, link: LinkId) -> bool {
        let class = self.class_of[usize::from(link.0)];
        self.lists[usize::from(class)].all.binary_search(&rule).is_ok()
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
                let now = step.window.activation(t);
                let (start, end) = now.unwrap_or((Nanos::MAX, Nanos::MAX));
                let active = start <= t;
                let anew = active && (!step.active || start > step.start);
                let was = step.active;
                (step.active, step.edge) = (active, if active { end } else { start });
                if was && (!active || anew) {
                    tell(Edge { rule: i as u16, at: t, active: false });
                }
                let rearmed = std::mem::take(&mut self.steps[i].fired);
                if anew {
                    self.steps[i].since = t;
                    self.steps[i].start = start;
                    tell(Edge { rule: i as u16, at: t, active: true });
                }
                if was != active || rearmed {
                    self.refresh(i);
                }
            }
            self.next_edge = self.next_edge.min(self.steps[i].edge);
        }
    }

    /// A rule has triggered its fault: it is left out until it becomes active anew.
    pub(super) fn fire(&mut self, rule: u16) {
        self.steps[usize::from(rule)].fired = true;
        self.refresh(usize::from(rule));
    }

    fn refresh(&mut self, rule: usize) {
        for &class in &self.steps[rule].classes {
            let list = &mut self.lists[usize::from(class)];
            list.active.clear();
            let steps = &self.steps;
            list.active.extend(list.all.iter().filter_map(|&rule| {
                let step = &steps[usize::from(rule)];
                let open = step.active && !step.fired;
                open.then_some(Gate { rule, port: step.port, proto: step.proto })
            }));
        }
    }
}

/// Groups the links by the rules that are on them.
fn classes(table: &Table) -> (Vec<u16>, Vec<List>) {
    let mut per_link: Vec<Vec<u16>> = vec![Vec::new(); table.links()];
    for (i, rule) in table.rules.iter().enumerate() {
        for link in &rule.links {
            per_link[usize::from(link.0)].push(i as u16);
        }
    }
    let mut known: HashMap<Vec<u16>, u16> = HashMap::new();
    let mut lists = Vec::new();
    let class_of = per_link
        .into_iter()
        .map(|rules| {
            *known.entry(rules).or_insert_with_key(|rules| {
                let all: Box<[u16]> = rules.as_slice().into();
                lists.push(List { active: Vec::with_capacity(all.len()), all });
                (lists.len() - 1) as u16
            })
        })
        .collect();
    (class_of, lists)
}
