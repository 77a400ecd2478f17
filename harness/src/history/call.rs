//! An invocation with its completion.

use super::{Event, Function, Header, Kind};
use crate::error::Context;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

/// One call of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Who called.
    pub process: u64,
    /// What.
    pub f: Function,
    /// On what.
    pub key: String,
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
    pub node: Option<String>,
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

/// Pairs invocations and completions, line by line.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    calls: Vec<Call>,
    open: HashMap<u64, usize>,
}

impl Pairing {
    /// Takes a line. The error says what is wrong with it.
    pub(super) fn take(&mut self, event: Event) -> Result<()> {
        if event.kind == Kind::Invoke {
            let at = self.calls.len();
            if self.open.insert(event.process, at).is_some() {
                return Err(Error::new(format!(
                    "process {} calls again while its last call is under way",
                    event.process
                )));
            }
            self.calls.push(Call {
                process: event.process,
                f: event.f,
                key: event.key.unwrap_or_default(),
                asked: event.value,
                answer: Value::Null,
                kind: Kind::Info,
                done: true,
                begin: event.t,
                end: None,
                is_final: event.is_final,
                node: event.node,
            });
            return Ok(());
        }
        let open = self.open.remove(&event.process);
        let open = open.ok_or_else(|| format!("process {} has no call under way", event.process));
        let call = &mut self.calls[open.context(|| "an answer to nothing".into())?];
        if (call.f, &call.key) != (event.f, &event.key.unwrap_or_default()) {
            return Err(Error::new(format!(
                "process {} called something else than is answered",
                event.process
            )));
        }
        call.kind = event.kind;
        if event.kind == Kind::Ok {
            if event.t < call.begin {
                return Err(Error::new("an answer before its call"));
            }
            call.answer = event.value;
            call.done = event.done;
            call.end = Some(event.t);
        }
        Ok(())
    }

    /// All calls in order of their invocation; those never answered are unknown.
    pub(super) fn finish(mut self) -> Vec<Call> {
        self.calls.sort_by_key(|call| call.begin);
        self.calls
    }
}
