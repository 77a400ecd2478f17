//! The engine's stupid twin: the semantics of the rule table, written down as they are said.
//!
//! No layout, no heap, no index: every rule is tried for every packet, an activation is
//! found by definition, and what is held is sorted when somebody asks. It knows nodes with a
//! stack of their own only, and never runs out of places for flows. Of the engine it uses
//! the dice, and nothing else.

mod cut;
mod silence;
mod times;

use cut::{is_bare_rst, is_resettable};
use raftq::engine::dice::{self, Draw, rule_key};
use raftq::packet::{Endpoint, LinkId, NodeId, PacketView, Proto, tcp_flags};
use raftq::rules::table::{Action, Filter, FlowAge, Order, Rule, Table, What};
use raftq::time::Nanos;
use raftq::wire::Message;
use std::collections::BTreeMap;
use times::{activation, edges};

/// What came of a packet; the time is its due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Accept,
    Drop,
    Trim,
    Reset { seq: u32 },
    Hold { due: Nanos, trim: bool, ordered: bool },
}

/// A rule started or ended, or a held packet left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Edge {
        rule: usize,
        active: bool,
    },
    Left {
        packet: u32,
        dropped: bool,
    },
    /// A fault's nodes are silent, by a packet on this link or by order.
    Silent {
        fault: u16,
        nodes: Vec<u16>,
        by: Option<LinkId>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleSum {
    pub(crate) matched: u64,
    pub(crate) acted: u64,
    pub(crate) span: Option<(Nanos, Nanos)>,
    pub(crate) activations: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkSum {
    pub(crate) packets: u64,
    pub(crate) dropped: u64,
    pub(crate) trimmed: u64,
    pub(crate) delayed: u64,
}

#[derive(Clone, Debug)]
struct Flow {
    ends: [Endpoint; 2],
    proto: Proto,
    /// When its SYN was last seen, or the first packet of a UDP flow.
    opened: Option<Nanos>,
    isn: u32,
    seen: Nanos,
    /// Whether its ends were used for another connection since.
    over: bool,
    /// Its ordinal among the connections of a link, by sending end.
    ordinals: BTreeMap<Endpoint, u32>,
    /// Matching segments by rule and sending end.
    segments: BTreeMap<(String, Endpoint), u32>,
    /// What was stalled of it, by sending end.
    stalls: BTreeMap<Endpoint, cut::Stall>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    due: Nanos,
    arrival: u32,
    flow: usize,
    link: LinkId,
    view: PacketView,
    /// Whether it is a bare acknowledgement by now.
    trimmed: bool,
    ordered: bool,
}

/// An activation that was noticed: which one, and since when packets are judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Active {
    which: u64,
    since: Nanos,
    /// Whether it has triggered its fault.
    fired: bool,
    /// Segments that met its conditions, and how many of them were hit.
    met: u64,
    hit: u64,
}

impl Active {
    fn at(since: Nanos) -> Self {
        Self { which: 0, since, fired: false, met: 0, hit: 0 }
    }
}

pub(crate) struct Naive {
    table: Table,
    held_max: usize,
    active: Vec<Option<Active>>,
    /// Rules whose drops have not been applied to what is held.
    fresh: Vec<usize>,
    untold: Vec<Event>,
    flows: Vec<Flow>,
    connections: BTreeMap<LinkId, u32>,
    held: Vec<Held>,
    arrivals: u32,
    pub(crate) rules: BTreeMap<String, RuleSum>,
    pub(crate) links: BTreeMap<LinkId, LinkSum>,
    /// How many faults silence each node.
    silences: BTreeMap<u16, u32>,
    pub(crate) silenced: u64,
    /// What packets triggered, and nobody has asked for.
    pub(crate) triggered: Vec<Event>,
    /// What resets have left behind, and nobody has asked for.
    pub(crate) orphans: Vec<Event>,
    pub(crate) overflow: u64,
    pub(crate) foreign: u64,
    leads: cut::Leads,
}

impl Naive {
    /// The clock starts at zero.
    pub(crate) fn new(table: Table, held_max: usize) -> Self {
        Self {
            active: vec![None; table.rules.len()],
            rules: table.rules.iter().map(|r| (r.name.clone(), RuleSum::default())).collect(),
            table,
            held_max,
            fresh: Vec::new(),
            untold: Vec::new(),
            flows: Vec::new(),
            connections: BTreeMap::new(),
            held: Vec::new(),
            arrivals: 0,
            links: BTreeMap::new(),
            silences: BTreeMap::new(),
            silenced: 0,
            triggered: Vec::new(),
            orphans: Vec::new(),
            overflow: 0,
            foreign: 0,
            leads: cut::Leads::default(),
        }
    }

    /// Another table comes into force.
    pub(crate) fn adopt(&mut self, table: Table, now: Nanos) {
        let old = std::mem::replace(&mut self.table, table);
        let was = std::mem::take(&mut self.active);
        let pending = std::mem::take(&mut self.fresh);
        self.untold.clear();
        let mut rules = BTreeMap::new();
        for (i, rule) in self.table.rules.iter().enumerate() {
            let former = old.rules.iter().position(|r| r.name == rule.name);
            let sum = former.and_then(|_| self.rules.remove(&rule.name)).unwrap_or_default();
            let goes_on = former
                .and_then(|f| was[f].filter(|a| activation(&old.rules[f], now) == Some(a.which)));
            let active = activation(rule, now)
                .map(|which| Active { which, ..goes_on.unwrap_or(Active::at(now)) })
                .map(|a| Active { fired: a.fired && rule.trigger().is_some(), ..a })
                .map(|a| {
                    let goes_on = former.is_some_and(|f| cut::count(&old.rules[f], rule));
                    if goes_on { a } else { Active { met: 0, hit: 0, ..a } }
                });
            self.active.push(active);
            let sum = rules.entry(rule.name.clone()).or_insert(sum);
            let same = former.is_some_and(|f| {
                let f = &old.rules[f];
                let deeds =
                    |r: &Rule| (r.links.clone(), r.sides.clone(), r.filter, r.actions.clone());
                deeds(f) == deeds(rule)
            });
            let waits = former.is_some_and(|f| pending.contains(&f));
            if active.is_some() && (goes_on.is_none() || !same || waits) {
                self.fresh.push(i);
            }
            if active.is_some() != goes_on.is_some() {
                sum.activations += u64::from(active.is_some());
                self.untold.push(Event::Edge { rule: i, active: active.is_some() });
            }
        }
        self.rules = rules;
        self.rename_stalls();
        // What a rule draws goes on where it drew before.
        let kept = |name: &String| {
            let draws = |t: &Table| t.rules.iter().any(|r| r.name == *name && draws(r));
            draws(&old) && draws(&self.table)
        };
        self.flows.iter_mut().for_each(|flow| flow.segments.retain(|(name, _), _| kept(name)));
    }

    /// Rules start and end, new drops apply to what is held, and what is due leaves.
    pub(crate) fn advance(&mut self, now: Nanos) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.untold);
        for (i, rule) in self.table.rules.iter().enumerate() {
            let which = activation(rule, now);
            let was = self.active[i];
            if which == was.map(|a| a.which) {
                continue;
            }
            if was.is_some() {
                events.push(Event::Edge { rule: i, active: false });
            }
            self.active[i] = which.map(|which| Active { which, ..Active::at(now) });
            if which.is_some() {
                events.push(Event::Edge { rule: i, active: true });
                self.rules.get_mut(&rule.name).expect("its sums").activations += 1;
                self.fresh.push(i);
            }
        }
        self.held.sort_by_key(|held| (held.due, held.arrival));
        for i in std::mem::take(&mut self.fresh) {
            for held in std::mem::take(&mut self.held) {
                if self.drops_held(i, &held, now) {
                    self.link(held.link).dropped += u64::from(held.view.segments);
                    events.push(Event::Left { packet: held.arrival, dropped: true });
                } else {
                    self.held.push(held);
                }
            }
        }
        for held in std::mem::take(&mut self.held) {
            if held.due <= now {
                events.push(Event::Left { packet: held.arrival, dropped: false });
            } else {
                self.held.push(held);
            }
        }
        events
    }

    /// The next time at which something happens by itself.
    pub(crate) fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let edges = self.table.rules.iter().flat_map(|rule| edges(rule, now));
        let dues = self.held.iter().map(|held| held.due);
        edges.filter(|&edge| now < edge && edge < Nanos::MAX).chain(dues).min()
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Judges a packet and holds it, where that is its fate and there is room.
    pub(crate) fn packet(
        &mut self,
        now: Nanos,
        view: &PacketView,
        says: &[Message],
    ) -> (Fate, Option<usize>, bool) {
        self.arrivals += 1;
        let Some(link) = self.link_of(view) else {
            self.foreign += 1;
            return (Fate::Accept, None, true);
        };
        let flow = self.flow(now, view);
        let connections = &mut self.connections;
        self.flows[flow].ordinals.entry(view.src).or_insert_with(|| {
            *connections.entry(link).or_insert(0) += 1;
            connections[&link]
        });
        self.hear(link, says);
        let segments = u64::from(view.segments);
        self.link(link).packets += segments;
        if self.is_silent(link) {
            self.link(link).dropped += segments;
            self.silenced += segments;
            return (Fate::Drop, None, true);
        }
        let mut walk = self.walk(now, view, link, flow, says);
        self.pass_stall(now, view, flow, &mut walk);
        let (fate, decided) = self.fate(now, view, flow, walk);
        match fate {
            Fate::Drop | Fate::Reset { .. } => self.link(link).dropped += segments,
            Fate::Trim | Fate::Hold { trim: true, .. } => self.link(link).trimmed += segments,
            _ => {}
        }
        let Fate::Hold { due, trim, ordered } = fate else { return (fate, decided, true) };
        if self.held.len() >= self.held_max {
            self.overflow += 1;
            self.link(link).dropped += segments;
            return (fate, decided, false);
        }
        self.link(link).delayed += segments;
        let arrival = self.arrivals;
        self.held.push(Held { due, arrival, flow, link, view: *view, trimmed: trim, ordered });
        (fate, decided, true)
    }

    fn fate(
        &self,
        now: Nanos,
        view: &PacketView,
        flow: usize,
        walk: Walk,
    ) -> (Fate, Option<usize>) {
        let trim = walk.end == Some(End::Trim);
        if walk.end == Some(End::Drop) {
            return (Fate::Drop, walk.decided);
        }
        if let Some(End::Reset(seq)) = walk.end {
            return (Fate::Reset { seq }, walk.decided);
        }
        let due = now + walk.delay;
        let ordered = !walk.free;
        let ahead = self.held.iter().filter(|held| {
            ordered && held.ordered && held.flow == flow && held.view.src == view.src
        });
        let last = ahead.map(|held| held.due).max();
        let fate = match last {
            Some(last) => Fate::Hold { due: due.max(last), trim, ordered },
            None if walk.delay > Nanos::ZERO => Fate::Hold { due, trim, ordered },
            None if trim => Fate::Trim,
            None => Fate::Accept,
        };
        (fate, walk.decided)
    }

    fn walk(
        &mut self,
        now: Nanos,
        view: &PacketView,
        link: LinkId,
        flow: usize,
        says: &[Message],
    ) -> Walk {
        let mut walk = Walk::default();
        for (i, rule) in self.table.rules.clone().iter().enumerate() {
            if walk.end.is_some() {
                break;
            }
            if !self.meets(i, link, view, flow) {
                continue;
            }
            let Some(units) = self.hits(i, view, says) else { continue };
            let draw = self.matched(now, rule, view, link, flow, units);
            if !self.hit(&rule.filter, &draw, view) {
                continue;
            }
            let mut acted = false;
            for (part, action) in (1..).zip(&rule.actions) {
                let end = match action {
                    Action::Accept => Some(End::Accept),
                    Action::Drop(What::Data) if !has_data(view) => continue,
                    Action::Drop(What::Data) if has_acknowledgement(view) => Some(End::Trim),
                    Action::Drop(What::Data | What::Packets) => Some(End::Drop),
                    Action::Reset | Action::Stall { .. } if is_bare_rst(view) => continue,
                    Action::Reset if !is_resettable(view) => Some(End::Drop),
                    Action::Reset => Some(End::Reset(self.reset(view, flow))),
                    Action::Stall { reset_after } => Some(End::Stall(*reset_after)),
                    Action::Trigger(trigger) => {
                        self.active[i].as_mut().expect("only active rules are met").fired = true;
                        let sender = link.ends(self.table.nodes.len()).0;
                        let named = (0..128).filter(|n| trigger.nodes & (1 << n) != 0).collect();
                        let nodes = if trigger.nodes == 0 { vec![sender.0] } else { named };
                        let held = trigger.drops_held;
                        let events = self.begin(trigger.fault, nodes, held, Some(link));
                        self.triggered.extend(events);
                        Some(End::Drop)
                    }
                    Action::Delay(delay) => {
                        let bits = Draw { part: part * 8, ..draw }.bits(self.table.seed);
                        walk.delay =
                            walk.delay + dice::delay(delay, &self.table.distributions, bits);
                        walk.free |= delay.order == Order::Free;
                        None
                    }
                    other => panic!("the twin knows nothing of {other:?}"),
                };
                acted = true;
                if end.is_some() {
                    walk.end = end;
                    break;
                }
            }
            if acted {
                self.rule(&rule.name).acted += units;
                if walk.end.is_some() || walk.decided.is_none() {
                    walk.decided = Some(i);
                }
            }
        }
        walk
    }

    /// Whether a rule is active and a packet meets its links and its `where`.
    fn meets(&self, i: usize, link: LinkId, view: &PacketView, flow: usize) -> bool {
        let rule = &self.table.rules[i];
        let Some(active) = self.active[i] else { return false };
        let flow = &self.flows[flow];
        let opened = flow.opened.filter(|_| !flow.over);
        let new = opened.is_some_and(|opened| opened >= active.since);
        !active.fired
            && rule.filter.first.is_none_or(|first| active.hit < u64::from(first))
            && rule.links.contains(&link)
            && (rule.sides.is_none() || self.is_of_the_leader(link))
            && rule.filter.proto.is_none_or(|proto| proto == view.proto)
            && rule.filter.port.is_none_or(|port| port == view.src.port || port == view.dst.port)
            && rule.filter.flow.is_none_or(|age| (age == FlowAge::New) == new)
    }

    /// Counts a match; returns what is drawn for its first segment.
    fn matched(
        &mut self,
        now: Nanos,
        rule: &Rule,
        view: &PacketView,
        link: LinkId,
        flow: usize,
        units: u64,
    ) -> Draw {
        let sum = self.rule(&rule.name);
        sum.matched += units;
        sum.span = Some((sum.span.map_or(now, |(first, _)| first), now));
        let flow = &mut self.flows[flow];
        let mut draw =
            Draw { rule: rule_key(&rule.name), link, connection: 0, segment: 0, part: 0 };
        if !flow.over {
            let segments = flow.segments.entry((rule.name.clone(), view.src)).or_insert(0);
            draw.connection = flow.ordinals[&view.src];
            draw.segment = *segments + 1;
            *segments += u32::from(view.segments);
        }
        draw
    }

    fn hit(&self, filter: &Filter, draw: &Draw, view: &PacketView) -> bool {
        filter.chance.is_none_or(|share| {
            (0..u32::from(view.segments)).any(|i| {
                Draw { segment: draw.segment + i, ..*draw }.happens(self.table.seed, share)
            })
        })
    }

    /// A drop that has just started applies to what is held as if it came now: unless an
    /// earlier rule accepts it, and an acknowledgement passes a cut of data.
    fn drops_held(&mut self, i: usize, held: &Held, now: Nanos) -> bool {
        let rule = self.table.rules[i].clone();
        let Held { view, link, flow, .. } = held;
        let drops = rule.actions.iter().any(|a| matches!(a, Action::Drop(_)));
        // Its messages were heard as it came, and completed then.
        let drops = drops && rule.filter.message.is_none();
        if !drops || !self.meets(i, *link, view, *flow) {
            return false;
        }
        let spares =
            |rule: &Rule| cut::is_sure(&rule.filter) && rule.actions.contains(&Action::Accept);
        let earlier = self.table.rules[..i].iter().enumerate();
        if earlier.clone().any(|(j, r)| spares(r) && self.meets(j, *link, view, *flow)) {
            return false;
        }
        let Some(units) = self.hits(i, view, &[]) else { return false };
        let draw = self.matched(now, &rule, view, *link, *flow, units);
        let data = has_data(view) && !held.trimmed;
        let drops = rule.actions.iter().any(|action| match action {
            Action::Drop(What::Packets) => true,
            Action::Drop(What::Data) => data,
            _ => false,
        });
        if !drops || !self.hit(&rule.filter, &draw, view) {
            return false;
        }
        self.rule(&rule.name).acted += units;
        true
    }

    /// The link of traffic between nodes: one end is a peer endpoint, the other an address
    /// of a node.
    fn link_of(&self, view: &PacketView) -> Option<LinkId> {
        let nodes = &self.table.nodes;
        let endpoint = |end| nodes.iter().any(|n| n.endpoints.contains(&end));
        let owner = |end: Endpoint| {
            let owns = |e: &Endpoint| e.addr == end.addr;
            nodes.iter().position(|n| n.endpoints.iter().any(owns)).map(|i| NodeId(i as u16))
        };
        let (from, to) = (owner(view.src)?, owner(view.dst)?);
        (endpoint(view.src) || endpoint(view.dst)).then(|| LinkId::new(from, to, nodes.len()))
    }

    fn flow(&mut self, now: Nanos, view: &PacketView) -> usize {
        let syn = view.proto == Proto::Tcp
            && view.flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN;
        let same = |flow: &Flow| {
            let ends = flow.ends == [view.src, view.dst] || flow.ends == [view.dst, view.src];
            ends && flow.proto == view.proto && !flow.over
        };
        if let Some(i) = self.flows.iter().position(same) {
            let flow = &mut self.flows[i];
            let silent = now.saturating_sub(std::mem::replace(&mut flow.seen, now));
            let anew = match view.proto {
                Proto::Tcp => syn && (flow.opened.is_none() || flow.isn != view.seq),
                Proto::Udp => silent > Nanos::from_secs(60),
            };
            if !anew {
                if syn {
                    flow.opened = Some(now);
                }
                return i;
            }
            flow.over = true;
        }
        self.flows.push(Flow {
            ends: [view.src, view.dst],
            proto: view.proto,
            opened: (syn || view.proto == Proto::Udp).then_some(now),
            isn: view.seq,
            seen: now,
            over: false,
            ordinals: BTreeMap::new(),
            segments: BTreeMap::new(),
            stalls: BTreeMap::new(),
        });
        self.flows.len() - 1
    }

    fn rule(&mut self, name: &str) -> &mut RuleSum {
        self.rules.get_mut(name).expect("every rule has sums")
    }

    fn link(&mut self, link: LinkId) -> &mut LinkSum {
        self.links.entry(link).or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Accept,
    Drop,
    Trim,
    Reset(u32),
    Stall(Option<Nanos>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    end: Option<End>,
    delay: Nanos,
    free: bool,
    decided: Option<usize>,
}

/// More than a bare acknowledgement.
fn has_data(view: &PacketView) -> bool {
    let opens_or_ends = view.flags & (tcp_flags::SYN | tcp_flags::FIN) != 0;
    view.proto == Proto::Udp || opens_or_ends || view.len > u32::from(view.header_len)
}

fn has_acknowledgement(view: &PacketView) -> bool {
    view.proto == Proto::Tcp
        && view.flags & tcp_flags::ACK != 0
        && view.flags & (tcp_flags::SYN | tcp_flags::RST) == 0
}

fn draws(rule: &Rule) -> bool {
    let jitter = |a: &Action| matches!(a, Action::Delay(d) if d.jitter > Nanos::ZERO);
    rule.filter.chance.is_some() || rule.actions.iter().any(jitter)
}
