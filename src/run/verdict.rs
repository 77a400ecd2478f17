//! What an experiment found, weighed: a verdict, and `summary.json` (`stored.rs`).
//! `verdict_text.rs` tells it to people.

use super::disturb::Happened;
use super::experiment::{Experiment, exit_code};
use super::outcome::{ENVIRONMENT, Outcome, VIOLATED};
use super::timeline::Timeline;
use super::wire_outcome::WireOutcome;
use super::words::{CheckVerdict, RunVerdict};
use crate::rules::scenario::CheckWord;
use raftq_harness::check::{Check, Judgement, Verdict};
use raftq_harness::clients::{Availability, Counts, Window};
use raftq_harness::history::Workload;
use raftq_harness::system::{Operation, Promise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long the cluster took to take writes again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// When nothing was disturbed any more, in nanoseconds of the run's clock: the last rule had
    /// ended, or the table that lets everything pass was in force, and every process ran.
    pub healed_ns: u64,
    /// From healing to the acknowledgement of a write that was sent after it.
    pub after_ns: Option<u64>,
    /// The longest it may take.
    pub limit_ns: u64,
}

/// What the clients of one workload left, and what was judged of it.
#[derive(Debug)]
pub struct Judged {
    /// The workload.
    pub workload: Workload,
    /// What became of their calls.
    pub counts: Counts,
    /// The history's name in the run's folder.
    pub history: String,
    /// Its checks.
    pub judgement: Judgement,
}

/// What was found, before it is weighed.
#[derive(Debug, Default)]
pub struct Findings {
    /// What clients of each workload left.
    pub loads: Vec<Judged>,
    /// What was done to roles and processes, in order.
    pub done: Vec<Happened>,
    /// Whether writes succeeded.
    pub availability: Availability,
    /// How long recovery took; none where the run was ended before.
    pub recovery: Option<Recovery>,
    /// Nodes that ended without being told to.
    pub died: Vec<String>,
    /// Limits that were reached.
    pub undecided: Vec<String>,
    /// Whether somebody ended the run before its time.
    pub interrupted: bool,
}

/// Why a run is undecided that somebody has ended.
pub const CUT_SHORT: &str = "somebody ended the run before its time";

/// One line of the verdict.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// `not made` where there was nothing to look at.
    pub verdict: CheckVerdict,
    /// In words.
    pub detail: String,
}

/// The result of an experiment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The version of this format.
    pub version: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The adapter's, with variants.
    pub adapter: String,
    /// How many nodes.
    pub nodes: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// Arguments that every node got beside the adapter's.
    pub args: Vec<String>,
    /// What the system promises.
    pub promises: BTreeMap<Operation, Promise>,
    /// All in one word.
    pub verdict: RunVerdict,
    /// As a process ends.
    pub exit_code: u8,
    /// Each check.
    pub findings: Vec<Finding>,
    /// Clocks and phases.
    #[serde(default)]
    pub timeline: Timeline,
    /// When the fault phase began and ended, in nanoseconds of the run's clock.
    pub faults_ns: (u64, u64),
    /// From healing to a successful write.
    pub recovery: Option<Recovery>,
    /// Times without a successful write.
    pub unavailable: Vec<Window>,
    /// Writes of the probe: tried, and acknowledged.
    pub probed: (u64, u64),
    /// Writes of the probe whose time came and which could not be sent.
    pub unprobed: u64,
    /// What was done to roles and processes, in order.
    pub done: Vec<Happened>,
    /// What became of calls, by workload.
    pub calls: Vec<(Workload, Counts)>,
    /// What rules did to packets.
    pub network: Outcome,
    /// The checks of each history, with their evidence.
    pub histories: Vec<(String, Judgement)>,
    #[serde(skip)]
    pub(super) folder: String,
}

impl Summary {
    /// Weighs everything.
    pub(super) fn new(
        run: &Experiment,
        network: Outcome,
        found: Findings,
        faults_ns: (u64, u64),
        timeline: Timeline,
    ) -> Self {
        let mut findings = weigh(run, &found, faults_ns);
        // A violation counts, whether it was asked for or not.
        if run.wants(CheckWord::Invariants) || network.is_violated() {
            findings.extend(invariants(network.wire.as_ref()));
        }
        nothing_judged(&mut findings);
        let any = |verdict| findings.iter().any(|finding: &Finding| finding.verdict == verdict);
        let code = exit_code(&network, any(CheckVerdict::Violated), any(CheckVerdict::Undecided));
        let verdict = RunVerdict::of(code).unwrap_or(RunVerdict::Failed);
        let scenario = &run.scenario;
        Self {
            version: VERSION,
            scenario: scenario.name.clone(),
            adapter: run.adapter.name().to_owned(),
            nodes: scenario.nodes,
            seed: scenario.seed,
            args: scenario.args.clone(),
            promises: run.adapter.promises(),
            verdict,
            exit_code: code,
            findings,
            timeline,
            faults_ns,
            recovery: found.recovery,
            unavailable: found.availability.unavailable,
            probed: (found.availability.tried, found.availability.succeeded),
            unprobed: found.availability.unsent,
            done: found.done,
            calls: found.loads.iter().map(|one| (one.workload, one.counts.clone())).collect(),
            network,
            histories: found.loads.into_iter().map(|one| (one.history, one.judgement)).collect(),
            folder: run.folder.display().to_string(),
        }
    }

    /// The verdict stands, but not in its file: the host did not do its part.
    pub(super) fn unwritten(&mut self, file: &str, why: &str) {
        let detail = format!("{file} could not be written: {why}");
        self.findings.push(Finding {
            check: "run".into(),
            verdict: CheckVerdict::Undecided,
            detail,
        });
        if self.exit_code != VIOLATED {
            self.exit_code = ENVIRONMENT;
            self.verdict = RunVerdict::Failed;
        }
    }
}

/// Everything that was found, check by check.
fn weigh(run: &Experiment, found: &Findings, faults: (u64, u64)) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        found.loads.iter().flat_map(|load| of_load(run, load)).collect();
    findings.extend(run.wants(CheckWord::Recovers).then(|| recovers(found)));
    if run.wants(CheckWord::Available) {
        findings.push(available(&found.availability, faults));
    }
    findings.extend(found.died.iter().map(|how| Finding {
        check: "processes".into(),
        verdict: CheckVerdict::Violated,
        detail: how.clone(),
    }));
    let mut unsure = found.undecided.clone();
    let unrecorded: u64 = found.loads.iter().map(|load| load.counts.unrecorded).sum();
    if unrecorded > 0 {
        unsure.push(format!("{unrecorded} lines of the history could not be written"));
    }
    if found.interrupted {
        unsure.push(CUT_SHORT.into());
    }
    findings.extend(unsure.into_iter().map(undecided));
    findings
}

fn undecided(detail: String) -> Finding {
    Finding { check: "run".into(), verdict: CheckVerdict::Undecided, detail }
}

fn nothing_judged(findings: &mut Vec<Finding>) {
    if !findings.iter().any(|finding| finding.verdict != CheckVerdict::NotMade) {
        findings.push(undecided("nothing was judged at all".into()));
    }
}

/// Raft's invariants, as far as the wire testifies to them; nothing where it cannot be read.
pub(super) fn invariants(wire: Option<&WireOutcome>) -> Option<Finding> {
    let wire = wire?;
    let finding = |verdict, detail| Finding { check: "invariants".into(), verdict, detail };
    if wire.is_violated() {
        let first = wire.alarms.first().map_or("", |alarm| &alarm.said);
        let more = match wire.alarms.len() {
            0 | 1 => String::new(),
            n => format!("; and {} more, with their evidence above", n - 1),
        };
        return Some(finding(CheckVerdict::Violated, format!("{first}{more}")));
    }
    let read = &wire.coverage;
    let of =
        format!("{} messages, {:.1} % of the time readable", read.messages, read.percent_of_time);
    Some(if wire.says_something() {
        finding(CheckVerdict::Holds, of)
    } else {
        finding(CheckVerdict::Undecided, format!("nothing that could be judged was heard: {of}"))
    })
}

/// The checks of one history; one in which nothing was ever answered keeps no promise.
fn of_load(run: &Experiment, load: &Judged) -> Vec<Finding> {
    let wanted = load.judgement.checks.iter().filter(|check| wants(run, check));
    let answered = load.counts.totals()[0] > 0;
    wanted
        .map(|check| match (answered, &check.verdict) {
            (false, Verdict::Holds) => Finding {
                check: check.name.to_string(),
                verdict: CheckVerdict::Undecided,
                detail: format!("no call was ever answered: {}", why_not(&load.counts)),
            },
            _ => of_check(check),
        })
        .collect()
}

fn why_not(counts: &Counts) -> String {
    let Some(why) = counts.error() else { return "none was made".into() };
    format!("{why} ({} times)", counts.errors.get(why).copied().unwrap_or_default())
}

fn wants(run: &Experiment, check: &Check) -> bool {
    match &*check.name {
        "durable" => run.wants(CheckWord::Durable),
        _ => run.wants(CheckWord::Linearizable),
    }
}

fn of_check(check: &Check) -> Finding {
    let size = format!("{} operations on {} objects", check.operations, check.objects);
    let (verdict, detail) = match &check.verdict {
        Verdict::Holds if check.operations == 0 => {
            (CheckVerdict::NotMade, "there was nothing to judge".into())
        }
        Verdict::Holds => (CheckVerdict::Holds, size),
        Verdict::Violated { evidence } => {
            (CheckVerdict::Violated, evidence.to_string().trim_end().to_owned())
        }
        Verdict::Undecided { why } => (CheckVerdict::Undecided, why.clone()),
    };
    Finding { check: check.name.to_string(), verdict, detail }
}

fn recovers(found: &Findings) -> Finding {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let (verdict, detail) = match found.recovery {
        None => (CheckVerdict::Undecided, "the run was ended before".to_owned()),
        Some(_) if found.availability.succeeded == 0 => (
            CheckVerdict::Undecided,
            "no write ever succeeded, not before faults either".to_owned(),
        ),
        Some(Recovery { after_ns: Some(after), limit_ns, .. }) if after <= limit_ns => (
            CheckVerdict::Holds,
            format!("a write succeeded {:.2} s after healing", seconds(after)),
        ),
        Some(Recovery { after_ns: Some(after), limit_ns, .. }) => {
            let (after, limit) = (seconds(after), seconds(limit_ns));
            (
                CheckVerdict::Violated,
                format!(
                    "no write succeeded for {after:.2} s after healing, {limit:.1} s are allowed"
                ),
            )
        }
        Some(Recovery { limit_ns, .. }) => (
            CheckVerdict::Violated,
            format!("no write succeeded within {:.1} s of healing", seconds(limit_ns)),
        ),
    };
    Finding { check: "recovers".into(), verdict, detail }
}

/// Whether writes succeeded all through the fault phase, times that reach into it or out of it
/// included.
fn available(seen: &Availability, (from, to): (u64, u64)) -> Finding {
    let during = |window: &&Window| window.to > from && window.from < to;
    let longest = seen.unavailable.iter().filter(during).max_by_key(|w| w.to - w.from);
    let asked = seen.samples.iter().any(|sample| (from..=to).contains(&sample.sent));
    let (verdict, detail) = match longest {
        Some(window) => {
            let took = (window.to - window.from) as f64 / 1e9;
            let went_on = if window.ended { "" } else { ", and none after that" };
            (CheckVerdict::Violated, format!("no node took a write for {took:.2} s{went_on}"))
        }
        None if !asked => {
            (CheckVerdict::Undecided, "no write was tried in the fault phase".to_owned())
        }
        None if seen.unsent > seen.tried / 10 => (
            CheckVerdict::Undecided,
            format!("{} probing writes could not be sent in time", seen.unsent),
        ),
        None => {
            (CheckVerdict::Holds, format!("{} of {} probing writes", seen.succeeded, seen.tried))
        }
    };
    Finding { check: "available".into(), verdict, detail }
}

mod stored;
#[cfg(test)]
mod tests;

pub use stored::{SUMMARY, VERSION, schema};
