//! What several runs say together: medians, whether two groups differ by more than chance makes
//! them, and rates with their intervals. Pure. Nothing here assumes how values are distributed:
//! recovery times are skewed, and some are infinite, since a cluster may never recover.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};
use statrs::stats_tests::Alternative;
use statrs::stats_tests::fisher::fishers_exact;
use statrs::stats_tests::mannwhitneyu::{MannWhitneyUMethod, mannwhitneyu};

/// What is beyond noise: chance alone would show it less often than this.
pub const ALPHA: f64 = 0.05;

/// Values of both groups up to which ranks are judged by all orders there are; beyond, the normal
/// approximation is good, and counting takes its time.
const EXACT_MAX: usize = 60;

/// Of the normal distribution, with half of [`ALPHA`] on each side.
const Z: f64 = 1.959_963_984_540_054;

/// The value in the middle, or between the two in the middle. None of an empty slice.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(match sorted.len() % 2 {
        0 => f64::midpoint(sorted[sorted.len() / 2 - 1], upper),
        _ => upper,
    })
}

/// The least value that so many percent of all do not exceed; the values have to be sorted.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// What a test says of "both groups are alike".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// How often chance alone makes groups differ at least so much.
    pub p: f64,
    /// The least `p` that values like these could come to, however they were shared out. Where it
    /// is over [`ALPHA`] nothing could be found, so that not finding it says nothing.
    pub reachable: f64,
    /// Whether the second group is the higher one.
    pub higher: bool,
}

/// The test by ranks of Mann and Whitney (1947), two-sided. Up to [`EXACT_MAX`] values it is exact,
/// with ties, too: all ways to share the ranks out are counted. None without values.
#[must_use]
pub fn ranks_differ(a: &[f64], b: &[f64]) -> Option<Test> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let ranks = doubled_ranks(a, b);
    let (total, sum) = (ranks.len(), ranks[..a.len()].iter().sum::<usize>());
    // Doubled as the ranks are: of `a`, were the ranks shared out evenly.
    let even = a.len() * (total + 1);
    let higher = sum < even;
    if ranks.iter().all(|rank| *rank == ranks[0]) {
        return Some(Test { p: 1.0, reachable: 1.0, higher });
    }
    if total > EXACT_MAX {
        let method = MannWhitneyUMethod::AsymptoticInclContinuityCorrection;
        let (_, p) = mannwhitneyu(a, b, method, Alternative::TwoSided).ok()?;
        return Some(Test { p: p.min(1.0), reachable: 0.0, higher });
    }
    let ways = subset_sums(&ranks, a.len());
    let all: f64 = ways.iter().sum();
    let beyond = |distance: usize| {
        let far = ways.iter().enumerate().filter(|(sum, _)| sum.abs_diff(even) >= distance);
        far.map(|(_, ways)| ways).sum::<f64>() / all
    };
    let there = ways.iter().enumerate().filter(|(_, ways)| **ways > 0.0);
    let farthest = there.map(|(sum, _)| sum.abs_diff(even)).max().unwrap_or_default();
    Some(Test { p: beyond(sum.abs_diff(even)), reachable: beyond(farthest), higher })
}

/// Twice the rank of each value among all, those of `a` first; equal ones share the mean of theirs.
fn doubled_ranks(a: &[f64], b: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|i, j| all[*i].total_cmp(&all[*j]));
    let mut ranks = vec![0; all.len()];
    let mut from = 0;
    for alike in order.chunk_by(|i, j| all[*i].total_cmp(&all[*j]).is_eq()) {
        let to = from + alike.len();
        for i in alike {
            ranks[*i] = from + 1 + to;
        }
        from = to;
    }
    ranks
}

/// In how many ways so many of the numbers come to each sum.
fn subset_sums(numbers: &[usize], chosen: usize) -> Vec<f64> {
    let most: usize = numbers.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; chosen + 1];
    ways[0][0] = 1.0;
    for (seen, number) in numbers.iter().enumerate() {
        for size in (1..=chosen.min(seen + 1)).rev() {
            let (fewer, these) = ways.split_at_mut(size);
            for (sum, ways) in these[0].iter_mut().enumerate().skip(*number) {
                *ways += fewer[size - 1][sum - number];
            }
        }
    }
    ways.swap_remove(chosen)
}

/// By how much the second group lies above the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// The median of all differences between two values (Hodges and Lehmann 1963).
    pub estimate: f64,
    /// Its interval, which holds the truth in at least 95 of 100 comparisons (Moses 1953); none
    /// where there are too few values.
    pub interval: Option<(f64, f64)>,
}

/// None without values, or where one is infinite.
#[must_use]
pub fn shift(a: &[f64], b: &[f64]) -> Option<Shift> {
    if a.iter().chain(b).any(|value| !value.is_finite()) {
        return None;
    }
    let differences = b.iter().flat_map(|after| a.iter().map(move |before| after - before));
    let mut differences: Vec<f64> = differences.collect();
    differences.sort_by(f64::total_cmp);
    let outside = outside(a.len(), b.len());
    let interval = outside.checked_sub(1).and_then(|at| {
        let from = *differences.get(at)?;
        Some((from, *differences.get(differences.len().checked_sub(outside)?)?))
    });
    Some(Shift { estimate: median(&differences)?, interval })
}

/// The greatest `c` such that the count of Mann and Whitney is below it by chance in no more than
/// half of [`ALPHA`]: so many differences are left out at either end, less one.
fn outside(a: usize, b: usize) -> usize {
    if a + b > EXACT_MAX {
        let (a, b) = (a as f64, b as f64);
        let c = a * b / 2.0 - Z * (a * b * (a + b + 1.0) / 12.0).sqrt();
        #[expect(clippy::cast_sign_loss, reason = "it was made positive")]
        return c.floor().max(0.0) as usize;
    }
    let ranks: Vec<usize> = (1..=a + b).collect();
    let ways = subset_sums(&ranks, a);
    let all: f64 = ways.iter().sum();
    let least = a * (a + 1) / 2;
    let mut below = 0.0;
    ways[least..]
        .iter()
        .take_while(|ways| {
            below += **ways / all;
            below <= ALPHA / 2.0
        })
        .count()
}

/// Whether something happens more often in one group than in the other: Fisher's exact test,
/// two-sided. Each side is how often it did, of how many. None where a side is of none.
#[must_use]
pub fn rates_differ(a: (u64, u64), b: (u64, u64)) -> Option<Test> {
    if a.1 == 0 || b.1 == 0 {
        return None;
    }
    let p = |a_times: u64, b_times: u64| {
        let table = [a_times, b_times, a.1 - a_times, b.1 - b_times];
        fishers_exact(&table, Alternative::TwoSided).ok().map(|p| p.min(1.0))
    };
    // As often as it happened, all of it on one side, or as much as that side holds.
    let times = a.0 + b.0;
    let to_a = p(times.min(a.1), times - times.min(a.1))?;
    let to_b = p(times - times.min(b.1), times.min(b.1))?;
    let higher = b.0 * a.1 > a.0 * b.1;
    Some(Test { p: p(a.0, b.0)?, reachable: to_a.min(to_b), higher })
}

/// Each `p` as it is to be compared with the level where as many were looked at: of those that are
/// called differences no more than the level's share is chance (Benjamini and Hochberg 1995).
#[must_use]
pub fn adjusted(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|i, j| ps[*j].total_cmp(&ps[*i]));
    let (mut adjusted, mut least) = (vec![0.0; ps.len()], 1.0_f64);
    for (from_top, i) in order.into_iter().enumerate() {
        let rank = ps.len() - from_top;
        least = least.min(ps[i] * ps.len() as f64 / rank as f64);
        adjusted[i] = least;
    }
    adjusted
}

/// How often something happened, and what that says of how often it does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// How often it happened.
    pub times: u64,
    /// In how many.
    pub of: u64,
    /// From 0 to 1; none of none.
    pub share: Option<f64>,
    /// The interval of Clopper and Pearson (1934) with 95 % confidence. Where it happened never, or
    /// always, only one end says something, and all of the 5 % are on that side: 0 of 100 is below
    /// 0.0295, the "rule of three".
    pub low: f64,
    /// Its other end.
    pub high: f64,
}

impl Rate {
    /// So often, in so many; `times` is at most `of`.
    #[must_use]
    pub fn new(times: u64, of: u64) -> Self {
        let (x, n) = (times as f64, of as f64);
        let bound = |share: f64| share.powf(1.0 / n);
        let beta =
            |a: f64, b: f64, p: f64| Beta::new(a, b).expect("both are positive").inverse_cdf(p);
        let (low, high) = match times {
            _ if of == 0 => (0.0, 1.0),
            0 => (0.0, 1.0 - bound(ALPHA)),
            _ if times >= of => (bound(ALPHA), 1.0),
            _ => (beta(x, n - x + 1.0, ALPHA / 2.0), beta(x + 1.0, n - x, 1.0 - ALPHA / 2.0)),
        };
        Self { times, of, share: (of > 0).then(|| x / n), low, high }
    }

    /// In words: `2 of 20: 10.0 %, between 1.2 % and 31.7 % with 95 % confidence`.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { times, of, share, low, high } = self;
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        match share {
            None => "0 of 0".to_owned(),
            Some(_) if *times == 0 => {
                format!("0 of {of}: below {} with 95 % confidence", percent(*high))
            }
            Some(_) if times == of => {
                format!("{times} of {of}: above {} with 95 % confidence", percent(*low))
            }
            Some(share) => format!(
                "{times} of {of}: {}, between {} and {} with 95 % confidence",
                percent(*share),
                percent(*low),
                percent(*high)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
