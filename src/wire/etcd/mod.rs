//! etcd 3.4 and 3.5 between peers (`rafthttp`): HTTP/1.1, without TLS.
//!
//! ```text
//! http.rs     heads, and how long bodies are
//! frames.rs   what bodies carry
//! mod.rs      which body it is, and its bytes without their chunks
//! ```
//!
//! A member asks each other one for two streams, and their answers, which never end, carry what
//! the *asked* one has to say. What does not fit into a stream is posted on a third connection.
//! Chunks end anywhere in a message: a message is read where it lies if it is in one chunk, and
//! put together otherwise.
//!
//! Joined in the middle, a stream is read from the first chunk on that begins a segment and holds
//! a frame which can be nothing else. Which of the two streams it is follows from that, too; that
//! a msgapp stream is merely alive proves nothing.

mod frames;
mod http;
#[cfg(test)]
mod tests;

use self::frames::{Body, Frames, Route, are_certain};
use self::http::{Asked, HEAD_MAX, Length, NoHead};
use super::decoder::{Connection, Decoder, Known, Step, Tell, Way};
use super::message::Entry;
use std::collections::VecDeque;

/// Requests of a connection that wait for their answers. Go's client asks one by one.
const ASKED_MAX: usize = 16;

/// What comes next in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Head,
    /// So many bytes of a body; none behind them.
    Body(u64),
    ChunkHead,
    /// So many bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// Nobody knows.
    Unknown,
}

#[derive(Debug)]
struct Lane {
    next: Next,
    frames: Frames,
    /// The beginning of a frame that goes on in another chunk.
    kept: Vec<u8>,
    need: usize,
    /// Bytes of the body that are passed over, in however many chunks.
    skip: u64,
}

/// Reads one connection.
#[derive(Debug)]
pub struct Etcd {
    dialler: Option<Way>,
    lanes: [Lane; 2],
    asked: VecDeque<Asked>,
    /// The last question whose answer began.
    answered: Option<Asked>,
    entries: Vec<Entry>,
}

impl Etcd {
    /// A decoder for a connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        let lane = || Lane {
            next: Next::Head,
            frames: Frames::default(),
            kept: Vec::new(),
            need: 0,
            skip: 0,
        };
        Self {
            dialler: connection.dialler,
            lanes: [lane(), lane()],
            asked: VecDeque::with_capacity(ASKED_MAX),
            answered: None,
            entries: Vec::new(),
        }
    }

    fn head(&mut self, way: Way, bytes: &[u8]) -> Step {
        let asks = match self.dialler {
            Some(dialler) => dialler == way,
            None => !bytes.starts_with(b"HTTP/"[..bytes.len().min(5)].as_ref()),
        };
        let head = if asks { self.request(way, bytes) } else { self.answer(way, bytes) };
        match head {
            Ok(step) => step,
            Err(NoHead::Short) if bytes.len() < HEAD_MAX => Step::Need(bytes.len() + 1),
            Err(_) if bytes[0] == 0x16 => Step::Lost("TLS: nobody else can read it"),
            Err(_) => Step::Lost("no head of HTTP"),
        }
    }

    fn request(&mut self, way: Way, bytes: &[u8]) -> Result<Step, NoHead> {
        let request = http::request(bytes)?;
        if self.asked.len() == ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(request.asked);
        self.dialler = Some(way);
        self.lanes[way.index()].begin(request.body, Route::default(), request.length);
        Ok(Step::Took(request.len))
    }

    fn answer(&mut self, way: Way, bytes: &[u8]) -> Result<Step, NoHead> {
        let answer = http::answer(bytes)?;
        self.dialler = Some(way.other());
        let is_interim = answer.code < 200 && answer.code != 101;
        let asked = if is_interim { None } else { self.asked.pop_front() };
        let is_stream = answer.code == 200 && answer.length == Length::Chunked;
        let (body, route) = match asked {
            Some(Asked { answer, route, head_only: false }) if is_stream => (answer, route),
            // Without its question one cannot tell what this is.
            None if is_stream => return Ok(Step::Lost("an answer to a question not heard")),
            _ => (Body::Other, Route::default()),
        };
        let no_body = is_interim || asked.is_some_and(|asked| asked.head_only);
        let length = if no_body { Length::Bytes(0) } else { answer.length };
        if !is_interim {
            self.answered = asked;
        }
        self.lanes[way.index()].begin(body, route, length);
        Ok(Step::Took(answer.len))
    }

    /// Takes up a stream at a chunk that begins these bytes.
    fn regain_stream(&mut self, way: Way, bytes: &[u8]) -> Option<usize> {
        // The end of the chunk before it may have been late.
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let (head, length) = http::chunk_head(&bytes[start..]).ok()?;
        let rest = &bytes[start + head..];
        let data = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let to_end = data.is_some();
        let data = data.unwrap_or(rest);
        let end = &rest[data.len()..];
        if !end.starts_with(&b"\r\n"[..end.len().min(2)]) {
            return None;
        }
        // The last question that was heard is the one that is being answered.
        let asked = self.asked.back().copied().or(self.answered);
        let bodies: &[Body] = match asked.map(|asked| asked.answer) {
            Some(Body::Messages) => &[Body::Messages],
            Some(Body::Appends) => &[Body::Appends],
            Some(_) => &[],
            None => &[Body::Messages, Body::Appends],
        };
        let entries = &mut self.entries;
        let body = bodies.iter().find(|body| are_certain(**body, data, to_end, entries))?;
        let route = asked.map(|asked| asked.route).unwrap_or_default();
        self.dialler = Some(way.other());
        self.answered = asked;
        self.asked.clear();
        self.lanes[way.index()].begin(*body, route, Length::Chunked);
        Some(start)
    }
}

impl Decoder for Etcd {
    fn step(&mut self, way: Way, bytes: &[u8], _: &mut Known, tell: Tell<'_>) -> Step {
        let lane = &mut self.lanes[way.index()];
        match lane.next {
            Next::Head => self.head(way, bytes),
            Next::ChunkHead => lane.chunk_head(bytes),
            Next::Body(left) | Next::Chunk(left) => lane.body(bytes, left, tell),
            Next::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    lane.next = Next::ChunkHead;
                    Step::Took(2)
                }
                [b'\r'] => Step::Need(2),
                _ => Step::Lost("a chunk that does not end where it should"),
            },
            Next::Trailer => match bytes.iter().take(HEAD_MAX).position(|&b| b == b'\n') {
                Some(end) => {
                    if end <= 1 {
                        lane.next = Next::Head;
                    }
                    Step::Took(end + 1)
                }
                None if bytes.len() < HEAD_MAX => Step::Need(bytes.len() + 1),
                None => Step::Lost("a trailer without an end"),
            },
            Next::Unknown => Step::Lost("the thread is lost"),
        }
    }

    fn lose(&mut self, way: Way) {
        let lane = &mut self.lanes[way.index()];
        lane.next = Next::Unknown;
        lane.kept.clear();
        lane.frames.begin(Body::Other, Route::default());
    }

    fn regain(&mut self, way: Way, bytes: &[u8]) -> Option<usize> {
        if self.dialler != Some(way.other())
            && http::request(bytes).is_ok_and(|request| request.is_peers)
        {
            self.lanes[way.index()].next = Next::Head;
            self.dialler = Some(way);
            return Some(0);
        }
        if self.dialler == Some(way) {
            return None;
        }
        if http::answer(bytes).is_ok_and(|answer| answer.length != Length::Open) {
            // The last question is the one it answers: it was asked after the former answer.
            self.asked.drain(..self.asked.len().saturating_sub(1));
            self.lanes[way.index()].next = Next::Head;
            self.dialler = Some(way.other());
            return Some(0);
        }
        self.regain_stream(way, bytes)
    }
}

impl Lane {
    fn begin(&mut self, body: Body, route: Route, length: Length) {
        self.frames.begin(body, route);
        self.kept.clear();
        self.skip = 0;
        self.next = match length {
            Length::Bytes(0) => Next::Head,
            Length::Bytes(bytes) => Next::Body(bytes),
            Length::Chunked => Next::ChunkHead,
            Length::Open => Next::Body(u64::MAX),
        };
    }

    fn chunk_head(&mut self, bytes: &[u8]) -> Step {
        match http::chunk_head(bytes) {
            Ok((len, 0)) => {
                self.next = Next::Trailer;
                Step::Took(len)
            }
            Ok((len, chunk)) => {
                self.next = Next::Chunk(chunk);
                Step::Took(len)
            }
            Err(NoHead::Short) => Step::Need(bytes.len() + 1),
            Err(NoHead::Wrong) => Step::Lost("no head of a chunk"),
        }
    }

    /// One step through a body or a chunk of which so many bytes are left.
    fn body(&mut self, bytes: &[u8], left: u64, tell: Tell<'_>) -> Step {
        let shown = &bytes[..usize::try_from(left).map_or(bytes.len(), |l| l.min(bytes.len()))];
        let chunked = matches!(self.next, Next::Chunk(_));
        let step = if self.skip > 0 {
            self.pass(left)
        } else if self.kept.is_empty() {
            self.in_place(shown, left, chunked, tell)
        } else {
            self.put_together(shown, tell)
        };
        let passed = match step {
            Step::Took(len) => len as u64,
            Step::Skip(len) => len,
            Step::Need(_) | Step::Lost(_) => return step,
        };
        let left = left - passed;
        self.next = match (chunked, left) {
            (true, 0) => Next::ChunkEnd,
            (true, left) => Next::Chunk(left),
            (false, 0) => Next::Head,
            (false, left) => Next::Body(left),
        };
        step
    }

    fn pass(&mut self, left: u64) -> Step {
        let now = self.skip.min(left);
        self.skip -= now;
        Step::Skip(now)
    }

    fn in_place(&mut self, shown: &[u8], left: u64, chunked: bool, tell: Tell<'_>) -> Step {
        match self.frames.step(shown, (!chunked).then_some(left), tell) {
            Step::Need(need) if need as u64 > left => {
                if !chunked {
                    return Step::Lost("a body that ends within its message");
                }
                self.kept.extend_from_slice(shown);
                self.need = need;
                Step::Took(shown.len())
            }
            Step::Skip(len) => {
                self.skip = len;
                self.pass(left)
            }
            step => step,
        }
    }

    fn put_together(&mut self, shown: &[u8], tell: Tell<'_>) -> Step {
        let more = shown.len().min(self.need - self.kept.len());
        self.kept.extend_from_slice(&shown[..more]);
        if self.kept.len() == self.need {
            match self.frames.step(&self.kept, None, tell) {
                Step::Need(need) => self.need = need,
                Step::Took(len) if len == self.kept.len() => self.kept.clear(),
                Step::Skip(len) => {
                    self.skip = len.saturating_sub(self.kept.len() as u64);
                    self.kept.clear();
                }
                Step::Took(_) => return Step::Lost("a frame that is shorter than it was"),
                lost @ Step::Lost(_) => return lost,
            }
        }
        Step::Took(more)
    }
}
