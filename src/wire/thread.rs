//! The thread of one direction: what was read, what is kept because it is not whole yet, and
//! whether the thread is lost.

use super::coverage::Coverage;
use super::decoder::{Decoder, KEPT_MAX, Known, Step, Way};
use super::message::{Entry, Message};
use super::stream::Piece;
use crate::time::Nanos;

/// How many bytes are added at once where a decoder cannot say how many it needs.
const STRIDE: usize = 256;

/// What is needed for reading on.
pub(super) struct Reading<'a> {
    pub(super) at: Nanos,
    pub(super) way: Way,
    pub(super) decoder: &'a mut dyn Decoder,
    pub(super) known: &'a mut Known,
    pub(super) coverage: &'a mut Coverage,
    pub(super) tell: &'a mut dyn FnMut(&Message, &[Entry]),
}

/// Whether a direction is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It has not begun.
    #[default]
    Absent,
    Read,
    Lost,
    /// It is over.
    Ended,
}

/// The thread of a direction.
#[derive(Debug, Default)]
pub(super) struct Thread {
    state: State,
    /// Bytes from where the decoder stands; empty, or fewer than `need`.
    kept: Vec<u8>,
    /// How many the decoder wants to see at once.
    need: usize,
    /// How many it does not want to see.
    skip: u64,
    /// Since when the state is what it is.
    since: Nanos,
}

impl Thread {
    /// The direction begins: with its first byte, or somewhere.
    pub(super) fn begin(&mut self, first: bool, reading: &mut Reading<'_>) {
        if self.state != State::Absent {
            return;
        }
        self.since = reading.at;
        self.state = if first { State::Read } else { State::Lost };
        if !first {
            reading.decoder.lose(reading.way);
        }
    }

    /// Whether it has begun, and has not ended.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.state, State::Read | State::Lost)
    }

    /// Adds up to now what the state so far has lasted.
    pub(super) fn count_time(&self, now: Nanos, coverage: &mut Coverage) {
        let lasted = now.saturating_sub(self.since).0;
        match self.state {
            State::Absent | State::Ended => {}
            State::Read => {
                coverage.read_ns = coverage.read_ns.saturating_add(lasted);
                coverage.there_ns = coverage.there_ns.saturating_add(lasted);
            }
            State::Lost => coverage.there_ns = coverage.there_ns.saturating_add(lasted),
        }
    }

    /// Adds this direction, if it is lost now.
    pub(super) fn count_lost(&self, coverage: &mut Coverage) {
        coverage.lost_now += u64::from(self.state == State::Lost);
    }

    /// The direction is over.
    pub(super) fn end(&mut self, now: Nanos, coverage: &mut Coverage) {
        self.count_time(now, coverage);
        coverage.unread += self.kept.len() as u64;
        self.state = State::Ended;
        self.kept = Vec::new();
    }

    /// Bytes of memory that it has.
    pub(super) fn memory(&self) -> usize {
        self.kept.capacity()
    }

    /// Gives up what is kept, and the memory with it.
    pub(super) fn release(&mut self, why: &'static str, reading: &mut Reading<'_>) {
        if self.state == State::Read {
            self.lose(why, reading);
        }
        self.kept = Vec::new();
    }

    /// Takes what comes next of the stream.
    pub(super) fn take(&mut self, piece: Piece<'_>, reading: &mut Reading<'_>) {
        match (piece, self.state) {
            (_, State::Absent | State::Ended) => {}
            (Piece::Gap(missing), State::Read) => {
                if self.skip >= missing {
                    self.skip -= missing;
                    reading.coverage.skipped += missing;
                } else {
                    reading.coverage.unread += missing;
                    self.lose("bytes are missing", reading);
                }
            }
            (Piece::Gap(missing), State::Lost) => reading.coverage.unread += missing,
            (Piece::Bytes { bytes, .. }, State::Read) => self.read(bytes, reading),
            (Piece::Bytes { bytes, starts }, State::Lost) => self.look(bytes, starts, reading),
        }
    }

    /// Looks for a point at which the thread can be taken up again.
    fn look(&mut self, bytes: &[u8], starts: bool, reading: &mut Reading<'_>) {
        let found = if starts { reading.decoder.regain(reading.way, bytes) } else { None };
        let Some((before, rest)) = found.and_then(|at| bytes.split_at_checked(at)) else {
            reading.coverage.unread += bytes.len() as u64;
            return;
        };
        self.count_time(reading.at, reading.coverage);
        (self.state, self.since) = (State::Read, reading.at);
        reading.coverage.unread += before.len() as u64;
        reading.coverage.regained += 1;
        self.read(rest, reading);
    }

    fn lose(&mut self, why: &'static str, reading: &mut Reading<'_>) {
        self.count_time(reading.at, reading.coverage);
        (self.state, self.since) = (State::Lost, reading.at);
        reading.coverage.lost += 1;
        reading.coverage.last_lost = Some(why);
        reading.coverage.unread += self.kept.len() as u64;
        self.kept.clear();
        self.skip = 0;
        reading.decoder.lose(reading.way);
    }

    fn read(&mut self, mut bytes: &[u8], reading: &mut Reading<'_>) {
        while !bytes.is_empty() && self.state == State::Read {
            let passed = self.skip.min(bytes.len() as u64);
            if passed > 0 {
                self.skip -= passed;
                reading.coverage.skipped += passed;
                bytes = &bytes[passed as usize..];
            } else if self.kept.is_empty() {
                bytes = self.read_slice(bytes, reading);
            } else {
                // Hardly more than is needed, so that what follows is read where it lies; but where
                // only one more is asked for at a time, not one at a time.
                let missing = self.need.saturating_sub(self.kept.len());
                let more = missing.max(self.kept.len().min(STRIDE)).min(bytes.len());
                self.kept.extend_from_slice(&bytes[..more]);
                bytes = &bytes[more..];
                if self.kept.len() >= self.need {
                    self.read_kept(reading);
                }
            }
        }
        reading.coverage.unread += bytes.len() as u64;
    }

    /// Reads what was kept and is enough now.
    fn read_kept(&mut self, reading: &mut Reading<'_>) {
        let kept = std::mem::take(&mut self.kept);
        let mut bytes = &kept[..];
        while !bytes.is_empty() && self.state == State::Read {
            let passed = self.skip.min(bytes.len() as u64);
            self.skip -= passed;
            reading.coverage.skipped += passed;
            bytes = &bytes[passed as usize..];
            if !bytes.is_empty() {
                bytes = self.step(bytes, reading);
                if self.need > bytes.len() {
                    break;
                }
            }
        }
        if self.state == State::Lost {
            reading.coverage.unread += bytes.len() as u64;
        }
        let left = if self.state == State::Read { bytes.len() } else { 0 };
        let start = kept.len() - bytes.len();
        self.kept = kept;
        self.kept.copy_within(start..start + left, 0);
        self.kept.truncate(left);
    }

    /// Reads while nothing is kept; what the decoder cannot use yet is kept.
    fn read_slice<'a>(&mut self, bytes: &'a [u8], reading: &mut Reading<'_>) -> &'a [u8] {
        let rest = self.step(bytes, reading);
        if self.state == State::Read && self.need > rest.len() && !rest.is_empty() {
            self.kept.extend_from_slice(rest);
            return &[];
        }
        rest
    }

    /// One step of the decoder: what it left, `need` set for that.
    fn step<'a>(&mut self, bytes: &'a [u8], reading: &mut Reading<'_>) -> &'a [u8] {
        let Reading { way, decoder, known, tell, .. } = reading;
        self.need = 0;
        match decoder.step(*way, bytes, known, tell) {
            Step::Took(len) if (1..=bytes.len()).contains(&len) => {
                reading.coverage.read += len as u64;
                &bytes[len..]
            }
            Step::Need(len) if (bytes.len() + 1..=KEPT_MAX).contains(&len) => {
                self.need = len;
                bytes
            }
            Step::Skip(len) if len > 0 => {
                self.skip = len;
                bytes
            }
            Step::Lost(why) => {
                self.lose(why, reading);
                bytes
            }
            _ => {
                self.lose("its decoder does not keep its promise", reading);
                bytes
            }
        }
    }
}
