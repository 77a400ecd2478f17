//! `raftq check`: stored histories, and records of what was said on the wire, judged anew.
//!
//! Every file gets its own answer: one that cannot be read does not keep the others from being
//! judged, but the command ends with the code for bad input.

use crate::run::experiment::WIRE;
use crate::run::outcome::{BAD_INPUT, HOLDS, UNDECIDED, VIOLATED};
use crate::run::{status, wire_check};
use raftq_harness::check::{Budget, Evidence, Judgement, Verdict, judge};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `raftq check`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Histories: history.jsonl of a run or its whole folder, logs of Jepsen's, EDN of
    /// key-value calls; and wire.jsonl, what nodes said to each other
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
    for given in &args.histories {
        let paths = match histories(given) {
            Ok(paths) => paths,
            Err(e) => {
                worst = severer(worst, BAD_INPUT);
                all.extend(refused(args.json, given, &e));
                continue;
            }
        };
        for path in &paths {
            if wire_check::is_record(path) {
                let (code, said) = wire(args, path);
                worst = severer(worst, code);
                all.extend(said);
                continue;
            }
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
                    all.extend(refused(args.json, path, &e.to_string()));
                }
            }
        }
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"));
    }
    ExitCode::from(worst)
}

/// The files that are meant: a run's folder stands for its histories.
fn histories(given: &Path) -> Result<Vec<PathBuf>, String> {
    if !given.is_dir() {
        return Ok(vec![given.to_owned()]);
    }
    let listed = fs::read_dir(given).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = listed.map_err(|e| format!("cannot read {}: {e}", given.display()))?;
    let is_history = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("history") && name.ends_with(".jsonl") || name == WIRE
    };
    let mut found: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(is_history).collect();
    found.sort();
    if found.is_empty() {
        return Err(format!(
            "{} has neither history*.jsonl nor wire.jsonl in it, as the folder of a run has; name \
             the files themselves",
            given.display()
        ));
    }
    Ok(found)
}

/// Judges what was said on the wire; the exit code, and what stands for it in the document.
fn wire(args: &CheckArgs, path: &Path) -> (u8, Option<serde_json::Value>) {
    let outcome = match wire_check::check(path) {
        Ok(outcome) => outcome,
        Err(why) => return (BAD_INPUT, refused(args.json, path, &why)),
    };
    let (code, verdict) = match (outcome.is_violated(), outcome.says_something()) {
        (true, _) => (VIOLATED, "violated"),
        (false, true) => (HOLDS, "holds"),
        (false, false) => (UNDECIDED, "undecided"),
    };
    if args.json {
        return (code, Some(json!({ "history": path, "wire": outcome })));
    }
    let more = if args.quiet { String::new() } else { outcome.text() };
    print(&format!("{}: {verdict}\n{more}", path.display()));
    (code, None)
}

/// Tells why one could not be judged, and what stands for it in the document.
fn refused(json: bool, path: &Path, why: &str) -> Option<serde_json::Value> {
    status::put(&format!("raftq: {why}\n"));
    json.then(|| json!({ "history": path, "error": why }))
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
    let mut shown: Option<&Evidence> = None;
    for check in &judgement.checks {
        let (n, m) = (check.operations, check.objects);
        let (name, verdict) = (&check.name, &check.verdict);
        let _ = writeln!(text, "  {name}: {verdict} ({n} operations on {m} objects)");
        match &check.verdict {
            // Two checks may find the very same.
            Verdict::Violated { evidence } if !quiet && shown != Some(evidence) => {
                shown = Some(evidence);
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
