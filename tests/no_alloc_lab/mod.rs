//! An engine with what the loop has around it, which counts the ways that packets take.

use crate::engine_support::words::TableLines;
use raftq::engine::held::COPIES;
use raftq::engine::{
    Answer, Engine, Extras, Heard, Keep, Limits, Prepared, Question, Release, Token, Verdict,
    mangle,
};
use raftq::packet::{NodeId, PacketView};
use raftq::run::parcels::Parcels;
use raftq::time::Nanos;
use raftq::wire::{Entry, Message};
use std::sync::Arc;

/// How often each way was taken.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    pub(crate) accepted: u64,
    pub(crate) dropped: u64,
    pub(crate) trimmed: u64,
    pub(crate) reset: u64,
    pub(crate) held: u64,
    pub(crate) held_trimmed: u64,
    pub(crate) overflowed: u64,
    pub(crate) asked: u64,
    pub(crate) waited: u64,
    pub(crate) too_many: u64,
    pub(crate) released: u64,
    pub(crate) dropped_late: u64,
    pub(crate) silences: u64,
    pub(crate) edges: u64,
    pub(crate) marked: u64,
    pub(crate) damaged: u64,
    pub(crate) copies: u64,
    pub(crate) rejected: u64,
    pub(crate) healed: u64,
}

/// An engine with what the loop has around it.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) parcels: Parcels,
    pub(crate) questions: Vec<Question>,
    pub(crate) next: u32,
    pub(crate) ways: Ways,
}

impl Bench {
    pub(crate) fn new(lines: &TableLines, limits: Limits) -> Self {
        let mut engine = Engine::new(prepared(lines, None), limits);
        engine.start(Nanos::ZERO);
        Self {
            engine,
            parcels: Parcels::new(),
            questions: Vec::with_capacity(100_000),
            next: 0,
            ways: Ways::default(),
        }
    }

    pub(crate) fn round(&mut self, now: Nanos) {
        let Self { engine, parcels, ways, .. } = self;
        let edges = &mut 0;
        let mut release = |r: Release| {
            ways.released += u64::from(!r.drop);
            ways.dropped_late += u64::from(r.drop);
            if let Some(slot) = r.slot {
                assert!(parcels.get(slot).len() >= 40);
            }
            if r.token.queue == COPIES {
                ways.copies += u64::from(!r.drop);
                parcels.free(Some(r.token.id as u16));
            }
            parcels.free(r.slot);
        };
        engine.tell_silences(
            |_| {
                ways.silences += 1;
                true
            },
            &mut release,
        );
        engine.advance(now, |_| *edges += 1, &mut release);
        engine.release(now, &mut release);
        engine.take_resets(|rst| {
            let mut out = [0; mangle::COMPOSED_MAX];
            ways.healed += u64::from(mangle::rst(rst, &mut out).is_some());
        });
        ways.edges += *edges;
    }

    pub(crate) fn packet(&mut self, now: Nanos, bytes: &[u8], mtu: u32) {
        self.packet_heard(now, bytes, mtu, &[], &[]);
    }

    pub(crate) fn packet_heard(
        &mut self,
        now: Nanos,
        bytes: &[u8],
        mtu: u32,
        messages: &[Message],
        entries: &[Entry],
    ) {
        let Self { engine, parcels, questions, next, ways } = self;
        let len = bytes.len() as u32 + if mtu > 0 { 4_000 } else { 0 };
        let Ok(view) = PacketView::parse(bytes, len, mtu) else {
            engine.unreadable();
            return;
        };
        *next += 1;
        let token = Token { queue: (*next % 2) as u16, id: *next };
        let payload = bytes.get(usize::from(view.header_len)..).unwrap_or_default();
        let decision = engine.decide_heard(now, &view, &Heard { payload, messages, entries });
        let Extras { mark, damage, copies } = decision.extras;
        ways.marked += u64::from(mark.is_some());
        let damaged = damage
            .and_then(|damage| parcels.put(|out| mangle::corrupt(bytes, &view, &damage, out)));
        ways.damaged += u64::from(damaged.is_some());
        parcels.free(damaged);
        for _ in 0..copies.map_or(0, |copies| copies.count) {
            let slot = parcels.put(|out| {
                out[..bytes.len()].copy_from_slice(bytes);
                Some(bytes.len())
            });
            let (Some(slot), Some(facts)) = (slot, decision.facts) else { continue };
            if engine.hold_copy((slot, facts), now, None, Nanos::ZERO).is_err() {
                parcels.free(Some(slot));
            }
        }
        match decision.verdict {
            Verdict::Accept => ways.accepted += 1,
            Verdict::Drop => ways.dropped += 1,
            Verdict::Reset { .. } => ways.reset += 1,
            Verdict::Trim => {
                let slot = parcels.put_trimmed(bytes, &view);
                parcels.free(slot);
                ways.trimmed += 1;
            }
            Verdict::Reject(with) => {
                let mut out = [0; mangle::COMPOSED_MAX];
                ways.rejected +=
                    u64::from(mangle::rejection(bytes, &view, with, &mut out).is_some());
            }
            Verdict::Hold(keep) => {
                let Keep { due, trim, .. } = keep;
                let slot = if trim { parcels.put_trimmed(bytes, &view) } else { None };
                let facts = decision.facts.expect("what is held has facts");
                if engine.hold(token, facts, keep, (slot, mark)).is_ok() {
                    ways.held += 1;
                    ways.held_trimmed += u64::from(trim);
                    engine.left(facts.link, due, due + Nanos(u64::from(*next)));
                } else {
                    parcels.free(slot);
                    ways.overflowed += 1;
                }
            }
            Verdict::Ask { .. } => match engine.wait(now, (token, 0), &view, &decision) {
                Ok(Some(question)) => {
                    questions.push(question);
                    ways.asked += 1;
                }
                Ok(None) => ways.waited += 1,
                Err(_) => ways.too_many += 1,
            },
        }
    }

    pub(crate) fn answer(&mut self, now: Nanos, i: usize) {
        let Self { engine, questions, ways, .. } = self;
        let Some(&Question { flow, generation, .. }) = questions.get(i) else { return };
        let answer = match i % 5 {
            0 => Answer::Stranger,
            1 => Answer::Unknown,
            n => Answer::Node(NodeId(n as u16 - 2)),
        };
        engine.answered(now, flow, generation, answer, &mut |r| {
            ways.released += u64::from(!r.drop);
            ways.dropped_late += u64::from(r.drop);
        });
    }
}

pub(crate) fn prepared(lines: &TableLines, former: Option<&TableLines>) -> Box<Prepared> {
    let table = Arc::new(lines.table.clone());
    Prepared::new(table, former.map(|former| &former.table), |_| lines.shared)
}
