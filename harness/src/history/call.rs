//! An invocation with its completion.

use super::{Function, Header, Kind};
use crate::error::Context;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One call of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who called.
    pub process: u64,
    /// What.
    pub f: Function,
    /// On what.
    pub key: Arc<str>,
    /// The value at its invocation.
    pub asked: Value,
    /// The value at its completion, where it was answered.
    pub answer: Value,
    /// How it ended; [`Kind::Info`] where nobody knows.
    pub kind: Kind,
    /// At [`Kind::Ok`]: whether its condition held.
    pub done: bool,
    /// When it began, in nanoseconds or in lines.
    pub begin: u64,
    /// When it was answered; only where it was.
    pub end: Option<u64>,
    /// Whether it belongs to the reads at the end.
    pub is_final: bool,
    /// The node that was called.
    pub node: Option<Arc<str>>,
}

/// Every call of a history.
#[derive(Debug, Clone)]
pub struct Calls {
    /// What it is of.
    pub header: Header,
    /// In order of their invocation.
    pub calls: Vec<Call>,
    /// What was odd about the file, and does no harm: a last line that is not whole.
    pub notes: Vec<String>,
}

/// An [`Event`](super::Event) as it is read: borrowed from its line.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'l> {
    pub(super) t: u64,
    pub(super) process: u64,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) f: Function,
    #[serde(default, borrow)]
    pub(super) key: Option<Cow<'l, str>>,
    #[serde(default)]
    pub(super) value: Value,
    #[serde(default = "super::event::yes")]
    pub(super) done: bool,
    #[serde(default, rename = "final")]
    pub(super) is_final: bool,
    #[serde(default, borrow)]
    pub(super) node: Option<Cow<'l, str>>,
}

/// Pairs invocations and completions, line by line. Lines of one process have to be in order of
/// time; those of several need not.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    calls: Vec<Call>,
    open: HashMap<u64, usize>,
    texts: HashSet<Arc<str>>,
}

impl Pairing {
    /// Takes a line. The error says what is wrong with it.
    pub(super) fn take(&mut self, line: Line<'_>) -> Result<()> {
        let key = line.key.unwrap_or_default();
        if line.kind == Kind::Invoke {
            let at = self.calls.len();
            if let Some(under_way) = self.open.insert(line.process, at) {
                return Err(Error::new(format!(
                    "process {} calls again while its call of {} is under way; a client whose \
                     call ended unknown goes on as another process",
                    line.process, self.calls[under_way].begin
                )));
            }
            let call = Call {
                process: line.process,
                f: line.f,
                key: self.shared(&key),
                asked: line.value,
                answer: Value::Null,
                kind: Kind::Info,
                done: true,
                begin: line.t,
                end: None,
                is_final: line.is_final,
                node: line.node.map(|node| self.shared(&node)),
            };
            self.calls.push(call);
            return Ok(());
        }
        let open = self.open.remove(&line.process);
        let open = open.ok_or_else(|| format!("process {} has no call under way", line.process));
        let call = &mut self.calls[open.context(|| "an answer to nothing".into())?];
        if call.f != line.f || *call.key != *key {
            return Err(Error::new(format!(
                "process {} called something else than is answered",
                line.process
            )));
        }
        call.kind = line.kind;
        if line.kind == Kind::Ok {
            if line.t < call.begin {
                return Err(Error::new("an answer before its call"));
            }
            // What a change was asked to do stands in its invocation.
            if matches!(call.f, Function::Read | Function::List) {
                call.answer = line.value;
            }
            call.done = line.done;
            call.end = Some(line.t);
        }
        Ok(())
    }

    /// All calls in order of their invocation; those never answered are unknown.
    pub(super) fn finish(mut self) -> Vec<Call> {
        self.calls.sort_by_key(|call| call.begin);
        self.calls
    }

    /// Keys and nodes are few; each is kept once.
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }
}
