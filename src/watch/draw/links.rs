//! The link matrix: a row for each sender, a column for each receiver.
//!
//! Where there is room a cell has three lines: packets and bytes a second; the round trip and the
//! least one; what was dropped and delayed. Else it has one measure, and the matrix scrolls.

use super::Scene;
use super::text::{cut, rate, short, trip};
use crate::run::snapshot::{LinkSeen, Snapshot};
use crate::watch::pair::{LinkRates, Pair};
use crate::watch::theme::Theme;
use crate::watch::view::{Measure, View};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Columns of a cell that shows all.
const WIDE: usize = 17;

/// Columns of a cell that shows one measure.
const NARROW: usize = 8;

/// Lines of a cell that shows all.
const TALL: u16 = 3;

/// The most columns of the senders' names.
const NAMES_MAX: usize = 12;

/// The height of a matrix that shows all, with its frame.
pub(super) fn whole_height(nodes: u16) -> u16 {
    nodes.saturating_mul(TALL).saturating_add(3)
}

/// Whether it has room for that.
pub(super) fn fits_whole(look: &Snapshot, width: u16, height: u16) -> bool {
    let columns = names(look) + look.nodes.len() * WIDE + 2;
    columns <= usize::from(width) && whole_height(look.nodes.len() as u16) <= height
}

/// Columns of the senders' names.
fn names(look: &Snapshot) -> usize {
    let longest = look.nodes.iter().map(|node| node.name.chars().count() + 1).max();
    longest.unwrap_or(0).clamp(3, NAMES_MAX)
}

/// What cells show.
pub(super) fn title(pair: &Pair<'_>, view: &View, area: Rect) -> String {
    let lack = if pair.now.no_round_trips.is_some() { "; no round trips" } else { "" };
    if fits_whole(pair.now, area.width, area.height) {
        return format!("Links: from the left to the top{lack}");
    }
    format!("Links, {} (m: another){lack}", view.measure.title())
}

pub(super) fn lines<'a>(
    pair: &Pair<'_>,
    scene: &Scene<'_>,
    (width, height): (usize, usize),
) -> Vec<Line<'a>> {
    let nodes = &pair.now.nodes;
    let all = fits_whole(pair.now, width as u16 + 2, height as u16 + 2);
    let names = names(pair.now);
    let (cell, tall) = if all { (WIDE, usize::from(TALL)) } else { (NARROW, 1) };
    let seen = |scrolled: usize, room: usize| {
        let first = scrolled.min(nodes.len().saturating_sub(room));
        first..(first + room).min(nodes.len())
    };
    let rows = seen(scene.view.links.0, (height.saturating_sub(1) / tall).max(1));
    let columns = seen(scene.view.links.1, (width.saturating_sub(names) / cell).max(1));
    let more = columns.len() < nodes.len() || rows.len() < nodes.len();
    // There are some that are not seen.
    let corner = if more { "\u{2026}" } else { "" };
    let mut head = vec![Span::styled(format!("{corner:<names$}"), scene.theme.faint())];
    for to in columns.clone() {
        let name = cut(&nodes[to].name, cell - 1);
        head.push(Span::styled(format!("{name:>cell$}"), scene.theme.head()));
    }
    let mut lines = vec![Line::from(head)];
    for from in rows {
        for part in 0..tall {
            let name = if part == 0 { cut(&nodes[from].name, names - 1) } else { String::new() };
            let mut cells = vec![Span::styled(format!("{name:<names$}"), scene.theme.head())];
            for to in columns.clone() {
                let (words, style) = match (pair.link(from, to), part) {
                    (_, 1..) if from == to => (String::new(), Style::new()),
                    _ if from == to => ("\u{b7}".into(), scene.theme.faint()),
                    (Some(link), _) if all => part_of(part, pair, link, scene.theme),
                    (Some(link), _) => measured(scene.view.measure, pair, link, scene.theme),
                    (None, 0) => ("-".into(), scene.theme.faint()),
                    (None, _) => (String::new(), Style::new()),
                };
                cells.push(Span::styled(format!("{words:>cell$}"), style));
            }
            lines.push(Line::from(cells));
        }
    }
    if let Some(why) = pair.now.no_round_trips.as_deref().filter(|_| lines.len() < height) {
        let words = cut(&format!("no round trips: {why}"), width);
        lines.push(Line::styled(words, scene.theme.late()));
    }
    lines
}

/// One line of a cell that shows all.
fn part_of(part: usize, pair: &Pair<'_>, link: &LinkSeen, theme: Theme) -> (String, Style) {
    let rates = pair.rates(link);
    match part {
        0 => {
            let packets = rate(rates.map(|rates| rates.packets));
            let bytes = rate(rates.map(|rates| rates.bytes));
            (format!("{packets}/s {bytes}B/s"), Style::new())
        }
        1 => match link.round_trip {
            Some(seen) if seen.rtt_us > 0 => {
                let least = seen.least_us.map_or(String::new(), |us| format!(" min {}", trip(us)));
                (format!("{}{least}", trip(seen.rtt_us)), theme.head())
            }
            _ => (String::new(), Style::new()),
        },
        _ => {
            let LinkRates { dropped, delayed, .. } = rates.unwrap_or_default();
            match (dropped > 0.0, delayed > 0.0) {
                (true, true) => (format!("-{} ~{}", short(dropped), short(delayed)), theme.bad()),
                (true, false) => (format!("drop {}/s", short(dropped)), theme.bad()),
                (false, true) => (format!("delay {}/s", short(delayed)), theme.late()),
                (false, false) => (String::new(), Style::new()),
            }
        }
    }
}

fn measured(measure: Measure, pair: &Pair<'_>, link: &LinkSeen, theme: Theme) -> (String, Style) {
    let rates = pair.rates(link);
    let of = |number: fn(&LinkRates) -> f64| rates.as_ref().map(number);
    let acted = |number: Option<f64>, style: Style| match number {
        Some(number) if number > 0.0 => (short(number), style),
        number => (rate(number), theme.faint()),
    };
    match measure {
        Measure::Packets => {
            // What a rule does to a link is not to be overlooked.
            let hit = rates.is_some_and(|rates| rates.dropped > 0.0);
            let slowed = rates.is_some_and(|rates| rates.delayed > 0.0);
            let (mark, style) = match (hit, slowed) {
                (true, _) => ("-", theme.bad()),
                (false, true) => ("~", theme.late()),
                (false, false) => ("", Style::new()),
            };
            (format!("{}{mark}", rate(of(|rates| rates.packets))), style)
        }
        Measure::Bytes => (rate(of(|rates| rates.bytes)), Style::new()),
        Measure::Dropped => acted(of(|rates| rates.dropped), theme.bad()),
        Measure::Delayed => acted(of(|rates| rates.delayed), theme.late()),
        Measure::RoundTrip => match link.round_trip {
            Some(seen) if seen.rtt_us > 0 => (trip(seen.rtt_us), Style::new()),
            _ => ("-".into(), theme.faint()),
        },
    }
}
