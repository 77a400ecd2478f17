//! A rule file as it was written: the types behind the grammar, and behind its JSON schema.
//!
//! Nothing here is checked against anything else: names may be unknown and times impossible.
//! `parse.rs` makes these values, `compile.rs` gives them their meaning. The docs of the
//! fields become the descriptions that editors show, so they are written for users.

use super::forms::{Actions, Addresses, ContainsSchema, EcnWords, FlagWords, GroupSchema, Kinds};
use super::table::{
    Bounds, Dialled, Distribution, Event, Flags, FlowAge, Order, Per, ProcessAction, Reject, Role,
    Unattributed, What,
};
use super::written::{Checksum, ContainsFields, Impair};
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
    /// start of its phase; `0s` if left out. `switch`: only when somebody switches it on by its
    /// name, as `raftq rules on` does, and then for as long as `for` says.
    #[schemars(with = "Option<Start>")]
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

/// What `at` may say; for the schema only, since [`Window::SWITCH`] stands for the word.
///
/// [`Window::SWITCH`]: super::table::Window::SWITCH
pub(super) struct Start;

/// The word for a rule that waits to be switched on.
pub(super) const SWITCH: &str = "switch";

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
    /// Who dialled the packet's connection: its `sender` or its `receiver`. None of them where it
    /// cannot be told, as with UDP between two peer ports.
    #[schemars(with = "Option<Dialled>")]
    pub(super) dialled_by: Option<At<Dialled>>,
    /// Bytes of the packet on the wire, IP header and all, such as `">1000"` or `"100..200"`.
    #[schemars(with = "Option<Bounds>")]
    pub(super) size: Option<At<Bounds>>,
    /// Bytes that it carries, without headers: `0` for a bare acknowledgement.
    #[schemars(with = "Option<Bounds>")]
    pub(super) payload: Option<At<Bounds>>,
    /// It carries some of these bytes of its direction of the connection, counted from 0, such as
    /// `">=1048576"` or `"1000..2000"`. What was there before raftq came is not counted.
    #[schemars(with = "Option<Bounds>")]
    pub(super) offset: Option<At<Bounds>>,
    /// TCP flags that it has, or with a `!` has not: `syn`, or `[syn, \"!ack\"]`.
    #[schemars(with = "Option<FlagWords>")]
    pub(super) flags: Option<At<Flags>>,
    /// The differentiated services code point, 0 to 63.
    #[schemars(with = "Option<u8>", range(max = 63))]
    pub(super) dscp: Option<At<u8>>,
    /// What its header says of congestion: one of these words, or several.
    #[schemars(with = "Option<EcnWords>")]
    pub(super) ecn: Option<At<u8>>,
    /// What its payload contains: a text, or bytes such as `0x0a1b`; with `at`, where. A text that
    /// two segments share is in neither.
    #[schemars(with = "Option<ContainsSchema>")]
    pub(super) contains: Option<At<ContainsFields>>,
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
#[derive(Clone, Debug)]
pub(super) enum Action {
    Accept,
    /// `what` is `None` where it was not said.
    Drop {
        what: Option<What>,
        keep: Option<Keep>,
        heal: Option<Heal>,
    },
    Delay(DelayFields),
    Impair(Impair),
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
    /// `reset`: when the rule ends, connections of which it dropped something are reset, so that
    /// nobody waits for TCP to try again. If left out, they go on when TCP does.
    #[schemars(with = "Option<Heal>")]
    pub(super) heal: Option<At<Heal>>,
}

/// How a cut ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heal {
    /// By resetting what it starved.
    Reset,
}

/// In which order held packets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseOrder {
    /// As they came.
    InOrder,
    /// The last first.
    Reversed,
}

/// What a new drop leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Packets that are held already.
    Held,
}

/// How `delay` delays.
#[derive(Clone, Debug, JsonSchema)]
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
    /// Instead of `distribution`: a file with a table of one, as netem's `.dist` files are; a path
    /// from where the rule file is.
    #[schemars(with = "Option<String>")]
    pub(super) table: Option<At<String>>,
    /// How often the last draw of its direction of the connection is taken again; `0%` if left
    /// out.
    #[schemars(with = "Option<Chance>")]
    pub(super) correlation: Option<At<Chance>>,
    /// `flow`: the packets of a connection stay in order. `free`: jitter may reorder them.
    /// `flow` if left out.
    #[schemars(with = "Option<Order>")]
    pub(super) order: Option<At<Order>>,
}

impl<T: Copy> Copy for At<T> {}

/// A share of packets, of 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chance(pub(super) u64);

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits(pub(super) u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

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
words!(Distribution: "uniform" => Uniform, "normal" => Normal, "pareto" => Pareto,
    "paretonormal" => ParetoNormal);
words!(Heal: "reset" => Reset);
words!(ReleaseOrder: "in_order" => InOrder, "reversed" => Reversed);
words!(Checksum: "wrong" => Wrong, "right" => Right);
words!(Per: "link" => Link, "flow" => Flow);
words!(Dialled: "sender" => BySender, "receiver" => ByReceiver);
words!(Reject: "port_unreachable" => PortUnreachable, "host_unreachable" => HostUnreachable,
    "net_unreachable" => NetUnreachable, "admin_prohibited" => AdminProhibited,
    "tcp_reset" => TcpReset);
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
