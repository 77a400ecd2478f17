//! Who leads, as far as the wire has told: small enough for the verdict loop.
//!
//! Nothing here allocates. It believes the highest term in which somebody spoke as a leader, and
//! judges nothing: two leaders in one term are the observer's business ([`super::Observer`]).

use crate::packet::NodeId;
use crate::wire::{Entry, Group, Groups, Kind, Message};

/// Groups that are followed; messages of further ones are not looked at.
pub const GROUPS_MAX: usize = 16;

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A member spoke as leader, in a higher term than any leader before.
    LeaderElected {
        /// Where it lives.
        node: NodeId,
        /// In which term.
        term: u64,
    },
    /// A higher term was adopted than any before: the first message in it whose node is known.
    TermChange {
        /// The new term.
        term: u64,
        /// The node whose message bore it.
        by: NodeId,
    },
    /// The first vote request of a term whose node is known.
    ElectionStarted {
        /// The candidate's node.
        node: NodeId,
        /// In which term it stands.
        term: u64,
    },
    /// The leader's first append that carries an entry of its own term.
    FirstEntry {
        /// The leader's node.
        node: NodeId,
        /// Its term.
        term: u64,
    },
}

/// Turns of one message: at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    turns: [Option<Turn>; 3],
}

impl Turns {
    fn push(&mut self, turn: Turn) {
        if let Some(free) = self.turns.iter_mut().find(|free| free.is_none()) {
            *free = Some(turn);
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns[0].is_none()
    }

    /// Each of them: a new term first, then the election, the leader, its first entry.
    pub fn iter(&self) -> impl Iterator<Item = Turn> + '_ {
        self.turns.iter().flatten().copied()
    }
}

/// What a node is in the group that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It stands for election, in a term above the leader's.
    Candidate,
    /// It was heard, and is neither.
    Follower,
    /// It was not heard.
    Unknown,
}

/// Whether a message's term is one that its sender has adopted: none that a pre-vote only asks
/// about, nor what old entries bear, nor of a group that is not known.
#[must_use]
pub fn adopted_term(message: &Message) -> Option<u64> {
    let adopted = match message.kind {
        Kind::PreVoteRequest | Kind::Other => false,
        Kind::PreVoteAnswer => message.granted == Some(false),
        _ => true,
    };
    message.term.filter(|&term| adopted && term > 0 && message.group != Group::UNKNOWN)
}

/// A set of nodes.
type Bits = u128;

fn bit(node: Option<NodeId>) -> Bits {
    node.and_then(|node| 1_u128.checked_shl(u32::from(node.0))).unwrap_or(0)
}

#[derive(Clone, Copy, Debug)]
struct State {
    group: Group,
    /// The term that was there when it was heard first: in it, nothing was seen to begin.
    base: Option<u64>,
    term: u64,
    /// The highest term that was told.
    told_term: u64,
    /// The highest term in which somebody led, and who, where that is known.
    leader_term: u64,
    leader: Option<NodeId>,
    /// Its first entry of that term was told.
    has_written: bool,
    /// The highest term in which somebody stood for election, and all who did.
    vote_term: u64,
    candidates: Bits,
    heard: Bits,
}

/// Follows the leaders of a few groups.
#[derive(Clone, Debug)]
pub struct Leaders {
    groups: [State; GROUPS_MAX],
    used: usize,
    /// Those of which the first counts.
    wanted: Option<Groups>,
}

impl Default for Leaders {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Leaders {
    /// The group that counts is the one of this name, or the first whose name begins so where it
    /// ends in `*`. `None`: the first whose name does not begin with `_`, else the first.
    #[must_use]
    pub fn of(group: Option<&str>) -> Self {
        let wanted = group.map(Groups::of);
        let empty = State {
            group: Group::ONLY,
            base: None,
            term: 0,
            told_term: 0,
            leader_term: 0,
            leader: None,
            has_written: false,
            vote_term: 0,
            candidates: 0,
            heard: 0,
        };
        Self { groups: [empty; GROUPS_MAX], used: 0, wanted }
    }

    /// Hears one message. Turns are told of the group that counts only.
    ///
    /// `entries` are those whose terms are known, as the decoder tells them.
    pub fn hear(&mut self, from: Option<NodeId>, message: &Message, entries: &[Entry]) -> Turns {
        // Only a term that somebody stands by shows that there is such a group.
        let place = match adopted_term(message) {
            Some(_) => self.place(message.group),
            None => self.known(message.group),
        };
        let Some(place) = place else { return Turns::default() };
        let turns = self.groups[place].hear(from, message, entries);
        if self.counts() == Some(place) { turns } else { Turns::default() }
    }

    /// Who leads the group that counts, and in which term. `None` where nobody was heard to lead,
    /// or its node is not known.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, u64)> {
        let state = &self.groups[self.counts()?];
        Some((state.leader?, state.leader_term))
    }

    /// The highest term that was adopted in the group that counts; 0 where none was heard.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.counts().map_or(0, |place| self.groups[place].term)
    }

    /// Whether a term of the group that counts began while it was heard. Whoever leads in one
    /// that was there before is found, not elected.
    #[must_use]
    pub fn is_watched(&self, term: u64) -> bool {
        self.counts().and_then(|place| self.groups[place].base).is_some_and(|base| term > base)
    }

    /// The group that counts, once something was heard of it.
    #[must_use]
    pub fn group(&self) -> Option<Group> {
        self.counts().map(|place| self.groups[place].group)
    }

    /// What a node is in the group that counts.
    #[must_use]
    pub fn role(&self, node: NodeId) -> Role {
        let Some(place) = self.counts() else { return Role::Unknown };
        let state = &self.groups[place];
        let own = bit(Some(node));
        if state.vote_term > state.leader_term && state.candidates & own != 0 {
            Role::Candidate
        } else if state.leader == Some(node) {
            Role::Leader
        } else if state.heard & own != 0 {
            Role::Follower
        } else {
            Role::Unknown
        }
    }

    fn known(&self, group: Group) -> Option<usize> {
        self.groups[..self.used].iter().position(|state| state.group == group)
    }

    fn place(&mut self, group: Group) -> Option<usize> {
        let known = self.known(group);
        if known.is_some() || self.used == GROUPS_MAX {
            return known.or_else(|| self.make_way(group));
        }
        self.groups[self.used].group = group;
        self.used += 1;
        Some(self.used - 1)
    }

    /// Where all places are taken, the group that was asked for takes the last.
    fn make_way(&mut self, group: Group) -> Option<usize> {
        if self.counts().is_some() || !self.is_wanted(&group) {
            return None;
        }
        let last = GROUPS_MAX - 1;
        self.groups[last] = State { group, ..Self::default().groups[0] };
        Some(last)
    }

    fn is_wanted(&self, group: &Group) -> bool {
        match &self.wanted {
            None => !group.is_internal(),
            Some(wanted) => wanted.has(group),
        }
    }

    fn counts(&self) -> Option<usize> {
        let groups = &self.groups[..self.used];
        let wanted = groups.iter().position(|state| self.is_wanted(&state.group));
        wanted.or((self.wanted.is_none() && self.used > 0).then_some(0))
    }
}

impl State {
    fn hear(&mut self, from: Option<NodeId>, message: &Message, entries: &[Entry]) -> Turns {
        let mut turns = Turns::default();
        self.heard |= bit(from);
        let Some(term) = adopted_term(message) else { return turns };
        let asks = message.kind == Kind::VoteRequest;
        // An election is seen from its first request on.
        self.base.get_or_insert(term - u64::from(asks));
        self.term = self.term.max(term);
        if let Some(by) = from
            && term == self.term
            && term > self.told_term
        {
            self.told_term = term;
            turns.push(Turn::TermChange { term, by });
        }
        if asks && term >= self.vote_term {
            if term > self.vote_term {
                (self.vote_term, self.candidates) = (term, 0);
            }
            if let Some(node) = from
                && self.candidates == 0
            {
                turns.push(Turn::ElectionStarted { node, term });
            }
            self.candidates |= bit(from);
        }
        if !message.kind.is_leaders() || term < self.leader_term {
            return turns;
        }
        if term > self.leader_term {
            (self.leader_term, self.leader, self.has_written) = (term, None, false);
        }
        if self.leader.is_none() {
            self.leader = from;
            if let Some(node) = from {
                turns.push(Turn::LeaderElected { node, term });
            }
        }
        let writes = message.kind == Kind::Append && message.entries > 0;
        if let Some(node) = from
            && writes
            && !self.has_written
            && Self::is_own(message, entries, term)
        {
            self.has_written = true;
            turns.push(Turn::FirstEntry { node, term });
        }
        turns
    }

    /// Whether an append with entries carries one of the leader's term: it says so, or what
    /// stands before them is of that term already.
    fn is_own(message: &Message, entries: &[Entry], term: u64) -> bool {
        entries.iter().any(|entry| entry.at.term == term)
            || message.previous.is_some_and(|previous| previous.term == term)
    }
}
