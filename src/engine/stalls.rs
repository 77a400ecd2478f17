//! Connections that were cut short: a direction of which nothing arrives any more, and a reset.
//!
//! A stall is known by its first byte. What lies wholly before it belongs to earlier messages and
//! passes, also when it is sent again; everything behind it is lost for good, but for
//! acknowledgements, so that the other direction lives. It ends with its connection: a lost
//! message stays lost, whatever becomes of the rule that lost it.
//!
//! A RST is taken at its word only if it bears the next sequence number that its receiver
//! expects (RFC 5961). So it takes the place of the earliest segment that has not arrived, and
//! what is held of its direction is dropped.

use super::held::{COPIES, Held};
use super::{Engine, Facts, Release, flows::FlowId};
use crate::time::Nanos;

/// Resets whose held packets have not been dropped; the loop drops them once a batch.
const ORPHANS_MAX: usize = 1_024;

/// One direction of a flow of which nothing arrives.
#[derive(Clone, Copy, Debug)]
struct Stall {
    generation: u32,
    /// The first byte that is lost.
    seq: u32,
    /// When it is to be reset.
    reset_at: Option<Nanos>,
    /// The rule that did it, while there is one of that name.
    rule: Option<u16>,
}

/// What becomes of a packet in a direction that is stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stalled {
    /// It goes on: it carries nothing, or belongs to what was sent before.
    Passes,
    /// It carries what is lost.
    Lost(Option<u16>),
    /// A RST with this sequence number goes instead of it.
    Reset(u32, Option<u16>),
}

/// All stalls, by flow and direction, and the resets that the loop has to hear of.
#[derive(Debug)]
pub(super) struct Stalls {
    places: Box<[Option<Stall>]>,
    count: u32,
    orphans: Vec<Orphans>,
}

/// The packets that a reset has left behind in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orphans {
    pub(super) flow: FlowId,
    pub(super) generation: u32,
    pub(super) direction: u8,
    /// They came before this.
    pub(super) before: u64,
}

impl Stalls {
    pub(super) fn new(flows: usize) -> Self {
        let orphans = Vec::with_capacity(ORPHANS_MAX);
        Self { places: vec![None; flows * 2].into(), count: 0, orphans }
    }

    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.count > 0
    }

    /// From this packet on. A direction that is stalled stays as it is.
    #[inline(never)]
    pub(super) fn begin(&mut self, facts: &Facts, rule: u16, reset_at: Option<Nanos>) {
        let Some(at) = place(facts) else { return };
        let generation = facts.generation;
        if self.places[at].is_some_and(|stall| stall.generation == generation) {
            return;
        }
        self.count += u32::from(self.places[at].is_none());
        self.places[at] = Some(Stall { generation, seq: facts.seq, reset_at, rule: Some(rule) });
    }

    /// What becomes of a packet; `waits` says whether others of its direction are held.
    pub(super) fn meet(&mut self, now: Nanos, facts: &Facts, waits: bool) -> Stalled {
        let Some(at) = place(facts) else { return Stalled::Passes };
        let Some(stall) = &mut self.places[at] else { return Stalled::Passes };
        if stall.generation != facts.generation {
            return Stalled::Passes;
        }
        let before = !is_behind(facts.behind, stall.seq);
        if facts.data && !before && is_behind(stall.seq, facts.seq) {
            // What was sent together before is cut otherwise now: it begins further in front.
            stall.seq = facts.seq;
        }
        // What is held may still be delivered, and the RST must not come before it.
        let due = stall.reset_at.is_some_and(|reset_at| reset_at <= now) && !waits;
        if due && facts.resettable && !(facts.data && before) {
            let (seq, rule) = (stall.seq, stall.rule);
            self.end(at);
            return Stalled::Reset(seq, rule);
        }
        if facts.data && !before { Stalled::Lost(stall.rule) } else { Stalled::Passes }
    }

    /// Packets are held whose connection was reset.
    pub(super) fn leave_behind(&mut self, orphans: Orphans) {
        if self.orphans.len() < ORPHANS_MAX {
            self.orphans.push(orphans);
        }
    }

    /// A RST ends the stall of a direction: returns the first byte that was lost.
    fn take(&mut self, facts: &Facts) -> Option<u32> {
        let at = place(facts).filter(|_| self.count > 0)?;
        let stall = self.places[at].filter(|stall| stall.generation == facts.generation)?;
        self.end(at);
        Some(stall.seq)
    }

    /// Another flow takes this one's place.
    pub(super) fn forget(&mut self, id: FlowId) {
        if self.count > 0 {
            let first = id.0 as usize * 2;
            (first..first + 2).for_each(|at| self.end(at));
        }
    }

    /// Rules have other numbers now: `renumber` gives those of the former ones.
    pub(super) fn renumber(&mut self, renumber: impl Fn(u16) -> Option<u16>) {
        if self.count > 0 {
            for stall in self.places.iter_mut().flatten() {
                stall.rule = stall.rule.and_then(&renumber);
            }
        }
    }

    fn end(&mut self, at: usize) {
        self.count -= u32::from(self.places[at].take().is_some());
    }
}

fn place(facts: &Facts) -> Option<usize> {
    facts.flow.map(|id| id.0 as usize * 2 + usize::from(facts.direction))
}

/// Whether one sequence number lies behind another, in numbers that begin anew.
fn is_behind(seq: u32, other: u32) -> bool {
    seq.wrapping_sub(other).cast_signed() > 0
}

impl Engine {
    /// A RST takes the place of this packet: returns its sequence number. What is held of its
    /// direction is dropped, once the loop asks for it.
    #[inline(never)]
    pub(super) fn reset(&mut self, facts: &Facts) -> u32 {
        let mut seq = facts.seq;
        if let Some(first) = self.stalls.take(facts).filter(|first| is_behind(seq, *first)) {
            seq = first;
        }
        let Some(flow) = facts.flow.filter(|_| !self.held.is_empty()) else { return seq };
        let (generation, direction) = (facts.generation, facts.direction);
        let mut any = false;
        for held in self.held.iter().filter(|held| is_of(held, flow, generation, direction)) {
            any = true;
            // What a copy is of may have been delivered.
            if held.token.queue != COPIES && is_behind(seq, held.facts.seq) {
                seq = held.facts.seq;
            }
        }
        if any && self.stalls.orphans.len() < ORPHANS_MAX {
            self.stalls.leave_behind(Orphans { flow, generation, direction, before: self.seq });
            // What comes now does not wait behind them.
            self.flows.get_mut(flow).held[usize::from(direction)] = 0;
        }
        seq
    }

    /// A RST is sent into a connection, which counts once.
    #[inline(never)]
    pub(super) fn count_reset(&mut self, flow: Option<FlowId>) {
        let counted = |id| std::mem::replace(&mut self.flows.get_mut(id).is_reset, true);
        if !flow.is_some_and(counted) {
            self.plan.counters.totals.resets.add(1);
        }
    }

    /// Whether packets are held that a reset has left behind.
    #[inline]
    #[must_use]
    pub fn has_orphans(&self) -> bool {
        !self.stalls.orphans.is_empty()
    }

    /// Drops what is held of directions that were reset. Call it before anything held is let out.
    pub fn drop_orphans(&mut self, release: &mut impl FnMut(Release)) {
        let (plan, orphans) = (&*self.plan, &mut self.stalls.orphans);
        if orphans.is_empty() {
            return;
        }
        self.held.remove(|held| {
            let left_behind = orphans
                .iter()
                .any(|o| held.seq <= o.before && is_of(held, o.flow, o.generation, o.direction));
            if left_behind {
                let segments = u64::from(held.facts.segments);
                plan.counters.link(held.facts.link).dropped.add(segments);
                // Its flow counts it as gone since the reset.
                release(Release { drop: true, ..Release::of(held) });
            }
            left_behind
        });
        orphans.clear();
        self.renew_order();
        self.note_held();
    }
}

fn is_of(held: &Held, flow: FlowId, generation: u32, direction: u8) -> bool {
    let facts = &held.facts;
    facts.flow == Some(flow) && facts.generation == generation && facts.direction == direction
}
