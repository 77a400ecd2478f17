//! A rule file as it was written: the types behind the grammar, and behind its JSON schema.
//!
//! Nothing here is checked against anything else: names may be unknown and times impossible.
//! `parse.rs` makes these values, `compile.rs` gives them their meaning. The docs of the
//! fields become the descriptions that editors show, so they are written for users.

use super::table::{
    Bounds, Distribution, Event, FlowAge, Order, ProcessAction, Role, Unattributed, What,
};
use crate::packet::Proto;
use crate::rules::diagnostic::Span;
use crate::time::Nanos;
use crate::wire::{Kind, Protocol};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The entries of a map whose keys are names, in the order of the file.
pub(super) type Named<T> = Vec<(At<String>, T)>;

/// A rule table for raftq: which links of a Raft cluster are disturbed, how and when.
///
/// Rules are tried in the order of the file. Delays add up; `accept` and `drop` end the walk.
/// A packet that no rule ends is accepted.
#[derive(Clone, Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RuleFile {
    /// The nodes of the cluster. May be left out if they are given with `--cluster FILE`.
    pub(super) cluster: Option<Cluster>,
    /// Whether there is no such key, as opposed to one whose value was refused.
    #[schemars(skip)]
    pub(super) lacks_cluster: bool,
    /// Names for sets of nodes. A group without a value is chosen on the command line, with
    /// `--set NAME=NODE,...`, which also replaces the value of any other group.
    #[schemars(with = "Option<std::collections::BTreeMap<String, GroupSchema>>")]
    pub(super) groups: Named<Group>,
    /// Seed of every random decision, 0 if left out.
    #[schemars(with = "Option<u64>")]
    pub(super) seed: Option<At<u64>>,
    /// Stretches of time, each beginning as the former one ends, for rules to be `in`.
    #[schemars(with = "Option<Vec<PhaseEntry>>")]
    pub(super) phases: Vec<PhaseEntry>,
    /// The rules, tried in this order.
    #[schemars(required)]
    pub(super) rules: Vec<RuleEntry>,
}

/// A stretch of time.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PhaseEntry {
    /// Where it begins.
    #[schemars(skip)]
    pub(super) span: Span,
    /// What it is called; unique.
    #[schemars(with = "String", required)]
    pub(super) name: Option<At<String>>,
    /// How long it takes.
    #[schemars(with = "Range", required)]
    pub(super) r#for: Option<At<Range>>,
    /// When it begins, counted from the moment the rules came into force; as the former one ends
    /// if left out.
    #[schemars(with = "Option<Range>")]
    pub(super) at: Option<At<Range>>,
    /// How long before the former one's end it begins; `0s` if left out.
    #[schemars(with = "Option<Nanos>")]
    pub(super) overlap: Option<At<Nanos>>,
}

/// A span of time, or two between which one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: Nanos,
    pub(super) high: Nanos,
}

impl Range {
    /// How much more than the least there may be.
    pub(super) fn width(self) -> Nanos {
        self.high.saturating_sub(self.low)
    }

    pub(super) fn is_drawn(self) -> bool {
        self.high > self.low
    }
}

/// What a group stands for.
#[derive(Clone, Debug)]
pub(super) enum Group {
    /// These nodes and groups.
    Nodes(NodeSet),
    /// To be given on the command line.
    Asked,
    /// Something wrong, reported already.
    Broken,
}

/// The nodes of the cluster, and what holds for all of their traffic.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Cluster {
    /// Where the section begins.
    #[schemars(skip)]
    pub(super) span: Span,
    /// The nodes by name, each with the addresses on which its peers reach it.
    #[schemars(with = "std::collections::BTreeMap<String, NodeEntry>", required)]
    pub(super) nodes: Named<NodeEntry>,
    /// Packets a second that the cluster's links carry at most, 20000 if left out. Delays are
    /// checked against it: at most 61440 packets are held at a time.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) max_rate: Option<At<u32>>,
    /// What happens to a packet whose sender cannot be told; `accept` if left out.
    #[schemars(with = "Option<Unattributed>")]
    pub(super) unattributed: Option<At<Unattributed>>,
    /// How its nodes speak Raft: then rules may name messages, events and `current leader`, which
    /// are read on the wire. Not through TLS, which shows nothing. Left out: nothing is read.
    #[schemars(with = "Option<Protocol>")]
    pub(super) protocol: Option<At<Protocol>>,
    /// Whether there is no such key, as opposed to one whose value was refused.
    #[schemars(skip)]
    pub(super) lacks_protocol: bool,
    /// NATS: the Raft group whose leader is meant by `leader`, such as `_meta_`; `S-R3F-*` is the
    /// first that is heard of those whose names begin so. Left out: the first whose name does not
    /// begin with `_`.
    #[schemars(with = "Option<String>")]
    pub(super) group: Option<At<String>>,
}

/// A node with its peer addresses, and where its network stack is to be found.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct NodeFields {
    /// One address with port, or several.
    #[schemars(with = "Addresses", required)]
    pub(super) at: Vec<At<String>>,
    /// The network namespace it runs in, by its name in `ip netns`, or as a path.
    #[schemars(with = "Option<String>")]
    pub(super) netns: Option<At<String>>,
    /// A process that runs in its network namespace.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) pid: Option<At<u32>>,
    /// The container it runs in, by name or id.
    #[schemars(with = "Option<String>")]
    pub(super) container: Option<At<String>>,
}

/// A node's fields; the short forms fill only `at`.
#[derive(Clone, Debug)]
pub(super) struct NodeEntry {
    /// `None`: something wrong, reported already.
    pub(super) fields: Option<NodeFields>,
}

/// Names of nodes and groups, `any`, or `rest`.
#[derive(Clone, Debug)]
pub(super) struct NodeSet {
    pub(super) names: Vec<At<String>>,
    pub(super) span: Span,
}

/// One rule: which links, which packets, what is done to them, and when.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RuleEntry {
    /// Where the rule begins.
    #[schemars(skip)]
    pub(super) span: Span,
    /// Something in it is wrong and was reported.
    #[schemars(skip)]
    pub(super) broken: bool,
    /// What the rule is called in all output; unique. `rule N` if left out.
    #[schemars(with = "Option<String>")]
    pub(super) name: Option<At<String>>,
    /// The senders; `any` if left out.
    pub(super) from: Option<NodeSet>,
    /// The receivers; `any` if left out.
    pub(super) to: Option<NodeSet>,
    /// Two sets, for both directions between them. Instead of `from` and `to`.
    #[schemars(with = "Option<(NodeSet, NodeSet)>")]
    pub(super) between: Option<Between>,
    /// The nodes that something is done to, as `kill` or `remove` does. With `from`, `to`,
    /// `between` or `where` the first such packet triggers it, and `node` may be left out: then
    /// its sender is meant.
    pub(super) node: Option<NodeSet>,
    /// Which packets on those links; all if left out.
    pub(super) r#where: Option<Where>,
    /// What is done to them: one action, or a list of actions in order.
    #[schemars(with = "Actions", required)]
    pub(super) r#do: Vec<At<Action>>,
    /// The phase that it belongs to: its times count from the start of that, and it ends with it at
    /// the latest. Without `at` it begins with it, without `for` it lasts as long.
    #[schemars(with = "Option<String>")]
    pub(super) r#in: Option<At<String>>,
    /// When the rule becomes active, counted from the moment the rules came into force, or from the
    /// start of its phase; `0s` if left out.
    #[schemars(with = "Option<Range>")]
    pub(super) at: Option<At<Range>>,
    /// The event that makes the rule active, instead of a time. `leader_elected`: the first
    /// message of a new leader; `term_change`: a message in a term higher than all before;
    /// `election_started`: the first request for votes in a term; `first_entry`: the first entry
    /// that a new leader sends. That very packet is judged by the rule already, unless `after`
    /// says otherwise. `leader` is then the node of that event, `candidate` the one that asks for
    /// votes; both stay bound until the rule ends. Needs `cluster.protocol`.
    #[schemars(with = "Option<Event>")]
    pub(super) on: Option<At<Event>>,
    /// How long behind that event; `0s` if left out.
    #[schemars(with = "Option<Nanos>")]
    pub(super) after: Option<At<Nanos>>,
    /// How long it stays active; until the end if left out. What is done to processes is undone
    /// so long after it was done.
    #[schemars(with = "Option<Range>")]
    pub(super) r#for: Option<At<Range>>,
    /// Time from one activation to the next, for a rule that comes back; needs `for`.
    #[schemars(with = "Option<Range>")]
    pub(super) every: Option<At<Range>>,
    /// Number of activations. With `every` without end if left out, with `on` one.
    #[schemars(with = "Option<Times>")]
    pub(super) times: Option<At<Times>>,
    /// Whether the rule may end without ever having matched a packet, or with `node` be left
    /// out where the system does not offer what it needs; `false` if left out.
    #[schemars(with = "Option<bool>")]
    pub(super) optional: Option<At<bool>>,
}

/// The two sides of `between`.
#[derive(Clone, Debug)]
pub(super) struct Between {
    pub(super) sides: [NodeSet; 2],
    pub(super) span: Span,
}

/// How often a rule becomes active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Number(u32),
    Unlimited,
}

/// Conditions on a packet; all of them must hold. Those from `message` to `group` make the rule
/// one about Raft messages: it matches a packet that completes a message which meets all of
/// them. A segment that is sent again completes none.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Where {
    /// The transport protocol.
    #[schemars(with = "Option<Proto>")]
    pub(super) proto: Option<At<Proto>>,
    /// A port, at either end.
    #[schemars(with = "Option<u16>", range(min = 1))]
    pub(super) port: Option<At<u16>>,
    /// Whether the connection was opened since the rule became active, or is any other. UDP
    /// has no SYN: its flows open with the first packet seen, and anew after a silent minute.
    #[schemars(with = "Option<FlowAge>")]
    pub(super) flow: Option<At<FlowAge>>,
    /// One kind of Raft message, or several. Needs `cluster.protocol`, as all up to `group` do.
    #[schemars(with = "Option<Kinds>")]
    pub(super) message: Option<Vec<At<Kind>>>,
    /// The term that it bears.
    #[schemars(with = "Option<Bounds>")]
    pub(super) term: Option<At<Bounds>>,
    /// How many entries it carries.
    #[schemars(with = "Option<Bounds>")]
    pub(super) entries: Option<At<Bounds>>,
    /// What its sender is by then. The first message of a leader makes it the leader.
    #[schemars(with = "Option<Role>")]
    pub(super) from_role: Option<At<Role>>,
    /// Whether an answer grants the vote, or accepts the entries.
    #[schemars(with = "Option<bool>")]
    pub(super) granted: Option<At<bool>>,
    /// NATS: the Raft group that it belongs to, such as `_meta_`; `S-R3F-*` are all whose names
    /// begin so.
    #[schemars(with = "Option<String>")]
    pub(super) group: Option<At<String>>,
    /// Of what meets the conditions above only each n-th: messages where they are about messages,
    /// else segments.
    #[schemars(with = "Option<u32>", range(min = 2))]
    pub(super) every_nth: Option<At<u32>>,
    /// Of that only the first so many, in each activation of the rule.
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub(super) first: Option<At<u32>>,
    /// The share of packets that is hit, drawn for each segment on the wire that meets all else.
    #[schemars(with = "Option<Chance>")]
    pub(super) chance: Option<At<Chance>>,
}

/// One step of `do`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Accept,
    /// `what` is `None` where it was not said.
    Drop {
        what: Option<What>,
        keep: Option<Keep>,
    },
    Delay(DelayFields),
    Reset,
    Stall {
        reset_after: Option<At<Nanos>>,
    },
    Process(ProcessAction),
}

/// How `stall` ends.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StallFields {
    /// So long after it began the connection is reset. If left out it stays as it is, until one of
    /// its ends gives up.
    #[schemars(with = "Option<Nanos>")]
    pub(super) reset_after: Option<At<Nanos>>,
}

/// How `drop` drops.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DropFields {
    /// `packets`: everything. `data`: payload, SYN and FIN; bare acknowledgements pass, so
    /// that the other direction of a TCP connection stays alive.
    /// `packets` if left out.
    #[schemars(with = "Option<What>")]
    pub(super) what: Option<At<What>>,
    /// `held`: packets that another rule holds when this one starts are left alone. If left
    /// out, they are dropped like those that come.
    #[schemars(with = "Option<Keep>")]
    pub(super) keep: Option<At<Keep>>,
}

/// What a new drop leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Packets that are held already.
    Held,
}

/// How `delay` delays.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DelayFields {
    /// How long a packet is held, in the middle of the distribution.
    #[schemars(with = "Nanos", required)]
    pub(super) by: At<Nanos>,
    /// Half the width of a uniform distribution, or the deviation of a normal one; at most
    /// `by`. `0s` if left out.
    #[schemars(with = "Option<Nanos>")]
    pub(super) jitter: Option<At<Nanos>>,
    /// The shape of the jitter; `uniform` if left out.
    #[schemars(with = "Option<Distribution>")]
    pub(super) distribution: Option<At<Distribution>>,
    /// `flow`: the packets of a connection stay in order. `free`: jitter may reorder them.
    /// `flow` if left out.
    #[schemars(with = "Option<Order>")]
    pub(super) order: Option<At<Order>>,
}

impl<T: Copy> Copy for At<T> {}

/// A share of packets, of 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance(pub(super) u64);

/// A value that is one of a few words.
pub(super) trait Word: Copy + 'static {
    /// The words and what each means.
    const WORDS: &'static [(&'static str, Self)];
}

/// Gives a type its words, for the parser and for the schema alike.
macro_rules! words {
    ($type:ident: $($word:literal => $value:ident),+) => {
        impl Word for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $type::$value)),+];
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "enum": [$($word),+] })
            }
        }
    };
}

words!(Proto: "tcp" => Tcp, "udp" => Udp);
words!(FlowAge: "new" => New, "established" => Established);
words!(What: "packets" => Packets, "data" => Data);
words!(Keep: "held" => Held);
words!(Distribution: "uniform" => Uniform, "normal" => Normal);
words!(Order: "flow" => Flow, "free" => Free);
words!(Unattributed: "accept" => Accept, "drop" => Drop);
words!(Role: "leader" => Leader, "follower" => Follower, "candidate" => Candidate);
words!(Event: "leader_elected" => LeaderElected, "term_change" => TermChange,
    "election_started" => ElectionStarted, "first_entry" => FirstEntry);
words!(Kind: "vote_request" => VoteRequest, "vote_answer" => VoteAnswer,
    "pre_vote_request" => PreVoteRequest, "pre_vote_answer" => PreVoteAnswer,
    "append_entries" => Append, "append_answer" => AppendAnswer, "heartbeat" => Heartbeat,
    "heartbeat_answer" => HeartbeatAnswer, "snapshot" => Snapshot,
    "snapshot_answer" => SnapshotAnswer, "timeout_now" => TimeoutNow, "other" => Other);

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &PROTOCOLS;
}

/// The protocols have their words where they are.
const PROTOCOLS: [(&str, Protocol); Protocol::ALL.len()] = {
    let mut words = [("", Protocol::ALL[0]); Protocol::ALL.len()];
    let mut i = 0;
    while i < words.len() {
        words[i] = (Protocol::ALL[i].word(), Protocol::ALL[i]);
        i += 1;
    }
    words
};

/// A duration, as a pattern.
const LENGTH: &str = r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+";

/// Gives a type that is written in more than one form its schema.
macro_rules! forms {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

forms!(Protocol, "Protocol", |_generator| json_schema!({
    "enum": Protocol::ALL.map(Protocol::word),
}));
forms!(Nanos, "Duration", |_generator| json_schema!({
    "description": "A number and its unit: ns, us, ms, s, m or h. `1m30s` and `1.5s` work too.",
    "type": "string",
    "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$",
}));
forms!(Range, "DurationRange", |_generator| json_schema!({
    "description": "A duration, or two with dots between, such as `5s..10s`: then it is drawn from \
                    the seed, evenly, for each activation anew.",
    "type": "string",
    "pattern": format!("^{LENGTH}( *\\.\\. *{LENGTH})?$"),
}));
forms!(Chance, "Chance", |_generator| json_schema!({
    "description": "A percentage above 0% and up to 100%.",
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)?%$",
}));
forms!(NodeSet, "NodeSet", |generator| json_schema!({
    "description": "A node, a group, `any`, `rest` (all nodes that are not in the other set), \
                    `leader`, `followers`, `minority` (with the leader), `majority`, `random` (one \
                    node), `random 2`, `random 2 followers`, or a list of these. They are found \
                    as the rule becomes active, and stay what they were. `candidate` is for \
                    `on: election_started`. `leader: current` follows elections.",
    "anyOf": [
        generator.subschema_for::<SetWord>(),
        { "type": "array", "items": generator.subschema_for::<SetWord>(), "minItems": 1 },
    ],
}));
forms!(SetWord, "SetWord", |_generator| json_schema!({
    "anyOf": [
        { "type": ["string", "integer"] },
        {
            "type": "object",
            "properties": { "leader": { "enum": ["current"] } },
            "required": ["leader"],
            "additionalProperties": false,
        },
    ],
}));
forms!(Times, "Times", |_generator| json_schema!({
    "anyOf": [{ "type": "integer", "minimum": 1 }, { "enum": ["unlimited"] }],
}));
forms!(Bounds, "Bounds", |_generator| json_schema!({
    "description": "A number, or a comparison in quotes: \">3\", \">=3\", \"<3\", \"<=3\".",
    "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^(<|<=|>|>=|=)? *[0-9]+$" },
    ],
}));
forms!(Kinds, "Kinds", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<Kind>(),
        { "type": "array", "items": generator.subschema_for::<Kind>(), "minItems": 1 },
    ],
}));
forms!(NodeEntry, "Node", |generator| json_schema!({
    "description": "The peer addresses of a node, such as 10.77.0.1:2380 or \"[fd00::1]:2380\".",
    "anyOf": [generator.subschema_for::<Addresses>(), generator.subschema_for::<NodeFields>()],
}));
forms!(GroupSchema, "Group", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<NodeSet>(),
        { "type": "null", "description": "Chosen on the command line with --set." },
    ],
}));
forms!(Addresses, "Addresses", |_generator| json_schema!({
    "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    ],
}));
forms!(Action, "Action", |generator| json_schema!({
    "anyOf": [
        {
            "enum": ["accept", "drop", "reset", "stall"],
            "description": "`accept`: the packet passes, after the delays so far; no later rule \
                            sees it. `drop`: the packet vanishes; TCP sends it again. `reset`: \
                            its connection is reset, for its receiver at once. `stall`: from it on \
                            nothing but acknowledgements passes in its direction of the \
                            connection, for as long as that lives, so that what it carries is \
                            lost. `reset` and `stall` are for TCP, and leave other packets alone.",
        },
        {
            "enum": ProcessAction::ALL.map(ProcessAction::name),
            "description": "Done to each of `node`, with all that it has started. `kill`: SIGKILL; \
                            `crash`: SIGKILL, and no packet passes until it is started again; \
                            `stop`: SIGTERM, and SIGKILL after 10 s; `pause`: SIGSTOP; `remove`: \
                            taken out of the cluster, and stopped. `for` says when these are \
                            undone. `start`, `resume`: what undoes them, by itself. `restart`, \
                            `wipe`: SIGKILL and a new start at once, with its data or without. \
                            `rolling restart`: stopped, started, and waited for until all follow \
                            one leader, one node after the other. `add`: a removed node comes back \
                            without its data; `replace`: remove and add. `transfer`: made the \
                            leader; `compact`: made to take a snapshot and drop its log. What \
                            changes the cluster is for systems whose adapter offers it; elsewhere \
                            it is refused, or left out where `optional`.",
        },
        {
            "type": "object",
            "properties": { "drop": generator.subschema_for::<DropFields>() },
            "required": ["drop"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": { "stall": generator.subschema_for::<StallFields>() },
            "required": ["stall"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": { "delay": { "anyOf": [
                generator.subschema_for::<Nanos>(),
                generator.subschema_for::<DelayFields>(),
            ] } },
            "required": ["delay"],
            "additionalProperties": false,
        },
    ],
}));
forms!(Actions, "Actions", |generator| json_schema!({
    "anyOf": [
        generator.subschema_for::<Action>(),
        { "type": "array", "items": generator.subschema_for::<Action>(), "minItems": 1 },
    ],
}));

/// Stands for the forms of a group's value in the schema.
struct GroupSchema;

/// Stands for one word of a node set in the schema.
struct SetWord;

/// Stands for one kind of message or several in the schema.
struct Kinds;

/// Stands for one address or several in the schema.
struct Addresses;

/// Stands for one action or several in the schema.
struct Actions;
