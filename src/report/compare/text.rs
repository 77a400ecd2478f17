//! A comparison for a terminal: the runs, their checks and measures side by side, and what it comes
//! to. The conclusion stands last, where the eye is when it is printed.

use super::judge::{Judged, Mark};
use super::measure::{self, Unit};
use super::{Comparison, Group, Measured, Spread, Verdicts};
use crate::run::summary::{right, table};
use crate::run::tone::{Tone, paint};
use comfy_table::Cell;
use std::fmt::Write;

/// Runs that are told one by one; the other documents have all of them.
const RUNS_MAX: usize = 40;

/// Groups that have a column of their own.
const GROUPS_MAX: usize = 6;

/// The whole text.
pub(super) fn text(comparison: &Comparison, width: u16, color: bool) -> String {
    let mut text = String::new();
    runs(&mut text, comparison, width);
    let shown = &comparison.groups[..comparison.groups.len().min(GROUPS_MAX)];
    for group in shown.iter().filter(|_| shown.len() > 1) {
        let n = group.runs.len();
        let runs = if n == 1 { "1 run".to_owned() } else { format!("{n} runs") };
        let _ = writeln!(text, "{}: {} ({runs})", group.letter, group.name);
    }
    checks(&mut text, comparison, shown, width);
    measures(&mut text, comparison, shown, width);
    rules(&mut text, comparison, shown, width);
    if let Some(more) = comparison.groups.len().checked_sub(GROUPS_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "\n... and {more} groups more: see --json or --html");
    }
    for note in &comparison.notes {
        let _ = writeln!(text, "\n{} {note}", paint("note:", Tone::Doubt, color));
    }
    if comparison.conclusions.is_empty() {
        let _ = writeln!(text, "\n{}", wrapped(super::NOTHING_ELSE, width));
    }
    for conclusion in &comparison.conclusions {
        let tone = match (conclusion.worse.is_empty(), conclusion.better.is_empty()) {
            (false, _) => Tone::Bad,
            (true, false) => Tone::Good,
            (true, true) => Tone::Strong,
        };
        let _ = writeln!(text, "\n{}", paint(&wrapped(&conclusion.said, width), tone, color));
    }
    text
}

/// A long sentence on several lines.
fn wrapped(text: &str, width: u16) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width.into() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

fn runs(text: &mut String, comparison: &Comparison, width: u16) {
    let head = ["run", "seed", "verdict", "recovery", "no write", "p99", "calls/s", "elections"];
    let mut rows = table(width, &head);
    let all = comparison.groups.iter().flat_map(|group| group.runs.iter().map(move |r| (group, r)));
    let told = |run: &Measured, key: &str, unit: Unit| {
        right(run.measure(key).map_or_else(|| "-".to_owned(), |value| unit.show(value)))
    };
    for (group, run) in all.clone().take(RUNS_MAX) {
        rows.add_row(vec![
            Cell::new(format!("{} {}", group.letter, run.folder)),
            right(run.seed),
            right(run.verdict),
            told(run, "recovery", Unit::Seconds),
            told(run, "unavailable_longest", Unit::Seconds),
            told(run, "latency_p99", Unit::Millis),
            told(run, "throughput_faults", Unit::Count),
            told(run, "elections", Unit::Count),
        ]);
    }
    let _ = writeln!(text, "\n{}", rows.trim_fmt());
    if let Some(more) = all.count().checked_sub(RUNS_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "... and {more} runs more: see --json or --html");
    }
    text.push('\n');
}

fn letters<'g>(first: &'g str, groups: &'g [Group]) -> Vec<&'g str> {
    std::iter::once(first).chain(groups.iter().map(|group| group.letter.as_str())).collect()
}

fn checks(text: &mut String, comparison: &Comparison, groups: &[Group], width: u16) {
    let mut rows = table(width, &letters("check", groups));
    for row in &comparison.checks {
        let mut cells = vec![Cell::new(&row.check)];
        for (i, verdicts) in row.verdicts.iter().take(groups.len()).enumerate() {
            let mark = i.checked_sub(1).map_or("", |i| row.judged[i].mark.word());
            cells.push(right(format!("{} {mark}", verdicts.text()).trim_end()));
        }
        rows.add_row(cells);
    }
    let _ = writeln!(text, "\n{}", rows.trim_fmt());
}

impl Verdicts {
    /// Of one run its word, of several how often which.
    pub(super) fn text(&self) -> String {
        let Self { holds, violated, undecided, not_made } = *self;
        let all = [
            (violated, "violated"),
            (undecided, "undecided"),
            (holds, "holds"),
            (not_made, "not made"),
        ];
        let sum = holds + violated + undecided + not_made;
        let there = all.into_iter().filter(|(n, _)| *n > 0);
        let told = there.map(|(n, word)| match sum {
            1 => word.to_owned(),
            _ => format!("{word} {n}/{sum}"),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// With two groups the difference has columns of its own.
fn measures(text: &mut String, comparison: &Comparison, groups: &[Group], width: u16) {
    let single = groups.iter().all(|group| group.runs.len() == 1);
    let first = if single { "measure" } else { "median" };
    let mut head = letters(first, groups);
    if groups.len() == 2 {
        head.push("change");
        if !single {
            head.extend(["95 % interval", ""]);
        }
    }
    let mut rows = table(width, &head);
    for row in &comparison.measures {
        let mut cells = vec![Cell::new(row.name)];
        let value = |spread: &Option<Spread>| {
            spread.map_or_else(|| "-".to_owned(), |spread| row.unit.show(spread.median.0))
        };
        for (i, spread) in row.spread.iter().take(groups.len()).enumerate() {
            let mark = i.checked_sub(1).map_or("", |i| row.judged[i].mark.word());
            cells.push(right(match groups.len() {
                1 | 2 => value(spread),
                _ => format!("{} {mark}", value(spread)).trim_end().to_owned(),
            }));
        }
        if groups.len() == 2 {
            let judged = &row.judged[0];
            cells.push(right(changed(row.unit, &row.spread, judged)));
            if !single {
                cells.push(right(interval(row.unit, judged)));
                cells.push(Cell::new(judged.mark.word()));
            }
        }
        rows.add_row(cells);
    }
    let _ = writeln!(text, "\n{}", rows.trim_fmt());
}

/// How the second group's median changed against the first's.
pub(super) fn changed(unit: Unit, spread: &[Option<Spread>], judged: &Judged) -> String {
    match (spread.first(), spread.get(1)) {
        (Some(Some(before)), Some(Some(after))) if judged.mark != Mark::NotMeasured => {
            measure::change(unit, before.median.0, after.median.0)
        }
        _ => "-".to_owned(),
    }
}

/// Between what the difference lies.
pub(super) fn interval(unit: Unit, judged: &Judged) -> String {
    judged.interval.map_or_else(|| "-".to_owned(), |interval| unit.show_interval(interval))
}

fn rules(text: &mut String, comparison: &Comparison, groups: &[Group], width: u16) {
    if comparison.rules.is_empty() {
        return;
    }
    let mut rows = table(width, &letters("rule", groups));
    for row in &comparison.rules {
        let mut cells = vec![Cell::new(&row.rule)];
        for did in row.did.iter().take(groups.len()) {
            cells.push(right(did.map_or_else(|| "-".to_owned(), |did| did.text())));
        }
        rows.add_row(cells);
    }
    let _ = writeln!(text, "\n{}", rows.trim_fmt());
}

impl super::RuleDid {
    /// In words.
    pub(super) fn text(&self) -> String {
        let count = |n: f64| Unit::Count.show(n);
        match (self.matched, self.acted) {
            (Some(matched), Some(acted)) => {
                format!("{}x, {} of {}", count(self.activations), count(acted), count(matched))
            }
            _ => format!("done {}x", count(self.activations)),
        }
    }
}
