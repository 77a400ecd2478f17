//! What was heard on the wire so far, for whoever looks in while it goes on: messages by kind, and
//! what each node is.
//!
//! The thread that watches the wire writes it, the main thread reads it, and neither waits: each
//! number is an atomic of its own, and two of them read together may be a message apart.

use crate::engine::counters::Count;
use crate::observe::{Event, Leaders, Role, Seen, adopted_term};
use crate::packet::NodeId;
use crate::rules::Table;
use crate::wire::Kind;
use std::sync::Arc;

/// What was heard so far.
#[derive(Debug)]
pub struct Tally {
    kinds: [Count; Kind::ALL.len()],
    nodes: Box<[Heard]>,
    missed: Count,
    term: Count,
}

/// What was heard of a node.
#[derive(Debug, Default)]
struct Heard {
    role: Count,
    term: Count,
    messages: Count,
}

/// In the order of their numbers in [`Heard::role`]; a node begins as the first.
const ROLES: [Role; 4] = [Role::Unknown, Role::Follower, Role::Candidate, Role::Leader];

impl Tally {
    /// Messages of each kind that were read.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.into_iter().zip(self.kinds.iter().map(Count::get))
    }

    /// Messages that were read but not told, because a ring was full: no kind counts them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }

    /// The highest term of the group that counts; none where none was heard.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        Some(self.term.get()).filter(|term| *term > 0)
    }

    /// What a node is in the group that counts, the last term that it spoke in, and how many
    /// messages it sent.
    #[must_use]
    pub fn node(&self, node: NodeId) -> (Role, Option<u64>, u64) {
        let Heard { role, term, messages } = &self.nodes[usize::from(node.0)];
        let role = ROLES.get(role.get() as usize).copied().unwrap_or(Role::Unknown);
        (role, Some(term.get()).filter(|term| *term > 0), messages.get())
    }
}

/// The end that writes.
#[derive(Debug)]
pub struct Teller {
    tally: Arc<Tally>,
    leaders: Leaders,
    led: Option<(NodeId, u64)>,
}

impl Teller {
    /// Of a cluster of which nothing was heard.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let tally = Tally {
            kinds: Default::default(),
            nodes: table.nodes.iter().map(|_| Heard::default()).collect(),
            missed: Count::default(),
            term: Count::default(),
        };
        let leaders = Leaders::of(table.group.as_deref());
        Self { tally: Arc::new(tally), leaders, led: None }
    }

    /// For whoever reads.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Is told what the observer is told.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Seen(seen) => self.hear(seen),
            Event::Missed { messages, .. } => self.tally.missed.add(*messages),
            _ => {}
        }
    }

    fn hear(&mut self, seen: &Seen) {
        let Self { tally, leaders, .. } = self;
        let message = &seen.message;
        tally.kinds[message.kind as usize].add(1);
        let turns = leaders.hear(seen.from, message, &seen.entries);
        tally.term.set(leaders.term());
        if let Some(from) = seen.from.filter(|from| usize::from(from.0) < tally.nodes.len()) {
            let heard = &tally.nodes[usize::from(from.0)];
            heard.messages.add(1);
            let counts = leaders.group() == Some(message.group);
            if let Some(term) = adopted_term(message).filter(|_| counts) {
                heard.term.set(term);
            }
            self.name_role(from);
        }
        // What one says may be the end of what others were.
        if !turns.is_empty() || self.leaders.leader() != self.led {
            self.led = self.leaders.leader();
            (0..self.tally.nodes.len()).for_each(|node| self.name_role(NodeId(node as u16)));
        }
    }

    fn name_role(&self, node: NodeId) {
        let role = self.leaders.role(node);
        let number = ROLES.iter().position(|known| *known == role).unwrap_or_default();
        self.tally.nodes[usize::from(node.0)].role.set(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Inputs, Source};
    use crate::time::Nanos;
    use crate::wire::{Message, Way};

    fn said(from: u16, kind: Kind, term: u64) -> Event {
        let message = Message { term: Some(term), ..Message::new(kind) };
        Event::Seen(Seen {
            at: Nanos(1),
            flow: 1,
            way: Way::There,
            opened: None,
            from: Some(NodeId(from)),
            to: None,
            message,
            entries: Vec::new(),
        })
    }

    #[test]
    fn nodes_are_what_they_last_said_and_what_others_say_ends_it() {
        let nodes = "{ a: 10.0.0.1:1, b: 10.0.0.2:1, c: 10.0.0.3:1 }";
        let text = format!("cluster: {{ protocol: etcd, nodes: {nodes} }}\nrules: []\n");
        let inputs = Inputs {
            rules: Source::new("rules", text),
            cluster: None,
            sets: Vec::new(),
            roles: None,
            seed: None,
        };
        let mut teller = Teller::new(&inputs.compile().expect("a cluster").table);
        let tally = teller.tally();
        let roles = || [0, 1, 2].map(|i| tally.node(NodeId(i)).0);
        assert_eq!((roles(), tally.term()), ([Role::Unknown; 3], None));
        teller.see(&said(0, Kind::Append, 2));
        teller.see(&said(1, Kind::AppendAnswer, 2));
        assert_eq!(roles(), [Role::Leader, Role::Follower, Role::Unknown]);
        // Two stand for the next term; the second one is told by no turn.
        teller.see(&said(1, Kind::VoteRequest, 3));
        teller.see(&said(2, Kind::VoteRequest, 3));
        assert_eq!(roles()[1..], [Role::Candidate, Role::Candidate]);
        // By what one of them says neither of the others is any more what it was.
        teller.see(&said(2, Kind::Append, 3));
        assert_eq!(roles(), [Role::Follower, Role::Follower, Role::Leader]);
        assert_eq!(tally.term(), Some(3));
        assert_eq!(tally.node(NodeId(0)), (Role::Follower, Some(2), 1));
        teller.see(&Event::Missed { at: Nanos(2), messages: 7 });
        let count = |kind| tally.kinds().find(|(of, _)| *of == kind).map(|(_, count)| count);
        assert_eq!((count(Kind::Append), count(Kind::VoteRequest)), (Some(2), Some(2)));
        assert_eq!(tally.missed(), 7);
    }
}
