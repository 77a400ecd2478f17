//! Packets that wait until somebody finds out who sent them: bounded in number and time.

use super::Facts;
use super::Token;
use super::flows::FlowId;
use crate::packet::{Endpoint, NodeId, Proto};
use crate::time::Nanos;

/// The most packets that wait at once.
pub const WAITING_MAX: usize = 4_096;

/// The longest a packet waits before the user's choice applies.
pub const PATIENCE: Nanos = Nanos::from_millis(50);

/// Asks who holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The flow it is about; give it back with the answer.
    pub flow: FlowId,
    /// The flow's generation; an answer to an older one is ignored.
    pub generation: u32,
    /// Transport.
    pub proto: Proto,
    /// Local end of the socket in question.
    pub local: Endpoint,
    /// Its remote end: a peer endpoint.
    pub remote: Endpoint,
    /// The queue, and with it the network stack, where the packet was seen.
    pub queue: u16,
}

/// Who holds the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A node.
    Node(NodeId),
    /// A process that is no node.
    Stranger,
    /// Nobody that could be found.
    Unknown,
}

/// One packet that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) flow: FlowId,
    pub(super) generation: u32,
    pub(super) since: Nanos,
    /// The end that is known.
    pub(super) peer: NodeId,
    /// Whether the known end is the receiver.
    pub(super) to_peer: bool,
    /// Its link is filled in when the other end is known.
    pub(super) facts: Facts,
    /// The mark that it bears.
    pub(super) mark: u32,
}
