//! What nodes are by their own words on the wire: whoever appends leads, whoever asks for votes
//! stands, whoever answers appends follows. Pure.
//!
//! It is about each node by itself, unlike who leads the cluster: a leader that is cut off goes on
//! as one, in its old term, until it says something else.

use crate::observe::adopted_term;
use crate::wire::{Group, Kind, Message};
use rustc_hash::FxHashMap;

use super::story::Micros;

/// What a node is, and in which term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It appends.
    Leader(Option<u64>),
    /// It asks for votes, or whether it would get them.
    Candidate(Option<u64>),
    /// It answers a leader.
    Follower(Option<u64>),
    /// It does not lead, and knows of nobody who does.
    Leaderless(Option<u64>),
    /// It has said nothing of the kind, or is another process since.
    Unknown,
}

impl Role {
    /// Its word, and its term.
    pub(super) fn told(self) -> (&'static str, Option<u64>) {
        match self {
            Self::Leader(term) => ("leader", term),
            Self::Candidate(term) => ("candidate", term),
            Self::Follower(term) => ("follower", term),
            Self::Leaderless(term) => ("unknown", term),
            Self::Unknown => ("unknown", None),
        }
    }

    pub(super) fn term(self) -> Option<u64> {
        self.told().1
    }
}

/// Changes that are kept of each node and group; a storm of elections makes thousands.
const CHANGES_MAX: usize = 5_000;

/// Groups that are followed.
const GROUPS_MAX: usize = 16;

/// Follows them.
#[derive(Debug)]
pub(super) struct Said {
    nodes: usize,
    groups: Vec<OfGroup>,
    index: FxHashMap<Group, usize>,
    beyond: bool,
}

#[derive(Debug)]
struct OfGroup {
    group: Group,
    roles: Vec<Vec<(Micros, Role)>>,
}

impl Said {
    /// Of this many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, groups: Vec::new(), index: FxHashMap::default(), beyond: false }
    }

    /// A node said this.
    pub(super) fn hear(&mut self, node: usize, at: Micros, message: &Message) {
        let known = self.index.get(&message.group).copied();
        let Some(place) = known.or_else(|| self.add(message)) else { return };
        let changes = &mut self.groups[place].roles[node];
        let now = changes.last().map_or(Role::Unknown, |(_, role)| *role);
        let next = next(now, message);
        if next != now && changes.len() < CHANGES_MAX {
            changes.push((at, next));
        }
    }

    /// A node's process ended, or another one begins.
    pub(super) fn silent(&mut self, node: usize, at: Micros) {
        for group in &mut self.groups {
            let changes = &mut group.roles[node];
            if changes.last().is_some_and(|(_, role)| *role != Role::Unknown) {
                changes.push((at, Role::Unknown));
            }
        }
    }

    fn add(&mut self, message: &Message) -> Option<usize> {
        // Only a term that somebody stands by shows that there is such a group.
        adopted_term(message)?;
        if self.groups.len() == GROUPS_MAX {
            self.beyond = true;
            return None;
        }
        let roles = vec![Vec::new(); self.nodes];
        self.groups.push(OfGroup { group: message.group, roles });
        self.index.insert(message.group, self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    /// The roles in the group that counts, and its name where there are several: the first whose
    /// name does not begin with `_`, as rules have it, else the first.
    pub(super) fn finish(mut self) -> (Option<String>, Vec<Vec<(Micros, Role)>>) {
        let several = self.groups.len() > 1 || self.beyond;
        let ours = self.groups.iter().position(|one| !one.group.is_internal());
        if self.groups.is_empty() {
            return (None, vec![Vec::new(); self.nodes]);
        }
        let OfGroup { group, roles } = self.groups.swap_remove(ours.unwrap_or(0));
        (several.then(|| group.name()), roles)
    }
}

/// What a node is after it has said this. Messages of several connections may overtake each other,
/// so that one of an earlier term says nothing any more.
fn next(now: Role, message: &Message) -> Role {
    let term = adopted_term(message);
    let is_old = term.zip(now.term()).is_some_and(|(term, known)| term < known);
    match message.kind {
        _ if is_old => now,
        kind if kind.is_leaders() && term.is_some() => Role::Leader(term),
        Kind::VoteRequest if term.is_some() => Role::Candidate(term),
        // It only asks about the next term, but it is no leader, and follows nobody.
        Kind::PreVoteRequest => Role::Candidate(now.term()),
        Kind::AppendAnswer | Kind::HeartbeatAnswer | Kind::SnapshotAnswer => {
            let follows = Role::Follower(term.or(now.term()));
            match now {
                // In its own term a leader answers nobody: an answer without a term is an old one.
                Role::Leader(own) if term.is_none() || term == own => now,
                _ => follows,
            }
        }
        Kind::VoteAnswer if message.granted == Some(true) && term > now.term() => {
            Role::Follower(term)
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, term: u64) -> Message {
        Message { term: Some(term), ..Message::new(kind) }
    }

    #[test]
    fn a_node_is_what_it_says_until_it_says_something_else() {
        let mut said = Said::new(2);
        said.hear(0, 1, &message(Kind::Heartbeat, 2));
        said.hear(1, 2, &message(Kind::HeartbeatAnswer, 2));
        // Cut off: the other one stands and wins, and the first goes on until it hears of that.
        said.hear(1, 5, &message(Kind::PreVoteRequest, 3));
        said.hear(1, 6, &message(Kind::VoteRequest, 3));
        said.hear(1, 7, &message(Kind::Append, 3));
        said.hear(0, 8, &message(Kind::Heartbeat, 2));
        said.hear(0, 9, &message(Kind::AppendAnswer, 3));
        // What overtook something else is old.
        said.hear(1, 10, &message(Kind::HeartbeatAnswer, 2));
        let (group, roles) = said.finish();
        assert_eq!(group, None);
        assert_eq!(roles[0], [(1, Role::Leader(Some(2))), (9, Role::Follower(Some(3)))]);
        assert_eq!(
            roles[1],
            [
                (2, Role::Follower(Some(2))),
                (5, Role::Candidate(Some(2))),
                (6, Role::Candidate(Some(3))),
                (7, Role::Leader(Some(3))),
            ]
        );
    }

    #[test]
    fn another_process_has_said_nothing_so_far() {
        let mut said = Said::new(1);
        said.silent(0, 0);
        said.hear(0, 1, &message(Kind::Append, 2));
        said.silent(0, 2);
        said.silent(0, 3);
        said.hear(0, 4, &message(Kind::AppendAnswer, 2));
        let (_, roles) = said.finish();
        let seen = [(1, Role::Leader(Some(2))), (2, Role::Unknown), (4, Role::Follower(Some(2)))];
        assert_eq!(roles[0], seen);
    }

    #[test]
    fn of_several_groups_the_first_counts_that_is_not_the_systems_own() {
        let mut said = Said::new(1);
        let of = |name: &str, kind| Message { group: Group::named(name.as_bytes()), ..kind };
        said.hear(0, 1, &of("_meta_", message(Kind::Append, 9)));
        said.hear(0, 2, &of("S-R3F-a", message(Kind::AppendAnswer, 2)));
        let (group, roles) = said.finish();
        assert_eq!(group.as_deref(), Some("S-R3F-a"));
        assert_eq!(roles[0], [(2, Role::Follower(Some(2)))]);
    }
}
