//! What [`Owners`](super::Owners) answers with.

use crate::packet::{Endpoint, NODES_MAX, NodeId};
use std::fmt;

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeSet(u128);

const _: () = assert!(NODES_MAX <= u128::BITS as usize, "a NodeSet holds every node");

impl NodeSet {
    /// Adds a node.
    pub fn insert(&mut self, node: NodeId) {
        self.0 |= 1 << node.0;
    }

    /// Adds every node of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the node is in the set.
    #[must_use]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 >> node.0 & 1 == 1
    }

    /// Whether no node is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The nodes, in the order of their ids.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..NODES_MAX as u16).map(NodeId).filter(move |node| self.contains(*node))
    }

    /// The node, where the set is of one.
    #[must_use]
    pub fn only(self) -> Option<NodeId> {
        self.0.is_power_of_two().then(|| NodeId(self.0.trailing_zeros() as u16))
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::default();
        nodes.into_iter().for_each(|node| set.insert(node));
        set
    }
}

/// Who holds a socket. Only [`Owner::Node`] attributes a packet; the others say why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process of this node, and of no other.
    Node(NodeId),
    /// A process that holds no peer port at this moment: a client, a scraper, or a node that
    /// dials before it listens.
    Stranger,
    /// One of these nodes: a process that holds the peer ports of several. The set has one
    /// member where a stranger may as well have sent it (a shared UDP port).
    Ambiguous(NodeSet),
    /// No process any more (`FIN_WAIT`, `LAST_ACK`, `TIME_WAIT`), and no peer port at its end.
    Orphan,
    /// The socket exists, but no process that we may look at holds it: a foreign PID
    /// namespace, a refused `/proc/PID/fd`, an `io_uring`, the kernel itself.
    Unseen,
    /// There is no such socket, or no longer.
    Gone,
}

impl Owner {
    /// The node, where there is one and only one.
    #[must_use]
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }
}

/// Which nodes [`Owners::refresh`](super::Owners::refresh) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Each node with the processes that hold its peer port, forks and supervisors included.
    pub nodes: Vec<(NodeId, Vec<u32>)>,
    /// Nodes on whose endpoints no socket listens.
    pub missing: NodeSet,
    /// Nodes whose peer port no visible process holds.
    pub unseen: NodeSet,
    /// Nodes without a process of their own: each of theirs holds the port of another, too.
    pub ambiguous: NodeSet,
    /// Nodes that are known by a cgroup of their own, without a look at descriptors.
    pub by_cgroup: NodeSet,
}

impl Found {
    /// Whether what any node sends can be told from what the others send.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unseen.is_empty() && self.ambiguous.is_empty()
    }
}

/// How far a TCP connection is; of its two ends, the one that is farther from [`State::Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Both ends may send.
    Open,
    /// Its SYN was sent, and not all is acknowledged.
    Opening,
    /// A FIN was sent, by one end or both.
    Closing,
}

/// A TCP connection that touches a peer port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The end that dialled, where exactly one end is at a peer port; else the lower one.
    pub a: Endpoint,
    /// The other end.
    pub b: Endpoint,
    /// Who is at `a`, where it is a node.
    pub a_node: Option<NodeId>,
    /// Who is at `b`, where it is a node.
    pub b_node: Option<NodeId>,
    /// How far it is.
    pub state: State,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {}", node.0),
            Self::Stranger => f.write_str("a process that is no node"),
            Self::Ambiguous(nodes) => {
                let ids: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
                write!(f, "one process for nodes {}", ids.join(", "))
            }
            Self::Orphan => f.write_str("a socket that its process has closed"),
            Self::Unseen => f.write_str("a process that cannot be looked at"),
            Self::Gone => f.write_str("a socket that is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_the_first_and_the_last_node() {
        let last = NodeId(NODES_MAX as u16 - 1);
        let set: NodeSet = [last, NodeId(0)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [NodeId(0), last]);
        assert_eq!(set.only(), None);
        assert_eq!(NodeSet::from_iter([last]).only(), Some(last));
        assert!(NodeSet::default().is_empty());
    }
}
