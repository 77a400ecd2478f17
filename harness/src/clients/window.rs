//! Times in which no write succeeded, from the probe's writes.
//!
//! What counts is when acknowledgements came, not when writes were sent: a write may be sent
//! before a cut and acknowledged behind it, and then somebody had an answer at that moment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shorter gaps are how a leader's hiccup looks between two writes.
const LEAST: u64 = 150_000_000;

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When it was sent, in nanoseconds of the run's clock.
    pub sent: u64,
    /// When its outcome was known.
    pub known: u64,
    /// To which node.
    pub node: usize,
    /// Whether it was acknowledged.
    pub ok: bool,
}

/// A time without a successful write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// When the last write before it was acknowledged, or the first of all was sent, in
    /// nanoseconds of the run's clock.
    pub from: u64,
    /// When the next write was acknowledged, or the last one of all was given up.
    pub to: u64,
    /// Whether a write has succeeded since.
    pub ended: bool,
}

/// The times in which no node acknowledged a write, however many were asked. One node alone that
/// is cut off makes none.
#[must_use]
pub fn windows(samples: &[Sample]) -> Vec<Window> {
    let Some(first) = samples.iter().map(|sample| sample.sent).min() else { return Vec::new() };
    let mut acknowledged: Vec<u64> = samples.iter().filter(|s| s.ok).map(|s| s.known).collect();
    acknowledged.sort_unstable();
    let (mut windows, mut last, never) = (Vec::new(), first, acknowledged.is_empty());
    for known in acknowledged {
        if known.saturating_sub(last) > LEAST {
            windows.push(Window { from: last, to: known, ended: true });
        }
        last = last.max(known);
    }
    // Asking ended with the last sending, whose answer may have taken its time.
    let asked = samples.iter().map(|sample| sample.sent).max().unwrap_or(last);
    let given_up = samples.iter().map(|sample| sample.known).max().unwrap_or(last);
    if asked.saturating_sub(last) > LEAST || never && given_up > last {
        windows.push(Window { from: last, to: given_up, ended: false });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(sent: u64, known: u64, ok: bool) -> Sample {
        Sample { sent: sent * MS, known: known * MS, node: 0, ok }
    }

    fn window(from: u64, to: u64, ended: bool) -> Window {
        Window { from: from * MS, to: to * MS, ended }
    }

    /// A write each 50 ms; those in `fails` are given up after 300 ms.
    fn steady(n: u64, fails: std::ops::Range<u64>) -> Vec<Sample> {
        let one = |i: u64| {
            if fails.contains(&i) {
                at(i * 50, i * 50 + 300, false)
            } else {
                at(i * 50, i * 50 + 2, true)
            }
        };
        (0..n).map(one).collect()
    }

    #[test]
    fn a_node_that_is_cut_off_alone_makes_nothing_unavailable() {
        let cut = steady(40, 0..40).into_iter().map(|sample| Sample { node: 1, ..sample });
        let samples: Vec<Sample> = steady(40, 0..0).into_iter().chain(cut).collect();
        assert_eq!(windows(&samples), []);
    }

    #[test]
    fn a_window_lasts_from_the_last_acknowledgement_to_the_next() {
        assert_eq!(windows(&steady(40, 10..20)), [window(452, 1002, true)]);
    }

    #[test]
    fn a_write_sent_before_and_acknowledged_behind_ends_a_window_when_it_is_acknowledged() {
        let mut samples = steady(40, 10..20);
        // Sent at 500 ms into a cut, held, acknowledged at 780 ms.
        samples[10] = at(500, 780, true);
        assert_eq!(windows(&samples), [window(452, 780, true), window(780, 1002, true)]);
    }

    #[test]
    fn answers_that_are_late_but_steady_are_no_window() {
        let samples: Vec<Sample> = (0..40).map(|i| at(i * 50, i * 50 + 280, true)).collect();
        // But for the first of them, which nobody had an answer before.
        assert_eq!(windows(&samples), [window(0, 280, true)]);
    }

    #[test]
    fn a_window_that_never_ends_ends_with_the_last_attempt_and_says_so() {
        assert_eq!(windows(&steady(40, 10..40)), [window(452, 2250, false)]);
    }

    #[test]
    fn where_nothing_ever_succeeded_the_whole_time_is_one_window_however_short() {
        assert_eq!(windows(&steady(40, 0..40)), [window(0, 2250, false)]);
        assert_eq!(windows(&steady(1, 0..1)), [window(0, 300, false)]);
        assert_eq!(windows(&[]), []);
    }

    #[test]
    fn the_last_write_alone_says_nothing_when_asking_ended_before_its_answer() {
        assert_eq!(windows(&steady(40, 39..40)), []);
    }
}
