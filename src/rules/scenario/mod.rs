//! Scenario files: a whole experiment in one text, with every error of it at once.
//!
//! A scenario names the system and its size, what clients do, the rules that disturb it, and
//! what is checked. Rules stand in it or in a file of their own; the nodes they may name are
//! n1 and on, since raftq starts them. Read with the same machinery as rule files
//! (`document.rs`, `fields.rs`), so that a mistake is shown in its line, all in one go.
//!
//! `file.rs` is what was written, `parse.rs` reads it; [`Scenario`] is what is meant.

mod file;
mod parse;

use super::compile::Given;
use super::diagnostic::{Diagnostic, FileId, Sink, Span};
use super::table::Window;
use super::{
    Compiled, Inputs, Report, Roles, SetArg, Source, Table, document, fields::Reader, scalar,
};
use crate::time::Nanos;
use file::{RulesAt, ScenarioFile};
use raftq_harness::history::{Function, Workload};
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub use file::{CheckWord, TopologyWord, schema};

/// The most nodes that raftq starts: an address each, and a network that two cores can carry.
pub const NODES_MAX: u32 = 30;

/// The most clients: a thread each.
pub const CLIENTS_MAX: u32 = 5_000;

/// An experiment: what to start, what to do to it, and what to ask of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// One sentence for people.
    pub about: Option<String>,
    /// The adapter, with variants: `etcd`, `etcd:serializable`.
    pub adapter: String,
    /// How many nodes.
    pub nodes: u32,
    /// Where they run.
    pub topology: TopologyWord,
    /// Further arguments of every node.
    pub args: Vec<String>,
    /// Seed of everything random.
    pub seed: u64,
    /// What clients do, one after the other in this list at the same time.
    pub loads: Vec<Load>,
    /// How long clients run before the rules' clock starts.
    pub warm_up: Nanos,
    /// How long the fault phase takes; without it until the last rule has ended.
    pub lasts: Option<Nanos>,
    /// How long clients go on afterwards.
    pub settle: Nanos,
    /// What is judged; empty for everything that applies.
    pub checks: Vec<CheckWord>,
    /// The longest from healing until writes succeed again.
    pub recovers_within: Nanos,
    /// Where the file names the adapter, unless the command line did.
    adapter_at: Option<Span>,
    lasts_at: Option<Span>,
    source: Source,
    rules: RulesAt,
    sets: Vec<SetArg>,
}

/// What a number of clients does.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where its workload is named, for what is wrong with it.
    pub at: Option<Span>,
    /// Which workload.
    pub workload: Workload,
    /// How many clients.
    pub clients: u32,
    /// Calls a second of all of them; as fast as answers come without.
    pub rate: Option<u32>,
    /// Different keys in use at a time.
    pub keys: u32,
    /// Exponent of Zipf's law; 0 for evenly.
    pub skew: f64,
    /// Weights by function; empty for the workload's own.
    pub mix: Vec<(Function, u32)>,
    /// Rest between a client's calls.
    pub think: Nanos,
    /// After which a call is given up.
    pub timeout: Nanos,
    /// Whether a client stays with its node, whatever that answers.
    pub sticky: bool,
    /// After how many calls a key makes room for a new one; bounds what checks cost.
    pub per_key: u32,
}

/// What the command line replaces.
#[derive(Clone, Debug, Default)]
pub struct Replacements {
    /// `--adapter`.
    pub adapter: Option<String>,
    /// `--nodes`.
    pub nodes: Option<u32>,
    /// `--topology`.
    pub topology: Option<TopologyWord>,
    /// `--seed`.
    pub seed: Option<u64>,
    /// `--node-arg`, added to the file's.
    pub args: Vec<String>,
    /// `--set`.
    pub sets: Vec<SetArg>,
    /// The scenario's name, where its file is called otherwise by now.
    pub name: Option<String>,
    /// The rule file, where it is somewhere else by now.
    pub rules: Option<PathBuf>,
}

/// What nodes are taken to speak while nobody knows the adapter: one whose groups have names, so
/// that rules may say everything.
const ANY_PROTOCOL: &str = "nats";

/// The text of a cluster file, as errors call it.
fn named(cluster: &str) -> Source {
    Source::new("the cluster of this run", cluster)
}

impl Scenario {
    /// Reads a scenario file, and compiles its rules for nodes that do not run yet.
    /// Either all of it is right, or the report has every error; warnings are of the rules.
    pub fn load(path: &Path, replace: &Replacements) -> Result<(Self, Report), Report> {
        let source = Source::read(path).map_err(|wrong| Report::without_place(vec![wrong]))?;
        let mut scenario = Self::read(source, path, replace)?;
        scenario.sets.clone_from(&replace.sets);
        let rehearsal = scenario.rehearse(Some(ANY_PROTOCOL))?;
        scenario.fits(&rehearsal.table)?;
        Ok((scenario, rehearsal.warnings))
    }

    /// Its rules, compiled for nodes that do not run yet and speak Raft by this protocol.
    pub fn rehearse(&self, protocol: Option<&str>) -> Result<Compiled, Report> {
        self.compile(&self.imagined_cluster(protocol), Roles::imagined())
    }

    /// Refuses rules that the fault phase is too short for.
    fn fits(&self, table: &Table) -> Result<(), Report> {
        let Some(lasts) = self.lasts else { return Ok(()) };
        let rules = table.rules.iter().map(|rule| match rule.on {
            None => (&rule.name, rule.window, rule.window.end()),
            // When the event comes nobody knows, but not before the phase begins.
            Some(on) => {
                let at = rule.window.at + on.after;
                (&rule.name, Window { at, ..Window::ALWAYS }, Nanos::MAX)
            }
        });
        let faults = table
            .faults
            .iter()
            .map(|fault| (&fault.name, fault.window, fault.window.end_of_fault(fault.action)));
        let mut sink = Sink::default();
        // What waits to be switched on may be so at any time.
        let timed = rules.chain(faults).filter(|(_, window, _)| !window.by_switch());
        for (name, window, end) in timed {
            let (over, phase) = (scalar::show(end), scalar::show(lasts));
            let (why, help) = if window.at >= lasts {
                let begins = scalar::show(window.at);
                let why =
                    format!("the rule `{name}` begins at {begins}, when all is over after {phase}");
                (why, "let `lasts` end later, or leave it out: it ends with the last rule")
            } else if end < Nanos::MAX && end > lasts {
                let why =
                    format!("the rule `{name}` ends at {over}, but all is over after {phase}");
                (
                    why,
                    "let `lasts` end later, or leave the rule's `for` out: it ends with the phase",
                )
            } else {
                continue;
            };
            let wrong = Diagnostic::error(why).help(help).field("lasts");
            sink.push(match self.lasts_at {
                Some(span) => wrong.at(span),
                None => wrong,
            });
        }
        match sink.errors() {
            0 => Ok(()),
            _ => Err(sink.into_report(vec![self.source.clone()])),
        }
    }

    fn read(source: Source, path: &Path, replace: &Replacements) -> Result<Self, Report> {
        let mut sink = Sink::default();
        let file = document::read(source.text(), FileId::Rules, &mut sink).and_then(|root| {
            let mut reader = Reader { sink: &mut sink, rule: None, path: Vec::new() };
            parse::scenario(&mut reader, &root)
        });
        match file {
            Some(file) if sink.errors() == 0 => Ok(Self::meant(file, source, path, replace)),
            _ => Err(sink.into_report(vec![source])),
        }
    }

    fn meant(file: ScenarioFile, source: Source, path: &Path, replace: &Replacements) -> Self {
        let cluster = file.cluster;
        let mut args: Vec<String> = cluster.args.into_iter().map(|arg| arg.value).collect();
        args.extend(replace.args.iter().cloned());
        let rules = match file.rules {
            RulesAt::File(_) if replace.rules.is_some() => {
                RulesAt::File(replace.rules.clone().unwrap_or_default())
            }
            // Beside the scenario, so that both can be moved together.
            RulesAt::File(name) => {
                RulesAt::File(path.parent().unwrap_or_else(|| Path::new("")).join(name))
            }
            RulesAt::Here => RulesAt::Here,
        };
        let or = |at: Option<file::Duration>, default: Nanos| at.map_or(default, |at| at.value);
        Self {
            name: replace.name.clone().unwrap_or_else(|| {
                path.file_stem().map_or("run".into(), |s| s.to_string_lossy().into_owned())
            }),
            about: file.about.map(|about| about.value),
            adapter_at: replace.adapter.is_none().then_some(cluster.adapter.span),
            adapter: replace.adapter.clone().unwrap_or(cluster.adapter.value)
                + &cluster.variant.map_or(String::new(), |variant| format!(":{variant}")),
            nodes: replace.nodes.unwrap_or(cluster.nodes),
            topology: replace.topology.unwrap_or(cluster.topology),
            args,
            seed: replace.seed.unwrap_or(file.seed),
            loads: file.loads,
            warm_up: or(file.warm_up, Nanos::from_secs(1)),
            lasts_at: file.lasts.map(|at| at.span),
            lasts: file.lasts.map(|at| at.value),
            settle: or(file.settle, Nanos::from_secs(3)),
            checks: file.checks,
            recovers_within: or(file.recovers_within, Nanos::from_secs(10)),
            source,
            rules,
            sets: Vec::new(),
        }
    }

    /// Compiles the rules for a cluster, given as the text of a cluster file.
    pub fn compile(&self, cluster: &str, leader: Roles) -> Result<Compiled, Report> {
        match &self.rules {
            RulesAt::File(path) => {
                let rules =
                    Source::read(path).map_err(|wrong| Report::without_place(vec![wrong]))?;
                self.compile_other(rules, cluster, leader)
            }
            RulesAt::Here => self.compile_here(named(cluster), leader),
        }
    }

    /// Compiles the rules of another file for such a cluster.
    pub fn compile_other(
        &self,
        rules: Source,
        cluster: &str,
        leader: Roles,
    ) -> Result<Compiled, Report> {
        let (cluster, sets) = (Some(named(cluster)), self.sets.clone());
        let seed = Some(self.seed);
        Inputs { rules, cluster, sets, roles: Some(leader), seed }.compile()
    }

    /// The rules that stand in the scenario itself.
    fn compile_here(&self, cluster: Source, leader: Roles) -> Result<Compiled, Report> {
        let mut sink = Sink::default();
        let root = document::read(self.source.text(), FileId::Rules, &mut sink);
        let rules = root.and_then(|root| {
            let mut reader = Reader { sink: &mut sink, rule: None, path: Vec::new() };
            parse::rules_here(&mut reader, &root)
        });
        let nodes = super::read_tree(&cluster, FileId::Cluster, &mut sink);
        let table = match (rules, nodes) {
            (Some(rules), Some(nodes)) => {
                let load = |path: &str| super::source::dist(&self.source, path);
                let seed = Some(self.seed);
                let given = Given { sets: &self.sets, roles: Some(leader), seed, load: &load };
                super::compile::table(&rules, Some(&nodes), &given, &mut sink)
            }
            _ => None,
        };
        let failed = sink.errors() > 0;
        let report = sink.into_report(vec![self.source.clone(), cluster]);
        match table {
            Some(table) if !failed => Ok(Compiled { table, warnings: report }),
            _ => Err(report),
        }
    }

    /// A cluster as it will be, to compile rules against before anything is started.
    fn imagined_cluster(&self, protocol: Option<&str>) -> String {
        let mut yaml = String::from("cluster:\n");
        if let Some(protocol) = protocol {
            let _ = writeln!(yaml, "  protocol: {protocol}");
        }
        yaml.push_str("  nodes:\n");
        for i in 1..=self.nodes {
            let _ = writeln!(yaml, "    n{i}: 10.77.0.{i}:2380");
        }
        yaml
    }

    /// The files that this experiment is made of, to be kept beside its result: the name and
    /// the text of each.
    #[must_use]
    pub fn texts(&self) -> Vec<(&'static str, String)> {
        let mut texts = vec![("scenario.yaml", self.source.text().to_owned())];
        if let RulesAt::File(path) = &self.rules
            && let Ok(text) = std::fs::read_to_string(path)
        {
            texts.push(("rules.yaml", text));
        }
        texts
    }

    /// The rule file, where the rules do not stand in the scenario.
    #[must_use]
    pub fn rules_file(&self) -> Option<&PathBuf> {
        match &self.rules {
            RulesAt::File(path) => Some(path),
            RulesAt::Here => None,
        }
    }

    /// An error about a load, in the form of those about a scenario's lines.
    #[must_use]
    pub fn refuse_load(&self, load: &Load, why: &str, help: &str) -> Report {
        self.refuse(load.at, why, help)
    }

    /// The same about the adapter.
    #[must_use]
    pub fn refuse_adapter(&self, why: &str) -> Report {
        self.refuse(self.adapter_at, why, "`adapter:` names one, and --adapter another")
    }

    /// The same about a rule that the adapter has no call for.
    #[must_use]
    pub fn refuse_rule(&self, why: &str, help: &str) -> Report {
        self.refuse(self.adapter_at, why, help)
    }

    fn refuse(&self, at: Option<Span>, why: &str, help: &str) -> Report {
        let Some(span) = at else {
            let message = format!("{}: {why}", self.source.name());
            return Report::without_place(vec![Diagnostic::error(message).help(help)]);
        };
        let mut sink = Sink::default();
        sink.push(Diagnostic::error(why).at(span).help(help));
        sink.into_report(vec![self.source.clone()])
    }
}

#[cfg(test)]
mod tests;
