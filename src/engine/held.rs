//! Packets that wait in the kernel until they are due: bounded, ordered by due time.
//!
//! Only a few words a packet are kept here; the packet itself stays in its queue. A binary
//! heap over memory that is reserved at the start: pushing never allocates, and a push
//! beyond the limit of a queue is refused.

use super::{Facts, Token};
use crate::time::Nanos;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The most packets held of one queue; delays are checked against the same number.
pub const HELD_MAX: usize = crate::rules::table::HELD_MAX as usize;

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
    /// Where the loop keeps the acknowledgement that this packet was trimmed to.
    pub trim: Option<u16>,
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
    per_queue: Box<[u32]>,
    limit: usize,
}

impl Holder {
    /// Room for `limit` packets in each of `queues` queues.
    #[must_use]
    pub fn new(queues: usize, limit: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(queues * limit),
            per_queue: vec![0; queues].into(),
            limit,
        }
    }

    /// Takes a packet in, or refuses it where its queue holds as many as it may.
    pub fn push(&mut self, held: Held) -> Result<(), Held> {
        let count = &mut self.per_queue[usize::from(held.token.queue)];
        if *count as usize >= self.limit {
            return Err(held);
        }
        *count += 1;
        self.heap.push(Reverse(held));
        Ok(())
    }

    /// The next packet that is due at `now`, earliest first.
    pub fn pop_due(&mut self, now: Nanos) -> Option<Held> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(held) = self.heap.pop()?;
        self.per_queue[usize::from(held.token.queue)] -= 1;
        Some(held)
    }

    /// Due time of the earliest packet.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(held)| held.due)
    }

    /// Takes out every packet for which `leaves` says so. They are asked about in the order
    /// in which they would leave, so that what is drawn for them does not hang on the heap.
    pub fn remove(&mut self, mut leaves: impl FnMut(&Held) -> bool) {
        let per_queue = &mut self.per_queue;
        let mut all = std::mem::take(&mut self.heap).into_vec();
        all.sort_unstable_by_key(|Reverse(held)| (held.due, held.seq));
        all.retain(|Reverse(held)| {
            let leaves = leaves(held);
            if leaves {
                per_queue[usize::from(held.token.queue)] -= 1;
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
