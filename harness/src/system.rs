//! What clients ask of a system under test, and what its answers are worth.
//!
//! The words that adapters, clusters and clients share. A system is spoken to through
//! [`Session`]s; which bytes that takes is an adapter's business. Whatever an adapter cannot
//! tell for certain is [`Failure::Unknown`]: a write that timed out is never "not done".

use std::time::Duration;

/// One call of a client. Keys and values are text; a key that was never written, or was
/// removed, is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The value of a key.
    Read {
        /// The key.
        key: String,
    },
    /// Sets a key, whatever it was.
    Write {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Sets a key to `to` where its value is `from`, atomically.
    Cas {
        /// The key.
        key: String,
        /// What it must be.
        from: String,
        /// What it becomes.
        to: String,
    },
    /// Sets a key where it is absent, atomically.
    Create {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Makes a key absent.
    Remove {
        /// The key.
        key: String,
    },
    /// Every key with this prefix, with its value.
    List {
        /// What they begin with.
        prefix: String,
    },
}

/// A [`Request`] without its arguments: what adapters declare and promise by.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// [`Request::Read`].
    Read,
    /// [`Request::Write`].
    Write,
    /// [`Request::Cas`].
    Cas,
    /// [`Request::Create`].
    Create,
    /// [`Request::Remove`].
    Remove,
    /// [`Request::List`].
    List,
}

impl Operation {
    /// Its word, as adapters and drivers write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Cas => "cas",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::List => "list",
        }
    }
}

impl Request {
    /// Which operation it is.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::Read { .. } => Operation::Read,
            Self::Write { .. } => Operation::Write,
            Self::Cas { .. } => Operation::Cas,
            Self::Create { .. } => Operation::Create,
            Self::Remove { .. } => Operation::Remove,
            Self::List { .. } => Operation::List,
        }
    }
}

/// What the system answered to a call that took effect, or was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a read: the value, `None` where the key is absent.
    Value(Option<String>),
    /// To a list: keys, whole, with their values, sorted by key.
    Listing(Vec<(String, String)>),
    /// To a write, cas, create or remove: done.
    Done,
    /// The condition did not hold, and nothing was changed: a cas whose key had another value,
    /// a create of a key that was there, a remove of one that was not (where the system says).
    Refused,
}

/// A call without an answer of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It had no effect and never will: refused before it was sent, or the system said so.
    NotDone(String),
    /// Nobody knows; it may still take effect later.
    Unknown(String),
}

/// What a system promises of an operation; checks judge promises.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Promise {
    /// It takes effect at one moment between call and answer.
    Linearizable,
    /// A read may answer with what was once true, never with what never was.
    Stale,
    /// Nothing to be judged.
    Nothing,
}

/// One client's connection to one node. Used on one thread, which has entered the namespace
/// that clients call from; connections are kept between calls, and nothing is repeated.
pub trait Session: Send {
    /// Makes a call, and comes back after `limit` at the latest.
    fn call(&mut self, request: &Request, limit: Duration) -> Result<Answer, Failure>;
}

/// What a node says about itself; what an adapter cannot tell is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Whether it takes itself for the leader.
    pub leads: bool,
    /// The leader it follows, itself included, by the system's own id of members.
    pub leader: Option<String>,
    /// Its own id as a member.
    pub member: Option<String>,
    /// Its term.
    pub term: Option<u64>,
}
