//! Alarms in people's words: nodes by name, times in seconds of the run.

use super::Seen;
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Group, Kind, Member};

/// Where members were heard, and what nodes are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) nodes: Vec<String>,
    pub(super) members: Vec<(Member, NodeId)>,
}

/// Members whose node is remembered.
const MEMBERS_MAX: usize = 1_024;

impl Names {
    /// A member was heard on a node; the latest counts.
    #[inline]
    pub(super) fn heard(&mut self, member: Option<Member>, node: Option<NodeId>) {
        let (Some(member), Some(node)) = (member, node) else { return };
        if let Some((_, known)) = self.members.iter_mut().find(|(other, _)| *other == member) {
            *known = node;
        } else if self.members.len() < MEMBERS_MAX {
            self.members.push((member, node));
        }
    }

    /// A node's name.
    pub(super) fn node(&self, node: NodeId) -> String {
        let name = self.nodes.get(usize::from(node.0));
        name.cloned().unwrap_or_else(|| format!("node {}", node.0))
    }

    /// A member, by the node where it was heard.
    pub(super) fn member(&self, member: Member) -> String {
        let known = self.members.iter().find(|(other, _)| *other == member);
        known
            .map_or_else(|| format!("member {}", member_text(member)), |(_, node)| self.node(*node))
    }

    /// The sender of a message.
    pub(super) fn sender(&self, seen: &Seen) -> String {
        match (seen.from, seen.message.from) {
            (Some(node), _) => self.node(node),
            (None, Some(member)) => self.member(member),
            (None, None) => "somebody".into(),
        }
    }
}

/// A member for people: eight characters where it has eight, a small number as it is, else
/// hexadecimal, as etcd writes it.
#[must_use]
pub fn member_text(member: Member) -> String {
    let bytes = member.0.to_be_bytes();
    if bytes.iter().all(u8::is_ascii_graphic) {
        return bytes.iter().map(|&b| char::from(b)).collect();
    }
    if member.0 < 1_000_000 { member.0.to_string() } else { format!("{:x}", member.0) }
}

/// What a message is called in a sentence.
pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Append => "an append",
        Kind::Heartbeat => "a heartbeat",
        Kind::Snapshot => "a snapshot",
        Kind::TimeoutNow => "an order to stand",
        Kind::VoteRequest => "a vote request",
        Kind::VoteAnswer => "an answer to a vote request",
        Kind::PreVoteRequest => "a pre-vote request",
        Kind::PreVoteAnswer => "an answer to a pre-vote request",
        Kind::AppendAnswer => "an answer to an append",
        Kind::HeartbeatAnswer => "an answer to a heartbeat",
        Kind::SnapshotAnswer => "an answer to a snapshot",
        Kind::Other => "a message",
    }
}

/// A time of the run.
pub(super) fn time(at: Nanos) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

/// Behind a sentence: which group, where there are several.
pub(super) fn group(group: Group) -> String {
    if group == Group::ONLY { String::new() } else { format!(" (group {})", group.name()) }
}
