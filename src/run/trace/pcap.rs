//! Captured packets as a pcapng file (draft-ietf-opsawg-pcapng): records and bytes in, blocks out.
//!
//! Packets stand in the order in which they came, with the time when they were judged; one of
//! raftq's own stands where it was sent. What is held is written when it is answered, so that its
//! comment tells the real delay: what comes meanwhile waits for it, for a second at most, or as
//! long as there is room. Behind that it stands where it left, and its time goes back.
//!
//! At its largest size the file ends: what happened first explains the rest, and a ring of files
//! would have thrown that away. What is missing is told in a second comment of the last packet.
//!
//! An interface is a node, to which packets are on their way. Packets of raftq's own go outwards
//! (`epb_flags`); they have the `epb_packetid` of the packet that they are made from: the queue
//! that it came by, and the kernel's number of it, as `trace.jsonl` has them.

use super::comment::{Answered, comment};
use super::{Fate, Kind, Own, Record};
use crate::engine::Token;
use crate::engine::held::COPIES;
use crate::packet::{Endpoint, NodeId};
use crate::rules::Table;
use crate::time::Nanos;
use pcap_file::pcapng::blocks::ENHANCED_PACKET_BLOCK;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriter, RawBlock};
use pcap_file::{DataLink, Endianness, PcapError};
use rustc_hash::FxHashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;

/// How long packets wait for the answer to one before them.
const WINDOW: Nanos = Nanos::from_secs(1);

/// Bytes of packets whose answer is waited for, what they are kept in included.
const KEPT_MAX: usize = 64 << 20;

/// What a packet takes beside its bytes.
const FRAME: usize = 512;

/// Kept free for the comment that tells what is missing.
const LAST_WORDS: u64 = 512;

/// Options of a packet's block. The library has no names for the last two, and no way to write
/// options that it does not know, so these blocks are put together here.
const COMMENT: u16 = 1;
const FLAGS: u16 = 2;
const PACKET_ID: u16 = 5;
const QUEUE: u16 = 6;

/// `epb_flags`: towards the interface's owner, or out of raftq.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What a file of packets came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// Packets in the file.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Packets that are not in it because the writer could not keep up.
    pub lost: u64,
    /// Packets that are not in it because it had reached its largest size.
    pub left_out: u64,
    /// Packets whose comment does not say what became of them: too many were held, or the answer
    /// was lost.
    pub untold: u64,
    /// Why the file is not whole, where it could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

/// A packet that is not written yet.
struct Frame {
    /// The time that the file tells.
    shown: Nanos,
    record: Record,
    table: Arc<Table>,
    bytes: Vec<u8>,
    state: State,
}

/// What became of a packet, and the table that numbers its rule.
type Answer = (Record, Arc<Table>);

enum State {
    /// Its answer is not there.
    Waits,
    Ready(Option<Box<Answer>>),
    /// It stands elsewhere, or nobody wants it.
    Gone,
}

/// A file under way.
pub(super) struct Pcapng<W: Write> {
    /// None once it failed.
    out: Option<PcapNgWriter<Counted<W>>>,
    nodes: Arc<Table>,
    since_1970: Nanos,
    all: bool,
    max: u64,
    full: bool,
    dirty: bool,
    captured: Captured,
    /// Packets as they came; the first has the number `first`.
    line: VecDeque<Frame>,
    first: u64,
    /// Packets that were overtaken while they are held, by their numbers.
    aside: BTreeMap<u64, Frame>,
    /// Numbers of those whose answer is waited for.
    waiting: FxHashMap<(u16, u32), u64>,
    kept: usize,
    /// The last packet: another comment may come.
    last: Option<Packet>,
}

/// The body of a packet's block, without the end of its options.
struct Packet(Vec<u8>);

struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Pcapng<W> {
    /// Writes the head of a file; `since_1970` makes times of records those of the clock on the
    /// wall, `head` says what the file is.
    pub(super) fn new(
        out: io::Result<W>,
        (nodes, head): (&Arc<Table>, &str),
        since_1970: Nanos,
        (all, max): (bool, u64),
    ) -> Self {
        let mut pcapng = Self {
            out: None,
            nodes: Arc::clone(nodes),
            since_1970,
            all,
            max,
            full: false,
            dirty: true,
            captured: Captured::default(),
            line: VecDeque::new(),
            first: 0,
            aside: BTreeMap::new(),
            waiting: FxHashMap::default(),
            kept: 0,
            last: None,
        };
        match out.and_then(|out| begin(out, nodes, head)) {
            Ok(out) => pcapng.out = Some(out),
            Err(e) => pcapng.captured.unwritten = Some(e.to_string()),
        }
        pcapng
    }

    /// Takes a record, with the packet's bytes where it is captured.
    pub(super) fn take(&mut self, record: Record, bytes: Option<Vec<u8>>, table: &Arc<Table>) {
        match (record.kind, bytes) {
            (Kind::Packet, Some(bytes)) => self.take_packet(record, bytes, table),
            (Kind::Packet, None) => {}
            (Kind::Answer, _) => self.take_answer(record, table),
        }
        self.advance(record.at);
    }

    /// Nothing comes for a while: writes what can be written.
    pub(super) fn rest(&mut self, now: Nanos) {
        self.advance(now);
        if std::mem::take(&mut self.dirty)
            && let Some(out) = &mut self.out
            && let Err(e) = out.get_mut().flush()
        {
            self.fail(&e.to_string());
        }
    }

    /// Writes the rest; `lost` packets never came here.
    pub(super) fn finish(mut self, lost: u64) -> Captured {
        self.captured.lost = lost;
        while let Some((_, frame)) = self.aside.pop_first() {
            self.write(&frame);
        }
        while let Some(frame) = self.line.pop_front() {
            self.write(&frame);
        }
        let words = self.last_words();
        if let Some(mut last) = self.last.take() {
            if let Some(words) = words {
                last.option(COMMENT, words.as_bytes());
            }
            self.put(last);
        }
        self.dirty = true;
        self.rest(Nanos::ZERO);
        self.captured.bytes = self.out.as_ref().map_or(0, |out| out.get_ref().bytes);
        self.captured
    }

    fn last_words(&self) -> Option<String> {
        let Captured { lost, left_out, .. } = self.captured;
        let mut missing = Vec::new();
        if left_out > 0 {
            let max = self.max;
            missing.push(format!("{left_out} later packets, as it would exceed {max} bytes"));
        }
        if lost > 0 {
            missing.push(format!("{lost} packets that came faster than they could be written"));
        }
        (!missing.is_empty()).then(|| format!("raftq: this file lacks {}", missing.join(", and ")))
    }

    fn take_packet(&mut self, record: Record, bytes: Vec<u8>, table: &Arc<Table>) {
        if self.full || self.out.is_none() {
            // Packets that are discarded when their answer comes would be no loss.
            self.captured.left_out += u64::from(self.full && record.fate != Fate::Asked);
            return;
        }
        let Token { queue, id } = record.token;
        let kept = is_kept(record.fate);
        let number = self.first + self.line.len() as u64;
        if kept && let Some(former) = self.waiting.insert((queue, id), number) {
            // Its answer was lost: the number is used again only behind that.
            self.settle(former, None);
        }
        self.kept += bytes.len() + FRAME;
        let state = if kept { State::Waits } else { State::Ready(None) };
        let table = Arc::clone(table);
        self.line.push_back(Frame { shown: record.at, record, table, bytes, state });
    }

    fn take_answer(&mut self, answer: Record, table: &Arc<Table>) {
        let Token { queue, id } = answer.token;
        if let Some(number) = self.waiting.remove(&(queue, id)) {
            self.settle(number, Some(Box::new((answer, Arc::clone(table)))));
        }
    }

    /// A packet's answer is there, or will never be.
    fn settle(&mut self, number: u64, answer: Option<Box<Answer>>) {
        let place = number.checked_sub(self.first).map(|at| at as usize);
        let frame = match place {
            Some(at) => self.line.get_mut(at),
            None => self.aside.get_mut(&number),
        };
        let Some(frame) = frame else { return };
        let left = answer.as_ref().map(|answer| answer.0);
        let fate = left.map(|answer| answer.fate);
        let unwanted = match (frame.record.fate, fate) {
            (_, Some(Fate::Segmented)) | (Fate::Own(Own::Copy), Some(Fate::Dropped)) => true,
            (Fate::Asked, Some(Fate::Accepted)) => {
                let plain = |r: Record| r.due.is_none() && r.extras.mark.is_none();
                !self.all && left.is_some_and(plain)
            }
            _ => false,
        };
        let at = left.map(|answer| answer.at);
        frame.state = if unwanted { State::Gone } else { State::Ready(answer) };
        let moves = frame.record.fate == Fate::Own(Own::Copy) && !unwanted;
        if let (true, Some(at)) = (moves, at) {
            // It stands where it was sent.
            let (record, table) = (frame.record, Arc::clone(&frame.table));
            let bytes = std::mem::take(&mut frame.bytes);
            let state = std::mem::replace(&mut frame.state, State::Gone);
            self.kept += FRAME;
            self.line.push_back(Frame { shown: at, record, table, bytes, state });
        }
        if place.is_none()
            && let Some(frame) = self.aside.remove(&number)
        {
            self.kept -= frame.bytes.len() + FRAME;
            self.write(&frame);
        }
    }

    /// Writes, from the first on, what waits for nothing.
    fn advance(&mut self, now: Nanos) {
        while let Some(first) = self.line.front() {
            let waits = matches!(first.state, State::Waits);
            let late = now.saturating_sub(first.shown) > WINDOW;
            if waits && !late && self.kept <= KEPT_MAX {
                return;
            }
            let Some(frame) = self.line.pop_front() else { return };
            self.first += 1;
            if waits {
                self.aside.insert(self.first - 1, frame);
                self.keep_within_bounds();
            } else {
                self.kept -= frame.bytes.len() + FRAME;
                self.write(&frame);
            }
        }
    }

    /// Too much is kept of what is held: the oldest is written as it is.
    fn keep_within_bounds(&mut self) {
        while self.kept > KEPT_MAX
            && let Some((_, oldest)) = self.aside.pop_first()
        {
            self.kept -= oldest.bytes.len() + FRAME;
            self.write(&oldest);
        }
    }

    /// A packet goes into the file, if there is room.
    fn write(&mut self, frame: &Frame) {
        let answer = match &frame.state {
            State::Gone => return,
            State::Ready(answer) => answer.as_deref(),
            State::Waits => None,
        };
        if self.out.is_none() {
            return;
        }
        let untold = answer.is_none() && is_kept(frame.record.fate);
        let answer = answer.map(|(record, table)| Answered { record, table });
        let words = comment(&frame.record, &frame.table, answer);
        let packet = self.packet(frame, &words);
        let written = self.out.as_ref().map_or(0, |out| out.get_ref().bytes);
        let last = self.last.as_ref().map_or(0, Packet::size);
        self.full |= written + last + packet.size() + LAST_WORDS > self.max;
        if self.full {
            self.captured.left_out += 1;
            return;
        }
        self.captured.packets += 1;
        self.captured.untold += u64::from(untold);
        if let Some(last) = self.last.replace(packet) {
            self.put(last);
        }
    }

    fn packet(&self, frame: &Frame, words: &str) -> Packet {
        let Frame { shown, record, bytes, .. } = frame;
        let at = (*shown + self.since_1970).0;
        let len = if record.changed { bytes.len() as u32 } else { record.len };
        let head = [self.interface(frame), (at >> 32) as u32, at as u32, bytes.len() as u32, len];
        let mut packet = Packet(head.iter().flat_map(|word| word.to_le_bytes()).collect());
        packet.put(bytes);
        packet.option(COMMENT, words.as_bytes());
        let own = matches!(record.fate, Fate::Own(_));
        packet.option(FLAGS, &if own { OUTBOUND } else { INBOUND }.to_le_bytes());
        let Token { queue, id } = record.token;
        if queue != COPIES {
            packet.option(PACKET_ID, &(u64::from(queue) << 32 | u64::from(id)).to_le_bytes());
            packet.option(QUEUE, &u32::from(queue).to_le_bytes());
        }
        packet
    }

    /// The node that a packet was on its way to; behind them is one for all others.
    fn interface(&self, frame: &Frame) -> u32 {
        let nodes = &self.nodes.nodes;
        let answer = match &frame.state {
            State::Ready(Some(answer)) => answer.0.link,
            _ => None,
        };
        let ends = answer.or(frame.record.link).map(|link| link.ends(nodes.len()));
        let back = matches!(frame.record.fate, Fate::Own(Own::ToSender | Own::Refusal));
        if let Some((NodeId(from), NodeId(to))) = ends {
            return u32::from(if back { from } else { to });
        }
        let dst = frame.record.read.map(|read| read.dst);
        dst.and_then(|dst| self.home(dst)).unwrap_or(nodes.len()) as u32
    }

    /// The node that an endpoint belongs to, as far as its address tells.
    fn home(&self, at: Endpoint) -> Option<usize> {
        let nodes = &self.nodes.nodes;
        let exact = nodes.iter().position(|node| node.endpoints.contains(&at));
        let mut by_addr =
            nodes.iter().enumerate().filter(|(_, n)| n.endpoints.iter().any(|e| e.addr == at.addr));
        let first = by_addr.next().map(|(i, _)| i);
        exact.or_else(|| first.filter(|_| by_addr.next().is_none()))
    }

    fn put(&mut self, packet: Packet) {
        let Some(out) = &mut self.out else { return };
        self.dirty = true;
        if let Err(e) = out.write_raw_block(&packet.into_block()) {
            self.fail(&plain(e).to_string());
        }
    }

    fn fail(&mut self, why: &str) {
        (self.out, self.captured.unwritten) = (None, Some(why.to_owned()));
    }
}

/// Whether an answer tells what became of a packet.
fn is_kept(fate: Fate) -> bool {
    matches!(fate, Fate::Held(_) | Fate::Asked | Fate::Own(Own::Copy))
}

impl Packet {
    /// Bytes, and what fills up the last word.
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An option; no value has as much as its length can tell.
    fn option(&mut self, code: u16, value: &[u8]) {
        self.0.extend(code.to_le_bytes());
        self.0.extend((value.len() as u16).to_le_bytes());
        self.put(value);
    }

    /// Bytes that its block takes: with its type, its length at both ends, and the end of options.
    fn size(&self) -> u64 {
        self.0.len() as u64 + 16
    }

    fn into_block(mut self) -> RawBlock<'static> {
        self.option(0, &[]);
        let len = self.0.len() as u32 + 12;
        RawBlock {
            type_: ENHANCED_PACKET_BLOCK,
            initial_len: len,
            body: Cow::Owned(self.0),
            trailer_len: len,
        }
    }
}

/// What is behind an error of the library's, which does not say it.
fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(e) => e,
        other => io::Error::other(other),
    }
}

fn begin<W: Write>(out: W, table: &Table, head: &str) -> io::Result<PcapNgWriter<Counted<W>>> {
    let clipped: String = head.chars().take(1_000).collect();
    let section = SectionHeaderBlock {
        endianness: Endianness::Little,
        options: vec![
            SectionHeaderOption::Comment(Cow::Owned(clipped)),
            SectionHeaderOption::UserApplication(Cow::Borrowed(concat!(
                "raftq ",
                env!("CARGO_PKG_VERSION")
            ))),
        ],
        ..SectionHeaderBlock::default()
    };
    let out = Counted { out, bytes: 0 };
    let mut out = PcapNgWriter::with_section_header(out, section).map_err(plain)?;
    let nodes = table.nodes.iter();
    let nodes = nodes.map(|n| (n.name.as_str(), format!("packets on their way to {}", n.name)));
    let others = ("others", "packets whose receiver is no node, or cannot be told".to_owned());
    for (name, what) in nodes.chain([others]) {
        let name: String = name.chars().take(1_000).collect();
        let what: String = what.chars().take(1_000).collect();
        out.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                InterfaceDescriptionOption::IfDescription(Cow::Owned(what)),
                // Nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })
        .map_err(plain)?;
    }
    Ok(out)
}
