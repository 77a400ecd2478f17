//! Nodes that share a network stack: a packet names one of its ends only.
//!
//! Who dialled is known from the flow, or is asked for, off the loop; the packet waits for
//! the answer, and so does what comes behind it. The sender is never guessed: where nobody
//! answers in time the user's choice applies, and the cuts that it may have passed are
//! marked. `identity.rs` says when this is needed.

use super::flows::{Dialler, FlowId};
use super::waiting::{Answer, PATIENCE, Question, WAITING_MAX, Waiting};
use super::{Decision, Engine, Facts, Heard, Keep, Release, Token, Verdict, walk};
use crate::packet::{LinkId, NodeId, PacketView};
use crate::rules::table::{Mark, Unattributed};
use crate::time::Nanos;

/// When to ask again who holds a socket that no node seems to hold: its process may have
/// been starting.
const AGAIN: Nanos = Nanos::from_secs(1);

/// Too many packets wait for their sender to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Whether the user wants such packets dropped.
    pub drop: bool,
}

impl Engine {
    /// A packet on a stack that several nodes share: its dialler is in the flow table, or
    /// has to be asked for.
    pub(super) fn decide_shared(
        &mut self,
        now: Nanos,
        start: Nanos,
        view: &PacketView,
        (peer, to_peer): (NodeId, bool),
        heard: &Heard<'_>,
    ) -> Decision {
        let mut facts = Facts::of(view, LinkId(0));
        facts.is_of(self.find_flow(now, view));
        let Some(id) = facts.flow else { return Decision::foreign() };
        let dialler = self.flows.get(id).dialler;
        if self.plan.layout.looks_closely {
            self.look_closely(&mut facts, view, heard);
        }
        let Heard { messages, entries, .. } = *heard;
        if !messages.is_empty() {
            // Whoever sent it: what it says is heard now, with its sender where that is known.
            let (from, link) = match dialler {
                Dialler::Node(other) => {
                    let link = self.link(peer, other, to_peer);
                    (Some(if to_peer { other } else { peer }), Some(link))
                }
                _ => ((!to_peer).then_some(peer), None),
            };
            self.hear(now, (from, link), messages, entries);
        }
        match dialler {
            // Whoever is at the other end: nothing to or from this one passes.
            Dialler::Unasked | Dialler::Asked | Dialler::Unfound(_) if self.silence.has(peer) => {
                self.plan.counters.totals.silenced.add(u64::from(facts.segments));
                Decision { verdict: Verdict::Drop, ..Decision::foreign() }
            }
            Dialler::Node(other) => {
                facts.link = self.link(peer, other, to_peer);
                self.judge(now, start, facts, messages)
            }
            Dialler::Stranger(until) if now < until => {
                self.plan.counters.totals.foreign.add(1);
                Decision::foreign()
            }
            Dialler::Unfound(until) if now < until => {
                let drop = self.unattributed(peer, to_peer, &facts);
                let verdict = if drop { Verdict::Drop } else { Verdict::Accept };
                Decision { verdict, ..Decision::foreign() }
            }
            Dialler::Unasked | Dialler::Asked | Dialler::Unfound(_) | Dialler::Stranger(_) => {
                Decision::ask(peer, to_peer, facts)
            }
        }
    }

    /// Takes a packet in, which bears `mark`, until its sender is known. Returns the question to
    /// ask, where it has not been asked already. Fails where too many wait: the user's choice
    /// then applies at once (`drop`).
    pub fn wait(
        &mut self,
        now: Nanos,
        (token, mark): (Token, u32),
        view: &PacketView,
        decision: &Decision,
    ) -> Result<Option<Question>, TooMany> {
        let (Verdict::Ask { peer, to_peer }, Some(facts)) = (decision.verdict, decision.facts)
        else {
            return Err(TooMany { drop: false });
        };
        let Some(id) = facts.flow else { return Err(TooMany { drop: false }) };
        if self.waiting.len() == WAITING_MAX {
            return Err(TooMany { drop: self.unattributed(peer, to_peer, &facts) });
        }
        let generation = facts.generation;
        self.waiting.push(Waiting {
            token,
            flow: id,
            generation,
            since: now,
            peer,
            to_peer,
            facts,
            mark,
        });
        let flow = self.flows.get_mut(id);
        flow.waiting += 1;
        if flow.dialler == Dialler::Asked {
            return Ok(None);
        }
        flow.dialler = Dialler::Asked;
        self.plan.counters.totals.asked.add(1);
        let (local, remote) = if to_peer { (view.src, view.dst) } else { (view.dst, view.src) };
        let queue = token.queue;
        Ok(Some(Question { flow: id, generation, proto: view.proto, local, remote, queue }))
    }

    /// An answer arrived: judges the packets that waited for it, in the order they came.
    pub fn answered(
        &mut self,
        now: Nanos,
        id: FlowId,
        generation: u32,
        answer: Answer,
        release: &mut impl FnMut(Release),
    ) {
        if self.flows.get(id).generation != generation {
            return;
        }
        self.flows.get_mut(id).dialler = dialler(answer, now);
        let mut i = 0;
        while i < self.waiting.len() {
            if self.waiting[i].flow == id && self.waiting[i].generation == generation {
                let waiting = self.waiting.remove(i);
                self.judge_waiting(now, waiting, answer, release);
            } else {
                i += 1;
            }
        }
    }

    fn judge_waiting(
        &mut self,
        now: Nanos,
        waiting: Waiting,
        answer: Answer,
        release: &mut impl FnMut(Release),
    ) {
        let Waiting { token, peer, to_peer, mut facts, .. } = waiting;
        let flow = self.flows.get_mut(waiting.flow);
        if flow.generation == waiting.generation {
            flow.waiting -= 1;
        } else {
            facts.flow = None;
        }
        let (Answer::Node(other), Some(start)) = (answer, self.start) else {
            let drop = match answer {
                Answer::Stranger => {
                    self.plan.counters.totals.foreign.add(1);
                    false
                }
                _ => self.unattributed(peer, to_peer, &facts),
            };
            release(Release { drop, ..Release::pass(token) });
            return;
        };
        facts.link = self.link(peer, other, to_peer);
        if facts.flow.is_some() && self.diverts_waiting(&facts, waiting.flow) {
            // It is judged, and counted, as it comes again.
            self.plan.counters.totals.packets.take_back(1);
            let link = Some(facts.link);
            release(Release { segment: true, link, ..Release::pass(token) });
            return;
        }
        // Its bytes are no longer at hand, so it goes whole or not at all.
        facts.trimmable = false;
        facts.resettable = false;
        facts.changeable = false;
        let link = Some(facts.link);
        let decision = self.judge(now, start, facts, &[]);
        let whole = |mark: Mark| Mark { value: mark.of(waiting.mark), mask: u32::MAX };
        let mark = decision.extras.mark.map(whole);
        let passed = Release { link, rule: decision.rule, ..Release::pass(token) };
        match decision.verdict {
            Verdict::Hold(keep) => {
                let keep = Keep { trim: false, ..keep };
                if self.hold(token, facts, keep, (None, mark)).is_err() {
                    release(Release { drop: true, ..passed });
                }
            }
            Verdict::Accept => release(Release { mark, ..passed }),
            _ => release(Release { drop: true, ..passed }),
        }
    }

    pub(super) fn give_up_waiting(&mut self, now: Nanos, release: &mut impl FnMut(Release)) {
        while let Some(&waiting) = self.waiting.first() {
            if waiting.since + PATIENCE > now {
                return;
            }
            let Waiting { flow, generation, .. } = waiting;
            if self.flows.get(flow).generation == generation {
                self.answered(now, flow, generation, Answer::Unknown, release);
            } else {
                // Its place was taken by another flow meanwhile.
                self.waiting.remove(0);
                self.judge_waiting(now, waiting, Answer::Unknown, release);
            }
        }
    }

    fn link(&self, peer: NodeId, other: NodeId, to_peer: bool) -> LinkId {
        let (from, to) = if to_peer { (other, peer) } else { (peer, other) };
        LinkId::new(from, to, self.plan.table.nodes.len())
    }

    /// Counts an unattributed packet; returns whether the user wants it dropped. Cuts that
    /// might have dropped it, had its other end been known, leak where it passes.
    fn unattributed(&mut self, peer: NodeId, to_peer: bool, facts: &Facts) -> bool {
        let counters = &self.plan.counters;
        let segments = u64::from(facts.segments);
        counters.totals.unattributed.add(segments);
        if self.silence.has(peer) {
            counters.totals.silenced.add(segments);
            return true;
        }
        if self.plan.table.unattributed == Unattributed::Drop {
            return true;
        }
        let Some(start) = self.start else { return false };
        if self.silence.is_any() {
            counters.totals.silence_leaked.add(segments);
        }
        let nodes = self.plan.table.nodes.len();
        for (i, step) in self.plan.layout.steps.iter().enumerate() {
            let cuts = step.active
                && !step.is_about_messages()
                && self.plan.layout.drops(i as u16, facts)
                && (0..nodes as u16).any(|other| {
                    let link = self.link(peer, NodeId(other), to_peer);
                    let facts = Facts { link, ..*facts };
                    self.plan.layout.covers(i as u16, link)
                        && walk::matches(step, &facts, &self.flows, start)
                });
            if cuts {
                counters.rules[i].leaked.add(segments);
            }
        }
        false
    }
}

pub(super) fn dialler(answer: Answer, now: Nanos) -> Dialler {
    match answer {
        Answer::Node(node) => Dialler::Node(node),
        Answer::Stranger => Dialler::Stranger(now + AGAIN),
        Answer::Unknown => Dialler::Unfound(now + AGAIN),
    }
}

impl Decision {
    fn ask(peer: NodeId, to_peer: bool, facts: Facts) -> Self {
        let facts = Some(facts);
        Self { verdict: Verdict::Ask { peer, to_peer }, facts, ..Self::foreign() }
    }
}
