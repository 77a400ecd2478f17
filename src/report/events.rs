//! `events.jsonl`, read again: what was done and what happened, on the clock of the run.

use super::clocks::{Clocks, of_run};
use super::story::Micros;
use crate::run::facts::Fact;
use crate::run::recorder::EVENTS;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Events that are read.
const EVENTS_MAX: usize = 200_000;

/// How far from an event everything is worth keeping, in microseconds.
const NEAR: Micros = 250_000;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// When, since the start of the run.
    pub(super) at: Micros,
    /// Which rule, or who else.
    pub(super) rule: String,
    /// In words.
    pub(super) what: String,
    /// Whom it is about.
    pub(super) nodes: Vec<String>,
    /// The same for machines, where an older raftq did not leave it out.
    pub(super) fact: Option<Fact>,
}

/// All of them, in order of time.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// In order of time.
    pub(super) all: Vec<Event>,
    /// How many were not read because there are too many.
    pub(super) left_out: u64,
    /// Lines that make no sense; the last one of a run that was killed is none of them.
    pub(super) broken: u64,
}

#[derive(Deserialize)]
struct Line {
    t_ns: u64,
    #[serde(default)]
    run_ns: Option<u64>,
    rule: String,
    what: String,
    #[serde(default)]
    nodes: Vec<String>,
    #[serde(default)]
    fact: Option<Value>,
}

impl Events {
    /// Reads them. `clocks` learns when the rules' clock started, if it did not know.
    pub(super) fn read(folder: &Path, clocks: &mut Clocks) -> io::Result<Self> {
        let file = BufReader::new(File::open(folder.join(EVENTS))?);
        let (mut lines, mut events) = (Vec::new(), Self::default());
        for text in file.split(b'\n') {
            let text = text?;
            match serde_json::from_slice::<Line>(&text) {
                Ok(line) if lines.len() < EVENTS_MAX => {
                    let is_clock = line.fact.as_ref().is_some_and(|fact| fact["is"] == "clock");
                    if let (Some(run_ns), true) = (line.run_ns, is_clock || line.t_ns > 0) {
                        clocks.learn(run_ns.saturating_sub(line.t_ns));
                    }
                    lines.push(line);
                }
                Ok(_) => events.left_out += 1,
                Err(_) => events.broken += u64::from(!text.is_empty()),
            }
        }
        let event = |line: Line| Event {
            at: line.run_ns.map_or_else(|| clocks.of_rules(line.t_ns), of_run),
            rule: line.rule,
            what: line.what,
            nodes: line.nodes,
            fact: line.fact.and_then(|fact| serde_json::from_value(fact).ok()),
        };
        events.all = lines.into_iter().map(event).collect();
        events.all.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// The nodes' names, as the rules' clock started.
    pub(super) fn nodes(&self) -> Option<&[String]> {
        self.all.iter().find_map(|event| match &event.fact {
            Some(Fact::Clock { nodes }) => Some(nodes.as_slice()),
            _ => None,
        })
    }

    /// The time of day of the start, and the raftq.
    pub(super) fn run(&self) -> Option<(&str, &str)> {
        self.all.iter().find_map(|event| match &event.fact {
            Some(Fact::Run { started, raftq }) => Some((started.as_str(), raftq.as_str())),
            _ => None,
        })
    }

    /// When something happened for which a reader looks.
    pub(super) fn moments(&self) -> Near {
        let counts = |event: &&Event| !matches!(event.fact, Some(Fact::Role { .. }));
        Near(self.all.iter().filter(counts).map(|event| event.at).collect())
    }
}

/// Moments, in order.
#[derive(Debug, Default)]
pub(super) struct Near(Vec<Micros>);

impl Near {
    /// Whether one of them is near.
    pub(super) fn has(&self, at: Micros) -> bool {
        let from = self.0.partition_point(|moment| *moment < at - NEAR);
        self.0.get(from).is_some_and(|moment| *moment <= at + NEAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_and_new_ones_come_to_the_same_clock_and_a_cut_line_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = "\
            {\"t_ns\":0,\"run_ns\":500000,\"rule\":\"run\",\"what\":\"the rules' clock starts\",\
             \"fact\":{\"is\":\"clock\",\"nodes\":[\"n1\"]}}\n\
            {\"t_ns\":9000,\"rule\":\"cut\",\"what\":\"ended\"}\n\
            {\"t_ns\":4000,\"run_ns\":504000,\"rule\":\"cut\",\"what\":\"active\",\
             \"fact\":{\"is\":\"of tomorrow\"}}\n\
            {\"t_ns\":9000,\"rule\":\"cu";
        std::fs::write(folder.path().join(EVENTS), lines).expect("a file");
        let mut clocks = Clocks::default();
        let events = Events::read(folder.path(), &mut clocks).expect("readable");
        let times: Vec<Micros> = events.all.iter().map(|event| event.at).collect();
        assert_eq!(times, [500, 504, 509]);
        assert_eq!(events.nodes(), Some(&["n1".to_owned()][..]));
        assert_eq!((events.broken, events.left_out), (1, 0));
        assert!(events.all[1].fact.is_none(), "what is not known is passed over");
    }

    #[test]
    fn near_is_a_quarter_of_a_second_on_both_sides() {
        let near = Near(vec![1_000_000, 9_000_000]);
        let seen = [0, 750_000, 1_250_000, 1_250_001, 8_750_000, 9_300_000].map(|at| near.has(at));
        assert_eq!(seen, [false, true, true, false, true, false]);
    }
}
