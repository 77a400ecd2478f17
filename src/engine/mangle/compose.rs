//! Packets that nobody sent: a RST for one end of a connection, and what tells a sender that its
//! packet was rejected.

use super::{HEADERS_MAX, checksum};
use crate::engine::Rst;
use crate::packet::{PacketView, Proto, tcp_flags};
use crate::rules::table::Reject;
use pnet_packet::icmp::{self, IcmpPacket};
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::MutableTcpPacket;
use std::net::IpAddr;

/// The most bytes of a packet that is composed here.
pub const COMPOSED_MAX: usize = 40 + 8 + HEADERS_MAX;

const TCP_LEN: usize = 20;
const TTL: u8 = 64;

/// Writes a RST into `out` and returns its length.
pub fn rst(rst: &Rst, out: &mut [u8; COMPOSED_MAX]) -> Option<usize> {
    let (src, dst) = (rst.src.socket_addr(), rst.dst.socket_addr());
    let head = ip_header(src.ip(), dst.ip(), 6, TCP_LEN, out)?;
    let len = head + TCP_LEN;
    let mut tcp = MutableTcpPacket::new(&mut out[head..len])?;
    tcp.set_source(src.port());
    tcp.set_destination(dst.port());
    tcp.set_sequence(rst.seq);
    tcp.set_acknowledgement(rst.ack);
    tcp.set_data_offset((TCP_LEN / 4) as u8);
    tcp.set_flags(tcp_flags::RST | tcp_flags::ACK);
    let view = PacketView::parse(&out[..len], len as u32, 0).ok()?;
    checksum(&mut out[..len], &view)?;
    Some(len)
}

/// The RST that tells the sender of a segment that its connection is over: it seems to come from
/// the other end, and bears what that sender expects of it. `None` for a packet that acknowledges
/// nothing, but for a SYN, whose sender expects to have it acknowledged (RFC 9293, 3.10.7.1).
#[must_use]
pub fn answer(view: &PacketView) -> Option<Rst> {
    let has_ack = view.flags & tcp_flags::ACK != 0;
    let tells =
        view.proto == Proto::Tcp && view.flags & tcp_flags::RST == 0 && (has_ack || view.is_dial());
    let seq = if has_ack { view.ack } else { 0 };
    let ack = view.seq.wrapping_add(view.sequence_len());
    tells.then_some(Rst { src: view.dst, dst: view.src, seq, ack })
}

/// Writes into `out` what tells the sender of the packet `bytes` that it was rejected, and returns
/// its length; it seems to come from the receiver. RFC 792 and RFC 4443: an error carries the
/// packet's header and its first bytes. `None` where nothing can be said: `bytes` has not even its
/// headers.
pub fn rejection(
    bytes: &[u8],
    view: &PacketView,
    with: Reject,
    out: &mut [u8; COMPOSED_MAX],
) -> Option<usize> {
    if with == Reject::TcpReset {
        return rst(&answer(view)?, out);
    }
    // Enough of it for the sender to find its socket: all headers.
    let quoted = bytes.get(..usize::from(view.header_len).min(HEADERS_MAX))?;
    let (from, to) = (view.dst.socket_addr().ip(), view.src.socket_addr().ip());
    let body = 8 + quoted.len();
    let (protocol, kind, code) = match (from, with) {
        (IpAddr::V4(_), Reject::NetUnreachable) => (1, 3, 0),
        (IpAddr::V4(_), Reject::HostUnreachable) => (1, 3, 1),
        (IpAddr::V4(_), Reject::AdminProhibited) => (1, 3, 13),
        (IpAddr::V4(_), _) => (1, 3, 3),
        (IpAddr::V6(_), Reject::NetUnreachable) => (58, 1, 0),
        (IpAddr::V6(_), Reject::HostUnreachable) => (58, 1, 3),
        (IpAddr::V6(_), Reject::AdminProhibited) => (58, 1, 1),
        (IpAddr::V6(_), _) => (58, 1, 4),
    };
    let head = ip_header(from, to, protocol, body, out)?;
    let len = head + body;
    let message = out.get_mut(head..len)?;
    message.fill(0);
    (message[0], message[1]) = (kind, code);
    message[8..].copy_from_slice(quoted);
    let sum = match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            icmpv6::checksum(&Icmpv6Packet::new(message)?, &from, &to)
        }
        _ => icmp::checksum(&IcmpPacket::new(message)?),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(len)
}

/// Writes the IP header of a packet with `body` bytes behind it; returns its length.
fn ip_header(src: IpAddr, dst: IpAddr, protocol: u8, body: usize, out: &mut [u8]) -> Option<usize> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let bytes = out.get_mut(..20)?;
            bytes.fill(0);
            let mut ip = MutableIpv4Packet::new(bytes)?;
            ip.set_version(4);
            ip.set_header_length(5);
            ip.set_total_length((20 + body) as u16);
            ip.set_ttl(TTL);
            ip.set_flags(2);
            ip.set_next_level_protocol(pnet_packet::ip::IpNextHeaderProtocol(protocol));
            ip.set_source(src);
            ip.set_destination(dst);
            let sum = ipv4::checksum(&ip.to_immutable());
            ip.set_checksum(sum);
            Some(20)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let bytes = out.get_mut(..40)?;
            bytes.fill(0);
            let mut ip = MutableIpv6Packet::new(bytes)?;
            ip.set_version(6);
            ip.set_payload_length(body as u16);
            ip.set_next_header(pnet_packet::ip::IpNextHeaderProtocol(protocol));
            ip.set_hop_limit(TTL);
            ip.set_source(src);
            ip.set_destination(dst);
            Some(40)
        }
        _ => None,
    }
}
