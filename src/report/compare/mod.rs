//! Runs side by side: did a change make the cluster better or worse?
//!
//! ```text
//! measure.rs    what runs are compared by
//! measured.rs   one run: its summary, and what its calls say over time
//! groups.rs     which runs are repetitions of each other, and what to beware of
//! judge.rs      whether a difference is beyond noise
//! text.rs       for a terminal
//! html.rs       one page that needs neither network nor script
//! ```
//!
//! One run says little: elections are drawn by lot, and the next run of the same cluster differs as
//! much. So nothing is called better or worse but what [`judge`] finds beyond noise among several
//! runs of each kind, and where there are too few, that is what is told.

mod groups;
mod html;
pub mod judge;
pub mod measure;
mod measured;
mod text;

use crate::run::repeat::Repeat;
use crate::run::words::CheckVerdict;
use judge::{Conclusion, Judged};
use measure::{MEASURES, Reading, Side, Unit};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use measured::{Did, Measured, RunKind};

/// The version of the document that `--json` prints.
pub const VERSION: u32 = 1;

/// Runs that are read; the others are told.
const RUNS_MAX: usize = 2_000;

/// Where there is one group only.
const NOTHING_ELSE: &str = "there is nothing to compare these runs with: name others, too, or say by \
                            --baseline which of them are the former ones";

/// Everything.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// [`VERSION`].
    pub version: u32,
    /// What is compared; the first is the baseline of the others.
    pub groups: Vec<Group>,
    /// Verdicts of each check.
    pub checks: Vec<CheckRow>,
    /// Measures that any run has.
    pub measures: Vec<MeasureRow>,
    /// What each rule did.
    pub rules: Vec<RuleRow>,
    /// What it comes to, one for each group but the baseline.
    pub conclusions: Vec<Conclusion>,
    /// What a reader must know before believing the rest.
    pub notes: Vec<String>,
    /// What was named and is no run that could be compared.
    pub unread: Vec<String>,
}

/// Repetitions of one kind of run.
#[derive(Debug, Serialize)]
pub struct Group {
    /// `A` and on.
    pub letter: String,
    /// What its runs have in common.
    pub name: String,
    /// They themselves.
    pub runs: Vec<Measured>,
}

/// One check, by group.
#[derive(Debug, Serialize)]
pub struct CheckRow {
    /// Its name.
    pub check: String,
    /// One a group.
    pub verdicts: Vec<Verdicts>,
    /// How often it was violated, against the baseline; one for each group but the first.
    pub judged: Vec<Judged>,
}

/// What came of a check in the runs of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Runs in which it held.
    pub holds: u64,
    /// Runs in which it was violated.
    pub violated: u64,
    /// Runs in which it was undecided.
    pub undecided: u64,
    /// Runs in which it was not made.
    pub not_made: u64,
}

/// One measure, by group.
#[derive(Debug, Serialize)]
pub struct MeasureRow {
    /// For machines.
    pub measure: &'static str,
    /// For people.
    pub name: &'static str,
    /// Of its values.
    pub unit: Unit,
    /// Which side is the better one.
    pub better: Side,
    /// One a group.
    pub spread: Vec<Option<Spread>>,
    /// Against the baseline; one for each group but the first.
    pub judged: Vec<Judged>,
}

/// The values of a group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Runs that have a value.
    pub runs: usize,
    /// The median.
    pub median: Reading,
    /// The least.
    pub least: Reading,
    /// The greatest.
    pub most: Reading,
}

/// What one rule did, by group: medians over runs.
#[derive(Debug, Serialize)]
pub struct RuleRow {
    /// Its name.
    pub rule: String,
    /// One a group; none where no run of it has the rule.
    pub did: Vec<Option<RuleDid>>,
}

/// What a rule did in the runs of a group, in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RuleDid {
    /// How often it was active, or done to a node.
    pub activations: f64,
    /// Segments that it met; none of a rule that acts on processes.
    pub matched: Option<f64>,
    /// Segments that it acted on.
    pub acted: Option<f64>,
}

/// Runs that were named together: one, or all that `--repeat` made.
#[derive(Debug, Default)]
pub(crate) struct Part {
    path: String,
    repeated: bool,
    runs: Vec<Measured>,
    notes: Vec<String>,
}

impl Comparison {
    /// Reads what is named, and compares. The error says that there is nothing to compare.
    pub fn of(baseline: &[PathBuf], runs: &[PathBuf]) -> Result<Self, String> {
        let mut unread = Vec::new();
        let mut left = RUNS_MAX;
        let mut read = |paths: &[PathBuf]| -> Vec<Part> {
            paths.iter().filter_map(|path| part(path, &mut left, &mut unread)).collect()
        };
        let (baseline, runs) = (read(baseline), read(runs));
        if baseline.iter().chain(&runs).all(|part| part.runs.is_empty()) {
            return Err(format!("there is no run to compare:\n{}", unread.join("\n")));
        }
        Ok(Self::among(baseline, runs, unread))
    }

    pub(crate) fn among(baseline: Vec<Part>, runs: Vec<Part>, unread: Vec<String>) -> Self {
        let mut notes: Vec<String> =
            baseline.iter().chain(&runs).flat_map(|part| part.notes.clone()).collect();
        let groups = groups::of(baseline, runs);
        notes.extend(groups::beware(&groups));
        let mut comparison = Self {
            version: VERSION,
            checks: checks(&groups),
            measures: measures(&groups),
            rules: rules(&groups),
            groups,
            conclusions: Vec::new(),
            notes,
            unread,
        };
        judge::judge(&mut comparison);
        comparison
    }

    /// As one JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// For a terminal so wide.
    #[must_use]
    pub fn text(&self, width: u16, color: bool) -> String {
        text::text(self, width, color)
    }

    /// As a page; runs are linked where they stand from `folder`.
    #[must_use]
    pub fn html(&self, folder: &Path) -> String {
        html::page(self, folder)
    }
}

fn part(path: &Path, left: &mut usize, unread: &mut Vec<String>) -> Option<Part> {
    let mut part = Part { path: path.display().to_string(), ..Part::default() };
    let mut take = |folder: &Path| {
        if *left == 0 {
            return Err(format!(
                "{}: more than {RUNS_MAX} runs are not compared",
                folder.display()
            ));
        }
        *left -= 1;
        Measured::read(folder)
    };
    if !Repeat::is_there(path) {
        match take(path) {
            Ok(run) => part.runs.push(run),
            Err(why) => {
                unread.push(why);
                return None;
            }
        }
        return Some(part);
    }
    part.repeated = true;
    let repeat = match Repeat::read(path) {
        Ok(repeat) => repeat,
        Err(why) => {
            unread.push(why);
            return None;
        }
    };
    for one in &repeat.runs {
        let folder = path.join(&one.folder);
        match take(&folder) {
            Ok(run) => part.runs.push(run),
            // That it was not judged is known, and no mistake of whoever named the folder.
            Err(_) if !one.judged => {
                part.notes.push(format!("{}: left out: {}", folder.display(), one.told()));
            }
            Err(why) => unread.push(why),
        }
    }
    Some(part)
}

impl Group {
    /// A measure's values.
    pub(crate) fn values(&self, key: &str) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.measure(key)).collect()
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            runs: values.len(),
            median: Reading(super::statistics::median(values)?),
            least: Reading(values.iter().copied().fold(f64::INFINITY, f64::min)),
            most: Reading(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        })
    }
}

fn measures(groups: &[Group]) -> Vec<MeasureRow> {
    let row = |measure: &measure::Measure| {
        let spread = groups.iter().map(|group| Spread::of(&group.values(measure.key)));
        MeasureRow {
            measure: measure.key,
            name: measure.name,
            unit: measure.unit,
            better: measure.better,
            spread: spread.collect(),
            judged: Vec::new(),
        }
    };
    let rows = MEASURES.iter().map(row);
    rows.filter(|row| row.spread.iter().any(Option::is_some)).collect()
}

fn checks(groups: &[Group]) -> Vec<CheckRow> {
    let mut names: Vec<&String> = Vec::new();
    for name in groups.iter().flat_map(|group| &group.runs).flat_map(|run| run.checks.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let verdicts = |group: &Group, name: &str| {
        let mut verdicts = Verdicts::default();
        for run in &group.runs {
            match run.checks.get(name) {
                Some(CheckVerdict::Holds) => verdicts.holds += 1,
                Some(CheckVerdict::Violated) => verdicts.violated += 1,
                Some(CheckVerdict::Undecided) => verdicts.undecided += 1,
                // Findings about the run, such as nodes that died, stand there only if they are.
                None if matches!(name, "processes" | "run") => verdicts.holds += 1,
                Some(CheckVerdict::NotMade) | None => verdicts.not_made += 1,
            }
        }
        verdicts
    };
    let row = |name: &String| CheckRow {
        check: name.clone(),
        verdicts: groups.iter().map(|group| verdicts(group, name)).collect(),
        judged: Vec::new(),
    };
    names.into_iter().map(row).collect()
}

fn rules(groups: &[Group]) -> Vec<RuleRow> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows: Vec<RuleRow> = Vec::new();
    for did in groups.iter().flat_map(|group| &group.runs).flat_map(|run| &run.rules) {
        by_name.entry(&did.rule).or_insert_with(|| {
            rows.push(RuleRow { rule: did.rule.clone(), did: Vec::new() });
            rows.len() - 1
        });
    }
    for group in groups {
        for row in &mut rows {
            let did = || {
                let all = group.runs.iter().flat_map(|run| &run.rules);
                all.filter(|did| did.rule == row.rule)
            };
            let middle = |of: &dyn Fn(&Did) -> Option<u64>| {
                let values: Vec<f64> = did().filter_map(of).map(|n| n as f64).collect();
                super::statistics::median(&values)
            };
            let activations = middle(&|did| Some(did.activations));
            row.did.push(activations.map(|activations| RuleDid {
                activations,
                matched: middle(&|did| did.matched),
                acted: middle(&|did| did.acted),
            }));
        }
    }
    rows
}

#[cfg(test)]
pub(crate) mod tests;
