//! What the page is told: one run, or one attached session, on one timeline.
//!
//! Times are whole microseconds since the start of the run, the epoch of its history; -1 where
//! there is none. Columns are of equal length, one element an item, sorted by their first: a run
//! of 100,000 calls and a million packets has to be read by a browser in a second or two.
//! `web/src/story.ts` says the same to the page.

use serde::Serialize;

/// The version of this format.
pub const VERSION: u32 = 1;

/// Microseconds since the start of the run; -1 where there is none.
pub type Micros = i64;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// [`VERSION`].
    pub version: u32,
    /// What was run.
    pub run: RunInfo,
    /// What it came to.
    pub verdict: VerdictInfo,
    /// Parts of the run, and of its rules.
    pub phases: Vec<Phase>,
    /// The fault phase.
    pub faults: Option<Span>,
    /// A lane each.
    pub nodes: Vec<NodeLane>,
    /// What was done, as adopted: one an activation of a rule, or a fault.
    pub bands: Vec<Band>,
    /// What each rule came to.
    pub rules: Vec<RuleSum>,
    /// Who stood, and who won.
    pub elections: Vec<ElectionInfo>,
    /// Whatever else is a point in time.
    pub moments: Vec<MomentInfo>,
    /// Times in which no node took a write.
    pub unavailable: Vec<Outage>,
    /// How long the cluster took after healing.
    pub recovery: Option<RecoveryInfo>,
    /// The clients, by workload.
    pub loads: Vec<LoadInfo>,
    /// Their calls.
    pub calls: Calls,
    /// One a client.
    pub lanes: Vec<ClientLane>,
    /// Names of functions.
    pub functions: Vec<String>,
    /// Names of keys.
    pub keys: Vec<String>,
    /// What was asked and answered, for people.
    pub texts: Vec<String>,
    /// The calls that a violation is about, by their place in `calls`.
    pub blamed: Vec<usize>,
    /// Contradictions in clients' histories.
    pub evidence: Vec<EvidenceInfo>,
    /// Raft's invariants that were violated on the wire.
    pub alarms: Vec<AlarmInfo>,
    /// Raft's messages as seen on the wire, before they were judged.
    pub messages: Messages,
    /// Names of kinds of messages.
    pub kinds: Vec<String>,
    /// All packets where they were logged, else those that were disturbed, as far as known.
    pub packets: Option<Packets>,
    /// What each link that had traffic saw.
    pub links: Vec<LinkSum>,
    /// Sums of the network that are not zero, in words.
    pub totals: Vec<Total>,
    /// What nodes logged around events.
    pub logs: Vec<Excerpt>,
    /// Where the evidence is, relative to the page.
    pub files: Vec<FileInfo>,
    /// What the page does not show because of its limits, in words.
    pub left_out: Vec<String>,
}

/// What was run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunInfo {
    /// Its name; of an attached session that of the rule file.
    pub scenario: String,
    /// The system's, with variants.
    pub adapter: Option<String>,
    /// Text: it may not fit a double.
    pub seed: String,
    /// What every node got beside the adapter's arguments.
    pub args: Vec<String>,
    /// The version that made the run.
    pub raftq: String,
    /// RFC 3339, UTC.
    pub started: Option<String>,
    /// From its start to its end.
    pub length: Micros,
    /// Where it is.
    pub folder: String,
    /// Commands to repeat it, or to look further.
    pub repeat: Vec<String>,
}

/// What it came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VerdictInfo {
    /// `holds`, `violated`, `undecided`, `a rule never matched` or `failed`.
    pub word: String,
    /// As the process ended.
    pub exit_code: u8,
    /// Each check.
    pub findings: Vec<FindingInfo>,
    /// What the exit code follows from where no finding says it; empty where one does.
    pub why: String,
    /// What a reader must know before believing the rest.
    pub warnings: Vec<String>,
}

/// One check.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FindingInfo {
    /// Its name.
    pub check: String,
    /// `holds`, `violated`, `undecided` or `not made`.
    pub verdict: String,
    /// In words.
    pub detail: String,
}

/// From when until when.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Span {
    /// Its begin.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
}

/// A part of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Its begin.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
}

/// What a node was, over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeLane {
    /// Its name.
    pub name: String,
    /// In order, without gaps.
    pub roles: Vec<RoleSpan>,
    /// In order, without gaps.
    pub states: Vec<StateSpan>,
}

/// What it was to the others.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RoleSpan {
    /// Its begin.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// `leader`, `candidate`, `follower` or `unknown`.
    pub role: &'static str,
    /// As far as known.
    pub term: Option<u64>,
}

/// Whether its process ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StateSpan {
    /// Its begin.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// `up`, `paused`, `down`, `starting` or `removed`.
    pub state: &'static str,
    /// Who did it, or how it ended.
    pub why: String,
}

/// One activation of a rule, or one fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Band {
    /// Its name.
    pub rule: String,
    /// `packets` or `process`.
    pub kind: &'static str,
    /// From when packets were judged by it, or since when it was done.
    pub from: Micros,
    /// Its end; the run's where it never ended.
    pub to: Micros,
    /// Whether it ended before the run did.
    pub ended: bool,
    /// Nodes that it is about.
    pub nodes: Vec<usize>,
    /// Links that it is about: from and to.
    pub links: Vec<(usize, usize)>,
    /// In words, such as `delay 20 ms`.
    pub does: Vec<String>,
    /// How its roles were bound, and who switched it.
    pub why: String,
    /// Segments; -1 where not known of this activation.
    pub matched: i64,
    /// The same.
    pub acted: i64,
    /// The same.
    pub leaked: i64,
}

/// What a rule came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RuleSum {
    /// Its name.
    pub name: String,
    /// How often it was active.
    pub activations: u64,
    /// Segments.
    pub matched: u64,
    /// Segments.
    pub acted: u64,
    /// Segments of unknown senders that passed.
    pub leaked: u64,
    /// Its first match.
    pub first: Micros,
    /// Its last match.
    pub last: Micros,
    /// Whether it may match nothing.
    pub optional: bool,
}

/// An election.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ElectionInfo {
    /// When somebody stood first.
    pub at: Micros,
    /// Its term.
    pub term: u64,
    /// Which of several Raft groups; empty where there is one.
    pub group: String,
    /// Who stood.
    pub candidates: Vec<usize>,
    /// Who won; -1: nobody.
    pub leader: i64,
    /// Until the winner was heard.
    pub took: Micros,
}

/// A point in time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MomentInfo {
    /// When.
    pub at: Micros,
    /// `alarm`, `died`, `done`, `switched`, `told`, `term` or `leader`.
    pub kind: &'static str,
    /// Which node; -1: none in particular.
    pub node: i64,
    /// In words.
    pub text: String,
}

/// A time in which no node took a write.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outage {
    /// Its begin.
    pub from: Micros,
    /// Its end.
    pub to: Micros,
    /// Whether a write succeeded after it.
    pub ended: bool,
}

/// How long the cluster took after healing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RecoveryInfo {
    /// When nothing was disturbed any more.
    pub healed: Micros,
    /// From then to a write that succeeded; -1: never.
    pub after: Micros,
    /// The longest it may take.
    pub limit: Micros,
}

/// The clients of one workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LoadInfo {
    /// Its name.
    pub workload: String,
    /// The history's file.
    pub history: String,
    /// How many.
    pub clients: usize,
    /// Calls that were answered.
    pub ok: u64,
    /// Calls that surely had no effect.
    pub failed: u64,
    /// Calls of which nobody knows.
    pub unknown: u64,
    /// Half took less.
    pub p50: Micros,
    /// 99 of 100 took less.
    pub p99: Micros,
    /// The most frequent first.
    pub errors: Vec<ErrorCount>,
}

/// Why calls failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ErrorCount {
    /// In words.
    pub why: String,
    /// How often.
    pub times: u64,
}

/// Calls, in columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Calls {
    /// When each began.
    pub begin: Vec<Micros>,
    /// When it was answered; -1: never.
    pub end: Vec<Micros>,
    /// Whose it was, in `lanes`.
    pub lane: Vec<usize>,
    /// What, in `functions`.
    pub f: Vec<usize>,
    /// On what, in `keys`; -1: nothing.
    pub key: Vec<i64>,
    /// 0 answered, 1 surely not done, 2 unknown.
    pub outcome: Vec<u8>,
    /// Which node was called; -1: unknown.
    pub node: Vec<i64>,
    /// In words, in `texts`.
    pub text: Vec<usize>,
    /// How many calls each stands for, itself among them, where others are left out; empty where
    /// none is.
    pub weight: Vec<u32>,
}

/// A client.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClientLane {
    /// Its name.
    pub name: String,
    /// Its place in `loads`.
    pub load: usize,
}

/// A contradiction.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EvidenceInfo {
    /// The history's file.
    pub history: String,
    /// Which check it violates.
    pub check: String,
    /// What it is about.
    pub object: String,
    /// What is wrong.
    pub summary: String,
    /// The calls that show it.
    pub lines: Vec<EvidenceLine>,
}

/// One call of a contradiction.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EvidenceLine {
    /// Who called.
    pub process: String,
    /// Which node.
    pub node: Option<String>,
    /// What, and what was answered.
    pub text: String,
    /// When it began.
    pub begin: Micros,
    /// When it was answered; -1: never, as far as this needs it.
    pub end: Micros,
    /// Whether it is the one that cannot be placed.
    pub blamed: bool,
    /// Its place in `calls`; -1: it is not there.
    pub call: i64,
}

/// A violation seen on the wire.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AlarmInfo {
    /// When.
    pub at: Micros,
    /// Which.
    pub invariant: String,
    /// In words.
    pub said: String,
    /// The messages that prove it.
    pub evidence: Vec<String>,
    /// Whom it is about.
    pub nodes: Vec<usize>,
}

/// Raft's messages, in columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Messages {
    /// When each was seen.
    pub at: Vec<Micros>,
    /// Who sent it; -1: unknown.
    pub from: Vec<i64>,
    /// To whom; -1: unknown.
    pub to: Vec<i64>,
    /// In `kinds`.
    pub kind: Vec<usize>,
    /// -1: not told.
    pub term: Vec<i64>,
    /// 0 passed, or not known where `delay` is -1, 1 delayed, 2 dropped, 3 reset, 4 changed.
    pub fate: Vec<u8>,
    /// By raftq; 0 none, -1 not known.
    pub delay: Vec<Micros>,
}

/// Packets, in columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Packets {
    /// When each came.
    pub at: Vec<Micros>,
    /// Who sent it; -1: unknown.
    pub from: Vec<i64>,
    /// To whom; -1: unknown.
    pub to: Vec<i64>,
    /// As of messages.
    pub fate: Vec<u8>,
    /// In `rules`; -1: none.
    pub rule: Vec<i64>,
    /// By raftq; 0 none, -1 not known.
    pub delay: Vec<Micros>,
}

/// What a link saw.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LinkSum {
    /// Who sends.
    pub from: usize,
    /// Who receives.
    pub to: usize,
    /// Segments.
    pub packets: u64,
    /// Segments.
    pub dropped: u64,
    /// Segments.
    pub trimmed: u64,
    /// Segments.
    pub delayed: u64,
    /// How late held ones left.
    pub late: Option<Late>,
}

/// How late packets left behind their due time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Late {
    /// Packets measured.
    pub count: u64,
    /// Median, us.
    pub p50: f64,
    /// 99th percentile, us.
    pub p99: f64,
    /// The latest, us.
    pub max: f64,
}

/// A sum.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Total {
    /// Of what.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// What a node logged around an event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Excerpt {
    /// Which.
    pub node: usize,
    /// When the event was.
    pub at: Micros,
    /// The event.
    pub why: String,
    /// Where it stands.
    pub file: String,
    /// The lines.
    pub lines: Vec<String>,
    /// Whether there are more than are shown.
    pub cut: bool,
}

/// A file of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FileInfo {
    /// Relative to the page.
    pub name: String,
    /// What is in it.
    pub what: String,
}
