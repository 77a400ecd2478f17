//! From the engine's decisions to the queue's answers: what is written, kept, copied and sent.
//!
//! Nothing here decides anything. A packet that is changed is written anew in full; one that is
//! kept and goes on as other bytes has these in a parcel; so has a copy until it is due. What is
//! sent to nodes besides (copies, resets, errors of ICMP) goes by the injectors, marked so that it
//! is never queued.

use super::lanes::{Info, Lanes};
use super::parcels::Parcels;
use super::trace::{Fate, Own, Tracer, Went};
use super::verdict_loop::Wiring;
use crate::engine::held::COPIES;
use crate::engine::mangle::{self, COMPOSED_MAX, HEADERS_MAX};
use crate::engine::{
    Copies, Decision, Engine, Facts, Heard, Question, Release, Rst, Token, Verdict,
};
use crate::kernel::inject::Injectors;
use crate::kernel::queue::{Answer, Judge, LateAnswer, Packet, PacketQueue};
use crate::packet::{LinkId, PacketView};
use crate::rules::table::Mark;
use crate::time::Nanos;
use std::io;

/// Judges the packets of one queue.
pub(super) struct Judging<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) parcels: &'a mut Parcels,
    pub(super) wiring: &'a mut Wiring,
    /// When its batch was here: what is to be late by so much counts from then.
    pub(super) now: Nanos,
    pub(super) lane: Info,
    /// Whether it is a first queue, whose packets may have to come again.
    pub(super) first: bool,
}

impl Judge for Judging<'_> {
    /// The way of one packet: read it, decide, and turn the decision into an answer.
    #[inline]
    fn judge<'a>(&'a mut self, packet: &'a Packet<'_>) -> Answer<'a> {
        let Self { engine, wiring, now, lane, .. } = self;
        let (now, token) = (*now, Token { queue: lane.queue, id: packet.id });
        let mtu = if packet.gso { lane.mtu } else { 0 };
        let Ok(view) = PacketView::parse(packet.bytes, packet.len, mtu) else {
            engine.unreadable();
            if let Some(tracer) = &mut wiring.tracer {
                tracer.unreadable(now, token, packet);
            }
            return Answer::Accept;
        };
        if let Some(from) = packet.from {
            wiring.injectors.learn(view.src.addr, from);
        }
        let whole = packet.bytes.len() == packet.len as usize;
        if self.first && lane.has_second && engine.diverts(now, &view, whole) {
            return Answer::Segment;
        }
        let payload = packet.bytes.get(usize::from(view.header_len)..).unwrap_or_default();
        let decision = match &mut wiring.ear {
            None => engine.decide_heard(now, &view, &Heard { payload, ..Heard::default() }),
            Some(ear) => {
                let (messages, entries) = ear.listen(now, &view, packet);
                let heard = Heard { payload, messages, entries };
                let decision = engine.decide_heard(now, &view, &heard);
                // Whose sender has to be asked for is on no link yet.
                let asked = matches!(decision.verdict, Verdict::Ask { .. });
                ear.tell(now, decision.facts.filter(|_| !asked).map(|facts| facts.link));
                decision
            }
        };
        self.fulfil(token, packet, &view, &decision)
    }
}

impl Judging<'_> {
    /// Does what was decided of a packet.
    #[inline]
    fn fulfil<'a>(
        &'a mut self,
        token: Token,
        packet: &'a Packet<'_>,
        view: &PacketView,
        decision: &Decision,
    ) -> Answer<'a> {
        let mark = decision.extras.mark.map(|mark| mark.of(packet.mark));
        let mut slot = None;
        let (mut answer, mut fate) = match (decision.verdict, decision.facts) {
            (Verdict::Accept, _) => (Answer::accept(mark), Fate::Accepted),
            (Verdict::Drop, _) => (Answer::Drop, Fate::Dropped),
            (Verdict::Trim, _) => (Answer::Trim(*view, mark), Fate::Trimmed),
            (Verdict::Reset { seq }, _) => (Answer::Reset(*view, seq), Fate::Reset),
            (Verdict::Reject(_), _) => (Answer::Drop, Fate::Rejected),
            (Verdict::Hold(_), Some(facts)) => {
                self.keep(token, packet, view, (decision, facts, mark), &mut slot)
            }
            (Verdict::Ask { .. }, Some(_)) => self.ask((token, packet.mark), view, decision),
            (Verdict::Hold(_) | Verdict::Ask { .. }, None) => (Answer::Accept, Fate::Accepted),
        };
        if let (Some(copies), Some(facts)) = (decision.extras.copies, decision.facts) {
            self.copy(packet, view, decision, (copies, facts));
        }
        let mut instead = None;
        let damage = decision.extras.damage.filter(|_| decision.verdict == Verdict::Accept);
        if let Some(damage) = damage {
            let changed =
                self.parcels.write(|out| mangle::corrupt(packet.bytes, view, &damage, out));
            if let Some(bytes) = changed {
                (answer, fate) = (Answer::Replace(bytes, mark), Fate::Corrupted);
                instead = Some(bytes);
            } else {
                // Only a whole packet can be changed.
                self.engine.counters().totals.undamaged.add(1);
            }
        } else if let Some(slot) = slot {
            instead = Some(self.parcels.get(slot));
        }
        if let Some(tracer) = &mut self.wiring.tracer {
            tracer.note(self.now, (token, packet), view, decision, Went { fate, instead });
        }
        if matches!(fate, Fate::Reset | Fate::Rejected) {
            tell_sender(self.wiring, self.now, (token, packet), view, decision);
        }
        answer
    }

    /// Keeps a packet in the kernel, and what goes instead of it here: in `kept`.
    fn keep(
        &mut self,
        token: Token,
        packet: &Packet<'_>,
        view: &PacketView,
        (decision, facts, mark): (&Decision, Facts, Option<u32>),
        kept: &mut Option<u16>,
    ) -> (Answer<'static>, Fate) {
        let Verdict::Hold(keep) = decision.verdict else { return (Answer::Accept, Fate::Accepted) };
        let slot = match decision.extras.damage {
            _ if keep.trim => self.parcels.put_trimmed(packet.bytes, view),
            Some(damage) => {
                self.parcels.put(|out| mangle::corrupt(packet.bytes, view, &damage, out))
            }
            None => None,
        };
        if keep.trim && slot.is_none() {
            self.engine.drop_untrimmed(&facts);
            return (Answer::Drop, Fate::Dropped);
        }
        if decision.extras.damage.is_some() && slot.is_none() {
            self.engine.counters().totals.undamaged.add(1);
        }
        let mark = mark.map(|value| Mark { value, mask: u32::MAX });
        if self.engine.hold(token, facts, keep, (slot, mark)).is_err() {
            self.parcels.free(slot);
            return (Answer::Drop, Fate::Overflowed);
        }
        *kept = slot;
        let delay = Some(keep.due.saturating_sub(self.now)).filter(|_| keep.due < Nanos::MAX);
        (Answer::Keep, Fate::Held(delay))
    }

    /// Has somebody find out who sent a packet.
    fn ask(
        &mut self,
        token: (Token, u32),
        view: &PacketView,
        decision: &Decision,
    ) -> (Answer<'static>, Fate) {
        match self.engine.wait(self.now, token, view, decision) {
            Ok(Some(question)) => {
                // It is asked of a stack, whichever of its queues the packet came by.
                let question = Question { queue: self.lane.stack, ..question };
                // Unasked, the packet's patience runs out and the user's choice applies.
                let _ = self.wiring.questions.send(question);
                (Answer::Keep, Fate::Asked)
            }
            Ok(None) => (Answer::Keep, Fate::Asked),
            Err(too_many) if too_many.drop => (Answer::Drop, Fate::Dropped),
            Err(_) => (Answer::Accept, Fate::Accepted),
        }
    }

    /// Keeps copies of a packet until they are due: behind the packet itself, whenever that leaves.
    #[inline(never)]
    fn copy(
        &mut self,
        packet: &Packet<'_>,
        view: &PacketView,
        decision: &Decision,
        (copies, facts): (Copies, Facts),
    ) {
        let Copies { count, after } = copies;
        let keep = match decision.verdict {
            Verdict::Hold(keep) => Some(keep),
            Verdict::Accept | Verdict::Trim => None,
            _ => return,
        };
        for _ in 0..count {
            let place = self.parcels.put(|out| mangle::copy(packet.bytes, view, out));
            let Some(slot) = place else {
                self.engine.counters().totals.copies_lost.add(1);
                continue;
            };
            if self.engine.hold_copy((slot, facts), self.now, keep, after).is_err() {
                self.parcels.free(Some(slot));
            } else if let Some(tracer) = &mut self.wiring.tracer {
                tracer.copied(self.now, (slot, self.parcels.get(slot)), &facts, decision.rule);
            }
        }
    }
}

/// The sender of a segment that was turned into a RST, or of a packet that was rejected, is told.
/// Where that fails it is told by its peer's stack when it sends again, which is counted.
#[inline(never)]
fn tell_sender(
    wiring: &mut Wiring,
    now: Nanos,
    (token, packet): (Token, &Packet<'_>),
    view: &PacketView,
    decision: &Decision,
) {
    let Wiring { injectors, tracer, .. } = wiring;
    let mut out = [0; COMPOSED_MAX];
    let (len, own) = match decision.verdict {
        Verdict::Reject(with) => {
            (mangle::rejection(packet.bytes, view, with, &mut out), Own::Refusal)
        }
        _ => (mangle::answer(view).and_then(|rst| mangle::rst(&rst, &mut out)), Own::ToSender),
    };
    // What could not be sent is counted.
    let sent = len.filter(|&len| injectors.send(&out[..len]).is_ok());
    let Some(tracer) = tracer else { return };
    if let Verdict::Reset { seq } = decision.verdict {
        let mut rst = [0; HEADERS_MAX];
        if let Some(len) = mangle::reset(packet.bytes, view, seq, &mut rst) {
            tracer.sent(now, (token, Own::Instead), (decision, &rst[..len]));
        }
    }
    if let Some(len) = sent {
        tracer.sent(now, (token, own), (decision, &out[..len]));
    }
}

/// Sends a RST to one end of a connection that a cut has starved.
pub(super) fn send_rst(
    injectors: &mut Injectors,
    tracer: &mut Option<Tracer>,
    now: Nanos,
    rst: &Rst,
) {
    let mut out = [0; COMPOSED_MAX];
    if let Some(len) = mangle::rst(rst, &mut out)
        && injectors.send(&out[..len]).is_ok()
        && let Some(tracer) = tracer
    {
        tracer.healed(now, rst, &out[..len]);
    }
}

/// What lets held packets go.
pub(super) struct Leaving<'a, Q> {
    pub(super) lanes: &'a mut Lanes<Q>,
    pub(super) parcels: &'a mut Parcels,
    pub(super) tracer: &'a mut Option<Tracer>,
    pub(super) injectors: &'a mut Injectors,
    /// Held packets that left in this round: link and due time.
    pub(super) left: &'a mut Vec<(LinkId, Nanos)>,
    pub(super) now: Nanos,
    pub(super) result: io::Result<()>,
}

impl<Q: PacketQueue> Leaving<'_, Q> {
    /// Gives a packet that was kept its answer, or sends a copy.
    #[inline]
    pub(super) fn answer(&mut self, release: Release) {
        if let (Some(link), Some(due)) = (release.link, release.due) {
            self.left.push((link, due));
        }
        let result = self.try_answer(release);
        if self.result.is_ok() {
            self.result = result;
        }
    }

    #[inline]
    fn try_answer(&mut self, release: Release) -> io::Result<()> {
        if release.token.queue == COPIES {
            self.send_copy(release);
            return Ok(());
        }
        if let Some(tracer) = self.tracer {
            let fate = match (release.drop, release.slot) {
                _ if release.segment => Fate::Segmented,
                (true, _) => Fate::Dropped,
                (false, Some(_)) if release.trimmed => Fate::Trimmed,
                (false, Some(_)) => Fate::Corrupted,
                (false, None) => Fate::Accepted,
            };
            tracer.answered(self.now, &release, fate);
        }
        let queue = self.lanes.queue(usize::from(release.token.queue))?;
        let (id, mark) = (release.token.id, release.mark.map(|mark| mark.of(0)));
        let answer = match (release.drop, release.slot) {
            _ if release.segment => LateAnswer::Segment,
            (true, _) => LateAnswer::Drop,
            (false, None) => LateAnswer::accept(mark),
            (false, Some(slot)) => LateAnswer::Replace(self.parcels.get(slot), mark),
        };
        let result = queue.answer(id, answer);
        self.parcels.free(release.slot);
        result
    }

    fn send_copy(&mut self, release: Release) {
        let slot = release.token.id as u16;
        // What could not be sent is counted.
        let sent = !release.drop && self.injectors.send(self.parcels.get(slot)).is_ok();
        if let Some(tracer) = self.tracer {
            let fate = if sent { Fate::Accepted } else { Fate::Dropped };
            tracer.answered(self.now, &release, fate);
        }
        self.parcels.free(Some(slot));
    }
}
