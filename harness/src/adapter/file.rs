//! What an adapter file says, as `adapters/README.md` describes it.

use super::admin::{Admin, Asked};
use super::template::Templates;
use super::wrong;
use crate::system::{Operation, Promise};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdapterFile {
    /// One sentence for people.
    #[serde(rename = "about")]
    pub(super) _about: String,
    /// What to start.
    pub(super) node: NodeFields,
    /// Where calls go, before their paths.
    pub(super) base: String,
    /// How a node tells its state.
    pub(super) status: StatusFields,
    /// How any member is asked for all of them.
    pub(super) members: Option<MembersFields>,
    /// What clients can ask.
    pub(super) operations: BTreeMap<Operation, Call>,
    /// What can be asked of the cluster about itself.
    #[serde(default)]
    pub(super) admin: BTreeMap<Admin, Call>,
    /// Changes of the above, by name.
    #[serde(default)]
    pub(super) variants: BTreeMap<String, Value>,
}

/// What to start for each node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeFields {
    pub(super) program: String,
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// What a variant adds to the above.
    #[serde(default)]
    pub(super) more_args: Vec<String>,
    /// What a node gets beside these that was added to a running cluster.
    #[serde(default)]
    pub(super) join_args: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    pub(super) ports: BTreeMap<String, u16>,
    #[serde(default = "twenty_seconds", deserialize_with = "duration")]
    pub(super) start_within: Duration,
}

/// How a node tells its state: a call, and expressions about its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusFields {
    pub(super) get: Option<String>,
    pub(super) put: Option<String>,
    pub(super) post: Option<String>,
    pub(super) delete: Option<String>,
    pub(super) body: Option<String>,
    pub(super) leads: String,
    pub(super) leader: Option<String>,
    pub(super) member: Option<String>,
    pub(super) term: Option<String>,
}

/// How the members of a running cluster are found: a call, an expression for the list of them,
/// and expressions about each `member`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MembersFields {
    pub(super) get: Option<String>,
    pub(super) post: Option<String>,
    pub(super) body: Option<String>,
    pub(super) list: String,
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) client: String,
}

/// One operation: a call, what the system promises of it, and what its answers mean.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    /// There for each operation, and for nothing else.
    pub(super) promise: Option<Promise>,
    /// Who is asked, where that is not for a client to choose; the leader without.
    pub(super) at: Option<Asked>,
    pub(super) get: Option<String>,
    pub(super) put: Option<String>,
    pub(super) post: Option<String>,
    pub(super) delete: Option<String>,
    pub(super) body: Option<String>,
    pub(super) answers: Vec<Meaning>,
}

/// What an answer means, where the condition holds; the first that holds counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meaning {
    /// An expression; holds always if left out.
    pub(super) when: Option<String>,
    /// A word, where the answer bears no data.
    pub(super) is: Option<Word>,
    /// An expression: the value that was read, none for absent.
    pub(super) value: Option<String>,
    /// An expression: a list of maps with `key` and `value`.
    pub(super) listing: Option<String>,
}

/// What an answer without data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    /// The call took effect.
    Done,
    /// Its condition did not hold.
    Refused,
    /// It had no effect, and never will.
    #[serde(rename = "not done")]
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// Method and path of a call.
pub(super) type Line<'f> = (&'static str, &'f str);

fn line<'f>(
    get: Option<&'f String>,
    put: Option<&'f String>,
    post: Option<&'f String>,
    delete: Option<&'f String>,
) -> Option<Line<'f>> {
    let all = [("GET", get), ("PUT", put), ("POST", post), ("DELETE", delete)];
    let mut said = all.into_iter().filter_map(|(method, path)| Some((method, path?.as_str())));
    let only = said.next();
    if said.next().is_some() { None } else { only }
}

impl Call {
    /// Method and path; checked to be there.
    pub(super) fn line(&self) -> Option<Line<'_>> {
        line(self.get.as_ref(), self.put.as_ref(), self.post.as_ref(), self.delete.as_ref())
    }
}

impl MembersFields {
    /// Method and path; checked to be there.
    pub(super) fn line(&self) -> Option<Line<'_>> {
        line(self.get.as_ref(), None, self.post.as_ref(), None)
    }

    fn check(&self, templates: &Templates) -> Result<()> {
        self.line().ok_or_else(|| wrong("members needs exactly one of get and post"))?;
        for text in [&self.list, &self.name, &self.peer, &self.client] {
            templates.check_expression(text)?;
        }
        Ok(())
    }
}

impl StatusFields {
    /// Method and path; checked to be there.
    pub(super) fn line(&self) -> Option<Line<'_>> {
        line(self.get.as_ref(), self.put.as_ref(), self.post.as_ref(), self.delete.as_ref())
    }
}

/// Reads a file with the variants chosen, in this order.
pub(super) fn read(text: &str, variants: &[&str]) -> Result<AdapterFile> {
    let yaml = |e: serde_yaml::Error| wrong(e.to_string());
    let plain: AdapterFile = serde_yaml::from_str(text).map_err(yaml)?;
    if variants.is_empty() {
        return Ok(plain);
    }
    let mut tree: Value = serde_yaml::from_str(text).map_err(yaml)?;
    for name in variants {
        let Some(change) = plain.variants.get(*name) else {
            let known: Vec<&str> = plain.variants.keys().map(String::as_str).collect();
            return Err(wrong(match known.as_slice() {
                [] => format!("it has no variants, so none is called `{name}`"),
                known => format!("no variant is called `{name}`; it has {}", known.join(", ")),
            }));
        };
        merge(&mut tree, change);
    }
    serde_json::from_value(tree)
        .map_err(|e| wrong(format!("with variant {}: {e}", variants.join(":"))))
}

/// Maps are merged key by key; anything else is replaced.
fn merge(tree: &mut Value, change: &Value) {
    match (tree, change) {
        (Value::Object(tree), Value::Object(change)) => {
            for (key, value) in change {
                merge(tree.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (tree, change) => *tree = change.clone(),
    }
}

impl AdapterFile {
    /// Whether every template and expression can be read, and every call is complete.
    pub(super) fn check(&self, templates: &Templates) -> Result<()> {
        for port in ["peer", "client"] {
            if !self.node.ports.contains_key(port) {
                return Err(wrong(format!("node.ports needs `{port}`")));
            }
        }
        let node = &self.node;
        let texts =
            [&node.program, &self.base].into_iter().chain(&node.args).chain(&node.more_args);
        let texts = texts.chain(&node.join_args);
        for text in texts.chain(node.env.values()).chain(node.files.values()) {
            templates.check(text)?;
        }
        let status = &self.status;
        let (_, path) = status.line().ok_or_else(|| incomplete("status"))?;
        templates.check(path)?;
        let asked = [Some(&status.leads), status.leader.as_ref(), status.member.as_ref()];
        for text in asked.into_iter().chain([status.term.as_ref()]).flatten() {
            templates.check_expression(text)?;
        }
        self.members.as_ref().map_or(Ok(()), |members| members.check(templates))?;
        for (operation, call) in &self.operations {
            let name = format!("operations.{}", format!("{operation:?}").to_lowercase());
            check_call(call, templates).map_err(|e| wrong(format!("{name}: {e}")))?;
            if call.promise.is_none() {
                return Err(wrong(format!("{name}: it needs a `promise`")));
            }
            if call.at.is_some() {
                return Err(wrong(format!("{name}: a client chooses its node; leave `at` out")));
            }
        }
        super::admin::check(&self.admin, templates)
    }
}

fn incomplete(what: &str) -> Error {
    wrong(format!("{what} needs exactly one of get, put, post and delete"))
}

pub(super) fn check_call(call: &Call, templates: &Templates) -> Result<()> {
    let (_, path) = call.line().ok_or_else(|| incomplete("it"))?;
    templates.check(path)?;
    call.body.as_ref().map_or(Ok(()), |body| templates.check(body))?;
    for meaning in &call.answers {
        let said = [meaning.is.is_some(), meaning.value.is_some(), meaning.listing.is_some()];
        if said.into_iter().filter(|said| *said).count() != 1 {
            return Err(wrong("each of `answers` needs exactly one of is, value and listing"));
        }
        let expressions = [&meaning.when, &meaning.value, &meaning.listing];
        for text in expressions.into_iter().flatten() {
            templates.check_expression(text)?;
        }
    }
    Ok(())
}

fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}

/// `10s` or `500ms`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse().ok());
    number("ms")
        .map(Duration::from_millis)
        .or_else(|| number("s").map(Duration::from_secs))
        .ok_or_else(|| {
            serde::de::Error::custom(format!("`{text}` is no duration such as 20s or 500ms"))
        })
}
