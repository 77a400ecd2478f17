//! A repetition for people: a line for each run as it ends, and what all of them come to.

use super::stored::{One, Repeat};
use crate::run::outcome::{ENVIRONMENT, HOLDS, NEVER_MATCHED, UNDECIDED, VIOLATED};
use crate::run::tone::{Tone, paint};
use crate::run::words::RunVerdict;
use std::fmt::Write;

/// Runs that did not hold and are told one by one at the end; `repeat.json` has all.
const TOLD_MAX: usize = 20;

/// The line for the run that has just ended.
#[must_use]
pub fn line(so_far: &Repeat, color: bool) -> String {
    let Some(last) = so_far.runs.last() else { return String::new() };
    let (n, asked) = (so_far.runs.len(), so_far.asked as usize);
    let left = match asked.saturating_sub(n) {
        0 => String::new(),
        _ if so_far.stopped.is_some() => String::new(),
        left => {
            let taken: f64 = so_far.runs.iter().map(|one| one.seconds).sum();
            format!("; about {} left", duration(taken / n as f64 * left as f64))
        }
    };
    let told = painted(last, &last.told(), color);
    format!("run {n} of {asked}, seed {}: {told} ({:.1} s{left})", last.seed, last.seconds)
}

fn painted(one: &One, told: &str, color: bool) -> String {
    paint(told, one.verdict.map_or(Tone::Bad, |verdict| Tone::of_verdict(verdict.word())), color)
}

fn duration(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// What all of them come to; `folder` is that of all runs.
#[must_use]
pub fn text(repeat: &Repeat, folder: &str, color: bool) -> String {
    let Repeat { scenario, adapter, nodes, seed, runs, asked, counts, .. } = repeat;
    let mut text = String::new();
    let made = match runs.len() as u32 {
        n if n == *asked => format!("{n} runs"),
        n => format!("{n} of {asked} runs"),
    };
    let _ = writeln!(
        text,
        "\nRepeated: {scenario} with {nodes} nodes of {adapter}, {made}, seeds drawn from {seed}:"
    );
    let _ = writeln!(text, "  violated   {}", repeat.violated.text());
    let _ = writeln!(text, "  undecided  {}", repeat.undecided.text());
    let rest = [
        (counts.never_matched, "a rule never matched, so that nothing was tested"),
        (counts.failed, "the host did not do its part"),
        (counts.cut_short, "ended before its time, and not counted"),
    ];
    for (n, what) in rest.into_iter().filter(|(n, _)| *n > 0) {
        let _ = writeln!(text, "  {n:<10} {what}");
    }
    if let Some(why) = &repeat.stopped {
        let _ = writeln!(text, "  stopped    {why}");
    }
    failing(&mut text, repeat, folder, color);
    let verdict = RunVerdict::of(repeat.exit_code).unwrap_or(RunVerdict::Failed);
    let next = match repeat.exit_code {
        HOLDS => "nothing contradicts what is promised; more runs make the bound tighter",
        VIOLATED => "each of them can be repeated alone",
        UNDECIDED => "what stands in the way of an answer is told above",
        NEVER_MATCHED => "what the rule was to meet never came; see events.jsonl of these runs",
        ENVIRONMENT => "the host did not do its part; the reason stands above",
        _ => "what was given is wrong; the reason stands above",
    };
    let word = paint(verdict.word(), Tone::of_verdict(verdict.word()), color);
    let _ = writeln!(text, "\n{word}: {next}");
    let _ = writeln!(text, "  folder    {folder}");
    let _ = writeln!(text, "  compare   raftq report {folder}");
    text
}

fn failing(text: &mut String, repeat: &Repeat, folder: &str, color: bool) {
    let failing = || repeat.runs.iter().filter(|one| one.exit_code != HOLDS);
    if failing().next().is_none() {
        return;
    }
    text.push('\n');
    for one in failing().take(TOLD_MAX) {
        let told = painted(one, &one.told(), color);
        let _ = writeln!(text, "  {}, seed {}: {told}", one.folder, one.seed);
        if one.verdict == Some(RunVerdict::Violated) {
            let _ = writeln!(text, "    raftq replay {folder}/{}", one.folder);
        }
    }
    if let Some(more) = failing().count().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more, in repeat.json");
    }
}
