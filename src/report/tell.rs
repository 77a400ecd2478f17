//! A run's folder to a story: what is there is told, what is missing is named.
//!
//! A run that was interrupted or killed has no summary, and may have half a line at the end of each
//! file. What stands before is shown all the same.

use super::clocks::{Clocks, of_run, signed};
use super::events::{Events, Near};
use super::folder::{Unreadable, histories, is_run, shell};
use super::history::{self, Histories};
use super::known::{self, Contradiction, Known};
use super::logs::Logs;
use super::story::{
    AlarmInfo, ElectionInfo, FindingInfo, Micros, NodeLane, Phase, RuleSum, RunInfo, Span, Story,
    VERSION, VerdictInfo,
};
use super::trace::{self, Places, TRACE, Trace};
use super::wire::Wire;
use super::{bands, folder, lanes, moments};
use crate::run::experiment::WIRE;
use crate::run::facts::Fact;
use crate::run::outcome::{UNDECIDED, VIOLATED};
use crate::run::recorder::EVENTS;
use crate::run::replay::RECIPE;
use crate::run::wire_outcome::WireOutcome;
use crate::wire::Kind;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

/// The whole story of a run's folder, or of an attached session's.
pub fn tell(folder: &Path) -> Result<Story, Unreadable> {
    is_run(folder)?;
    let mut telling = Telling::open(folder);
    telling.read();
    Ok(telling.story())
}

/// A folder that is being read.
struct Telling<'a> {
    folder: &'a Path,
    known: Option<Known>,
    clocks: Clocks,
    events: Events,
    nodes: Vec<String>,
    wire: Option<Wire>,
    trace: Option<Trace>,
    calls: history::Read,
    loads: Vec<super::story::LoadInfo>,
    rules: Vec<RuleSum>,
    /// The last moment of which anything is known.
    last: Micros,
    /// What could not be read.
    warnings: Vec<String>,
    left_out: Vec<String>,
}

impl<'a> Telling<'a> {
    fn open(folder: &'a Path) -> Self {
        let mut warnings = Vec::new();
        let known = Known::read(folder).unwrap_or_else(|why| {
            warnings.push(format!("the summary cannot be read: {why}"));
            None
        });
        let mut clocks = Clocks::default();
        if let Some(start) = known.as_ref().and_then(|known| known.timeline().rules_start_ns) {
            clocks.learn(start);
        }
        let events = Events::read(folder, &mut clocks).unwrap_or_else(|e| {
            warnings.push(format!("{EVENTS} cannot be read: {e}"));
            Events::default()
        });
        Self {
            folder,
            known,
            clocks,
            events,
            nodes: Vec::new(),
            wire: None,
            trace: None,
            calls: history::Read::default(),
            loads: Vec::new(),
            rules: Vec::new(),
            last: 0,
            warnings,
            left_out: Vec::new(),
        }
    }

    fn read(&mut self) {
        self.find_clock();
        if self.events.broken > 1 {
            self.warnings.push(format!("{} lines of {EVENTS} make no sense", self.events.broken));
        }
        self.leave_out(self.events.left_out, "events");
        let near = self.events.moments();
        self.read_wire(&near);
        self.name_nodes();
        self.read_histories(&near);
        let network = self.known.as_ref().map(Known::network);
        self.rules = match network {
            Some(network) => known::rules(network, self.clocks),
            None => self.rules_by_events(),
        };
        self.read_trace(&near);
    }

    fn find_clock(&mut self) {
        let Some(Known::Run(summary)) = &self.known else { return };
        if !self.clocks.are_known() {
            // An older raftq left it out: the fault phase began a moment before.
            self.clocks.learn(summary.faults_ns.0);
            self.warnings.push(
                "an older raftq made this run, which did not record when the rules' clock started: \
                 what was done stands up to a second too early beside the clients' calls"
                    .into(),
            );
        }
    }

    fn read_wire(&mut self, near: &Near) {
        let path = self.folder.join(WIRE);
        if !path.is_file() {
            return;
        }
        match Wire::read(&path, self.clocks, near) {
            Ok(wire) => {
                self.warnings.extend(wire.broken.as_ref().map(|why| format!("{WIRE}: {why}")));
                self.leave_out(wire.left_out, "messages");
                self.leave_out(wire.missed, "messages that were read and not watched");
                if let Some(group) = &wire.group {
                    let several = format!(
                        "roles of other Raft groups than {group}, of the several that were heard"
                    );
                    self.left_out.push(several);
                }
                self.wire = Some(wire);
            }
            Err(why) => self.warnings.push(format!("{WIRE} cannot be read: {why}")),
        }
    }

    fn name_nodes(&mut self) {
        let by_summary = self.known.as_ref().map(|known| known.timeline().nodes.clone());
        let by_wire = || self.wire.as_ref().map(|wire| wire.nodes.clone());
        let by_events = || self.events.nodes().map(<[String]>::to_vec);
        let names = by_summary.filter(|names| !names.is_empty()).or_else(by_events);
        self.nodes = names.or_else(by_wire).unwrap_or_else(|| {
            if let Some(Known::Run(summary)) = &self.known {
                return (1..=summary.nodes).map(|i| format!("n{i}")).collect();
            }
            // Whoever was spoken of in any way.
            let told = self.events.all.iter().flat_map(|event| &event.nodes);
            let mut all: Vec<String> = told.filter(|name| !name.contains('>')).cloned().collect();
            all.sort();
            all.dedup();
            all
        });
    }

    fn read_histories(&mut self, near: &Near) {
        let names = match &self.known {
            Some(known) => known.histories(),
            None => histories(self.folder),
        };
        let contradictions = self.contradictions();
        let lines = |(place, _, _, evidence): &Contradiction<'_>| {
            let place = *place;
            let lines = evidence.lines.iter().map(move |line| (place, line.process, line.begin));
            lines.collect::<Vec<_>>()
        };
        let wanted: HashSet<history::Wanted> = contradictions.iter().flat_map(lines).collect();
        drop(contradictions);
        let is_wanted = |call: &history::Wanted| wanted.contains(call);
        let mut all = Histories::new(&self.nodes);
        for name in &names {
            all.read(self.folder, name, near, &is_wanted);
        }
        self.warnings.append(&mut all.troubles);
        self.loads = std::mem::take(&mut all.loads);
        if let Some(known) = &self.known {
            known.count(&mut self.loads);
        }
        self.last = self.last.max(all.last);
        self.calls = all.finish(&is_wanted);
        self.leave_out(self.calls.left_out, "calls");
    }

    fn contradictions(&self) -> Vec<Contradiction<'_>> {
        self.known.as_ref().map(Known::contradictions).unwrap_or_default()
    }

    fn read_trace(&mut self, near: &Near) {
        if !self.folder.join(TRACE).is_file() {
            return;
        }
        let rules: Vec<String> = self.rules.iter().map(|rule| rule.name.clone()).collect();
        let places = Places { nodes: &self.nodes, rules: &rules };
        let messages = self.wire.as_ref().map_or(&[][..], |wire| wire.messages.as_slice());
        match Trace::read(self.folder, self.clocks, near, &places, messages) {
            Ok(trace) => {
                self.warnings.extend(trace.broken.clone());
                self.leave_out(trace.left_out, "packets");
                self.leave_out(trace.lacks, "packets and answers that the trace could not hold");
                self.trace = Some(trace);
            }
            Err(e) => self.warnings.push(format!("{TRACE} cannot be read: {e}")),
        }
    }

    /// The page looks for these very words, to say `a sample` beside a count.
    fn leave_out(&mut self, n: u64, what: &str) {
        if n > 0 {
            self.left_out.push(format!("{n} {what}"));
        }
    }

    /// What rules came to where no summary says it.
    fn rules_by_events(&self) -> Vec<RuleSum> {
        let mut sums: BTreeMap<&str, RuleSum> = BTreeMap::new();
        for event in &self.events.all {
            let unknown =
                || RuleSum { name: event.rule.clone(), first: -1, last: -1, ..RuleSum::default() };
            match &event.fact {
                Some(Fact::Active { .. }) => {
                    sums.entry(&event.rule).or_insert_with(unknown).activations += 1;
                }
                Some(Fact::Ended { matched, acted, leaked, .. }) => {
                    let sum = sums.entry(&event.rule).or_insert_with(unknown);
                    sum.matched += matched;
                    sum.acted += acted;
                    sum.leaked += leaked;
                }
                _ => {}
            }
        }
        sums.into_values().collect()
    }

    fn length(&self) -> Micros {
        let told = self.known.as_ref().map_or(0, |known| of_run(known.timeline().length_ns));
        let heard = self.wire.as_ref().and_then(|wire| wire.span).map_or(0, |(_, last)| last);
        told.max(self.last).max(heard).max(moments::last(&self.events.all)).max(1)
    }

    fn story(mut self) -> Story {
        let length = self.length();
        let phases = self.phases(length);
        let (bands, lost) = bands::of(&self.events.all, &self.nodes, length);
        self.leave_out(lost, "activations of rules");
        let heard = self.wire.as_ref().and_then(|wire| wire.span);
        let (moments, lost) = moments::of(&self.events.all, &self.nodes, heard);
        self.leave_out(lost, "moments");
        let elections = self.elections();
        let alarms = self.alarms();
        let nodes = self.lanes(&phases, length);
        let wanted = moments::wanted_logs(&self.events.all, &self.nodes, &elections, &alarms);
        let logs = Logs::read(self.folder);
        if let Some(until) = logs.until {
            let seconds = until as f64 / 1e6;
            self.left_out.push(format!("what nodes logged later than {seconds:.0} s"));
        }
        let (logs, lost) = logs.excerpts(self.folder, &self.nodes, &wanted);
        self.leave_out(lost as u64, "excerpts of nodes' logs");
        let (evidence, blamed) = self.evidence();
        let network = self.known.as_ref().map(Known::network);
        let messages = self.wire.as_ref().map_or(&[][..], |wire| wire.messages.as_slice());
        Story {
            version: VERSION,
            run: self.run(length),
            verdict: self.verdict(),
            faults: self.faults(length),
            unavailable: self.known.as_ref().map(Known::unavailable).unwrap_or_default(),
            recovery: self.known.as_ref().and_then(Known::recovery),
            messages: trace::columns(messages, self.clocks, self.trace.as_ref()),
            kinds: Kind::ALL.iter().map(|kind| kind.word().to_owned()).collect(),
            links: network.map(|all| known::links(all, &self.nodes)).unwrap_or_default(),
            totals: network.map(known::totals).unwrap_or_default(),
            files: folder::files(self.folder, &self.nodes),
            phases,
            nodes,
            bands,
            rules: self.rules,
            elections,
            moments,
            loads: self.loads,
            calls: self.calls.calls,
            lanes: self.calls.lanes,
            functions: self.calls.functions,
            keys: self.calls.keys,
            texts: self.calls.texts,
            blamed,
            evidence,
            alarms,
            packets: self.trace.map(|trace| trace.packets),
            logs,
            left_out: self.left_out,
        }
    }

    fn run(&self, length: Micros) -> RunInfo {
        let shown = fs::canonicalize(self.folder).unwrap_or_else(|_| self.folder.to_owned());
        let folder = shown.display().to_string();
        let timeline = self.known.as_ref().map(Known::timeline);
        let by_events = self.events.run();
        let started = timeline.map(|timeline| timeline.started.clone());
        let started = started.filter(|started| !started.is_empty());
        let version = timeline.map(|timeline| timeline.raftq.clone()).filter(|v| !v.is_empty());
        let name = shown.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        let (scenario, adapter, seed, args) = match &self.known {
            Some(Known::Run(run)) => {
                let adapter = Some(run.adapter.clone());
                (run.scenario.clone(), adapter, run.seed.to_string(), run.args.clone())
            }
            Some(Known::Session(session)) => {
                let seed = session.network.seed.to_string();
                (session.rules.clone(), session.adapter.clone(), seed, Vec::new())
            }
            None => {
                let seed = fs::read_to_string(self.folder.join("seed")).unwrap_or_default();
                (name, None, seed.trim().to_owned(), Vec::new())
            }
        };
        RunInfo {
            scenario,
            adapter,
            seed,
            args,
            raftq: version.or(by_events.map(|(_, raftq)| raftq.to_owned())).unwrap_or_default(),
            started: started.or(by_events.map(|(started, _)| started.to_owned())),
            length,
            repeat: self.repeat(&folder),
            folder,
        }
    }

    fn repeat(&self, folder: &str) -> Vec<String> {
        let quoted = shell(folder);
        let has = |name: &str| self.folder.join(name).is_file();
        let mut commands = Vec::new();
        if has(RECIPE) {
            commands.push(format!("sudo raftq replay {quoted}"));
        }
        let judged = self.loads.iter().map(|load| load.history.as_str());
        for name in judged.chain(has(WIRE).then_some(WIRE)) {
            commands.push(format!("raftq check {}", shell(&format!("{folder}/{name}"))));
        }
        commands.push(format!("raftq report {quoted}"));
        commands
    }

    fn verdict(&self) -> VerdictInfo {
        let mut warnings = self.warnings.clone();
        let Some(known) = &self.known else { return self.without_summary(warnings) };
        warnings.extend(known.network().warnings.iter().cloned());
        let (word, exit_code) = known.verdict();
        let why = known.network().why.clone().unwrap_or_default();
        VerdictInfo { word, exit_code, why, findings: known.findings(), warnings }
    }

    fn without_summary(&self, warnings: Vec<String>) -> VerdictInfo {
        let finding = |check: &str, verdict: &str, detail: String| FindingInfo {
            check: check.to_owned(),
            verdict: verdict.to_owned(),
            detail,
        };
        let violated = self.wire.as_ref().and_then(|wire| wire.alarms.first());
        let mut findings = vec![finding(
            "run",
            "undecided",
            "the run has no summary: it was ended before it was judged".into(),
        )];
        findings.extend(violated.map(|one| finding("invariants", "violated", one.said.clone())));
        let (word, exit_code) = match violated {
            Some(_) => ("violated", VIOLATED),
            None => ("undecided", UNDECIDED),
        };
        let why = String::new();
        VerdictInfo { word: word.into(), exit_code, why, findings, warnings }
    }

    /// Those of the run; those of its rules stand among them.
    fn phases(&self, length: Micros) -> Vec<Phase> {
        let timeline = self.known.as_ref().map(Known::timeline);
        let mut phases: Vec<Phase> = timeline
            .map_or(&[][..], |timeline| timeline.phases.as_slice())
            .iter()
            .map(|one| Phase {
                name: one.name.clone(),
                from: of_run(one.from_ns),
                to: of_run(one.to_ns),
            })
            .collect();
        if phases.is_empty() {
            phases = self.phases_by_events(length);
        }
        let mut open: Vec<(&str, Micros)> = Vec::new();
        for event in &self.events.all {
            match event.what.as_str() {
                "phase begins" => open.push((&event.rule, event.at)),
                "phase ends" => {
                    if let Some(i) = open.iter().position(|(name, _)| *name == event.rule) {
                        let (name, from) = open.remove(i);
                        phases.push(Phase { name: name.to_owned(), from, to: event.at });
                    }
                }
                _ => {}
            }
        }
        let faults = self.faults(length).map_or(length, |span| span.to);
        let rest = open.into_iter().map(|(name, from)| Phase {
            name: name.to_owned(),
            from,
            to: faults.max(from),
        });
        phases.extend(rest);
        phases
    }

    fn phases_by_events(&self, length: Micros) -> Vec<Phase> {
        let mut phases: Vec<Phase> = Vec::new();
        for event in &self.events.all {
            let Some(Fact::Phase { phase }) = &event.fact else { continue };
            if let Some(last) = phases.last_mut() {
                last.to = event.at;
            }
            phases.push(Phase { name: phase.clone(), from: event.at, to: length });
        }
        phases
    }

    fn faults(&self, length: Micros) -> Option<Span> {
        if let Some(known) = &self.known {
            return Some(known.faults(self.clocks));
        }
        let all = &self.events.all;
        let clock = all.iter().find(|event| matches!(event.fact, Some(Fact::Clock { .. })))?;
        let after = |event: &&super::events::Event| {
            event.at > clock.at && matches!(event.fact, Some(Fact::Phase { .. }))
        };
        let to = all.iter().find(after).map_or(length, |event| event.at);
        Some(Span { from: clock.at, to })
    }

    fn lanes(&self, phases: &[Phase], length: Micros) -> Vec<NodeLane> {
        let starting = phases.iter().find(|phase| phase.name == "starting");
        lanes::of(&lanes::Sources {
            events: &self.events.all,
            nodes: &self.nodes,
            heard: self.wire.as_ref().map_or(&[], |wire| &wire.roles),
            span: self.wire.as_ref().and_then(|wire| wire.span),
            alive: self.wire.as_ref().map_or(&[], |wire| &wire.alive),
            started: starting.map_or(0, |phase| phase.to),
            length,
        })
    }

    fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|one| one == name)
    }

    fn wire_outcome(&self) -> Option<&WireOutcome> {
        let read = self.wire.as_ref().map(|wire| &wire.outcome);
        read.or_else(|| self.known.as_ref()?.network().wire.as_ref())
    }

    fn elections(&self) -> Vec<ElectionInfo> {
        let Some(outcome) = self.wire_outcome() else { return Vec::new() };
        let candidates = self.wire.as_ref().map(|wire| &wire.candidates);
        let election = |one: &crate::run::wire_outcome::ElectionOutcome| {
            let place = |name: &Option<String>| name.as_deref().and_then(|name| self.node(name));
            let stood = candidates.and_then(|all| all.get(&(one.group.clone(), one.term)));
            let stood = stood.map_or_else(
                || place(&one.candidate).into_iter().collect(),
                |all| all.iter().map(|node| usize::from(node.0)).collect(),
            );
            ElectionInfo {
                at: self.clocks.of_rules_s(one.at_s),
                term: one.term,
                group: one.group.clone(),
                candidates: stood,
                leader: place(&one.leader).map_or(-1, signed),
                took: one.took_s.map_or(-1, |took| (took * 1e6).round() as Micros),
            }
        };
        outcome.elections.iter().map(election).collect()
    }

    fn alarms(&self) -> Vec<AlarmInfo> {
        if let Some(wire) = &self.wire {
            let alarm = |one: &super::wire::Alarm| AlarmInfo {
                at: self.clocks.of_rules(one.ns),
                invariant: one.invariant.to_owned(),
                said: one.said.clone(),
                evidence: one.evidence.clone(),
                nodes: one.nodes.iter().map(|node| usize::from(node.0)).collect(),
            };
            return wire.alarms.iter().map(alarm).collect();
        }
        let alarm = |one: &crate::run::wire_outcome::AlarmOutcome| AlarmInfo {
            at: self.clocks.of_rules_s(one.at_s),
            invariant: one.invariant.word().to_owned(),
            said: one.said.clone(),
            evidence: one.evidence.clone(),
            nodes: Vec::new(),
        };
        self.wire_outcome().map_or(Vec::new(), |all| all.alarms.iter().map(alarm).collect())
    }

    /// What contradicts the promises, and which calls are to blame.
    fn evidence(&self) -> (Vec<super::story::EvidenceInfo>, Vec<usize>) {
        let mut blamed = Vec::new();
        let contradictions = self.contradictions();
        let info = |one: &Contradiction<'_>| {
            let place = one.0;
            let found = |process, begin| self.calls.found.get(&(place, process, begin)).copied();
            known::evidence(one, found)
        };
        let all: Vec<_> = contradictions.iter().map(info).collect();
        for line in all.iter().flat_map(|one| &one.lines).filter(|line| line.blamed) {
            blamed.extend(usize::try_from(line.call));
        }
        blamed.sort_unstable();
        blamed.dedup();
        (all, blamed)
    }
}
