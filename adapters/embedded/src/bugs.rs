//! Deliberate bugs, so that it can be shown that checks find them.
//!
//! Each is made where the crate ends: in a message, in what is kept, in what is answered. The
//! crate itself is as it comes. A node without `--bug` runs none of this.
//!
//! Some bugs break what the crate relies on, and it would stop the process: a log that
//! contradicts what was committed, a leader that counts on entries which are gone. A buggy
//! system goes on, with what it then believes; [`Bugs::before_step`] sees to that.

use crate::storage::Log;
use raft::RawNode;
use raft::eraftpb::{Entry, HardState, Message, MessageType};
use std::collections::HashMap;
use std::time::Duration;

/// One deliberate bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Bug {
    /// Reads are answered from the node's own map, without asking the leader
    StaleReads,
    /// Writes are acknowledged once they are proposed, before they are committed
    AckBeforeCommit,
    /// The vote of the term is forgotten on restart
    ForgetVote,
    /// The term is forgotten on restart, down to that of the last entry
    ForgetTerm,
    /// The log is flushed to disk once a second; a kill loses what was not
    LoseUnsynced,
    /// On restart the last entries of the log are gone
    LoseTail,
    /// Now and then an entry is applied a second time, after later ones
    ApplyTwice,
    /// The first entry behind a snapshot is not applied
    SkipAfterSnapshot,
    /// A leader or candidate counts one more node on its side than answered it
    SmallQuorum,
    /// Votes go to candidates whose log is behind one's own, too
    VoteForBehind,
    /// No pre-vote, no check-quorum, and a leader answers reads without asking anybody
    StaleWithoutPrevote,
    /// A compare-and-set is decided on the value that the called node holds
    StaleCas,
}

/// How many entries `lose-tail` takes away.
const TAIL: usize = 10;

/// Every so many entries `apply-twice` repeats the one that came [`REPEAT_BACK`] before.
const REPEAT_EVERY: u64 = 20;
const REPEAT_BACK: usize = 8;

/// How long a node must be silent before `small-quorum` answers for it.
const SILENT: Duration = Duration::from_millis(150);

/// How often `lose-unsynced` flushes.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The bugs of one node, with what they have to remember.
#[derive(Debug, Default)]
pub(crate) struct Bugs {
    chosen: Vec<Bug>,
    recent: Vec<Entry>,
    skip_next: bool,
    heard: HashMap<u64, Duration>,
}

impl Bugs {
    /// Those of the command line.
    pub(crate) fn new(chosen: &[Bug]) -> Self {
        Self { chosen: chosen.to_vec(), ..Self::default() }
    }

    /// Whether a bug is to be made.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.chosen.contains(&bug)
    }

    /// What a restart does to what was kept.
    pub(crate) fn on_restart(
        &self,
        entries: &mut Vec<Entry>,
        state: &mut HardState,
        base: (u64, u64),
    ) {
        if self.has(Bug::LoseTail) {
            entries.truncate(entries.len().saturating_sub(TAIL));
        }
        let last = entries.last().map_or(base, |entry| (entry.index, entry.term));
        if self.has(Bug::LoseTail) {
            state.commit = state.commit.min(last.0);
        }
        if self.has(Bug::ForgetTerm) {
            state.term = last.1;
            state.vote = 0;
        }
        if self.has(Bug::ForgetVote) {
            state.vote = 0;
        }
    }

    /// What is applied instead of one committed entry.
    pub(crate) fn applied_instead(&mut self, entry: Entry) -> Vec<Entry> {
        if std::mem::take(&mut self.skip_next) && self.has(Bug::SkipAfterSnapshot) {
            if !entry.data.is_empty() {
                log::warn!("entry {} is not applied", entry.index);
                return Vec::new();
            }
            // A new leader's empty entry would be nothing to skip.
            self.skip_next = true;
        }
        if !self.has(Bug::ApplyTwice) || entry.data.is_empty() {
            return vec![entry];
        }
        let index = entry.index;
        self.recent.push(entry.clone());
        let mut all = vec![entry];
        if index.is_multiple_of(REPEAT_EVERY) && self.recent.len() > REPEAT_BACK {
            all.push(self.recent[self.recent.len() - 1 - REPEAT_BACK].clone());
        }
        let surplus = self.recent.len().saturating_sub(2 * REPEAT_BACK);
        self.recent.drain(..surplus);
        all
    }

    /// A snapshot was installed or restored.
    pub(crate) fn on_snapshot(&mut self) {
        self.skip_next = true;
    }

    /// What a message becomes on its way into the crate. Where the crate would stop the process
    /// over it, the log has to be cut behind the index that is returned first.
    pub(crate) fn before_step(
        &mut self,
        node: &mut RawNode<Log>,
        message: &mut Message,
        now: Duration,
    ) -> Option<u64> {
        if self.chosen.is_empty() {
            return None;
        }
        self.heard.insert(message.from, now);
        let vote = matches!(
            message.get_msg_type(),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
        );
        if vote && self.has(Bug::VoteForBehind) {
            message.log_term = message.log_term.max(node.raft.raft_log.last_term());
            message.index = message.index.max(node.raft.raft_log.last_index());
        }
        if !self.breaks_logs() {
            return None;
        }
        believe(node, message);
        contradiction(node, message)
    }

    /// Whether a chosen bug breaks what logs promise each other.
    fn breaks_logs(&self) -> bool {
        use Bug::{ForgetTerm, ForgetVote, LoseTail, LoseUnsynced, SmallQuorum, VoteForBehind};
        let breaking = [LoseTail, LoseUnsynced, SmallQuorum, VoteForBehind, ForgetTerm, ForgetVote];
        self.chosen.iter().any(|bug| breaking.contains(bug))
    }

    /// Answers that `small-quorum` makes up to one message that goes out.
    pub(crate) fn made_up(&self, sent: &Message, all: &[u64], now: Duration) -> Option<Message> {
        if !self.has(Bug::SmallQuorum) {
            return None;
        }
        let other = all.iter().copied().find(|id| *id != sent.from)?;
        let silent =
            |id: &u64| self.heard.get(id).is_none_or(|at| now.saturating_sub(*at) > SILENT);
        // One answer is made up, and only for a node that does not give its own.
        if sent.to != other || !silent(&other) {
            return None;
        }
        let kind = match sent.get_msg_type() {
            MessageType::MsgAppend => MessageType::MsgAppendResponse,
            MessageType::MsgHeartbeat => MessageType::MsgHeartbeatResponse,
            MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
            MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
            _ => return None,
        };
        let mut answer = Message { from: sent.to, to: sent.from, ..Message::default() };
        answer.set_msg_type(kind);
        answer.term = sent.term;
        answer.context = sent.context.clone();
        if kind == MessageType::MsgAppendResponse {
            answer.index = sent.entries.last().map_or(sent.index, |entry| entry.index);
        }
        Some(answer)
    }
}

/// Changes message and leader so that both count on no more entries than there are.
fn believe(node: &mut RawNode<Log>, message: &mut Message) {
    let last = node.raft.raft_log.last_index();
    match message.get_msg_type() {
        MessageType::MsgHeartbeat => message.commit = message.commit.min(last),
        MessageType::MsgAppendResponse if message.reject => {
            // The leader would take it for old news, and never send again what was lost.
            if let Some(peer) = node.raft.mut_prs().get_mut(message.from)
                && message.reject_hint < peer.matched
            {
                peer.matched = message.reject_hint;
                peer.become_probe();
                message.index = peer.next_idx - 1;
            }
        }
        MessageType::MsgAppendResponse => message.index = message.index.min(last),
        _ => {}
    }
}

/// The last index before a leader's log contradicts what was committed here, if it does.
fn contradiction(node: &RawNode<Log>, message: &Message) -> Option<u64> {
    let (raft, log) = (&node.raft, &node.raft.raft_log);
    if message.get_msg_type() != MessageType::MsgAppend || message.term < raft.term {
        return None;
    }
    let known = log.first_index()..=log.committed;
    let differs =
        |index: u64, term: u64| known.contains(&index) && log.term(index).ok() != Some(term);
    if differs(message.index, message.log_term) {
        return Some(message.index - 1);
    }
    if let Some(first) = message.entries.iter().find(|entry| differs(entry.index, entry.term)) {
        return Some(first.index - 1);
    }
    // A new leader tells its whole log at first. What it lacks was never committed for it.
    let whole = message.index + message.entries.len() as u64;
    let is_new = message.term > raft.term || raft.leader_id == 0;
    (is_new && whole < log.committed).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Snapshot;

    fn entry(index: u64) -> Entry {
        Entry { index, term: 2, data: b"x".to_vec().into(), ..Entry::default() }
    }

    #[test]
    fn a_healthy_node_keeps_and_applies_everything_once() {
        let mut bugs = Bugs::new(&[]);
        let mut entries: Vec<Entry> = (1..=40).map(entry).collect();
        let mut state = HardState { term: 3, vote: 2, commit: 40, ..HardState::default() };
        bugs.on_restart(&mut entries, &mut state, (0, 0));
        assert_eq!((entries.len(), state.term, state.vote, state.commit), (40, 3, 2, 40));
        bugs.on_snapshot();
        let applied: Vec<u64> =
            (1..=40).flat_map(|i| bugs.applied_instead(entry(i))).map(|e| e.index).collect();
        assert_eq!(applied, (1..=40).collect::<Vec<u64>>());
        let sent = Message { to: 2, from: 1, ..Message::default() };
        assert_eq!(bugs.made_up(&sent, &[1, 2, 3], Duration::from_secs(9)), None);
    }

    #[test]
    fn a_restart_forgets_what_the_bug_says() {
        let after = |bug: Bug| {
            let mut entries: Vec<Entry> = (1..=40).map(entry).collect();
            let mut state = HardState { term: 3, vote: 2, commit: 40, ..HardState::default() };
            Bugs::new(&[bug]).on_restart(&mut entries, &mut state, (0, 0));
            (entries.len(), state.term, state.vote, state.commit)
        };
        assert_eq!(after(Bug::LoseTail), (30, 3, 2, 30));
        assert_eq!(after(Bug::ForgetVote), (40, 3, 0, 40));
        assert_eq!(after(Bug::ForgetTerm), (40, 2, 0, 40));
    }

    #[test]
    fn entries_are_applied_twice_or_skipped() {
        let mut twice = Bugs::new(&[Bug::ApplyTwice]);
        let applied: Vec<u64> =
            (1..=20).flat_map(|i| twice.applied_instead(entry(i))).map(|e| e.index).collect();
        assert_eq!(applied.len(), 21);
        assert_eq!(applied[20], 12, "an earlier one comes back after later ones");
        let mut skips = Bugs::new(&[Bug::SkipAfterSnapshot]);
        skips.on_snapshot();
        assert!(skips.applied_instead(entry(5)).is_empty());
        assert_eq!(skips.applied_instead(entry(6)).len(), 1);
    }

    /// Node 2 with entries 2 to 5 of term 2 behind a snapshot, all of them committed.
    fn committed_to_5() -> RawNode<Log> {
        let mut snapshot = Snapshot::default();
        (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (1, 1);
        snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2, 3];
        let state = HardState { term: 2, commit: 5, ..HardState::default() };
        let log = Log::new(snapshot, (2..=5).map(entry).collect(), state);
        let config = raft::Config { id: 2, applied: 5, ..raft::Config::default() };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        RawNode::new(&config, log, &silent).expect("a node")
    }

    fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
        let mut message =
            Message { from: 1, to: 2, term: 3, index, log_term, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.entries = entries.into();
        message
    }

    #[test]
    fn a_log_is_cut_before_what_the_leader_contradicts_and_nowhere_else() {
        let node = committed_to_5();
        let cut =
            |index, log_term, entries| contradiction(&node, &append(index, log_term, entries));
        let of_term = |index, term| Entry { term, ..entry(index) };
        assert_eq!(cut(5, 2, vec![of_term(6, 3)]), None, "it goes on where this log ends");
        assert_eq!(cut(3, 2, vec![entry(4), entry(5), of_term(6, 3)]), None, "it repeats");
        assert_eq!(cut(4, 3, vec![of_term(5, 3)]), Some(3), "another entry before its first");
        assert_eq!(cut(2, 2, vec![entry(3), of_term(4, 3)]), Some(3), "another entry at 4");
        assert_eq!(cut(2, 2, vec![entry(3)]), Some(3), "a new leader has no more than that");
        assert_eq!(cut(0, 0, vec![of_term(1, 1), entry(2)]), Some(2), "from the start");
    }

    #[test]
    fn a_cut_log_takes_what_the_leader_has() {
        let cut = |index: u64| {
            let mut node = committed_to_5();
            let log = std::mem::take(node.mut_store()).cut_behind(index);
            let terms =
                log.kept().iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>();
            (terms, log.hard_state().commit, log.last_snapshot().get_metadata().index)
        };
        assert_eq!(cut(3), (vec![(2, 2), (3, 2)], 3, 1));
        assert_eq!(cut(1), (vec![], 1, 1));
        assert_eq!(cut(0), (vec![], 0, 0), "behind the snapshot is nothing to keep");
    }

    #[test]
    fn nobody_counts_on_more_than_there_is() {
        let mut node = committed_to_5();
        let mut beat = Message { from: 1, to: 2, term: 3, commit: 99, ..Message::default() };
        beat.set_msg_type(MessageType::MsgHeartbeat);
        believe(&mut node, &mut beat);
        assert_eq!(beat.commit, 5);
    }

    #[test]
    fn an_answer_is_made_up_for_one_silent_node_only() {
        let mut sent = Message { to: 2, from: 1, term: 4, index: 6, ..Message::default() };
        sent.set_msg_type(MessageType::MsgAppend);
        let bugs = Bugs::new(&[Bug::SmallQuorum]);
        let now = Duration::from_secs(9);
        let answer = bugs.made_up(&sent, &[1, 2, 3], now).expect("node 2 never spoke");
        assert_eq!((answer.from, answer.to, answer.index), (2, 1, 6));
        sent.to = 3;
        assert_eq!(bugs.made_up(&sent, &[1, 2, 3], now), None, "node 3 speaks for itself");
    }
}
