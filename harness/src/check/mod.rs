//! Did a cluster keep its promises? From the record of its clients' calls, without a clock and
//! without chance: the same history gets the same verdict, everywhere.
//!
//! There are three answers. *Violated* comes with evidence that is a violation by itself;
//! *undecided* means that a limit on work was reached, never that something was guessed.
//!
//! ```text
//! operation  calls to operations on one object, their values as numbers
//! state      what an object can be, and what an operation makes of it
//! zones      registers whose values are unique, in n log n
//! search     everything else: which order explains the answers?
//! tree       the paths of `files`, and which of them make one object
//! evidence   the fewest operations that still contradict each other, in words
//! direct     sets, lists, counters, and what was acknowledged: questions without a search
//! ```

mod direct;
mod evidence;
mod operation;
mod search;
mod state;
mod tree;
mod zones;

use crate::Result;
use crate::history::{self, Calls, Model, Workload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

pub use evidence::{Evidence, Line, text as call_text};

/// How much work a verdict may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Configurations (a set of operations done, and the state they led to) that are remembered
    /// for one object at a time; at most [`Budget::BYTES`] each.
    pub configurations: usize,
}

impl Budget {
    /// What one configuration may take, with its share of the states and of the room that tables
    /// keep free or copy themselves to as they grow.
    pub const BYTES: usize = 256;

    /// What the states may take for each configuration.
    const STATE_BYTES: usize = 80;
}

impl Default for Budget {
    fn default() -> Self {
        Self { configurations: 5_000_000 }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// Nothing contradicts the promise.
    Holds,
    /// Something does.
    Violated {
        /// What.
        evidence: Evidence,
    },
    /// A limit was reached.
    Undecided {
        /// Which.
        why: String,
    },
}

/// One check of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name, such as `linearizable`.
    pub name: Cow<'static, str>,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Operations that it looked at.
    pub operations: usize,
    /// Objects (keys, sets, directories) that it looked at.
    pub objects: usize,
}

/// All checks of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// Each check that applies.
    pub checks: Vec<Check>,
    /// What was odd about the file.
    pub notes: Vec<String>,
}

impl Judgement {
    /// The check that is worst: violated before undecided before holds.
    #[must_use]
    pub fn worst(&self) -> Option<&Check> {
        self.checks.iter().max_by_key(|check| match check.verdict {
            Verdict::Holds => 0,
            Verdict::Undecided { .. } => 1,
            Verdict::Violated { .. } => 2,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Violated { .. } => "violated",
            Self::Undecided { .. } => "undecided",
        })
    }
}

/// Judges the history in a file.
pub fn judge(path: &Path, budget: Budget) -> Result<Judgement> {
    let (calls, model) = history::read(path)?;
    judge_calls(&calls, model, budget)
}

/// Judges a history. The error says which call makes no sense in it.
pub fn judge_calls(calls: &Calls, model: Model, budget: Budget) -> Result<Judgement> {
    let objects = operation::objects(calls, model)?;
    let mut checks: Vec<Check> = direct::stale_reads(calls, &objects).into_iter().collect();
    checks.extend(match calls.header.workload {
        Workload::Set => Some(direct::set(&objects)),
        Workload::Append => Some(direct::append(&objects)),
        Workload::Counter => Some(direct::counter(&objects)),
        Workload::Register | Workload::Files => None,
    });
    if model == Model::Workload {
        checks.extend(direct::durable(calls.header.workload, &objects));
    }
    let verdict = plain_reason(&checks, &objects).unwrap_or_else(|| linearizable(&objects, budget));
    let operations = objects.iter().map(|object| object.judged().len()).sum();
    let name = "linearizable".into();
    checks.insert(0, Check { name, verdict, operations, objects: objects.len() });
    Ok(Judgement { checks, notes: calls.notes.clone() })
}

/// What is violated for a plain reason needs no search: no order explains it either. Only where
/// all reads are promised linearizable, or the reason may be about one that is not.
fn plain_reason(checks: &[Check], objects: &[operation::Object<'_>]) -> Option<Verdict> {
    let all_judged = objects.iter().flat_map(|o| &o.operations).all(|operation| operation.judged);
    let plain = checks.iter().filter(|check| matches!(&*check.name, "set" | "append" | "counter"));
    let mut violated = plain.filter(|check| matches!(check.verdict, Verdict::Violated { .. }));
    violated.next().filter(|_| all_judged).map(|check| check.verdict.clone())
}

fn linearizable(objects: &[operation::Object<'_>], budget: Budget) -> Verdict {
    let mut verdict = Verdict::Holds;
    for object in objects {
        match search::decide(&object.judged(), &object.initial, budget) {
            search::Found::Order => {}
            search::Found::None => {
                return Verdict::Violated { evidence: evidence::of(object, budget) };
            }
            search::Found::Exhausted => {
                let why = format!(
                    "{}: {} configurations were not enough to find an order or to exclude one",
                    object.name, budget.configurations
                );
                // A violation elsewhere is still worth finding.
                if verdict == Verdict::Holds {
                    verdict = Verdict::Undecided { why };
                }
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
