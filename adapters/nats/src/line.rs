//! What is said between raftq and a driver.

use serde::Deserialize;
use serde_json::{Value, json};

/// The first line of raftq.
#[derive(Debug, Deserialize)]
pub(crate) struct Hello {
    pub(crate) node: Node,
    pub(crate) nodes: Vec<Node>,
    pub(crate) options: Options,
}

/// A node, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) ports: Ports,
}

/// Its ports.
#[derive(Debug, Deserialize)]
pub(crate) struct Ports {
    pub(crate) client: u16,
}

/// What the adapter's file says.
#[derive(Debug, Deserialize)]
pub(crate) struct Options {
    /// The name of the bucket.
    pub(crate) bucket: String,
}

/// Every other line of raftq.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) limit_ms: u64,
    #[serde(flatten)]
    pub(crate) request: Request,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum Request {
    Prepare,
    Read { key: String },
    Write { key: String, value: String },
    Cas { key: String, from: String, to: String },
    Create { key: String, value: String },
    Remove { key: String },
    List { prefix: String },
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Value(Option<String>),
    Listing(Vec<(String, String)>),
    NotDone(String),
    Unknown(String),
}

impl Outcome {
    pub(crate) fn not_done(why: impl Into<String>) -> Self {
        Self::NotDone(why.into())
    }

    pub(crate) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(why.into())
    }

    /// As the line that answers call `id`.
    pub(crate) fn line(&self, id: u64) -> Value {
        match self {
            Self::Done => json!({ "id": id, "is": "done" }),
            Self::Value(value) => json!({ "id": id, "value": value }),
            Self::Listing(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| json!({ "key": key, "value": value }));
                json!({ "id": id, "listing": pairs.collect::<Vec<_>>() })
            }
            Self::NotDone(why) => json!({ "id": id, "is": "not done", "why": why }),
            Self::Unknown(why) => json!({ "id": id, "is": "unknown", "why": why }),
        }
    }
}
