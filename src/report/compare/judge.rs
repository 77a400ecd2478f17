//! Whether a difference between groups is beyond noise.
//!
//! Each measure is compared by ranks, each check by how often it was violated. Many rows are looked
//! at together, so that one of them would be out of line by chance alone: the level is that of the
//! false discovery rate, over the rows of a family in which anything could be found. The families
//! are the checks, the main measures, and the others. What would be a difference if it had been
//! looked at alone is unclear.

use super::measure::Side;
use super::{CheckRow, Comparison, Group, MeasureRow, Verdicts};
use crate::report::statistics::{ALPHA, Test, adjusted, ranks_differ, rates_differ, shift};
use serde::Serialize;

/// What is said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Beyond noise, to the better side.
    Better,
    /// Beyond noise, to the worse side.
    Worse,
    /// Beyond noise, where neither side is the better one.
    More,
    /// The same.
    Fewer,
    /// It would be beyond noise by itself, but not among so many rows.
    Unclear,
    /// No more than chance makes.
    WithinNoise,
    /// There are not enough runs to tell.
    TooFew,
    /// A side has no value.
    NotMeasured,
}

impl Mark {
    /// Its word beside a check; that all runs hold in both groups needs none.
    #[must_use]
    pub(super) const fn word_of_check(self) -> &'static str {
        match self {
            Self::WithinNoise => "",
            mark => mark.word(),
        }
    }

    /// Its word in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Unclear => "unclear",
            Self::WithinNoise => "noise",
            Self::TooFew | Self::NotMeasured => "",
        }
    }
}

/// A row of a group, against the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// What is said of it.
    pub mark: Mark,
    /// By how much it lies above the baseline, in the middle; none where a value is infinite.
    pub shift: Option<f64>,
    /// Its interval with 95 % confidence, of this row alone.
    pub interval: Option<(f64, f64)>,
    /// How often chance alone makes such a difference; of this row alone.
    pub p: Option<f64>,
    /// The same where so many rows are looked at, which decides.
    pub adjusted_p: Option<f64>,
}

/// What a group comes to against the baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// Which group.
    pub group: String,
    /// Whether there were enough runs to say anything.
    pub says_something: bool,
    /// Rows that are better beyond noise.
    pub better: Vec<String>,
    /// Rows that are worse beyond noise.
    pub worse: Vec<String>,
    /// Rows that differ where neither side is better.
    pub other: Vec<String>,
    /// Rows of which more runs would tell.
    pub unclear: Vec<String>,
    /// In words.
    pub said: String,
}

const NOTHING: Judged =
    Judged { mark: Mark::NotMeasured, shift: None, interval: None, p: None, adjusted_p: None };

/// Judges every row of every group against the first.
pub(super) fn judge(comparison: &mut Comparison) {
    let Comparison { groups, checks, measures, conclusions, .. } = comparison;
    let Some((first, others)) = groups.split_first() else { return };
    for (at, other) in others.iter().enumerate() {
        let mut tests: Vec<Option<Test>> = Vec::new();
        for row in checks.iter_mut() {
            let decided = |of: &Verdicts| (of.violated, of.violated + of.holds);
            let test = rates_differ(decided(&row.verdicts[0]), decided(&row.verdicts[at + 1]));
            row.judged.push(NOTHING);
            tests.push(test);
        }
        for row in measures.iter_mut() {
            let (a, b) = (first.values(row.measure), other.values(row.measure));
            let shift = shift(&a, &b);
            row.judged.push(Judged {
                shift: shift.map(|shift| shift.estimate),
                interval: shift.and_then(|shift| shift.interval),
                ..NOTHING
            });
            tests.push(ranks_differ(&a, &b));
        }
        let families: Vec<u8> = (checks.iter().map(|_| 0))
            .chain(measures.iter().map(|row| if row.main { 1 } else { 2 }))
            .collect();
        let adjusted = by_family(&tests, &families);
        for (i, test) in tests.into_iter().enumerate() {
            let (judged, side) = match i.checked_sub(checks.len()) {
                None => (&mut checks[i].judged[at], Side::Lower),
                Some(i) => {
                    let better = measures[i].better;
                    (&mut measures[i].judged[at], better)
                }
            };
            let Some(test) = test else { continue };
            judged.p = Some(test.p);
            judged.adjusted_p = adjusted[i];
            judged.mark = mark(test, adjusted[i], side, first.runs.len().min(other.runs.len()));
        }
        conclusions.push(conclude(
            first,
            other,
            at,
            adjusted.iter().any(Option::is_some),
            checks,
            measures,
        ));
    }
}

/// What each row is to be compared with the level by, as many of its family are looked at; none
/// where nothing could be found.
fn by_family(tests: &[Option<Test>], families: &[u8]) -> Vec<Option<f64>> {
    let mut all = vec![None; tests.len()];
    for family in 0..=2 {
        let p = |i: usize| tests[i].filter(able).map(|test| (i, test.p));
        let members = (0..tests.len()).filter(|i| families[*i] == family);
        let (rows, ps): (Vec<usize>, Vec<f64>) = members.filter_map(p).unzip();
        for (i, adjusted) in rows.into_iter().zip(adjusted(&ps)) {
            all[i] = Some(adjusted);
        }
    }
    all
}

/// Whether values like these could have come to a difference at all.
fn able(test: &Test) -> bool {
    test.reachable <= ALPHA
}

fn mark(test: Test, adjusted: Option<f64>, side: Side, runs: usize) -> Mark {
    match (adjusted, side) {
        (Some(p), Side::Lower) if p <= ALPHA && test.higher => Mark::Worse,
        (Some(p), Side::Lower) if p <= ALPHA => Mark::Better,
        (Some(p), Side::Higher) if p <= ALPHA && test.higher => Mark::Better,
        (Some(p), Side::Higher) if p <= ALPHA => Mark::Worse,
        (Some(p), Side::Neither) if p <= ALPHA && test.higher => Mark::More,
        (Some(p), Side::Neither) if p <= ALPHA => Mark::Fewer,
        (Some(_), _) if test.p <= ALPHA => Mark::Unclear,
        (Some(_), _) => Mark::WithinNoise,
        // All alike in many runs is no lack of runs.
        (None, _) if test.p >= 1.0 && runs >= ENOUGH => Mark::WithinNoise,
        (None, _) => Mark::TooFew,
    }
}

/// Runs of each group from which on ranks can say anything.
const ENOUGH: usize = 4;

fn conclude(
    first: &Group,
    other: &Group,
    at: usize,
    says_something: bool,
    checks: &[CheckRow],
    measures: &[MeasureRow],
) -> Conclusion {
    let with = |marks: &[Mark]| -> Vec<String> {
        let checks = checks.iter().map(|row| (row.check.as_str(), row.judged[at].mark));
        let measures = measures.iter().map(|row| (row.name, row.judged[at].mark));
        let all = checks.chain(measures).filter(|(_, mark)| marks.contains(mark));
        all.map(|(name, _)| name.to_owned()).collect()
    };
    let (better, worse) = (with(&[Mark::Better]), with(&[Mark::Worse]));
    let (neither, unclear) = (with(&[Mark::More, Mark::Fewer]), with(&[Mark::Unclear]));
    let (a, b) = (&first.letter, &other.letter);
    let (n, m) = (first.runs.len(), other.runs.len());
    let said = if says_something {
        let list = |word: &str, names: &[String]| {
            (!names.is_empty()).then(|| format!("{word}: {}", names.join(", ")))
        };
        let lists = [
            list("better", &better),
            list("worse", &worse),
            list("differs", &neither),
            list("unclear, more runs would tell", &unclear),
        ];
        let found: Vec<String> = lists.into_iter().flatten().collect();
        match found.as_slice() {
            [] => format!(
                "nothing differs beyond noise in {n} and {m} runs; a small difference would not \
                 show in so few"
            ),
            found => found.join("; "),
        }
    } else {
        let runs = match (n, m) {
            (1, 1) => "one run each: no statement".to_owned(),
            _ => format!("{n} and {m} runs: too few for a statement"),
        };
        format!(
            "{runs} on what is better, since another run of {a} may differ from it as much; from \
             {ENOUGH} runs each on something can be found (raftq run --repeat)"
        )
    };
    Conclusion {
        group: b.clone(),
        says_something,
        better,
        worse,
        other: neither,
        unclear,
        said: format!("{b} against {a}: {said}"),
    }
}
