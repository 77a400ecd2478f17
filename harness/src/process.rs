//! Processes that cannot outlive their owner: nodes, and raftq itself.
//!
//! Three things have to hold together. The child starts **inside a namespace**, so `setns` is
//! called between fork and exec: a wrapper such as `ip netns exec` would do it too, but then
//! the death signal below would be the wrapper's. It **dies with its owner**, even by
//! SIGKILL: `PR_SET_PDEATHSIG`, which fires when the spawning *thread* ends, so one
//! thread that lives as long as the process spawns them all. And it has a **session of its
//! own**, so that Ctrl-C at the owner's terminal does not reach it.
//!
//! Signals and waits go through a pidfd, which never means another process of the same number.
//! Output goes to files, so that no pipe can stall a node.

use crate::clock::{Deadline, wait_for};
use crate::error::Context;
use crate::netns::identity;
use crate::owner::Stat;
use crate::{Error, Result};
use crossbeam_channel::{Sender, bounded, unbounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{getppid, setsid};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a process may take to end once it was told to.
pub(crate) const END_MAX: Duration = Duration::from_secs(5);

/// What to start, where, and where its output goes.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What errors call it.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, beside the owner's.
    pub env: Vec<(String, String)>,
    /// The file of the namespace to start in; the owner's own without.
    pub netns: Option<PathBuf>,
    /// Where standard output is appended.
    pub stdout: PathBuf,
    /// Where standard error is appended; may be the same file.
    pub stderr: PathBuf,
    /// What ends it when its guard drops or its owner dies: SIGKILL for a node, SIGTERM for a
    /// program that has something to undo.
    pub ended_by: Signal,
}

/// A running child; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts it, from the one thread that lives throughout.
    pub fn spawn(launch: Launch) -> Result<Self> {
        let failed = || format!("starting {} ({})", launch.name, launch.program.display());
        let command = command(&launch).context(failed)?;
        let mut child = spawn_from_lasting_thread(command).context(failed)?;
        let pid = Pid::from_child(&child);
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Not yet reaped, so the number still means this child.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error).context(failed);
            }
        };
        Ok(Self { launch, child, pidfd, status: None })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was started from.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Sends a signal; one to a process that has ended is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match send(&self.pidfd, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).context(|| format!("{signal} to {}", self.launch.name)),
        }
    }

    /// Sends a signal to its whole process group, as one: nobody forks away meanwhile. Nothing
    /// happens once it was reaped, since its number may mean others then.
    pub(crate) fn signal_group(&self, signal: Signal) -> Result<()> {
        let Some(group) = self.session() else { return Ok(()) };
        match killpg(group, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).context(|| format!("{signal} to {}", self.launch.name)),
        }
    }

    /// The number of its session and its process group; none once it was reaped.
    pub(crate) fn session(&self) -> Option<nix::unistd::Pid> {
        let number = i32::try_from(self.pid()).expect("a process id is positive and small");
        self.status.is_none().then_some(nix::unistd::Pid::from_raw(number))
    }

    /// What becomes readable when it ends.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// SIGKILL, and waits until it is reaped, which takes its sockets along.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait(END_MAX)
    }

    /// Stops it as it stands, and waits until it has; its sockets stay open and its kernel
    /// still acknowledges.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let step = Duration::from_millis(1);
        wait_for(&format!("{} to stop", self.launch.name), END_MAX, step, || {
            Stat::of(self.pid())?.is_stopped().then_some(())
        })
    }

    /// Lets a paused one go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its exit status if it has ended, without waiting.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits until it ends; the error bears the end of its log.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let reaped = self.ends_within(limit).then(|| self.ended()).flatten();
        reaped.ok_or_else(|| {
            let (name, tail) = (&self.launch.name, self.log_tail());
            Error::new(format!("{name} has not ended in {limit:?}:\n{tail}"))
        })
    }

    /// Whether it ends within `limit`. It is not reaped by this, so that its number goes on
    /// meaning it, its group and its session.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        has_ended(&self.pidfd, Deadline::after(limit))
    }

    /// All it has printed to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_lossy(&self.launch.stdout)
    }

    /// All it has printed to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_lossy(&self.launch.stderr)
    }

    /// The last lines of its standard error, indented, for an error's text.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = self.stderr();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        if last.is_empty() {
            return format!("    ({} printed nothing)", self.launch.name);
        }
        format!("    {}", last.join("\n    "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let _ = self.signal(self.launch.ended_by);
        // A stopped process acts on no signal but SIGKILL until it goes on.
        let _ = self.resume();
        if self.wait(END_MAX).is_err() {
            let _ = self.kill();
        }
    }
}

/// The processes that run the program at this absolute path.
#[must_use]
pub fn running(program: &Path) -> Vec<u32> {
    let runs =
        |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    all_pids().filter(runs).collect()
}

/// The processes whose network namespace is the one that `path` stands for.
#[must_use]
pub fn inside_namespace(path: &Path) -> Vec<u32> {
    let Some(wanted) = identity(path) else { return Vec::new() };
    all_pids().filter(|pid| identity(&net_of(*pid)) == Some(wanted)).collect()
}

/// Ends a process that is not our child, provided it still is in the namespace of `path` once
/// its pidfd is open: only then does the number surely mean the process that was found.
pub(crate) fn end_stranger(pid: u32, path: &Path) {
    let Some(pidfd) = hold(pid) else { return };
    if identity(&net_of(pid)).is_some_and(|net| Some(net) == identity(path)) {
        let _ = send(&pidfd, Signal::SIGKILL);
        has_ended(&pidfd, Deadline::after(END_MAX));
    }
}

/// A pidfd of a process that is not our child; none if it is gone.
pub(crate) fn hold(pid: u32) -> Option<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(number, PidfdFlags::empty()).ok()
}

/// Waits until the process behind a pidfd is a zombie or gone; whether it was in time.
pub(crate) fn has_ended(pidfd: &OwnedFd, deadline: Deadline) -> bool {
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        // An interrupted poll only looks once more.
        if poll(&mut fds, deadline.poll_timeout()).is_ok_and(|ready| ready > 0) {
            return true;
        }
        if deadline.passed() {
            return false;
        }
    }
}

/// Every process that this one can see.
pub(crate) fn all_pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn net_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// Sends a signal through a pidfd.
pub(crate) fn send(pidfd: &OwnedFd, signal: Signal) -> nix::Result<()> {
    let signal = rustix::process::Signal::from_named_raw(signal as i32)
        .expect("every signal that nix names has a number");
    pidfd_send_signal(pidfd, signal).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Starts a child that dies with its owner, in the namespace of the calling thread.
pub(crate) fn start_bound(mut command: Command) -> io::Result<Child> {
    without_proxies(&mut command);
    // The spawning thread is another one, which may be elsewhere; whoever is not root is
    // nowhere else.
    let is_root = nix::unistd::geteuid().is_root();
    let netns = is_root.then(|| File::open("/proc/thread-self/ns/net")).transpose()?;
    bind_to_owner(&mut command, netns, Signal::SIGKILL);
    spawn_from_lasting_thread(command)
}

fn command(launch: &Launch) -> io::Result<Command> {
    let append = |path| OpenOptions::new().create(true).append(true).open(path);
    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .stdin(Stdio::null())
        .stdout(append(&launch.stdout)?)
        .stderr(append(&launch.stderr)?);
    without_proxies(&mut command);
    command.envs(launch.env.iter().map(|(name, value)| (name, value)));
    let netns = launch.netns.as_ref().map(File::open).transpose()?;
    bind_to_owner(&mut command, netns, launch.ended_by);
    Ok(command)
}

/// A proxy of the user's would stand between the nodes.
fn without_proxies(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
}

#[expect(unsafe_code, reason = "only the child itself can join a namespace or ask for a signal")]
fn bind_to_owner(command: &mut Command, netns: Option<File>, ended_by: Signal) {
    let owner = nix::unistd::getpid();
    // SAFETY: between fork and exec only system calls are made (sigprocmask, setsid, setns, prctl,
    // getppid): no allocation, no lock, and the file was opened before.
    unsafe {
        command.pre_exec(move || {
            // A mask is inherited, and an owner that waits for signals has blocked some.
            SigSet::empty().thread_set_mask()?;
            setsid()?;
            if let Some(netns) = &netns {
                setns(netns, CloneFlags::CLONE_NEWNET)?;
            }
            set_pdeathsig(ended_by)?;
            // An owner that died before that call has sent no signal, and never will.
            if getppid() == owner { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
}

type Job = (Command, Sender<io::Result<Child>>);

fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let jobs = SPAWNER.get_or_init(|| {
        let (jobs, todo) = unbounded::<Job>();
        let spawner = std::thread::Builder::new().name("spawner".into());
        let work = move || {
            for (mut command, done) in todo {
                let _ = done.send(command.spawn());
            }
        };
        spawner.spawn(work).expect("the host has room for one more thread");
        jobs
    });
    let (done, child) = bounded(1);
    jobs.send((command, done)).expect("the spawner lives as long as the process");
    child.recv().expect("the spawner answers every job")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Scratch;

    fn sleeper(scratch: &Scratch) -> Launch {
        Launch {
            name: "sleep".into(),
            program: "sleep".into(),
            args: vec!["60".into()],
            netns: None,
            stdout: scratch.path().join("out"),
            stderr: scratch.path().join("err"),
            env: Vec::new(),
            ended_by: Signal::SIGKILL,
        }
    }

    /// The only test here that spawns, so that the spawner's thread inherits this one's mask.
    #[test]
    fn a_child_takes_signals_that_its_owner_blocks() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.thread_block().expect("a mask");
        let scratch = Scratch::new("rqunit").expect("a folder");
        let mut child = Process::spawn(sleeper(&scratch)).expect("sleep exists");
        assert_eq!(child.ended(), None);
        child.signal(Signal::SIGTERM).expect("SIGTERM");
        let status = child.wait(END_MAX).expect("it ends");
        assert!(!status.success());
        child.signal(Signal::SIGTERM).expect("a signal to one that has ended is no error");
    }
}
