//! Every rule file that is shipped compiles without a warning and does what its name says.

use raftq::packet::{LinkId, NodeId};
use raftq::rules::table::{Action, Bounds, Event, Meant, OpenSides, What};
use raftq::rules::{self, Inputs, Roles, SetArg, Source, Table, matrix};
use raftq::time::Nanos;
use raftq::wire::{Kind, Protocol};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

fn shipped(name: &str, sets: &[&str]) -> Table {
    let sets: Vec<SetArg> = sets.iter().map(|arg| SetArg::parse(arg).expect(arg)).collect();
    match rules::load(&folder().join(format!("{name}.yaml")), &sets) {
        Ok(compiled) => {
            assert!(compiled.warnings.is_empty(), "{}", compiled.warnings.render(false));
            compiled.table
        }
        Err(report) => panic!("{}", report.render(false)),
    }
}

fn link(table: &Table, from: u16, to: u16) -> LinkId {
    LinkId::new(NodeId(from - 1), NodeId(to - 1), table.nodes.len())
}

#[test]
fn each_names_its_schema_and_says_what_it_does() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).expect("rules/ can be listed") {
        let path = entry.expect("rules/ can be listed").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let text = fs::read_to_string(&path).expect("a shipped file can be read");
        let first = text.lines().next();
        assert_eq!(first, Some("# yaml-language-server: $schema=schema.json"), "{path:?}");
        assert!(text.contains("What TCP makes of it"), "{path:?}");
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name");
        if name != "leader" {
            let _ = shipped(name, &[]);
        }
    }
    assert_eq!(count, 11, "add the new file to the tests below");
}

#[test]
fn leader_cuts_off_who_leads_in_whatever_cluster_is_found() {
    let cluster = "cluster: { nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1, c: 10.0.0.3:1 } }";
    let inputs = Inputs {
        rules: Source::read(&folder().join("leader.yaml")).expect("the file"),
        cluster: Some(Source::new("found", cluster)),
        sets: Vec::new(),
        seed: None,
        roles: Some(Roles { leader: NodeId(1), choice: 0 }),
    };
    let compiled = inputs.compile().unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings.render(false));
    let [rule] = compiled.table.rules.as_slice() else { panic!("one rule") };
    let cut = [(1, 2), (2, 1), (2, 3), (3, 2)].map(|(a, b)| link(&compiled.table, a, b));
    assert_eq!((rule.links.as_slice(), rule.dynamic), (&cut[..], true));
}

#[test]
fn healthy_has_no_rules() {
    assert!(shipped("healthy", &[]).rules.is_empty());
}

#[test]
fn partition_cuts_the_victim_off_both_ways() {
    let table = shipped("partition", &["victim=n2"]);
    let [rule] = table.rules.as_slice() else { panic!("one rule") };
    let cut = [(1, 2), (2, 1), (2, 3), (3, 2)].map(|(from, to)| link(&table, from, to));
    assert_eq!(rule.links, cut);
    assert_eq!(rule.actions, [Action::Drop(What::Packets)]);
    let two = shipped("partition", &["victim=n2,n3"]);
    let cut = [(1, 2), (1, 3), (2, 1), (3, 1)].map(|(from, to)| link(&two, from, to));
    assert_eq!(two.rules[0].links, cut, "two victims still reach each other");
}

#[test]
fn partition_cuts_the_leader_if_nobody_else_is_named() {
    let inputs = Inputs {
        roles: Some(Roles { leader: NodeId(1), choice: 0 }),
        ..Inputs::read(&folder().join("partition.yaml"), None, &[]).expect("the file")
    };
    let table = inputs.compile().expect("it compiles").table;
    let cut = [(1, 2), (2, 1), (2, 3), (3, 2)].map(|(from, to)| link(&table, from, to));
    assert_eq!((table.rules[0].links.as_slice(), table.rules[0].dynamic), (&cut[..], true));
    assert_eq!(table.protocol, Some(Protocol::Etcd), "so that somebody can tell who leads");
    assert!(!shipped("partition", &["victim=n2"]).rules[0].dynamic);
}

#[test]
fn first_entry_is_one_rule_that_follows_an_event() {
    let table = shipped("first-entry", &[]);
    let [rule] = table.rules.as_slice() else { panic!("one rule") };
    let on = rule.on.expect("an event");
    assert_eq!((on.event, on.after, on.times), (Event::FirstEntry, Nanos::ZERO, Some(1)));
    assert_eq!((on.lasts, on.fires), (Some(Nanos::from_secs(5)), false));
    let sides = rule.sides.as_ref().expect("sides");
    let meant = Meant { leader: Some(NodeId(2)), ..Meant::default() };
    let masks = sides.masks(&meant, 0b111);
    assert_eq!((masks.from, masks.to, masks.both), (0b100, 0b011, true));
    assert_eq!(rule.links.len(), 6, "whoever it will be");
    assert!(table.hears() && !table.needs_segments());
}

#[test]
fn lost_vote_and_slow_leader_are_about_messages() {
    let table = shipped("lost-vote", &[]);
    let filter = table.rules[0].filter.message.expect("messages");
    assert_eq!(filter.kinds().collect::<Vec<_>>(), [Kind::VoteRequest]);
    let reset_after = Some(Nanos::from_secs(2));
    assert_eq!(table.rules[0].actions, [Action::Stall { reset_after }]);
    assert!(table.hears() && table.needs_segments());
    let table = shipped("slow-leader", &[]);
    let filter = table.rules[0].filter.message.expect("messages");
    assert!(filter.has(Kind::Append) && !filter.has(Kind::Heartbeat));
    assert_eq!(filter.entries, Some(Bounds { least: 1, most: u64::MAX }));
    assert!(table.rules[0].sides.as_ref().is_some_and(OpenSides::follows));
}

#[test]
fn halves_come_and_go() {
    let table = shipped("halves", &[]);
    assert_eq!(table.rules[0].links.len(), 12);
    assert_eq!(table.rules[0].window.times, Some(6));
}

#[test]
fn one_way_leaves_acknowledgements() {
    let table = shipped("one-way", &[]);
    assert_eq!(table.rules[0].links, [link(&table, 2, 1), link(&table, 3, 1)]);
    assert_eq!(table.rules[0].actions, [Action::Drop(What::Data)]);
    assert!(table.needs_segments());
}

#[test]
fn the_same_text_gives_the_same_table() {
    let path = folder().join("tour.yaml");
    let one = rules::load(&path, &[]).expect("the tour compiles");
    for _ in 0..5 {
        let other = rules::load(&path, &[]).expect("the tour compiles");
        assert_eq!(one, other);
        assert_eq!(matrix(&one.table), matrix(&other.table));
    }
}

#[test]
fn the_matrix_of_the_partition() {
    let expected = "\
3 nodes, 1 rule, seed 0, at most 20000 packets/s
reads etcd

0s to 2s: nothing is disturbed

2s to 12s
  from \\ to  n1    n2    n3
  n1         -     drop  .
  n2         drop  -     drop
  n3         .     drop  -

from 12s on: nothing is disturbed

rule 1: cut the victim off
  when   2s to 12s
  links  n1 <-> n2, n2 <-> n3
  do     drop
";
    assert_eq!(matrix(&shipped("partition", &["victim=n2"])), expected);
}

#[test]
fn the_matrix_of_what_follows_an_event() {
    let expected = "\
3 nodes, 1 rule, seed 0, at most 20000 packets/s
reads etcd

not drawn: rules that follow an event or whoever leads

rule 1: cut the new leader off
  when   on first_entry, for 5s, once
  links  leader <-> rest
  do     drop
";
    assert_eq!(matrix(&shipped("first-entry", &[])), expected);
    let slow = matrix(&shipped("slow-leader", &[]));
    assert!(slow.contains("  links  current leader -> any\n"), "{slow}");
    assert!(slow.contains("  where  append_entries with 1 or more entries\n"), "{slow}");
}

#[test]
fn no_matrix_is_wider_than_a_terminal() {
    for (name, sets) in [("tour", [].as_slice()), ("halves", &[]), ("partition", &["victim=n1"])] {
        for line in matrix(&shipped(name, sets)).lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn the_matrix_of_what_looks_the_same_for_ever_ends() {
    let text = "cluster: { nodes: { a: 10.0.0.1:1, b: 10.0.0.2:1 } }
rules:
  - { do: drop, for: 1s, every: 1s }
";
    let shown = matrix(&rules::compile("a text", text, &[]).expect("good rules").table);
    assert!(shown.contains("more changes, not shown"), "{shown}");
}
