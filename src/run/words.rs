//! The words in which results stand, in `summary.json` as in output.

use super::outcome::{ENVIRONMENT, HOLDS, NEVER_MATCHED, UNDECIDED, VIOLATED};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// Nothing contradicts what is promised.
    Holds,
    /// Something does, with evidence.
    Violated,
    /// A limit was reached, or something stood in the way of an answer.
    Undecided,
    /// There was nothing to look at.
    #[serde(rename = "not made")]
    NotMade,
}

impl CheckVerdict {
    /// Its word in files and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Violated => "violated",
            Self::Undecided => "undecided",
            Self::NotMade => "not made",
        }
    }
}

impl fmt::Display for CheckVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// Nothing contradicts what is promised.
    Holds,
    /// Something does.
    Violated,
    /// The result says nothing.
    Undecided,
    /// A rule never matched, so that it cannot be said to have been tried.
    #[serde(rename = "a rule never matched")]
    NeverMatched,
    /// The host did not do its part.
    Failed,
}

impl RunVerdict {
    /// The one behind an exit code; none where the code is one of bad input, or raftq has no such.
    #[must_use]
    pub const fn of(exit_code: u8) -> Option<Self> {
        Some(match exit_code {
            HOLDS => Self::Holds,
            VIOLATED => Self::Violated,
            UNDECIDED => Self::Undecided,
            NEVER_MATCHED => Self::NeverMatched,
            ENVIRONMENT => Self::Failed,
            _ => return None,
        })
    }

    /// Its word in files and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Violated => "violated",
            Self::Undecided => "undecided",
            Self::NeverMatched => "a rule never matched",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RunVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_words_that_output_has() {
        use {CheckVerdict as C, RunVerdict as R};
        for word in [C::Holds, C::Violated, C::Undecided, C::NotMade] {
            assert_eq!(serde_json::json!(word), word.word());
            assert_eq!(format!("{word:10}|").len(), 11, "padded as words are");
        }
        for word in [R::Holds, R::Violated, R::Undecided, R::NeverMatched, R::Failed] {
            assert_eq!(serde_json::json!(word), word.word());
        }
        for invariant in crate::observe::Invariant::ALL {
            assert_eq!(serde_json::json!(invariant), invariant.word());
        }
    }
}
