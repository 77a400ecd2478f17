//! Waiting for several descriptors with nanosecond timeouts and no allocation.

use crate::time::Nanos;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// A fixed set of descriptors to wait for.
///
/// It keeps numbers, not ownership: whoever makes it keeps the descriptors open.
#[derive(Debug)]
pub struct Poller {
    fds: Vec<libc::pollfd>,
}

impl Poller {
    /// A poller of no descriptors.
    #[must_use]
    pub fn new() -> Self {
        Self { fds: Vec::new() }
    }

    /// Adds a descriptor; returns its index.
    pub fn add(&mut self, fd: BorrowedFd<'_>) -> usize {
        let fd: RawFd = fd.as_raw_fd();
        self.fds.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        self.fds.len() - 1
    }

    /// Waits until one is readable or the time is over; returns how many are. A signal
    /// ends the wait early.
    #[expect(unsafe_code, reason = "nix's ppoll wants a slice built anew for every call")]
    pub fn wait(&mut self, timeout: Nanos) -> io::Result<usize> {
        let spec = libc::timespec {
            tv_sec: (timeout.0 / 1_000_000_000).cast_signed(),
            tv_nsec: (timeout.0 % 1_000_000_000).cast_signed(),
        };
        // SAFETY: the array and the timespec live through the call; no signal mask is given.
        let ready = unsafe {
            libc::ppoll(
                self.fds.as_mut_ptr(),
                self.fds.len() as libc::nfds_t,
                &raw const spec,
                std::ptr::null(),
            )
        };
        if let Ok(ready) = usize::try_from(ready) {
            return Ok(ready);
        }
        for fd in &mut self.fds {
            fd.revents = 0;
        }
        match io::Error::last_os_error() {
            e if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            e => Err(e),
        }
    }

    /// Whether the descriptor with that index was readable after the last wait.
    #[must_use]
    pub fn is_ready(&self, index: usize) -> bool {
        self.fds[index].revents != 0
    }
}

impl Default for Poller {
    fn default() -> Self {
        Self::new()
    }
}
