//! Changing packets: trimming a TCP segment to its acknowledgement, making a RST of it, damaging
//! its payload (`corrupt.rs`), copying it; and packets that nobody sent (`compose.rs`).
//!
//! After any change of a payload the checksum is written in full: the kernel's promise to
//! complete it later no longer holds for changed packets.

mod compose;
mod corrupt;

pub use compose::{COMPOSED_MAX, answer, rejection, rst};
pub use corrupt::corrupt;

use crate::packet::{PacketView, Proto, tcp_flags};
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::{self, MutableTcpPacket};
use pnet_packet::udp::{self, MutableUdpPacket};
use std::net::IpAddr;

/// The most bytes of headers a packet may have to be trimmed: the queue copies no more.
pub const HEADERS_MAX: usize = 128;

/// Whether a segment has an acknowledgement worth keeping when its data is dropped.
///
/// A SYN-ACK without its SYN would acknowledge into a connection that does not exist yet,
/// and a fragment cut short would tear a hole into the whole.
#[must_use]
pub fn can_trim(view: &PacketView) -> bool {
    view.proto == Proto::Tcp
        && view.flags & tcp_flags::ACK != 0
        && view.flags & (tcp_flags::SYN | tcp_flags::RST) == 0
        && usize::from(view.header_len) <= HEADERS_MAX
        && !view.intricate
}

/// Whether a RST can be made of a segment: it has an acknowledgement that its receiver knows, and
/// is one segment. A SYN has none: nobody is connected yet, and losing it is all that can be done.
#[must_use]
pub fn can_reset(view: &PacketView) -> bool {
    view.proto == Proto::Tcp
        && view.flags & tcp_flags::ACK != 0
        && view.flags & tcp_flags::RST == 0
        && usize::from(view.header_len) <= HEADERS_MAX
        && view.segments == 1
        && !view.intricate
}

/// Writes into `out` the bare acknowledgement that the segment `bytes` carries and returns
/// its length: headers only, FIN and PSH cleared, lengths and checksums as they must be.
///
/// `None` where the copy is shorter than the headers, or [`can_trim`] says no.
pub fn trim(bytes: &[u8], view: &PacketView, out: &mut [u8; HEADERS_MAX]) -> Option<usize> {
    if !can_trim(view) {
        return None;
    }
    rewrite(bytes, view, out, |segment| {
        segment.set_flags(segment.get_flags() & !(tcp_flags::FIN | tcp_flags::PSH));
    })
}

/// Writes into `out` a RST for the receiver of the segment `bytes` and returns its length: headers
/// only, RST and ACK, `seq` as its sequence number.
///
/// `None` where the copy is shorter than the headers, or [`can_reset`] says no.
pub fn reset(
    bytes: &[u8],
    view: &PacketView,
    seq: u32,
    out: &mut [u8; HEADERS_MAX],
) -> Option<usize> {
    if !can_reset(view) {
        return None;
    }
    rewrite(bytes, view, out, |segment| {
        segment.set_flags(tcp_flags::RST | tcp_flags::ACK);
        segment.set_sequence(seq);
    })
}

/// Writes into `out` a copy of the packet `bytes`, as it would be on the wire; returns its length.
///
/// A queue has packets whose checksum the kernel would complete on their way out; nobody completes
/// that of a copy. `None` where `bytes` is not the whole packet, or nothing is to be made of it.
pub fn copy(bytes: &[u8], view: &PacketView, out: &mut [u8]) -> Option<usize> {
    let len = view.len as usize;
    if bytes.len() != len || view.intricate {
        return None;
    }
    let packet = out.get_mut(..len)?;
    packet.copy_from_slice(bytes);
    checksum(packet, view)?;
    Some(len)
}

/// Bytes of the IP header of a packet that is not intricate.
fn ip_len(packet: &[u8]) -> usize {
    match packet.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        _ => 40,
    }
}

/// Writes the checksum of a packet's transport, as it must be for what `packet` has.
fn checksum(packet: &mut [u8], view: &PacketView) -> Option<()> {
    let (src, dst) = (view.src.socket_addr().ip(), view.dst.socket_addr().ip());
    let ip_len = ip_len(packet);
    let body = packet.get_mut(ip_len..)?;
    match view.proto {
        Proto::Tcp => {
            let mut segment = MutableTcpPacket::new(body)?;
            let sum = match (src, dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    tcp::ipv4_checksum(&segment.to_immutable(), &src, &dst)
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    tcp::ipv6_checksum(&segment.to_immutable(), &src, &dst)
                }
                _ => return None,
            };
            segment.set_checksum(sum);
        }
        Proto::Udp => {
            let mut datagram = MutableUdpPacket::new(body)?;
            let sum = match (src, dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    udp::ipv4_checksum(&datagram.to_immutable(), &src, &dst)
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    udp::ipv6_checksum(&datagram.to_immutable(), &src, &dst)
                }
                _ => return None,
            };
            // 0 would mean that there is none (RFC 768).
            datagram.set_checksum(if sum == 0 { u16::MAX } else { sum });
        }
    }
    Some(())
}

/// Writes the headers of a segment with a change to its transport header.
fn rewrite(
    bytes: &[u8],
    view: &PacketView,
    out: &mut [u8; HEADERS_MAX],
    change: impl FnOnce(&mut MutableTcpPacket<'_>),
) -> Option<usize> {
    let len = usize::from(view.header_len);
    out[..len].copy_from_slice(bytes.get(..len)?);
    let packet = &mut out[..len];
    let ip_len = ip_len(packet);
    change(&mut MutableTcpPacket::new(&mut packet[ip_len..])?);
    checksum(packet, view)?;
    if packet[0] >> 4 == 4 {
        let mut ip = MutableIpv4Packet::new(packet)?;
        ip.set_total_length(len as u16);
        let sum = ipv4::checksum(&ip.to_immutable());
        ip.set_checksum(sum);
    } else {
        MutableIpv6Packet::new(packet)?.set_payload_length((len - 40) as u16);
    }
    Some(len)
}
