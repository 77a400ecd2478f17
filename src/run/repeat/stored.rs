//! `repeat.json`: what runs of one scenario came to together.

use crate::report::statistics::Rate;
use crate::run::words::RunVerdict;
use raftq_harness::schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Its name in the folder of all runs.
pub const REPEAT: &str = "repeat.json";

/// The version of the format: another one where a field goes, or comes to mean something else.
pub const VERSION: u32 = 1;

/// The schema of `repeat.json` as pretty JSON, ending with a newline.
#[must_use]
pub fn schema() -> String {
    schema::text(&schema::of_output::<Repeat>("raftq repetition"))
}

/// Runs of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Repeat {
    /// The version of this format.
    pub version: u32,
    /// The raftq that made them.
    pub raftq: String,
    /// The scenario's name.
    pub scenario: String,
    /// The adapter's, with variants.
    pub adapter: String,
    /// How many nodes.
    pub nodes: u32,
    /// Arguments that every node got beside the adapter's.
    pub args: Vec<String>,
    /// The seed of the first run, from which the others' are drawn.
    pub seed: u64,
    /// How many runs were asked for.
    pub asked: u32,
    /// Those that were made, in order.
    pub runs: Vec<One>,
    /// How many came to what.
    pub counts: Counts,
    /// How often it was violated, of the runs that were decided.
    pub violated: Rate,
    /// How often it was undecided, of the runs that were judged to their end.
    pub undecided: Rate,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// Why there are fewer runs than were asked for.
    pub stopped: Option<String>,
    /// As the process ended: violated if any is, else what stands in the way of an answer.
    pub exit_code: u8,
}

/// What tells a file of this version from others.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct One {
    /// Its folder, beside this file.
    pub folder: String,
    /// Its seed.
    pub seed: u64,
    /// Whether it came to a verdict, and has a `summary.json`.
    pub judged: bool,
    /// The verdict.
    pub verdict: Option<RunVerdict>,
    /// As a process ends.
    pub exit_code: u8,
    /// Checks that were violated.
    pub violated: Vec<String>,
    /// Checks that were undecided.
    pub undecided: Vec<String>,
    /// Why it was not judged, or is undecided, in words.
    pub why: Option<String>,
    /// Whether somebody ended it before its time.
    pub interrupted: bool,
    /// How long it took.
    pub seconds: f64,
}

/// How many runs came to what; each is in one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Nothing contradicted what is promised.
    pub holds: u64,
    /// Something did.
    pub violated: u64,
    /// The run said nothing.
    pub undecided: u64,
    /// A rule never matched.
    pub never_matched: u64,
    /// The host did not do its part.
    pub failed: u64,
    /// Somebody ended it before its time.
    pub cut_short: u64,
}

impl Repeat {
    /// Whether a folder has one.
    #[must_use]
    pub fn is_there(folder: &Path) -> bool {
        folder.join(REPEAT).is_file()
    }

    /// As it stands in the file.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Writes it into the folder of all runs. A reader never finds half of it.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let (path, new) = (folder.join(REPEAT), folder.join(".repeat.json"));
        let written = fs::write(&new, self.json()).and_then(|()| fs::rename(&new, &path));
        written.map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads it. The error is for people, with a way out.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(REPEAT);
        let at = path.display();
        let help = "help: name the runs' own folders";
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("{at}: it cannot be read ({e})\n  {help}"))?;
        let head: Head = serde_json::from_str(&text)
            .map_err(|e| format!("{at}: it is not as raftq writes it ({e})\n  {help}"))?;
        if head.version != VERSION {
            return Err(format!(
                "{at}: version {} of the format; this raftq reads {VERSION}\n  {help}",
                head.version
            ));
        }
        serde_json::from_str(&text)
            .map_err(|e| format!("{at}: it is not as raftq writes it ({e})\n  {help}"))
    }
}

impl One {
    /// What came of it, in a few words.
    #[must_use]
    pub fn told(&self) -> String {
        if self.is_cut_short() {
            return "ended before its time".to_owned();
        }
        let word = self.verdict.map_or("failed", RunVerdict::word);
        let about = match self.verdict {
            Some(RunVerdict::Violated) => self.violated.join(", "),
            Some(RunVerdict::Undecided) if !self.undecided.is_empty() => self.undecided.join(", "),
            Some(RunVerdict::Holds) => String::new(),
            // Reasons may have several lines; the run has told them when it ended.
            _ => self.why.as_deref().and_then(|why| why.lines().next()).unwrap_or("").to_owned(),
        };
        if about.is_empty() { word.to_owned() } else { format!("{word}: {about}") }
    }
}
