//! The cluster that an experiment started, as rules see it: what their words do to its nodes,
//! what its system has to offer for them, and what becomes of deaths that nobody ordered.

use super::disturb::Happened;
use super::host::{Done, Host};
use super::status;
use crate::rules::Table;
use crate::rules::table::{Fault, ProcessAction};
use crate::time::Nanos;
use raftq_harness::adapter::{Adapter, Admin};
use raftq_harness::cluster::{Cluster, Death};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The cluster, and the time on which its events are told.
pub(super) struct ClusterHost {
    cluster: Arc<Cluster>,
    rules_start: Arc<AtomicU64>,
}

impl ClusterHost {
    /// From now on a death is told on the terminal when it happens, and stands in the events.
    pub(super) fn new(cluster: &Arc<Cluster>, events: PathBuf) -> Self {
        let rules_start = Arc::new(AtomicU64::new(u64::MAX));
        let start = Arc::clone(&rules_start);
        cluster.on_death(move |death| {
            status::put(&format!(
                "raftq: warning: {} ended by itself: {}\n",
                death.name, death.how
            ));
            let line = serde_json::to_string(&of_death(death, start.load(Ordering::Relaxed)));
            let file = OpenOptions::new().create(true).append(true).open(&events);
            // It stands in the verdict in any case.
            if let (Ok(line), Ok(mut file)) = (line, file) {
                let _ = file.write_all((line + "\n").as_bytes());
            }
        });
        Self { cluster: Arc::clone(cluster), rules_start }
    }
}

/// On the rules' clock: before it started everything happens at zero.
fn of_death(death: &Death, start: u64) -> Happened {
    let at = u64::try_from(death.at.as_nanos()).unwrap_or(u64::MAX);
    Happened {
        t: Nanos(at.saturating_sub(start)),
        rule: "processes".into(),
        what: format!("{} ended by itself: {}", death.name, death.how),
        nodes: vec![death.name.clone()],
    }
}

impl Host for ClusterHost {
    fn leader(&self) -> Option<usize> {
        self.cluster.roles().leader().map(|(leader, _)| leader)
    }

    fn act(&self, action: ProcessAction, node: usize) -> Done {
        let cluster = &self.cluster;
        let nothing_to_say = |()| None;
        let done = match action {
            ProcessAction::Kill | ProcessAction::Crash => cluster.kill(node).map(nothing_to_say),
            ProcessAction::Stop => cluster.stop(node),
            ProcessAction::Start => cluster.restart(node).map(nothing_to_say),
            ProcessAction::Pause => cluster.pause(node).map(nothing_to_say),
            ProcessAction::Resume => cluster.resume(node).map(nothing_to_say),
            ProcessAction::Restart => {
                cluster.kill(node).and_then(|()| cluster.restart(node)).map(nothing_to_say)
            }
            ProcessAction::Roll => cluster.roll(node),
            ProcessAction::Wipe => cluster
                .kill(node)
                .and_then(|()| cluster.wipe(node))
                .and_then(|()| cluster.restart(node))
                .map(nothing_to_say),
            ProcessAction::Add => cluster.add(node).map(nothing_to_say),
            ProcessAction::Remove => cluster.remove(node),
            ProcessAction::Replace => cluster.replace(node),
            ProcessAction::Transfer => cluster.transfer(node).map(nothing_to_say),
            ProcessAction::Compact => cluster.compact(node).map(nothing_to_say),
        };
        done.map_err(|e| e.to_string())
    }

    fn undo(&self, action: ProcessAction, node: usize) -> Done {
        let done = match action {
            ProcessAction::Pause => self.cluster.resume(node),
            ProcessAction::Remove => self.cluster.add(node),
            _ => self.cluster.restart(node),
        };
        done.map(|()| None).map_err(|e| e.to_string())
    }

    fn give_up(&self) {
        self.cluster.give_up();
    }

    fn rules_start(&self, at: Nanos) {
        self.rules_start.store(at.0, Ordering::Relaxed);
    }
}

/// The calls that a fault needs from the system: a removal with an end adds the node again.
fn needs(fault: &Fault) -> &'static [Admin] {
    match fault.action {
        ProcessAction::Add => &[Admin::Add],
        ProcessAction::Remove if fault.window.lasts.is_none() => &[Admin::Remove],
        ProcessAction::Remove | ProcessAction::Replace => &[Admin::Remove, Admin::Add],
        ProcessAction::Transfer => &[Admin::Transfer],
        ProcessAction::Compact => &[Admin::Compact],
        _ => &[],
    }
}

/// What a fault needs and the adapter does not offer.
fn lacks(fault: &Fault, adapter: &Adapter) -> Option<Admin> {
    needs(fault).iter().copied().find(|call| !adapter.offers(*call))
}

/// Refuses the first fault that the system cannot do and that is not optional.
pub(super) fn check_offered(table: &Table, adapter: &Adapter) -> Result<(), String> {
    for fault in table.faults.iter().filter(|fault| !fault.optional) {
        if let Some(call) = lacks(fault, adapter) {
            return Err(format!(
                "the rule `{}` needs `{call}`, which the adapter {} does not offer",
                fault.name,
                adapter.name()
            ));
        }
    }
    Ok(())
}

/// Leaves out what is optional and the system cannot do; says what that was.
pub(super) fn leave_out(table: &mut Table, adapter: &Adapter) -> Vec<String> {
    let mut left_out = Vec::new();
    table.faults.retain(|fault| {
        let lacks = lacks(fault, adapter);
        left_out.extend(lacks.map(|call| {
            let (rule, adapter) = (&fault.name, adapter.name());
            format!("`{rule}` is left out: the adapter {adapter} does not offer `{call}`")
        }));
        lacks.is_none()
    });
    left_out
}
