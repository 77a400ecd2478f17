//! Cuts that end by resetting what they starved.
//!
//! Of a connection that lost something to such a cut both ends are sent a RST when the rule ends,
//! so that nobody waits for TCP to try again. A RST is believed only if it bears the very number
//! that its receiver expects (RFC 5961), which the receiver's own segments have told: also those
//! that the cut dropped.

use super::flows::{FlowId, Flows};
use super::stalls::Orphans;
use super::{Engine, Facts, Prepared};
use crate::packet::{Endpoint, Proto};

/// Resets that wait to be sent; further ones are left out, and counted.
const RESETS_MAX: usize = 4_096;

/// A RST that belongs to no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rst {
    /// Whom it seems to come from.
    pub src: Endpoint,
    /// Who gets it.
    pub dst: Endpoint,
    /// The sequence number that its receiver expects.
    pub seq: u32,
    /// What it acknowledges: all that its receiver has sent.
    pub ack: u32,
}

/// The flows that one rule has starved.
#[derive(Debug)]
pub(super) struct Starved {
    pub(super) rule: u16,
    /// A bit for each place of the table of flows.
    flows: Box<[u64]>,
    /// Whether any of them may be set.
    any: bool,
}

impl Starved {
    pub(super) fn new(rule: u16, flows: usize) -> Self {
        Self { rule, flows: vec![0; flows.div_ceil(64)].into(), any: false }
    }

    pub(super) fn forget(&mut self, id: FlowId) {
        if self.any {
            self.flows[id.0 as usize / 64] &= !(1 << (id.0 % 64));
        }
    }

    fn note(&mut self, id: FlowId) {
        self.flows[id.0 as usize / 64] |= 1 << (id.0 % 64);
        self.any = true;
    }

    pub(super) fn inherit(&mut self, old: &Self) {
        if old.any {
            self.flows.copy_from_slice(&old.flows);
            self.any = true;
        }
    }

    /// Takes all out.
    fn take(&mut self) -> impl Iterator<Item = FlowId> {
        let some = if std::mem::take(&mut self.any) { &mut *self.flows } else { &mut [] };
        some.iter_mut().enumerate().flat_map(|(i, word)| {
            let bits = std::mem::take(word);
            (0..64)
                .filter(move |bit| bits & (1 << bit) != 0)
                .map(move |bit| FlowId(i as u32 * 64 + bit))
        })
    }
}

/// What has to be sent.
#[derive(Debug)]
pub(super) struct Resets {
    waiting: Vec<Rst>,
}

impl Resets {
    pub(super) fn new() -> Self {
        Self { waiting: Vec::with_capacity(RESETS_MAX) }
    }
}

impl Engine {
    /// A rule has dropped something of a flow, which it will have to heal.
    #[inline(never)]
    pub(super) fn starve(&mut self, rule: u16, facts: &Facts) {
        starve(&mut self.plan, &mut self.flows, rule, facts);
    }

    /// All rules end: resets what they starved.
    pub fn heal_cuts(&mut self) {
        for i in 0..self.plan.heals.len() {
            self.heal(self.plan.heals[i].rule);
        }
    }

    /// Another table is in force: what rules of the same name have starved they still have; what
    /// others did is healed.
    pub(super) fn keep_heals(&mut self, old: &mut Prepared) {
        for former in &mut old.heals {
            let heir = self.plan.heir(former.rule);
            let heals = &mut self.plan.heals;
            let at = heir.and_then(|rule| heals.binary_search_by_key(&rule, |h| h.rule).ok());
            match at {
                Some(at) => heals[at].inherit(former),
                None => self.heal_all(former),
            }
        }
    }

    /// A rule has ended: resets what it starved.
    #[inline(never)]
    pub(super) fn heal(&mut self, rule: u16) {
        let heals = &self.plan.heals;
        let Ok(at) = heals.binary_search_by_key(&rule, |heal| heal.rule) else { return };
        let none = Starved { rule, flows: Box::default(), any: false };
        let mut starved = std::mem::replace(&mut self.plan.heals[at], none);
        self.heal_all(&mut starved);
        self.plan.heals[at] = starved;
    }

    fn heal_all(&mut self, starved: &mut Starved) {
        let Self { plan, flows, resets, stalls, seq, .. } = self;
        for id in starved.take() {
            for direction in [0, 1] {
                match rst(flows, id, direction) {
                    Some(rst) if resets.waiting.len() < RESETS_MAX => resets.waiting.push(rst),
                    _ => plan.counters.totals.unhealed.add(1),
                }
            }
            let flow = flows.get_mut(id);
            if !std::mem::replace(&mut flow.is_reset, true) {
                plan.counters.totals.resets.add(1);
            }
            for direction in [0, 1] {
                if flow.held[usize::from(direction)] > 0 {
                    let generation = flow.generation;
                    stalls.leave_behind(Orphans { flow: id, generation, direction, before: *seq });
                    flow.held[usize::from(direction)] = 0;
                }
                flow.track[usize::from(direction)].lost = None;
            }
        }
    }

    /// Whether there are resets to be sent.
    #[inline]
    #[must_use]
    pub fn has_resets(&self) -> bool {
        !self.resets.waiting.is_empty()
    }

    /// Hands out the resets that are to be sent, once each.
    pub fn take_resets(&mut self, mut send: impl FnMut(&Rst)) {
        self.resets.waiting.drain(..).for_each(|rst| send(&rst));
    }
}

/// Notes that a rule has dropped something of a flow, where it is one that heals.
pub(super) fn starve(plan: &mut Prepared, flows: &mut Flows, rule: u16, facts: &Facts) {
    let (Some(id), Proto::Tcp) = (facts.flow, facts.proto) else { return };
    let Some(starved) = plan.starved(rule, id) else { return };
    starved.note(id);
    let track = &mut flows.get_mut(id).track[usize::from(facts.direction)];
    if facts.behind != facts.seq {
        let earlier = |lost: u32| lost.wrapping_sub(facts.seq).cast_signed() > 0;
        if track.lost.is_none_or(earlier) {
            track.lost = Some(facts.seq);
        }
    }
}

/// The RST for the end that sends in this direction.
fn rst(flows: &Flows, id: FlowId, direction: usize) -> Option<Rst> {
    let flow = flows.get(id);
    let (own, other) = (&flow.track[direction], &flow.track[1 - direction]);
    // Who dials and was never answered believes a RST that acknowledges its SYN, whatever number
    // it bears (RFC 9293, 3.10.7.3).
    let dials = own.next.map(|_| 0);
    let seq = own.expects.or(other.lost).or(other.next).or(dials)?;
    let ends = [flow.key.low, flow.key.high];
    let (dst, src) = (ends[direction], ends[1 - direction]);
    Some(Rst { src, dst, seq, ack: own.next.unwrap_or(0) })
}
