//! Deaths that nobody ordered: noticed when they happen, by the processes' pidfds.
//!
//! One thread waits for all pidfds and makes the node look at itself; what it then finds it
//! tells here, once. A kill that was ordered holds the node's lock until it is done, so that
//! it is never taken for a death.

use super::node::Node;
use crate::Result;
use crate::error::Context;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the thread hears when it has to end; nodes are counted from 0.
const STOP: u64 = u64::MAX;

/// A node that ended without being told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The node, counted from 0.
    pub node: usize,
    /// Its name.
    pub name: String,
    /// When it was noticed, by [`crate::clock::now`].
    pub at: Duration,
    /// How it ended, and the end of its log.
    pub how: String,
}

/// A node that is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The node, counted from 0.
    pub node: usize,
    /// A moment at which its former processes were gone and the new one was not there yet, by
    /// [`crate::clock::now`].
    pub at: Duration,
    /// Whether the data was removed that it had when it ran last.
    pub wiped: bool,
}

/// What became of a node's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The node, counted from 0.
    pub node: usize,
    /// When it was so, by [`crate::clock::now`].
    pub at: Duration,
    /// What.
    pub to: ChangedTo,
    /// In words, such as `killed`.
    pub how: String,
}

/// How a node's process is from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangedTo {
    /// It is about to be started.
    Started,
    /// It stands still.
    Paused,
    /// It goes on.
    Resumed,
    /// It is gone.
    Down,
    /// It is gone, and does not belong to the cluster any more.
    Removed,
}

type Tell = Box<dyn Fn(&Death) + Send>;
type TellStart = Box<dyn Fn(&Start) + Send>;
type TellChange = Box<dyn Fn(&Change) + Send>;

/// All deaths so far, and who wants to hear of them.
pub(super) struct Deaths {
    epoll: Epoll,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    all: Vec<Death>,
    tell: Option<Tell>,
    tell_start: Option<TellStart>,
    tell_change: Option<TellChange>,
}

impl Deaths {
    pub(super) fn new() -> Result<Arc<Self>> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        let epoll = epoll.context(|| "waiting for processes to end".into())?;
        Ok(Arc::new(Self { epoll, heard: Mutex::default() }))
    }

    /// Watches a process of this node, until its pidfd is closed.
    pub(super) fn watch(&self, node: usize, pidfd: &OwnedFd) -> Result<()> {
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        let event = EpollEvent::new(once, node as u64);
        self.epoll.add(pidfd, event).context(|| "watching a node's process".into())
    }

    pub(super) fn add(&self, death: Death) {
        let mut heard = self.heard();
        if let Some(tell) = &heard.tell {
            tell(&death);
        }
        heard.all.push(death);
    }

    /// Told before the process is there, so that whoever hears of it does so before the process
    /// can have done anything.
    pub(super) fn starting(&self, start: &Start) {
        if let Some(tell) = &self.heard().tell_start {
            tell(start);
        }
    }

    pub(super) fn tell_starts(&self, tell: TellStart) {
        self.heard().tell_start = Some(tell);
    }

    /// Told after it has happened, but for a start.
    pub(super) fn changed(&self, change: &Change) {
        if let Some(tell) = &self.heard().tell_change {
            tell(change);
        }
    }

    pub(super) fn tell_changes(&self, tell: TellChange) {
        self.heard().tell_change = Some(tell);
    }

    pub(super) fn all(&self) -> Vec<Death> {
        self.heard().all.clone()
    }

    /// Tells every death from now on, and those there were already.
    pub(super) fn tell(&self, tell: Tell) {
        let mut heard = self.heard();
        heard.all.iter().for_each(&tell);
        heard.tell = Some(tell);
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A list is whole even where somebody who told it has panicked.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deaths").field("all", &self.heard().all).finish_non_exhaustive()
    }
}

/// The thread that waits; ended on drop.
#[derive(Debug)]
pub(super) struct Watchman {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

impl Watchman {
    pub(super) fn start(deaths: &Arc<Deaths>, nodes: &Arc<Vec<Mutex<Node>>>) -> Result<Self> {
        let failed = || "a thread that waits for processes to end".to_owned();
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).context(failed)?;
        deaths.epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP)).context(failed)?;
        let (deaths, nodes) = (Arc::clone(deaths), Arc::clone(nodes));
        let thread = std::thread::Builder::new().name("deaths".into());
        let thread = thread.spawn(move || watch(&deaths.epoll, &nodes)).context(failed)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        let woken = self.stop.write(1);
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            let _ = thread.join();
        }
    }
}

fn watch(epoll: &Epoll, nodes: &[Mutex<Node>]) {
    let mut events = [EpollEvent::empty(); 8];
    loop {
        // Interrupted by a signal, it only waits again.
        let ready = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..ready] {
            if event.data() == STOP {
                return;
            }
            let node = usize::try_from(event.data()).ok().and_then(|i| nodes.get(i));
            if let Some(node) = node {
                node.lock().unwrap_or_else(PoisonError::into_inner).state();
            }
        }
    }
}
