//! From the tree of a scenario's text to what was written.

use super::file::{
    CheckWord, ClusterFields, RulesAt, ScenarioFile, TopologyWord, WorkloadWord, functions,
};
use super::{CLIENTS_MAX, Load, NODES_MAX};
use crate::rules::diagnostic::{Diagnostic, nearest, quote};
use crate::rules::document::{Node, Value};
use crate::rules::fields::{Object, Reader};
use crate::rules::file::{At, RuleFile};
use crate::rules::parse;
use crate::rules::scalar::Refused;
use crate::time::Nanos;
use raftq_harness::history::{Function, Workload};

const KEYS: &[&str] = &[
    "about",
    "cluster",
    "seed",
    "load",
    "warm_up",
    "lasts",
    "settle",
    "groups",
    "phases",
    "rules",
    "checks",
    "recovers_within",
];
const CLUSTER_KEYS: &[&str] = &["adapter", "variant", "nodes", "topology", "args"];
const LOAD_KEYS: &[&str] = &[
    "workload", "clients", "rate", "keys", "skew", "mix", "think", "timeout", "per_key", "sticky",
];

/// The longest phase, so that a slip of the finger does not take a day.
const PHASE_MAX: Nanos = Nanos::from_secs(24 * 3600);

/// Reads a whole scenario; what is wrong is reported, and then the value is not used.
pub(super) fn scenario(reader: &mut Reader<'_>, root: &Node) -> Option<ScenarioFile> {
    let object = reader.object(root, "a scenario", KEYS)?;
    reader.require(&object, "cluster", "a scenario", "write `cluster: { adapter: embedded }`");
    reader.require(&object, "load", "a scenario", "write `load: { workload: register }`");
    let cluster = reader.field(&object, "cluster", cluster);
    let loads = reader.field(&object, "load", loads);
    let rules = rules_at(reader, &object);
    for key in ["groups", "phases"] {
        let beside = matches!(rules, RulesAt::File(_));
        if let Some(at) = object.key(key).filter(|_| beside) {
            let message = format!("`{key}` stands beside rules of another file");
            let help =
                format!("write the {key} into the rule file, or the rules into the scenario");
            reader.report(Diagnostic::error(message).at(at).help(help));
        }
    }
    let file = ScenarioFile {
        about: reader.field(&object, "about", Reader::text),
        seed: reader
            .field(&object, "seed", |r, node| r.whole(node, 0, u64::MAX))
            .map_or(0, |seed| seed.value),
        warm_up: reader.field(&object, "warm_up", phase),
        lasts: reader.field(&object, "lasts", phase),
        settle: reader.field(&object, "settle", phase),
        checks: reader
            .field(&object, "checks", |r, node| r.one_or_list(node, Reader::word::<CheckWord>))
            .map_or_else(Vec::new, |checks| checks.into_iter().map(|at| at.value).collect()),
        recovers_within: reader.field(&object, "recovers_within", limit),
        cluster: cluster?,
        loads: loads?,
        rules,
    };
    Some(file)
}

/// The rule table that stands in a scenario.
pub(super) fn rules_here(reader: &mut Reader<'_>, root: &Node) -> Option<RuleFile> {
    let object = reader.object(root, "a scenario", KEYS)?;
    Some(RuleFile {
        groups: reader.field(&object, "groups", parse::groups).unwrap_or_default(),
        phases: reader.field(&object, "phases", parse::phases).unwrap_or_default(),
        rules: reader.field(&object, "rules", parse::rules).unwrap_or_default(),
        ..RuleFile::default()
    })
}

fn rules_at(reader: &mut Reader<'_>, object: &Object<'_>) -> RulesAt {
    match object.get("rules").map(|node| &node.value) {
        Some(Value::Scalar { .. }) => reader
            .field(object, "rules", Reader::text)
            .map_or(RulesAt::Here, |name| RulesAt::File(name.value.into())),
        _ => RulesAt::Here,
    }
}

fn phase(reader: &mut Reader<'_>, node: &Node) -> Option<At<Nanos>> {
    let length = reader.duration(node)?;
    if length.value > PHASE_MAX {
        let message = "this phase is longer than a day";
        reader.report(Diagnostic::error(message).at(node.span).help("write at most 24h"));
        return None;
    }
    Some(length)
}

/// The longest that something may take; it needs some time at least.
fn limit(reader: &mut Reader<'_>, node: &Node) -> Option<At<Nanos>> {
    let length = phase(reader, node)?;
    if length.value == Nanos::ZERO {
        let message = "nothing recovers in no time at all";
        reader.report(Diagnostic::error(message).at(node.span).help("write `10s`"));
        return None;
    }
    Some(length)
}

/// One load or several, which together have no more clients than raftq has threads for.
fn loads(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Load>> {
    let loads = reader.one_or_list(node, load)?;
    let clients: u64 = loads.iter().map(|load| u64::from(load.clients)).sum();
    if clients > u64::from(CLIENTS_MAX) {
        let message = format!("these are {clients} clients together");
        let help = format!("raftq starts {CLIENTS_MAX} at most");
        reader.report(Diagnostic::error(message).at(node.span).help(help));
        return None;
    }
    Some(loads)
}

fn cluster(reader: &mut Reader<'_>, node: &Node) -> Option<ClusterFields> {
    let object = reader.object(node, "`cluster`", CLUSTER_KEYS)?;
    let help = "write `adapter: embedded`, or the name of another one in adapters/";
    reader.require(&object, "adapter", "`cluster`", help);
    let nodes = |r: &mut Reader<'_>, node: &Node| r.whole(node, 1, u64::from(NODES_MAX));
    let args = |r: &mut Reader<'_>, node: &Node| r.one_or_list(node, Reader::text);
    let topology: Option<At<TopologyWord>> = reader.field(&object, "topology", Reader::word);
    let fields = ClusterFields {
        nodes: reader.field(&object, "nodes", nodes).map_or(3, |nodes| nodes.value as u32),
        topology: topology.map_or_else(TopologyWord::default, |word| word.value),
        args: reader.field(&object, "args", args).unwrap_or_default(),
        variant: reader.field(&object, "variant", Reader::text).map(|variant| variant.value),
        adapter: reader.field(&object, "adapter", Reader::text)?,
    };
    Some(fields)
}

fn load(reader: &mut Reader<'_>, node: &Node) -> Option<Load> {
    let object = reader.object(node, "`load`", LOAD_KEYS)?;
    reader.require(&object, "workload", "`load`", "write `workload: register`");
    let workload: Option<At<WorkloadWord>> = reader.field(&object, "workload", Reader::word);
    let whole = |reader: &mut Reader<'_>, key, most: u32, default: u32| {
        let read = |r: &mut Reader<'_>, node: &Node| r.whole(node, 1, u64::from(most));
        reader.field(&object, key, read).map_or(default, |number| number.value as u32)
    };
    let clients = whole(reader, "clients", CLIENTS_MAX, 5);
    let keys = whole(reader, "keys", 1_000_000, 5);
    let per_key = whole(reader, "per_key", 1_000_000, 200);
    let rate = reader.field(&object, "rate", Reader::whole_u32).map(|rate| rate.value);
    let skew = reader.field(&object, "skew", skew);
    let duration = |reader: &mut Reader<'_>, key, default| {
        reader.field(&object, key, phase).map_or(default, |at| at.value)
    };
    let think = duration(reader, "think", Nanos::ZERO);
    let timeout = duration(reader, "timeout", Nanos::from_secs(1));
    if timeout == Nanos::ZERO
        && let Some(at) = object.key("timeout")
    {
        let message = "with no time at all every call would fail";
        reader.report(Diagnostic::error(message).at(at).help("write `timeout: 1s`"));
    }
    let sticky = reader.field(&object, "sticky", Reader::boolean).is_some_and(|flag| flag.value);
    let at = workload.as_ref().map(|word| word.span);
    let workload = workload?.value.0;
    let mix = reader.field(&object, "mix", |r, node| mix(r, node, workload)).unwrap_or_default();
    let skew = skew.map_or(0.0, |skew| skew.value);
    Some(Load { at, workload, clients, rate, keys, skew, mix, think, timeout, sticky, per_key })
}

/// An exponent such as 1.1.
fn skew(reader: &mut Reader<'_>, node: &Node) -> Option<At<f64>> {
    reader.scalar(node, "an exponent such as 1.0", |text| match text.parse::<f64>() {
        Ok(skew) if (0.0..=5.0).contains(&skew) => Ok(skew),
        _ => Err(Refused {
            why: format!("{} is no exponent of Zipf's law", quote(text)),
            help: "write a number from 0 (evenly) to 5".into(),
        }),
    })
}

fn mix(reader: &mut Reader<'_>, node: &Node, workload: Workload) -> Option<Vec<(Function, u32)>> {
    let known = functions(workload);
    let mut mix = Vec::new();
    for (key, weight) in reader.entries(node, "`mix`", &[])? {
        let Some((_, function)) = known.iter().find(|(word, _)| *word == key.text) else {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            let message = format!("this workload has no {}", quote(&key.text));
            let help = match nearest(&key.text, words.iter().copied()) {
                Some(near) => format!("did you mean {}?", quote(near)),
                None => format!("it has {}", words.join(", ")),
            };
            reader.report(Diagnostic::error(message).at(key.span).help(help));
            continue;
        };
        if let Some(weight) = reader.whole(weight, 0, 1_000_000) {
            mix.push((*function, weight.value as u32));
        }
    }
    if mix.iter().all(|(_, weight)| *weight == 0) {
        let message = "in this mix nothing is ever called";
        reader.report(Diagnostic::error(message).at(node.span).help("give one a weight"));
        return None;
    }
    Some(mix)
}
