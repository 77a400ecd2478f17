//! The embedded node's connections, and those of others that frame tikv's messages as it does.
//!
//! ```text
//! dialler   "raftq-node/1 <cluster> <id> <address>\n", then frames: length u32 BE | Message
//! dialler   "raftq-join/1 <cluster> <name> <folder>\n", answered by one line
//! ```
//!
//! The acceptor of a member's connection says nothing. Nodes without a preamble are read, too: a
//! first byte of 0 belongs to the length of a frame, as none of them is 16 MB long. Once a
//! direction has sent a frame, all that follows are frames.

use super::decoder::{Connection, Decoder, KEPT_MAX, Known, Step, Tell, Way};
use super::message::Entry;
use super::raftpb;

/// The longest line that is believed; the node itself reads so many bytes.
const LINE_MAX: usize = 256;
/// The longest frame that is believed, as in the node.
const FRAME_MAX: usize = 1 << 30;
/// How much of a frame that is too long to be kept is read: its numbers, but no data.
const FRONT: usize = 512;
const LENGTH: usize = 4;

const NODE: &[u8] = b"raftq-node/1 ";
const JOIN: &[u8] = b"raftq-join/1 ";
const ANSWERS: [&[u8]; 2] = [b"id ", b"not yet: "];

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A preamble, an answer, or at once a frame.
    Opening,
    Frame,
    /// Nothing: the one line was said.
    End,
}

/// Reads one connection.
#[derive(Debug)]
pub struct Embedded {
    dialler: Option<Way>,
    next: [Next; 2],
    entries: Vec<Entry>,
}

impl Embedded {
    /// A decoder for a connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self { dialler: connection.dialler, next: [Next::Opening; 2], entries: Vec::new() }
    }

    fn opening(&mut self, way: Way, bytes: &[u8]) -> Step {
        if bytes[0] == 0 && self.dialler != Some(way.other()) {
            self.next[way.index()] = Next::Frame;
            return Step::Took(0);
        }
        let dialler: &[(&[u8], Next)] = &[(NODE, Next::Frame), (JOIN, Next::End)];
        let acceptor: &[(&[u8], Next)] = &[(ANSWERS[0], Next::End), (ANSWERS[1], Next::End)];
        let lines = match self.dialler {
            Some(dials) if dials == way => dialler.iter().chain(&[]),
            Some(_) => acceptor.iter().chain(&[]),
            None => dialler.iter().chain(acceptor),
        };
        for (start, next) in lines {
            let common = start.len().min(bytes.len());
            if start[..common] != bytes[..common] {
                continue;
            }
            return match bytes.iter().take(LINE_MAX).position(|&b| b == b'\n') {
                Some(end) => {
                    self.next[way.index()] = *next;
                    Step::Took(end + 1)
                }
                None if bytes.len() < LINE_MAX => Step::Need(bytes.len() + 1),
                None => Step::Lost("a line without an end"),
            };
        }
        Step::Lost("neither a preamble nor a frame")
    }

    fn frame(&mut self, bytes: &[u8], tell: Tell<'_>) -> Step {
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
            return Step::Need(LENGTH);
        };
        let length = u32::from_be_bytes(*length) as usize;
        let whole = LENGTH + length;
        if length == 0 || length > FRAME_MAX {
            return Step::Lost("a frame of no possible length");
        }
        if whole > KEPT_MAX {
            let Some(front) = rest.get(..FRONT) else { return Step::Need(LENGTH + FRONT) };
            let Some(read) = raftpb::read_front(front, &mut self.entries) else {
                return Step::Lost("a frame that is no message");
            };
            tell(&read.message, &self.entries);
            return Step::Skip(whole as u64);
        }
        let Some(frame) = rest.get(..length) else { return Step::Need(whole) };
        match raftpb::read(frame, &mut self.entries) {
            Ok(read) => {
                tell(&read.message, &self.entries);
                Step::Took(whole)
            }
            Err(_) => Step::Lost("a frame that is no message"),
        }
    }

    /// The rest behind a frame that is certainly one.
    fn behind_certain<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
        let (frame, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let read = raftpb::read(frame, &mut self.entries).ok()?;
        read.is_certain().then_some(rest)
    }
}

impl Decoder for Embedded {
    fn step(&mut self, way: Way, bytes: &[u8], _: &mut Known, tell: Tell<'_>) -> Step {
        if self.next[way.index()] == Next::Opening {
            let step = self.opening(way, bytes);
            if step != Step::Took(0) {
                return step;
            }
        }
        match self.next[way.index()] {
            Next::End => Step::Lost("more than one line"),
            _ => self.frame(bytes, tell),
        }
    }

    fn lose(&mut self, way: Way) {
        self.next[way.index()] = Next::Frame;
    }

    fn regain(&mut self, way: Way, bytes: &[u8]) -> Option<usize> {
        if self.dialler == Some(way.other()) {
            return None;
        }
        let rest = self.behind_certain(bytes)?;
        let is_certain = rest.is_empty() || self.behind_certain(rest).is_some();
        is_certain.then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Kind, Member, Message};
    use super::*;
    use crate::packet::Endpoint;

    const HEARTBEAT: [u8; 14] = [0, 0, 0, 10, 8, 8, 16, 1, 24, 3, 32, 1, 64, 5];

    fn decoder(dialler: Option<Way>) -> Embedded {
        let end = Endpoint { addr: 1, port: 7000 };
        Embedded::new(&Connection { ends: [end, end], dialler, whole: true })
    }

    fn step(decoder: &mut Embedded, way: Way, bytes: &[u8]) -> (Step, Vec<Message>) {
        let mut told = Vec::new();
        let step = decoder.step(way, bytes, &mut Known::default(), &mut |m, _| told.push(*m));
        (step, told)
    }

    #[test]
    fn frames_follow_the_preamble_or_begin_at_once() {
        let mut decoder = decoder(Some(Way::There));
        let line = b"raftq-node/1 c 3 10.0.0.3:7000\n";
        assert_eq!(step(&mut decoder, Way::There, &line[..20]), (Step::Need(21), vec![]));
        assert_eq!(step(&mut decoder, Way::There, line).0, Step::Took(line.len()));
        assert_eq!(step(&mut decoder, Way::There, &HEARTBEAT[..3]).0, Step::Need(4));
        assert_eq!(step(&mut decoder, Way::There, &HEARTBEAT[..9]).0, Step::Need(14));
        let (took, told) = step(&mut decoder, Way::There, &HEARTBEAT);
        let wanted = Message {
            term: Some(1),
            from: Some(Member(3)),
            to: Some(Member(1)),
            commit: Some(5),
            ..Message::new(Kind::Heartbeat)
        };
        assert_eq!((took, told), (Step::Took(14), vec![wanted]));
        let mut older = super::tests::decoder(None);
        assert_eq!(step(&mut older, Way::Back, &HEARTBEAT).1, vec![wanted]);
    }

    #[test]
    fn the_acceptor_answers_a_join_and_sends_no_frames() {
        let mut decoder = decoder(Some(Way::There));
        assert_eq!(step(&mut decoder, Way::There, b"raftq-join/1 c n4 77\n").0, Step::Took(21));
        assert_eq!(step(&mut decoder, Way::Back, b"not yet: no leader\n").0, Step::Took(19));
        assert!(matches!(step(&mut decoder, Way::Back, b"id 4\n").0, Step::Lost(_)));
        let mut other = super::tests::decoder(Some(Way::There));
        assert!(matches!(step(&mut other, Way::Back, &HEARTBEAT).0, Step::Lost(_)));
        assert_eq!(other.regain(Way::Back, &HEARTBEAT), None);
    }

    #[test]
    fn a_frame_alone_or_two_in_a_row_are_certain() {
        let mut decoder = decoder(None);
        let two = [HEARTBEAT, HEARTBEAT].concat();
        assert_eq!(decoder.regain(Way::There, &HEARTBEAT), Some(0));
        assert_eq!(decoder.regain(Way::There, &two), Some(0));
        // Half of a second one proves nothing, nor does one from nobody, or an unknown field.
        assert_eq!(decoder.regain(Way::There, &two[..20]), None);
        assert_eq!(decoder.regain(Way::There, &[0, 0, 0, 4, 8, 8, 64, 5]), None);
        let strange = [0, 0, 0, 10, 8, 8, 16, 1, 24, 3, 32, 1, 0xf8, 5];
        assert_eq!(decoder.regain(Way::There, &strange), None);
        assert_eq!(decoder.regain(Way::There, &HEARTBEAT[1..]), None);
    }

    #[test]
    fn of_a_huge_frame_the_front_is_told_and_the_rest_is_passed_over() {
        let mut decoder = decoder(None);
        let mut bytes = vec![0, 32, 0, 0, 8, 3, 16, 1, 24, 3, 32, 9, 40, 8, 48, 7];
        bytes.extend([0x3a, 0x80, 0x80, 0x7f, 0x22, 0xfa, 0xff, 0x7e]);
        bytes.resize(4 + FRONT, b'x');
        assert_eq!(step(&mut decoder, Way::There, &bytes[..30]).0, Step::Need(4 + FRONT));
        let (took, told) = step(&mut decoder, Way::There, &bytes);
        assert_eq!(took, Step::Skip(4 + (32 << 16)));
        assert_eq!((told[0].kind, told[0].term, told[0].commit), (Kind::Append, Some(9), None));
        assert_eq!(told[0].previous.map(|p| (p.index, p.term)), Some((7, 8)));
        assert_eq!(told[0].entries, 1, "the one that is cut");
    }
}
