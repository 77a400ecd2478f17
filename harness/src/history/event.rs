//! The lines of `history.jsonl`: a [`Header`] first, then [`Event`]s in order of time.
//!
//! An invocation and its completion are two lines, paired by process: a process has at most
//! one call under way. A process whose call ended unknown never calls again; its client goes
//! on as a new process. A call without completion (raftq died) is as one that ended unknown.
//!
//! Values are JSON; `null` is an absent key. What they mean depends on the function:
//!
//! | workload | function | value at invocation | value at `ok` |
//! | --- | --- | --- | --- |
//! | register | read | null | the value, or null |
//! | register | write | the value | the same |
//! | register | cas | `[from, to]` | the same |
//! | register | remove | null | null; `done` is false where it was absent and the system says so |
//! | append | append | the element | the same |
//! | append | read | null | a list of elements in order, null or `[]` while there is none |
//! | set | add | the element | the same |
//! | set | read | null | a list of elements, in any order |
//! | counter | add | an integer, maybe negative | the same |
//! | counter | read | null | an integer |
//! | files | make | null | null; the directory `key` is made where it is absent |
//! | files | write | the content | the same; the file `key` is written whole |
//! | files | read | null | the content, or null |
//! | files | list | null | the names in the directory `key`, sorted; null where it is absent |
//! | files | remove | null | null; the file `key` is removed |
//!
//! Paths of `files` are relative with `/` between names, `""` is the root, which always is
//! there. Directories exist by `make` only; where the system has no tree, an adapter's keys
//! stand for them: `write` does not ask whether its directory exists, and a listing shows the
//! first name of whatever lies below, whether or not somebody made that directory.
//!
//! Lines of one process are in order of time; those of several may be interleaved in any way.

use crate::system::{Operation, Promise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this raftq writes.
pub const VERSION: u32 = 1;

/// What clients do; each has its own checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Read, write and compare-and-set per key.
    Register,
    /// A list per key.
    Append,
    /// Add, and read everything at the end.
    Set,
    /// Sums.
    Counter,
    /// A tree of files.
    Files,
}

/// The first line: what the history is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`]; also what tells such a file from others.
    pub raftq_history: u32,
    /// What was done.
    pub workload: Workload,
    /// What the system promises; what is not named is promised linearizable.
    #[serde(default)]
    pub promises: BTreeMap<Operation, Promise>,
    /// The seed of the clients' choices.
    #[serde(default)]
    pub seed: u64,
}

/// One line: a call begins or ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the start of the run, by a monotonic clock, read just before the call
    /// and just after its answer.
    pub t: u64,
    /// Who calls: one logical thread of calls.
    pub process: u64,
    /// The client behind it, where that is another number: one that goes on as a new process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<u64>,
    /// What this line says of the call.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What is called.
    pub f: Function,
    /// On what; absent where the workload has one object only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// See the table above.
    #[serde(default)]
    pub value: serde_json::Value,
    /// At `ok`: false where the system decided that the condition did not hold (a cas that met
    /// another value, a make of what was there, a remove of what was not).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub done: bool,
    /// Whether it belongs to the reads at the end, after everything was healed.
    #[serde(default, rename = "final", skip_serializing_if = "is_no")]
    pub is_final: bool,
    /// The node that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a line says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It was answered.
    Ok,
    /// It had no effect and never will; it says nothing about the state either.
    Fail,
    /// Nobody knows.
    Info,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Of a register, list, set, counter or file.
    Read,
    /// Of a register or file.
    Write,
    /// Compare-and-set of a register.
    Cas,
    /// To a list.
    Append,
    /// To a set or counter.
    Add,
    /// Of a directory.
    Make,
    /// Of a directory.
    List,
    /// Of a register or file.
    Remove,
}

pub(super) fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_yes(flag: &bool) -> bool {
    *flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_no(flag: &bool) -> bool {
    !*flag
}
