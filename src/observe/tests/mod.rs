//! Scripts of messages: healthy clusters raise no alarm, and each smallest violation raises its
//! own, with the messages that prove it.
//!
//! A line of a script is one event, a second after the one before:
//!
//! ```text
//! n1>n2 vote 5 last 7/3        n1 asks n2 for its vote in term 5, its log ends at 7 in term 3
//! n2>n1 granted 5              n2 grants it; `refused 5`, `prevote 5`, `pregranted 5`,
//!                              `prerefused 5` likewise
//! n1>n2 append 5 at 7/3 + 8/5a 9/5b commit 6     entries behind 7/3, each with its data
//! n1>n2 beat 5 commit 6        a heartbeat; `snap 5 at 9/5` a snapshot, `go 5` timeout-now
//! n2>n1 took 5 9               an answer to an append; `alive 5` one to a heartbeat
//! n1>n2 other 3                anything else
//! end n2   start n2   wipe n2  what becomes of a node
//! miss 3                       messages that were not told
//! ```
//!
//! `@k` at the end of a message names another connection of the pair, and `~` one that was
//! joined in mid-stream. Connections are opened by their first message, and anew after `start`.

mod bounds;
mod leaders;
mod logs;
mod parts;
mod scripts;
mod sim;
mod simulated;

use super::{Event, Invariant, Observer, Seen, file};
use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Entry, Group, Kind, Member, Message, Position, Way};
use std::collections::HashMap;

/// The events of a script.
fn events(script: &str) -> Vec<Event> {
    let mut flows = Flows::default();
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.enumerate().map(|(i, line)| flows.event(Nanos::from_secs(i as u64 + 1), line)).collect()
}

/// What is told of a script, from its events and from their text.
fn watch(script: &str) -> Observer {
    let events = events(script);
    let mut observer = Observer::new().named(names());
    for event in &events {
        observer.see(event);
    }
    let (_, again) = file::read(&recorded(&events)).expect("what was written can be read");
    let mut offline = Observer::new().named(names());
    for event in &again {
        offline.see(event);
    }
    assert_eq!(observer.alarms(), offline.alarms(), "offline equals live");
    assert_eq!(observer.finish(), offline.finish(), "offline equals live");
    observer
}

/// The events as a file.
fn recorded(events: &[Event]) -> String {
    let header = file::Header::new("script", names()).line();
    let lines = events.iter().map(file::line);
    std::iter::once(header).chain(lines).map(|line| line + "\n").collect()
}

fn names() -> Vec<String> {
    (0..=9).map(|i| format!("n{i}")).collect()
}

/// No alarm.
fn healthy(script: &str) {
    let observer = watch(script);
    assert_eq!(observer.alarms(), &[], "{script}");
}

/// Exactly one alarm, with these seconds as its evidence, and this sentence.
fn violates(script: &str, invariant: Invariant, seconds: &[u64], said: &str) {
    let observer = watch(script);
    let found: Vec<_> = observer
        .alarms()
        .iter()
        .map(|alarm| {
            let at: Vec<u64> = alarm.evidence.iter().map(|s| s.at.0 / 1_000_000_000).collect();
            (alarm.invariant, at, alarm.said.as_str())
        })
        .collect();
    assert_eq!(found, [(invariant, seconds.to_vec(), said)], "{script}");
}

#[derive(Default)]
struct Flows {
    /// By pair, connection and whether it was joined late: its number, its opening.
    known: HashMap<String, (u64, Option<Nanos>)>,
    next: u64,
}

impl Flows {
    fn event(&mut self, at: Nanos, line: &str) -> Event {
        let (line, group) = match line.split_once(" in ") {
            Some((line, group)) => (line, Group::named(group.as_bytes())),
            None => (line, Group::ONLY),
        };
        let mut words = line.split_whitespace().peekable();
        let first = words.next().expect("a word");
        let Some((from, to)) = first.split_once('>') else {
            if first == "miss" {
                return Event::Missed { at, messages: number(words.next().expect("a number")) };
            }
            let node = node(words.next().expect("a node"));
            let name = format!("n{}", node.0);
            if first != "end" {
                self.known.retain(|key, _| !key.contains(&name));
            }
            return match first {
                "end" => Event::Ended { at, node },
                "start" => Event::Started { at, node },
                "wipe" => Event::Wiped { at, node },
                _ => panic!("{line}"),
            };
        };
        let words: Vec<&str> = words.collect();
        let (tags, words): (Vec<&str>, Vec<&str>) =
            words.into_iter().partition(|word| word.starts_with('@') || *word == "~");
        let pair = if from < to { format!("{from}{to}") } else { format!("{to}{from}") };
        let opened = (!tags.contains(&"~")).then_some(at);
        let next = self.next;
        let (flow, opened) = *self.known.entry(format!("{pair}{tags:?}")).or_insert((next, opened));
        self.next += u64::from(flow == next);
        let (message, entries) = message(&words, member(from), member(to), group);
        Event::Seen(Seen {
            at,
            flow,
            way: if from < to { Way::There } else { Way::Back },
            opened,
            from: Some(node(from)),
            to: Some(node(to)),
            message,
            entries,
        })
    }
}

fn node(name: &str) -> NodeId {
    NodeId(name[1..].parse().expect("n and a digit"))
}

/// Not the node's number, lest one be taken for the other.
fn member(name: &str) -> Member {
    Member(u64::from(node(name).0) + 100)
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// `7/3`, or `7/3x` with data.
fn position(word: &str) -> (Position, &str) {
    let (index, term) = word.split_once('/').expect("index/term");
    let digits = term.trim_end_matches(char::is_alphabetic);
    (Position { index: number(index), term: number(digits) }, &term[digits.len()..])
}

fn message(words: &[&str], from: Member, to: Member, group: Group) -> (Message, Vec<Entry>) {
    let (kind, granted) = match words[0] {
        "vote" => (Kind::VoteRequest, None),
        "granted" => (Kind::VoteAnswer, Some(true)),
        "refused" => (Kind::VoteAnswer, Some(false)),
        "prevote" => (Kind::PreVoteRequest, None),
        "pregranted" => (Kind::PreVoteAnswer, Some(true)),
        "prerefused" => (Kind::PreVoteAnswer, Some(false)),
        "append" => (Kind::Append, None),
        "took" => (Kind::AppendAnswer, Some(true)),
        "beat" => (Kind::Heartbeat, None),
        "alive" => (Kind::HeartbeatAnswer, Some(true)),
        "snap" => (Kind::Snapshot, None),
        "go" => (Kind::TimeoutNow, None),
        "other" => (Kind::Other, None),
        word => panic!("{word} is no message"),
    };
    let mut message = Message { group, granted, ..Message::new(kind) };
    (message.term, message.from, message.to) = (Some(number(words[1])), Some(from), Some(to));
    let behind =
        |word: &str| words.iter().position(|other| *other == word).map(|place| words[place + 1]);
    message.previous = behind("last").or(behind("at")).map(|word| position(word).0);
    message.commit = behind("commit").map(number);
    let entries = words.iter().skip_while(|word| **word != "+").skip(1);
    let entries: Vec<Entry> = entries
        .take_while(|word| word.contains('/'))
        .map(|word| {
            let (at, data) = position(word);
            Entry { at, hash: data.bytes().fold(7, |hash, b| hash * 31 + u64::from(b)) }
        })
        .collect();
    message.entries = entries.len() as u32;
    (message, entries)
}
