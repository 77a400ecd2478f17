//! The lines at the top and at the bottom.

use super::Scene;
use super::text::{count, cut, moment, rate};
use crate::watch::pair::Pair;
use crate::watch::view::{Source, Tone};
use ratatui::text::{Line, Span, Text};

/// Which raftq this is, and how it goes.
pub(super) fn head<'a>(pair: &Pair<'_>, scene: &Scene<'_>, width: u16) -> Text<'a> {
    let (look, theme, width) = (pair.now, scene.theme, usize::from(width));
    let speaks = look.protocol.as_deref().map_or("no protocol", |protocol| protocol);
    let own = if scene.view.own { ", attached by this view" } else { "" };
    let mut who = format!(
        "raftq {}  run {} (pid {}{own})  {} nodes, {speaks}",
        look.version,
        look.run,
        look.pid,
        look.nodes.len(),
    );
    let ends = look.ends_in_s.map_or(String::new(), |left| format!(", ends in {}", moment(left)));
    let clock = format!("{}{ends}", moment(look.t_s));
    let gap = width.saturating_sub(clock.chars().count());
    who = cut(&who, gap.saturating_sub(2));
    let first =
        Line::from(vec![Span::styled(format!("{who:<gap$}"), theme.strong()), clock.into()]);
    let mut second = match &look.leader {
        Some(leader) => {
            let term = leader.term.map_or(String::new(), |term| format!(" in term {term}"));
            vec![Span::styled(format!("{} leads{term}", leader.node), theme.good())]
        }
        None => vec![Span::styled("nobody is known to lead", theme.late())],
    };
    let totals = &look.totals;
    second.push(format!("  {} packets/s", rate(pair.packets())).into());
    second.push(format!("  {} held", count(totals.held)).into());
    for (number, what) in [
        (totals.lost, "lost"),
        (totals.overflow, "overflowed"),
        (totals.unattributed, "unattributed"),
    ] {
        if number > 0 {
            second.push(Span::styled(format!("  {} {what}", count(number)), theme.bad()));
        } else if what == "lost" {
            second.push("  0 lost".into());
        }
    }
    let rules = &look.rules;
    let active = format!("  {} of {} rules active", rules.active, rules.total);
    second.push(if rules.active > 0 { Span::styled(active, theme.late()) } else { active.into() });
    if scene.view.paused {
        second.push(Span::styled("  HELD: p goes on", theme.chosen()));
    }
    if let Source::Late(why) = &scene.view.source {
        second = vec![Span::styled(cut(why, width), theme.bad())];
    }
    Text::from(vec![first, Line::from(second)])
}

/// What was said last, or which keys there are.
pub(super) fn foot<'a>(scene: &Scene<'_>, width: u16) -> Line<'a> {
    let (theme, width) = (scene.theme, usize::from(width));
    if let Source::Over(why) = &scene.view.source {
        return Line::styled(cut(&format!("{why}; any key leaves"), width), theme.chosen());
    }
    if let Some((tone, words)) = &scene.view.said {
        let style = match tone {
            Tone::Waits => theme.late(),
            Tone::Done => theme.good(),
            Tone::Refused => theme.bad(),
        };
        return Line::styled(cut(words, width), style);
    }
    let leaves = if scene.view.own { "q detaches" } else { "q leaves" };
    let keys = format!(
        "{leaves}  space switches a rule  a auto  Tab pane  z zoom  m cells  p hold  ? keys"
    );
    Line::styled(cut(&keys, width), theme.faint())
}
