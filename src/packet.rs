//! A checked, read-only view of a captured IP packet, and the small ids of nodes and links.
//!
//! A view is made only from bytes whose headers are whole; afterwards reading it cannot
//! fail. It refuses what it cannot read (fragments behind the first, unknown protocols,
//! cut headers): the caller accepts such packets and counts them, because the network is
//! disturbed only on purpose. Payload bytes are not looked at here; the queue copies just
//! the first 128 bytes of a packet.

use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Index of a node in its table; at most [`NODES_MAX`] nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// The most nodes one cluster may have; link ids then fit 16 bits.
pub const NODES_MAX: usize = 128;

/// An ordered pair of nodes: `from * nodes + to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

impl LinkId {
    /// The link that leads from one node to another in a cluster of `nodes` nodes.
    #[must_use]
    pub const fn new(from: NodeId, to: NodeId, nodes: usize) -> Self {
        Self(from.0 * nodes as u16 + to.0)
    }

    /// The two ends, `(from, to)`, in a cluster of `nodes` nodes.
    #[must_use]
    pub const fn ends(self, nodes: usize) -> (NodeId, NodeId) {
        (NodeId(self.0 / nodes as u16), NodeId(self.0 % nodes as u16))
    }
}

/// The transport protocols that raftq understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

impl Proto {
    /// The number that stands in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One end of a flow. IPv4 addresses are kept mapped (`::ffff:a.b.c.d`), as sockets that
/// listen on both families report them, so that one comparison serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address, IPv4 mapped into IPv6.
    pub addr: u128,
    /// The port, in host order.
    pub port: u16,
}

impl Endpoint {
    /// An end from an ordinary socket address.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr: mapped(addr.ip()), port: addr.port() }
    }

    /// Back to an ordinary socket address; mapped IPv4 becomes IPv4 again.
    #[must_use]
    pub fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from_bits(self.addr).to_canonical(), self.port)
    }
}

/// The 128-bit form of an address that [`Endpoint`] compares by.
#[must_use]
pub fn mapped(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// TCP flag bits, as they stand in the header (RFC 9293, 3.1).
pub mod tcp_flags {
    #![allow(missing_docs)]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// What raftq reads of a packet: both ends, the transport, and how much it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketView {
    /// Sender as written in the packet.
    pub src: Endpoint,
    /// Receiver as written in the packet.
    pub dst: Endpoint,
    /// Transport.
    pub proto: Proto,
    /// TCP flags ([`tcp_flags`]); 0 for UDP.
    pub flags: u8,
    /// TCP sequence number; 0 for UDP.
    pub seq: u32,
    /// TCP acknowledgement number; 0 where there is none.
    pub ack: u32,
    /// The traffic class byte of the IP header: DSCP in its upper six bits, ECN below.
    pub tos: u8,
    /// Bytes of IP and transport headers together.
    pub header_len: u16,
    /// Whether it is the first fragment of several, or has IPv6 extension headers: such a
    /// packet is judged, but never changed.
    pub intricate: bool,
    /// Bytes of the whole packet; a GSO packet may have more than its IP header can say.
    pub len: u32,
    /// Wire segments that this packet stands for: 1, or more for a GSO packet.
    pub segments: u16,
}

/// Why a packet could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The bytes end before the headers do.
    Truncated,
    /// Neither IPv4 nor IPv6, or header fields that contradict each other.
    Malformed,
    /// A fragment behind the first: it has no ports.
    Fragment,
    /// A transport other than TCP and UDP.
    OtherProtocol,
}

impl PacketView {
    /// Reads the headers of the IP packet that starts at `bytes[0]`.
    ///
    /// `bytes` may be a truncated copy; `wire_len` is the length of the whole packet. For a
    /// GSO packet `mtu` is what its device carries at a time: the queue does not tell the
    /// size of its segments. 0 where the packet is one segment.
    #[inline]
    pub fn parse(bytes: &[u8], wire_len: u32, mtu: u32) -> Result<Self, Unreadable> {
        let IpHeader { src, dst, protocol, len: ip_len, intricate, tos } =
            match bytes.first().map(|b| b >> 4) {
                Some(4) => ipv4(bytes)?,
                Some(6) => ipv6(bytes)?,
                Some(_) => return Err(Unreadable::Malformed),
                None => return Err(Unreadable::Truncated),
            };
        let rest = &bytes[ip_len..];
        let (proto, flags, seq, ack, transport_len) = match protocol {
            6 => {
                let tcp = TcpPacket::new(rest).ok_or(Unreadable::Truncated)?;
                let len = usize::from(tcp.get_data_offset()) * 4;
                if len < 20 {
                    return Err(Unreadable::Malformed);
                }
                let ack = if tcp.get_flags() & tcp_flags::ACK == 0 {
                    0
                } else {
                    tcp.get_acknowledgement()
                };
                (Proto::Tcp, tcp.get_flags(), tcp.get_sequence(), ack, len)
            }
            17 => (Proto::Udp, 0, 0, 0, 8),
            _ => return Err(Unreadable::OtherProtocol),
        };
        if rest.len() < 8 {
            return Err(Unreadable::Truncated);
        }
        let header_len = ip_len + transport_len;
        if header_len > usize::from(u16::MAX) || wire_len < header_len as u32 {
            return Err(Unreadable::Malformed);
        }
        let payload = wire_len - header_len as u32;
        let segments = match mtu.saturating_sub(header_len as u32) {
            0 => 1,
            size => payload.div_ceil(size).clamp(1, u32::from(u16::MAX)) as u16,
        };
        Ok(Self {
            src: Endpoint { addr: src, port: u16::from_be_bytes([rest[0], rest[1]]) },
            dst: Endpoint { addr: dst, port: u16::from_be_bytes([rest[2], rest[3]]) },
            proto,
            flags,
            seq,
            ack,
            tos,
            header_len: header_len as u16,
            intricate,
            len: wire_len,
            segments,
        })
    }

    /// Bytes behind the transport header.
    #[must_use]
    pub const fn payload_len(&self) -> u32 {
        self.len - self.header_len as u32
    }

    /// How far it takes its sender's sequence number: payload, SYN and FIN; 0 for UDP.
    #[must_use]
    pub fn sequence_len(&self) -> u32 {
        match self.proto {
            Proto::Udp => 0,
            Proto::Tcp => {
                let (syn, fin) = (self.flags & tcp_flags::SYN, self.flags & tcp_flags::FIN);
                self.payload_len() + u32::from(syn != 0) + u32::from(fin != 0)
            }
        }
    }

    /// Whether this opens a TCP connection (SYN without ACK).
    #[must_use]
    pub const fn is_dial(&self) -> bool {
        self.flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
    }

    /// Whether this is more than a bare acknowledgement: payload, SYN or FIN, and any UDP.
    ///
    /// A RST carries none of these and passes a cut of data.
    #[must_use]
    pub fn carries_data(&self) -> bool {
        self.proto == Proto::Udp
            || self.flags & (tcp_flags::SYN | tcp_flags::FIN) != 0
            || self.payload_len() > 0
    }
}

/// What an IP header says.
struct IpHeader {
    src: u128,
    dst: u128,
    protocol: u8,
    len: usize,
    intricate: bool,
    tos: u8,
}

#[inline]
fn ipv4(bytes: &[u8]) -> Result<IpHeader, Unreadable> {
    let ip = Ipv4Packet::new(bytes).ok_or(Unreadable::Truncated)?;
    let len = usize::from(ip.get_header_length()) * 4;
    if len < 20 {
        return Err(Unreadable::Malformed);
    }
    if bytes.len() < len {
        return Err(Unreadable::Truncated);
    }
    if ip.get_fragment_offset() != 0 {
        return Err(Unreadable::Fragment);
    }
    let src = ip.get_source().to_ipv6_mapped().to_bits();
    let dst = ip.get_destination().to_ipv6_mapped().to_bits();
    let intricate = ip.get_flags() & 1 != 0;
    let protocol = ip.get_next_level_protocol().0;
    Ok(IpHeader { src, dst, protocol, len, intricate, tos: bytes[1] })
}

/// Walks the extension headers of RFC 8200 that may stand before the transport.
#[inline]
fn ipv6(bytes: &[u8]) -> Result<IpHeader, Unreadable> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let ip = Ipv6Packet::new(bytes).ok_or(Unreadable::Truncated)?;
    let mut next = ip.get_next_header().0;
    let mut len = 40;
    while matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
        let header = bytes.get(len..len + 8).ok_or(Unreadable::Truncated)?;
        if next == FRAGMENT && u16::from_be_bytes([header[2], header[3]]) & 0xfff8 != 0 {
            return Err(Unreadable::Fragment);
        }
        len += if next == FRAGMENT { 8 } else { (usize::from(header[1]) + 1) * 8 };
        next = header[0];
    }
    if bytes.len() < len {
        return Err(Unreadable::Truncated);
    }
    let (src, dst) = (ip.get_source().to_bits(), ip.get_destination().to_bits());
    let tos = ip.get_traffic_class();
    Ok(IpHeader { src, dst, protocol: next, len, intricate: len > 40, tos })
}
