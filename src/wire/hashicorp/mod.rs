//! hashicorp/raft: a byte that says which request, then a msgpack map with named keys; the answer
//! is an error's text, empty as a rule, then a map.
//!
//! Requests go from the dialler to the acceptor, answers back in order. An answer does not say
//! what it answers, and a heartbeat's looks like an append's. It need not be counted, though:
//! whatever is not an append of a pipeline is sent only when nothing is under way on its
//! connection, and a pipeline has nothing but appends of one leader in one term. So an answer is
//! always of the kind of the last request that was seen, and for whoever sent that.
//!
//! Consul and Nomad have other connections at the same port, and say by a byte before the first
//! request that one is Raft's. Not read is TLS, which Vault has.
//!
//! ```text
//! msgpack.rs    values, one after another
//! body.rs       the map of a message, pair by pair
//! ```

mod body;
mod msgpack;

#[cfg(test)]
mod tests;

use super::decoder::{Connection, Decoder, KEPT_MAX, Known, Step, Tell, Way};
use super::message::{Entry, Kind, Member, Message, Position};
use body::{Body, Fields, Read, member_at};
use msgpack::{Stop, Values};

/// Bytes of an error's text.
const ERROR_MAX: u64 = 1 << 12;
/// Bytes of a snapshot.
const SNAPSHOT_MAX: u64 = 1 << 50;

/// The bytes by which Consul and Nomad begin a connection of Raft's.
const OPENINGS: [u8; 2] = [1, 2];
/// The first byte of a map is larger than that of any request.
const REQUEST_MAX: u8 = 4;

/// What stands before a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Append,
    Vote,
    Snapshot,
    TimeoutNow,
    PreVote,
    /// The text of the error may be empty.
    Answer {
        failed: bool,
    },
}

impl Head {
    /// Of the first byte of a request.
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Append,
            1 => Self::Vote,
            2 => Self::Snapshot,
            3 => Self::TimeoutNow,
            4 => Self::PreVote,
            _ => return None,
        })
    }

    const fn is_answer(self) -> bool {
        matches!(self, Self::Answer { .. })
    }
}

/// A message of which not everything was read.
#[derive(Debug)]
struct Open {
    head: Head,
    body: Body,
    /// An answer that failed may have nil instead of a map.
    nil: bool,
}

impl Open {
    /// Reads what stands before the map, and how many bytes that is.
    fn begin(bytes: &[u8], place: &mut Vec<Entry>) -> Result<(Self, usize), Stop> {
        let mut values = Values::new(bytes);
        let head = match values.peek()? {
            first if first <= REQUEST_MAX => {
                values.take(1)?;
                Head::of(first).ok_or(Stop::Wrong)?
            }
            _ => {
                let error = values.text().map_err(|stop| match stop {
                    Stop::Short(needed) if needed > ERROR_MAX => Stop::Wrong,
                    other => other,
                })?;
                Head::Answer { failed: !error.is_empty() }
            }
        };
        let nil = head == (Head::Answer { failed: true }) && values.peek()? == 0xc0;
        let pairs = if nil {
            values.skip()?;
            0
        } else {
            values.map()?
        };
        let body = Body::new(pairs, std::mem::take(place)).ok_or(Stop::Wrong)?;
        Ok((Self { head, body, nil }, values.at()))
    }

    /// Whether all is there that such a message has, in every version.
    fn is_complete(&self) -> bool {
        let f = &self.body.fields;
        match self.head {
            Head::Append => {
                f.term.is_some()
                    && (f.named.is_some() || f.addr.is_some())
                    && f.previous_index.is_some()
                    && f.previous_term.is_some()
                    && f.entries.is_some()
                    && f.commit.is_some()
            }
            Head::Vote => {
                f.term.is_some()
                    && (f.named.is_some() || f.addr.is_some())
                    && f.last_index.is_some()
                    && f.last_term.is_some()
            }
            Head::PreVote => f.term.is_some() && f.last_index.is_some() && f.last_term.is_some(),
            Head::Snapshot => {
                f.term.is_some()
                    && f.last_index.is_some()
                    && f.last_term.is_some()
                    && f.size.is_some_and(|size| size <= SNAPSHOT_MAX)
            }
            Head::TimeoutNow => f.version.is_some(),
            Head::Answer { .. } => {
                self.nil
                    || f.version.is_some() && f.term.is_none()
                    || f.term.is_some() && (f.granted.is_some() || f.success.is_some())
            }
        }
    }

    /// How many bytes come behind the map.
    fn behind(&self) -> u64 {
        if self.head == Head::Snapshot { self.body.fields.size.unwrap_or(0) } else { 0 }
    }
}

/// The last request: what the next answer is of.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: Kind,
    from: Option<Member>,
}

/// Reads one connection of hashicorp/raft.
#[derive(Debug)]
pub struct Hashicorp {
    ends: [Member; 2],
    dialler: Option<Way>,
    open: [Option<Open>; 2],
    /// Where a direction's entries are put; kept, so that nothing is allocated for most of them.
    places: [Vec<Entry>; 2],
    asked: Option<Asked>,
    /// The first byte is still to come, in both directions.
    opens: [bool; 2],
}

impl Hashicorp {
    /// At the beginning of a connection, or somewhere in it.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self {
            ends: connection.ends.map(member_at),
            dialler: connection.dialler,
            open: [None, None],
            places: [Vec::new(), Vec::new()],
            asked: None,
            opens: [connection.whole; 2],
        }
    }

    /// Whether such a message may come in this direction.
    fn fits(&self, way: Way, head: Head) -> bool {
        let asks = if head.is_answer() { way.other() } else { way };
        self.dialler.is_none_or(|dialler| dialler == asks)
    }

    fn finish(&mut self, way: Way, open: &Open, tell: Tell<'_>) {
        let fields = &open.body.fields;
        let message = match open.head {
            Head::Answer { failed } => {
                self.dialler = Some(way.other());
                self.answer(way, fields, failed)
            }
            head => {
                self.dialler = Some(way);
                let mut message = request(head, fields);
                message.to = Some(self.ends[way.other().index()]);
                self.asked = Some(Asked { kind: message.kind, from: message.from });
                message
            }
        };
        tell(&message, &open.body.told);
    }

    fn answer(&mut self, way: Way, fields: &Fields, failed: bool) -> Message {
        let shape = (fields.granted.is_some(), fields.success.is_some(), fields.last_log.is_some());
        let fits = |kind: Kind| match kind {
            Kind::VoteRequest | Kind::PreVoteRequest => shape == (true, false, false),
            Kind::Append | Kind::Heartbeat => shape == (false, true, true),
            Kind::Snapshot => shape == (false, true, false),
            _ => shape == (false, false, false),
        };
        let nothing = failed && shape == (false, false, false);
        let asked = self.asked.filter(|asked| nothing || fits(asked.kind));
        let kind = match asked.map(|asked| asked.kind) {
            Some(Kind::VoteRequest) => Kind::VoteAnswer,
            Some(Kind::PreVoteRequest) => Kind::PreVoteAnswer,
            Some(Kind::Append) => Kind::AppendAnswer,
            Some(Kind::Heartbeat) => Kind::HeartbeatAnswer,
            Some(Kind::Snapshot) => Kind::SnapshotAnswer,
            // Votes have always told the peers, pre-votes never.
            None if fields.granted.is_some() && fields.peers.is_some() => Kind::VoteAnswer,
            _ => Kind::Other,
        };
        let mut message = Message::new(kind);
        message.term = fields.term;
        message.from = Some(self.ends[way.index()]);
        message.to = asked.and_then(|asked| asked.from);
        message.index = fields.last_log;
        message.granted = fields.granted.or(fields.success);
        message
    }
}

/// What a request says.
fn request(head: Head, fields: &Fields) -> Message {
    let pair =
        |index: Option<u64>, term: Option<u64>| Some(Position { index: index?, term: term? });
    let kind = match head {
        Head::Vote => Kind::VoteRequest,
        Head::PreVote => Kind::PreVoteRequest,
        Head::Snapshot => Kind::Snapshot,
        Head::TimeoutNow => Kind::TimeoutNow,
        // What the acceptor itself takes for a heartbeat.
        _ if fields.previous_index == Some(0)
            && fields.previous_term == Some(0)
            && fields.entries == Some(0)
            && fields.commit == Some(0) =>
        {
            Kind::Heartbeat
        }
        _ => Kind::Append,
    };
    let mut message = Message::new(kind);
    message.term = fields.term;
    message.from = fields.sender();
    message.entries = fields.entries.unwrap_or(0) as u32;
    message.previous = match kind {
        Kind::Heartbeat => None,
        Kind::Append => pair(fields.previous_index, fields.previous_term),
        _ => pair(fields.last_index, fields.last_term),
    };
    message.commit = if kind == Kind::Append { fields.commit } else { None };
    message
}

impl Decoder for Hashicorp {
    fn step(&mut self, way: Way, bytes: &[u8], _: &mut Known, tell: Tell<'_>) -> Step {
        if self.opens[way.index()] {
            let opening = OPENINGS.contains(&bytes[0]);
            match bytes.get(1) {
                None if opening => return Step::Need(2),
                Some(..=REQUEST_MAX) if opening => {
                    self.opens[way.index()] = false;
                    return Step::Took(1);
                }
                _ => self.opens[way.index()] = false,
            }
        }
        let mut done = 0;
        let mut open = match self.open[way.index()].take() {
            Some(open) => open,
            None => match Open::begin(bytes, &mut self.places[way.index()]) {
                Ok((open, len)) if self.fits(way, open.head) => {
                    done = len;
                    open
                }
                Ok(_) => return Step::Lost("a request where answers go, or an answer among them"),
                Err(Stop::Short(needed)) if needed <= KEPT_MAX as u64 => {
                    return Step::Need(needed as usize);
                }
                Err(_) if bytes.starts_with(&[0x16, 3]) => return Step::Lost("TLS"),
                Err(_) => return Step::Lost("no request or answer"),
            },
        };
        let step = match open.body.read(&bytes[done..]) {
            Read::Whole(_) if !open.is_complete() => {
                return Step::Lost("a message that lacks something");
            }
            Read::Whole(len) => {
                self.finish(way, &open, tell);
                let behind = open.behind();
                self.places[way.index()] = open.body.told;
                self.places[way.index()].clear();
                return match behind {
                    0 => Step::Took(done + len),
                    behind => Step::Skip((done + len) as u64 + behind),
                };
            }
            Read::Part(len) => Step::Took(done + len),
            Read::Wrong(why) => return Step::Lost(why),
            // What it begins with is dealt with; it will be asked again behind that.
            Read::Need(_) if done > 0 => Step::Took(done),
            Read::Need(needed) => Step::Need(needed as usize),
            Read::Skip(len) => Step::Skip(done as u64 + len),
        };
        self.open[way.index()] = Some(open);
        step
    }

    fn lose(&mut self, way: Way) {
        self.open[way.index()] = None;
        self.opens[way.index()] = false;
        if self.dialler.is_none_or(|dialler| dialler == way) {
            self.asked = None;
        }
    }

    fn regain(&mut self, way: Way, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let (mut open, len) = match Open::begin(&bytes[at..], &mut Vec::new()) {
                Ok(begun) => begun,
                Err(Stop::Short(_)) => break,
                Err(Stop::Wrong) => return None,
            };
            if !self.fits(way, open.head) {
                return None;
            }
            match open.body.read(&bytes[at + len..]) {
                Read::Whole(more) if open.is_complete() => at += len + more,
                Read::Whole(_) | Read::Wrong(_) => return None,
                Read::Part(_) | Read::Need(_) | Read::Skip(_) => break,
            }
            if open.behind() > 0 {
                // Whatever follows is the snapshot.
                break;
            }
        }
        (at > 0).then_some(0)
    }
}
