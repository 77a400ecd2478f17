//! A scenario as it was written: the types behind its grammar.

use super::Load;
use crate::rules::file::{At, Word};
use crate::time::Nanos;
use clap::ValueEnum;
use raftq_harness::history::{Function, Workload};
use serde_json::json;
use std::path::PathBuf;

/// A duration and its place.
pub(super) type Duration = At<Nanos>;

/// A whole file.
#[derive(Debug)]
pub(super) struct ScenarioFile {
    pub(super) about: Option<At<String>>,
    pub(super) cluster: ClusterFields,
    pub(super) seed: u64,
    pub(super) loads: Vec<Load>,
    pub(super) warm_up: Option<Duration>,
    pub(super) lasts: Option<Duration>,
    pub(super) settle: Option<Duration>,
    pub(super) rules: RulesAt,
    pub(super) checks: Vec<CheckWord>,
    pub(super) recovers_within: Option<Duration>,
}

/// The system under test.
#[derive(Debug)]
pub(super) struct ClusterFields {
    pub(super) adapter: At<String>,
    pub(super) variant: Option<String>,
    pub(super) nodes: u32,
    pub(super) topology: TopologyWord,
    pub(super) args: Vec<At<String>>,
}

/// Where the rules stand.
#[derive(Clone, Debug)]
pub(super) enum RulesAt {
    /// In the scenario.
    Here,
    /// In a file of their own.
    File(PathBuf),
}

/// Where nodes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TopologyWord {
    /// A network namespace each, behind a bridge.
    #[default]
    Namespaces,
    /// All on 127.0.0.1 of one namespace, with ports of their own.
    Loopback,
    /// All on one loopback, 127.0.0.1 and on.
    #[value(name = "127")]
    Addresses127,
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckWord {
    /// Clients' calls took effect one at a time, each between call and answer.
    Linearizable,
    /// What was acknowledged is there at the end.
    Durable,
    /// Writes succeed again soon after everything was healed.
    Recovers,
    /// Writes succeeded all the time.
    Available,
    /// Raft's invariants, as far as the wire testifies to them.
    Invariants,
}

impl Word for TopologyWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("namespaces", Self::Namespaces),
        ("loopback", Self::Loopback),
        ("127", Self::Addresses127),
    ];
}

impl Word for CheckWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("linearizable", Self::Linearizable),
        ("durable", Self::Durable),
        ("recovers", Self::Recovers),
        ("available", Self::Available),
        ("invariants", Self::Invariants),
    ];
}

/// Another package's type as a word of this grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkloadWord(pub(super) Workload);

impl Word for WorkloadWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("register", Self(Workload::Register)),
        ("append", Self(Workload::Append)),
        ("set", Self(Workload::Set)),
        ("counter", Self(Workload::Counter)),
        ("files", Self(Workload::Files)),
    ];
}

/// The functions of each workload, as `mix` names them.
pub(super) fn functions(workload: Workload) -> &'static [(&'static str, Function)] {
    use Function::{Add, Append, Cas, List, Make, Read, Remove, Write};
    match workload {
        Workload::Register => &[("read", Read), ("write", Write), ("cas", Cas), ("remove", Remove)],
        Workload::Append => &[("read", Read), ("append", Append)],
        Workload::Set | Workload::Counter => &[("read", Read), ("add", Add)],
        Workload::Files => {
            &[("make", Make), ("write", Write), ("read", Read), ("list", List), ("remove", Remove)]
        }
    }
}

fn words<T: Word>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

/// The JSON schema of scenario files, for editors; `rules` is described by that of rule files.
#[must_use]
pub fn schema() -> String {
    let duration = json!({ "type": "string", "pattern": "^[0-9]", "examples": ["10s", "500ms"] });
    let rules = json!({ "$ref": "../../rules/schema.json#/properties/rules" });
    let whole = |least: u32| json!({ "type": "integer", "minimum": least });
    let load = json!({
        "type": "object", "additionalProperties": false, "required": ["workload"],
        "properties": {
            "workload": { "enum": words::<WorkloadWord>() },
            "clients": whole(1), "rate": whole(1), "keys": whole(1), "per_key": whole(1),
            "skew": { "type": "number", "minimum": 0 },
            "mix": { "type": "object", "additionalProperties": whole(0) },
            "think": duration, "timeout": duration, "sticky": { "type": "boolean" },
        },
    });
    let cluster = json!({
        "type": "object", "additionalProperties": false, "required": ["adapter"],
        "properties": {
            "adapter": { "type": "string" }, "variant": { "type": "string" }, "nodes": whole(1),
            "topology": { "enum": words::<TopologyWord>() },
            "args": { "type": "array", "items": { "type": "string" } },
        },
    });
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "raftq scenario",
        "type": "object", "additionalProperties": false, "required": ["cluster", "load"],
        "properties": {
            "about": { "type": "string" }, "cluster": cluster, "seed": whole(0),
            "load": { "oneOf": [load, { "type": "array", "items": load, "minItems": 1 }] },
            "warm_up": duration, "lasts": duration, "settle": duration,
            "groups": { "$ref": "../../rules/schema.json#/properties/groups" },
            "phases": { "$ref": "../../rules/schema.json#/properties/phases" },
            "rules": { "oneOf": [{ "type": "string" }, rules] },
            "checks": { "type": "array", "items": { "enum": words::<CheckWord>() } },
            "recovers_within": duration,
        },
    });
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
