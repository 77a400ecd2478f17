//! What each activation of a rule did: when it began and ended, its links, and its own share of the
//! rule's counters. Pure, but for reading the counters.
//!
//! A rule counts nothing while it is not active, so that what it had counted at the end of one
//! activation is what it has at the beginning of the next. The verdict loop goes on while this is
//! told of an edge; what it counts meanwhile of a rule that is active again by then goes to the
//! activation that has just ended, and no count is lost.

use super::disturb::Happened;
use super::facts::Fact;
use crate::engine::counters::{Counters, RuleCounts};
use crate::rules::table::Rule;
use crate::rules::{Table, deeds, open_sides};
use crate::time::Nanos;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Links of a rule that are listed.
const LINKS_MAX: usize = 900;

/// Matched, acted on, leaked.
type Counts = [u64; 3];

/// Follows them, by the rules' names: a rule keeps its name and its counters when another table
/// comes into force.
#[derive(Debug, Default)]
pub(super) struct Activations {
    open: BTreeSet<String>,
    /// What each had counted at the end of its last activation.
    counted: BTreeMap<String, Counts>,
}

impl Activations {
    /// A rule became active, or ended; none where that was told before.
    pub(super) fn edge(
        &mut self,
        table: &Table,
        counters: &Counters,
        rule: usize,
        active: bool,
    ) -> Option<Fact> {
        let (rule, counts) = (&table.rules[rule], &counters.rules[rule]);
        if active {
            self.open.insert(rule.name.clone()).then(|| begun(table, rule))
        } else {
            let was_open = self.open.remove(&rule.name);
            was_open.then(|| self.ended(&rule.name, of(counts), false))
        }
    }

    /// Another table is in force since `t`: rules that it lacks have ended, of which no edge is
    /// told. Of all others one is.
    pub(super) fn adopted(
        &mut self,
        t: Nanos,
        (former, their): (&Table, &Counters),
        table: &Table,
    ) -> Vec<Happened> {
        let kept: HashSet<&str> = table.rules.iter().map(|rule| rule.name.as_str()).collect();
        let is_kept = |name: &String| kept.contains(name.as_str());
        let (open, gone): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.open).into_iter().partition(is_kept);
        self.open = open;
        let told = gone.into_iter().map(|name| {
            let at = former.rules.iter().position(|rule| rule.name == name);
            let counts = at.map_or([0; 3], |i| of(&their.rules[i]));
            let fact = self.ended(&name, counts, false);
            Happened::rule(t, &name, "not in the rules any more").with(Some(fact))
        });
        let told = told.collect();
        // One that comes back counts from zero.
        self.counted.retain(|name, _| is_kept(name));
        told
    }

    /// The run is over at `t`: whatever is active still, and what it did until then.
    pub(super) fn finish(&mut self, t: Nanos, table: &Table, counters: &Counters) -> Vec<Happened> {
        let open = std::mem::take(&mut self.open);
        let of_rule = |name: &String| {
            let at = table.rules.iter().position(|rule| rule.name == *name);
            at.map_or([0; 3], |i| of(&counters.rules[i]))
        };
        let tell = |name: String| {
            let fact = self.ended(&name, of_rule(&name), true);
            Happened::rule(t, &name, "still active at the end").with(Some(fact))
        };
        open.into_iter().map(tell).collect()
    }

    fn ended(&mut self, name: &str, counts: Counts, cut_short: bool) -> Fact {
        let before = self.counted.insert(name.to_owned(), counts).unwrap_or_default();
        let own = |i: usize| counts[i].saturating_sub(before[i]);
        Fact::Ended { matched: own(0), acted: own(1), leaked: own(2), cut_short }
    }
}

fn of(counts: &RuleCounts) -> Counts {
    [counts.matched.get(), counts.acted.get(), counts.leaked.get()]
}

fn begun(table: &Table, rule: &Rule) -> Fact {
    let nodes = table.nodes.len();
    let name = |node: crate::packet::NodeId| table.nodes[usize::from(node.0)].name.clone();
    let sides = open_sides(table, rule);
    // Those are all that it may ever be about.
    let known = if sides.is_some() { &[][..] } else { &rule.links };
    let links = known.iter().take(LINKS_MAX).map(|link| {
        let (from, to) = link.ends(nodes);
        (name(from), name(to))
    });
    Fact::Active {
        does: deeds(table, rule),
        links: links.collect(),
        sides,
        links_more: known.len().saturating_sub(LINKS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: &str) -> Table {
        let text = format!(
            "cluster: {{ nodes: {{ a: 10.0.0.1:1, b: 10.0.0.2:1, c: 10.0.0.3:1 }} }}\n\
             rules: [{rules}]\n"
        );
        crate::rules::compile("rules", &text, &[]).expect("it is right").table
    }

    fn counters(table: &Table, counts: &[[u64; 3]]) -> Counters {
        let counters = Counters::new(table.rules.len(), table.links());
        for (rule, [matched, acted, leaked]) in counters.rules.iter().zip(counts) {
            rule.matched.set(*matched);
            rule.acted.set(*acted);
            rule.leaked.set(*leaked);
        }
        counters
    }

    fn ended(matched: u64, acted: u64, leaked: u64, cut_short: bool) -> Fact {
        Fact::Ended { matched, acted, leaked, cut_short }
    }

    const CUT: &str = "{ name: cut, between: [a, b], do: drop }";
    const SLOW: &str = "{ name: slow, from: a, do: { delay: 20ms } }";

    #[test]
    fn each_activation_has_its_own_share_of_the_counters() {
        let table = table(CUT);
        let mut all = Activations::default();
        let begun = all.edge(&table, &counters(&table, &[[0; 3]]), 0, true);
        let Some(Fact::Active { does, links, sides: None, links_more: 0 }) = begun else {
            panic!("{begun:?}")
        };
        assert_eq!(does, ["drop"]);
        let names = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(links, [names("a", "b"), names("b", "a")]);
        assert_eq!(all.edge(&table, &counters(&table, &[[1, 1, 0]]), 0, true), None, "told before");
        let first = all.edge(&table, &counters(&table, &[[7, 5, 1]]), 0, false);
        assert_eq!(first, Some(ended(7, 5, 1, false)));
        assert!(all.edge(&table, &counters(&table, &[[7, 5, 1]]), 0, true).is_some());
        let told = all.finish(Nanos(9), &table, &counters(&table, &[[10, 6, 1]]));
        assert_eq!(told[0].fact, Some(ended(3, 1, 0, true)));
        assert_eq!((told.len(), told[0].t), (1, Nanos(9)));
    }

    #[test]
    fn another_table_ends_what_it_lacks_and_of_the_rest_edges_tell() {
        let (one, other) = (table(CUT), table(SLOW));
        let mut all = Activations::default();
        let before = counters(&one, &[[4, 4, 0]]);
        assert!(all.edge(&one, &before, 0, true).is_some());
        let told = all.adopted(Nanos(5), (&one, &before), &other);
        assert_eq!((told.len(), &told[0].fact), (1, &Some(ended(4, 4, 0, false))));
        let zero = counters(&other, &[[0; 3]]);
        assert!(matches!(all.edge(&other, &zero, 0, true), Some(Fact::Active { .. })));
        assert_eq!(all.adopted(Nanos(6), (&other, &zero), &other), [], "nothing changed");
        // The first comes back, with counters that begin anew.
        let slow = counters(&other, &[[9, 9, 0]]);
        let told = all.adopted(Nanos(7), (&other, &slow), &one);
        assert_eq!(told[0].fact, Some(ended(9, 9, 0, false)));
        assert!(all.edge(&one, &counters(&one, &[[0; 3]]), 0, true).is_some());
        let again = all.edge(&one, &counters(&one, &[[3, 2, 0]]), 0, false);
        assert_eq!(again, Some(ended(3, 2, 0, false)), "not less what it had counted before");
    }
}
