//! What the main thread does to a cluster beside the verdict loop: finding out who the leader is
//! that a rule means, and ordering things done to processes.
//!
//! A rule that depends on roles is parked, that is never active, until its time comes; then its
//! links are found from who leads at that moment, and a table with these is put into force. They
//! stay bound until it ends. While nobody leads it waits, and says so.
//!
//! Before anything is done to a process its node is silent: the verdict loop says so, because a
//! packet triggered the fault or because it was ordered to, and only then the job is handed over.
//! The silence ends once a killed process is reaped, a paused one stands still, or a crashed one
//! was started again. What came meanwhile was dropped; what was held before stays deliverable,
//! but for a crash.

mod by_name;
mod happened;
mod successor;

use super::binding;
use super::facts::Fact;
use super::host::{Done, Host, Job, Worker};
use super::mailbox::Order;
use super::reach::Reach;
use super::schedule::{Due, Schedule, What};
use crate::engine::Silenced;
use crate::kernel::poll;
use crate::kernel::trouble::Trouble;
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{Fault, NodeBits, ProcessAction};
use crate::rules::{self, Compiled, Roles, Source, Table};
use crate::time::Nanos;
use std::sync::Arc;

pub use by_name::{Ordered, State};
pub use happened::{HEARD, Happened};

/// The longest that the end waits for what was ordered.
const SETTLING: u32 = 10_000;

/// How often somebody who waits for a leader looks again.
const AGAIN: Nanos = Nanos::from_millis(20);

/// A cluster that can be asked and told, and how rules are compiled once roles are known.
pub struct Hosted<'a> {
    /// The cluster.
    pub host: Arc<dyn Host>,
    /// What may be done to its processes.
    pub reach: Reach,
    /// Compiles the rules with these roles.
    pub bind: Box<dyn Fn(Roles) -> Result<Compiled, rules::Report> + 'a>,
}

/// One fault, from its trigger until it is undone.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
struct UnderWay {
    /// Whether a packet triggers it, and no time.
    by_packet: bool,
    /// Whether a run goes on for such a packet.
    awaited: bool,
    /// Whether the silence was ordered and is not in force yet: so nothing is done so far.
    awaits_silence: bool,
    /// Who said who leads, for people, where that decided whom it is done to.
    source: String,
    /// Nodes that it was done to, until it is undone.
    victims: Vec<usize>,
    /// Nodes that are silent for it.
    silent: Vec<usize>,
    /// Whether somebody has switched it on by name.
    by_name: bool,
}

/// What is to be done, and what was.
pub struct Disturb<'a> {
    schedule: Schedule,
    hosted: Option<&'a Hosted<'a>>,
    worker: Option<Worker>,
    names: Vec<String>,
    /// Of the rules, in the file's order.
    rules: Vec<String>,
    seed: u64,
    faults: Vec<Fault>,
    /// What is under way of each fault.
    under_way: Vec<UnderWay>,
    /// What the verdict loop is to be told.
    orders: Vec<Order>,
    happened: Vec<Happened>,
    /// When a process that had been disturbed was last seen to run again.
    undone: Option<Nanos>,
    failures: Vec<String>,
    waiting: Vec<What>,
    /// What somebody has switched off: its times pass.
    held_off: Vec<What>,
    /// Other rules than those that raftq began with.
    loaded: Option<Loaded<'a>>,
    next_look: Nanos,
    /// Who leads, as heard on the wire, and in which term.
    heard: Option<(usize, u64)>,
}

/// Compiles other rules for the same cluster; without roles for nobody in particular.
pub type Compile<'a> = dyn Fn(Source, Option<Roles>) -> Result<Compiled, rules::Report> + 'a;

/// Rules that somebody has loaded, and how they are compiled once roles are known.
struct Loaded<'a> {
    rules: Source,
    compile: &'a Compile<'a>,
}

/// Who leads, and who says so.
#[derive(Clone, Copy, Debug)]
struct Leads {
    node: usize,
    /// In which term, where that was heard on the wire; else the nodes were asked.
    heard: Option<u64>,
}

impl<'a> Disturb<'a> {
    /// For a table; refused where it needs a cluster that raftq cannot ask or tell.
    pub fn new(table: &Table, hosted: Option<&'a Hosted<'a>>) -> Result<Self, Trouble> {
        let mut disturb = Self::idle(table, hosted)?;
        disturb.hire()?;
        Ok(disturb)
    }

    /// Starts the threads that do what is done to processes, where anything is.
    fn hire(&mut self) -> Result<(), Trouble> {
        let acting = |hosted: &&Hosted<'_>| hosted.reach != Reach::Nothing;
        if let Some(hosted) = self.hosted.filter(acting)
            && !self.faults.is_empty()
            && self.worker.is_none()
        {
            let worker = Worker::start(&hosted.host);
            let worker =
                worker.map_err(|e| Trouble::new(format!("no thread for faults ({e})"), ""))?;
            self.worker = Some(worker);
        }
        Ok(())
    }

    /// Without the threads.
    fn idle(table: &Table, hosted: Option<&'a Hosted<'a>>) -> Result<Self, Trouble> {
        let schedule = Schedule::new(table);
        hosted.map_or(Reach::Nothing, |hosted| hosted.reach).check(&table.faults)?;
        let is_heard = table.protocol.is_some();
        let is_known = is_heard || hosted.is_some_and(|hosted| hosted.host.knows_leader());
        if !is_known && schedule.needs_roles() {
            return Err(Trouble::new(
                "nobody can say who leads this cluster",
                "say how its nodes speak Raft: `protocol: etcd` in `cluster`; let it be asked: \
                 --adapter NAME --attach http://HOST:PORT; or name a group, and say who it is: \
                 --set victim=NODE",
            ));
        }
        Ok(Self {
            schedule,
            hosted,
            worker: None,
            loaded: None,
            names: table.nodes.iter().map(|node| node.name.clone()).collect(),
            rules: table.rules.iter().map(|rule| rule.name.clone()).collect(),
            seed: table.seed,
            faults: table.faults.clone(),
            under_way: (0..table.faults.len()).map(|i| UnderWay::new(table, i)).collect(),
            orders: Vec::new(),
            happened: Vec::new(),
            undone: None,
            failures: Vec::new(),
            waiting: Vec::new(),
            held_off: Vec::new(),
            next_look: Nanos::ZERO,
            heard: None,
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
        let open = |(i, one): (usize, &UnderWay)| {
            one.awaits_silence || (one.awaited && !self.schedule.has_started(What::Fault(i)))
        };
        self.schedule.is_busy() || working || self.under_way.iter().enumerate().any(open)
    }

    /// When to look again, on the rules' clock.
    #[must_use]
    pub fn poll_at(&self) -> Option<Nanos> {
        let working = self.worker.as_ref().is_some_and(|worker| !worker.is_idle());
        // What is under way is to be told soon after it is done.
        let soon = working.then_some(Nanos::ZERO);
        soon.or(self.schedule.poll_at().map(|at| at.max(self.next_look)))
    }

    /// Does what is due at `t`; `former` is the last table ordered. Returns a table that has to
    /// come into force; [`Disturb::orders`] has what else the verdict loop is to be told.
    pub fn work(&mut self, t: Nanos, former: &Table) -> Result<Option<Table>, Trouble> {
        self.hear(t);
        let mut table: Option<Table> = None;
        let due = self.schedule.due(t);
        if due.is_empty() {
            return Ok(table);
        }
        // All that becomes active at one moment means the same leader.
        let leader = self.leader();
        for due in due {
            match due {
                // It is not done yet, so it cannot be undone.
                Due::End(What::Fault(i)) if self.under_way[i].awaits_silence => {}
                Due::End(what) => self.end(t, what),
                Due::Start(what, _) if self.is_held_off(what) => self.schedule.passed(what, t),
                Due::Start(what, n) => {
                    let next = self.start(t, what, n, leader, table.as_ref().unwrap_or(former))?;
                    table = next.or(table);
                }
            }
        }
        Ok(table)
    }

    /// A node was heard to lead, in a higher term than anybody before.
    pub fn heard_leader(&mut self, node: NodeId, term: u64) {
        self.heard = Some((usize::from(node.0), term));
    }

    /// As heard on the wire; where nobody was, the nodes are asked.
    fn leader(&self) -> Option<Leads> {
        let heard = self.heard.map(|(node, term)| Leads { node, heard: Some(term) });
        let asked = || self.hosted.and_then(|hosted| hosted.host.leader());
        heard.or_else(|| asked().map(|node| Leads { node, heard: None }))
    }

    /// A process that is gone leads nobody any more.
    fn forget_leader(&mut self, job: &Job) {
        use ProcessAction::{Pause, Resume, Start, Transfer};
        let goes_on = matches!(job.action, Pause | Resume | Start | Transfer) || job.undo;
        self.heard.take_if(|(node, _)| *node == job.node && !goes_on);
    }

    fn start(
        &mut self,
        t: Nanos,
        what: What,
        n: u64,
        leader: Option<Leads>,
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
            (true, Some(leader)) => Some(self.bind(leader.node, &name, n)?),
            (false, _) => None,
        };
        self.waiting.retain(|waiting| *waiting != what);
        let window = self.schedule.started(what, t);
        match what {
            What::Rule(i) => {
                let bound = bound.expect("a rule is here only because it depends on roles");
                let table = binding::bound(table, i, &bound.rules[i], window);
                let who = self.who(&table.rules[i].links);
                let by = leader.map_or(String::new(), |leader| self.source(leader));
                let what = format!("bound: {}{by}", who.join(", "));
                self.note_fact(t, &name, &what, who, Fact::Bound { by: plain(&by) });
                Ok(Some(table))
            }
            What::Fault(i) => {
                let nodes =
                    bound.map_or(self.faults[i].nodes.clone(), |b| b.faults[i].nodes.clone());
                let by = leader.filter(|_| dynamic);
                self.under_way[i].source = by.map_or(String::new(), |leader| self.source(leader));
                self.do_fault(t, i, &nodes);
                Ok(None)
            }
        }
    }

    fn bind(&self, leader: usize, rule: &str, n: u64) -> Result<Table, Trouble> {
        let choice = binding::choice(rule, self.seed, n);
        let roles = Roles { leader: NodeId(leader as u16), choice };
        let compiled = if let Some(loaded) = &self.loaded {
            (loaded.compile)(loaded.rules.clone(), Some(roles))
        } else {
            let hosted = self.hosted.expect("without a host such a table was refused");
            (hosted.bind)(roles)
        };
        compiled.map(|compiled| compiled.table).map_err(|report| {
            Trouble::new(format!("`{rule}` cannot be bound: {}", report.render(false)), "")
        })
    }

    /// Its time triggers a fault: where it needs a silence, that comes first.
    fn do_fault(&mut self, t: Nanos, i: usize, nodes: &[NodeId]) {
        let action = self.faults[i].action;
        let nodes: Vec<usize> = nodes.iter().map(|node| usize::from(node.0)).collect();
        if action.silences() {
            self.under_way[i].awaits_silence = true;
            let bits = nodes.iter().fold(0, |bits: NodeBits, node| bits | 1 << node);
            self.orders.push(Order::Silence(i as u16, bits, action == ProcessAction::Crash));
        } else {
            self.do_to(t, i, nodes, None);
        }
    }

    /// Nodes are silent: now it is done to them.
    pub fn silenced(&mut self, silenced: &Silenced) {
        let (t, i) = (silenced.at, usize::from(silenced.fault));
        let is_in = |node: &usize| silenced.nodes & (1 << node) != 0;
        let nodes: Vec<usize> = (0..self.names.len()).filter(is_in).collect();
        self.under_way[i].awaits_silence = false;
        self.under_way[i].silent.extend(&nodes);
        if silenced.by.is_some() && self.schedule.is_active(What::Fault(i)) {
            let name = self.faults[i].name.clone();
            self.note(t, &name, "triggered again before it was undone: left as it is", Vec::new());
            return nodes.into_iter().for_each(|node| self.end_silence(i, node));
        }
        if silenced.by.is_some() {
            self.schedule.started(What::Fault(i), t);
        }
        self.do_to(t, i, nodes, silenced.by);
    }

    fn do_to(&mut self, t: Nanos, i: usize, nodes: Vec<usize>, by: Option<LinkId>) {
        let fault = self.faults[i].clone();
        let names: Vec<String> = nodes.iter().map(|&node| self.names[node].clone()).collect();
        let by = by.map_or(String::new(), |link| {
            format!(", triggered by a packet {}", self.who(&[link]).concat())
        });
        let silent = if fault.action.silences() { "; silent from here on" } else { "" };
        let source = &self.under_way[i].source;
        let what = format!("{} {}{source}{by}{silent}", fault.action.name(), names.join(", "));
        let fact = Fact::Ordered { action: fault.action.name().into(), undo: false };
        self.note_fact(t, &fault.name, &what, names, fact);
        for &node in &nodes {
            let job = Job { fault: i, action: fault.action, node, undo: false };
            // A node that comes back in another way than its crash would end is heard again.
            if job.revives() {
                (0..self.faults.len()).for_each(|fault| self.end_silence(fault, node));
            }
            self.order(job);
        }
        if fault.action.undone_by().is_some() {
            self.under_way[i].victims = nodes;
        } else {
            self.under_way[i].by_name = false;
            self.schedule.ended(What::Fault(i));
        }
    }

    fn end(&mut self, t: Nanos, what: What) {
        self.schedule.ended(what);
        // A rule ends by itself, in the loop.
        let What::Fault(i) = what else { return };
        let fault = self.faults[i].clone();
        self.under_way[i].by_name = false;
        let victims = std::mem::take(&mut self.under_way[i].victims);
        let names: Vec<String> = victims.iter().map(|&node| self.names[node].clone()).collect();
        if let Some(undone) = fault.action.undone_by() {
            let what = format!("over, {undone}: {}", names.join(", "));
            let fact = Fact::Ordered { action: fault.action.name().into(), undo: true };
            self.note_fact(t, &fault.name, &what, names, fact);
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

    /// Hears what was done, and lets nodes speak for which that was all.
    fn hear(&mut self, t: Nanos) {
        while let Some((job, result)) = self.worker.as_mut().and_then(Worker::done) {
            // A host that crashed is silent until it is back.
            let lasts = job.action == ProcessAction::Crash && !job.undo && result.is_ok();
            let done = result.is_ok();
            self.note_done(t, &job, result);
            if done {
                self.forget_leader(&job);
            }
            if !lasts {
                self.end_silence(job.fault, job.node);
            }
        }
    }

    fn end_silence(&mut self, fault: usize, node: usize) {
        let silent = &mut self.under_way[fault].silent;
        if let Some(at) = silent.iter().position(|&one| one == node) {
            silent.swap_remove(at);
            self.orders.push(Order::EndSilence(fault as u16, NodeId(node as u16)));
        }
    }

    /// The verdict loop judges a node's packets again, as far as this fault goes.
    pub fn silence_over(&mut self, fault: u16, node: NodeId, at: Nanos) {
        let rule = self.faults[usize::from(fault)].name.clone();
        let node = self.names[usize::from(node.0)].clone();
        self.note(at, &rule, &format!("the silence of {node} is over"), vec![node]);
    }

    /// What the verdict loop is to be told.
    pub fn orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
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
        let (action, failed) = (job.action.name().to_owned(), result.is_err());
        if let Err(why) = result {
            self.failures.push(format!("`{rule}` was not done to {node}: {why}"));
        }
        let fact = Fact::Done { action, undo: job.undo, failed };
        self.note_fact(t, &rule, &what, vec![node], fact);
    }

    /// At the end, at `t`: waits for what was ordered, a while, and says which faults were never
    /// done at all.
    pub fn settle(&mut self, t: Nanos) {
        self.wait_for_jobs(t);
        for (i, fault) in self.faults.iter().enumerate() {
            // Where a packet triggers it, its rule never matched.
            let UnderWay { by_packet, awaits_silence, .. } = &self.under_way[i];
            let missed =
                !by_packet && !fault.optional && !self.schedule.has_started(What::Fault(i));
            if missed || *awaits_silence {
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
        let faults = self.faults.iter().zip(&self.under_way);
        faults.filter(|(_, it)| !it.victims.is_empty()).map(|(fault, _)| fault.name.clone())
    }

    /// Those faults, and the indices of the nodes that each was done to.
    pub fn victims(&self) -> impl Iterator<Item = (&Fault, &[usize])> {
        let faults = self.faults.iter().zip(&self.under_way);
        faults.map(|(fault, it)| (fault, it.victims.as_slice()))
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
        self.happened.push(Happened { t, rule, what, nodes, fact: None });
    }

    /// The same with what it says to machines.
    fn note_fact(&mut self, t: Nanos, rule: &str, what: &str, nodes: Vec<String>, fact: Fact) {
        self.note(t, rule, what, nodes);
        self.happened.last_mut().expect("it was just put there").fact = Some(fact);
    }

    /// Who said that it leads, for people.
    fn source(&self, leader: Leads) -> String {
        let name = &self.names[leader.node];
        match leader.heard {
            Some(term) => format!(" ({name} leads in term {term}, as heard on the wire)"),
            None => format!(" ({name} leads, as the nodes say)"),
        }
    }

    /// The links of a rule, for people.
    fn who(&self, links: &[LinkId]) -> Vec<String> {
        binding::who(&self.names, links)
    }
}

/// What stands in brackets behind other words, by itself.
fn plain(by: &str) -> String {
    by.trim().trim_start_matches('(').trim_end_matches(')').to_owned()
}

impl UnderWay {
    fn new(table: &Table, fault: usize) -> Self {
        let rule = table.rule_that_triggers(fault);
        let awaited = rule.is_some_and(|rule| !rule.optional);
        Self { by_packet: rule.is_some(), awaited, ..Self::default() }
    }
}
