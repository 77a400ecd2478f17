//! The fewest operations that still contradict each other, in words.
//!
//! What is shown is a violation by itself, and of the whole history, too. A history is made
//! smaller in ways that can only make it easier to explain, and each is tried again: reads are
//! left out; it is cut off at a moment, and what was under way then counts as unknown; answered
//! changes become unknown. A change is left out only where it is unknown and nobody can have
//! seen it, since leaving out one that was seen would invent a contradiction.

use super::Budget;
use super::operation::{Object, Operation};
use super::search::{Found, decide, without_unseen};
use super::state::{Action, State};
use crate::history::{Call, Function};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most searches that making it smaller may take.
const TRIES: usize = 600;

/// The budget of each.
const SMALL: Budget = Budget { configurations: 20_000 };

/// Why a promise was not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The object it is about, such as `key r3.0`.
    pub object: String,
    /// What is wrong, in one or two sentences.
    pub summary: String,
    /// The calls that show it, in order of their beginning.
    pub lines: Vec<Line>,
}

/// One call of the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Who called.
    pub process: u64,
    /// Which node.
    pub node: Option<String>,
    /// What, and what was answered.
    pub text: String,
    /// When it began, in nanoseconds of the run's clock.
    pub begin: u64,
    /// When it was answered; never, as far as this evidence needs it.
    pub end: Option<u64>,
    /// Whether it is the one that cannot be placed.
    pub blamed: bool,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", wrapped(&format!("{}: {}", self.object, self.summary)))?;
        let (from, to) = span(&self.lines);
        let width = self.lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let clock = Clock::of(&self.lines);
        for line in &self.lines {
            let mark = if line.blamed { '>' } else { ' ' };
            let node = line.node.as_deref().unwrap_or("");
            let end = line.end.map_or("?".to_owned(), |end| clock.shown(end));
            writeln!(
                f,
                "  {mark} {:>9} .. {end:>9}  {:>5} {node:3} {:width$}  {}",
                clock.shown(line.begin),
                format!("p{}", line.process),
                line.text,
                bar(line, from, to),
            )?;
        }
        if let Clock::Since(begin) = clock {
            let begin = begin as f64 / 1e9;
            writeln!(f, "  times in ms since the first of them, at {begin:.6} s of the run")?;
        }
        if self.lines.iter().any(|line| line.end.is_none()) {
            writeln!(f, "  ?: no answer came, or it is wrong whenever the answer came")?;
        }
        Ok(())
    }
}

/// How moments are shown.
#[derive(Debug, Clone, Copy)]
enum Clock {
    /// Histories without times count lines.
    Lines,
    /// Since this many nanoseconds of the run's clock.
    Since(u64),
}

impl Clock {
    fn of(lines: &[Line]) -> Self {
        let (from, to) = span(lines);
        if to < 10_000_000 { Self::Lines } else { Self::Since(from) }
    }

    fn shown(self, t: u64) -> String {
        match self {
            Self::Lines => t.to_string(),
            Self::Since(from) => format!("{:.3}", t.saturating_sub(from) as f64 / 1e6),
        }
    }
}

/// Broken between words into lines of about 96 columns, all but the first set in.
fn wrapped(text: &str) -> String {
    let (mut lines, mut column) = (String::new(), 0);
    for word in text.split(' ') {
        let width = word.chars().count() + 1;
        if column > 0 {
            let breaks = column + width > 94;
            lines.push_str(if breaks { "\n  " } else { " " });
            column = if breaks { 0 } else { column };
        }
        lines.push_str(word);
        column += width;
    }
    lines
}

fn span(lines: &[Line]) -> (u64, u64) {
    let from = lines.iter().map(|line| line.begin).min().unwrap_or(0);
    let to = lines.iter().map(|line| line.end.unwrap_or(line.begin)).max().unwrap_or(0);
    (from, to.max(from + 1))
}

/// The call's time as a bar of 24 columns.
fn bar(line: &Line, from: u64, to: u64) -> String {
    const COLUMNS: u64 = 24;
    let at =
        |t: u64| (u128::from(t - from) * u128::from(COLUMNS - 1) / u128::from(to - from)) as usize;
    let (begin, end) = (at(line.begin), line.end.map_or(COLUMNS as usize - 1, at));
    let mut bar = " ".repeat(begin);
    bar.push('|');
    bar.extend(std::iter::repeat_n('-', end.saturating_sub(begin)));
    bar.push(if line.end.is_some() { '|' } else { '>' });
    bar
}

/// Why no order explains the judged operations of this object.
pub(super) fn of(object: &Object<'_>, budget: Budget) -> Evidence {
    let all: Vec<Operation<'_>> = object.judged().into_iter().cloned().collect();
    let (prefix, blamed) = shortest_prefix(&all, &object.initial, budget);
    let few = Shrink { initial: &object.initial, tries: TRIES }.run(prefix, &blamed);
    let these = match few.len() {
        1 => "It is wrong whatever the others did:".to_owned(),
        n => format!(
            "These {n} of {} calls contradict each other by themselves:",
            object.operations.len()
        ),
    };
    let summary = format!(
        "{} fits nowhere. Some order of the calls explains every answer before it; with it, \
         none does. {} {these}",
        said(blamed.call),
        expected(object, &blamed),
    );
    let lines = few.iter().map(|operation| Line {
        process: operation.call.process,
        node: operation.call.node.as_deref().map(str::to_owned),
        text: text(operation.call, operation.end.is_some()),
        begin: operation.begin,
        end: operation.end,
        blamed: std::ptr::eq(operation.call, blamed.call),
    });
    Evidence { object: object.name.clone(), summary, lines: lines.collect() }
}

/// A call and its caller, for a sentence.
fn said(call: &Call) -> String {
    let node = call.node.as_deref().map_or(String::new(), |node| format!(" at {node}"));
    format!("process {}'s \"{}\"{node}", call.process, text(call, true))
}

/// What would have been right, as far as one sentence can say: most often what the last change
/// before made of it.
fn expected(object: &Object<'_>, blamed: &Operation<'_>) -> String {
    let is_listing = blamed.call.f == Function::List;
    let about = |o: &&Operation<'_>| {
        let key = &o.call.key;
        !o.action.only_reads()
            && (*key == blamed.call.key || is_listing && key.starts_with(&*blamed.call.key))
    };
    let changes = || object.operations.iter().filter(about);
    if let Action::Read(Some(value)) = blamed.action
        && !changes()
            .any(|o| matches!(o.action, Action::Write(v) | Action::Cas(_, v) if v == Some(value)))
    {
        return "Nobody wrote that value, unless it was surely refused.".into();
    }
    let before = changes().filter(|o| o.end.is_some_and(|end| end < blamed.begin));
    let Some(last) = before.max_by_key(|o| o.end) else {
        return "No change was acknowledged before it began.".into();
    };
    let end = last.end.unwrap_or(last.begin);
    let when = if blamed.begin < 10_000_000 {
        format!("at {end}")
    } else {
        format!("{:.3} ms earlier", (blamed.begin - end) as f64 / 1e6)
    };
    format!("The last change acknowledged before it began: {}, {when}.", said(last.call))
}

fn violates(operations: &[Operation<'_>], initial: &State, budget: Budget) -> bool {
    let operations: Vec<&Operation<'_>> = operations.iter().collect();
    decide(&operations, initial, budget) == Found::None
}

/// The shortest beginning of the history that has no order, and the answer that ends it. What
/// was under way at that moment is unknown.
fn shortest_prefix<'c>(
    all: &[Operation<'c>],
    initial: &State,
    budget: Budget,
) -> (Vec<Operation<'c>>, Operation<'c>) {
    let mut ends: Vec<u64> = all.iter().filter_map(|operation| operation.end).collect();
    ends.sort_unstable();
    let upto = |end: u64| -> Vec<Operation<'c>> {
        let begun = all.iter().filter(|operation| operation.begin <= end).cloned();
        let cut = begun
            .map(|operation| Operation { end: operation.end.filter(|e| *e <= end), ..operation });
        cut.filter(|operation| operation.end.is_some() || !operation.action.only_reads()).collect()
    };
    // A longer history is not easier to explain, so the first that has no order is found by
    // halving.
    let at = ends.partition_point(|end| !violates(&upto(*end), initial, budget));
    let end = ends[at.min(ends.len() - 1)];
    let prefix = upto(end);
    let blamed = prefix.iter().find(|operation| operation.end == Some(end));
    let blamed = blamed.expect("somebody was answered then").clone();
    (prefix, blamed)
}

struct Shrink<'a> {
    initial: &'a State,
    tries: usize,
}

impl Shrink<'_> {
    fn run<'c>(
        mut self,
        mut few: Vec<Operation<'c>>,
        blamed: &Operation<'c>,
    ) -> Vec<Operation<'c>> {
        self.leave_out_reads(&mut few, blamed);
        self.forget_answers(&mut few, blamed);
        self.leave_out_reads(&mut few, blamed);
        few
    }

    fn still(&mut self, operations: &[Operation<'_>]) -> bool {
        self.tries = self.tries.saturating_sub(1);
        self.tries > 0 && violates(operations, self.initial, SMALL)
    }

    /// In halves, quarters and so on, then one by one.
    fn leave_out_reads(&mut self, few: &mut Vec<Operation<'_>>, blamed: &Operation<'_>) {
        let may_go =
            |o: &Operation<'_>| o.action.only_reads() && !std::ptr::eq(o.call, blamed.call);
        let mut size = few.len().max(1);
        loop {
            let reads: Vec<usize> = (0..few.len()).filter(|&i| may_go(&few[i])).collect();
            for chunk in reads.chunks(size).rev() {
                let rest: Vec<Operation<'_>> = few
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| chunk.binary_search(i).is_err())
                    .map(|(_, operation)| operation.clone())
                    .collect();
                if self.still(&rest) {
                    *few = rest;
                }
            }
            if size == 1 {
                return;
            }
            size /= 2;
        }
    }

    /// Answered changes become unknown, and unknown ones that nobody saw are left out.
    fn forget_answers(&mut self, few: &mut Vec<Operation<'_>>, blamed: &Operation<'_>) {
        for i in 0..few.len() {
            let operation = &few[i];
            let is_change = !operation.action.only_reads();
            if !is_change || operation.end.is_none() || std::ptr::eq(operation.call, blamed.call) {
                continue;
            }
            let mut rest = few.clone();
            rest[i].end = None;
            if self.still(&rest) {
                *few = rest;
            }
        }
        let seen: Vec<Operation<'_>> = {
            let all: Vec<&Operation<'_>> = few.iter().collect();
            without_unseen(&all).into_iter().cloned().collect()
        };
        if self.still(&seen) {
            *few = seen;
        }
    }
}

/// A call as a person would say it; one that was not answered is called unknown.
#[must_use]
pub fn text(call: &Call, answered: bool) -> String {
    let of = if call.key.is_empty() {
        String::new()
    } else {
        format!(" {}", shortened(call.key.to_string()))
    };
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "nothing".to_owned(),
        serde_json::Value::String(text) => shortened(text.clone()),
        other => shortened(other.to_string()),
    };
    let unknown = if answered { "" } else { " (unknown)" };
    let not = |what: &str| if call.done { String::new() } else { format!(": {what}") };
    match call.f {
        Function::Read => format!("read{of}: {}", value(&call.answer)),
        Function::List => format!("list{of}: {}", value(&call.answer)),
        Function::Write => format!("write{of} = {}{unknown}", value(&call.asked)),
        Function::Append => format!("append{of} + {}{unknown}", value(&call.asked)),
        Function::Add => format!("add{of} + {}{unknown}", value(&call.asked)),
        Function::Make => format!("make{of}{}{unknown}", not("it is there")),
        Function::Remove => format!("remove{of}{}{unknown}", not("it is not there")),
        Function::Cas => format!(
            "set{of} from {} to {}{}{unknown}",
            value(&call.asked[0]),
            value(&call.asked[1]),
            not("it is something else")
        ),
    }
}

/// Long lists by their ends; the whole one is in the history.
pub(super) fn shortened(text: String) -> String {
    const SHOWN: usize = 28;
    let n = text.chars().count();
    if n <= 2 * SHOWN {
        return text;
    }
    let begin: String = text.chars().take(SHOWN).collect();
    let end: String = text.chars().skip(n - SHOWN).collect();
    format!("{begin}...{end}")
}
