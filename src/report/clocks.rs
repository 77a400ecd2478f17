//! The clocks of a run's files, brought to one: whole microseconds since the start of the run.
//!
//! Histories, `unavailable`, `recovery`, `faults_ns`, `logs.jsonl` and `run_ns` of events count
//! from the start of the run; `wire.jsonl`, the trace, `t_ns` of events and what rules did from
//! the start of the rules' clock.

use super::story::Micros;

/// When the rules' clock started, as far as known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clocks {
    rules_start_ns: Option<u64>,
}

impl Clocks {
    /// The rules' clock started then, in nanoseconds since the start of the run. The first word
    /// counts.
    pub(super) fn learn(&mut self, rules_start_ns: u64) {
        self.rules_start_ns.get_or_insert(rules_start_ns);
    }

    /// Whether it is known.
    pub(super) fn are_known(&self) -> bool {
        self.rules_start_ns.is_some()
    }

    /// A moment on the rules' clock.
    pub(super) fn of_rules(&self, ns: u64) -> Micros {
        of_run(ns.saturating_add(self.rules_start_ns.unwrap_or(0)))
    }

    /// The same in seconds, which may be below zero.
    pub(super) fn of_rules_s(&self, seconds: f64) -> Micros {
        of_run(self.rules_start_ns.unwrap_or(0)) + (seconds * 1e6).round() as Micros
    }
}

/// A place in a list, or a count, beside -1 for none.
pub(super) fn signed(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// A moment on the run's clock.
pub(super) fn of_run(ns: u64) -> Micros {
    Micros::try_from(ns / 1_000).unwrap_or(Micros::MAX)
}
