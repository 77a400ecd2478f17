//! Just enough netlink for a handful of requests: attributes written and read by hand.
//!
//! Serves `nftables.rs` and `links.rs`, which need three or four message types each; the
//! packet queue has a socket of its own. It is no general library: one request, its
//! answers, nothing asynchronous.

use netlink_sys::{Socket, SocketAddr};
use std::io;

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`.
pub const ACK: u16 = 0x04;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;

const HEADER: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
/// The two top bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// One answer of the kernel: its type and everything behind the netlink header.
#[derive(Debug)]
pub struct Answer {
    /// The message type.
    pub kind: u16,
    /// Family header and attributes.
    pub body: Vec<u8>,
}

/// A message under construction.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// Starts a message; `family_header` is what stands between header and attributes.
    #[must_use]
    pub fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(family_header);
        Self(bytes)
    }

    /// Appends an attribute.
    #[must_use]
    pub fn attr(mut self, kind: u16, value: &[u8]) -> Self {
        let len = (value.len() + 4) as u16;
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends an attribute that holds a NUL-terminated string.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.attr(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn finish(mut self) -> Vec<u8> {
        let len = (self.0.len() as u32).to_ne_bytes();
        self.0[0..4].copy_from_slice(&len);
        self.0
    }
}

/// Sends the messages in one piece and reads answers until an error
/// arrives, or the kernel says that a dump or an acknowledged request is over.
pub fn exchange(protocol: i32, messages: Vec<Message>) -> io::Result<Vec<Answer>> {
    let dump = messages.iter().any(|m| m.flags() & DUMP == DUMP);
    let acked = messages.iter().any(|m| m.flags() & ACK != 0);
    let socket = Socket::new(protocol as isize)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let bytes: Vec<u8> = messages.into_iter().flat_map(Message::finish).collect();
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if collect(&datagram, &mut answers)? || !(dump || acked) {
            return Ok(answers);
        }
    }
}

impl Message {
    /// Asks the kernel to acknowledge it.
    pub fn ask_for_ack(&mut self) {
        let flags = self.flags() | ACK;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
    }

    fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.0[6], self.0[7]])
    }
}

/// Takes one datagram apart; `true` when it ends the exchange.
fn collect(mut datagram: &[u8], answers: &mut Vec<Answer>) -> io::Result<bool> {
    while datagram.len() >= HEADER {
        let len = u32::from_ne_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]);
        let len = (len as usize).clamp(HEADER, datagram.len());
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let body = &datagram[HEADER..len];
        match kind {
            TYPE_DONE => return Ok(true),
            TYPE_ERROR => {
                let code = i32::from_ne_bytes(word(body).unwrap_or_default());
                if code != 0 {
                    return Err(io::Error::from_raw_os_error(-code));
                }
                return Ok(true);
            }
            kind => answers.push(Answer { kind, body: body.to_vec() }),
        }
        datagram = &datagram[len.next_multiple_of(4).min(datagram.len())..];
    }
    Ok(false)
}

/// The attributes of a message or of a nested attribute, as `(type, value)`.
pub fn attrs(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]));
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & TYPE_MASK;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the attribute of this type.
#[must_use]
pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// The first four bytes.
#[must_use]
pub fn word(bytes: &[u8]) -> Option<[u8; 4]> {
    bytes.first_chunk().copied()
}

/// A string attribute without its NUL.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_back_as_written_and_padding_is_skipped() {
        let bytes = Message::new(1, 0, &[]).text(3, "ab").attr(4, &[1, 2, 3, 4]).finish();
        let read: Vec<_> = attrs(&bytes[HEADER..]).collect();
        assert_eq!(read, [(3, &b"ab\0"[..]), (4, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn a_cut_or_senseless_attribute_ends_the_walk() {
        assert_eq!(attrs(&[9, 0, 1, 0, 7]).count(), 0);
        assert_eq!(attrs(&[0, 0, 1, 0, 7, 7, 7, 7]).count(), 0);
        assert_eq!(attrs(&[4]).count(), 0);
    }
}
