//! Packets that wait in the kernel until they are due: bounded, ordered by due time.
//!
//! Only a few words a packet are kept here; the packet itself stays in its queue. A binary
//! heap over memory that is reserved at the start: pushing never allocates, and a push
//! beyond the limit of a queue is refused.

use super::{Facts, Token};
use crate::rules::table::Mark;
use crate::time::Nanos;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The most packets held of one queue; delays are checked against the same number.
pub const HELD_MAX: usize = crate::rules::table::HELD_MAX as usize;

/// The queue of copies, as tokens name it: their ids are the loop's slots with their bytes.
pub const COPIES: u16 = u16::MAX;

/// The most copies that wait.
pub const COPIES_HELD_MAX: usize = 4_096;

/// One held packet.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// When it leaves.
    pub due: Nanos,
    /// Order of arrival; breaks ties, so that equal due times keep the order they came in.
    pub seq: u64,
    /// Which packet it is.
    pub token: Token,
    /// What rules judge it by, since a new drop also applies to what is held.
    pub facts: Facts,
    /// When it would leave if nothing of its flow stood before it.
    pub own: Nanos,
    /// The rule that holds it until something ends that; `due` is [`Nanos::MAX`] until then.
    pub by: Option<u16>,
    /// The rule that it is held for, and in the how manieth table.
    pub rule: (Option<u16>, u32),
    /// Where the loop keeps the bytes that go instead of this packet, where others do.
    pub slot: Option<u16>,
    /// The mark that it is to bear.
    pub mark: Option<Mark>,
    /// Whether it counts towards its flow's order.
    pub ordered: bool,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.seq).cmp(&(other.due, other.seq))
    }
}

/// The held packets of all queues of a cluster.
#[derive(Debug)]
pub struct Holder {
    heap: BinaryHeap<Reverse<Held>>,
    /// How many of each queue; the last are copies.
    per_queue: Box<[u32]>,
    limit: usize,
    /// How many a rule holds.
    by_rules: usize,
}

impl Holder {
    /// Room for `limit` packets in each of `queues` queues.
    #[must_use]
    pub fn new(queues: usize, limit: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(queues * limit + COPIES_HELD_MAX),
            per_queue: vec![0; queues + 1].into(),
            limit,
            by_rules: 0,
        }
    }

    /// Takes a packet in, or refuses it where its queue holds as many as it may.
    pub fn push(&mut self, held: Held) -> Result<(), Held> {
        let copies = held.token.queue == COPIES;
        let limit = if copies { COPIES_HELD_MAX } else { self.limit };
        let place = self.place(held.token);
        let count = &mut self.per_queue[place];
        if *count as usize >= limit {
            return Err(held);
        }
        *count += 1;
        self.by_rules += usize::from(held.by.is_some());
        self.heap.push(Reverse(held));
        Ok(())
    }

    /// The next packet that is due at `now`, earliest first.
    pub fn pop_due(&mut self, now: Nanos) -> Option<Held> {
        if self.heap.peek()?.0.due > now {
            return None;
        }
        let Reverse(held) = self.heap.pop()?;
        let place = self.place(held.token);
        self.per_queue[place] -= 1;
        self.by_rules -= usize::from(held.by.is_some());
        Some(held)
    }

    /// Which of the counts a packet belongs to.
    fn place(&self, token: Token) -> usize {
        if token.queue == COPIES { self.per_queue.len() - 1 } else { usize::from(token.queue) }
    }

    /// Due time of the earliest packet, where time alone lets it out.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        let first = self.heap.peek().map(|Reverse(held)| held.due);
        first.filter(|due| *due < Nanos::MAX)
    }

    /// Whether rules hold packets.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.by_rules > 0
    }

    /// Lets every packet be changed, in the order in which they came, and sorts them anew.
    pub fn rearrange(&mut self, change: impl FnOnce(&mut [Reverse<Held>])) {
        let mut all = std::mem::take(&mut self.heap).into_vec();
        all.sort_unstable_by_key(|Reverse(held)| held.seq);
        change(&mut all);
        self.by_rules = all.iter().filter(|Reverse(held)| held.by.is_some()).count();
        self.heap = BinaryHeap::from(all);
    }

    /// Takes out every packet for which `leaves` says so. They are asked about in the order
    /// in which they would leave, so that what is drawn for them does not hang on the heap.
    pub fn remove(&mut self, mut leaves: impl FnMut(&Held) -> bool) {
        let (per_queue, by_rules) = (&mut self.per_queue, &mut self.by_rules);
        let mut all = std::mem::take(&mut self.heap).into_vec();
        all.sort_unstable_by_key(|Reverse(held)| (held.due, held.seq));
        all.retain(|Reverse(held)| {
            let leaves = leaves(held);
            if leaves {
                let copies = held.token.queue == COPIES;
                let last = per_queue.len() - 1;
                per_queue[if copies { last } else { usize::from(held.token.queue) }] -= 1;
                *by_rules -= usize::from(held.by.is_some());
            }
            !leaves
        });
        self.heap = BinaryHeap::from(all);
    }

    /// All held packets, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.heap.iter().map(|Reverse(held)| held)
    }

    /// How many are held in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
