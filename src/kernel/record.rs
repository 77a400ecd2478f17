//! What each raftq has put into the firewall, written down under `/run/raftq` before it
//! goes in, so that a later process can take it out.
//!
//! One file a run, replaced by renaming, so a reader never sees half of one. Attaching and
//! cleaning hold [`lock`]. A record belongs to a live raftq if its process is the one that
//! wrote it: same boot, same pid, same start time. Next: `clean.rs`.

use super::clock;
use super::door;
use super::iptables::{Installed, Prepared};
use super::links;
use super::netns::{NetNs, NsRef};
use super::process;
use super::topology::{Plan, Topology, ips};
use super::trouble::Trouble;
use crate::rules::table::Node;
use crate::time::Nanos;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How long to wait for another raftq that attaches or cleans at this moment.
const LOCK_LIMIT: Nanos = Nanos::from_secs(10);

/// One run of raftq.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Names its chains and its file.
    pub run_id: String,
    /// The process.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub start_time: u64,
    /// Which boot of the machine.
    pub boot_id: String,
    /// The cluster.
    pub nodes: Vec<RecordedNode>,
    /// The namespaces that the cluster's packets come by.
    pub namespaces: Vec<NsRef>,
    /// What it has put in, or was about to.
    pub installed: Vec<Installed>,
    /// The queue numbers it uses: one a site that its rules point at, then those of the second
    /// queues, which no rule points at.
    pub queues: Vec<u16>,
    /// Its guardian process.
    pub guardian: Option<u32>,
}

/// A node as another raftq needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedNode {
    /// Its name in its rule file.
    pub name: String,
    /// Its peer endpoints.
    pub endpoints: Vec<SocketAddr>,
}

/// Held while records and firewall change together.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes the lock of the run folder; waits for another raftq, but not for ever.
pub fn lock() -> Result<Lock, Trouble> {
    let path = folder().join("lock");
    let failed = |e: io::Error| unwritable(&path, &e);
    make_folder().map_err(failed)?;
    let mut options = File::options();
    let mut file = options.write(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    let limit = clock::now() + LOCK_LIMIT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Lock(lock)),
            Err((again, Errno::EWOULDBLOCK)) if clock::now() < limit => file = again,
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Trouble::new(
                    format!("another raftq holds {} for over 10 s", path.display()),
                    format!("see who: fuser -v {}", path.display()),
                ));
            }
            Err((_, e)) => return Err(failed(e.into())),
        }
        let _ = poll(&mut [], PollTimeout::from(10u8));
    }
}

/// Every record that can be read, live or not, in the order of their names.
#[must_use]
pub fn all() -> Vec<Record> {
    files().into_iter().filter_map(|path| read(&path).ok()).collect()
}

/// What all of them have put in.
#[must_use]
pub fn installed() -> Vec<Installed> {
    all().into_iter().flat_map(|record| record.installed).collect()
}

/// Record files that cannot be read.
#[must_use]
pub fn unreadable() -> Vec<(PathBuf, io::Error)> {
    files().into_iter().filter_map(|path| read(&path).err().map(|e| (path, e))).collect()
}

/// The live raftq that controls one of these nodes already, if there is one.
#[must_use]
pub fn conflict(nodes: &[Node], plan: &Plan) -> Option<Record> {
    let passed = passed(nodes, plan);
    let here =
        |other: &Record| other.namespaces.iter().any(|ns| passed.iter().any(|own| own.id == ns.id));
    let endpoints: Vec<_> =
        nodes.iter().flat_map(|n| &n.endpoints).map(|e| e.socket_addr()).collect();
    let same = |node: &RecordedNode| node.endpoints.iter().any(|e| endpoints.contains(e));
    all().into_iter().find(|r| live(r) && here(r) && r.nodes.iter().any(same))
}

/// Whether the raftq that wrote this record still runs.
#[must_use]
pub fn live(record: &Record) -> bool {
    same_boot(record) && start_time(record.pid) == Some(record.start_time)
}

/// Whether the machine has not been started anew since.
#[must_use]
pub fn same_boot(record: &Record) -> bool {
    boot_id().is_ok_and(|id| id == record.boot_id)
}

impl Record {
    /// A record of this process for a cluster, with a new run id; written by [`Self::save`].
    pub fn new(nodes: &[Node], plan: &Plan) -> Result<Self, Trouble> {
        let no_proc = || Trouble::new("/proc does not show this process", "mount /proc");
        let pid = std::process::id();
        let recorded = |node: &Node| RecordedNode {
            name: node.name.clone(),
            endpoints: node.endpoints.iter().map(|e| e.socket_addr()).collect(),
        };
        Ok(Self {
            run_id: new_run_id().map_err(|_| no_proc())?,
            pid,
            start_time: start_time(pid).ok_or_else(no_proc)?,
            boot_id: boot_id().map_err(|_| no_proc())?,
            nodes: nodes.iter().map(recorded).collect(),
            namespaces: passed(nodes, plan),
            installed: Vec::new(),
            queues: Vec::new(),
            guardian: None,
        })
    }

    /// The name of this run's chain.
    #[must_use]
    pub fn chain(&self) -> String {
        format!("RAFTQ-{}", self.run_id)
    }

    /// Notes what is about to go in; it will tidy up what other raftqs made there, if it is
    /// the last to leave. These `others` are [`installed`] as it was before the rules were
    /// made ready: one that leaves needs no lock, and what it has tidied up already must not
    /// be taken for what always was there.
    pub fn intend(&mut self, prepared: &mut [Prepared], others: &[Installed]) {
        for p in prepared {
            p.installed.inherit(others);
            self.installed.push(p.installed.clone());
        }
    }

    /// Writes it, or writes it anew.
    pub fn save(&self) -> Result<(), Trouble> {
        let path = self.path();
        self.write(&path).map_err(|e| unwritable(&path, &e))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        make_folder()?;
        let half = path.with_extension("new");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        fs::rename(&half, path)
    }

    /// Deletes the file, and the control socket that a killed raftq left: nothing is left to
    /// remove.
    pub fn forget(&self) -> io::Result<()> {
        door::forget(&door::path(&self.run_id))?;
        door::forget(&self.path())
    }

    fn path(&self) -> PathBuf {
        folder().join(format!("{}.json", self.run_id))
    }

    /// Why another raftq must not attach to the same cluster.
    #[must_use]
    pub fn refusal(&self) -> Trouble {
        let names: Vec<_> = self.nodes.iter().map(|n| n.name.as_str()).collect();
        Trouble::new(
            format!(
                "another raftq (pid {}) already controls this cluster ({})",
                self.pid,
                names.join(", ")
            ),
            if process::is_stopped(self.pid) {
                format!(
                    "it is stopped (Ctrl-Z): `kill -CONT {0}` first, then end it: kill {0}",
                    self.pid
                )
            } else {
                format!("end it first: kill {}", self.pid)
            },
        )
    }
}

/// The namespaces that a plan's packets come by. Behind a bridge these are also the nodes'
/// own, where another raftq may sit.
fn passed(nodes: &[Node], plan: &Plan) -> Vec<NsRef> {
    let mut all: Vec<_> = plan.sites.iter().map(|site| site.ns.reference().clone()).collect();
    if plan.topology == Topology::Bridge {
        let hub = &plan.sites[0].ns;
        let mut own = NetNs::all_named();
        own.extend(NetNs::all_of_processes());
        own.retain(|ns| {
            let present = links::addresses(ns).unwrap_or_default();
            let is_node = nodes.iter().flat_map(ips).any(|ip| present.iter().any(|a| a.addr == ip));
            is_node && links::behind_bridge(hub, ns).unwrap_or(false)
        });
        all.extend(own.iter().map(|ns| ns.reference().clone()));
    }
    all.sort_by_key(|ns| ns.id);
    all.dedup_by_key(|ns| ns.id);
    all
}

/// `/run/raftq`, or what `RAFTQ_RUN_DIR` says.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os("RAFTQ_RUN_DIR").map_or_else(|| PathBuf::from("/run/raftq"), PathBuf::from)
}

fn make_folder() -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder())
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
}

fn read(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn new_run_id() -> io::Result<String> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:08x}", u32::from_ne_bytes(bytes)))
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn start_time(pid: u32) -> Option<u64> {
    process::stat(pid).filter(|stat| !stat.ending).map(|stat| stat.start_time)
}

fn unwritable(path: &Path, e: &io::Error) -> Trouble {
    let way_out = match e.kind() {
        io::ErrorKind::PermissionDenied => "run raftq as root: sudo raftq ...",
        _ => "set RAFTQ_RUN_DIR to a folder that can be written and lasts until a reboot",
    };
    Trouble::new(format!("{} cannot be written ({e})", path.display()), way_out)
}
