//! What becomes of packets, put down off the hot path: every packet as a JSON line (`--trace FILE`,
//! `lines.rs`), and those that were disturbed with their bytes (`wire.pcapng`, `--pcap FILE`;
//! `pcap.rs`, `comment.rs`).
//!
//! The loop puts a fixed-size record into a bounded ring, behind the bytes that belong to it, which
//! go into a ring of their own. A thread of ordinary priority (`writer.rs`) writes them out. Where
//! it cannot keep up, records are counted instead of kept. A packet that nobody asks for costs a
//! branch.
//!
//! A packet that is kept (`delay`, `ask`) bears its queue and id, and gets a second record when
//! it is answered, with the same two: until then nobody knows whether it passes, since a cut
//! may start while it is held. The kernel uses an id again only for a later packet.
//!
//! A packet between nodes that is dropped (`drop`) by no rule met the silence of one of them: a
//! fault was being done to its process. Or its connection was stalled by a rule that is gone.

mod comment;
mod lines;
mod pcap;
#[cfg(test)]
mod tests;
mod writer;

pub use pcap::Captured;
pub use writer::{Names, TraceWriter, Traced, Written, open};

use crate::engine::held::COPIES;
use crate::engine::mangle::{self, HEADERS_MAX};
use crate::engine::{Decision, Extras, Facts, Release, Rst, Token, Verdict};
use crate::kernel::queue::Packet;
use crate::packet::{Endpoint, LinkId, PacketView, Proto};
use crate::time::Nanos;
use clap::ValueEnum;
use crossbeam_channel::Sender;
use rtrb::Producer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Records that may wait to be written.
const RING: usize = 65_536;

/// Bytes of packets that may wait to be written.
const BYTES: usize = 16 << 20;

/// The most bytes of a file of packets, if not said otherwise.
pub const CAPTURE_MAX: &str = "100MB";

/// What is to be put down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Every packet, a line each.
    pub lines: Option<&'a Path>,
    /// Packets with their bytes.
    pub pcap: Option<Pcap<'a>>,
}

impl<'a> Asked<'a> {
    /// Lines alone.
    #[must_use]
    pub const fn lines(path: &'a Path) -> Self {
        Self { lines: Some(path), pcap: None }
    }
}

/// A file of packets.
#[derive(Clone, Copy, Debug)]
pub struct Pcap<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Whether it has all packets, and not only those that were disturbed.
    pub all: bool,
    /// The most bytes that it may have.
    pub max: u64,
    /// What is disturbed by: a file of rules, a scenario.
    pub title: &'a str,
}

/// Which packets are captured, as the command line and a run's recipe say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureWord {
    /// Those that a rule, or raftq itself, did not simply let pass
    #[default]
    Disturbed,
    /// All of them
    All,
    /// None
    None,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Let through at once.
    Accepted,
    /// Dropped.
    Dropped,
    /// Only its acknowledgement went on.
    Trimmed,
    /// A RST went on instead.
    Reset,
    /// Dropped, and its sender was told.
    Rejected,
    /// Went on with a changed payload.
    Corrupted,
    /// Held for that long; without a time, until a rule lets it go.
    Held(Option<Nanos>),
    /// Dropped because as many were held as may be.
    Overflowed,
    /// Kept until its sender is known.
    Asked,
    /// Comes again as single segments, each of which has a line of its own.
    Segmented,
    /// Let through, since it could not be read.
    Unreadable,
    /// Made by raftq.
    Own(Own),
}

/// Packets that raftq makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// A copy, which waits for its time.
    Copy,
    /// The RST that goes on instead of a segment.
    Instead,
    /// The RST that tells a segment's sender.
    ToSender,
    /// What tells a packet's sender that it was rejected.
    Refusal,
    /// A RST at the end of a cut.
    Healing,
}

/// What one record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A packet that came, or one of raftq's own.
    Packet,
    /// What became of one that was kept.
    Answer,
}

/// One record, as the ring holds it.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Nanos,
    kind: Kind,
    token: Token,
    link: Option<LinkId>,
    rule: Option<u16>,
    /// Bytes of the packet as it came.
    len: u32,
    /// What could be read of it.
    read: Option<Read>,
    fate: Fate,
    extras: Extras,
    /// Held: when its rule alone would have let it go. An answer: when it was due.
    due: Option<Nanos>,
    /// Which table numbers its rule.
    table: u32,
    /// Whether it is a line.
    lined: bool,
    /// How many bytes of it are in the other ring; none where it is not captured.
    taken: Option<u32>,
    /// Whether these are not what came, but what goes on.
    changed: bool,
}

/// What is in a packet's headers.
#[derive(Clone, Copy, Debug)]
struct Read {
    src: Endpoint,
    dst: Endpoint,
    proto: Proto,
    flags: u8,
    segments: u16,
}

/// What the loop did with a packet that it judged.
#[derive(Clone, Copy, Debug)]
pub struct Went<'a> {
    /// What became of it.
    pub fate: Fate,
    /// The bytes that go instead of it, where others do.
    pub instead: Option<&'a [u8]>,
}

/// The loop's end of a trace.
#[derive(Debug)]
pub struct Tracer {
    ring: Sender<Record>,
    bytes: Option<Producer<u8>>,
    lines: bool,
    captures_all: bool,
    shared: Arc<Shared>,
    table: u32,
}

/// What both ends look at.
#[derive(Debug, Default)]
struct Shared {
    /// The start of the rules' clock, ns; 0 until it is known.
    start: AtomicU64,
    /// Packets without a line, because the ring was full.
    lost: AtomicU64,
    /// Answers without a line.
    answers_lost: AtomicU64,
    /// Packets that were to be captured, for which one of the rings was full.
    uncaptured: AtomicU64,
    /// Nothing comes any more.
    finished: AtomicBool,
}

impl Tracer {
    /// The rules' clock started then: the zero of all times. Until it is known the ring
    /// keeps what comes.
    pub fn start(&self, at: Nanos) {
        self.shared.start.store(at.0.max(1), Ordering::Release);
    }

    /// Notes one packet; never waits.
    #[inline]
    pub fn note(
        &mut self,
        at: Nanos,
        (token, packet): (Token, &Packet<'_>),
        view: &PacketView,
        decision: &Decision,
        went: Went<'_>,
    ) {
        let disturbed = went.fate != Fate::Accepted || decision.extras != Extras::default();
        let captured = self.captures(disturbed);
        if self.lines || captured {
            self.note_in_full(at, (token, packet, captured), view, decision, went);
        }
    }

    #[inline]
    fn captures(&self, disturbed: bool) -> bool {
        self.bytes.is_some() && (disturbed || self.captures_all)
    }

    #[inline(never)]
    fn note_in_full(
        &mut self,
        at: Nanos,
        (token, packet, captured): (Token, &Packet<'_>, bool),
        view: &PacketView,
        decision: &Decision,
        went: Went<'_>,
    ) {
        let (fate, asked) = (went.fate, went.fate == Fate::Asked);
        let due = match decision.verdict {
            Verdict::Hold(keep) => Some(keep.own),
            _ => None,
        };
        let record = Record {
            // Asked packets bear no link yet.
            link: decision.facts.filter(|_| !asked).map(|facts| facts.link),
            rule: decision.rule,
            len: view.len,
            read: Some(Read::of(view)),
            extras: decision.extras,
            due,
            lined: self.lines,
            ..self.record(at, token, fate)
        };
        if !captured {
            return self.put(record, None);
        }
        let mut headers = [0; HEADERS_MAX];
        let trimmed = match (fate, went.instead) {
            (Fate::Trimmed, None) => mangle::trim(packet.bytes, view, &mut headers),
            _ => None,
        };
        let instead = trimmed.map(|len| &headers[..len]).or(went.instead);
        let changed = instead.is_some();
        self.put(Record { changed, ..record }, Some(instead.unwrap_or(packet.bytes)));
    }

    /// Notes a packet that nobody judged: the rules are out already.
    pub fn passed(&mut self, at: Nanos, token: Token, packet: &Packet<'_>) {
        let Ok(view) = PacketView::parse(packet.bytes, packet.len, 0) else {
            return self.unreadable(at, token, packet);
        };
        let decision = Decision {
            verdict: Verdict::Accept,
            facts: None,
            rule: None,
            extras: Extras::default(),
        };
        let went = Went { fate: Fate::Accepted, instead: None };
        self.note(at, (token, packet), &view, &decision, went);
    }

    /// Notes a packet that could not be read.
    pub fn unreadable(&mut self, at: Nanos, token: Token, packet: &Packet<'_>) {
        let captured = self.captures(false);
        if self.lines || captured {
            let record = self.record(at, token, Fate::Unreadable);
            let record = Record { len: packet.len, lined: self.lines, ..record };
            self.put(record, captured.then_some(packet.bytes));
        }
    }

    /// Notes what became of a packet that was kept, or of a copy.
    #[inline]
    pub fn answered(&mut self, at: Nanos, release: &Release, fate: Fate) {
        // Copies have no lines.
        let lined = self.lines && release.token.queue != COPIES;
        if lined || self.bytes.is_some() {
            let record = Record {
                kind: Kind::Answer,
                link: release.link,
                rule: release.rule,
                due: release.due,
                lined,
                ..self.record(at, release.token, fate)
            };
            self.put(record, None);
        }
    }

    /// Notes a copy that waits in a place for its time.
    pub fn copied(
        &mut self,
        at: Nanos,
        (slot, bytes): (u16, &[u8]),
        facts: &Facts,
        rule: Option<u16>,
    ) {
        if self.bytes.is_some() {
            let token = Token { queue: COPIES, id: u32::from(slot) };
            let record = self.record(at, token, Fate::Own(Own::Copy));
            let link = Some(facts.link);
            self.put(Record { link, rule, len: bytes.len() as u32, ..record }, Some(bytes));
        }
    }

    /// Notes a packet of raftq's own that an end of a packet's connection was sent.
    pub fn sent(
        &mut self,
        at: Nanos,
        (token, own): (Token, Own),
        (decision, bytes): (&Decision, &[u8]),
    ) {
        if self.bytes.is_some() {
            let link = decision.facts.map(|facts| facts.link);
            let (rule, len) = (decision.rule, bytes.len() as u32);
            let record = self.record(at, token, Fate::Own(own));
            self.put(Record { link, rule, len, ..record }, Some(bytes));
        }
    }

    /// Notes a RST that an end of a connection was sent at the end of a cut.
    pub fn healed(&mut self, at: Nanos, rst: &Rst, bytes: &[u8]) {
        if self.bytes.is_some() {
            let token = Token { queue: COPIES, id: u32::MAX };
            let flags = crate::packet::tcp_flags::RST;
            let Rst { src, dst, .. } = *rst;
            let read = Read { src, dst, proto: Proto::Tcp, flags, segments: 1 };
            let record = self.record(at, token, Fate::Own(Own::Healing));
            let len = bytes.len() as u32;
            self.put(Record { read: Some(read), len, ..record }, Some(bytes));
        }
    }

    fn record(&self, at: Nanos, token: Token, fate: Fate) -> Record {
        Record {
            at,
            kind: Kind::Packet,
            token,
            link: None,
            rule: None,
            len: 0,
            read: None,
            fate,
            extras: Extras::default(),
            due: None,
            table: self.table,
            lined: false,
            taken: None,
            changed: false,
        }
    }

    fn put(&mut self, record: Record, bytes: Option<&[u8]>) {
        let add = |count: &AtomicU64| {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        };
        let Shared { lost, answers_lost, uncaptured, .. } = &*self.shared;
        // Nobody else puts anything in: if there is room now, there will be behind the bytes.
        let full = self.ring.is_full();
        let mut taken = None;
        if let (Some(bytes), Some(ring)) = (bytes, &mut self.bytes) {
            if !full && ring.push_entire_slice(bytes).is_ok() {
                taken = Some(bytes.len() as u32);
            } else {
                add(uncaptured);
            }
        }
        let needed = record.lined || taken.is_some() || record.kind == Kind::Answer;
        if !needed || !full && self.ring.try_send(Record { taken, ..record }).is_ok() {
            return;
        }
        match record.kind {
            _ if !record.lined => {}
            Kind::Packet => add(lost),
            Kind::Answer => add(answers_lost),
        }
    }

    /// Rules are numbered by another table from now on.
    pub fn next_table(&mut self) {
        self.table += 1;
    }
}

impl Read {
    fn of(view: &PacketView) -> Self {
        let PacketView { src, dst, proto, flags, segments, .. } = *view;
        Self { src, dst, proto, flags, segments }
    }
}
