//! Calls that are made by running a program: once each, with a limit.
//!
//! The program runs in the namespace of the thread that calls, dies with raftq, and is ended,
//! with whatever it started in its process group, when its time is over: what it did by then
//! nobody knows. Its input is a file in memory, and its output is read while it runs, so that
//! neither side can wait for the other.

use super::answer::{Answered, Silent};
use crate::clock::Deadline;
use crate::process::start_bound;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

/// The most that a program may print: whatever prints more was not asked by us.
const OUTPUT_MAX_BYTES: usize = 16 << 20;

/// Runs a program to its end.
pub(super) fn run(
    program: &Path,
    args: impl Iterator<Item = OsString>,
    stdin: Option<&str>,
    limit: Duration,
) -> Result<Answered, Silent> {
    let deadline = Deadline::after(limit);
    let not_started = |e: io::Error| Silent::NotSent(format!("{}: {e}", program.display()));
    let input = match stdin {
        Some(text) => Stdio::from(in_memory(text).map_err(not_started)?),
        None => Stdio::null(),
    };
    let mut command = std::process::Command::new(program);
    command.args(args).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running(Some(start_bound(command).map_err(not_started)?));
    running.finish(deadline).map_err(|e| Silent::Unknown(format!("{}: {e}", program.display())))
}

fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// A program that is ended when it is dropped.
struct Running(Option<Child>);

impl Running {
    /// Its output and how it ended; an error where it takes too long or says too much.
    fn finish(mut self, deadline: Deadline) -> io::Result<Answered> {
        let child = self.0.as_mut().expect("ended once only");
        let pidfd = pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty())?;
        let mut out = Output::new(child.stdout.take().expect("asked to be a pipe"))?;
        let mut err = Output::new(child.stderr.take().expect("asked to be a pipe"))?;
        loop {
            let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            for output in [&out, &err].into_iter().filter(|output| output.open) {
                fds.push(PollFd::new(output.pipe.as_fd(), PollFlags::POLLIN));
            }
            // A signal may end the wait early; then nothing is readable.
            let _ = poll(&mut fds, deadline.poll_timeout());
            let ended = fds[0].any().unwrap_or(false);
            // What it printed before it ended is in the pipes by now.
            out.take()?;
            err.take()?;
            if ended {
                let status = self.end()?;
                let (stdout, stderr) = (out.text(), err.text());
                return Ok(Answered::Command { exit: status.code(), stdout, stderr });
            }
            if deadline.passed() {
                return Err(io::Error::other("its time was over before it ended"));
            }
        }
    }

    /// Ends what still runs of its process group, which has its number until it is reaped.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.0.take().expect("ended once only");
        if let Ok(pid) = i32::try_from(child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.is_some() {
            let _ = self.end();
        }
    }
}

/// One of its outputs.
struct Output {
    pipe: Box<dyn Pipe>,
    bytes: Vec<u8>,
    open: bool,
}

trait Pipe: Read + AsFd {}
impl<T: Read + AsFd> Pipe for T {}

impl Output {
    fn new(pipe: impl Pipe + 'static) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Box::new(pipe), bytes: Vec::new(), open: true })
    }

    /// Takes what is there.
    fn take(&mut self) -> io::Result<()> {
        let mut part = [0; 16 << 10];
        while self.open {
            match self.pipe.read(&mut part) {
                Ok(0) => self.open = false,
                Ok(n) => self.bytes.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if self.bytes.len() > OUTPUT_MAX_BYTES {
                return Err(io::Error::other("it printed more than 16 MB"));
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
