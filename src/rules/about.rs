//! What a rule asks of Raft: which messages it is about, which event it follows, and the node
//! sets that are known only then. Part of the compiled table.

use super::table::NodeBits;
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Groups, Kind};

/// The conditions of `where` on a message; each `None` matches everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFilter {
    /// The kinds: bit `i` is the one with the number `i`.
    pub kinds: u16,
    /// Its term; a message that bears none is outside of all bounds.
    pub term: Option<Bounds>,
    /// How many entries it carries.
    pub entries: Option<Bounds>,
    /// What its sender is, as far as the messages up to this one tell.
    pub from_role: Option<Role>,
    /// Whether it grants, or accepts; a message that answers nothing is neither.
    pub granted: Option<bool>,
    /// Of which group.
    pub group: Option<Groups>,
}

impl MessageFilter {
    /// Every message.
    pub const ANY: Self = Self {
        kinds: (1 << Kind::ALL.len()) - 1,
        term: None,
        entries: None,
        from_role: None,
        granted: None,
        group: None,
    };

    /// Whether it is about such messages.
    #[must_use]
    pub const fn has(&self, kind: Kind) -> bool {
        self.kinds & (1 << kind as u8) != 0
    }

    /// The kinds, in the order of [`Kind::ALL`].
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.has(*kind))
    }
}

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

impl Bounds {
    /// Whether a number is within.
    #[must_use]
    pub const fn has(self, number: u64) -> bool {
        self.least <= number && number <= self.most
    }
}

/// What a node is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads the highest term that is known.
    Leader,
    /// Neither of the others.
    Follower,
    /// It stands for election.
    Candidate,
}

/// Something that a message shows to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node leads a term that began while raftq was watching: its first message as leader.
    LeaderElected,
    /// A term higher than all before was adopted by its sender.
    TermChange,
    /// A node asks for votes in a term for the first time.
    ElectionStarted,
    /// A new leader sends its first entry.
    FirstEntry,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::LeaderElected, Self::TermChange, Self::ElectionStarted, Self::FirstEntry];

    /// Its word in rules and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LeaderElected => "leader_elected",
            Self::TermChange => "term_change",
            Self::ElectionStarted => "election_started",
            Self::FirstEntry => "first_entry",
        }
    }
}

/// The event that makes a rule active, instead of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct On {
    /// Which.
    pub event: Event,
    /// How long behind it; with 0 the packet that showed it is judged by the rule already.
    pub after: Nanos,
    /// How long each activation lasts; `None`: until the end.
    pub lasts: Option<Nanos>,
    /// Number of activations; `None`: without end.
    pub times: Option<u32>,
    /// Whether the rule triggers its fault as it becomes active, and waits for no packet.
    pub fires: bool,
}

/// A word for nodes that are known only while raftq runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleWord {
    /// Who leads.
    Leader,
    /// All others.
    Followers,
    /// Who has just asked for votes.
    Candidate,
    /// The leader with as many others as make no majority.
    Minority,
    /// All others.
    Majority,
    /// So many nodes.
    Random(u32),
    /// So many of those that do not lead.
    RandomFollowers(u32),
    /// Who leads at any time: this one follows elections while its rule is active.
    CurrentLeader,
}

/// One side of a rule whose nodes are known only while raftq runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSet {
    /// Nodes that were named.
    pub named: NodeBits,
    /// Words for others.
    pub words: Vec<RoleWord>,
    /// Whether all that are not on the other side belong to it, too.
    pub rest: bool,
}

/// The sides of a rule whose nodes are known only while raftq runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSides {
    /// The senders, or the first side of `between`.
    pub from: OpenSet,
    /// The receivers, or the second side.
    pub to: OpenSet,
    /// Whether the rule is about both directions.
    pub both: bool,
    /// Who the rule's fault is done to, where it triggers one.
    pub node: OpenSet,
}

/// Who is meant by the words of [`OpenSides`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// `leader`: of the event that made the rule active.
    pub leader: Option<NodeId>,
    /// `candidate`.
    pub candidate: Option<NodeId>,
    /// `current leader`.
    pub current: Option<NodeId>,
    /// Chooses where there is a choice.
    pub choice: u64,
}

/// The senders and receivers that [`OpenSides`] come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// The senders.
    pub from: NodeBits,
    /// The receivers.
    pub to: NodeBits,
    /// Whether the other direction belongs to it.
    pub both: bool,
}

impl Masks {
    /// Whether it covers what one node sends to another.
    #[must_use]
    pub const fn cover(self, from: NodeId, to: NodeId) -> bool {
        let (a, b): (NodeBits, NodeBits) = (1 << from.0, 1 << to.0);
        (self.from & a != 0 && self.to & b != 0)
            || (self.both && self.from & b != 0 && self.to & a != 0)
    }

    /// Whether it covers no link at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.from == 0 || self.to == 0 || (self.from == self.to && self.from.is_power_of_two())
    }
}

impl OpenSides {
    /// Whether it changes with whoever leads.
    #[must_use]
    pub fn follows(&self) -> bool {
        let current = |set: &OpenSet| set.words.contains(&RoleWord::CurrentLeader);
        current(&self.from) || current(&self.to)
    }

    /// The nodes behind both sides among `all`.
    #[must_use]
    pub fn masks(&self, meant: &Meant, all: NodeBits) -> Masks {
        let [mut from, mut to] = [&self.from, &self.to].map(|set| set.bits(meant, all));
        // Without somebody on the other side, `rest` would be everybody.
        if self.from.rest && to != 0 {
            from |= all & !to;
        }
        if self.to.rest && from != 0 {
            to |= all & !from;
        }
        Masks { from, to, both: self.both }
    }
}
