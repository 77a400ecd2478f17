//! The engine's stupid twin: what is counted before it is hit, and connections that were stalled
//! or reset. Bytes are told apart by plain numbers, since those of a test never begin anew.

use super::{End, Event, Naive, Walk, has_acknowledgement, has_data};
use raftq::packet::{PacketView, Proto, tcp_flags};
use raftq::rules::table::{Filter, Rule};
use raftq::time::Nanos;

/// A direction of a flow of which nothing arrives.
#[derive(Clone, Debug)]
pub(super) struct Stall {
    from: u32,
    reset_at: Option<Nanos>,
    /// The rule that did it, as long as there is one of that name.
    rule: Option<String>,
}

impl Naive {
    /// How many segments of a packet that meets a rule's other conditions are hit; none where
    /// that is none.
    pub(super) fn hits(&mut self, i: usize, view: &PacketView) -> Option<u64> {
        let filter = self.table.rules[i].filter;
        if !counts(&filter) {
            return Some(u64::from(view.segments));
        }
        let active = self.active[i].as_mut().expect("only active rules are met");
        let nth = u64::from(filter.every_nth.unwrap_or(1));
        let hits = (0..view.segments)
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

fn counts(filter: &Filter) -> bool {
    filter.first.is_some() || filter.every_nth.is_some()
}

/// Whether a rule goes on counting where a former one stood.
pub(super) fn count(former: &Rule, rule: &Rule) -> bool {
    counts(&former.filter) && counts(&rule.filter)
}

/// Whether a rule hits whatever meets its other conditions.
pub(super) fn is_sure(filter: &Filter) -> bool {
    filter.chance.is_none() && filter.first.is_none() && filter.every_nth.is_none()
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
