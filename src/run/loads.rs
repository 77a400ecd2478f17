//! The clients of an experiment: starting them, how fast they are, and what they leave.

use super::experiment::{Experiment, Failure};
use crate::rules::scenario::Load as Spec;
use crate::time::Nanos;
use raftq_harness::clients::{self, Counts, HistoryWriter, Load, Plan, Sessions};
use raftq_harness::cluster::Cluster;
use raftq_harness::history::{Header, VERSION, Workload};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The time over which calls are counted for a rate.
const SPAN: Nanos = Nanos::from_secs(1);

/// How long a system is asked at the end that has answered nothing before.
const MUTE: Duration = Duration::from_secs(2);

/// All loads under way; dropping stops them.
pub(super) struct Loads {
    running: Vec<Running>,
    /// When calls were counted last, and how many had been answered by then.
    counted: Cell<(Nanos, u64)>,
    rate: Cell<u64>,
}

/// One load under way, and where its history goes.
struct Running {
    workload: Workload,
    load: Load,
    writer: HistoryWriter,
    path: PathBuf,
}

/// What a load leaves.
pub(super) struct Ended {
    pub(super) workload: Workload,
    pub(super) counts: Counts,
    pub(super) history: PathBuf,
    /// Why not everything could be read at the end.
    pub(super) unread: Option<String>,
}

/// Where the history of load `i` goes.
pub(super) fn path(run: &Experiment, i: usize) -> PathBuf {
    run.folder.join(match run.scenario.loads.len() {
        1 => "history.jsonl".to_owned(),
        _ => format!("history-{}.jsonl", i + 1),
    })
}

/// Sessions with a cluster's nodes.
pub(super) fn sessions(cluster: &Arc<Cluster>) -> Sessions {
    let (adapter, places) = (cluster.adapter().clone(), cluster.places().to_vec());
    Arc::new(move |node| adapter.session(&places, node))
}

impl Loads {
    /// Starts them all.
    pub(super) fn start(
        run: &Experiment,
        cluster: &Cluster,
        sessions: &Sessions,
        epoch: Duration,
    ) -> Result<Self, Failure> {
        let mut running = Vec::new();
        for (i, spec) in run.scenario.loads.iter().enumerate() {
            let path = path(run, i);
            let header = Header {
                raftq_history: VERSION,
                workload: spec.workload,
                promises: run.adapter.promises(),
                seed: run.scenario.seed,
            };
            let writer = HistoryWriter::create(&path, &header)?;
            let seed = run.scenario.seed.wrapping_add(i as u64);
            let plan = plan(spec, cluster, seed, epoch);
            let load = Load::start(plan, Arc::clone(sessions), writer.recorder())?;
            running.push(Running { workload: spec.workload, load, writer, path });
        }
        Ok(Self { running, counted: Cell::new((Nanos::ZERO, 0)), rate: Cell::new(0) })
    }

    /// Calls answered a second, lately.
    pub(super) fn rate(&self, now: Nanos) -> u64 {
        let answered = self.running.iter().map(|one| one.load.answered()).sum::<u64>();
        let (then, before) = self.counted.get();
        let span = now.saturating_sub(then);
        if span >= SPAN {
            // The first span began with the machine.
            if then > Nanos::ZERO {
                let calls = answered.saturating_sub(before);
                self.rate.set(calls.saturating_mul(1_000_000_000) / span.0);
            }
            self.counted.set((now, answered));
        }
        self.rate.get()
    }

    /// Why a history cannot be written any more.
    pub(super) fn failure(&self) -> Option<Failure> {
        let failed = self.running.iter().find_map(|one| one.writer.failure())?;
        let help = "make room on that disk, or name a folder on another by --out";
        Some(Failure::Environment(format!("{failed}; nothing was judged: {help}")))
    }

    /// Stops the clients, reads back what they left, and closes the histories.
    pub(super) fn end(
        self,
        cluster: &Cluster,
        sessions: &Sessions,
        epoch: Duration,
        limit: Duration,
    ) -> Result<Vec<Ended>, Failure> {
        let names: Vec<String> = cluster.places().iter().map(|p| p.name.clone()).collect();
        let netns = cluster.clients().path();
        let from = clients::From { netns: Some(&netns), nodes: &names, epoch };
        let mut ended = Vec::new();
        for Running { workload, load, writer, path } in self.running {
            let stopped = load.stop();
            let recorder = writer.recorder();
            let (keys, process) = (&stopped.keys, stopped.process);
            // Who never answered is asked again, but not for long.
            let mute = stopped.counts.totals()[0] == 0;
            let limit = if mute { limit.min(MUTE) } else { limit };
            let read =
                clients::read_back(workload, keys, sessions, &recorder, from, process, limit);
            drop(recorder);
            writer.finish()?;
            let unread = read.err().map(|e| e.to_string());
            ended.push(Ended { workload, counts: stopped.counts, history: path, unread });
        }
        Ok(ended)
    }
}

fn plan(spec: &Spec, cluster: &Cluster, seed: u64, epoch: Duration) -> Plan {
    Plan {
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
        seed,
        epoch,
        netns: Some(cluster.clients().path()),
        nodes: cluster.places().iter().map(|place| place.name.clone()).collect(),
    }
}
