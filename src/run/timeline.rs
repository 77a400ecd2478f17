//! When a run's parts were, on one clock: what other files of its folder are put together by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The clocks and phases of a run, or of an attached session. Times are nanoseconds since its
/// start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The time of day at its start, UTC, as RFC 3339 has it.
    pub started: String,
    /// The raftq that made it.
    pub raftq: String,
    /// From its start until everything was stopped.
    pub length_ns: u64,
    /// When the rules' clock started, from which `wire.jsonl`, the trace and `t_ns` of events
    /// count; none where it never did.
    pub rules_start_ns: Option<u64>,
    /// The nodes' names, in the order of the table.
    pub nodes: Vec<String>,
    /// Its phases, one after the other.
    pub phases: Vec<PhaseTime>,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTime {
    /// Its name.
    pub name: String,
    /// Its beginning.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
}
