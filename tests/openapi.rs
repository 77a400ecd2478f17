//! `docs/openapi.yaml` against the code: every path and method of it is answered, and there are no
//! others.

mod api_lab;

use api_lab::{check, description, operations};
use raftq::kernel::door::Visitor;
use raftq::kernel::http::Request;
use raftq::run::api::{JSON, PATHS, Routed, YAML, route};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"];

fn request(method: &str, target: &str, body: Option<(&str, &str)>) -> Request {
    let headers = body.map(|(kind, _)| ("content-type".to_owned(), kind.to_owned()));
    Request {
        method: method.into(),
        target: target.into(),
        headers: headers.into_iter().collect(),
        body: body.map_or(Vec::new(), |(_, body)| body.into()),
    }
}

fn by() -> Visitor {
    Visitor::User { uid: 0, pid: 1 }
}

fn status(request: &Request) -> u16 {
    match route(request, &by()) {
        Routed::Answer(answer) => answer.status,
        Routed::Command(_) => 200,
    }
}

#[test]
fn every_operation_that_is_described_is_answered_and_no_other() {
    let api = description();
    let described: BTreeSet<(String, String)> =
        operations(&api).into_iter().map(|(path, method, _)| (path, method)).collect();
    let known: BTreeSet<(String, String)> = PATHS
        .iter()
        .flat_map(|(path, methods)| methods.split(", ").map(|m| ((*path).into(), m.into())))
        .collect();
    assert_eq!(described, known);
    for (path, allowed) in PATHS {
        let target = path.replace("{name}", "a%20rule");
        for method in METHODS {
            let body = match method {
                "PUT" => Some((YAML, "rules: []")),
                "POST" => Some((JSON, r#"{ "switch": "on" }"#)),
                _ => None,
            };
            let status = status(&request(method, &target, body));
            let is_known = allowed.split(", ").any(|one| one == method);
            assert_eq!(status, if is_known { 200 } else { 405 }, "{method} {path}");
        }
    }
    for nothing in ["/", "/v1", "/v1/rules/", "/v1/rules/a/b", "/v2/rules", "/v1/statuses"] {
        assert_eq!(status(&request("GET", nothing, None)), 404, "{nothing}");
    }
}

#[test]
fn bodies_are_read_as_they_are_described() {
    let api = description();
    let schema = &api["components"]["schemas"]["Switch"];
    // What the schema refuses the API refuses, and the reverse; but for the words of durations,
    // which a schema can only look at.
    for (body, fits) in [
        (json!({ "switch": "on" }), true),
        (json!({ "switch": "on", "for": "5s" }), true),
        (json!({ "switch": "auto" }), true),
        (json!({ "switch": "maybe" }), false),
        (json!({ "switch": "on", "until": "5s" }), false),
        (json!({ "for": "5s" }), false),
        (json!({ "switch": true }), false),
        (json!("on"), false),
        (Value::Null, false),
    ] {
        assert_eq!(check(&api, schema, &body).is_ok(), fits, "{body}");
        let text = body.to_string();
        let status = status(&request("POST", "/v1/rules/a", Some((JSON, &text))));
        assert_eq!(status, if fits { 200 } else { 400 }, "{body}");
    }
}

#[test]
fn the_check_of_schemas_sees_what_is_wrong() {
    let api = description();
    let schema = &api["components"]["schemas"]["Error"];
    assert!(check(&api, schema, &json!({ "error": "a", "way_out": "b" })).is_ok());
    for wrong in [
        json!({ "error": "a" }),
        json!({ "error": "a", "way_out": 1 }),
        json!({ "error": "a", "way_out": "b", "more": 1 }),
        json!([]),
    ] {
        assert!(check(&api, schema, &wrong).is_err(), "{wrong}");
    }
}
