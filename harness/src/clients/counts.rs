//! What became of clients' calls, counted.

use super::perform::Outcome;
use crate::history::{Function, Kind};
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Different errors that are told apart; a system may put a new number into each.
const ERRORS_MAX: usize = 32;

/// What stands for all others once there are so many.
const OTHERS: &str = "other errors";

/// What became of all calls so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Calls by function: answered, surely not done, unknown.
    pub calls: BTreeMap<String, [u64; 3]>,
    /// How long answered calls took, in microseconds.
    pub p50_us: u64,
    /// The same, for the slowest of a hundred.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
    /// Why calls were not answered, and how often; nodes that could not be spoken to at all
    /// included.
    pub errors: BTreeMap<String, u64>,
    /// Lines that the history lacks because it could not be written.
    pub unrecorded: u64,
}

impl Counts {
    /// Answered, surely not done, and unknown, over all functions.
    #[must_use]
    pub fn totals(&self) -> [u64; 3] {
        self.calls
            .values()
            .fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
    }

    /// The most frequent error.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.errors.iter().max_by_key(|(_, count)| **count).map(|(why, _)| why.as_str())
    }
}

/// The counts of one client, or of all that have ended.
#[derive(Debug)]
pub(super) struct Tally {
    calls: BTreeMap<String, [u64; 3]>,
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency = Histogram::new(3).expect("three digits are possible");
        Self { calls: BTreeMap::new(), latency, errors: BTreeMap::new() }
    }

    /// One call that took so long; whether it was answered.
    pub(super) fn call(&mut self, f: Function, outcome: &Outcome, took: Duration) -> bool {
        let column = match outcome.kind {
            Kind::Ok | Kind::Invoke => 0,
            Kind::Fail => 1,
            Kind::Info => 2,
        };
        self.calls.entry(format!("{f:?}").to_lowercase()).or_default()[column] += 1;
        if let Some(why) = &outcome.error {
            self.error(why, 1);
        }
        if column == 0 {
            // It grows as it must; a call of centuries does not happen.
            let _ = self.latency.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        column == 0
    }

    /// Something went wrong so many times.
    pub(super) fn error(&mut self, why: &str, times: u64) {
        let known = self.errors.len() < ERRORS_MAX || self.errors.contains_key(why);
        *self.errors.entry(if known { why } else { OTHERS }.to_owned()).or_default() += times;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (name, counts) in other.calls {
            let sum = self.calls.entry(name).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        for (why, times) in other.errors {
            self.error(&why, times);
        }
        let _ = self.latency.add(&other.latency);
    }

    pub(super) fn counts(&self, unrecorded: u64) -> Counts {
        let at = |quantile| self.latency.value_at_quantile(quantile);
        Counts {
            calls: self.calls.clone(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: self.latency.max(),
            errors: self.errors.clone(),
            unrecorded,
        }
    }
}
