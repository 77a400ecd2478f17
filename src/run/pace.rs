//! When packets come so fast that a wake-up each is a waste: rest a moment, take a batch.
//!
//! An urgent loop is woken by every packet. At 100,000 packets/s that costs the loop more
//! than judging them, and slows the sender, who has to wake it. So above a rate the loop
//! rests for some microseconds before it reads, and takes what has gathered. Consensus
//! traffic is far below that rate and never waits.

use crate::time::Nanos;

/// The rate is measured over this long.
const WINDOW: Nanos = Nanos::from_micros(500);

/// Packets in a window from which on it counts as a flood: 100,000 a second.
const FLOOD: usize = 50;

/// How long to rest.
pub const REST: Nanos = Nanos::from_micros(30);

/// Packets that must have gathered for a rest to have been worth it. Question and answer
/// between two nodes may be as fast as a flood, but nothing gathers while one waits for the
/// other.
const GATHERED: usize = 3;

/// How long not to rest again after a rest in vain.
const AWAKE: Nanos = Nanos::from_millis(100);

/// Measures the rate of packets.
#[derive(Debug, Default)]
pub struct Pace {
    window: Nanos,
    packets: usize,
    flood: bool,
    rested: bool,
    awake_until: Nanos,
}

impl Pace {
    /// Notes a round that took in so many packets.
    #[inline]
    pub fn note(&mut self, now: Nanos, packets: usize) {
        if self.rested {
            self.rested = false;
            if packets < GATHERED {
                self.awake_until = now + AWAKE;
                self.flood = false;
            }
        }
        self.packets += packets;
        let passed = now.saturating_sub(self.window);
        if passed < WINDOW {
            return;
        }
        // A window that ended late holds more: what counts is the rate.
        let windows = (passed.0 / WINDOW.0) as usize;
        self.flood = self.packets / windows >= FLOOD && now >= self.awake_until;
        (self.window, self.packets) = (now, 0);
    }

    /// Whether to rest before the next round.
    #[inline]
    #[must_use]
    pub fn may_rest(&mut self) -> bool {
        self.rested = self.flood;
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
        pace.may_rest()
    }

    #[test]
    fn only_a_flood_is_one() {
        assert!(!flood_at(100));
        assert!(!flood_at(20_000));
        assert!(!flood_at(90_000));
        assert!(flood_at(120_000));
        assert!(flood_at(300_000));
    }

    #[test]
    fn a_flood_ends_with_the_next_packet_after_a_pause() {
        let mut pace = Pace::default();
        for i in 0..1_000 {
            pace.note(Nanos::from_micros(i * 5), 1);
        }
        assert!(pace.may_rest());
        pace.note(Nanos::from_secs(1), 10);
        assert!(!pace.may_rest());
    }

    #[test]
    fn fast_question_and_answer_rests_ten_times_a_second_at_the_most() {
        let mut pace = Pace::default();
        let mut now = Nanos::from_secs(1);
        let mut rests = 0;
        for _ in 0..200_000 {
            now = now + Nanos::from_micros(5);
            if pace.may_rest() {
                rests += 1;
                now = now + REST;
            }
            pace.note(now, 1);
        }
        assert!((5..=11).contains(&rests), "{rests} rests in a second");
    }
}
