//! A node's folder: whose it is, its snapshot, its log.

use crate::wal::{Replayed, Wal, sync_folder};
use protobuf::Message as _;
use raft::eraftpb::Snapshot;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// The log.
    pub(crate) wal: Wal,
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
    /// Opens the folder for this member, or makes it. `identity` names cluster and member.
    pub(crate) fn open(folder: &Path, identity: &str) -> io::Result<(Self, Found)> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", folder.display()));
        fs::create_dir_all(folder).map_err(named)?;
        let is_new = check_identity(&folder.join("identity"), identity)?;
        let snapshot = read_snapshot(&folder.join("snapshot"))?;
        let (wal, mut log) = Wal::open(&folder.join("wal"))?;
        let covered = snapshot.get_metadata().index;
        log.entries.retain(|entry| entry.index > covered);
        Ok((Self { folder: folder.to_owned(), wal }, Found { snapshot, log, is_new }))
    }

    /// Replaces the snapshot, in one step.
    pub(crate) fn save_snapshot(&self, snapshot: &Snapshot) -> io::Result<()> {
        let body = snapshot.write_to_bytes()?;
        let mut bytes = crc32fast::hash(&body).to_le_bytes().to_vec();
        bytes.extend(body);
        replace(&self.folder.join("snapshot"), &bytes)
    }
}

/// Two members on one folder, or one of another cluster, would each be a broken promise.
fn check_identity(path: &Path, identity: &str) -> io::Result<bool> {
    match fs::read_to_string(path) {
        Ok(found) if found == identity => Ok(false),
        Ok(found) => Err(io::Error::other(format!(
            "{} says that this folder belongs to {found}, not to {identity}; give each node a \
             --data folder of its own",
            path.display()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            replace(path, identity.as_bytes()).map(|()| true)
        }
        Err(e) => Err(e),
    }
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
        let (_, found) = Disk::open(folder.path(), "n1 of c").expect("a new folder");
        assert!(found.is_new);
        let (_, found) = Disk::open(folder.path(), "n1 of c").expect("the same again");
        assert!(!found.is_new);
        let told = Disk::open(folder.path(), "n2 of c").expect_err("another").to_string();
        assert!(told.contains("belongs to n1 of c, not to n2 of c"), "{told}");
    }

    #[test]
    fn a_snapshot_comes_back_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, _) = Disk::open(folder.path(), "n").expect("a folder");
        let mut snapshot = Snapshot { data: b"{}".to_vec().into(), ..Snapshot::default() };
        snapshot.mut_metadata().index = 7;
        disk.save_snapshot(&snapshot).expect("a snapshot");
        let (_, found) = Disk::open(folder.path(), "n").expect("a folder");
        assert_eq!(found.snapshot, snapshot);
        let path = folder.path().join("snapshot");
        let mut bytes = fs::read(&path).expect("the file");
        *bytes.last_mut().expect("a byte") ^= 1;
        fs::write(&path, bytes).expect("the file");
        assert!(Disk::open(folder.path(), "n").expect_err("it").to_string().contains("damaged"));
    }
}
