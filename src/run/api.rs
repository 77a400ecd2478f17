//! The API: from requests to commands, and which of them make no sense. `docs/openapi.yaml`
//! describes it, and a test holds the two together.
//!
//! Nothing here waits or changes anything: commands are carried out by the main thread
//! (`control/switching.rs`).

use super::metrics::Format;
use crate::kernel::door::Visitor;
use crate::kernel::http::{Answer, Request};
use crate::rules;
use crate::time::Nanos;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// The description of the API.
pub const OPENAPI: &str = include_str!("../../docs/openapi.yaml");

/// Its paths, as the description writes them, and the methods of each.
pub const PATHS: [(&str, &str); 6] = [
    ("/v1/rules", "GET, PUT"),
    ("/v1/rules/{name}", "GET, POST"),
    ("/v1/status", "GET"),
    ("/v1/watch", "GET"),
    ("/v1/openapi.yaml", "GET"),
    ("/metrics", "GET"),
];

/// The type of rule files.
pub const YAML: &str = "application/yaml";

/// The type of everything else.
pub const JSON: &str = "application/json";

/// What the main thread is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Which rules there are; only the one of this name, where there is one.
    List(Option<String>),
    /// How it goes.
    Status,
    /// Everything that a live view shows; rules from this one on.
    Watch(usize),
    /// What is measured, for Prometheus.
    Metrics(Format),
    /// Switches a rule.
    Switch(String, Switch),
    /// Puts a rule file in the place of the one in force: what errors call it, and its text.
    Load(String, String),
}

/// How a rule is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// To what.
    pub to: To,
    /// For how long, where it is switched on; none: as the rule says.
    pub lasts: Option<Nanos>,
}

/// What a rule is switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Active from now on.
    On,
    /// Not active.
    Off,
    /// As the file says.
    Auto,
}

impl To {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Routed {
    /// It is answered already.
    Answer(Answer),
    /// The main thread answers it.
    Command(Command),
}

/// The body of a switch, as it was written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    switch: To,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
}

/// Finds out what is asked.
#[must_use]
pub fn route(request: &Request, by: &Visitor) -> Routed {
    match command(request, by) {
        Ok(Some(command)) => Routed::Command(command),
        Ok(None) => Routed::Answer(Answer {
            status: 200,
            kind: YAML,
            body: OPENAPI.as_bytes().to_vec(),
            allow: None,
        }),
        Err(answer) => Routed::Answer(*answer),
    }
}

type Refused = Box<Answer>;

#[expect(clippy::unnecessary_box_returns, reason = "it is the small half of a result")]
fn refuse(status: u16, error: &str, way_out: &str) -> Refused {
    Box::new(Answer::error(status, error, way_out))
}

/// The command; none where the description is asked for.
fn command(request: &Request, by: &Visitor) -> Result<Option<Command>, Refused> {
    from_here(request, by)?;
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let name = path.strip_prefix("/v1/rules/").filter(|name| !name.contains('/'));
    let template = match (path, name) {
        (_, Some(name)) if !name.is_empty() => "/v1/rules/{name}",
        (path, _) => path,
    };
    let Some((_, methods)) = PATHS.iter().find(|(known, _)| *known == template) else {
        let known = PATHS.map(|(path, _)| path).join(", ");
        let why = format!("there is nothing at {path}");
        return Err(refuse(404, &why, &format!("what there is: {known}")));
    };
    match (template, request.method.as_str()) {
        ("/v1/openapi.yaml", "GET") => Ok(None),
        ("/v1/status", "GET") => Ok(Some(Command::Status)),
        ("/v1/watch", "GET") => watch(query).map(Some),
        ("/metrics", "GET") => {
            Ok(Some(Command::Metrics(Format::accepted(request.header("accept")))))
        }
        ("/v1/rules", "GET") => Ok(Some(Command::List(None))),
        ("/v1/rules", "PUT") => load(request, query).map(Some),
        ("/v1/rules/{name}", "GET") => Ok(Some(Command::List(Some(decoded(name)?)))),
        ("/v1/rules/{name}", "POST") => {
            let (name, switch) = (decoded(name)?, switch(request)?);
            Ok(Some(Command::Switch(name, switch)))
        }
        (_, method) => {
            let why = format!("{method} is not for {path}");
            let way_out = format!("it takes {methods}");
            let answer = Answer { allow: Some(methods), ..Answer::error(405, &why, &way_out) };
            Err(Box::new(answer))
        }
    }
}

/// A page in somebody's browser must not switch rules, whatever name it has found for this
/// address: a browser says whom it asks, and for which page.
fn from_here(request: &Request, by: &Visitor) -> Result<(), Refused> {
    let Visitor::Address { at, .. } = by else { return Ok(()) };
    let ours = [at.to_string(), format!("localhost:{}", at.port())];
    let is_ours = |host: &str| ours.iter().any(|one| one.eq_ignore_ascii_case(host));
    let way_out = format!("ask at http://{at}, and from no web page");
    match request.header("host") {
        Some(host) if is_ours(host) => {}
        Some(host) => {
            return Err(refuse(403, &format!("this is not the host `{host}`"), &way_out));
        }
        None => return Err(refuse(400, "the request has no Host", &way_out)),
    }
    match request.header("origin") {
        Some(origin) if !origin.strip_prefix("http://").is_some_and(is_ours) => {
            Err(refuse(403, &format!("a page of `{origin}` may not ask"), &way_out))
        }
        _ => Ok(()),
    }
}

fn decoded(name: Option<&str>) -> Result<String, Refused> {
    text(name.unwrap_or_default()).ok_or_else(|| {
        refuse(400, "the rule's name is not UTF-8", "encode it as in /v1/rules/slow%20down")
    })
}

fn text(encoded: &str) -> Option<String> {
    percent_decode_str(encoded).decode_utf8().ok().map(String::from)
}

/// Whether the body is of this type; else it is refused, and so is a body from a web form.
fn is(request: &Request, kind: &str) -> Result<(), Refused> {
    let said = request.header("content-type").unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(kind) {
        return Ok(());
    }
    let why = if said.is_empty() {
        "the request does not say what its body is".to_owned()
    } else {
        format!("a body of the type `{said}` does not belong here")
    };
    Err(refuse(415, &why, &format!("send Content-Type: {kind}")))
}

fn switch(request: &Request) -> Result<Switch, Refused> {
    is(request, JSON)?;
    let example = r#"such as { "switch": "on", "for": "5s" }"#;
    let written: Written = serde_json::from_slice(&request.body)
        .map_err(|e| refuse(400, &format!("the body cannot be read: {e}"), example))?;
    let Some(lasts) = written.lasts else {
        return Ok(Switch { to: written.switch, lasts: None });
    };
    if written.switch != To::On {
        let why = format!("`for` is for `on`, and this is `{}`", written.switch.word());
        return Err(refuse(400, &why, "leave `for` out"));
    }
    match rules::duration(&lasts) {
        Ok(lasts) if lasts >= Nanos::from_millis(1) => {
            Ok(Switch { to: written.switch, lasts: Some(lasts) })
        }
        Ok(_) => Err(refuse(400, &format!("`for` is {lasts}"), "write at least 1ms")),
        Err(why) => Err(refuse(400, &format!("`for` is no duration: {why}"), example)),
    }
}

fn watch(query: &str) -> Result<Command, Refused> {
    let mut from = 0;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let value = pair.strip_prefix("rules_from=").and_then(|value| value.parse().ok());
        from = value.ok_or_else(|| {
            let why = format!("`{pair}` means nothing here");
            refuse(400, &why, "?rules_from=N lists rules from the N-th on, counted from 0")
        })?;
    }
    Ok(Command::Watch(from))
}

fn load(request: &Request, query: &str) -> Result<Command, Refused> {
    is(request, YAML)?;
    let mut name = "the rules that were sent".to_owned();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (key, text(value)) {
            ("name", Some(value)) if !value.chars().any(char::is_control) => name = value,
            _ => {
                let why = format!("`{pair}` means nothing here");
                return Err(refuse(400, &why, "?name=FILE says what errors call the rules"));
            }
        }
    }
    match String::from_utf8(request.body.clone()) {
        Ok(text) => Ok(Command::Load(name, text)),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            Err(refuse(400, &format!("byte {at} of the rules is not UTF-8"), "save them as UTF-8"))
        }
    }
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
