//! What the messages of the cluster do to its rules: who leads, and the events that make rules
//! active with the very packet that showed them.

use super::Engine;
use super::identity::Ends;
use crate::observe::{Leaders, Turn};
use crate::packet::{LinkId, NodeId, PacketView};
use crate::rules::table::{Event, Meant};
use crate::time::Nanos;
use crate::wire::{Entry, Message};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Turns that wait to be told; further ones are not told.
const UNTOLD_MAX: usize = 256;

/// Something that a message has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// When, since the start of the rules' clock.
    pub at: Nanos,
    /// What.
    pub turn: Turn,
    /// Whether raftq saw it happen. Whoever leads a term that was there before the first message
    /// of its group was heard is found, not elected; such a turn makes no rule active.
    pub watched: bool,
}

/// What the bytes of a packet tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard<'a> {
    /// What stands behind its headers, as far as it was copied.
    pub payload: &'a [u8],
    /// The messages that it completes, in their order.
    pub messages: &'a [Message],
    /// Those of their entries whose terms are known, one message's behind the other's.
    pub entries: &'a [Entry],
}

/// What was heard so far.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) leaders: Leaders,
    /// Who led when rules that follow the leader were last bound.
    pub(super) bound: Option<NodeId>,
    untold: Vec<Turned>,
}

impl Hearing {
    pub(super) fn new(group: Option<&str>) -> Self {
        let untold = Vec::with_capacity(UNTOLD_MAX);
        Self { leaders: Leaders::of(group), bound: None, untold }
    }

    /// Whether a turn belongs to a term that began while raftq listened.
    fn watched(&self, turn: Turn) -> bool {
        let (Turn::LeaderElected { term, .. }
        | Turn::TermChange { term, .. }
        | Turn::ElectionStarted { term, .. }
        | Turn::FirstEntry { term, .. }) = turn;
        self.leaders.is_watched(term)
    }

    fn note(&mut self, turned: Turned) {
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(turned);
        }
    }
}

impl Engine {
    /// Hears the messages that a packet completes, before it is judged. `link` is known where
    /// both of its ends are.
    #[inline(never)]
    pub(super) fn hear(
        &mut self,
        now: Nanos,
        (from, link): (Option<NodeId>, Option<LinkId>),
        messages: &[Message],
        entries: &[Entry],
    ) {
        // Where the receiver is still asked for, the sender alone stands for the link.
        let nodes = self.plan.table.nodes.len();
        let by = link.or(from.map(|node| LinkId::new(node, node, nodes)));
        for message in messages {
            let turns = self.hearing.leaders.hear(from, message, entries);
            if self.plan.follows() {
                self.follow_leader();
            }
            if turns.is_empty() {
                continue;
            }
            let at = now.saturating_sub(self.start.unwrap_or(now));
            for turn in turns.iter() {
                let watched = self.hearing.watched(turn);
                self.hearing.note(Turned { at, turn, watched });
                if let (true, Some(by), true) = (watched, by, self.start.is_some()) {
                    self.turned(at, turn, by);
                }
            }
        }
    }

    /// Hears a packet that nobody judges, since the clock of the rules has not started.
    #[inline(never)]
    pub(super) fn overhear(
        &mut self,
        now: Nanos,
        view: &PacketView,
        &Heard { messages, entries, .. }: &Heard<'_>,
    ) {
        if messages.is_empty() {
            return;
        }
        match self.plan.identity.ends(view) {
            Ends::Known(from, _) | Ends::FromNode(from) => {
                self.hear(now, (Some(from), None), messages, entries);
            }
            Ends::ToNode(_) => self.hear(now, (None, None), messages, entries),
            Ends::Foreign => {}
        }
    }

    /// The rules of another table are about whoever leads now.
    pub(super) fn follow_anew(&mut self) {
        self.hearing.bound = self.hearing.leaders.leader().map(|(node, _)| node);
        self.plan.follow(self.hearing.bound);
    }

    /// Rules that follow the leader are about whoever leads now.
    fn follow_leader(&mut self) {
        let current = self.hearing.leaders.leader().map(|(node, _)| node);
        if current != self.hearing.bound {
            self.hearing.bound = current;
            self.plan.follow(current);
        }
    }

    /// An event makes rules active, or will.
    fn turned(&mut self, t: Nanos, turn: Turn, by: LinkId) {
        let current = self.hearing.leaders.leader().map(|(node, _)| node);
        let (event, leader, candidate) = match turn {
            Turn::LeaderElected { node, .. } => (Event::LeaderElected, Some(node), None),
            Turn::FirstEntry { node, .. } => (Event::FirstEntry, Some(node), None),
            Turn::ElectionStarted { node, .. } => (Event::ElectionStarted, current, Some(node)),
            Turn::TermChange { .. } => (Event::TermChange, current, None),
        };
        self.end_holds_by(event);
        for i in 0..self.plan.eventful.len() {
            let rule = self.plan.eventful[i];
            let (table, layout) = (&self.plan.table, &mut self.plan.layout);
            let name = table.rules[usize::from(rule)].name.as_bytes();
            let seed = table.seed;
            let choice = |n: u32| xxh3_64_with_seed(name, seed ^ u64::from(n));
            let meant = Meant { leader, candidate, current, choice: 0 };
            let edges = layout.event(rule, event, t, (meant, &choice), by);
            for edge in edges.into_iter().flatten() {
                self.plan.note_edge(edge);
                if edge.active {
                    self.fire_on_start(rule, t);
                }
            }
        }
    }

    /// Triggers the fault of a rule that waits for no packet.
    pub(super) fn fire_on_start(&mut self, rule: u16, t: Nanos) {
        let Some((trigger, by)) = self.plan.layout.fires(rule) else { return };
        let nodes = self.plan.table.nodes.len();
        let counts = &self.plan.counters.rules[usize::from(rule)];
        counts.note_match(t, 1);
        if self.silence.trigger(t, &trigger, by, nodes) {
            counts.acted.add(1);
            self.plan.layout.trigger(rule);
        }
    }

    /// Who leads the group that counts, as far as its messages tell, and in which term.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, u64)> {
        self.hearing.leaders.leader()
    }

    /// Whether turns were not told.
    #[inline]
    #[must_use]
    pub fn has_untold_turns(&self) -> bool {
        !self.hearing.untold.is_empty()
    }

    /// Tells of turns, once each. What `tell` refuses is told again.
    pub fn tell_turns(&mut self, mut tell: impl FnMut(Turned) -> bool) {
        self.hearing.untold.retain(|turned| !tell(*turned));
    }
}
