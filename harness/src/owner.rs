//! Whose object a name is, so that what a killed process left behind can be told from what a
//! living one still uses.
//!
//! Names read `<prefix>-<pid>-<start>-<k>`: the pid alone would be ambiguous after the numbers
//! wrap, so the owner's start time (in clock ticks since boot, `/proc/PID/stat` field 22) stands
//! beside it. A process in another pid namespace that shares `/run` would look dead from here:
//! run such owners with a `/run` of their own.

use crate::Result;
use crate::error::Context;
use nix::sys::statvfs::statvfs;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Every name this package gives begins so.
pub const PREFIX: &str = "rq";

/// The variable in the environment of a node's processes that bears a name of their owner's:
/// children inherit it, whatever becomes of their parents.
pub(crate) const MARK: &str = "RAFTQ_NODE";

/// The tmpfs that every Linux machine mounts.
const TMPFS: &str = "/dev/shm";

/// Five etcd nodes with two preallocated log files of 64 MB each, and some.
const SCRATCH_MIN_BYTES: u64 = 1 << 30;

/// The process that made an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    pid: u32,
    start: u64,
}

impl Owner {
    /// This very process.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        let start = start_time(pid).expect("a process that runs has a start time in /proc");
        Self { pid, start }
    }

    /// The owner that a name speaks of; `None` where the name is not one of ours.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        if !parts.next()?.starts_with(PREFIX) {
            return None;
        }
        let pid = parts.next()?.parse().ok()?;
        let start = parts.next()?.parse().ok()?;
        parts.next()?.parse::<u32>().ok()?;
        Some(Self { pid, start })
    }

    /// Whether it still runs. A zombie does not: nobody will tidy up any more.
    #[must_use]
    pub fn lives(self) -> bool {
        start_time(self.pid) == Some(self.start)
    }
}

/// A name of this process that was not given before: `<prefix>-<pid>-<start>-<k>`.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    assert!(
        prefix.starts_with(PREFIX) && !prefix.contains('-'),
        "a prefix begins with {PREFIX} and has no dash, or clean-host would not know it: {prefix}"
    );
    let Owner { pid, start } = Owner::this();
    format!("{prefix}-{pid}-{start}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A folder of this process's own, removed on drop. On tmpfs where `/dev/shm` has the room: a
/// disk's hiccup looks like a fault of the network. (Containers often give it 64 MB only.)
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it; `prefix` begins with `rq`.
    pub fn new(prefix: &str) -> Result<Self> {
        let path = scratch_root().join(unique(prefix));
        fs::create_dir(&path).context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of owners that are gone, and names them.
#[must_use]
pub fn clean_scratch() -> Vec<String> {
    let roots = [PathBuf::from(TMPFS), std::env::temp_dir()];
    let entries = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    let dead = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_str().and_then(Owner::of).is_some_and(|owner| !owner.lives())
    });
    let gone = dead.filter(|entry| fs::remove_dir_all(entry.path()).is_ok());
    gone.map(|entry| format!("folder {}", entry.path().display())).collect()
}

fn scratch_root() -> PathBuf {
    let has_room = statvfs(TMPFS).is_ok_and(|fs| {
        fs.blocks_available().saturating_mul(fs.fragment_size()) >= SCRATCH_MIN_BYTES
    });
    if has_room { PathBuf::from(TMPFS) } else { std::env::temp_dir() }
}

/// Whether a process of this number runs; a zombie does not.
#[must_use]
pub fn runs(pid: u32) -> bool {
    start_time(pid).is_some()
}

/// When a process that is not a zombie was started.
fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid).filter(|stat| stat.lives()).map(|stat| stat.start)
}

/// What `/proc/PID/stat` says of a process (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    /// The session it belongs to, by its leader's process id.
    pub(crate) session: u32,
    /// In clock ticks since boot.
    start: u64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command in parentheses may hold spaces and parentheses of its own.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        // The state is field 3, the session field 6, the start time field 22.
        let state = *fields.next()?.as_bytes().first()?;
        let session = fields.nth(2)?.parse().ok()?;
        Some(Self { state, session, start: fields.nth(15)?.parse().ok()? })
    }

    /// A zombie does not: it only waits to be asked how it ended.
    pub(crate) fn lives(self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    /// Whether a signal has stopped it.
    pub(crate) fn is_stopped(self) -> bool {
        self.state == b'T'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        let name = unique("rqunit");
        assert_eq!(Owner::of(&name), Some(Owner::this()));
        assert_eq!(Owner::of(&format!("{name}-n1")), Some(Owner::this()));
        assert!(Owner::this().lives());
        assert_ne!(name, unique("rqunit"));
    }

    #[test]
    fn other_peoples_names_have_no_owner_here() {
        for name in ["blue", "rq", "rq-1", "rq-1-2", "rq-x-2-3", "cni-1-2-3", ""] {
            assert_eq!(Owner::of(name), None, "{name}");
        }
    }

    #[test]
    fn the_same_pid_started_at_another_time_is_another_process() {
        let this = Owner::this();
        assert!(!Owner { start: this.start + 1, ..this }.lives());
    }
}
