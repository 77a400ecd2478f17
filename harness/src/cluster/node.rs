//! One node: its processes, its data, its log, and what was done to it.

use super::deaths::{Change, ChangedTo, Death, Deaths, Start};
use crate::adapter::NodeLaunch;
use crate::clock::now;
use crate::error::Context;
use crate::family::{Ending, Family};
use crate::process::Launch;
use crate::{Error, Result};
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a node has to end once it was asked to.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It stands still, and somebody will let it go on.
    Paused,
    /// It was ended, and somebody may start it again.
    Down,
    /// It ended by itself, in the way that the text says.
    Died(String),
}

/// One node.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
pub(super) struct Node {
    index: usize,
    name: String,
    data: PathBuf,
    log: PathBuf,
    family: Option<Family>,
    state: NodeState,
    starts: u32,
    /// When it was started last.
    started: Duration,
    /// Whether its data was removed since then.
    wiped: bool,
    deaths: Arc<Deaths>,
    /// Whether it belongs to the cluster, as far as it was told.
    pub(super) member: bool,
    /// Whether it was added to a cluster that ran already.
    pub(super) joined: bool,
    /// Whether it is being removed: some systems' nodes end by themselves then.
    pub(super) leaving: bool,
}

impl Node {
    pub(super) fn new(
        (index, name): (usize, &str),
        data: PathBuf,
        log: PathBuf,
        deaths: Arc<Deaths>,
    ) -> Self {
        Self {
            index,
            name: name.to_owned(),
            data,
            log,
            family: None,
            state: NodeState::Down,
            starts: 0,
            started: Duration::ZERO,
            wiped: false,
            deaths,
            member: true,
            joined: false,
            leaving: false,
        }
    }

    pub(super) fn start(&mut self, launch: NodeLaunch, netns: Option<PathBuf>) -> Result<()> {
        match self.state() {
            NodeState::Down | NodeState::Died(_) => {}
            other => return Err(self.cannot("be started", &other)),
        }
        fs::create_dir_all(&self.data).context(|| format!("{}: its data folder", self.name))?;
        for (path, text) in &launch.files {
            fs::write(path, text).context(|| format!("{}: {}", self.name, path.display()))?;
        }
        self.starts += 1;
        self.note(&format!("start {} of {}", self.starts, launch.program.display()))?;
        self.started = now();
        let wiped = std::mem::take(&mut self.wiped);
        self.deaths.starting(&Start { node: self.index, at: self.started, wiped });
        let how = match (self.starts, wiped) {
            (1, _) => "started",
            (_, false) => "started again",
            (_, true) => "started again without its data",
        };
        self.changed(ChangedTo::Started, self.started, how);
        let family = Family::spawn(Launch {
            name: self.name.clone(),
            program: launch.program,
            args: launch.args,
            env: launch.env,
            netns,
            stdout: self.log.clone(),
            stderr: self.log.clone(),
            ended_by: Signal::SIGKILL,
        })?;
        let watched = self.deaths.watch(self.index, family.pidfd());
        self.family = Some(family);
        self.state = NodeState::Running;
        watched
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        match self.state() {
            NodeState::Running | NodeState::Paused => {}
            other => return Err(self.cannot("be killed", &other)),
        }
        if let Some(mut family) = self.family.take() {
            family.kill()?;
        }
        self.state = NodeState::Down;
        self.changed(ChangedTo::Down, now(), "killed");
        self.note("killed")
    }

    /// SIGTERM, and SIGKILL if that was not heard in time, which is then said.
    pub(super) fn stop(&mut self) -> Result<Option<String>> {
        match self.state() {
            NodeState::Running | NodeState::Paused => {}
            other => return Err(self.cannot("be stopped", &other)),
        }
        let ending = self.family.take().map(|mut family| family.stop(STOP_MAX)).transpose()?;
        self.state = NodeState::Down;
        let killed = (ending == Some(Ending::Killed))
            .then(|| format!("it had not ended {STOP_MAX:?} after SIGTERM and was killed"));
        let how = killed.as_deref().unwrap_or("stopped");
        self.changed(ChangedTo::Down, now(), how);
        self.note(how)?;
        Ok(killed)
    }

    pub(super) fn pause(&mut self) -> Result<()> {
        match (self.state(), &self.family) {
            (NodeState::Running, Some(family)) => family.pause()?,
            (other, _) => return Err(self.cannot("be paused", &other)),
        }
        self.state = NodeState::Paused;
        self.changed(ChangedTo::Paused, now(), "paused");
        self.note("paused")
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        match (self.state(), &self.family) {
            (NodeState::Paused, Some(family)) => family.resume()?,
            (other, _) => return Err(self.cannot("be resumed", &other)),
        }
        self.state = NodeState::Running;
        self.changed(ChangedTo::Resumed, now(), "resumed");
        self.note("resumed")
    }

    pub(super) fn wipe(&mut self) -> Result<()> {
        match self.state() {
            NodeState::Down => {}
            other => return Err(self.cannot("be wiped", &other)),
        }
        match fs::remove_dir_all(&self.data) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).context(|| format!("{}: removing its data", self.name))
            }
            _ => {
                self.wiped = true;
                self.note("its data was removed")
            }
        }
    }

    /// It does not belong to the cluster any more. Some systems' nodes end by themselves then;
    /// what still runs is stopped.
    pub(super) fn leave(&mut self) -> Result<Option<String>> {
        self.member = false;
        self.note("removed from the cluster")?;
        let stopped = if self.runs() { self.stop()? } else { None };
        (self.state, self.leaving) = (NodeState::Down, false);
        self.changed(ChangedTo::Removed, now(), "removed from the cluster");
        Ok(stopped)
    }

    /// How it is by now. A death that nobody ordered is told here, and only once.
    pub(super) fn state(&mut self) -> NodeState {
        if matches!(self.state, NodeState::Running | NodeState::Paused)
            && let Some(status) = self.family.as_mut().and_then(Family::ended)
        {
            let how = status.to_string();
            // What cannot be written into its log stands in the events all the same.
            let _ = self.note(&format!("ended by itself: {how}"));
            self.changed(ChangedTo::Down, now(), &format!("ended by itself: {how}"));
            if self.leaving {
                self.state = NodeState::Down;
            } else {
                let how_and_log = format!("{how}; its log ends\n{}", self.log_tail());
                let (node, name) = (self.index, self.name.clone());
                self.deaths.add(Death { node, name, at: now(), how: how_and_log });
                self.state = NodeState::Died(how);
            }
        }
        self.state.clone()
    }

    /// Whether it has a process, paused or not.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.state(), NodeState::Running | NodeState::Paused)
    }

    /// When it was started last.
    pub(super) fn started(&self) -> Duration {
        self.started
    }

    fn changed(&self, to: ChangedTo, at: Duration, how: &str) {
        self.deaths.changed(&Change { node: self.index, at, to, how: how.to_owned() });
    }

    /// A line of ours in its log, which otherwise shows restarts only by their effects.
    pub(super) fn note(&self, what: &str) -> Result<()> {
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context(|| format!("the log {}", self.log.display()))?;
        writeln!(log, "--- raftq: {what}").context(|| format!("the log {}", self.log.display()))
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log, indented.
    pub(super) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        format!("    {}", last.join("\n    "))
    }

    fn cannot(&self, what: &str, state: &NodeState) -> Error {
        let is = match state {
            NodeState::Running => "it runs".to_owned(),
            NodeState::Paused => "it is paused".to_owned(),
            NodeState::Down => "it is down".to_owned(),
            NodeState::Died(how) => format!("it ended by itself ({how})"),
        };
        Error::new(format!("{} cannot {what}: {is}", self.name))
    }
}
