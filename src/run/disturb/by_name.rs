//! What depends on roles, and faults, switched by name while they run.
//!
//! A fault that is switched on is done now, and one that is switched off is undone now; meanwhile
//! its times pass, and are not made up for.

use super::{Disturb, Leads, What};
use crate::packet::NodeId;
use crate::rules::Table;
use crate::rules::table::{Fault, ProcessAction};
use crate::run::api::To;
use crate::run::facts::Fact;
use crate::run::reach::Reach;
use crate::run::switches::{Bound, Unable};
use crate::time::Nanos;

/// What has become of a fault that was switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// It is so.
    Now,
    /// It is being done: its nodes will be silent first, by the fault's index.
    OnceSilent(usize),
}

/// How far something is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It acts.
    Active,
    /// It may still act.
    Waiting,
    /// It will not act any more.
    Ended,
}

impl Disturb<'_> {
    /// The faults that no packet triggers, by their index.
    pub fn faults(&self) -> impl Iterator<Item = (usize, &Fault)> {
        let by_packet = |i: usize| self.under_way[i].by_packet;
        self.faults.iter().enumerate().filter(move |(i, _)| !by_packet(*i))
    }

    /// Who leads, as far as is known, and in which term, where that was heard.
    #[must_use]
    pub fn leads(&self) -> Option<(NodeId, Option<u64>)> {
        self.leader().map(|Leads { node, heard }| (NodeId(node as u16), heard))
    }

    /// What a rule that depends on roles comes to now.
    pub fn bind_now(&mut self, t: Nanos, table: &Table, rule: usize) -> Result<Bound, Unable> {
        let name = &table.rules[rule].name;
        let leader = self.leader().ok_or_else(|| nobody_leads(name))?;
        let name = name.clone();
        let bound = self.bound(leader, &name)?;
        let (links, actions) = (bound.rules[rule].links.clone(), bound.rules[rule].actions.clone());
        let who = self.who(&links);
        let by = self.source(leader);
        let what = format!("bound: {}{by}", who.join(", "));
        self.note_fact(t, &name, &what, who, Fact::Bound { by: super::plain(&by) });
        Ok(Bound { links, actions })
    }

    fn bound(&self, leader: Leads, name: &str) -> Result<Table, Unable> {
        let n = self.schedule.activations();
        self.bind(leader.node, name, n)
            .map_err(|trouble| (trouble.cause, "name the nodes in a rule of its own"))
    }

    /// Switches a fault; refused where that cannot be.
    pub fn switch(
        &mut self,
        t: Nanos,
        fault: usize,
        to: To,
        lasts: Option<Nanos>,
    ) -> Result<Ordered, Unable> {
        let what = What::Fault(fault);
        self.is_settled(fault)?;
        match to {
            To::On => return self.switch_on(t, fault, lasts),
            To::Off => {
                self.end_now(t, fault)?;
                if !self.held_off.contains(&what) {
                    self.held_off.push(what);
                }
            }
            To::Auto => {
                if self.under_way[fault].by_name {
                    self.end_now(t, fault)?;
                }
                self.held_off.retain(|held| *held != what);
            }
        }
        self.under_way[fault].by_name = false;
        Ok(Ordered::Now)
    }

    /// Undoes a fault that a packet triggered, where that was done.
    pub fn undo(&mut self, t: Nanos, fault: usize) -> Result<(), Unable> {
        self.is_settled(fault)?;
        self.end_now(t, fault)
    }

    fn is_settled(&self, fault: usize) -> Result<(), Unable> {
        if !self.under_way[fault].awaits_silence {
            return Ok(());
        }
        let why = format!("`{}` is being done at this moment", self.faults[fault].name);
        Err((why, "ask again"))
    }

    fn switch_on(&mut self, t: Nanos, i: usize, lasts: Option<Nanos>) -> Result<Ordered, Unable> {
        let (what, fault) = (What::Fault(i), self.faults[i].clone());
        let name = &fault.name;
        if self.schedule.is_active(what) {
            let why = format!("`{name}` is done already");
            return Err((why, "switch it off first, which undoes it"));
        }
        if lasts.is_some() && fault.action.undone_by().is_none() {
            let why = format!("`{}` is over at once and cannot last", fault.action.name());
            return Err((why, "leave `for` out"));
        }
        let lasts = lasts.or(fault.window.lasts);
        let mut asked = fault.clone();
        asked.window.lasts = lasts;
        if let Some(hosted) = self.hosted {
            hosted.reach.check(&[asked]).map_err(|trouble| (trouble.cause, "leave `for` out"))?;
        }
        let mut nodes = fault.nodes.clone();
        if fault.dynamic {
            let leader = self.leader().ok_or_else(|| nobody_leads(name))?;
            nodes.clone_from(&self.bound(leader, name)?.faults[i].nodes);
            self.under_way[i].source = self.source(leader);
        }
        self.held_off.retain(|held| *held != what);
        self.waiting.retain(|waiting| *waiting != what);
        self.schedule.switched_on(what, t, lasts);
        self.under_way[i].by_name = true;
        self.do_fault(t, i, &nodes);
        let silences = fault.action.silences();
        Ok(if silences { Ordered::OnceSilent(i) } else { Ordered::Now })
    }

    fn end_now(&mut self, t: Nanos, i: usize) -> Result<(), Unable> {
        use ProcessAction::{Crash, Kill, Stop};
        if !self.schedule.is_active(What::Fault(i)) {
            return Ok(());
        }
        let fault = &self.faults[i];
        let by_signals = self.hosted.is_some_and(|hosted| hosted.reach == Reach::Signals);
        if by_signals && matches!(fault.action, Kill | Crash | Stop) {
            let why = format!("`{}` cannot be undone by raftq, which did not start it", fault.name);
            return Err((why, "start the process yourself"));
        }
        self.end(t, What::Fault(i));
        Ok(())
    }

    /// Whether a person keeps a rule or fault from starting.
    pub(super) fn is_held_off(&self, what: What) -> bool {
        self.held_off.contains(&what)
    }

    /// A rule that depends on roles is kept from starting, or not any more.
    pub fn hold_off(&mut self, rule: usize, off: bool) {
        let what = What::Rule(rule);
        self.held_off.retain(|held| *held != what);
        if off {
            self.held_off.push(what);
        }
    }

    /// How a fault was switched.
    #[must_use]
    pub fn switched(&self, fault: usize) -> To {
        match (self.is_held_off(What::Fault(fault)), self.under_way[fault].by_name) {
            (true, _) => To::Off,
            (false, true) => To::On,
            (false, false) => To::Auto,
        }
    }

    /// How far a fault is.
    #[must_use]
    pub fn state(&self, fault: usize) -> State {
        let under_way = &self.under_way[fault];
        if under_way.awaits_silence || self.schedule.is_active(What::Fault(fault)) {
            return State::Active;
        }
        let off = self.is_held_off(What::Fault(fault));
        let waits = off || self.faults[fault].window.by_switch();
        self.coming(What::Fault(fault), waits)
    }

    /// How far a rule is that depends on roles, and is not active.
    #[must_use]
    pub fn state_of_rule(&self, rule: usize, waits: bool) -> State {
        self.coming(What::Rule(rule), waits)
    }

    /// Whether a rule that depends on roles waits to be switched on.
    #[must_use]
    pub fn waits_for_switch(&self, rule: usize) -> bool {
        self.schedule.window(What::Rule(rule)).is_some_and(|window| window.by_switch())
    }

    /// How long an activation of such a rule lasts.
    #[must_use]
    pub fn lasts_of_rule(&self, rule: usize) -> Option<Nanos> {
        self.schedule.window(What::Rule(rule))?.lasts
    }

    /// When a fault is undone that is done now.
    #[must_use]
    pub fn ends(&self, fault: usize) -> Option<Nanos> {
        self.schedule.ends(What::Fault(fault))
    }

    fn coming(&self, what: What, waits: bool) -> State {
        if waits || self.schedule.is_coming(what) { State::Waiting } else { State::Ended }
    }
}

fn nobody_leads(name: &str) -> Unable {
    let why = format!("nobody is known to lead, and `{name}` depends on it");
    (why, "switch it on once somebody leads, or name the nodes in a rule")
}
