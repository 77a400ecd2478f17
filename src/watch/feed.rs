//! The threads that ask the control socket: one looks twice a second, one switches. So a raftq that
//! is slow, or stopped, delays no key.

use crate::run::api::{JSON, To};
use crate::run::client::{self, Failed, path_of_rule};
use crate::run::snapshot::Snapshot;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often the view looks.
pub const EVERY: Duration = Duration::from_millis(500);

/// Looks that wait to be drawn; further ones wait to be made.
const WAITING: usize = 8;

/// Who asks.
pub const COMMAND: &str = "raftq watch";

/// What comes of asking.
#[derive(Clone, Debug)]
pub enum Fed {
    /// A look.
    Look(Box<Snapshot>),
    /// There was none, for this reason; there may be others.
    Late(String),
    /// Nobody is there any more.
    Over(String),
    /// A rule was switched: since when it is in force; or why not.
    Switched(Result<String, String>),
}

/// The hold on both threads. They end when it is dropped, each when its call is answered.
#[derive(Debug)]
pub struct Feed {
    /// What they tell.
    pub fed: Receiver<Fed>,
    looks: Sender<usize>,
    switches: Sender<(String, To)>,
}

impl Feed {
    /// Starts them.
    pub fn start(socket: &Path) -> io::Result<Self> {
        let (tell, fed) = bounded(WAITING);
        let (looks, wanted) = bounded::<usize>(WAITING);
        let (switches, asked) = unbounded::<(String, To)>();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
        };
        let (path, told) = (socket.to_owned(), tell.clone());
        spawn("watch-looks", Box::new(move || keep_looking(&path, &wanted, &told)))?;
        let path = socket.to_owned();
        spawn("watch-switches", Box::new(move || keep_switching(&path, &asked, &tell)))?;
        Ok(Self { fed, looks, switches })
    }

    /// Looks at once, and from here on with rules from that one on.
    pub fn look(&self, rules_from: usize) {
        // Where as many looks wait already, one of them will do.
        let _ = self.looks.try_send(rules_from);
    }

    /// Switches a rule.
    pub fn switch(&self, name: String, to: To) {
        let _ = self.switches.send((name, to));
    }
}

/// One look, as it came.
pub fn look(socket: &Path, rules_from: usize) -> Result<Value, Failed> {
    client::call(COMMAND, socket, "GET", &format!("/v1/watch?rules_from={rules_from}"), None)
}

fn keep_looking(socket: &Path, wanted: &Receiver<usize>, tell: &Sender<Fed>) {
    let mut from = 0;
    loop {
        let fed = match look(socket, from) {
            Ok(value) => match serde_json::from_value(value) {
                Ok(look) => Fed::Look(Box::new(look)),
                Err(e) => Fed::Over(format!("this raftq tells things of another version ({e})")),
            },
            Err(failed) if failed.is_gone => Fed::Over("raftq has ended".into()),
            // While it detaches it says so.
            Err(failed) => Fed::Late(plain(failed.why)),
        };
        let over = matches!(fed, Fed::Over(_));
        if tell.send(fed).is_err() || over {
            return;
        }
        match wanted.recv_timeout(EVERY) {
            Ok(next) => from = wanted.try_iter().last().unwrap_or(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn keep_switching(socket: &Path, asked: &Receiver<(String, To)>, tell: &Sender<Fed>) {
    while let Ok((name, to)) = asked.recv() {
        let body = json!({ "switch": to }).to_string();
        let body = Some((JSON, body.as_bytes()));
        let answer = client::call(COMMAND, socket, "POST", &path_of_rule(&name), body);
        let told = answer.map(|answer| in_force(&answer)).map_err(|failed| plain(failed.why));
        if tell.send(Fed::Switched(told)).is_err() {
            return;
        }
    }
}

fn in_force(answer: &Value) -> String {
    let seconds = |key: &str| answer[key].as_f64().map(|s| format!("{s:.3} s"));
    let until = seconds("until_s").map_or(String::new(), |until| format!(", until {until}"));
    format!(
        "\"{}\" is {} since {}{until}",
        answer["rule"].as_str().unwrap_or_default(),
        answer["switched"].as_str().unwrap_or_default(),
        seconds("in_force_s").unwrap_or_default(),
    )
}

/// On a screen nobody has to be told which command speaks.
fn plain(why: String) -> String {
    match why.strip_prefix(COMMAND).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) => rest.to_owned(),
        None => why,
    }
}
