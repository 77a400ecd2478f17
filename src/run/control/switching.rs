//! What others ask of the main thread while raftq runs: switching rules by name, other rules, how
//! it goes. Each is answered once what was asked is in force, with the time from which packets
//! are judged by it; who waits longer than he may is answered by `serve.rs`.

use super::looking;
use super::{Control, end_of};
use crate::engine::{Prepared, Silenced};
use crate::kernel::clock;
use crate::kernel::door::{Door, Visitor};
use crate::kernel::http::Answer;
use crate::kernel::trouble::Trouble;
use crate::rules::{Source, Table, nearest};
use crate::run::api::{Command, Switch, To};
use crate::run::attached::{Attached, Pending};
use crate::run::binding::parked;
use crate::run::disturb::{Disturb, Happened, Ordered as Done};
use crate::run::serve::{Call, Server};
use crate::run::status::Status;
use crate::run::switches::{Bound, Switched, Switches, Unable, bind};
use crate::time::Nanos;
use serde_json::{Value, json};
use std::sync::Arc;

/// Stands where a rule's name does, for what is done to all of them.
const RULES: &str = "rules";

/// A table on its way into force.
pub(super) struct Ordered<'a> {
    pub(super) pending: Pending,
    why: Why<'a>,
}

/// Why a table comes into force.
pub(super) enum Why<'a> {
    /// Rules were bound to roles.
    Bound,
    /// The file was read again.
    Reread,
    /// Somebody has switched a rule.
    Asked(Asked),
    /// Somebody has loaded it; whatever it does beside the verdict loop begins with it.
    Loaded(Asked, Box<Disturb<'a>>, Option<Nanos>),
}

/// What somebody waits for.
#[derive(Debug)]
pub(super) struct Asked {
    id: u64,
    by: Visitor,
    deed: Deed,
}

#[derive(Debug)]
enum Deed {
    Switched(String, To, Option<Nanos>),
    Loaded(String, Value),
}

/// Somebody waits until the nodes of a fault are silent.
pub(super) struct Silence {
    fault: usize,
    asked: Asked,
}

/// Lets others in. Without the control socket raftq goes on, and says so; without an address that
/// was asked for it does not.
pub(super) fn serve(
    attached: &mut Attached,
    loopback: Option<Door>,
    status: &mut Status,
) -> Result<Option<Server>, Trouble> {
    let mut doors = Vec::new();
    match Door::own(attached.run_id()) {
        Ok(own) => doors.push(own),
        Err(e) => attached.warnings.push(format!(
            "there is no control socket, so that `raftq rules` does not reach this run ({e})"
        )),
    }
    if let Some(door) = loopback {
        status.say(&format!("the API is at {door}"));
        doors.push(door);
    }
    if doors.is_empty() { Ok(None) } else { Server::start(doors).map(Some) }
}

impl<'a> Control<'a> {
    /// Does what was asked since the last look.
    pub(super) fn answer_calls(&mut self) -> Result<(), Trouble> {
        let Some(server) = &self.server else { return Ok(()) };
        server.calls.open();
        // Other rules are in force in a moment, and then calls are about them.
        while !self.is_replaced()
            && let Some(call) = self.server.as_ref().and_then(|server| server.calls.take())
        {
            // What was answered for lack of time must not come into force behind its back.
            if clock::now() < call.until {
                let id = call.id;
                if let Some(answer) = self.carry_out(call)? {
                    self.answer(id, answer);
                }
            }
        }
        Ok(())
    }

    /// Does what is asked; gives the answer, unless that has to wait.
    fn carry_out(&mut self, call: Call) -> Result<Option<Answer>, Trouble> {
        let Call { id, by, command, .. } = call;
        Ok(match command {
            Command::List(None) => Some(Answer::json(200, &self.list())),
            Command::List(Some(name)) => Some(match self.list_one(&name) {
                Some(rule) => Answer::json(200, &rule),
                None => self.unknown(&name),
            }),
            Command::Status => Some(Answer::json(200, &self.how_it_goes())),
            Command::Watch(from) => Some(self.look(from)),
            Command::Metrics(format) => {
                let body = self.measure().document(format).into_bytes();
                Some(Answer { status: 200, kind: format.kind(), body, allow: None })
            }
            Command::Switch(name, switch) => self.switch(id, by, name, switch)?,
            Command::Load(name, text) => self.load(id, by, name, text),
        })
    }

    fn answer(&self, id: u64, answer: Answer) {
        if let Some(server) = &self.server {
            server.answer(id, answer);
        }
    }

    /// The rules' clock.
    pub(super) fn t(&self) -> Nanos {
        clock::now().saturating_sub(self.attached.start)
    }

    fn switch(
        &mut self,
        id: u64,
        by: Visitor,
        name: String,
        switch: Switch,
    ) -> Result<Option<Answer>, Trouble> {
        let t = self.t();
        let refused = |(why, way_out): Unable| Answer::error(409, &why, way_out);
        let rule = self.switches.file().rules.iter().position(|rule| rule.name == name);
        if let Some(i) = rule {
            return Ok(match self.switched(t, i, switch) {
                Ok(to) => {
                    let until = match to {
                        Some(Switched::On(until, _)) => until,
                        _ => None,
                    };
                    self.switches.set(&name, to);
                    let deed = Deed::Switched(name, switch.to, until);
                    self.order_table(Why::Asked(Asked { id, by, deed }))?;
                    None
                }
                Err(unable) => Some(refused(unable)),
            });
        }
        let fault = self.disturb.faults().find(|(_, fault)| fault.name == name);
        let Some((i, lasts)) = fault.map(|(i, fault)| (i, fault.window.lasts)) else {
            return Ok(Some(self.unknown(&name)));
        };
        let done = self.disturb.switch(t, i, switch.to, switch.lasts);
        let lasts = switch.lasts.or(lasts).filter(|_| switch.to == To::On);
        let deed = Deed::Switched(name, switch.to, lasts.map(|lasts| t + lasts));
        let asked = Asked { id, by, deed };
        match done {
            Ok(Done::Now) => self.tell_done(t, asked),
            Ok(Done::OnceSilent(fault)) => self.silences.push(Silence { fault, asked }),
            Err(unable) => return Ok(Some(refused(unable))),
        }
        Ok(None)
    }

    /// What the switch of a rule comes to.
    fn switched(&mut self, t: Nanos, i: usize, switch: Switch) -> Result<Option<Switched>, Unable> {
        let file = Arc::clone(self.switches.file());
        let rule = &file.rules[i];
        let to = match switch.to {
            To::Auto => None,
            To::Off => {
                if let Some(trigger) = rule.trigger() {
                    self.disturb.undo(t, usize::from(trigger.fault))?;
                }
                Some(Switched::Off)
            }
            To::On => {
                let bound = bound(&file, i, &mut self.disturb, t)?;
                // A trigger is armed until it is switched off; its `for` is the fault's.
                let own = match (rule.on, rule.trigger()) {
                    (_, Some(_)) => None,
                    (Some(on), None) => on.lasts,
                    (None, None) => self.file_lasts(i),
                };
                let lasts = switch.lasts.or(own);
                Some(Switched::On(lasts.map(|lasts| t + lasts), bound))
            }
        };
        self.disturb.hold_off(i, switch.to == To::Off);
        Ok(to)
    }

    /// How long an activation of a rule lasts by the file.
    fn file_lasts(&self, i: usize) -> Option<Nanos> {
        let rule = &self.switches.file().rules[i];
        if rule.dynamic { self.disturb.lasts_of_rule(i) } else { rule.window.lasts }
    }

    fn unknown(&self, name: &str) -> Answer {
        let file = self.switches.file();
        let rules = file.rules.iter().map(|rule| rule.name.as_str());
        let names: Vec<&str> =
            rules.chain(self.disturb.faults().map(|(_, fault)| fault.name.as_str())).collect();
        let way_out = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "no rule is in force; PUT /v1/rules loads some".into(),
            None => "GET /v1/rules lists them".into(),
        };
        Answer::error(404, &format!("there is no rule `{name}`"), &way_out)
    }

    fn load(&mut self, id: u64, by: Visitor, name: String, text: String) -> Option<Answer> {
        // raftq is root, and would read files for whoever may call.
        let source = Source::new(&name, text).without_files();
        let compiled = match (self.run.load)(source.clone(), None) {
            Ok(compiled) => compiled,
            Err(report) => {
                let errors = report.errors().count();
                let value = json!({
                    "error": format!("the rules have {errors} errors; the former stay in force"),
                    "way_out": "mend them: each diagnostic has its place and a way out",
                    "diagnostics": report.json(),
                    "text": report.render(false),
                });
                return Some(Answer::json(422, &value));
            }
        };
        let deed = Deed::Loaded(name, compiled.warnings.json());
        match self.replace_rules(compiled.table, source, Asked { id, by, deed }) {
            Ok(()) => None,
            Err(trouble) => Some(Answer::error(409, &trouble.cause, &trouble.way_out)),
        }
    }

    /// The file was read again.
    pub(super) fn reread(&mut self, table: Table) -> Result<(), Trouble> {
        let bound =
            |table: &Table| !table.faults.is_empty() || table.rules.iter().any(|rule| rule.dynamic);
        if self.disturb.is_meant() || bound(&table) {
            return Err(Trouble::new(
                "rules that depend on roles, or act on processes, are bound",
                "load them by `raftq rules load FILE`",
            ));
        }
        let former = self.switches.clone();
        self.switches.replace(Arc::new(table));
        self.order_table(Why::Reread).inspect_err(|_| self.switches = former)
    }

    /// Puts other rules in the place of those in force.
    fn replace_rules(&mut self, table: Table, rules: Source, asked: Asked) -> Result<(), Trouble> {
        let (run, t) = (self.run, self.t());
        let mut next = self.disturb.successor(&table, rules, &*run.load, &self.switches, t)?;
        let end = end_of(&table, run.lasts);
        let mut switches = self.switches.clone();
        switches.replace(Arc::new(parked(table)));
        rebind(&mut switches, &mut next, t).map_err(|(why, way_out)| {
            Trouble::new(format!("{why} (it is switched on)"), way_out)
        })?;
        let former = std::mem::replace(&mut self.switches, switches);
        let ordered = self.order_table(Why::Loaded(asked, Box::new(next), end));
        ordered.inspect_err(|_| self.switches = former)
    }

    /// Whether other rules are on their way: until they are in force nothing is begun.
    pub(super) fn is_replaced(&self) -> bool {
        self.pending.iter().any(|ordered| matches!(ordered.why, Why::Loaded(..)))
    }

    /// Orders the table into force that follows from the file and what was switched.
    pub(super) fn order_table(&mut self, why: Why<'a>) -> Result<(), Trouble> {
        let former = self.pending.back().map_or(&self.attached.table, |last| &last.pending.table);
        let pending = self.attached.adopt(self.switches.table(), former)?;
        self.pending.push_back(Ordered { pending, why });
        Ok(())
    }

    /// A table is in force since `at`.
    pub(super) fn adopted(&mut self, at: Nanos, active: Vec<u16>, former: &Prepared) {
        let ordered = self.pending.pop_front();
        let why = ordered.map(|Ordered { pending, why }| {
            self.attached.take_over(pending);
            why
        });
        let table = &self.attached.table;
        let t = at.saturating_sub(self.attached.start);
        for rule in self.status.tell_removed(t, former, table) {
            self.undecided = true;
            self.at_the_end.push(format!(
                "the cut `{rule}`, which was taken out of the file, was leaky: packets of unknown \
                 senders passed it"
            ));
        }
        let start = self.attached.start;
        let why = match why {
            Some(Why::Loaded(asked, next, end)) => {
                self.disturb.succeed(*next);
                // An experiment has its phases.
                if self.run.beside.is_none() {
                    self.written = end.map(|end| start + end);
                }
                Some(Why::Asked(asked))
            }
            Some(Why::Reread) => {
                self.written = end_of(self.switches.file(), self.run.lasts).map(|end| start + end);
                Some(Why::Reread)
            }
            why => why,
        };
        let table = Arc::clone(&self.attached.table);
        self.status.now_active(active);
        let was = (former.table().as_ref(), former.counters().as_ref());
        for happened in self.activations.adopted(t, was, &table) {
            self.tell(&happened);
        }
        let active = self.status.active(&table).map(str::to_owned).collect();
        self.healing.adopted(at, active);
        let rules = table.rules.len();
        self.end_by_rules();
        match why {
            Some(Why::Asked(asked)) => self.tell_done(t, asked),
            // The rules that were bound are told by name.
            Some(Why::Bound | Why::Loaded(..)) | None => {}
            Some(Why::Reread) => {
                let what = format!("new table in force: {rules} rules");
                self.status.say(&format!("{:8.3}s  {what}", t.as_secs_f64()));
                self.recent.note(&looking::of_raftq(t, &what));
            }
        }
    }

    /// When a run ends follows from its rules, and from what was switched on: it goes on as long
    /// as that. What was switched off may be switched on again, so that it ends no earlier.
    fn end_by_rules(&mut self) {
        let start = self.attached.start;
        self.until = self.written;
        // An experiment has its phases, and so has a run whose time was given.
        if self.run.lasts.is_some() || self.run.beside.is_some() {
            return;
        }
        self.until = match (self.written, self.switches.end()) {
            (Some(_), Some(Nanos::MAX)) | (None, _) => None,
            (Some(until), Some(end)) => Some(until.max(start + end)),
            (until, None) => until,
        };
    }

    /// Nodes are silent: whoever has switched their fault on is told since when.
    pub(super) fn answer_silence(&mut self, silenced: &Silenced) {
        let ours = |silence: &Silence| {
            silence.fault == usize::from(silenced.fault) && silenced.by.is_none()
        };
        if let Some(i) = self.silences.iter().position(ours) {
            let Silence { asked, .. } = self.silences.swap_remove(i);
            self.tell_done(silenced.at, asked);
        }
    }

    /// What was asked is in force since `t`.
    fn tell_done(&mut self, t: Nanos, asked: Asked) {
        let Asked { id, by, deed } = asked;
        let since =
            json!({ "in_force_s": t.as_secs_f64(), "in_force_ns": t.0, "by": by.to_string() });
        let (rule, what, answer) = match deed {
            Deed::Switched(name, to, until) => {
                let lasts = until
                    .map_or(String::new(), |until| format!(" until {:.3} s", until.as_secs_f64()));
                let what = format!("switched {}{lasts} by {by}", to.word());
                let until = until.map(Nanos::as_secs_f64);
                (name.clone(), what, json!({ "rule": name, "switched": to, "until_s": until }))
            }
            Deed::Loaded(file, warnings) => {
                let rules = self.attached.table.rules.len();
                let what = format!("replaced by {file}, {rules} rules, by {by}");
                (RULES.to_owned(), what, json!({ "rules": rules, "warnings": warnings }))
            }
        };
        let happened = Happened::rule(t, &rule, &what);
        self.status.say(&format!("{:8.3}s  {happened}", t.as_secs_f64()));
        self.tell(&happened);
        self.answer(id, Answer::json(200, &merged(answer, since)));
    }
}

/// What a rule comes to that is switched on, where the file alone does not tell.
fn bound(
    file: &Table,
    i: usize,
    disturb: &mut Disturb<'_>,
    t: Nanos,
) -> Result<Option<Bound>, Unable> {
    if file.rules[i].dynamic {
        return disturb.bind_now(t, file, i).map(Some);
    }
    bind(&file.rules[i], file.nodes.len(), disturb.leads().map(|(node, _)| node))
}

/// In another file a rule of the same name may be about others.
fn rebind(switches: &mut Switches, disturb: &mut Disturb<'_>, t: Nanos) -> Result<(), Unable> {
    let file = Arc::clone(switches.file());
    for (i, rule) in file.rules.iter().enumerate() {
        match switches.of(&rule.name) {
            Some(Switched::Off) => disturb.hold_off(i, true),
            Some(&Switched::On(until, _)) => {
                let bound = bound(&file, i, disturb, t)?;
                switches.set(&rule.name, Some(Switched::On(until, bound)));
            }
            None => {}
        }
    }
    Ok(())
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}
