//! Pairs of node sets to links.
//!
//! A set of nodes is the bits of one number, because a cluster has at most 128 nodes. A rule
//! reaches one rectangle of senders and receivers, or two for `between`; questions such as
//! "does this rule cover that one" are asked of the rectangles, not of the links in them.

use crate::packet::{LinkId, NodeId};

pub(super) use super::table::NodeBits as Bits;

/// The ordered pairs of a rule: one rectangle of senders and receivers, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reach {
    one: (Bits, Bits),
    other: (Bits, Bits),
}

impl Reach {
    /// From one set to another.
    pub(super) const fn one_way(from: Bits, to: Bits) -> Self {
        Self { one: (from, to), other: (0, 0) }
    }

    /// Both directions between two sets.
    pub(super) const fn between(a: Bits, b: Bits) -> Self {
        Self { one: (a, b), other: (b, a) }
    }

    /// Those who hear from a sender.
    pub(super) const fn row(&self, from: u16) -> Bits {
        let sender = 1 << from;
        let one = if self.one.0 & sender != 0 { self.one.1 } else { 0 };
        let other = if self.other.0 & sender != 0 { self.other.1 } else { 0 };
        (one | other) & !sender
    }

    /// Whether there is no link at all.
    pub(super) const fn is_empty(&self) -> bool {
        let (from, to) = self.one;
        // Without the links of a node to itself.
        from == 0 || to == 0 || (from == to && from.is_power_of_two())
    }

    /// Whether each link has its way back.
    pub(super) const fn is_symmetric(&self) -> bool {
        self.other.0 != 0 || self.one.0 == self.one.1
    }

    /// Whether all links of `other` are among these.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let mut senders = other.one.0 | other.other.0;
        while senders != 0 {
            let from = senders.trailing_zeros() as u16;
            if other.row(from) & !self.row(from) != 0 {
                return false;
            }
            senders &= senders - 1;
        }
        true
    }

    /// The links, sorted, in a cluster of `nodes` nodes.
    pub(super) fn links(&self, nodes: usize) -> Vec<LinkId> {
        let mut links = Vec::with_capacity(self.count(nodes));
        for from in 0..nodes as u16 {
            let mut row = self.row(from);
            while row != 0 {
                let to = row.trailing_zeros() as u16;
                links.push(LinkId::new(NodeId(from), NodeId(to), nodes));
                row &= row - 1;
            }
        }
        links
    }

    /// The number of links.
    pub(super) fn count(&self, nodes: usize) -> usize {
        (0..nodes as u16).map(|from| self.row(from).count_ones() as usize).sum()
    }
}
