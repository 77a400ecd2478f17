//! `raftq check`: stored histories judged anew.

use crate::run::outcome::{BAD_INPUT, HOLDS, UNDECIDED, VIOLATED};
use crate::run::status;
use raftq_harness::check::{Budget, Judgement, Verdict, judge};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `raftq check`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Histories: history.jsonl of a run, logs of Jepsen's, EDN of key-value calls
    #[arg(required = true, value_name = "HISTORY")]
    histories: Vec<PathBuf>,
    /// Configurations that may be remembered for one key before it is given up as undecided;
    /// at most 256 bytes each
    #[arg(long, value_name = "N", default_value_t = Budget::default().configurations)]
    budget: usize,
    /// Print the result as one JSON document on stdout
    #[arg(long)]
    json: bool,
    /// Print the verdicts without the evidence
    #[arg(long, short)]
    quiet: bool,
}

/// Judges each, and ends with the code of the worst.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let budget = Budget { configurations: args.budget };
    let (mut worst, mut all) = (HOLDS, Vec::new());
    for path in &args.histories {
        match judge(path, budget) {
            Ok(judgement) => {
                worst = severer(worst, code(&judgement));
                if args.json {
                    all.push(json!({ "history": path, "judgement": judgement }));
                } else {
                    print(&format!("{}: {}", path.display(), told(&judgement, args.quiet)));
                }
            }
            Err(e) => {
                worst = severer(worst, BAD_INPUT);
                status::put(&format!("raftq: {e}\n"));
            }
        }
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    }
    ExitCode::from(worst)
}

/// Bad input before violated before undecided before holds.
fn severer(one: u8, other: u8) -> u8 {
    let rank = |code: u8| [HOLDS, UNDECIDED, VIOLATED, BAD_INPUT].iter().position(|c| *c == code);
    if rank(one) >= rank(other) { one } else { other }
}

/// The exit code of a judgement.
fn code(judgement: &Judgement) -> u8 {
    match judgement.worst().map(|check| &check.verdict) {
        Some(Verdict::Violated { .. }) => VIOLATED,
        Some(Verdict::Undecided { .. }) => UNDECIDED,
        Some(Verdict::Holds) | None => HOLDS,
    }
}

/// The verdicts in words.
pub(super) fn told(judgement: &Judgement, quiet: bool) -> String {
    let Some(worst) = judgement.worst() else { return "there was nothing to judge\n".into() };
    let mut text = format!("{}\n", worst.verdict);
    for check in &judgement.checks {
        let (n, m) = (check.operations, check.objects);
        let (name, verdict) = (check.name, &check.verdict);
        let _ = writeln!(text, "  {name}: {verdict} ({n} operations on {m} objects)");
        match &check.verdict {
            Verdict::Violated { evidence } if !quiet => {
                let _ =
                    writeln!(text, "    {}", evidence.to_string().trim_end().replace('\n', "\n  "));
            }
            Verdict::Undecided { why } if !quiet => {
                let _ = writeln!(text, "    {why}");
            }
            _ => {}
        }
    }
    for note in &judgement.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

fn print(text: &str) {
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
}
