//! The one thread that holds Raft: inputs in, messages, disk writes and answers out.
//!
//! The order of each round is the crate's: what a node promises is on disk before a message
//! or an answer says so. A disk that does not take it ends the node.

mod admin;
mod kept;

use crate::bugs::{Bug, Bugs, FLUSH_EVERY};
use crate::clock;
use crate::command::{Command, CommandId, Op};
use crate::config::NodeArgs;
use crate::disk::{Disk, Found};
use crate::http::{Answer, Reply, Task};
use crate::machine::Machine;
use crate::peers::Peers;
use crate::pending::{Pending, Query, WAITING_MAX};
use crate::storage::Log;
use admin::Transfer;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use raft::eraftpb::{Entry, EntryType, HardState, Message, Snapshot};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What reaches the core.
#[derive(Debug)]
pub(crate) enum Input {
    /// A message of a peer.
    Peer(Message),
    /// A client's request.
    Client(Task, Reply),
    /// A peer that dialled, and where it is found.
    Met(u64, SocketAddr),
    /// A node of this name wants to know its id, for the folder of this number.
    Join(String, u64, Reply),
    /// This node's id, while it joins.
    Joined(u64),
    /// A peer whose connection ended.
    Unreachable(u64),
    /// How the sending of a snapshot came out.
    Snapshot(u64, SnapshotStatus),
}

/// The index and term that a new cluster begins behind.
pub(crate) const FIRST: (u64, u64) = (1, 1);

/// Log entries kept behind a snapshot, for followers that are a little late.
const KEPT_BEHIND: u64 = 100;

/// Inputs taken before the ready loop has its turn: they share one write to disk.
const BATCH: usize = 256;

/// A node's state.
pub(crate) struct Core {
    args: NodeArgs,
    id: u64,
    node: RawNode<Log>,
    machine: Machine,
    applied: u64,
    disk: Disk,
    peers: Peers,
    pending: Pending,
    bugs: Bugs,
    /// A number that no earlier process of this node used, so that ids are never used again.
    life: u64,
    start: Instant,
    last_flush: Instant,
    unflushed: Vec<(Vec<Entry>, Option<HardState>)>,
    told: (StateRole, u64, u64),
    transfers: Vec<Transfer>,
    /// The members changed: the next snapshot that is sent has to know it.
    snapshot_due: bool,
    /// Answers that `small-quorum` gives for others; none in a healthy node.
    made_up: Vec<Message>,
}

impl Core {
    /// A node as its disk left it.
    pub(crate) fn new(
        args: &NodeArgs,
        id: u64,
        disk: Disk,
        found: Found,
        peers: Peers,
        life: u64,
    ) -> Result<Self, String> {
        let mut bugs = Bugs::new(&args.bugs);
        let Found { snapshot, mut log, is_new } = found;
        let metadata = snapshot.get_metadata();
        let base = (metadata.index, metadata.term);
        if !is_new {
            bugs.on_restart(&mut log.entries, &mut log.hard_state, base);
        }
        if base.0 > FIRST.0 {
            bugs.on_snapshot();
        }
        let machine = match base.0 {
            0 => Machine::default(),
            _ => Machine::restore(&snapshot.data)?,
        };
        let log = Log::new(snapshot, log.entries, log.hard_state);
        let node = raw_node(args, id, log, base.0, &bugs)?;
        let now = clock::now();
        let mut core = Self {
            args: args.clone(),
            id,
            node,
            machine,
            applied: base.0,
            disk,
            peers,
            pending: Pending::default(),
            bugs,
            life,
            start: now,
            last_flush: now,
            unflushed: Vec::new(),
            told: (StateRole::Follower, 0, 0),
            transfers: Vec::new(),
            snapshot_due: false,
            made_up: Vec::new(),
        };
        core.meet_members();
        Ok(core)
    }

    /// Runs until the disk fails.
    pub(crate) fn run(mut self, inputs: &Receiver<Input>) -> io::Result<()> {
        let tick = self.args.tick();
        let mut next_tick = clock::now() + tick;
        loop {
            let wait = next_tick.saturating_duration_since(clock::now());
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            for input in first.into_iter().chain(inputs.try_iter().take(BATCH)) {
                self.take(input)?;
            }
            let now = clock::now();
            if now >= next_tick {
                self.pending.expire(now);
                if !self.is_removed() {
                    self.node.tick();
                    self.ask_reads_anew(now);
                }
                // A node that was stopped does not catch up on ticks: its peers moved on.
                next_tick = (next_tick + tick).max(now);
            }
            self.work()?;
            self.settle_transfers(now);
            self.tell_changes();
        }
    }

    fn take(&mut self, input: Input) -> io::Result<()> {
        match input {
            Input::Peer(message) if !self.is_heard(&message) => {}
            Input::Peer(mut message) => {
                let now = self.start.elapsed();
                if let Some(cut) = self.bugs.before_step(&mut self.node, &mut message, now) {
                    self.cut_log(cut)?;
                }
                if let Err(e) = self.node.step(message) {
                    log::debug!("a message was of no use: {e}");
                }
            }
            Input::Client(task, reply) => self.client(task, reply),
            Input::Met(id, address) if !self.machine.members.is_removed(id) => {
                self.peers.meet(id, address);
            }
            Input::Met(..) | Input::Joined(_) => {}
            Input::Join(name, folder, reply) => self.join(name, folder, reply),
            Input::Unreachable(id) => self.node.report_unreachable(id),
            Input::Snapshot(id, status) => self.node.report_snapshot(id, status),
        }
        Ok(())
    }

    fn client(&mut self, task: Task, reply: Reply) {
        if self.pending.len() >= WAITING_MAX {
            return reply.send(Answer::NotDone("too many requests wait already".into()));
        }
        if self.is_removed() && !matches!(task, Task::Status) {
            let why = "this node was removed from the cluster";
            return reply.send(Answer::NotDone(why.into()));
        }
        match task {
            Task::Change(op) => self.propose(op, reply),
            Task::Read(query, stale) => self.read(query, stale, reply),
            Task::Status => reply.send(Answer::Json(self.status())),
            Task::Admin(admin) => self.admin(admin, reply),
        }
    }

    fn propose(&mut self, mut op: Op, reply: Reply) {
        if self.bugs.has(Bug::StaleCas)
            && let Op::Cas { key, from, to } = &op
        {
            if self.machine.get(key) != from.as_ref() {
                return reply.send(Answer::Changed(false));
            }
            op = Op::Put { key: key.clone(), value: to.clone() };
        }
        let id = self.command_id();
        let deleted = matches!(&op, Op::Delete { key } if self.machine.get(key).is_none());
        let command = Command { id, op };
        match self.node.propose(Vec::new(), command.encode()) {
            // The crate drops a proposal only before it has gone anywhere.
            Err(e) => {
                log::debug!("not proposed: {e}");
                reply.send(Answer::NotDone("there is no leader".into()));
            }
            Ok(()) if self.bugs.has(Bug::AckBeforeCommit) => {
                reply.send(Answer::Changed(!deleted));
            }
            Ok(()) => self.pending.proposed(id, reply, self.deadline()),
        }
    }

    fn command_id(&mut self) -> CommandId {
        (self.id, (self.life << 32) + self.pending.number())
    }

    /// Until when a request of now is answered.
    fn deadline(&self) -> Instant {
        clock::now() + Duration::from_millis(self.args.request_ms)
    }

    fn read(&mut self, query: Query, stale: bool, reply: Reply) {
        let leads = self.node.raft.state == StateRole::Leader;
        let local = stale
            || self.bugs.has(Bug::StaleReads)
            || (leads && self.bugs.has(Bug::StaleWithoutPrevote));
        if local {
            return reply.send(query.answer(&self.machine));
        }
        let now = clock::now();
        let number = self.pending.read(query, reply, now, self.deadline());
        self.ask_index(number);
    }

    fn ask_index(&mut self, number: u64) {
        // Only this process may understand the answer, or one of an earlier life would count.
        let context = [self.id, self.life, number].map(u64::to_be_bytes).concat();
        self.node.read_index(context);
    }

    fn ask_reads_anew(&mut self, now: Instant) {
        let Some(before) = now.checked_sub(Duration::from_millis(self.args.election_ms)) else {
            return;
        };
        for number in self.pending.ask_anew(before, now) {
            self.ask_index(number);
        }
    }

    /// Everything that the crate has for disk, network and map.
    fn work(&mut self) -> io::Result<()> {
        while self.has_work() {
            let mut ready = self.node.ready();
            self.send(ready.take_messages());
            if *ready.snapshot() != Snapshot::default() {
                self.install(ready.snapshot().clone())?;
            }
            for state in ready.take_read_states() {
                self.index_known(&state.request_ctx, state.index);
            }
            self.apply(ready.take_committed_entries());
            self.keep(ready.entries(), ready.hs(), ready.must_sync())?;
            self.send(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().set_commit(commit);
            }
            self.send(light.take_messages());
            self.apply(light.take_committed_entries());
            self.node.advance_apply();
        }
        self.pending.answer_reads(self.applied, &self.machine);
        let due = std::mem::take(&mut self.snapshot_due);
        if due || self.applied >= self.snapshot_index() + self.args.snapshot_every {
            self.snapshot(KEPT_BEHIND.min(self.args.snapshot_every))?;
        }
        if self.bugs.has(Bug::LoseUnsynced) && self.last_flush.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        for answer in std::mem::take(&mut self.made_up) {
            if let Err(e) = self.node.step(answer) {
                log::debug!("a made-up answer was of no use: {e}");
            }
        }
        self.node.has_ready()
    }

    fn send(&mut self, messages: Vec<Message>) {
        if self.is_removed() {
            return;
        }
        let all = self.machine.members.ids();
        for message in messages {
            self.made_up.extend(self.bugs.made_up(&message, &all, self.start.elapsed()));
            self.peers.send(message);
        }
    }

    fn index_known(&mut self, context: &[u8], index: u64) {
        let words: Vec<u64> = context
            .chunks_exact(8)
            .map(|word| u64::from_be_bytes(word.try_into().expect("eight bytes")))
            .collect();
        match words.as_slice() {
            [id, life, number] if (*id, *life) == (self.id, self.life) => {
                self.pending.indexed(*number, index);
            }
            _ => log::debug!("an index for a read of an earlier life"),
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.applied = self.applied.max(entry.index);
            let index = entry.index;
            if entry.get_entry_type() != EntryType::EntryNormal {
                self.apply_change(&entry);
                continue;
            }
            for entry in self.bugs.applied_instead(entry) {
                let again = entry.index != index;
                let Some((command, changed)) = self.machine.apply_entry(&entry.data) else {
                    continue;
                };
                if command.id.0 == self.id
                    && !again
                    && let Some(reply) = self.pending.applied(command.id)
                {
                    reply.send(self.said_of(&command.op, changed));
                }
            }
        }
    }

    fn said_of(&self, op: &Op, changed: bool) -> Answer {
        match op {
            Op::Claim { name, .. } => match self.machine.members.find(name) {
                Some((id, _)) if changed => Answer::Joined(id),
                _ => Answer::Changed(false),
            },
            _ => Answer::Changed(changed),
        }
    }

    fn status(&self) -> serde_json::Value {
        let raft = &self.node.raft;
        let removed = self.is_removed();
        json!({
            "id": self.id,
            "name": self.args.name,
            "role": if removed { "removed" } else { role(raft.state) },
            "leader": if removed { None } else { self.machine.members.name(raft.leader_id) },
            "term": raft.term,
            "commit": raft.raft_log.committed,
            "applied": self.applied,
            "last": raft.raft_log.last_index(),
            "snapshot": self.snapshot_index(),
            "members": self.members(),
            "waiting": self.pending.len(),
            "dropped": self.peers.dropped,
            "bugs": self.args.bugs.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>(),
        })
    }

    fn tell_changes(&mut self) {
        let raft = &self.node.raft;
        let now = (raft.state, raft.term, raft.leader_id);
        if now != self.told {
            self.told = now;
            let leader = self.machine.members.name(now.2).unwrap_or("nobody");
            log::info!("{} in term {}, led by {leader}", role(now.0), now.1);
        }
    }
}

fn raw_node(
    args: &NodeArgs,
    id: u64,
    log: Log,
    applied: u64,
    bugs: &Bugs,
) -> Result<RawNode<Log>, String> {
    let careful = !bugs.has(Bug::StaleWithoutPrevote);
    let config = Config {
        id,
        election_tick: args.election_ticks(),
        heartbeat_tick: 1,
        applied,
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        check_quorum: careful,
        pre_vote: careful,
        read_only_option: ReadOnlyOption::Safe,
        ..Config::default()
    };
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&config, log, &silent).map_err(|e| e.to_string())
}

fn role(state: StateRole) -> &'static str {
    match state {
        StateRole::Leader => "leader",
        StateRole::Follower => "follower",
        StateRole::Candidate => "candidate",
        StateRole::PreCandidate => "pre-candidate",
    }
}
