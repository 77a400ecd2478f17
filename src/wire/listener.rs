//! What one packet after the other completes: a reader, and room for the messages of one packet.
//!
//! All of its memory is reserved at the start. What does not fit is missed, and counted.

use super::{Entry, Heard, Message, Protocol, Reader, Segment};
use crate::packet::{Endpoint, PacketView, Proto};
use crate::time::Nanos;

/// The most messages that one packet is taken to complete; those behind are missed, also by
/// rules. The smallest, a chunk of etcd's with one byte, is six bytes long, and a packet has 64 KB.
const MESSAGES_MAX: usize = 12_288;

/// The most entries of these messages together.
const ENTRIES_MAX: usize = 16_384;

/// Reads packets as they pass, each once.
#[derive(Debug)]
pub struct Listener {
    reader: Reader,
    /// Of the packet at hand: each message, and where its entries end in `entries`.
    heard: Vec<(Heard, usize)>,
    messages: Vec<Message>,
    entries: Vec<Entry>,
    missed: u64,
}

impl Listener {
    /// For a cluster whose nodes listen at `peers`.
    #[must_use]
    pub fn new(protocol: Protocol, peers: &[Endpoint]) -> Self {
        Self {
            reader: Reader::new(protocol, peers),
            heard: Vec::with_capacity(MESSAGES_MAX),
            messages: Vec::with_capacity(MESSAGES_MAX),
            entries: Vec::with_capacity(ENTRIES_MAX),
            missed: 0,
        }
    }

    /// Its reader.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Reads a packet, given from its IP header on; returns the messages that it completes, and
    /// their entries.
    #[inline]
    pub fn listen(
        &mut self,
        now: Nanos,
        view: &PacketView,
        bytes: &[u8],
    ) -> (&[Message], &[Entry]) {
        let Self { reader, heard, messages, entries, missed } = self;
        messages.clear();
        heard.clear();
        entries.clear();
        if view.proto != Proto::Tcp {
            return (&[], &[]);
        }
        let payload = bytes.get(usize::from(view.header_len)..).unwrap_or_default();
        let segment = Segment {
            at: now,
            src: view.src,
            dst: view.dst,
            seq: view.seq,
            flags: view.flags,
            payload,
            whole: payload.len() as u64 == u64::from(view.payload_len()),
        };
        reader.take(&segment, &mut |of, message, more| {
            let room = ENTRIES_MAX - entries.len();
            if messages.len() == MESSAGES_MAX || more.len() > room {
                *missed += 1;
                return;
            }
            entries.extend_from_slice(more);
            messages.push(*message);
            heard.push((*of, entries.len()));
        });
        (messages, entries)
    }

    /// The messages of the packet at hand, each with where it was heard and its entries.
    pub fn heard(&self) -> impl Iterator<Item = (Heard, Message, &[Entry])> {
        let mut from = 0;
        self.heard.iter().zip(&self.messages).map(move |(&(heard, to), &message)| {
            let entries = &self.entries[from..to];
            from = to;
            (heard, message, entries)
        })
    }

    /// The packet at hand is done with.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    /// How many messages were missed since this was last asked.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }
}
