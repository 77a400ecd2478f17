//! The cluster that an experiment started, as rules see it: what their words do to its nodes,
//! what its system has to offer for them, and what becomes of deaths that nobody ordered.

use super::attached::Attached;
use super::facts::{Fact, NodeIs};
use super::host::{Done, Host};
use super::recorder::{PROCESSES, Recorder};
use super::status;
use super::watch::Restarted;
use crate::packet::NodeId;
use crate::rules::Table;
use crate::rules::table::{Fault, ProcessAction, Window};
use crate::time::Nanos;
use raftq_harness::adapter::{Adapter, Admin};
use raftq_harness::cluster::{Change, ChangedTo, Cluster};
use std::sync::Arc;

/// The cluster.
pub(super) struct ClusterHost {
    cluster: Arc<Cluster>,
}

impl ClusterHost {
    /// From now on a death is told on the terminal when it happens, and stands in the events, as
    /// does whatever else becomes of nodes' processes.
    pub(super) fn new(cluster: &Arc<Cluster>, recorder: &Arc<Recorder>) -> Self {
        let deaths = Arc::clone(recorder);
        cluster.on_death(move |death| {
            let what = format!("{} ended by itself: {}", death.name, death.how);
            status::put(&format!("raftq: warning: {what}\n"));
            let nodes = std::slice::from_ref(&death.name);
            deaths.put(death.at.into(), PROCESSES, &what, nodes, None);
        });
        let names: Vec<String> = (0..cluster.size()).map(|i| cluster.name(i).to_owned()).collect();
        let changes = Arc::clone(recorder);
        cluster.on_change(move |change| changed(&changes, &names[change.node], change));
        Self { cluster: Arc::clone(cluster) }
    }
}

fn changed(recorder: &Recorder, name: &str, change: &Change) {
    let state = match change.to {
        ChangedTo::Started => NodeIs::Starting,
        ChangedTo::Paused => NodeIs::Paused,
        ChangedTo::Resumed => NodeIs::Up,
        ChangedTo::Down => NodeIs::Down,
        ChangedTo::Removed => NodeIs::Removed,
    };
    let (fact, nodes) = (Fact::State { state }, [name.to_owned()]);
    // A death that nobody ordered has its own line, with the end of the log.
    let what = format!("{name} is {}: {}", state.word(), change.how);
    recorder.put(change.at.into(), PROCESSES, &what, &nodes, Some(&fact));
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

    fn attached(&self, to: &Attached) {
        let Some(births) = to.births() else { return };
        self.cluster.on_start(move |start| {
            births.tell(Restarted {
                at: Nanos(u64::try_from(start.at.as_nanos()).unwrap_or(u64::MAX)),
                node: NodeId(start.node as u16),
                wiped: start.wiped,
            });
        });
    }
}

/// The calls that a fault needs from the system: a removal with an end adds the node again.
fn needs(fault: &Fault) -> &'static [Admin] {
    match fault.action {
        ProcessAction::Add => &[Admin::Add],
        ProcessAction::Remove if !fault.window.is_bounded() => &[Admin::Remove],
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
    for fault in &mut table.faults {
        if let Some(call) = lacks(fault, adapter) {
            let (rule, adapter) = (&fault.name, adapter.name());
            left_out.push(format!(
                "`{rule}` is left out: the adapter {adapter} does not offer `{call}`"
            ));
            // It keeps its place, by which others know it, but no time is ever its own.
            fault.window = Window { lasts: Some(Nanos::ZERO), ..Window::ALWAYS };
            fault.dynamic = false;
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::NodeId;
    use crate::rules::table::Unattributed;
    use crate::run::schedule::Schedule;

    fn table(action: ProcessAction, lasts: Option<Nanos>, optional: bool) -> Table {
        let window = Window { at: Nanos::from_secs(5), lasts, ..Window::ALWAYS };
        let nodes = vec![NodeId(0)];
        let fault = Fault { name: "it".into(), action, nodes, window, dynamic: true, optional };
        Table {
            nodes: Vec::new(),
            seed: 0,
            max_rate: 1,
            unattributed: Unattributed::Accept,
            protocol: None,
            group: None,
            patterns: Vec::new(),
            rules: Vec::new(),
            faults: vec![fault],
            distributions: Vec::new(),
            phases: Vec::new(),
        }
    }

    #[test]
    fn what_a_system_does_not_offer_is_refused_or_where_optional_never_begins() {
        let etcd = Adapter::load("etcd").expect("a shipped adapter");
        let told = check_offered(&table(ProcessAction::Compact, None, false), &etcd);
        let why = "the rule `it` needs `compact`, which the adapter etcd does not offer";
        assert_eq!(told, Err(why.to_owned()));
        let mut optional = table(ProcessAction::Compact, None, true);
        assert_eq!(check_offered(&optional, &etcd), Ok(()));
        assert!(Schedule::new(&optional).is_busy());
        assert_eq!(leave_out(&mut optional, &etcd).len(), 1);
        let schedule = Schedule::new(&optional);
        assert!(!schedule.is_busy() && !schedule.needs_roles() && schedule.poll_at().is_none());
        assert_eq!(optional.faults[0].window.end_of_fault(ProcessAction::Compact), Nanos::ZERO);
        let mut offered = table(ProcessAction::Transfer, None, true);
        assert_eq!(leave_out(&mut offered, &etcd), Vec::<String>::new());
        assert!(Schedule::new(&offered).is_busy());
    }

    #[test]
    fn a_removal_with_an_end_needs_a_way_back() {
        let fault = |action, lasts| table(action, lasts, false).faults.remove(0);
        let second = Some(Nanos::from_secs(1));
        assert_eq!(needs(&fault(ProcessAction::Remove, None)), [Admin::Remove]);
        assert_eq!(needs(&fault(ProcessAction::Remove, second)), [Admin::Remove, Admin::Add]);
        assert_eq!(needs(&fault(ProcessAction::Kill, second)), []);
    }
}
