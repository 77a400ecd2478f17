//! Frames as text: `tests/golden/watch/` has one file a scene. `UPDATE_GOLDEN=1` writes what is
//! drawn now; read the difference before you keep it.

use super::*;
use crate::run::snapshot::{
    EventSeen, FaultSeen, KindSeen, LeaderSeen, LinkSeen, NodeSeen, RULES_MAX, RoleSeen,
    RoundTripSeen, RuleSeen, RulesSeen, Snapshot,
};
use crate::watch::view::{Measure, Tone};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A cluster of so many nodes, of which the second leads, after so many seconds.
#[expect(clippy::cast_sign_loss, reason = "counts of a look are not below zero")]
fn rounded(count: f64) -> u64 {
    count.round() as u64
}

fn look(nodes: usize, t_s: f64) -> Snapshot {
    let total = |rate: f64| rounded(rate * t_s);
    let role = |i| if i == 1 { RoleSeen::Leader } else { RoleSeen::Follower };
    let node = |i: usize| NodeSeen {
        name: format!("n{}", i + 1),
        role: role(i),
        term: Some(4),
        messages: total(if i == 1 { 40.0 * (nodes - 1) as f64 } else { 20.0 }),
        faults: Vec::new(),
    };
    let kinds = [("append_entries", 62.0), ("append_answer", 60.5), ("heartbeat", 0.4)];
    let kinds = kinds.map(|(kind, rate)| KindSeen { kind: kind.into(), count: total(rate) });
    let mut look = Snapshot {
        run: "5f3a90c1".into(),
        version: "0.1.0".into(),
        pid: 4242,
        t_s,
        protocol: Some("etcd".into()),
        leader: Some(LeaderSeen { node: "n2".into(), term: Some(4) }),
        term: Some(4),
        nodes: (0..nodes).map(node).collect(),
        ..Snapshot::default()
    };
    look.messages.kinds = kinds.to_vec();
    look.totals.packets = total(300.0 * nodes as f64);
    look.totals.held = 3;
    // All talk to the leader, and it to all.
    for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
        if from != to && (from == 1 || to == 1) {
            look.links.push(link(from, to, t_s));
        }
    }
    look.rules = RulesSeen { total: 4, active: 2, from: 0, list: rules(t_s) };
    let event = |n, t_s, rule: &str, what: &str| EventSeen {
        n,
        t_s,
        rule: rule.into(),
        what: what.into(),
        nodes: Vec::new(),
    };
    look.events = vec![
        event(1, 0.012, "wire", "n2 leads in term 3"),
        event(2, 12.5, "cut n1 off", "active"),
        event(3, 14.032, "wire", "n3 stands for term 4"),
        event(4, 14.041, "wire", "n2 leads in term 4"),
        event(5, 22.5, "cut n1 off", "ended"),
        event(6, 61.25, "slow down", "switched on until 91.250 s by uid 0, pid 77"),
        event(7, 62.0, "raftq", "warning: the guardian process was gone; there is a new one"),
    ];
    look
}

fn link(from: usize, to: usize, t_s: f64) -> LinkSeen {
    let total = |rate: f64| rounded(rate * t_s);
    let (dropped, delayed) = match (from, to) {
        (1, 0) => (12.5, 0.0),
        (1, 2) => (0.0, 44.0),
        (2, 1) => (1.5, 7.0),
        _ => (0.0, 0.0),
    };
    LinkSeen {
        from,
        to,
        packets: total(44.0),
        bytes: total(5_230.0),
        dropped: total(dropped),
        trimmed: 0,
        delayed: total(delayed),
        round_trip: (from == 1 || to != 2).then_some(RoundTripSeen {
            rtt_us: if to == 2 { 21_300 } else { 412 },
            varies_us: 80,
            least_us: Some(187),
            connections: 2,
            resent: 0,
        }),
    }
}

fn rules(t_s: f64) -> Vec<RuleSeen> {
    let total = |rate: f64| Some(rounded(rate * t_s));
    let rule = |name: &str, state: &str, switched: &str, does: &str| RuleSeen {
        name: name.into(),
        kind: "packets".into(),
        state: state.into(),
        switched: switched.into(),
        does: vec![does.into()],
        links: vec!["n2 -> n1".into()],
        ..RuleSeen::default()
    };
    vec![
        RuleSeen {
            matched: total(12.5),
            acted: total(12.5),
            ..rule("cut n1 off", "active", "auto", "drop")
        },
        RuleSeen {
            matched: total(51.0),
            acted: total(51.0),
            until_s: Some(91.25),
            links_more: 2,
            ..rule("slow down", "active", "on", "delay 20ms, jitter 2ms")
        },
        RuleSeen {
            matched: Some(0),
            acted: Some(0),
            leaked: Some(3),
            ..rule("a rule with a name that is far too long for its column", "ended", "off", "drop")
        },
        RuleSeen {
            kind: "process".into(),
            links: Vec::new(),
            nodes: vec!["n3".into()],
            ..rule("kill n3", "waiting", "auto", "kill")
        },
    ]
}

fn shown(now: &Snapshot, view: &View, color: bool, size: (u16, u16)) -> Buffer {
    let before = Snapshot { ..look(now.nodes.len(), now.t_s - 1.0) };
    let pair = Some(Pair { now, before: Some(&before) });
    picture(&Scene { pair, view, theme: Theme { color } }, size)
}

fn picture(scene: &Scene<'_>, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, scene)).expect("a frame");
    terminal.backend().buffer().clone()
}

fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    let rows = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.fold(String::new(), |mut all, row| {
        let _ = writeln!(all, "{}", row.trim_end());
        all
    })
}

fn golden(name: &str, buffer: &Buffer) {
    let text = text_of(buffer);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/watch");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(&path, &text).expect("a file");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, text, "{name}: UPDATE_GOLDEN=1 writes what is drawn now");
}

#[test]
fn three_nodes_have_everything_at_once() {
    golden("three-nodes", &shown(&look(3, 80.0), &View::default(), true, (100, 30)));
}

#[test]
fn seven_nodes_have_one_measure_a_cell_where_there_is_no_room_for_all() {
    let mut now = look(7, 80.0);
    now.nodes[4].faults = vec![FaultSeen { rule: "kill n5".into(), action: "kill".into() }];
    now.nodes[5].role = RoleSeen::Candidate;
    let view = View { focus: Pane::Links, measure: Measure::RoundTrip, ..View::default() };
    golden("seven-nodes", &shown(&now, &view, true, (110, 36)));
    // With room they have all.
    golden("seven-nodes-large", &shown(&now, &View::default(), true, (180, 60)));
}

#[test]
fn thirty_nodes_scroll() {
    let now = look(30, 80.0);
    let view = View { focus: Pane::Links, links: (29, 29), down: (29, 0), ..View::default() };
    golden("thirty-nodes", &shown(&now, &view, true, (100, 30)));
}

#[test]
fn a_small_terminal_has_the_most_important_and_a_tiny_one_a_sentence() {
    let now = look(3, 80.0);
    golden("small", &shown(&now, &View::default(), true, LEAST));
    let view = View { focus: Pane::Links, ..View::default() };
    golden("small-links", &shown(&now, &view, true, LEAST));
    golden("tiny", &shown(&now, &View::default(), true, (30, 6)));
    // Whatever the size is, it is drawn.
    for width in (1..130).step_by(16) {
        for height in (1..45).step_by(4) {
            for focus in Pane::ALL {
                let view = View { focus, zoomed: width % 2 == 0, help: true, ..View::default() };
                shown(&now, &view, true, (width, height));
            }
        }
    }
}

#[test]
fn without_colours_it_says_the_same() {
    let now = look(3, 80.0);
    let view =
        View { said: Some((Tone::Done, "\"a\" is on since 3.2 s".into())), ..View::default() };
    let (colored, plain) =
        (shown(&now, &view, true, (100, 30)), shown(&now, &view, false, (100, 30)));
    assert_eq!(text_of(&colored), text_of(&plain));
    let colors = |buffer: &Buffer| {
        buffer
            .content
            .iter()
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colors(&colored) > 100);
    assert_eq!(colors(&plain), 0);
    golden("a-word", &plain);
}

#[test]
fn without_a_protocol_it_says_why_there_are_no_messages() {
    let mut now = look(3, 80.0);
    (now.protocol, now.leader, now.term) = (None, None, None);
    now.messages.kinds.clear();
    now.no_round_trips = Some("no namespace is found that has the addresses of node n3".into());
    now.rules = RulesSeen::default();
    now.events.clear();
    for node in &mut now.nodes {
        (node.role, node.term, node.messages) = (RoleSeen::Unknown, None, 0);
    }
    golden("no-protocol", &shown(&now, &View::default(), true, (100, 30)));
    let view = View { focus: Pane::Messages, zoomed: true, ..View::default() };
    golden("no-protocol-messages", &shown(&now, &view, true, (100, 30)));
}

#[test]
fn ten_thousand_rules_show_those_around_the_chosen_one() {
    let mut now = look(3, 80.0);
    let rule = |i: usize| RuleSeen { name: format!("rule {i}"), ..now.rules.list[0].clone() };
    let list = (5_000..5_000 + RULES_MAX).map(rule).collect();
    now.rules = RulesSeen { total: 10_000, active: 10_000, from: 5_000, list };
    let view = View { rule: 5_100, zoomed: true, ..View::default() };
    golden("many-rules", &shown(&now, &view, true, (100, 24)));
    // Those that are not at hand yet.
    let view = View { rule: 4_996, zoomed: true, ..View::default() };
    golden("many-rules-to-come", &shown(&now, &view, true, (100, 24)));
}

#[test]
fn a_source_that_is_late_or_gone_says_so() {
    let now = look(3, 80.0);
    let late = Source::Late("raftq does not answer; if it is stopped (Ctrl-Z)".into());
    let view = View { source: late, paused: true, ..View::default() };
    let text = text_of(&shown(&now, &view, true, (100, 30)));
    assert!(text.contains("does not answer"), "{text}");
    let over = Source::Over("raftq has ended".into());
    let view = View { source: over.clone(), ..View::default() };
    let text = text_of(&shown(&now, &view, true, (100, 30)));
    assert!(text.contains("raftq has ended; any key leaves"), "{text}");
    let scene = Scene { pair: None, view: &view, theme: Theme { color: true } };
    assert!(text_of(&picture(&scene, (100, 30))).contains("raftq has ended"));
    let first = View::default();
    let scene = Scene { pair: None, view: &first, theme: Theme { color: true } };
    assert!(text_of(&picture(&scene, (100, 30))).contains("waiting for the first look"));
    let view = View { help: true, ..View::default() };
    golden("help", &shown(&now, &view, true, (100, 30)));
}
