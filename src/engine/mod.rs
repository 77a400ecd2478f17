//! The verdict engine: what happens to each packet. Pure: no I/O, no clock, no randomness
//! but its seed. The same tables, packets and times give the same verdicts.
//!
//! ```text
//! facts.rs      what a packet is judged by;  verdict.rs  what is said of it
//! identity.rs   who sent a packet, who gets it
//! flows.rs      which connection it belongs to
//! layout.rs     which rules are active on its link, by its ports (layout/)
//! walk.rs       what those rules make of it;  divert.rs  what has to come again cut up first
//! impair.rs     what single actions make of it;  memory.rs  what they remember
//! held.rs       packets that wait until they are due;  silence.rs  nodes that say nothing
//! holds.rs      packets that rules hold;  heal.rs  cuts that end by resets
//! heard.rs      what decoded messages do to rules;  special.rs  rules that ask for such things
//! stalls.rs     connections that were stalled or reset
//! shared.rs     packets whose sender has to be asked for;  waiting.rs  who waits for that
//! dice/         randomness;  mangle/  changes;  counters.rs, lateness.rs  what is counted
//! ```
//!
//! The way of a packet is [`Engine::decide`]; where the answer is "later", [`Engine::hold`]
//! or [`Engine::wait`] takes the packet in, and [`Engine::release`] lets it out again.
//! Nothing on that way allocates or locks; `tests/no_alloc.rs` proves it.

pub mod counters;
pub mod dice;
mod divert;
mod facts;
pub mod flows;
mod heal;
mod heard;
pub mod held;
mod holds;
pub mod identity;
mod impair;
pub mod lateness;
mod layout;
pub mod mangle;
mod memory;
mod prepared;
mod shared;
mod silence;
mod special;
mod stalls;
mod verdict;
pub mod waiting;
mod walk;

pub use facts::Facts;
pub use heal::Rst;
pub use heard::{Heard, Turned};
pub use impair::{Copies, Damage};
pub use layout::Edge;
pub use prepared::Prepared;
pub use shared::TooMany;
pub use silence::Silenced;
pub use verdict::{Decision, Extras, Full, Keep, Release, Token, Verdict};
pub use waiting::{Answer, Question};

use crate::packet::{LinkId, PacketView, Proto};
use crate::rules::table::Mark;
use crate::time::Nanos;
use counters::Counters;
use divert::Diverted;
use facts::Found;
use flows::{FLOWS_MAX, Flow, FlowKey, Flows, Touched};
use heal::Resets;
use heard::Hearing;
use held::{HELD_MAX, Held, Holder};
use identity::Ends;
use lateness::Lateness;
use silence::Silence;
use stalls::Stalls;
use std::sync::Arc;
use waiting::{PATIENCE, WAITING_MAX, Waiting};

/// The engine of one cluster.
#[derive(Debug)]
pub struct Engine {
    plan: Box<Prepared>,
    flows: Flows,
    held: Holder,
    waiting: Vec<Waiting>,
    silence: Silence,
    stalls: Stalls,
    resets: Resets,
    diverted: Diverted,
    hearing: Hearing,
    start: Option<Nanos>,
    seq: u64,
    /// How many tables were adopted.
    tables: u32,
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
            resets: Resets::new(),
            diverted: Diverted::new(),
            hearing,
            start: None,
            seq: 0,
            tables: 0,
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
        let same_patterns = plan.table.patterns == self.plan.table.patterns;
        plan.keep_draws(&mut self.plan, self.flows.len());
        std::mem::swap(&mut self.plan, &mut plan);
        self.tables += 1;
        self.stalls.renumber(|old| self.plan.heir(old));
        if self.held.has_rules() || !same_patterns {
            // A rule that is gone holds nothing; what it held goes with the next look at rules.
            let gone = u16::MAX;
            self.held.rearrange(|all| {
                for std::cmp::Reverse(held) in all {
                    held.by = held.by.map(|old| self.plan.heir(old).unwrap_or(gone));
                    held.facts.patterns &= if same_patterns { u32::MAX } else { 0 };
                }
            });
        }
        self.follow_anew();
        if let Some(start) = self.start {
            let t = now.saturating_sub(start);
            self.plan.layout.advance(t, |_| {});
            self.plan.keep_events(&plan, t);
            self.plan.keep_activations(&plan, t);
        }
        self.keep_heals(&mut plan);
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
        let minds = !plan.heals.is_empty() || !plan.holding.is_empty();
        let ended = &mut plan.ended;
        plan.layout.advance(t, |edge| {
            if !edge.active && minds && ended.len() < ended.capacity() {
                ended.push(edge.rule);
            }
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
        for i in 0..self.plan.ended.len() {
            self.heal(self.plan.ended[i]);
        }
        if !self.plan.holding.is_empty() || self.held.has_rules() {
            self.end_holds(now, t);
        }
        self.plan.ended.clear();
    }

    /// Judges one packet that completes no message, as far as anybody reads messages.
    #[inline]
    pub fn decide(&mut self, now: Nanos, view: &PacketView) -> Decision {
        self.decide_heard(now, view, &Heard::default())
    }

    /// Judges one packet with what its bytes have told. The messages are heard before it is
    /// judged: the first one of a new leader comes from the leader.
    #[inline]
    pub fn decide_heard(&mut self, now: Nanos, view: &PacketView, heard: &Heard<'_>) -> Decision {
        self.plan.counters.totals.packets.add(1);
        let Some(start) = self.start else {
            self.overhear(now, view, heard);
            return Decision::foreign();
        };
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
        if self.plan.layout.looks_closely {
            self.look_closely(&mut facts, view, heard);
        }
        if !heard.messages.is_empty() {
            self.hear(now, (Some(from), Some(link)), heard.messages, heard.entries);
        }
        self.judge(now, start, facts, heard.messages)
    }

    /// Finds out what few rules ask of a packet.
    #[inline(never)]
    fn look_closely(&self, facts: &mut Facts, view: &PacketView, heard: &Heard<'_>) {
        facts.dialled = self.plan.identity.dialled(view);
        let patterns = self.plan.table.patterns.iter().enumerate();
        facts.patterns = patterns
            .filter(|(_, pattern)| pattern.is_in(heard.payload))
            .fold(0, |bits, (i, _)| bits | 1 << i);
    }

    /// Notes a packet that could not be read; it is accepted.
    pub fn unreadable(&mut self) {
        self.plan.counters.totals.packets.add(1);
        self.plan.counters.totals.unreadable.add(1);
    }

    /// Takes a packet in until it is due. Fails where as many are held as may be; the
    /// packet is then to be dropped, and is counted as such.
    ///
    /// `slot` names the bytes that go instead of it, where others do.
    pub fn hold(
        &mut self,
        token: Token,
        facts: Facts,
        keep: Keep,
        (slot, mark): (Option<u16>, Option<Mark>),
    ) -> Result<(), Full> {
        self.seq += 1;
        // Trimmed, it is a bare acknowledgement, which a new cut of data lets pass.
        let facts = Facts { data: facts.data && !keep.trim, ..facts };
        let Keep { due, own, by, ordered, .. } = keep;
        let (seq, rule) = (self.seq, (keep.rule, self.tables));
        let held = Held { due, seq, token, facts, own, by, rule, slot, mark, ordered };
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

    /// Takes a copy in, whose bytes the loop keeps in `slot`, until so long `after` its packet:
    /// `keep` is how that is kept, or none where it is not. Nothing waits behind a copy, but one
    /// of a packet that a rule holds, itself or one before it, has its place in the flow's order.
    pub fn hold_copy(
        &mut self,
        (slot, facts): (u16, Facts),
        now: Nanos,
        keep: Option<Keep>,
        after: Nanos,
    ) -> Result<(), Full> {
        self.seq += 1;
        let token = Token { queue: held::COPIES, id: u32::from(slot) };
        let due = keep.map_or(now, |keep| keep.due) + after;
        let by = keep.and_then(|keep| keep.by);
        let ordered = due == Nanos::MAX;
        let own = keep.map_or(now, |keep| keep.own) + after;
        let (seq, rule, slot, mark) = (self.seq, (None, self.tables), None, None);
        let held = Held { due, seq, token, facts, own, by, rule, slot, mark, ordered };
        if self.held.push(held).is_err() {
            self.plan.counters.totals.copies_lost.add(1);
            return Err(Full);
        }
        if let Some((flow, to)) = order(&mut self.flows, &held) {
            flow.held[to] += 1;
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
                // What a rule let go was due at no time of its own.
                let due = Some(held.due).filter(|_| held.own < Nanos::MAX);
                let rule = held.rule.0.filter(|_| held.rule.1 == self.tables);
                release(Release { due, rule, ..Release::of(&held) });
            }
            self.note_held();
        }
        if !self.waiting.is_empty() {
            self.give_up_waiting(now, release);
        }
    }

    /// Notes that a packet that was due at `due` has left at `now`.
    pub fn left(&mut self, link: LinkId, due: Nanos, now: Nanos) {
        let late = now.saturating_sub(due);
        self.lateness.record(link, late);
        self.plan.counters.totals.late.note(late);
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
    fn find_flow(&mut self, now: Nanos, view: &PacketView) -> Found {
        let (key, direction) = FlowKey::of(view.src, view.dst, view.proto);
        let touched = self.flows.touch(now, key, view);
        let generation = self.flows.get(touched.id).generation;
        self.note_touched(touched);
        let mut offset = Facts::NOWHERE;
        if self.plan.layout.tracks_bytes && view.proto == Proto::Tcp {
            offset = self.flows.get_mut(touched.id).track[usize::from(direction)].hear(view);
        }
        Found { flow: touched.id, generation, direction, offset }
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
            heal::starve(plan, flows, rule, &facts);
            let_go(flows, held);
            release(Release { drop: true, rule: Some(rule), ..Release::of(held) });
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
