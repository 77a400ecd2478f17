//! Rules that follow events: whether they are still waited for. When an event comes nobody knows,
//! so a run goes on for it, within limits.

use crate::rules::Table;
use crate::rules::table::Rule;
use crate::time::Nanos;
use std::collections::HashMap;

/// How often each of them became active, as far as was told, and whether it is.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    told: HashMap<String, (u32, bool)>,
}

impl Awaited {
    /// A rule became active, or ended.
    pub(super) fn edge(&mut self, rule: &Rule, active: bool) {
        if rule.on.is_some() {
            let told = self.told.entry(rule.name.clone()).or_default();
            *told = (told.0 + u32::from(active), active);
        }
    }

    /// Whether a rule that follows an event has been active as often as it may.
    pub(super) fn is_used_up(&self, rule: &Rule) -> bool {
        let starts = self.told.get(&rule.name).map_or(0, |told| told.0);
        rule.on.and_then(|on| on.times).is_some_and(|times| starts >= times)
    }

    /// Whether one has still to become active for the first time, unless it may be left out or its
    /// phase is over at `t`, or is active now.
    pub(super) fn is_busy(&self, table: &Table, t: Nanos) -> bool {
        let may = |rule: &Rule| t < rule.window.until && !rule.optional;
        self.all(table).any(|(rule, starts, active)| active || (starts == 0 && may(rule)))
    }

    /// Whether there are such rules, all have been active as often as they may, and at `t` no
    /// other rule goes on: then nothing will happen any more.
    pub(super) fn is_over(&self, table: &Table, t: Nanos) -> bool {
        let used_up = |(rule, starts, active): (&Rule, u32, bool)| {
            let times = rule.on.and_then(|on| on.times);
            let over = t >= rule.window.until;
            !active && (over || times.is_some_and(|times| starts >= times))
        };
        let mut by_time = table.rules.iter().filter(|rule| rule.on.is_none());
        self.all(table).next().is_some()
            && self.all(table).all(used_up)
            && by_time.all(|rule| rule.window.end() <= t)
    }

    fn all<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = (&'a Rule, u32, bool)> {
        let rules = table.rules.iter().filter(|rule| rule.on.is_some());
        rules.map(|rule| {
            let (starts, active) = self.told.get(&rule.name).copied().unwrap_or_default();
            (rule, starts, active)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Inputs, Source};

    fn table(rules: &str) -> Table {
        let nodes = "{ a: 10.0.0.1:1, b: 10.0.0.2:1 }";
        let text = format!("cluster: {{ protocol: etcd, nodes: {nodes} }}\nrules:\n{rules}");
        let rules = Source::new("rules", text);
        Inputs { rules, cluster: None, sets: Vec::new(), roles: None, seed: None }
            .compile()
            .expect("rules")
            .table
    }

    #[test]
    fn a_run_goes_on_for_an_event_and_what_follows_it_and_no_longer() {
        let table = table(
            "  - { on: leader_elected, between: [leader, rest], do: drop, for: 5s, times: 2 }\n  \
             - { do: { delay: 1ms }, for: 3s }\n",
        );
        let (rule, late) = (&table.rules[0], Nanos::from_secs(9));
        let mut awaited = Awaited::default();
        assert!(awaited.is_busy(&table, Nanos::ZERO) && !awaited.is_over(&table, late));
        awaited.edge(rule, true);
        assert!(awaited.is_busy(&table, Nanos::ZERO) && !awaited.is_over(&table, late));
        awaited.edge(rule, false);
        assert!(!awaited.is_busy(&table, Nanos::ZERO), "one time is enough");
        assert!(!awaited.is_over(&table, late), "but it may come again");
        awaited.edge(rule, true);
        awaited.edge(rule, false);
        assert!(awaited.is_over(&table, late));
        assert!(!awaited.is_over(&table, Nanos::from_secs(1)), "another rule goes on");
    }

    #[test]
    fn what_may_be_left_out_is_not_waited_for_and_without_such_rules_nothing_is_over_early() {
        let table_of = |more: &str| {
            table(&format!("  - {{ on: term_change, from: a, do: drop, for: 1s{more} }}\n"))
        };
        assert!(!Awaited::default().is_busy(&table_of(", optional: true"), Nanos::ZERO));
        let unlimited = table_of(", times: unlimited");
        let mut awaited = Awaited::default();
        awaited.edge(&unlimited.rules[0], true);
        awaited.edge(&unlimited.rules[0], false);
        assert!(!awaited.is_over(&unlimited, Nanos::from_secs(9)));
        let plain = table("  - { do: { delay: 1ms }, for: 3s }\n");
        assert!(
            !awaited.is_over(&plain, Nanos::from_secs(9)) && !awaited.is_busy(&plain, Nanos::ZERO)
        );
    }
}
