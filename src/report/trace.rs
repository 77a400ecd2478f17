//! The trace, read again: every packet, and what became of messages, as far as that is certain.
//!
//! A message is what the packet completed that was read at the same nanosecond on the same link.
//! Packets are read in batches, all of one batch at one time; where several of a link were, a
//! message has the fate that all of them have, or none.

use super::clocks::{Clocks, signed};
use super::events::Near;
use super::story::{Messages, Micros, Packets};
use super::thin::Thin;
use super::wire::Message;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Its name in a run's folder.
pub(super) const TRACE: &str = "trace.jsonl";

/// Packets that a page gets.
const PACKETS_MAX: usize = 1_000_000;

/// Packets that wait for their answers; raftq holds no more.
const WAITING_MAX: usize = 1 << 20;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    /// It passed.
    Passed = 0,
    /// It passed later.
    Delayed = 1,
    /// It did not.
    Dropped = 2,
    /// A RST went on instead.
    Reset = 3,
    /// It went on changed.
    Changed = 4,
}

/// A fate, and the delay in microseconds; -1 where it is not known.
type Became = (Fate, Micros);

#[derive(Deserialize)]
struct Line<'l> {
    t: f64,
    #[serde(default)]
    queue: Option<u16>,
    #[serde(default)]
    id: Option<u32>,
    #[serde(default, borrow)]
    from: Option<Cow<'l, str>>,
    #[serde(default, borrow)]
    to: Option<Cow<'l, str>>,
    #[serde(default)]
    len: Option<u32>,
    #[serde(default, borrow)]
    rule: Option<Cow<'l, str>>,
    verdict: &'l str,
    #[serde(default)]
    delay_us: Option<i64>,
}

/// One packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    ns: i64,
    at: Micros,
    from: i64,
    to: i64,
    became: Became,
    rule: i64,
}

/// What it tells.
#[derive(Debug)]
pub(super) struct Trace {
    /// Packets for the page.
    pub(super) packets: Packets,
    /// How many were left out.
    pub(super) left_out: u64,
    /// How many packets, and answers to packets, it lacks because it could not keep up.
    pub(super) lacks: u64,
    /// Why the rest was not read.
    pub(super) broken: Option<String>,
    fates: FxHashMap<Key, Option<Became>>,
}

/// The last line of a trace that could not keep up.
#[derive(Deserialize)]
struct Lacks {
    lost: u64,
    answers_lost: u64,
}

/// When and where.
type Key = (i64, i64, i64);

/// What names stand for.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// Nodes.
    pub(super) nodes: &'a [String],
    /// Rules.
    pub(super) rules: &'a [String],
}

impl Places<'_> {
    fn node(&self, name: Option<&str>) -> i64 {
        name.and_then(|name| self.nodes.iter().position(|one| one == name)).map_or(-1, signed)
    }

    fn rule(&self, name: Option<&str>) -> i64 {
        name.and_then(|name| self.rules.iter().position(|one| one == name)).map_or(-1, signed)
    }
}

impl Trace {
    /// Reads it, for these messages.
    pub(super) fn read(
        folder: &Path,
        clocks: Clocks,
        near: &Near,
        places: &Places<'_>,
        messages: &[Message],
    ) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(1 << 18, File::open(folder.join(TRACE))?);
        let mut reading = Reading {
            thin: Thin::new(PACKETS_MAX),
            waiting: FxHashMap::default(),
            fates: messages.iter().map(|message| (key(message), None)).collect(),
            near,
            lacks: 0,
        };
        let mut broken = None;
        let (mut text, mut number) = (String::new(), 0_u64);
        loop {
            text.clear();
            number += 1;
            if file.read_line(&mut text)? == 0 {
                break;
            }
            // The last line of one that could not keep up counts what it lacks.
            if let Ok(lacks) = serde_json::from_str::<Lacks>(&text) {
                reading.lacks += lacks.lost + lacks.answers_lost;
                continue;
            }
            match serde_json::from_str::<Line<'_>>(&text) {
                Ok(line) => reading.line(&line, clocks, places),
                Err(_) if !text.ends_with('\n') => break,
                Err(e) => {
                    broken = Some(format!("{TRACE}: line {number}: {e}"));
                    break;
                }
            }
        }
        Ok(reading.finish(broken))
    }

    /// What became of a message; `None` where that is not certain.
    pub(super) fn of(&self, message: &Message) -> Option<Became> {
        self.fates.get(&key(message)).copied().flatten()
    }
}

fn key(message: &Message) -> Key {
    let node = |node: Option<crate::packet::NodeId>| node.map_or(-1, |node| i64::from(node.0));
    (signed(message.ns), node(message.ends[0]), node(message.ends[1]))
}

struct Reading<'a> {
    lacks: u64,
    thin: Thin<Packet>,
    /// Packets that are kept, by queue and id.
    waiting: FxHashMap<(u16, u32), Packet>,
    fates: FxHashMap<Key, Option<Became>>,
    near: &'a Near,
}

impl Reading<'_> {
    fn line(&mut self, line: &Line<'_>, clocks: Clocks, places: &Places<'_>) {
        let ns = (line.t * 1e9).round() as i64;
        let token = line.queue.zip(line.id);
        if line.len.is_none() {
            // An answer to one that was kept.
            if let Some(packet) = token.and_then(|token| self.waiting.remove(&token)) {
                let late = (ns - packet.ns).max(0) / 1_000;
                self.packet(Packet {
                    became: answered(line.verdict, packet.became, late),
                    ..packet
                });
            }
            return;
        }
        let became = match line.verdict {
            "accept" | "unreadable" | "ask" => (Fate::Passed, 0),
            "drop" | "trim" | "reject" | "overflow" => (Fate::Dropped, 0),
            "reset" => (Fate::Reset, 0),
            "corrupt" => (Fate::Changed, 0),
            "delay" | "hold" => (Fate::Delayed, line.delay_us.unwrap_or(-1)),
            // It comes again, in parts that have lines of their own.
            _ => return,
        };
        let known = u64::try_from(ns).map(|ns| clocks.of_rules(ns));
        // What passed before the clock started.
        let at = known.unwrap_or_else(|_| clocks.of_rules_s(line.t));
        let (from, to) = (places.node(line.from.as_deref()), places.node(line.to.as_deref()));
        let packet = Packet { ns, at, from, to, became, rule: places.rule(line.rule.as_deref()) };
        let is_kept = matches!(line.verdict, "ask" | "delay" | "hold");
        match token.filter(|_| is_kept && self.waiting.len() < WAITING_MAX) {
            // The answer to a former one of this number was lost.
            Some(token) => {
                if let Some(former) = self.waiting.insert(token, packet) {
                    self.packet(former);
                }
            }
            None => self.packet(packet),
        }
    }

    fn packet(&mut self, packet: Packet) {
        if let Some(fate) = self.fates.get_mut(&(packet.ns, packet.from, packet.to)) {
            *fate = match fate {
                None => Some(packet.became),
                Some(known) if *known == packet.became => return self.keep(packet),
                // Nobody knows which: as if none had been found, and for good.
                Some(_) => Some((Fate::Passed, UNCERTAIN)),
            };
        }
        self.keep(packet);
    }

    fn keep(&mut self, packet: Packet) {
        let matters = packet.became.0 != Fate::Passed || self.near.has(packet.at);
        self.thin.push(matters, packet);
    }

    fn finish(mut self, broken: Option<String>) -> Trace {
        let mut rest: Vec<Packet> = std::mem::take(&mut self.waiting).into_values().collect();
        rest.sort_by_key(|packet| (packet.ns, packet.from, packet.to));
        for packet in rest {
            self.packet(packet);
        }
        let (mut all, left_out) = self.thin.finish();
        all.sort_by_key(|packet| packet.ns);
        let mut packets = Packets::default();
        for packet in all {
            packets.at.push(packet.at);
            packets.from.push(packet.from);
            packets.to.push(packet.to);
            packets.fate.push(packet.became.0 as u8);
            packets.rule.push(packet.rule);
            packets.delay.push(packet.became.1);
        }
        let mut fates = self.fates;
        fates.retain(|_, fate| fate.is_some_and(|(_, delay)| delay != UNCERTAIN));
        if self.lacks > 0 {
            // One beside it may be missing, or the word that what was held was dropped after all.
            fates.retain(|_, fate| {
                let known = |fate: Fate| !matches!(fate, Fate::Passed | Fate::Delayed);
                fate.is_some_and(|(fate, _)| known(fate))
            });
        }
        Trace { packets, left_out, lacks: self.lacks, broken, fates }
    }
}

/// Stands for a delay where packets that cannot be told apart had several fates.
const UNCERTAIN: Micros = Micros::MIN;

/// What an answer makes of what was said of a packet as it was kept.
fn answered(verdict: &str, (fate, _): Became, late: Micros) -> Became {
    match (verdict, fate) {
        ("drop" | "overflow" | "trim" | "reject", _) => (Fate::Dropped, late),
        ("reset", _) => (Fate::Reset, late),
        ("corrupt", _) => (Fate::Changed, late),
        (_, Fate::Delayed) => (Fate::Delayed, late),
        // It waited for a word on its sender, and passed.
        (_, fate) => (fate, late),
    }
}

/// Messages as columns, with what became of them where there is a trace.
pub(super) fn columns(messages: &[Message], clocks: Clocks, trace: Option<&Trace>) -> Messages {
    let mut columns = Messages::default();
    let node = |node: Option<crate::packet::NodeId>| node.map_or(-1, |node| i64::from(node.0));
    for message in messages {
        let (fate, delay) = match trace {
            None => (Fate::Passed, -1),
            Some(trace) => trace.of(message).unwrap_or((Fate::Passed, -1)),
        };
        columns.at.push(clocks.of_rules(message.ns));
        columns.from.push(node(message.ends[0]));
        columns.to.push(node(message.ends[1]));
        columns.kind.push(message.kind as usize);
        columns.term.push(message.term.map_or(-1, signed));
        columns.fate.push(fate as u8);
        columns.delay.push(delay);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NodeId;
    use crate::wire::Kind;

    /// `HEAD` stands for what packets have in their first lines.
    const TEXT: &str = r#"{"t":-0.001,HEAD,"from":"n1","to":"n2","len":60,"verdict":"accept"}
{"t":0.001000001,"queue":0,"id":7,HEAD,"from":"n1","to":"n2","len":80,"rule":"slow \"ly\"",DELAY}
{"t":0.002,HEAD,"from":"n2","to":"n1","len":80,"rule":"cut","verdict":"drop"}
{"t":0.003,HEAD,"from":"n2","to":"n1","len":80,"rule":"cut","verdict":"drop"}
{"t":0.003,HEAD,"from":"n2","to":"n1","len":60,"verdict":"accept"}
{"t":0.021500001,"queue":0,"id":7,"from":"n1","to":"n2","verdict":"accept"}
{"t":0.03,"queue":0,"id":8,HEAD,"from":"n1","to":"n2","len":80,"verdict":"hold"}
"#;
    const HEAD: &str = r#""src":"10.0.0.1:1","dst":"10.0.0.2:1","proto":"tcp","segments":1"#;
    const DELAY: &str = r#""verdict":"delay","delay_us":20000"#;

    fn message(ns: u64, from: u16, to: u16) -> Message {
        let ends = [Some(NodeId(from)), Some(NodeId(to))];
        Message { ns, ends, kind: Kind::Append, term: Some(2) }
    }

    fn read(messages: &[Message]) -> Trace {
        read_text(TEXT, messages)
    }

    fn read_text(text: &str, messages: &[Message]) -> Trace {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text.replace("HEAD", HEAD).replace("DELAY", DELAY);
        std::fs::write(folder.path().join(TRACE), text).expect("a file");
        let mut clocks = Clocks::default();
        clocks.learn(1_000_000_000);
        let (nodes, rules) = (["n1".into(), "n2".into()], ["cut".into(), "slow \"ly\"".into()]);
        let places = Places { nodes: &nodes, rules: &rules };
        Trace::read(folder.path(), clocks, &Near::default(), &places, messages).expect("readable")
    }

    #[test]
    fn packets_have_the_fate_that_their_answer_tells() {
        let Trace { packets, left_out, broken, .. } = read(&[]);
        assert_eq!((left_out, broken), (0, None));
        assert_eq!(packets.at, [999_000, 1_001_000, 1_002_000, 1_003_000, 1_003_000, 1_030_000]);
        assert_eq!(packets.fate, [0, 1, 2, 2, 0, 1]);
        assert_eq!(packets.delay, [0, 20_500, 0, 0, 0, -1]);
        assert_eq!(packets.rule, [-1, 1, 0, 0, -1, -1]);
    }

    #[test]
    fn a_message_has_the_fate_of_its_packet_and_none_where_that_is_not_certain() {
        let messages = [
            message(1_000_001, 0, 1),
            message(2_000_000, 1, 0),
            message(3_000_000, 1, 0),
            message(4_000_000, 1, 0),
        ];
        let trace = read(&messages);
        let became: Vec<_> = messages.iter().map(|message| trace.of(message)).collect();
        let expected = [Some((Fate::Delayed, 20_500)), Some((Fate::Dropped, 0)), None, None];
        assert_eq!(became, expected);
        // Where packets are missing, another one may have been beside it.
        let text = TEXT.to_owned() + "{\"lost\":3,\"answers_lost\":1}\n";
        let lossy = read_text(&text, &messages);
        let became: Vec<_> = messages.iter().map(|message| lossy.of(message)).collect();
        assert_eq!(became, [None, Some((Fate::Dropped, 0)), None, None]);
        assert_eq!(lossy.lacks, 4);
        let mut clocks = Clocks::default();
        clocks.learn(0);
        let columns = columns(&messages, clocks, Some(&trace));
        assert_eq!(columns.fate, [1, 2, 0, 0]);
        assert_eq!(columns.delay, [20_500, 0, -1, -1]);
    }
}
