//! Network namespaces: found by name, process or container, told apart, entered.
//!
//! A namespace is what its `(device, inode)` says; names and pids are only ways to it: a
//! name made anew is another namespace. An open [`NetNs`] keeps its namespace alive.
//! Entering is for short work on a thread of its own, so that no other thread of raftq
//! ever changes its namespace.

use super::container;
use super::process;
use super::trouble::Trouble;
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";
const SELF: &str = "/proc/thread-self/ns/net";
/// Queue numbers are chosen from here up, away from those people pick by hand.
const QUEUE_BASE: u16 = 4200;

/// What a network namespace is, as the kernel tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NsId {
    /// Device of its file.
    pub dev: u64,
    /// Inode of its file.
    pub ino: u64,
}

/// How to tell people of a namespace and how to find it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NsRef {
    /// Its identity.
    pub id: NsId,
    /// What people call it, such as `netns a` or `pid 17`.
    pub label: String,
    /// A path that led to it.
    pub path: Option<PathBuf>,
}

/// An open network namespace.
#[derive(Clone, Debug)]
pub struct NetNs {
    fd: Arc<OwnedFd>,
    at: NsRef,
}

impl fmt::Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at.label)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl NetNs {
    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        let own = PathBuf::from(format!("/proc/{}/ns/net", std::process::id()));
        let mut ns = Self::open(Path::new(SELF), "this network namespace".into())?;
        ns.at.path = Some(own);
        Ok(ns)
    }

    /// A namespace that `ip netns list` shows, or the one a path leads to.
    pub fn named(name: &str) -> Result<Self, Trouble> {
        let path = path_of_name(name);
        Self::open(&path, format!("netns {name}")).map_err(|e| {
            Trouble::new(
                format!("the network namespace {name} cannot be opened ({}: {e})", path.display()),
                "`ip netns list` shows the names there are; a path with a slash works too",
            )
        })
    }

    /// The namespace of a process.
    pub fn of_pid(pid: u32) -> Result<Self, Trouble> {
        let path = path_of_pid(pid);
        Self::open(&path, format!("the namespace of pid {pid}")).map_err(|e| {
            let way_out = match e.kind() {
                io::ErrorKind::NotFound => "is the process still there?",
                _ => "run as root; in a container CAP_SYS_PTRACE is needed",
            };
            Trouble::new(format!("{} cannot be opened ({e})", path.display()), way_out)
        })
    }

    /// The namespace of a container of docker, podman, nerdctl or a CRI runtime.
    pub fn of_container(name: &str) -> Result<Self, Trouble> {
        let pid = container::pid_of(name)?;
        let mut ns = Self::of_pid(pid)?;
        ns.at.label = format!("container {name}");
        Ok(ns)
    }

    /// Opens the file of a namespace.
    fn open(path: &Path, label: String) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let at = NsRef { id: id_of(&meta), label, path: Some(path.to_owned()) };
        // A name without a namespace behind it is an ordinary empty file.
        if !is_ns(&meta) {
            return Err(io::Error::other("it is not a network namespace"));
        }
        Ok(Self { fd: Arc::new(file.into()), at })
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> NsId {
        self.at.id
    }

    /// What to write down so that it is found again.
    #[must_use]
    pub fn reference(&self) -> &NsRef {
        &self.at
    }

    /// Runs `f` inside the namespace and waits for it. Children that `f` spawns stay there;
    /// read `/proc/thread-self/net` in it, because `/proc/net` is the main thread's.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        if Self::current().is_ok_and(|here| here.id() == self.id()) {
            return Ok(f());
        }
        std::thread::scope(|scope| {
            let inside = || {
                setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET)?;
                Ok(f())
            };
            match std::thread::Builder::new().spawn_scoped(scope, inside)?.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A new namespace that nothing is in; it ends with the last copy of this value.
    pub fn fresh() -> io::Result<Self> {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::open(Path::new(SELF), "a namespace to try things in".into())
        };
        match std::thread::Builder::new().spawn(inside)?.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Finds a namespace again; `None` when it is gone, or nothing leads to it any more. An
    /// error where this process lacks the privilege to look at those of others. With it, a
    /// process that still hides (some are ending, some guard themselves) is passed over.
    pub fn find(at: &NsRef) -> io::Result<Option<Self>> {
        let mut hidden = None;
        let hint = at.path.iter().cloned().chain([PathBuf::from(SELF)]);
        for path in hint.chain(named_paths()).chain(process_paths()) {
            match fs::metadata(&path) {
                Ok(meta) if is_ns(&meta) && at.id == id_of(&meta) => {
                    // The path may have come to lead elsewhere in between.
                    let open = Self::open(&path, at.label.clone());
                    if let Some(ns) = open.ok().filter(|ns| ns.id() == at.id) {
                        return Ok(Some(ns));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => hidden = Some(e),
                _ => {}
            }
        }
        match hidden {
            Some(e) if !process::holds(process::CAP_SYS_PTRACE) => Err(e),
            _ => Ok(None),
        }
    }

    /// Every namespace with a name, each once.
    #[must_use]
    pub fn all_named() -> Vec<Self> {
        distinct(named_paths(), |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("netns {name}")
        })
    }

    /// Every namespace that some process is in, each once.
    #[must_use]
    pub fn all_of_processes() -> Vec<Self> {
        distinct(process_paths(), |path| {
            format!("the namespace of pid {}", pid_in(path).unwrap_or_default())
        })
    }
}

/// Which namespace a path leads to at this moment; `None` where to none.
#[must_use]
pub fn id_at(path: &Path) -> Option<NsId> {
    fs::metadata(path).ok().filter(is_ns).map(|meta| id_of(&meta))
}

/// The path of a name in `ip netns`; one with a slash is a path already.
#[must_use]
pub fn path_of_name(name: &str) -> PathBuf {
    if name.contains('/') { name.into() } else { Path::new(NAMED).join(name) }
}

/// The path of a process' namespace.
#[must_use]
pub fn path_of_pid(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// A queue number that nobody is bound to in `ns`, and that is not in `taken`.
pub fn free_queue(ns: &NetNs, taken: &[u16]) -> io::Result<u16> {
    let bound =
        ns.enter(|| fs::read_to_string("/proc/thread-self/net/netfilter/nfnetlink_queue"))?;
    let bound: BTreeSet<u16> = match bound {
        Ok(text) => {
            text.lines().filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect()
        }
        // Without the module nobody can be bound; binding loads it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(e) => return Err(e),
    };
    (QUEUE_BASE..=u16::MAX)
        .find(|n| !bound.contains(n) && !taken.contains(n))
        .ok_or_else(|| io::Error::other("every queue number from 4200 up is taken"))
}

fn named_paths() -> impl Iterator<Item = PathBuf> {
    fs::read_dir(NAMED).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn process_paths() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok()))
        .map(|entry| entry.path().join("ns/net"))
}

/// The pid in `/proc/PID/ns/net`.
fn pid_in(path: &Path) -> Option<u32> {
    path.iter().nth(2)?.to_str()?.parse().ok()
}

fn distinct(paths: impl Iterator<Item = PathBuf>, label: impl Fn(&Path) -> String) -> Vec<NetNs> {
    let mut seen = BTreeSet::new();
    paths
        .filter(|path| fs::metadata(path).is_ok_and(|m| is_ns(&m) && seen.insert(id_of(&m))))
        .filter_map(|path| NetNs::open(&path, label(&path)).ok())
        .collect()
}

fn id_of(meta: &fs::Metadata) -> NsId {
    NsId { dev: meta.dev(), ino: meta.ino() }
}

/// All namespaces live on one file system, the same as our own does.
fn is_ns(meta: &fs::Metadata) -> bool {
    fs::metadata(SELF).is_ok_and(|own| own.dev() == meta.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_its_own_namespace_and_enters_it_without_privileges() {
        let here = NetNs::current().expect("/proc is mounted");
        assert_eq!(here.enter(|| 7).expect("nothing to enter"), 7);
        let again = NetNs::find(here.reference()).expect("the path leads there");
        assert_eq!(again.map(|ns| ns.id()), Some(here.id()));
    }

    #[test]
    fn what_is_no_namespace_is_refused_with_a_way_out() {
        let error = NetNs::named("/dev/null").expect_err("not a namespace");
        assert!(error.to_string().contains("not a network namespace"), "{error}");
        let error = NetNs::named("no-such-name").expect_err("no such name");
        assert!(error.to_string().contains("ip netns list"), "{error}");
    }
}
