//! What a run came to: one document, printed as tables or as JSON, and its exit code.

use super::attached::{Attached, Detached};
use super::trace::{Captured, Traced};
use super::wire_outcome::WireOutcome;
use crate::engine::counters::{Count, Counters};
use crate::engine::lateness::Lateness;
use crate::packet::LinkId;
use crate::rules::Table;
use crate::time::Nanos;
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Everything held that should.
pub const HOLDS: u8 = 0;
/// A cluster did not keep its promises.
pub const VIOLATED: u8 = 1;
/// The result says nothing: packets were lost, a cut leaked, or the cluster ran undisturbed
/// for a time, because raftq was stopped or somebody removed its rules.
pub const UNDECIDED: u8 = 2;
/// A rule never matched.
pub const NEVER_MATCHED: u8 = 3;
/// What was given is wrong.
pub const BAD_INPUT: u8 = 4;
/// The host did not do its part.
pub const ENVIRONMENT: u8 = 5;

const LOST: &str = "packets were lost before raftq saw them: the queue was too full";
const OVERFLOW: &str = "packets were dropped because as many were held as may be";
const SILENCE_LEAKED: &str =
    "packets of unknown senders passed while a node was silent, and may be of it";
const REMOVED: &str = "packets passed unseen: raftq's firewall rules were removed, or nodes moved";
const PAUSED: &str =
    "raftq was stopped while a rule was to be active, or a cut that leaked was taken out";

/// A whole run of an attached raftq.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Seconds from the start of the rules' clock to the end.
    pub seconds: f64,
    /// Where packets were queued.
    pub topology: String,
    /// Scheduling of the loop.
    pub scheduling: Cow<'static, str>,
    /// Seed of the random decisions.
    pub seed: u64,
    /// What each rule did, in file order.
    pub rules: Vec<RuleOutcome>,
    /// What each link that had traffic saw.
    pub links: Vec<LinkOutcome>,
    /// Sums.
    pub totals: Totals,
    /// How the trace came out, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Traced>,
    /// What became of the file of packets, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Captured>,
    /// What was seen on the wire, where the cluster names a protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<WireOutcome>,
    /// What a reader must know before believing the rest.
    pub warnings: Vec<String>,
    /// How many of the warnings, from the first, were told while it ran.
    #[serde(skip)]
    pub told: usize,
    /// The exit code that follows from all this.
    pub exit_code: u8,
    /// What it follows from, where it is another than 0 and no invariant was violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether somebody ended the run before its time; no fault of an attached run.
    #[serde(skip)]
    pub interrupted: bool,
    /// From when on nothing was disturbed any more; none where nothing ever was.
    #[serde(skip)]
    pub healed: Option<Nanos>,
}

/// What one rule did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleOutcome {
    /// Its name.
    pub name: String,
    /// Times it became active.
    pub activations: u64,
    /// Segments it matched.
    pub matched: u64,
    /// Segments it acted on.
    pub acted: u64,
    /// Seconds from the start to its first match.
    pub first_s: Option<f64>,
    /// Seconds from the start to its last match.
    pub last_s: Option<f64>,
    /// Segments of unknown senders that passed while it was cutting.
    pub leaked: u64,
    /// Whether it may end without a match.
    pub optional: bool,
}

/// What one link saw.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkOutcome {
    /// Sending node.
    pub from: String,
    /// Receiving node.
    pub to: String,
    /// Wire segments; [`Totals::packets`] counts what the kernel hands over.
    pub packets: u64,
    /// Segments dropped.
    pub dropped: u64,
    /// Segments trimmed to their acknowledgement.
    pub trimmed: u64,
    /// Segments held for a time.
    pub delayed: u64,
    /// How late held packets left, where there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<LatenessOutcome>,
}

/// How late held packets left, behind their due time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LatenessOutcome {
    /// Packets measured.
    pub count: u64,
    /// Median, us.
    pub p50_us: f64,
    /// 99th percentile, us.
    pub p99_us: f64,
    /// The latest, us.
    pub max_us: f64,
}

/// Sums over the cluster.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Packets read, as the kernel hands them over: one may stand for many wire segments,
    /// which rules and links count.
    pub packets: u64,
    /// The most packets held at once.
    pub held_most: u64,
    /// Packets dropped because as many were held as may be.
    pub overflow: u64,
    /// Packets the kernel dropped before raftq saw them.
    pub lost: u64,
    /// Packets to or from somebody who is no node.
    pub foreign: u64,
    /// Packets that could not be read.
    pub unreadable: u64,
    /// Packets whose sender stayed unknown.
    pub unattributed: u64,
    /// Packets dropped because something was being done to the process of a node.
    pub silenced: u64,
    /// Packets of unknown senders that passed meanwhile.
    pub silence_leaked: u64,
    /// Connections that were reset.
    pub resets: u64,
    /// Packets dropped, or trimmed to their acknowledgement, behind the message from which on a
    /// direction of their connection was stalled.
    pub stalled: u64,
    /// Questions about who holds a socket.
    pub asked: u64,
    /// Packets of raftq's own that were sent: copies, and what tells an end of a connection that it
    /// was reset or refused.
    pub injected: u64,
    /// Those that could not be sent.
    pub not_injected: u64,
    /// Copies of packets for which there was no room.
    pub copies_lost: u64,
    /// Packets that were to be damaged and could not be.
    pub undamaged: u64,
    /// Ends of connections that a cut has starved and that could not be told at its end.
    pub unhealed: u64,
    /// Flows forgotten early.
    pub flows_evicted: u64,
    /// Verdicts that the kernel refused.
    pub refused: u64,
    /// Messages of the kernel that could not be read.
    pub garbled: u64,
    /// How late held packets left, over all links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<LatenessOutcome>,
}

/// What the main thread knows beside the counters.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
pub struct Circumstances {
    /// The table that was in force last.
    pub table: std::sync::Arc<Table>,
    /// Its counters.
    pub counters: std::sync::Arc<Counters>,
    /// Where packets were queued, for people.
    pub topology: String,
    /// Scheduling of the loop.
    pub scheduling: &'static str,
    /// How long the rules' clock ran, s.
    pub seconds: f64,
    /// What was noticed while it ran.
    pub warnings: Vec<String>,
    /// How many of those, from the first, were told already.
    pub told: usize,
    /// Whether rules of raftq's were removed by somebody else while it ran.
    pub rules_removed: bool,
    /// Whether raftq was stopped while a rule was, or would have been, active; or a cut that
    /// leaked is not in the table any more.
    pub undecided: bool,
    /// Whether the loop failed, or was stuck so long that the guardian stepped in.
    pub broken: bool,
    /// Whether somebody ended the run before its time.
    pub interrupted: bool,
}

impl Circumstances {
    /// As seen just before detaching, `seconds` after the start.
    #[must_use]
    pub fn of(attached: &Attached, seconds: f64) -> Self {
        Self {
            table: attached.table.clone(),
            counters: attached.counters.clone(),
            topology: attached.plan.reason.clone(),
            scheduling: attached.urgency.name(),
            seconds,
            warnings: attached.warnings.clone(),
            told: 0,
            rules_removed: false,
            undecided: false,
            broken: false,
            interrupted: false,
        }
    }
}

impl Outcome {
    /// Adds everything up.
    #[must_use]
    pub fn new(mut run: Circumstances, detached: &Detached) -> Self {
        let counters = &run.counters;
        let lateness = detached.ended.engine.lateness();
        let lost = detached.losses.queue_dropped + detached.losses.user_dropped;
        let count = &counters.totals;
        let totals = Totals {
            packets: count.packets.get(),
            held_most: count.held_most.get(),
            overflow: count.overflow.get(),
            lost,
            foreign: count.foreign.get(),
            unreadable: count.unreadable.get(),
            unattributed: count.unattributed.get(),
            silenced: count.silenced.get(),
            silence_leaked: count.silence_leaked.get(),
            resets: count.resets.get(),
            stalled: count.stalled.get(),
            asked: count.asked.get(),
            injected: detached.ended.injected.sent,
            not_injected: detached.ended.injected.failed,
            copies_lost: count.copies_lost.get(),
            undamaged: count.undamaged.get(),
            unhealed: count.unhealed.get(),
            flows_evicted: count.flows_evicted.get(),
            refused: detached.ended.faults.refused,
            garbled: detached.ended.faults.garbled,
            lateness: lateness_of(&lateness.all()),
        };
        let rules = rules(&run.table, counters);
        let links = links(&run.table, counters, lateness);
        run.warnings.extend(detached.troubles.iter().cloned());
        if detached.rules_removed && !run.rules_removed {
            run.rules_removed = true;
            run.warnings.push(
                "at the end raftq's iptables rules were found removed by somebody else: packets \
                 passed unseen, nobody knows since when"
                    .into(),
            );
        }
        run.warnings.extend(warnings(&totals, &rules, detached.traced));
        run.warnings.extend(detached.captured.iter().flat_map(uncaptured));
        let names: Vec<String> = run.table.nodes.iter().map(|node| node.name.clone()).collect();
        let wire = detached.watched.as_ref().map(|ended| ended.outcome(&names));
        run.warnings.extend(wire.iter().filter_map(|wire| wire.unwritten.clone()));
        let (exit_code, why) = weighed(&run, &totals, &rules, &detached.troubles);
        Self {
            seconds: run.seconds,
            topology: run.topology,
            scheduling: run.scheduling.into(),
            seed: run.table.seed,
            rules,
            links,
            totals,
            trace: detached.traced,
            capture: detached.captured.clone(),
            wire,
            warnings: run.warnings,
            told: run.told,
            exit_code,
            why,
            interrupted: run.interrupted,
            healed: None,
        }
    }
}

impl Outcome {
    /// Whether an invariant was violated on the wire.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        self.wire.as_ref().is_some_and(WireOutcome::is_violated)
    }

    /// The same for a cluster that nothing else is judged of: a violation weighs more than
    /// whatever stood in the way.
    #[must_use]
    pub fn judged(self) -> Self {
        let violated = self.is_violated() && self.exit_code != ENVIRONMENT;
        Self { exit_code: if violated { VIOLATED } else { self.exit_code }, ..self }
    }
}

pub(super) fn rules(table: &Table, counters: &Counters) -> Vec<RuleOutcome> {
    let outcome =
        |(rule, counts): (&crate::rules::table::Rule, &crate::engine::counters::RuleCounts)| {
            let span = counts.span();
            RuleOutcome {
                name: rule.name.clone(),
                activations: counts.activations.get(),
                matched: counts.matched.get(),
                acted: counts.acted.get(),
                first_s: span.map(|(first, _)| first.as_secs_f64()),
                last_s: span.map(|(_, last)| last.as_secs_f64()),
                leaked: counts.leaked.get(),
                optional: rule.optional,
            }
        };
    table.rules.iter().zip(&counters.rules).map(outcome).collect()
}

fn links(table: &Table, counters: &Counters, lateness: &Lateness) -> Vec<LinkOutcome> {
    let nodes = table.nodes.len();
    let name = |node: crate::packet::NodeId| table.nodes[usize::from(node.0)].name.clone();
    let outcome = |(i, counts): (usize, &crate::engine::counters::LinkCounts)| {
        let link = LinkId(i as u16);
        let (from, to) = link.ends(nodes);
        let get = Count::get;
        (counts.packets.get() > 0).then(|| LinkOutcome {
            from: name(from),
            to: name(to),
            packets: get(&counts.packets),
            dropped: get(&counts.dropped),
            trimmed: get(&counts.trimmed),
            delayed: get(&counts.delayed),
            lateness: lateness.link(link).and_then(lateness_of),
        })
    };
    counters.links.iter().enumerate().filter_map(outcome).collect()
}

fn lateness_of(histogram: &Histogram<u32>) -> Option<LatenessOutcome> {
    let us = |ns: u64| ns as f64 / 1e3;
    (!histogram.is_empty()).then(|| LatenessOutcome {
        count: histogram.len(),
        p50_us: us(histogram.value_at_quantile(0.5)),
        p99_us: us(histogram.value_at_quantile(0.99)),
        max_us: us(histogram.max()),
    })
}

fn warnings(totals: &Totals, rules: &[RuleOutcome], traced: Option<Traced>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |n: u64, text: &str| {
        if n > 0 {
            warnings.push(format!("{n} {text}"));
        }
    };
    warn(totals.lost, LOST);
    warn(totals.overflow, OVERFLOW);
    warn(
        totals.unattributed,
        "packets could not be attributed to a node and were treated as `cluster.unattributed` says",
    );
    warn(totals.silence_leaked, SILENCE_LEAKED);
    warn(
        totals.not_injected,
        "packets of raftq's own (copies, resets, refusals) could not be sent; behind a bridge none \
         is, as long as nothing was heard of its receiver",
    );
    warn(totals.copies_lost, "copies of packets were left out: there was no room to keep them");
    warn(
        totals.undamaged,
        "packets were to be damaged and went on as they were: their bytes were not at hand, or \
         there was no room to keep others instead",
    );
    warn(
        totals.unhealed,
        "ends of connections that a cut has starved were not reset: too many, or nothing was known \
         of what they expect",
    );
    warn(totals.garbled, "messages of the kernel could not be read; their packets stay unanswered");
    warn(totals.flows_evicted, "flows were forgotten early: more were open than raftq keeps");
    let (lost, answers_lost) = traced.map_or((0, 0), |t| (t.lost, t.answers_lost));
    warn(lost, "packets are missing in the trace: it could not keep up");
    warn(answers_lost, "answers to held packets are missing in the trace: it could not keep up");
    for rule in rules {
        warnings.extend(rule.leaky());
        warnings.extend(rule.unmatched());
    }
    warnings
}

impl RuleOutcome {
    /// That it let through what it may have had to cut.
    fn leaky(&self) -> Option<String> {
        let Self { name, leaked, .. } = self;
        (*leaked > 0).then(|| {
            format!("the cut `{name}` is leaky: {leaked} packets of unknown senders passed it")
        })
    }

    /// That it never matched, though it had to.
    fn unmatched(&self) -> Option<String> {
        let never = if self.activations == 0 { ": it never became active" } else { "" };
        (self.matched == 0 && !self.optional)
            .then(|| format!("rule `{}` never matched{never}", self.name))
    }
}

/// What is missing in the file of packets. It is evidence that lacks, and makes nothing undecided.
fn uncaptured(captured: &Captured) -> Vec<String> {
    let Captured { lost, left_out, untold, bytes, unwritten, .. } = captured;
    let mut missing = Vec::new();
    if let Some(why) = unwritten {
        missing.push(format!("the file of packets is not whole: it could not be written ({why})"));
    }
    if *left_out > 0 {
        missing.push(format!(
            "{left_out} later packets are not in the file of packets, which has ended at {bytes} \
             bytes: allow more by --capture-max"
        ));
    }
    if *lost > 0 {
        missing.push(format!(
            "{lost} packets are missing in the file of packets: it could not keep up"
        ));
    }
    if *untold > 0 {
        missing.push(format!(
            "of {untold} held packets the file of packets does not tell what became of them"
        ));
    }
    missing
}

/// The exit code, and what it follows from: the first thing that stands in the way.
fn weighed(
    run: &Circumstances,
    totals: &Totals,
    rules: &[RuleOutcome],
    troubles: &[String],
) -> (u8, Option<String>) {
    let some = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}"));
    let broken = || "the verdict loop did not run to its end".to_owned();
    let environment = troubles.first().cloned().or_else(|| run.broken.then(broken));
    if environment.is_some() {
        return (ENVIRONMENT, environment);
    }
    if let Some(why) = rules.iter().find_map(RuleOutcome::unmatched) {
        return (NEVER_MATCHED, Some(why));
    }
    let undecided = some(totals.lost, LOST)
        .or_else(|| some(totals.overflow, OVERFLOW))
        .or_else(|| some(totals.silence_leaked, SILENCE_LEAKED))
        .or_else(|| rules.iter().find_map(RuleOutcome::leaky))
        .or_else(|| run.rules_removed.then(|| REMOVED.to_owned()))
        .or_else(|| run.undecided.then(|| PAUSED.to_owned()));
    (if undecided.is_some() { UNDECIDED } else { HOLDS }, undecided)
}
