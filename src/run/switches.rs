//! Rules that somebody has switched by name, and the table that follows from it. Pure.
//!
//! The verdict engine knows nothing of switches: a rule that is switched on or off is one with
//! another window, in another table. `auto` is what the file says, and takes the switch away.

use crate::packet::{LinkId, NodeId};
use crate::rules::Table;
use crate::rules::table::{Action, Meant, NodeBits, OpenSides, Rule, Window};
use crate::time::Nanos;
use std::collections::BTreeMap;
use std::sync::Arc;

/// To what a rule was switched.
#[derive(Clone, Debug, PartialEq)]
pub enum Switched {
    /// Active until then, or for good; on these links, where the file alone does not tell them.
    On(Option<Nanos>, Option<Bound>),
    /// Not active.
    Off,
}

/// What a rule comes to whose words were given a meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Its links.
    pub links: Vec<LinkId>,
    /// What it does there.
    pub actions: Vec<Action>,
}

/// Why a rule cannot be switched on, and what helps.
pub type Unable = (String, &'static str);

/// The table of the file, and what was switched of it.
#[derive(Clone, Debug)]
pub struct Switches {
    file: Arc<Table>,
    switched: BTreeMap<String, Switched>,
}

impl Switches {
    /// Of a table, with nothing switched.
    #[must_use]
    pub fn new(file: Arc<Table>) -> Self {
        Self { file, switched: BTreeMap::new() }
    }

    /// The table without switches.
    #[must_use]
    pub fn file(&self) -> &Arc<Table> {
        &self.file
    }

    /// Another table takes its place. Switches stay with rules of the same name, and go with
    /// those that are gone.
    pub fn replace(&mut self, file: Arc<Table>) {
        self.switched.retain(|name, _| file.rules.iter().any(|rule| rule.name == *name));
        self.file = file;
    }

    /// Switches a rule; none: as the file says.
    pub fn set(&mut self, name: &str, to: Option<Switched>) {
        match to {
            Some(to) => self.switched.insert(name.to_owned(), to),
            None => self.switched.remove(name),
        };
    }

    /// To what a rule is switched.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Switched> {
        self.switched.get(name)
    }

    /// The table that follows.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        if self.switched.is_empty() {
            return Arc::clone(&self.file);
        }
        let mut table = Table::clone(&self.file);
        for rule in &mut table.rules {
            if let Some(switched) = self.switched.get(&rule.name) {
                apply(rule, switched);
            }
        }
        Arc::new(table)
    }

    /// When the last rule ends that was switched on; [`Nanos::MAX`] for "never", `None` where
    /// none was.
    #[must_use]
    pub fn end(&self) -> Option<Nanos> {
        let end = |switched: &Switched| match switched {
            Switched::On(until, _) => Some(until.unwrap_or(Nanos::MAX)),
            Switched::Off => None,
        };
        self.switched.values().filter_map(end).max()
    }
}

fn apply(rule: &mut Rule, switched: &Switched) {
    // What the file says of times and events is for `auto`.
    rule.on = None;
    match switched {
        Switched::Off => rule.window = Window::NEVER,
        Switched::On(until, bound) => {
            // From the start, so that it covers whatever moment the table comes into force.
            rule.window = Window { lasts: *until, ..Window::ALWAYS };
            if let Some(bound) = bound {
                rule.links.clone_from(&bound.links);
                rule.actions.clone_from(&bound.actions);
                rule.sides = None;
            }
        }
    }
}

/// What a rule comes to that follows an event, where somebody switches it on instead: its words
/// mean who leads now. `None` where it needs no binding.
pub fn bind(rule: &Rule, nodes: usize, leader: Option<NodeId>) -> Result<Option<Bound>, Unable> {
    if rule.on.is_some() && rule.trigger().is_some() {
        let why = format!("`{}` acts on a process when an event comes", rule.name);
        return Err((why, "switch it off or to auto; for a person write a rule with `at: switch`"));
    }
    // Such a rule is told by the engine who leads, whenever somebody else does.
    let Some(sides) = rule.sides.as_ref().filter(|sides| !sides.follows()) else {
        return Ok(None);
    };
    let links = links(sides, nodes, leader);
    if links.is_empty() {
        let why = match leader {
            None => format!("nobody is known to lead, and `{}` depends on it", rule.name),
            Some(_) => format!("the words of `{}` mean nobody without its event", rule.name),
        };
        return Err((why, "switch it on once somebody leads, or name the nodes in a rule"));
    }
    Ok(Some(Bound { links, actions: rule.actions.clone() }))
}

fn links(sides: &OpenSides, nodes: usize, leader: Option<NodeId>) -> Vec<LinkId> {
    let all = (0..nodes).fold(0, |all: NodeBits, node| all | 1 << node);
    let masks = sides.masks(&Meant { leader, current: leader, ..Meant::default() }, all);
    let ids = || (0..nodes).map(|node| NodeId(node as u16));
    let pairs = ids().flat_map(|from| ids().map(move |to| (from, to)));
    let covered = pairs.filter(|(from, to)| from != to && masks.cover(*from, *to));
    covered.map(|(from, to)| LinkId::new(from, to, nodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::compile;

    const NODES: &str = "cluster: { protocol: etcd, nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1, c: \
                         10.0.0.3:1 } }\nrules:\n";

    fn table(rules: &str) -> Arc<Table> {
        let text = format!("{NODES}{rules}");
        let compiled = compile("rules", &text, &[]);
        Arc::new(compiled.unwrap_or_else(|report| panic!("{}", report.render(false))).table)
    }

    fn s(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    #[test]
    fn a_switch_changes_one_window_and_auto_gives_the_table_back() {
        let file = table(
            "  - { name: cut, at: 2s, for: 3s, from: a, do: drop }\n  \
             - { name: wait, at: switch, from: b, do: drop }\n",
        );
        let mut switches = Switches::new(Arc::clone(&file));
        assert!(Arc::ptr_eq(&switches.table(), &file));
        assert_eq!(file.rules[1].window.activation(Nanos::ZERO), None, "it waits for ever");
        switches.set("wait", Some(Switched::On(Some(s(9)), None)));
        switches.set("cut", Some(Switched::Off));
        let table = switches.table();
        assert_eq!(table.rules[1].window.activation(s(8)), Some((Nanos::ZERO, s(9))));
        assert_eq!(table.rules[1].window.activation(s(9)), None);
        assert!(
            table.rules[0].window.activation(s(3)).is_some_and(|(start, _)| start > s(1 << 20))
        );
        assert_eq!(switches.end(), Some(s(9)));
        switches.set("wait", None);
        switches.set("cut", None);
        assert_eq!(*switches.table(), *file);
        assert_eq!(switches.end(), None);
    }

    #[test]
    fn switches_stay_with_names_when_the_file_is_read_again() {
        let mut switches = Switches::new(table("  - { name: cut, from: a, do: drop }\n"));
        switches.set("cut", Some(Switched::Off));
        switches.replace(table("  - { from: b, do: drop }\n  - { name: cut, to: a, do: drop }\n"));
        assert_eq!(switches.of("cut"), Some(&Switched::Off));
        assert_eq!(switches.table().rules[1].window, Window::NEVER);
        switches.replace(table("  - { from: b, do: drop }\n"));
        assert_eq!(switches.of("cut"), None);
    }

    #[test]
    fn a_rule_that_follows_an_event_means_who_leads_now() {
        let file = table(
            "  - { name: led, on: leader_elected, between: [leader, rest], do: drop }\n  \
             - { name: stands, on: election_started, from: candidate, do: drop }\n  \
             - { name: follows, from: { leader: current }, do: drop }\n  \
             - { name: kills, on: leader_elected, node: leader, do: kill }\n  \
             - { name: plain, on: term_change, from: a, to: b, do: drop }\n",
        );
        let bound = |i: usize, leader| bind(&file.rules[i], 3, leader);
        assert!(bound(0, None).expect_err("nobody leads").0.contains("nobody is known to lead"));
        let of_b = bound(0, Some(NodeId(1))).expect("b leads").expect("it is bound");
        let ends: Vec<(u16, u16)> =
            of_b.links.iter().map(|link| link.ends(3)).map(|(a, b)| (a.0, b.0)).collect();
        assert_eq!(ends, [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert!(bound(1, Some(NodeId(1))).is_err(), "nobody stands for election");
        assert_eq!(bound(2, None), Ok(None), "the engine knows");
        assert!(bound(3, Some(NodeId(1))).expect_err("by a person?").1.contains("at: switch"));
        let mut switches = Switches::new(Arc::clone(&file));
        switches.set("led", Some(Switched::On(None, Some(of_b.clone()))));
        switches.set("plain", Some(Switched::On(None, bound(4, None).expect("named nodes"))));
        let table = switches.table();
        for (i, links) in [(0, &of_b.links), (4, &vec![LinkId::new(NodeId(0), NodeId(1), 3)])] {
            let rule = &table.rules[i];
            assert_eq!((rule.on, &rule.links), (None, links), "{}", rule.name);
            assert!(rule.window.activation(s(1)).is_some_and(|(start, _)| start <= s(1)));
        }
        assert_eq!(switches.end(), Some(Nanos::MAX));
    }
}
