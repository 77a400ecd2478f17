//! How much of what was there was read.

use super::message::Kind;

/// What was read, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Connections.
    pub flows: u64,
    /// Those of them that were seen from their first byte.
    pub whole_flows: u64,
    /// Messages, by [`Kind`].
    pub messages: [u64; Kind::ALL.len()],
    /// Bytes that decoders took.
    pub read: u64,
    /// Bytes that decoders passed over on purpose: the rest of large messages, other traffic.
    pub skipped: u64,
    /// Bytes that nobody read: while the thread was lost, and in gaps.
    pub unread: u64,
    /// How often a thread was lost; joining in the middle does not count.
    pub lost: u64,
    /// Why the last of them was.
    pub last_lost: Option<&'static str>,
    /// How often a thread was taken up again, or for the first time after joining.
    pub regained: u64,
    /// Directions whose thread is lost now.
    pub lost_now: u64,
    /// Nanoseconds in which directions were read, added up over all directions.
    pub read_ns: u64,
    /// Nanoseconds in which directions were there: from their SYN or first byte to their end.
    pub there_ns: u64,
}

impl Coverage {
    /// Messages of every kind.
    #[must_use]
    pub fn all_messages(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// Which part of the time in which directions were there they were read: 1 where nothing was.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.there_ns == 0 { 1.0 } else { self.read_ns as f64 / self.there_ns as f64 }
    }
}
