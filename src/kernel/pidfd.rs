//! Signals to processes that raftq did not start, and a note of those that it has stopped.
//!
//! A signal goes through a pidfd, which never means another process of the same number. Who is
//! stopped stands in a file beside raftq's record before SIGSTOP is sent, so that the guardian
//! or `raftq clean` lets them go on when raftq cannot.

use super::process;
use super::record;
use crate::time::Nanos;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use rustix::process::Signal;

/// One process, for as long as this lives.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    who: Known,
}

/// A process as it can be found again: its number, and when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    pid: u32,
    start_time: u64,
}

impl Pidfd {
    /// The process that has this number now.
    pub fn open(pid: u32) -> io::Result<Self> {
        let gone = || io::Error::from(Errno::SRCH);
        let number = Pid::from_raw(pid.cast_signed()).ok_or_else(gone)?;
        let fd = pidfd_open(number, PidfdFlags::empty())?;
        let stat = process::stat(pid).filter(|stat| !stat.ending).ok_or_else(gone)?;
        Ok(Self { fd, who: Known { pid, start_time: stat.start_time } })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.who.pid
    }

    /// Sends a signal; one to a process that has ended is no error.
    pub fn send(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether it ends within this time; its sockets are closed by then.
    #[must_use]
    pub fn ends_within(&self, limit: Nanos) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit.0.div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, limit).is_ok_and(|ready| ready > 0)
    }

    /// Whether none of its threads runs any more.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.who.pid));
        let stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // One that ended meanwhile does not run either.
            stat.rsplit_once(')').is_none_or(|(_, rest)| {
                matches!(rest.trim_start().chars().next(), Some('T' | 't' | 'Z' | 'X'))
            })
        };
        tasks.is_ok_and(|tasks| tasks.flatten().all(stopped))
    }
}

/// The processes that this raftq has stopped.
#[derive(Debug)]
pub struct Paused {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the node it belongs to.
    held: Vec<(usize, Pidfd)>,
    /// Whether nobody may be stopped, because raftq lets the cluster go.
    closed: bool,
}

impl Paused {
    /// Those of the run with this id: none so far.
    #[must_use]
    pub fn new(run_id: &str) -> Self {
        Self { path: path_of(run_id), state: Mutex::default() }
    }

    /// Stops the processes of a node, having written down whom. They may not stand still yet.
    pub fn stop(&self, node: usize, processes: Vec<Pidfd>) -> io::Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::Error::other("raftq lets the cluster go"));
        }
        state.held.extend(processes.into_iter().map(|process| (node, process)));
        let of_node = |held: &&(usize, Pidfd)| held.0 == node;
        let stopped = write(&self.path, &state.held).and_then(|()| {
            state.held.iter().filter(of_node).try_for_each(|p| p.1.send(Signal::STOP))
        });
        if stopped.is_err() {
            let _ = self.go_on(&mut state, |of| of == node);
        }
        stopped
    }

    /// Whether the processes of a node are stopped, and all stand still.
    #[must_use]
    pub fn stand_still(&self, node: usize) -> bool {
        let state = self.lock();
        state.held.iter().filter(|held| held.0 == node).all(|held| held.1.stands_still())
    }

    /// Whether processes of a node are stopped.
    #[must_use]
    pub fn has(&self, node: usize) -> bool {
        self.lock().held.iter().any(|held| held.0 == node)
    }

    /// Lets the processes of a node go on; how many that were.
    pub fn resume(&self, node: usize) -> io::Result<usize> {
        self.go_on(&mut self.lock(), |of| of == node)
    }

    /// Lets everybody go on, and stops nobody until [`Paused::open`]; how many that were.
    pub fn close(&self) -> io::Result<usize> {
        let mut state = self.lock();
        state.closed = true;
        self.go_on(&mut state, |_| true)
    }

    /// Nodes may be stopped again.
    pub fn open(&self) {
        self.lock().closed = false;
    }

    /// Whoever got no signal stays noted.
    fn go_on(&self, state: &mut State, of: impl Fn(usize) -> bool) -> io::Result<usize> {
        let before = state.held.len();
        let mut failed = Ok(());
        state.held.retain(|(node, process)| {
            let sent = if of(*node) { process.send(Signal::CONT) } else { return true };
            let keep = sent.is_err();
            failed = std::mem::replace(&mut failed, Ok(())).and(sent);
            keep
        });
        let count = before - state.held.len();
        if count > 0 {
            write(&self.path, &state.held)?;
        }
        failed.map(|()| count)
    }

    /// What a thread that panicked left is as true as before.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go on whoever the run with this id has stopped, in its stead; how many that were. Those
/// that are not the same process any more are left alone.
pub fn resume_all(run_id: &str) -> io::Result<usize> {
    let path = path_of(run_id);
    let known: Vec<Known> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return remove(&path).map(|()| 0),
        Err(e) => return Err(e),
    };
    let mut count = 0;
    for who in known {
        let Ok(process) = Pidfd::open(who.pid) else { continue };
        if process.who == who {
            process.send(Signal::CONT)?;
            count += 1;
        }
    }
    remove(&path)?;
    Ok(count)
}

/// Forgets whom the run with this id has stopped: a reboot has ended them.
pub fn forget_all(run_id: &str) -> io::Result<()> {
    remove(&path_of(run_id))
}

/// The guardian may have been faster. A half file is of a raftq that died while it wrote, before
/// it stopped anybody.
fn remove(path: &Path) -> io::Result<()> {
    let _ = fs::remove_file(path.with_extension("half"));
    fs::remove_file(path).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })
}

fn path_of(run_id: &str) -> PathBuf {
    record::folder().join(format!("{run_id}.paused"))
}

/// Replaced by renaming, so that a reader never sees half of it; none where nobody is stopped.
fn write(path: &Path, held: &[(usize, Pidfd)]) -> io::Result<()> {
    if held.is_empty() {
        return remove(path);
    }
    let half = path.with_extension("half");
    let mut options = fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    let known: Vec<Known> = held.iter().map(|(_, process)| process.who).collect();
    serde_json::to_writer(&mut file, &known)?;
    file.write_all(b"\n")?;
    fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_met_for_as_long_as_it_lives_and_no_other_after_it() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep runs");
        let process = Pidfd::open(child.id()).expect("it lives");
        assert!(!process.ends_within(Nanos::ZERO));
        process.send(Signal::KILL).expect("sent");
        assert!(process.ends_within(Nanos::from_secs(10)));
        child.wait().expect("reaped");
        process.send(Signal::KILL).expect("nobody is met");
        assert!(Pidfd::open(child.id()).is_err());
    }
}
