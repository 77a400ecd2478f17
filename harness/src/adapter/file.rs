//! What an adapter file says, as `adapters/README.md` describes it.
//!
//! The types are also the schema: `adapters/schema.json` is generated from them, and a file is
//! checked by it (`check.rs`) before it is taken for one of these.

use super::admin::{Admin, Asked};
use crate::system::{Operation, Promise};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// A whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct AdapterFile {
    /// One sentence for people.
    #[serde(rename = "about")]
    pub(super) _about: String,
    /// How its nodes speak Raft to each other, where raftq can read that.
    pub(super) protocol: Option<Protocol>,
    /// What to start for each node.
    pub(super) node: NodeFields,
    /// Where HTTP calls go, before their paths.
    pub(super) base: Option<Template>,
    /// A program that makes calls which neither HTTP nor a command can make.
    pub(super) driver: Option<DriverFields>,
    /// Made through each node until it is done, before anybody is taken for a leader.
    pub(super) prepare: Option<Prepare>,
    /// How a node tells its state.
    pub(super) status: StatusFields,
    /// How any member is asked for all of them.
    pub(super) members: Option<MembersFields>,
    /// What clients can ask.
    #[schemars(extend("propertyNames" = {
        "enum": ["read", "write", "cas", "create", "remove", "list"]
    }))]
    pub(super) operations: BTreeMap<Operation, Call>,
    /// What can be asked of the cluster about itself.
    #[serde(default)]
    #[schemars(extend("propertyNames" = { "enum": ["add", "remove", "transfer", "compact"] }))]
    pub(super) admin: BTreeMap<Admin, AdminCall>,
    /// Changes of the above, by name.
    #[serde(default)]
    pub(super) variants: BTreeMap<String, Map<String, Value>>,
}

/// A way of speaking Raft that raftq can read. What it reads is not the harness's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// The embedded node's.
    Embedded,
    /// etcd's.
    Etcd,
    /// hashicorp/raft's.
    Hashicorp,
    /// NATS's.
    Nats,
}

impl Protocol {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
            Self::Hashicorp => "hashicorp",
            Self::Nats => "nats",
        }
    }
}

/// What to start for each node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct NodeFields {
    /// The program: a path, or a name in the PATH.
    pub(super) program: Template,
    /// Its arguments.
    #[serde(default)]
    pub(super) args: Vec<Template>,
    /// What a variant adds to the arguments.
    #[serde(default)]
    pub(super) more_args: Vec<Template>,
    /// What a node gets beside these that was added to a running cluster.
    #[serde(default)]
    pub(super) join_args: Vec<Template>,
    /// Its environment, beside raftq's own.
    #[serde(default)]
    pub(super) env: BTreeMap<String, Template>,
    /// Files, by name, that are written into the data folder before each start.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Template>,
    /// Its ports by name.
    #[schemars(extend("required" = ["peer", "client"]))]
    pub(super) ports: BTreeMap<String, u16>,
    /// How long a cluster may take until all nodes follow one leader.
    #[serde(default = "twenty_seconds")]
    pub(super) start_within: Length,
    /// How long the system itself needs, after everything was healed, to take writes again;
    /// a scenario that expects it earlier waits so long.
    pub(super) recovers_within: Option<Length>,
}

/// A program that speaks JSON lines on its standard input and output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct DriverFields {
    /// The program: a path, or a name in the PATH.
    pub(super) program: Template,
    /// Its arguments.
    #[serde(default)]
    pub(super) args: Vec<Template>,
    /// Its environment, beside raftq's own.
    #[serde(default)]
    pub(super) env: BTreeMap<String, Template>,
    /// Whether one process serves all sessions with a node, with calls side by side.
    #[serde(default)]
    pub(super) shared: bool,
    /// What the program is told beside the nodes.
    #[serde(default)]
    pub(super) options: Map<String, Value>,
}

/// How a call is made: exactly one of `get`, `put`, `post`, `delete`, `command` and `driver`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [
    { "required": ["get"] }, { "required": ["put"] }, { "required": ["post"] },
    { "required": ["delete"] }, { "required": ["command"] }, { "required": ["driver"] }
]))]
pub(super) struct Ask {
    /// The path of an HTTP GET.
    pub(super) get: Option<Template>,
    /// The path of an HTTP PUT.
    pub(super) put: Option<Template>,
    /// The path of an HTTP POST.
    pub(super) post: Option<Template>,
    /// The path of an HTTP DELETE.
    pub(super) delete: Option<Template>,
    /// The body of an HTTP call.
    pub(super) body: Option<Template>,
    /// A program and its arguments, run once.
    #[schemars(length(min = 1))]
    pub(super) command: Option<Vec<Template>>,
    /// What the program gets on its standard input.
    pub(super) stdin: Option<Template>,
    /// What the driver calls it: the `op` of its line.
    pub(super) driver: Option<String>,
}

/// What makes a cluster usable.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Prepare {
    /// The call.
    #[serde(flatten)]
    pub(super) ask: Ask,
    /// What its answers mean; a driver says it itself.
    #[serde(default)]
    pub(super) answers: Vec<Meaning>,
}

/// How a node tells its state: a call, and expressions about its answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct StatusFields {
    /// The call.
    #[serde(flatten)]
    pub(super) ask: Ask,
    /// Whether the node takes itself for the leader.
    pub(super) leads: Expression,
    /// The leader that it follows, itself included.
    pub(super) leader: Option<Expression>,
    /// Its own id as a member.
    pub(super) member: Option<Expression>,
    /// Its term.
    pub(super) term: Option<Expression>,
}

/// One operation: a call, what the system promises of it, and what its answers mean.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Call {
    /// What the system promises of it.
    pub(super) promise: Promise,
    /// The call.
    #[serde(flatten)]
    pub(super) ask: Ask,
    /// What its answers mean; a driver says it itself.
    #[serde(default)]
    pub(super) answers: Vec<Meaning>,
}

/// How the members of a running cluster are found: a call, an expression for the list of them,
/// and expressions about each `member`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["get"] }, { "required": ["post"] }]))]
pub(super) struct MembersFields {
    /// The path of an HTTP GET.
    pub(super) get: Option<String>,
    /// The path of an HTTP POST.
    pub(super) post: Option<String>,
    /// The body of the call.
    pub(super) body: Option<String>,
    /// The members, as a list, from the answer's `body`.
    pub(super) list: Expression,
    /// A member's name.
    pub(super) name: Expression,
    /// Where its peers reach it.
    pub(super) peer: Expression,
    /// Where its clients do.
    pub(super) client: Expression,
}

/// A call about the cluster itself; nothing is promised of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct AdminCall {
    /// Who is asked.
    #[serde(default)]
    pub(super) at: Asked,
    /// The call.
    #[serde(flatten)]
    pub(super) ask: Ask,
    /// What its answers mean, in words; a driver says it itself.
    #[serde(default)]
    pub(super) answers: Vec<Meaning>,
}

/// What an answer means, where the condition holds; the first that holds counts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [
    { "required": ["is"] }, { "required": ["value"] }, { "required": ["listing"] }
]))]
pub(super) struct Meaning {
    /// Whether this entry fits; it always does without.
    pub(super) when: Option<Expression>,
    /// What it means, where the answer bears no data.
    pub(super) is: Option<Word>,
    /// The value that was read, none for an absent key.
    pub(super) value: Option<Expression>,
    /// A list of maps with `key` and `value`.
    pub(super) listing: Option<Expression>,
}

/// What an answer without data means: the call took effect; its condition did not hold; it had
/// no effect and never will; nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Done,
    Refused,
    #[serde(rename = "not done")]
    NotDone,
    Unknown,
}

/// A text with `{{ }}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Template(pub(super) String);

/// What stands within `{{ }}` elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Expression(pub(super) String);

/// A length of time: `10s` or `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(pub(super) Duration);

/// Texts that `check.rs` knows by their format.
macro_rules! text_of_a_format {
    ($($name:ident $format:literal)*) => {$(
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    )*};
}

text_of_a_format!(Template "template" Expression "expression" Length "duration");

impl Length {
    /// `10s` or `500ms`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse().ok());
        let seconds = || number("s").map(Duration::from_secs);
        number("ms").map(Duration::from_millis).or_else(seconds).map(Self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no duration"))
    }
}

fn twenty_seconds() -> Length {
    Length(Duration::from_secs(20))
}

impl Ask {
    /// Method and path of an HTTP call.
    pub(super) fn line(&self) -> Option<(&'static str, &Template)> {
        let all = [
            ("GET", &self.get),
            ("PUT", &self.put),
            ("POST", &self.post),
            ("DELETE", &self.delete),
        ];
        all.into_iter().find_map(|(method, path)| Some((method, path.as_ref()?)))
    }
}

impl MembersFields {
    /// Method and path.
    pub(super) fn line(&self) -> Option<(&'static str, &str)> {
        let get = self.get.as_deref().map(|path| ("GET", path));
        get.or(self.post.as_deref().map(|path| ("POST", path)))
    }
}

impl AdapterFile {
    /// Every call of the file, by the path of keys that leads to it.
    pub(super) fn asks(&self) -> Vec<(Vec<&'static str>, &Ask)> {
        let operations = self
            .operations
            .iter()
            .map(|(operation, call)| (vec!["operations", operation.word()], &call.ask));
        let prepare = self.prepare.iter().map(|prepare| (vec!["prepare"], &prepare.ask));
        let admin = self.admin.iter().map(|(what, call)| (vec!["admin", what.word()], &call.ask));
        operations.chain(admin).chain(prepare).chain([(vec!["status"], &self.status.ask)]).collect()
    }
}
