//! What was watched: elections, a timeline, and how each invariant stands.

use super::Coverage;
use super::alarm::Invariant;
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Group, Member};

/// Moments that the timeline keeps; more are counted.
pub const MOMENTS_MAX: usize = 10_000;

/// Elections that are kept; more are counted.
pub const ELECTIONS_MAX: usize = 10_000;

/// One election: a term in which somebody stood, or led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Of which group.
    pub group: Group,
    /// In which term.
    pub term: u64,
    /// When its first vote request was seen, or its leader where none was.
    pub at: Nanos,
    /// Who stood first. `None` where no vote request was seen.
    pub candidate: Option<Member>,
    /// Who stood besides.
    pub rivals: u32,
    /// Who leads in the term. `None` where nobody was heard to.
    pub leader: Option<Member>,
    /// When the leader was first heard.
    pub led_at: Option<Nanos>,
    /// Votes for the leader that were seen granted, without its own; for the first candidate
    /// where nobody leads.
    pub votes: u32,
}

/// Something on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The first vote request of a term.
    ElectionStarted {
        /// Of which group.
        group: Group,
        /// In which term.
        term: u64,
        /// Who stands.
        candidate: Member,
    },
    /// A member was first heard to lead in a term.
    LeaderElected {
        /// Of which group.
        group: Group,
        /// In which term.
        term: u64,
        /// Who leads.
        leader: Member,
    },
    /// A higher term was adopted than any before.
    TermChange {
        /// Of which group.
        group: Group,
        /// The new one.
        term: u64,
    },
    /// A node's process started.
    Started(NodeId),
    /// A node's process is gone.
    Ended(NodeId),
    /// A node was started without its data.
    Wiped(NodeId),
    /// So many messages were not told.
    Missed(u64),
    /// An alarm was raised: its index in the list.
    Alarm(usize),
}

/// A moment of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, on the run's clock.
    pub at: Nanos,
    /// What.
    pub what: What,
}

/// How an invariant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It was put to the test so often, and held.
    Holds(u64),
    /// It was violated: so many alarms, also those that the list has no place for.
    Violated(u64),
    /// It was not put to the test, for this reason.
    NotMade(&'static str),
}

/// One group, at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSeen {
    /// Which.
    pub group: Group,
    /// The highest term that was adopted; 0 where none was seen.
    pub term: u64,
    /// Who led last, and in which term.
    pub leader: Option<(Member, u64)>,
}

/// Everything at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Each group.
    pub groups: Vec<GroupSeen>,
    /// All elections, in the order in which they were first seen.
    pub elections: Vec<Election>,
    /// Elections, moments and groups beyond those that are kept.
    pub beyond: u64,
    /// Each invariant, in the order of [`Invariant::ALL`].
    pub stands: Vec<(Invariant, Stand)>,
    /// On which nodes members were heard.
    pub members: Vec<(Member, NodeId)>,
    /// Messages that the observer was told.
    pub told: u64,
    /// Messages that it was not told.
    pub missed: u64,
    /// What the reader of the wire came to, if it said so.
    pub coverage: Option<Coverage>,
}

impl Watched {
    /// The highest term of all groups.
    #[must_use]
    pub fn highest_term(&self) -> u64 {
        self.groups.iter().map(|group| group.term).max().unwrap_or(0)
    }

    /// How one invariant stands.
    #[must_use]
    pub fn stand(&self, invariant: Invariant) -> Option<Stand> {
        self.stands.iter().find(|(other, _)| *other == invariant).map(|(_, stand)| *stand)
    }
}
