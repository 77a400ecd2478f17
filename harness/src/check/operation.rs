//! Calls to operations on one object, their values as numbers.
//!
//! Calls that surely did nothing are left out, and so are reads without an answer. What is
//! unknown has no end: it may take effect at any time after it began, or never.

use super::state::{Action, State};
use crate::history::{Call, Calls, Function, Kind, Model, Workload};
use crate::system::{Operation as Asked, Promise};
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    /// What was done, or answered.
    pub(super) action: Action,
    /// When it began.
    pub(super) begin: u64,
    /// When it was answered; an unknown one never.
    pub(super) end: Option<u64>,
    /// Whether the system promises that it takes effect between both.
    pub(super) judged: bool,
    /// The call that it is.
    pub(super) call: Call,
}

/// What splits a history: nothing is promised across two objects.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// For people: `key r3.0`.
    pub(super) name: String,
    /// What it is before anything was done.
    pub(super) initial: State,
    /// In order of their beginning.
    pub(super) operations: Vec<Operation>,
}

impl Object {
    /// The operations that linearizability is promised of.
    pub(super) fn judged(&self) -> Vec<&Operation> {
        self.operations.iter().filter(|operation| operation.judged).collect()
    }
}

/// Splits a history by object, in order of their names.
pub(super) fn objects(calls: &Calls, model: Model) -> Result<Vec<Object>> {
    let workload = calls.header.workload;
    let mut builder = Builder { workload, model, numbers: HashMap::new() };
    let mut objects: BTreeMap<String, Object> = BTreeMap::new();
    for call in &calls.calls {
        let name = object_of(workload, model, call);
        let promise = calls.header.promises.get(&asked(workload, call.f)).copied();
        if promise == Some(Promise::Nothing) && call.f == Function::Read {
            continue;
        }
        let Some(action) = builder.action(call)? else { continue };
        let object = objects.entry(name.clone()).or_insert_with(|| Object {
            name: what(workload, &name),
            initial: initial(workload, model),
            operations: Vec::new(),
        });
        // A change has to be explained whatever is promised: reads may depend on it.
        let judged = promise.is_none_or(|p| p == Promise::Linearizable) || !action.only_reads();
        object.operations.push(Operation {
            action,
            begin: call.begin,
            end: if call.kind == Kind::Ok { call.end } else { None },
            judged,
            call: call.clone(),
        });
    }
    Ok(objects.into_values().collect())
}

/// Which request of the system a call was, as promises name it.
fn asked(workload: Workload, f: Function) -> Asked {
    match (workload, f) {
        (Workload::Set, Function::Read) | (_, Function::List) => Asked::List,
        (_, Function::Read) => Asked::Read,
        (_, Function::Make) => Asked::Create,
        (_, Function::Remove) => Asked::Remove,
        (Workload::Append | Workload::Counter, _) | (_, Function::Cas) => Asked::Cas,
        _ => Asked::Write,
    }
}

/// A directory is one object with its files: a listing reads them all.
fn object_of(workload: Workload, model: Model, call: &Call) -> String {
    match (workload, call.f) {
        (Workload::Files, Function::Make | Function::List) => call.key.clone(),
        (Workload::Files, _) if model == Model::Workload => {
            call.key.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
        }
        _ => call.key.clone(),
    }
}

fn what(workload: Workload, name: &str) -> String {
    match (workload, name) {
        (_, "") => "the register".to_owned(),
        (Workload::Files, name) => format!("directory {name}"),
        (Workload::Set, name) => format!("set {name}"),
        (_, name) => format!("key {name}"),
    }
}

fn initial(workload: Workload, model: Model) -> State {
    match (model, workload) {
        (Model::Texts, _) => State::Text(String::new()),
        (_, Workload::Register) => State::Value(None),
        (_, Workload::Append) => State::List(Vec::new()),
        (_, Workload::Set) => State::Set(Vec::new()),
        (_, Workload::Counter) => State::Sum(0),
        (_, Workload::Files) => State::Directory(false, BTreeMap::new()),
    }
}

struct Builder {
    workload: Workload,
    model: Model,
    numbers: HashMap<Value, u32>,
}

impl Builder {
    /// `None` for a call that says nothing.
    fn action(&mut self, call: &Call) -> Result<Option<Action>> {
        let unknown = call.kind != Kind::Ok;
        let reads = matches!(call.f, Function::Read | Function::List);
        if call.kind == Kind::Fail || (unknown && reads) {
            return Ok(None);
        }
        if self.model == Model::Texts {
            return Ok(Some(texts(call)));
        }
        let wrong =
            |e: &str| Error::new(format!("process {} at {}: {e}", call.process, call.begin));
        match self.workload {
            Workload::Register => Ok(Some(self.register(call, unknown))),
            Workload::Files => Ok(Some(self.files(call, unknown))),
            Workload::Append => match call.f {
                Function::Append => Ok(Some(Action::Append(self.number(&call.asked)))),
                Function::Read => self.elements(call).map(|list| Some(Action::ReadList(list))),
                _ => Err(wrong("no call on a list")),
            },
            Workload::Set => match call.f {
                Function::Add => Ok(Some(Action::Put(self.number(&call.asked)))),
                Function::Read => self.elements(call).map(|mut set| {
                    set.sort_unstable();
                    set.dedup();
                    Some(Action::ReadSet(set))
                }),
                _ => Err(wrong("no call on a set")),
            },
            Workload::Counter => {
                let value = if call.f == Function::Add { &call.asked } else { &call.answer };
                let value = value.as_i64().ok_or_else(|| wrong("a sum that is no number"))?;
                let adds = call.f == Function::Add;
                Ok(Some(if adds { Action::Add(value) } else { Action::ReadSum(value) }))
            }
        }
    }

    fn register(&mut self, call: &Call, unknown: bool) -> Action {
        let refused = !unknown && !call.done;
        match call.f {
            Function::Read => Action::Read(self.val(&call.answer)),
            Function::Cas => {
                let (from, to) = (self.val(&call.asked[0]), self.val(&call.asked[1]));
                if refused { Action::IsNot(from) } else { Action::Cas(from, to) }
            }
            Function::Remove if refused => Action::Read(None),
            Function::Remove if unknown => Action::Remove,
            Function::Remove => Action::Write(None),
            _ => Action::Write(self.val(&call.asked)),
        }
    }

    fn files(&mut self, call: &Call, unknown: bool) -> Action {
        let refused = !unknown && !call.done;
        let name = call.key.rsplit('/').next().unwrap_or_default();
        let name = self.number(&Value::String(format!("/{name}")));
        match call.f {
            Function::Make if refused => Action::IsThere,
            Function::Make => Action::Make,
            Function::Read => Action::ReadFile(name, self.val(&call.answer)),
            Function::Remove if refused => Action::ReadFile(name, None),
            Function::Remove if unknown => Action::RemoveAnyFile(name),
            Function::Remove => Action::RemoveFile(name),
            Function::List => Action::List(call.answer.as_array().map(|names| {
                let number = |name: &Value| {
                    let name = format!("/{}", name.as_str().unwrap_or_default());
                    self.number(&Value::String(name))
                };
                let mut names: Vec<u32> = names.iter().map(number).collect();
                names.sort_unstable();
                names
            })),
            _ => Action::WriteFile(name, self.number(&call.asked)),
        }
    }

    fn elements(&mut self, call: &Call) -> Result<Vec<u32>> {
        match &call.answer {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => Ok(list.iter().map(|element| self.number(element)).collect()),
            other => Err(Error::new(format!(
                "process {} at {}: {other} is no list",
                call.process, call.begin
            ))),
        }
    }

    fn val(&mut self, value: &Value) -> Option<u32> {
        (!value.is_null()).then(|| self.number(value))
    }

    fn number(&mut self, value: &Value) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("fewer than 2^32 values");
        *self.numbers.entry(value.clone()).or_insert(next)
    }
}

fn texts(call: &Call) -> Action {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match call.f {
        Function::Read => Action::ReadText(text(&call.answer)),
        Function::Append => Action::AddText(text(&call.asked)),
        _ => Action::PutText(text(&call.asked)),
    }
}
