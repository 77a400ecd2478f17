//! Waiting for several descriptors with nanosecond timeouts and no allocation.
//!
//! An epoll set: a wait costs the same for one queue or fifty, and half of what a `ppoll`
//! with a timeout costs, since neither wait queues nor a timer have to be set up each time.

use crate::time::Nanos;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A set of descriptors to wait for.
///
/// Whoever adds one keeps it open as long as the poller lives.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    ready: Vec<bool>,
}

impl Poller {
    /// A poller of no descriptors.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: Vec::new(), ready: Vec::new() })
    }

    /// Adds a descriptor; returns its index.
    pub fn add(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let index = self.ready.len();
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        self.ready.push(false);
        self.events.push(EpollEvent::empty());
        Ok(index)
    }

    /// Waits until one is readable, broken or closed, or the time is over; returns how many
    /// are. [`Nanos::MAX`] waits for ever. A signal ends the wait early.
    pub fn wait(&mut self, timeout: Nanos) -> io::Result<usize> {
        self.ready.fill(false);
        let count = match wait(&self.epoll, &mut self.events, timeout) {
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
        };
        for event in self.events.iter().take(count) {
            self.ready[event.data() as usize] = true;
        }
        Ok(count)
    }

    /// Whether the descriptor with that index was readable after the last wait.
    #[must_use]
    pub fn is_ready(&self, index: usize) -> bool {
        self.ready[index]
    }
}

/// Becomes readable at regular times, whether anybody looks or not.
#[derive(Debug)]
pub struct Pulse(TimerFd);

impl Pulse {
    /// Beats from now on, once every `period`.
    pub fn every(period: Nanos) -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let period = Duration::from_nanos(period.0).into();
        timer.set(Expiration::Interval(period), TimerSetTimeFlags::empty())?;
        Ok(Self(timer))
    }

    /// Silences it until the next beat.
    pub fn hush(&self) {
        // Fails only where it has not beaten, and then it is silent.
        let _ = self.0.wait();
    }
}

impl AsFd for Pulse {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(unsafe_code, reason = "nix waits in milliseconds only")]
fn wait(epoll: &Epoll, events: &mut [EpollEvent], timeout: Nanos) -> io::Result<usize> {
    let fd: RawFd = epoll.0.as_raw_fd();
    let spec = timespec(timeout);
    let spec = if timeout == Nanos::MAX { std::ptr::null() } else { &raw const spec };
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    let events: *mut libc::epoll_event = events.as_mut_ptr().cast();
    // SAFETY: EpollEvent is a transparent epoll_event, and `room` of them lie at `events`;
    // the timespec, where there is one, lives through the call; no mask is given.
    let count = unsafe { libc::epoll_pwait2(fd, events, room, spec, std::ptr::null()) };
    if let Ok(count) = usize::try_from(count) {
        return Ok(count);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) {
        return Err(error);
    }
    // Kernels before 5.11: wait for the set itself, then ask it.
    let mut set = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd; the timespec as above.
    if unsafe { libc::ppoll(&raw mut set, 1, spec, std::ptr::null()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as for epoll_pwait2.
    let count = unsafe { libc::epoll_wait(fd, events, room, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sleeps, for whoever knows that nothing can be missed by it; a signal ends it early.
#[expect(unsafe_code, reason = "a poll of nothing, with a timeout in nanoseconds")]
pub fn pause(time: Nanos) {
    let spec = timespec(time);
    // SAFETY: no descriptors, no mask; the timespec lives through the call.
    unsafe { libc::ppoll(std::ptr::null_mut(), 0, &raw const spec, std::ptr::null()) };
}

fn timespec(time: Nanos) -> libc::timespec {
    libc::timespec {
        tv_sec: (time.0 / 1_000_000_000).cast_signed(),
        tv_nsec: (time.0 % 1_000_000_000).cast_signed(),
    }
}
