//! The main thread of an attached raftq: signals, reports, reloads, the status line, and a
//! look now and then at whether the rules still stand. None of it is on a packet's way.

mod listing;
mod looking;
mod measuring;
mod pausing;
mod switching;

use super::activations::Activations;
use super::attach::{self, Options};
use super::attached::Attached;
use super::awaited::Awaited;
use super::binding::parked;
use super::disturb::{Compile, Disturb, HEARD, Happened, Hosted};
use super::healing::Healing;
use super::mailbox::Report;
use super::outcome::{Circumstances, Outcome};
use super::phases;
use super::recorder::Recorder;
use super::serve::Server;
use super::status::{self, Status};
use super::switches::Switches;
use super::tone::Line;
use super::wishes::{Behind, Wishes};
use crate::engine::Turned;
use crate::kernel::clock;
use crate::kernel::door::Door;
use crate::kernel::poll::{self, Poller};
use crate::kernel::signals::Wish;
use crate::kernel::trouble::Trouble;
use crate::observe::{Invariant, Turn};
use crate::packet::NodeId;
use crate::rules::{Compiled, Report as RuleReport, Table};
use crate::time::Nanos;
use looking::Recent;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use switching::{Ordered, Silence, Why};

/// How often everything is looked at that does not tell by itself.
const TICK: Nanos = Nanos::from_millis(100);

/// How long a run goes on past its time for rules that wait for somebody to lead.
const WAITING_MAX: Nanos = Nanos::from_secs(30);

/// How often the firewall is asked whether our rules still stand.
const RULES_LOOK: Nanos = Nanos::from_secs(1);

/// The longest that the end waits for a table that was just read again.
const SETTLING: Nanos = Nanos::from_secs(1);

/// How a run is to go.
pub struct Run<'a> {
    /// How to attach.
    pub options: Options<'a>,
    /// The longest it may take; without it until the last rule has ended, or Ctrl-C.
    pub lasts: Option<Nanos>,
    /// Whether only warnings are told.
    pub quiet: bool,
    /// Reads the rules again.
    pub reload: Box<dyn Fn() -> Result<Compiled, RuleReport> + 'a>,
    /// Compiles other rules for the same cluster, for these roles or such as at the start.
    pub load: Box<Compile<'a>>,
    /// A loopback address at which the API is served, beside the control socket.
    pub listen: Option<SocketAddr>,
    /// The cluster itself, where raftq may ask it who leads and do things to its processes.
    pub host: Option<Hosted<'a>>,
    /// Where everything that happens is written down.
    pub record: Option<&'a Recorder>,
    /// Told of everything that happens, beside the status lines.
    pub told: Option<&'a dyn Fn(&Happened)>,
    /// Asked ten times a second what the status line is to show instead of packets; none where
    /// the run has to end.
    pub beside: Option<Beside<'a>>,
    /// Whoever has the terminal, where that is not this; then it goes on until he says so, or its
    /// time is over.
    pub behind: Option<Behind<'a>>,
}

/// Turns how far the rules are into a status line.
pub type Beside<'a> = &'a dyn Fn(&Progress) -> Option<Line>;

/// How far the rules are.
#[derive(Debug)]
pub struct Progress {
    /// What is left until they have ended; none where that is not known.
    pub left: Option<Nanos>,
    /// How much of their time is over, from 0 to 1, where that is known.
    pub share: Option<f64>,
    /// The rules and faults that are active.
    pub active: Vec<String>,
    /// Who leads, and in which term, as far as somebody was heard or asked.
    pub leader: Option<(String, Option<u64>)>,
}

/// Attaches, runs and detaches.
pub fn run(table: Table, run: &Run<'_>) -> Result<Outcome, Trouble> {
    let wishes = Wishes::of(run.behind.as_ref())?;
    let mut status = Status::new(run.quiet).mute(run.behind.is_some());
    let disturb = Disturb::new(&table, run.host.as_ref())?;
    // Before anything is disturbed: whoever asked for it may count on it.
    let loopback = run.listen.map(Door::loopback).transpose()?;
    let written = end_of(&table, run.lasts);
    let mut attached = attach::attach(Arc::new(parked(table)), &run.options)?;
    if let Some(hosted) = &run.host {
        hosted.host.attached(&attached);
    }
    if let Some(record) = run.record {
        let nodes = attached.table.nodes.iter().map(|node| node.name.clone()).collect();
        record.rules_start(attached.start, nodes);
    }
    status.say(&format!(
        "attached to {} nodes: {}; {}, iptables-{}, guardian {}",
        attached.table.nodes.len(),
        attached.plan.reason,
        attached.urgency.name(),
        attached.flavour,
        attached.guardian_pid(),
    ));
    let aside = std::mem::take(&mut attached.early);
    let server = switching::serve(&mut attached, loopback, &mut status)?;
    if let Some(behind) = &run.behind {
        (behind.ready)(attached.run_id());
    }
    let mut control = Control {
        switches: Switches::new(Arc::clone(&attached.table)),
        server,
        silences: Vec::new(),
        until: written.map(|end| attached.start + end),
        disturb,
        healing: Healing::default(),
        activations: Activations::default(),
        awaited: Awaited::default(),
        interrupted: false,
        written: written.map(|end| attached.start + end),
        attached,
        status,
        run,
        wishes,
        next_look: Nanos::ZERO,
        pending: VecDeque::new(),
        aside,
        told: 0,
        phases_told: None,
        recent: Recent::default(),
        at_the_end: Vec::new(),
        rules_removed: false,
        undecided: false,
        broken: false,
        terminals: terminals(),
        violations: [0; Invariant::ALL.len()],
    };
    control.tell_warnings();
    if let Err(trouble) = control.go() {
        // What the rules did until then is worth telling all the same.
        control.broken = true;
        control.attached.warnings.push(trouble.to_string());
    }
    Ok(control.finish())
}

#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
struct Control<'a> {
    attached: Attached,
    disturb: Disturb<'a>,
    healing: Healing,
    activations: Activations,
    awaited: Awaited,
    interrupted: bool,
    status: Status,
    run: &'a Run<'a>,
    wishes: Wishes<'a>,
    until: Option<Nanos>,
    /// The same, by the rules alone.
    written: Option<Nanos>,
    next_look: Nanos,
    /// Tables ordered and not yet reported as adopted, in order.
    pending: VecDeque<Ordered<'a>>,
    /// The rules without what was switched, and what was.
    switches: Switches,
    /// Whoever asks from outside; none where that could not be.
    server: Option<Server>,
    /// Who waits for the silence of a fault that was switched on.
    silences: Vec<Silence>,
    /// Reports that came while another was waited for; they are older than the inbox's.
    aside: Vec<Report>,
    /// How many of the warnings were told.
    told: usize,
    /// Until when phases were told.
    phases_told: Option<Nanos>,
    /// What happened last, for whoever looks in.
    recent: Recent,
    /// Warnings for the end, when a person looks at the result.
    at_the_end: Vec<String>,
    rules_removed: bool,
    undecided: bool,
    broken: bool,
    terminals: usize,
    /// Violations that were told, by their invariant's place in `ALL`.
    violations: [u64; Invariant::ALL.len()],
}

impl Control<'_> {
    fn go(&mut self) -> Result<(), Trouble> {
        let unable = |e: io::Error| Trouble::new(format!("cannot wait ({e})"), "");
        let mut poller = Poller::new().map_err(unable)?;
        poller.add(self.wishes.as_fd()).map_err(unable)?;
        poller.add(self.attached.reports.bell.as_fd()).map_err(unable)?;
        if let Some(server) = &self.server {
            poller.add(server.calls.bell.as_fd()).map_err(unable)?;
        }
        loop {
            let now = clock::now();
            if self.is_over(now) {
                return Ok(());
            }
            let left = self.until.map_or(TICK, |until| until.saturating_sub(now));
            let due = self
                .disturb
                .poll_at()
                .map_or(TICK, |at| (self.attached.start + at).saturating_sub(now));
            let wait = left.min(TICK).min(due).max(Nanos::from_millis(1));
            poller.wait(wait).map_err(unable)?;
            while let Some(wish) = self.wishes.next() {
                match wish {
                    Wish::End => {
                        self.interrupted = true;
                        return Ok(());
                    }
                    Wish::Reload if self.has_lost_its_terminal() => {
                        self.interrupted = true;
                        return Ok(());
                    }
                    Wish::Reload => self.reload(),
                    Wish::Stop => self.stop()?,
                }
            }
            self.read_reports();
            self.tell_alarms();
            self.answer_calls()?;
            self.tell_phases();
            self.disturb()?;
            if self.look_after(clock::now())? {
                return Ok(());
            }
        }
    }

    /// Over when its time is, and nothing that a rule delayed is still held.
    fn is_over(&self, now: Nanos) -> bool {
        let held = self.attached.counters.totals.held.get();
        let given = self.run.lasts.is_some();
        if self.run.behind.is_some() && !given {
            return false;
        }
        let busy = held > 0 || self.disturb.is_busy();
        // What waits for a leader is not waited for without end.
        let patient = |until: Nanos| now < until + WAITING_MAX;
        let table = &self.attached.table;
        let t = now.saturating_sub(self.attached.start);
        let busy = busy || self.awaited.is_busy(table, t);
        match self.until {
            Some(until) => now >= until && (given || !busy || !patient(until)),
            None => !busy && self.awaited.is_over(table, t),
        }
    }

    /// Starts and ends what the verdict loop does not by itself.
    fn disturb(&mut self) -> Result<(), Trouble> {
        let t = clock::now().saturating_sub(self.attached.start);
        if t == Nanos::ZERO || self.attached.start == Nanos::ZERO || self.is_replaced() {
            return Ok(());
        }
        let changed = self.disturb.work(t, self.switches.file())?;
        for order in self.disturb.orders() {
            self.attached.order(order)?;
        }
        for happened in self.disturb.happened() {
            self.status.say(&format!("{:8.3}s  {happened}", happened.t.as_secs_f64()));
            self.tell(&happened);
        }
        if let Some(t) = self.disturb.undone() {
            self.healing.ended(self.attached.start + t);
        }
        if let Some(table) = changed {
            self.switches.replace(Arc::new(table));
            self.order_table(Why::Bound)?;
        }
        Ok(())
    }

    /// A message showed that something changed.
    fn turned(&mut self, turned: &Turned) {
        let name = |node: NodeId| self.attached.table.nodes[usize::from(node.0)].name.clone();
        let (what, node) = match turned.turn {
            Turn::LeaderElected { node, term } => {
                self.disturb.heard_leader(node, term);
                (format!("{} leads in term {term}", name(node)), node)
            }
            Turn::ElectionStarted { node, term } => {
                (format!("{} stands for term {term}", name(node)), node)
            }
            // They come with one of the others, or say little to people.
            Turn::TermChange { .. } | Turn::FirstEntry { .. } => return,
        };
        let nodes = vec![name(node)];
        let happened = Happened { nodes, ..Happened::rule(turned.at, HEARD, &what) };
        self.status.say(&format!("{:8.3}s  {}", happened.t.as_secs_f64(), happened.what));
        self.tell(&happened);
    }

    /// Violations are told when they are seen; the result has their evidence.
    fn tell_alarms(&mut self) {
        while let Some((invariant, said)) = self.attached.alarm() {
            self.violations[invariant as usize] += 1;
            let t = clock::now().saturating_sub(self.attached.start);
            self.status.violated(&said);
            self.tell(&Happened::rule(t, "invariants", &said));
        }
    }

    /// Phases are told when they begin and end; what they do, their rules do.
    fn tell_phases(&mut self) {
        let t = clock::now().saturating_sub(self.attached.start);
        for happened in phases::between(&self.attached.table, self.phases_told, t) {
            self.status.say(&format!("{:8.3}s  {happened}", happened.t.as_secs_f64()));
            self.tell(&happened);
        }
        self.phases_told = Some(t);
    }

    fn tell(&mut self, happened: &Happened) {
        self.recent.note(happened);
        if let Some(record) = self.run.record {
            record.tell(happened);
        }
        if let Some(told) = self.run.told {
            told(happened);
        }
    }

    fn read_reports(&mut self) {
        for report in std::mem::take(&mut self.aside) {
            self.read(report);
        }
        self.attached.reports.open();
        while let Some(report) = self.attached.reports.take() {
            self.read(report);
        }
    }

    fn read(&mut self, report: Report) {
        match report {
            Report::Edge(edge) => {
                self.status.edge(edge, &self.attached.table);
                if let Some(rule) = self.attached.table.rules.get(usize::from(edge.rule)) {
                    let what = if edge.active { "active" } else { "ended" };
                    self.awaited.edge(rule, edge.active);
                    self.healing.edge(self.attached.start + edge.at, &rule.name, edge.active);
                    let (table, counters) = (&self.attached.table, &self.attached.counters);
                    let i = usize::from(edge.rule);
                    let fact = self.activations.edge(table, counters, i, edge.active);
                    self.tell(&Happened::rule(edge.at, &rule.name, what).with(fact));
                }
            }
            Report::Adopted(at, active, former) => self.adopted(at, active, &former),
            Report::Silenced(silenced) => {
                self.disturb.silenced(&silenced);
                self.answer_silence(&silenced);
            }
            Report::SilenceOver(fault, node, at) => self.disturb.silence_over(fault, node, at),
            Report::Turned(turned) => self.turned(&turned),
            Report::Started(_) | Report::Drained(_) => {}
        }
    }

    /// A warning that is told at once, and stands in the result.
    fn warn(&mut self, warning: String) {
        self.attached.warnings.push(warning);
        self.tell_warnings();
    }

    /// Tells those warnings that have not been told.
    fn tell_warnings(&mut self) {
        let t = self.t();
        for warning in &self.attached.warnings[self.told..] {
            self.status.warn(warning);
            self.recent.note(&looking::of_raftq(t, &format!("warning: {warning}")));
        }
        self.told = self.attached.warnings.len();
    }

    /// The regular look; returns whether the run has to end.
    fn look_after(&mut self, now: Nanos) -> Result<bool, Trouble> {
        if self.attached.is_broken() {
            self.broken = true;
            if self.attached.was_taken_away() {
                self.warn(
                    "the verdict loop was stuck, and the guardian removed the rules: nothing was \
                     disturbed from then on"
                        .into(),
                );
            }
            return Ok(true);
        }
        let t = now.saturating_sub(self.attached.start);
        if !self.renew(now, t) {
            return Ok(true);
        }
        if now < self.next_look {
            return Ok(false);
        }
        self.next_look = now + RULES_LOOK;
        if self.attached.keep_guarded()? {
            self.warn("the guardian process was gone; there is a new one".into());
        }
        self.look_for_gaps(t.as_secs_f64());
        Ok(false)
    }

    /// Renews the status line; whether the run is to go on.
    fn renew(&mut self, now: Nanos, t: Nanos) -> bool {
        let Attached { table, counters, .. } = &self.attached;
        let Some(beside) = self.run.beside else {
            self.status.renew(now, t, table, counters, self.attached.losses());
            return true;
        };
        let rules = self.status.active(table).map(str::to_owned);
        let active = rules.chain(self.disturb.active()).collect();
        let left = self.until.map(|until| until.saturating_sub(now));
        let share = self.until.map(|until| {
            let all = until.saturating_sub(self.attached.start).as_secs_f64();
            if all > 0.0 { t.as_secs_f64() / all } else { 1.0 }
        });
        let name = |node: NodeId| table.nodes[usize::from(node.0)].name.clone();
        let leader = self.disturb.leads().map(|(node, term)| (name(node), term));
        let Some(line) = beside(&Progress { left, share, active, leader }) else { return false };
        if self.status.is_due(now) {
            self.status.put_line(&line);
        }
        true
    }

    /// Whether packets pass unseen: tells it once, and the result is undecided from then on.
    fn look_for_gaps(&mut self, seconds: f64) {
        if self.rules_removed {
            return;
        }
        let missing = self.attached.missing_rules();
        let moved = self.attached.moved_nodes();
        if !missing.is_empty() {
            self.warn(format!(
                "{seconds:.1} s after the start raftq's iptables rules were found removed or \
                 changed by somebody else ({}): packets pass unseen",
                missing.join(", ")
            ));
        }
        if !moved.is_empty() {
            self.warn(format!(
                "{seconds:.1} s after the start nodes were found in another namespace than before \
                 ({}): their packets pass unseen; attach anew",
                moved.join(", ")
            ));
        }
        self.rules_removed = !missing.is_empty() || !moved.is_empty();
    }

    fn reload(&mut self) {
        match (self.run.reload)() {
            Ok(compiled) => {
                if !compiled.warnings.is_empty() {
                    self.status.show(&compiled.warnings.render(status::color()));
                }
                if let Err(trouble) = self.reread(compiled.table) {
                    self.keep_old(&trouble.to_string());
                }
            }
            Err(report) => {
                self.status.show(&report.render(status::color()));
                self.keep_old("the file has errors");
            }
        }
    }

    fn keep_old(&mut self, why: &str) {
        self.warn(format!("the rules were not re-read, the former stay in force: {why}"));
    }

    /// A closed terminal sends SIGHUP, too, and then nobody is there to end raftq.
    fn has_lost_its_terminal(&self) -> bool {
        terminals() < self.terminals
    }

    /// Reads what the loop has told; a table on its way must be there when counts are read.
    fn settle(&mut self) {
        let limit = clock::now() + SETTLING;
        loop {
            self.read_reports();
            if self.pending.is_empty() || self.attached.is_broken() || clock::now() > limit {
                return;
            }
            poll::pause(Nanos::from_millis(1));
        }
    }

    fn finish(mut self) -> Outcome {
        self.settle();
        // Nobody switches anything from here on, and the control socket is gone.
        self.server = None;
        self.status.clear();
        let now = clock::now();
        let seconds = now.saturating_sub(self.attached.start).as_secs_f64();
        let mut circumstances = Circumstances::of(&self.attached, seconds);
        circumstances.rules_removed = self.rules_removed;
        circumstances.told = self.told;
        circumstances.warnings.append(&mut self.at_the_end);
        circumstances.undecided = self.undecided;
        circumstances.interrupted = self.interrupted;
        if let Some(hosted) = self.run.host.as_ref().filter(|_| self.interrupted) {
            hosted.host.give_up();
        }
        self.disturb.settle(now.saturating_sub(self.attached.start));
        let (table, counters) = (&self.attached.table, &self.attached.counters);
        let t = now.saturating_sub(self.attached.start);
        let active = self.activations.finish(t, table, counters);
        for happened in self.disturb.happened().into_iter().chain(active) {
            self.tell(&happened);
        }
        circumstances.warnings.extend(self.disturb.failures());
        circumstances.undecided |= self.disturb.has_failed();
        circumstances.broken = self.broken;
        if let Some(t) = self.disturb.undone() {
            self.healing.ended(self.attached.start + t);
        }
        let detached = self.attached.detach();
        let healed = self.healing.released(detached.released.unwrap_or_else(clock::now));
        Outcome { healed, ..Outcome::new(circumstances, &detached) }
    }
}

/// How many of the standard streams are terminals; fewer than before, and it is gone. Any of
/// them may lead to a file from the start, and `nohup` redirects them all.
fn terminals() -> usize {
    let streams =
        [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()];
    streams.into_iter().filter(|terminal| *terminal).count()
}

/// When a run ends by itself, since the start: when its time is over, or its last rule has
/// ended; `None` where some rule goes on for ever, or there is none.
pub(super) fn end_of(table: &Table, lasts: Option<Nanos>) -> Option<Nanos> {
    if lasts.is_some() {
        return lasts;
    }
    // A rule that triggers a fault is armed for as long as it takes, and so is one that waits for
    // an event.
    let rules = table.rules.iter().filter(|rule| rule.trigger().is_none() && rule.on.is_none());
    let rules = rules.map(|rule| rule.window.end());
    let faults = table.faults.iter().map(|fault| fault.window.end_of_fault(fault.action));
    rules.chain(faults).max().filter(|end| *end < Nanos::MAX)
}
