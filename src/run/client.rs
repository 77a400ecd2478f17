//! Asking a raftq that runs, by its control socket: which one is meant, and what it answers.
//!
//! Errors are sentences for whoever typed a command, and begin with it.

use super::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::kernel::caller::{self, Question};
use crate::kernel::{door, record};
use crate::time::Nanos;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// How long raftq may take; it answers within 5 s, unless it is stopped.
const LIMIT: Nanos = Nanos::from_secs(10);

/// The same where it is only asked who it is.
const SOON: Nanos = Nanos::from_secs(2);

/// Why there is no answer to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The exit code.
    pub code: u8,
    /// What is said.
    pub why: String,
    /// Whether nobody is there, or not any more.
    pub is_gone: bool,
}

impl Failed {
    /// That is all there is to say.
    #[must_use]
    pub fn new(code: u8, why: String) -> Self {
        Self { code, why, is_gone: false }
    }
}

/// The path of a rule.
#[must_use]
pub fn path_of_rule(name: &str) -> String {
    format!("/v1/rules/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// The control socket that is meant: that of this run, or the only one there is. `command` is who
/// asks, such as `raftq rules`.
pub fn find(command: &str, run: Option<&str>) -> Result<PathBuf, Failed> {
    let folder = record::folder();
    let failed = |why: String| Failed::new(ENVIRONMENT, format!("{command}: {why}"));
    let nobody = || Failed {
        is_gone: true,
        ..failed(
            "no raftq runs on this host; start one: sudo raftq --rules FILE, or raftq run \
             SCENARIO.yaml"
                .into(),
        )
    };
    let all = door::sockets().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => nobody(),
        io::ErrorKind::PermissionDenied => failed(format!(
            "{} is for raftq's own user; ask as that user: sudo {command} ...",
            folder.display()
        )),
        _ => failed(format!("{} cannot be read ({e})", folder.display())),
    })?;
    let mut living = Vec::new();
    for (id, path) in all.into_iter().filter(|(id, _)| run.is_none_or(|run| run == id)) {
        let question = Question { method: "GET", target: "/v1/status", body: None };
        match caller::ask(&path, &question, SOON) {
            Ok((_, body)) => {
                let status: Value = serde_json::from_slice(&body).unwrap_or_default();
                living.push((id, path, who(&status)));
            }
            // A killed one, of which `raftq clean` removes the rest.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                living.push((id, path, "does not answer; is it stopped (Ctrl-Z)?".into()));
            }
            Err(e) => living.push((id, path, e.to_string())),
        }
    }
    match (living.as_slice(), run) {
        ([(_, path, _)], _) => Ok(path.clone()),
        ([], None) => Err(nobody()),
        ([], Some(id)) => Err(failed(format!("no raftq runs as {id}; leave --run out"))),
        (several, _) => {
            let mut why = "several raftqs run; say which one with --run:".to_owned();
            for (id, _, who) in several {
                let _ = write!(why, "\n  --run {id}  {who}");
            }
            Err(failed(why))
        }
    }
}

/// A raftq, for people.
fn who(status: &Value) -> String {
    let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let nodes: Vec<&str> = nodes.iter().filter_map(Value::as_str).collect();
    format!("pid {}, nodes {}", status["pid"], nodes.join(", "))
}

/// Asks one thing; gives the answer where it is one.
pub fn call(
    command: &str,
    socket: &Path,
    method: &str,
    target: &str,
    body: Option<(&str, &[u8])>,
) -> Result<Value, Failed> {
    let failed = |code: u8, why: &str| Failed::new(code, format!("{command}: {why}"));
    let (code, body) =
        caller::ask(socket, &Question { method, target, body }, LIMIT).map_err(|e| {
            let mut is_gone = false;
            let why = match e.kind() {
                io::ErrorKind::TimedOut => {
                    "raftq does not answer; if it is stopped (Ctrl-Z), continue it with `fg`".into()
                }
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    is_gone = true;
                    "raftq has just ended".to_owned()
                }
                _ => format!("the control socket {} does not answer ({e})", socket.display()),
            };
            Failed { is_gone, ..failed(ENVIRONMENT, &why) }
        })?;
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|e| failed(ENVIRONMENT, &format!("the answer makes no sense ({e})")))?;
    if code == 200 {
        return Ok(answer);
    }
    let word = |key: &str| answer[key].as_str().unwrap_or_default();
    let exit = if code < 500 { BAD_INPUT } else { ENVIRONMENT };
    // Errors in a rule file look as they do everywhere.
    Err(match answer["text"].as_str() {
        Some(text) => Failed::new(exit, format!("{text}{command}: {}", word("error"))),
        None => failed(exit, &format!("{}; {}", word("error"), word("way_out"))),
    })
}
