//! What Raft's messages carry: fixed places, little-endian.

use crate::wire::message::{Member, Position};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of an append before its entries.
pub(super) const APPEND_LEN: usize = 42;
/// Of an append's entries, the one that asks a member to stand for election.
const TRANSFER: u8 = 5;

/// Who asks for votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VoteRequest {
    pub(super) term: u64,
    pub(super) last: Position,
    pub(super) candidate: Option<Member>,
}

/// An answer, to a vote request or to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) term: u64,
    /// Only of an answer to an append.
    pub(super) index: Option<u64>,
    pub(super) from: Option<Member>,
    pub(super) granted: bool,
}

/// An append, maybe without entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Append {
    pub(super) leader: Option<Member>,
    pub(super) term: u64,
    pub(super) commit: u64,
    pub(super) previous: Position,
    pub(super) entries: Entries,
}

/// What an append carries. However many entries that are, they have one place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entries {
    /// Nothing: a heartbeat.
    None,
    /// Nothing but who should lead next. Older versions keep it in the log, newer ones do not.
    Transfer,
    /// Entries, with their hash where all of them are there.
    Some(Option<u64>),
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Eight characters; all zero where nobody is named.
fn member_at(bytes: &[u8], at: usize) -> Option<Member> {
    u64_at(bytes, at).filter(|&id| id != 0).map(|id| Member(id.swap_bytes()))
}

pub(super) fn vote_request(bytes: &[u8]) -> Option<VoteRequest> {
    if bytes.len() != 32 {
        return None;
    }
    Some(VoteRequest {
        term: u64_at(bytes, 0)?,
        last: Position { term: u64_at(bytes, 8)?, index: u64_at(bytes, 16)? },
        candidate: member_at(bytes, 24),
    })
}

/// Newer versions say in the flag's second bit that the voter's log is empty.
pub(super) fn vote_answer(bytes: &[u8]) -> Option<Answer> {
    if bytes.len() != 17 || bytes[16] > 3 {
        return None;
    }
    Some(Answer {
        term: u64_at(bytes, 0)?,
        index: None,
        from: member_at(bytes, 8),
        granted: bytes[16] & 1 == 1,
    })
}

pub(super) fn append_answer(bytes: &[u8]) -> Option<Answer> {
    if bytes.len() != 25 || bytes[24] > 1 {
        return None;
    }
    Some(Answer {
        term: u64_at(bytes, 0)?,
        index: Some(u64_at(bytes, 8)?),
        from: member_at(bytes, 16),
        granted: bytes[24] == 1,
    })
}

/// `whole` says whether all of it is there. Newer versions write something behind the entries.
pub(super) fn append(bytes: &[u8], whole: bool) -> Option<Append> {
    let count = u16::from_le_bytes(bytes.get(40..APPEND_LEN)?.try_into().ok()?);
    Some(Append {
        leader: member_at(bytes, 0),
        term: u64_at(bytes, 8)?,
        commit: u64_at(bytes, 16)?,
        previous: Position { term: u64_at(bytes, 24)?, index: u64_at(bytes, 32)? },
        entries: match count {
            0 => Entries::None,
            _ if !whole => Entries::Some(None),
            _ => entries(bytes, count)?,
        },
    })
}

/// Hashed with their count and sizes, without what comes before and behind: the commit differs
/// between two sendings, and what is behind says who sends it again.
fn entries(bytes: &[u8], count: u16) -> Option<Entries> {
    let mut at = APPEND_LEN;
    let mut transfer = true;
    for _ in 0..count {
        let size = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        let entry = bytes.get(at + 4..(at + 4).checked_add(size as usize)?)?;
        transfer &= *entry.first()? == TRANSFER;
        at += 4 + entry.len();
    }
    if transfer {
        return Some(Entries::Transfer);
    }
    Some(Entries::Some(Some(xxh3_64(&bytes[APPEND_LEN - 2..at]))))
}
