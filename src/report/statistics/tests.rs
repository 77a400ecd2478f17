//! Statistics against published values, and against naive twins.

use super::*;
use proptest::prelude::*;

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 5e-7
}

#[test]
fn medians_and_percentiles_are_values_that_are_there() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    // Half of the runs never recovered: so is the middle.
    assert_eq!(median(&[1.0, f64::INFINITY]), Some(f64::INFINITY));
    assert_eq!(median(&[1.0, f64::INFINITY, f64::INFINITY, 2.0]), Some(f64::INFINITY));
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!([50, 90, 99, 100].map(|p| percentile(&hundred, p)), [50, 90, 99, 100].map(Some));
    assert_eq!(percentile(&[7], 50), Some(7));
    assert_eq!(percentile(&[], 50), None);
}

/// Two groups without ties whose count of Mann and Whitney is `u`.
fn groups(a: usize, b: usize, u: usize) -> (Vec<f64>, Vec<f64>) {
    // All of `a` below all of `b` counts 0; each step of one of `a` over one of `b` counts 1.
    let mut above: Vec<usize> = vec![0; a];
    let mut left = u;
    for steps in above.iter_mut().rev() {
        *steps = left.min(b);
        left -= *steps;
    }
    assert_eq!(left, 0, "{a} and {b} cannot count {u}");
    let low = above.iter().enumerate().map(|(i, steps)| *steps as f64 + 0.01 * i as f64);
    (low.collect(), (0..b).map(|i| i as f64 + 0.5).collect())
}

#[test]
fn critical_values_of_mann_and_whitney_are_those_of_the_tables() {
    // Two-sided, 5 %: the greatest count that is significant.
    let table = [
        (4, 4, 0),
        (3, 5, 0),
        (5, 5, 2),
        (6, 6, 5),
        (5, 8, 6),
        (7, 10, 14),
        (8, 8, 13),
        (10, 10, 23),
        (12, 12, 37),
        (15, 15, 64),
        (20, 20, 127),
    ];
    for (a, b, critical) in table {
        let p = |u| {
            let (a, b) = groups(a, b, u);
            ranks_differ(&a, &b).expect("values").p
        };
        assert!(p(critical) <= ALPHA, "{a}, {b}: {critical} is significant, not {}", p(critical));
        assert!(p(critical + 1) > ALPHA, "{a}, {b}: {} is not", critical + 1);
        assert_eq!(outside(a, b), critical + 1, "the interval follows the same table");
    }
}

#[test]
fn too_few_runs_can_never_say_anything() {
    let (a, b) = groups(3, 4, 0);
    let test = ranks_differ(&a, &b).expect("values");
    assert!(near(test.p, 2.0 / 35.0) && test.reachable > ALPHA, "{test:?}");
    assert!(test.higher, "all of the second are higher");
    let (a, b) = groups(4, 4, 1);
    let test = ranks_differ(&a, &b).expect("values");
    assert!(near(test.reachable, 2.0 / 70.0) && test.p > ALPHA, "{test:?}");
    assert_eq!(ranks_differ(&[], &[1.0]), None);
    let same = ranks_differ(&[2.0; 9], &[2.0; 9]).expect("values");
    assert!(near(same.p, 1.0) && near(same.reachable, 1.0), "{same:?}");
}

#[test]
fn an_example_of_hollander_and_wolfe_comes_out_as_they_print_it() {
    // Permeability of a membrane at term, and before it (1973, p. 69 ff.).
    let term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    let before = [1.15, 0.88, 0.90, 0.74, 1.21];
    let test = ranks_differ(&before, &term).expect("values");
    assert!((test.p / 2.0 - 0.1272).abs() < 5e-5, "{test:?}");
    let shift = shift(&before, &term).expect("values");
    assert!(near(shift.estimate, 0.305), "{shift:?}");
    let (low, high) = shift.interval.expect("enough of them");
    assert!(near(low, -0.15) && near(high, 0.76), "{shift:?}");
}

#[test]
fn what_is_infinite_has_a_rank_and_no_distance() {
    let never = [f64::INFINITY; 5];
    let test = ranks_differ(&[1.0, 2.0, 3.0, 4.0, 5.0], &never).expect("values");
    assert!(near(test.p, 2.0 / 252.0) && test.higher, "{test:?}");
    assert_eq!(shift(&[1.0], &never), None);
    assert_eq!(shift(&[1.0, 2.0], &[5.0]).expect("values").interval, None);
}

#[test]
fn many_values_are_judged_as_by_the_exact_count() {
    let a: Vec<f64> = (0..29).map(f64::from).collect();
    let b: Vec<f64> = (0..29).map(|i| f64::from(i) + 8.5).collect();
    let exact = ranks_differ(&a, &b).expect("values");
    let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
    let (_, approximate) = mannwhitneyu(&a, &b, method, Alternative::TwoSided).expect("values");
    assert!((exact.p - approximate).abs() < 2e-3, "{exact:?} {approximate}");
    let more: Vec<f64> = (0..40).map(|i| f64::from(i) + 8.5).collect();
    let large = ranks_differ(&a, &more).expect("values");
    assert!(large.p < 1e-3 && large.higher && near(large.reachable, 0.0), "{large:?}");
    assert!(outside(30, 30).abs_diff(outside(30, 31)) < 20, "both ways agree where they meet");
}

#[test]
fn the_lady_tasting_tea_knew_three_of_four() {
    let test = rates_differ((3, 4), (1, 4)).expect("a test");
    assert!((test.p - 0.4857).abs() < 5e-5, "{test:?}");
    assert!((test.reachable - 2.0 / 70.0).abs() < 1e-9, "all four would have been: {test:?}");
    assert!(!test.higher);
    let none = rates_differ((0, 9), (0, 9)).expect("a test");
    assert!(near(none.p, 1.0) && near(none.reachable, 1.0), "{none:?}");
    assert_eq!(rates_differ((0, 0), (1, 4)), None);
    let worse = rates_differ((0, 10), (8, 10)).expect("a test");
    assert!(worse.p < 0.001 && worse.higher, "{worse:?}");
}

#[test]
fn of_fifteen_p_values_four_remain_as_benjamini_and_hochberg_print_it() {
    let ps = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0,
    ];
    let adjusted = adjusted(&ps);
    assert_eq!(adjusted.iter().filter(|p| **p <= ALPHA).count(), 4, "{adjusted:?}");
    assert!(near(adjusted[3], 0.0095 * 15.0 / 4.0), "{adjusted:?}");
    assert!(adjusted.is_sorted(), "{adjusted:?}");
    assert!(super::adjusted(&[]).is_empty());
}

#[test]
fn intervals_of_clopper_and_pearson_are_those_of_r() {
    // The example of `binom.test` in R's manual, and two more of its answers.
    for (times, of, low, high) in [
        (682, 925, 0.707_668_3, 0.765_406_6),
        (2, 20, 0.012_348_5, 0.316_982_7),
        (5, 10, 0.187_086_0, 0.812_914_0),
    ] {
        let rate = Rate::new(times, of);
        assert!(near(rate.low, low) && near(rate.high, high), "{rate:?}");
    }
    let never = Rate::new(0, 100);
    assert!((never.high - 0.029_513).abs() < 1e-6 && never.low.abs() < 1e-12, "{never:?}");
    assert!((never.high - 3.0 / 100.0).abs() < 6e-4, "the rule of three: {never:?}");
    let always = Rate::new(20, 20);
    assert!(near(always.low, 0.860_891_7) && near(always.high, 1.0), "{always:?}");
    assert_eq!(Rate::new(0, 0).share, None);
}

#[test]
fn a_rate_is_told_with_what_it_bounds() {
    assert_eq!(
        Rate::new(2, 20).text(),
        "2 of 20: 10.0 %, between 1.2 % and 31.7 % with 95 % confidence"
    );
    assert_eq!(Rate::new(0, 20).text(), "0 of 20: below 13.9 % with 95 % confidence");
    assert_eq!(Rate::new(20, 20).text(), "20 of 20: above 86.1 % with 95 % confidence");
    assert_eq!(Rate::new(0, 0).text(), "0 of 0");
}

/// The same by trying every way to choose the first group.
fn naive(a: &[f64], b: &[f64]) -> f64 {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    // How often one of the chosen is over one of the rest, ties as a half: doubled.
    let count = |chosen: u32| {
        let is = |i: usize| chosen >> i & 1 == 1;
        let mut doubled = 0_i64;
        for i in (0..all.len()).filter(|i| is(*i)) {
            for j in (0..all.len()).filter(|j| !is(*j)) {
                doubled += match all[i].total_cmp(&all[j]) {
                    std::cmp::Ordering::Greater => 2,
                    std::cmp::Ordering::Equal => 1,
                    std::cmp::Ordering::Less => 0,
                };
            }
        }
        (doubled - i64::try_from(a.len() * b.len()).expect("small")).abs()
    };
    let seen = count((1 << a.len()) - 1);
    let ways = (0..1_u32 << all.len()).filter(|chosen| chosen.count_ones() as usize == a.len());
    let (mut total, mut far) = (0, 0);
    for chosen in ways {
        total += 1;
        far += u32::from(count(chosen) >= seen);
    }
    f64::from(far) / f64::from(total)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ranks_with_ties_are_judged_as_by_trying_every_way(
        a in proptest::collection::vec(0_u8..5, 1..6),
        b in proptest::collection::vec(0_u8..5, 1..6),
    ) {
        let floats = |values: &[u8]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let (a, b) = (floats(&a), floats(&b));
        let test = ranks_differ(&a, &b).expect("values");
        prop_assert!((test.p - naive(&a, &b)).abs() < 1e-9, "{test:?}, {}", naive(&a, &b));
        prop_assert!(test.reachable <= test.p + 1e-12);
    }

    #[test]
    fn an_interval_holds_the_rate_that_was_seen_and_shrinks_with_runs(
        n in 1_u64..400,
        share in 0_u64..=100,
    ) {
        let rate = Rate::new(n * share / 100, n);
        let seen = rate.share.expect("some");
        prop_assert!(rate.low <= seen + 1e-9 && seen <= rate.high + 1e-9, "{rate:?}");
        let more = Rate::new(rate.times * 4, n * 4);
        prop_assert!(more.high - more.low <= rate.high - rate.low + 1e-9, "{rate:?} {more:?}");
    }
}
