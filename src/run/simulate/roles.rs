//! Rules that depend on roles, and faults, over recorded packets.
//!
//! Who leads is what messages have told until then. A set that chooses among all nodes needs
//! nobody to lead, and is chosen at its time, from the seed.

use super::{Bind, Failure, Say, Simulation, ZERO, tell};
use crate::engine::Silenced;
use crate::packet::NodeId;
use crate::rules::table::{NodeBits, ProcessAction};
use crate::rules::{Roles, Table};
use crate::run::binding;
use crate::run::phases;
use crate::run::schedule::{Due, What};
use crate::time::Nanos;
use std::collections::HashSet;

/// Binds rules and faults whose nodes depend on roles.
pub(super) struct Binder<'a> {
    bind: Bind<'a>,
    /// As compiled with imagined roles.
    table: Table,
    /// What has to know who leads.
    needs_leader: HashSet<String>,
    /// What was told to wait.
    waiting: HashSet<String>,
    /// Nodes that are silent until a fault is undone, by its index.
    crashed: Vec<(usize, Vec<NodeId>)>,
}

/// Choices by which it is found out whether a rule asks who leads.
const CHOICES: [u64; 3] = [0, 1, 0x9e37_79b9_7f4a_7c15];

impl<'a> Binder<'a> {
    pub(super) fn new(table: &Table, bind: Bind<'a>) -> Result<Self, Failure> {
        let mut binder = Self {
            bind,
            table: table.clone(),
            needs_leader: HashSet::new(),
            waiting: HashSet::new(),
            crashed: Vec::new(),
        };
        let dynamic = table.rules.iter().any(|rule| rule.dynamic);
        if dynamic || table.faults.iter().any(|fault| fault.dynamic) {
            binder.find_needs()?;
        }
        if let (None, Some(rule)) = (table.protocol, binder.needs_leader.iter().min()) {
            return Err(Failure::Rules(format!(
                "`{rule}` asks who leads, and the cluster names no protocol by which that could \
                 be heard in the packets\n  help: add `protocol:` to `cluster`, or name the node: \
                 `--set NAME=NODE` for a group"
            )));
        }
        Ok(binder)
    }

    /// Whatever differs with the leader, everything else being the same, asks who leads.
    fn find_needs(&mut self) -> Result<(), Failure> {
        for choice in CHOICES {
            let first = self.compile(Roles { leader: NodeId(0), choice })?;
            for leader in 1..self.table.nodes.len() as u16 {
                let other = self.compile(Roles { leader: NodeId(leader), choice })?;
                let rules = first.rules.iter().zip(&other.rules);
                let rules = rules.filter(|(a, b)| a.links != b.links || a.actions != b.actions);
                self.needs_leader.extend(rules.map(|(rule, _)| rule.name.clone()));
                let faults = first.faults.iter().zip(&other.faults);
                let faults = faults.filter(|(a, b)| a.nodes != b.nodes);
                self.needs_leader.extend(faults.map(|(fault, _)| fault.name.clone()));
            }
        }
        Ok(())
    }

    fn compile(&self, roles: Roles) -> Result<Table, Failure> {
        (self.bind)(roles)
            .map(|compiled| compiled.table)
            .map_err(|report| Failure::Rules(report.render(false)))
    }
}

impl Simulation<'_> {
    /// Starts and ends what the engine does not by itself.
    pub(super) fn follow_schedule(&mut self, say: &mut dyn Say) -> Result<(), Failure> {
        let t = self.now.saturating_sub(ZERO);
        let before = (self.looked > Nanos::ZERO).then(|| self.looked.saturating_sub(ZERO));
        for happened in phases::between(&self.table, before, t) {
            tell(ZERO + happened.t, &happened.rule, &happened.what, say)?;
        }
        self.looked = self.now;
        for due in self.schedule.due(t) {
            match due {
                Due::End(what) => self.end(what, say)?,
                Due::Start(what, n) => self.begin(what, n, say)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, what: What, n: u64, say: &mut dyn Say) -> Result<(), Failure> {
        let (name, dynamic) = match what {
            What::Rule(i) => (self.roles.table.rules[i].name.clone(), true),
            What::Fault(i) => {
                let fault = &self.roles.table.faults[i];
                (fault.name.clone(), fault.dynamic)
            }
        };
        let leader = self.engine.leader();
        let needs = self.roles.needs_leader.contains(&name);
        if needs && leader.is_none() {
            if self.roles.waiting.insert(name.clone()) {
                tell(self.now, &name, "waits: nobody was heard to lead", say)?;
            }
            return Ok(());
        }
        self.roles.waiting.remove(&name);
        let choice = binding::choice(&name, self.table.seed, n);
        let roles = Roles { leader: leader.map_or(NodeId(0), |(node, _)| node), choice };
        let compiled = if dynamic { Some(self.roles.compile(roles)?) } else { None };
        let by = leader.filter(|_| needs).map_or(String::new(), |(node, term)| {
            format!(" ({} leads in term {term})", self.names[usize::from(node.0)])
        });
        let window = self.schedule.started(what, self.now.saturating_sub(ZERO));
        match what {
            What::Rule(i) => {
                let rule = &compiled.expect("a rule is here because it depends on roles").rules[i];
                let who = binding::who(&self.names, &rule.links).join(", ");
                tell(self.now, &name, &format!("bound: {who}{by}"), say)?;
                self.adopt(binding::bound(&self.table, i, rule, window));
            }
            What::Fault(i) => {
                let faults = compiled.as_ref().map_or(&self.roles.table.faults, |it| &it.faults);
                let (action, nodes) = (faults[i].action, faults[i].nodes.clone());
                let bits = nodes.iter().fold(0, |bits: NodeBits, node| bits | 1 << node.0);
                self.would_be_done(i, action, &nodes, &by, say)?;
                if action.silences() {
                    let crash = action == ProcessAction::Crash;
                    self.engine.silence(self.now, i as u16, bits, crash);
                } else if action.undone_by().is_none() {
                    self.schedule.ended(what);
                }
            }
        }
        Ok(())
    }

    fn would_be_done(
        &mut self,
        fault: usize,
        action: ProcessAction,
        nodes: &[NodeId],
        by: &str,
        say: &mut dyn Say,
    ) -> Result<(), Failure> {
        let name = self.roles.table.faults[fault].name.clone();
        let names: Vec<_> =
            nodes.iter().map(|node| self.names[usize::from(node.0)].as_str()).collect();
        let what = format!("{} {}{by}: told, not done", action.name(), names.join(", "));
        tell(self.now, &name, &what, say)
    }

    /// Nodes are silent for a fault. What takes a real process moments is over at once here; only a
    /// host that crashed is silent until it would be started again.
    pub(super) fn silenced(&mut self, one: &Silenced, say: &mut dyn Say) -> Result<(), Failure> {
        let i = usize::from(one.fault);
        let action = self.roles.table.faults[i].action;
        let nodes: Vec<NodeId> = (0..self.names.len() as u16)
            .map(NodeId)
            .filter(|node| one.nodes & (1 << node.0) != 0)
            .collect();
        let again = one.by.is_some() && self.schedule.is_active(What::Fault(i));
        if let Some(link) = one.by.filter(|_| !again) {
            let link = binding::who(&self.names, &[link]).concat();
            let by = format!(", triggered by a packet {link}");
            self.would_be_done(i, action, &nodes, &by, say)?;
            self.schedule.started(What::Fault(i), one.at);
        }
        if action == ProcessAction::Crash && !again {
            self.roles.crashed.push((i, nodes));
        } else {
            for node in nodes {
                self.engine.end_silence(self.now, node);
            }
        }
        if action.undone_by().is_none() {
            self.schedule.ended(What::Fault(i));
        }
        Ok(())
    }

    fn end(&mut self, what: What, say: &mut dyn Say) -> Result<(), Failure> {
        self.schedule.ended(what);
        let What::Fault(i) = what else { return Ok(()) };
        let fault = &self.roles.table.faults[i];
        let (name, undone) = (fault.name.clone(), fault.action.undone_by());
        let crashed = std::mem::take(&mut self.roles.crashed);
        let (over, kept): (Vec<_>, Vec<_>) = crashed.into_iter().partition(|(of, _)| *of == i);
        self.roles.crashed = kept;
        for node in over.into_iter().flat_map(|(_, nodes)| nodes) {
            self.engine.end_silence(self.now, node);
        }
        let what = format!("over, {}: told, not done", undone.unwrap_or("undone"));
        tell(self.now, &name, &what, say)
    }
}
