//! One node: its process, its data, its log, and what was done to it.

use crate::adapter::NodeLaunch;
use crate::error::Context;
use crate::process::{Launch, Process};
use crate::{Error, Result};
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It stands still, and somebody will let it go on.
    Paused,
    /// It was killed, and somebody may start it again.
    Down,
    /// It ended by itself, in the way that the text says.
    Died(String),
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    data: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    state: NodeState,
    starts: u32,
}

impl Node {
    pub(super) fn new(name: &str, data: PathBuf, log: PathBuf) -> Self {
        Self { name: name.to_owned(), data, log, process: None, state: NodeState::Down, starts: 0 }
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
        let process = Process::spawn(Launch {
            name: self.name.clone(),
            program: launch.program,
            args: launch.args,
            env: launch.env,
            netns,
            stdout: self.log.clone(),
            stderr: self.log.clone(),
            ended_by: Signal::SIGKILL,
        })?;
        self.process = Some(process);
        self.state = NodeState::Running;
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        match self.state() {
            NodeState::Running | NodeState::Paused => {}
            other => return Err(self.cannot("be killed", &other)),
        }
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        self.state = NodeState::Down;
        self.note("killed")
    }

    pub(super) fn pause(&mut self) -> Result<()> {
        match (self.state(), &self.process) {
            (NodeState::Running, Some(process)) => process.pause()?,
            (other, _) => return Err(self.cannot("be paused", &other)),
        }
        self.state = NodeState::Paused;
        self.note("paused")
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        match (self.state(), &self.process) {
            (NodeState::Paused, Some(process)) => process.resume()?,
            (other, _) => return Err(self.cannot("be resumed", &other)),
        }
        self.state = NodeState::Running;
        self.note("resumed")
    }

    pub(super) fn wipe(&mut self) -> Result<()> {
        match self.state() {
            NodeState::Down => {}
            other => return Err(self.cannot("be wiped", &other)),
        }
        fs::remove_dir_all(&self.data).context(|| format!("{}: removing its data", self.name))?;
        self.note("its data was removed")
    }

    /// How it is by now.
    pub(super) fn state(&mut self) -> NodeState {
        if matches!(self.state, NodeState::Running | NodeState::Paused)
            && let Some(status) = self.process.as_mut().and_then(Process::ended)
        {
            self.state = NodeState::Died(status.to_string());
        }
        self.state.clone()
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

    /// A line of ours in its log, which otherwise shows restarts only by their effects.
    fn note(&self, what: &str) -> Result<()> {
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context(|| format!("the log {}", self.log.display()))?;
        writeln!(log, "--- raftq: {what}").context(|| format!("the log {}", self.log.display()))
    }
}
