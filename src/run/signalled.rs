//! The processes of a running cluster that raftq did not start, and may send signals to.
//!
//! A node is whoever holds its listening peer socket at the moment of the fault, forks and
//! supervisors included. Nobody is started again here. Who is paused is noted with the attached
//! raftq, which lets them go on when it comes off, whatever the way (`kernel/pidfd.rs`).

use super::attached::Attached;
use super::found::Found;
use super::host::{Done, Host};
use super::watch::Births;
use crate::kernel::owners::Owners;
use crate::kernel::pidfd::{Paused, Pidfd, Signal};
use crate::kernel::topology::{self, Plan};
use crate::kernel::{clock, poll};
use crate::packet::NodeId;
use crate::rules::Table;
use crate::rules::table::ProcessAction;
use crate::time::Nanos;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// How long a process has to end after SIGTERM, and any to be gone after SIGKILL.
const END_MAX: Nanos = Nanos::from_secs(5);

/// How long a process has to stand still after SIGSTOP.
const STILL_MAX: Nanos = Nanos::from_secs(5);

/// How often it is looked at meanwhile.
const STEP: Nanos = Nanos::from_millis(1);

/// A cluster whose processes get signals.
pub struct Signalled {
    /// Who leads, where the cluster was found by asking it.
    found: Option<Arc<Found>>,
    site: OnceLock<Site>,
    given_up: AtomicBool,
}

/// Where its nodes are.
struct Site {
    table: Arc<Table>,
    plan: Plan,
    paused: Arc<Paused>,
    /// Told of processes that are gone, where the wire is watched.
    births: Option<Births>,
}

impl Signalled {
    /// Before raftq is attached nothing can be done to it.
    #[must_use]
    pub fn new(found: Option<Arc<Found>>) -> Self {
        Self { found, site: OnceLock::new(), given_up: AtomicBool::new(false) }
    }

    fn site(&self) -> Result<&Site, String> {
        self.site.get().ok_or_else(|| "raftq is not attached".into())
    }

    /// SIGKILL to all, and waits until they are gone.
    fn kill(&self, processes: &[Pidfd]) -> Result<(), String> {
        send(processes, Signal::KILL)?;
        match self.first_alive(processes) {
            None => Ok(()),
            Some(one) => Err(format!("process {} is not gone after SIGKILL", one.pid())),
        }
    }

    /// SIGTERM to all, and to whoever does not end of it SIGKILL.
    fn stop(&self, processes: &[Pidfd]) -> Done {
        send(processes, Signal::TERM)?;
        if self.first_alive(processes).is_none() {
            return Ok(None);
        }
        self.kill(processes)?;
        Ok(Some("by SIGKILL, since SIGTERM did not end it".into()))
    }

    /// Waits for the end of all; one that lives nevertheless.
    fn first_alive<'p>(&self, processes: &'p [Pidfd]) -> Option<&'p Pidfd> {
        let limit = clock::now() + END_MAX;
        processes.iter().find(|one| {
            // Short steps, so that giving up is noticed.
            while !one.ends_within(Nanos::from_millis(20)) {
                if clock::now() > limit || self.given_up.load(Ordering::Relaxed) {
                    return !one.ends_within(Nanos::ZERO);
                }
            }
            false
        })
    }

    fn pause(&self, site: &Site, node: usize) -> Done {
        if site.paused.has(node) {
            return Ok(Some("it was paused already".into()));
        }
        let processes = site.processes(node)?;
        if let Some(one) = processes.iter().find(|one| one.stands_still()) {
            return Err(format!("process {} was stopped by somebody else before", one.pid()));
        }
        site.paused.stop(node, processes).map_err(|e| format!("it cannot be stopped ({e})"))?;
        let limit = clock::now() + STILL_MAX;
        while !site.paused.stand_still(node) {
            if clock::now() > limit || self.given_up.load(Ordering::Relaxed) {
                resume(site, node)?;
                return Err("it does not stand still, and goes on".into());
            }
            poll::pause(STEP);
        }
        Ok(None)
    }
}

impl Site {
    /// Somebody else may start it again, with its data or without.
    fn gone(&self, node: usize) {
        if let Some(births) = &self.births {
            births.gone(clock::now(), NodeId(node as u16));
        }
    }

    /// The processes of a node. Each was seen to hold its socket after its pidfd was open: so a
    /// signal meets that process, or none.
    fn processes(&self, node: usize) -> Result<Vec<Pidfd>, String> {
        let id = NodeId(node as u16);
        let home = topology::home(&self.table.nodes, id, &self.plan);
        let (home, here) = home.map_err(|trouble| trouble.to_string())?;
        // A process of several nodes is known as such only where all of these are looked for.
        let ends = |id: NodeId| self.table.nodes[usize::from(id.0)].endpoints.clone();
        let all = here.into_iter().map(|id| (id, ends(id))).collect();
        let unseen = |e: io::Error| format!("its process cannot be found in {home} ({e})");
        let mut owners =
            home.enter(|| Owners::open(all)).and_then(|opened| opened).map_err(unseen)?;
        let opened: Vec<Pidfd> =
            pids(&mut owners, id)?.into_iter().filter_map(|pid| Pidfd::open(pid).ok()).collect();
        let still = pids(&mut owners, id)?;
        let processes: Vec<Pidfd> =
            opened.into_iter().filter(|one| still.contains(&one.pid())).collect();
        if processes.is_empty() {
            return Err(format!("no process listens at its peer address in {home}"));
        }
        Ok(processes)
    }
}

/// The processes that hold a node's socket; refused where one of them is more than the node.
fn pids(owners: &mut Owners, node: NodeId) -> Result<Vec<u32>, String> {
    let found = owners.refresh().map_err(|e| format!("its process cannot be found ({e})"))?;
    let of = |wanted: NodeId| found.nodes.iter().find(|(id, _)| *id == wanted);
    let own = of(node).map_or(Vec::new(), |(_, pids)| pids.clone());
    let others = found.nodes.iter().filter(|(id, _)| *id != node).flat_map(|(_, pids)| pids);
    let others: Vec<u32> = others.copied().collect();
    for pid in &own {
        if *pid == 1 || *pid == std::process::id() {
            return Err(format!("process {pid} holds its socket, and nothing is done to that one"));
        }
        if others.contains(pid) {
            return Err(format!("process {pid} holds the socket of another node, too"));
        }
    }
    Ok(own)
}

fn send(processes: &[Pidfd], signal: Signal) -> Result<(), String> {
    processes.iter().try_for_each(|one| {
        one.send(signal).map_err(|e| format!("process {} takes no signal ({e})", one.pid()))
    })
}

fn resume(site: &Site, node: usize) -> Done {
    match site.paused.resume(node) {
        Ok(0) => Ok(Some("it was not paused".into())),
        Ok(_) => Ok(None),
        Err(e) => Err(format!("it may not go on ({e})")),
    }
}

impl Host for Signalled {
    fn leader(&self) -> Option<usize> {
        self.found.as_ref().and_then(|found| found.leader())
    }

    fn knows_leader(&self) -> bool {
        self.found.is_some()
    }

    fn attached(&self, to: &Attached) {
        let (table, plan) = (Arc::clone(&to.table), to.plan.clone());
        let paused = Arc::clone(&to.paused);
        let births = to.births();
        let _ = self.site.set(Site { table, plan, paused, births });
    }

    fn act(&self, action: ProcessAction, node: usize) -> Done {
        let site = self.site()?;
        match action {
            ProcessAction::Kill | ProcessAction::Crash => {
                self.kill(&site.processes(node)?).map(|()| None).inspect(|_| site.gone(node))
            }
            ProcessAction::Stop => self.stop(&site.processes(node)?).inspect(|_| site.gone(node)),
            ProcessAction::Pause => self.pause(site, node),
            ProcessAction::Resume => resume(site, node),
            _ => Err("raftq did not start it".into()),
        }
    }

    fn undo(&self, action: ProcessAction, node: usize) -> Done {
        match action {
            ProcessAction::Pause => resume(self.site()?, node),
            _ => Err("raftq did not start it".into()),
        }
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}
