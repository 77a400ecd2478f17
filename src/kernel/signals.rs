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
    /// SIGCONT, which undoes a stop that has not come yet.
    continued: SignalFd,
}

impl Signals {
    /// Blocks them in the calling thread; call before any other thread is started, which
    /// then blocks them, too. So do the children: an `iptables-restore` is not to be
    /// interrupted half-way, and the guardian not by the Ctrl-C that ends raftq.
    ///
    /// SIGTTOU is blocked and heard by nobody: with `stty tostop` a word to the terminal
    /// would stop a raftq in the background, with its rules in place.
    pub fn block() -> io::Result<Self> {
        let wishes =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGTSTP];
        let wishes = SigSet::from_iter(wishes);
        let cont = SigSet::from_iter([Signal::SIGCONT]);
        for set in [&wishes, &cont, &SigSet::from_iter([Signal::SIGTTOU])] {
            set.thread_block()?;
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            fd: SignalFd::with_flags(&wishes, flags)?,
            continued: SignalFd::with_flags(&cont, flags)?,
        })
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

impl Signals {
    /// Stops this process until somebody continues it; does not if somebody has done so
    /// since the last SIGTSTP, which the kernel lets forget every SIGCONT before it.
    pub fn stop_here(&self) -> io::Result<()> {
        if self.was_continued() {
            return Ok(());
        }
        nix::sys::signal::raise(Signal::SIGSTOP)?;
        self.was_continued();
        Ok(())
    }

    fn was_continued(&self) -> bool {
        self.continued.read_signal().is_ok_and(|signal| signal.is_some())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
