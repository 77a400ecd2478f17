//! NATS `JetStream`: Raft's messages among others on the routes between servers, many groups on
//! one connection.
//!
//! A message has a subject that says what it is and of which group, and one for its answers. An
//! answer has only that: what was asked there is remembered for the whole cluster, since a
//! request may go by another connection. An answer to something that was not seen belongs to
//! [`Group::UNKNOWN`], and its term is not told: each group counts its own.
//!
//! What terms are worth here, by the server's own source:
//!
//! - An append has one place in the log, behind the previous one and in the append's term,
//!   however many entries it carries. So it is told as one entry.
//! - An answer to an append bears the term of the last entry its sender has, or that of a leader
//!   that it refused. Only one that is not older than the append's says what term its sender is
//!   in; of others the term is not told, nor where this connection had no such append.
//! - Old servers (2.9) grant a vote with the term they had before, newer ones with the one asked
//!   for. A granted vote's term is told where both are the same, and where this connection had
//!   the request as well.
//! - A leader brings a follower up to date by appends as they were once stored, with the leaders
//!   and terms of that time, to a subject of their own. Those are [`Kind::Other`].
//!
//! ```text
//! line.rs       lines, and what stands in those of messages
//! payload.rs    what Raft's messages carry
//! ```

mod line;
mod payload;

#[cfg(test)]
mod tests;

use super::decoder::{Connection, Decoder, KEPT_MAX, Known, Question, Step, Tell, Way};
use super::message::{Entry, Group, Kind, Message, Position};
use line::{Head, Line, NoLine};
use payload::{APPEND_LEN, Entries};
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Subjects for answers that are remembered of one direction of a connection, two for each group;
/// then all are forgotten, and told anew by the next heartbeats.
const ASKED_MAX: usize = 2_048;

/// What is known of one direction.
#[derive(Debug, Default)]
struct Half {
    /// A message was skipped, and its CR LF comes next.
    ends: bool,
    /// Where votes and appends are to be answered, and the term of the latest of them. Only what
    /// was read here without a gap counts: behind a gap a later one may have been asked for.
    asked: FxHashMap<u64, u64>,
}

impl Half {
    fn ask(&mut self, key: u64, term: u64) {
        if self.asked.len() == ASKED_MAX {
            self.asked.clear();
        }
        self.asked.insert(key, term);
    }
}

/// Reads one route.
#[derive(Debug, Default)]
pub struct Nats {
    halves: [Half; 2],
}

impl Nats {
    /// At the beginning of a connection, or somewhere in it. Both ends say the same things.
    #[must_use]
    pub fn new(_: &Connection) -> Self {
        Self::default()
    }

    /// A message that is all there, or of which only the front is (`whole`).
    fn read(&mut self, way: Way, head: &Head, body: &[u8], whole: bool, to: (&mut Known, Tell)) {
        let Some(subject) = head.subject else { return };
        let (known, tell) = to;
        let dot = subject.iter().position(|&b| b == b'.').unwrap_or(subject.len());
        let group = subject.get(dot + 1..).unwrap_or_default();
        let (message, entry) = match &subject[..dot] {
            b"V" => (self.vote_request(way, group, head, body, known), None),
            b"AE" => {
                let (message, entry) = append(group, head, body, whole, known);
                if let Some((reply, term)) = head.reply.zip(message.term) {
                    self.halves[way.index()].ask(xxh3_64(reply), term);
                }
                (message, entry)
            }
            b"P" | b"RP" => (of(Kind::Other, Group::named(group)), None),
            _ => (self.answer(way, subject, head, body, known), None),
        };
        tell(&message, entry.as_slice());
    }

    fn vote_request(
        &mut self,
        way: Way,
        group: &[u8],
        head: &Head,
        body: &[u8],
        known: &mut Known,
    ) -> Message {
        let group = Group::named(group);
        let Some(request) = payload::vote_request(body) else {
            return of(Kind::Other, group);
        };
        let mut message = of(Kind::VoteRequest, group);
        message.term = Some(request.term);
        message.from = request.candidate;
        message.previous = Some(request.last);
        if let Some(key) = head.reply.map(xxh3_64) {
            known.asked(key, question(&message));
            self.halves[way.index()].ask(key, request.term);
        }
        message
    }

    /// Something sent to where answers go; its length says what it is.
    fn answer(
        &mut self,
        way: Way,
        subject: &[u8],
        head: &Head,
        body: &[u8],
        known: &mut Known,
    ) -> Message {
        let key = answers_key(subject);
        let asked = known.question(key).copied();
        let group = asked.map_or(Group::UNKNOWN, |asked| asked.group);
        let kind = asked.map(|asked| asked.kind);
        let asked_here = self.halves[way.other().index()].asked.get(&key).copied();
        let asked_here = asked_here.filter(|_| asked.is_some());
        let mut message = of(Kind::Other, group);
        message.to = asked.and_then(|asked| asked.from);
        if let Some(answer) = payload::vote_answer(body)
            && matches!(kind, None | Some(Kind::VoteRequest))
        {
            message.kind = Kind::VoteAnswer;
            message.from = answer.from;
            message.granted = Some(answer.granted);
            let is_own = !answer.granted || asked_here == Some(answer.term);
            message.term = (is_own && asked.is_some()).then_some(answer.term);
        } else if let Some(answer) = payload::append_answer(body)
            && matches!(kind, None | Some(Kind::Append))
        {
            message.kind = Kind::AppendAnswer;
            message.from = answer.from;
            message.index = answer.index;
            message.granted = Some(answer.granted);
            let is_own = asked_here.is_some_and(|term| answer.term >= term);
            message.term = is_own.then_some(answer.term);
            if let Some(inbox) = head.reply {
                // It wants to be brought up to date, there.
                let question = Question { kind: Kind::Other, group, from: answer.from, term: None };
                known.asked(xxh3_64(inbox), question);
            }
        } else if let Some(inbox) = head.reply
            && inbox.starts_with(b"$NRG.CP.")
        {
            // How far it has come is said there.
            known.asked(
                xxh3_64(inbox),
                Question { kind: Kind::Other, group, from: None, term: None },
            );
        }
        message
    }
}

/// A key as of the whole subject, without putting it together.
fn answers_key(subject: &[u8]) -> u64 {
    let mut whole = [0; 64];
    let prefix = b"$NRG.";
    let len = prefix.len() + subject.len();
    if len > whole.len() {
        // No server makes such a subject.
        return 0;
    }
    whole[..prefix.len()].copy_from_slice(prefix);
    whole[prefix.len()..len].copy_from_slice(subject);
    xxh3_64(&whole[..len])
}

fn of(kind: Kind, group: Group) -> Message {
    Message { group, ..Message::new(kind) }
}

fn question(message: &Message) -> Question {
    // Heartbeats and appends are answered at the same subject and alike.
    let kind = if message.kind == Kind::Heartbeat { Kind::Append } else { message.kind };
    Question { kind, group: message.group, from: message.from, term: message.term }
}

fn append(
    group: &[u8],
    head: &Head,
    body: &[u8],
    whole: bool,
    known: &mut Known,
) -> (Message, Option<Entry>) {
    let group = Group::named(group);
    let Some(append) = payload::append(body, whole) else {
        return (of(Kind::Other, group), None);
    };
    let kind = if append.entries == Entries::None { Kind::Heartbeat } else { Kind::Append };
    let mut message = of(kind, group);
    message.term = Some(append.term);
    message.from = append.leader;
    message.previous = Some(append.previous);
    message.commit = Some(append.commit);
    if let Some(key) = head.reply.map(xxh3_64) {
        known.asked(key, question(&message));
    }
    let Entries::Some(hash) = append.entries else { return (message, None) };
    message.entries = 1;
    let index = append.previous.index.checked_add(1);
    let entry = index.zip(hash).map(|(index, hash)| {
        let at = Position { index, term: append.term };
        Entry { at, hash }
    });
    (message, entry)
}

impl Decoder for Nats {
    fn step(&mut self, way: Way, bytes: &[u8], known: &mut Known, tell: Tell<'_>) -> Step {
        if self.halves[way.index()].ends {
            return match bytes {
                [b'\r'] => Step::Need(2),
                [b'\r', b'\n', ..] => {
                    self.halves[way.index()].ends = false;
                    Step::Took(2)
                }
                _ => Step::Lost("a message that does not end where it should"),
            };
        }
        let (line, len) = match line::read(bytes) {
            Ok(read) => read,
            Err(NoLine::Short) => return Step::Need(bytes.len() + 1),
            Err(NoLine::Wrong) => return Step::Lost(why(bytes)),
        };
        let Line::Message(head) = line else { return Step::Took(len) };
        let end = len + head.size;
        let large = head.subject.is_none() || end + 2 > KEPT_MAX;
        if let Some(behind) = bytes.get(end..end + 2) {
            if behind != b"\r\n" {
                return Step::Lost("a message that does not end where it should");
            }
            if !large {
                self.read(way, &head, &bytes[len + head.header..end], true, (known, tell));
            }
        } else if !large {
            return Step::Need(end + 2);
        }
        if !large {
            return Step::Took(end + 2);
        }
        if head.subject.is_some() {
            // Too large to be kept: what stands in front is read, and no entry is hashed.
            let front = len + head.header + APPEND_LEN;
            match bytes.get(len + head.header..front) {
                Some(body) => self.read(way, &head, body, false, (known, tell)),
                None if front > KEPT_MAX => return Step::Lost("a header larger than any"),
                None => return Step::Need(front),
            }
        }
        self.halves[way.index()].ends = true;
        Step::Skip(end as u64)
    }

    fn lose(&mut self, way: Way) {
        self.halves[way.index()] = Half::default();
    }

    fn regain(&mut self, _: Way, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        // Routes that are only kept alive would never be taken up otherwise. Nobody sends six
        // bytes of a message alone: short segments end where a server had no more to say.
        let mut certain = matches!(bytes, b"PING\r\n" | b"PONG\r\n");
        while at < bytes.len() {
            let (line, len) = match line::read(&bytes[at..]) {
                Ok(read) => read,
                Err(NoLine::Short) => break,
                Err(NoLine::Wrong) => return None,
            };
            at += len;
            match line {
                Line::Message(head) => match bytes.get(at + head.size..at + head.size + 2) {
                    Some(b"\r\n") => {
                        certain = true;
                        at += head.size + 2;
                    }
                    Some(_) => return None,
                    None => break,
                },
                Line::Interest => certain = true,
                Line::Other => {}
            }
        }
        certain.then_some(0)
    }
}

/// Why these are no line.
fn why(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(&[0xff, 6, 0, 0]) {
        // The chunk with which an S2 or Snappy stream begins.
        "compressed: set the cluster's compression to off"
    } else if bytes.starts_with(&[0x16, 3]) {
        "TLS"
    } else {
        "no line of a route"
    }
}
