//! What the active rules of a link make of one packet.
//!
//! Rules are tried in file order and compose: delays add up, and so do marks, copies and damage;
//! `accept`, `drop`, `reset`, `stall`, `reject` and `hold` end the walk, and so do a loss and a
//! packet that triggers a fault. No rule matches: accept. Behind the rules comes what an earlier
//! packet has done to the flow: what they let go on may be stalled.

use super::dice::{self, Draw};
use super::flows::Flows;
use super::impair::{self, Copies, Damage};
use super::layout::Step;
use super::prepared::Prepared;
use super::silence::Silence;
use super::stalls::Stalled;
use super::{Decision, Engine, Extras, Facts, Keep, Verdict};
use crate::rules::table::{
    Action, COPIES_MAX, Corrupt, Delay, FlowAge, Losing, Order, Part, Reject, Trigger, What,
};
use crate::time::Nanos;
use crate::wire::Message;

/// Where a walk ended.
#[derive(Clone, Copy)]
enum End {
    Through,
    Accept,
    Drop,
    Trim,
    Reset,
    Stall,
    Reject(Reject),
    Hold,
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
    /// Whether it overtakes what is held of its flow.
    overtakes: bool,
    extras: Extras,
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
        let link = self.plan.counters.link(facts.link);
        link.packets.add(segments);
        link.bytes.add(u64::from(facts.len));
        self.plan.number_connection(&facts, &mut self.flows);
        if self.silence.covers(facts.link, self.plan.table.nodes.len()) {
            self.plan.counters.link(facts.link).dropped.add(segments);
            self.plan.counters.totals.silenced.add(segments);
            return Decision { verdict: Verdict::Drop, facts: Some(facts), ..Decision::foreign() };
        }
        let mut walk = self.walk(now, start, &facts, heard);
        if matches!(walk.end, End::Stall) {
            let reset_at = walk.reset_after.map(|after| now + after);
            self.stalls.begin(&facts, walk.rule.unwrap_or_default(), reset_at);
        }
        if self.stalls.is_any() && !matches!(walk.end, End::Drop | End::Reset | End::Reject(_)) {
            self.pass_stall(now, &mut walk, &facts);
        }
        let reset_to = match walk.end {
            End::Reset => Some(walk.seq.unwrap_or_else(|| self.reset(&facts))),
            _ => None,
        };
        if reset_to.is_some() {
            self.count_reset(facts.flow);
        }
        if !self.plan.heals.is_empty() && matches!(walk.end, End::Drop | End::Trim) {
            self.starve(walk.rule.unwrap_or(u16::MAX), &facts);
        }
        let decide =
            |verdict, extras| Decision { verdict, facts: Some(facts), rule: walk.rule, extras };
        let link = self.plan.counters.link(facts.link);
        let trim = match walk.end {
            End::Drop | End::Reset | End::Reject(_) => {
                link.dropped.add(segments);
                let verdict = match (reset_to, walk.end) {
                    (Some(seq), _) => Verdict::Reset { seq },
                    (None, End::Reject(with)) => Verdict::Reject(with),
                    _ => Verdict::Drop,
                };
                return decide(verdict, Extras::default());
            }
            End::Trim => {
                link.trimmed.add(segments);
                true
            }
            // A stall that could not begin: its flow is not known.
            End::Through | End::Accept | End::Stall | End::Hold => false,
        };
        let verdict = match self.keep(now, &walk, &facts) {
            Some(keep) => Verdict::Hold(Keep { trim, ..keep }),
            None if trim => Verdict::Trim,
            None => Verdict::Accept,
        };
        // What is trimmed has no payload to be changed, and its copies would bring what it lost.
        let mut extras = walk.extras;
        if trim {
            (extras.damage, extras.copies) = (None, None);
        }
        decide(verdict, extras)
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

    fn walk(&mut self, now: Nanos, start: Nanos, facts: &Facts, heard: &[Message]) -> Walk {
        let t = now.saturating_sub(start);
        let mut walk = Walk {
            end: End::Through,
            delay: Nanos::ZERO,
            free_order: false,
            rule: None,
            seq: None,
            reset_after: None,
            overtakes: false,
            extras: Extras::default(),
        };
        let (plan, flows, silence) = (&mut *self.plan, &self.flows, &mut self.silence);
        let mut at = plan.layout.begin(facts);
        while let Some(rule) = plan.layout.next_open(facts, &mut at) {
            if !matches(&plan.layout.steps[usize::from(rule)], facts, flows, start) {
                continue;
            }
            let mut units = u64::from(facts.segments);
            if plan.layout.steps[usize::from(rule)].special.is_some() {
                units = plan.hits(rule, facts, heard, Some(&self.hearing.leaders));
                if plan.layout.steps[usize::from(rule)].fired {
                    // It is not in the list any more.
                    at = plan.layout.resume(facts, rule);
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
            let acted = apply(plan, rule, (facts, draw), (now, t), silence, &mut walk);
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

    /// Whether a packet has to wait, and for what. A packet whose flow has held ones waits behind
    /// them, delayed itself or not, unless its delay leaves the order free or it overtakes.
    fn keep(&mut self, now: Nanos, walk: &Walk, facts: &Facts) -> Option<Keep> {
        let own = now + walk.delay;
        let by = walk.rule.filter(|_| matches!(walk.end, End::Hold));
        let keep = |due| Keep { due, own, by, rule: walk.rule, trim: false, ordered: true };
        if by.is_some() {
            return Some(Keep { own: Nanos::MAX, ..keep(Nanos::MAX) });
        }
        let late = walk.delay > Nanos::ZERO;
        if walk.free_order || walk.overtakes {
            return late.then_some(Keep { ordered: false, ..keep(own) });
        }
        let behind = facts.flow.and_then(|id| {
            let flow = self.flows.get(id);
            let direction = usize::from(facts.direction);
            (flow.held[direction] > 0).then_some(flow.last_due[direction])
        });
        match behind {
            Some(last) => Some(keep(own.max(last))),
            None => late.then_some(keep(own)),
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
    if step.special.is_some() && !step.is_for(facts) {
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
    (facts, draw): (&Facts, Option<Draw>),
    (now, t): (Nanos, Nanos),
    silence: &mut Silence,
    walk: &mut Walk,
) -> bool {
    let mut acted = false;
    for (number, i) in (1..).zip(plan.actions(rule)) {
        let draw = draw.map(|draw| draw.of_action(number));
        match plan.layout.actions[i as usize] {
            Action::Accept => walk.end = End::Accept,
            Action::Drop(What::Data) if !facts.data => continue,
            Action::Drop(What::Data) if facts.trimmable => walk.end = End::Trim,
            Action::Reset | Action::Stall { .. } if !facts.data && !facts.resettable => continue,
            Action::Reset if facts.resettable => walk.end = End::Reset,
            Action::Drop(What::Packets | What::Data) | Action::Reset => walk.end = End::Drop,
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
            Action::Reject(with) => walk.end = End::Reject(with),
            Action::Hold(_) => walk.end = End::Hold,
            Action::Mark(mark) => {
                let former = walk.extras.mark;
                walk.extras.mark = Some(former.map_or(mark, |former| former.and(mark)));
            }
            Action::Delay(delay) if delay.correlation == 0 => {
                let bits = match draw {
                    Some(draw) if delay.jitter > Nanos::ZERO => draw.bits(plan.table.seed),
                    _ => 0,
                };
                lengthen(plan, &delay, bits, walk);
            }
            impairing => {
                if !impair(plan, i, impairing, (facts, draw), now, walk) {
                    continue;
                }
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

fn lengthen(plan: &Prepared, delay: &Delay, bits: u64, walk: &mut Walk) {
    walk.delay = walk.delay + dice::delay(delay, &plan.table.distributions, bits);
    walk.free_order |= delay.order == Order::Free;
}

/// The actions that remember something, or look at how much a packet is; returns whether it acted.
#[inline(never)]
fn impair(
    plan: &mut Prepared,
    action: u32,
    of: Action,
    (facts, draw): (&Facts, Option<Draw>),
    now: Nanos,
    walk: &mut Walk,
) -> bool {
    let seed = plan.table.seed;
    let cells = plan.layout.cells[action as usize];
    // A rule that draws has a draw; without one nothing is by chance.
    let draw = draw.unwrap_or(Draw::NONE);
    let at = now + walk.delay;
    let memory = plan.memory.of(cells, facts).unwrap_or_default();
    match of {
        Action::Delay(delay) => {
            let bits = match memory.first_mut() {
                Some(last) => dice::correlated(draw, seed, delay.correlation, last),
                None => draw.bits(seed),
            };
            lengthen(plan, &delay, bits, walk);
            true
        }
        Action::Lose(losing) => {
            let each = (0..u32::from(facts.segments)).map(|i| draw.behind(i));
            let lost = match losing {
                // Every segment is drawn for, also behind one that is lost: a memory that always
                // ended with a loss would lose more of what comes next.
                Losing::Lot(lot) => {
                    let mut hit = false;
                    each.for_each(|draw| hit |= impair::hits(lot, seed, draw, memory));
                    hit
                }
                Losing::Model(model) => each.fold(false, |lost, draw| {
                    let mut forgotten = 0;
                    let state = memory.first_mut().unwrap_or(&mut forgotten);
                    dice::lost(&model, state, seed, draw) || lost
                }),
            };
            if lost {
                walk.end = End::Drop;
            }
            lost
        }
        Action::Reorder(reorder) => {
            let overtakes = impair::overtakes(&reorder, seed, draw, memory);
            if overtakes {
                (walk.delay, walk.overtakes) = (Nanos::ZERO, true);
            }
            overtakes
        }
        Action::Duplicate(duplicate) => {
            let hit = facts.changeable && impair::hits(duplicate.lot, seed, draw, memory);
            if hit {
                let former = walk.extras.copies.map_or(0, |copies| copies.count);
                let count = former.saturating_add(duplicate.count).min(COPIES_MAX);
                walk.extras.copies = Some(Copies { count, after: duplicate.delay });
            }
            hit
        }
        Action::Corrupt(corrupt) => {
            let part = damageable(&corrupt, facts);
            let hit = part.filter(|_| impair::hits(corrupt.lot, seed, draw, memory));
            // What it is changed by is drawn only for those that are hit.
            let hit = hit.map(|damage| Damage { bits: draw.and(2).bits(seed), ..damage });
            walk.extras.damage = hit.or(walk.extras.damage);
            hit.is_some()
        }
        Action::Rate(rate) => {
            let bytes = (facts.wire_len(), u64::from(facts.segments));
            let mut forgotten = 0;
            let free = memory.first_mut().unwrap_or(&mut forgotten);
            match impair::passed(&rate, at, bytes, free) {
                Some(due) => walk.delay = due.saturating_sub(now),
                None => walk.end = End::Drop,
            }
            walk.delay > Nanos::ZERO || matches!(walk.end, End::Drop)
        }
        Action::Slot(slot) => {
            let tables = &plan.table.distributions;
            let due = impair::slot(&slot, at, facts.wire_len(), memory, |number, every| {
                let draw = Draw { connection: 0, segment: number as u32, ..draw };
                dice::delay(every, tables, draw.bits(seed))
            });
            walk.delay = due.unwrap_or(at).saturating_sub(now);
            true
        }
        Action::Accept
        | Action::Drop(_)
        | Action::Reset
        | Action::Stall { .. }
        | Action::Trigger(_)
        | Action::Reject(_)
        | Action::Hold(_)
        | Action::Mark(_) => false,
    }
}

/// What of a packet would be changed, by nothing yet; `None` where it has nothing there.
fn damageable(corrupt: &Corrupt, facts: &Facts) -> Option<Damage> {
    let len = facts.payload_len();
    let (from, to, one_bit) = match corrupt.part {
        Part::Bit => (0, len, true),
        Part::Bytes { from, to } => (u32::from(from), u32::from(to).min(len), false),
    };
    let fixes_checksum = corrupt.fixes_checksum;
    let some = facts.changeable && from < to;
    some.then_some(Damage { from, to, bits: 0, one_bit, fixes_checksum })
}
