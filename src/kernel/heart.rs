//! A heartbeat that another process can watch: one page of shared memory.
//!
//! The loop writes the time into it; the guardian process reads it, and takes the rules
//! away when it is old. Atomics only, so neither side can ever wait for the other.

use crate::time::Nanos;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const PAGE: NonZeroU16 = NonZeroU16::new(4096).expect("a page has bytes");

/// What the guardian may expect of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// Rules are not in, or on purpose out: no heartbeat is expected.
    Detached = 0,
    /// Rules are in: the heart must beat.
    Attached = 1,
    /// The guardian has taken the rules away.
    TakenAway = 2,
    /// raftq has cleaned up; the guardian may go.
    Finished = 3,
}

#[repr(C)]
struct Page {
    beat: AtomicU64,
    phase: AtomicU32,
}

/// The shared page.
#[derive(Debug)]
pub struct Heart {
    fd: OwnedFd,
    page: NonNull<Page>,
}

#[expect(unsafe_code, reason = "a shared page is raw memory")]
// SAFETY: the page holds nothing but atomics and stays mapped as long as self lives.
unsafe impl Send for Heart {}
#[expect(unsafe_code, reason = "a shared page is raw memory")]
// SAFETY: as above; every access is atomic.
unsafe impl Sync for Heart {}

impl Heart {
    /// A new page; its descriptor is closed on exec unless it is passed on on purpose.
    pub fn new() -> io::Result<Self> {
        let fd = memfd_create("raftq-heart", MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&fd, i64::from(PAGE.get()))?;
        Self::open(fd)
    }

    /// The page behind a descriptor that was passed on.
    #[expect(unsafe_code, reason = "maps shared memory")]
    pub fn open(fd: OwnedFd) -> io::Result<Self> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        if nix::sys::stat::fstat(&fd)?.st_size < i64::from(PAGE.get()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is no heartbeat page"));
        }
        // SAFETY: a fresh mapping of a file that is at least a page long; zeroes, and any
        // other bytes, are valid for its atomics.
        let page = unsafe { mmap(None, PAGE.into(), prot, MapFlags::MAP_SHARED, &fd, 0) }?;
        Ok(Self { fd, page: page.cast() })
    }

    /// Says that the loop runs, at `now`.
    #[inline]
    pub fn beat(&self, now: Nanos) {
        self.page().beat.store(now.0, Ordering::Relaxed);
    }

    /// When it last did.
    #[must_use]
    pub fn last_beat(&self) -> Nanos {
        Nanos(self.page().beat.load(Ordering::Relaxed))
    }

    /// What is expected now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.page().phase.load(Ordering::Acquire) {
            1 => Phase::Attached,
            2 => Phase::TakenAway,
            3 => Phase::Finished,
            _ => Phase::Detached,
        }
    }

    /// Changes what is expected, unless the phase is no longer `from`. Both sides take the
    /// decision "who removes the rules" by this, so that it falls once.
    #[expect(clippy::must_use_candidate, reason = "who only ends a phase need not ask")]
    pub fn change(&self, from: Phase, to: Phase) -> bool {
        let phase = &self.page().phase;
        phase.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    #[expect(unsafe_code, reason = "a shared page is raw memory")]
    fn page(&self) -> &Page {
        // SAFETY: mapped, aligned to a page, and all its contents are atomics.
        unsafe { self.page.as_ref() }
    }
}

impl AsFd for Heart {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Heart {
    #[expect(unsafe_code, reason = "unmaps shared memory")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by open() with this length and is not used again.
        let result = unsafe { munmap(self.page.cast(), PAGE.get().into()) };
        debug_assert_eq!(result, Ok(()), "a page that was mapped can be unmapped");
    }
}
