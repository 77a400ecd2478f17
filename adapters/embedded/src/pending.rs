//! Requests that wait for the cluster: proposals for being applied, reads for their index.

use crate::command::CommandId;
use crate::http::{Answer, Reply};
use crate::machine::Machine;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

/// The most requests that wait; more are refused, and were not done.
pub(crate) const WAITING_MAX: usize = 10_000;

/// What a client asked to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    /// One key.
    Get(String),
    /// Keys with a prefix.
    List(String),
}

impl Query {
    /// The answer from a map.
    pub(crate) fn answer(&self, machine: &Machine) -> Answer {
        match self {
            Self::Get(key) => Answer::Value(machine.get(key).cloned()),
            Self::List(prefix) => {
                Answer::Listing(machine.list(prefix).map(|(k, v)| (k.clone(), v.clone())).collect())
            }
        }
    }
}

/// A read, from the question for its index to the moment this index is applied.
#[derive(Debug)]
struct Read {
    query: Query,
    reply: Reply,
    deadline: Instant,
    asked: Instant,
    /// Its number in the question now under way.
    number: u64,
}

/// All requests under way.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    proposals: HashMap<CommandId, (Reply, Instant)>,
    /// Reads that wait for an index, by the number of their question.
    reads: BTreeMap<u64, Read>,
    /// Reads that wait for this index to be applied.
    ready: VecDeque<(u64, Read)>,
    next: u64,
}

impl Pending {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.proposals.len() + self.reads.len() + self.ready.len()
    }

    /// A number that was never used by this process.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A proposal that was handed to the crate.
    pub(crate) fn proposed(&mut self, id: CommandId, reply: Reply, deadline: Instant) {
        self.proposals.insert(id, (reply, deadline));
    }

    /// Takes out the one who waits for a proposal.
    pub(crate) fn applied(&mut self, id: CommandId) -> Option<Reply> {
        self.proposals.remove(&id).map(|(reply, _)| reply)
    }

    /// A new read; the number its question must bear.
    pub(crate) fn read(
        &mut self,
        query: Query,
        reply: Reply,
        now: Instant,
        deadline: Instant,
    ) -> u64 {
        let number = self.number();
        self.reads.insert(number, Read { query, reply, deadline, asked: now, number });
        number
    }

    /// A question was answered: the read may be answered once this index is applied.
    pub(crate) fn indexed(&mut self, number: u64, index: u64) {
        if let Some(read) = self.reads.remove(&number) {
            self.ready.push_back((index, read));
        }
    }

    /// Answers the reads whose index is applied.
    pub(crate) fn answer_reads(&mut self, applied: u64, machine: &Machine) {
        self.ready = std::mem::take(&mut self.ready)
            .into_iter()
            .filter_map(|(index, read)| {
                if index > applied {
                    return Some((index, read));
                }
                read.reply.send(read.query.answer(machine));
                None
            })
            .collect();
    }

    /// Numbers under which old questions are to be asked anew: the crate forgets a question
    /// that finds no leader, or a leader without a commit in its term. Reading twice is harmless.
    pub(crate) fn ask_anew(&mut self, before: Instant, now: Instant) -> Vec<u64> {
        let old: Vec<u64> =
            self.reads.values().filter(|r| r.asked < before).map(|r| r.number).collect();
        old.into_iter()
            .filter_map(|number| {
                let mut read = self.reads.remove(&number)?;
                let number = self.number();
                (read.number, read.asked) = (number, now);
                self.reads.insert(number, read);
                Some(number)
            })
            .collect()
    }

    /// Gives up what waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over: Vec<CommandId> =
            self.proposals.iter().filter(|(_, (_, d))| *d <= now).map(|(id, _)| *id).collect();
        for id in over {
            if let Some(reply) = self.applied(id) {
                reply.send(Answer::TimedOut);
            }
        }
        let over: Vec<u64> =
            self.reads.values().filter(|r| r.deadline <= now).map(|r| r.number).collect();
        for number in over {
            if let Some(read) = self.reads.remove(&number) {
                read.reply.send(Answer::TimedOut);
            }
        }
        let (late, ready) = std::mem::take(&mut self.ready)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, read)| read.deadline <= now);
        self.ready = ready;
        for (_, read) in late {
            read.reply.send(Answer::TimedOut);
        }
    }
}
