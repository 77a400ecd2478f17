//! Nodes and what they are, and what they say to each other.

use super::text::{count, cut, rate};
use super::{Scene, from_row};
use crate::run::snapshot::{NodeSeen, RoleSeen};
use crate::watch::pair::Pair;
use crate::watch::theme::Theme;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// What a node is, or what is done to it, in a word.
fn role(node: &NodeSeen, theme: Theme) -> (String, Style) {
    if let Some(fault) = node.faults.first() {
        return (format!("x {}", fault.action), theme.bad());
    }
    match node.role {
        RoleSeen::Leader => ("leader".into(), theme.good()),
        RoleSeen::Candidate => ("candidate".into(), theme.late()),
        RoleSeen::Follower => ("follower".into(), Style::new()),
        RoleSeen::Unknown => ("-".into(), theme.faint()),
    }
}

/// A row for each node.
pub(super) fn lines<'a>(
    pair: &Pair<'_>,
    scene: &Scene<'_>,
    (width, height): (usize, usize),
) -> Vec<Line<'a>> {
    let nodes = &pair.now.nodes;
    let names = nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
    // The role, the term and the rate have their columns.
    let names = names.clamp(2, width.saturating_sub(29).max(4));
    let rows = from_row(scene.view.down.0, nodes.len(), height);
    let row = |i: usize| {
        let node = &nodes[i];
        let (word, style) = role(node, scene.theme);
        let term = node.term.map_or(String::new(), |term| format!("term {term}"));
        let messages = match (&pair.now.protocol, pair.messages_of(i)) {
            (Some(_), messages) => format!("{:>5} msg/s", rate(messages)),
            (None, _) => String::new(),
        };
        let name_style =
            if node.role == RoleSeen::Leader { scene.theme.strong() } else { Style::new() };
        Line::from(vec![
            Span::styled(format!("{:<names$} ", cut(&node.name, names)), name_style),
            Span::styled(format!("{:<10}", cut(&word, 10)), style),
            format!("{:<9}", cut(&term, 9)).into(),
            messages.into(),
        ])
    };
    rows.map(row).collect()
}

/// All nodes in as few lines as may be.
pub(super) fn strip<'a>(pair: &Pair<'_>, scene: &Scene<'_>, width: u16) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let (mut line, mut used) = (Vec::new(), 0);
    for node in &pair.now.nodes {
        let (word, style) = role(node, scene.theme);
        let name = cut(&node.name, 12);
        let term = node.term.map_or(String::new(), |term| format!(" {term}"));
        let long = name.chars().count() + word.chars().count() + term.len() + 4;
        if used + long > usize::from(width) && used > 0 {
            lines.push(Line::from(std::mem::take(&mut line)));
            used = 0;
        }
        used += long;
        line.push(format!("{name} ").into());
        line.push(Span::styled(format!("{word}{term}   "), style));
    }
    lines.push(Line::from(line));
    lines
}

/// A row for each kind of message.
pub(super) fn messages<'a>(
    pair: &Pair<'_>,
    scene: &Scene<'_>,
    (width, height): (usize, usize),
) -> Vec<Line<'a>> {
    let seen = &pair.now.messages;
    if pair.now.protocol.is_none() {
        let words = "the cluster names no protocol: messages are not read";
        return vec![Line::styled(cut(words, width), scene.theme.faint())];
    }
    if seen.kinds.is_empty() {
        return vec![Line::styled("none was heard yet", scene.theme.faint())];
    }
    let words = width.saturating_sub(16);
    let height = height.saturating_sub(usize::from(seen.missed > 0));
    let rows = from_row(scene.view.down.1, seen.kinds.len(), height);
    let row = |i: usize| {
        let kind = &seen.kinds[i];
        Line::from(vec![
            format!("{:<words$}", cut(&kind.kind, words)).into(),
            format!("{:>7}/s", rate(pair.messages(&kind.kind))).into(),
            Span::styled(format!("{:>7}", count(kind.count)), scene.theme.faint()),
        ])
    };
    let mut lines: Vec<Line<'a>> = rows.map(row).collect();
    if seen.missed > 0 {
        let words = format!("{} were not read: raftq is too slow", count(seen.missed));
        lines.push(Line::styled(cut(&words, width), scene.theme.bad()));
    }
    lines
}
