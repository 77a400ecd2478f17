//! A kernel packet queue as the loop sees it; two implementations stand behind it.

use crate::packet::PacketView;
use std::io;
use std::os::fd::BorrowedFd;

/// How a queue is opened.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// Its number, as in the iptables rule.
    pub number: u16,
    /// Bytes copied of each packet.
    pub copy: u32,
    /// Packets the kernel holds at most; this kernel never holds more than 65,536.
    pub max_len: u32,
    /// Whether GSO packets come whole (fast) or cut into wire segments.
    pub gso: bool,
    /// The queue that [`Answer::Segment`] sends packets to; without one they go on.
    pub second: Option<u16>,
}

/// Bytes that show the headers of any packet.
const HEADERS: u32 = 128;

/// The most that the kernel copies of a packet: an attribute's length has 16 bits, its header
/// included.
const WHOLE: u32 = u16::MAX as u32 - 4;

impl QueueOptions {
    /// The usual options for one queue: headers are copied, and no more, which is fast.
    #[must_use]
    pub fn new(number: u16, gso: bool) -> Self {
        Self { number, copy: HEADERS, max_len: 65_536, gso, second: None }
    }

    /// The queue behind a first one, which single segments come by, each of them whole. What is
    /// kept of it may come again, behind all that it holds: it is its own second queue.
    #[must_use]
    pub fn of_segments(number: u16) -> Self {
        Self::new(number, false).whole(true).before(Some(number))
    }

    /// The same, with a second queue behind it.
    #[must_use]
    pub fn before(self, second: Option<u16>) -> Self {
        Self { second, ..self }
    }

    /// The same, with packets copied whole, as far as the kernel can, where they are to be read.
    #[must_use]
    pub fn whole(self, whole: bool) -> Self {
        Self { copy: if whole { WHOLE } else { HEADERS }, ..self }
    }
}

/// A packet that came out of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The kernel's id, by which it is answered.
    pub id: u32,
    /// The first bytes, from the IP header on.
    pub bytes: &'a [u8],
    /// Length of the whole packet.
    pub len: u32,
    /// Whether it stands for several wire segments.
    pub gso: bool,
    /// The mark that it bears.
    pub mark: u32,
    /// The device that it came from over a bridge, where that is asked for
    /// ([`PacketQueue::tell_neighbours`]) and told.
    pub from: Option<Neighbour>,
}

/// A device at the other end of a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the port.
    pub device: u32,
    /// Address of the device behind it.
    pub mac: [u8; 6],
}

/// The immediate answer to a packet. A mark, where one is given, is the packet's from then on,
/// for whatever comes behind raftq in its way.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Goes on.
    Accept,
    /// Goes on with this mark.
    Mark(u32),
    /// Is discarded.
    Drop,
    /// Its bare acknowledgement goes on; dropped where it cannot be trimmed.
    Trim(PacketView, Option<u32>),
    /// A RST with this sequence number goes on instead; dropped where none can be made of it.
    Reset(PacketView, u32),
    /// These bytes go on instead of it: a whole packet with right checksums, of at most
    /// [`REPLACE_MAX`] bytes; dropped where they are more.
    Replace(&'a [u8], Option<u32>),
    /// Comes again by the second queue, whole and cut into wire segments. Goes on where there is
    /// no such queue, or nobody reads it.
    Segment,
    /// Stays in the kernel until [`PacketQueue::answer`].
    Keep,
}

/// What is answered later to a packet that was kept; marks as in [`Answer`].
#[derive(Clone, Copy, Debug)]
pub enum LateAnswer<'a> {
    /// Goes on.
    Accept,
    /// Goes on with this mark.
    Mark(u32),
    /// Is discarded.
    Drop,
    /// These bytes go on instead of it: a whole packet with right checksums, of at most
    /// [`REPLACE_MAX`] bytes.
    Replace(&'a [u8], Option<u32>),
    /// Comes again by the second queue, as by [`Answer::Segment`].
    Segment,
}

impl Answer<'_> {
    /// It goes on, with a mark where there is one.
    #[must_use]
    pub fn accept(mark: Option<u32>) -> Self {
        mark.map_or(Self::Accept, Self::Mark)
    }
}

impl LateAnswer<'_> {
    /// It goes on, with a mark where there is one.
    #[must_use]
    pub fn accept(mark: Option<u32>) -> Self {
        mark.map_or(Self::Accept, Self::Mark)
    }
}

/// The most bytes a packet may be replaced by: a netlink attribute holds no more.
pub const REPLACE_MAX: usize = u16::MAX as usize - 4;

/// What [`PacketQueue::answer`] says to a longer one; the packet stays kept.
pub(super) fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a packet of that length cannot be handed back")
}

/// Things a queue noticed about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Verdicts that the kernel refused, mostly because the packet was gone.
    pub refused: u64,
    /// Messages that could not be read.
    pub garbled: u64,
}

/// Answers packets, and lends the bytes that go on instead of them.
pub trait Judge {
    /// The answer to a packet; they come in the order in which they were queued.
    fn judge<'a>(&'a mut self, packet: &'a Packet<'_>) -> Answer<'a>;
}

/// A closure that answers packets, and lends nothing.
struct Each<F>(F);

impl<F: FnMut(&Packet<'_>) -> Answer<'static>> Judge for Each<F> {
    #[inline]
    fn judge<'a>(&'a mut self, packet: &'a Packet<'_>) -> Answer<'a> {
        (self.0)(packet)
    }
}

/// A kernel packet queue.
pub trait PacketQueue {
    /// Readable when packets wait.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Takes in up to a batch of waiting packets, to be judged next; where a batch is not judged
    /// yet, it stays and none is taken. Returns how many there are, 0 when none waits. Never
    /// blocks. A time that is read after this is later than all of them.
    fn fetch(&mut self) -> io::Result<usize>;

    /// Answers each packet of the batch as `judge` says.
    fn judge(&mut self, judge: &mut impl Judge) -> io::Result<()>;

    /// Fetches a batch and answers it; returns how many there were.
    fn receive_with(&mut self, judge: &mut impl Judge) -> io::Result<usize> {
        let got = self.fetch()?;
        self.judge(judge)?;
        Ok(got)
    }

    /// The same with a closure.
    fn receive(&mut self, each: impl FnMut(&Packet<'_>) -> Answer<'static>) -> io::Result<usize> {
        self.receive_with(&mut Each(each))
    }

    /// Answers a packet that was kept: each of them once. Where the packet is gone by now
    /// (its device went down) that is counted, not told.
    fn answer(&mut self, id: u32, answer: LateAnswer<'_>) -> io::Result<()>;

    /// Hands all answers to the kernel, which acts on them before this returns: what was sent
    /// to a second queue is in it.
    fn flush(&mut self) -> io::Result<()>;

    /// Whether there are answers that the kernel does not have, as where it had no memory to take
    /// them.
    fn has_unsent(&self) -> bool;

    /// Whether packets tell from now on which device they came from ([`Packet::from`]).
    fn tell_neighbours(&mut self, tell: bool);

    /// What went wrong so far.
    fn faults(&self) -> Faults;
}
