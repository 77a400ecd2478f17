//! A small faithful Raft, and what an observer sees of it.
//!
//! Three to five nodes that keep term, vote and log over crashes; elections with and without
//! pre-vote; logs that are repaired, compacted and sent as snapshots; two connections an ordered
//! pair, in order each, in no order between them, that are reset at any time. What is told to the
//! observer may lack messages, and is reordered across connections; what is told of nodes comes
//! late. How messages look differs as between real systems ([`Look`]).

use super::super::{Event, Seen};
use super::member;
use super::parts::{Bug, Dice, Flow, Look, Node, Packet, Role, Truth};
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Entry, Kind, Member, Message, Position, Way};
use std::collections::{HashSet, VecDeque};

/// A run.
pub(super) struct World {
    dice: Dice,
    now: u64,
    nodes: Vec<Node>,
    flows: Vec<Flow>,
    flow_count: u64,
    bug: Option<Bug>,
    looks: Vec<Look>,
    prevote: bool,
    /// Of a hundred messages so many are not told.
    omitted: u64,
    /// How far what is told is out of order.
    jitter: u64,
    /// A node that is cut off.
    cut: Option<usize>,
    data: u64,
    events: Vec<(u64, Event)>,
    pub(super) truth: Truth,
}

impl World {
    /// A run of so many steps.
    pub(super) fn run(seed: u64, bug: Option<Bug>, steps: u32) -> (Self, Vec<Event>) {
        let mut dice = Dice(seed);
        let nodes = [3, 3, 4, 5][dice.below(4) as usize];
        let node = Node {
            up: true,
            life: 0,
            term: 1,
            vote: None,
            log: Vec::new(),
            base: 0,
            commit: 0,
            role: Role::Follower,
            votes: HashSet::new(),
            next: vec![1; nodes],
            matched: vec![0; nodes],
        };
        let omitted = [0, 0, 5, 40][dice.below(4) as usize];
        let jitter = [0, 0, 20, 200][dice.below(4) as usize];
        let rare = [(Look::BareBeats, 30), (Look::CutCommit, 30), (Look::LogTerm, 20)];
        let others = [(Look::Nameless, 20), (Look::OldVoteTerm, 50)];
        let mut looks = Vec::new();
        for (look, chance) in rare.into_iter().chain(others) {
            let fits = look != Look::OldVoteTerm || omitted + jitter == 0;
            if dice.percent(chance) && fits {
                looks.push(look);
            }
        }
        let mut world = Self {
            now: 1_000,
            nodes: vec![node; nodes],
            flows: Vec::new(),
            flow_count: 0,
            bug,
            looks,
            prevote: dice.percent(50),
            omitted,
            jitter,
            cut: None,
            data: 0,
            events: Vec::new(),
            truth: Truth::default(),
            dice,
        };
        for _ in 0..steps {
            world.now += 1 + world.dice.below(3);
            world.step();
        }
        world.events.sort_by_key(|(at, _)| *at);
        let events = std::mem::take(&mut world.events).into_iter().map(|(_, event)| event);
        let events = events.collect();
        (world, events)
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn looks(&self, look: Look) -> bool {
        self.looks.contains(&look)
    }

    fn step(&mut self) {
        let node = self.dice.below(self.nodes.len() as u64) as usize;
        match self.dice.below(1_000) {
            0..20 => {
                self.campaign(node);
                if self.dice.percent(50) {
                    self.campaign((node + 1) % self.nodes.len());
                }
            }
            20..120 => self.beat(node),
            120..220 => self.propose(node),
            220..226 => self.crash(node),
            226..250 => self.restart(node),
            250..265 => self.reset(),
            265..275 => self.cut = self.dice.percent(50).then_some(node),
            275..285 => self.nodes[node].base = self.nodes[node].commit,
            285..290 => self.hand_over(node),
            _ => self.deliver(),
        }
    }

    fn majority(&self) -> usize {
        self.nodes.len() / 2 + usize::from(!self.has(Bug::SmallQuorum))
    }

    fn campaign(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        if !me.up || me.role == Role::Leader {
            return;
        }
        me.votes = HashSet::from([node]);
        if self.prevote && me.role != Role::PreCandidate {
            me.role = Role::PreCandidate;
            self.ask(node, Kind::PreVoteRequest);
        } else {
            self.stand(node);
        }
    }

    fn stand(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        me.term += 1;
        (me.vote, me.role, me.votes) = (Some(node), Role::Candidate, HashSet::from([node]));
        self.truth.votes.entry((node, me.life, me.term)).or_default().insert(node);
        self.ask(node, Kind::VoteRequest);
        self.count(node);
    }

    fn ask(&mut self, node: usize, kind: Kind) {
        let me = &self.nodes[node];
        let mut message = Message::new(kind);
        message.term = Some(me.term + u64::from(kind == Kind::PreVoteRequest));
        message.previous = Some(me.last());
        for other in self.others(node) {
            self.send(node, other, message);
        }
    }

    fn others(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&other| other != node).collect()
    }

    /// Whether a candidate has enough votes by now.
    fn count(&mut self, node: usize) {
        let majority = self.majority();
        let me = &mut self.nodes[node];
        if me.votes.len() < majority {
            return;
        }
        if me.role == Role::PreCandidate {
            self.stand(node);
        } else if me.role == Role::Candidate {
            me.role = Role::Leader;
            let last = me.last().index;
            me.next.fill(last + 1);
            me.matched.fill(0);
            self.truth.leaders.entry(me.term).or_default().insert(node);
            self.truth.elected.entry(me.term).or_default().push(me.log.clone());
            self.propose(node);
            for other in self.others(node) {
                self.append(node, other);
            }
        }
    }

    fn propose(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        if !me.up || me.role != Role::Leader {
            return;
        }
        self.data += 1;
        let at = Position { index: me.last().index + 1, term: me.term };
        me.log.push(Entry { at, hash: self.data });
        self.advance(node);
        for other in self.others(node) {
            if self.dice.percent(70) {
                self.append(node, other);
            }
        }
    }

    fn append(&mut self, node: usize, to: usize) {
        let count = self.dice.below(4);
        let me = &self.nodes[node];
        let (next, last) = (me.next[to], me.last().index);
        let mut message = Message::new(Kind::Append);
        message.term = Some(me.term);
        if next <= me.base {
            message.kind = Kind::Snapshot;
            message.previous = Some(me.at(me.base));
            let state = me.log[..me.base as usize].to_vec();
            let base = me.base;
            self.nodes[node].next[to] = base + 1;
            self.put(node, to, Packet { message, entries: Vec::new(), state, shown: message });
            return;
        }
        let end = (next + count).min(last + 1);
        let mut entries = me.log[next as usize - 1..end as usize - 1].to_vec();
        message.previous = Some(me.at(next - 1));
        message.entries = entries.len() as u32;
        message.commit = Some(me.commit);
        let term = me.term;
        self.truth.committed.entry(term).or_default().push(me.log[..me.commit as usize].to_vec());
        for at in message.previous.into_iter().chain(entries.iter().map(|entry| entry.at)) {
            self.truth.own.entry((node, term, at.index)).or_default().insert(at.term);
        }
        self.nodes[node].next[to] = end;
        if self.has(Bug::AlterEntries) && self.dice.percent(3) {
            for entry in &mut entries {
                entry.hash += 1_000_000;
            }
        }
        for entry in &entries {
            self.truth.sent.entry(entry.at).or_default().insert(entry.hash);
        }
        let mut shown = message;
        if self.looks(Look::CutCommit) {
            shown.commit = message.commit.map(|commit| commit.min(end - 1));
        }
        self.put(node, to, Packet { message, entries, state: Vec::new(), shown });
    }

    fn beat(&mut self, node: usize) {
        let me = &self.nodes[node];
        if !me.up || me.role != Role::Leader {
            return;
        }
        for to in self.others(node) {
            let me = &self.nodes[node];
            let mut message = Message::new(Kind::Heartbeat);
            message.term = Some(me.term);
            message.commit = Some(me.commit.min(me.matched[to]));
            let mut shown = message;
            if self.looks(Look::BareBeats) {
                shown.commit = None;
            }
            let packet = Packet { message, entries: Vec::new(), state: Vec::new(), shown };
            self.put(node, to, packet);
        }
    }

    fn hand_over(&mut self, node: usize) {
        let me = &self.nodes[node];
        let last = me.last().index;
        let ready = self.others(node).into_iter().find(|&to| me.matched[to] == last);
        if let (true, Role::Leader, Some(to)) = (me.up, me.role, ready) {
            let message = Message { term: Some(me.term), ..Message::new(Kind::TimeoutNow) };
            self.send(node, to, message);
        }
    }

    fn crash(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        self.nodes[node].up = false;
        for flow in self.flows.iter_mut().filter(|f| f.ends.0 == node || f.ends.1 == node) {
            flow.is_open = false;
        }
        self.tell_late(Event::Ended { at: Nanos(self.now), node: NodeId(node as u16) });
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        let at = Nanos(self.now);
        let wipes = self.has(Bug::Wipe) && self.dice.percent(40);
        let me = &mut self.nodes[node];
        let term = me.term;
        (me.up, me.role, me.commit) = (true, Role::Follower, me.base);
        match self.bug {
            Some(Bug::ForgetVote) => me.vote = None,
            Some(Bug::ForgetTerm) => (me.term, me.vote) = (me.last().term.max(1), None),
            Some(Bug::LoseTail) => {
                me.log.truncate(me.log.len().saturating_sub(4));
                me.base = me.base.min(me.log.len() as u64);
                me.commit = me.base;
            }
            Some(Bug::Wipe) if wipes => {
                (me.term, me.vote, me.life) = (1, None, me.life + 1);
                (me.base, me.commit) = (0, 0);
                me.log.clear();
            }
            _ => {}
        }
        if me.term < term && !wipes {
            self.truth.came_back_lower.insert(node);
        }
        let node = NodeId(node as u16);
        if wipes {
            self.tell_late(Event::Wiped { at, node });
        }
        self.tell_late(Event::Started { at, node });
    }

    fn reset(&mut self) {
        if self.flows.is_empty() {
            return;
        }
        let flow = self.dice.below(self.flows.len() as u64) as usize;
        self.flows.swap_remove(flow);
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let (entries, state) = (Vec::new(), Vec::new());
        self.put(from, to, Packet { message, entries, state, shown: message });
    }

    fn put(&mut self, from: usize, to: usize, mut packet: Packet) {
        let lane = self.dice.below(2);
        let is_request = !matches!(
            packet.message.kind,
            Kind::VoteAnswer | Kind::AppendAnswer | Kind::HeartbeatAnswer | Kind::PreVoteAnswer
        );
        packet.shown.from = (is_request || !self.looks(Look::Nameless)).then(|| name(from));
        packet.shown.to = Some(name(to));
        let known = self
            .flows
            .iter()
            .position(|flow| flow.is_open && flow.ends == (from, to) && flow.lane == lane);
        let place = known.unwrap_or_else(|| {
            // A SYN may have been long under way, and a connection joined in mid-stream.
            let opened = match self.dice.below(20) {
                0 => None,
                1..4 => Some(Nanos(self.now - self.dice.below(300))),
                _ => Some(Nanos(self.now)),
            };
            self.flow_count += 1;
            self.flows.push(Flow {
                id: self.flow_count,
                opened,
                ends: (from, to),
                lane,
                is_open: true,
                queue: VecDeque::new(),
                told: 0,
            });
            self.flows.len() - 1
        });
        self.flows[place].queue.push_back(packet);
    }

    /// One message passes by, and arrives where its receiver still holds that connection.
    fn deliver(&mut self) {
        self.flows.retain(|flow| flow.is_open || !flow.queue.is_empty());
        if self.flows.is_empty() {
            return;
        }
        let place = self.dice.below(self.flows.len() as u64) as usize;
        let flow = &mut self.flows[place];
        let (from, to) = flow.ends;
        if self.cut.is_some_and(|cut| cut == from || cut == to) {
            return;
        }
        let Some(packet) = flow.queue.pop_front() else { return };
        flow.told = flow.told.max(self.now + self.dice.below(self.jitter + 1));
        if !self.dice.percent(self.omitted) {
            let seen = Seen {
                at: Nanos(self.now),
                flow: flow.id,
                way: if from < to { Way::There } else { Way::Back },
                opened: flow.opened,
                from: Some(NodeId(from as u16)),
                to: Some(NodeId(to as u16)),
                message: packet.shown,
                entries: packet.entries.clone(),
            };
            self.events.push((flow.told, Event::Seen(seen)));
        }
        // What a dead process left behind still arrives; nothing arrives at a dead one.
        let sender_left = !flow.is_open && self.nodes[to].up && !self.nodes[from].up;
        if self.nodes[to].up && (flow.is_open || sender_left) {
            self.receive(from, to, &packet);
            // The moment at which forgetting matters.
            let chance = if self.has(Bug::ForgetVote) { 60 } else { 10 };
            if packet.message.kind == Kind::VoteRequest && self.dice.percent(chance) {
                self.crash(to);
                self.now += 1;
                self.restart(to);
            }
        }
    }

    fn tell_late(&mut self, event: Event) {
        // In order among themselves, and behind what they are about by any time; but that data is
        // lost has to be told in time.
        let late = if self.has(Bug::Wipe) { 0 } else { [0, 0, 50][self.dice.below(3) as usize] };
        let node = |event: &Event| match event {
            Event::Started { node, .. } | Event::Ended { node, .. } | Event::Wiped { node, .. } => {
                Some(*node)
            }
            _ => None,
        };
        let own = node(&event);
        let before = self.events.iter().rev().find(|(_, other)| node(other) == own);
        let at = (self.now + late).max(before.map_or(0, |(at, _)| *at));
        self.events.push((at, event));
    }

    fn receive(&mut self, from: usize, to: usize, packet: &Packet) {
        let message = &packet.message;
        let term = message.term.unwrap_or(0);
        let before = self.nodes[to].term;
        let asks = message.kind == Kind::PreVoteRequest
            || message.kind == Kind::PreVoteAnswer && message.granted == Some(true);
        if term > before && !asks {
            let me = &mut self.nodes[to];
            (me.term, me.vote, me.role) = (term, None, Role::Follower);
        }
        match message.kind {
            Kind::VoteRequest | Kind::PreVoteRequest => self.vote(from, to, packet, before),
            Kind::VoteAnswer | Kind::PreVoteAnswer => {
                let me = &mut self.nodes[to];
                let is_pre = message.kind == Kind::PreVoteAnswer;
                let role = if is_pre { Role::PreCandidate } else { Role::Candidate };
                let own = me.term + u64::from(is_pre);
                if message.granted == Some(true) && me.role == role && own == term {
                    me.votes.insert(from);
                    self.count(to);
                }
            }
            Kind::AppendAnswer | Kind::HeartbeatAnswer => self.hear_answer(from, to, message),
            Kind::TimeoutNow if term == self.nodes[to].term => self.stand(to),
            Kind::TimeoutNow => {}
            _ => self.follow(from, to, packet),
        }
    }

    fn vote(&mut self, from: usize, to: usize, packet: &Packet, before: u64) {
        let is_pre = packet.message.kind == Kind::PreVoteRequest;
        let asked = packet.message.term.unwrap_or(0);
        let last = packet.message.previous.expect("requests have it");
        let behind = self.has(Bug::VoteForBehind);
        let me = &mut self.nodes[to];
        let own = me.last();
        let is_current = behind || (last.term, last.index) >= (own.term, own.index);
        let granted = is_current
            && if is_pre {
                asked > me.term
            } else {
                asked == me.term && me.vote.is_none_or(|vote| vote == from)
            };
        if granted && !is_pre {
            me.vote = Some(from);
            self.truth.votes.entry((to, me.life, me.term)).or_default().insert(from);
        }
        let kind = if is_pre { Kind::PreVoteAnswer } else { Kind::VoteAnswer };
        let mut message = Message::new(kind);
        message.term = Some(if granted { asked } else { me.term });
        message.granted = Some(granted);
        let mut shown = message;
        if self.looks(Look::OldVoteTerm) && !is_pre {
            shown.term = Some(before);
        }
        let (entries, state) = (Vec::new(), Vec::new());
        self.put(to, from, Packet { message, entries, state, shown });
    }

    fn hear_answer(&mut self, from: usize, to: usize, message: &Message) {
        let me = &mut self.nodes[to];
        if me.role != Role::Leader || message.term != Some(me.term) {
            return;
        }
        let (index, last) = (message.index.unwrap_or(0), me.last().index);
        if message.kind == Kind::AppendAnswer {
            if message.granted == Some(true) {
                me.matched[from] = me.matched[from].max(index.min(last));
                me.next[from] = me.next[from].max(index.min(last) + 1);
            } else {
                me.next[from] = (index + 1).min(last).max(me.matched[from] + 1);
            }
            self.advance(to);
        }
        let me = &self.nodes[to];
        if me.next[from] <= me.last().index || self.dice.percent(20) {
            self.append(to, from);
        }
    }

    fn advance(&mut self, node: usize) {
        let (majority, counts_old) = (self.majority(), self.has(Bug::CountOldTerms));
        let me = &mut self.nodes[node];
        let mut held: Vec<u64> = me.matched.clone();
        held[node] = me.last().index;
        held.sort_unstable_by(|a, b| b.cmp(a));
        let index = held[majority - 1];
        let at = me.at(index);
        if index > me.commit && (at.term == me.term || counts_old) {
            me.commit = index;
            if at.term < me.term {
                self.truth.counted_old.insert(me.term);
            }
        }
    }

    fn follow(&mut self, from: usize, to: usize, packet: &Packet) {
        let Packet { message, entries, state, .. } = packet;
        let healthy = self.bug.is_none();
        let me = &mut self.nodes[to];
        let is_append = message.kind != Kind::Heartbeat;
        let kind = if is_append { Kind::AppendAnswer } else { Kind::HeartbeatAnswer };
        let mut answer = Message { granted: Some(false), ..Message::new(kind) };
        if message.term == Some(me.term) {
            assert!(!healthy || me.role != Role::Leader, "two leaders in term {}", me.term);
            me.role = Role::Follower;
            let previous = message.previous.unwrap_or(Position { index: 0, term: 0 });
            let last = me.last().index;
            answer.granted = Some(true);
            answer.index = Some(previous.index);
            if message.kind == Kind::Heartbeat {
                me.commit = me.commit.max(message.commit.unwrap_or(0).min(last));
            } else if previous.index < me.commit {
                answer.index = Some(me.commit);
            } else if message.kind == Kind::Snapshot {
                if me.at(previous.index) != previous {
                    me.log.clone_from(state);
                }
                (me.base, me.commit) = (previous.index, previous.index);
            } else if previous.index > last || me.at(previous.index) != previous {
                answer.granted = Some(false);
                answer.index = Some(last.min(previous.index - 1));
            } else {
                for entry in entries {
                    if me.at(entry.at.index) != entry.at {
                        assert!(!healthy || entry.at.index > me.commit, "a committed entry goes");
                        me.log.truncate(entry.at.index as usize - 1);
                        me.log.push(*entry);
                    }
                }
                let end = previous.index + entries.len() as u64;
                answer.index = Some(end);
                me.commit = me.commit.max(message.commit.unwrap_or(0).min(end));
            }
        }
        let me = &self.nodes[to];
        answer.term = Some(me.term);
        let mut shown = answer;
        if self.looks(Look::LogTerm) && is_append {
            // Its decoder tells the term only where that is its sender's.
            let said = if message.term == Some(me.term) { me.last().term } else { me.term };
            shown.term = Some(said).filter(|said| Some(*said) >= message.term);
        }
        let (entries, state) = (Vec::new(), Vec::new());
        self.put(to, from, Packet { message: answer, entries, state, shown });
    }
}

fn name(node: usize) -> Member {
    member(&format!("n{node}"))
}
