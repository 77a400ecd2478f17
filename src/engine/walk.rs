//! What the active rules of a link make of one packet.
//!
//! Rules are tried in file order and compose: delays add up; `accept`, `drop`, `reset` and `stall`
//! end the walk, and so does a packet that triggers a fault. No rule matches: accept. Behind the
//! rules comes what an earlier packet has done to the flow: what they let go on may be stalled.

use super::dice::{self, Draw};
use super::flows::Flows;
use super::layout::Step;
use super::prepared::Prepared;
use super::silence::Silence;
use super::stalls::Stalled;
use super::{Decision, Engine, Facts, Verdict};
use crate::rules::table::{Action, FlowAge, Order, Trigger, What};
use crate::time::Nanos;
use crate::wire::Message;

/// Where a walk ended.
enum End {
    Through,
    Accept,
    Drop,
    Trim,
    Reset,
    Stall,
}

/// What a walk collected.
struct Walk {
    end: End,
    delay: Nanos,
    free_order: bool,
    rule: Option<u16>,
    /// The sequence number of a RST, where a stall tells it.
    seq: Option<u32>,
    /// When a stall that begins is to be reset, counted from now.
    reset_after: Option<Nanos>,
}

impl Engine {
    /// Walks the active rules of the packet's link, in file order, and counts.
    #[inline]
    pub(super) fn judge(
        &mut self,
        now: Nanos,
        start: Nanos,
        facts: Facts,
        heard: &[Message],
    ) -> Decision {
        let segments = u64::from(facts.segments);
        self.plan.counters.link(facts.link).packets.add(segments);
        self.plan.number_connection(&facts, &mut self.flows);
        if self.silence.covers(facts.link, self.plan.table.nodes.len()) {
            self.plan.counters.link(facts.link).dropped.add(segments);
            self.plan.counters.totals.silenced.add(segments);
            return Decision { verdict: Verdict::Drop, facts: Some(facts), rule: None };
        }
        let mut walk = self.walk(now.saturating_sub(start), start, &facts, heard);
        if matches!(walk.end, End::Stall) {
            let reset_at = walk.reset_after.map(|after| now + after);
            self.stalls.begin(&facts, walk.rule.unwrap_or_default(), reset_at);
        }
        if self.stalls.is_any() && !matches!(walk.end, End::Drop | End::Reset) {
            self.pass_stall(now, &mut walk, &facts);
        }
        let reset_to = match walk.end {
            End::Reset => Some(walk.seq.unwrap_or_else(|| self.reset(&facts))),
            _ => None,
        };
        let link = self.plan.counters.link(facts.link);
        let trim = match walk.end {
            End::Drop | End::Reset => {
                link.dropped.add(segments);
                let verdict = reset_to.map_or(Verdict::Drop, |seq| Verdict::Reset { seq });
                self.plan.counters.totals.resets.add(u64::from(reset_to.is_some()));
                return Decision { verdict, facts: Some(facts), rule: walk.rule };
            }
            End::Trim => {
                link.trimmed.add(segments);
                true
            }
            // A stall that could not begin: its flow is not known.
            End::Through | End::Accept | End::Stall => false,
        };
        let verdict = match self.due(now, &walk, &facts) {
            Some(due) => Verdict::Hold { due, trim, ordered: !walk.free_order },
            None if trim => Verdict::Trim,
            None => Verdict::Accept,
        };
        Decision { verdict, facts: Some(facts), rule: walk.rule }
    }

    /// What a stall of its direction makes of a packet that the rules let go on.
    #[inline(never)]
    fn pass_stall(&mut self, now: Nanos, walk: &mut Walk, facts: &Facts) {
        let direction = usize::from(facts.direction);
        let waits = facts.flow.is_some_and(|id| self.flows.get(id).held[direction] > 0);
        match self.stalls.meet(now, facts, waits) {
            Stalled::Passes if matches!(walk.end, End::Stall) => walk.end = End::Accept,
            Stalled::Passes => {}
            Stalled::Lost(rule) => {
                self.plan.counters.totals.stalled.add(u64::from(facts.segments));
                let trims = facts.trimmable && facts.segments == 1;
                walk.end = if trims { End::Trim } else { End::Drop };
                walk.rule = rule.or(walk.rule);
            }
            Stalled::Reset(seq, rule) => {
                walk.end = End::Reset;
                (walk.seq, walk.rule) = (Some(seq), rule.or(walk.rule));
            }
        }
    }

    fn walk(&mut self, t: Nanos, start: Nanos, facts: &Facts, heard: &[Message]) -> Walk {
        let mut walk = Walk {
            end: End::Through,
            delay: Nanos::ZERO,
            free_order: false,
            rule: None,
            seq: None,
            reset_after: None,
        };
        let (plan, flows, silence) = (&mut *self.plan, &self.flows, &mut self.silence);
        let mut at = 0;
        while let Some(rule) = plan.layout.next_open(facts, &mut at) {
            if !matches(&plan.layout.steps[usize::from(rule)], facts, flows, start) {
                continue;
            }
            let mut units = u64::from(facts.segments);
            if plan.layout.steps[usize::from(rule)].special.is_some() {
                units = plan.hits(rule, facts, heard, Some(&self.hearing.leaders));
                if plan.layout.steps[usize::from(rule)].fired {
                    // It is not in the list any more.
                    at -= 1;
                }
                if units == 0 {
                    continue;
                }
            }
            plan.counters.rules[usize::from(rule)].note_match(t, units);
            let draw = plan.draw(rule, facts, flows);
            if !chance(plan, rule, facts, draw) {
                continue;
            }
            let acted = apply(plan, rule, facts, draw, (t, silence), &mut walk);
            if acted {
                plan.counters.rules[usize::from(rule)].acted.add(units);
                walk.rule = walk.rule.filter(|_| matches!(walk.end, End::Through)).or(Some(rule));
            }
            if !matches!(walk.end, End::Through) {
                break;
            }
        }
        walk
    }

    /// When a packet is due; `None`: now. A packet whose flow has held ones waits behind
    /// them, delayed itself or not, unless its delay leaves the order free.
    fn due(&mut self, now: Nanos, walk: &Walk, facts: &Facts) -> Option<Nanos> {
        let due = now + walk.delay;
        if walk.free_order {
            return (walk.delay > Nanos::ZERO).then_some(due);
        }
        let behind = facts.flow.and_then(|id| {
            let flow = self.flows.get(id);
            let direction = usize::from(facts.direction);
            (flow.held[direction] > 0).then_some(flow.last_due[direction])
        });
        match behind {
            Some(last) => Some(due.max(last)),
            None => (walk.delay > Nanos::ZERO).then_some(due),
        }
    }
}

/// Whether a packet meets a rule's `where`, its chance aside.
#[inline]
pub(super) fn matches(step: &Step, facts: &Facts, flows: &Flows, start: Nanos) -> bool {
    if step.proto.is_some_and(|proto| proto != facts.proto) {
        return false;
    }
    if step.port != 0 && step.port != facts.src_port && step.port != facts.dst_port {
        return false;
    }
    if step.special.is_some() && !step.covers(facts.link) {
        return false;
    }
    let Some(age) = step.flow else { return true };
    let opened = facts.flow.and_then(|id| flows.get(id).opened);
    let new = opened.is_some_and(|opened| opened >= start + step.since);
    new == (age == FlowAge::New)
}

/// Rolls a rule's chance for every wire segment; true where one of them is hit.
#[inline]
pub(super) fn chance(plan: &Prepared, rule: u16, facts: &Facts, draw: Option<Draw>) -> bool {
    let chance = plan.layout.steps[usize::from(rule)].chance;
    let (Some(share), Some(draw)) = (chance, draw) else { return true };
    (0..u32::from(facts.segments)).any(|i| {
        let draw = Draw { segment: draw.segment.wrapping_add(i), ..draw };
        draw.happens(plan.table.seed, share)
    })
}

/// Applies the actions of a rule that matches; returns whether any of them acted.
#[inline]
fn apply(
    plan: &mut Prepared,
    rule: u16,
    facts: &Facts,
    draw: Option<Draw>,
    (t, silence): (Nanos, &mut Silence),
    walk: &mut Walk,
) -> bool {
    let range = plan.layout.steps[usize::from(rule)].actions.clone();
    let mut acted = false;
    for (number, i) in (1..).zip(range) {
        match plan.layout.actions[i as usize] {
            Action::Accept => walk.end = End::Accept,
            Action::Drop(What::Data) if !facts.data => continue,
            Action::Drop(What::Data) if facts.trimmable => walk.end = End::Trim,
            Action::Reset | Action::Stall { .. } if !facts.data && !facts.resettable => continue,
            Action::Reset if facts.resettable => walk.end = End::Reset,
            Action::Drop(What::Packets | What::Data) | Action::Reset => walk.end = End::Drop,
            Action::Delay(delay) => {
                let bits = match draw {
                    Some(draw) if delay.jitter > Nanos::ZERO => {
                        draw.of_action(number).bits(plan.table.seed)
                    }
                    _ => 0,
                };
                walk.delay = walk.delay + dice::delay(&delay, &plan.table.distributions, bits);
                walk.free_order |= delay.order == Order::Free;
            }
            Action::Stall { reset_after } => {
                (walk.end, walk.reset_after) = (End::Stall, reset_after);
            }
            Action::Trigger(trigger) => {
                let special = &plan.layout.steps[usize::from(rule)].special;
                let nodes = special.as_ref().map_or(0, |special| special.nodes);
                let nodes = if nodes == 0 { trigger.nodes } else { nodes };
                let trigger = Trigger { nodes, ..trigger };
                if !silence.trigger(t, &trigger, facts.link, plan.table.nodes.len()) {
                    continue;
                }
                plan.layout.trigger(rule);
                walk.end = End::Drop;
            }
        }
        acted = true;
        if !matches!(walk.end, End::Through) {
            // What stands behind a drop of data is meant for acknowledgements.
            break;
        }
    }
    acted
}
