//! The HTTP API: requests become tasks for the core, its answers become JSON.
//!
//! | request | what | answer |
//! | --- | --- | --- |
//! | `GET /kv/KEY` | read (`?stale=true`: what this node holds) | `{"value": "..."}` or null |
//! | `PUT /kv/KEY` `{"value": V}` | write | `{"done": true}` |
//! | `POST /kv/KEY/cas` `{"from": V or null, "to": V}` | compare-and-set | `{"done": bool}` |
//! | `DELETE /kv/KEY` | remove | `{"done": bool}`: whether it was there |
//! | `GET /kv?prefix=P` | list (`&stale=true`) | `{"keys": [{"key": K, "value": V}]}` |
//! | `GET /status` | this node's own view | see `core.rs` |
//! | `POST /admin/add` `{"name": N, "address": A}` | a new member | `{"done": true, "id": ID}` |
//! | `POST /admin/remove` `{"name": N}` | a member goes | `{"done": true}` |
//! | `POST /admin/transfer` `{"to": N}` or `{}` | another leads | `{"done": true, "leader": N}` |
//! | `POST /admin/compact` | a snapshot here, the log before it goes | `{"done": true}` |
//!
//! Keys are percent-encoded, `/` included. What did not work answers 503 (or 4xx) with
//! `{"error": why, "outcome": "not done" | "unknown"}`. Members are changed, and leadership is
//! handed over, by the leader alone: others answer 503 with its name as `leader`.

use crate::command::Op;
use crate::core::Input;
use crate::pending::Query;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{self, Read};
use std::net::SocketAddr;
use tiny_http::{Header, Method, Request, Response, Server};

/// The largest body that is read.
const BODY_MAX: u64 = 16 << 20;

/// Threads that write answers; a slow client holds up one of them.
const WRITERS: usize = 4;

/// What the core is asked.
#[derive(Debug)]
pub(crate) enum Task {
    /// A change.
    Change(Op),
    /// A read, linearizable or from this node's own map.
    Read(Query, bool),
    /// This node's view.
    Status,
    /// A request to whoever runs the cluster.
    Admin(Admin),
}

/// What those who run a cluster ask.
#[derive(Debug, PartialEq)]
pub(crate) enum Admin {
    /// A new member: name and address.
    Add(String, SocketAddr),
    /// The member of this name goes.
    Remove(String),
    /// Leadership to the node of this name, or to the one whose log is the longest.
    Transfer(Option<String>),
    /// A snapshot now.
    Compact,
}

/// What the core answers.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// A change's condition held, or did not.
    Changed(bool),
    /// A key's value.
    Value(Option<String>),
    /// Keys with values.
    Listing(Vec<(String, String)>),
    /// Any JSON.
    Json(Value),
    /// The id of a node that joins.
    Joined(u64),
    /// Nothing was done, and nothing will be.
    NotDone(String),
    /// Nothing was done, since only the leader does it: this one, if one is known.
    NotLeader(Option<String>),
    /// The cluster did not decide in time.
    TimedOut,
}

/// Where the answer to one request goes. One that is dropped answers that the node ends.
pub(crate) struct Reply(To);

enum To {
    Client(Request, Sender<(Request, Answer)>),
    Joining(Sender<Answer>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

impl Reply {
    /// To a node that joins, and where the answer comes out.
    pub(crate) fn to_joining() -> (Self, Receiver<Answer>) {
        let (sender, answer) = bounded(1);
        (Self(To::Joining(sender)), answer)
    }

    /// Answers; the core does not wait for the client to read it.
    pub(crate) fn send(self, answer: Answer) {
        // Who does not listen any more needs no answer.
        let _ = match self.0 {
            To::Client(request, writers) => writers.send((request, answer)).is_ok(),
            To::Joining(sender) => sender.send(answer).is_ok(),
        };
    }
}

/// Serves for as long as the process lives.
pub(crate) fn serve(address: SocketAddr, core: Sender<Input>) -> io::Result<()> {
    let server = Server::http(address).map_err(io::Error::other)?;
    let (writers, answers) = unbounded();
    for _ in 0..WRITERS {
        let answers: Receiver<(Request, Answer)> = answers.clone();
        let write = move || {
            for (request, answer) in answers {
                respond(request, &answer);
            }
        };
        std::thread::Builder::new().name("answers".into()).spawn(write)?;
    }
    let take = move || {
        for mut request in server.incoming_requests() {
            match task(&mut request) {
                Ok(task) => {
                    let reply = Reply(To::Client(request, writers.clone()));
                    if core.send(Input::Client(task, reply)).is_err() {
                        return;
                    }
                }
                Err(refused) => write_json(request, refused.status, &refused.json()),
            }
        }
    };
    std::thread::Builder::new().name("requests".into()).spawn(take).map(drop)
}

/// A request that means nothing here.
#[derive(Debug, PartialEq)]
struct Refused {
    status: u16,
    why: String,
}

impl Refused {
    fn json(&self) -> Value {
        json!({ "error": self.why, "outcome": "not done" })
    }
}

fn refuse<T>(status: u16, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { status, why: why.into() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    from: Option<String>,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    name: String,
    address: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    to: Option<String>,
}

fn task(request: &mut Request) -> Result<Task, Refused> {
    let mut body = String::new();
    if request.as_reader().take(BODY_MAX).read_to_string(&mut body).is_err() {
        return refuse(400, "the body is not UTF-8, or did not come whole");
    }
    read_task(request.method(), request.url(), &body)
}

fn read_task(method: &Method, url: &str, body: &str) -> Result<Task, Refused> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let stale = parameter(query, "stale").is_some_and(|value| value == "true");
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        (Method::Get, ["status"]) => Ok(Task::Status),
        (Method::Post, ["admin", what]) => read_admin(what, body).map(Task::Admin),
        (Method::Get, ["kv"]) => {
            let prefix = parameter(query, "prefix").unwrap_or_default();
            Ok(Task::Read(Query::List(prefix), stale))
        }
        (Method::Get, ["kv", key]) => Ok(Task::Read(Query::Get(decode(key)?), stale)),
        (Method::Put, ["kv", key]) => {
            Ok(Task::Change(Op::Put { key: decode(key)?, value: parse::<Put>(body)?.value }))
        }
        (Method::Post, ["kv", key, "cas"]) => {
            let Cas { from, to } = parse(body)?;
            Ok(Task::Change(Op::Cas { key: decode(key)?, from, to }))
        }
        (Method::Delete, ["kv", key]) => Ok(Task::Change(Op::Delete { key: decode(key)? })),
        _ => refuse(404, format!("there is no {method} {path}; see `raftq node --help`")),
    }
}

fn read_admin(what: &str, body: &str) -> Result<Admin, Refused> {
    match what {
        "add" => {
            let Add { name, address } = parse(body)?;
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || ",=".contains(c)) {
                return refuse(400, format!("`{name}` is no name for a node"));
            }
            Ok(Admin::Add(name, address))
        }
        "remove" => Ok(Admin::Remove(parse::<Remove>(body)?.name)),
        "transfer" if body.trim().is_empty() => Ok(Admin::Transfer(None)),
        "transfer" => Ok(Admin::Transfer(parse::<Transfer>(body)?.to)),
        "compact" => Ok(Admin::Compact),
        _ => refuse(404, format!("there is no /admin/{what}; see `raftq node --help`")),
    }
}

fn parse<'b, T: Deserialize<'b>>(body: &'b str) -> Result<T, Refused> {
    serde_json::from_str(body).or_else(|e| refuse(400, format!("the body is wrong: {e}")))
}

fn decode(text: &str) -> Result<String, Refused> {
    match percent_decode_str(text).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => refuse(400, "the key is not UTF-8"),
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).and_then(|(_, value)| decode(value).ok())
}

fn respond(request: Request, answer: &Answer) {
    let (status, body) = match answer {
        Answer::Changed(done) => (200, json!({ "done": done })),
        Answer::Value(value) => (200, json!({ "value": value })),
        Answer::Listing(pairs) => {
            let pair = |(key, value): &(String, String)| json!({ "key": key, "value": value });
            (200, json!({ "keys": pairs.iter().map(pair).collect::<Vec<_>>() }))
        }
        Answer::Json(value) => (200, value.clone()),
        Answer::Joined(id) => (200, json!({ "id": id })),
        Answer::NotDone(why) => (503, json!({ "error": why, "outcome": "not done" })),
        Answer::NotLeader(leader) => {
            let error = match leader {
                Some(name) => format!("this node does not lead; ask {name}"),
                None => "there is no leader".to_owned(),
            };
            (503, json!({ "error": error, "outcome": "not done", "leader": leader }))
        }
        Answer::TimedOut => {
            (503, json!({ "error": "the cluster did not decide in time", "outcome": "unknown" }))
        }
    };
    write_json(request, status, &body);
}

fn write_json(request: Request, status: u16, body: &Value) {
    let json = Header::from_bytes("Content-Type", "application/json").expect("a plain header");
    let response = Response::from_string(body.to_string());
    // A client that has gone away needs no answer.
    let _ = request.respond(response.with_status_code(status).with_header(json));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(method: &Method, url: &str, body: &str) -> u16 {
        read_task(method, url, body).expect_err("refused").status
    }

    #[test]
    fn keys_may_have_any_characters() {
        let task = read_task(&Method::Get, "/kv/a%2Fb%20%C3%A9", "").expect("a task");
        let Task::Read(Query::Get(key), false) = task else { panic!("{task:?}") };
        assert_eq!(key, "a/b \u{e9}");
    }

    #[test]
    fn what_means_nothing_is_refused_and_not_done() {
        assert_eq!(told(&Method::Get, "/nowhere", ""), 404);
        assert_eq!(told(&Method::Put, "/kv/k", "{"), 400);
        assert_eq!(told(&Method::Put, "/kv/k", "{\"valu\": \"1\"}"), 400);
        assert_eq!(told(&Method::Get, "/kv/%ff", ""), 400);
    }

    #[test]
    fn leadership_may_be_handed_to_anybody() {
        let admin = |url: &str, body: &str| match read_task(&Method::Post, url, body) {
            Ok(Task::Admin(admin)) => admin,
            other => panic!("{url} {body}: {other:?}"),
        };
        let n2 = Admin::Transfer(Some("n2".into()));
        assert_eq!(admin("/admin/transfer", "{\"to\":\"n2\"}"), n2);
        assert_eq!(admin("/admin/transfer", "{}"), Admin::Transfer(None));
        assert_eq!(admin("/admin/transfer", ""), Admin::Transfer(None));
    }

    #[test]
    fn a_member_needs_a_name_that_fits_a_command_line_and_an_address() {
        let add = |name: &str, address: &str| {
            format!("{{\"name\":\"{name}\",\"address\":\"{address}\"}}")
        };
        for (name, address) in [("", "10.0.0.4:1"), ("a b", "10.0.0.4:1"), ("n4", "host:1")] {
            assert_eq!(told(&Method::Post, "/admin/add", &add(name, address)), 400, "{name}");
        }
        let task = read_task(&Method::Post, "/admin/add", &add("n4", "10.0.0.4:1"));
        let Ok(Task::Admin(Admin::Add(name, _))) = task else { panic!("{task:?}") };
        assert_eq!(name, "n4");
        assert_eq!(told(&Method::Post, "/admin/ad", "{}"), 404);
    }

    #[test]
    fn a_cas_from_null_expects_an_absent_key() {
        let task = read_task(&Method::Post, "/kv/k/cas", "{\"from\":null,\"to\":\"1\"}");
        let Ok(Task::Change(Op::Cas { from: None, .. })) = task else { panic!("{task:?}") };
    }
}
