//! What lines of `events.jsonl` say to machines, beside their words: a `fact` each, where there is
//! one. `recorder.rs` writes them, the report reads them again.

use serde::{Deserialize, Serialize};

/// One of them. Times of a line are its own; what is not known is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Fact {
    /// A run, or an attached session, has begun.
    Run {
        /// The time of day, UTC, as RFC 3339 has it.
        started: String,
        /// The raftq that makes it.
        raftq: String,
    },
    /// A phase of the run begins; the former one is over.
    Phase {
        /// Its name.
        phase: String,
    },
    /// The rules' clock starts: times of the wire and of the trace count from here.
    Clock {
        /// Names of the nodes, in the order in which other files count them.
        nodes: Vec<String>,
    },
    /// Rules were bound to roles.
    Bound {
        /// Who said who leads, for people.
        by: String,
    },
    /// A rule became active.
    Active {
        /// What it does, in words.
        does: Vec<String>,
        /// The links that it is about, from and to.
        links: Vec<(String, String)>,
        /// Its sides in words, where an event or the leader of each moment decides its links, which
        /// are left out then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sides: Option<String>,
        /// How many more there are.
        #[serde(default, skip_serializing_if = "is_zero")]
        links_more: usize,
    },
    /// It ended, or the run did.
    Ended {
        /// Segments that it matched in this activation; messages, where it is about messages.
        matched: u64,
        /// What it acted on.
        acted: u64,
        /// Segments of unknown senders that passed.
        leaked: u64,
        /// Whether it was active still as the run ended.
        #[serde(default, skip_serializing_if = "is_false")]
        cut_short: bool,
    },
    /// Something is being done to nodes, or undone.
    Ordered {
        /// What, such as `kill`.
        action: String,
        /// Whether it is undone.
        #[serde(default, skip_serializing_if = "is_false")]
        undo: bool,
    },
    /// It is done.
    Done {
        /// What, such as `kill`.
        action: String,
        /// Whether it was undone.
        #[serde(default, skip_serializing_if = "is_false")]
        undo: bool,
        /// Whether it could not be done.
        #[serde(default, skip_serializing_if = "is_false")]
        failed: bool,
    },
    /// A node's process is in another state.
    State {
        /// Which.
        state: NodeIs,
    },
    /// A node says something else of itself than before, when it is asked.
    Role {
        /// What.
        role: RoleIs,
        /// Its term, where it tells one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        term: Option<u64>,
    },
}

/// How a node's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeIs {
    /// It runs.
    Up,
    /// It was started, and nothing was heard of it so far.
    Starting,
    /// It stands still.
    Paused,
    /// It has none.
    Down,
    /// It does not belong to the cluster any more.
    Removed,
}

impl NodeIs {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Down => "down",
            Self::Removed => "removed",
        }
    }
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleIs {
    /// It leads.
    Leader,
    /// It follows somebody.
    Follower,
    /// It answers, and knows no leader.
    Leaderless,
    /// It does not answer.
    Silent,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}
