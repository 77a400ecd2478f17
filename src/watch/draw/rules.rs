//! Rules: whether they act, how they were switched, and what they did.

use super::text::{count, cut, moment, rate};
use super::{Scene, window};
use crate::run::snapshot::RuleSeen;
use crate::watch::pair::Pair;
use crate::watch::theme::Theme;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Columns beside the name and what it does.
const FIXED: usize = 49;

/// With fewer columns there is no rate.
const WITH_RATE: usize = 80;

pub(super) fn title(pair: &Pair<'_>) -> String {
    let rules = &pair.now.rules;
    format!("Rules: {} of {} active", rules.active, rules.total)
}

pub(super) fn lines<'a>(
    pair: &Pair<'_>,
    scene: &Scene<'_>,
    (width, height): (usize, usize),
) -> Vec<Line<'a>> {
    let rules = &pair.now.rules;
    if rules.total == 0 {
        let words = "there are no rules: everything passes (raftq rules load FILE loads some)";
        return vec![Line::styled(cut(words, width), scene.theme.faint())];
    }
    let names = rules.list.iter().map(|rule| rule.name.chars().count()).max().unwrap_or(0);
    let names = names.clamp(8, (width.saturating_sub(FIXED) / 2).max(12));
    let acts = if width < WITH_RATE { "" } else { " acted/s" };
    let head = format!(
        "  {:<names$} {:<8} {:<7}{:>8}{:>7}{acts}  {:<8} do",
        "rule", "state", "switch", "matched", "acted", "until"
    );
    let mut lines = vec![Line::styled(cut(&head, width), scene.theme.head())];
    for i in window(scene.view.rule, rules.total, height.saturating_sub(1)) {
        let chosen = scene.view.rule == i;
        let seen = i.checked_sub(rules.from).and_then(|at| rules.list.get(at));
        let line = match seen {
            Some(rule) => row(pair, rule, scene.theme, names, width),
            None => Line::styled("  \u{2026}", scene.theme.faint()),
        };
        lines.push(if chosen { marked(line, scene.theme) } else { line });
    }
    lines
}

/// The chosen one, told without colours, too.
fn marked(mut line: Line<'_>, theme: Theme) -> Line<'_> {
    if let Some(first) = line.spans.first_mut() {
        first.content = first.content.replacen(' ', ">", 1).into();
    }
    // Colours that are turned round as well would be hard to read.
    for span in &mut line.spans {
        span.style = Style::new();
    }
    line.style(theme.chosen())
}

fn row<'a>(pair: &Pair<'_>, rule: &RuleSeen, theme: Theme, names: usize, width: usize) -> Line<'a> {
    let state_style = match (rule.state.as_str(), rule.kind.as_str()) {
        ("active", "process") => theme.bad(),
        ("active", _) => theme.good(),
        ("ended", _) => theme.faint(),
        _ => Style::new(),
    };
    let switch_style = if rule.switched == "auto" { theme.faint() } else { theme.late() };
    let number = |number: Option<u64>| number.map_or(String::new(), count);
    let until = rule.until_s.map_or(String::new(), moment);
    let acts = if rule.acted.is_some() { rate(pair.acts(rule)) } else { String::new() };
    let acts = if width < WITH_RATE { String::new() } else { format!("{acts:>8}") };
    let mut spans = vec![
        Span::raw(format!("  {:<names$} ", cut(&rule.name, names))),
        Span::styled(format!("{:<8} ", rule.state), state_style),
        Span::styled(format!("{:<7}", rule.switched), switch_style),
        Span::raw(format!("{:>8}{:>7}{acts}", number(rule.matched), number(rule.acted))),
        Span::raw(format!("  {until:<8} ")),
    ];
    if let Some(leaked) = rule.leaked.filter(|leaked| *leaked > 0) {
        spans.push(Span::styled(format!("{} leaked; ", count(leaked)), theme.bad()));
    }
    let used: usize = spans.iter().map(|span| span.content.chars().count()).sum();
    let about = if rule.nodes.is_empty() { links(rule) } else { rule.nodes.join(", ") };
    let does = rule.does.join(", then ");
    let words = if about.is_empty() { does } else { format!("{does}: {about}") };
    spans.push(Span::raw(cut(&words, width.saturating_sub(used))));
    Line::from(spans)
}

fn links(rule: &RuleSeen) -> String {
    let more = rule.links_more + rule.links.len().saturating_sub(4);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let some: Vec<&str> = rule.links.iter().take(4).map(String::as_str).collect();
    some.join(", ") + &more
}
