//! The messages of etcd's `raftpb` and of tikv's `eraftpb`, which has the same numbers.
//!
//! ```text
//! Message   1 type, 2 to, 3 from, 4 term, 5 logTerm, 6 index, 7 entries, 8 commit, 9 snapshot,
//!           10 reject, 11 rejectHint, 12 context; 13 to 16 are newer, and differ
//! Entry     1 type, 2 term, 3 index, 4 data; tikv: 5 sync_log, 6 context
//! Snapshot  1 data, 2 metadata (1 conf_state, 2 index, 3 term)
//! ```
//!
//! tikv leaves out what is zero, etcd writes it: zero and absent mean the same.

use super::message::{Entry, Kind, Member, Message, Position};
use super::proto::{Broken, Fields, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Entries whose hash is told of one message; further ones are only counted.
pub(super) const ENTRIES_MAX: usize = 16_384;

/// The byte before an entry: field 7, with a length.
const ENTRY_TAG: u8 = 0x3a;

const PROPOSE: u64 = 2;
const APPEND: u64 = 3;
const APPEND_ANSWER: u64 = 4;
const VOTE: u64 = 5;
const VOTE_ANSWER: u64 = 6;
const SNAPSHOT: u64 = 7;
const HEARTBEAT: u64 = 8;
const HEARTBEAT_ANSWER: u64 = 9;
const TRANSFER_LEADER: u64 = 13;
const TIMEOUT_NOW: u64 = 14;
const READ_INDEX: u64 = 15;
const READ_INDEX_ANSWER: u64 = 16;
const PRE_VOTE: u64 = 17;
const PRE_VOTE_ANSWER: u64 = 18;

/// A message as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// What it comes to.
    pub(super) message: Message,
    /// Whether it has fields or types that are not known here. Such messages are read, but their
    /// bytes prove no framing.
    pub(super) is_strange: bool,
}

impl Read {
    /// Whether it is what a connection sends to stay alive: a heartbeat from and to nobody.
    pub(super) fn is_keep_alive(&self, bytes: &[u8]) -> bool {
        let Message { from, to, .. } = self.message;
        !self.is_strange && from.is_none() && to.is_none() && bytes.starts_with(&[0x08, 0x08])
    }

    /// Whether its bytes can hardly be anything but a message between two members.
    pub(super) fn is_certain(&self) -> bool {
        !self.is_strange && self.message.from.is_some() && self.message.to.is_some()
    }
}

/// The raw numbers of a message.
#[derive(Default)]
struct Raw {
    kind: u64,
    to: u64,
    from: u64,
    term: u64,
    log_term: u64,
    index: u64,
    entries: u32,
    commit: u64,
    snapshot: Option<Position>,
    reject: bool,
    strange: bool,
}

/// Reads a whole message; its entries are put into `entries`, which is cleared first.
pub(super) fn read(bytes: &[u8], entries: &mut Vec<Entry>) -> Result<Read, Broken> {
    let mut raw = Raw::default();
    entries.clear();
    for field in Fields::new(bytes) {
        let (number, value) = field?;
        raw.take(number, value, entries)?;
    }
    Ok(raw.read(entries))
}

/// Reads what stands in front of a message whose rest is not there. `None` unless its type, its
/// sender and its receiver do. Behind them come its term and position. The entry that is cut is
/// counted, those behind it are not: it carries at least so many.
pub(super) fn read_front(bytes: &[u8], entries: &mut Vec<Entry>) -> Option<Read> {
    let mut raw = Raw::default();
    entries.clear();
    let mut fields = Fields::new(bytes);
    loop {
        let rest = fields.rest();
        match fields.next() {
            Some(Ok((number, value))) => raw.take(number, value, entries).ok()?,
            Some(Err(Broken::Short)) => {
                raw.entries += u32::from(rest.first() == Some(&ENTRY_TAG));
                break;
            }
            Some(Err(Broken::Wrong)) => return None,
            None => break,
        }
    }
    let read = raw.read(entries);
    read.is_certain().then_some(Read {
        // They stand behind what is missing: not known, and not zero.
        message: Message { commit: None, granted: None, ..read.message },
        ..read
    })
}

/// Reads an entry; also whether it has unknown fields.
pub(super) fn read_entry(bytes: &[u8]) -> Result<(Entry, bool), Broken> {
    let (mut kind, mut term, mut index, mut strange) = (0, 0, 0, false);
    let (mut data, mut context): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Varint(v)) => kind = v,
            (2, Value::Varint(v)) => term = v,
            (3, Value::Varint(v)) => index = v,
            (4, Value::Bytes(v)) => data = v,
            (5, Value::Varint(0 | 1)) => {}
            (6, Value::Bytes(v)) => context = v,
            (1..=6, _) => return Err(Broken::Wrong),
            _ => strange = true,
        }
    }
    let mut hash = xxh3_64_with_seed(data, kind);
    if !context.is_empty() {
        hash = xxh3_64_with_seed(context, hash);
    }
    Ok((Entry { at: Position { index, term }, hash }, strange || kind > 2))
}

impl Raw {
    fn take(
        &mut self,
        number: u64,
        value: Value<'_>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Broken> {
        match (number, value) {
            (1, Value::Varint(v)) => self.kind = v,
            (2, Value::Varint(v)) => self.to = v,
            (3, Value::Varint(v)) => self.from = v,
            (4, Value::Varint(v)) => self.term = v,
            (5, Value::Varint(v)) => self.log_term = v,
            (6, Value::Varint(v)) => self.index = v,
            (7, Value::Bytes(v)) => {
                let (entry, strange) = read_entry(v)?;
                self.entries = self.entries.saturating_add(1);
                self.strange |= strange;
                if entries.len() < ENTRIES_MAX {
                    entries.push(entry);
                }
            }
            (8, Value::Varint(v)) => self.commit = v,
            (9, Value::Bytes(v)) => self.snapshot = snapshot(v)?,
            (10, Value::Varint(v @ (0 | 1))) => self.reject = v == 1,
            (11 | 13..=16, Value::Varint(_)) | (12, Value::Bytes(_)) => {}
            (1..=12, _) => return Err(Broken::Wrong),
            _ => self.strange = true,
        }
        Ok(())
    }

    fn read(&self, entries: &mut Vec<Entry>) -> Read {
        let some = |v: u64| (v != 0).then_some(v);
        let (from, to) = (some(self.from).map(Member), some(self.to).map(Member));
        let kind = match self.kind {
            HEARTBEAT if from.is_none() && to.is_none() => Kind::Other,
            APPEND => Kind::Append,
            APPEND_ANSWER => Kind::AppendAnswer,
            VOTE => Kind::VoteRequest,
            VOTE_ANSWER => Kind::VoteAnswer,
            SNAPSHOT => Kind::Snapshot,
            HEARTBEAT => Kind::Heartbeat,
            HEARTBEAT_ANSWER => Kind::HeartbeatAnswer,
            TIMEOUT_NOW => Kind::TimeoutNow,
            PRE_VOTE => Kind::PreVoteRequest,
            PRE_VOTE_ANSWER => Kind::PreVoteAnswer,
            _ => Kind::Other,
        };
        let mut message = Message { term: some(self.term), from, to, ..Message::new(kind) };
        let position = Position { index: self.index, term: self.log_term };
        match kind {
            Kind::Append => {
                message.previous = Some(position);
                message.commit = Some(self.commit);
                message.entries = self.entries;
            }
            Kind::Heartbeat => message.commit = Some(self.commit),
            Kind::VoteRequest | Kind::PreVoteRequest => {
                message.previous = Some(position);
                message.commit = some(self.commit);
            }
            Kind::VoteAnswer | Kind::PreVoteAnswer => message.granted = Some(!self.reject),
            Kind::AppendAnswer => {
                message.index = Some(self.index);
                message.granted = Some(!self.reject);
                message.commit = some(self.commit);
            }
            Kind::HeartbeatAnswer => message.commit = some(self.commit),
            Kind::Snapshot => message.previous = self.snapshot,
            _ => {}
        }
        if kind != Kind::Append {
            // Those of a forwarded proposal have no position yet.
            entries.clear();
        }
        let known = is_sent(self.kind) && (self.entries == 0 || takes_entries(self.kind));
        Read { message, is_strange: self.strange || !known }
    }
}

/// Whether such messages travel between members; the others are for the sender itself.
const fn is_sent(kind: u64) -> bool {
    matches!(kind, PROPOSE..=HEARTBEAT_ANSWER | TRANSFER_LEADER..=PRE_VOTE_ANSWER)
}

const fn takes_entries(kind: u64) -> bool {
    // A read index bears its context as an entry.
    matches!(kind, APPEND | PROPOSE | READ_INDEX | READ_INDEX_ANSWER)
}

/// The position that a snapshot covers; `None` for the empty one that etcd puts into every message.
fn snapshot(bytes: &[u8]) -> Result<Option<Position>, Broken> {
    let mut position = Position { index: 0, term: 0 };
    for field in Fields::new(bytes) {
        if let (2, Value::Bytes(metadata)) = field? {
            for field in Fields::new(metadata) {
                match field? {
                    (2, Value::Varint(v)) => position.index = v,
                    (3, Value::Varint(v)) => position.term = v,
                    _ => {}
                }
            }
        }
    }
    Ok((position.index != 0).then_some(position))
}
