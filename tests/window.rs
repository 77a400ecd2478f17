//! When a rule is active: the formula against counting the activations out.

use proptest::prelude::*;
use raftq::rules::table::Window;
use raftq::time::Nanos;

/// The activation that covers `t`, or the next, found by trying one after the other.
fn counted(window: &Window, t: u64) -> Option<(u64, u64)> {
    let times = match (window.every, window.times) {
        (None, _) => 1,
        (Some(_), Some(times)) => u64::from(times),
        // Enough for the times tried here: the period is at least 1.
        (Some(_), None) => t + 2,
    };
    (0..times)
        .map(|k| {
            let start = window.at.0 + k * window.every.map_or(0, |every| every.0);
            (start, window.lasts.map_or(u64::MAX, |lasts| start + lasts.0))
        })
        .find(|&(_, end)| t < end)
}

fn windows() -> impl Strategy<Value = Window> {
    let every = prop::option::of((1_u64..40, 0_u64..40));
    (0_u64..60, prop::option::of(1_u64..50), every, prop::option::of(0_u32..5)).prop_map(
        |(at, lasts, every, times)| {
            let lasts_for = lasts.unwrap_or(1);
            Window {
                at: Nanos(at),
                // What repeats has an end, and not before the next start.
                lasts: lasts.or(every.map(|_| 1)).map(Nanos),
                every: every.map(|(_, more)| Nanos(lasts_for + more)),
                times,
            }
        },
    )
}

/// Nothing is written beside the tests; a failure prints its smallest case.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(3_000))]

    #[test]
    fn the_formula_counts_right(window in windows(), t in 0_u64..400) {
        let formula = window.activation(Nanos(t)).map(|(start, end)| (start.0, end.0));
        prop_assert_eq!(formula, counted(&window, t));
    }

    #[test]
    fn no_window_hangs_or_overflows(
        at in edges(), lasts in prop::option::of(edges()), every in prop::option::of(edges()),
        times in prop::option::of(any::<u32>()), t in edges(),
    ) {
        let nanos = |n: Option<u64>| n.map(Nanos);
        let window = Window { at: Nanos(at), lasts: nanos(lasts), every: nanos(every), times };
        if let Some((start, end)) = window.activation(Nanos(t)) {
            prop_assert!(start < end && t < end.0);
        }
    }
}

fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, any::<u64>(), u64::MAX - 3..=u64::MAX]
}

#[test]
fn the_far_future_is_found_at_once() {
    let every = Window { every: Some(Nanos(1)), lasts: Some(Nanos(1)), ..Window::ALWAYS };
    let t = u64::MAX - 2;
    assert_eq!(every.activation(Nanos(t)), Some((Nanos(t), Nanos(t + 1))));
    assert_eq!(every.activation(Nanos::MAX), None);
    assert_eq!(Window::ALWAYS.activation(Nanos(0)), Some((Nanos(0), Nanos::MAX)));
}
