//! What single actions make of a packet: chances, bottlenecks, slots, copies, damage.
//!
//! Each takes what it remembers of this direction of the flow, or of the link, and changes it.

use super::dice::{self, Draw};
use crate::rules::table::{Delay, Lot, Rate, Reorder, Slot};
use crate::time::Nanos;

/// How a payload is changed, drawn already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first byte of the payload that is changed.
    pub from: u32,
    /// The one behind the last.
    pub to: u32,
    /// What of them: with `one_bit` the bit of that number, counted from `from` on; else what the
    /// bytes are changed by.
    pub bits: u64,
    /// Whether a single bit is changed.
    pub one_bit: bool,
    /// Whether the checksum is made to fit.
    pub fixes_checksum: bool,
}

/// Copies of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// How many.
    pub count: u8,
    /// How long behind the packet.
    pub after: Nanos,
}

/// Whether a lot hits. The draw for it is `draw`.
pub(super) fn hits(lot: Lot, seed: u64, draw: Draw, memory: &mut [u64]) -> bool {
    if lot.share >= 1 << 32 {
        return true;
    }
    let bits = match memory.first_mut() {
        Some(last) if lot.correlation > 0 => dice::correlated(draw, seed, lot.correlation, last),
        _ => draw.bits(seed),
    };
    dice::happens(bits, lot.share)
}

/// Whether a packet overtakes, as netem has it: of `gap` packets in a row the first ones never do,
/// and each behind them may until one does.
pub(super) fn overtakes(reorder: &Reorder, seed: u64, draw: Draw, memory: &mut [u64]) -> bool {
    let [passed, last] = memory else { return hits(reorder.lot, seed, draw, &mut []) };
    let early = *passed + 1 < u64::from(reorder.gap);
    if early || !hits(reorder.lot, seed, draw, std::slice::from_mut(last)) {
        *passed += 1;
        return false;
    }
    *passed = 0;
    true
}

/// When a packet of `bytes` bytes that would leave at `at` has passed a bottleneck; `None` where it
/// would have to wait too long, and is dropped. `free` is when the bottleneck has nothing to do.
///
/// The generic cell rate algorithm: with a burst it may run ahead of its rate by as much.
pub(super) fn passed(
    rate: &Rate,
    at: Nanos,
    (bytes, segments): (u64, u64),
    free: &mut u64,
) -> Option<Nanos> {
    let done = Nanos((*free).max(at.0)) + rate.takes(bytes, segments);
    let ahead = Nanos((u128::from(rate.burst) * 8_000_000_000 / u128::from(rate.bits)) as u64);
    let due = at.max(done.saturating_sub(ahead));
    if due.saturating_sub(at) > rate.limit {
        return None;
    }
    *free = done.0;
    Some(due)
}

/// When a packet that would leave at `at` is delivered in slots. A slot is open until it begins:
/// what comes later opens the next one, a time from then.
pub(super) fn slot(
    slot: &Slot,
    at: Nanos,
    bytes: u64,
    memory: &mut [u64],
    mut draw: impl FnMut(u64, &Delay) -> Nanos,
) -> Option<Nanos> {
    let [begins, packets, left, number] = memory else { return None };
    let full = *packets == 0 || *left < bytes.min(slot.bytes);
    if *begins <= at.0 || full {
        *number += 1;
        let from = if *begins <= at.0 { at.0 } else { *begins };
        *begins = from.saturating_add(draw(*number, &slot.every).0.max(1));
        (*packets, *left) = (u64::from(slot.packets), slot.bytes);
    }
    *packets -= 1;
    *left = left.saturating_sub(bytes);
    Some(Nanos(*begins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::LinkId;
    use crate::rules::table::{Distribution, Order, Per};

    const MS: u64 = 1_000_000;

    fn rate() -> Rate {
        Rate {
            bits: 8_000_000,
            overhead: 0,
            cell: 0,
            cell_overhead: 0,
            burst: 0,
            limit: Nanos::from_millis(10),
            per: Per::Link,
        }
    }

    #[test]
    fn a_bottleneck_takes_one_packet_after_the_other_and_refuses_what_would_wait_too_long() {
        let (rate, mut free) = (rate(), 0);
        let mut send = |at, bytes| passed(&rate, Nanos(at), (bytes, 1), &mut free).map(|due| due.0);
        assert_eq!(send(0, 1_000), Some(MS));
        assert_eq!(send(0, 1_000), Some(2 * MS));
        assert_eq!(send(0, 9_000), None, "11 ms are more than 10");
        assert_eq!(send(0, 8_000), Some(10 * MS), "what was refused takes no time");
        assert_eq!(send(50 * MS, 1_000), Some(51 * MS), "it stood idle, and nothing was saved up");
    }

    #[test]
    fn a_burst_passes_at_once_and_has_to_be_saved_up_again() {
        let rate = Rate { burst: 3_000, ..rate() };
        let mut free = 0;
        let mut send = |at| passed(&rate, Nanos(at), (1_000, 1), &mut free).map(|due| due.0 / MS);
        let at_once: Vec<_> = (0..5).map(|_| send(100 * MS)).collect();
        assert_eq!(at_once, [Some(100), Some(100), Some(100), Some(101), Some(102)]);
        assert_eq!(send(103 * MS), Some(103), "of the burst one packet is back after 2 ms idle");
    }

    #[test]
    fn a_slot_takes_what_fits_and_the_next_one_the_rest() {
        let every = Delay {
            by: Nanos::from_millis(10),
            jitter: Nanos::ZERO,
            distribution: Distribution::Uniform,
            order: Order::Flow,
            correlation: 0,
        };
        let two = Slot { every, packets: 2, bytes: u64::MAX };
        let mut memory = [0; 4];
        let mut send = |of: &Slot, at: u64, bytes| {
            slot(of, Nanos(at * MS), bytes, &mut memory, |_, every| every.by).map(|due| due.0 / MS)
        };
        let due: Vec<_> = (0..5).map(|_| send(&two, 0, 100)).collect();
        assert_eq!(due, [Some(10), Some(10), Some(20), Some(20), Some(30)]);
        assert_eq!(send(&two, 25, 100), Some(30), "this slot has room");
        assert_eq!(send(&two, 41, 100), Some(51), "nobody waits: the next slot counts from here");
        let small = Slot { bytes: 1_000, packets: u32::MAX, ..two };
        let mut memory = [0; 4];
        let mut send = |bytes| {
            let due = slot(&small, Nanos::ZERO, bytes, &mut memory, |_, every| every.by);
            due.map(|due| due.0 / MS)
        };
        let due = [600, 400, 600, 600, 5_000, 1].map(&mut send);
        assert_eq!(due, [10, 10, 20, 30, 40, 50].map(Some), "one larger than a slot has one alone");
    }

    #[test]
    fn of_a_gap_only_the_last_overtakes() {
        let reorder = Reorder { lot: Lot::ALWAYS, gap: 5 };
        let draw = Draw { rule: 1, link: LinkId(1), connection: 1, segment: 0, part: 8 };
        let mut memory = [0; 2];
        let who: Vec<bool> = (0..10).map(|_| overtakes(&reorder, 7, draw, &mut memory)).collect();
        assert_eq!(who.iter().filter(|who| **who).count(), 2);
        assert!(who[4] && who[9]);
    }
}
