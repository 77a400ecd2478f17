//! Which process of a node sent a message, and whether with the data of the one before.
//!
//! A node's time is divided by *borders*: the moments between which one of its processes was gone
//! and the next one could speak. A message is ascribed to a process only where that is certain:
//!
//! - what was seen before the first border was sent before it;
//! - a connection that was opened after a border belongs to a process behind it;
//! - what is seen after a border on a connection from before it may be what the old process left
//!   in its buffers, or the new process's answer to a SYN that was long under way. It is ascribed
//!   to nobody;
//! - what is seen after an end, before it is told how the node came back, speaks for nobody: the
//!   data may be gone.

use super::Seen;
use crate::packet::NodeId;
use crate::time::Nanos;
use rustc_hash::{FxHashMap, FxHashSet};

/// Borders of a node that are told apart. The oldest are forgotten: what was told of them stays
/// true, since everything before the oldest that is known counts as one process.
const BORDERS_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Border {
    at: Nanos,
    /// The process behind it has started.
    is_started: bool,
    /// It started without data.
    is_wiped: bool,
}

/// Who sent a message, as far as it is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// How often the sender lost its data before. `None`: unknown, so that it speaks for nobody.
    pub(super) life: Option<u32>,
    /// How many borders of its node lay before. `None`: unknown.
    pub(super) incarnation: Option<u32>,
}

/// The borders of all nodes.
#[derive(Debug, Default)]
pub(super) struct Lives {
    nodes: FxHashMap<NodeId, Vec<Border>>,
    heard: FxHashSet<NodeId>,
    wiped: FxHashSet<NodeId>,
    any_wiped: bool,
    /// What was seen before is void: everybody was wiped since.
    void_before: Nanos,
}

impl Lives {
    /// A new process with the data of the one before.
    pub(super) fn started(&mut self, at: Nanos, node: NodeId) {
        let borders = self.nodes.entry(node).or_default();
        match borders.last_mut() {
            // Its end is the border: between the two there was no process.
            Some(last) if !last.is_started => last.is_started = true,
            _ => push(borders, Border { at, is_started: true, is_wiped: false }),
        }
    }

    /// A process is gone.
    pub(super) fn ended(&mut self, at: Nanos, node: NodeId) {
        let borders = self.nodes.entry(node).or_default();
        if borders.last().is_none_or(|last| last.is_started || last.is_wiped) {
            push(borders, Border { at, is_started: false, is_wiped: false });
        }
    }

    /// A node's data is gone. True where now nobody is left who stood for anything before.
    pub(super) fn wiped(&mut self, at: Nanos, node: NodeId) -> bool {
        self.any_wiped = true;
        let borders = self.nodes.entry(node).or_default();
        match borders.last_mut() {
            Some(last) if !last.is_started => last.is_wiped = true,
            last => {
                // Told behind its start after all: then the last process, too, had no data.
                if let Some(last) = last {
                    last.is_wiped = true;
                }
                push(borders, Border { at, is_started: false, is_wiped: true });
            }
        }
        self.wiped.insert(node);
        let is_all = self.heard.iter().all(|node| self.wiped.contains(node));
        if is_all {
            self.void_before = self.void_before.max(at);
            self.wiped.clear();
            self.heard.clear();
        }
        is_all
    }

    /// Whether some node was started without its data.
    pub(super) fn any_wiped(&self) -> bool {
        self.any_wiped
    }

    /// A node was heard.
    #[inline]
    pub(super) fn hear(&mut self, node: Option<NodeId>) {
        if let Some(node) = node {
            self.heard.insert(node);
        }
    }

    /// Whether two messages come for certain from the same process.
    pub(super) fn is_same_process(&self, one: &Seen, other: &Seen) -> bool {
        let (one_place, other_place) = (self.place(one), self.place(other));
        one.from == other.from && one_place.incarnation.is_some() && one_place == other_place
    }

    /// Who sent a message.
    pub(super) fn place(&self, seen: &Seen) -> Place {
        if seen.at < self.void_before {
            return Place { life: None, incarnation: None };
        }
        let Some(node) = seen.from else {
            let life = (!self.any_wiped).then_some(0);
            return Place { life, incarnation: None };
        };
        let borders = self.nodes.get(&node).map_or(&[][..], Vec::as_slice);
        // At the very same time either may have been first.
        let until = borders.partition_point(|border| border.at <= seen.at);
        let dialled = |at| borders.partition_point(|border| border.at < at);
        let opened = seen.opened.map_or(0, dialled).min(until);
        // Gone, and not known to have come back with its data: the new process may have none.
        let is_unknown = until.checked_sub(1).is_some_and(|last| {
            let Border { is_started, is_wiped, .. } = borders[last];
            !is_started && !is_wiped
        });
        // Borders between the opening of the connection and the message leave it open who sent
        // it; only a loss of data makes that matter for what a member stands for.
        let is_open = borders[opened..until].iter().any(|border| border.is_wiped);
        let lives = borders[..until].iter().filter(|border| border.is_wiped).count();
        Place {
            life: (!is_open && !is_unknown).then_some(lives as u32),
            incarnation: (opened == until).then_some(until as u32),
        }
    }
}

fn push(borders: &mut Vec<Border>, border: Border) {
    if borders.len() == BORDERS_MAX {
        return;
    }
    // Times come from several threads; the order of borders is that of their times.
    let at = borders.partition_point(|other| other.at <= border.at);
    borders.insert(at, border);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Kind, Message, Way};

    const NODE: NodeId = NodeId(1);

    fn seen(at: u64, opened: Option<u64>) -> Seen {
        Seen {
            at: Nanos(at),
            flow: 1,
            way: Way::There,
            opened: opened.map(Nanos),
            from: Some(NODE),
            to: None,
            message: Message::new(Kind::Heartbeat),
            entries: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_certain_is_ascribed() {
        let mut lives = Lives::default();
        lives.ended(Nanos(10), NODE);
        lives.started(Nanos(20), NODE);
        let inc = |at, opened| lives.place(&seen(at, opened)).incarnation;
        assert_eq!(inc(5, Some(1)), Some(0));
        assert_eq!(inc(5, None), Some(0), "joined in mid-stream, before any border");
        assert_eq!(inc(25, Some(21)), Some(1));
        assert_eq!(inc(25, Some(12)), Some(1), "dialled while it was gone");
        assert_eq!(inc(25, Some(5)), None, "of the old process, or a SYN that took long");
        assert_eq!(inc(25, None), None);
        assert_eq!(lives.place(&seen(25, Some(5))).life, Some(0), "with the same data in any case");
        lives.ended(Nanos(30), NODE);
        assert_eq!(lives.place(&seen(35, Some(31))).life, None, "with which data, is not told");
        lives.started(Nanos(32), NODE);
        assert_eq!(lives.place(&seen(35, Some(31))), Place { life: Some(0), incarnation: Some(2) });
    }

    #[test]
    fn a_wipe_makes_another_life() {
        let mut lives = Lives::default();
        lives.hear(Some(NODE));
        lives.hear(Some(NodeId(2)));
        lives.ended(Nanos(10), NODE);
        assert!(!lives.wiped(Nanos(15), NODE));
        lives.started(Nanos(20), NODE);
        let life = |at, opened| lives.place(&seen(at, opened)).life;
        assert_eq!((life(5, Some(1)), life(25, Some(21))), (Some(0), Some(1)));
        assert_eq!(life(25, Some(1)), None);
        assert!(lives.wiped(Nanos(30), NodeId(2)), "nobody is left");
        assert_eq!(lives.place(&seen(25, Some(21))).life, None);
        assert_eq!(lives.place(&seen(35, Some(31))).life, Some(1));
    }

    #[test]
    fn a_wipe_that_is_told_behind_the_start_parts_both_sides() {
        let mut lives = Lives::default();
        lives.hear(Some(NodeId(2)));
        lives.ended(Nanos(10), NODE);
        lives.started(Nanos(20), NODE);
        assert!(!lives.wiped(Nanos(30), NODE));
        let life = |at, opened| lives.place(&seen(at, opened)).life;
        assert_eq!([life(5, Some(1)), life(25, Some(21))], [Some(0), Some(1)]);
        assert_eq!(life(35, Some(31)), Some(2));
    }
}
