//! One group: who led in which term, who voted for whom, and the terms of restarted members.

use super::alarm::{Invariant, Told};
use super::lives::{Lives, Place};
use super::watched::{ELECTIONS_MAX, Election, GroupSeen};
use super::words;
use super::{Keep, Seen};
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Group, Kind, Member, Position};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Terms of a group that are remembered, votes, and processes of a member; the oldest go first.
const TERMS_MAX: usize = 1_024;
const VOTES_MAX: usize = 8_192;
const INCARNATIONS_MAX: usize = 64;

/// Candidates of one term.
const CANDIDATES_MAX: usize = 16;

/// Members of a group whose terms and requests are remembered.
const MEMBERS_MAX: usize = 1_024;

/// Who speaks for itself: a member, or a node where its answers do not bear its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Member(Member),
    Node(NodeId),
}

/// What keeps its word: a member on a node, as long as its data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Voter {
    who: Who,
    node: Option<NodeId>,
    life: u32,
}

impl Voter {
    /// Who answers for a message; `None` where nobody can be told.
    pub(super) fn of(seen: &Seen, place: Place) -> Option<Self> {
        let who = match (seen.message.from, seen.from) {
            (Some(member), _) => Who::Member(member),
            (None, Some(node)) => Who::Node(node),
            (None, None) => return None,
        };
        Some(Self { who, node: seen.from, life: place.life? })
    }

    /// For the key of an alarm.
    fn number(self) -> u64 {
        match self.who {
            Who::Member(member) => member.0,
            Who::Node(node) => u64::from(node.0) | 1 << 63,
        }
    }
}

/// Whoever spoke as the leader of a term first.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) member: Member,
    pub(super) seen: Arc<Seen>,
}

#[derive(Debug)]
struct Stood {
    member: Member,
    last: Option<Position>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Vote {
    candidate: Member,
    seen: Arc<Seen>,
}

/// The highest term that one process of a member had adopted.
#[derive(Debug)]
struct Highest {
    incarnation: u32,
    term: u64,
    seen: Arc<Seen>,
}

/// What is known of one group.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) group: Group,
    /// The highest term that was adopted.
    pub(super) term: u64,
    pub(super) leaders: BTreeMap<u64, Led>,
    stood: BTreeMap<u64, Vec<Stood>>,
    votes: FxHashMap<(Voter, u64), Vote>,
    vote_order: VecDeque<(Voter, u64)>,
    /// The highest term in which each member stood.
    asked: FxHashMap<Member, u64>,
    terms: FxHashMap<Voter, Vec<Highest>>,
    /// Terms that were forgotten.
    pub(super) forgotten: u64,
    /// Elections before everything was void.
    past: Vec<Election>,
}

impl GroupState {
    pub(super) fn new(group: Group) -> Self {
        Self {
            group,
            term: 0,
            leaders: BTreeMap::new(),
            stood: BTreeMap::new(),
            votes: FxHashMap::default(),
            vote_order: VecDeque::new(),
            asked: FxHashMap::default(),
            terms: FxHashMap::default(),
            forgotten: 0,
            past: Vec::new(),
        }
    }

    /// Everybody was started without data: what was promised before binds nobody.
    pub(super) fn void(&mut self) {
        let past = self.elections().take(ELECTIONS_MAX).collect();
        *self = Self { past, ..Self::new(self.group) };
    }

    /// Terms never go back: a process with the data of an earlier one speaks in no lower term
    /// than that one had adopted. Answers bear their sender's own term, as decoders promise.
    pub(super) fn hold_terms(
        &mut self,
        (voter, place): (Voter, Place),
        term: u64,
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let Some(own) = place.incarnation else { return };
        if self.terms.len() >= MEMBERS_MAX && !self.terms.contains_key(&voter) {
            return;
        }
        let known = self.terms.entry(voter).or_default();
        if own > 0 {
            // A border that was told late may have moved an earlier message to a later process.
            let earlier = known.iter().filter(|highest| highest.incarnation < own);
            let earlier = earlier.filter(|highest| {
                highest.term <= term
                    || told.lives.place(&highest.seen).incarnation.is_some_and(|other| other < own)
            });
            if let Some(highest) = earlier.max_by_key(|highest| highest.term) {
                told.alarms.made(Invariant::TermsHold);
                if highest.term > term {
                    let (before, now) = (&highest.seen, keep.seen);
                    let key = (voter.number(), u64::from(own));
                    told.alarms.raise(Invariant::TermsHold, key, &[before, now], || {
                        format!(
                            "{} was in term {} at {}, and after its restart is in term {term} at \
                             {}, though it kept its data{}",
                            told.names.sender(now),
                            highest.term,
                            words::time(before.at),
                            words::time(now.at),
                            words::group(self.group),
                        )
                    });
                }
            }
        }
        match known.iter_mut().find(|highest| highest.incarnation == own) {
            Some(highest) if highest.term >= term => {}
            Some(highest) => (highest.term, highest.seen) = (term, keep.arc()),
            None => {
                if known.len() == INCARNATIONS_MAX {
                    known.remove(0);
                }
                known.push(Highest { incarnation: own, term, seen: keep.arc() });
            }
        }
    }

    /// A vote is asked for, whoever's data the candidate has.
    pub(super) fn ask(&mut self, candidate: Option<Member>, term: u64) {
        let Some(member) = candidate else { return };
        if self.asked.len() < MEMBERS_MAX || self.asked.contains_key(&member) {
            let highest = self.asked.entry(member).or_default();
            *highest = term.max(*highest);
        }
    }

    /// A member stands for election: it votes for itself, and says where its log ends. True where
    /// nobody stood in that term before.
    pub(super) fn stand(
        &mut self,
        voter: Voter,
        term: u64,
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) -> bool {
        let Some(member) = keep.seen.message.from else { return false };
        let all = self.stood.entry(term).or_default();
        let is_first = all.is_empty();
        if all.len() < CANDIDATES_MAX && all.iter().all(|stood| stood.member != member) {
            let last = keep.seen.message.previous;
            all.push(Stood { member, last, seen: keep.arc() });
        }
        trim(&mut self.stood, &mut self.forgotten);
        self.vote(voter, term, member, keep, told);
        is_first
    }

    /// Messages were not told, and requests may be among them.
    pub(super) fn miss(&mut self) {
        self.asked.clear();
    }

    /// A member grants a vote.
    ///
    /// Only to a candidate that was seen to ask in that term, and in none above it: NATS 2.9
    /// answers with the term it had before it heard of the candidate's, and such an answer says
    /// nothing of the term it bears.
    pub(super) fn grant(
        &mut self,
        voter: Voter,
        term: u64,
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let Some(candidate) = keep.seen.message.to else { return };
        if self.asked.get(&candidate) == Some(&term) {
            self.vote(voter, term, candidate, keep, told);
        }
    }

    fn vote(
        &mut self,
        voter: Voter,
        term: u64,
        candidate: Member,
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) {
        let Some(vote) = self.votes.get(&(voter, term)) else {
            told.alarms.made(Invariant::OneVote);
            if self.vote_order.len() == VOTES_MAX
                && let Some(oldest) = self.vote_order.pop_front()
            {
                self.votes.remove(&oldest);
            }
            self.vote_order.push_back((voter, term));
            self.votes.insert((voter, term), Vote { candidate, seen: keep.arc() });
            return;
        };
        if vote.candidate == candidate {
            return;
        }
        let how = |seen: &Seen, candidate: Member| {
            let at = words::time(seen.at);
            if seen.message.kind == Kind::VoteRequest {
                format!("for itself at {at}")
            } else {
                format!("for {} at {at}", told.names.member(candidate))
            }
        };
        let (before, now) = (&vote.seen, keep.seen);
        told.alarms.raise(Invariant::OneVote, (voter.number(), term), &[before, now], || {
            format!(
                "{} voted twice in term {term}: {}, and {}{}",
                told.names.sender(now),
                how(before, vote.candidate),
                how(now, candidate),
                words::group(self.group),
            )
        });
    }

    /// A member speaks as leader. True where nobody did in that term before.
    pub(super) fn lead(
        &mut self,
        member: Member,
        term: u64,
        keep: &mut Keep<'_>,
        told: &mut Told<'_>,
    ) -> bool {
        let Some(led) = self.leaders.get(&term) else {
            told.alarms.made(Invariant::ElectionSafety);
            self.leaders.insert(term, Led { member, seen: keep.arc() });
            trim(&mut self.leaders, &mut self.forgotten);
            return true;
        };
        if led.member != member {
            let (before, now) = (&led.seen, keep.seen);
            told.alarms.raise(Invariant::ElectionSafety, (term, 0), &[before, now], || {
                format!(
                    "{} and {} both led in term {term}: {} at {}, {} at {}{}",
                    told.names.member(led.member),
                    told.names.member(member),
                    words::kind(before.message.kind),
                    words::time(before.at),
                    words::kind(now.message.kind),
                    words::time(now.at),
                    words::group(self.group),
                )
            });
        }
        false
    }

    /// Whether a member is the leader of a term, as it was heard first.
    #[inline]
    pub(super) fn is_leader(&self, member: Member, term: u64) -> bool {
        self.leaders.get(&term).is_some_and(|led| led.member == member)
    }

    /// Where the log of a term's leader ended when it stood, and the request that says so. Only
    /// of the same process: one that forgot its term may stand in it again.
    pub(super) fn elected_with(
        &self,
        term: u64,
        lives: &Lives,
    ) -> Option<(&Led, Position, &Arc<Seen>)> {
        let led = self.leaders.get(&term)?;
        let stood = self.stood.get(&term)?.iter().find(|stood| stood.member == led.member)?;
        let is_same = lives.is_same_process(&led.seen, &stood.seen);
        Some((led, stood.last.filter(|_| is_same)?, &stood.seen))
    }

    /// The group at the end.
    pub(super) fn seen(&self) -> GroupSeen {
        let leader = self.leaders.last_key_value().map(|(term, led)| (led.member, *term));
        GroupSeen { group: self.group, term: self.term, leader }
    }

    /// All elections, by term.
    pub(super) fn elections(&self) -> impl Iterator<Item = Election> + '_ {
        let mut terms: Vec<u64> = self.stood.keys().chain(self.leaders.keys()).copied().collect();
        terms.sort_unstable();
        terms.dedup();
        let mut votes: FxHashMap<(u64, Member), FxHashSet<Voter>> = FxHashMap::default();
        for ((voter, term), vote) in &self.votes {
            if vote.seen.message.kind == Kind::VoteAnswer {
                votes.entry((*term, vote.candidate)).or_default().insert(*voter);
            }
        }
        let now = terms.into_iter().map(move |term| {
            let stood = self.stood.get(&term).map_or(&[][..], Vec::as_slice);
            let led = self.leaders.get(&term);
            let leader = led.map(|led| led.member);
            let led_at = led.map(|led| led.seen.at);
            let candidate = stood.first().map(|stood| stood.member);
            let for_whom = leader.or(candidate).and_then(|member| votes.get(&(term, member)));
            Election {
                group: self.group,
                term,
                at: stood.first().map(|s| s.seen.at).or(led_at).unwrap_or(Nanos::ZERO),
                candidate,
                rivals: stood.len().saturating_sub(1) as u32,
                leader,
                led_at,
                votes: for_whom.map_or(0, |voters| voters.len() as u32),
            }
        });
        self.past.iter().cloned().chain(now)
    }
}

fn trim<T>(terms: &mut BTreeMap<u64, T>, forgotten: &mut u64) {
    if terms.len() > TERMS_MAX {
        terms.pop_first();
        *forgotten += 1;
    }
}
