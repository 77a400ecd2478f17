//! When a cluster was healed: the moment from which nothing disturbed it any more. Pure.
//!
//! Recovery counts from there, not from when somebody got round to looking: a cut that ended by
//! itself, five seconds before the fault phase did, ended then.

use crate::time::Nanos;
use std::collections::BTreeSet;

/// Follows what disturbs; all times are of the clock that never goes back.
#[derive(Debug, Default)]
pub struct Healing {
    active: BTreeSet<String>,
    last: Option<Nanos>,
}

impl Healing {
    /// A rule became active, or ended.
    pub fn edge(&mut self, at: Nanos, rule: &str, active: bool) {
        if active {
            self.active.insert(rule.to_owned());
        } else if self.active.remove(rule) {
            self.ended(at);
        }
    }

    /// Another table came into force, with these of its rules active.
    pub fn adopted(&mut self, at: Nanos, active: BTreeSet<String>) {
        if self.active.iter().any(|rule| !active.contains(rule)) {
            self.ended(at);
        }
        self.active = active;
    }

    /// Something else that disturbed is over: a process runs again.
    pub fn ended(&mut self, at: Nanos) {
        self.last = self.last.max(Some(at));
    }

    /// Everything was released at last; when the cluster was healed, if it ever was disturbed.
    #[must_use]
    pub fn released(mut self, at: Nanos) -> Option<Nanos> {
        if !self.active.is_empty() {
            self.ended(at);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_ended_by_itself_ended_then_and_not_when_everything_was_released() {
        let mut healing = Healing::default();
        healing.edge(s(1), "cut", true);
        healing.edge(s(3), "cut", false);
        assert_eq!(healing.released(s(9)), Some(s(3)));
    }

    #[test]
    fn the_last_end_counts() {
        let mut healing = Healing::default();
        healing.edge(s(1), "a", true);
        healing.edge(s(2), "b", true);
        healing.edge(s(4), "b", false);
        healing.edge(s(3), "a", false);
        healing.ended(s(2));
        assert_eq!(healing.released(s(9)), Some(s(4)));
    }

    #[test]
    fn what_is_still_active_ends_with_the_release() {
        let mut healing = Healing::default();
        healing.edge(s(1), "cut", true);
        healing.edge(s(3), "cut", false);
        healing.edge(s(5), "cut", true);
        assert_eq!(healing.released(s(9)), Some(s(9)));
    }

    #[test]
    fn a_table_that_lacks_a_rule_heals_when_it_is_adopted() {
        let mut healing = Healing::default();
        healing.adopted(s(1), names(&["silence"]));
        healing.adopted(s(2), names(&["silence", "slow"]));
        healing.adopted(s(4), names(&["slow"]));
        healing.adopted(s(5), names(&["slow"]));
        healing.edge(s(6), "other", false);
        assert_eq!(healing.last, Some(s(4)));
        assert_eq!(healing.released(s(9)), Some(s(9)));
    }

    #[test]
    fn where_nothing_disturbed_nothing_was_healed() {
        assert_eq!(Healing::default().released(s(9)), None);
    }
}
