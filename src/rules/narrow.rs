//! The conditions of `where` that few rules have: on the connection, the headers and the bytes of a
//! single packet. Part of the compiled table.

use super::about::Bounds;
use crate::packet::tcp_flags;

/// Each `None` matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Narrow {
    /// Who dialled the connection.
    pub dialled: Option<Dialled>,
    /// Bytes of the packet, IP header and all.
    pub size: Option<Bounds>,
    /// Bytes behind its transport header.
    pub payload: Option<Bounds>,
    /// Where in its direction's stream of bytes: it has some of these. Counted from 0, for the
    /// first behind the SYN, or the first that raftq has seen.
    pub offset: Option<Bounds>,
    /// TCP flags.
    pub flags: Option<Flags>,
    /// The differentiated services code point, 0 to 63.
    pub dscp: Option<u8>,
    /// The codes for congestion, bit `i` for the code `i`.
    pub ecn: Option<u8>,
    /// What its payload contains, by its index among the table's patterns.
    pub pattern: Option<u8>,
}

impl Narrow {
    /// Whether it asks nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Who dialled a connection, as seen from a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Its sender did.
    BySender,
    /// Its receiver did.
    ByReceiver,
}

/// Which TCP flags a packet must have, and which it must not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// These.
    pub set: u8,
    /// Not these.
    pub clear: u8,
}

impl Flags {
    /// Whether these flags are such.
    #[must_use]
    pub const fn meet(self, flags: u8) -> bool {
        flags & self.set == self.set && flags & self.clear == 0
    }
}

/// Bytes to be found in a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// These; not empty.
    pub bytes: Vec<u8>,
    /// Where they have to begin in the payload; `None`: anywhere.
    pub at: Option<u16>,
}

impl Pattern {
    /// Whether a payload has it.
    #[must_use]
    pub fn is_in(&self, payload: &[u8]) -> bool {
        match self.at {
            Some(at) => {
                payload.get(usize::from(at)..).is_some_and(|rest| rest.starts_with(&self.bytes))
            }
            None => payload.windows(self.bytes.len()).any(|window| window == self.bytes),
        }
    }
}

/// The most patterns of a table: whether a packet has each of them is kept in as many bits.
pub const PATTERNS_MAX: usize = 32;

/// The most bytes of a pattern.
pub const PATTERN_MAX: usize = 256;

/// The words of TCP flags, and their bits.
pub(super) const FLAGS: [(&str, u8); 8] = [
    ("fin", tcp_flags::FIN),
    ("syn", tcp_flags::SYN),
    ("rst", tcp_flags::RST),
    ("psh", tcp_flags::PSH),
    ("ack", tcp_flags::ACK),
    ("urg", tcp_flags::URG),
    ("ece", tcp_flags::ECE),
    ("cwr", tcp_flags::CWR),
];

/// The words of the two bits of RFC 3168, by their value.
pub(super) const ECN: [&str; 4] = ["not_ect", "ect1", "ect0", "ce"];
