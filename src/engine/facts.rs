//! What rules judge a packet by, in a few words: read from its headers once, and kept with it while
//! it is held or waits.

use super::flows::FlowId;
use super::mangle;
use crate::packet::{LinkId, PacketView, Proto};
use crate::rules::table::Dialled;

/// What rules judge a packet by, small enough to keep while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts about one packet, each asked alone")]
pub struct Facts {
    /// The ordered pair of nodes.
    pub link: LinkId,
    /// Transport.
    pub proto: Proto,
    /// Whether it is more than a bare acknowledgement.
    pub data: bool,
    /// Whether its acknowledgement can be kept when its data is dropped.
    pub trimmable: bool,
    /// Whether a RST can be made of it.
    pub resettable: bool,
    /// Sequence number of its first byte; 0 for UDP.
    pub seq: u32,
    /// The one behind its last byte, SYN and FIN counted.
    pub behind: u32,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Wire segments.
    pub segments: u16,
    /// Bytes of the whole packet, as the view has them.
    pub len: u32,
    /// Bytes of its headers.
    pub header_len: u16,
    /// TCP flags.
    pub flags: u8,
    /// Traffic class.
    pub tos: u8,
    /// Whether its payload can be changed, and copies of it made.
    pub changeable: bool,
    /// Who dialled, as far as it tells; only where rules ask.
    pub dialled: Option<Dialled>,
    /// Where its first byte is in its direction's stream; [`Facts::NOWHERE`] where nobody asks.
    pub offset: u64,
    /// Which of the table's patterns its payload has.
    pub patterns: u32,
    /// Its flow, where the table needs to know flows.
    pub flow: Option<FlowId>,
    /// Generation of that flow.
    pub generation: u32,
    /// Direction in its flow.
    pub direction: u8,
}

/// Where a packet belongs.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) flow: FlowId,
    pub(super) generation: u32,
    pub(super) direction: u8,
    pub(super) offset: u64,
}

impl Facts {
    /// No byte of a stream that anybody counts.
    pub const NOWHERE: u64 = u64::MAX;

    /// Bytes behind its headers.
    #[must_use]
    pub const fn payload_len(&self) -> u32 {
        self.len - self.header_len as u32
    }

    /// Bytes that it takes on the wire: each of its segments has headers.
    pub(super) fn wire_len(&self) -> u64 {
        let more = u64::from(self.segments.saturating_sub(1)) * u64::from(self.header_len);
        u64::from(self.len) + more
    }

    pub(super) fn of(view: &PacketView, link: LinkId) -> Self {
        Self {
            link,
            proto: view.proto,
            data: view.carries_data(),
            trimmable: mangle::can_trim(view),
            resettable: mangle::can_reset(view),
            seq: view.seq,
            behind: view.seq.wrapping_add(view.sequence_len()),
            src_port: view.src.port,
            dst_port: view.dst.port,
            segments: view.segments,
            len: view.len,
            header_len: view.header_len,
            flags: view.flags,
            tos: view.tos,
            changeable: !view.intricate,
            dialled: None,
            offset: Self::NOWHERE,
            patterns: 0,
            flow: None,
            generation: 0,
            direction: 0,
        }
    }
}

impl Facts {
    pub(super) fn is_of(&mut self, found: Found) {
        let Found { flow, generation, direction, offset } = found;
        (self.flow, self.generation, self.direction) = (Some(flow), generation, direction);
        self.offset = offset;
    }
}
