//! One logical call: which requests it takes of the system, and what their answers make of it.
//!
//! An append and an addition are a read and a compare-and-set, again until it succeeds. They
//! have surely not happened as long as no compare-and-set is unknown; once one is, the call is,
//! and nothing more may be tried: a second attempt could make it happen twice.

use crate::clock::{now, since};
use crate::history::{Function, Kind, Workload};
use crate::system::{Answer, Failure, Request, Session};
use crate::workload::Call;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether it was answered, surely did nothing, or nobody knows.
    pub kind: Kind,
    /// The value of the line that ends it.
    pub value: Value,
    /// Whether its condition held.
    pub done: bool,
    /// Why it was not answered.
    pub error: Option<String>,
}

impl Outcome {
    fn ok(value: Value) -> Self {
        Self { kind: Kind::Ok, value, done: true, error: None }
    }

    fn refused(value: Value) -> Self {
        Self { done: false, ..Self::ok(value) }
    }

    fn not_done(value: &Value, why: impl Into<String>) -> Self {
        Self { kind: Kind::Fail, value: value.clone(), done: true, error: Some(why.into()) }
    }

    fn unknown(value: &Value, why: impl Into<String>) -> Self {
        Self { kind: Kind::Info, ..Self::not_done(value, why) }
    }

    fn failed(value: &Value, failure: Failure) -> Self {
        match failure {
            Failure::NotDone(why) => Self::not_done(value, why),
            Failure::Unknown(why) => Self::unknown(value, why),
        }
    }
}

/// Makes the call, and comes back after about `limit` at the latest.
pub fn perform(
    session: &mut dyn Session,
    workload: Workload,
    call: &Call,
    limit: Duration,
) -> Outcome {
    let key = || call.key.clone();
    match (workload, call.f) {
        (Workload::Register, Function::Cas) => cas(session, call, limit),
        (Workload::Register, Function::Write) => {
            let value = text(&call.value);
            simple(session, &Request::Write { key: key(), value }, call, limit)
        }
        (Workload::Register, Function::Remove) => {
            simple(session, &Request::Remove { key: key() }, call, limit)
        }
        (Workload::Register, _) => {
            read(session, key(), limit, |value| value.map_or(Value::Null, Value::String))
        }
        (Workload::Append, Function::Append) => update(session, call, limit, |list| {
            let mut list = list.map_or(Ok(Vec::new()), |text| parse::<Vec<Value>>(&text))?;
            list.push(call.value.clone());
            Ok(json!(list).to_string())
        }),
        (Workload::Counter, Function::Add) => update(session, call, limit, |sum| {
            let sum = sum.map_or(Ok(0), |text| parse::<i64>(&text))?;
            Ok((sum + call.value.as_i64().unwrap_or(0)).to_string())
        }),
        (Workload::Append, _) => read(session, key(), limit, json_of),
        (Workload::Counter, _) => {
            read(session, key(), limit, |value| value.map_or(json!(0), |text| json_of(Some(text))))
        }
        (Workload::Set, Function::Add) => {
            let value = text(&call.value);
            let key = format!("set/{}/{value}", call.key);
            simple(session, &Request::Write { key, value }, call, limit)
        }
        (Workload::Set, _) => elements(session, &call.key, limit),
        (Workload::Files, _) => files(session, call, limit),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn json_of(value: Option<String>) -> Value {
    value.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| format!("the key holds {text:?}: {e}"))
}

fn simple(session: &mut dyn Session, request: &Request, call: &Call, limit: Duration) -> Outcome {
    match session.call(request, limit) {
        Ok(Answer::Done) => Outcome::ok(call.value.clone()),
        Ok(Answer::Refused) => Outcome::refused(call.value.clone()),
        Ok(other) => {
            Outcome::unknown(&call.value, format!("an answer to something else: {other:?}"))
        }
        Err(failure) => Outcome::failed(&call.value, failure),
    }
}

fn read(
    session: &mut dyn Session,
    key: String,
    limit: Duration,
    value: impl FnOnce(Option<String>) -> Value,
) -> Outcome {
    match session.call(&Request::Read { key }, limit) {
        Ok(Answer::Value(found)) => Outcome::ok(value(found)),
        Ok(other) => Outcome::not_done(&Value::Null, format!("no value: {other:?}")),
        // A read has no effect, whatever became of it.
        Err(Failure::NotDone(why) | Failure::Unknown(why)) => Outcome::not_done(&Value::Null, why),
    }
}

fn cas(session: &mut dyn Session, call: &Call, limit: Duration) -> Outcome {
    let to = text(&call.value[1]);
    let request = match &call.value[0] {
        Value::Null => Request::Create { key: call.key.clone(), value: to },
        from => Request::Cas { key: call.key.clone(), from: text(from), to },
    };
    simple(session, &request, call, limit)
}

/// Reads, changes, and sets if nobody else did meanwhile; again until the limit.
fn update(
    session: &mut dyn Session,
    call: &Call,
    limit: Duration,
    change: impl Fn(Option<String>) -> Result<String, String>,
) -> Outcome {
    let start = now();
    let key = || call.key.clone();
    loop {
        let left = limit.saturating_sub(since(start));
        if left.is_zero() {
            return Outcome::not_done(&call.value, "others were faster until the time was over");
        }
        let before = match session.call(&Request::Read { key: key() }, left) {
            Ok(Answer::Value(before)) => before,
            Ok(other) => return Outcome::not_done(&call.value, format!("no value: {other:?}")),
            Err(Failure::NotDone(why) | Failure::Unknown(why)) => {
                return Outcome::not_done(&call.value, why);
            }
        };
        let to = match change(before.clone()) {
            Ok(to) => to,
            Err(why) => return Outcome::not_done(&call.value, why),
        };
        let request = match before {
            Some(from) => Request::Cas { key: key(), from, to },
            None => Request::Create { key: key(), value: to },
        };
        let left = limit.saturating_sub(since(start)).max(Duration::from_millis(1));
        match session.call(&request, left) {
            Ok(Answer::Refused) => {}
            Ok(Answer::Done) => return Outcome::ok(call.value.clone()),
            Ok(other) => return Outcome::unknown(&call.value, format!("no answer: {other:?}")),
            Err(failure) => return Outcome::failed(&call.value, failure),
        }
    }
}

fn elements(session: &mut dyn Session, key: &str, limit: Duration) -> Outcome {
    match session.call(&Request::List { prefix: format!("set/{key}/") }, limit) {
        Ok(Answer::Listing(pairs)) => {
            Outcome::ok(pairs.into_iter().map(|(_, value)| Value::String(value)).collect())
        }
        Ok(other) => Outcome::not_done(&Value::Null, format!("no listing: {other:?}")),
        Err(Failure::NotDone(why) | Failure::Unknown(why)) => Outcome::not_done(&Value::Null, why),
    }
}

/// A directory `d` is the key `tree/d/`, and a file `d/f` the key `tree/d/f`.
fn files(session: &mut dyn Session, call: &Call, limit: Duration) -> Outcome {
    let file = format!("tree/{}", call.key);
    let directory = format!("{file}/");
    match call.f {
        Function::Make => {
            let request = Request::Create { key: directory, value: String::new() };
            simple(session, &request, call, limit)
        }
        Function::Write => {
            let request = Request::Write { key: file, value: text(&call.value) };
            simple(session, &request, call, limit)
        }
        Function::Remove => simple(session, &Request::Remove { key: file }, call, limit),
        Function::List => list(session, &directory, limit),
        _ => read(session, file, limit, |value| value.map_or(Value::Null, Value::String)),
    }
}

fn list(session: &mut dyn Session, directory: &str, limit: Duration) -> Outcome {
    match session.call(&Request::List { prefix: directory.to_owned() }, limit) {
        Ok(Answer::Listing(pairs)) => {
            let is_there = pairs.iter().any(|(key, _)| key == directory);
            let names = pairs.iter().filter_map(|(key, _)| key.strip_prefix(directory));
            // Of what lies deeper only the first name is in this directory.
            let names = names.filter_map(|rest| rest.split('/').next());
            let names: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
            Outcome::ok(if is_there { json!(names) } else { Value::Null })
        }
        Ok(other) => Outcome::not_done(&Value::Null, format!("no listing: {other:?}")),
        Err(Failure::NotDone(why) | Failure::Unknown(why)) => Outcome::not_done(&Value::Null, why),
    }
}

#[cfg(test)]
mod tests;
