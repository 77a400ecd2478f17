//! What the engine says: of a packet that came, and of one that leaves.

use super::held::Held;
use super::{Copies, Damage, Facts};
use crate::packet::{LinkId, NodeId};
use crate::rules::table::{Mark, Reject};
use crate::time::Nanos;

/// Names a packet that the kernel keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Index of the queue.
    pub queue: u16,
    /// The kernel's id of the packet in that queue.
    pub id: u32,
}

/// The answer to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go on.
    Accept,
    /// Discard it.
    Drop,
    /// Let its bare acknowledgement go on.
    Trim,
    /// Let a RST with this sequence number go on instead ([`mangle::reset`]).
    Reset {
        /// Of the earliest byte of its direction that has not been delivered.
        seq: u32,
    },
    /// Discard it, and tell its sender.
    Reject(Reject),
    /// Keep it ([`Engine::hold`]).
    Hold(Keep),
    /// Keep it until its sender is known ([`Engine::wait`]).
    Ask {
        /// The end that is known.
        peer: NodeId,
        /// Whether that is the receiver.
        to_peer: bool,
    },
}

/// How a packet is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// When it is due; [`Nanos::MAX`]: when a rule lets it go, or one before it.
    pub due: Nanos,
    /// When it would be if nothing of its flow stood before it.
    pub own: Nanos,
    /// The rule that holds it.
    pub by: Option<u16>,
    /// The rule that decided, or the first that delayed.
    pub rule: Option<u16>,
    /// Whether only its acknowledgement goes on.
    pub trim: bool,
    /// Whether later packets of its flow may not overtake it.
    pub ordered: bool,
}

/// What else happens to a packet that goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// It bears this mark from now on.
    pub mark: Option<Mark>,
    /// Its payload is changed first.
    pub damage: Option<Damage>,
    /// Copies of it follow.
    pub copies: Option<Copies>,
}

/// A verdict and what it was based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub verdict: Verdict,
    /// What the packet was judged by; `None` for traffic that is not between nodes.
    pub facts: Option<Facts>,
    /// The rule that decided, or the first that delayed.
    pub rule: Option<u16>,
    /// What else happens to it, where it goes on.
    pub extras: Extras,
}

/// A packet that leaves the engine after it was held or had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which packet.
    pub token: Token,
    /// Whether it is dropped.
    pub drop: bool,
    /// Whether it comes again by the second queue of the same lane, to be judged there.
    pub segment: bool,
    /// Where the loop keeps the bytes that go instead of it.
    pub slot: Option<u16>,
    /// Whether these are its acknowledgement alone.
    pub trimmed: bool,
    /// The mark that it is to bear.
    pub mark: Option<Mark>,
    /// Its link, where it is known.
    pub link: Option<LinkId>,
    /// When it was due, where it was held for a delay.
    pub due: Option<Nanos>,
    /// The rule that has it dropped, or of those that it was held for the first; where it is in the
    /// table in force.
    pub rule: Option<u16>,
}

/// The queue holds as many packets as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Decision {
    pub(super) fn foreign() -> Self {
        Self { verdict: Verdict::Accept, facts: None, rule: None, extras: Extras::default() }
    }
}

impl Release {
    /// A packet that was held goes on, as it is or trimmed.
    pub(super) fn of(held: &Held) -> Self {
        let link = Some(held.facts.link);
        let Held { slot, mark, .. } = *held;
        // What is trimmed carries nothing; what is damaged does.
        let trimmed = slot.is_some() && !held.facts.data;
        Self { slot, trimmed, mark, link, ..Self::pass(held.token) }
    }

    /// A packet that goes on as it is.
    pub(super) fn pass(token: Token) -> Self {
        Self {
            token,
            drop: false,
            segment: false,
            slot: None,
            trimmed: false,
            mark: None,
            link: None,
            due: None,
            rule: None,
        }
    }
}
