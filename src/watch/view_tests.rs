//! What keys do.

use super::*;
use crate::run::snapshot::{KindSeen, NodeSeen, RulesSeen};

fn press(view: &mut View, code: KeyCode, look: &Snapshot) -> Deed {
    view.key(KeyEvent::new(code, KeyModifiers::NONE), Some(look))
}

fn rule(i: usize, state: &str, switched: &str) -> RuleSeen {
    RuleSeen {
        name: format!("rule {i}"),
        kind: "packets".into(),
        state: state.into(),
        switched: switched.into(),
        ..RuleSeen::default()
    }
}

/// As the API lists rules.
fn look(total: usize, from: usize) -> Snapshot {
    let list = (from..total.min(from + RULES_MAX)).map(|i| rule(i, "waiting", "auto")).collect();
    Snapshot {
        nodes: (1..=3).map(|i| NodeSeen { name: format!("n{i}"), ..NodeSeen::default() }).collect(),
        rules: RulesSeen { total, active: 0, from, list },
        ..Snapshot::default()
    }
}

#[test]
fn space_switches_what_acts_off_and_what_does_not_on() {
    let mut look = look(3, 0);
    look.rules.list[1] = rule(1, "active", "auto");
    // It is on its way, or was switched on and is over.
    look.rules.list[2] = rule(2, "ended", "on");
    let mut view = View::default();
    let on = |i: usize| Deed::Switch(format!("rule {i}"), To::On);
    assert_eq!(press(&mut view, KeyCode::Char(' '), &look), on(0));
    press(&mut view, KeyCode::Down, &look);
    let off = Deed::Switch("rule 1".into(), To::Off);
    assert_eq!(press(&mut view, KeyCode::Enter, &look), off);
    let auto = Deed::Switch("rule 1".into(), To::Auto);
    assert_eq!(press(&mut view, KeyCode::Char('a'), &look), auto);
    assert!(matches!(&view.said, Some((Tone::Waits, words)) if words.contains("rule 1")));
    press(&mut view, KeyCode::Char('j'), &look);
    assert_eq!(press(&mut view, KeyCode::Char(' '), &look), on(2));
    // Below the last there is nothing, and without rules nothing can be switched.
    press(&mut view, KeyCode::Down, &look);
    assert_eq!(view.rule, 2);
    let none = Snapshot::default();
    assert_eq!(press(&mut view, KeyCode::Char(' '), &none), Deed::None);
    assert!(matches!(view.said, Some((Tone::Refused, _))));
}

#[test]
fn ten_thousand_rules_are_asked_for_as_they_are_reached() {
    let mut view = View::default();
    let mut seen = look(10_000, 0);
    let mut asked = 0;
    for _ in 0..9_999 {
        if press(&mut view, KeyCode::Down, &seen) == Deed::Look {
            asked += 1;
            seen = look(10_000, view.rules_from);
        }
        assert!(view.chosen(&seen).is_some(), "rule {} is not at hand", view.rule);
    }
    assert_eq!(view.rule, 9_999);
    assert!((50..400).contains(&asked), "{asked} looks");
    assert_eq!(press(&mut view, KeyCode::Home, &seen), Deed::Look);
    assert_eq!((view.rule, view.rules_from), (0, 0));
    // Not at hand until the next look is there: then nothing is switched.
    assert_eq!(press(&mut view, KeyCode::Char(' '), &seen), Deed::None);
    // Fewer rules are in force: the choice goes with them.
    view.rule = 9_000;
    view.fit(&look(5, 0));
    assert_eq!(view.rule, 4);
}

#[test]
fn keys_go_to_the_pane_that_has_them() {
    let mut seen = look(9, 0);
    seen.messages.kinds = (0..4).map(|i| KindSeen { kind: i.to_string(), count: 1 }).collect();
    let mut view = View::default();
    for pane in Pane::ALL {
        assert_eq!(view.focus, pane);
        press(&mut view, KeyCode::Char('G'), &seen);
        press(&mut view, KeyCode::Right, &seen);
        press(&mut view, KeyCode::Tab, &seen);
    }
    assert_eq!((view.rule, view.links, view.down), (8, (2, 1), (2, 3)));
    assert_eq!(view.focus, Pane::Rules);
    press(&mut view, KeyCode::BackTab, &seen);
    assert_eq!(view.focus, Pane::Events);
    let measure = view.measure;
    for _ in 0..5 {
        press(&mut view, KeyCode::Char('m'), &seen);
    }
    assert_eq!(view.measure, measure);
}

#[test]
fn every_way_out_leaves() {
    let seen = look(1, 0);
    let mut view = View::default();
    assert_eq!(press(&mut view, KeyCode::Char('q'), &seen), Deed::Leave);
    let held = |c: char| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    assert_eq!(view.key(held('c'), None), Deed::Leave);
    assert_eq!(view.key(held('z'), None), Deed::Suspend);
    press(&mut view, KeyCode::Char('?'), &seen);
    assert!(view.help);
    // Any key puts the help away, and does nothing else.
    assert_eq!(press(&mut view, KeyCode::Char(' '), &seen), Deed::None);
    assert!(!view.help);
    view.own = true;
    assert_eq!(view.key(held('z'), None), Deed::None);
    view.source = Source::Over("raftq has ended".into());
    assert_eq!(press(&mut view, KeyCode::Down, &seen), Deed::Leave);
}
