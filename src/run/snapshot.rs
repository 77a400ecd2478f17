//! What a look at a running raftq shows: the document of `GET /v1/watch`, read by `raftq watch`.
//!
//! Counts are totals; whoever wants rates takes two looks. Nodes are named by their index in
//! [`Snapshot::nodes`] where there may be many of them.

use serde::{Deserialize, Serialize};

/// The most rules that one look has.
pub const RULES_MAX: usize = 256;

/// The most events, the last ones, that one look has.
pub const EVENTS_MAX: usize = 64;

/// The most warnings, the last ones, that one look has.
pub const WARNINGS_MAX: usize = 16;

/// One look. `R` is a rule: as the API lists it where it is written, a [`RuleSeen`] where it is
/// read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<R = RuleSeen> {
    /// The run's id.
    pub run: String,
    /// Of raftq.
    pub version: String,
    /// Of raftq.
    pub pid: u32,
    /// This moment on the rules' clock, s.
    pub t_s: f64,
    /// What is left, s; none where it ends only by a signal.
    pub ends_in_s: Option<f64>,
    /// How the nodes speak, where the cluster says so.
    pub protocol: Option<String>,
    /// Who leads, as far as is known.
    pub leader: Option<LeaderSeen>,
    /// The highest term that was heard of.
    pub term: Option<u64>,
    /// In the order of the table.
    pub nodes: Vec<NodeSeen>,
    /// What nodes said to each other.
    pub messages: MessagesSeen,
    /// Links on which something came, or a round trip was measured.
    pub links: Vec<LinkSeen>,
    /// Why round trips lack, where they do.
    pub no_round_trips: Option<String>,
    /// Sums.
    pub totals: TotalsSeen,
    /// A part of the rules.
    pub rules: RulesSeen<R>,
    /// The last ones, in their order.
    pub events: Vec<EventSeen>,
    /// The last ones.
    pub warnings: Vec<String>,
    /// Those before them.
    pub warnings_more: usize,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderSeen {
    /// Its name.
    pub node: String,
    /// In which term; none where the nodes were asked.
    pub term: Option<u64>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: RoleSeen,
    /// The last term that it spoke in.
    pub term: Option<u64>,
    /// Messages that it sent.
    pub messages: u64,
    /// What is done to its process now: the fault's name and its action.
    pub faults: Vec<FaultSeen>,
}

/// What is done to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSeen {
    /// By which rule.
    pub rule: String,
    /// What.
    pub action: String,
}

/// What a node is, as far as was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSeen {
    /// It leads.
    Leader,
    /// It stands for election.
    Candidate,
    /// It was heard, and is neither.
    Follower,
    /// It was not heard, or nobody listens.
    #[default]
    Unknown,
}

/// Messages by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesSeen {
    /// Those kinds of which there were some.
    pub kinds: Vec<KindSeen>,
    /// Messages that no kind counts, because raftq could not keep up.
    pub missed: u64,
}

/// One kind of message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindSeen {
    /// Its word.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSeen {
    /// Index of the sender.
    pub from: usize,
    /// Index of the receiver.
    pub to: usize,
    /// Segments that came.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments dropped.
    pub dropped: u64,
    /// Segments trimmed to their acknowledgement.
    pub trimmed: u64,
    /// Segments held for a time.
    pub delayed: u64,
    /// What the sender's kernel measured, where it did.
    pub round_trip: Option<RoundTripSeen>,
}

/// What the sender's kernel measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTripSeen {
    /// Smoothed, of the connection that was sent on last, us.
    pub rtt_us: u32,
    /// How much that varies, us.
    pub varies_us: u32,
    /// The least of all connections, us.
    pub least_us: Option<u32>,
    /// How many there are.
    pub connections: u32,
    /// Segments that were sent again on those.
    pub resent: u64,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsSeen {
    /// Packets read from the queues.
    pub packets: u64,
    /// Held now.
    pub held: u64,
    /// Whose sender stayed unknown.
    pub unattributed: u64,
    /// Lost by the kernel's queues.
    pub lost: u64,
    /// Dropped because as many were held as may be.
    pub overflow: u64,
}

/// A part of the rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesSeen<R = RuleSeen> {
    /// How many there are, faults among them.
    pub total: usize,
    /// How many are active.
    pub active: usize,
    /// The index of the first that is listed.
    pub from: usize,
    /// At most [`RULES_MAX`].
    pub list: Vec<R>,
}

impl<R> Default for RulesSeen<R> {
    fn default() -> Self {
        Self { total: 0, active: 0, from: 0, list: Vec::new() }
    }
}

/// One rule or fault, as much of it as a view shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleSeen {
    /// Its name.
    pub name: String,
    /// `packets` or `process`.
    pub kind: String,
    /// `active`, `waiting` or `ended`.
    pub state: String,
    /// `on`, `off` or `auto`.
    pub switched: String,
    /// When it ends that was switched on for a time, s.
    pub until_s: Option<f64>,
    /// Times it became active.
    #[serde(default)]
    pub activations: Option<u64>,
    /// Segments or messages that it is about.
    #[serde(default)]
    pub matched: Option<u64>,
    /// Of those, what it acted on.
    #[serde(default)]
    pub acted: Option<u64>,
    /// Segments of unknown senders that passed a cut.
    #[serde(default)]
    pub leaked: Option<u64>,
    /// What it does, in words.
    #[serde(rename = "do")]
    pub does: Vec<String>,
    /// Its links, as far as they are listed.
    #[serde(default)]
    pub links: Vec<String>,
    /// Those that are not listed.
    #[serde(default)]
    pub links_more: usize,
    /// The nodes that a fault is done to.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventSeen {
    /// Counted from 1 since the start.
    pub n: u64,
    /// When, on the rules' clock, s.
    pub t_s: f64,
    /// The rule; `wire` for what nodes did by themselves.
    pub rule: String,
    /// What.
    pub what: String,
    /// The nodes that it is about.
    pub nodes: Vec<String>,
}
