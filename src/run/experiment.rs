//! A whole experiment: a cluster and its clients, the rules that disturb them, and the verdict.
//!
//! Phases, one after the other: start, warm up, disturb, mend, settle, read back, judge. Each has
//! its guards, so that whatever fails, or whoever presses Ctrl-C, nothing is left running. What
//! happened until then stands in the run's folder.

mod aside;
mod recording;

use super::attach::{Options, QueueKind};
use super::cluster_host::{ClusterHost, check_offered, leave_out};
use super::control::{self, Progress, Run};
use super::disturb::{Happened, Hosted};
use super::listening::Listening;
use super::loads::{self, Ended, Loads};
use super::outcome::{ENVIRONMENT, HOLDS, NEVER_MATCHED, Outcome, UNDECIDED, VIOLATED};
use super::progress::Standing;
use super::reach::Reach;
use super::recorder::Recorder;
use super::replay::Recipe;
use super::status::Status;
use super::trace::{CaptureWord, Pcap};
use super::verdict::{Findings, Judged, Recovery, Summary};
use crate::kernel::door::Door;
use crate::kernel::signals::Signals;
use crate::kernel::trouble::Trouble;
use crate::kernel::{clock, poll};
use crate::rules::scenario::{CheckWord, Scenario, TopologyWord};
use crate::rules::{Compiled, Diagnostic, Report, Roles, Table};
use crate::time::Nanos;
use aside::{Hurry, judge_aside};
use raftq_harness::adapter::Adapter;
use raftq_harness::check::Budget;
use raftq_harness::clients::Probe;
use raftq_harness::clock::interrupted;
use raftq_harness::cluster::{self, Cluster, Death, Topology};
use raftq_harness::workload;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the reads at the end may take.
const READ_BACK_MAX: Duration = Duration::from_secs(30);

/// The same where somebody waits for raftq to end.
const READ_BACK_SHORT: Duration = Duration::from_secs(2);

/// Things done to nodes that the summary tells one by one; `events.jsonl` has them all.
pub const HAPPENED_MAX: usize = 200;

/// How long the fault phase goes on behind the last start of a rule, where rules have no end.
const LASTS: Nanos = Nanos::from_secs(10);

/// What is waited for no longer than this has no bar: somebody looks again and again.
const SOON: Nanos = Nanos::from_millis(100);

/// What was said on the wire, a line each.
pub const WIRE: &str = "wire.jsonl";

/// Packets with their bytes.
pub const PCAP: &str = "wire.pcapng";

/// How an experiment is to go.
#[derive(Debug)]
pub struct Experiment {
    /// What is to be done.
    pub scenario: Scenario,
    /// How the system is spoken to.
    pub adapter: Adapter,
    /// What is needed to repeat it.
    pub recipe: Recipe,
    /// The folder of the run, to be made.
    pub folder: PathBuf,
    /// Whether only warnings and the result are told.
    pub quiet: bool,
    /// Whether every packet of the fault phase is written to the folder.
    pub trace: bool,
    /// Which packets of the fault phase are written with their bytes, and the most bytes of them.
    pub capture: (CaptureWord, u64),
    /// A loopback address at which the API is served during the fault phase.
    pub listen: Option<SocketAddr>,
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
    /// Somebody ended it before there was anything to judge.
    Interrupted(String),
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
                return Err(self.scenario.refuse_load(load, &why.to_lowercase(), help));
            }
        }
        let rehearsal = self.scenario.rehearse(self.adapter.protocol())?;
        check_offered(&rehearsal.table, &self.adapter).map_err(|why| {
            let help = "choose another adapter, add the call to its `admin` section \
                        (adapters/README.md), or mark the rule `optional: true`";
            self.scenario.refuse_rule(&why, help)
        })
    }

    /// Runs it, and judges.
    pub fn run(&self) -> Result<Summary, Failure> {
        let course = Course {
            run: self,
            epoch: raftq_harness::clock::now(),
            recorder: OnceCell::new(),
            status: RefCell::new(Status::new(self.quiet)),
            phase: Cell::new("starting"),
        };
        let result = course.phases();
        course.status.borrow_mut().clear();
        if result.is_err() && !self.folder.join("nodes").exists() {
            // Not even a node was started: nothing in it says more than the error does.
            let _ = fs::remove_dir_all(&self.folder);
        }
        let result = match result {
            Err(Failure::Environment(_)) if interrupted() => {
                Err(Failure::Interrupted(self.interrupted_while(course.phase.get())))
            }
            result => result,
        };
        self.tell_machines(result, course.epoch)
    }

    fn interrupted_while(&self, phase: &str) -> String {
        let folder = self.folder.display();
        let mut told = format!(
            "interrupted while {phase}: everything is stopped, and nothing was judged; what was \
             recorded until then stands in {folder}"
        );
        let paths = (0..self.scenario.loads.len()).map(|i| loads::path(self, i));
        for path in paths.filter(|path| path.exists()) {
            let _ = write!(told, "\n       raftq check {}", path.display());
        }
        told
    }

    fn make_folder(&self) -> Result<(), Failure> {
        let failed = |e: io::Error| {
            Failure::Environment(format!("the run folder {}: {e}", self.folder.display()))
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        for (name, text) in self.scenario.texts() {
            fs::write(self.folder.join(name), text).map_err(failed)?;
        }
        let rehearsal = self.scenario.rehearse(self.adapter.protocol());
        for table in rehearsal.iter().flat_map(|rehearsal| &rehearsal.table.distributions) {
            if let Some(name) = table.file_name() {
                fs::write(self.folder.join(name), table.text()).map_err(failed)?;
            }
        }
        self.recipe.write(&self.folder).map_err(failed)?;
        fs::write(self.folder.join("seed"), format!("{}\n", self.scenario.seed)).map_err(failed)
    }

    /// The file of packets at `path`, if one is to be written.
    fn capture_to<'a>(&'a self, path: &'a Path) -> Option<Pcap<'a>> {
        let (word, max) = self.capture;
        let title = &self.scenario.name;
        let pcap = Pcap { path, all: word == CaptureWord::All, max, title };
        (word != CaptureWord::None).then_some(pcap)
    }

    /// Whether a check is asked for.
    #[must_use]
    pub fn wants(&self, check: CheckWord) -> bool {
        let all = self.scenario.checks.is_empty() && check != CheckWord::Available;
        all || self.scenario.checks.contains(&check)
    }
}

/// The fault phase, and what was done in it to roles and processes.
struct Disturbed {
    outcome: Outcome,
    done: Vec<Happened>,
}

/// One run under way.
struct Course<'a> {
    run: &'a Experiment,
    epoch: Duration,
    /// Once there is a folder.
    recorder: OnceCell<Arc<Recorder>>,
    status: RefCell<Status>,
    /// What is being done, for whoever interrupts it.
    phase: Cell<&'static str>,
}

impl Course<'_> {
    fn phases(&self) -> Result<Summary, Failure> {
        let (run, epoch) = (self.run, self.epoch);
        // Better now than in the fault phase, where it is opened.
        run.listen.map(Door::loopback).transpose()?;
        let signals = Signals::block()
            .map_err(|e| Failure::Environment(format!("signals cannot be heard ({e})")))?;
        let signals = Arc::new(signals);
        run.make_folder()?;
        let recorder = recording::open(&run.folder, epoch)?;
        let recorder = Arc::clone(self.recorder.get_or_init(|| recorder));
        self.enter("starting");
        let listening = Listening::start(&signals)?;
        let cluster = self.start_cluster()?;
        let host = Arc::new(ClusterHost::new(&cluster, &recorder));
        let sampler = recording::sample(&run.folder, &cluster, &recorder)?;
        let sessions = loads::sessions(&cluster);
        let loads = Loads::start(run, &cluster, &sessions, epoch)?;
        let netns = cluster.clients().path();
        let probe = Probe::start(cluster.size(), &sessions, Some(&netns), epoch)?;
        let hurry = Hurry(Arc::clone(&cluster));
        self.warm_up(&cluster, &loads)?;
        drop(listening);
        self.enter("faults");
        let from = since(epoch);
        let Disturbed { mut outcome, done } = self.disturb(&cluster, &host, &loads)?;
        let to = since(epoch);
        let listening = Listening::start(&signals)?;
        let mut findings = Findings { interrupted: outcome.interrupted, ..Findings::default() };
        findings.done = done;
        let healed = self.heal(&cluster, outcome.healed.map_or(to, |at| nanos_since(epoch, at)))?;
        findings.recovery = self.settle(&cluster, &probe, healed, &loads, findings.interrupted)?;
        self.enter("reading everything back");
        let limit = if findings.interrupted { READ_BACK_SHORT } else { READ_BACK_MAX };
        let ended = loads.end(&cluster, &sessions, epoch, limit)?;
        findings.availability = probe.finish();
        findings.died = died(&cluster);
        drop((sampler, host, hurry, sessions, cluster));
        let timeline = recorder.timeline();
        self.phase.set("judging");
        self.say("everything is stopped; judging");
        for Ended { workload, counts, history, unread } in ended {
            findings.undecided.extend(unread);
            let judgement = judge_aside(&history, run.budget)?;
            findings.loads.push(Judged { workload, counts, history: name_of(&history), judgement });
        }
        drop(listening);
        outcome.warnings.extend(recorder.lacks());
        Ok(Summary::new(run, outcome, findings, (from, to), timeline))
    }

    /// A phase of the run begins.
    fn enter(&self, phase: &'static str) {
        self.phase.set(phase);
        if let Some(recorder) = self.recorder.get() {
            recorder.phase(phase);
        }
    }

    fn start_cluster(&self) -> Result<Arc<Cluster>, Failure> {
        let (run, scenario) = (self.run, &self.run.scenario);
        let adapter = run.adapter.clone().with_extra(&scenario.args).with_logs(&run.folder);
        self.say(&format!("starting {} nodes of {}", scenario.nodes, run.adapter.name()));
        let options = cluster::Options {
            nodes: scenario.nodes as usize,
            topology: match scenario.topology {
                TopologyWord::Namespaces => Topology::Namespaces,
                TopologyWord::Loopback => Topology::Loopback,
                TopologyWord::Addresses127 => Topology::Addresses127,
            },
            folder: run.folder.clone(),
        };
        Ok(Arc::new(Cluster::start(&adapter, &options)?))
    }

    fn warm_up(&self, cluster: &Cluster, loads: &Loads) -> Result<(), Failure> {
        self.enter("warming up");
        let clients: u32 = self.run.scenario.loads.iter().map(|load| load.clients).sum();
        let warm_up = self.run.scenario.warm_up;
        self.say(&format!("{clients} clients call; warming up for {}", seconds(warm_up)));
        self.wait(warm_up, "warming up", cluster, loads)
    }

    /// The fault phase.
    fn disturb(
        &self,
        cluster: &Cluster,
        host: &Arc<ClusterHost>,
        loads: &Loads,
    ) -> Result<Disturbed, Failure> {
        let recorder = self.recorder.get().expect("everything that happens is recorded");
        let yaml = cluster.cluster_yaml();
        let whole = |roles| self.run.scenario.compile(&yaml, roles);
        let compile = |roles: Roles| -> Result<Compiled, Report> {
            let mut compiled = whole(roles)?;
            leave_out(&mut compiled.table, &self.run.adapter);
            Ok(compiled)
        };
        let mut compiled = whole(Roles::imagined()).map_err(Failure::Input)?;
        for left_out in leave_out(&mut compiled.table, &self.run.adapter) {
            self.say(&left_out);
        }
        let lasts = self.run.scenario.lasts.or_else(|| {
            control::end_of(&compiled.table, None)
                .is_none_or(|end| end == Nanos::ZERO)
                .then(|| last_start(&compiled.table) + LASTS)
        });
        let done = RefCell::new(Vec::new());
        let told = |happened: &Happened| {
            if happened.was_done() && done.borrow().len() < HAPPENED_MAX {
                done.borrow_mut().push(happened.clone());
            }
        };
        let beside = |progress: &Progress| {
            let writable = !recorder.has_failed() && loads.failure().is_none();
            writable.then(|| {
                Standing {
                    phase: "faults",
                    left: progress.left,
                    share: progress.share,
                    leader: progress.leader.clone(),
                    rate: loads.rate(clock::now()),
                    active: &progress.active,
                }
                .line()
            })
        };
        self.status.borrow_mut().clear();
        let trace = self.run.trace.then(|| self.run.folder.join("trace.jsonl"));
        let trace = trace.as_deref();
        let pcap = self.run.folder.join(PCAP);
        let pcap = self.run.capture_to(&pcap);
        let wire = self.run.folder.join(WIRE);
        let wire = Some(wire.as_path());
        let run = Run {
            options: Options {
                queue: QueueKind::Raw,
                urgent: true,
                flavour: None,
                trace,
                pcap,
                wire,
            },
            lasts,
            quiet: self.run.quiet,
            reload: Box::new(|| compile(Roles::imagined())),
            load: Box::new(|rules, roles| {
                let roles = roles.unwrap_or_else(Roles::imagined);
                let mut compiled = self.run.scenario.compile_other(rules, &yaml, roles)?;
                check_offered(&compiled.table, &self.run.adapter).map_err(|why| {
                    let help = "leave the rule out, or mark it `optional: true`";
                    Report::without_place(vec![Diagnostic::error(why).help(help)])
                })?;
                leave_out(&mut compiled.table, &self.run.adapter);
                Ok(compiled)
            }),
            listen: self.run.listen,
            host: Some(Hosted {
                host: Arc::<ClusterHost>::clone(host),
                reach: Reach::Everything,
                bind: Box::new(compile),
            }),
            record: Some(recorder),
            told: Some(&told),
            beside: Some(&beside),
            behind: None,
        };
        let outcome = control::run(compiled.table, &run)?;
        if recorder.has_failed() {
            let path = recorder.path().display();
            return Err(Failure::Environment(format!("{path} could not be written")));
        }
        if let Some(why) = loads.failure() {
            return Err(why);
        }
        Ok(Disturbed { outcome, done: done.take() })
    }

    /// Makes everything as it was; when it was, given when the last rule had ended.
    fn heal(&self, cluster: &Cluster, healed: u64) -> Result<u64, Failure> {
        self.enter("healing");
        let mended = cluster.mend()?;
        for done in &mended {
            self.say(done);
        }
        Ok(if mended.is_empty() { healed } else { since(self.epoch) })
    }

    /// Lets clients go on, and waits until a write that was sent after healing succeeds.
    fn settle(
        &self,
        cluster: &Cluster,
        probe: &Probe,
        healed: u64,
        loads: &Loads,
        ended: bool,
    ) -> Result<Option<Recovery>, Failure> {
        if ended {
            self.say("interrupted: judging what was called until now (again: not even that)");
            return Ok(None);
        }
        self.enter("settling");
        self.say("healed; waiting for writes to succeed");
        // A system that needs longer by its nature is not to be blamed for a scenario's default.
        let needs = self.run.adapter.recovers_within().as_nanos();
        let needs = Nanos(u64::try_from(needs).unwrap_or(u64::MAX));
        let limit = self.run.scenario.recovers_within.max(needs);
        let after = loop {
            // First of all: it may have recovered before the last rule's time was over.
            let success = probe.first_success_since(healed);
            if success.is_some() || since(self.epoch) >= healed.saturating_add(limit.0) {
                break success.map(|at| at.saturating_sub(healed));
            }
            self.wait(Nanos::from_millis(20), "healed", cluster, loads)?;
        };
        self.wait(self.run.scenario.settle, "settling", cluster, loads)?;
        Ok(Some(Recovery { healed_ns: healed, after_ns: after, limit_ns: limit.0 }))
    }

    /// Lets time pass; an error if somebody wants raftq to end, or it makes no sense to go on.
    fn wait(
        &self,
        time: Nanos,
        phase: &str,
        cluster: &Cluster,
        loads: &Loads,
    ) -> Result<(), Failure> {
        let end = clock::now() + time;
        loop {
            let now = clock::now();
            if interrupted() {
                return Err(Failure::Environment("interrupted".into()));
            }
            if let Some(why) = loads.failure() {
                return Err(why);
            }
            if now >= end {
                return Ok(());
            }
            let left = end.saturating_sub(now);
            let mut status = self.status.borrow_mut();
            if status.is_due(now) {
                let leader = cluster.roles().leader();
                let standing = Standing {
                    phase,
                    left: (time > SOON).then_some(left),
                    share: (time > SOON).then(|| 1.0 - left.as_secs_f64() / time.as_secs_f64()),
                    leader: leader.map(|(i, term)| {
                        (cluster.places()[i].name.clone(), (term > 0).then_some(term))
                    }),
                    rate: loads.rate(now),
                    active: &[],
                };
                status.put_line(&standing.line());
            }
            drop(status);
            poll::pause(left.min(Nanos::from_millis(50)));
        }
    }

    fn say(&self, line: &str) {
        self.status.borrow_mut().say(line);
    }
}

fn last_start(table: &Table) -> Nanos {
    let rules = table.rules.iter().map(|rule| &rule.window);
    let windows = rules.chain(table.faults.iter().map(|fault| &fault.window));
    let timed = windows.filter(|window| !window.by_switch());
    timed.map(|window| window.at).max().unwrap_or(Nanos::ZERO)
}

fn died(cluster: &Cluster) -> Vec<String> {
    let told = |death: Death| format!("{} ended by itself: {}", death.name, death.how);
    cluster.died().into_iter().map(told).collect()
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

/// The exit code of everything together. That a rule never matched says nothing where somebody
/// ended the run before it could.
#[must_use]
pub(super) fn exit_code(network: &Outcome, violated: bool, undecided: bool) -> u8 {
    match network.exit_code {
        _ if violated => VIOLATED,
        ENVIRONMENT => ENVIRONMENT,
        _ if network.interrupted => UNDECIDED,
        NEVER_MATCHED => NEVER_MATCHED,
        UNDECIDED => UNDECIDED,
        _ if undecided => UNDECIDED,
        _ => HOLDS,
    }
}
