//! Signals as something to poll: blocked for all threads, read from a descriptor.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What somebody wants of raftq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Detach and end.
    End,
    /// Read the rules again.
    Reload,
    /// Detach, then stop (Ctrl-Z).
    Stop,
}

/// The signals that raftq hears.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks them in the calling thread; call before any other thread is started, which
    /// then blocks them, too. So do the children: an `iptables-restore` is not to be
    /// interrupted half-way, and the guardian not by the Ctrl-C that ends raftq.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTSTP]
        {
            set.add(signal);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd })
    }

    /// The next wish, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Wish> {
        let info = self.fd.read_signal().ok().flatten()?;
        Some(match Signal::try_from(info.ssi_signo.cast_signed()) {
            Ok(Signal::SIGHUP) => Wish::Reload,
            Ok(Signal::SIGTSTP) => Wish::Stop,
            _ => Wish::End,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Stops this process until somebody continues it.
pub fn stop_here() -> io::Result<()> {
    nix::sys::signal::raise(Signal::SIGSTOP)?;
    Ok(())
}
