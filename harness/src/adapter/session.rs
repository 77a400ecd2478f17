//! Requests of clients, and questions about a node's state, over HTTP.

use super::file::{Call, Meaning, Word};
use super::http::{Answered, Connection, Silent};
use super::{Inner, NodePlace, Watch, about, all};
use crate::Result;
use crate::system::{Answer, Failure, NodeStatus, Request, Session};
use minijinja::{Value, context};
use std::sync::Arc;
use std::time::Duration;

/// How much of an answer that is not understood a reader is shown.
const EXCERPT: usize = 120;

/// A connection to one node.
#[derive(Debug)]
pub(super) struct HttpSession {
    adapter: Arc<Inner>,
    base: String,
    node: Value,
    nodes: Vec<Value>,
    connection: Connection,
}

impl HttpSession {
    pub(super) fn new(adapter: &Arc<Inner>, nodes: &[NodePlace], i: usize) -> Result<Self> {
        let (node, nodes) = (about(nodes, i), all(nodes));
        let context = context! { node, nodes };
        let base = adapter.templates.fill(&adapter.file.base, &context)?;
        let connection = Connection::new();
        Ok(Self { adapter: Arc::clone(adapter), base, node, nodes, connection })
    }

    fn ask(
        &self,
        line: (&str, &str),
        body: Option<&String>,
        fields: &Value,
        limit: Duration,
    ) -> std::result::Result<Answered, Failure> {
        let templates = &self.adapter.templates;
        let unsaid = |e: crate::Error| Failure::NotDone(e.to_string());
        let path = templates.fill(line.1, fields).map_err(unsaid)?;
        let body = body.map(|body| templates.fill(body, fields)).transpose().map_err(unsaid)?;
        let url = format!("{}{path}", self.base);
        self.connection.call(line.0, &url, body, limit).map_err(|silent| match silent {
            Silent::NotSent(why) => Failure::NotDone(why),
            Silent::Unknown(why) => Failure::Unknown(why),
        })
    }

    /// What an answer means; one that no entry of the adapter fits is unknown.
    fn meaning(
        &self,
        call: &Call,
        answered: &Answered,
        fields: &Value,
    ) -> std::result::Result<Answer, Failure> {
        let context = answer_context(answered, fields);
        for meaning in &call.answers {
            let holds = meaning.when.as_ref().map(|when| self.expression(when, &context));
            if holds.transpose()?.is_none_or(|value| value.is_true()) {
                return self.meant(meaning, &context, answered);
            }
        }
        Err(Failure::Unknown(not_understood(answered)))
    }

    fn meant(
        &self,
        meaning: &Meaning,
        context: &Value,
        answered: &Answered,
    ) -> std::result::Result<Answer, Failure> {
        if let Some(value) = &meaning.value {
            let value = self.expression(value, context)?;
            return Ok(Answer::Value(text_of(&value)));
        }
        if let Some(listing) = &meaning.listing {
            return listing_of(&self.expression(listing, context)?)
                .map(Answer::Listing)
                .ok_or_else(|| Failure::Unknown(not_understood(answered)));
        }
        match meaning.is {
            Some(Word::Done) => Ok(Answer::Done),
            Some(Word::Refused) => Ok(Answer::Refused),
            Some(Word::NotDone) => Err(Failure::NotDone(not_understood(answered))),
            Some(Word::Unknown) | None => Err(Failure::Unknown(not_understood(answered))),
        }
    }

    fn expression(&self, text: &str, context: &Value) -> std::result::Result<Value, Failure> {
        // The call was made, so an expression that fails leaves its outcome unknown.
        self.adapter.templates.ask(text, context).map_err(|e| Failure::Unknown(e.to_string()))
    }
}

impl Session for HttpSession {
    fn call(&mut self, request: &Request, limit: Duration) -> std::result::Result<Answer, Failure> {
        let Some(call) = self.adapter.file.operations.get(&request.operation()) else {
            return Err(Failure::NotDone("the adapter does not offer this operation".into()));
        };
        self.make(call, &self.fields(request), limit)
    }
}

impl HttpSession {
    /// Makes a call with these fields, and says what its answer means.
    pub(super) fn make(
        &self,
        call: &Call,
        fields: &Value,
        limit: Duration,
    ) -> std::result::Result<Answer, Failure> {
        let line = call.line().expect("checked when the adapter was read");
        let answered = self.ask(line, call.body.as_ref(), fields, limit)?;
        self.meaning(call, &answered, fields)
    }

    fn fields(&self, request: &Request) -> Value {
        let (node, nodes) = (&self.node, &self.nodes);
        match request {
            Request::Read { key } | Request::Remove { key } => context! { node, nodes, key },
            Request::Write { key, value } | Request::Create { key, value } => {
                context! { node, nodes, key, value }
            }
            Request::Cas { key, from, to } => context! { node, nodes, key, from, to },
            Request::List { prefix } => context! { node, nodes, prefix },
        }
    }
}

impl Watch for HttpSession {
    fn status(&mut self, limit: Duration) -> std::result::Result<NodeStatus, Failure> {
        let status = &self.adapter.file.status;
        let line = status.line().expect("checked when the adapter was read");
        let fields = context! { node => self.node, nodes => self.nodes };
        let answered = self.ask(line, status.body.as_ref(), &fields, limit)?;
        if !(200..300).contains(&answered.status) {
            return Err(Failure::Unknown(not_understood(&answered)));
        }
        let context = answer_context(&answered, &fields);
        let text = |expression: &Option<String>| {
            let value = expression.as_ref().map(|text| self.expression(text, &context));
            Ok::<_, Failure>(value.transpose()?.as_ref().and_then(text_of))
        };
        Ok(NodeStatus {
            leads: self.expression(&status.leads, &context)?.is_true(),
            leader: text(&status.leader)?,
            member: text(&status.member)?,
            term: text(&status.term)?.and_then(|term| term.parse().ok()),
        })
    }
}

/// The fields with the answer: `status`, `text`, and `body` where it is JSON.
fn answer_context(answered: &Answered, fields: &Value) -> Value {
    let body: Option<serde_json::Value> = serde_json::from_str(&answered.text).ok();
    context! {
        status => answered.status,
        text => answered.text,
        body => body.map(Value::from_serialize),
        ..fields.clone()
    }
}

/// Text as it is, numbers as they are written; nothing for nothing.
fn text_of(value: &Value) -> Option<String> {
    match value.as_str() {
        Some(text) => Some(text.to_owned()),
        None if value.is_none() || value.is_undefined() => None,
        None => Some(value.to_string()),
    }
}

fn listing_of(value: &Value) -> Option<Vec<(String, String)>> {
    if value.is_none() || value.is_undefined() {
        return Some(Vec::new());
    }
    let pair = |item: Value| {
        let field = |name| text_of(&item.get_attr(name).ok()?);
        Some((field("key")?, field("value").unwrap_or_default()))
    };
    let mut pairs: Vec<_> = value.try_iter().ok()?.map(pair).collect::<Option<_>>()?;
    pairs.sort();
    Some(pairs)
}

fn not_understood(answered: &Answered) -> String {
    let text: String = answered.text.chars().take(EXCERPT).collect();
    format!("HTTP {}: {}", answered.status, text.trim())
}
