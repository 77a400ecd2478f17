//! What an alarm is, and the list of them: bounded, each violation once.

use super::Seen;
use super::lives::Lives;
use super::words::Names;
use crate::time::Nanos;
use crate::wire::Group;
use rustc_hash::FxHashSet;

/// Alarms that are kept of each invariant; more are counted.
pub const ALARMS_MAX: u64 = 100;

/// What Raft promises, as far as the wire can refute it ("In Search of an Understandable
/// Consensus Algorithm", figure 3 and section 5).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// At most one member of a group leads in a term.
    ElectionSafety,
    /// A member votes for at most one candidate in a term.
    OneVote,
    /// A member that kept its data comes back with no lower term.
    TermsHold,
    /// What stands at an index in a term is the same for everybody.
    LogMatching,
    /// A leader changes nothing in its own log, it only appends.
    LeaderAppendOnly,
    /// What was committed in a term is in the log of every later leader.
    LeaderCompleteness,
    /// A leader counts copies of its own term's entries only (figure 8).
    CommitsOwnTerm,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ElectionSafety,
        Self::OneVote,
        Self::TermsHold,
        Self::LogMatching,
        Self::LeaderAppendOnly,
        Self::LeaderCompleteness,
        Self::CommitsOwnTerm,
    ];

    /// Its word in files and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ElectionSafety => "election_safety",
            Self::OneVote => "one_vote",
            Self::TermsHold => "terms_hold",
            Self::LogMatching => "log_matching",
            Self::LeaderAppendOnly => "leader_append_only",
            Self::LeaderCompleteness => "leader_completeness",
            Self::CommitsOwnTerm => "commits_own_term",
        }
    }

    /// What it says, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ElectionSafety => "one leader a term",
            Self::OneVote => "one vote a member and term",
            Self::TermsHold => "terms survive a restart",
            Self::LogMatching => "one entry an index and term",
            Self::LeaderAppendOnly => "a leader only appends",
            Self::LeaderCompleteness => "what is committed stays",
            Self::CommitsOwnTerm => "only entries of its own term are committed by count",
        }
    }

    /// Why it was not put to the test, where it was not.
    #[must_use]
    pub const fn unmet(self) -> &'static str {
        match self {
            Self::ElectionSafety => "no leader was seen",
            Self::OneVote => "no vote was seen",
            Self::TermsHold => "no restarted member was heard before and after",
            Self::LogMatching => "no entry was seen twice",
            Self::LeaderAppendOnly => "no leader spoke of one index twice",
            Self::LeaderCompleteness => "no leader was seen after another one had committed",
            Self::CommitsOwnTerm => "no leader was seen to raise its commit while it was ahead",
        }
    }
}

/// A violation, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What does not hold.
    pub invariant: Invariant,
    /// When the last message of the evidence was seen.
    pub at: Nanos,
    /// In which group.
    pub group: Group,
    /// The few messages that prove it, as they were seen, in that order.
    pub evidence: Vec<Seen>,
    /// One sentence.
    pub said: String,
}

/// What makes two alarms of an invariant the same violation.
pub(super) type Key = (u64, u64);

/// All alarms.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    pub(super) list: Vec<Alarm>,
    known: FxHashSet<(Invariant, Group, Key)>,
    /// Of each invariant: those in the list, and those beyond.
    counts: [(u64, u64); Invariant::ALL.len()],
    /// Of each invariant: how often it could have failed.
    made: [u64; Invariant::ALL.len()],
}

impl Alarms {
    /// An invariant was put to the test.
    #[inline]
    pub(super) fn made(&mut self, invariant: Invariant) {
        self.made[invariant as usize] += 1;
    }

    /// How often it was.
    pub(super) fn tests(&self, invariant: Invariant) -> u64 {
        self.made[invariant as usize]
    }

    /// How many violations were found; those beyond the limit may be counted more than once.
    pub(super) fn count(&self, invariant: Invariant) -> u64 {
        let (kept, beyond) = self.counts[invariant as usize];
        kept + beyond
    }

    /// Raises an alarm, unless it was raised before. True where it is in the list now.
    pub(super) fn raise(
        &mut self,
        invariant: Invariant,
        key: Key,
        evidence: &[&Seen],
        said: impl FnOnce() -> String,
    ) -> bool {
        let group = evidence.last().map_or(Group::ONLY, |seen| seen.message.group);
        let (kept, beyond) = &mut self.counts[invariant as usize];
        if self.known.contains(&(invariant, group, key)) {
            return false;
        }
        if *kept >= ALARMS_MAX {
            *beyond += 1;
            return false;
        }
        *kept += 1;
        self.known.insert((invariant, group, key));
        let mut evidence: Vec<Seen> = evidence.iter().map(|&seen| seen.clone()).collect();
        // Two facts may come of one message.
        evidence.sort_by_key(|seen| seen.at);
        evidence.dedup();
        let at = evidence.last().map_or(Nanos::ZERO, |seen| seen.at);
        self.list.push(Alarm { invariant, at, group, evidence, said: said() });
        true
    }
}

/// What checks need beside the group they look at.
pub(super) struct Told<'a> {
    pub(super) names: &'a Names,
    pub(super) lives: &'a Lives,
    pub(super) alarms: &'a mut Alarms,
}
