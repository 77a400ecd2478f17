//! What happened, the last at the bottom.

use super::Scene;
use super::text::cut;
use crate::run::snapshot::EventSeen;
use crate::watch::pair::Pair;
use crate::watch::theme::Theme;
use crate::watch::view::{Pane, View};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub(super) fn title(view: &View) -> String {
    let back = if view.back > 0 { format!(", {} back", view.back) } else { String::new() };
    format!("{}{back}", Pane::Events.title())
}

pub(super) fn lines<'a>(
    pair: &Pair<'_>,
    scene: &Scene<'_>,
    (width, height): (usize, usize),
) -> Vec<Line<'a>> {
    let events = &pair.now.events;
    if events.is_empty() {
        return vec![Line::styled("nothing has happened yet", scene.theme.faint())];
    }
    let last = events.len().saturating_sub(scene.view.back).max(height.min(events.len()));
    let shown = &events[last.saturating_sub(height)..last];
    shown.iter().map(|event| row(event, scene.theme, width)).collect()
}

fn row<'a>(event: &EventSeen, theme: Theme, width: usize) -> Line<'a> {
    let when = format!("{:>9.3} s  ", event.t_s);
    let is_bad = event.what.starts_with("warning:") || event.rule == "invariants";
    let style = match event.rule.as_str() {
        _ if is_bad => theme.bad(),
        "wire" if event.what.contains(" leads ") => theme.good(),
        "wire" => theme.late(),
        _ => Style::new(),
    };
    // Nodes did it by themselves, or raftq tells of itself: there is no rule to be named.
    let what = match event.rule.as_str() {
        "wire" | "raftq" => event.what.clone(),
        rule => format!("\"{rule}\" {}", event.what),
    };
    let room = width.saturating_sub(when.chars().count());
    Line::from(vec![Span::styled(when, theme.faint()), Span::styled(cut(&what, room), style)])
}
