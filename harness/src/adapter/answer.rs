//! What came back of a call, and what that is worth.

use super::file::{Meaning, Word};
use super::template::Templates;
use crate::system::{Answer, Failure};
use minijinja::{Value, context};
use serde_json::Map;

/// How much of an answer that is not understood a reader is shown.
const EXCERPT: usize = 120;

/// What came back.
#[derive(Debug)]
pub(super) enum Answered {
    /// Of an HTTP call.
    Http { status: u16, text: String },
    /// Of a program; without an exit code where a signal ended it.
    Command { exit: Option<i32>, stdout: String, stderr: String },
    /// Of a driver.
    Driver(Map<String, serde_json::Value>),
}

/// Why nothing did.
#[derive(Debug)]
pub(super) enum Silent {
    /// Nothing of the request has left.
    NotSent(String),
    /// Some of it may have.
    Unknown(String),
}

impl From<Silent> for Failure {
    fn from(silent: Silent) -> Self {
        match silent {
            Silent::NotSent(why) => Self::NotDone(why),
            Silent::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl Answered {
    /// The fields with the answer: `status` or `exit`, `text`, and `body` where it is JSON.
    pub(super) fn context(&self, fields: &Value) -> Value {
        let json = |text: &str| {
            let body: Option<serde_json::Value> = serde_json::from_str(text).ok();
            body.map(Value::from_serialize)
        };
        let asked = fields.clone();
        match self {
            Self::Http { status, text } => {
                context! { status, text, body => json(text), ..asked }
            }
            Self::Command { exit, stdout, stderr } => {
                context! { exit, stdout, stderr, text => stdout, body => json(stdout), ..asked }
            }
            Self::Driver(line) => context! { body => Value::from_serialize(line), ..asked },
        }
    }

    /// Whether it answers a question about a node's state at all.
    pub(super) fn is_status(&self) -> bool {
        match self {
            Self::Http { status, .. } => (200..300).contains(status),
            Self::Command { exit, .. } => *exit == Some(0),
            Self::Driver(line) => !line.contains_key("is"),
        }
    }

    /// What it means by the entries of an adapter; one that none fits is unknown.
    pub(super) fn meaning(
        &self,
        answers: &[Meaning],
        fields: &Value,
        templates: &Templates,
    ) -> Result<Answer, Failure> {
        if let Self::Driver(line) = self {
            return self.of_driver(line);
        }
        let context = self.context(fields);
        let ask = |text: &str| templates.evaluate(text, &context);
        for meaning in answers {
            let holds = meaning.when.as_ref().map(|when| ask(&when.0));
            if !holds.transpose()?.is_none_or(|value| value.is_true()) {
                continue;
            }
            if let Some(value) = &meaning.value {
                return Ok(Answer::Value(text_of(&ask(&value.0)?)));
            }
            if let Some(listing) = &meaning.listing {
                let listing = listing_of(&ask(&listing.0)?).map(Answer::Listing);
                return listing.ok_or_else(|| self.unknown());
            }
            return self.word(meaning.is.unwrap_or(Word::Unknown));
        }
        Err(self.unknown())
    }

    fn of_driver(&self, line: &Map<String, serde_json::Value>) -> Result<Answer, Failure> {
        if let Some(value) = line.get("value") {
            return match value {
                serde_json::Value::Null => Ok(Answer::Value(None)),
                serde_json::Value::String(text) => Ok(Answer::Value(Some(text.clone()))),
                _ => Err(self.unknown()),
            };
        }
        if let Some(listing) = line.get("listing") {
            let listing = listing_of(&Value::from_serialize(listing)).map(Answer::Listing);
            return listing.ok_or_else(|| self.unknown());
        }
        let word = line.get("is").and_then(|word| serde_json::from_value(word.clone()).ok());
        self.word(word.unwrap_or(Word::Unknown))
    }

    fn word(&self, word: Word) -> Result<Answer, Failure> {
        match word {
            Word::Done => Ok(Answer::Done),
            Word::Refused => Ok(Answer::Refused),
            Word::NotDone => Err(Failure::NotDone(self.shown())),
            Word::Unknown => Err(self.unknown()),
        }
    }

    pub(super) fn unknown(&self) -> Failure {
        Failure::Unknown(self.shown())
    }

    fn shown(&self) -> String {
        let short = |text: &str| text.trim().chars().take(EXCERPT).collect::<String>();
        match self {
            Self::Http { status, text } => format!("HTTP {status}: {}", short(text)),
            Self::Command { exit, stdout, stderr } => {
                let said = if stderr.trim().is_empty() { stdout } else { stderr };
                let how = exit.map_or("ended by a signal".into(), |exit| format!("exit {exit}"));
                format!("{how}: {}", short(said))
            }
            Self::Driver(line) => match line.get("why").and_then(|why| why.as_str()) {
                Some(why) => short(why),
                None => short(&serde_json::Value::Object(line.clone()).to_string()),
            },
        }
    }
}

/// Text as it is, numbers as they are written; nothing for nothing.
pub(super) fn text_of(value: &Value) -> Option<String> {
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
