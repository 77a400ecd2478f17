//! What decoded Raft messages tell: roles, terms, elections, a timeline, and whether Raft's
//! invariants hold; pure, no I/O, no clock.
//!
//! ```text
//! seen.rs     what the observer is told
//! lives.rs    which process sent a message, and with whose data
//! group.rs    one group: leaders, votes, terms
//! logs.rs     what leaders say of their logs; store.rs keeps it, bounded
//! alarm.rs    the invariants, and violations with their evidence; words.rs says them
//! watched.rs  what it comes to
//! leaders.rs  who leads, for the verdict loop
//! file.rs     all of it as text, to be judged again
//! ```
//!
//! A false alarm is the worst that can happen here. So nothing is inferred from what was *not*
//! seen, and order is believed only within one direction of one connection, and between the
//! processes of a node where `lives.rs` is certain. Messages may be missing anywhere.

mod alarm;
pub mod file;
mod group;
mod leaders;
mod lives;
mod logs;
mod seen;
mod store;
#[cfg(test)]
mod tests;
mod watched;
mod words;

pub use crate::wire::Coverage;
pub use alarm::{ALARMS_MAX, Alarm, Invariant};
pub use leaders::{GROUPS_MAX, Leaders, Role, Turn, Turns, adopted_term};
pub use seen::{Event, Seen};
pub use watched::{ELECTIONS_MAX, Election, GroupSeen, MOMENTS_MAX, Moment, Stand, Watched, What};
pub use words::member_text;

use crate::time::Nanos;
use crate::wire::{Group, Kind};
use alarm::{Alarms, Told};
use group::{GroupState, Voter};
use lives::Lives;
use logs::Logs;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use store::Store;
use words::Names;

/// Groups that are watched; messages of further ones are counted.
const WATCHED_MAX: usize = 1_024;

/// Watches a cluster.
#[derive(Debug, Default)]
pub struct Observer {
    names: Names,
    lives: Lives,
    alarms: Alarms,
    store: Store,
    index: FxHashMap<Group, u32>,
    groups: Vec<(GroupState, Logs)>,
    timeline: Vec<Moment>,
    told: u64,
    missed: u64,
    beyond: u64,
    coverage: Option<Coverage>,
}

/// A message, and the one copy of it that all who keep it share.
struct Keep<'a> {
    seen: &'a Seen,
    arc: Option<Arc<Seen>>,
}

impl Keep<'_> {
    fn arc(&mut self) -> Arc<Seen> {
        Arc::clone(self.arc.get_or_insert_with(|| Arc::new(self.seen.clone())))
    }
}

impl Observer {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls nodes by these names, in the order of the table.
    #[must_use]
    pub fn named(mut self, nodes: Vec<String>) -> Self {
        self.names.nodes = nodes;
        self
    }

    /// Is told what happened. Events come in the order in which they were seen; those of nodes
    /// may come late, but for each node in their own order.
    pub fn see(&mut self, event: &Event) {
        let alarms = self.alarms.list.len();
        match *event {
            Event::Seen(ref seen) => self.message(seen),
            Event::Started { at, node } => {
                self.lives.started(at, node);
                self.moment(at, What::Started(node));
            }
            Event::Ended { at, node } => {
                self.lives.ended(at, node);
                self.moment(at, What::Ended(node));
            }
            Event::Wiped { at, node } => {
                if self.lives.wiped(at, node) {
                    self.forget();
                }
                self.moment(at, What::Wiped(node));
            }
            Event::Missed { at, messages } => {
                self.missed = self.missed.saturating_add(messages);
                self.groups.iter_mut().for_each(|(state, _)| state.miss());
                self.moment(at, What::Missed(messages));
            }
            Event::Coverage(coverage) => self.coverage = Some(coverage),
        }
        for alarm in alarms..self.alarms.list.len() {
            self.moment(self.alarms.list[alarm].at, What::Alarm(alarm));
        }
    }

    /// All alarms so far, in the order in which they were raised.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms.list
    }

    /// The messages that prove an alarm, a line each.
    #[must_use]
    pub fn evidence(&self, alarm: &Alarm) -> Vec<String> {
        alarm.evidence.iter().map(|seen| self.names.evidence(seen)).collect()
    }

    /// What happened, in the order in which it was told.
    #[must_use]
    pub fn timeline(&self) -> &[Moment] {
        &self.timeline
    }

    /// What all of it comes to.
    #[must_use]
    pub fn finish(&self) -> Watched {
        let all = self.groups.iter().flat_map(|(state, _)| state.elections());
        let mut elections: Vec<Election> = all.collect();
        elections.sort_by_key(|election| (election.at, election.term));
        let surplus = elections.len().saturating_sub(ELECTIONS_MAX);
        elections.truncate(ELECTIONS_MAX);
        let forgotten: u64 = self.groups.iter().map(|(state, _)| state.forgotten).sum();
        let stands = Invariant::ALL.map(|invariant| {
            let made = self.alarms.tests(invariant);
            let stand = match self.alarms.count(invariant) {
                0 if made == 0 => Stand::NotMade(invariant.unmet()),
                0 => Stand::Holds(made),
                alarms => Stand::Violated(alarms),
            };
            (invariant, stand)
        });
        Watched {
            groups: self.groups.iter().map(|(state, _)| state.seen()).collect(),
            elections,
            beyond: self.beyond + forgotten + surplus as u64,
            stands: stands.to_vec(),
            members: self.names.members.clone(),
            told: self.told,
            missed: self.missed,
            coverage: self.coverage,
        }
    }

    fn message(&mut self, seen: &Seen) {
        self.told += 1;
        let message = &seen.message;
        self.lives.hear(seen.from);
        let place = self.lives.place(seen);
        let Some(term) = adopted_term(message) else { return };
        self.names.heard(message.from, seen.from);
        let Some(id) = self.group(message.group) else { return };
        let (state, logs) = &mut self.groups[id as usize];
        if message.kind == Kind::VoteRequest {
            state.ask(message.from, term);
        }
        let Some(voter) = Voter::of(seen, place) else { return };
        let Self { names, lives, alarms, .. } = self;
        let told = &mut Told { names, lives, alarms };
        let mut keep = Keep { seen, arc: None };
        let mut moments = [None; 2];
        if term > state.term {
            state.term = term;
            moments[0] = Some(What::TermChange { group: state.group, term });
        }
        state.hold_terms((voter, place), term, &mut keep, told);
        match (message.kind, message.from) {
            (Kind::VoteRequest, Some(candidate)) => {
                let group = state.group;
                if state.stand(voter, term, &mut keep, told) {
                    moments[1] = Some(What::ElectionStarted { group, term, candidate });
                }
                logs.elected(state, term, told);
            }
            (Kind::VoteAnswer, _) if message.granted == Some(true) => {
                state.grant(voter, term, &mut keep, told);
            }
            (kind, Some(leader)) if kind.is_leaders() => {
                let group = state.group;
                if state.lead(leader, term, &mut keep, told) {
                    moments[1] = Some(What::LeaderElected { group, term, leader });
                    logs.elected(state, term, told);
                }
                if matches!(kind, Kind::Append | Kind::Snapshot) {
                    let logs_of = (&*state, &mut self.store);
                    logs.hear(logs_of, (leader, term), &mut keep, told);
                }
            }
            _ => {}
        }
        for what in moments.into_iter().flatten() {
            self.moment(seen.at, what);
        }
    }

    fn group(&mut self, group: Group) -> Option<u32> {
        if let Some(&id) = self.index.get(&group) {
            return Some(id);
        }
        if self.groups.len() == WATCHED_MAX {
            self.beyond += 1;
            return None;
        }
        let id = self.groups.len() as u32;
        self.index.insert(group, id);
        self.groups.push((GroupState::new(group), Logs::new(id)));
        Some(id)
    }

    /// Nobody is left who stood for anything.
    fn forget(&mut self) {
        self.store.clear();
        for (id, (state, logs)) in self.groups.iter_mut().enumerate() {
            state.void();
            *logs = Logs::new(id as u32);
        }
    }

    fn moment(&mut self, at: Nanos, what: What) {
        if self.timeline.len() < MOMENTS_MAX {
            self.timeline.push(Moment { at, what });
        } else {
            self.beyond += 1;
        }
    }
}
