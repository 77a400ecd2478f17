//! The map of a request or an answer, read pair by pair, so that a large one need not be whole.

use super::msgpack::{Stop, Values};
use crate::packet::Endpoint;
use crate::wire::decoder::KEPT_MAX;
use crate::wire::message::{Entry, Member, Position};
use std::net::SocketAddr;
use xxhash_rust::xxh3::xxh3_64;

/// Pairs of a map. The largest that is known has fourteen.
const PAIRS_MAX: u64 = 64;
/// Entries of one append; the configuration allows 1,024.
const ENTRIES_MAX: u64 = 1 << 16;
/// Entries that are told of one append. The others are counted.
const TOLD_MAX: usize = 1_024;
/// Of an entry with more data than this no hash is known.
const DATA_MAX: u64 = (KEPT_MAX / 2) as u64;

/// How far a map was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// To its end, after so many bytes.
    Whole(usize),
    /// So many bytes are dealt with.
    Part(usize),
    /// So many bytes have to be there.
    Need(u64),
    /// So many bytes are of no interest.
    Skip(u64),
    /// It is not such a map.
    Wrong(&'static str),
}

/// Who is named, if anybody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(pub(super) Option<Member>);

/// What a map said. A key that was not there is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) version: Option<u64>,
    pub(super) term: Option<u64>,
    pub(super) named: Option<Name>,
    pub(super) addr: Option<Name>,
    pub(super) previous_index: Option<u64>,
    pub(super) previous_term: Option<u64>,
    pub(super) last_index: Option<u64>,
    pub(super) last_term: Option<u64>,
    pub(super) commit: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) entries: Option<u64>,
    pub(super) last_log: Option<u64>,
    pub(super) success: Option<bool>,
    pub(super) granted: Option<bool>,
    pub(super) peers: Option<()>,
}

impl Fields {
    /// Who sent a request, by its older key or by its newer one.
    pub(super) fn sender(&self) -> Option<Member> {
        let named = |name: Option<Name>| name.and_then(|Name(member)| member);
        named(self.named).or(named(self.addr))
    }
}

/// An entry of which not everything was read.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    pairs: u64,
    index: Option<u64>,
    term: Option<u64>,
    kind: Option<u64>,
    data: Option<u64>,
    large: bool,
}

impl Parts {
    /// What is told of it; `None` where its data was too large to be hashed.
    fn entry(&self) -> Result<Option<Entry>, Stop> {
        let (Some(index), Some(term), Some(kind)) = (self.index, self.term, self.kind) else {
            return Err(Stop::Wrong);
        };
        if self.large {
            return Ok(None);
        }
        let data = self.data.ok_or(Stop::Wrong)?;
        let mut both = [0; 16];
        both[..8].copy_from_slice(&kind.to_le_bytes());
        both[8..].copy_from_slice(&data.to_le_bytes());
        let hash = xxh3_64(&both);
        Ok(Some(Entry { at: Position { index, term }, hash }))
    }
}

/// A map that is being read.
#[derive(Debug)]
pub(super) struct Body {
    pairs: u64,
    entries: u64,
    entry: Option<Parts>,
    /// What it said so far.
    pub(super) fields: Fields,
    /// Its entries.
    pub(super) told: Vec<Entry>,
}

impl Body {
    /// One that has so many pairs, and a place for its entries; `None` where no such map exists.
    pub(super) fn new(pairs: u64, place: Vec<Entry>) -> Option<Self> {
        (pairs <= PAIRS_MAX).then(|| Self {
            pairs,
            entries: 0,
            entry: None,
            fields: Fields::default(),
            told: place,
        })
    }

    /// Reads on, as far as what is there allows.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Read {
        let mut done = 0;
        loop {
            if self.pairs == 0 && self.entries == 0 && self.entry.is_none() {
                return Read::Whole(done);
            }
            let mut values = Values::new(&bytes[done..]);
            match self.unit(&mut values) {
                Ok(None) => done += values.at(),
                Ok(Some(large)) if done == 0 => {
                    self.pass_over_data();
                    return Read::Skip(large);
                }
                Ok(Some(_)) | Err(Stop::Short(_)) if done > 0 => return Read::Part(done),
                Err(Stop::Short(needed)) if needed > KEPT_MAX as u64 => {
                    return Read::Wrong("a value larger than any that is known");
                }
                Err(Stop::Short(needed)) => return Read::Need(needed),
                Ok(Some(_)) | Err(Stop::Wrong) => {
                    return Read::Wrong("a map that no message has");
                }
            }
        }
    }

    /// Reads one pair, or the beginning of one entry; says how many bytes to skip where it is
    /// data that is not looked at. Nothing is changed unless it is whole.
    fn unit(&mut self, values: &mut Values) -> Result<Option<u64>, Stop> {
        if let Some(mut parts) = self.entry {
            let large = entry_pair(&mut parts, values)?;
            if large.is_some() {
                return Ok(large);
            }
            self.set_entry(parts)?;
        } else if self.entries > 0 {
            let pairs = values.map()?;
            if pairs == 0 || pairs > PAIRS_MAX {
                return Err(Stop::Wrong);
            }
            self.entries -= 1;
            self.entry = Some(Parts { pairs, ..Parts::default() });
        } else {
            let mut fields = self.fields;
            let entries = pair(&mut fields, values)?;
            self.fields = fields;
            self.entries = entries;
            self.pairs -= 1;
        }
        Ok(None)
    }

    fn set_entry(&mut self, parts: Parts) -> Result<(), Stop> {
        if parts.pairs > 0 {
            self.entry = Some(parts);
            return Ok(());
        }
        if let Some(entry) = parts.entry()?
            && self.told.len() < TOLD_MAX
        {
            self.told.push(entry);
        }
        self.entry = None;
        Ok(())
    }

    /// The data of this entry is skipped. It is not an entry's last pair: keys are sorted.
    fn pass_over_data(&mut self) {
        if let Some(parts) = &mut self.entry {
            parts.pairs -= 1;
            parts.large = true;
        }
    }
}

/// Puts a value where none was: no struct has a key twice.
fn put<T>(place: &mut Option<T>, value: T) -> Result<(), Stop> {
    if place.replace(value).is_some() { Err(Stop::Wrong) } else { Ok(()) }
}

/// Reads one pair of a message; how many entries follow.
fn pair(fields: &mut Fields, values: &mut Values) -> Result<u64, Stop> {
    match values.text()? {
        b"ProtocolVersion" => put(&mut fields.version, values.uint()?)?,
        b"Term" => put(&mut fields.term, values.uint()?)?,
        b"Leader" | b"Candidate" => put(&mut fields.named, Name(member(values.bytes()?)))?,
        b"Addr" => put(&mut fields.addr, Name(member(values.bytes()?)))?,
        b"PrevLogEntry" => put(&mut fields.previous_index, values.uint()?)?,
        b"PrevLogTerm" => put(&mut fields.previous_term, values.uint()?)?,
        b"LastLogIndex" => put(&mut fields.last_index, values.uint()?)?,
        b"LastLogTerm" => put(&mut fields.last_term, values.uint()?)?,
        b"LeaderCommitIndex" => put(&mut fields.commit, values.uint()?)?,
        b"Size" => put(&mut fields.size, values.uint()?)?,
        b"LastLog" => put(&mut fields.last_log, values.uint()?)?,
        b"Success" => put(&mut fields.success, values.flag()?)?,
        b"Granted" => put(&mut fields.granted, values.flag()?)?,
        b"Peers" => {
            put(&mut fields.peers, ())?;
            values.skip()?;
        }
        b"Entries" => {
            let entries = values.array()?;
            if entries > ENTRIES_MAX {
                return Err(Stop::Wrong);
            }
            put(&mut fields.entries, entries)?;
            return Ok(entries);
        }
        _ => values.skip()?,
    }
    Ok(0)
}

/// Reads one pair of an entry; how many bytes to skip where its data is large.
fn entry_pair(parts: &mut Parts, values: &mut Values) -> Result<Option<u64>, Stop> {
    match values.text()? {
        b"Index" => put(&mut parts.index, values.uint()?)?,
        b"Term" => put(&mut parts.term, values.uint()?)?,
        b"Type" => put(&mut parts.kind, values.uint()?)?,
        b"Data" => {
            let len = values.bytes_ahead()?;
            if len > DATA_MAX {
                let twice = parts.large || parts.data.is_some() || parts.pairs == 1;
                let all = values.at() as u64 + len;
                return if twice { Err(Stop::Wrong) } else { Ok(Some(all)) };
            }
            if parts.large {
                return Err(Stop::Wrong);
            }
            put(&mut parts.data, xxh3_64(values.take(len)?))?;
        }
        _ => values.skip()?,
    }
    parts.pairs -= 1;
    Ok(None)
}

/// A member as requests name it: text, an address and a port as a rule. Empty names nobody.
pub(super) fn member(text: &[u8]) -> Option<Member> {
    if text.is_empty() {
        return None;
    }
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse::<SocketAddr>().ok());
    Some(match parsed {
        Some(address) => member_at(Endpoint::new(address)),
        None => Member(xxh3_64(text) | 1 << 63),
    })
}

/// The member that listens at an endpoint.
pub(super) fn member_at(end: Endpoint) -> Member {
    const MAPPED: u128 = 0xffff << 32;
    if end.addr >> 32 == MAPPED >> 32 {
        let ip = end.addr as u32;
        return Member(u64::from(ip) << 16 | u64::from(end.port));
    }
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&end.addr.to_be_bytes());
    bytes[16..].copy_from_slice(&end.port.to_be_bytes());
    Member(xxh3_64(&bytes) | 1 << 63)
}
