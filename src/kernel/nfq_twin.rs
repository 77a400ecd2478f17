//! The simple twin of [`super::nfqueue`]: the `nfq` crate behind the same trait.
//!
//! One receive and one send a packet, and memory for every packet that is held. It is
//! there to check the fast socket against, to measure beside it, and for whoever prefers
//! it (`--queue nfq`). It cannot change its settings while packets come: the crate drops
//! what arrives while it waits for the kernel's acknowledgement. It has no second queue: the
//! crate cannot send a packet to one without losing it where nobody reads that.

use super::queue::{
    Answer, Faults, Judge, LateAnswer, Neighbour, Packet, PacketQueue, QueueOptions, REPLACE_MAX,
};
use crate::engine::mangle::{self, HEADERS_MAX};
use nfq::{Message, Queue, Verdict};
use nix::fcntl::{FcntlArg, FdFlag};
use nix::sys::socket::{setsockopt, sockopt};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Mutex;

/// Packets taken by one call.
const BATCH: usize = 64;

/// Held while a queue is opened, so that the descriptor that appears is its own.
static OPENING: Mutex<()> = Mutex::new(());

/// The `nfq` crate's queue.
pub struct NfqTwin {
    queue: Queue,
    fd: RawFd,
    /// A batch that is not judged yet.
    fetched: Vec<Message>,
    kept: FxHashMap<u32, Message>,
    neighbours: bool,
    faults: Faults,
}

impl std::fmt::Debug for NfqTwin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NfqTwin").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl NfqTwin {
    /// Binds and configures a queue in the network namespace of the calling thread.
    pub fn open(options: QueueOptions) -> io::Result<Self> {
        let (mut queue, fd) = {
            let _one_at_a_time = OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let before = netfilter_sockets()?;
            let queue = Queue::open()?;
            let fd = netfilter_sockets()?.difference(&before).next().copied();
            (queue, fd.ok_or_else(|| io::Error::other("the nfq crate's socket was not found"))?)
        };
        give_room(fd)?;
        close_on_exec(fd)?;
        queue.bind(options.number)?;
        queue.set_copy_range(options.number, options.copy.min(u32::from(u16::MAX)) as u16)?;
        queue.set_recv_gso(options.number, options.gso)?;
        queue.set_queue_max_len(options.number, options.max_len)?;
        queue.set_nonblocking(true);
        Ok(Self {
            queue,
            fd,
            fetched: Vec::new(),
            kept: FxHashMap::default(),
            neighbours: false,
            faults: Faults::default(),
        })
    }

    fn send(&mut self, mut message: Message, verdict: Verdict) -> io::Result<()> {
        message.set_verdict(verdict);
        self.queue.verdict(message)
    }

    /// It goes on, with a mark and other bytes where there are some.
    fn pass(
        &mut self,
        mut message: Message,
        mark: Option<u32>,
        bytes: Option<&[u8]>,
    ) -> io::Result<()> {
        if let Some(mark) = mark {
            message.set_nfmark(mark);
        }
        if let Some(bytes) = bytes {
            message.set_payload(bytes);
        }
        self.send(message, Verdict::Accept)
    }
}

fn neighbour(message: &Message) -> Option<Neighbour> {
    let mac = message.get_hw_addr()?.try_into().ok()?;
    let device = message.get_physindev();
    (device != 0).then_some(Neighbour { device, mac })
}

/// Closes the socket in children; the crate does not ask for that. A child that had it, such
/// as the guardian, would keep the queue bound when raftq is dead, and packets would wait
/// there for nobody.
#[expect(unsafe_code, reason = "the crate does not lend its descriptor")]
fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor was just found open, and the queue that owns it lives.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    nix::fcntl::fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Netfilter netlink sockets of this process. The crate does not tell its descriptor, and
/// without it there is nothing to poll.
fn netfilter_sockets() -> io::Result<BTreeSet<RawFd>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|s| s.parse().ok()) else { continue };
        if socket_option(fd, libc::SO_DOMAIN) == Some(libc::AF_NETLINK)
            && socket_option(fd, libc::SO_PROTOCOL) == Some(libc::NETLINK_NETFILTER)
        {
            found.insert(fd);
        }
    }
    Ok(found)
}

/// The crate leaves the receive buffer as it is, which overflows at 256 small packets.
#[expect(unsafe_code, reason = "the crate owns the descriptor and does not lend it")]
fn give_room(fd: RawFd) -> io::Result<()> {
    // SAFETY: the caller holds the crate's queue, which keeps this descriptor open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(setsockopt(&fd, sockopt::RcvBufForce, &super::nfqueue::RECEIVE_BUFFER)?)
}

#[expect(unsafe_code, reason = "nix does not read SO_DOMAIN and SO_PROTOCOL")]
fn socket_option(fd: RawFd, option: i32) -> Option<i32> {
    let mut value = 0i32;
    let mut len = std::mem::size_of::<i32>() as u32;
    // SAFETY: value and len live on this stack frame and len tells value's size; a bad
    // descriptor is answered by an error.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut len)
    };
    (result == 0).then_some(value)
}

impl PacketQueue for NfqTwin {
    #[expect(unsafe_code, reason = "the crate owns the descriptor and does not lend it")]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: self.queue keeps this descriptor open as long as self lives.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    fn fetch(&mut self) -> io::Result<usize> {
        // Refusals wait among packets.
        let mut refused = 0;
        while self.fetched.len() + refused < BATCH {
            match self.queue.recv() {
                Ok(message) => self.fetched.push(message),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => refused += 1,
                Err(e) => return Err(e),
            }
        }
        self.faults.refused += refused as u64;
        Ok(self.fetched.len() + refused)
    }

    fn judge(&mut self, judge: &mut impl Judge) -> io::Result<()> {
        for message in std::mem::take(&mut self.fetched) {
            let packet = Packet {
                id: message.get_packet_id(),
                bytes: message.get_payload(),
                len: message.get_original_len() as u32,
                gso: message.is_seg_offloaded(),
                mark: message.get_nfmark(),
                from: if self.neighbours { neighbour(&message) } else { None },
            };
            let mut out = [0; HEADERS_MAX];
            match judge.judge(&packet) {
                Answer::Accept | Answer::Segment => self.pass(message, None, None)?,
                Answer::Mark(mark) => self.pass(message, Some(mark), None)?,
                Answer::Replace(bytes, mark) if bytes.len() <= REPLACE_MAX => {
                    let bytes = bytes.to_vec();
                    self.pass(message, mark, Some(&bytes))?;
                }
                Answer::Drop | Answer::Replace(..) => self.send(message, Verdict::Drop)?,
                Answer::Keep => {
                    self.kept.insert(message.get_packet_id(), message);
                }
                Answer::Trim(view, mark) => match mangle::trim(packet.bytes, &view, &mut out) {
                    Some(len) => self.pass(message, mark, Some(&out[..len]))?,
                    None => self.send(message, Verdict::Drop)?,
                },
                Answer::Reset(view, seq) => match mangle::reset(packet.bytes, &view, seq, &mut out)
                {
                    Some(len) => self.pass(message, None, Some(&out[..len]))?,
                    None => self.send(message, Verdict::Drop)?,
                },
            }
        }
        Ok(())
    }

    fn answer(&mut self, id: u32, answer: LateAnswer<'_>) -> io::Result<()> {
        if matches!(answer, LateAnswer::Replace(bytes, _) if bytes.len() > REPLACE_MAX) {
            return Err(super::queue::too_long());
        }
        let Some(message) = self.kept.remove(&id) else {
            self.faults.refused += 1;
            return Ok(());
        };
        match answer {
            LateAnswer::Accept | LateAnswer::Segment => self.pass(message, None, None),
            LateAnswer::Mark(mark) => self.pass(message, Some(mark), None),
            LateAnswer::Drop => self.send(message, Verdict::Drop),
            LateAnswer::Replace(bytes, mark) => self.pass(message, mark, Some(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn tell_neighbours(&mut self, tell: bool) {
        self.neighbours = tell;
    }

    fn faults(&self) -> Faults {
        self.faults
    }
}
