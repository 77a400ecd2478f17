//! The fast queue socket: one configuration message, batches in, answers out in one send.
//!
//! Speaks `nfnetlink_queue` directly (`include/uapi/linux/netfilter/nfnetlink_queue.h`).
//! Packets come by `recvmmsg`; their verdicts are appended to one buffer (`outbox.rs`) and
//! sent together.
//!
//! It refuses to wait: every call returns at once. Loss is not told here (the socket asks
//! for no ENOBUFS); `losses.rs` reads it where the kernel counts it.

use super::netlink::attrs;
use super::nfnetlink::{Builder, Message, messages};
use super::outbox::{Outbox, SUBSYS_QUEUE};
use super::queue::{
    Answer, Faults, Judge, LateAnswer, Neighbour, Packet, PacketQueue, QueueOptions,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Packets taken by one call.
pub const BATCH: usize = 64;

/// Single packets in a row after which one is asked for at a time.
const ALONE: u32 = 8;

/// Room for the attributes beside a packet's bytes.
const ATTRIBUTES_MAX: usize = 512;

/// Bytes of received messages that the socket may hold; the default overflows at 256 small
/// packets.
pub(super) const RECEIVE_BUFFER: usize = 64 << 20;

const MSG_PACKET: u16 = SUBSYS_QUEUE;
const MSG_CONFIG: u16 = SUBSYS_QUEUE | 2;

const CFG_CMD: u16 = 1;
const CFG_PARAMS: u16 = 2;
const CFG_QUEUE_MAXLEN: u16 = 3;
const CFG_MASK: u16 = 4;
const CFG_FLAGS: u16 = 5;
const CMD_BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const FLAG_GSO: u32 = 4;

const ATTR_PACKET_HDR: u16 = 1;
const ATTR_MARK: u16 = 3;
const ATTR_IFINDEX_PHYSINDEV: u16 = 7;
const ATTR_HWADDR: u16 = 9;
const ATTR_PAYLOAD: u16 = 10;
const ATTR_CAP_LEN: u16 = 13;
const ATTR_SKB_INFO: u16 = 14;
const SKB_GSO: u32 = 2;

/// The fast implementation of [`PacketQueue`].
#[derive(Debug)]
pub struct NfQueue {
    fd: OwnedFd,
    inbox: Inbox,
    /// Datagrams of the inbox that are not judged yet.
    fetched: usize,
    out: Outbox,
    neighbours: bool,
    faults: Faults,
}

impl NfQueue {
    /// Binds and configures a queue in the network namespace of the calling thread.
    ///
    /// Fails with `EPERM` where another process has bound that number, or where the caller
    /// lacks `CAP_NET_ADMIN`.
    pub fn open(options: QueueOptions) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        no_enobufs(&fd)?;
        let mut queue = Self {
            fd,
            inbox: Inbox::new(options.copy as usize + ATTRIBUTES_MAX),
            fetched: 0,
            out: Outbox::new(options.number, options.second),
            neighbours: false,
            faults: Faults::default(),
        };
        queue.configure(options)?;
        Ok(queue)
    }

    /// Everything in one message, so that the queue is never bound without being configured.
    ///
    /// Where a rule is in already, packets may come before the acknowledgement: they are
    /// accepted, as they were until now.
    fn configure(&mut self, options: QueueOptions) -> io::Result<()> {
        send(self.fd.as_raw_fd(), configuration(options).bytes(), MsgFlags::empty())?;
        let mut answer = vec![0; self.inbox.slot];
        loop {
            let len = recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            for message in messages(&answer[..len]) {
                if message.kind == libc::NLMSG_ERROR as u16 {
                    send_out(&self.fd, &mut self.out)?;
                    return match message.error() {
                        0 => Ok(()),
                        error => Err(io::Error::from_raw_os_error(-error)),
                    };
                }
                if let Parsed::Packet(packet) = parse(&message, false) {
                    self.out.answer(&packet, Answer::Accept);
                }
            }
        }
    }
}

impl PacketQueue for NfQueue {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn fetch(&mut self) -> io::Result<usize> {
        if self.fetched == 0 {
            self.fetched = self.inbox.fill(self.fd.as_fd())?;
        }
        Ok(self.fetched)
    }

    fn judge(&mut self, judge: &mut impl Judge) -> io::Result<()> {
        for i in 0..std::mem::take(&mut self.fetched) {
            let datagram = self.inbox.datagram(i);
            // The kernel sends one message a datagram; one that is cut yields none.
            if messages(datagram).next().is_none() {
                self.faults.garbled += 1;
            }
            for message in messages(datagram) {
                match parse(&message, self.neighbours) {
                    Parsed::Packet(packet) => {
                        self.out.answer(&packet, judge.judge(&packet));
                        if self.out.is_full() {
                            send_out(&self.fd, &mut self.out)?;
                        }
                    }
                    Parsed::Refused => self.faults.refused += 1,
                    Parsed::Garbled => self.faults.garbled += 1,
                    Parsed::Nothing => {}
                }
            }
        }
        self.out.end_run();
        Ok(())
    }

    fn answer(&mut self, id: u32, answer: LateAnswer<'_>) -> io::Result<()> {
        self.out.late(id, answer)?;
        if self.out.is_full() { send_out(&self.fd, &mut self.out) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        send_out(&self.fd, &mut self.out)
    }

    fn has_unsent(&self) -> bool {
        !self.out.bytes().is_empty()
    }

    fn tell_neighbours(&mut self, tell: bool) {
        self.neighbours = tell;
    }

    fn faults(&self) -> Faults {
        self.faults
    }
}

/// Hands the answers so far to the kernel.
fn send_out(fd: &OwnedFd, out: &mut Outbox) -> io::Result<()> {
    out.end_run();
    if out.bytes().is_empty() {
        return Ok(());
    }
    match send(fd.as_raw_fd(), out.bytes(), MsgFlags::empty()) {
        Ok(_) => {
            out.clear();
            Ok(())
        }
        // The kernel had no memory to take the verdicts, and acted on none: they go with
        // the next round, which comes within a tenth of a second.
        Err(nix::errno::Errno::ENOBUFS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

enum Parsed<'a> {
    Packet(Packet<'a>),
    Refused,
    Garbled,
    Nothing,
}

fn parse<'a>(message: &Message<'a>, neighbours: bool) -> Parsed<'a> {
    if message.kind == libc::NLMSG_ERROR as u16 {
        return if message.error() == 0 { Parsed::Nothing } else { Parsed::Refused };
    }
    if message.kind != MSG_PACKET {
        return Parsed::Nothing;
    }
    let (mut id, mut bytes, mut len, mut gso, mut mark) = (None, None, None, false, 0);
    let (mut device, mut mac) = (None, None);
    for (kind, value) in attrs(message.body.get(4..).unwrap_or_default()) {
        match kind {
            ATTR_PACKET_HDR => id = be32(value),
            ATTR_PAYLOAD => bytes = Some(value),
            ATTR_CAP_LEN => len = be32(value),
            ATTR_MARK => mark = be32(value).unwrap_or(0),
            ATTR_IFINDEX_PHYSINDEV if neighbours => device = be32(value),
            ATTR_HWADDR if neighbours => mac = hardware_address(value),
            ATTR_SKB_INFO => gso = be32(value).unwrap_or(0) & SKB_GSO != 0,
            _ => {}
        }
    }
    let Some(id) = id else { return Parsed::Garbled };
    // A packet without payload still has to be answered; it is unreadable to the engine.
    let bytes = bytes.unwrap_or_default();
    // The kernel tells the length only where it copied less.
    let len = len.unwrap_or(bytes.len() as u32);
    let from = device.zip(mac).map(|(device, mac)| Neighbour { device, mac });
    Parsed::Packet(Packet { id, bytes, len, gso, mark, from })
}

/// Its length, two bytes of nothing, and the address, where it is one of Ethernet.
fn hardware_address(value: &[u8]) -> Option<[u8; 6]> {
    let (len, rest) = value.split_first_chunk()?;
    (u16::from_be_bytes(*len) == 6).then(|| rest.get(2..8)?.try_into().ok())?
}

fn be32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.get(..4)?.try_into().ok()?))
}

fn configuration(options: QueueOptions) -> Builder {
    let mut message = Builder::with_capacity(128);
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    message.begin(MSG_CONFIG, flags, options.number);
    message.attribute(CFG_CMD, &[CMD_BIND, 0, 0, 0]);
    let copy = options.copy.to_be_bytes();
    message.attribute(CFG_PARAMS, &[copy[0], copy[1], copy[2], copy[3], COPY_PACKET]);
    message.attribute(CFG_QUEUE_MAXLEN, &options.max_len.to_be_bytes());
    message.attribute(CFG_MASK, &FLAG_GSO.to_be_bytes());
    message.attribute(CFG_FLAGS, &(if options.gso { FLAG_GSO } else { 0 }).to_be_bytes());
    message.end();
    message
}

fn no_enobufs(fd: &OwnedFd) -> io::Result<()> {
    super::nfnetlink::set_option(fd, libc::NETLINK_NO_ENOBUFS, 1)
}

/// Where `recvmmsg` puts a batch.
struct Inbox {
    memory: Vec<u8>,
    slot: usize,
    lens: [u32; BATCH],
    /// Packets to ask for: twice what came last.
    ask: usize,
    /// Calls in a row that brought one packet or none.
    alone: u32,
    headers: Box<[libc::mmsghdr; BATCH]>,
    /// The headers point here.
    _iovecs: Vec<libc::iovec>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("slot", &self.slot).finish_non_exhaustive()
    }
}

#[expect(unsafe_code, reason = "recvmmsg needs raw headers that stay where they are")]
// SAFETY: the raw pointers lead into memory that the inbox owns and never moves or grows.
unsafe impl Send for Inbox {}

impl Inbox {
    #[expect(unsafe_code, reason = "recvmmsg needs raw headers that stay where they are")]
    fn new(slot: usize) -> Self {
        let mut memory = vec![0; slot * BATCH];
        let base: *mut u8 = memory.as_mut_ptr();
        let slot_at = |i| libc::iovec {
            // SAFETY: i < BATCH, so the slot lies inside the memory.
            iov_base: unsafe { base.add(i * slot) }.cast(),
            iov_len: slot,
        };
        let mut iovecs: Vec<_> = (0..BATCH).map(slot_at).collect();
        let first: *mut libc::iovec = iovecs.as_mut_ptr();
        let headers = Box::new(std::array::from_fn(|i| {
            // SAFETY: all zeroes is a valid msghdr (null pointers, no lengths).
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            // SAFETY: i < BATCH, the length of the array.
            header.msg_hdr.msg_iov = unsafe { first.add(i) };
            header.msg_hdr.msg_iovlen = 1;
            header
        }));
        Self { memory, slot, lens: [0; BATCH], ask: 1, alone: 0, headers, _iovecs: iovecs }
    }

    /// Takes what waits, at most a batch; 0 where nothing does.
    fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // While packets come singly a plain receive is cheaper than one that looks for a
        // second. Now and then that is looked for, to notice when they no longer do.
        let got = if self.alone >= ALONE && !self.alone.is_multiple_of(ALONE) {
            self.fill_one(fd)?
        } else {
            self.fill_many(fd)?
        };
        self.alone = if got > 1 { 0 } else { self.alone.wrapping_add(1) };
        Ok(got)
    }

    #[expect(unsafe_code, reason = "receives where recvmmsg does, by the same header")]
    fn fill_one(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let header = &raw mut self.headers[0].msg_hdr;
        // SAFETY: one header with one iovec, as in fill_many.
        let len = unsafe { libc::recvmsg(fd.as_raw_fd(), header, libc::MSG_DONTWAIT) };
        let Ok(len) = u32::try_from(len) else { return nothing_or_error() };
        self.lens[0] = len;
        Ok(1)
    }

    #[expect(unsafe_code, reason = "nix's recvmmsg allocates for every call")]
    fn fill_many(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: BATCH headers, each with one iovec that covers its own slot of memory
        // that lives as long as self; the kernel writes nothing beyond them.
        let got = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.ask as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(got) = usize::try_from(got) else { return nothing_or_error() };
        self.ask = (got * 2).clamp(1, BATCH);
        for (len, header) in self.lens.iter_mut().zip(self.headers.iter()).take(got) {
            *len = header.msg_len;
        }
        Ok(got)
    }

    fn datagram(&self, i: usize) -> &[u8] {
        let start = i * self.slot;
        let len = (self.lens[i] as usize).min(self.slot);
        &self.memory[start..start + len]
    }
}

/// What a failed receive means: mostly that nothing waits.
fn nothing_or_error() -> io::Result<usize> {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Ok(0),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketView;
    use proptest::prelude::*;

    fn message(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::with_capacity(256);
        builder.begin(MSG_PACKET, 0, 7);
        for (kind, value) in attributes {
            builder.attribute(*kind, value);
        }
        builder.end();
        builder.bytes().to_vec()
    }

    fn parsed(bytes: &[u8]) -> Parsed<'_> {
        parse(&messages(bytes).next().expect("one message"), true)
    }

    #[test]
    fn a_packet_is_read_with_its_length_and_its_gso_flag() {
        let header = [0, 0, 0, 9, 8, 0, 1];
        let whole = message(&[(ATTR_PACKET_HDR, &header), (ATTR_PAYLOAD, b"abc")]);
        let Parsed::Packet(packet) = parsed(&whole) else { panic!("a packet") };
        assert_eq!((packet.id, packet.bytes, packet.len, packet.gso), (9, &b"abc"[..], 3, false));
        let cut = message(&[
            (ATTR_PACKET_HDR, &header),
            (ATTR_CAP_LEN, &64_000u32.to_be_bytes()),
            (ATTR_SKB_INFO, &SKB_GSO.to_be_bytes()),
            (ATTR_PAYLOAD, b"abc"),
        ]);
        let Parsed::Packet(packet) = parsed(&cut) else { panic!("a packet") };
        assert_eq!((packet.len, packet.gso), (64_000, true));
        assert_eq!(packet.from, None);
        let mac = [0, 6, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0];
        let bridged = message(&[
            (ATTR_PACKET_HDR, &header),
            (ATTR_IFINDEX_PHYSINDEV, &5u32.to_be_bytes()),
            (ATTR_HWADDR, &mac),
        ]);
        let Parsed::Packet(packet) = parsed(&bridged) else { panic!("a packet") };
        assert_eq!(packet.from, Some(Neighbour { device: 5, mac: [2, 0, 0, 0, 0, 9] }));
        for cut in 0..10 {
            let bridged = message(&[(ATTR_PACKET_HDR, &header), (ATTR_HWADDR, &mac[..cut])]);
            let Parsed::Packet(packet) = parsed(&bridged) else { panic!("a packet") };
            assert_eq!(packet.from, None);
        }
        let nameless = message(&[(ATTR_PAYLOAD, b"abc")]);
        assert!(matches!(parsed(&nameless), Parsed::Garbled));
    }

    proptest! {
        #[test]
        fn no_attributes_make_the_parser_panic(
            attributes in prop::collection::vec(
                (0u16..20, prop::collection::vec(any::<u8>(), 0..80)), 0..6),
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let attributes: Vec<_> = attributes.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            let mut bytes = message(&attributes);
            for (at, byte) in noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            for message in messages(&bytes) {
                if let Parsed::Packet(packet) = parse(&message, true) {
                    let _ = PacketView::parse(packet.bytes, packet.len, 1500);
                }
            }
        }
    }
}
