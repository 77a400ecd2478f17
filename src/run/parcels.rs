//! Bytes that wait for a packet: what goes instead of a held one that was trimmed or damaged, and
//! copies that are due later. A fixed number of places; where none is free there is no such packet.

use crate::engine::mangle::{self, HEADERS_MAX};
use crate::packet::PacketView;

/// Places.
const PLACES: usize = 4_096;

/// The most bytes of one, as much as a packet may have.
const PLACE: usize = 65_536;

/// The bytes that are kept. Places that were never used cost nothing but addresses.
#[derive(Debug)]
pub struct Parcels {
    memory: Vec<u8>,
    lens: Box<[u32]>,
    free: Vec<u16>,
    /// What goes on at once instead of a packet.
    scratch: Vec<u8>,
}

impl Parcels {
    /// All places free.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memory: vec![0; PLACES * PLACE],
            lens: vec![0; PLACES].into(),
            free: (0..PLACES as u16).rev().collect(),
            scratch: vec![0; PLACE],
        }
    }

    /// Keeps what `write` writes, and says where; `None` where it writes nothing, or no place is
    /// free.
    pub fn put(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<u16> {
        let slot = *self.free.last()?;
        let at = usize::from(slot) * PLACE;
        let len = write(&mut self.memory[at..at + PLACE])?;
        self.lens[usize::from(slot)] = len as u32;
        self.free.pop();
        Some(slot)
    }

    /// What `write` writes, until the next call; `None` where it writes nothing.
    pub fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<&[u8]> {
        let len = write(&mut self.scratch)?;
        Some(&self.scratch[..len])
    }

    /// Trims a segment and keeps the result; `None` where it cannot be trimmed or kept.
    pub fn put_trimmed(&mut self, bytes: &[u8], view: &PacketView) -> Option<u16> {
        self.put(|out| {
            let mut headers = [0; HEADERS_MAX];
            let len = mangle::trim(bytes, view, &mut headers)?;
            out[..len].copy_from_slice(&headers[..len]);
            Some(len)
        })
    }

    /// The bytes in a place.
    #[must_use]
    pub fn get(&self, slot: u16) -> &[u8] {
        let at = usize::from(slot) * PLACE;
        &self.memory[at..at + self.lens[usize::from(slot)] as usize]
    }

    /// Gives a place back.
    pub fn free(&mut self, slot: Option<u16>) {
        self.free.extend(slot);
    }
}

impl Default for Parcels {
    fn default() -> Self {
        Self::new()
    }
}
