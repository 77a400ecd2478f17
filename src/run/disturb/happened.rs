//! One thing that happened, for people and for machines.

use crate::run::facts::Fact;
use crate::time::Nanos;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// When, on the rules' clock.
    #[serde(rename = "t_ns", with = "nanos")]
    #[schemars(with = "u64")]
    pub t: Nanos,
    /// The rule or fault.
    pub rule: String,
    /// What became of it.
    pub what: String,
    /// The nodes that it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The same for machines; `events.jsonl` has it.
    #[serde(skip)]
    pub fact: Option<Fact>,
}

/// A time as the number of its nanoseconds.
mod nanos {
    use super::Nanos;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(t: &Nanos, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(t.0)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(d: D) -> Result<Nanos, D::Error> {
        u64::deserialize(d).map(Nanos)
    }
}

/// Stands where the rule's name does, for what nodes did by themselves.
pub const HEARD: &str = "wire";

impl Happened {
    /// Whether it was done to nodes, by a rule.
    #[must_use]
    pub fn was_done(&self) -> bool {
        !self.nodes.is_empty() && self.rule != HEARD
    }

    /// Of a rule.
    #[must_use]
    pub fn rule(t: Nanos, rule: &str, what: &str) -> Self {
        Self { t, rule: rule.to_owned(), what: what.to_owned(), nodes: Vec::new(), fact: None }
    }

    /// The same with what it says to machines.
    #[must_use]
    pub fn with(self, fact: Option<Fact>) -> Self {
        Self { fact, ..self }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.rule, self.what)
    }
}
