//! What a person sees while raftq runs: one line that is kept up to date on a terminal,
//! plain lines elsewhere.

use crate::engine::counters::Counters;
use crate::engine::{Edge, Prepared};
use crate::kernel::losses::Losses;
use crate::rules::Table;
use crate::time::Nanos;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// How often the line on a terminal is renewed.
const RENEW: Nanos = Nanos::from_millis(200);

/// How often a plain line is written elsewhere.
const PLAIN: Nanos = Nanos::from_secs(10);

/// Writes to stderr.
#[derive(Debug)]
pub struct Status {
    terminal: bool,
    quiet: bool,
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
            quiet,
            shown: false,
            next: Nanos::ZERO,
            active: Vec::new(),
        }
    }

    /// A line that stays.
    pub fn say(&mut self, line: &str) {
        if !self.quiet {
            self.write_line(line);
        }
    }

    /// A warning that stays, quiet or not.
    pub fn warn(&mut self, line: &str) {
        self.write_line(&format!("warning: {line}"));
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

    /// Puts a line in the place of the former, cut to the terminal's width; a plain line
    /// elsewhere.
    pub fn put_line(&mut self, line: &str) {
        if self.terminal {
            put(&format!("\r\x1b[K{}", cut(line, usize::from(width()))));
            self.shown = true;
        } else {
            self.write_line(line);
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
        put(text);
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.shown {
            put("\r\x1b[K");
            self.shown = false;
        }
    }

    fn line(&self, t: Nanos, table: &Table, counters: &Counters, losses: Losses) -> String {
        let matched: u64 = counters.rules.iter().map(|rule| rule.matched.get()).sum();
        let totals = &counters.totals;
        let mut line = format!(
            "{:6.1}s  {} packets, {matched} matched, {} held, {} lost",
            t.as_secs_f64(),
            totals.packets.get(),
            totals.held.get(),
            losses.queue_dropped + losses.user_dropped,
        );
        if totals.unattributed.get() > 0 {
            let _ = write!(line, ", {} unattributed", totals.unattributed.get());
        }
        let active: Vec<&str> = self.active(table).collect();
        let active = if active.is_empty() { "no rule is active".into() } else { active.join(", ") };
        format!("{line}  [{active}]")
    }

    fn write_line(&mut self, line: &str) {
        self.clear();
        put(&format!("raftq: {line}\n"));
    }
}

/// As much of a line as fits without a line break; the last column stays free, since some
/// terminals break behind it.
fn cut(line: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    if line.chars().count() <= room {
        return line.to_owned();
    }
    let kept: String = line.chars().take(room.saturating_sub(1)).collect();
    kept + "\u{2026}"
}

/// Whether what goes to stderr may be coloured: <https://no-color.org>.
#[must_use]
pub fn color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_never_reaches_the_last_column() {
        assert_eq!(cut("faults: 12 calls/s", 80), "faults: 12 calls/s");
        assert_eq!(cut("faults: 12 calls/s", 19), "faults: 12 calls/s");
        assert_eq!(cut("faults: 12 calls/s", 10), "faults: \u{2026}");
        // What is no byte is no column, either.
        assert_eq!(cut("\u{e4}\u{f6}\u{fc}", 4), "\u{e4}\u{f6}\u{fc}");
    }
}
