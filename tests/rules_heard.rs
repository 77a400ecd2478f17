//! Rules that speak Raft, from their text to what becomes of packets: what the words of a file
//! mean is what the engine does.

mod engine_support;

use engine_support::asked::says;
use engine_support::packet::{Build, flags};
use raftq::engine::{Edge, Engine, Heard, Limits, Prepared, Silenced, Verdict};
use raftq::packet::{NodeId, PacketView};
use raftq::rules::table::{Action, Bounds, Event, Role, RoleWord};
use raftq::rules::{self, Table};
use raftq::time::Nanos;
use raftq::wire::{Groups, Kind};
use std::sync::Arc;

const CLUSTER: &str = "cluster: { protocol: etcd, nodes: { n1: 10.77.0.1:2380, \
                       n2: 10.77.0.2:2380, n3: 10.77.0.3:2380 } }\n";

fn compile(rules: &str) -> Table {
    match rules::compile("heard.yaml", &(CLUSTER.to_owned() + rules), &[]) {
        Ok(compiled) => compiled.table,
        Err(report) => panic!("{}", report.render(false)),
    }
}

/// An engine that judges by a table.
struct Bench {
    engine: Engine,
    now: Nanos,
    edges: Vec<Edge>,
}

impl Bench {
    fn new(table: Table) -> Self {
        let plan = Prepared::new(Arc::new(table), None, |_| false);
        let mut engine = Engine::new(plan, Limits { queues: 1, held: 100, flows: 100 });
        engine.start(Nanos::ZERO);
        let mut bench = Self { engine, now: Nanos::ZERO, edges: Vec::new() };
        bench.at(Nanos::ZERO);
        bench
    }

    fn at(&mut self, now: Nanos) {
        self.now = now;
        let edges = &mut self.edges;
        self.engine.advance(now, |edge| edges.push(edge), &mut |_| {});
    }

    /// One node tells another something.
    fn tells(&mut self, from: u8, to: u8, what: &str) -> Verdict {
        let (src, dst) = (format!("10.77.0.{from}:40000"), format!("10.77.0.{to}:2380"));
        let build = Build::tcp(&src, &dst, flags("data").expect("a kind"), 20);
        let bytes = build.bytes();
        let view = PacketView::parse(&bytes, bytes.len() as u32, 0).expect("a whole packet");
        let (messages, entries) = says(&what.split_whitespace().collect::<Vec<_>>());
        let heard = Heard { payload: &[], messages: &messages, entries: &entries };
        self.engine.decide_heard(self.now, &view, &heard).verdict
    }

    fn silenced(&mut self) -> Vec<Silenced> {
        let mut told = Vec::new();
        let tell = |one| {
            told.push(one);
            true
        };
        self.engine.tell_silences(tell, &mut |_| {});
        told
    }
}

#[test]
fn a_leader_is_cut_off_with_its_first_entry() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/first-entry.yaml");
    let table = rules::load(path.as_ref(), &[]).expect("it compiles").table;
    let mut bench = Bench::new(table);
    assert_eq!(bench.tells(1, 2, "append_entries term 1 +1"), Verdict::Accept, "it led before");
    assert_eq!(bench.tells(2, 1, "vote_request term 2"), Verdict::Accept);
    assert_eq!(bench.tells(2, 1, "append_entries term 2"), Verdict::Accept, "no entry yet");
    assert_eq!(bench.engine.leader(), Some((NodeId(1), 2)));
    assert_eq!(bench.tells(2, 3, "append_entries term 2 +1"), Verdict::Drop, "the very packet");
    assert_eq!(bench.tells(3, 2, "append_answer term 2"), Verdict::Drop, "and both ways");
    assert_eq!(bench.tells(3, 1, "vote_request term 3"), Verdict::Accept, "the others go on");
    bench.at(Nanos::from_secs(5));
    assert_eq!(bench.tells(2, 1, "heartbeat term 2"), Verdict::Accept);
    let edges: Vec<_> = bench.edges.iter().map(|edge| (edge.at, edge.active)).collect();
    // What began with a packet is told with the time at which it did.
    assert_eq!(edges, [(Nanos::ZERO, true), (Nanos::from_secs(5), false)]);
}

#[test]
fn the_first_entry_may_pass() {
    let rule = "rules: [{ on: first_entry, after: 1ms, between: [leader, rest], do: drop }]\n";
    let mut bench = Bench::new(compile(rule));
    bench.tells(2, 1, "vote_request term 2");
    assert_eq!(bench.tells(2, 3, "append_entries term 2 +1"), Verdict::Accept);
    assert_eq!(bench.engine.poll_at(), Some(Nanos::from_millis(1)), "it wakes for that");
    bench.at(Nanos::from_millis(1));
    assert_eq!(bench.tells(2, 3, "append_entries term 2 +1"), Verdict::Drop);
}

#[test]
fn nothing_is_waited_for_once_everything_is_let_out() {
    let rule = "rules: [{ on: leader_elected, between: [leader, rest], do: drop }]\n";
    let mut bench = Bench::new(compile(rule));
    bench.tells(2, 1, "vote_request term 2");
    bench.tells(2, 1, "heartbeat term 2");
    assert_eq!(bench.engine.poll_at(), Some(Nanos::ZERO), "what is held is looked at");
    bench.engine.drain(&mut |_| {});
    assert_eq!(bench.engine.poll_at(), None);
    assert_eq!(bench.tells(2, 1, "heartbeat term 2"), Verdict::Accept);
    assert_eq!(bench.tells(3, 1, "append_entries term 4"), Verdict::Accept);
    assert_eq!(bench.engine.leader(), Some((NodeId(2), 4)), "heard all the same");
}

#[test]
fn a_minority_has_the_leader_in_it_and_is_chosen_by_the_seed() {
    let five = "cluster: { protocol: etcd, nodes: { n1: 10.77.0.1:2380, n2: 10.77.0.2:2380, \
                n3: 10.77.0.3:2380, n4: 10.77.0.4:2380, n5: 10.77.0.5:2380 } }\n";
    let cut_off = |seed: u32| {
        let rules = format!(
            "{five}seed: {seed}\n\
             rules: [{{ on: leader_elected, between: [minority, majority], do: drop }}]\n"
        );
        let table = rules::compile("five.yaml", &rules, &[]).expect("it compiles").table;
        let mut bench = Bench::new(table);
        bench.tells(4, 1, "vote_request term 1");
        bench.tells(4, 1, "heartbeat term 1");
        let reached = (1..=5).filter(|&to| to != 4 && bench.tells(4, to, "") == Verdict::Accept);
        reached.collect::<Vec<u8>>()
    };
    let chosen: Vec<_> = (0..30).map(cut_off).collect();
    assert!(chosen.iter().all(|with| with.len() == 1), "one more with it: {chosen:?}");
    assert!([1, 2, 3, 5].iter().all(|node| chosen.contains(&vec![*node])), "{chosen:?}");
    assert_eq!(chosen, (0..30).map(cut_off).collect::<Vec<_>>(), "the same each time");
}

#[test]
fn a_fault_is_done_to_whom_the_event_names() {
    let rule =
        "rules: [{ name: it, on: leader_elected, node: leader, do: crash, for: 2s, times: 2 }]\n";
    let table = compile(rule);
    assert_eq!(table.faults[0].window.lasts, Some(Nanos::from_secs(2)), "started again then");
    assert!(table.rules[0].on.expect("an event").fires && !table.faults[0].dynamic);
    let mut bench = Bench::new(table);
    for (leader, term) in [(2, 1), (3, 2), (1, 3)] {
        bench.tells(leader, leader % 3 + 1, &format!("vote_request term {term}"));
        let verdict = bench.tells(leader, leader % 3 + 1, &format!("heartbeat term {term}"));
        let told = bench.silenced();
        if term == 3 {
            assert_eq!((verdict, told.len()), (Verdict::Accept, 0), "twice and no more");
            continue;
        }
        assert_eq!(verdict, Verdict::Drop, "the very packet");
        let [one] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((one.fault, one.nodes), (0, 1 << (leader - 1)));
        bench.engine.end_silence(bench.now, NodeId(u16::from(leader) - 1));
    }
}

#[test]
fn without_a_node_the_sender_is_meant() {
    let rule = "rules: [{ on: election_started, do: pause, for: 1s }]\n";
    let mut bench = Bench::new(compile(rule));
    assert_eq!(bench.tells(3, 1, "vote_request term 1"), Verdict::Drop);
    assert_eq!(bench.silenced()[0].nodes, 0b100);
}

#[test]
fn what_is_written_is_what_is_asked() {
    let table = compile(
        "rules:
  - where: { message: [vote_answer, append_answer], term: \">=3\", granted: false }
    do: reset
  - where: { term: 7, entries: \"<=2\", from_role: follower }
    do: stall
  - between: [{ leader: current }, rest]
    where: { every_nth: 4, first: 2 }
    do: drop
",
    );
    let about = |i: usize| table.rules[i].filter.message.expect("messages");
    let kinds: Vec<Kind> = about(0).kinds().collect();
    assert_eq!(kinds, [Kind::VoteAnswer, Kind::AppendAnswer]);
    assert_eq!(about(0).term, Some(Bounds { least: 3, most: u64::MAX }));
    assert_eq!((about(0).granted, about(0).from_role), (Some(false), None));
    assert_eq!(about(1).kinds().count(), Kind::ALL.len());
    assert_eq!(about(1).term, Some(Bounds { least: 7, most: 7 }));
    assert_eq!(about(1).entries, Some(Bounds { least: 0, most: 2 }));
    assert_eq!((about(1).from_role, about(1).group), (Some(Role::Follower), None::<Groups>));
    assert_eq!(table.rules[1].actions, [Action::Stall { reset_after: None }]);
    let last = &table.rules[2];
    assert_eq!((last.filter.every_nth, last.filter.first), (Some(4), Some(2)));
    let sides = last.sides.as_ref().expect("nobody knows yet");
    assert_eq!(
        (sides.from.words.as_slice(), sides.to.rest),
        (&[RoleWord::CurrentLeader][..], true)
    );
}

#[test]
fn every_event_has_its_word() {
    for event in Event::ALL {
        let rule = format!("rules: [{{ on: {}, do: drop }}]\n", event.word());
        assert_eq!(compile(&rule).rules[0].on.expect("an event").event, event);
    }
    for kind in Kind::ALL {
        let rule = format!("rules: [{{ where: {{ message: {} }}, do: stall }}]\n", kind.word());
        let filter = compile(&rule).rules[0].filter.message.expect("messages");
        assert_eq!(filter.kinds().collect::<Vec<_>>(), [kind]);
    }
}
