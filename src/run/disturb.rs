//! What the main thread does to a cluster beside the verdict loop: finding out who the leader is
//! that a rule means, and ordering things done to processes.
//!
//! A rule that depends on roles is parked, that is never active, until its time comes; then its
//! links are found from who leads at that moment, and a table with these is put into force. They
//! stay bound until it ends. While nobody leads it waits, and says so.

use super::host::{Done, Host, Job, Worker};
use super::schedule::{Due, Schedule, What};
use crate::kernel::poll;
use crate::kernel::trouble::Trouble;
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{Action, Filter, ProcessAction, Rule, Window};
use crate::rules::{self, Compiled, Roles, Table};
use crate::time::Nanos;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The longest that the end waits for what was ordered.
const SETTLING: u32 = 10_000;

/// How often somebody who waits for a leader looks again.
const AGAIN: Nanos = Nanos::from_millis(20);

/// A cluster that can be asked and told, and how rules are compiled once roles are known.
pub struct Hosted<'a> {
    /// The cluster.
    pub host: Arc<dyn Host>,
    /// Compiles the rules with these roles.
    pub bind: Box<dyn Fn(Roles) -> Result<Compiled, rules::Report> + 'a>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// When, on the rules' clock.
    #[serde(rename = "t_ns", serialize_with = "nanos")]
    pub t: Nanos,
    /// The rule or fault.
    pub rule: String,
    /// What became of it.
    pub what: String,
    /// The nodes that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn nanos<S: serde::Serializer>(t: &Nanos, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(t.0)
}

impl Happened {
    /// Of a rule.
    #[must_use]
    pub fn rule(t: Nanos, rule: &str, what: &str) -> Self {
        Self { t, rule: rule.to_owned(), what: what.to_owned(), nodes: Vec::new() }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.rule, self.what)
    }
}

/// The table in which whatever depends on roles is never active.
#[must_use]
pub fn parked(mut table: Table) -> Table {
    for rule in table.rules.iter_mut().filter(|rule| rule.dynamic) {
        rule.window = Window::NEVER;
    }
    table
}

/// What is to be done, and what was.
pub struct Disturb<'a> {
    schedule: Schedule,
    hosted: Option<&'a Hosted<'a>>,
    worker: Option<Worker>,
    names: Vec<String>,
    /// Of the file's rules, in its order: a table in force may have others in front.
    rules: Vec<String>,
    seed: u64,
    faults: Vec<crate::rules::table::Fault>,
    /// Nodes that each fault was done to, until it is undone.
    victims: Vec<Vec<usize>>,
    /// Jobs that wait for a table to come into force.
    behind_table: Vec<Job>,
    happened: Vec<Happened>,
    /// When a process that had been disturbed was last seen to run again.
    undone: Option<Nanos>,
    failures: Vec<String>,
    waiting: Vec<What>,
    next_look: Nanos,
}

impl<'a> Disturb<'a> {
    /// For a table; refused where it needs a cluster that raftq cannot ask or tell.
    pub fn new(table: &Table, hosted: Option<&'a Hosted<'a>>) -> Result<Self, Trouble> {
        let schedule = Schedule::new(table);
        let worker = match hosted {
            Some(hosted) if !table.faults.is_empty() => {
                let worker = Worker::start(&hosted.host);
                Some(worker.map_err(|e| Trouble::new(format!("no thread for faults ({e})"), ""))?)
            }
            _ => None,
        };
        if let (None, Some(fault)) = (hosted, table.faults.first()) {
            return Err(Trouble::new(
                format!("the rule `{}` is done to a process that raftq did not start", fault.name),
                "write a scenario, and let `raftq run` start the cluster",
            ));
        }
        if hosted.is_none() && schedule.needs_roles() {
            return Err(Trouble::new(
                "nobody can say who leads this cluster",
                "name a group instead, and say who it is: --set victim=NODE",
            ));
        }
        Ok(Self {
            schedule,
            hosted,
            worker,
            names: table.nodes.iter().map(|node| node.name.clone()).collect(),
            rules: table.rules.iter().map(|rule| rule.name.clone()).collect(),
            seed: table.seed,
            faults: table.faults.clone(),
            victims: vec![Vec::new(); table.faults.len()],
            behind_table: Vec::new(),
            happened: Vec::new(),
            undone: None,
            failures: Vec::new(),
            waiting: Vec::new(),
            next_look: Nanos::ZERO,
        })
    }

    /// Whether there is anything to do at all.
    #[must_use]
    pub fn is_meant(&self) -> bool {
        self.schedule.needs_roles() || !self.faults.is_empty()
    }

    /// Whether something has still to start, to end, or to be done.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let working = self.worker.as_ref().is_some_and(|worker| !worker.is_idle());
        self.schedule.is_busy() || working || !self.behind_table.is_empty()
    }

    /// When to look again, on the rules' clock.
    #[must_use]
    pub fn poll_at(&self) -> Option<Nanos> {
        let working = self.worker.as_ref().is_some_and(|worker| !worker.is_idle());
        // What is under way is to be told soon after it is done.
        let soon = working.then_some(Nanos::ZERO);
        soon.or(self.schedule.poll_at().map(|at| at.max(self.next_look)))
    }

    /// Does what is due at `t`; `former` is the last table ordered, and `settled` says that it
    /// is in force. Returns a table that has to come into force.
    pub fn work(
        &mut self,
        t: Nanos,
        former: &Table,
        settled: bool,
    ) -> Result<Option<Table>, Trouble> {
        if settled {
            for job in std::mem::take(&mut self.behind_table) {
                self.order(job);
            }
        }
        let mut table: Option<Table> = self.hear(t, former);
        let due = self.schedule.due(t);
        if due.is_empty() {
            return Ok(table);
        }
        // All that becomes active at one moment means the same leader.
        let leader = self.hosted.and_then(|hosted| hosted.host.leader());
        for due in due {
            match due {
                // It is not done yet, so it cannot be undone: a job waits for its silence.
                Due::End(What::Fault(i)) if self.behind_table.iter().any(|job| job.fault == i) => {}
                Due::End(what) => self.end(t, what),
                Due::Start(what, n) => {
                    let next = self.start(t, what, n, leader, table.as_ref().unwrap_or(former))?;
                    table = next.or(table);
                }
            }
        }
        Ok(table)
    }

    fn start(
        &mut self,
        t: Nanos,
        what: What,
        n: u64,
        leader: Option<usize>,
        table: &Table,
    ) -> Result<Option<Table>, Trouble> {
        let (name, dynamic) = match what {
            What::Rule(i) => (self.rules[i].clone(), true),
            What::Fault(i) => (self.faults[i].name.clone(), self.faults[i].dynamic),
        };
        let bound = match (dynamic, leader) {
            (true, None) => {
                self.next_look = t + AGAIN;
                if !self.waiting.contains(&what) {
                    self.waiting.push(what);
                    self.note(t, &name, "waits: nobody leads", Vec::new());
                }
                return Ok(None);
            }
            (true, Some(leader)) => Some(self.bind(leader, &name, n)?),
            (false, _) => None,
        };
        self.waiting.retain(|waiting| *waiting != what);
        let window = self.schedule.started(what, t);
        match what {
            What::Rule(i) => {
                let bound = bound.expect("a rule is here only because it depends on roles");
                let mut table = table.clone();
                // A rule that was put in front has moved those of the file.
                let at = position(&table, &name).unwrap_or(i);
                table.rules[at].links.clone_from(&bound.rules[i].links);
                table.rules[at].window = window;
                let who = self.who(&table.rules[at].links);
                self.note(t, &name, &format!("bound: {}", who.join(", ")), who);
                Ok(Some(table))
            }
            What::Fault(i) => {
                let nodes =
                    bound.map_or(self.faults[i].nodes.clone(), |b| b.faults[i].nodes.clone());
                Ok(self.do_fault(t, i, &nodes, table))
            }
        }
    }

    fn bind(&self, leader: usize, rule: &str, n: u64) -> Result<Table, Trouble> {
        let choice = xxhash_rust::xxh3::xxh3_64_with_seed(rule.as_bytes(), self.seed ^ n);
        let roles = Roles { leader: NodeId(leader as u16), choice };
        let hosted = self.hosted.expect("without a host such a table was refused");
        (hosted.bind)(roles).map(|compiled| compiled.table).map_err(|report| {
            Trouble::new(format!("`{rule}` cannot be bound: {}", report.render(false)), "")
        })
    }

    /// Orders a fault; for a crash the silence comes first.
    fn do_fault(&mut self, t: Nanos, i: usize, nodes: &[NodeId], table: &Table) -> Option<Table> {
        let fault = self.faults[i].clone();
        let nodes: Vec<usize> = nodes.iter().map(|node| usize::from(node.0)).collect();
        let names: Vec<String> = nodes.iter().map(|&node| self.names[node].clone()).collect();
        let what = format!("{} {}", fault.action.name(), names.join(", "));
        self.note(t, &fault.name, &what, names);
        self.victims[i].clone_from(&nodes);
        let jobs =
            nodes.iter().map(|&node| Job { fault: i, action: fault.action, node, undo: false });
        let jobs: Vec<Job> = jobs.collect();
        if fault.action.undone_by().is_none() {
            self.schedule.ended(What::Fault(i));
            self.victims[i].clear();
        }
        if fault.action != ProcessAction::Crash {
            // A node that comes back in another way than its crash would end is heard first.
            let heard = without_silence(table, &jobs, &self.names);
            if heard.is_some() {
                self.behind_table.extend(jobs);
                return heard;
            }
            for job in jobs {
                self.order(job);
            }
            return None;
        }
        self.behind_table.extend(jobs);
        let mut table = table.clone();
        for node in nodes {
            let silence = silence(&self.names[node], node, table.nodes.len(), t);
            if position(&table, &silence.name).is_none() {
                table.rules.insert(0, silence);
            }
        }
        Some(table)
    }

    fn end(&mut self, t: Nanos, what: What) {
        self.schedule.ended(what);
        // A rule ends by itself, in the loop.
        let What::Fault(i) = what else { return };
        let fault = self.faults[i].clone();
        let victims = std::mem::take(&mut self.victims[i]);
        let names: Vec<String> = victims.iter().map(|&node| self.names[node].clone()).collect();
        if let Some(undone) = fault.action.undone_by() {
            self.note(t, &fault.name, &format!("over, {undone}: {}", names.join(", ")), names);
            for node in victims {
                self.order(Job { fault: i, action: fault.action, node, undo: true });
            }
        }
    }

    fn order(&mut self, job: Job) {
        if let Some(worker) = &mut self.worker {
            worker.order(job);
        }
    }

    /// Hears what was done; the table without the silence of nodes that speak again.
    fn hear(&mut self, t: Nanos, former: &Table) -> Option<Table> {
        let mut table: Option<Table> = None;
        while let Some((job, result)) = self.worker.as_mut().and_then(Worker::done) {
            self.note_done(t, &job, result);
            let node = &self.names[job.node];
            if job.action == ProcessAction::Crash && job.undo {
                let mut next = table.take().unwrap_or_else(|| former.clone());
                next.rules.retain(|rule| rule.name != silence_name(node));
                table = Some(next);
            }
        }
        table
    }

    fn note_done(&mut self, t: Nanos, job: &Job, result: Done) {
        let rule = self.faults[job.fault].name.clone();
        let node = self.names[job.node].clone();
        let what = match (&result, job.undo) {
            (Err(why), _) => format!("{node}: {why}"),
            (Ok(_), true) => format!("{node} {}", job.action.undone_by().unwrap_or("undone")),
            (Ok(Some(remark)), false) => format!("{node} {} done: {remark}", job.action.name()),
            (Ok(None), false) => format!("{node} {} done", job.action.name()),
        };
        if result.is_ok() && (job.undo || job.action.undone_by().is_none()) {
            self.undone = Some(t);
        }
        if let Err(why) = result {
            self.failures.push(format!("`{rule}` was not done to {node}: {why}"));
        }
        self.note(t, &rule, &what, vec![node]);
    }

    /// At the end, at `t`: waits for what was ordered, a while, and says which faults were never
    /// done at all.
    pub fn settle(&mut self, t: Nanos) {
        self.wait_for_jobs(t);
        for (i, fault) in self.faults.iter().enumerate() {
            if !fault.optional && !self.schedule.has_started(What::Fault(i)) {
                self.failures
                    .push(format!("`{}` was never done: its time did not come", fault.name));
            }
        }
    }

    fn wait_for_jobs(&mut self, t: Nanos) {
        for _ in 0..SETTLING {
            while let Some((job, result)) = self.worker.as_mut().and_then(Worker::done) {
                self.note_done(t, &job, result);
            }
            if self.worker.as_ref().is_none_or(Worker::is_idle) {
                return;
            }
            poll::pause(Nanos::from_millis(1));
        }
        self.failures.push("something that was ordered was not done by the end of the run".into());
    }

    /// What happened since this was last asked.
    pub fn happened(&mut self) -> Vec<Happened> {
        std::mem::take(&mut self.happened)
    }

    /// When the last process that had been disturbed ran again.
    #[must_use]
    pub fn undone(&self) -> Option<Nanos> {
        self.undone
    }

    /// The faults that were done and not yet undone, by name.
    pub fn active(&self) -> impl Iterator<Item = String> {
        let faults = self.faults.iter().zip(&self.victims);
        faults.filter(|(_, nodes)| !nodes.is_empty()).map(|(fault, _)| fault.name.clone())
    }

    /// Whether something that was ordered could not be done.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// What could not be done, or never was.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures.clone()
    }

    fn note(&mut self, t: Nanos, rule: &str, what: &str, nodes: Vec<String>) {
        let (rule, what) = (rule.to_owned(), what.to_owned());
        self.happened.push(Happened { t, rule, what, nodes });
    }

    /// The links of a rule, for people.
    fn who(&self, links: &[LinkId]) -> Vec<String> {
        let name = |link: &LinkId| {
            let (from, to) = link.ends(self.names.len());
            format!("{}>{}", self.names[usize::from(from.0)], self.names[usize::from(to.0)])
        };
        links.iter().map(name).collect()
    }
}

fn position(table: &Table, name: &str) -> Option<usize> {
    table.rules.iter().position(|rule| rule.name == name)
}

/// The table without the silence of nodes that these jobs bring back, if there is any.
fn without_silence(table: &Table, jobs: &[Job], names: &[String]) -> Option<Table> {
    let back = jobs.iter().filter(|job| job.revives()).map(|job| silence_name(&names[job.node]));
    let back: Vec<String> = back.collect();
    let kept = |rule: &Rule| !back.contains(&rule.name);
    if table.rules.iter().all(kept) {
        return None;
    }
    let mut table = table.clone();
    table.rules.retain(kept);
    Some(table)
}

fn silence_name(node: &str) -> String {
    format!("the silence of {node}, which crashed")
}

/// Nothing to or from a node passes.
fn silence(name: &str, node: usize, nodes: usize, t: Nanos) -> Rule {
    let own = NodeId(node as u16);
    let others = (0..nodes as u16).map(NodeId).filter(|other| *other != own);
    let both = |other: NodeId| [LinkId::new(own, other, nodes), LinkId::new(other, own, nodes)];
    let mut links: Vec<LinkId> = others.flat_map(both).collect();
    links.sort_unstable();
    Rule {
        name: silence_name(name),
        links,
        filter: Filter::default(),
        actions: vec![Action::Drop(crate::rules::table::What::Packets)],
        window: Window { at: t, ..Window::ALWAYS },
        keeps_held: false,
        optional: true,
        dynamic: false,
    }
}
