//! The engine over recorded packets: what a table would make of them, packet by packet, with the
//! times at which they were recorded. No root, no clock, no network: the same table, seed and
//! packets give the same output on every machine.
//!
//! The world does not answer: what is dropped here was delivered then, so that nothing is sent
//! again for it, and what was recorded behind it comes all the same. Nothing is done to processes;
//! it is told when it would be, and which packets of a silent node are dropped meanwhile.
//!
//! `roles.rs` binds rules that depend on roles and follows faults; `words.rs` says what became of
//! a packet; `say.rs` writes it down.

mod roles;
pub mod say;
pub mod words;

use super::binding;
use super::capture::{Capture, IpPacket, Recorded, Unread};
use super::parcels::Parcels;
use super::schedule::Schedule;
use crate::engine::held::COPIES;
use crate::engine::{
    Answer, Decision, Engine, Extras, Heard, Limits, Prepared, Release, Token, Turned, Verdict,
};
use crate::observe::Turn;
use crate::packet::{Endpoint, LinkId, NodeId, PacketView};
use crate::rules::table::Node;
use crate::rules::{Compiled, Report, Roles, Table};
use crate::time::Nanos;
use crate::wire::Listener;
use say::{Happened, Say};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use words::Fate;

/// The engine's time of the first packet: its clock has no time before.
const ZERO: Nanos = Nanos::from_secs(1);

/// The longest silence in a capture: what rules do meanwhile is gone through one by one.
const GAP_MAX: Nanos = Nanos::from_secs(6 * 3_600);

/// Compiles the rules with these roles.
pub type Bind<'a> = &'a dyn Fn(Roles) -> Result<Compiled, Report>;

/// Why a simulation ended early.
#[derive(Debug)]
pub enum Failure {
    /// The packets cannot be read on.
    Capture(Unread),
    /// The rules ask for what a recording cannot tell.
    Rules(String),
    /// This packet comes too long after the one before it.
    Gap(u64),
    /// Nobody takes the output.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A simulation under way.
pub struct Simulation<'a> {
    engine: Engine,
    /// The table in force.
    table: Arc<Table>,
    names: Vec<String>,
    listener: Option<Listener>,
    schedule: Schedule,
    roles: roles::Binder<'a>,
    parcels: Parcels,
    /// The packets that copies are of, by the places of their bytes.
    copies: HashMap<u16, u64>,
    /// Of GSO packets: what a device carries at a time; 0 where each counts as one segment.
    mtu: u32,
    now: Nanos,
    /// When the schedule was last looked at: what was due by then and still is waits for a leader.
    looked: Nanos,
    /// Packets whose time was before that of the one in front of them.
    backwards: u64,
}

/// What is left of a simulation.
#[derive(Debug)]
pub struct Ended {
    /// The table that was in force last.
    pub table: Arc<Table>,
    /// Its engine, with the counters.
    pub engine: Engine,
    /// From the first packet to the last.
    pub lasted: Nanos,
    /// Packets whose time was before that of the one in front of them; they count as come with it.
    pub backwards: u64,
}

impl<'a> Simulation<'a> {
    /// For a table, compiled with imagined roles; refused where it needs to know who leads and no
    /// message can tell.
    pub fn new(table: Table, bind: Bind<'a>, mtu: u32) -> Result<Self, Failure> {
        let roles = roles::Binder::new(&table, bind)?;
        let schedule = Schedule::new(&table);
        let names = table.nodes.iter().map(|node| node.name.clone()).collect();
        let peers: Vec<Endpoint> =
            table.nodes.iter().flat_map(|node| node.endpoints.clone()).collect();
        let listener = table.protocol.map(|protocol| Listener::new(protocol, &peers));
        let table = Arc::new(binding::parked(table));
        let plan = Prepared::new(Arc::clone(&table), None, |node| shares(&table.nodes, node));
        let mut engine = Engine::new(plan, Limits::for_queues(1));
        engine.start(ZERO);
        Ok(Self {
            engine,
            table,
            names,
            listener,
            schedule,
            roles,
            parcels: Parcels::new(),
            copies: HashMap::new(),
            mtu,
            now: ZERO,
            looked: Nanos::ZERO,
            backwards: 0,
        })
    }

    /// Takes all packets of a capture, and tells what becomes of each. At the end what is held
    /// leaves; no rule starts any more.
    pub fn run(mut self, capture: &mut Capture, say: &mut dyn Say) -> Result<Ended, Failure> {
        let mut first = None;
        while let Some(recorded) = capture.next_packet().map_err(Failure::Capture)? {
            let first = *first.get_or_insert(recorded.at_ns);
            let at = ZERO + Nanos(recorded.at_ns.saturating_sub(first));
            if at.saturating_sub(self.now) > GAP_MAX && recorded.at_ns > first {
                return Err(Failure::Gap(recorded.number));
            }
            self.backwards += u64::from(recorded.at_ns < first || at < self.now);
            self.pass_time(at.max(self.now), say)?;
            self.take(&recorded, say)?;
        }
        let last = self.now;
        while self.engine.counters().totals.held.get() > 0
            && let Some(next) = self.engine.poll_at()
        {
            self.step(next.max(self.now), say)?;
        }
        let lasted = last.saturating_sub(ZERO);
        Ok(Ended { table: self.table, engine: self.engine, lasted, backwards: self.backwards })
    }

    /// Does all that is due until then, each at its time.
    fn pass_time(&mut self, until: Nanos, say: &mut dyn Say) -> Result<(), Failure> {
        loop {
            let phases = self.table.phases.iter().flat_map(|phase| [phase.start, phase.end]);
            let scheduled = self.schedule.poll_at().into_iter().chain(phases);
            let scheduled = scheduled.map(|t| ZERO + t).filter(|at| *at > self.looked);
            let next = scheduled.chain(self.engine.poll_at()).min();
            let Some(at) = next.filter(|at| *at < until) else { break };
            self.step(at.max(self.now), say)?;
        }
        self.step(until, say)
    }

    /// One moment: rules start and end, and what is due leaves.
    fn step(&mut self, now: Nanos, say: &mut dyn Say) -> Result<(), Failure> {
        self.now = now;
        self.follow_schedule(say)?;
        self.let_out(say)
    }

    fn let_out(&mut self, say: &mut dyn Say) -> Result<(), Failure> {
        let (mut edges, mut out) = (Vec::new(), Vec::new());
        let mut silenced = Vec::new();
        let mut release = |release| out.push(release);
        self.engine.drop_orphans(&mut release);
        self.engine.tell_silences(
            |one| {
                silenced.push(one);
                true
            },
            &mut release,
        );
        self.engine.advance(self.now, |edge| edges.push(edge), &mut release);
        self.engine.release(self.now, &mut release);
        for edge in edges {
            let rule = self.table.rules[usize::from(edge.rule)].name.clone();
            let what = if edge.active { "active" } else { "ended" };
            tell(ZERO + edge.at, &rule, what, say)?;
        }
        for one in silenced {
            self.silenced(&one, say)?;
        }
        for release in out {
            self.left(release, say)?;
        }
        let mut resets = Vec::new();
        self.engine.take_resets(|rst| resets.push(*rst));
        for rst in resets {
            let (src, dst) = (rst.src.socket_addr(), rst.dst.socket_addr());
            let what = format!("a RST from {src} to {dst}, at {}", rst.seq);
            let at = self.now.saturating_sub(ZERO);
            say.happened(&Happened { at, rule: None, what })?;
        }
        Ok(())
    }

    /// Judges a packet, as the verdict loop does.
    fn take(&mut self, recorded: &Recorded, say: &mut dyn Say) -> Result<(), Failure> {
        let token = Token { queue: 0, id: recorded.number as u32 };
        let (fate, link, rule, extras) = match &recorded.ip {
            None => (Fate::Other, None, None, Extras::default()),
            Some(ip) => {
                if let Ok(view) = PacketView::parse(&ip.bytes, ip.len, self.mtu) {
                    self.judge(token, &view, ip)
                } else {
                    self.engine.unreadable();
                    (Fate::Unreadable, None, None, Extras::default())
                }
            }
        };
        let rule = rule.map(|rule| self.table.rules[usize::from(rule)].name.as_str());
        let (number, link) = (recorded.number, link.map(|link| self.ends(link)));
        let at = self.now.saturating_sub(ZERO);
        let now = self.now;
        say.packet(&say::Packet { number, at, link, fate, rule, extras, now, zero: ZERO })?;
        let mut turns = Vec::new();
        self.engine.tell_turns(|turned| {
            turns.push(turned);
            true
        });
        for turned in turns {
            self.turned(&turned, say)?;
        }
        // What a message brought about, or a packet triggered, follows at once.
        self.step(self.now, say)
    }

    fn judge(
        &mut self,
        token: Token,
        view: &PacketView,
        ip: &IpPacket,
    ) -> (Fate, Option<LinkId>, Option<u16>, Extras) {
        let now = self.now;
        let counts = |engine: &Engine| {
            let totals = &engine.counters().totals;
            [totals.silenced.get(), totals.stalled.get(), totals.unattributed.get()]
        };
        let before = counts(&self.engine);
        let payload = ip.bytes.get(usize::from(view.header_len)..).unwrap_or_default();
        let (messages, entries) = match &mut self.listener {
            None => Default::default(),
            Some(listener) => listener.listen(now, view, &ip.bytes),
        };
        let heard = Heard { payload, messages, entries };
        let decision = self.engine.decide_heard(now, view, &heard);
        let mut fate = Fate::Judged(decision.verdict);
        match (decision.verdict, decision.facts) {
            (Verdict::Hold(keep), Some(facts)) => {
                let trim = keep.trim;
                let slot = if trim { self.parcels.put_trimmed(&ip.bytes, view) } else { None };
                let mark = decision.extras.mark;
                if trim && slot.is_none() {
                    self.engine.drop_untrimmed(&facts);
                    fate = Fate::Judged(Verdict::Drop);
                } else if self.engine.hold(token, facts, keep, (slot, mark)).is_err() {
                    self.parcels.free(slot);
                    fate = Fate::Overflowed;
                }
            }
            (Verdict::Ask { .. }, _) => {
                // A recording does not tell who holds a socket.
                let mut drop = false;
                match self.engine.wait(now, (token, 0), view, &decision) {
                    Ok(Some(question)) => {
                        let (flow, generation) = (question.flow, question.generation);
                        let mut out = |release: Release| drop = release.drop;
                        self.engine.answered(now, flow, generation, Answer::Unknown, &mut out);
                    }
                    Ok(None) => {}
                    Err(too_many) => drop = too_many.drop,
                }
                return (Fate::Unattributed { drop }, None, None, Extras::default());
            }
            _ => {}
        }
        self.copy(token, &decision);
        let after = counts(&self.engine);
        let grew = [0, 1, 2].map(|i| after[i] > before[i]);
        fate = match (grew, fate) {
            ([true, ..], Fate::Judged(Verdict::Drop)) => Fate::Silent,
            ([_, true, _], Fate::Judged(verdict)) => Fate::Stalled(verdict),
            ([.., true], Fate::Judged(verdict)) => {
                Fate::Unattributed { drop: verdict == Verdict::Drop }
            }
            (_, fate) => fate,
        };
        (fate, decision.facts.map(|facts| facts.link), decision.rule, decision.extras)
    }

    /// Keeps the copies of a packet until they are due.
    fn copy(&mut self, token: Token, decision: &Decision) {
        let (Some(copies), Some(facts)) = (decision.extras.copies, decision.facts) else { return };
        let keep = match decision.verdict {
            Verdict::Hold(keep) => Some(keep),
            _ => None,
        };
        for _ in 0..copies.count {
            let Some(slot) = self.parcels.put(|_| Some(0)) else { return };
            if self.engine.hold_copy((slot, facts), self.now, keep, copies.after).is_ok() {
                self.copies.insert(slot, u64::from(token.id));
            } else {
                self.parcels.free(Some(slot));
            }
        }
    }

    fn left(&mut self, release: Release, say: &mut dyn Say) -> io::Result<()> {
        let copy = release.token.queue == COPIES;
        let place = release.token.id as u16;
        self.parcels.free(if copy { Some(place) } else { release.slot });
        let of = if copy { self.copies.remove(&place) } else { None };
        let link = release.link.map(|link| self.ends(link));
        let number = of.unwrap_or(u64::from(release.token.id));
        let at = self.now.saturating_sub(ZERO);
        let (dropped, trimmed) = (release.drop, release.trimmed);
        say.left(&say::Left { number, at, link, dropped, trimmed, copy })
    }

    fn turned(&mut self, turned: &Turned, say: &mut dyn Say) -> Result<(), Failure> {
        let name = |node: NodeId| self.names[usize::from(node.0)].clone();
        let what = match turned.turn {
            Turn::LeaderElected { node, term } => format!("{} leads in term {term}", name(node)),
            Turn::ElectionStarted { node, term } => {
                format!("{} stands for term {term}", name(node))
            }
            Turn::TermChange { .. } | Turn::FirstEntry { .. } => return Ok(()),
        };
        let happened = Happened { at: turned.at, rule: None, what };
        Ok(say.happened(&happened)?)
    }

    fn ends(&self, link: LinkId) -> [&str; 2] {
        let (from, to) = link.ends(self.names.len());
        [from, to].map(|node| self.names[usize::from(node.0)].as_str())
    }

    /// Puts another table into force.
    fn adopt(&mut self, table: Table) {
        let table = Arc::new(table);
        let nodes = &table.nodes;
        let plan = Prepared::new(Arc::clone(&table), Some(&self.table), |n| shares(nodes, n));
        self.engine.adopt(plan, self.now);
        self.table = Arc::clone(&table);
    }
}

/// Tells what a rule does, `at` on the engine's clock.
fn tell(at: Nanos, rule: &str, what: &str, say: &mut dyn Say) -> Result<(), Failure> {
    let at = at.saturating_sub(ZERO);
    Ok(say.happened(&Happened { at, rule: Some(rule.to_owned()), what: what.to_owned() })?)
}

/// Whether a node's address says too little about who sent a packet: others have it, too, or it is
/// one of the loopback, from which any process may dial.
fn shares(nodes: &[Node], node: NodeId) -> bool {
    let addresses = |node: &Node| node.endpoints.iter().map(|end| end.socket_addr().ip()).collect();
    let own: Vec<IpAddr> = addresses(&nodes[usize::from(node.0)]);
    let others = nodes.iter().enumerate().filter(|(i, _)| *i != usize::from(node.0));
    let others: Vec<IpAddr> = others.flat_map(|(_, node)| addresses(node)).collect();
    own.iter().any(|address| address.is_loopback() || others.contains(address))
}
