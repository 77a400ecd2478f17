//! What `/proc` tells of processes: the sockets that one holds, and its cgroup.
//!
//! Everything here is of one moment; processes come and go while it is read, and one that
//! is gone simply holds nothing. Seen is what the leader of a process holds: a thread with a
//! descriptor table of its own, and sockets that exist only inside an `io_uring`, are not.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An open socket of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldFd {
    pub(super) fd: u32,
    pub(super) inode: u32,
}

/// Every process that `/proc` shows.
pub(super) fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// Fills `sockets` with what the process holds; nothing where it is gone.
///
/// The only error is that we may not look.
pub(super) fn sockets_of(pid: u32, sockets: &mut Vec<HeldFd>) -> io::Result<()> {
    sockets.clear();
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => return Err(err),
        Err(_) => return Ok(()),
        Ok(entries) => entries,
    };
    for entry in entries {
        // A process that ends while its folder is read: what was read of it stands.
        let Ok(entry) = entry else { break };
        let name = entry.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read_link(entry.path()) {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => return Err(err),
            Err(_) => {}
            Ok(target) => {
                sockets.extend(socket_inode(&target).map(|inode| HeldFd { fd, inode }));
            }
        }
    }
    Ok(())
}

/// Whether that descriptor of that process is still that socket.
pub(super) fn still_holds(pid: u32, held: HeldFd) -> bool {
    let target = fs::read_link(format!("/proc/{pid}/fd/{}", held.fd));
    target.is_ok_and(|target| socket_inode(&target) == Some(held.inode))
}

/// The number in `socket:[12345]`.
fn socket_inode(target: &Path) -> Option<u32> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A cgroup v2 in which are all processes of one node and nobody else.
///
/// A shell's cgroup, or one that two nodes share, is nobody's own: what is dialled from there
/// says nothing about who dialled.
pub(super) struct OwnCgroup {
    /// As the kernel gives it with a socket; it is the inode number of the folder.
    pub(super) id: u64,
    folder: PathBuf,
    pids: Vec<u32>,
}

impl OwnCgroup {
    pub(super) fn of(pids: Vec<u32>) -> Option<Self> {
        let (first, others) = pids.split_first()?;
        let path = cgroup_path(*first)?;
        if others.iter().any(|pid| cgroup_path(*pid).as_ref() != Some(&path)) {
            return None;
        }
        let folder = cgroup_mount()?.join(path.strip_prefix('/')?);
        let id = fs::metadata(&folder).ok()?.ino();
        Some(Self { id, folder, pids }).filter(Self::is_own)
    }

    /// Whether still nobody else is in it: somebody may enter at any time (`docker exec`).
    pub(super) fn is_own(&self) -> bool {
        let ours = |line: &str| line.parse().is_ok_and(|pid| self.pids.contains(&pid));
        let members = fs::read_to_string(self.folder.join("cgroup.procs"));
        members.is_ok_and(|members| !members.is_empty() && members.lines().all(ours))
    }
}

fn cgroup_path(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Where cgroup v2 is mounted whole (proc(5), mountinfo: root is field 4, target field 5).
fn cgroup_mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_have_an_inode() {
        assert_eq!(socket_inode(Path::new("socket:[4026]")), Some(4026));
        for other in ["pipe:[4026]", "socket:[]", "socket:[-1]", "socket:[4026", "/tmp/socket:[1]"]
        {
            assert_eq!(socket_inode(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn own_sockets_are_seen_until_they_are_closed() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&socket).cast_unsigned();
        let mut held = Vec::new();
        sockets_of(std::process::id(), &mut held).unwrap();
        let mine = *held.iter().find(|held| held.fd == fd).unwrap();
        assert!(still_holds(std::process::id(), mine));
        drop(socket);
        // Another test may open a socket at this number meanwhile; it has another inode.
        assert!(!still_holds(std::process::id(), mine));
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing() {
        let mut held = vec![HeldFd { fd: 1, inode: 1 }];
        sockets_of(u32::MAX, &mut held).unwrap();
        assert_eq!(held, []);
    }
}
