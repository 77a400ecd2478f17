//! What clients propose, and what comes of it.
//!
//! A proposal travels as the data of a Raft entry, as one JSON object:
//! `{"id":[node,number],"op":"put","key":"k","value":"v"}`, also `cas` with `from` and `to`
//! and `delete` with a key. `from: null` means that the key must be absent. A joining node's
//! `claim` has its `name` and the number of its folder. The entry that a new leader begins its
//! term with has no data; changes of the members are in `members.rs`.

use serde::{Deserialize, Serialize};

/// Which proposal: the node that took it from a client, and a number that this node never
/// uses again.
pub(crate) type CommandId = (u64, u64);

/// One entry's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    /// Whose it is.
    pub(crate) id: CommandId,
    /// What it does.
    #[serde(flatten)]
    pub(crate) op: Op,
}

/// A change of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Op {
    /// Sets a key.
    Put {
        /// Which.
        key: String,
        /// To what.
        value: String,
    },
    /// Sets a key where it has the value expected.
    Cas {
        /// Which.
        key: String,
        /// What it must be; absent for `None`.
        from: Option<String>,
        /// To what.
        to: String,
    },
    /// Removes a key.
    Delete {
        /// Which.
        key: String,
    },
    /// Lets a folder speak as a member.
    Claim {
        /// The member.
        name: String,
        /// The folder.
        folder: u64,
    },
}

/// Whether a command's condition held, and it changed something.
pub(crate) type Changed = bool;

impl Command {
    /// As an entry's data.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are always JSON")
    }

    /// From an entry's data; `None` for an entry without any.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }
}
