//! What a run's `summary.json` says, a run's own or that of an attached session, as the page needs
//! it.

use super::clocks::{Clocks, of_run, signed};
use super::story::{
    ErrorCount, EvidenceInfo, EvidenceLine, FindingInfo, Late, LinkSum, LoadInfo, Outage,
    RecoveryInfo, RuleSum, Span, Total,
};
use crate::run::outcome::{LatenessOutcome, LinkOutcome, Outcome, RuleOutcome};
use crate::run::session::SessionSummary;
use crate::run::timeline::Timeline;
use crate::run::verdict::{SUMMARY, Summary};
use raftq_harness::check::{Evidence, Verdict};
use std::fs;
use std::path::Path;

/// One of the two.
#[derive(Debug)]
pub(super) enum Known {
    /// Of `raftq run`.
    Run(Box<Summary>),
    /// Of `raftq --rules`.
    Session(Box<SessionSummary>),
}

/// Evidence of one check of a history, with the place of that history.
pub(super) type Contradiction<'a> = (usize, &'a str, &'a str, &'a Evidence);

impl Known {
    /// Reads it; `None` where there is none. The error is one line.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, String> {
        let text = match fs::read_to_string(folder.join(SUMMARY)) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        if SessionSummary::is_one(&text) {
            return SessionSummary::read(&text)
                .map(|session| Some(Self::Session(Box::new(session))));
        }
        let plain = |why: String| why.lines().next().unwrap_or_default().to_owned();
        Summary::read(folder).map(|summary| Some(Self::Run(Box::new(summary)))).map_err(plain)
    }

    /// Clocks and phases; without nodes where an older raftq wrote it.
    pub(super) fn timeline(&self) -> &Timeline {
        match self {
            Self::Run(summary) => &summary.timeline,
            Self::Session(session) => &session.timeline,
        }
    }

    /// What rules did to packets.
    pub(super) fn network(&self) -> &Outcome {
        match self {
            Self::Run(summary) => &summary.network,
            Self::Session(session) => &session.network,
        }
    }

    /// Its verdict in a word, and the exit code.
    pub(super) fn verdict(&self) -> (String, u8) {
        match self {
            Self::Run(summary) => (summary.verdict.to_string(), summary.exit_code),
            Self::Session(session) => (session.verdict.to_string(), session.exit_code),
        }
    }

    /// Each check.
    pub(super) fn findings(&self) -> Vec<FindingInfo> {
        let findings = match self {
            Self::Run(summary) => summary.findings.as_slice(),
            Self::Session(session) => session.findings.as_slice(),
        };
        let info = |finding: &crate::run::verdict::Finding| FindingInfo {
            check: finding.check.clone(),
            verdict: finding.verdict.to_string(),
            detail: finding.detail.clone(),
        };
        findings.iter().map(info).collect()
    }

    /// The fault phase.
    pub(super) fn faults(&self, clocks: Clocks) -> Span {
        match self {
            Self::Run(summary) => {
                let (from, to) = summary.faults_ns;
                Span { from: of_run(from), to: of_run(to) }
            }
            Self::Session(session) => {
                Span { from: clocks.of_rules(0), to: clocks.of_rules_s(session.network.seconds) }
            }
        }
    }

    /// Times in which no node took a write.
    pub(super) fn unavailable(&self) -> Vec<Outage> {
        let Self::Run(summary) = self else { return Vec::new() };
        let outage = |window: &raftq_harness::clients::Window| Outage {
            from: of_run(window.from),
            to: of_run(window.to),
            ended: window.ended,
        };
        summary.unavailable.iter().map(outage).collect()
    }

    /// How long recovery took.
    pub(super) fn recovery(&self) -> Option<RecoveryInfo> {
        let Self::Run(summary) = self else { return None };
        let recovery = summary.recovery?;
        Some(RecoveryInfo {
            healed: of_run(recovery.healed_ns),
            after: recovery.after_ns.map_or(-1, of_run),
            limit: of_run(recovery.limit_ns),
        })
    }

    /// The histories' names, in order.
    pub(super) fn histories(&self) -> Vec<String> {
        let Self::Run(summary) = self else { return Vec::new() };
        summary.histories.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What the clients themselves counted counts: they know of calls that no file has.
    pub(super) fn count(&self, loads: &mut [LoadInfo]) {
        let Self::Run(summary) = self else { return };
        for ((_, counts), (history, _)) in summary.calls.iter().zip(&summary.histories) {
            let Some(load) = loads.iter_mut().find(|load| load.history == *history) else {
                continue;
            };
            [load.ok, load.failed, load.unknown] = counts.totals();
            (load.p50, load.p99) = (signed(counts.p50_us), signed(counts.p99_us));
            let mut errors: Vec<ErrorCount> = counts
                .errors
                .iter()
                .map(|(why, times)| ErrorCount { why: why.clone(), times: *times })
                .collect();
            errors.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.why.cmp(&b.why)));
            load.errors = errors;
        }
    }

    /// What contradicts the promises; the same evidence of two checks only once.
    pub(super) fn contradictions(&self) -> Vec<Contradiction<'_>> {
        let Self::Run(summary) = self else { return Vec::new() };
        let mut all: Vec<Contradiction<'_>> = Vec::new();
        for (place, (history, judgement)) in summary.histories.iter().enumerate() {
            for check in &judgement.checks {
                let Verdict::Violated { evidence } = &check.verdict else { continue };
                if !all.iter().any(|(of, _, _, known)| *of == place && *known == evidence) {
                    all.push((place, history, check.name.as_ref(), evidence));
                }
            }
        }
        all
    }
}

/// Evidence for the page; `call` finds where a call of it stands there.
pub(super) fn evidence(
    (_, history, check, evidence): &Contradiction<'_>,
    call: impl Fn(u64, u64) -> Option<usize>,
) -> EvidenceInfo {
    let line = |line: &raftq_harness::check::Line| EvidenceLine {
        process: format!("p{}", line.process),
        node: line.node.clone(),
        text: line.text.clone(),
        begin: of_run(line.begin),
        end: line.end.map_or(-1, of_run),
        blamed: line.blamed,
        call: call(line.process, line.begin).map_or(-1, signed),
    };
    EvidenceInfo {
        history: (*history).to_owned(),
        check: (*check).to_owned(),
        object: evidence.object.clone(),
        summary: evidence.summary.clone(),
        lines: evidence.lines.iter().map(line).collect(),
    }
}

/// What each rule came to.
pub(super) fn rules(network: &Outcome, clocks: Clocks) -> Vec<RuleSum> {
    let at = |seconds: Option<f64>| seconds.map_or(-1, |seconds| clocks.of_rules_s(seconds));
    let rule = |rule: &RuleOutcome| RuleSum {
        name: rule.name.clone(),
        activations: rule.activations,
        matched: rule.matched,
        acted: rule.acted,
        leaked: rule.leaked,
        first: at(rule.first_s),
        last: at(rule.last_s),
        optional: rule.optional,
    };
    network.rules.iter().map(rule).collect()
}

/// What each link saw.
pub(super) fn links(network: &Outcome, nodes: &[String]) -> Vec<LinkSum> {
    let node = |name: &str| nodes.iter().position(|one| one == name);
    let late = |late: &LatenessOutcome| Late {
        count: late.count,
        p50: late.p50_us,
        p99: late.p99_us,
        max: late.max_us,
    };
    let link = |link: &LinkOutcome| {
        Some(LinkSum {
            from: node(&link.from)?,
            to: node(&link.to)?,
            packets: link.packets,
            dropped: link.dropped,
            trimmed: link.trimmed,
            delayed: link.delayed,
            late: link.lateness.as_ref().map(late),
        })
    };
    network.links.iter().filter_map(link).collect()
}

/// Sums that are not zero.
pub(super) fn totals(network: &Outcome) -> Vec<Total> {
    let t = &network.totals;
    let all = [
        ("packets read from the kernel", t.packets),
        ("held at once, at most", t.held_most),
        ("dropped because as many were held as may be", t.overflow),
        ("lost before raftq saw them", t.lost),
        ("to or from somebody who is no node", t.foreign),
        ("that could not be read", t.unreadable),
        ("whose sender stayed unknown", t.unattributed),
        ("dropped because something was done to a node's process", t.silenced),
        ("of unknown senders that passed meanwhile", t.silence_leaked),
        ("connections that were reset", t.resets),
        ("lost behind stalls", t.stalled),
        ("questions about who holds a socket", t.asked),
        ("packets of raftq's own", t.injected),
        ("packets of raftq's own that could not be sent", t.not_injected),
        ("copies for which there was no room", t.copies_lost),
        ("that were to be damaged and could not be", t.undamaged),
        ("ends of cut connections that could not be told", t.unhealed),
        ("connections forgotten early", t.flows_evicted),
        ("verdicts that the kernel refused", t.refused),
        ("messages of the kernel that could not be read", t.garbled),
    ];
    let total = |(name, value): (&str, u64)| Total { name: name.to_owned(), value };
    all.into_iter().filter(|(_, value)| *value > 0).map(total).collect()
}
