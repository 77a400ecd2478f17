//! One `sock_diag` socket: the kernel's own list of sockets, asked for one or for all.
//!
//! It answers with addresses, state, inode and cgroup, and with what TCP has measured where that
//! is asked for; which process holds an inode is the matter of `owners/procfs.rs`. It never reads
//! `/proc/net/tcp`, which costs milliseconds. IPv4 comes back mapped, so that a caller sees one
//! kind of address whichever family a socket was opened in.

use crate::packet::{Endpoint, Proto};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla as _,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as KernelAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io;
use std::net::{IpAddr, SocketAddr};

pub(super) use netlink_packet_sock_diag::inet::StateFlags;

/// How long the kernel may take for one answer. It works while we call, so this is met by
/// far; it is there so that the thread that asks can never hang.
const ANSWER_MS: i64 = 20;
/// The kernel fills at most this much at once (`netlink_recvmsg`).
const BUFFER_LEN: usize = 32 * 1024;
/// `INET_DIAG_CGROUP_ID` of `linux/inet_diag.h`; the crate hands it over unread.
const CGROUP_ID: u16 = 21;

/// One socket as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sock {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    /// `TCP_*` of the kernel, for UDP as well: established where connected, else close.
    pub(super) state: u8,
    /// 0 where no process holds the socket: not accepted yet, or closed by its process.
    pub(super) inode: u32,
    /// The cgroup v2 its process was in when it made the socket.
    pub(super) cgroup: Option<u64>,
    v6_only: bool,
    /// Only where it was asked for, and of TCP.
    pub(super) measured: Option<Measured>,
}

/// What the kernel has measured of a TCP connection (`struct tcp_info` of `linux/tcp.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// The smoothed round trip, us; 0 before the first measurement.
    pub(super) rtt_us: u32,
    /// How much it varies, us.
    pub(super) varies_us: u32,
    /// The least round trip of the last minutes, us; none where nothing was measured.
    pub(super) least_us: Option<u32>,
    /// Since when no data was sent, ms.
    pub(super) idle_ms: u32,
    /// Segments that were sent again.
    pub(super) resent: u32,
}

impl Measured {
    /// The kernel appends to the structure and never changes what is there.
    fn read(info: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let bytes: [u8; 4] = info.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(bytes))
        };
        Some(Self {
            rtt_us: word(68)?,
            varies_us: word(72)?,
            least_us: word(148).filter(|least| *least != u32::MAX),
            idle_ms: word(44)?,
            resent: word(100)?,
        })
    }
}

/// An open `sock_diag` socket; it stays in the network namespace it was opened in.
pub(super) struct Diag {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Diag {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(ANSWER_MS))?;
        socket.connect(&KernelAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_LEN] })
    }

    /// The TCP socket with exactly these ends, in whatever state but LISTEN.
    pub(super) fn connection(
        &mut self,
        local: Endpoint,
        remote: Endpoint,
    ) -> io::Result<Option<Sock>> {
        let exact = |sock: &Sock| sock.local == local && sock.remote == remote;
        let request = request(Proto::Tcp, StateFlags::all(), local, remote);
        let mut found = None;
        // The lookup for IPv4 also finds sockets of AF_INET6 with mapped addresses. Where no
        // connection fits it falls back to a listener at the local end, which is not asked for.
        self.ask(request, false, |sock| found = Some(sock).filter(exact))?;
        if found.is_none() {
            // A socket bound to a device is hidden from a lookup that does not name the
            // device. A dump compares only ports and shows it.
            let all = StateFlags::all() - StateFlags::LISTEN;
            self.dump(Proto::Tcp, &all, (local, remote), &ExtensionFlags::empty(), |sock| {
                found = found.or(Some(sock).filter(exact));
            })?;
        }
        Ok(found)
    }

    /// The UDP sockets that may have sent a datagram between these ends.
    ///
    /// Not the exact lookup: that names one socket of several that share a port, the one that
    /// would get a datagram, and says nothing of the others that could have sent it.
    pub(super) fn senders(&mut self, local: Endpoint, remote: Endpoint) -> io::Result<Vec<Sock>> {
        let mut found = Vec::new();
        let any = Endpoint { addr: remote.addr, port: 0 };
        self.dump(
            Proto::Udp,
            &StateFlags::all(),
            (local, any),
            &ExtensionFlags::empty(),
            |sock| {
                let free = sock.remote.port == 0;
                if sock.covers(local).is_some() && (free || sock.remote == remote) {
                    found.push(sock);
                }
            },
        )?;
        Ok(found)
    }

    /// Every socket of both families in one of `states`, whatever its ends.
    pub(super) fn all(
        &mut self,
        proto: Proto,
        states: &StateFlags,
        each: impl FnMut(Sock),
    ) -> io::Result<()> {
        let any = Endpoint { addr: 0, port: 0 };
        self.dump(proto, states, (any, any), &ExtensionFlags::empty(), each)
    }

    /// Every established TCP connection of both families, with what was measured of it.
    pub(super) fn measured(&mut self, each: impl FnMut(Sock)) -> io::Result<()> {
        let any = Endpoint { addr: 0, port: 0 };
        let states = StateFlags::ESTABLISHED;
        self.dump(Proto::Tcp, &states, (any, any), &ExtensionFlags::INFO, each)
    }

    /// Goes through both families; a port of 0 stands for any port. Addresses are for the
    /// caller to compare: the kernel does not look at them in a dump.
    fn dump(
        &mut self,
        proto: Proto,
        states: &StateFlags,
        (local, remote): (Endpoint, Endpoint),
        extensions: &ExtensionFlags,
        mut each: impl FnMut(Sock),
    ) -> io::Result<()> {
        for family in [AF_INET, AF_INET6] {
            let mut request = request(proto, states.clone(), local, remote);
            request.family = family;
            request.extensions = extensions.clone();
            self.ask(request, true, &mut each).map_err(|err| unsupported(proto, err))?;
        }
        Ok(())
    }

    /// Sends one request and hands every socket of the answer to `each`.
    fn ask(
        &mut self,
        request: InetRequest,
        dump: bool,
        mut each: impl FnMut(Sock),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = if dump { NLM_F_REQUEST | NLM_F_DUMP } else { NLM_F_REQUEST };
        header.sequence_number = self.sequence;
        let payload = SockDiagMessage::InetRequest(request).into();
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let len = self.receive()?;
            let mut rest = &self.buffer[..len];
            while !rest.is_empty() {
                let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                    .map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))?;
                let step = message.header.length.next_multiple_of(4).max(16) as usize;
                rest = rest.get(step..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    // The late answer to a question that was given up.
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                        each(Sock::read(&response));
                        if !dump {
                            return Ok(());
                        }
                    }
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        let error = error.to_io();
                        let no_such_socket = !dump && error.raw_os_error() == Some(libc::ENOENT);
                        return if no_such_socket { Ok(()) } else { Err(error) };
                    }
                    _ => {}
                }
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            let mut room = &mut self.buffer[..];
            match self.socket.recv(&mut room, libc::MSG_TRUNC) {
                Ok(len) if len > BUFFER_LEN => {
                    let text = format!("the kernel's list of sockets came in {len} bytes at once");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    let text = format!("the kernel did not list its sockets within {ANSWER_MS} ms");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                other => return other,
            }
        }
    }
}

impl Sock {
    fn read(response: &InetResponse) -> Self {
        let header = &response.header;
        let id = &header.socket_id;
        let end = |addr: IpAddr, port: u16| Endpoint::new(SocketAddr::new(addr, port));
        let mut sock = Self {
            local: end(id.source_address, id.source_port),
            remote: end(id.destination_address, id.destination_port),
            state: header.state,
            inode: header.inode,
            cgroup: None,
            v6_only: false,
            measured: None,
        };
        for nla in &response.nlas {
            match nla {
                Nla::SkV6Only(only) => sock.v6_only = *only,
                Nla::TcpInfo(info) => sock.measured = Measured::read(info),
                Nla::Other(other) if other.kind() == CGROUP_ID && other.value_len() == 8 => {
                    let mut id = [0; 8];
                    other.emit_value(&mut id);
                    sock.cgroup = Some(u64::from_ne_bytes(id));
                }
                _ => {}
            }
        }
        sock
    }

    /// Whether the socket is bound to `end` or to a wildcard that contains it, and how closely:
    /// the kernel prefers 2 (this address) to 1 (any of its family) to 0 (any of both).
    pub(super) fn covers(&self, end: Endpoint) -> Option<u8> {
        const V4_ANY: u128 = 0xffff_0000_0000;
        const V6_ANY: u128 = 0;
        let is_v4 = end.addr >> 32 == V4_ANY >> 32;
        match self.local.addr {
            _ if self.local.port != end.port => None,
            addr if addr == end.addr => Some(2),
            V4_ANY if is_v4 => Some(1),
            V6_ANY if !is_v4 => Some(1),
            V6_ANY if !self.v6_only => Some(0),
            _ => None,
        }
    }
}

fn request(proto: Proto, states: StateFlags, local: Endpoint, remote: Endpoint) -> InetRequest {
    let (source, destination) = (local.socket_addr(), remote.socket_addr());
    let both_v4 = source.is_ipv4() && destination.is_ipv4();
    InetRequest {
        family: if both_v4 { AF_INET } else { AF_INET6 },
        protocol: proto.number(),
        extensions: ExtensionFlags::empty(),
        states,
        socket_id: SocketId {
            source_port: source.port(),
            destination_port: destination.port(),
            source_address: source.ip(),
            destination_address: destination.ip(),
            interface_id: 0,
            cookie: [0xff; 8],
        },
    }
}

/// A kernel without the module for a protocol answers a dump with "no such file".
fn unsupported(proto: Proto, err: io::Error) -> io::Error {
    if err.raw_os_error() != Some(libc::ENOENT) {
        return err;
    }
    let module = if proto == Proto::Tcp { "tcp_diag" } else { "udp_diag" };
    let text = format!("this kernel cannot list its sockets: `modprobe {module}`");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(local: &str, v6_only: bool) -> Sock {
        let local = Endpoint::new(local.parse().unwrap());
        let remote = Endpoint { addr: 0, port: 0 };
        Sock { local, remote, state: 10, inode: 1, cgroup: None, v6_only, measured: None }
    }

    #[test]
    fn a_closer_listener_ranks_higher() {
        let v4 = Endpoint::new("127.0.0.1:2380".parse().unwrap());
        let v6 = Endpoint::new("[::1]:2380".parse().unwrap());
        for (local, v6_only, of_v4, of_v6) in [
            ("127.0.0.1:2380", false, Some(2), None),
            ("[::ffff:127.0.0.1]:2380", false, Some(2), None),
            ("0.0.0.0:2380", false, Some(1), None),
            ("[::1]:2380", false, None, Some(2)),
            ("[::]:2380", false, Some(0), Some(1)),
            ("[::]:2380", true, None, Some(1)),
            ("127.0.0.2:2380", false, None, None),
            ("[::]:2381", false, None, None),
        ] {
            let sock = listener(local, v6_only);
            assert_eq!((sock.covers(v4), sock.covers(v6)), (of_v4, of_v6), "{local} {v6_only}");
        }
    }
}
