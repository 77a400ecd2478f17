//! Asking a raftq by its API, and holding every answer against `docs/openapi.yaml`.
//!
//! The check of a schema knows the keywords that the description uses, and fails on any other, so
//! that none is passed over.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use raftq::kernel::caller::{Question, ask};
use raftq::run::api::{JSON, OPENAPI, YAML};
use raftq::time::Nanos;
use serde_json::{Map, Value};
use std::path::Path;

/// The longest that a call may take: longer than raftq's own limit, so that its word counts.
pub const LIMIT: Nanos = Nanos::from_secs(8);

/// The description.
pub fn description() -> Value {
    serde_yaml::from_str(OPENAPI).expect("docs/openapi.yaml is YAML")
}

/// Its operations: path, method, and what stands there.
pub fn operations(api: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in api["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path") {
            if method != "parameters" {
                found.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    found
}

/// Asks at a control socket; the answer is one that the description knows.
pub fn call(socket: &Path, method: &str, target: &str, body: Option<&str>) -> (u16, Value) {
    let kind = if method == "PUT" { YAML } else { JSON };
    let body = body.map(|body| (kind, body.as_bytes()));
    let (status, body) = ask(socket, &Question { method, target, body }, LIMIT)
        .unwrap_or_else(|e| panic!("{method} {target}: {e}"));
    if ["/v1/openapi.yaml", "/metrics"].contains(&target) && status == 200 {
        return (status, Value::String(String::from_utf8(body).expect("text")));
    }
    let value: Value = serde_json::from_slice(&body).expect("a JSON document");
    must_be_described(method, target, status, &value);
    (status, value)
}

/// Fails unless this is what the description says of such an answer.
pub fn must_be_described(method: &str, target: &str, status: u16, value: &Value) {
    let api = description();
    let path = target.split('?').next().unwrap_or_default();
    let name = path.strip_prefix("/v1/rules/").is_some_and(|rest| !rest.is_empty());
    let path = if name { "/v1/rules/{name}" } else { path };
    let all = operations(&api);
    let operation = all.iter().find(|(p, m, _)| p == path && m == method);
    // What is asked wrongly is answered by the same errors.
    let responses =
        operation.map_or(Value::Null, |(_, _, operation)| operation["responses"].clone());
    let response = responses.get(status.to_string()).or(responses.get("default")).cloned();
    let schema = match response {
        Some(response) => resolve(&api, &response)["content"]["application/json"]["schema"].clone(),
        None => api["components"]["schemas"]["Error"].clone(),
    };
    if let Err(why) = check(&api, &schema, value) {
        panic!("{method} {target}: {status} is not as described: {why}\n{value:#}");
    }
}

fn resolve<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(at) => api.pointer(at.trim_start_matches('#')).unwrap_or_else(|| panic!("no {at}")),
        None => value,
    }
}

/// Whether a value fits a schema; else where it does not.
pub fn check(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolve(api, schema);
    let keys = schema.as_object().unwrap_or_else(|| panic!("no schema: {schema}"));
    for (key, says) in keys {
        let fits = match key.as_str() {
            "type" => is_of(says, value),
            "enum" => says.as_array().expect("a list").contains(value),
            "const" => says == value,
            "minimum" => value.as_f64().is_none_or(|n| n >= says.as_f64().expect("a number")),
            "maxItems" => value.as_array().is_none_or(|a| a.len() as u64 <= says.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|s| s.len() as u64 <= says.as_u64().unwrap()),
            "required" => {
                let lacks = says
                    .as_array()
                    .expect("a list")
                    .iter()
                    .find(|key| value.get(key.as_str().expect("a key")).is_none());
                if let Some(key) = lacks {
                    return Err(format!("{key} is missing"));
                }
                true
            }
            "properties" => {
                for (key, schema) in says.as_object().expect("a map") {
                    if let Some(one) = value.get(key) {
                        check(api, schema, one).map_err(|why| format!("{key}: {why}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(says, &Value::Bool(false));
                let none = Map::new();
                let known = schema["properties"].as_object().unwrap_or(&none);
                let mut keys = value.as_object().into_iter().flat_map(Map::keys);
                if let Some(key) = keys.find(|key| !known.contains_key(*key)) {
                    return Err(format!("{key} is not described"));
                }
                true
            }
            "items" => {
                for one in value.as_array().into_iter().flatten() {
                    check(api, says, one)?;
                }
                true
            }
            "oneOf" => {
                let all = says.as_array().expect("a list");
                let tried: Vec<_> = all.iter().map(|schema| check(api, schema, value)).collect();
                if tried.iter().filter(|one| one.is_ok()).count() != 1 {
                    return Err(format!("not exactly one of these fits: {tried:?}"));
                }
                true
            }
            "description" | "pattern" => true,
            other => panic!("the check does not know {other}"),
        };
        if !fits {
            return Err(format!("{value} does not meet {key} {says}"));
        }
    }
    Ok(())
}

fn is_of(says: &Value, value: &Value) -> bool {
    let one = |word: &Value| match word.as_str().expect("a word") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    };
    says.as_array().map_or_else(|| one(says), |all| all.iter().any(one))
}
