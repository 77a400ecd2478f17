//! The write-ahead log: what a node promised, on disk before anybody is told.
//!
//! A file of frames, each of which is one write and one fsync:
//!
//! ```text
//! magic u32 LE | length of the body u32 LE | CRC-32 of the body u32 LE | body
//! body: items, each: kind u8 | length u32 LE | a protobuf of raft's (1 Entry, 2 HardState)
//! ```
//!
//! A frame that was cut off by a crash is the last one, since nothing is written behind a
//! frame that is not synced: such a *torn tail* was promised to nobody and is cut off at the
//! next start. A bad frame with a good one behind it is damage, and an error.

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: u32 = 0x7172_6177;
const HEAD: usize = 12;
const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;

/// The largest body that is believed; larger ones are not written.
const BODY_MAX: usize = 1 << 30;

/// An open log, positioned behind its last good frame.
#[derive(Debug)]
pub(crate) struct Wal {
    path: PathBuf,
    file: File,
}

/// What a log says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replayed {
    /// The entries, in order, each index once; those that a later leader replaced are gone.
    pub(crate) entries: Vec<Entry>,
    /// The last hard state.
    pub(crate) hard_state: HardState,
    /// Bytes of a torn tail that were cut off.
    pub(crate) torn: u64,
}

impl Wal {
    /// Opens the log, or begins one, and cuts a torn tail off.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Replayed)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut replayed, good) = replay(&bytes).map_err(|why| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        })?;
        replayed.torn = (bytes.len() - good) as u64;
        if replayed.torn > 0 {
            file.set_len(good as u64)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(good as u64))?;
        Ok((Self { path: path.to_owned(), file }, replayed))
    }

    /// Appends one frame; it is on disk when this returns, if `sync`.
    pub(crate) fn append(
        &mut self,
        entries: &[Entry],
        hard_state: Option<&HardState>,
        sync: bool,
    ) -> io::Result<()> {
        let frame = frame(entries, hard_state)?;
        self.file.write_all(&frame)?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    /// Replaces the log by a shorter one, in one step.
    pub(crate) fn rewrite(&mut self, entries: &[Entry], hard_state: &HardState) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let mut file = File::create(&part)?;
        file.write_all(&frame(entries, Some(hard_state))?)?;
        file.sync_all()?;
        std::fs::rename(&part, &self.path)?;
        sync_folder(&self.path)?;
        self.file = file;
        Ok(())
    }
}

/// Makes a rename in the folder of `path` last.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn frame(entries: &[Entry], hard_state: Option<&HardState>) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD];
    let mut item = |kind: u8, bytes: Vec<u8>| {
        frame.push(kind);
        frame.extend((bytes.len() as u32).to_le_bytes());
        frame.extend(bytes);
    };
    for entry in entries {
        item(ENTRY, entry.write_to_bytes()?);
    }
    if let Some(state) = hard_state {
        item(HARD_STATE, state.write_to_bytes()?);
    }
    let body = frame.len() - HEAD;
    if body > BODY_MAX {
        return Err(io::Error::other("more than a gibibyte in one write"));
    }
    let crc = crc32fast::hash(&frame[HEAD..]);
    frame[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    frame[4..8].copy_from_slice(&(body as u32).to_le_bytes());
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    Ok(frame)
}

/// Reads all good frames; how many bytes they take.
fn replay(bytes: &[u8]) -> Result<(Replayed, usize), String> {
    let mut replayed = Replayed::default();
    let mut at = 0;
    while let Some(body) = body_at(bytes, at) {
        read_items(body, &mut replayed).map_err(|why| format!("the frame at {at}: {why}"))?;
        at += HEAD + body.len();
    }
    let behind = (at + 1..bytes.len()).find(|&later| body_at(bytes, later).is_some());
    match behind {
        Some(later) => Err(format!(
            "the frame at byte {at} is damaged, and there is a good one at {later}: this is no \
             torn tail; restore the file, or remove the folder and let the node start anew under \
             another name"
        )),
        None => Ok((replayed, at)),
    }
}

/// The body of a good frame at this place.
fn body_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head = bytes.get(at..at + HEAD)?;
    let word = |i: usize| u32::from_le_bytes(head[i..i + 4].try_into().expect("four bytes"));
    if word(0) != MAGIC {
        return None;
    }
    let body = bytes.get(at + HEAD..(at + HEAD).checked_add(word(4) as usize)?)?;
    (crc32fast::hash(body) == word(8)).then_some(body)
}

fn read_items(mut body: &[u8], replayed: &mut Replayed) -> Result<(), String> {
    while let Some((&kind, rest)) = body.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or("an item without a length")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (bytes, rest) = rest.split_at_checked(length).ok_or("an item that is too short")?;
        match kind {
            ENTRY => {
                let entry = Entry::parse_from_bytes(bytes).map_err(|e| e.to_string())?;
                // A later leader replaces what was not committed.
                replayed.entries.truncate(
                    replayed.entries.partition_point(|earlier| earlier.index < entry.index),
                );
                replayed.entries.push(entry);
            }
            HARD_STATE => {
                replayed.hard_state =
                    HardState::parse_from_bytes(bytes).map_err(|e| e.to_string())?;
            }
            other => return Err(format!("an item of the unknown kind {other}")),
        }
        body = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![index as u8; 3].into(), ..Entry::default() }
    }

    fn state(term: u64, vote: u64) -> HardState {
        HardState { term, vote, ..HardState::default() }
    }

    #[test]
    fn a_log_cut_at_any_byte_keeps_every_whole_frame_and_nothing_else() {
        let frames = [
            frame(&[entry(1, 1)], Some(&state(1, 2))).expect("a frame"),
            frame(&[entry(2, 1), entry(3, 1)], None).expect("a frame"),
            frame(&[], Some(&state(4, 0))).expect("a frame"),
        ];
        let whole = frames.concat();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wal");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("a log");
            let (_, replayed) = Wal::open(&path).expect("a torn log opens");
            let kept = [0, 1, 2, 3]
                .into_iter()
                .rfind(|&n| frames[..n].concat().len() <= cut)
                .expect("no frame at least");
            let good = frames[..kept].concat().len();
            assert_eq!(replayed.torn, (cut - good) as u64);
            assert_eq!(replayed.entries.len(), [0, 1, 3, 3][kept], "cut at {cut}");
            assert_eq!(replayed.hard_state.term, [0, 1, 1, 4][kept]);
            assert_eq!(std::fs::metadata(&path).expect("it").len(), good as u64);
        }
    }

    #[test]
    fn damage_before_a_good_frame_is_an_error_not_a_torn_tail() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wal");
        let first = frame(&[entry(1, 1)], None).expect("a frame");
        let mut bytes = [first.clone(), frame(&[entry(2, 1)], None).expect("a frame")].concat();
        for at in 0..first.len() {
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).expect("a log");
            let told = Wal::open(&path).expect_err("damage is no log").to_string();
            assert!(told.contains("is damaged"), "byte {at}: {told}");
            bytes[at] ^= 0x40;
        }
    }

    #[test]
    fn a_later_leader_replaces_entries_and_a_rewrite_keeps_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wal");
        let (mut wal, _) = Wal::open(&path).expect("a new log");
        wal.append(&[entry(1, 1), entry(2, 1), entry(3, 1)], None, true).expect("a write");
        wal.append(&[entry(2, 2)], Some(&state(2, 1)), true).expect("a write");
        let (mut wal, replayed) = Wal::open(&path).expect("a log");
        let terms =
            |entries: &[Entry]| entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>();
        assert_eq!(terms(&replayed.entries), [(1, 1), (2, 2)]);
        wal.rewrite(&replayed.entries[1..], &replayed.hard_state).expect("a rewrite");
        wal.append(&[entry(3, 2)], None, true).expect("a write");
        let (_, replayed) = Wal::open(&path).expect("a log");
        assert_eq!(terms(&replayed.entries), [(2, 2), (3, 2)]);
        assert_eq!(replayed.hard_state.vote, 1);
    }
}
