//! One run as the comparison sees it: its summary, and what clients' calls say over time.
//!
//! Times of calls stand in the histories only. Where these are gone, or cannot be read, the run is
//! compared by the rest, and that is told.

use super::measure::{MEASURES, Reading};
use crate::report::statistics::percentile;
use crate::run::experiment::HAPPENED_MAX;
use crate::run::replay::Recipe;
use crate::run::verdict::{CUT_SHORT, Summary};
use crate::run::words::{CheckVerdict, RunVerdict};
use raftq_harness::history::{self, Kind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its folder, as it was named.
    pub folder: String,
    /// What was run.
    #[serde(flatten)]
    pub kind: RunKind,
    /// The seed of everything random.
    pub seed: u64,
    /// What came of it.
    pub verdict: RunVerdict,
    /// Each check; of several of a name the worst.
    pub checks: BTreeMap<String, CheckVerdict>,
    /// Its measures by key; what could not be measured is not there.
    pub measures: BTreeMap<&'static str, Reading>,
    /// What rules did.
    pub rules: Vec<Did>,
    /// What the comparison lacks of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// The texts that it was made of, to see whether they differ.
    #[serde(skip)]
    pub texts: [Option<String>; 2],
    /// The raftq that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raftq: Option<String>,
}

/// What was run: runs that have it in common are repetitions of each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunKind {
    /// The scenario's name.
    pub scenario: String,
    /// The adapter's, with variants.
    pub adapter: String,
    /// How many nodes.
    pub nodes: u32,
    /// Arguments that every node got beside the adapter's.
    pub args: Vec<String>,
}

/// What one rule did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Did {
    /// Its name.
    pub rule: String,
    /// How often it was active, or done to a node.
    pub activations: u64,
    /// Segments that it met; none of a rule that acts on processes.
    pub matched: Option<u64>,
    /// Segments that it acted on.
    pub acted: Option<u64>,
}

/// One call, as far as latencies ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// When it began, in nanoseconds of the run's clock.
    pub(super) begin: u64,
    /// When it was answered.
    pub(super) answered: Option<u64>,
}

impl Measured {
    /// Reads a run's folder. The error is for people, with a way out.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let summary = Summary::read(folder)?;
        let (mut calls, mut lacks) = (Vec::new(), Vec::new());
        for (name, _) in &summary.histories {
            match history::read(&folder.join(name)) {
                Ok((read, _)) => {
                    let called = read.calls.iter().filter(|call| !call.is_final);
                    calls.extend(called.map(|call| Called {
                        begin: call.begin,
                        answered: call.end.filter(|_| call.kind == Kind::Ok),
                    }));
                }
                Err(why) => lacks.push(format!("no latencies and no throughput: {why}")),
            }
        }
        // Some of several workloads are not the run's calls.
        let calls = lacks.is_empty().then_some(calls);
        let mut measured = Self::of(&summary, calls);
        measured.folder = folder.display().to_string();
        if let Some(why) = says_nothing(&summary) {
            measured.measures.clear();
            lacks.push(format!("no measures: {why}"));
        }
        if summary.done.len() >= HAPPENED_MAX {
            lacks.push(format!("what rules did to nodes, but for the first {HAPPENED_MAX} things"));
        }
        measured.lacks = lacks;
        measured.texts =
            ["scenario.yaml", "rules.yaml"].map(|name| fs::read_to_string(folder.join(name)).ok());
        measured.raftq = Recipe::read(folder).ok().map(|recipe| recipe.raftq);
        Ok(measured)
    }

    /// What its summary and its calls come to.
    pub(super) fn of(summary: &Summary, calls: Option<Vec<Called>>) -> Self {
        let mut measures = BTreeMap::new();
        let mut put = |key: &'static str, value: Option<f64>| {
            debug_assert!(MEASURES.iter().any(|measure| measure.key == key), "{key}");
            measures.extend(value.map(|value| (key, Reading(value))));
        };
        of_summary(summary, &mut put);
        if let Some(calls) = calls {
            of_calls(&calls, summary.faults_ns, &mut put);
        }
        let mut checks = BTreeMap::new();
        for finding in &summary.findings {
            let worst = checks.entry(finding.check.clone()).or_insert(finding.verdict);
            *worst = worse(*worst, finding.verdict);
        }
        Self {
            folder: String::new(),
            kind: RunKind {
                scenario: summary.scenario.clone(),
                adapter: summary.adapter.clone(),
                nodes: summary.nodes,
                args: summary.args.clone(),
            },
            seed: summary.seed,
            verdict: summary.verdict,
            checks,
            measures,
            rules: rules(summary),
            lacks: Vec::new(),
            texts: [None, None],
            raftq: None,
        }
    }

    /// A measure's value.
    #[must_use]
    pub fn measure(&self, key: &str) -> Option<f64> {
        self.measures.get(key).map(|reading| reading.0)
    }
}

/// Why the times of a run are not those of the cluster under what was to be done to it: such a run
/// would make its group look better.
fn says_nothing(summary: &Summary) -> Option<&'static str> {
    let cut_short = summary.findings.iter().any(|finding| finding.detail == CUT_SHORT);
    match summary.verdict {
        _ if cut_short => Some(CUT_SHORT),
        RunVerdict::NeverMatched => Some("a rule never matched, so its fault never came"),
        RunVerdict::Failed => Some("the host did not do its part"),
        RunVerdict::Holds | RunVerdict::Violated | RunVerdict::Undecided => None,
    }
}

fn worse(one: CheckVerdict, other: CheckVerdict) -> CheckVerdict {
    use CheckVerdict as C;
    let rank = |verdict| {
        [C::NotMade, C::Holds, C::Undecided, C::Violated].iter().position(|v| *v == verdict)
    };
    if rank(other) > rank(one) { other } else { one }
}

fn of_summary(summary: &Summary, put: &mut impl FnMut(&'static str, Option<f64>)) {
    let s = |ns: u64| ns as f64 / 1e9;
    // Where no write ever succeeded there was nothing to recover to.
    let recovery = summary.recovery.filter(|_| summary.probed.1 > 0);
    put("recovery", recovery.map(|recovery| recovery.after_ns.map_or(f64::INFINITY, s)));
    if summary.probed.0 > 0 {
        let lengths = || summary.unavailable.iter().map(|window| s(window.to - window.from));
        put("unavailable_longest", Some(lengths().fold(0.0, f64::max)));
        put("unavailable_sum", Some(lengths().sum()));
    }
    if let Some(wire) = summary.network.wire.as_ref().filter(|wire| wire.says_something()) {
        // Whoever led before raftq came was not elected in its sight.
        let stood = || wire.elections.iter().filter(|election| election.candidate.is_some());
        put("elections", Some(stood().count() as f64));
        let took = stood().filter_map(|election| election.took_s.map(|s| s * 1e3));
        put(
            "election_longest",
            took.fold(None, |most: Option<f64>, s| Some(most.map_or(s, |m| m.max(s)))),
        );
    }
}

fn of_calls(
    calls: &[Called],
    (from, to): (u64, u64),
    put: &mut impl FnMut(&'static str, Option<f64>),
) {
    let first = calls.iter().map(|call| call.begin).min().unwrap_or(from);
    let answered = calls.iter().filter(|call| call.answered.is_some()).count();
    put(
        "unanswered",
        (!calls.is_empty()).then(|| 100.0 * (1.0 - answered as f64 / calls.len() as f64)),
    );
    let rate = |from: u64, to: u64| {
        let in_time = |at: &u64| (from..to).contains(at);
        let times = calls.iter().filter_map(|call| call.answered).filter(in_time).count();
        (to > from).then(|| times as f64 * 1e9 / (to - from) as f64)
    };
    put("throughput_before", rate(first, from));
    put("throughput_faults", rate(from, to));
    let mut latencies = |keys: [&'static str; 3], from: u64, to: u64| {
        let within = calls.iter().filter(|call| (from..to).contains(&call.begin));
        let took = |call: &Called| call.answered.map(|at| at.saturating_sub(call.begin));
        let mut took: Vec<u64> = within.filter_map(took).collect();
        took.sort_unstable();
        for (key, percent) in keys.into_iter().zip([50, 90, 99]) {
            put(key, percentile(&took, percent).map(|ns| ns as f64 / 1e6));
        }
    };
    latencies(["latency_p50", "latency_p90", "latency_p99"], 0, u64::MAX);
    latencies(["latency_before_p50", "latency_before_p90", "latency_before_p99"], 0, from);
    latencies(["latency_faults_p50", "latency_faults_p90", "latency_faults_p99"], from, to);
}

/// What rules did to packets, and behind them what those did that act on processes.
fn rules(summary: &Summary) -> Vec<Did> {
    let mut all: Vec<Did> = summary
        .network
        .rules
        .iter()
        .map(|rule| Did {
            rule: rule.name.clone(),
            activations: rule.activations,
            matched: Some(rule.matched),
            acted: Some(rule.acted),
        })
        .collect();
    let of_packets = all.len();
    for one in summary.done.iter().filter(|one| one.what.contains(" done")) {
        if all[..of_packets].iter().any(|did| did.rule == one.rule) {
            continue;
        }
        match all[of_packets..].iter_mut().find(|did| did.rule == one.rule) {
            Some(did) => did.activations += 1,
            None => {
                all.push(Did {
                    rule: one.rule.clone(),
                    activations: 1,
                    matched: None,
                    acted: None,
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::verdict::SUMMARY;

    const MS: u64 = 1_000_000;

    /// A run that held, as a real one has left it: a cut, a kill, three elections.
    fn summary() -> Summary {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/summaries/holds.json");
        fs::copy(stored, folder.path().join(SUMMARY)).expect("a summary");
        Summary::read(folder.path()).expect("a summary")
    }

    #[test]
    fn a_summary_says_how_long_writes_failed_and_who_was_elected() {
        let measured = Measured::of(&summary(), None);
        let value = |key| measured.measure(key).unwrap_or_else(|| panic!("{key}"));
        assert!((value("recovery") - 0.011_692_596).abs() < 1e-9);
        assert!((value("unavailable_longest") - 0.868_438_691).abs() < 1e-9);
        assert!((value("unavailable_sum") - 1.683_335_299).abs() < 1e-9);
        assert_eq!(value("elections").to_bits(), 2.0_f64.to_bits());
        assert_eq!(measured.measure("latency_p50"), None, "no calls, no latencies");
        assert_eq!(measured.checks["durable"], CheckVerdict::Holds);
        let did: Vec<(&str, u64, Option<u64>)> =
            measured.rules.iter().map(|did| (&*did.rule, did.activations, did.acted)).collect();
        assert_eq!(did, [("cut the leader off", 1, Some(54)), ("kill the leader", 1, None)]);
    }

    #[test]
    fn what_never_recovered_is_infinite_and_what_was_never_asked_is_absent() {
        let mut never = summary();
        never.recovery.as_mut().expect("it recovered").after_ns = None;
        assert_eq!(Measured::of(&never, None).measure("recovery"), Some(f64::INFINITY));
        never.probed = (0, 0);
        let measured = Measured::of(&never, None);
        assert_eq!(measured.measure("recovery"), None);
        assert_eq!(measured.measure("unavailable_longest"), None);
        never.network.wire = None;
        assert_eq!(Measured::of(&never, None).measure("elections"), None);
    }

    #[test]
    fn calls_are_told_apart_by_whether_they_began_before_the_faults() {
        let call = |begin: u64, took: Option<u64>| Called {
            begin: begin * MS,
            answered: took.map(|took| (begin + took) * MS),
        };
        // One each 10 ms for a second, 2 ms each; under faults 8 ms, and each fifth unanswered.
        let before = (0..100).map(|i| call(i * 10, Some(2)));
        let under = (100..200).map(|i| call(i * 10, (i % 5 != 0).then_some(8)));
        let after = (200..210).map(|i| call(i * 10, Some(2)));
        let calls: Vec<Called> = before.chain(under).chain(after).collect();
        let mut told = BTreeMap::new();
        of_calls(&calls, (1000 * MS, 2000 * MS), &mut |key, value| {
            told.insert(key, value.expect("a value"));
        });
        let near = |key: &str, value: f64| {
            assert!((told[key] - value).abs() < 1e-9, "{key}: {} is not {value}", told[key]);
        };
        near("latency_before_p99", 2.0);
        near("latency_faults_p50", 8.0);
        near("latency_p50", 2.0);
        near("latency_p90", 8.0);
        near("throughput_before", 100.0);
        near("throughput_faults", 80.0);
        near("unanswered", 100.0 * 20.0 / 210.0);
        let mut nothing = Vec::new();
        of_calls(&[], (5, 5), &mut |key, value| nothing.extend(value.map(|_| key)));
        assert!(nothing.is_empty(), "{nothing:?}");
    }

    #[test]
    fn the_worst_of_several_checks_of_a_name_counts() {
        use CheckVerdict as C;
        assert_eq!(worse(C::Holds, C::Violated), C::Violated);
        assert_eq!(worse(C::Undecided, C::Holds), C::Undecided);
        assert_eq!(worse(C::NotMade, C::Holds), C::Holds);
    }
}
