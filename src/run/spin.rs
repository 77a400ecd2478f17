//! When the loop may spin instead of sleeping: shortly before a due time, and for at most
//! half of any 10 ms.
//!
//! Waking from sleep takes tens of microseconds; spinning the last stretch hits the due
//! time. But a loop that spins all the time takes a core from the cluster it watches, and
//! real-time throttling then takes it away from the loop.

use crate::time::Nanos;

/// The last stretch before a due time.
pub const STRETCH: Nanos = Nanos::from_micros(60);

/// The budget is counted over this long.
const WINDOW: Nanos = Nanos::from_millis(10);

/// Parts of the window; the budget slides by one of them.
const PARTS: usize = 10;

/// Spinning allowed in any window.
const BUDGET: Nanos = Nanos(WINDOW.0 / 2);

/// The time spent spinning, in a sliding window.
#[derive(Debug, Default)]
pub struct SpinBudget {
    parts: [Nanos; PARTS + 1],
    part: u64,
}

impl SpinBudget {
    /// Whether spinning is allowed at `now`.
    pub fn allows(&mut self, now: Nanos) -> bool {
        self.slide(now);
        self.parts.iter().map(|p| p.0).sum::<u64>() < BUDGET.0
    }

    /// Notes a stretch that was spun, up to `now`.
    pub fn spend(&mut self, now: Nanos, spun: Nanos) {
        self.slide(now);
        let at = (self.part % self.parts.len() as u64) as usize;
        self.parts[at] = self.parts[at] + spun;
    }

    fn slide(&mut self, now: Nanos) {
        let part = now.0 / (WINDOW.0 / PARTS as u64);
        let steps = part.saturating_sub(self.part).min(self.parts.len() as u64);
        for step in 1..=steps {
            let at = ((part - steps + step) % self.parts.len() as u64) as usize;
            self.parts[at] = Nanos::ZERO;
        }
        self.part = self.part.max(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_half_of_any_ten_milliseconds() {
        let mut budget = SpinBudget::default();
        let step = Nanos::from_micros(20);
        let mut spun = Vec::new();
        let mut now = Nanos::from_secs(5);
        for _ in 0..5_000 {
            if budget.allows(now) {
                spun.push(now);
                budget.spend(now + step, step);
            }
            now = now + step;
        }
        for &from in &spun {
            let end = from + WINDOW;
            let inside = spun.iter().filter(|&&t| t >= from && t + step <= end).count() as u64;
            assert!(inside * step.0 <= BUDGET.0 + step.0, "{inside} steps from {from:?}");
        }
        assert!(spun.len() > 1_800, "the budget is there to be used: {}", spun.len());
    }
}
