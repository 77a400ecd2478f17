//! The compiled rule table: what a rule file means. No names are looked up after this.
//!
//! A [`Table`] is immutable and checked; whoever holds one may trust it. Nodes and rules
//! are indexes into its vectors, in the order of the file. It says nothing about how the
//! table is walked: `engine/` lays it out for that.

pub use super::about::{
    Bounds, Event, Masks, Meant, MessageFilter, On, OpenSet, OpenSides, Role, RoleWord,
};
pub use super::dist::DistTable;
pub use super::impair::{
    COPIES_MAX, Corrupt, Duplicate, Hold, Losing, Lot, Mark, Part, Per, Rate, Reject, Reorder,
    Slot, Until,
};
pub use super::narrow::{Dialled, Flags, Narrow, PATTERN_MAX, PATTERNS_MAX, Pattern};
pub use super::phases::Phase;
pub use super::random::{ALWAYS, Distribution, Loss};
pub use super::window::{Activation, Draws, Window};
use crate::packet::{Endpoint, LinkId, NodeId, Proto};
use crate::time::Nanos;
use crate::wire::Protocol;

/// The most packets held of one queue; a delay may not ask for more. The kernel keeps at most
/// 65,536 in all; what is left of them lets packets that nobody delays pass while the rest is
/// full.
pub const HELD_MAX: u32 = 65_536 - 4_096;

/// The most rules a table may have.
pub const RULES_MAX: usize = 20_000;

/// The most rules with a chance or a jitter: the engine keeps a counter of each for every
/// flow and direction.
pub const RANDOM_RULES_MAX: usize = 1_024;

/// The most rules that a packet may trigger a fault by: the engine has room for as many that
/// were triggered and have not been told of.
pub const TRIGGERS_MAX: usize = 1_024;

/// A set of nodes: bit `i` is the node with id `i`.
pub type NodeBits = u128;

/// The most links that all rules of a table may name together, which bounds its memory.
pub const RULE_LINKS_MAX: usize = 128 << 20;

/// A whole rule file, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The cluster's nodes; a [`NodeId`] indexes this.
    pub nodes: Vec<Node>,
    /// Seed of every random decision.
    pub seed: u64,
    /// Packets a second that the delays were checked against.
    pub max_rate: u32,
    /// What happens to a packet whose sender stays unknown.
    pub unattributed: Unattributed,
    /// How its nodes speak Raft, where that is to be read.
    pub protocol: Option<Protocol>,
    /// The group whose leader is meant by `leader`, where one connection carries several.
    pub group: Option<String>,
    /// What payloads are searched for.
    pub patterns: Vec<Pattern>,
    /// The rules in file order.
    pub rules: Vec<Rule>,
    /// What is done to processes, in file order.
    pub faults: Vec<Fault>,
    /// The tables that delays are drawn from; [`Distribution::Table`] indexes this.
    pub distributions: Vec<DistTable>,
    /// The phases that rules are in, in file order.
    pub phases: Vec<Phase>,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in the file, unique.
    pub name: String,
    /// Its peer endpoints, at least one; unique over all nodes.
    pub endpoints: Vec<Endpoint>,
    /// Where the node's network stack is to be found.
    pub place: Place,
}

/// How the network namespace of a node is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not said: found by its address.
    Unsaid,
    /// A named namespace, as `ip netns` lists them, or a path to one.
    Netns(String),
    /// The namespace of a process.
    Pid(u32),
    /// The namespace of a container, by name or id.
    Container(String),
}

/// The user's choice for packets whose sender cannot be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unattributed {
    /// Let them pass, and count them.
    #[default]
    Accept,
    /// Drop them, and count them.
    Drop,
}

/// One rule: where it applies, when, and what it does.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "what a rule says, each by itself")]
pub struct Rule {
    /// Its name, unique in the table; counters survive a reload by it.
    pub name: String,
    /// The ordered pairs it applies to: sorted, unique, never from a node to itself.
    pub links: Vec<LinkId>,
    /// What a packet on those links must be like.
    pub filter: Filter,
    /// What is done, in order; not empty, and nothing stands behind an `Accept` or `Drop`
    /// of packets.
    pub actions: Vec<Action>,
    /// When it is active; for a rule that follows an event, when that counts: from `at` to `until`.
    pub window: Window,
    /// The event that makes it active, instead of a time.
    pub on: Option<On>,
    /// Its sides, where they are known only while raftq runs: then `links` are all that they may
    /// come to, and the engine finds out which of them are meant.
    pub sides: Option<OpenSides>,
    /// Whether a drop of it leaves alone what is held when it starts.
    pub keeps_held: bool,
    /// Whether connections of which it dropped something are reset when it ends.
    pub heals_by_reset: bool,
    /// Whether it may end without ever having matched.
    pub optional: bool,
    /// Whether its links depend on who leads at the moment: then `links` are only an example,
    /// and the real ones are found each time it becomes active.
    pub dynamic: bool,
}

/// Something that is done to the processes of nodes, at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name, unique in the table among rules and faults.
    pub name: String,
    /// What is done.
    pub action: ProcessAction,
    /// To whom; an example where `dynamic`.
    pub nodes: Vec<NodeId>,
    /// When; at the end of each activation it is undone.
    pub window: Window,
    /// Whether the nodes depend on who leads at the moment.
    pub dynamic: bool,
    /// Whether it may be left out: where the system does not offer it, or its time never comes.
    pub optional: bool,
}

/// What can be done to a node: to its process, and to its place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessAction {
    /// SIGKILL; undone by starting it again with its data.
    Kill,
    /// The same, and not a packet of it or to it passes until it is started again.
    Crash,
    /// SIGSTOP; undone by SIGCONT.
    Pause,
    /// SIGKILL, and started again at once with its data.
    Restart,
    /// SIGKILL, and started again at once without its data.
    Wipe,
    /// Starts one that is down, with its data.
    Start,
    /// SIGTERM, then SIGKILL; undone by starting it again with its data.
    Stop,
    /// SIGCONT to one that was paused.
    Resume,
    /// Stopped, started, and waited for until all follow one leader, node by node.
    Roll,
    /// Taken into the cluster that it was removed from, without its data.
    Add,
    /// Taken out of the cluster, and stopped; undone by adding it.
    Remove,
    /// Removed and added.
    Replace,
    /// Made the leader.
    Transfer,
    /// Made to take a snapshot and to drop its log.
    Compact,
}

impl ProcessAction {
    /// All of them, in the order in which they are listed for people.
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::Crash,
        Self::Stop,
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::Restart,
        Self::Roll,
        Self::Wipe,
        Self::Replace,
        Self::Add,
        Self::Remove,
        Self::Transfer,
        Self::Compact,
    ];

    /// Its word in rule files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Wipe => "wipe",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Resume => "resume",
            Self::Roll => "rolling restart",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Transfer => "transfer",
            Self::Compact => "compact",
        }
    }

    /// The words of all, for people.
    #[must_use]
    pub fn words() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether nothing to or from a node may pass while it is being done. The silence ends when
    /// it is done; for a crash, when the node has been started again.
    #[must_use]
    pub fn silences(self) -> bool {
        matches!(self, Self::Kill | Self::Crash | Self::Pause | Self::Restart | Self::Wipe)
    }

    /// What undoes it, for people; none for what is over at once.
    #[must_use]
    pub fn undone_by(self) -> Option<&'static str> {
        match self {
            Self::Kill | Self::Crash | Self::Stop => Some("started again"),
            Self::Pause => Some("resumed"),
            Self::Remove => Some("added back"),
            _ => None,
        }
    }
}

/// The conditions of `where`; each `None` matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Filter {
    /// Transport.
    pub proto: Option<Proto>,
    /// A port at either end.
    pub port: Option<u16>,
    /// Age of the flow relative to the rule's activation.
    pub flow: Option<FlowAge>,
    /// What else the packet itself must be like.
    pub narrow: Narrow,
    /// What a message must be like that the packet completes: then the rule is about messages.
    pub message: Option<MessageFilter>,
    /// Of what meets all that, only each n-th; at least 2.
    pub every_nth: Option<u32>,
    /// Of that, only the first so many of an activation.
    pub first: Option<u32>,
    /// Chance for each wire segment, as a share of 2^32 (2^32: always).
    pub chance: Option<u64>,
}

/// Whether a flow was dialled while a rule was active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowAge {
    /// Its SYN was seen since the rule became active; for UDP, its first packet.
    New,
    /// Any other flow.
    Established,
}

/// One step of `do`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Ends the walk; delays collected so far stay.
    Accept,
    /// Ends the walk for what it drops.
    Drop(What),
    /// Ends the walk: a RST goes instead of the segment, and what is held of its direction of the
    /// flow is dropped. A packet of which none can be made is dropped. Its rule is about TCP.
    Reset,
    /// Ends the walk: from this segment on nothing of its direction of the flow arrives but
    /// acknowledgements, until the flow ends. Its rule is about TCP.
    Stall {
        /// So long after it began, a RST goes instead of the next segment, and ends the stall.
        reset_after: Option<Nanos>,
    },
    /// Adds to the packet's delay; the walk goes on.
    Delay(Delay),
    /// Ends the walk for what it loses.
    Lose(Losing),
    /// Takes the delays so far off some packets; the walk goes on.
    Reorder(Reorder),
    /// Some packets arrive more than once; the walk goes on.
    Duplicate(Duplicate),
    /// Changes the payload of some packets; the walk goes on.
    Corrupt(Corrupt),
    /// Adds what a packet waits for its turn to its delay, and drops it where that is too long.
    Rate(Rate),
    /// Adds what a packet waits for its slot to its delay; the walk goes on.
    Slot(Slot),
    /// Ends the walk: the packet is dropped, and its sender told so.
    Reject(Reject),
    /// Ends the walk: the packet waits, and all behind it in its direction of its flow.
    Hold(Hold),
    /// The packet bears it from now on; the walk goes on.
    Mark(Mark),
    /// Triggers a fault, once an activation: the packet is dropped, and from it on everything to
    /// and from the nodes of the fault, until that is over. Stands alone in its rule.
    Trigger(Trigger),
}

impl Action {
    /// Whether it draws random numbers.
    #[must_use]
    pub fn is_random(&self) -> bool {
        match self {
            Self::Delay(delay) => delay.jitter > Nanos::ZERO,
            Self::Slot(slot) => slot.every.jitter > Nanos::ZERO,
            Self::Lose(_) | Self::Reorder(_) | Self::Duplicate(_) | Self::Corrupt(_) => true,
            Self::Accept
            | Self::Drop(_)
            | Self::Reset
            | Self::Stall { .. }
            | Self::Rate(_)
            | Self::Reject(_)
            | Self::Hold(_)
            | Self::Mark(_)
            | Self::Trigger(_) => false,
        }
    }

    /// Whether nothing behind it is ever reached.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(
            self,
            Self::Accept
                | Self::Drop(What::Packets)
                | Self::Reset
                | Self::Stall { .. }
                | Self::Reject(_)
                | Self::Hold(_)
        )
    }
}

/// Which fault a packet triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its index among the table's faults.
    pub fault: u16,
    /// The nodes that it is done to; none: the sender of the packet.
    pub nodes: NodeBits,
    /// Whether what is held of these nodes is dropped, too.
    pub drops_held: bool,
}

/// What a drop drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every packet.
    Packets,
    /// Payload, SYN and FIN; bare acknowledgements pass, and a data segment is trimmed to
    /// its acknowledgement.
    Data,
}

/// A delay, drawn anew for each packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    /// The middle of the distribution.
    pub by: Nanos,
    /// Half width (uniform) or standard deviation (all others); at most `by`.
    pub jitter: Nanos,
    /// Shape of the jitter.
    pub distribution: Distribution,
    /// Whether packets of one flow may overtake each other.
    pub order: Order,
    /// How often the last draw of this direction of the flow is taken again, of 2^32.
    pub correlation: u64,
}

impl Delay {
    /// The longest this delay can take: draws are clamped to it.
    #[must_use]
    pub fn longest(&self) -> Nanos {
        self.by + self.distribution.reach(self.jitter)
    }
}

/// Whether jitter may reorder a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Packets of one direction of a flow leave in the order they came.
    #[default]
    Flow,
    /// A later packet may overtake.
    Free,
}

impl Rule {
    /// Whether it draws random numbers.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.filter.chance.is_some() || self.actions.iter().any(Action::is_random)
    }

    /// What it triggers, where it is a rule that triggers a fault.
    #[must_use]
    pub fn trigger(&self) -> Option<&Trigger> {
        self.actions.iter().find_map(|action| match action {
            Action::Trigger(trigger) => Some(trigger),
            _ => None,
        })
    }

    /// Whether it ends the walk for every packet that it matches.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.actions.last().is_some_and(Action::ends)
    }
}

/// What a rule needs of the packets that it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Each comes as one segment of the wire, and not as a GSO packet that stands for several: a
    /// chance applies to each segment, changing one needs it alone, and so does the one that
    /// completes a message.
    pub segments: bool,
    /// All its bytes can be read.
    pub bytes: bool,
    /// Packets of raftq's own can be sent to nodes.
    pub injects: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            segments: self.segments || other.segments,
            bytes: self.bytes || other.bytes,
            injects: self.injects || other.injects,
        }
    }
}

impl Rule {
    /// What it needs of packets.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let filter = &self.filter;
        let narrow = &filter.narrow;
        let cuts = filter.chance.is_some()
            || filter.message.is_some()
            || filter.first.is_some()
            || filter.every_nth.is_some()
            || narrow.size.is_some()
            || narrow.payload.is_some()
            || narrow.offset.is_some()
            || narrow.flags.is_some()
            || narrow.pattern.is_some();
        let own =
            Needs { segments: cuts, bytes: narrow.pattern.is_some(), injects: self.heals_by_reset };
        self.actions.iter().fold(own, |all, a| all.or(a.needs()))
    }
}

impl Action {
    /// What it needs of the packets that it is done to.
    #[must_use]
    pub fn needs(&self) -> Needs {
        match self {
            Self::Drop(What::Data) | Self::Lose(_) | Self::Reorder(_) => {
                Needs { segments: true, ..Needs::default() }
            }
            // The senders of what is reset are told, too.
            Self::Reset => Needs { segments: true, bytes: false, injects: true },
            Self::Stall { reset_after } => {
                Needs { segments: true, bytes: false, injects: reset_after.is_some() }
            }
            // Where the sender has to be asked for, its headers are gone when the answer comes.
            Self::Reject(_) => Needs { segments: false, bytes: true, injects: true },
            Self::Duplicate(_) => Needs { segments: true, bytes: true, injects: true },
            Self::Corrupt(_) => Needs { segments: true, bytes: true, injects: false },
            Self::Rate(rate) => Needs { segments: rate.needs_segments(), ..Needs::default() },
            Self::Slot(slot) => Needs { segments: slot.needs_segments(), ..Needs::default() },
            Self::Accept
            | Self::Drop(What::Packets)
            | Self::Delay(_)
            | Self::Hold(_)
            | Self::Mark(_)
            | Self::Trigger(_) => Needs::default(),
        }
    }
}

impl Table {
    /// The node with this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|n| n.name == name).map(|i| NodeId(i as u16))
    }

    /// Number of link ids, self-links included: `nodes * nodes`.
    #[must_use]
    pub fn links(&self) -> usize {
        self.nodes.len() * self.nodes.len()
    }

    /// The rule whose packet triggers a fault; none for a fault whose time triggers it.
    #[must_use]
    pub fn rule_that_triggers(&self, fault: usize) -> Option<&Rule> {
        let does = |rule: &&Rule| rule.trigger().is_some_and(|t| usize::from(t.fault) == fault);
        self.rules.iter().find(does)
    }

    /// `"n1 -> n2"`, for people.
    #[must_use]
    pub fn link_name(&self, link: LinkId) -> String {
        let (from, to) = link.ends(self.nodes.len());
        let name = |id: NodeId| &self.nodes[usize::from(id.0)].name;
        if from == to {
            return name(from).clone();
        }
        format!("{} -> {}", name(from), name(to))
    }

    /// Whether some rule cannot do without the messages of [`Table::protocol`].
    #[must_use]
    pub fn hears(&self) -> bool {
        let follows = |rule: &Rule| rule.sides.as_ref().is_some_and(OpenSides::follows);
        let hears = |rule: &Rule| rule.filter.message.is_some() || rule.on.is_some();
        self.rules.iter().any(|rule| hears(rule) || follows(rule))
    }

    /// What the rules together need of packets.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.rules.iter().fold(Needs::default(), |all, rule| all.or(rule.needs()))
    }

    /// Whether some rule needs single wire segments or all bytes of a packet. Where packets cannot
    /// come again by a second queue, all of them have to be so.
    #[must_use]
    pub fn needs_segments(&self) -> bool {
        let Needs { segments, bytes, .. } = self.needs();
        segments || bytes
    }
}
