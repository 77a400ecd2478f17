//! An attached raftq: what it can be told, and how it comes off again.
//!
//! Made by `attach.rs`. Dropping it detaches, in the reverse order of attaching: release
//! what is held, take the rules out, empty the queues, end the guardian. Who removes the
//! rules, this or the guardian, is decided once, by the phase on the shared page.

use super::asker::{self, KnownConnections};
use super::attach::QueueKind;
use super::guardian::Guardian;
use super::mailbox::{Inbox, Order, Post, Report};
use super::tally::Tally;
use super::trace::{Captured, Names, TraceWriter, Traced, Written};
use super::verdict_loop::Ended;
use super::watch::{self, Births, Watcher};
use crate::engine::counters::Counters;
use crate::engine::{Engine, Limits, Prepared};
use crate::kernel::chains::Spec;
use crate::kernel::clock;
use crate::kernel::heart::{Heart, Phase};
use crate::kernel::iptables::{self, Installed, Removal};
use crate::kernel::losses::{LossReader, Losses};
use crate::kernel::pidfd::Paused;
use crate::kernel::poll::{self, Poller};
use crate::kernel::record::{self, Lock, Record};
use crate::kernel::restore::Flavour;
use crate::kernel::sched::Urgency;
use crate::kernel::topology::{self, Plan};
use crate::kernel::trouble::Trouble;
use crate::observe::Invariant;
use crate::packet::NodeId;
use crate::rules::Table;
use crate::time::Nanos;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The longest that the loop may take to answer an order.
const ANSWER: Nanos = Nanos::from_secs(2);

/// An attached raftq. Dropping it detaches.
#[derive(Debug)]
pub struct Attached {
    /// The table in force.
    pub table: Arc<Table>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Where the nodes are, and where their packets are queued.
    pub plan: Plan,
    /// What the loop was granted.
    pub urgency: Urgency,
    /// The flavour of iptables in use.
    pub flavour: Flavour,
    /// What the loop tells.
    pub reports: Inbox<Report>,
    /// Rules of others that stand in the way, nodes that were not found, and the like.
    pub warnings: Vec<String>,
    /// When the rules' clock started.
    pub start: Nanos,
    /// What the loop told before that, such as who leads.
    pub(super) early: Vec<Report>,
    pub(super) queue: QueueKind,
    /// Why no packets of raftq's own can be sent, where they cannot.
    pub(super) no_injection: Option<Trouble>,
    pub(super) orders: Post<Order>,
    pub(super) heart: Arc<Heart>,
    pub(super) record: Record,
    pub(super) guardian: Option<Guardian>,
    /// Whether our rules are in, or may be.
    pub(super) in_place: bool,
    /// Whether all of them were put in, so that any that lacks was removed by somebody.
    pub(super) complete: bool,
    /// Processes of the cluster that were stopped: they go on before this is gone.
    pub(super) paused: Arc<Paused>,
    pub(super) losses: Vec<LossReader>,
    pub(super) names: Option<Names>,
    pub(super) writer: Option<TraceWriter>,
    pub(super) watcher: Option<Watcher>,
    pub(super) thread: Option<JoinHandle<io::Result<Ended>>>,
    pub(super) _asker: Option<JoinHandle<()>>,
}

/// A table that the loop was ordered to adopt.
#[derive(Debug)]
pub struct Pending {
    /// The table.
    pub table: Arc<Table>,
    counters: Arc<Counters>,
}

/// What a detached raftq leaves to tell.
#[derive(Debug)]
pub struct Detached {
    /// The engine, and what the queues noticed.
    pub ended: Ended,
    /// Packets that the queues lost.
    pub losses: Losses,
    /// How the trace came out, where there was one.
    pub traced: Option<Traced>,
    /// How the file of packets came out, where there was one.
    pub captured: Option<Captured>,
    /// What was seen on the wire, where it was watched.
    pub watched: Option<watch::Ended>,
    /// What could not be cleaned up.
    pub troubles: Vec<String>,
    /// Whether somebody else had removed rules of ours by then.
    pub rules_removed: bool,
    /// When the loop let go of everything; none where it was gone by then.
    pub released: Option<Nanos>,
}

/// What undoing an attach came to; `ended` only where the loop was there to end.
#[derive(Default)]
struct Undone {
    ended: Option<Ended>,
    losses: Losses,
    traced: Option<Traced>,
    captured: Option<Captured>,
    watched: Option<watch::Ended>,
    troubles: Vec<String>,
    rules_removed: bool,
    released: Option<Nanos>,
}

impl Attached {
    /// Puts the rules in. From here on the heart must beat.
    pub(super) fn install(
        &mut self,
        prepared: &[iptables::Prepared],
        lock: &Lock,
    ) -> Result<(), Trouble> {
        self.record.save()?;
        self.heart.beat(clock::now());
        self.heart.change(Phase::Detached, Phase::Attached);
        self.in_place = true;
        iptables::install_all_under(lock.as_fd(), prepared)?;
        self.complete = true;
        Ok(())
    }

    /// Starts the rules' clock. On a shared stack packets wait in the queue until the connections
    /// that exist are known.
    pub(super) fn start_clock(&mut self) -> Result<(), Trouble> {
        let mut early = Vec::new();
        self.start_clock_with(None, &mut early)?;
        self.early = early;
        Ok(())
    }

    fn start_clock_with(
        &mut self,
        since: Option<Nanos>,
        aside: &mut Vec<Report>,
    ) -> Result<(), Trouble> {
        let mut known = KnownConnections::new();
        for site in self.plan.sites.iter().filter(|site| site.shared) {
            let mut owners =
                asker::open_owners(&self.table, site).map_err(|e| asker::unasked(site, &e))?;
            known.extend(
                asker::known_connections(&mut owners).map_err(|e| asker::unasked(site, &e))?,
            );
            let found = owners.refresh().map_err(|e| asker::unasked(site, &e))?;
            let names = |set: crate::kernel::owners::NodeSet| {
                let name = |id: NodeId| self.table.nodes[usize::from(id.0)].name.clone();
                set.iter().map(name).collect::<Vec<_>>().join(", ")
            };
            for (set, what) in [
                (found.missing, "nobody listens at the peer address of"),
                (found.unseen, "the process cannot be seen that listens for"),
                (found.ambiguous, "one process listens for several of"),
            ] {
                if !set.is_empty() {
                    self.warnings.push(format!(
                        "{what} {}: what comes from there stays unattributed",
                        names(set)
                    ));
                }
            }
        }
        self.order(Order::Start(known, since))?;
        match self.await_report(|report| matches!(report, Report::Started(_)), aside)? {
            Report::Started(at) => self.start = since.unwrap_or(at),
            _ => unreachable!("only Started was waited for"),
        }
        Ok(())
    }

    /// Orders another table into force, behind `former`, the last one ordered; the loop
    /// answers with [`Report::Adopted`], and [`Attached::take_over`] is for then. Refused
    /// where it is about another cluster, or needs what this queue cannot do.
    pub fn adopt(&self, table: Arc<Table>, former: &Table) -> Result<Pending, Trouble> {
        if table.nodes != former.nodes {
            return Err(Trouble::new(
                "the nodes are not those that raftq is attached to",
                "end this raftq and start another for the new cluster",
            ));
        }
        if (table.protocol, &table.group) != (former.protocol, &former.group) {
            return Err(Trouble::new(
                "`cluster.protocol` and `cluster.group` are not those that raftq listens by",
                "attach anew: connections are read from their beginning",
            ));
        }
        let cut = |table: &Table| (table.needs_segments(), table.needs().bytes);
        let recut = cut(&table) != cut(former);
        if self.queue == QueueKind::Nfq && recut {
            return Err(Trouble::new(
                "`chance`, `what: data` and rules about messages need packets cut into wire \
                 segments, which --queue nfq can only set at its start",
                "attach anew, or without --queue nfq",
            ));
        }
        if let Some(trouble) = self.no_injection.as_ref().filter(|_| table.needs().injects) {
            return Err(trouble.clone());
        }
        let shared = asker::shared_nodes(&self.plan);
        let prepared = Prepared::new(Arc::clone(&table), Some(former), |n| shared.contains(&n));
        let counters = Arc::clone(prepared.counters());
        if let Some(names) = &self.names {
            names.add(Arc::clone(&table));
        }
        self.order(Order::Adopt(prepared))?;
        Ok(Pending { table, counters })
    }

    /// The loop has adopted this table: edges told from now on are of its rules.
    pub fn take_over(&mut self, adopted: Pending) {
        self.table = adopted.table;
        self.counters = adopted.counters;
    }

    /// Packets lost so far, over all queues.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses.iter().filter_map(|reader| reader.read().ok()).fold(
            Losses::default(),
            |sum, l| Losses {
                waiting: sum.waiting + l.waiting,
                queue_dropped: sum.queue_dropped + l.queue_dropped,
                user_dropped: sum.user_dropped + l.user_dropped,
            },
        )
    }

    /// Places where our rules do not stand any more, and nodes that are not there any more.
    #[must_use]
    pub fn missing_rules(&self) -> Vec<String> {
        let gone = |installed: &&Installed| matches!(installed.stands(), Ok(false));
        self.record.installed.iter().filter(gone).map(|i| i.ns.label.clone()).collect()
    }

    /// Nodes that have left the namespace in which their packets are queued.
    #[must_use]
    pub fn moved_nodes(&self) -> Vec<String> {
        topology::moved(&self.table.nodes, &self.plan)
    }

    /// What names this run: its chains, its record, its control socket.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.record.run_id
    }

    /// The process that watches over this one; 0 where there is none.
    #[must_use]
    pub fn guardian_pid(&self) -> u32 {
        self.guardian.as_ref().map_or(0, Guardian::pid)
    }

    /// Whether the loop has ended by itself, or the guardian has taken the rules away.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.heart.phase() == Phase::TakenAway
            || self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether the guardian has taken the rules away because the loop was stuck.
    #[must_use]
    pub fn was_taken_away(&self) -> bool {
        self.heart.phase() == Phase::TakenAway
    }

    /// Starts a guardian where none lives; returns whether it had to.
    pub fn keep_guarded(&mut self) -> Result<bool, Trouble> {
        if self.guardian.as_mut().is_some_and(|guardian| !guardian.is_gone()) {
            return Ok(false);
        }
        let guardian = Guardian::start(&self.heart, &self.record.run_id, &self.record.installed)
            .map_err(|e| {
                Trouble::new(format!("the guardian process cannot be started ({e})"), "")
            })?;
        self.record.guardian = Some(guardian.pid());
        self.guardian = Some(guardian);
        self.record.save()?;
        Ok(true)
    }

    /// Takes the rules out and lets everything go, but stays ready to come back. Does
    /// nothing, and returns false, where the guardian was faster. What the loop told
    /// meanwhile is put `aside`.
    pub fn step_aside(&mut self, aside: &mut Vec<Report>) -> Result<bool, Trouble> {
        self.paused.close().map_err(|e| {
            Trouble::new(format!("processes that were stopped may not go on ({e})"), "")
        })?;
        self.order(Order::Drain)?;
        self.await_report(|report| matches!(report, Report::Drained(_)), aside)?;
        self.complete = false;
        for result in iptables::remove_all(&self.record.installed) {
            result?;
        }
        // Not before: a raftq that is stopped half-way still needs its guardian.
        if !self.heart.change(Phase::Attached, Phase::Detached) {
            return Ok(false);
        }
        self.in_place = false;
        Ok(true)
    }

    /// Comes back after [`Attached::step_aside`]; the rules' clock has gone on. What the
    /// loop told meanwhile is put `aside`.
    pub fn come_back(&mut self, aside: &mut Vec<Report>) -> Result<(), Trouble> {
        let lock = record::lock()?;
        self.record.installed.clear();
        let others = record::installed();
        let chain = self.record.chain();
        let mut prepared = Vec::new();
        for (site, &queue) in self.plan.sites.iter().zip(&self.record.queues) {
            let spec = Spec { site, nodes: &self.table.nodes, chain: &chain, queue };
            prepared.extend(iptables::prepare(&spec, self.flavour)?);
        }
        self.record.intend(&mut prepared, &others);
        // The guardian's charge may have changed: what exists beside our rules has.
        if let Some(guardian) = self.guardian.take() {
            self.heart.change(Phase::Detached, Phase::Finished);
            guardian.dismiss();
            self.heart.change(Phase::Finished, Phase::Detached);
        }
        self.keep_guarded()?;
        self.install(&prepared, &lock)?;
        drop(lock);
        self.paused.open();
        self.start_clock_with(Some(self.start), aside)
    }

    /// For whoever starts processes of the cluster anew, where the wire is watched.
    #[must_use]
    pub fn births(&self) -> Option<Births> {
        self.watcher.as_ref().map(Watcher::births)
    }

    /// What was heard on the wire so far, where it is watched.
    #[must_use]
    pub fn tally(&self) -> Option<&Tally> {
        self.watcher.as_ref().map(Watcher::tally)
    }

    /// The next violation on the wire that was not told yet.
    #[must_use]
    pub fn alarm(&self) -> Option<(Invariant, String)> {
        self.watcher.as_ref().and_then(Watcher::alarm)
    }

    /// Detaches: releases what is held, takes the rules out, empties the queues.
    #[must_use]
    pub fn detach(mut self) -> Detached {
        let undone = self.undo();
        let Undone { ended, losses, traced, captured, watched, .. } = undone;
        let Undone { troubles, rules_removed, released, .. } = undone;
        let ended = ended.unwrap_or_else(|| Ended {
            engine: Engine::new(
                Prepared::new(Arc::clone(&self.table), None, |_| false),
                Limits { queues: 0, held: 0, flows: 1 },
            ),
            faults: crate::kernel::queue::Faults::default(),
            injected: crate::kernel::inject::Injected::default(),
        });
        Detached { ended, losses, traced, captured, watched, troubles, rules_removed, released }
    }

    /// The reverse of attaching, as far as it still has to be done.
    fn undo(&mut self) -> Undone {
        let mut rules_removed = false;
        let mut troubles = Vec::new();
        let mut note = |trouble: String| troubles.push(trouble);
        let mut all_go_on = true;
        if let Err(e) = self.paused.close() {
            all_go_on = false;
            note(format!("processes that were stopped may not go on ({e}); run `raftq clean`"));
        }
        let Some(thread) = self.thread.take() else {
            return Undone::default();
        };
        let mut released = None;
        if !thread.is_finished() && self.order(Order::Drain).is_ok() {
            match self.await_report(|report| matches!(report, Report::Drained(_)), &mut Vec::new())
            {
                Ok(Report::Drained(at)) => released = Some(at),
                Ok(_) => {}
                Err(e) => note(e.to_string()),
            }
        }
        let mut removed = true;
        if self.in_place {
            self.in_place = false;
            let mut results = iptables::remove_all(&self.record.installed);
            // Not before: a raftq that is stopped half-way still needs its guardian.
            self.heart.change(Phase::Attached, Phase::Detached);
            let taken_away = self.heart.change(Phase::TakenAway, Phase::Finished);
            if let Some(guardian) = self.guardian.take_if(|_| taken_away) {
                // It ends what it has begun; then it is seen whether it could.
                guardian.dismiss();
                results = iptables::remove_all(&self.record.installed);
            }
            for result in results {
                match result {
                    Ok(Removal::RestRemoved | Removal::WasGone) if self.complete && !taken_away => {
                        rules_removed = true;
                    }
                    Ok(_) => {}
                    Err(e) => {
                        removed = false;
                        note(e.to_string());
                    }
                }
            }
        }
        let losses = self.losses();
        drop(self.order(Order::Stop));
        let ended = join(thread).map_err(&mut note).ok();
        let Written { traced, untraced, captured } =
            self.writer.take().map(TraceWriter::finish).unwrap_or_default();
        if let Some(e) = untraced {
            note(format!("the trace is not whole: {e}"));
        }
        let watched = self.watcher.take().and_then(|watcher| match watcher.finish() {
            Ok(watched) => watched,
            Err(e) => {
                note(e.to_string());
                None
            }
        });
        if removed
            && all_go_on
            && let Err(e) = self.record.forget()
        {
            note(format!("the record under /run stays ({e}); run `raftq clean`"));
        }
        self.heart.change(Phase::Detached, Phase::Finished);
        if let Some(guardian) = self.guardian.take() {
            guardian.dismiss();
        }
        Undone { ended, losses, traced, captured, watched, troubles, rules_removed, released }
    }

    /// Tells the loop something.
    pub(super) fn order(&self, order: Order) -> Result<(), Trouble> {
        self.orders.send(order).map_err(|_| Trouble::new("the verdict loop is gone", ""))
    }

    /// Waits for a certain report; others that come before it are put `aside`.
    fn await_report(
        &self,
        wanted: impl Fn(&Report) -> bool,
        aside: &mut Vec<Report>,
    ) -> Result<Report, Trouble> {
        let unable = |e: io::Error| Trouble::new(format!("cannot wait ({e})"), "");
        let mut poller = Poller::new().map_err(unable)?;
        poller.add(self.reports.bell.as_fd()).map_err(unable)?;
        let limit = clock::now() + ANSWER;
        loop {
            self.reports.open();
            while let Some(report) = self.reports.take() {
                if wanted(&report) {
                    return Ok(report);
                }
                aside.push(report);
            }
            let left = limit.saturating_sub(clock::now());
            if left == Nanos::ZERO || self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                return Err(Trouble::new("the verdict loop does not answer", ""));
            }
            // Short enough to notice a loop that has ended without a word.
            poller.wait(left.min(Nanos::from_millis(50))).map_err(unable)?;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let undone = self.undo();
        for trouble in undone.troubles {
            log::error!("{trouble}");
        }
        if undone.rules_removed {
            log::warn!("somebody else had removed rules of raftq's");
        }
    }
}

/// What is left of the loop. One that does not end is left alone: the rules are out, and its
/// queues end with the process.
fn join(thread: JoinHandle<io::Result<Ended>>) -> Result<Ended, String> {
    let limit = clock::now() + ANSWER;
    while !thread.is_finished() {
        if clock::now() > limit {
            return Err("the verdict loop does not end; this is a bug in raftq".into());
        }
        poll::pause(Nanos::from_millis(1));
    }
    match thread.join() {
        Ok(ended) => ended.map_err(|e| format!("the verdict loop failed: {e}")),
        Err(_) => Err("the verdict loop panicked; this is a bug in raftq".into()),
    }
}
