//! A node's processes: the one that was started, and whatever that has started in turn.
//!
//! A node may be a shell script, or fork children of its own; what is done to the node is done
//! to all of them. Three things find them: the process group, which takes a signal as one, so
//! that nobody forks away meanwhile; the session; and a mark in the environment, which a child
//! inherits even where it starts a session of its own. The mark names the owner
//! ([`crate::owner`]), so that what outlives a SIGKILL of raftq is found by
//! [`clean_processes`].
//!
//! Left out: a program that clears its environment **and** starts a new session. Once its owner
//! is gone it is found by its namespace ([`crate::netns::clean_host`]).

use crate::clock::{Deadline, wait_for};
use crate::netns::identity;
use crate::owner::{self, MARK, Owner, Stat};
use crate::process::{END_MAX, Launch, Process, all_pids, has_ended, hold, send};
use crate::{Error, Result};
use nix::sys::signal::Signal;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// How often processes that were told to stand still are looked at.
const STEP: Duration = Duration::from_millis(1);

/// A process and its descendants; dropping it ends them all.
#[derive(Debug)]
pub(crate) struct Family {
    first: Process,
    mark: String,
}

/// How a family ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, as SIGTERM asked it to.
    InTime,
    /// By SIGKILL, when its time was over.
    Killed,
}

impl Family {
    pub(crate) fn spawn(mut launch: Launch) -> Result<Self> {
        let mark = owner::unique("rqnode");
        launch.env.push((MARK.into(), mark.clone()));
        Ok(Self { first: Process::spawn(launch)?, mark })
    }

    /// What becomes readable when the process ends that was started.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        self.first.pidfd()
    }

    /// SIGKILL to all; returns when none is left, and their sockets with them.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.first.signal_group(Signal::SIGKILL)?;
        // Others are looked for while its number, not yet reaped, still names the session.
        self.first.ends_within(END_MAX);
        self.end_others()?;
        self.first.wait(END_MAX)
    }

    /// SIGTERM to all, and SIGKILL to what is left after `patience`.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<Ending> {
        let deadline = Deadline::after(patience);
        self.signal(Signal::SIGTERM)?;
        // A stopped process acts on no signal but SIGKILL until it goes on.
        self.signal(Signal::SIGCONT)?;
        let in_time = has_ended(self.pidfd(), deadline)
            && self.others().iter().all(|(_, other)| has_ended(other, deadline));
        self.kill()?;
        Ok(if in_time { Ending::InTime } else { Ending::Killed })
    }

    /// Stops all as they stand, and returns when they do.
    pub(crate) fn pause(&self) -> Result<()> {
        let name = format!("{} to stop", self.first.launch().name);
        wait_for(&name, END_MAX, STEP, || {
            if let Err(error) = self.signal(Signal::SIGSTOP) {
                return Some(Err(error));
            }
            let first = Stat::of(self.first.pid()).filter(|stat| stat.lives());
            let others = self.others();
            let others = others.iter().filter_map(|(pid, _)| Stat::of(*pid));
            first.into_iter().chain(others).all(Stat::is_stopped).then_some(Ok(()))
        })?
    }

    /// Lets all go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// How the process ended that was started, if it has. What it leaves of others is ended
    /// with it: a node is what was started in the foreground, and its ports are free again.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if !self.first.ends_within(Duration::ZERO) {
            return None;
        }
        // One that cannot be ended is told by the next start, which finds a port in use.
        let _ = self.first.signal_group(Signal::SIGKILL);
        let _ = self.end_others();
        self.first.ended()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.first.signal_group(signal)?;
        for (_, other) in self.others() {
            // Some are in the group, and had it already; one that has gone needs none.
            let _ = send(&other, signal);
        }
        Ok(())
    }

    /// All that live but the first.
    fn others(&self) -> Vec<(u32, OwnedFd)> {
        let session = self.first.session().map(nix::unistd::Pid::as_raw);
        let first = self.first.pid();
        find(|pid| {
            let in_session = |stat: Stat| i32::try_from(stat.session).ok() == session;
            let ours = || mark_of(pid).is_some_and(|mark| mark == self.mark);
            pid != first && (Stat::of(pid).is_some_and(in_session) || ours())
        })
    }

    fn end_others(&self) -> Result<()> {
        end_all(|| self.others(), |_| {})
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if self.first.session().is_some() {
            let _ = self.kill();
        }
    }
}

/// Ends the processes of nodes whose owner is gone, wherever they are, and names them. Those of
/// living owners, and other people's, are not touched.
pub fn clean_processes() -> Result<Vec<String>> {
    // Names of owners are process ids of one namespace of processes: in a container's they mean
    // somebody else.
    let numbers = |pid: &str| identity(&PathBuf::from(format!("/proc/{pid}/ns/pid")));
    let own = numbers("self");
    let orphans = || {
        find(|pid| {
            let owner = mark_of(pid).and_then(|mark| Owner::of(&mark));
            owner.is_some_and(|owner| !owner.lives()) && numbers(&pid.to_string()) == own
        })
    };
    let mut ended = Vec::new();
    end_all(orphans, |pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        ended.push(format!("process {pid} ({})", name.trim()));
    })?;
    Ok(ended)
}

/// Living processes that belong, each held so that its number cannot come to mean another one;
/// never this one.
fn find(belongs: impl Fn(u32) -> bool) -> Vec<(u32, OwnedFd)> {
    let own = std::process::id();
    let belongs = |pid| Stat::of(pid).is_some_and(Stat::lives) && belongs(pid);
    let held = |pid: u32| {
        // Looked at again once it is held: only then the number surely means what was seen.
        let pidfd = belongs(pid).then(|| hold(pid)).flatten()?;
        belongs(pid).then_some((pid, pidfd))
    };
    all_pids().filter(|pid| *pid != own).filter_map(held).collect()
}

/// SIGKILL to what is found, again until nothing is: a process may fork while others die.
fn end_all(find: impl Fn() -> Vec<(u32, OwnedFd)>, mut told: impl FnMut(u32)) -> Result<()> {
    let deadline = Deadline::after(END_MAX);
    loop {
        let found = find();
        if found.is_empty() {
            return Ok(());
        }
        if deadline.passed() {
            let pids: Vec<String> = found.iter().map(|(pid, _)| pid.to_string()).collect();
            return Err(Error::new(format!(
                "{} did not end by SIGKILL within {END_MAX:?}; what do they wait for? \
                 /proc/PID/stack says it",
                pids.join(", ")
            )));
        }
        for (pid, pidfd) in &found {
            told(*pid);
            let _ = send(pidfd, Signal::SIGKILL);
        }
        for (_, pidfd) in &found {
            has_ended(pidfd, deadline);
        }
    }
}

/// The mark in the environment that a process was started with.
fn mark_of(pid: u32) -> Option<String> {
    let environment = fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).ok()?;
    let mut said = environment.split(|byte| *byte == 0);
    let mark = said.find_map(|one| one.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(mark.to_vec()).ok()
}
