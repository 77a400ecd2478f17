//! Packets that rules hold until something ends it, and what waits behind them.
//!
//! They stand among the other held packets, due never. What ends a hold makes them due at once;
//! what was behind them in its flow is due when it would have been, or with them.

use super::held::Held;
use super::layout::Step;
use super::{Engine, order};
use crate::rules::table::{Action, Event, Hold, Until};
use crate::time::Nanos;
use std::cmp::Reverse;

impl Engine {
    /// Ends the holds whose time has come, whose rule has, or whose other rule has. Called where
    /// rules start and end.
    pub(super) fn end_holds(&mut self, now: Nanos, t: Nanos) {
        for i in 0..self.plan.holding.len() {
            let rule = self.plan.holding[i];
            let Some(hold) = self.plan.layout.steps[usize::from(rule)].hold() else { continue };
            let over = match hold.until {
                Until::Time(time) => time <= t,
                Until::Rule(other) => {
                    let endings = self.plan.layout.steps[usize::from(other)].endings;
                    self.plan.layout.steps[usize::from(rule)].has_seen_end(endings)
                }
                Until::End | Until::Event(_) => false,
            };
            if over && self.plan.layout.steps[usize::from(rule)].active {
                self.plan.layout.end_hold(rule);
            }
        }
        if self.held.has_rules() {
            self.let_holds_go(now);
        }
    }

    /// An event ends the holds that waited for it.
    pub(super) fn end_holds_by(&mut self, event: Event) {
        for i in 0..self.plan.holding.len() {
            let rule = self.plan.holding[i];
            let step = &self.plan.layout.steps[usize::from(rule)];
            let waits = step.hold().is_some_and(|hold| hold.until == Until::Event(event));
            if waits && step.active {
                self.plan.layout.end_hold(rule);
                self.plan.just_adopted = true;
            }
        }
    }

    /// Makes due what no rule holds any more, and puts each flow's order right.
    fn let_holds_go(&mut self, now: Nanos) {
        let (plan, flows) = (&self.plan, &mut self.flows);
        // One that has ended may have become active anew at once.
        let has_ended = |rule: u16| {
            let step = plan.layout.steps.get(usize::from(rule));
            step.and_then(Step::holds).is_none() || plan.ended.contains(&rule)
        };
        let ended = |held: &Held| held.by.is_some_and(has_ended);
        if !self.held.iter().any(ended) {
            return;
        }
        let layout = &plan.layout;
        self.held.rearrange(|all| {
            for &rule in &plan.holding {
                let step = &layout.steps[usize::from(rule)];
                let reversed = step.hold().is_some_and(|hold| hold.reversed);
                if reversed && has_ended(rule) {
                    reverse(all, rule);
                }
            }
            all.sort_unstable_by_key(|Reverse(held)| held.seq);
            for Reverse(held) in all.iter_mut() {
                if ended(held) {
                    (held.by, held.due, held.own) = (None, now, now);
                }
                if let Some((flow, to)) = order(flows, held) {
                    flow.last_due[to] = Nanos::ZERO;
                }
            }
            for Reverse(held) in all.iter_mut() {
                if let Some((flow, to)) = order(flows, held) {
                    let own = if held.by.is_some() { Nanos::MAX } else { held.own };
                    held.due = own.max(flow.last_due[to]);
                    flow.last_due[to] = held.due;
                } else if held.by.is_none() && held.due == Nanos::MAX {
                    // Its flow is another one by now: it waits behind nobody any more.
                    held.due = held.own.max(now);
                }
            }
        });
    }
}

/// The packets of a rule, in the order in which they came, leave the other way round.
fn reverse(all: &mut [Reverse<Held>], rule: u16) {
    let of_rule = |held: &Reverse<Held>| held.0.by == Some(rule);
    let (mut front, mut back) = (0, all.len());
    loop {
        let Some(first) = all[front..back].iter().position(of_rule) else { return };
        let Some(last) = all[front..back].iter().rposition(of_rule) else { return };
        let (first, last) = (front + first, front + last);
        if first == last {
            return;
        }
        let seq = all[first].0.seq;
        all[first].0.seq = all[last].0.seq;
        all[last].0.seq = seq;
        (front, back) = (first + 1, last);
    }
}

/// How a rule with these actions holds packets, if it does.
pub(super) fn of(actions: &[Action]) -> Option<Hold> {
    actions.iter().find_map(|action| match action {
        Action::Hold(hold) => Some(*hold),
        _ => None,
    })
}
