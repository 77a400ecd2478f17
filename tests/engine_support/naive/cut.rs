//! The engine's stupid twin: what is counted before it is hit, and connections that were stalled
//! or reset. Bytes are told apart by plain numbers, since those of a test never begin anew.

use super::{End, Event, Naive, Walk, has_acknowledgement, has_data};
use raftq::packet::{LinkId, NodeId, PacketView, Proto, tcp_flags};
use raftq::rules::table::{Bounds, Filter, MessageFilter, Rule};
use raftq::time::Nanos;
use raftq::wire::{Kind, Message};

/// A direction of a flow of which nothing arrives.
#[derive(Clone, Debug)]
pub(super) struct Stall {
    from: u32,
    reset_at: Option<Nanos>,
    /// The rule that did it, as long as there is one of that name.
    rule: Option<String>,
}

/// Who leads: who was first to speak as a leader in the highest term in which anybody did.
#[derive(Debug, Default)]
pub(super) struct Leads {
    term: u64,
    node: Option<NodeId>,
}

impl Naive {
    /// Hears what a node says, before its packet is judged.
    pub(super) fn hear(&mut self, link: LinkId, says: &[Message]) {
        let from = link.ends(self.table.nodes.len()).0;
        for message in says {
            let term = message.term.expect("all of a test bear one");
            let leads = matches!(message.kind, Kind::Append | Kind::Heartbeat);
            if leads && term > self.leads.term {
                let other = self.leads.node != Some(from);
                self.leads = Leads { term, node: Some(from) };
                let follow = |i: &usize| self.table.rules[*i].sides.is_some();
                let active = |i: &usize| self.active[*i].is_some();
                let rules = (0..self.table.rules.len()).filter(|i| other && follow(i) && active(i));
                self.fresh.extend(rules.collect::<Vec<_>>());
            }
        }
    }

    /// Whether a link is between the leader and another node.
    pub(super) fn is_of_the_leader(&self, link: LinkId) -> bool {
        let (from, to) = link.ends(self.table.nodes.len());
        self.leads.node.is_some_and(|leader| leader == from || leader == to)
    }

    /// How many segments of a packet that meets a rule's other conditions are hit; none where
    /// that is none.
    pub(super) fn hits(&mut self, i: usize, view: &PacketView, says: &[Message]) -> Option<u64> {
        let rule = &self.table.rules[i];
        let filter = rule.filter;
        if !counts(rule) {
            return Some(u64::from(view.segments));
        }
        let met = match &filter.message {
            None => usize::from(view.segments),
            Some(about) => says.iter().filter(|message| meets(about, message)).count(),
        };
        let active = self.active[i].as_mut().expect("only active rules are met");
        let nth = u64::from(filter.every_nth.unwrap_or(1));
        let hits = (0..met)
            .filter(|_| {
                active.met += 1;
                active.met.is_multiple_of(nth)
            })
            .count() as u64;
        active.hit += hits;
        (hits > 0).then_some(hits)
    }

    /// The number of a RST that goes instead of a packet. What is held of its direction leaves.
    pub(super) fn reset(&mut self, view: &PacketView, flow: usize) -> u32 {
        let stalled = self.flows[flow].stalls.remove(&view.src).map(|stall| stall.from);
        let mut seq = stalled.map_or(view.seq, |from| from.min(view.seq));
        self.held.sort_by_key(|held| (held.due, held.arrival));
        for held in std::mem::take(&mut self.held) {
            if held.flow == flow && held.view.src == view.src && !self.flows[flow].over {
                seq = seq.min(held.view.seq);
                self.link(held.link).dropped += u64::from(held.view.segments);
                self.orphans.push(Event::Left { packet: held.arrival, dropped: true });
            } else {
                self.held.push(held);
            }
        }
        seq
    }

    /// Another table is in force.
    pub(super) fn rename_stalls(&mut self) {
        let rules = &self.table.rules;
        for stall in self.flows.iter_mut().flat_map(|flow| flow.stalls.values_mut()) {
            stall.rule = stall.rule.take().filter(|name| rules.iter().any(|r| r.name == *name));
        }
    }

    /// What a stall makes of a packet that the rules let go on.
    pub(super) fn pass_stall(
        &mut self,
        now: Nanos,
        view: &PacketView,
        flow: usize,
        walk: &mut Walk,
    ) {
        if matches!(walk.end, Some(End::Drop | End::Reset(_))) {
            return;
        }
        if let Some(End::Stall(reset_after)) = walk.end {
            let rule = walk.decided.expect("a rule did it");
            let rule = Some(self.table.rules[rule].name.clone());
            let reset_at = reset_after.map(|after| now + after);
            let stall = Stall { from: view.seq, reset_at, rule };
            self.flows[flow].stalls.entry(view.src).or_insert(stall);
            walk.end = Some(End::Accept);
        }
        let waits = self
            .held
            .iter()
            .any(|held| held.ordered && held.flow == flow && held.view.src == view.src);
        let Some(stall) = self.flows[flow].stalls.get_mut(&view.src) else { return };
        let lost = has_data(view) && end(view) > stall.from;
        if lost {
            stall.from = stall.from.min(view.seq);
        }
        let stall = stall.clone();
        let rule = self.table.rules.iter().position(|rule| Some(&rule.name) == stall.rule.as_ref());
        let due = stall.reset_at.is_some_and(|at| at <= now) && !waits;
        if due && is_resettable(view) && (lost || !has_data(view)) {
            self.flows[flow].stalls.remove(&view.src);
            walk.end = Some(End::Reset(stall.from));
            walk.decided = rule.or(walk.decided);
        } else if lost {
            let trims = has_acknowledgement(view) && view.segments == 1;
            walk.end = Some(if trims { End::Trim } else { End::Drop });
            walk.decided = rule.or(walk.decided);
        }
    }
}

/// The number behind the last byte.
fn end(view: &PacketView) -> u32 {
    let flag = |flag| u32::from(view.flags & flag != 0);
    let payload = view.len - u32::from(view.header_len);
    view.seq + payload + flag(tcp_flags::SYN) + flag(tcp_flags::FIN)
}

/// Whether it counts what it meets.
fn counts(rule: &Rule) -> bool {
    let Filter { first, every_nth, message, .. } = rule.filter;
    first.is_some() || every_nth.is_some() || message.is_some() || rule.sides.is_some()
}

fn meets(about: &MessageFilter, message: &Message) -> bool {
    let within = |bounds: Bounds, n: u64| bounds.least <= n && n <= bounds.most;
    about.kinds().any(|kind| kind == message.kind)
        && about.term.is_none_or(|b| message.term.is_some_and(|term| within(b, term)))
        && about.entries.is_none_or(|b| within(b, u64::from(message.entries)))
}

/// Whether a rule goes on counting where a former one stood.
pub(super) fn count(former: &Rule, rule: &Rule) -> bool {
    counts(former) && counts(rule)
}

/// Whether a rule hits whatever meets its other conditions.
pub(super) fn is_sure(filter: &Filter) -> bool {
    let Filter { chance, first, every_nth, message, .. } = filter;
    chance.is_none() && first.is_none() && every_nth.is_none() && message.is_none()
}

/// It says of itself that its connection is over.
pub(super) fn is_bare_rst(view: &PacketView) -> bool {
    !has_data(view) && !is_resettable(view)
}

pub(super) fn is_resettable(view: &PacketView) -> bool {
    view.proto == Proto::Tcp
        && view.flags & tcp_flags::ACK != 0
        && view.flags & tcp_flags::RST == 0
        && view.segments == 1
}
