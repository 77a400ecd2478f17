//! What is told of rules and of the run to whoever asks while it goes on.

use super::Control;
use crate::packet::NodeId;
use crate::rules::deeds;
use crate::rules::table::{Fault, Rule};
use crate::run::disturb::State;
use crate::run::switches::Switched;
use crate::time::Nanos;
use serde_json::{Value, json};
use std::collections::HashSet;

/// The most links of a rule that are listed.
const LINKS_MAX: usize = 64;

impl Control<'_> {
    /// Every rule and fault, in the order of the file.
    pub(super) fn list(&self) -> Value {
        let t = self.t();
        let table = &self.attached.table;
        let active: HashSet<&str> = self.status.active(table).collect();
        let rules = (0..table.rules.len()).map(|i| self.rule(i, &active, t));
        let faults = self.disturb.faults().map(|(i, fault)| self.fault(i, fault));
        json!({ "t_s": t.as_secs_f64(), "rules": rules.chain(faults).collect::<Vec<_>>() })
    }

    /// The one of this name.
    pub(super) fn list_one(&self, name: &str) -> Option<Value> {
        let table = &self.attached.table;
        if let Some(i) = table.rules.iter().position(|rule| rule.name == name) {
            return Some(self.rule(i, &self.status.active(table).collect(), self.t()));
        }
        let (i, fault) = self.disturb.faults().find(|(_, fault)| fault.name == name)?;
        Some(self.fault(i, fault))
    }

    pub(super) fn rule(&self, i: usize, active: &HashSet<&str>, t: Nanos) -> Value {
        let table = &self.attached.table;
        let rule = &table.rules[i];
        let is_active = active.contains(rule.name.as_str());
        let switched = self.switches.of(&rule.name);
        let (word, until) = match switched {
            None => ("auto", None),
            Some(Switched::Off) => ("off", None),
            Some(Switched::On(until, _)) => ("on", *until),
        };
        let state = if is_active { State::Active } else { self.state(i, rule, switched, t) };
        // Examples are no links.
        let known = is_active || !(rule.dynamic || rule.sides.is_some());
        let listed = rule.links.iter().filter(|_| known && rule.sides.is_none());
        let links: Vec<String> = listed.take(LINKS_MAX).map(|l| table.link_name(*l)).collect();
        let counters = &self.attached.counters.rules[i];
        json!({
            "name": rule.name,
            "kind": "packets",
            "state": word_of(state),
            "switched": word,
            "until_s": until.map(Nanos::as_secs_f64),
            "activations": counters.activations.get(),
            "matched": counters.matched.get(),
            "acted": counters.acted.get(),
            "leaked": counters.leaked.get(),
            "links": links,
            "links_more": if known && rule.sides.is_none() {
                rule.links.len().saturating_sub(LINKS_MAX)
            } else {
                0
            },
            "do": deeds(table, rule),
        })
    }

    /// How far a rule is that is not active.
    fn state(&self, i: usize, rule: &Rule, switched: Option<&Switched>, t: Nanos) -> State {
        match switched {
            Some(Switched::On(Some(until), _)) if *until <= t => return State::Ended,
            // It may be switched on again, or is about to be in force.
            Some(Switched::Off | Switched::On(..)) => return State::Waiting,
            None => {}
        }
        if rule.dynamic {
            return self.disturb.state_of_rule(i, self.disturb.waits_for_switch(i));
        }
        let waits = match rule.on {
            Some(_) => !self.awaited.is_used_up(rule),
            None => rule.window.by_switch() || rule.window.activation(t).is_some(),
        };
        if waits { State::Waiting } else { State::Ended }
    }

    pub(super) fn fault(&self, i: usize, fault: &Fault) -> Value {
        let names = fault.nodes.iter().map(|node| self.name(*node));
        json!({
            "name": fault.name,
            "kind": "process",
            "state": word_of(self.disturb.state(i)),
            "switched": self.disturb.switched(i).word(),
            "until_s": self.disturb.ends(i).map(Nanos::as_secs_f64),
            "nodes": if fault.dynamic { Vec::new() } else { names.collect::<Vec<_>>() },
            "do": [fault.action.name()],
        })
    }

    /// How the run goes.
    pub(super) fn how_it_goes(&self) -> Value {
        let now = crate::kernel::clock::now();
        let totals = &self.attached.counters.totals;
        let losses = self.attached.losses();
        let active: Vec<String> = self
            .status
            .active(&self.attached.table)
            .map(str::to_owned)
            .chain(self.disturb.active())
            .collect();
        let leader = self.disturb.leads();
        json!({
            "run": self.attached.run_id(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "t_s": self.t().as_secs_f64(),
            "ends_in_s": self.until.map(|until| until.saturating_sub(now).as_secs_f64()),
            "nodes": self.attached.table.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
            "leader": leader.map(|(node, term)| json!({ "node": self.name(node), "term": term })),
            "active": active,
            "packets": totals.packets.get(),
            "held": totals.held.get(),
            "unattributed": totals.unattributed.get(),
            "lost": losses.queue_dropped + losses.user_dropped,
            "warnings": self.attached.warnings,
        })
    }

    fn name(&self, node: NodeId) -> &str {
        &self.attached.table.nodes[usize::from(node.0)].name
    }
}

fn word_of(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Waiting => "waiting",
        State::Ended => "ended",
    }
}
