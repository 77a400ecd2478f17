//! When a rule is active: the formula against counting the activations out, fixed and drawn.

use proptest::prelude::*;
use raftq::rules::table::{Draws, Window};
use raftq::rules::{Inputs, Source};
use raftq::time::Nanos;

/// Every activation of a window from the first on, one after the other: each starts where the one
/// before says, and lasts as long as it says when it is asked for at its start.
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
            let end = window.lasts.map_or(u64::MAX, |lasts| start + lasts.0);
            (start, end.min(window.until.0))
        })
        .find(|&(start, end)| t < end && start < end)
}

fn windows() -> impl Strategy<Value = Window> {
    let every = prop::option::of((1_u64..40, 0_u64..40));
    let until = prop_oneof![Just(u64::MAX), 1_u64..300];
    (0_u64..60, prop::option::of(1_u64..50), every, prop::option::of(0_u32..5), until).prop_map(
        |(at, lasts, every, times, until)| {
            let lasts_for = lasts.unwrap_or(1);
            Window {
                at: Nanos(at),
                // What repeats has an end, and not before the next start.
                lasts: lasts.or(every.map(|_| 1)).map(Nanos),
                every: every.map(|(_, more)| Nanos(lasts_for + more)),
                times,
                draws: None,
                until: Nanos(until),
            }
        },
    )
}

/// Windows whose lengths and distances are drawn, as compiling makes them.
fn drawn() -> impl Strategy<Value = Window> {
    (windows(), any::<u64>(), 0_u64..30, 0_u64..30, any::<bool>()).prop_map(
        |(window, key, longer, later, whole)| {
            let (longer, later) = (Nanos(longer), Nanos(later));
            let whole = whole && later.0 > 0 && window.every.is_some();
            let draws = Draws { key, lasts: longer, every: later, whole };
            let every = window.every.map(|every| every + longer);
            let lasts = if draws.whole { every.or(window.lasts) } else { window.lasts };
            Window { every, lasts, draws: Some(draws), ..window }
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
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_end_is_that_of_the_last_activation(window in prop_oneof![windows(), drawn()]) {
        let (mut t, mut end, mut count) = (Nanos::ZERO, None, 0);
        while let Some((_, next)) = window.activation(t) {
            (t, end, count) = (next, Some(next), count + 1);
            if next == Nanos::MAX || count > 1_000 {
                break;
            }
        }
        let unlimited = window.every.is_some() && window.times.is_none();
        match end {
            _ if window.until < Nanos::MAX || !unlimited => {
                if let Some(end) = end {
                    prop_assert_eq!(window.end(), end);
                }
            }
            _ => prop_assert_eq!(window.end(), Nanos::MAX),
        }
    }

    /// Asked at any time, the answer is one of the activations that asking from end to end gives.
    #[test]
    fn drawn_activations_do_not_depend_on_who_asks_when(window in drawn(), t in 0_u64..3_000) {
        let t = Nanos(t);
        let mut next = window.covering(Nanos::ZERO);
        let (mut number, mut before) = (0, None);
        while let Some(one) = next.filter(|one| one.end <= t) {
            prop_assert_eq!(one.number, number);
            before = Some(one);
            number += 1;
            next = window.covering(one.end);
        }
        prop_assert_eq!(window.covering(t), next);
        let draws = window.draws.expect("they are drawn");
        if let Some(one) = next {
            let least = window.lasts.map_or(Nanos::MAX, |lasts| one.start + lasts);
            let more = if draws.whole { draws.every } else { draws.lasts };
            prop_assert!(one.end >= least.min(window.until) && one.end <= window.until);
            prop_assert!(one.end <= least + more);
            if let (Some(before), Some(every)) = (before, window.every) {
                let distance = one.start - before.start;
                prop_assert!(distance >= every && distance <= every + draws.every);
                prop_assert!(!draws.whole || before.end == one.start);
            }
        }
    }

    #[test]
    fn no_window_hangs_or_overflows(
        at in edges(), lasts in prop::option::of(edges()), every in prop::option::of(edges()),
        times in prop::option::of(any::<u32>()), t in edges(), until in edges(),
        draws in prop::option::of((edges(), edges(), any::<bool>())),
    ) {
        let nanos = |n: Option<u64>| n.map(Nanos);
        let draws = draws.map(|(lasts, every, whole)| {
            Draws { key: 7, lasts: Nanos(lasts), every: Nanos(every), whole }
        });
        let until = Nanos(until);
        let window =
            Window { at: Nanos(at), lasts: nanos(lasts), every: nanos(every), times, draws, until };
        if let Some((start, end)) = window.activation(Nanos(t)) {
            prop_assert!(start < end && t < end.0 && end <= until);
        }
        let _ = window.end();
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
    // A year of milliseconds, drawn.
    let draws = Draws { key: 1, lasts: Nanos::ZERO, every: Nanos::from_millis(1), whole: true };
    let ms = Some(Nanos::from_millis(1));
    let random = Window { every: ms, lasts: ms, draws: Some(draws), ..Window::ALWAYS };
    let year = Nanos::from_secs(365 * 24 * 3600);
    let one = random.covering(year).expect("it goes on");
    assert!(one.start <= year && year < one.end);
    assert_eq!(random.covering(one.end).map(|next| next.number), Some(one.number + 1));
}

fn table(seed: u64, rules: &str) -> raftq::rules::Table {
    let text = format!(
        "cluster: {{ nodes: {{ a: 10.0.0.1:1, b: 10.0.0.2:1 }} }}\nseed: {seed}\n{rules}\n"
    );
    let compiled = raftq::rules::compile("rules.yaml", &text, &[]);
    compiled.unwrap_or_else(|report| panic!("{}", report.render(false))).table
}

/// Over many names each tenth of the range is as likely as any other.
#[test]
fn draws_are_even() {
    let rules: Vec<String> = (0..10_000)
        .map(|n| format!("- {{ name: r{n}, do: drop, at: 10s..20s, for: 1s..3s, every: 4s..8s }}"))
        .collect();
    let table = table(7, &format!("rules:\n{}", rules.join("\n")));
    let mut tenths = [[0_u32; 10]; 3];
    for rule in &table.rules {
        let window = &rule.window;
        let (start, end) = window.activation(Nanos::ZERO).expect("it is active");
        let (next, _) = window.activation(end).expect("it comes back");
        let tenth = |value: Nanos, low: u64, width: u64| {
            let share = (value - Nanos::from_secs(low)).0 * 10 / Nanos::from_secs(width).0;
            (share as usize).min(9)
        };
        tenths[0][tenth(start, 10, 10)] += 1;
        tenths[1][tenth(end - start, 1, 2)] += 1;
        tenths[2][tenth(next - start, 4, 4)] += 1;
    }
    // 1,000 each; a binomial count is within 4.5 deviations of 30, but for 7 of a million.
    for count in tenths.into_iter().flatten() {
        assert!((865..=1_135).contains(&count), "{tenths:?}");
    }
}

#[test]
fn the_seed_and_the_name_decide() {
    let rule = |seed: u64, name: &str| {
        let rules = format!("rules: [{{ name: {name}, do: drop, at: 0s..9s, for: 1s..2s }}]");
        table(seed, &rules).rules[0].window
    };
    assert_eq!(rule(7, "it"), rule(7, "it"));
    assert_ne!(rule(7, "it").at, rule(8, "it").at);
    assert_ne!(rule(7, "it").at, rule(7, "that").at);
    // Figures that must not change: old recordings hang on them.
    assert_eq!(rule(7, "it").activation(Nanos::ZERO), Some(PINNED));
    let text = "cluster: { nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1 } }\nseed: 1\n\
                rules: [{ name: it, do: drop, at: 0s..9s, for: 1s..2s }]\n";
    let (rules, sets) = (Source::new("rules.yaml", text), Vec::new());
    let given = Inputs { rules, cluster: None, sets, roles: None, seed: Some(7) };
    let given = given.compile().expect("it is right").table;
    assert_eq!((given.rules[0].window, given.seed), (rule(7, "it"), 7), "a seed that is given");
}

const PINNED: (Nanos, Nanos) = (Nanos::from_millis(3_710), Nanos::from_millis(5_429));

#[test]
fn phases_follow_each_other_and_end_their_rules() {
    let rules = "\
phases:
  - { name: calm, for: 10s }
  - { name: storm, for: 20s, overlap: 4s }
  - { name: late, for: 5s, at: 1m }
  - { name: last, for: 3s..4s }
rules:
  - { name: all of it, in: storm, do: drop }
  - { name: a part, in: storm, at: 15s, for: 30s, do: drop }
  - { name: again, in: calm, at: 1s, for: 1s, every: 4s, do: drop }
  - { name: at the end, in: last, do: drop }
  - { name: free, do: drop }";
    let table = table(3, rules);
    let s = Nanos::from_secs;
    let phases: Vec<_> = table.phases.iter().map(|it| (it.start, it.end)).collect();
    assert_eq!(phases[..3], [(s(0), s(10)), (s(6), s(26)), (s(60), s(65))]);
    assert_eq!(phases[3].0, s(65));
    assert!(phases[3].1 >= s(68) && phases[3].1 <= s(69));
    let active = |i: usize| {
        let mut all = Vec::new();
        let mut next = table.rules[i].window.activation(Nanos::ZERO);
        while let Some((start, end)) = next {
            all.push((start, end));
            next = if end == Nanos::MAX { None } else { table.rules[i].window.activation(end) };
        }
        assert_eq!(table.rules[i].window.end(), all.last().expect("some").1);
        all
    };
    assert_eq!(active(0), [(s(6), s(26))]);
    assert_eq!(active(1), [(s(21), s(26))]);
    assert_eq!(active(2), [(s(1), s(2)), (s(5), s(6)), (s(9), s(10))]);
    assert_eq!(active(3), [phases[3]]);
    assert_eq!(active(4), [(Nanos::ZERO, Nanos::MAX)]);
}
