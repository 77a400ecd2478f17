//! How other threads talk to the loop without making it wait.
//!
//! Bounded channels whose ends only ever `try_`: with nobody blocked on them they take no
//! lock. A flag, looked at once a batch, says that there is something to read; an eventfd
//! wakes the loop when no packet does.

use crate::engine::{Answer, Edge, Prepared, Question, Silenced, Turned};
use crate::packet::{Endpoint, NodeId};
use crate::rules::table::NodeBits;
use crate::time::Nanos;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the loop is told.
#[derive(Debug)]
pub enum Order {
    /// The rules' clock starts now, or goes on from the time given; these connections are
    /// known already, as `(dialling end, peer end, who dialled)`.
    Start(Vec<(Endpoint, Endpoint, Answer)>, Option<Nanos>),
    /// A table comes into force.
    Adopt(Box<Prepared>),
    /// Who holds a socket.
    Answered(Question, Answer),
    /// Nothing to or from these nodes passes, for the fault of this index; what is held of them
    /// is dropped, too, where the last says so.
    Silence(u16, NodeBits, bool),
    /// A fault no longer needs a node's silence.
    EndSilence(u16, NodeId),
    /// Release everything and accept from now on.
    Drain,
    /// End, once the queues are empty.
    Stop,
}

/// What the loop tells.
#[derive(Debug)]
pub enum Report {
    /// The clock started.
    Started(Nanos),
    /// The table is in force since then, with these of its rules active; here is the former
    /// one, to be freed.
    Adopted(Nanos, Vec<u16>, Box<Prepared>),
    /// A rule started or ended.
    Edge(Edge),
    /// Nodes are silent, by a packet or by order: what is to be done to them may be done.
    Silenced(Silenced),
    /// The silence of a node for this fault is over since then, on the rules' clock.
    SilenceOver(u16, NodeId, Nanos),
    /// A message showed that something changed: a term, an election, a leader.
    Turned(Turned),
    /// Everything is released.
    Drained(Nanos),
}

/// A bell that one side rings and another polls.
#[derive(Clone, Debug)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Makes the other side's poll return. Cannot fail but where the bell has been rung
    /// 2^64 times and never been heard.
    pub fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Silences it.
    pub fn hush(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A bounded channel with a bell.
#[derive(Debug)]
pub struct Post<T> {
    sender: Sender<T>,
    bell: Bell,
    flag: Arc<AtomicBool>,
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bell: self.bell.clone(), flag: Arc::clone(&self.flag) }
    }
}

/// The receiving end of a [`Post`].
#[derive(Debug)]
pub struct Inbox<T> {
    receiver: Receiver<T>,
    /// Rings when something was posted.
    pub bell: Bell,
    flag: Arc<AtomicBool>,
}

/// A channel for at most `capacity` letters.
pub fn post<T>(capacity: usize) -> io::Result<(Post<T>, Inbox<T>)> {
    let (sender, receiver) = bounded(capacity);
    let bell = Bell::new()?;
    let flag = Arc::new(AtomicBool::new(false));
    let outer = Post { sender, bell: bell.clone(), flag: Arc::clone(&flag) };
    Ok((outer, Inbox { receiver, bell, flag }))
}

impl<T> Post<T> {
    /// Posts a letter, or gives it back where the box is full or gone.
    pub fn send(&self, letter: T) -> Result<(), T> {
        match self.sender.try_send(letter) {
            Ok(()) => {
                self.flag.store(true, Ordering::Release);
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(letter) | TrySendError::Disconnected(letter)) => Err(letter),
        }
    }
}

impl<T> Inbox<T> {
    /// Whether there may be a letter: one load.
    #[inline]
    #[must_use]
    pub fn may_have(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// Takes the flag down and silences the bell; call before reading.
    pub fn open(&self) {
        self.flag.store(false, Ordering::Release);
        self.bell.hush();
    }

    /// The next letter, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Whether nobody can post any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.flag) == 1
    }
}
