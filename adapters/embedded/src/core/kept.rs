//! What a node keeps: entries and promises in the log, the map in snapshots.

use super::{Core, raw_node};
use crate::bugs::Bug;
use crate::clock;
use crate::machine::Machine;
use raft::eraftpb::{Entry, HardState, Snapshot};
use std::io;

impl Core {
    pub(super) fn keep(
        &mut self,
        entries: &[Entry],
        state: Option<&HardState>,
        sync: bool,
    ) -> io::Result<()> {
        if entries.is_empty() && state.is_none() {
            return Ok(());
        }
        if self.bugs.has(Bug::LoseUnsynced) {
            self.unflushed.push((entries.to_vec(), state.cloned()));
        } else {
            self.disk.wal.append(entries, state, sync)?;
        }
        let store = self.node.mut_store();
        store.append(entries);
        if let Some(state) = state {
            store.set_hard_state(state.clone());
        }
        Ok(())
    }

    /// Writes what `lose-unsynced` kept back; nothing in a healthy node.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.last_flush = clock::now();
        for (entries, state) in std::mem::take(&mut self.unflushed) {
            self.disk.wal.append(&entries, state.as_ref(), true)?;
        }
        Ok(())
    }

    pub(super) fn snapshot_index(&self) -> u64 {
        self.node.store().last_snapshot().get_metadata().index
    }

    /// Takes a snapshot, and drops the log but for some entries before it.
    pub(super) fn snapshot(&mut self, keep: u64) -> io::Result<()> {
        let has_log = self.node.store().kept().first().is_some_and(|e| e.index <= self.applied);
        if self.applied <= self.snapshot_index() && !(keep == 0 && has_log) {
            return Ok(());
        }
        self.flush()?;
        let applied = self.applied;
        let term = self.node.raft.raft_log.term(applied).map_err(io::Error::other)?;
        let mut snapshot = Snapshot { data: self.machine.save().into(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (applied, term);
        metadata.set_conf_state(self.node.store().voters().clone());
        self.disk.save_snapshot(&snapshot)?;
        let store = self.node.mut_store();
        store.compact(snapshot, applied.saturating_sub(keep));
        let store = self.node.store();
        self.disk.wal.rewrite(store.kept(), store.hard_state())?;
        log::info!("snapshot at {applied}");
        Ok(())
    }

    /// A snapshot of the leader's replaces log and map.
    pub(super) fn install(&mut self, snapshot: Snapshot) -> io::Result<()> {
        self.machine = Machine::restore(&snapshot.data).map_err(io::Error::other)?;
        self.applied = snapshot.get_metadata().index;
        self.bugs.on_snapshot();
        self.unflushed.clear();
        self.disk.save_snapshot(&snapshot)?;
        self.node.mut_store().install(snapshot);
        self.meet_members();
        let store = self.node.store();
        self.disk.wal.rewrite(store.kept(), store.hard_state())?;
        log::info!("installed a snapshot at {}", self.applied);
        Ok(())
    }

    /// Throws away a log that a leader contradicts. The map stays as it is: nothing that was
    /// applied is undone. Only a node with a deliberate bug comes to this.
    pub(super) fn cut_log(&mut self, index: u64) -> io::Result<()> {
        log::warn!("a leader contradicts what was committed behind {index}");
        self.flush()?;
        let log = std::mem::take(self.node.mut_store()).cut_behind(index);
        self.disk.wal.rewrite(log.kept(), log.hard_state())?;
        if log.last_snapshot().get_metadata().index == 0 {
            self.disk.save_snapshot(log.last_snapshot())?;
        }
        self.applied = log.hard_state().commit.min(self.applied);
        self.node = raw_node(&self.args, self.id, log, self.applied, &self.bugs)
            .map_err(io::Error::other)?;
        Ok(())
    }
}
