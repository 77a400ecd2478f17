//! Packets for tests, made byte by byte from the RFCs rather than with the library that
//! reads them, so that a mistake in one shows against the other.

use raftq::packet::{Endpoint, Proto, tcp_flags};
use std::net::{IpAddr, SocketAddr};

/// A packet to be built. Only headers are written out unless `payload` bytes are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) proto: Proto,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// DSCP and ECN.
    pub(crate) tos: u8,
    pub(crate) payload: Vec<u8>,
    /// IPv4 options, a multiple of four bytes.
    pub(crate) ip_options: Vec<u8>,
    /// TCP options, a multiple of four bytes.
    pub(crate) tcp_options: Vec<u8>,
    /// IPv6 extension headers: their number and their bytes, without the first of them,
    /// which says what follows.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// IPv4: the 16 bits of fragment flags and offset.
    pub(crate) fragment: u16,
}

impl Build {
    pub(crate) fn tcp(src: &str, dst: &str, flags: u8, payload: usize) -> Self {
        Self::new(at(src), at(dst), Proto::Tcp, flags, payload)
    }

    pub(crate) fn udp(src: &str, dst: &str, payload: usize) -> Self {
        Self::new(at(src), at(dst), Proto::Udp, 0, payload)
    }

    pub(crate) fn new(
        src: SocketAddr,
        dst: SocketAddr,
        proto: Proto,
        flags: u8,
        payload: usize,
    ) -> Self {
        Self {
            src,
            dst,
            proto,
            flags,
            seq: 0,
            ack: 7,
            tos: 0,
            payload: (0..payload).map(|i| i as u8).collect(),
            ip_options: Vec::new(),
            tcp_options: Vec::new(),
            extensions: Vec::new(),
            fragment: 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let transport = self.transport(&src.octets(), &dst.octets());
                self.v4(src.octets(), dst.octets(), &transport)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let transport = self.transport(&src.octets(), &dst.octets());
                self.v6(&src.octets(), &dst.octets(), &transport)
            }
            _ => panic!("both ends of a packet are of one family"),
        }
    }

    fn v4(&self, src: [u8; 4], dst: [u8; 4], transport: &[u8]) -> Vec<u8> {
        let header = 20 + self.ip_options.len();
        let mut ip = vec![0x40 | (header / 4) as u8, self.tos];
        ip.extend(((header + transport.len()) as u16).to_be_bytes());
        ip.extend([0, 0]);
        ip.extend(self.fragment.to_be_bytes());
        ip.extend([64, self.proto.number(), 0, 0]);
        ip.extend(src);
        ip.extend(dst);
        ip.extend(&self.ip_options);
        let sum = !sum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ip.extend(transport);
        ip
    }

    fn v6(&self, src: &[u8], dst: &[u8], transport: &[u8]) -> Vec<u8> {
        let mut next = self.proto.number();
        let mut chain: Vec<u8> = Vec::new();
        for (number, body) in self.extensions.iter().rev() {
            chain = [&[next], body.as_slice(), &chain].concat();
            next = *number;
        }
        let mut ip = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        ip.extend(((chain.len() + transport.len()) as u16).to_be_bytes());
        ip.extend([next, 64]);
        ip.extend(src);
        ip.extend(dst);
        ip.extend(chain);
        ip.extend(transport);
        ip
    }

    fn transport(&self, src: &[u8], dst: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.src.port().to_be_bytes());
        bytes.extend(self.dst.port().to_be_bytes());
        let sum_at = match self.proto {
            Proto::Tcp => {
                bytes.extend(self.seq.to_be_bytes());
                bytes.extend(self.ack.to_be_bytes());
                let words = 5 + self.tcp_options.len() / 4;
                bytes.extend([(words as u8) << 4, self.flags, 0x20, 0, 0, 0, 0, 0]);
                bytes.extend(&self.tcp_options);
                16
            }
            Proto::Udp => {
                bytes.extend((8 + self.payload.len() as u16).to_be_bytes());
                bytes.extend([0, 0]);
                6
            }
        };
        bytes.extend(&self.payload);
        let sum = !transport_sum(src, dst, self.proto.number(), &bytes);
        bytes[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// The one's complement sum of RFC 1071.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The same over a segment and the pseudo header of RFC 9293, 3.1 and RFC 8200, 8.1. The
/// sum over a segment with a right checksum in it is 0xffff.
pub(crate) fn transport_sum(src: &[u8], dst: &[u8], proto: u8, segment: &[u8]) -> u16 {
    let mut bytes = [src, dst].concat();
    bytes.extend((segment.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, proto]);
    bytes.extend(segment);
    sum(&bytes)
}

/// An address such as `10.77.0.1:2380` or `[fd77::1]:2380`.
pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address with a port"))
}

/// The same as the engine keeps it.
pub(crate) fn end(text: &str) -> Endpoint {
    Endpoint::new(at(text))
}

/// `syn`, `synack`, `ack`, `data`, `fin`, `rst`, as they stand in a header.
pub(crate) fn flags(kind: &str) -> Option<u8> {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN};
    Some(match kind {
        "syn" => SYN,
        "synack" => SYN | ACK,
        "ack" => ACK,
        "data" => ACK | PSH,
        "fin" => FIN | ACK,
        "rst" => RST | ACK,
        _ => return None,
    })
}
