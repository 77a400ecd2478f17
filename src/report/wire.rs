//! `wire.jsonl`, read again: messages for the page, and what they tell of roles, elections and
//! invariants.

use super::clocks::Clocks;
use super::events::Near;
use super::said::{Role, Said};
use super::story::Micros;
use super::thin::Thin;
use crate::observe::file::Reader;
use crate::observe::{Event, Observer, Seen};
use crate::packet::NodeId;
use crate::run::watch;
use crate::run::wire_outcome::WireOutcome;
use crate::wire::{Kind, Protocol};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Messages that a page gets.
pub(super) const MESSAGES_MAX: usize = 1_000_000;

/// Terms whose candidates are remembered.
const TERMS_MAX: usize = 20_000;

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// When, in nanoseconds of the rules' clock.
    pub(super) ns: u64,
    /// Who sent it, and to whom, as the table counts.
    pub(super) ends: [Option<NodeId>; 2],
    /// What it is.
    pub(super) kind: Kind,
    /// Its term.
    pub(super) term: Option<u64>,
}

/// A violation.
#[derive(Debug)]
pub(super) struct Alarm {
    /// When, in nanoseconds of the rules' clock.
    pub(super) ns: u64,
    /// Which.
    pub(super) invariant: &'static str,
    /// In words.
    pub(super) said: String,
    /// The messages.
    pub(super) evidence: Vec<String>,
    /// Who sent them.
    pub(super) nodes: Vec<NodeId>,
}

/// Everything that it tells.
#[derive(Debug)]
pub(super) struct Wire {
    /// The nodes' names.
    pub(super) nodes: Vec<String>,
    /// Messages, in order.
    pub(super) messages: Vec<Message>,
    /// How many were left out.
    pub(super) left_out: u64,
    /// How many were not watched at all.
    pub(super) missed: u64,
    /// What each node was, by its own words.
    pub(super) roles: Vec<Vec<(Micros, Role)>>,
    /// When a node spoke first after each of its starts.
    pub(super) alive: Vec<Vec<Micros>>,
    /// When the first and the last message were seen.
    pub(super) span: Option<(Micros, Micros)>,
    /// Whose roles these are, where there are several groups.
    pub(super) group: Option<String>,
    /// Who stood, by group and term.
    pub(super) candidates: BTreeMap<(String, u64), Vec<NodeId>>,
    /// Violations.
    pub(super) alarms: Vec<Alarm>,
    /// Elections, groups and how much was readable.
    pub(super) outcome: WireOutcome,
    /// Why the rest of the file was not read.
    pub(super) broken: Option<String>,
}

impl Wire {
    /// Reads it. The error is one sentence: not even its first line can be read.
    pub(super) fn read(path: &Path, clocks: Clocks, near: &Near) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut line = String::new();
        file.read_line(&mut line).map_err(|e| e.to_string())?;
        let mut reader = Reader::new(&line).map_err(|e| e.to_string())?;
        let header = reader.header().clone();
        let protocol = Protocol::by_word(&header.protocol)
            .ok_or_else(|| format!("nobody knows the protocol {}", header.protocol))?;
        let mut reading = Reading {
            clocks,
            near,
            observer: Observer::new().named(header.nodes.clone()),
            thin: Thin::new(MESSAGES_MAX),
            said: Said::new(header.nodes.len()),
            waits: vec![false; header.nodes.len()],
            alive: vec![Vec::new(); header.nodes.len()],
            span: None,
            missed: 0,
            candidates: BTreeMap::new(),
        };
        let mut broken = None;
        loop {
            line.clear();
            match file.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => {
                    broken = Some(e.to_string());
                    break;
                }
            }
            match reader.event(&line) {
                Ok(event) => event.iter().for_each(|event| reading.see(event)),
                // Whoever was killed has left half a line.
                Err(_) if !line.ends_with('\n') => break,
                Err(e) => {
                    broken = Some(e.to_string());
                    break;
                }
            }
        }
        Ok(reading.finish(header.nodes, protocol, broken))
    }
}

struct Reading<'a> {
    clocks: Clocks,
    near: &'a Near,
    observer: Observer,
    thin: Thin<Message>,
    said: Said,
    /// Nodes that were started, and have not spoken since.
    waits: Vec<bool>,
    alive: Vec<Vec<Micros>>,
    span: Option<(Micros, Micros)>,
    missed: u64,
    candidates: BTreeMap<(String, u64), Vec<NodeId>>,
}

impl Reading<'_> {
    fn see(&mut self, event: &Event) {
        match *event {
            Event::Seen(ref seen) => self.message(seen),
            Event::Started { at, node } | Event::Wiped { at, node } => {
                self.said.silent(usize::from(node.0), self.clocks.of_rules(at.0));
                self.waits[usize::from(node.0)] = true;
            }
            Event::Ended { at, node } => {
                self.said.silent(usize::from(node.0), self.clocks.of_rules(at.0));
            }
            Event::Missed { messages, .. } => self.missed += messages,
            Event::Coverage(_) => {}
        }
        self.observer.see(event);
    }

    fn message(&mut self, seen: &Seen) {
        let Seen { at, from, to, message, .. } = seen;
        let micros = self.clocks.of_rules(at.0);
        self.span = Some((self.span.map_or(micros, |(first, _)| first), micros));
        if let Some(from) = from {
            let i = usize::from(from.0);
            if std::mem::take(&mut self.waits[i]) {
                self.alive[i].push(micros);
            }
            self.said.hear(i, micros, message);
            if message.kind == Kind::VoteRequest
                && let Some(term) = message.term
                && self.candidates.len() < TERMS_MAX
            {
                let all = self.candidates.entry((message.group.name(), term)).or_default();
                if !all.contains(from) {
                    all.push(*from);
                }
            }
        }
        let matters = !is_common(message.kind) || self.near.has(micros);
        let (ends, kind, term) = ([*from, *to], message.kind, message.term);
        self.thin.push(matters, Message { ns: at.0, ends, kind, term });
    }

    fn finish(self, nodes: Vec<String>, protocol: Protocol, broken: Option<String>) -> Wire {
        let Self { observer, thin, said, .. } = self;
        let (mut messages, left_out) = thin.finish();
        messages.sort_by_key(|message| message.ns);
        let outcome = watch::Ended::of(&observer, protocol, None).outcome(&nodes);
        let alarms = observer.alarms().iter().map(|alarm| {
            let mut nodes: Vec<NodeId> =
                alarm.evidence.iter().filter_map(|seen| seen.from).collect();
            nodes.sort_unstable();
            nodes.dedup();
            Alarm {
                ns: alarm.at.0,
                invariant: alarm.invariant.word(),
                said: alarm.said.clone(),
                evidence: observer.evidence(alarm),
                nodes,
            }
        });
        let alarms = alarms.collect();
        let (group, roles) = said.finish();
        Wire {
            nodes,
            messages,
            left_out,
            missed: self.missed,
            roles,
            alive: self.alive,
            span: self.span,
            group,
            candidates: self.candidates,
            alarms,
            outcome,
            broken,
        }
    }
}

/// What is said all the time, and of which a reader misses little.
fn is_common(kind: Kind) -> bool {
    use Kind::{Append, AppendAnswer, Heartbeat, HeartbeatAnswer, Other};
    matches!(kind, Append | AppendAnswer | Heartbeat | HeartbeatAnswer | Other)
}
