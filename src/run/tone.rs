//! Colour on a terminal, and lines that fit one. Nothing is told by colour alone.

use anstyle::{AnsiColor, Color, Effects, Style};
use std::io::IsTerminal;

/// What a piece of text is to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// What the line is about.
    Strong,
    /// As it should be.
    Good,
    /// Violated, or failed.
    Bad,
    /// Not as it should be, or not decided.
    Doubt,
    /// Who leads.
    Leader,
    /// What can be passed over.
    Quiet,
}

impl Tone {
    /// Of the word of a verdict.
    #[must_use]
    pub fn of_verdict(word: &str) -> Self {
        match word {
            "holds" => Self::Good,
            "violated" | "failed" => Self::Bad,
            "not made" => Self::Quiet,
            _ => Self::Doubt,
        }
    }

    fn style(self) -> Style {
        let bold = |color| Style::new().fg_color(Some(Color::Ansi(color))).bold();
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Good => bold(AnsiColor::Green),
            Self::Bad => bold(AnsiColor::Red),
            Self::Doubt => bold(AnsiColor::Yellow),
            Self::Leader => bold(AnsiColor::Cyan),
            Self::Quiet => Style::new().effects(Effects::DIMMED),
        }
    }
}

/// Whether what goes to this stream may be coloured: <https://no-color.org>.
#[must_use]
pub fn color(stream: &impl IsTerminal) -> bool {
    let unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal()
        && unset("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// The text in its colour, or as it is.
#[must_use]
pub fn paint(text: &str, tone: Tone, color: bool) -> String {
    if color && tone != Tone::Plain && !text.is_empty() {
        let style = tone.style();
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// A line in pieces, of which the least important give way where it is too long.
#[derive(Clone, Debug, Default)]
pub struct Line(Vec<Piece>);

#[derive(Clone, Debug)]
struct Piece {
    text: String,
    tone: Tone,
    /// Those of a lower weight go first.
    weight: u8,
    /// The fewest columns in which it still says something.
    least: usize,
}

impl Piece {
    fn columns(&self) -> usize {
        self.text.chars().count()
    }
}

/// The fewest columns of a list that is cut.
const LIST_MIN: usize = 9;

/// Between two pieces.
const GAP: &str = "  ";

impl Line {
    /// An empty line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end; nothing where it is empty.
    #[must_use]
    pub fn piece(self, text: impl Into<String>, tone: Tone, weight: u8) -> Self {
        self.with(text.into(), tone, weight, usize::MAX)
    }

    /// Adds a list at the end, which is cut before anything else gives way.
    #[must_use]
    pub fn list(self, text: impl Into<String>, tone: Tone, weight: u8) -> Self {
        self.with(text.into(), tone, weight, LIST_MIN)
    }

    fn with(mut self, text: String, tone: Tone, weight: u8, least: usize) -> Self {
        if !text.is_empty() {
            let least = least.min(text.chars().count());
            self.0.push(Piece { text, tone, weight, least });
        }
        self
    }

    /// All of it, without colour.
    #[must_use]
    pub fn plain(&self) -> String {
        let texts: Vec<&str> = self.0.iter().map(|piece| piece.text.as_str()).collect();
        texts.join(GAP)
    }

    /// What fits into `width` columns; the last one stays free, since some terminals break
    /// behind it.
    #[must_use]
    pub fn fitted(&self, width: usize, color: bool) -> String {
        let room = width.saturating_sub(1);
        let mut pieces: Vec<&Piece> = self.0.iter().collect();
        let least = |pieces: &[&Piece]| {
            let gaps = GAP.len() * pieces.len().saturating_sub(1);
            pieces.iter().map(|piece| piece.least).sum::<usize>() + gaps
        };
        while least(&pieces) > room && pieces.len() > 1 {
            let weight = pieces.iter().map(|piece| piece.weight).min().unwrap_or_default();
            let Some(at) = pieces.iter().rposition(|piece| piece.weight == weight) else { break };
            pieces.remove(at);
        }
        let mut spare = room.saturating_sub(least(&pieces));
        let shown = pieces.iter().map(|piece| {
            let wants = piece.columns() - piece.least;
            let gets = piece.least.min(room) + wants.min(spare);
            spare -= wants.min(spare);
            paint(&cut(&piece.text, gets), piece.tone, color)
        });
        shown.collect::<Vec<_>>().join(GAP)
    }
}

/// As much of a text as fits, with a mark where there is more.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    kept + "\u{2026}"
}

/// A bar that is so full, from 0 to 1.
#[must_use]
pub fn bar(share: f64, columns: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * columns as f64).round();
    #[expect(clippy::cast_sign_loss, reason = "it was clamped")]
    let full = (full as usize).min(columns);
    "\u{2501}".repeat(full) + &"\u{2500}".repeat(columns - full)
}

#[cfg(test)]
mod tests {
    use super::{Line, Tone, bar, cut, paint};

    fn line() -> Line {
        Line::new()
            .piece("faults", Tone::Strong, 9)
            .piece("----", Tone::Quiet, 1)
            .piece("12 calls/s", Tone::Plain, 5)
            .list("[cut the leader off]", Tone::Doubt, 7)
    }

    #[test]
    fn the_least_important_gives_way_first_and_nothing_reaches_the_last_column() {
        assert_eq!(line().fitted(80, false), "faults  ----  12 calls/s  [cut the leader off]");
        assert_eq!(line().fitted(47, false), "faults  ----  12 calls/s  [cut the leader off]");
        assert_eq!(
            line().fitted(46, false),
            "faults  ----  12 calls/s  [cut the leader of\u{2026}"
        );
        assert_eq!(line().fitted(36, false), "faults  ----  12 calls/s  [cut the\u{2026}");
        assert_eq!(line().fitted(35, false), "faults  12 calls/s  [cut the lead\u{2026}");
        assert_eq!(line().fitted(20, false), "faults  [cut the l\u{2026}");
        assert_eq!(line().fitted(17, false), "faults");
        assert_eq!(line().fitted(5, false), "fau\u{2026}");
    }

    #[test]
    fn colour_takes_no_room_and_is_left_out_where_nobody_wants_it() {
        let shown = line().fitted(47, true);
        assert!(shown.contains("\u{1b}[1mfaults\u{1b}[0m"), "{shown:?}");
        assert_eq!(anstream::adapter::strip_str(&shown).to_string(), line().fitted(47, false));
        assert_eq!(paint("holds", Tone::Good, false), "holds");
    }

    #[test]
    fn what_is_no_byte_is_no_column_either() {
        assert_eq!(cut("\u{e4}\u{f6}\u{fc}", 3), "\u{e4}\u{f6}\u{fc}");
        assert_eq!(cut("\u{e4}\u{f6}\u{fc}", 2), "\u{e4}\u{2026}");
    }

    #[test]
    fn a_bar_is_as_full_as_the_share() {
        assert_eq!(bar(0.0, 4), "\u{2500}\u{2500}\u{2500}\u{2500}");
        assert_eq!(bar(0.5, 4), "\u{2501}\u{2501}\u{2500}\u{2500}");
        assert_eq!(bar(7.0, 4), "\u{2501}\u{2501}\u{2501}\u{2501}");
    }
}
