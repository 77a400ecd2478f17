//! How rules that depend on roles are bound once these are known: pure.

use crate::packet::LinkId;
use crate::rules::Table;
use crate::rules::table::{Rule, Window};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The table in which whatever depends on roles is never active.
#[must_use]
pub fn parked(mut table: Table) -> Table {
    for rule in table.rules.iter_mut().filter(|rule| rule.dynamic) {
        rule.window = Window::NEVER;
    }
    table
}

/// What chooses among nodes as a rule becomes active the `n`-th time.
#[must_use]
pub fn choice(rule: &str, seed: u64, n: u64) -> u64 {
    xxh3_64_with_seed(rule.as_bytes(), seed ^ n)
}

/// The table with its `i`-th rule bound as this one is, for one activation.
#[must_use]
pub fn bound(table: &Table, i: usize, rule: &Rule, window: Window) -> Table {
    let mut table = table.clone();
    let parked = &mut table.rules[i];
    parked.links.clone_from(&rule.links);
    parked.actions.clone_from(&rule.actions);
    parked.window = window;
    table
}

/// The links of a rule, for people.
#[must_use]
pub fn who(names: &[String], links: &[LinkId]) -> Vec<String> {
    let name = |link: &LinkId| {
        let (from, to) = link.ends(names.len());
        format!("{}>{}", names[usize::from(from.0)], names[usize::from(to.0)])
    };
    links.iter().map(name).collect()
}
