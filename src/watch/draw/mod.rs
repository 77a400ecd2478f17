//! From looks and choices to a frame: nothing here reads, asks or waits.
//!
//! On a wide terminal all panes are there; on a small one, or where a pane is zoomed, the nodes
//! stand in a line and one pane has the rest. Below that there is a sentence.

mod events;
mod links;
mod nodes;
mod rules;
pub mod text;
mod top;

use super::pair::Pair;
use super::theme::Theme;
use super::view::{Pane, Source, View};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

/// The least that is drawn on.
pub const LEAST: (u16, u16) = (60, 15);

/// From here on all panes have room.
const WHOLE: (u16, u16) = (90, 24);

/// Columns of the nodes and of the messages.
const LEFT: u16 = 38;

/// All that a frame is drawn from.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The two looks; none before the first.
    pub pair: Option<Pair<'a>>,
    /// What was chosen.
    pub view: &'a View,
    /// How it looks.
    pub theme: Theme,
}

/// Draws one frame.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (columns, rows) = LEAST;
        let words = format!(
            "raftq watch needs {columns} columns and {rows} rows; here are {} and {}. q leaves.",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }), area);
        return;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    let Some(pair) = scene.pair else {
        let words = match &scene.view.source {
            Source::Tells => "waiting for the first look ...",
            Source::Late(why) | Source::Over(why) => why,
        };
        frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }), body);
        frame.render_widget(top::foot(scene, foot.width), foot);
        return;
    };
    frame.render_widget(top::head(&pair, scene, head.width), head);
    if area.width >= WHOLE.0 && area.height >= WHOLE.1 && !scene.view.zoomed {
        whole(frame, &pair, scene, body);
    } else {
        single(frame, &pair, scene, body);
    }
    frame.render_widget(top::foot(scene, foot.width), foot);
    if scene.view.help {
        help(frame, scene, area);
    }
}

/// All panes.
fn whole(frame: &mut Frame<'_>, pair: &Pair<'_>, scene: &Scene<'_>, area: Rect) {
    let nodes = pair.now.nodes.len() as u16;
    // The matrix may take half of it, and takes less where it needs less.
    let room = area.height / 2;
    let needs = if links::fits_whole(pair.now, area.width - LEFT, room) {
        links::whole_height(nodes)
    } else {
        nodes + 3
    };
    let kinds = pair.now.messages.kinds.len() as u16;
    let least = if pair.now.protocol.is_some() { nodes.min(5) + kinds.clamp(3, 6) + 4 } else { 8 };
    let upper = needs.max(least).min(room);
    let rules = (pair.now.rules.total.min(1_000) as u16 + 3).max(4);
    let lower = area.height - upper;
    let rules = rules.min(lower * 3 / 5);
    let [upper, middle, lower] = Layout::vertical([
        Constraint::Length(upper),
        Constraint::Length(rules),
        Constraint::Fill(1),
    ])
    .areas(area);
    let [left, right] =
        Layout::horizontal([Constraint::Length(LEFT), Constraint::Fill(1)]).areas(upper);
    if pair.now.protocol.is_some() {
        let heights = [Constraint::Max(nodes + 2), Constraint::Min(5)];
        let [above, below] = Layout::vertical(heights).areas(left);
        pane(frame, pair, scene, Pane::Nodes, above);
        pane(frame, pair, scene, Pane::Messages, below);
    } else {
        pane(frame, pair, scene, Pane::Nodes, left);
    }
    pane(frame, pair, scene, Pane::Links, right);
    pane(frame, pair, scene, Pane::Rules, middle);
    pane(frame, pair, scene, Pane::Events, lower);
}

/// The nodes in short, and one pane.
fn single(frame: &mut Frame<'_>, pair: &Pair<'_>, scene: &Scene<'_>, area: Rect) {
    let strip = nodes::strip(pair, scene, area.width);
    let rows = (strip.len() as u16).min(area.height / 3);
    let [above, below] =
        Layout::vertical([Constraint::Length(rows), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(strip), above);
    pane(frame, pair, scene, scene.view.focus, below);
}

fn pane(frame: &mut Frame<'_>, pair: &Pair<'_>, scene: &Scene<'_>, which: Pane, area: Rect) {
    let has_focus = scene.view.focus == which;
    let mark = if has_focus { "> " } else { " " };
    let title = match which {
        Pane::Rules => rules::title(pair),
        Pane::Links => links::title(pair, scene.view, area),
        Pane::Events => events::title(scene.view),
        Pane::Nodes | Pane::Messages => which.title().to_owned(),
    };
    let block = Block::bordered()
        .border_style(scene.theme.frame(has_focus))
        .title(Span::styled(format!("{mark}{title} "), scene.theme.strong()));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let size = (usize::from(inside.width), usize::from(inside.height));
    let lines = match which {
        Pane::Rules => rules::lines(pair, scene, size),
        Pane::Links => links::lines(pair, scene, size),
        Pane::Nodes => nodes::lines(pair, scene, size),
        Pane::Messages => nodes::messages(pair, scene, size),
        Pane::Events => events::lines(pair, scene, size),
    };
    frame.render_widget(Paragraph::new(lines), inside);
}

const KEYS: [(&str, &str); 12] = [
    ("q, Ctrl-C", "leave; raftq goes on, unless it was attached by this view"),
    ("up down, j k", "choose a rule, or scroll the pane that has `>`"),
    ("PgUp PgDn, g G", "further, and to the ends"),
    ("space, Enter", "switch the chosen rule on or off, whatever its times say"),
    ("a", "let the chosen rule be active as its file says"),
    ("Tab, Shift-Tab", "the next pane, the one before"),
    ("z", "one pane alone, and back"),
    ("left right", "scroll the link matrix sideways"),
    ("m", "what its cells show where there is no room for all"),
    ("p", "hold the picture; raftq goes on"),
    ("Ctrl-Z", "back to the shell; `fg` comes back"),
    ("?", "this"),
];

fn help(frame: &mut Frame<'_>, scene: &Scene<'_>, area: Rect) {
    let width = area.width.min(76);
    let height = area.height.min(KEYS.len() as u16 + 2);
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let lines = KEYS.iter().map(|(keys, what)| {
        let words = text::cut(what, usize::from(width).saturating_sub(19));
        Line::from(vec![Span::styled(format!("{keys:<16} "), scene.theme.strong()), words.into()])
    });
    let block = Block::bordered().border_style(scene.theme.frame(true)).title(" Keys ");
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

/// Which rows of a list are seen, so that one of them is in the middle where there is a choice.
fn window(chosen: usize, total: usize, height: usize) -> std::ops::Range<usize> {
    let from = chosen.saturating_sub(height / 2).min(total.saturating_sub(height));
    from..(from + height).min(total)
}

/// Which rows are seen of a list that begins so far down.
fn from_row(first: usize, total: usize, height: usize) -> std::ops::Range<usize> {
    let from = first.min(total.saturating_sub(height));
    from..(from + height).min(total)
}

#[cfg(test)]
mod tests;
