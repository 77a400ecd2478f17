//! Which node sent a packet and which gets it.
//!
//! With an address per node the packet says so itself. Where several nodes share a network
//! stack, only the end that is a peer endpoint is known; the other dialled from some port
//! of a shared address, and its owner must be asked for.

use crate::packet::{Endpoint, NodeId, PacketView, mapped, tcp_flags};
use crate::rules::table::{Dialled, Node};
use rustc_hash::FxBuildHasher;
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;

/// The two ends of a packet, as far as the packet itself tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Both are nodes.
    Known(NodeId, NodeId),
    /// The receiver is a node; somebody on its stack dialled it.
    ToNode(NodeId),
    /// The sender is a node that answers somebody on its stack.
    FromNode(NodeId),
    /// Not traffic between nodes.
    Foreign,
}

/// The endpoints and addresses of a cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    endpoints: HashMap<Endpoint, NodeId, FxBuildHasher>,
    /// Addresses that belong to exactly one node with a stack of its own.
    owned: HashMap<u128, NodeId, FxBuildHasher>,
    /// Addresses of stacks that several nodes share.
    shared: HashSet<u128, FxBuildHasher>,
}

impl Identity {
    /// `shares_stack(node)` says whether other nodes live in the same network stack.
    #[must_use]
    pub fn new(nodes: &[Node], shares_stack: impl Fn(NodeId) -> bool) -> Self {
        let mut identity = Self {
            endpoints: HashMap::default(),
            owned: HashMap::default(),
            shared: HashSet::default(),
        };
        for (i, node) in nodes.iter().enumerate() {
            let id = NodeId(i as u16);
            for &endpoint in &node.endpoints {
                identity.endpoints.insert(endpoint, id);
                if shares_stack(id) {
                    identity.shared.insert(endpoint.addr);
                } else {
                    identity.owned.insert(endpoint.addr, id);
                }
            }
        }
        identity
    }

    /// Whether some senders can only be found by asking who holds a socket.
    #[must_use]
    pub fn asks(&self) -> bool {
        !self.shared.is_empty()
    }

    /// What the packet itself says of its ends.
    #[inline]
    #[must_use]
    pub fn ends(&self, view: &PacketView) -> Ends {
        let to = self.endpoints.get(&view.dst).copied();
        let from = self.endpoints.get(&view.src).copied();
        match (from, to) {
            (Some(from), Some(to)) => Ends::Known(from, to),
            (None, Some(to)) => match self.owned.get(&view.src.addr) {
                Some(&from) => Ends::Known(from, to),
                None if self.is_shared(view.src.addr) => Ends::ToNode(to),
                None => Ends::Foreign,
            },
            (Some(from), None) => match self.owned.get(&view.dst.addr) {
                Some(&to) => Ends::Known(from, to),
                None if self.is_shared(view.dst.addr) => Ends::FromNode(from),
                None => Ends::Foreign,
            },
            (None, None) => Ends::Foreign,
        }
    }

    /// Who dialled a packet's connection: whoever is not at its peer endpoint. Where both ends are,
    /// or neither is, only what opens a connection tells.
    #[must_use]
    pub fn dialled(&self, view: &PacketView) -> Option<Dialled> {
        let (from, to) =
            (self.endpoints.contains_key(&view.src), self.endpoints.contains_key(&view.dst));
        let synack = tcp_flags::SYN | tcp_flags::ACK;
        match (from, to) {
            (false, true) => Some(Dialled::BySender),
            (true, false) => Some(Dialled::ByReceiver),
            _ if view.is_dial() => Some(Dialled::BySender),
            _ if view.flags & synack == synack => Some(Dialled::ByReceiver),
            _ => None,
        }
    }

    fn is_shared(&self, addr: u128) -> bool {
        !self.shared.is_empty() && (self.shared.contains(&addr) || is_loopback(addr))
    }
}

fn is_loopback(addr: u128) -> bool {
    // 127.0.0.0/8 in its mapped form, or ::1.
    const NET: u128 = 0xffff_7f00_0000;
    addr & !0x00ff_ffff == NET || addr == mapped(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST))
}
