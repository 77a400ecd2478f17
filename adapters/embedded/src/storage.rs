//! What the crate reads its log from: entries in memory, as they are on disk.
//!
//! The crate asks here; `core.rs` writes to disk first and tells this afterwards.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

/// The log behind a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    hard_state: HardState,
    snapshot: Snapshot,
    /// Who votes, by all that is applied; the snapshot's own list is as old as the snapshot.
    voters: ConfState,
    /// The index and term before the first entry; at or behind the snapshot's.
    before: (u64, u64),
}

impl Log {
    /// What was found on disk.
    pub(crate) fn new(snapshot: Snapshot, entries: Vec<Entry>, mut hard_state: HardState) -> Self {
        let metadata = snapshot.get_metadata();
        let voters = metadata.get_conf_state().clone();
        let before = (metadata.index, metadata.term);
        // A snapshot is of what was committed, whether or not the last hard state knew it.
        hard_state.commit = hard_state.commit.max(before.0);
        hard_state.term = hard_state.term.max(before.1);
        Self { entries, hard_state, snapshot, voters, before }
    }

    /// The last hard state.
    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// The last snapshot.
    pub(crate) fn last_snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// All entries that are kept.
    pub(crate) fn kept(&self) -> &[Entry] {
        &self.entries
    }

    /// Who votes.
    pub(crate) fn voters(&self) -> &ConfState {
        &self.voters
    }

    /// A change of who votes, which was applied.
    pub(crate) fn set_voters(&mut self, voters: ConfState) {
        self.voters = voters;
    }

    /// Entries that are on disk now; those they replace are gone.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = self.entries.partition_point(|entry| entry.index < first.index);
        assert!(
            self.before.0 + keep as u64 + 1 == first.index,
            "entry {} would leave a gap in the log",
            first.index
        );
        self.entries.truncate(keep);
        self.entries.extend_from_slice(entries);
    }

    /// A hard state that is on disk now.
    pub(crate) fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    /// A commit index, which need not be on disk.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// A snapshot from the leader, which replaces everything.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.get_metadata();
        self.before = (metadata.index, metadata.term);
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.hard_state.term = self.hard_state.term.max(metadata.term);
        self.voters = metadata.get_conf_state().clone();
        self.entries.clear();
        self.snapshot = snapshot;
    }

    /// A snapshot of our own; entries up to `drop_to` are not needed any more.
    pub(crate) fn compact(&mut self, snapshot: Snapshot, drop_to: u64) {
        let drop_to = drop_to.min(snapshot.get_metadata().index);
        let n = self.entries.partition_point(|entry| entry.index <= drop_to);
        if let Some(last) = self.entries[..n].last() {
            self.before = (last.index, last.term);
        }
        self.entries.drain(..n);
        self.snapshot = snapshot;
    }

    /// The log up to an index, as if no more had ever been in it; nothing at all where that much
    /// is not kept. Only a node with a deliberate bug comes to this.
    pub(crate) fn cut_behind(mut self, index: u64) -> Self {
        self.entries.retain(|entry| entry.index <= index);
        self.hard_state.commit = self.hard_state.commit.min(index);
        if index < self.before.0 {
            let hard_state = HardState { commit: 0, ..self.hard_state };
            return Self { hard_state, voters: self.voters, ..Self::default() };
        }
        self
    }

    fn last(&self) -> u64 {
        self.entries.last().map_or(self.before.0, |entry| entry.index)
    }

    /// Where an index is in `entries`.
    fn position(&self, index: u64) -> Result<usize> {
        if index <= self.before.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        Ok((index - self.before.0 - 1) as usize)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.voters.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let (low, high) = (self.position(low)?, self.position(high)?);
        let range = self.entries.get(low..high);
        let mut entries = range.ok_or(Error::Store(StorageError::Unavailable))?.to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        let entry = self.entries.get(self.position(index)?);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.before.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        if self.snapshot.get_metadata().index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn snapshot(index: u64, term: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = index;
        snapshot.mut_metadata().term = term;
        snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2, 3];
        snapshot
    }

    #[test]
    fn a_compacted_log_still_knows_the_term_before_its_first_entry() {
        let mut log = Log::new(Snapshot::default(), vec![], HardState::default());
        log.append(&[entry(1, 1), entry(2, 1), entry(3, 2), entry(4, 2)]);
        log.compact(snapshot(3, 2), 2);
        assert_eq!((log.first_index().ok(), log.last_index().ok()), (Some(3), Some(4)));
        assert_eq!(log.term(2).ok(), Some(1));
        assert!(matches!(log.term(1), Err(Error::Store(StorageError::Compacted))));
        assert!(matches!(log.term(9), Err(Error::Store(StorageError::Unavailable))));
        log.append(&[entry(4, 3)]);
        assert_eq!(log.term(4).ok(), Some(3));
    }

    #[test]
    fn an_installed_snapshot_replaces_the_log() {
        let mut log = Log::new(Snapshot::default(), vec![], HardState::default());
        log.append(&[entry(1, 1)]);
        log.install(snapshot(9, 4));
        assert_eq!((log.first_index().ok(), log.last_index().ok()), (Some(10), Some(9)));
        assert_eq!((log.term(9).ok(), log.hard_state().commit), (Some(4), 9));
    }
}
