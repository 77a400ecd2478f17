//! The flows of a cluster: which connection a packet belongs to, bounded.
//!
//! A flow is a pair of endpoints and a transport; both directions share one entry. The
//! table has a fixed number of places. A new flow takes the place of one that has been
//! silent, or, when none is, of one that nothing depends on; that is counted, because a
//! forgotten flow loses its age and must be asked for again on loopback.

use crate::packet::{Endpoint, NodeId, PacketView, Proto, tcp_flags};
use crate::time::Nanos;
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;

/// Places in the table.
pub const FLOWS_MAX: usize = 16_384;

/// A flow silent for this long gives up its place first.
const IDLE: Nanos = Nanos::from_secs(60);

/// Places looked at for a silent flow before a busy one is evicted.
const SWEEP: usize = 32;

/// Both ends of a flow, in a fixed order, whichever way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The smaller end.
    pub low: Endpoint,
    /// The larger end.
    pub high: Endpoint,
    /// Transport.
    pub proto: Proto,
}

impl FlowKey {
    /// The key of a packet's flow, and the packet's direction in it: 0 from the smaller
    /// end to the larger, 1 back.
    #[must_use]
    pub fn of(src: Endpoint, dst: Endpoint, proto: Proto) -> (Self, u8) {
        if src <= dst {
            (Self { low: src, high: dst, proto }, 0)
        } else {
            (Self { low: dst, high: src, proto }, 1)
        }
    }
}

/// What is known of the end of a flow that is no peer endpoint, on a shared stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialler {
    /// Nobody asked yet.
    Unasked,
    /// Asked; packets wait for the answer.
    Asked,
    /// A node of the cluster.
    Node(NodeId),
    /// A process that is no node, a client for instance; asked again after this time, since
    /// a node that dials before it listens looks like one.
    Stranger(Nanos),
    /// Could not be found; asked again after this time.
    Unfound(Nanos),
}

/// One flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its ends.
    pub key: FlowKey,
    /// When its last SYN was seen; a UDP flow opens with its first packet.
    pub opened: Option<Nanos>,
    /// Ordinal of each direction among the connections of its link, from 1; 0 while no
    /// packet of that direction was judged.
    pub connection: [u32; 2],
    /// Latest due time of each direction.
    pub last_due: [Nanos; 2],
    /// Packets held of each direction that keep its order.
    pub held: [u32; 2],
    /// Who dialled it, on a shared stack.
    pub dialler: Dialler,
    /// Tells apart two flows that used the same place.
    pub generation: u32,
    /// Packets that wait for the dialler to be found.
    pub waiting: u32,
    /// How far each direction's bytes have come, where rules ask for that.
    pub track: [Track; 2],
    /// Whether a RST was sent into it: what was in flight behind that may be reset again.
    pub is_reset: bool,
    isn: u32,
    seen: Nanos,
}

impl Flow {
    fn new(now: Nanos, key: FlowKey, isn: u32, generation: u32) -> Self {
        Self {
            key,
            opened: None,
            connection: [0; 2],
            last_due: [Nanos::ZERO; 2],
            held: [0; 2],
            dialler: Dialler::Unasked,
            generation,
            waiting: 0,
            track: [Track::default(); 2],
            is_reset: false,
            isn,
            seen: now,
        }
    }
}

/// What the segments of one direction of a TCP flow have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// A sequence number, and which byte of the stream bears it, from 0.
    base: Option<(u32, u64)>,
    /// The sequence number behind all that was sent.
    pub next: Option<u32>,
    /// The sequence number that its sender expects of the other direction.
    pub expects: Option<u32>,
    /// The first sequence number that a cut has taken from it.
    pub lost: Option<u32>,
}

impl Track {
    /// Hears of a segment; returns where its first byte is in the stream.
    pub fn hear(&mut self, view: &PacketView) -> u64 {
        let behind = view.seq.wrapping_add(view.sequence_len());
        if view.flags & tcp_flags::RST == 0 {
            let newer = |old: u32, new: u32| new.wrapping_sub(old).cast_signed() > 0;
            if self.next.is_none_or(|next| newer(next, behind)) {
                self.next = Some(behind);
            }
            if view.flags & tcp_flags::ACK != 0 && self.expects.is_none_or(|e| newer(e, view.ack)) {
                self.expects = Some(view.ack);
            }
        }
        if view.flags & tcp_flags::SYN != 0 {
            self.base = Some((view.seq.wrapping_add(1), 0));
            return 0;
        }
        let (seq, byte) = *self.base.get_or_insert((view.seq, 0));
        let ahead = view.seq.wrapping_sub(seq).cast_signed();
        let at = byte.saturating_add_signed(i64::from(ahead));
        if ahead > 0 {
            // Sequence numbers begin anew; the stream's do not.
            self.base = Some((view.seq, at));
        }
        at
    }
}

/// Index of a flow's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId(pub u32);

/// The table of flows.
#[derive(Debug)]
pub struct Flows {
    index: HashMap<FlowKey, u32, FxBuildHasher>,
    places: Vec<Flow>,
    hand: usize,
    generation: u32,
    limit: usize,
}

/// What [`Flows::touch`] found.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// The flow's place.
    pub id: FlowId,
    /// Whether the flow is new in the table (or its endpoints were used anew).
    pub fresh: bool,
    /// Whether a flow that was not silent had to make room.
    pub evicted: bool,
}

impl Flows {
    /// A table of `limit` places; all memory is reserved here.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            // Twice the limit: below half of its capacity the map cleans up after removals
            // in place and never allocates.
            index: HashMap::with_capacity_and_hasher(limit * 2, FxBuildHasher),
            places: Vec::with_capacity(limit),
            hand: 0,
            generation: 0,
            limit,
        }
    }

    /// The flow of a packet, entered where it was not known.
    pub fn touch(&mut self, now: Nanos, key: FlowKey, view: &PacketView) -> Touched {
        let opens = view.is_dial() || view.proto == Proto::Udp;
        if let Some(&at) = self.index.get(&key) {
            let flow = &mut self.places[at as usize];
            let idle = now.saturating_sub(flow.seen) > IDLE;
            flow.seen = now;
            // A SYN on a flow whose own SYN was never seen dials anew as well: the former
            // connection is over, and somebody else may have dialled this one.
            let reused = view.is_dial() && (flow.opened.is_none() || flow.isn != view.seq);
            let reused = reused || (idle && view.proto == Proto::Udp);
            if view.is_dial() {
                // Also a repeated SYN: it was seen now, so the flow is new to every rule
                // that is active now.
                flow.opened = Some(now);
                flow.isn = view.seq;
            }
            if !reused {
                return Touched { id: FlowId(at), fresh: false, evicted: false };
            }
            self.generation += 1;
            let flow = &mut self.places[at as usize];
            // What is held or waits of the former flow bears its generation and no longer
            // concerns this one.
            *flow = Flow { opened: Some(now), ..Flow::new(now, key, view.seq, self.generation) };
            return Touched { id: FlowId(at), fresh: true, evicted: false };
        }
        self.generation += 1;
        let opened = opens.then_some(now);
        let flow = Flow { opened, ..Flow::new(now, key, view.seq, self.generation) };
        let (at, evicted) = self.place(now, flow);
        self.index.insert(key, at);
        Touched { id: FlowId(at), fresh: true, evicted }
    }

    /// Enters a flow that was found before any packet of it, with its dialler.
    pub fn enter(&mut self, now: Nanos, key: FlowKey, dialler: Dialler) -> Touched {
        if let Some(&at) = self.index.get(&key) {
            self.places[at as usize].dialler = dialler;
            return Touched { id: FlowId(at), fresh: false, evicted: false };
        }
        self.generation += 1;
        let flow = Flow { dialler, ..Flow::new(now, key, 0, self.generation) };
        let (at, evicted) = self.place(now, flow);
        self.index.insert(key, at);
        Touched { id: FlowId(at), fresh: true, evicted }
    }

    /// Forgets every dialler that is not being asked for.
    pub fn forget_diallers(&mut self) {
        for flow in self.places.iter_mut().filter(|flow| flow.dialler != Dialler::Asked) {
            flow.dialler = Dialler::Unasked;
        }
    }

    /// A flow, where it is known, left as it is.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<&Flow> {
        self.index.get(key).map(|&at| &self.places[at as usize])
    }

    /// A flow that is known to be there.
    #[must_use]
    pub fn get(&self, id: FlowId) -> &Flow {
        &self.places[id.0 as usize]
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: FlowId) -> &mut Flow {
        &mut self.places[id.0 as usize]
    }

    /// The same, unless another flow has taken its place meanwhile.
    #[must_use]
    pub fn same(&mut self, id: FlowId, generation: u32) -> Option<&mut Flow> {
        Some(self.get_mut(id)).filter(|flow| flow.generation == generation)
    }

    /// How many flows are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn place(&mut self, now: Nanos, flow: Flow) -> (u32, bool) {
        if self.places.len() < self.limit {
            self.places.push(flow);
            return ((self.places.len() - 1) as u32, false);
        }
        let (at, evicted) = self.victim(now);
        self.index.remove(&self.places[at].key);
        self.places[at] = flow;
        (at as u32, evicted)
    }

    /// A place to use again: a silent flow near the hand, else the next that nothing
    /// depends on.
    fn victim(&mut self, now: Nanos) -> (usize, bool) {
        let free = |flow: &Flow| flow.held == [0; 2] && flow.waiting == 0;
        for _ in 0..SWEEP {
            self.hand = (self.hand + 1) % self.limit;
            let flow = &self.places[self.hand];
            if free(flow) && now.saturating_sub(flow.seen) > IDLE {
                return (self.hand, false);
            }
        }
        for _ in 0..self.limit {
            self.hand = (self.hand + 1) % self.limit;
            if free(&self.places[self.hand]) {
                return (self.hand, true);
            }
        }
        // Every flow has held packets. One loses its order; nothing worse happens, since
        // whoever holds a generation finds it changed.
        self.hand = (self.hand + 1) % self.limit;
        (self.hand, true)
    }
}
