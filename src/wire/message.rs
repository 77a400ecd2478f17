//! What every protocol's messages come to.
//!
//! A message says only what its bytes say, or what the connection said before it (an etcd append
//! that inherits its term). What is not known is `None`, never a zero that looks like a number.

use std::fmt;

/// A member of a group as its protocol names it. Never an address of a packet: members move.
///
/// etcd and the embedded node have numbers; NATS has eight characters, kept as their bytes, the
/// first one highest; hashicorp/raft has an `ip:port`, kept as `ip << 16 | port` for IPv4, and as
/// a hash with the highest bit set for everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(pub u64);

/// Bytes of a group's name that are kept.
pub const NAME_MAX: usize = 23;

/// Which Raft group: empty where a connection carries only one. Longer names are cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    len: u8,
    text: [u8; NAME_MAX],
}

impl Group {
    /// The only group of its cluster.
    pub const ONLY: Self = Self { len: 0, text: [0; NAME_MAX] };

    /// That of an answer whose question was not seen: whichever it is. No real group is called so.
    pub const UNKNOWN: Self = {
        let mut text = [0; NAME_MAX];
        text[0] = b'?';
        Self { len: 1, text }
    };

    /// A group by name.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        let mut text = [0; NAME_MAX];
        let len = name.len().min(NAME_MAX);
        text[..len].copy_from_slice(&name[..len]);
        Self { len: len as u8, text }
    }

    /// The bytes of its name, as far as they are kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// Whether it is the system's own, as its name tells: NATS's begin with `_`.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.bytes().first() == Some(&b'_')
    }

    /// Its name; what is not ASCII is shown as `?`.
    #[must_use]
    pub fn name(&self) -> String {
        let shown = |&b: &u8| if b.is_ascii_graphic() { char::from(b) } else { '?' };
        self.text[..usize::from(self.len)].iter().map(shown).collect()
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({})", self.name())
    }
}

/// Which groups somebody means: the one of a name, or all whose names begin so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    name: Group,
    /// The name is only the beginning.
    is_start: bool,
}

impl Groups {
    /// As it is written: a name, or with a `*` behind it the beginning of one.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let start = text.strip_suffix('*');
        Self { name: Group::named(start.unwrap_or(text).as_bytes()), is_start: start.is_some() }
    }

    /// Whether a group is meant.
    #[must_use]
    pub fn has(&self, group: &Group) -> bool {
        if self.is_start {
            group.bytes().starts_with(self.name.bytes())
        } else {
            *group == self.name
        }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> String {
        self.name.name() + if self.is_start { "*" } else { "" }
    }
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A candidate asks for a vote.
    VoteRequest,
    /// The answer to that.
    VoteAnswer,
    /// Somebody asks whether it would get a vote in the next term, which it has not adopted.
    PreVoteRequest,
    /// The answer to that.
    PreVoteAnswer,
    /// A leader replicates: previous position, entries (maybe none), commit.
    Append,
    /// The answer to that.
    AppendAnswer,
    /// A leader says that it leads, and no more.
    Heartbeat,
    /// The answer to that.
    HeartbeatAnswer,
    /// A leader sends its state instead of entries.
    Snapshot,
    /// The answer to that, where it has a message of its own.
    SnapshotAnswer,
    /// A leader tells somebody to stand for election at once.
    TimeoutNow,
    /// Any other: forwarded proposals, read indexes, keep-alives, catch-up.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::VoteRequest,
        Self::VoteAnswer,
        Self::PreVoteRequest,
        Self::PreVoteAnswer,
        Self::Append,
        Self::AppendAnswer,
        Self::Heartbeat,
        Self::HeartbeatAnswer,
        Self::Snapshot,
        Self::SnapshotAnswer,
        Self::TimeoutNow,
        Self::Other,
    ];

    /// Its word in rules and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::VoteRequest => "vote_request",
            Self::VoteAnswer => "vote_answer",
            Self::PreVoteRequest => "pre_vote_request",
            Self::PreVoteAnswer => "pre_vote_answer",
            Self::Append => "append_entries",
            Self::AppendAnswer => "append_answer",
            Self::Heartbeat => "heartbeat",
            Self::HeartbeatAnswer => "heartbeat_answer",
            Self::Snapshot => "snapshot",
            Self::SnapshotAnswer => "snapshot_answer",
            Self::TimeoutNow => "timeout_now",
            Self::Other => "other",
        }
    }

    /// Whether only the leader of a term sends such messages in it.
    #[must_use]
    pub const fn is_leaders(self) -> bool {
        matches!(self, Self::Append | Self::Heartbeat | Self::Snapshot | Self::TimeoutNow)
    }
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// One entry of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Where it stands.
    pub at: Position,
    /// XXH3 of its type and data, as they stand on the wire.
    pub hash: u64,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What kind.
    pub kind: Kind,
    /// Of which group.
    pub group: Group,
    /// The term it bears. For a pre-vote request, and for a granted answer to one, that is a
    /// term which its sender has not adopted; for any other answer it is the one its sender is in.
    /// `None` where it bears none, where it may be another one, or where an inherited one is not
    /// known yet.
    pub term: Option<u64>,
    /// Who sent it.
    pub from: Option<Member>,
    /// For whom it is.
    pub to: Option<Member>,
    /// Append: the entry before the first one it carries. Vote and pre-vote requests: the last of
    /// the candidate's log. Snapshot: the last that it covers.
    pub previous: Option<Position>,
    /// Answers to appends, heartbeats and snapshots: the index they speak of, as the protocol
    /// means it (etcd: the last that matches, or the one that was rejected).
    pub index: Option<u64>,
    /// How many entries it carries; those that are known by hash come beside it. At least so many
    /// where the message is too large to be kept whole ([`super::decoder::KEPT_MAX`]).
    pub entries: u32,
    /// How far the log is committed, as its sender says: a lower bound, and on a heartbeat of etcd
    /// not more than the receiver is known to have.
    pub commit: Option<u64>,
    /// Answers: granted, or accepted.
    pub granted: Option<bool>,
}

impl Message {
    /// One that says nothing but its kind.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            group: Group::ONLY,
            term: None,
            from: None,
            to: None,
            previous: None,
            index: None,
            entries: 0,
            commit: None,
            granted: None,
        }
    }
}
