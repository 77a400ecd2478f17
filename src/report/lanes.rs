//! What nodes were, over time: their processes' states, and their roles. Pure.

use super::events::Event;
use super::said::Role;
use super::story::{Micros, NodeLane, RoleSpan, StateSpan};
use crate::run::facts::{Fact, NodeIs, RoleIs};
use crate::run::recorder::PROCESSES;

/// Spans of states and of roles that a lane gets.
const SPANS_MAX: usize = 5_000;

/// How long ago something may have been ordered to be why a process changed.
const ORDERED: Micros = 30_000_000;

/// What lanes are made of.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    /// In order of time.
    pub(super) events: &'a [Event],
    /// The nodes' names.
    pub(super) nodes: &'a [String],
    /// What each was by its own words on the wire; empty where nothing was heard.
    pub(super) heard: &'a [Vec<(Micros, Role)>],
    /// When the first and the last message were seen.
    pub(super) span: Option<(Micros, Micros)>,
    /// When each spoke first on the wire after its starts.
    pub(super) alive: &'a [Vec<Micros>],
    /// When all nodes were up first; 0 of a cluster that ran before.
    pub(super) started: Micros,
    /// The end.
    pub(super) length: Micros,
}

/// A lane for each node.
pub(super) fn of(sources: &Sources<'_>) -> Vec<NodeLane> {
    let lane = |(i, name): (usize, &String)| {
        let states = states(sources, i);
        let roles = roles(sources, i, &states);
        NodeLane { name: name.clone(), roles, states }
    };
    sources.nodes.iter().enumerate().map(lane).collect()
}

/// The states of one node.
fn states(sources: &Sources<'_>, node: usize) -> Vec<StateSpan> {
    let name = &sources.nodes[node];
    let mut changes: Vec<(Micros, NodeIs, String)> = Vec::new();
    if sources.started > 0 {
        changes.push((0, NodeIs::Starting, "the cluster is started".into()));
    }
    changes.push((sources.started, NodeIs::Up, String::new()));
    let ours = || sources.events.iter().filter(|event| event.nodes.contains(name));
    let by_record = ours().any(|event| matches!(event.fact, Some(Fact::State { .. })));
    for event in ours() {
        let state = match &event.fact {
            Some(Fact::State { state }) => *state,
            // Of a cluster that raftq did not start nothing else is known.
            Some(Fact::Done { action, undo, failed: false }) if !by_record => {
                let Some(state) = done(action, *undo) else { continue };
                state
            }
            _ => continue,
        };
        changes.push((event.at, state, why(sources.events, event, name)));
        if state == NodeIs::Starting {
            let up = first_word(sources, node, event.at).unwrap_or(event.at);
            changes.push((up, NodeIs::Up, String::new()));
        }
    }
    changes.sort_by_key(|(at, ..)| *at);
    let spans = changes.into_iter().take(SPANS_MAX).map(|(from, state, why)| StateSpan {
        from,
        to: 0,
        state: state.word(),
        why,
    });
    closed(spans.collect(), sources.length, |span| (&mut span.from, &mut span.to))
}

/// What a fault makes of a node.
fn done(action: &str, undo: bool) -> Option<NodeIs> {
    Some(match (action, undo) {
        ("kill" | "crash" | "stop", false) => NodeIs::Down,
        ("pause", false) => NodeIs::Paused,
        ("remove", false) => NodeIs::Removed,
        ("resume" | "start", _) | (_, true) => NodeIs::Up,
        _ => return None,
    })
}

/// When a node was heard first that was started then.
fn first_word(sources: &Sources<'_>, node: usize, started: Micros) -> Option<Micros> {
    let name = &sources.nodes[node];
    let says = |event: &&Event| {
        let answers = matches!(event.fact, Some(Fact::Role { role, .. }) if role != RoleIs::Silent);
        answers && event.at >= started && event.nodes.contains(name)
    };
    let asked = sources.events.iter().find(says).map(|event| event.at);
    let alive = sources.alive.get(node).into_iter().flatten();
    let heard = alive.copied().find(|at| *at >= started);
    [asked, heard].into_iter().flatten().min()
}

/// Why a process changed: how, and by which rule.
fn why(events: &[Event], event: &Event, name: &str) -> String {
    let how = event.what.split_once(": ").map_or(event.what.as_str(), |(_, how)| how);
    let until = events.partition_point(|other| other.at <= event.at);
    let ordered = events[..until].iter().rev().take_while(|one| one.at >= event.at - ORDERED);
    for one in ordered.filter(|one| one.rule != PROCESSES && one.nodes.iter().any(|n| n == name)) {
        match one.fact {
            Some(Fact::Ordered { .. }) => return format!("\"{}\": {how}", one.rule),
            // What was ordered is done: it is not why.
            Some(Fact::Done { .. }) if one.at < event.at => break,
            _ => {}
        }
    }
    how.to_owned()
}

/// What is known of a node's role from some moment on.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Its process is gone.
    Gone,
    /// There is one again.
    Back,
    /// It said so on the wire.
    Heard(Role),
    /// It said so when it was asked.
    Asked(RoleIs, Option<u64>),
}

/// The roles of one node: what it said last, to the others or when it was asked. Whoever does not
/// answer when asked may still speak on the wire, as long as that is heard.
fn roles(sources: &Sources<'_>, node: usize, states: &[StateSpan]) -> Vec<RoleSpan> {
    let mut words: Vec<(Micros, Word)> = states
        .iter()
        .map(|state| {
            let runs = matches!(state.state, "up" | "paused" | "starting");
            (state.from, if runs { Word::Back } else { Word::Gone })
        })
        .collect();
    let heard = sources.heard.get(node).into_iter().flatten();
    words.extend(heard.map(|(at, role)| (*at, Word::Heard(*role))));
    for event in sources.events {
        if let Some(Fact::Role { role, term }) = event.fact
            && event.nodes.contains(&sources.nodes[node])
        {
            words.push((event.at, Word::Asked(role, term)));
        }
    }
    // Of one moment the process comes first, and what was heard before what was asked.
    words.sort_by_key(|(at, _)| *at);
    let is_heard = |at| sources.span.is_some_and(|(first, last)| first <= at && at <= last);
    let mut spans = vec![RoleSpan { from: 0, to: 0, role: "unknown", term: None }];
    let (mut now, mut runs) = (Role::Unknown, true);
    for (at, word) in words {
        now = match word {
            Word::Gone => Role::Unknown,
            _ if !runs && !matches!(word, Word::Back) => continue,
            Word::Back => now,
            Word::Heard(role) => role,
            Word::Asked(role, term) => answered(now, role, term, is_heard(at)),
        };
        runs = !matches!(word, Word::Gone);
        let (role, term) = now.told();
        let is_new = spans.last().is_none_or(|last| (last.role, last.term) != (role, term));
        if is_new && spans.len() < SPANS_MAX {
            spans.push(RoleSpan { from: at, to: 0, role, term });
        }
    }
    closed(spans, sources.length, |span| (&mut span.from, &mut span.to))
}

/// What a node is after this answer, which may be older than what it said on the wire.
fn answered(now: Role, role: RoleIs, term: Option<u64>, is_heard: bool) -> Role {
    if term.zip(now.term()).is_some_and(|(term, known)| term < known) {
        return now;
    }
    match (role, now) {
        (RoleIs::Leader, _) => Role::Leader(term),
        (RoleIs::Follower, _) => Role::Follower(term),
        (RoleIs::Leaderless, Role::Candidate(_)) => now,
        (RoleIs::Leaderless, _) => Role::Leaderless(term),
        (RoleIs::Silent, _) if is_heard => now,
        (RoleIs::Silent, _) => Role::Unknown,
    }
}

/// Each lasts until the next one begins, the last until the end; those without length go.
fn closed<T>(
    mut spans: Vec<T>,
    length: Micros,
    ends: impl Fn(&mut T) -> (&mut Micros, &mut Micros),
) -> Vec<T> {
    let mut next = length;
    for span in spans.iter_mut().rev() {
        let (from, to) = ends(span);
        *from = (*from).clamp(0, length);
        *to = next;
        next = *from;
    }
    spans.retain_mut(|span| {
        let (from, to) = ends(span);
        from < to
    });
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: Micros, rule: &str, what: &str, fact: Fact) -> Event {
        let nodes = vec!["n1".to_owned()];
        Event { at, rule: rule.into(), what: what.into(), nodes, fact: Some(fact) }
    }

    fn state(at: Micros, state: NodeIs, how: &str) -> Event {
        event(at, PROCESSES, &format!("n1 is {}: {how}", state.word()), Fact::State { state })
    }

    fn role(at: Micros, role: RoleIs, term: Option<u64>) -> Event {
        event(at, "asked", "", Fact::Role { role, term })
    }

    fn lane(events: &[Event], heard: Vec<(Micros, Role)>, alive: Vec<Micros>) -> NodeLane {
        let span = heard.first().map(|(first, _)| (*first, 800));
        let sources = Sources {
            events,
            nodes: &["n1".to_owned()],
            heard: &[heard],
            span,
            alive: &[alive],
            started: 100,
            length: 1_000,
        };
        of(&sources).remove(0)
    }

    type Told<'a> = (Vec<(Micros, &'a str)>, Vec<(Micros, &'a str, Option<u64>)>);

    fn told(lane: &NodeLane) -> Told<'_> {
        for spans in lane.states.windows(2) {
            assert_eq!(spans[0].to, spans[1].from, "without gaps");
        }
        for spans in lane.roles.windows(2) {
            assert_eq!(spans[0].to, spans[1].from, "without gaps");
        }
        let states = lane.states.iter().map(|span| (span.from, span.state)).collect();
        (states, lane.roles.iter().map(|span| (span.from, span.role, span.term)).collect())
    }

    #[test]
    fn a_killed_leader_is_down_starts_and_follows() {
        let order = Fact::Ordered { action: "kill".into(), undo: false };
        let done = Fact::Done { action: "kill".into(), undo: false, failed: false };
        let events = [
            role(60, RoleIs::Follower, Some(1)),
            event(399, "kill the leader", "kill n1", order),
            state(400, NodeIs::Down, "killed"),
            event(401, "kill the leader", "n1 kill done", done),
            role(420, RoleIs::Silent, None),
            state(500, NodeIs::Starting, "started again"),
            role(560, RoleIs::Follower, Some(3)),
            role(900, RoleIs::Leader, Some(4)),
        ];
        let heard = vec![
            (200, Role::Leader(Some(2))),
            (500, Role::Unknown),
            (540, Role::Follower(Some(3))),
        ];
        let lane = lane(&events, heard, vec![530]);
        let (states, roles) = told(&lane);
        assert_eq!(
            states,
            [(0, "starting"), (100, "up"), (400, "down"), (500, "starting"), (530, "up")]
        );
        assert_eq!(lane.states[2].why, "\"kill the leader\": killed");
        assert_eq!(lane.states[3].why, "started again");
        assert_eq!(
            roles,
            [
                (0, "unknown", None),
                (60, "follower", Some(1)),
                (200, "leader", Some(2)),
                (400, "unknown", None),
                (540, "follower", Some(3)),
                (900, "leader", Some(4)),
            ]
        );
        assert_eq!(lane.roles.last().map(|span| span.to), Some(1_000));
    }

    #[test]
    fn of_a_cluster_that_raftq_did_not_start_faults_tell_the_states() {
        let done = |undo| Fact::Done { action: "pause".into(), undo, failed: false };
        let events = [
            event(300, "still", "n1 pause done", done(false)),
            event(500, "still", "n1 resumed", done(true)),
        ];
        let lane = lane(&events, Vec::new(), Vec::new());
        let (states, roles) = told(&lane);
        assert_eq!(states[1..], [(100, "up"), (300, "paused"), (500, "up")]);
        assert_eq!(roles, [(0, "unknown", None)]);
    }

    #[test]
    fn what_a_node_said_last_counts_unless_it_is_of_an_earlier_term() {
        let events = [
            // Cut off, and stepped down: on the wire it has said nothing since.
            role(300, RoleIs::Leaderless, Some(2)),
            role(420, RoleIs::Silent, None),
            role(450, RoleIs::Leader, Some(2)),
            role(900, RoleIs::Silent, None),
        ];
        let heard = vec![(200, Role::Leader(Some(2))), (430, Role::Follower(Some(3)))];
        let lane = lane(&events, heard, Vec::new());
        let (_, roles) = told(&lane);
        let expected = [
            (0, "unknown", None),
            (200, "leader", Some(2)),
            (300, "unknown", Some(2)),
            (430, "follower", Some(3)),
            (900, "unknown", None),
        ];
        assert_eq!(roles, expected);
    }

    #[test]
    fn who_starts_without_being_heard_is_up_at_once() {
        let events = [state(400, NodeIs::Down, "killed"), state(500, NodeIs::Starting, "again")];
        let (lane, expected) = (lane(&events, Vec::new(), Vec::new()), (500, "up"));
        let (states, _) = told(&lane);
        assert_eq!(states.last(), Some(&expected));
    }
}
