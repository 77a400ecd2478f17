//! All connections of a cluster, and what is read on them.
//!
//! A connection that is joined in the middle starts lost, and is read from the first certain point
//! on. A SYN on known endpoints opens a new connection. After its end, by a RST or by a FIN each
//! way, nothing is heard on it any more but a SYN: what still travels was read already, or will
//! not be taken by anybody. Where no SYN comes for [`LINGER`], the connection is forgotten.
//!
//! Bounded: [`FLOWS_MAX`] connections, the longest silent gives way; what one direction may keep
//! (`stream.rs`, [`super::decoder::KEPT_MAX`]); [`KEPT_ALL_MAX`] bytes of that in all.

use super::coverage::Coverage;
use super::decoder::{Connection, Decoder, Known, Way};
use super::message::{Entry, Kind, Message};
use super::protocol::Protocol;
use super::stream::{Arrival, Stream};
use super::thread::{Reading, Thread};
use crate::packet::Endpoint;
use crate::packet::tcp_flags::{ACK, RST, SYN};
use crate::time::Nanos;
use rustc_hash::{FxBuildHasher, FxHashSet};
use std::collections::HashMap;

/// Connections that are known at a time.
pub const FLOWS_MAX: usize = 1_024;

/// Bytes that all directions together keep of what cannot be read yet. One that needs more loses
/// its thread.
pub const KEPT_ALL_MAX: usize = 64 << 20;

/// How long after its end a connection is still told from a new one: TCP keeps such an end for as
/// long (Linux, `TCP_TIMEWAIT_LEN`).
pub const LINGER: Nanos = Nanos::from_secs(60);

/// What a TCP packet brings.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When it was seen.
    pub at: Nanos,
    /// Its sender.
    pub src: Endpoint,
    /// Its receiver.
    pub dst: Endpoint,
    /// Its sequence number.
    pub seq: u32,
    /// Its TCP flags.
    pub flags: u8,
    /// Its bytes, or the first of them.
    pub payload: &'a [u8],
    /// Whether that is all of its bytes.
    pub whole: bool,
}

/// Where a message was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The connection: a number that no other one gets.
    pub flow: u64,
    /// The direction: `There` leads from the smaller endpoint to the larger.
    pub way: Way,
    /// When its SYN was seen, if it was.
    pub opened: Option<Nanos>,
    /// Who spoke.
    pub src: Endpoint,
    /// To whom.
    pub dst: Endpoint,
}

#[derive(Debug, Default)]
struct Direction {
    stream: Stream,
    thread: Thread,
}

#[derive(Debug)]
struct Flow {
    id: u64,
    ends: [Endpoint; 2],
    opened: Option<Nanos>,
    /// The last time anything was seen of it.
    seen: Nanos,
    ended: bool,
    decoder: Box<dyn Decoder>,
    directions: [Direction; 2],
}

/// Reads all connections of a cluster.
#[derive(Debug)]
pub struct Reader {
    protocol: Protocol,
    peers: FxHashSet<Endpoint>,
    flows: Vec<Flow>,
    by_ends: HashMap<[Endpoint; 2], usize, FxBuildHasher>,
    next_id: u64,
    known: Known,
    /// Without what goes on in connections that are there now.
    coverage: Coverage,
    /// Bytes of memory in all directions.
    kept: usize,
}

impl Reader {
    /// A reader of a cluster whose nodes listen at `peers`: who is not one of them has dialled.
    #[must_use]
    pub fn new(protocol: Protocol, peers: &[Endpoint]) -> Self {
        Self {
            protocol,
            peers: peers.iter().copied().collect(),
            flows: Vec::with_capacity(FLOWS_MAX),
            // Below half of its capacity the map cleans up after removals in place.
            by_ends: HashMap::with_capacity_and_hasher(FLOWS_MAX * 2, FxBuildHasher),
            next_id: 0,
            known: Known::default(),
            coverage: Coverage::default(),
            kept: 0,
        }
    }

    /// Takes a segment, and tells the messages that it makes whole.
    pub fn take(
        &mut self,
        segment: &Segment<'_>,
        tell: &mut dyn FnMut(&Heard, &Message, &[Entry]),
    ) {
        let way = if segment.src <= segment.dst { Way::There } else { Way::Back };
        let ends = match way {
            Way::There => [segment.src, segment.dst],
            Way::Back => [segment.dst, segment.src],
        };
        let Some(index) = self.flow(segment, way, ends) else { return };
        let flow = &mut self.flows[index];
        flow.seen = flow.seen.max(segment.at);
        let before = flow.memory();
        let heard =
            Heard { flow: flow.id, way, opened: flow.opened, src: segment.src, dst: segment.dst };
        let messages = &mut [0; Kind::ALL.len()];
        let mut tell = |message: &Message, entries: &[Entry]| {
            messages[message.kind as usize] += 1;
            tell(&heard, message, entries);
        };
        let mut reading = Reading {
            at: segment.at,
            way,
            decoder: &mut *flow.decoder,
            known: &mut self.known,
            coverage: &mut self.coverage,
            tell: &mut tell,
        };
        let Direction { stream, thread } = &mut flow.directions[way.index()];
        let is_syn = segment.flags & SYN != 0;
        if is_syn || !segment.payload.is_empty() {
            thread.begin(is_syn, &mut reading);
        }
        let ends_flow = segment.flags & RST != 0 && stream.could_end_at(segment.seq);
        stream.take(&arrival(segment), &mut |piece| thread.take(piece, &mut reading));
        for (count, new) in self.coverage.messages.iter_mut().zip(messages) {
            *count += *new;
        }
        if self.kept + flow.memory() > KEPT_ALL_MAX + before {
            let why = "too much is kept";
            give_way(flow, way, (why, segment.at), &mut self.known, &mut self.coverage);
        }
        let Direction { stream, thread } = &mut flow.directions[way.index()];
        if stream.is_done() && thread.is_there() {
            thread.end(segment.at, &mut self.coverage);
        }
        self.kept = self.kept + flow.memory() - before;
        if ends_flow || flow.directions.iter().all(|direction| direction.stream.is_done()) {
            self.end(index, segment.at);
        }
    }

    /// Packets passed unseen for a while, until now. Any connection may have ended or begun
    /// meanwhile: all are forgotten, and those that go on are joined in the middle, without
    /// waiting behind the gap.
    pub fn stood_aside(&mut self, now: Nanos) {
        for index in 0..self.flows.len() {
            let flow = &mut self.flows[index];
            if flow.ended {
                continue;
            }
            // Until when it was read is not known better than by what was seen last.
            for way in [Way::There, Way::Back] {
                let (why, at) = ("raftq stood aside", flow.seen);
                give_way(flow, way, (why, at), &mut self.known, &mut self.coverage);
            }
            self.end(index, now);
        }
        self.flows.clear();
        self.by_ends.clear();
        self.kept = 0;
    }

    /// How much was read so far.
    #[must_use]
    pub fn coverage(&self, now: Nanos) -> Coverage {
        let mut coverage = self.coverage;
        for direction in self.flows.iter().flat_map(|flow| &flow.directions) {
            direction.thread.count_time(now, &mut coverage);
            direction.thread.count_lost(&mut coverage);
        }
        coverage
    }

    /// The connection that a segment belongs to; `None` if nothing of it is to be read.
    fn flow(&mut self, segment: &Segment<'_>, way: Way, ends: [Endpoint; 2]) -> Option<usize> {
        let known = self.by_ends.get(&ends).copied();
        if let Some(index) = known {
            let flow = &self.flows[index];
            if !flow.is_reopened_by(segment, way) {
                return (!flow.ended).then_some(index);
            }
        }
        if segment.flags & SYN == 0 && (segment.flags & RST != 0 || segment.payload.is_empty()) {
            return None;
        }
        let flow = self.open(segment, way, ends);
        if let Some(index) = known.or_else(|| self.longest_silent()) {
            self.end(index, segment.at);
            self.by_ends.remove(&self.flows[index].ends);
            self.by_ends.insert(ends, index);
            self.kept -= self.flows[index].memory();
            self.flows[index] = flow;
            return Some(index);
        }
        self.by_ends.insert(ends, self.flows.len());
        self.flows.push(flow);
        Some(self.flows.len() - 1)
    }

    fn longest_silent(&self) -> Option<usize> {
        if self.flows.len() < FLOWS_MAX {
            return None;
        }
        (0..self.flows.len())
            .min_by_key(|&index| (!self.flows[index].ended, self.flows[index].seen))
    }

    fn open(&mut self, segment: &Segment<'_>, way: Way, ends: [Endpoint; 2]) -> Flow {
        let is_syn = segment.flags & SYN != 0;
        let dials = is_syn && segment.flags & ACK == 0;
        let dialler = match ends.map(|end| self.peers.contains(&end)) {
            _ if is_syn => Some(if dials { way } else { way.other() }),
            [true, false] => Some(Way::Back),
            [false, true] => Some(Way::There),
            _ => None,
        };
        self.coverage.flows += 1;
        self.coverage.whole_flows += u64::from(dials);
        self.next_id += 1;
        Flow {
            id: self.next_id,
            ends,
            opened: is_syn.then_some(segment.at),
            seen: segment.at,
            ended: false,
            decoder: self.protocol.decoder(&Connection { ends, dialler, whole: dials }),
            directions: <[Direction; 2]>::default(),
        }
    }

    fn end(&mut self, index: usize, now: Nanos) {
        let flow = &mut self.flows[index];
        flow.ended = true;
        let before = flow.memory();
        for direction in &mut flow.directions {
            if direction.thread.is_there() {
                direction.thread.end(now, &mut self.coverage);
            }
            direction.stream.release();
        }
        self.kept = self.kept + flow.memory() - before;
    }
}

impl Flow {
    fn memory(&self) -> usize {
        self.directions.iter().map(|d| d.stream.memory() + d.thread.memory()).sum()
    }

    /// Whether a segment on these endpoints belongs to a new connection.
    fn is_reopened_by(&self, segment: &Segment<'_>, way: Way) -> bool {
        if segment.flags & SYN == 0 {
            return self.ended && segment.at.saturating_sub(self.seen) > LINGER;
        }
        let [own, other] = [way, way.other()].map(|way| &self.directions[way.index()].stream);
        match own.syn() {
            _ if self.ended => true,
            Some(seq) => seq != segment.seq,
            None if own.is_placed() => true,
            // The other side's SYN alone may have overtaken this one.
            None => segment.flags & ACK == 0 && !other.is_untouched(),
        }
    }
}

/// Forgets what a direction keeps; its thread is lost.
fn give_way(
    flow: &mut Flow,
    way: Way,
    (why, at): (&'static str, Nanos),
    known: &mut Known,
    coverage: &mut Coverage,
) {
    let Direction { stream, thread } = &mut flow.directions[way.index()];
    stream.release();
    let (decoder, tell) = (&mut *flow.decoder, &mut |_: &Message, _: &[Entry]| ());
    thread.release(why, &mut Reading { at, way, decoder, known, coverage, tell });
}

fn arrival<'a>(segment: &Segment<'a>) -> Arrival<'a> {
    let Segment { at, seq, flags, payload, whole, .. } = *segment;
    Arrival { at, seq, flags, payload, whole }
}
