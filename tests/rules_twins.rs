//! The compiler's two clever judgements against stupid ones: every packet at every time is
//! walked through the rules one by one.
//!
//! Rules that are called pre-empted must never be reached, and delays are refused exactly if
//! some packet can be held for longer than the queue allows.

use proptest::collection::vec;
use proptest::prelude::*;
use raftq::packet::{LinkId, NodeId, Proto};
use raftq::rules::table::{Action, Rule};
use raftq::rules::{self, Table};
use raftq::time::Nanos;
use std::collections::HashSet;
use std::fmt::Write as _;

/// What the queue holds at 20,000 packets a second, in nanoseconds of delay.
const LONGEST: u64 = 61_440 * 1_000_000_000 / 20_000;

fn head(max_rate: u32) -> String {
    let nodes = "{ n1: 1.1.1.1:1, n2: 1.1.1.2:1, n3: 1.1.1.3:1 }";
    format!("cluster: {{ max_rate: {max_rate}, nodes: {nodes} }}\nrules:\n")
}

/// One rule as text; `ports` also for rules that end the walk.
fn rule(ports: bool) -> impl Strategy<Value = String> {
    let set = || prop_oneof![Just("n1"), Just("n2"), Just("any")];
    let action = prop_oneof![
        Just("accept"),
        Just("{ drop: { what: packets } }"),
        Just("{ delay: 1s }"),
        Just("{ delay: 1200ms }"),
        Just("{ delay: 2s }"),
    ];
    let filter = (0..3_u8, 0..3_u8);
    let window = (0..4_u8, 0..4_u8, 0..3_u8, 0..3_u8);
    (set(), set(), action, filter, window).prop_map(move |(from, to, action, filter, window)| {
        // The same node on both sides would be no rule.
        let to = if from == to { "n3" } else { to };
        let mut text = format!("  - {{ from: {from}, to: {to}, do: {action}, at: {}s", window.0);
        let proto = ["", "proto: tcp, ", "proto: udp, "][usize::from(filter.0)];
        let ends = !action.contains("delay");
        let port = if ends && !ports { 0 } else { filter.1 };
        let port = ["", "port: 80", "port: 81"][usize::from(port)];
        let _ = write!(text, ", where: {{ {proto}{port} }}");
        if window.1 > 0 {
            let _ = write!(text, ", for: {}s", window.1);
            if window.2 > 0 {
                let _ = write!(text, ", every: {}s", window.1 + window.2);
                if window.3 > 0 {
                    let _ = write!(text, ", times: {}", window.3);
                }
            }
        }
        text + " }\n"
    })
}

fn matches(rule: &Rule, link: LinkId, time: Nanos, proto: Proto, ports: [u16; 2]) -> bool {
    let window = &rule.window;
    let mut count = 0;
    let mut start = window.at;
    let active = loop {
        if time < start || count == window.times.unwrap_or(u32::MAX) {
            break false;
        }
        if window.lasts.is_none_or(|lasts| time < start + lasts) {
            break true;
        }
        let Some(every) = window.every else { break false };
        start = start + every;
        count += 1;
    };
    active
        && rule.links.contains(&link)
        && rule.filter.proto.is_none_or(|only| only == proto)
        && rule.filter.port.is_none_or(|port| ports.contains(&port))
}

/// Walks every packet; returns the rules that some packet reached, and the longest hold.
fn walk_all(table: &Table) -> (HashSet<String>, u64) {
    let mut reached = HashSet::new();
    let mut longest = 0;
    for half_seconds in 0..60 {
        let time = Nanos::from_millis(500 * half_seconds);
        for link in (0..9).map(LinkId).filter(|link| link.ends(3).0 != link.ends(3).1) {
            for proto in [Proto::Tcp, Proto::Udp] {
                for ports in [[9, 9], [80, 9], [9, 81], [80, 81]] {
                    let mut held = 0;
                    for rule in &table.rules {
                        if !matches(rule, link, time, proto, ports) {
                            continue;
                        }
                        reached.insert(rule.name.clone());
                        match rule.actions[0] {
                            Action::Delay(delay) => held += delay.by.0,
                            Action::Accept
                            | Action::Drop(_)
                            | Action::Reset
                            | Action::Stall { .. }
                            | Action::Reject(_)
                            | Action::Hold(_) => break,
                            // It takes one packet, and the others go on.
                            _ => {}
                        }
                    }
                    longest = longest.max(held);
                }
            }
        }
    }
    (reached, longest)
}

fn compile(rules: &[String], max_rate: u32) -> Result<rules::Compiled, rules::Report> {
    rules::compile("twin.yaml", &(head(max_rate) + &rules.concat()), &[])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_pre_empted_rule_is_never_reached(rules in vec(rule(true), 1..8)) {
        let compiled = compile(&rules, 1).expect("any delay fits one packet a second");
        let (reached, _) = walk_all(&compiled.table);
        for warning in compiled.warnings.warnings() {
            let name = warning.rule.as_deref().expect("it is about a rule");
            prop_assert!(!reached.contains(name), "{name} of {rules:#?}");
        }
    }

    #[test]
    fn delays_are_refused_exactly_if_they_are_too_long(rules in vec(rule(false), 1..8)) {
        let table = compile(&rules, 1).expect("any delay fits one packet a second").table;
        let (_, longest) = walk_all(&table);
        let refused = compile(&rules, 20_000).is_err();
        prop_assert_eq!(refused, longest > LONGEST, "{} in {:#?}", longest, rules);
    }
}

#[test]
fn links_are_numbered_as_the_walk_assumes() {
    assert_eq!(LinkId::new(NodeId(2), NodeId(1), 3), LinkId(7));
}
