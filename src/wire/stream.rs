//! One direction of a TCP connection: its bytes in order, each once.
//!
//! Segments may be sent again, overlap, come in any order, or be 64 KB large. What comes first is
//! what counts: a second copy of a byte is never handed on, whatever it says. Where nothing is
//! out of order, a segment is handed on as the slice it came in.
//!
//! What comes early is kept behind its hole, up to [`HELD_MAX`] bytes in [`PIECES_MAX`] pieces.
//! A hole is given up, and its length told as a gap, when
//!
//! * the copy of the packet that held it was cut short, and something came behind it: whoever
//!   received the packet has the rest, and nobody will send it again;
//! * either limit is reached;
//! * something came behind it for longer than [`PATIENCE`]. The sender repeats a lost segment as
//!   soon as three others were acknowledged, so a hole that stays open was never seen by us only.
//!
//! Acknowledgements are not looked at: they travel on another way, and may be lost or cut off.

use crate::packet::tcp_flags::{FIN, SYN};
use crate::time::Nanos;

/// Bytes that are kept behind holes.
pub const HELD_MAX: usize = 256 << 10;

/// Pieces that are kept behind holes.
pub const PIECES_MAX: usize = 64;

/// How long a hole may stay open while bytes behind it come in.
pub const PATIENCE: Nanos = Nanos::from_secs(3);

/// Farther from where the stream stands nothing of it can be: no TCP window is larger (RFC 7323).
const FAR: u64 = 1 << 30;

/// What a segment brings to its direction.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// When.
    pub at: Nanos,
    /// Sequence number of its SYN, or else of its first byte.
    pub seq: u32,
    /// TCP flags.
    pub flags: u8,
    /// Its bytes, or the first of them.
    pub payload: &'a [u8],
    /// Whether that is all of its bytes.
    pub whole: bool,
}

/// What is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes.
    Bytes {
        /// They are at least one.
        bytes: &'a [u8],
        /// Whether the first of them was the first of its segment.
        starts: bool,
    },
    /// So many bytes are missing, and will not come.
    Gap(u64),
}

/// Bytes that came early.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The position of the first.
    at: u64,
    /// Where they lie in the store.
    from: usize,
    len: usize,
    starts: bool,
    /// Whether behind them the copy of their segment was cut short.
    cut: bool,
}

impl Held {
    const fn end(&self) -> u64 {
        self.at + self.len as u64
    }
}

/// The state of one direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// The position of the next byte. The low half of a position is its sequence number; 0 means
    /// that nothing was seen yet.
    next: u64,
    /// The position behind the last byte seen.
    highest: u64,
    /// The position at which it began, if that was seen.
    first: Option<u64>,
    /// The position at which it ends, once that is known.
    last: Option<u64>,
    /// The position behind a copy that was cut short.
    cut: Option<u64>,
    /// In the order of their positions, and without overlap.
    held: Vec<Held>,
    store: Vec<u8>,
    /// Since when the hole at `next` is open; only while something is held.
    open_since: Nanos,
}

/// Where what was handed on goes.
type Sink<'a> = &'a mut dyn FnMut(Piece<'_>);

impl Stream {
    /// Whether a segment of it was seen.
    #[must_use]
    pub const fn is_placed(&self) -> bool {
        self.next != 0
    }

    /// The sequence number of its SYN, if that was seen.
    #[must_use]
    pub fn syn(&self) -> Option<u32> {
        self.first.map(|first| (first as u32).wrapping_sub(1))
    }

    /// Whether no byte of it was seen yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        !self.is_placed() || self.first == Some(self.highest)
    }

    /// Whether all of its bytes up to its FIN were handed on, or given up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.last.is_some_and(|last| self.next >= last)
    }

    /// Whether a segment with this sequence number stands where it could end the stream: between
    /// what was handed on and what was seen, a FIN included.
    #[must_use]
    pub fn could_end_at(&self, seq: u32) -> bool {
        !self.is_placed() || (self.next..=self.highest + 1).contains(&self.position(seq))
    }

    /// Bytes of memory that it has.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.store.capacity() + self.held.capacity() * size_of::<Held>()
    }

    /// Forgets what is held and gives the memory back. The hole before it becomes a larger one.
    pub fn release(&mut self) {
        self.held = Vec::new();
        self.store = Vec::new();
    }

    /// Takes a segment, and hands on what is in order now.
    pub fn take(&mut self, arrival: &Arrival<'_>, sink: Sink<'_>) {
        let Arrival { at, seq, flags, payload, whole } = *arrival;
        let seq = if flags & SYN == 0 { seq } else { seq.wrapping_add(1) };
        if !self.is_placed() {
            if flags & (SYN | FIN) == 0 && payload.is_empty() {
                return;
            }
            self.place(seq);
            self.first = (flags & SYN != 0).then_some(self.next);
        }
        let mut start = self.position(seq);
        if start.abs_diff(self.next) > FAR {
            // Too much passed unseen to tell before from behind: it goes on from here.
            self.release();
            sink(Piece::Gap(u64::from(seq.wrapping_sub(self.next as u32))));
            self.place(seq);
            start = self.next;
        }
        let end = start + payload.len() as u64;
        self.highest = self.highest.max(end);
        if flags & FIN != 0 && whole {
            self.last = Some(end);
        }
        // An acknowledgement alone says how far its sender is, but fills no hole.
        if end > self.next || end == self.next && !whole || self.cut == Some(self.next) {
            self.place_bytes(at, start, payload, whole, sink);
        }
        if !self.held.is_empty() && at.saturating_sub(self.open_since) > PATIENCE {
            self.give_up(at, sink);
        }
    }

    fn place(&mut self, seq: u32) {
        self.next = (1 << 32) | u64::from(seq);
        self.highest = self.next;
        (self.first, self.last, self.cut) = (None, None, None);
    }

    /// The position nearest to where the stream stands that has this sequence number.
    fn position(&self, seq: u32) -> u64 {
        let ahead = seq.wrapping_sub(self.next as u32).cast_signed();
        self.next.wrapping_add_signed(i64::from(ahead))
    }

    fn place_bytes(&mut self, at: Nanos, start: u64, bytes: &[u8], whole: bool, sink: Sink<'_>) {
        let end = start + bytes.len() as u64;
        let mut early = Held { at: start, from: 0, len: bytes.len(), starts: true, cut: !whole };
        while early.at > self.next && self.cut != Some(self.next) {
            if bytes.is_empty() || self.keep(at, early, bytes) {
                return;
            }
            // No room. What came earlier lies behind the same hole, or before this.
            if self.held.first().is_none_or(|held| held.at > early.at) {
                break;
            }
            self.give_up(at, sink);
        }
        if early.at > self.next {
            sink(Piece::Gap(early.at - self.next));
            self.next = early.at;
        }
        // From here on its first byte is in order, or was handed on already.
        while self.next < end {
            early.starts &= early.at == self.next;
            let until = self.held.first().map_or(end, |held| held.at.min(end));
            if until > self.next {
                let slice = &bytes[(self.next - start) as usize..(until - start) as usize];
                sink(Piece::Bytes { bytes: slice, starts: early.starts });
                self.next = until;
            }
            self.hand_on(at, end, sink);
        }
        if self.next == end && !whole {
            self.cut = Some(end);
            self.hand_on(at, end, sink);
        }
    }

    /// Keeps those bytes of a segment that are not held yet; `false` if there is no room.
    fn keep(&mut self, now: Nanos, new: Held, bytes: &[u8]) -> bool {
        let total: usize = self.held.iter().map(|held| held.len).sum();
        // A new piece may be cut in two by each that is held; more pieces than bytes it has not.
        if total + bytes.len() > HELD_MAX || self.held.len() >= PIECES_MAX {
            return false;
        }
        if self.held.is_empty() {
            self.store.clear();
            self.open_since = now;
        } else if self.store.len() + bytes.len() > HELD_MAX {
            self.pack();
        }
        let (mut at, mut i) = (new.at, 0);
        while at < new.end() {
            let next = self.held.get(i).map_or(u64::MAX, |held| held.at);
            if at < next {
                if self.held.len() >= PIECES_MAX {
                    return true; // The rest is a hole that a repetition may fill.
                }
                let until = next.min(new.end());
                let slice = &bytes[(at - new.at) as usize..(until - new.at) as usize];
                let piece = Held {
                    at,
                    from: self.store.len(),
                    len: slice.len(),
                    starts: at == new.at,
                    cut: false,
                };
                self.store.extend_from_slice(slice);
                self.held.insert(i, piece);
                at = until;
            } else {
                at = at.max(self.held[i].end());
            }
            i += 1;
        }
        // Its end may have come with another segment.
        for held in self.held.iter_mut().filter(|held| held.end() == new.end()) {
            held.cut |= new.cut;
        }
        true
    }

    /// Closes the holes in the store.
    fn pack(&mut self) {
        let mut filled = 0;
        let mut behind = 0;
        while let Some(held) =
            self.held.iter_mut().filter(|held| held.from >= behind).min_by_key(|held| held.from)
        {
            behind = held.from + held.len;
            self.store.copy_within(held.from..behind, filled);
            held.from = filled;
            filled += held.len;
        }
        self.store.truncate(filled);
    }

    /// Hands on what is held and in order now; bytes before `at_hand` will follow at once.
    fn hand_on(&mut self, now: Nanos, at_hand: u64, sink: Sink<'_>) {
        let mut done = 0;
        while let Some(held) = self.held.get(done) {
            if held.at > self.next {
                if self.cut != Some(self.next) || self.next < at_hand {
                    break;
                }
                sink(Piece::Gap(held.at - self.next));
                self.next = held.at;
            }
            // None begins before `next`: what would overlap was left out when it was kept.
            let bytes = &self.store[held.from..held.from + held.len];
            sink(Piece::Bytes { bytes, starts: held.starts });
            self.next = held.end();
            if held.cut {
                self.cut = Some(self.next);
            }
            done += 1;
        }
        if done > 0 {
            self.held.drain(..done);
            self.open_since = now;
        }
    }

    /// Goes on behind the first hole.
    fn give_up(&mut self, now: Nanos, sink: Sink<'_>) {
        if let Some(held) = self.held.first() {
            sink(Piece::Gap(held.at - self.next));
            self.next = held.at;
            self.hand_on(now, self.next, sink);
        }
    }
}
