//! `wire.jsonl`: what the observer was told, as text, so that it can be judged again.
//!
//! The first line is a [`Header`]; each line behind it is one [`Event`]. Times are nanoseconds on
//! the run's clock; `from` and `to` are nodes by their place in the header; members, hashes are
//! hexadecimal text, since many readers of JSON keep only 53 bits of a number; `previous` and
//! `known` are `[index, term]` and `[index, term, hash]`. What is not known is left out.

use super::{Coverage, Event, Seen};
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Entry, Group, Kind, Member, Message, Position, Way};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// The version of this format.
pub const VERSION: u32 = 1;

/// The first line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub raftq_wire: u32,
    /// By which protocol the messages were read.
    pub protocol: String,
    /// The nodes' names, in the order of the table.
    pub nodes: Vec<String>,
}

impl Header {
    /// A header of this version.
    #[must_use]
    pub fn new(protocol: &str, nodes: Vec<String>) -> Self {
        Self { raftq_wire: VERSION, protocol: protocol.to_owned(), nodes }
    }

    /// As one line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        text(self)
    }
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which line, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Unreadable {}

/// An event as one line, without its end.
#[must_use]
pub fn line(event: &Event) -> String {
    text(&match event {
        Event::Seen(seen) => Line::Seen(SeenLine::of(seen)),
        &Event::Started { at, node } => Line::Started { at: at.0, node: node.0 },
        &Event::Ended { at, node } => Line::Ended { at: at.0, node: node.0 },
        &Event::Wiped { at, node } => Line::Wiped { at: at.0, node: node.0 },
        &Event::Missed { at, messages } => Line::Missed { at: at.0, messages },
        &Event::Coverage(coverage) => Line::Coverage(coverage),
    })
}

/// Reads a file line by line, from any source of lines.
#[derive(Debug)]
pub struct Reader {
    header: Header,
    line: usize,
}

impl Reader {
    /// Reads the first line.
    pub fn new(first: &str) -> Result<Self, Unreadable> {
        let wrong = |why: String| Unreadable { line: 1, why };
        let header: Header = serde_json::from_str(first)
            .map_err(|e| wrong(format!("not the header of recorded messages: {}", plain(&e))))?;
        if header.raftq_wire != VERSION {
            let version = header.raftq_wire;
            return Err(wrong(format!("version {version}; this raftq reads {VERSION}")));
        }
        Ok(Self { header, line: 1 })
    }

    /// What the first line says.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads the next line. `None` where it is empty.
    pub fn event(&mut self, line: &str) -> Result<Option<Event>, Unreadable> {
        self.line += 1;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let read = serde_json::from_str::<Line>(line).map_err(|e| plain(&e));
        let event = read.and_then(|read| self.meant(read));
        event.map(Some).map_err(|why| Unreadable { line: self.line, why })
    }

    fn meant(&self, line: Line) -> Result<Event, String> {
        Ok(match line {
            Line::Seen(line) => Event::Seen(line.meant(&|node| self.node(node))?),
            Line::Started { at, node } => Event::Started { at: Nanos(at), node: self.node(node)? },
            Line::Ended { at, node } => Event::Ended { at: Nanos(at), node: self.node(node)? },
            Line::Wiped { at, node } => Event::Wiped { at: Nanos(at), node: self.node(node)? },
            Line::Missed { at, messages } => Event::Missed { at: Nanos(at), messages },
            Line::Coverage(coverage) => Event::Coverage(coverage),
        })
    }

    fn node(&self, node: u16) -> Result<NodeId, String> {
        let nodes = self.header.nodes.len();
        if usize::from(node) < nodes {
            Ok(NodeId(node))
        } else {
            Err(format!("node {node} is none of the {nodes} in the header"))
        }
    }
}

/// Reads a whole text.
pub fn read(text: &str) -> Result<(Header, Vec<Event>), Unreadable> {
    let mut lines = text.lines();
    let mut reader = Reader::new(lines.next().unwrap_or_default())?;
    let mut events = Vec::new();
    for line in lines {
        events.extend(reader.event(line)?);
    }
    Ok((reader.header, events))
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Seen(SeenLine),
    Started { at: u64, node: u16 },
    Ended { at: u64, node: u16 },
    Wiped { at: u64, node: u16 },
    Missed { at: u64, messages: u64 },
    Coverage(Coverage),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenLine {
    at: u64,
    flow: u64,
    way: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u16>,
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    entries: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    known: Vec<(u64, u64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    granted: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl SeenLine {
    fn of(seen: &Seen) -> Self {
        let Seen { message, .. } = seen;
        let member = |member: Member| format!("{:x}", member.0);
        let known = |entry: &Entry| (entry.at.index, entry.at.term, format!("{:x}", entry.hash));
        Self {
            at: seen.at.0,
            flow: seen.flow,
            way: seen.way as u8,
            opened: seen.opened.map(|at| at.0),
            from: seen.from.map(|node| node.0),
            to: seen.to.map(|node| node.0),
            kind: message.kind.word().to_owned(),
            group: escaped(message.group),
            term: message.term,
            sender: message.from.map(member),
            receiver: message.to.map(member),
            previous: message.previous.map(|at| (at.index, at.term)),
            index: message.index,
            entries: message.entries,
            known: seen.entries.iter().map(known).collect(),
            commit: message.commit,
            granted: message.granted,
        }
    }

    fn meant(self, node: &dyn Fn(u16) -> Result<NodeId, String>) -> Result<Seen, String> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == self.kind);
        let number = |text: &str, what: &str| {
            u64::from_str_radix(text, 16).map_err(|_| format!("{what} {text:?} is no number"))
        };
        let member =
            |text: Option<String>| text.map(|text| number(&text, "member").map(Member)).transpose();
        let known = |(index, term, hash): (u64, u64, String)| {
            let at = Position { index, term };
            Ok::<_, String>(Entry { at, hash: number(&hash, "hash")? })
        };
        Ok(Seen {
            at: Nanos(self.at),
            flow: self.flow,
            way: match self.way {
                0 => Way::There,
                1 => Way::Back,
                way => return Err(format!("way {way} is neither 0 nor 1")),
            },
            opened: self.opened.map(Nanos),
            from: self.from.map(node).transpose()?,
            to: self.to.map(node).transpose()?,
            message: Message {
                kind: kind.ok_or_else(|| format!("there is no kind {:?}", self.kind))?,
                group: plain_group(&self.group)?,
                term: self.term,
                from: member(self.sender)?,
                to: member(self.receiver)?,
                previous: self.previous.map(|(index, term)| Position { index, term }),
                index: self.index,
                entries: self.entries,
                commit: self.commit,
                granted: self.granted,
            },
            entries: self.known.into_iter().map(known).collect::<Result<_, _>>()?,
        })
    }
}

/// A group's name, with `%xx` for what is not plain.
fn escaped(group: Group) -> String {
    let mut text = String::new();
    for &b in group.bytes() {
        if b.is_ascii_graphic() && b != b'%' {
            text.push(char::from(b));
        } else {
            let _ = write!(text, "%{b:02x}");
        }
    }
    text
}

fn plain_group(text: &str) -> Result<Group, String> {
    let wrong = || format!("group {text:?}: % and two hexadecimal digits");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = behind;
    }
    Ok(Group::named(&bytes))
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("numbers, texts and lists can be written")
}

/// What is wrong, without the line, which is always 1 here.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header::new("etcd", vec!["n1".into(), "n2".into()])
    }

    prop_compose! {
        fn seen()(
            (at, flow, back, opened) in any::<(u64, u64, bool, Option<u64>)>(),
            ends in proptest::array::uniform2(proptest::option::of(0_u16..2)),
            kind in 0..Kind::ALL.len(),
            group in proptest::collection::vec(any::<u8>(), 0..24),
            [term, from, to, index] in any::<[Option<u64>; 4]>(),
            (previous, entries) in any::<(Option<(u64, u64)>, u32)>(),
            known in proptest::collection::vec(any::<(u64, u64, u64)>(), 0..4),
            (commit, granted) in any::<(Option<u64>, Option<bool>)>(),
        ) -> Seen {
            Seen {
                at: Nanos(at),
                flow,
                way: if back { Way::Back } else { Way::There },
                opened: opened.map(Nanos),
                from: ends[0].map(NodeId),
                to: ends[1].map(NodeId),
                message: Message {
                    kind: Kind::ALL[kind],
                    group: Group::named(&group),
                    term,
                    from: from.map(Member),
                    to: to.map(Member),
                    previous: previous.map(|(index, term)| Position { index, term }),
                    index,
                    entries,
                    commit,
                    granted,
                },
                entries: known
                    .into_iter()
                    .map(|(index, term, hash)| Entry { at: Position { index, term }, hash })
                    .collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seen in seen()) {
            let event = Event::Seen(seen);
            let text = format!("{}\n{}\n", header().line(), line(&event));
            prop_assert_eq!(read(&text), Ok((header(), vec![event])));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", line in "\\PC*") {
            let _ = read(&text);
            let _ = read(&format!("{}\n{line}", header().line()));
        }
    }

    #[test]
    fn lines_look_like_this() {
        let mut message = Message::new(Kind::Append);
        (message.group, message.term) = (Group::named(b"S-R3F-a b%"), Some(4));
        (message.from, message.entries) = (Some(Member(0x69d8)), 1);
        message.previous = Some(Position { index: 7, term: 3 });
        let at = Position { index: 8, term: 4 };
        let seen = Seen {
            at: Nanos(5),
            flow: 2,
            way: Way::Back,
            opened: None,
            from: Some(NodeId(1)),
            to: None,
            message,
            entries: vec![Entry { at, hash: 0xabc }],
        };
        assert_eq!(
            line(&Event::Seen(seen)),
            r#"{"event":"seen","at":5,"flow":2,"way":1,"from":1,"kind":"append_entries","#
                .to_owned()
                + r#""group":"S-R3F-a%20b%25","term":4,"sender":"69d8","previous":[7,3],"#
                + r#""entries":1,"known":[[8,4,"abc"]]}"#
        );
        let others = [
            Event::Started { at: Nanos(1), node: NodeId(0) },
            Event::Ended { at: Nanos(2), node: NodeId(1) },
            Event::Wiped { at: Nanos(3), node: NodeId(1) },
            Event::Missed { at: Nanos(4), messages: 9 },
            Event::Coverage(Coverage { flows: 6, read: 100, ..Coverage::default() }),
        ];
        let mut text = header().line();
        for event in &others {
            text = text + "\n" + &line(event);
        }
        assert!(text.starts_with(r#"{"raftq_wire":1,"protocol":"etcd","nodes":["n1","n2"]}"#));
        assert_eq!(read(&text).expect("readable").1, others);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |line: &str| {
            let text = format!("{}\n\n{line}\n", header().line());
            read(&text).expect_err("wrong").to_string()
        };
        assert_eq!(
            said(r#"{"event":"started","at":1,"node":7}"#),
            "line 3: node 7 is none of the 2 in the header"
        );
        let seen = |rest: &str| said(&format!(r#"{{"event":"seen","at":1,"flow":1,{rest}}}"#));
        assert_eq!(seen(r#""way":0,"kind":"apend""#), r#"line 3: there is no kind "apend""#);
        assert_eq!(seen(r#""way":2,"kind":"other""#), "line 3: way 2 is neither 0 nor 1");
        let sender = seen(r#""way":0,"kind":"other","sender":"n1""#);
        assert_eq!(sender, r#"line 3: member "n1" is no number"#);
        assert!(seen(r#""way":0,"kind":"other","trem":1"#).contains("unknown field `trem`"));
        let group = seen(r#""way":0,"kind":"other","group":"a%4""#);
        assert_eq!(group, r#"line 3: group "a%4": % and two hexadecimal digits"#);
        let old = r#"{"raftq_wire":9,"protocol":"etcd","nodes":[]}"#;
        let version = read(old).expect_err("another version").to_string();
        assert_eq!(version, "line 1: version 9; this raftq reads 1");
        assert!(read("").expect_err("no header").why.starts_with("not the header"));
    }
}
