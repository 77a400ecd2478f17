//! Acknowledgements that wait for a delay: a delayed segment whose data was cut goes on as
//! these bytes. A fixed number of places; where none is free the packet is dropped, as if
//! the cut had taken it whole.

use crate::engine::mangle::{self, HEADERS_MAX};
use crate::packet::PacketView;

/// Places.
const PLACES: usize = 4_096;

/// The trimmed packets that are held.
#[derive(Debug)]
pub struct Trims {
    places: Box<[([u8; HEADERS_MAX], u8)]>,
    free: Vec<u16>,
}

impl Trims {
    /// All places free.
    #[must_use]
    pub fn new() -> Self {
        Self {
            places: vec![([0; HEADERS_MAX], 0); PLACES].into(),
            free: (0..PLACES as u16).rev().collect(),
        }
    }

    /// Trims a segment and keeps the result; `None` where it cannot be trimmed or kept.
    pub fn put(&mut self, bytes: &[u8], view: &PacketView) -> Option<u16> {
        let slot = *self.free.last()?;
        let (out, len) = &mut self.places[usize::from(slot)];
        *len = mangle::trim(bytes, view, out)? as u8;
        self.free.pop();
        Some(slot)
    }

    /// The bytes in a place.
    #[must_use]
    pub fn get(&self, slot: u16) -> &[u8] {
        let (bytes, len) = &self.places[usize::from(slot)];
        &bytes[..usize::from(*len)]
    }

    /// Gives a place back.
    pub fn free(&mut self, slot: Option<u16>) {
        if let Some(slot) = slot {
            self.free.push(slot);
        }
    }
}

impl Default for Trims {
    fn default() -> Self {
        Self::new()
    }
}
