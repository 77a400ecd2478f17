//! Who tells an attached raftq to end, to read its rules again, or to stop: signals, or whoever has
//! the terminal and hears signals itself.

use super::mailbox::Inbox;
use crate::kernel::signals::{Signals, Wish};
use crate::kernel::trouble::Trouble;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Somebody in this process who has the terminal: nothing is written on it, and wishes come by
/// mail.
pub struct Behind<'a> {
    /// What is wished for.
    pub wishes: Inbox<Wish>,
    /// Told the run's id once the control socket is open.
    pub ready: Box<dyn Fn(&str) + 'a>,
}

/// Where wishes come from.
pub(super) enum Wishes<'a> {
    Signals(Signals),
    Mail(&'a Inbox<Wish>),
}

impl<'a> Wishes<'a> {
    /// Signals are blocked from here on, unless somebody else hears them.
    pub(super) fn of(behind: Option<&'a Behind<'_>>) -> Result<Self, Trouble> {
        match behind {
            Some(behind) => Ok(Self::Mail(&behind.wishes)),
            None => Signals::block()
                .map(Self::Signals)
                .map_err(|e| Trouble::new(format!("signals cannot be heard ({e})"), "")),
        }
    }

    /// The next wish, if there is one.
    pub(super) fn next(&self) -> Option<Wish> {
        match self {
            Self::Signals(signals) => signals.next(),
            Self::Mail(inbox) => {
                inbox.open();
                inbox.take()
            }
        }
    }

    /// Stops this process until somebody continues it; who has the terminal does that himself.
    pub(super) fn stop_here(&self) -> io::Result<()> {
        match self {
            Self::Signals(signals) => signals.stop_here(),
            Self::Mail(_) => Ok(()),
        }
    }
}

impl AsFd for Wishes<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Signals(signals) => signals.as_fd(),
            Self::Mail(inbox) => inbox.bell.as_fd(),
        }
    }
}
