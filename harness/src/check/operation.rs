//! Calls to operations on one object, their values as numbers.
//!
//! Calls that surely did nothing are left out, and so are reads without an answer. What is
//! unknown has no end: it may take effect at any time after it began, or never.

use super::state::{Action, Listing, State};
use super::tree::Tree;
use crate::history::{Call, Calls, Function, Kind, Model, Workload};
use crate::system::{Operation as Asked, Promise};
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation<'c> {
    /// What was done, or answered.
    pub(super) action: Action,
    /// When it began.
    pub(super) begin: u64,
    /// When it was answered; an unknown one never.
    pub(super) end: Option<u64>,
    /// Whether the system promises that it takes effect between both.
    pub(super) judged: bool,
    /// The call that it is.
    pub(super) call: &'c Call,
}

/// What splits a history: nothing is promised across two objects.
#[derive(Debug, Clone)]
pub(super) struct Object<'c> {
    /// For people: `key r3.0`.
    pub(super) name: String,
    /// What it is before anything was done.
    pub(super) initial: State,
    /// In order of their beginning.
    pub(super) operations: Vec<Operation<'c>>,
}

impl<'c> Object<'c> {
    /// The operations that linearizability is promised of.
    pub(super) fn judged(&self) -> Vec<&Operation<'c>> {
        self.operations.iter().filter(|operation| operation.judged).collect()
    }
}

/// Splits a history by object, in order of their names.
pub(super) fn objects(calls: &Calls, model: Model) -> Result<Vec<Object<'_>>> {
    let workload = calls.header.workload;
    let mut builder = Builder::new(calls, model);
    let mut objects: BTreeMap<&str, Object<'_>> = BTreeMap::new();
    for call in &calls.calls {
        let promise = calls.header.promises.get(&asked(workload, call.f)).copied();
        if promise == Some(Promise::Nothing) && matches!(call.f, Function::Read | Function::List) {
            continue;
        }
        let Some(action) = builder.action(call)? else { continue };
        let name = builder.object_of(call);
        let object = objects.entry(name).or_insert_with(|| Object {
            name: what(workload, name),
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
            call,
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
        (_, Workload::Files) => State::Tree(BTreeMap::new()),
    }
}

struct Builder<'c> {
    workload: Workload,
    model: Model,
    numbers: HashMap<Value, u32>,
    /// Whether the system tells a removal of what is absent from others. Where it never did in
    /// this history, a removal that is done may have met nothing.
    tells_absence: bool,
    /// The paths of `files`.
    tree: Tree<'c>,
}

impl<'c> Builder<'c> {
    fn new(calls: &'c Calls, model: Model) -> Self {
        let refused =
            |call: &Call| call.f == Function::Remove && call.kind == Kind::Ok && !call.done;
        let workload = calls.header.workload;
        let is_tree = workload == Workload::Files && model == Model::Workload;
        Self {
            workload,
            model,
            numbers: HashMap::new(),
            tells_absence: calls.calls.iter().any(refused),
            tree: if is_tree { Tree::of(&calls.calls) } else { Tree::default() },
        }
    }

    fn object_of(&self, call: &'c Call) -> &'c str {
        match (self.workload, self.model) {
            (Workload::Files, Model::Workload) => self.tree.object_of(call),
            _ => &call.key,
        }
    }

    /// `None` for a call that says nothing.
    fn action(&mut self, call: &'c Call) -> Result<Option<Action>> {
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
            Function::Remove if unknown || !self.tells_absence => Action::Remove,
            Function::Remove => Action::Write(None),
            _ => Action::Write(self.val(&call.asked)),
        }
    }

    fn files(&mut self, call: &'c Call, unknown: bool) -> Action {
        let refused = !unknown && !call.done;
        match call.f {
            Function::Make if refused => Action::IsThere(self.tree.directory(&call.key)),
            Function::Make => Action::Make(self.tree.directory(&call.key)),
            Function::List => Action::List(Listing {
                directory: (!call.key.is_empty()).then(|| self.tree.directory(&call.key)),
                names: self.tree.names(&call.answer),
                below: self.tree.below(&call.key),
            }),
            Function::Read => {
                let content = self.val(&call.answer);
                Action::ReadFile(self.tree.file(&call.key), content)
            }
            Function::Remove if refused => Action::ReadFile(self.tree.file(&call.key), None),
            Function::Remove if unknown || !self.tells_absence => {
                Action::RemoveAnyFile(self.tree.file(&call.key))
            }
            Function::Remove => Action::RemoveFile(self.tree.file(&call.key)),
            _ => {
                let content = self.number(&call.asked);
                Action::WriteFile(self.tree.file(&call.key), content)
            }
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
