//! A whole experiment: a cluster and its clients, the rules that disturb them, and the verdict.
//!
//! Phases, one after the other: start, warm up, disturb, mend, settle, read back, judge. Each has
//! its guards, so that whatever fails, or whoever presses Ctrl-C, nothing is left running. What
//! happened until then stands in the run's folder.

use super::attach::{Options, QueueKind};
use super::control::{self, Run};
use super::disturb::{Happened, Hosted};
use super::host::Host;
use super::outcome::{ENVIRONMENT, HOLDS, NEVER_MATCHED, Outcome, UNDECIDED, VIOLATED};
use super::verdict::{Findings, Recovery, Summary};
use crate::kernel::signals::{Signals, Wish};
use crate::kernel::trouble::Trouble;
use crate::kernel::{clock, poll};
use crate::rules::scenario::{CheckWord, Load as LoadSpec, Scenario, TopologyWord};
use crate::rules::table::ProcessAction;
use crate::rules::{Compiled, Report, Roles};
use crate::time::Nanos;
use raftq_harness::adapter::Adapter;
use raftq_harness::check::{Budget, judge};
use raftq_harness::clients::{self, Counts, HistoryWriter, Load, Plan, Probe, Sessions};
use raftq_harness::cluster::{self, Cluster, Topology};
use raftq_harness::history::{Header, VERSION, Workload};
use raftq_harness::workload;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the reads at the end may take.
const READ_BACK_MAX: Duration = Duration::from_secs(30);

/// The fault phase of a scenario whose rules have no end.
const LASTS: Nanos = Nanos::from_secs(10);

/// How an experiment is to go.
#[derive(Debug)]
pub struct Experiment {
    /// What is to be done.
    pub scenario: Scenario,
    /// How the system is spoken to.
    pub adapter: Adapter,
    /// The folder of the run, to be made.
    pub folder: PathBuf,
    /// Whether only warnings and the result are told.
    pub quiet: bool,
    /// Whether every packet of the fault phase is written to the folder.
    pub trace: bool,
    /// How much work judging may take.
    pub budget: Budget,
}

/// Why there is no verdict.
#[derive(Debug)]
pub enum Failure {
    /// The host, or the system under test, did not do its part.
    Environment(String),
    /// The scenario is wrong, in a way that shows only now.
    Input(Report),
}

impl From<raftq_harness::Error> for Failure {
    fn from(error: raftq_harness::Error) -> Self {
        Self::Environment(error.to_string())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Environment(trouble.to_string())
    }
}

/// The cluster, as rules see it.
struct ClusterHost(Arc<Cluster>);

impl Host for ClusterHost {
    fn leader(&self) -> Option<usize> {
        self.0.roles().leader().map(|(leader, _)| leader)
    }

    fn act(&self, action: ProcessAction, node: usize) -> Result<(), String> {
        let cluster = &self.0;
        let done = match action {
            ProcessAction::Kill | ProcessAction::Crash => cluster.kill(node),
            ProcessAction::Pause => cluster.pause(node),
            ProcessAction::Restart => cluster.kill(node).and_then(|()| cluster.restart(node)),
            ProcessAction::Wipe => cluster
                .kill(node)
                .and_then(|()| cluster.wipe(node))
                .and_then(|()| cluster.restart(node)),
        };
        done.map_err(|e| e.to_string())
    }

    fn undo(&self, action: ProcessAction, node: usize) -> Result<(), String> {
        let done = match action {
            ProcessAction::Pause => self.0.resume(node),
            _ => self.0.restart(node),
        };
        done.map_err(|e| e.to_string())
    }
}

/// One load under way, and where its history goes.
struct Running {
    spec: LoadSpec,
    load: Load,
    writer: HistoryWriter,
    path: PathBuf,
}

/// What a load leaves.
struct Ended {
    workload: Workload,
    counts: Counts,
    history: PathBuf,
    /// Why not everything could be read at the end.
    unread: Option<String>,
}

impl Experiment {
    /// Refuses, before anything is started, what the system does not offer.
    pub fn check(&self) -> Result<(), Report> {
        let offers = self.adapter.promises();
        for load in &self.scenario.loads {
            let needs = workload::needs(load.workload, &load.mix);
            let lacks: Vec<String> = needs
                .iter()
                .filter(|operation| !offers.contains_key(operation))
                .map(|operation| format!("{operation:?}").to_lowercase())
                .collect();
            if !lacks.is_empty() {
                let why = format!(
                    "the workload {:?} needs {}, which the adapter {} does not offer",
                    load.workload,
                    lacks.join(", "),
                    self.adapter.name()
                );
                let help = "choose another workload or mix, or another adapter";
                return Err(self.scenario.refuse(&why.to_lowercase(), help));
            }
        }
        Ok(())
    }

    /// Runs it, and judges.
    pub fn run(&self) -> Result<Summary, Failure> {
        let signals = Signals::block()
            .map_err(|e| Failure::Environment(format!("signals cannot be heard ({e})")))?;
        let signals = Arc::new(signals);
        let epoch = raftq_harness::clock::now();
        self.make_folder()?;
        let listening = Listening::start(&signals)?;
        let cluster = self.start_cluster()?;
        self.say(&format!(
            "{} nodes of {} run, {} leads",
            cluster.size(),
            self.adapter.name(),
            cluster.roles().leader().map_or("nobody", |(leader, _)| cluster.name(leader)),
        ));
        let sessions = sessions(&cluster);
        let running = self.start_loads(&cluster, &sessions, epoch)?;
        let netns = cluster.clients().path();
        let probe = Probe::start(cluster.size(), &sessions, Some(&netns), epoch)?;
        let clients: u32 = self.scenario.loads.iter().map(|load| load.clients).sum();
        self.say(&format!(
            "{clients} clients call; warming up for {}",
            seconds(self.scenario.warm_up)
        ));
        poll_for(self.scenario.warm_up)?;
        drop(listening);
        let before = clock::now();
        let outcome = self.disturb(&cluster)?;
        let listening = Listening::start(&signals)?;
        let mut findings = Findings { interrupted: outcome.interrupted, ..Findings::default() };
        findings.died = died(&cluster);
        for done in cluster.mend().map_err(Failure::from)? {
            self.say(&done);
        }
        let healed = since(epoch);
        let (fault_from, fault_to) = (nanos_since(epoch, before), healed);
        findings.recovery = self.settle(&probe, healed, findings.interrupted)?;
        let mut counts = Vec::new();
        let mut histories = Vec::new();
        for one in running {
            let ended = end_load(&cluster, &sessions, one, epoch)?;
            counts.push((ended.workload, ended.counts));
            findings.undecided.extend(ended.unread);
            histories.push(ended.history);
        }
        findings.availability = probe.finish();
        findings.died.extend(died(&cluster));
        findings.died.dedup();
        drop(sessions);
        drop(cluster);
        drop(listening);
        self.say("everything is stopped; judging");
        for path in &histories {
            findings.judgements.push((name_of(path), judge(path, self.budget)?));
        }
        let summary = Summary::new(self, outcome, findings, counts, (fault_from, fault_to));
        summary.write(&self.folder)?;
        Ok(summary)
    }

    fn make_folder(&self) -> Result<(), Failure> {
        let failed = |e: io::Error| {
            Failure::Environment(format!("the run folder {}: {e}", self.folder.display()))
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        for (name, text) in self.scenario.texts() {
            fs::write(self.folder.join(name), text).map_err(failed)?;
        }
        fs::write(self.folder.join("seed"), format!("{}\n", self.scenario.seed)).map_err(failed)
    }

    fn start_cluster(&self) -> Result<Arc<Cluster>, Failure> {
        let scenario = &self.scenario;
        let adapter = self.adapter.clone().with_extra(&scenario.args);
        self.say(&format!("starting {} nodes of {}", scenario.nodes, self.adapter.name()));
        let options = cluster::Options {
            nodes: scenario.nodes as usize,
            topology: match scenario.topology {
                TopologyWord::Namespaces => Topology::Namespaces,
                TopologyWord::Loopback => Topology::Loopback,
                TopologyWord::Addresses127 => Topology::Addresses127,
            },
            folder: self.folder.clone(),
        };
        Ok(Arc::new(Cluster::start(&adapter, &options)?))
    }

    fn start_loads(
        &self,
        cluster: &Cluster,
        sessions: &Sessions,
        epoch: Duration,
    ) -> Result<Vec<Running>, Failure> {
        let mut running = Vec::new();
        for (i, spec) in self.scenario.loads.iter().enumerate() {
            let name = match self.scenario.loads.len() {
                1 => "history.jsonl".to_owned(),
                _ => format!("history-{}.jsonl", i + 1),
            };
            let path = self.folder.join(name);
            let header = Header {
                raftq_history: VERSION,
                workload: spec.workload,
                promises: self.adapter.promises(),
                seed: self.scenario.seed,
            };
            let writer = HistoryWriter::create(&path, &header)?;
            let plan = Plan {
                workload: spec.workload,
                clients: spec.clients as usize,
                rate: spec.rate,
                keys: spec.keys as usize,
                skew: spec.skew,
                mix: spec.mix.clone(),
                think: spec.think.into(),
                timeout: spec.timeout.into(),
                sticky: spec.sticky,
                per_key: u64::from(spec.per_key),
                seed: self.scenario.seed.wrapping_add(i as u64),
                epoch,
                netns: Some(cluster.clients().path()),
                nodes: cluster.places().iter().map(|place| place.name.clone()).collect(),
            };
            let load = Load::start(plan, Arc::clone(sessions), writer.recorder())?;
            running.push(Running { spec: spec.clone(), load, writer, path });
        }
        Ok(running)
    }

    /// The fault phase.
    fn disturb(&self, cluster: &Arc<Cluster>) -> Result<Outcome, Failure> {
        let yaml = cluster.cluster_yaml();
        let compile =
            |roles: Roles| -> Result<Compiled, Report> { self.scenario.compile(&yaml, roles) };
        let compiled = compile(Roles::imagined()).map_err(Failure::Input)?;
        let lasts = self.scenario.lasts.or_else(|| {
            control::end_of(&compiled.table, None)
                .is_none_or(|end| end == Nanos::ZERO)
                .then_some(LASTS)
        });
        let path = self.folder.join("events.jsonl");
        let file = File::create(&path)
            .map_err(|e| Failure::Environment(format!("{}: {e}", path.display())))?;
        let events = RefCell::new(io::LineWriter::new(file));
        let lost = AtomicBool::new(false);
        let told = |happened: &Happened| {
            let line = serde_json::to_string(happened).unwrap_or_default();
            if writeln!(events.borrow_mut(), "{line}").is_err() {
                lost.store(true, Ordering::Relaxed);
            }
        };
        let trace = self.trace.then(|| self.folder.join("trace.jsonl"));
        let trace = trace.as_deref();
        let run = Run {
            options: Options { queue: QueueKind::Raw, urgent: true, flavour: None, trace },
            lasts,
            quiet: self.quiet,
            reload: Box::new(|| compile(Roles::imagined())),
            host: Some(Hosted {
                host: Arc::new(ClusterHost(Arc::clone(cluster))),
                owned: true,
                bind: Box::new(compile),
            }),
            told: Some(&told),
        };
        let outcome = control::run(compiled.table, &run)?;
        if lost.load(Ordering::Relaxed) {
            return Err(Failure::Environment(format!("{} could not be written", path.display())));
        }
        Ok(outcome)
    }

    /// Lets clients go on, and waits until a write that was sent after healing succeeds.
    fn settle(
        &self,
        probe: &Probe,
        healed: u64,
        interrupted: bool,
    ) -> Result<Option<Recovery>, Failure> {
        if interrupted {
            return Ok(None);
        }
        self.say("healed; waiting for writes to succeed");
        let limit = self.scenario.recovers_within;
        let end = clock::now() + limit;
        let after = loop {
            if let Some(at) = probe.first_success_since(healed) {
                break Some(at.saturating_sub(healed));
            }
            if clock::now() >= end {
                break None;
            }
            poll_for(Nanos::from_millis(20))?;
        };
        poll_for(self.scenario.settle)?;
        Ok(Some(Recovery { after_ns: after, limit_ns: limit.0 }))
    }

    /// Whether a check is asked for.
    #[must_use]
    pub fn wants(&self, check: CheckWord) -> bool {
        let all = self.scenario.checks.is_empty() && check != CheckWord::Available;
        all || self.scenario.checks.contains(&check)
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            super::status::put(&format!("raftq: {line}\n"));
        }
    }
}

/// Stops the clients of one load, reads back what they left, and closes their history.
fn end_load(
    cluster: &Cluster,
    sessions: &Sessions,
    one: Running,
    epoch: Duration,
) -> Result<Ended, Failure> {
    let (keys, process) = (one.load.keys(), one.load.processes() + 1);
    let counts = one.load.stop();
    let names: Vec<String> = cluster.places().iter().map(|p| p.name.clone()).collect();
    let netns = cluster.clients().path();
    let from = clients::From { netns: Some(&netns), nodes: &names, epoch };
    let recorder = one.writer.recorder();
    let workload = one.spec.workload;
    let read =
        clients::read_back(workload, &keys, sessions, &recorder, from, process, READ_BACK_MAX);
    drop(recorder);
    one.writer.finish()?;
    let unread = read.err().map(|e| e.to_string());
    Ok(Ended { workload, counts, history: one.path, unread })
}

fn sessions(cluster: &Arc<Cluster>) -> Sessions {
    let (adapter, places) = (cluster.adapter().clone(), cluster.places().to_vec());
    Arc::new(move |node| adapter.session(&places, node))
}

fn died(cluster: &Cluster) -> Vec<String> {
    let told = |(i, how): (usize, String)| format!("{} ended by itself: {how}", cluster.name(i));
    cluster.died().into_iter().map(told).collect()
}

/// Lets time pass; an error if somebody wants raftq to end.
fn poll_for(time: Nanos) -> Result<(), Failure> {
    let end = clock::now() + time;
    while clock::now() < end {
        if raftq_harness::clock::interrupted() {
            return Err(Failure::Environment("interrupted; nothing was judged".into()));
        }
        poll::pause(end.saturating_sub(clock::now()).min(Nanos::from_millis(50)));
    }
    Ok(())
}

fn since(epoch: Duration) -> u64 {
    u64::try_from(raftq_harness::clock::since(epoch).as_nanos()).unwrap_or(u64::MAX)
}

fn nanos_since(epoch: Duration, at: Nanos) -> u64 {
    // Both clocks are CLOCK_MONOTONIC.
    at.0.saturating_sub(u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX))
}

fn seconds(time: Nanos) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

/// A thread that hears Ctrl-C while the main thread waits for something else; the waits of the
/// harness end by it. The fault phase hears for itself.
struct Listening {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listening {
    fn start(signals: &Arc<Signals>) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let (signals, stopped) = (Arc::clone(signals), Arc::clone(&stop));
        let listen = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(Wish::End | Wish::Reload) = signals.next() {
                    raftq_harness::clock::interrupt_waits();
                }
                poll::pause(Nanos::from_millis(20));
            }
        };
        let thread = std::thread::Builder::new().name("raftq-signals".into()).spawn(listen);
        let thread = thread.map_err(|e| Failure::Environment(format!("no thread: {e}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The exit code of everything together.
#[must_use]
pub(super) fn exit_code(outcome: u8, violated: bool, undecided: bool) -> u8 {
    match outcome {
        _ if violated => VIOLATED,
        ENVIRONMENT => ENVIRONMENT,
        NEVER_MATCHED => NEVER_MATCHED,
        UNDECIDED => UNDECIDED,
        _ if undecided => UNDECIDED,
        _ => HOLDS,
    }
}
