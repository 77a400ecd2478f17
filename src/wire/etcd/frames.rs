//! What HTTP bodies carry: frames of two streams, one posted message, or a snapshot.
//!
//! ```text
//! message stream   repeated: length u64 BE | Message
//! msgapp stream    repeated: 0 = alive
//!                            1 = count u64 BE | count x (length u64 BE | Entry) | commit u64 BE
//!                            2 = length u64 BE | Message
//! POST /raft            Message
//! POST /raft/snapshot   length u64 BE | Message | database
//! ```
//!
//! A msgapp frame 1 (`AppEntries`) says neither term nor position. etcd sends it only for an append
//! that continues the one before it on this stream, in the same term, behind an entry of that
//! very term (`msgappv2_codec.go`); so term and position come from there. In a stream that was
//! joined in the middle the entries themselves tell both: behind an entry of the message's term
//! there is none of a lower one, and in a leader's log none of a higher.

use super::super::decoder::{KEPT_MAX, Step, Tell};
use super::super::message::{Entry, Kind, Member, Message, Position};
use super::super::raftpb::{self, ENTRIES_MAX};

const LENGTH: usize = 8;
/// The longest frame that is believed, as in etcd (`readBytesLimit`).
const FRAME_MAX: u64 = 512 << 20;
/// How much of a frame that is too long to be kept is read: its numbers, but no data.
const FRONT: usize = 512;

const ALIVE: u8 = 0;
const APP_ENTRIES: u8 = 1;
const MESSAGE: u8 = 2;

/// What a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    /// The answer to `GET /raft/stream/message/<id>`.
    Messages,
    /// The answer to `GET /raft/stream/msgapp/<id>`.
    Appends,
    /// That of `POST /raft`.
    Post,
    /// That of `POST /raft/snapshot`.
    Snapshot,
    /// Of no interest.
    #[default]
    Other,
}

/// From whom to whom a stream leads, as its request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) from: Option<Member>,
    pub(super) to: Option<Member>,
}

/// An `AppEntries` whose end is not there yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    message: Message,
    left: u64,
    /// The position of the last entry so far.
    last: Option<Position>,
}

/// Reads one body.
#[derive(Debug, Default)]
pub(super) struct Frames {
    body: Body,
    route: Route,
    /// The term of the last full message of this msgapp stream.
    term: Option<u64>,
    /// Where the last append ended.
    position: Option<Position>,
    open: Option<Open>,
    entries: Vec<Entry>,
}

impl Frames {
    /// Another body begins.
    pub(super) fn begin(&mut self, body: Body, route: Route) {
        (self.body, self.route) = (body, route);
        (self.term, self.position, self.open) = (None, None, None);
    }

    /// One step through the bytes of a body; `left` is how many it still has, where that is known.
    pub(super) fn step(&mut self, bytes: &[u8], left: Option<u64>, tell: Tell<'_>) -> Step {
        match self.body {
            Body::Other => Step::Skip(left.unwrap_or(u64::MAX)),
            Body::Messages => self.message(bytes, 0, tell),
            Body::Appends => self.append_frame(bytes, tell),
            Body::Snapshot => {
                let step = self.message(bytes, 0, tell);
                if matches!(step, Step::Took(_) | Step::Skip(_)) {
                    self.body = Body::Other;
                }
                step
            }
            Body::Post => match left {
                Some(left) if left > KEPT_MAX as u64 => self.front(bytes, 0, left, tell),
                Some(left) => self.whole(bytes, 0, left as usize, tell),
                // etcd always says how long it is.
                None => Step::Lost("a posted message of unknown length"),
            },
        }
    }

    /// A length and a message behind a head of so many bytes.
    fn message(&mut self, bytes: &[u8], head: usize, tell: Tell<'_>) -> Step {
        let Some(length) = number(&bytes[head..]) else { return Step::Need(head + LENGTH) };
        if length == 0 || length > FRAME_MAX {
            return Step::Lost("a frame of no possible length");
        }
        let start = head + LENGTH;
        if length + start as u64 > KEPT_MAX as u64 {
            return self.front(bytes, start, length, tell);
        }
        self.whole(bytes, start, length as usize, tell)
    }

    fn whole(&mut self, bytes: &[u8], start: usize, length: usize, tell: Tell<'_>) -> Step {
        let end = start + length;
        let Some(frame) = bytes.get(start..end) else { return Step::Need(end) };
        match raftpb::read(frame, &mut self.entries) {
            Ok(read) => {
                self.inherit(&read.message);
                tell(&read.message, &self.entries);
                Step::Took(end)
            }
            Err(_) => Step::Lost("a frame that is no message"),
        }
    }

    fn front(&mut self, bytes: &[u8], start: usize, length: u64, tell: Tell<'_>) -> Step {
        let Some(front) = bytes.get(start..start + FRONT) else {
            return Step::Need(start + FRONT);
        };
        let Some(read) = raftpb::read_front(front, &mut self.entries) else {
            return Step::Lost("a frame that is no message");
        };
        // Where its entries end is not known.
        (self.term, self.position) = (read.message.term, None);
        tell(&read.message, &self.entries);
        Step::Skip(start as u64 + length)
    }

    fn inherit(&mut self, message: &Message) {
        if self.body != Body::Appends {
            return;
        }
        self.term = message.term;
        // Joined in the middle, this is the first to say it.
        self.route.from = self.route.from.or(message.from);
        self.route.to = self.route.to.or(message.to);
        let last = self.entries.last().map(|entry| entry.at);
        let counted = self.entries.len() == message.entries as usize;
        let before = message.previous.zip(message.term);
        let before = before.map(|(p, term)| Position { term, ..p });
        self.position = last.or(before).filter(|_| counted);
    }

    fn append_frame(&mut self, bytes: &[u8], tell: Tell<'_>) -> Step {
        match (self.open, bytes[0]) {
            (Some(open), _) if open.left > 0 => self.entry(bytes, open),
            (Some(open), _) => self.commit(bytes, open, tell),
            (None, ALIVE) => {
                let Route { from, to } = self.route;
                tell(&Message { from, to, ..Message::new(Kind::Other) }, &[]);
                Step::Took(1)
            }
            (None, APP_ENTRIES) => {
                let Some(count) = number(&bytes[1..]) else { return Step::Need(1 + LENGTH) };
                let Ok(entries) = u32::try_from(count) else {
                    return Step::Lost("more entries than can be");
                };
                let Route { from, to } = self.route;
                let (term, previous) = (self.term, self.position);
                let message =
                    Message { term, from, to, previous, entries, ..Message::new(Kind::Append) };
                self.open = Some(Open { message, left: count, last: None });
                self.entries.clear();
                Step::Took(1 + LENGTH)
            }
            (None, MESSAGE) => self.message(bytes, 1, tell),
            _ => Step::Lost("no tag of a msgapp stream"),
        }
    }

    fn entry(&mut self, bytes: &[u8], mut open: Open) -> Step {
        let Some(length) = number(bytes) else { return Step::Need(LENGTH) };
        if length > FRAME_MAX {
            return Step::Lost("an entry of no possible length");
        }
        open.left -= 1;
        if length + LENGTH as u64 > KEPT_MAX as u64 {
            open.last = None;
            self.open = Some(open);
            return Step::Skip(length + LENGTH as u64);
        }
        let end = LENGTH + length as usize;
        let Some(frame) = bytes.get(LENGTH..end) else { return Step::Need(end) };
        let Ok((entry, _)) = raftpb::read_entry(frame) else {
            return Step::Lost("an entry that is none");
        };
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push(entry);
        }
        open.last = Some(entry.at);
        self.open = Some(open);
        Step::Took(end)
    }

    fn commit(&mut self, bytes: &[u8], open: Open, tell: Tell<'_>) -> Step {
        let Some(commit) = number(bytes) else { return Step::Need(LENGTH) };
        self.open = None;
        let open = self.told_by_its_entries(open);
        if open.message.entries > 0 {
            // As etcd counts: an entry that was too long to be read is one, too.
            let counted = open.message.previous.zip(open.message.term).map(|(before, term)| {
                let index = before.index.saturating_add(open.message.entries.into());
                Position { index, term }
            });
            self.position = counted.or(open.last);
        }
        tell(&Message { commit: Some(commit), ..open.message }, &self.entries);
        Step::Took(LENGTH)
    }
}

impl Frames {
    /// Where no message before said them, its entries say term and position, if all are known.
    fn told_by_its_entries(&mut self, mut open: Open) -> Open {
        let all = self.entries.len() == open.message.entries as usize;
        let Some(first) = self.entries.first().filter(|_| all && open.message.term.is_none())
        else {
            return open;
        };
        let term = first.at.term;
        if self.entries.iter().all(|entry| entry.at.term == term) {
            let index = first.at.index.saturating_sub(1);
            (self.term, open.message.term) = (Some(term), Some(term));
            open.message.previous = Some(Position { index, term });
        }
        open
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Whether the data of a chunk, or what is there of it, can only be frames of this stream, of
/// which the first begins where they do. `to_end` says that they end where the chunk does.
pub(super) fn are_certain(body: Body, data: &[u8], to_end: bool, entries: &mut Vec<Entry>) -> bool {
    let mut certain = false;
    let mut rest = data;
    while !rest.is_empty() {
        let frame = match body {
            Body::Messages => certain_message(rest, None, entries),
            Body::Appends => certain_append(rest, entries),
            _ => return false,
        };
        match frame {
            Frame::Certain(len) => {
                certain = true;
                rest = &rest[len..];
            }
            // In a message all numbers are written out, so that it proves the length before it.
            Frame::Alive(len) => {
                certain |= body == Body::Messages && to_end && len == data.len();
                rest = &rest[len..];
            }
            Frame::Open => break,
            Frame::No => return false,
        }
    }
    certain
}

enum Frame {
    Certain(usize),
    Alive(usize),
    /// It is not whole.
    Open,
    No,
}

fn certain_message(bytes: &[u8], only: Option<Kind>, entries: &mut Vec<Entry>) -> Frame {
    let Some(length) = number(bytes) else { return Frame::Open };
    if length == 0 || length > FRAME_MAX {
        return Frame::No;
    }
    let end = LENGTH + length as usize;
    let Some(frame) = bytes.get(LENGTH..end) else { return Frame::Open };
    match raftpb::read(frame, entries) {
        Ok(read) if only.is_some_and(|kind| kind != read.message.kind) => Frame::No,
        Ok(read) if read.is_certain() => Frame::Certain(end),
        Ok(read) if read.is_keep_alive(frame) => Frame::Alive(end),
        _ => Frame::No,
    }
}

fn certain_append(bytes: &[u8], entries: &mut Vec<Entry>) -> Frame {
    match bytes[0] {
        ALIVE => Frame::Alive(1),
        APP_ENTRIES => {
            let Some(count) = number(&bytes[1..]) else { return Frame::Open };
            let mut at = 1 + LENGTH;
            let mut index = None;
            for _ in 0..count {
                let Some(length) = bytes.get(at..).and_then(number) else { return Frame::Open };
                if length > FRAME_MAX {
                    return Frame::No;
                }
                let end = at + LENGTH + length as usize;
                let Some(entry) = bytes.get(at + LENGTH..end) else { return Frame::Open };
                match raftpb::read_entry(entry) {
                    Ok((entry, false)) if entry.at.term > 0 && entry.at.index > 0 => {
                        if index.is_some_and(|index| entry.at.index != index + 1) {
                            return Frame::No;
                        }
                        index = Some(entry.at.index);
                    }
                    _ => return Frame::No,
                }
                at = end;
            }
            if bytes.len() < at + LENGTH {
                return Frame::Open;
            }
            // One without entries has nothing that could be wrong.
            if count > 0 { Frame::Certain(at + LENGTH) } else { Frame::Alive(at + LENGTH) }
        }
        MESSAGE => match certain_message(&bytes[1..], Some(Kind::Append), entries) {
            Frame::Certain(len) => Frame::Certain(1 + len),
            Frame::Open => Frame::Open,
            _ => Frame::No,
        },
        _ => Frame::No,
    }
}
