//! The verdict engine: what happens to each packet. Pure: no I/O, no clock, no randomness
//! but its seed. The same tables, packets and times give the same verdicts.
//!
//! ```text
//! identity.rs   who sent a packet, who gets it
//! flows.rs      which connection it belongs to
//! layout.rs     which rules are active on its link
//! walk.rs       what those rules make of it;  divert.rs  what has to come again cut up first
//! held.rs       packets that wait until they are due;  silence.rs  nodes that say nothing
//! heard.rs      what decoded messages do to rules;  special.rs  rules that ask for such things
//! stalls.rs     connections that were stalled or reset
//! shared.rs     packets whose sender has to be asked for;  waiting.rs  who waits for that
//! dice.rs       randomness;  mangle.rs  changes;  counters.rs, lateness.rs  what is counted
//! ```
//!
//! The way of a packet is [`Engine::decide`]; where the answer is "later", [`Engine::hold`]
//! or [`Engine::wait`] takes the packet in, and [`Engine::release`] lets it out again.
//! Nothing on that way allocates or locks; `tests/no_alloc.rs` proves it.

pub mod counters;
pub mod dice;
mod divert;
pub mod flows;
mod heard;
pub mod held;
pub mod identity;
pub mod lateness;
mod layout;
pub mod mangle;
mod prepared;
mod shared;
mod silence;
mod special;
mod stalls;
pub mod waiting;
mod walk;

pub use heard::Turned;
pub use layout::Edge;
pub use prepared::Prepared;
pub use shared::TooMany;
pub use silence::Silenced;
pub use waiting::{Answer, Question};

use crate::packet::{LinkId, NodeId, PacketView, Proto};
use crate::time::Nanos;
use crate::wire::{Entry, Message};
use counters::Counters;
use divert::Diverted;
use flows::{FLOWS_MAX, Flow, FlowId, FlowKey, Flows, Touched};
use heard::Hearing;
use held::{HELD_MAX, Held, Holder};
use identity::Ends;
use lateness::Lateness;
use silence::Silence;
use stalls::Stalls;
use std::sync::Arc;
use waiting::{PATIENCE, WAITING_MAX, Waiting};

/// Names a packet that the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Index of the queue.
    pub queue: u16,
    /// The kernel's id of the packet in that queue.
    pub id: u32,
}

/// What rules judge a packet by, small enough to keep while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The ordered pair of nodes.
    pub link: LinkId,
    /// Transport.
    pub proto: Proto,
    /// Whether it is more than a bare acknowledgement.
    pub data: bool,
    /// Whether its acknowledgement can be kept when its data is dropped.
    pub trimmable: bool,
    /// Whether a RST can be made of it.
    pub resettable: bool,
    /// Sequence number of its first byte; 0 for UDP.
    pub seq: u32,
    /// The one behind its last byte, SYN and FIN counted.
    pub behind: u32,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Wire segments.
    pub segments: u16,
    /// Its flow, where the table needs to know flows.
    pub flow: Option<FlowId>,
    /// Generation of that flow.
    pub generation: u32,
    /// Direction in its flow.
    pub direction: u8,
}

/// The answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go on.
    Accept,
    /// Discard it.
    Drop,
    /// Let its bare acknowledgement go on.
    Trim,
    /// Let a RST with this sequence number go on instead ([`mangle::reset`]).
    Reset {
        /// Of the earliest byte of its direction that has not been delivered.
        seq: u32,
    },
    /// Keep it until then ([`Engine::hold`]); `trim` first if it says so.
    Hold {
        /// When it is due.
        due: Nanos,
        /// Whether only its acknowledgement goes on.
        trim: bool,
        /// Whether later packets of its flow may not overtake it.
        ordered: bool,
    },
    /// Keep it until its sender is known ([`Engine::wait`]).
    Ask {
        /// The end that is known.
        peer: NodeId,
        /// Whether that is the receiver.
        to_peer: bool,
    },
}

/// A verdict and what it was based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// What the packet was judged by; `None` for traffic that is not between nodes.
    pub facts: Option<Facts>,
    /// The rule that decided, or the first that delayed.
    pub rule: Option<u16>,
}

/// A packet that leaves the engine after it was held or had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which packet.
    pub token: Token,
    /// Whether it is dropped.
    pub drop: bool,
    /// Whether it comes again by the second queue of the same lane, to be judged there.
    pub segment: bool,
    /// The trimmed acknowledgement that goes instead of it.
    pub trim: Option<u16>,
    /// Its link, where it is known.
    pub link: Option<LinkId>,
    /// When it was due, where it was held for a delay.
    pub due: Option<Nanos>,
}

/// The engine of one cluster.
#[derive(Debug)]
pub struct Engine {
    plan: Box<Prepared>,
    flows: Flows,
    held: Holder,
    waiting: Vec<Waiting>,
    silence: Silence,
    stalls: Stalls,
    diverted: Diverted,
    hearing: Hearing,
    start: Option<Nanos>,
    seq: u64,
    lateness: Lateness,
}

/// Sizes of an engine's memory, all of it reserved at the start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of kernel queues, the second ones too.
    pub queues: usize,
    /// Packets held of each.
    pub held: usize,
    /// Flows known; at least one, at most [`FLOWS_MAX`].
    pub flows: usize,
}

impl Limits {
    /// The usual sizes for that many queues.
    #[must_use]
    pub fn for_queues(queues: usize) -> Self {
        Self { queues, held: HELD_MAX, flows: FLOWS_MAX }
    }
}

impl Engine {
    /// An engine that accepts everything until [`Engine::start`].
    #[must_use]
    pub fn new(mut plan: Box<Prepared>, limits: Limits) -> Self {
        // Nobody leads yet; nodes that are named beside the leader are meant all the same.
        plan.follow(None);
        let flows = limits.flows.clamp(1, FLOWS_MAX);
        let lateness = Lateness::new(plan.table.links());
        let hearing = Hearing::new(plan.table.group.as_deref());
        Self {
            plan,
            flows: Flows::new(flows),
            held: Holder::new(limits.queues, limits.held),
            waiting: Vec::with_capacity(WAITING_MAX),
            silence: Silence::new(),
            stalls: Stalls::new(flows),
            diverted: Diverted::new(),
            hearing,
            start: None,
            seq: 0,
            lateness,
        }
    }

    /// Starts the clock of the rules: `at` counts from here.
    pub fn start(&mut self, now: Nanos) {
        self.start = Some(now);
    }

    /// Forgets who dialled the flows that are known; they are asked for again.
    pub fn forget_diallers(&mut self) {
        self.flows.forget_diallers();
    }

    /// A connection that was there before the first packet was seen, with its dialler.
    pub fn know_flow(&mut self, now: Nanos, key: FlowKey, answer: Answer) {
        let touched = self.flows.enter(now, key, shared::dialler(answer, now));
        self.note_touched(touched);
    }

    /// Puts another table in force, keeping the clock, the flows, what is held, what was
    /// drawn, and the counts of rules with the same name. Returns the former one, to be
    /// freed elsewhere. Rules that start or end by it are told by the next
    /// [`Engine::advance`].
    pub fn adopt(&mut self, mut plan: Box<Prepared>, now: Nanos) -> Box<Prepared> {
        plan.counters.inherit(&self.plan.counters, &plan.former);
        plan.keep_draws(&mut self.plan, self.flows.len());
        std::mem::swap(&mut self.plan, &mut plan);
        let former = |old| self.plan.former.iter().position(|f| *f == Some(usize::from(old)));
        self.stalls.renumber(|old| former(old).map(|rule| rule as u16));
        self.follow_anew();
        if let Some(start) = self.start {
            let t = now.saturating_sub(start);
            self.plan.layout.advance(t, |_| {});
            self.plan.keep_events(&plan, t);
            self.plan.keep_activations(&plan, t);
        }
        plan
    }

    /// Starts and ends rules; tells which, and releases what a new drop applies to. Called
    /// at the start of every batch, before its packets are judged.
    #[inline]
    pub fn advance(
        &mut self,
        now: Nanos,
        mut tell: impl FnMut(Edge),
        release: &mut impl FnMut(Release),
    ) {
        let Some(start) = self.start else { return };
        let t = now.saturating_sub(start);
        if t < self.plan.layout.next_edge() && !self.plan.just_adopted {
            return;
        }
        self.plan.just_adopted = false;
        let plan = &mut *self.plan;
        plan.untold.drain(..).for_each(&mut tell);
        let (counters, fresh) = (&plan.counters, &mut plan.fresh);
        let first = fresh.len();
        plan.layout.advance(t, |edge| {
            if edge.active {
                counters.rules[usize::from(edge.rule)].activations.add(1);
                if fresh.len() < fresh.capacity() {
                    fresh.push(edge.rule);
                }
            }
            tell(edge);
        });
        for i in first..self.plan.fresh.len() {
            self.fire_on_start(self.plan.fresh[i], t);
        }
        for i in 0..self.plan.fresh.len() {
            let rule = self.plan.fresh[i];
            let step = &self.plan.layout.steps[usize::from(rule)];
            if step.drops && step.active && !step.keeps_held {
                self.drop_held(rule, now, release);
            }
        }
        self.plan.fresh.clear();
    }

    /// Judges one packet that completes no message, as far as anybody reads messages.
    #[inline]
    pub fn decide(&mut self, now: Nanos, view: &PacketView) -> Decision {
        self.decide_heard(now, view, &[], &[])
    }

    /// Judges one packet with the messages that it completes, in their order, and those of their
    /// entries whose terms are known, one message's behind the other's. The messages are heard
    /// before it is judged: the first one of a new leader comes from the leader.
    #[inline]
    pub fn decide_heard(
        &mut self,
        now: Nanos,
        view: &PacketView,
        messages: &[Message],
        entries: &[Entry],
    ) -> Decision {
        self.plan.counters.totals.packets.add(1);
        let Some(start) = self.start else {
            self.overhear(now, view, messages, entries);
            return Decision::foreign();
        };
        let heard = (messages, entries);
        let (from, to) = match self.plan.identity.ends(view) {
            Ends::Known(from, to) => (from, to),
            Ends::Foreign => {
                self.plan.counters.totals.foreign.add(1);
                return Decision::foreign();
            }
            Ends::ToNode(peer) => return self.decide_shared(now, start, view, (peer, true), heard),
            Ends::FromNode(peer) => {
                return self.decide_shared(now, start, view, (peer, false), heard);
            }
        };
        let link = LinkId::new(from, to, self.plan.table.nodes.len());
        let mut facts = Facts::of(view, link);
        if self.plan.layout.tracks_flows || !self.held.is_empty() || self.stalls.is_any() {
            facts.is_of(self.find_flow(now, view));
        }
        if !messages.is_empty() {
            self.hear(now, (Some(from), Some(link)), messages, entries);
        }
        self.judge(now, start, facts, messages)
    }

    /// Notes a packet that could not be read; it is accepted.
    pub fn unreadable(&mut self) {
        self.plan.counters.totals.packets.add(1);
        self.plan.counters.totals.unreadable.add(1);
    }

    /// Takes a packet in until it is due. Fails where as many are held as may be; the
    /// packet is then to be dropped, and is counted as such.
    pub fn hold(
        &mut self,
        token: Token,
        facts: Facts,
        due: Nanos,
        ordered: bool,
        trim: Option<u16>,
    ) -> Result<(), Full> {
        self.seq += 1;
        // Trimmed, it is a bare acknowledgement, which a new cut of data lets pass.
        let facts = Facts { data: facts.data && trim.is_none(), ..facts };
        let held = Held { due, seq: self.seq, token, facts, trim, ordered };
        let counters = &self.plan.counters;
        if self.held.push(held).is_err() {
            counters.totals.overflow.add(1);
            counters.link(facts.link).dropped.add(u64::from(facts.segments));
            return Err(Full);
        }
        counters.link(facts.link).delayed.add(u64::from(facts.segments));
        if let (Some(flow), true) = (facts.flow, ordered) {
            let flow = self.flows.get_mut(flow);
            let direction = usize::from(facts.direction);
            flow.held[direction] += 1;
            flow.last_due[direction] = due;
        }
        self.note_held();
        Ok(())
    }

    /// A packet that was to be trimmed and held goes whole, since there is no place to keep
    /// its acknowledgement: counts it as dropped.
    pub fn drop_untrimmed(&mut self, facts: &Facts) {
        let link = self.plan.counters.link(facts.link);
        link.trimmed.take_back(u64::from(facts.segments));
        link.dropped.add(u64::from(facts.segments));
    }

    /// Lets out, in order, everything that is due at `now`, and what waited too long.
    #[inline]
    pub fn release(&mut self, now: Nanos, release: &mut impl FnMut(Release)) {
        if self.held.next_due().is_some_and(|due| due <= now) {
            while let Some(held) = self.held.pop_due(now) {
                let_go(&mut self.flows, &held);
                release(Release { due: Some(held.due), ..Release::of(&held) });
            }
            self.note_held();
        }
        if !self.waiting.is_empty() {
            self.give_up_waiting(now, release);
        }
    }

    /// Notes that a packet that was due at `due` has left at `now`.
    pub fn left(&mut self, link: LinkId, due: Nanos, now: Nanos) {
        self.lateness.record(link, now.saturating_sub(due));
    }

    /// When the engine wants to be called next; `None`: not before the next packet.
    #[must_use]
    pub fn poll_at(&self) -> Option<Nanos> {
        if self.plan.just_adopted && self.start.is_some() {
            // A packet's message, or a new table, made rules active: what that does to what is held
            // does not wait for another packet.
            return Some(Nanos::ZERO);
        }
        let edge = match (self.start, self.plan.layout.next_edge()) {
            (None, _) | (_, Nanos::MAX) => None,
            (Some(start), edge) => Some(start + edge),
        };
        let patience = self.waiting.first().map(|w| w.since + PATIENCE);
        [self.held.next_due(), edge, patience].into_iter().flatten().min()
    }

    /// Lets everything out, in flow order, as at detaching; rules no longer act.
    pub fn drain(&mut self, release: &mut impl FnMut(Release)) {
        self.start = None;
        while let Some(held) = self.held.pop_due(Nanos::MAX) {
            let_go(&mut self.flows, &held);
            release(Release::of(&held));
        }
        for waiting in self.waiting.drain(..) {
            self.flows.get_mut(waiting.flow).waiting = 0;
            release(Release::pass(waiting.token));
        }
        self.note_held();
    }

    /// The rules that are active now, in file order.
    #[must_use]
    pub fn active_rules(&self) -> Vec<u16> {
        let steps = self.plan.layout.steps.iter().enumerate();
        steps.filter(|(_, step)| step.active).map(|(i, _)| i as u16).collect()
    }

    /// The counters of the table in force.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.plan.counters
    }

    /// How late held packets left.
    #[must_use]
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Its flow, the flow's generation, and the direction in it.
    fn find_flow(&mut self, now: Nanos, view: &PacketView) -> (FlowId, u32, u8) {
        let (key, direction) = FlowKey::of(view.src, view.dst, view.proto);
        let touched = self.flows.touch(now, key, view);
        let generation = self.flows.get(touched.id).generation;
        self.note_touched(touched);
        (touched.id, generation, direction)
    }

    fn note_touched(&mut self, touched: Touched) {
        if touched.fresh {
            self.plan.new_flow(touched.id);
            self.stalls.forget(touched.id);
        }
        if touched.evicted {
            self.plan.counters.totals.flows_evicted.add(1);
        }
    }

    /// A rule that drops has become active: it also applies to what is held.
    fn drop_held(&mut self, rule: u16, now: Nanos, release: &mut impl FnMut(Release)) {
        let (plan, flows) = (&mut *self.plan, &mut self.flows);
        let Some(start) = self.start else { return };
        let before = self.held.len();
        self.held.remove(|held| {
            let mut facts = held.facts;
            facts.flow = facts.flow.filter(|&id| flows.same(id, facts.generation).is_some());
            if !plan.drops_held(rule, now, start, &facts, flows) {
                return false;
            }
            plan.counters.link(facts.link).dropped.add(u64::from(facts.segments));
            let_go(flows, held);
            release(Release { drop: true, ..Release::of(held) });
            true
        });
        if self.held.len() < before {
            self.renew_order();
            self.note_held();
        }
    }

    /// Some of the held packets are gone: what comes waits behind those that are left.
    fn renew_order(&mut self) {
        for held in self.held.iter() {
            if let Some((flow, to)) = order(&mut self.flows, held) {
                flow.last_due[to] = Nanos::ZERO;
            }
        }
        for held in self.held.iter() {
            if let Some((flow, to)) = order(&mut self.flows, held) {
                flow.last_due[to] = flow.last_due[to].max(held.due);
            }
        }
    }

    fn note_held(&self) {
        let totals = &self.plan.counters.totals;
        let held = self.held.len() as u64;
        totals.held.set(held);
        if held > totals.held_most.get() {
            totals.held_most.set(held);
        }
    }
}

/// The queue holds as many packets as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A packet leaves: what comes no longer waits behind it.
fn let_go(flows: &mut Flows, held: &Held) {
    if let Some((flow, to)) = order(flows, held) {
        flow.held[to] = flow.held[to].saturating_sub(1);
    }
}

/// The flow whose order a held packet keeps, and its direction.
fn order<'a>(flows: &'a mut Flows, held: &Held) -> Option<(&'a mut Flow, usize)> {
    let id = held.facts.flow.filter(|_| held.ordered)?;
    let flow = flows.same(id, held.facts.generation)?;
    Some((flow, usize::from(held.facts.direction)))
}

impl Facts {
    fn of(view: &PacketView, link: LinkId) -> Self {
        Self {
            link,
            proto: view.proto,
            data: view.carries_data(),
            trimmable: mangle::can_trim(view),
            resettable: mangle::can_reset(view),
            seq: view.seq,
            behind: view.seq.wrapping_add(view.sequence_len()),
            src_port: view.src.port,
            dst_port: view.dst.port,
            segments: view.segments,
            flow: None,
            generation: 0,
            direction: 0,
        }
    }
}

impl Facts {
    fn is_of(&mut self, (flow, generation, direction): (FlowId, u32, u8)) {
        (self.flow, self.generation, self.direction) = (Some(flow), generation, direction);
    }
}

impl Decision {
    fn foreign() -> Self {
        Self { verdict: Verdict::Accept, facts: None, rule: None }
    }
}

impl Release {
    /// A packet that was held goes on, as it is or trimmed.
    fn of(held: &Held) -> Self {
        let link = Some(held.facts.link);
        Self { drop: false, trim: held.trim, link, ..Self::pass(held.token) }
    }

    /// A packet that goes on as it is.
    fn pass(token: Token) -> Self {
        Self { token, drop: false, segment: false, trim: None, link: None, due: None }
    }
}
