//! What a protocol has to do to be read: one trait, with one value of it for each connection.
//!
//! Whoever calls a decoder puts the bytes of each direction in order, keeps what is not a whole
//! message yet, and bounds all memory ([`super::reader`]); a decoder looks at the bytes from where
//! it stands and says what it makes of them.

use super::message::{Entry, Group, Kind, Member, Message};
use crate::packet::Endpoint;
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;

/// The most bytes that are kept for a message which is not whole yet. Of a larger one a decoder
/// reads what stands in front, and skips the rest ([`Step::Skip`]).
pub const KEPT_MAX: usize = 1 << 20;

/// A direction of a connection: the index of the end that speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From `ends[0]` to `ends[1]`.
    There,
    /// From `ends[1]` to `ends[0]`.
    Back,
}

impl Way {
    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::There => Self::Back,
            Self::Back => Self::There,
        }
    }
}

/// What is known of a connection before a byte of it is read.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Both ends.
    pub ends: [Endpoint; 2],
    /// The direction in which its dialler speaks. Known by its SYN, or by which end is a node's
    /// peer endpoint; `None` where both or neither is and no SYN was seen.
    pub dialler: Option<Way>,
    /// Whether it was seen from its first byte.
    pub whole: bool,
}

/// What a decoder makes of the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many, at least one, are dealt with; it wants to see the rest, if any is left.
    Took(usize),
    /// Nothing can be said before so many are there, counted from the same place; more than were
    /// shown, and at most [`KEPT_MAX`].
    Need(usize),
    /// So many from the same place are of no interest; most of them may not have come yet.
    Skip(u64),
    /// These bytes make no sense here: the thread of this direction is lost, for this reason.
    Lost(&'static str),
}

/// Is told of every message, with those of its entries whose hash is known.
pub type Tell<'a> = &'a mut dyn FnMut(&Message, &[Entry]);

/// Reads one connection of a protocol.
pub trait Decoder: Send + std::fmt::Debug {
    /// Looks at the bytes that come next in a direction; `bytes` is not empty. Tells each message
    /// once, in the step that takes its last byte, or skips over it.
    ///
    /// It must not panic, whatever the bytes, nor allocate by a size that they name.
    fn step(&mut self, way: Way, bytes: &[u8], known: &mut Known, tell: Tell<'_>) -> Step;

    /// The thread of a direction is lost: bytes are missing, or made no sense, or it was joined in
    /// the middle. What was known of its framing, and of what messages inherit, is not known any
    /// more.
    fn lose(&mut self, way: Way);

    /// Looks for a point at which the framing is certain, in bytes that begin where a segment
    /// does: how many to pass over before [`Decoder::step`] reads on, `None` where there is none.
    /// It never guesses: a false point would make false messages.
    fn regain(&mut self, way: Way, bytes: &[u8]) -> Option<usize>;
}

/// What was asked in one message and is answered in another, maybe on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What kind of message asked.
    pub kind: Kind,
    /// Of which group.
    pub group: Group,
    /// Who asked.
    pub from: Option<Member>,
    /// In which term.
    pub term: Option<u64>,
}

/// Questions that are remembered.
const QUESTIONS_MAX: usize = 4_096;

/// What is known across the connections of a cluster: bounded, the oldest is forgotten.
#[derive(Debug)]
pub struct Known {
    questions: HashMap<u64, Question, FxBuildHasher>,
    order: Vec<u64>,
    hand: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            // Below half of its capacity the map cleans up after removals in place.
            questions: HashMap::with_capacity_and_hasher(QUESTIONS_MAX * 2, FxBuildHasher),
            order: Vec::with_capacity(QUESTIONS_MAX),
            hand: 0,
        }
    }
}

impl Known {
    /// Remembers a question by a key that its answer will bear.
    pub fn asked(&mut self, key: u64, question: Question) {
        if self.questions.insert(key, question).is_some() {
            return;
        }
        if self.order.len() < QUESTIONS_MAX {
            self.order.push(key);
            return;
        }
        let oldest = std::mem::replace(&mut self.order[self.hand], key);
        self.questions.remove(&oldest);
        self.hand = (self.hand + 1) % QUESTIONS_MAX;
    }

    /// The question that an answer belongs to. Several may answer one.
    #[must_use]
    pub fn question(&self, key: u64) -> Option<&Question> {
        self.questions.get(&key)
    }
}
