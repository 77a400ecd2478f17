//! The queues of the loop, and the order in which the kernel hears their answers.
//!
//! A lane is where packets of some nodes come by: a first queue, and a second one for what has to
//! be single segments. Packets of one flow come by both, so the answers of a lane have to reach
//! the kernel in the order in which they were given: whoever asks for one of its queues has the
//! other's answers sent. Queues are named as tokens name them: the first ones, then the second
//! ones in the same order.

use crate::kernel::queue::PacketQueue;
use std::io;

/// One place where packets are queued.
#[derive(Debug)]
pub struct Lane<Q> {
    /// The queue that a rule points at.
    pub queue: Q,
    /// Where its packets come again, whole and cut into wire segments. All lanes have one, or none.
    pub second: Option<Q>,
    /// What its device carries at a time, bytes; sizes the segments of GSO packets.
    pub mtu: u32,
}

/// What the judgement of a packet needs to know of its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    /// Its number in tokens.
    pub(super) queue: u16,
    /// The lane, and with it the network stack.
    pub(super) stack: u16,
    pub(super) mtu: u32,
    pub(super) has_second: bool,
}

/// All lanes of a loop.
#[derive(Debug)]
pub(super) struct Lanes<Q>(Vec<Lane<Q>>);

impl<Q: PacketQueue> Lanes<Q> {
    pub(super) fn new(lanes: Vec<Lane<Q>>) -> Self {
        Self(lanes)
    }

    /// How many lanes, and so first queues, there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn have_seconds(&self) -> bool {
        self.0.iter().all(|lane| lane.second.is_some())
    }

    /// All queues in the order of their numbers.
    pub(super) fn queues(&self) -> impl Iterator<Item = &Q> {
        let firsts = self.0.iter().map(|lane| &lane.queue);
        firsts.chain(self.0.iter().filter_map(|lane| lane.second.as_ref()))
    }

    pub(super) fn info(&self, queue: usize) -> Info {
        let stack = queue % self.0.len();
        let Lane { mtu, second, .. } = &self.0[stack];
        let has_second = second.is_some();
        Info { queue: queue as u16, stack: stack as u16, mtu: *mtu, has_second }
    }

    /// A queue that is about to get answers; the other one of its lane has sent its own.
    #[inline]
    pub(super) fn queue(&mut self, queue: usize) -> io::Result<&mut Q> {
        let lanes = self.0.len();
        let lane = &mut self.0[queue % lanes];
        if queue < lanes {
            if let Some(second) = &mut lane.second {
                second.flush()?;
            }
            return Ok(&mut lane.queue);
        }
        lane.queue.flush()?;
        lane.second.as_mut().ok_or_else(|| io::Error::other("a lane without a second queue"))
    }

    /// Hands all answers to the kernel.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        for lane in &mut self.0 {
            lane.queue.flush()?;
            if let Some(second) = &mut lane.second {
                second.flush()?;
            }
        }
        Ok(())
    }

    /// Whether packets of first queues tell which device they came from.
    pub(super) fn tell_neighbours(&mut self, tell: bool) {
        for lane in &mut self.0 {
            lane.queue.tell_neighbours(tell);
        }
    }

    /// Whether the kernel has not taken some answers of first queues.
    pub(super) fn have_unsent(&self) -> bool {
        self.0.iter().any(|lane| lane.queue.has_unsent())
    }
}
