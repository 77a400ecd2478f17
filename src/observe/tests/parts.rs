//! What a simulated cluster is made of, and what is noted of what it really did.

use crate::time::Nanos;
use crate::wire::{Entry, Message, Position};
use std::collections::{HashMap, HashSet, VecDeque};

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    ForgetVote,
    ForgetTerm,
    VoteForBehind,
    /// One less than a majority elects and commits.
    SmallQuorum,
    LoseTail,
    /// Copies of earlier terms' entries are counted.
    CountOldTerms,
    /// Now and then an entry is sent with other data.
    AlterEntries,
    /// Now and then a node is started without its data, which no Raft survives.
    Wipe,
}

/// How messages look on the wire; nothing of it changes what they mean to their receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Heartbeats bear no commit.
    BareBeats,
    /// An append's commit is cut to what it covers.
    CutCommit,
    /// A granted vote bears the term that its voter had before it. Only where the requests are
    /// told in time: who is answered is known from them there.
    OldVoteTerm,
    /// An answer to an append bears the term of the log's last entry.
    LogTerm,
    /// Answers do not say who sends them.
    Nameless,
}

/// What was really done, for judging alarms.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) leaders: HashMap<u64, HashSet<usize>>,
    /// By node, how often it lost its data, and term.
    pub(super) votes: HashMap<(usize, u32, u64), HashSet<usize>>,
    /// Nodes that came back with their data and in a lower term.
    pub(super) came_back_lower: HashSet<usize>,
    pub(super) sent: HashMap<Position, HashSet<u64>>,
    /// Terms of entries in a leader's own log, by leader, its term, and index.
    pub(super) own: HashMap<(usize, u64, u64), HashSet<u64>>,
    /// Logs up to what their leader declared committed, by its term.
    pub(super) committed: HashMap<u64, Vec<Vec<Entry>>>,
    /// Logs with which leaders were elected, by term.
    pub(super) elected: HashMap<u64, Vec<Vec<Entry>>>,
    /// Terms whose leader raised its commit to an earlier term's entry.
    pub(super) counted_old: HashSet<u64>,
}

/// Splitmix64: small, and the same everywhere.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) up: bool,
    pub(super) life: u32,
    pub(super) term: u64,
    pub(super) vote: Option<usize>,
    pub(super) log: Vec<Entry>,
    /// Up to here the log is a snapshot, and cannot be sent as entries.
    pub(super) base: u64,
    pub(super) commit: u64,
    pub(super) role: Role,
    pub(super) votes: HashSet<usize>,
    pub(super) next: Vec<u64>,
    pub(super) matched: Vec<u64>,
}

impl Node {
    pub(super) fn last(&self) -> Position {
        self.log.last().map_or(Position { index: 0, term: 0 }, |entry| entry.at)
    }

    pub(super) fn at(&self, index: u64) -> Position {
        let entry = index.checked_sub(1).and_then(|i| self.log.get(i as usize));
        entry.map_or(Position { index, term: 0 }, |entry| entry.at)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) message: Message,
    pub(super) entries: Vec<Entry>,
    /// What a snapshot brings.
    pub(super) state: Vec<Entry>,
    /// As it looks.
    pub(super) shown: Message,
}

pub(super) struct Flow {
    pub(super) id: u64,
    pub(super) opened: Option<Nanos>,
    pub(super) ends: (usize, usize),
    pub(super) lane: u64,
    pub(super) is_open: bool,
    pub(super) queue: VecDeque<Packet>,
    /// When its last event is told.
    pub(super) told: u64,
}
