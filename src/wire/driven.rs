//! What tests of decoders share: a loop that keeps what is not whole, and holds the decoder to
//! what the trait says.

use super::decoder::{Connection, Decoder, KEPT_MAX, Known, Step, Way};
use super::message::{Entry, Message};
use crate::packet::Endpoint;

/// A message, in which direction it came, and its entries.
pub(super) type Told = (Way, Message, Vec<Entry>);

/// A decoder, and what it has said.
pub(super) struct Driven<D> {
    pub(super) decoder: D,
    pub(super) known: Known,
    pub(super) told: Vec<Told>,
    /// Why a direction is lost, where it is.
    pub(super) lost: [Option<&'static str>; 2],
    tails: [Vec<u8>; 2],
    skips: [u64; 2],
}

impl<D: Decoder> Driven<D> {
    pub(super) fn new(decoder: D) -> Self {
        let (known, told) = (Known::default(), Vec::new());
        Self { decoder, known, told, lost: [None; 2], tails: Default::default(), skips: [0; 2] }
    }

    /// What was told since the last time.
    pub(super) fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Takes bytes that follow those before; a lost direction reads on where it may.
    pub(super) fn feed(&mut self, way: Way, bytes: &[u8]) {
        let skipped = self.skips[way.index()].min(bytes.len() as u64);
        self.skips[way.index()] -= skipped;
        let mut bytes = &bytes[skipped as usize..];
        if bytes.is_empty() {
            return;
        }
        if self.lost[way.index()].is_some() {
            let Some(from) = self.decoder.regain(way, bytes) else { return };
            self.lost[way.index()] = None;
            bytes = &bytes[from..];
        }
        let mut tail = std::mem::take(&mut self.tails[way.index()]);
        tail.extend_from_slice(bytes);
        self.tails[way.index()] = self.read(way, tail);
    }

    /// Bytes are missing here.
    pub(super) fn gap(&mut self, way: Way) {
        self.lost[way.index()] = Some("a gap");
        self.tails[way.index()].clear();
        self.skips[way.index()] = 0;
        self.decoder.lose(way);
    }

    fn read(&mut self, way: Way, mut tail: Vec<u8>) -> Vec<u8> {
        let mut at = 0;
        while at < tail.len() {
            let told = &mut self.told;
            let mut tell = |message: &Message, entries: &[Entry]| {
                told.push((way, *message, entries.to_vec()));
            };
            let left = tail.len() - at;
            match self.decoder.step(way, &tail[at..], &mut self.known, &mut tell) {
                Step::Took(len) => {
                    assert!((1..=left).contains(&len), "took {len} of {left}");
                    at += len;
                }
                Step::Need(len) => {
                    assert!(len > left && len <= KEPT_MAX, "needs {len}, has {left}");
                    break;
                }
                Step::Skip(len) => {
                    assert!(len > 0);
                    let here = len.min(left as u64);
                    at += here as usize;
                    self.skips[way.index()] = len - here;
                }
                Step::Lost(why) => {
                    self.gap(way);
                    self.lost[way.index()] = Some(why);
                    return Vec::new();
                }
            }
        }
        tail.drain(..at);
        tail
    }
}

/// A connection that 10.77.0.1 has dialled to the second of these ports at 10.77.0.2.
pub(super) fn connection(ports: [u16; 2], dialler: Option<Way>) -> Connection {
    let end = |host, port| Endpoint::new(([10, 77, 0, host], port).into());
    Connection { ends: [end(1, ports[0]), end(2, ports[1])], dialler, whole: true }
}
