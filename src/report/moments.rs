//! Whatever is a point in time, and of whose node a reader wants to see the log. Pure.

use super::clocks::signed;
use super::events::Event;
use super::logs::Wanted;
use super::story::{AlarmInfo, ElectionInfo, Micros, MomentInfo};
use crate::run::disturb::HEARD;
use crate::run::facts::{Fact, RoleIs};
use crate::run::recorder::{ASKED, PROCESSES, RUN};

/// Moments that a page gets.
const MOMENTS_MAX: usize = 5_000;

/// The points in time among events, and how many were left out. `heard` is while the wire was
/// listened to: then who leads is told from there, else by whoever says so of himself.
pub(super) fn of(
    events: &[Event],
    nodes: &[String],
    heard: Option<(Micros, Micros)>,
) -> (Vec<MomentInfo>, u64) {
    let mut moments = Vec::new();
    let mut left_out = 0;
    let is_heard = |at| heard.is_some_and(|(first, last)| first <= at && at <= last);
    for event in events {
        let Some(kind) = kind(event, is_heard(event.at)) else { continue };
        if moments.len() == MOMENTS_MAX {
            left_out += 1;
            continue;
        }
        let text = match event.rule.as_str() {
            HEARD | ASKED | PROCESSES | RUN | "invariants" => event.what.clone(),
            rule => format!("\"{rule}\" {}", event.what),
        };
        let node = event.nodes.first().and_then(|name| nodes.iter().position(|one| one == name));
        let node = node.map_or(-1, signed);
        moments.push(MomentInfo { at: event.at, kind, node, text });
    }
    (moments, left_out)
}

/// What kind of moment an event is; none where the page shows it as something else.
fn kind(event: &Event, is_heard: bool) -> Option<&'static str> {
    let what = event.what.as_str();
    match (&event.fact, event.rule.as_str()) {
        (_, "invariants") => Some("alarm"),
        (Some(Fact::Done { .. }), _) => Some("done"),
        (Some(Fact::Role { role: RoleIs::Leader, .. }), _) if !is_heard => Some("leader"),
        (None, HEARD) if what.contains(" leads ") => Some("leader"),
        // Bands, lanes and phases of the page, and elections.
        (Some(_), _) | (None, HEARD) => None,
        (None, PROCESSES) => Some("died"),
        (None, _) if what.starts_with("switched ") || what.starts_with("replaced by") => {
            Some("switched")
        }
        (None, _) if matches!(what, "active" | "ended") => None,
        (None, _) => Some("told"),
    }
}

/// Whose logs a reader wants to see, and when, the most telling first at each moment: deaths, what
/// was done to whom, alarms, and who led before and after an election.
pub(super) fn wanted_logs(
    events: &[Event],
    nodes: &[String],
    elections: &[ElectionInfo],
    alarms: &[AlarmInfo],
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for event in events {
        let is_told = match &event.fact {
            Some(Fact::Ordered { .. }) => true,
            Some(_) => false,
            None => event.rule == PROCESSES,
        };
        let named = |name: &String| nodes.iter().position(|one| one == name);
        for node in event.nodes.iter().filter_map(named).filter(|_| is_told) {
            let why = match event.rule.as_str() {
                PROCESSES => event.what.lines().next().unwrap_or_default().to_owned(),
                rule => format!("\"{rule}\" {}", event.what),
            };
            let rank = u8::from(event.rule != PROCESSES);
            wanted.push(Wanted { node, at: event.at, rank, why });
        }
    }
    for alarm in alarms {
        let why = format!("violated: {}", alarm.said);
        let one = |node: &usize| Wanted { node: *node, at: alarm.at, rank: 0, why: why.clone() };
        wanted.extend(alarm.nodes.iter().map(one));
    }
    let mut leads: Option<usize> = None;
    for election in elections {
        let won = usize::try_from(election.leader).ok();
        let at = election.at + election.took.max(0);
        let term = election.term;
        let why = format!("led in term {term}");
        wanted.extend(won.map(|node| Wanted { node, at, rank: 2, why }));
        let lost = leads.filter(|former| Some(*former) != won);
        wanted.extend(lost.map(|node| {
            let why = format!("had led before term {term}");
            Wanted { node, at: election.at, rank: 2, why }
        }));
        leads = won.or(leads);
    }
    wanted.sort_by_key(|one: &Wanted| one.at);
    wanted
}

/// The end of what is known to have happened.
pub(super) fn last(events: &[Event]) -> Micros {
    events.last().map_or(0, |event| event.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: Micros, rule: &str, what: &str, node: &str, fact: Option<Fact>) -> Event {
        let nodes = if node.is_empty() { Vec::new() } else { vec![node.to_owned()] };
        Event { at, rule: rule.into(), what: what.into(), nodes, fact }
    }

    #[test]
    fn moments_are_what_is_shown_as_nothing_else() {
        let done = Fact::Done { action: "kill".into(), undo: false, failed: false };
        let phase = Fact::Phase { phase: "faults".into() };
        let leads = Some(Fact::Role { role: RoleIs::Leader, term: Some(2) });
        let events = [
            event(0, ASKED, "n1 says that it leads in term 2", "n1", leads.clone()),
            event(1, RUN, "faults", "", Some(phase)),
            event(2, HEARD, "n2 leads in term 3", "n2", None),
            event(3, HEARD, "n1 stands for term 4", "n1", None),
            event(3, ASKED, "n2 says that it leads in term 3", "n2", leads),
            event(4, "cut", "active", "", None),
            event(5, "cut", "waits: nobody leads", "", None),
            event(6, "gone", "n2 kill done", "n2", Some(done)),
            event(7, "cut", "switched on by uid 0", "", None),
            event(8, PROCESSES, "n1 ended by itself: exit code 1", "n1", None),
            event(9, "invariants", "two leaders in term 3", "", None),
        ];
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let (moments, left_out) = of(&events, &nodes, Some((2, 8)));
        let told: Vec<_> = moments.iter().map(|one| (one.at, one.kind, one.node)).collect();
        let expected = [
            (0, "leader", 0),
            (2, "leader", 1),
            (5, "told", -1),
            (6, "done", 1),
            (7, "switched", -1),
            (8, "died", 0),
            (9, "alarm", -1),
        ];
        assert_eq!((told.as_slice(), left_out), (&expected[..], 0));
        assert_eq!(moments[3].text, "\"gone\" n2 kill done");
        assert_eq!(moments[1].text, "n2 leads in term 3");
    }

    #[test]
    fn logs_are_wanted_of_whom_something_was_done_to_and_of_former_and_new_leaders() {
        let order = Fact::Ordered { action: "kill".into(), undo: false };
        let events = [event(50, "gone", "kill n2", "n2", Some(order))];
        let nodes = ["n1".to_owned(), "n2".to_owned()];
        let election = |at, term, leader| ElectionInfo {
            at,
            term,
            leader,
            took: 5,
            ..ElectionInfo::default()
        };
        let elections = [election(10, 2, 1), election(90, 3, -1), election(100, 4, 0)];
        let wanted = wanted_logs(&events, &nodes, &elections, &[]);
        let told: Vec<_> = wanted.iter().map(|one| (one.at, one.node)).collect();
        assert_eq!(told, [(15, 1), (50, 1), (90, 1), (100, 1), (105, 0)]);
        assert_eq!(wanted[1].why, "\"gone\" kill n2");
    }
}
