//! What the observer is told: messages as they were seen, and what became of nodes.

use crate::packet::NodeId;
use crate::time::Nanos;
use crate::wire::{Entry, Message, Way};

/// One message as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, on the run's clock.
    pub at: Nanos,
    /// On which connection; a number is never used again.
    pub flow: u64,
    /// In which direction of it.
    pub way: Way,
    /// When the connection was opened: its last SYN. `None` where it was joined in mid-stream.
    pub opened: Option<Nanos>,
    /// The node that sent it, where known.
    pub from: Option<NodeId>,
    /// The node that gets it, where known.
    pub to: Option<NodeId>,
    /// What it says.
    pub message: Message,
    /// Those of its entries whose hash is known.
    pub entries: Vec<Entry>,
}

/// What the reader of the wire came to, as it says when all is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Coverage {
    /// Connections between nodes.
    pub flows: u64,
    /// Those of them on which nothing could be read: TLS, or another protocol.
    pub opaque: u64,
    /// Messages that were decoded.
    pub messages: u64,
    /// Times that a direction lost the thread.
    pub gaps: u64,
    /// Payload bytes that belong to a message, or to framing that was understood.
    pub bytes_read: u64,
    /// Payload bytes that were passed over unread.
    pub bytes_lost: u64,
}

impl Coverage {
    /// How much of the payload was read, 0 to 1; 1 where there was none.
    #[must_use]
    pub fn share(&self) -> f64 {
        let all = self.bytes_read.saturating_add(self.bytes_lost);
        if all == 0 { 1.0 } else { self.bytes_read as f64 / all as f64 }
    }
}

/// Everything the observer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message. Those of one direction of a connection come in their order.
    Seen(Seen),
    /// A new process of a node, with what the node kept.
    Started {
        /// Not later than the process could first dial or answer: take it before the start.
        at: Nanos,
        /// Which node.
        node: NodeId,
    },
    /// A node's process is gone. What is seen of the node from then on testifies to nothing until
    /// it is told how it came back.
    Ended {
        /// Not earlier than it was known to be gone: take it once the process is reaped.
        at: Nanos,
        /// Which node.
        node: NodeId,
    },
    /// A node is started without its data: what it stood for is void. Tell it before its
    /// [`Event::Started`], or instead of it, and before any message of the new process.
    Wiped {
        /// Not later than the new process could first dial or answer.
        at: Nanos,
        /// Which node.
        node: NodeId,
    },
    /// So many messages were not told, because a ring was full.
    Missed {
        /// When that was noticed.
        at: Nanos,
        /// How many.
        messages: u64,
    },
    /// The final numbers of the reader.
    Coverage(Coverage),
}
