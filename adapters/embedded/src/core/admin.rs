//! What those who run a cluster ask of it: members come and go, leadership moves, the log is
//! compacted.
//!
//! A change of the members is an entry of the log, by the crate's configuration changes; one at
//! a time, and only the leader proposes it. A new member votes from the start, and gets what it
//! missed by a snapshot.

use super::Core;
use crate::command::Op;
use crate::http::{Admin, Answer, Reply};
use crate::members::{Change, What};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, Message, MessageType};
use raft::{StateRole, Storage as _};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A leadership that is being handed over.
#[derive(Debug)]
pub(super) struct Transfer {
    to: u64,
    reply: Reply,
    deadline: Instant,
}

/// A hand-over is given up after so many election timeouts: the crate gives it one, and the
/// next leader needs a moment to be known.
const TRANSFER_TIMEOUTS: u64 = 2;

impl Core {
    pub(super) fn admin(&mut self, admin: Admin, reply: Reply) {
        if admin != Admin::Compact && self.node.raft.state != StateRole::Leader {
            return reply.send(Answer::NotLeader(self.leader_name()));
        }
        match admin {
            Admin::Add(name, address) => self.add(name, address, reply),
            Admin::Remove(name) => self.remove(&name, reply),
            Admin::Transfer(to) => self.transfer(to.as_deref(), reply),
            Admin::Compact => reply.send(match self.snapshot(0) {
                Ok(()) => Answer::Json(json!({ "done": true, "snapshot": self.snapshot_index() })),
                Err(e) => Answer::NotDone(format!("the snapshot could not be written: {e}")),
            }),
        }
    }

    fn add(&mut self, name: String, address: SocketAddr, reply: Reply) {
        let members = &self.machine.members;
        if let Some((id, member)) = members.find(&name) {
            return reply.send(if member.address == address {
                Answer::Json(json!({ "done": true, "id": id }))
            } else {
                let at = member.address;
                Answer::NotDone(format!("{name} is a member at {at}; remove it before"))
            });
        }
        if let Some((_, other)) = members.iter().find(|(_, member)| member.address == address) {
            return reply.send(Answer::NotDone(format!("{} is at {address} already", other.name)));
        }
        let node = members.next_id();
        self.change(ConfChangeType::AddNode, node, What::Add { node, name, address }, reply);
    }

    /// A node that joins asks for its id. What is known here may be old, which is good enough
    /// for a no; a yes is agreed on by the cluster.
    pub(super) fn join(&mut self, name: String, folder: u64, reply: Reply) {
        match self.machine.members.refuses(&name, folder) {
            Some(why) => reply.send(Answer::NotDone(why)),
            None => self.propose(Op::Claim { name, folder }, reply),
        }
    }

    fn remove(&mut self, name: &str, reply: Reply) {
        let members = &self.machine.members;
        match members.find(name) {
            None => reply.send(Answer::Json(json!({ "done": true }))),
            Some(_) if members.ids().len() == 1 => {
                reply.send(Answer::NotDone(format!("{name} is the last member")));
            }
            Some((node, _)) => {
                self.change(ConfChangeType::RemoveNode, node, What::Remove { node }, reply);
            }
        }
    }

    fn change(&mut self, kind: ConfChangeType, node: u64, what: What, reply: Reply) {
        // The crate would put an empty entry in the place of a second change.
        if self.node.raft.has_pending_conf() {
            let why = "another change of the members is under way, or the leader is new";
            return reply.send(Answer::NotDone(why.into()));
        }
        let id = self.command_id();
        let context = serde_json::to_vec(&Change { id, what }).expect("plain JSON");
        let mut single = ConfChangeSingle { node_id: node, ..ConfChangeSingle::default() };
        single.set_change_type(kind);
        let change = ConfChangeV2 {
            changes: vec![single].into(),
            context: context.into(),
            ..ConfChangeV2::default()
        };
        match self.node.propose_conf_change(Vec::new(), change) {
            Ok(()) => self.pending.proposed(id, reply, self.deadline()),
            Err(e) => {
                reply.send(Answer::NotDone(format!("the leader takes no change just now: {e}")));
            }
        }
    }

    /// Applies a committed change of the members.
    pub(super) fn apply_change(&mut self, entry: &Entry) {
        let Ok(change) = ConfChangeV2::parse_from_bytes(&entry.data) else {
            return log::error!("entry {} is no change of the members", entry.index);
        };
        let Ok(Change { id, what }) = serde_json::from_slice(&change.context) else {
            return log::error!("entry {} does not say what it changes", entry.index);
        };
        if let What::Remove { node } = what {
            self.bid_farewell(node, entry.index);
        }
        match self.node.apply_conf_change(&change) {
            Ok(voters) => self.node.mut_store().set_voters(voters),
            Err(e) => return log::error!("entry {} changes nothing: {e}", entry.index),
        }
        self.machine.members.apply(&what);
        log::info!("members are now {:?}", self.machine.members);
        self.meet_members();
        self.snapshot_due = true;
        if let Some(reply) = self.pending.applied(id) {
            reply.send(Answer::Json(match what {
                What::Add { node, .. } => json!({ "done": true, "id": node }),
                What::Remove { .. } => json!({ "done": true }),
            }));
        }
    }

    /// Tells a member that is removed, with all that it misses up to there: the crate does not
    /// speak with it any more, and it would ask for votes for ever. A leader that is removed
    /// itself tells all others: who remains alone would ask for its vote for ever.
    fn bid_farewell(&mut self, node: u64, removal: u64) {
        if self.node.raft.state != StateRole::Leader {
            return;
        }
        let others = self.node.raft.prs().iter().map(|(id, peer)| (*id, peer.matched));
        let meant = others.filter(|(id, _)| *id != self.id && (*id == node || node == self.id));
        for (to, matched) in meant.collect::<Vec<_>>() {
            let mut farewell = Message { from: self.id, to, ..Message::default() };
            farewell.set_msg_type(MessageType::MsgAppend);
            farewell.term = self.node.raft.term;
            (farewell.index, farewell.commit) = (matched, removal);
            let kept = self.node.store().kept().iter();
            let missed = kept.filter(|entry| (matched + 1..=removal).contains(&entry.index));
            farewell.entries = missed.cloned().collect();
            // Where the log that it misses is dropped, only a snapshot would do, and it is too
            // late for one.
            if let Ok(term) = self.node.store().term(matched) {
                farewell.log_term = term;
                self.peers.send(farewell);
            }
        }
    }

    /// Ways to all members, and to none that is gone.
    pub(super) fn meet_members(&mut self) {
        let members = &self.machine.members;
        for (id, member) in members.iter() {
            self.peers.meet(id, member.address);
        }
        self.peers.part(|id| members.is_removed(id));
    }

    /// Whether this node was removed: it takes no part then.
    pub(super) fn is_removed(&self) -> bool {
        self.machine.members.is_removed(self.id)
    }

    /// Whether a message is to be listened to. One to an id that this address had before is
    /// not, since it is to data that is gone; nor is what a removed node says.
    pub(super) fn is_heard(&self, message: &Message) -> bool {
        message.to == self.id
            && !self.machine.members.is_removed(message.from)
            && !self.is_removed()
    }

    fn transfer(&mut self, to: Option<&str>, reply: Reply) {
        let id = match to {
            Some(name) => self.machine.members.find(name).map(|(id, _)| id),
            None => self.most_up_to_date(),
        };
        let Some(to) = id else {
            let why = to.map_or("there is no other member".to_owned(), |name| {
                format!("there is no member {name}")
            });
            return reply.send(Answer::NotDone(why));
        };
        self.node.transfer_leader(to);
        let wait = Duration::from_millis(self.args.election_ms * TRANSFER_TIMEOUTS);
        self.transfers.push(Transfer { to, reply, deadline: crate::clock::now() + wait });
    }

    fn most_up_to_date(&self) -> Option<u64> {
        let others = self.node.raft.prs().iter().filter(|(id, _)| **id != self.id);
        others.max_by_key(|(_, peer)| (peer.recent_active, peer.matched)).map(|(id, _)| *id)
    }

    /// Answers hand-overs that succeeded, that the crate gave up, or that take too long.
    pub(super) fn settle_transfers(&mut self, now: Instant) {
        let raft = &self.node.raft;
        let leads = raft.state == StateRole::Leader;
        let (leader, under_way) = (raft.leader_id, raft.lead_transferee);
        for Transfer { to, reply, deadline } in std::mem::take(&mut self.transfers) {
            if leader == to {
                let name = self.machine.members.name(to);
                reply.send(Answer::Json(json!({ "done": true, "leader": name })));
            } else if now >= deadline || (leads && under_way != Some(to)) {
                // The other may have been told to stand, and may win yet.
                reply.send(Answer::TimedOut);
            } else {
                self.transfers.push(Transfer { to, reply, deadline });
            }
        }
    }

    fn leader_name(&self) -> Option<String> {
        self.machine.members.name(self.node.raft.leader_id).map(str::to_owned)
    }

    /// Every member, as the status shows it.
    pub(super) fn members(&self) -> Vec<Value> {
        let voters = &self.node.store().voters().voters;
        let members = self.machine.members.iter();
        let show = |(id, member): (u64, &crate::members::Member)| {
            json!({
                "name": member.name,
                "id": id,
                "address": member.address,
                "voter": voters.contains(&id),
            })
        };
        members.map(show).collect()
    }
}
