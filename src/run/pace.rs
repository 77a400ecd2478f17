//! When packets come so fast that a wake-up each is a waste: rest a moment, take a batch.
//!
//! An urgent loop is woken by every packet. At 100,000 packets/s that costs the loop more
//! than judging them, and slows the sender, who has to wake it. So above a rate the loop
//! rests for some microseconds before it reads, and takes what has gathered. Consensus
//! traffic is far below that rate and never waits.

use crate::time::Nanos;

/// The rate is measured over this long.
const WINDOW: Nanos = Nanos::from_micros(500);

/// Packets in a window from which on it counts as a flood: 60,000 a second.
const FLOOD: usize = 30;

/// How long to rest.
pub const REST: Nanos = Nanos::from_micros(20);

/// Measures the rate of packets.
#[derive(Debug, Default)]
pub struct Pace {
    window: Nanos,
    packets: usize,
    flood: bool,
}

impl Pace {
    /// Notes a round that took in so many packets.
    #[inline]
    pub fn note(&mut self, now: Nanos, packets: usize) {
        self.packets += packets;
        let passed = now.saturating_sub(self.window);
        if passed < WINDOW {
            return;
        }
        // A window that ended late holds more: what counts is the rate.
        let windows = (passed.0 / WINDOW.0) as usize;
        self.flood = self.packets / windows >= FLOOD;
        (self.window, self.packets) = (now, 0);
    }

    /// Whether packets come in a flood.
    #[inline]
    #[must_use]
    pub fn is_flood(&self) -> bool {
        self.flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood_at(packets_a_second: u64) -> bool {
        let mut pace = Pace::default();
        let gap = 1_000_000_000 / packets_a_second;
        for i in 0..10_000 {
            pace.note(Nanos::from_secs(1) + Nanos(i * gap), 1);
        }
        pace.is_flood()
    }

    #[test]
    fn only_a_flood_is_one() {
        assert!(!flood_at(100));
        assert!(!flood_at(20_000));
        assert!(!flood_at(50_000));
        assert!(flood_at(70_000));
        assert!(flood_at(200_000));
    }

    #[test]
    fn a_flood_ends_with_the_next_packet_after_a_pause() {
        let mut pace = Pace::default();
        for i in 0..1_000 {
            pace.note(Nanos::from_micros(i * 5), 1);
        }
        assert!(pace.is_flood());
        pace.note(Nanos::from_secs(1), 1);
        assert!(!pace.is_flood());
    }
}
