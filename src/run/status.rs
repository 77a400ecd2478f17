//! What a person sees while raftq runs: one line that is kept up to date on a terminal,
//! plain lines elsewhere.

use super::tone::{self, Line, Tone, paint};
use crate::engine::counters::Counters;
use crate::engine::{Edge, Prepared};
use crate::kernel::losses::Losses;
use crate::rules::Table;
use crate::time::Nanos;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};

/// How often the line on a terminal is renewed.
const RENEW: Nanos = Nanos::from_millis(200);

/// How often a plain line is written elsewhere.
const PLAIN: Nanos = Nanos::from_secs(10);

/// Writes to stderr.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
pub struct Status {
    terminal: bool,
    color: bool,
    quiet: bool,
    /// Whether even warnings are told elsewhere.
    mute: bool,
    shown: bool,
    next: Nanos,
    active: Vec<u16>,
}

impl Status {
    /// Silent where `quiet`, but for warnings.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            color: color(),
            quiet,
            mute: false,
            shown: false,
            next: Nanos::ZERO,
            active: Vec::new(),
        }
    }

    /// Silent in any case where `mute`: somebody else has the terminal.
    #[must_use]
    pub fn mute(self, mute: bool) -> Self {
        Self { quiet: self.quiet || mute, mute, ..self }
    }

    /// A line that stays.
    pub fn say(&mut self, line: &str) {
        if !self.quiet {
            self.write_line(line);
        }
    }

    /// A warning that stays, quiet or not.
    pub fn warn(&mut self, line: &str) {
        let word = paint("warning:", Tone::Doubt, self.color);
        self.write_line(&format!("{word} {line}"));
    }

    /// A violation that stays, quiet or not.
    pub fn violated(&mut self, line: &str) {
        let word = paint("violated on the wire:", Tone::Bad, self.color);
        self.write_line(&format!("{word} {line}"));
    }

    /// A rule started or ended.
    pub fn edge(&mut self, edge: Edge, table: &Table) {
        let Some(rule) = table.rules.get(usize::from(edge.rule)) else { return };
        self.active.retain(|r| *r != edge.rule);
        let what = if edge.active {
            self.active.push(edge.rule);
            if edge.leaderless { "active; nobody was heard to lead yet" } else { "active" }
        } else {
            "ended"
        };
        self.say(&format!("{:8.3}s  rule \"{}\" {what}", edge.at.as_secs_f64(), rule.name));
    }

    /// Another table took over at `t`: rules that it does not have any more end, and what
    /// they did is told here or nowhere. Returns those that leaked.
    pub fn tell_removed(&mut self, t: Nanos, former: &Prepared, table: &Table) -> Vec<String> {
        let mut leaky = Vec::new();
        let old = former.table();
        let kept: HashSet<&str> = table.rules.iter().map(|rule| rule.name.as_str()).collect();
        for (i, (rule, counts)) in old.rules.iter().zip(&former.counters().rules).enumerate() {
            if kept.contains(rule.name.as_str()) {
                continue;
            }
            let (t, name) = (t.as_secs_f64(), &rule.name);
            if self.active.contains(&(i as u16)) {
                self.say(&format!("{t:8.3}s  rule \"{name}\" ended (no longer in the file)"));
            }
            if counts.activations.get() > 0 {
                self.say(&format!(
                    "{t:8.3}s  rule \"{name}\" was active {}x: {} matched, {} acted, {} leaked",
                    counts.activations.get(),
                    counts.matched.get(),
                    counts.acted.get(),
                    counts.leaked.get(),
                ));
            }
            if counts.leaked.get() > 0 {
                leaky.push(name.clone());
            }
        }
        leaky
    }

    /// Another table is in force: these of its rules are active.
    pub fn now_active(&mut self, active: Vec<u16>) {
        self.active = active;
    }

    /// Renews the line, where it is time to.
    pub fn renew(&mut self, now: Nanos, t: Nanos, table: &Table, counters: &Counters, l: Losses) {
        if self.is_due(now) {
            let line = self.line(t, table, counters, l);
            self.put_line(&line);
        }
    }

    /// Whether the line is to be renewed now; then the next time is later.
    pub fn is_due(&mut self, now: Nanos) -> bool {
        if self.quiet || now < self.next {
            return false;
        }
        // Elsewhere than on a terminal nobody needs to hear how it begins.
        let first = self.next == Nanos::ZERO;
        self.next = now + if self.terminal { RENEW } else { PLAIN };
        self.terminal || !first
    }

    /// Puts a line in the place of the former, as much of it as fits the terminal; a plain line
    /// elsewhere.
    pub fn put_line(&mut self, line: &Line) {
        if self.terminal {
            put(&format!("\r\x1b[K{}", line.fitted(usize::from(width()), self.color)));
            self.shown = true;
        } else {
            self.write_line(&line.plain());
        }
    }

    /// The rules that are active, by name.
    pub fn active<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t str> {
        let rules = self.active.iter().filter_map(|r| table.rules.get(usize::from(*r)));
        rules.map(|rule| rule.name.as_str())
    }

    /// Text of several lines that stays, quiet or not.
    pub fn show(&mut self, text: &str) {
        self.clear();
        if !self.mute {
            put(text);
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            put("\r\x1b[K");
            self.shown = false;
        }
    }

    fn line(&self, t: Nanos, table: &Table, counters: &Counters, losses: Losses) -> Line {
        let matched: u64 = counters.rules.iter().map(|rule| rule.matched.get()).sum();
        let totals = &counters.totals;
        let lost = losses.queue_dropped + losses.user_dropped;
        let some = |n: u64, what: &str| if n > 0 { format!("{n} {what}") } else { String::new() };
        let active: Vec<&str> = self.active(table).collect();
        let (active, tone) = match active.as_slice() {
            [] => ("no rule is active".to_owned(), Tone::Quiet),
            active => (active.join(", "), Tone::Doubt),
        };
        Line::new()
            .piece(format!("{:6.1}s", t.as_secs_f64()), Tone::Strong, 9)
            .piece(format!("{} packets", totals.packets.get()), Tone::Plain, 4)
            .piece(format!("{matched} matched"), Tone::Plain, 5)
            .piece(format!("{} held", totals.held.get()), Tone::Plain, 3)
            .piece(format!("{lost} lost"), if lost > 0 { Tone::Doubt } else { Tone::Plain }, 6)
            .piece(some(totals.unattributed.get(), "unattributed"), Tone::Doubt, 2)
            .list(format!("[{active}]"), tone, 7)
    }

    fn write_line(&mut self, line: &str) {
        self.clear();
        if !self.mute {
            put(&format!("raftq: {line}\n"));
        }
    }
}

/// Whether what goes to stderr may be coloured.
#[must_use]
pub fn color() -> bool {
    tone::color(&io::stderr())
}

/// Columns of the terminal, 80 where there is none.
#[must_use]
pub fn width() -> u16 {
    terminal_size::terminal_size_of(io::stderr())
        .or_else(|| terminal_size::terminal_size_of(io::stdout()))
        .map_or(80, |(width, _)| width.0.max(20))
}

/// Writes to stderr. That it is closed is no reason to leave the cluster cut.
pub fn put(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
