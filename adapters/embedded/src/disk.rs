//! A node's folder: whose it is, its snapshot, its log.

use crate::wal::{Replayed, Wal, sync_folder};
use protobuf::Message as _;
use raft::eraftpb::Snapshot;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// Whose it is.
    pub(crate) identity: Identity,
    /// The log.
    pub(crate) wal: Wal,
}

/// Whose a folder is: two members on one folder, or one of another cluster, would each be a
/// broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The node's name.
    pub(crate) name: String,
    /// A number that no other folder has.
    pub(crate) folder: u64,
    /// The member's id; `None` until it is one.
    pub(crate) id: Option<u64>,
}

/// What a folder held.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The last snapshot; an empty one if there is none.
    pub(crate) snapshot: Snapshot,
    /// What came behind it.
    pub(crate) log: Replayed,
    /// Whether there was anything at all.
    pub(crate) is_new: bool,
}

impl Disk {
    /// Opens the folder of this node, or makes it, to be known by `number` then.
    pub(crate) fn open(
        folder: &Path,
        cluster: &str,
        name: &str,
        number: u64,
    ) -> io::Result<(Self, Found)> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", folder.display()));
        fs::create_dir_all(folder).map_err(named)?;
        let wanted =
            Identity { cluster: cluster.into(), name: name.into(), folder: number, id: None };
        let (identity, is_new) = identify(&folder.join("identity"), wanted)?;
        let snapshot = read_snapshot(&folder.join("snapshot"))?;
        let (wal, mut log) = Wal::open(&folder.join("wal"))?;
        let covered = snapshot.get_metadata().index;
        log.entries.retain(|entry| entry.index > covered);
        Ok((Self { folder: folder.to_owned(), identity, wal }, Found { snapshot, log, is_new }))
    }

    /// Replaces the snapshot, in one step.
    pub(crate) fn save_snapshot(&self, snapshot: &Snapshot) -> io::Result<()> {
        let body = snapshot.write_to_bytes()?;
        let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
        bytes.extend(body);
        replace(&self.folder.join("snapshot"), &bytes)
    }

    /// The node is a member from now on, under this id.
    pub(crate) fn save_id(&mut self, id: u64) -> io::Result<()> {
        self.identity.id = Some(id);
        self.identity.save(&self.folder.join("identity"))
    }
}

impl Identity {
    fn save(&self, path: &Path) -> io::Result<()> {
        replace(path, &serde_json::to_vec(self)?)
    }
}

/// The identity that is there, or the wanted one, now kept; whether it is new.
fn identify(path: &Path, wanted: Identity) -> io::Result<(Identity, bool)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return wanted.save(path).map(|()| (wanted, true));
        }
        Err(e) => return Err(e),
    };
    let found: Identity = serde_json::from_slice(&bytes)
        .map_err(|e| io::Error::other(format!("{} is damaged: {e}", path.display())))?;
    if (&found.cluster, &found.name) == (&wanted.cluster, &wanted.name) {
        return Ok((found, false));
    }
    Err(io::Error::other(format!(
        "{} says that this folder belongs to {} of cluster {}, not to {} of cluster {}; give \
         each node a --data folder of its own",
        path.display(),
        found.name,
        found.cluster,
        wanted.name,
        wanted.cluster,
    )))
}

fn read_snapshot(path: &Path) -> io::Result<Snapshot> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Snapshot::default()),
        Err(e) => return Err(e),
    };
    let damaged = || io::Error::other(format!("{} is damaged", path.display()));
    let (crc, body) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    Snapshot::parse_from_bytes(body).map_err(|_| damaged())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_member_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut disk, found) = Disk::open(folder.path(), "c", "n1", 7).expect("a new folder");
        assert!(found.is_new && disk.identity.id.is_none());
        disk.save_id(4).expect("an id");
        let (disk, found) = Disk::open(folder.path(), "c", "n1", 8).expect("the same again");
        assert!(!found.is_new);
        assert_eq!((disk.identity.id, disk.identity.folder), (Some(4), 7));
        let told = Disk::open(folder.path(), "c", "n2", 9).expect_err("another").to_string();
        assert!(told.contains("belongs to n1 of cluster c, not to n2 of cluster c"), "{told}");
    }

    #[test]
    fn a_snapshot_comes_back_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, _) = Disk::open(folder.path(), "c", "n", 1).expect("a folder");
        let mut snapshot = Snapshot { data: b"{}".to_vec().into(), ..Snapshot::default() };
        snapshot.mut_metadata().index = 7;
        disk.save_snapshot(&snapshot).expect("a snapshot");
        let (_, found) = Disk::open(folder.path(), "c", "n", 1).expect("a folder");
        assert_eq!(found.snapshot, snapshot);
        let path = folder.path().join("snapshot");
        let mut bytes = fs::read(&path).expect("the file");
        *bytes.last_mut().expect("a byte") ^= 1;
        fs::write(&path, bytes).expect("the file");
        assert!(
            Disk::open(folder.path(), "c", "n", 1).expect_err("it").to_string().contains("damaged")
        );
    }
}
