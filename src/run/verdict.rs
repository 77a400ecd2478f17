//! What an experiment found, as a verdict: for people in a few lines, for machines as
//! `summary.json`.

use super::experiment::{Experiment, exit_code};
use super::outcome::{HOLDS, NEVER_MATCHED, Outcome, UNDECIDED, VIOLATED};
use crate::rules::scenario::CheckWord;
use raftq_harness::check::{Check, Judgement, Verdict};
use raftq_harness::clients::{Availability, Counts, Window};
use raftq_harness::history::Workload;
use raftq_harness::system::{Operation, Promise};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// How long the cluster took to take writes again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Recovery {
    /// From healing to the acknowledgement of a write that was sent after it.
    pub after_ns: Option<u64>,
    /// The longest it may take.
    pub limit_ns: u64,
}

/// What was found, before it is weighed.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each history, and what was judged of it.
    pub judgements: Vec<(String, Judgement)>,
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

/// One line of the verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// `holds`, `violated` or `undecided`.
    pub verdict: &'static str,
    /// In words.
    pub detail: String,
}

/// The result of an experiment.
#[derive(Debug, Serialize)]
pub struct Summary {
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
    /// `holds`, `violated`, `undecided`, or that a rule never matched.
    pub verdict: &'static str,
    /// As a process ends.
    pub exit_code: u8,
    /// Each check.
    pub findings: Vec<Finding>,
    /// When the fault phase began and ended, in nanoseconds of the run's clock.
    pub faults_ns: (u64, u64),
    /// From healing to a successful write.
    pub recovery: Option<Recovery>,
    /// Times without a successful write.
    pub unavailable: Vec<Window>,
    /// Writes of the probe: tried, and acknowledged.
    pub probed: (u64, u64),
    /// What became of calls, by workload.
    pub calls: Vec<(Workload, Counts)>,
    /// What rules did to packets.
    pub network: Outcome,
    /// The checks of each history, with their evidence.
    pub histories: Vec<(String, Judgement)>,
    #[serde(skip)]
    folder: String,
}

impl Summary {
    /// Weighs everything.
    pub(super) fn new(
        run: &Experiment,
        network: Outcome,
        found: Findings,
        calls: Vec<(Workload, Counts)>,
        faults_ns: (u64, u64),
    ) -> Self {
        let mut findings = Vec::new();
        for (_, judgement) in &found.judgements {
            let wanted = judgement.checks.iter().filter(|check| wants(run, check));
            findings.extend(wanted.map(of_check));
        }
        findings.extend(run.wants(CheckWord::Recovers).then(|| recovers(&found)));
        if run.wants(CheckWord::Available) {
            findings.push(available(&found.availability, faults_ns));
        }
        findings.extend(found.died.iter().map(|how| Finding {
            check: "processes".into(),
            verdict: "violated",
            detail: how.clone(),
        }));
        let mut unsure = found.undecided;
        let unrecorded: u64 = calls.iter().map(|(_, counts)| counts.unrecorded).sum();
        if unrecorded > 0 {
            unsure.push(format!("{unrecorded} lines of the history could not be written"));
        }
        if found.interrupted {
            unsure.push("somebody ended the run before its time".into());
        }
        findings.extend(unsure.into_iter().map(|detail| Finding {
            check: "run".into(),
            verdict: "undecided",
            detail,
        }));
        let any = |verdict| findings.iter().any(|finding: &Finding| finding.verdict == verdict);
        let code = exit_code(network.exit_code, any("violated"), any("undecided"));
        let verdict = match code {
            HOLDS => "holds",
            VIOLATED => "violated",
            UNDECIDED => "undecided",
            NEVER_MATCHED => "a rule never matched",
            _ => "failed",
        };
        let scenario = &run.scenario;
        Self {
            scenario: scenario.name.clone(),
            adapter: run.adapter.name().to_owned(),
            nodes: scenario.nodes,
            seed: scenario.seed,
            args: scenario.args.clone(),
            promises: run.adapter.promises(),
            verdict,
            exit_code: code,
            findings,
            faults_ns,
            recovery: found.recovery,
            unavailable: found.availability.unavailable,
            probed: (found.availability.tried, found.availability.succeeded),
            calls,
            network,
            histories: found.judgements,
            folder: run.folder.display().to_string(),
        }
    }

    /// Writes `summary.json` into the run's folder.
    pub(super) fn write(&self, folder: &Path) -> raftq_harness::Result<()> {
        let path = folder.join("summary.json");
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        fs::write(&path, text)
            .map_err(|e| raftq_harness::Error::new(format!("{}: {e}", path.display())))
    }

    /// The verdict in a few lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text);
        for rule in &self.network.rules {
            let _ = writeln!(
                text,
                "  rule \"{}\": active {}x, {} packets matched, {} acted on",
                rule.name, rule.activations, rule.matched, rule.acted
            );
        }
        for warning in &self.network.warnings {
            let _ = writeln!(text, "  warning: {warning}");
        }
        for (workload, counts) in &self.calls {
            let [ok, failed, unknown] = counts.totals();
            let _ = writeln!(
                text,
                "  {}: {ok} calls answered, {failed} surely not done, {unknown} unknown; \
                 half took under {:.1} ms, 99 % under {:.1} ms",
                format!("{workload:?}").to_lowercase(),
                counts.p50_us as f64 / 1e3,
                counts.p99_us as f64 / 1e3,
            );
        }
        for window in &self.unavailable {
            let _ = writeln!(
                text,
                "  no write succeeded from {:.2} s to {:.2} s ({:.2} s)",
                window.from as f64 / 1e9,
                window.to as f64 / 1e9,
                (window.to - window.from) as f64 / 1e9,
            );
        }
        let _ = writeln!(text);
        for finding in &self.findings {
            let _ =
                writeln!(text, "  {:9} {:12} {}", finding.verdict, finding.check, finding.detail);
        }
        let _ = writeln!(
            text,
            "\n{}: {} on {} nodes of {} (seed {}); everything is in {}",
            self.verdict, self.scenario, self.nodes, self.adapter, self.seed, self.folder
        );
        text
    }
}

fn wants(run: &Experiment, check: &Check) -> bool {
    match check.name {
        "durable" => run.wants(CheckWord::Durable),
        _ => run.wants(CheckWord::Linearizable),
    }
}

fn of_check(check: &Check) -> Finding {
    let size = format!("{} operations on {} objects", check.operations, check.objects);
    let (verdict, detail) = match &check.verdict {
        Verdict::Holds => ("holds", size),
        Verdict::Violated { evidence } => ("violated", evidence.to_string().trim_end().to_owned()),
        Verdict::Undecided { why } => ("undecided", why.clone()),
    };
    Finding { check: check.name.to_owned(), verdict, detail }
}

fn recovers(found: &Findings) -> Finding {
    let (verdict, detail) = match found.recovery {
        None => ("undecided", "the run was ended before".to_owned()),
        Some(Recovery { after_ns: Some(after), .. }) => {
            ("holds", format!("a write succeeded {:.2} s after healing", after as f64 / 1e9))
        }
        Some(Recovery { limit_ns, .. }) => (
            "violated",
            format!("no write succeeded within {:.1} s of healing", limit_ns as f64 / 1e9),
        ),
    };
    Finding { check: "recovers".into(), verdict, detail }
}

fn available(seen: &Availability, faults: (u64, u64)) -> Finding {
    let during = seen.unavailable.iter().find(|w| w.to > faults.0 && w.from < faults.1);
    let (verdict, detail) = match during {
        None => ("holds", format!("{} of {} probing writes", seen.succeeded, seen.tried)),
        Some(window) => {
            let took = (window.to - window.from) as f64 / 1e9;
            ("violated", format!("no node took a write for {took:.2} s"))
        }
    };
    Finding { check: "available".into(), verdict, detail }
}
