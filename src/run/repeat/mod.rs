//! One scenario many times: how often does it go wrong?
//!
//! Each run has a seed of its own, drawn from the first, and a folder of its own, so that it can be
//! repeated alone. The runner is behind a trait: what runs come to together is pure.
//!
//! ```text
//! stored.rs   repeat.json
//! text.rs     the same for people
//! ```

mod stored;
mod text;

use super::outcome::{BAD_INPUT, ENVIRONMENT, HOLDS, NEVER_MATCHED, UNDECIDED, VIOLATED};
use super::verdict::Summary;
use super::words::{CheckVerdict, RunVerdict};
use crate::report::junit::{self, JUNIT};
use crate::report::statistics::Rate;
use crate::time::Nanos;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use stored::{Counts, One, REPEAT, Repeat, VERSION, schema};
pub use text::{line, text};

/// The most runs of one repetition.
pub const TIMES_MAX: u32 = 1_000;

/// After so many failures of the host, one behind the other, it makes no sense to go on.
const FAILURES_MAX: usize = 3;

/// The findings about a run itself rather than about the cluster.
const RUN: &str = "run";

/// What is to be repeated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario's name; folders of runs are called so, with a number.
    pub scenario: String,
    /// The adapter's, with variants.
    pub adapter: String,
    /// How many nodes.
    pub nodes: u32,
    /// Arguments that every node gets beside the adapter's.
    pub args: Vec<String>,
    /// The seed of the first run, from which the others' are drawn.
    pub seed: u64,
    /// How often; at most [`TIMES_MAX`].
    pub times: u32,
    /// The folder of all runs; it is there.
    pub folder: PathBuf,
}

/// Makes runs.
pub trait Runner {
    /// Makes one with this seed, into this folder, which is not there yet.
    fn run(&mut self, seed: u64, folder: &Path) -> Attempt;
    /// A run has ended, and stands in the repetition.
    fn ended(&mut self, so_far: &Repeat);
}

/// What came of making a run.
#[derive(Debug)]
pub struct Attempt {
    /// Its summary; or why there is none, for people, and the exit code.
    pub result: Result<Box<Summary>, (u8, String)>,
    /// How long it took.
    pub took: Nanos,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
}

/// The seeds of so many runs. They are drawn, and not counted up: otherwise repetitions from 1 and
/// from 2 would be nearly the same runs, and adding them up would tell more than was tried. Numbers
/// of ten digits at most, for whoever types one.
#[must_use]
pub fn seeds(first: u64, times: u32) -> Vec<u64> {
    let mut seeds = vec![first];
    let mut taken = HashSet::from([first]);
    for draw in 1_u64.. {
        if seeds.len() >= times as usize {
            break;
        }
        let seed = xxh3_64_with_seed(&draw.to_le_bytes(), first) >> 32;
        if taken.insert(seed) {
            seeds.push(seed);
        }
    }
    seeds.truncate(times as usize);
    seeds
}

/// Makes the runs, one behind the other. After each `repeat.json` says what there is; the error is
/// that it cannot be written.
pub fn repeat(plan: &Plan, runner: &mut impl Runner) -> Result<Repeat, String> {
    let mut repeat = Repeat::new(plan);
    let mut failures = 0;
    for (i, seed) in seeds(plan.seed, plan.times).into_iter().enumerate() {
        let folder = format!("{}-{}", plan.scenario, i + 1);
        let attempt = runner.run(seed, &plan.folder.join(&folder));
        repeat.interrupted = attempt.interrupted;
        let one = One::new(folder, seed, attempt);
        failures = if one.exit_code == ENVIRONMENT { failures + 1 } else { 0 };
        repeat.add(one);
        repeat.stopped = why_stop(&repeat, failures);
        repeat.write(&plan.folder)?;
        runner.ended(&repeat);
        if repeat.stopped.is_some() {
            break;
        }
    }
    write_junit(plan, &repeat)?;
    Ok(repeat)
}

fn why_stop(repeat: &Repeat, failures: usize) -> Option<String> {
    let last = repeat.runs.last()?;
    let left = repeat.asked as usize > repeat.runs.len();
    if repeat.interrupted {
        return Some("somebody ended it before its time".to_owned());
    }
    if last.exit_code == BAD_INPUT {
        return Some("what was given is wrong".to_owned());
    }
    (failures >= FAILURES_MAX && left)
        .then(|| format!("the host did not do its part {failures} times, one behind the other"))
}

/// One document with a suite for each run, from the runs' own. One that left none has failed.
fn write_junit(plan: &Plan, repeat: &Repeat) -> Result<(), String> {
    let mut suites = Vec::new();
    for one in &repeat.runs {
        let missing = || vec![junit::missing(&one.folder, &one.told())];
        for mut suite in junit::read(&plan.folder.join(&one.folder)).unwrap_or_else(missing) {
            suite.name = one.folder.as_str().into();
            suites.push(suite);
        }
    }
    let path = plan.folder.join(JUNIT);
    std::fs::write(&path, junit::document(suites)).map_err(|e| format!("{}: {e}", path.display()))
}

impl One {
    fn new(folder: String, seed: u64, attempt: Attempt) -> Self {
        let Attempt { result, took, interrupted } = attempt;
        let seconds = (took.as_secs_f64() * 1e3).round() / 1e3;
        let none = Vec::new;
        let base = Self {
            folder,
            seed,
            judged: false,
            verdict: None,
            exit_code: ENVIRONMENT,
            violated: none(),
            undecided: none(),
            why: None,
            interrupted,
            seconds,
        };
        match result {
            Err((exit_code, why)) => Self { exit_code, why: Some(why), ..base },
            Ok(summary) => {
                let with = |verdict: CheckVerdict| {
                    let mut names = Vec::new();
                    for one in summary.findings.iter().filter(|one| one.verdict == verdict) {
                        if one.check != RUN && !names.contains(&one.check) {
                            names.push(one.check.clone());
                        }
                    }
                    names
                };
                let of_run = summary.findings.iter().find(|one| one.check == RUN);
                let why = of_run.map(|one| &one.detail).or(summary.network.why.as_ref());
                Self {
                    judged: true,
                    verdict: Some(summary.verdict),
                    exit_code: summary.exit_code,
                    violated: with(CheckVerdict::Violated),
                    undecided: with(CheckVerdict::Undecided),
                    why: why.filter(|_| summary.verdict == RunVerdict::Undecided).cloned(),
                    ..base
                }
            }
        }
    }

    /// Whether it says nothing of the cluster because somebody ended it.
    fn is_cut_short(&self) -> bool {
        self.interrupted && self.verdict != Some(RunVerdict::Violated)
    }
}

impl Repeat {
    fn new(plan: &Plan) -> Self {
        Self {
            version: VERSION,
            raftq: env!("CARGO_PKG_VERSION").into(),
            scenario: plan.scenario.clone(),
            adapter: plan.adapter.clone(),
            nodes: plan.nodes,
            args: plan.args.clone(),
            seed: plan.seed,
            asked: plan.times,
            runs: Vec::new(),
            counts: Counts::default(),
            violated: Rate::new(0, 0),
            undecided: Rate::new(0, 0),
            interrupted: false,
            stopped: None,
            exit_code: HOLDS,
        }
    }

    /// A run more. One that somebody ended before its time counts only where it was violated even
    /// so: that it was not, or is undecided, is no fault of the cluster's.
    fn add(&mut self, one: One) {
        let cut_short = one.is_cut_short();
        let count = match one.verdict {
            _ if cut_short => &mut self.counts.cut_short,
            Some(RunVerdict::Holds) => &mut self.counts.holds,
            Some(RunVerdict::Violated) => &mut self.counts.violated,
            Some(RunVerdict::Undecided) => &mut self.counts.undecided,
            Some(RunVerdict::NeverMatched) => &mut self.counts.never_matched,
            Some(RunVerdict::Failed) | None => &mut self.counts.failed,
        };
        *count += 1;
        let Counts { holds, violated, undecided, never_matched, .. } = self.counts;
        // Whether a run that says nothing was right nobody knows; it must not count as if it was.
        self.violated = Rate::new(violated, violated + holds);
        self.undecided = Rate::new(undecided, violated + holds + undecided + never_matched);
        let code = if cut_short { UNDECIDED } else { one.exit_code };
        self.exit_code = severer(self.exit_code, code);
        self.runs.push(one);
    }
}

/// A violation weighs most, and then whatever keeps the whole from being an answer.
fn severer(one: u8, other: u8) -> u8 {
    let order = [HOLDS, NEVER_MATCHED, UNDECIDED, ENVIRONMENT, BAD_INPUT, VIOLATED];
    let rank = |code: u8| order.iter().position(|known| *known == code);
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests;
