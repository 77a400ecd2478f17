//! JSON calls to nodes, made from inside a namespace.
//!
//! A socket belongs to the namespace of the thread that opened it, so each [`Client`] is one
//! thread that has entered its namespace and serves calls in turn. Every call has its own limit
//! and a connection of its own; none is ever repeated, redirected or sent through a proxy:
//! whoever judges a history has to know what was asked how often. What a failed call means for
//! a write is told apart by [`CallError`].

use crate::error::Context;
use crate::netns::enter;
use crate::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Answers of nodes are small; more than this is somebody else's port.
const ANSWER_MAX_BYTES: u64 = 4 << 20;

/// Why a call has no good answer, by what that says about its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Nothing reached the node (refused, no route): it surely had no effect.
    NotSent(String),
    /// The node answered with this HTTP status; the text is the answer's beginning.
    Refused(u16, String),
    /// Sent, and then nothing or half an answer: it may have had its effect or still get it.
    Unknown(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Refused(status, text) => write!(f, "HTTP {status}: {text}"),
            Self::Unknown(why) => write!(f, "unknown outcome: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// One client: a thread in a namespace, making one call at a time. Ends when dropped.
#[derive(Debug)]
pub struct Client {
    calls: Sender<Call>,
}

/// A call under way.
#[derive(Debug)]
pub struct Pending(Receiver<std::result::Result<Value, CallError>>);

#[derive(Debug)]
struct Call {
    url: String,
    body: Value,
    limit: Duration,
    done: Sender<std::result::Result<Value, CallError>>,
}

impl Client {
    /// A client in the namespace of the file `netns`, or in the caller's own.
    pub fn new(netns: Option<&Path>) -> Result<Self> {
        let (calls, todo) = unbounded();
        let (ready, started) = bounded(1);
        let netns = netns.map(PathBuf::from);
        let work = move || {
            let entered = netns.as_deref().map_or(Ok(()), enter);
            let usable = entered.is_ok();
            let _ = ready.send(entered);
            if usable {
                serve(&todo);
            }
        };
        let thread = std::thread::Builder::new().name("client".into());
        thread.spawn(work).context(|| "starting a client's thread".into())?;
        started.recv().unwrap_or_else(|_| Err(Error::new("a client's thread ended at once")))?;
        Ok(Self { calls })
    }

    /// POSTs `body` and waits for the JSON answer, `limit` at most.
    pub fn post(
        &self,
        url: &str,
        body: Value,
        limit: Duration,
    ) -> std::result::Result<Value, CallError> {
        self.start(url, body, limit).wait()
    }

    /// The same without waiting, so that several clients can be asked at once.
    #[must_use]
    pub fn start(&self, url: &str, body: Value, limit: Duration) -> Pending {
        let (done, answer) = bounded(1);
        let call = Call { url: url.into(), body, limit, done };
        // A thread that is gone drops the call, and `wait` says so.
        let _ = self.calls.send(call);
        Pending(answer)
    }
}

impl Pending {
    /// The answer; the call's own limit bounds the wait.
    pub fn wait(self) -> std::result::Result<Value, CallError> {
        self.0.recv().unwrap_or_else(|_| Err(CallError::Unknown("the client is gone".into())))
    }
}

fn serve(todo: &Receiver<Call>) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        // A kept connection may be dead, and a call on a dead one would have an unknown outcome.
        .max_idle_connections(0)
        .build()
        .into();
    for call in todo {
        let answer = post(&agent, &call);
        let _ = call.done.send(answer);
    }
}

fn post(agent: &ureq::Agent, call: &Call) -> std::result::Result<Value, CallError> {
    let request = agent.post(&call.url).config().timeout_global(Some(call.limit)).build();
    let mut answer = request.send_json(&call.body).map_err(|error| told(&error))?;
    let status = answer.status();
    let text = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_MAX_BYTES)
        .read_to_string()
        .map_err(|error| CallError::Unknown(error.to_string()))?;
    if !status.is_success() {
        return Err(CallError::Refused(status.as_u16(), text.chars().take(200).collect()));
    }
    serde_json::from_str(&text).map_err(|error| CallError::Unknown(format!("no JSON: {error}")))
}

fn told(error: &ureq::Error) -> CallError {
    let why = error.to_string();
    if surely_not_sent(error) { CallError::NotSent(why) } else { CallError::Unknown(why) }
}

/// Only what surely happened before the first byte went out.
pub(crate) fn surely_not_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(cause) => matches!(
            cause.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable
        ),
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound | ureq::Error::BadUri(_) => true,
        ureq::Error::Timeout(stage) => matches!(stage, ureq::Timeout::Connect),
        _ => false,
    }
}
