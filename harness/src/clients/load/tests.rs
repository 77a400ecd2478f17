//! Clients against a system in the process: their pace, their names, and whether what they write
//! down is judged rightly.

use super::super::store::{Bug, Store};
use super::super::{From, HistoryWriter, read_back};
use super::*;
use crate::check::{Budget, Judgement, Verdict, judge};
use crate::clock::{now, since, wait_for};
use crate::history::{Event, Header, Kind, VERSION};
use crate::system::{Answer, Failure, Request};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicUsize;

const LIMIT: Duration = Duration::from_secs(20);

fn plan(workload: Workload) -> Plan {
    Plan {
        workload,
        clients: 4,
        rate: None,
        keys: 2,
        skew: 0.0,
        mix: Vec::new(),
        think: Duration::ZERO,
        timeout: Duration::from_millis(200),
        sticky: false,
        per_key: 60,
        seed: 7,
        epoch: now(),
        netns: None,
        nodes: vec!["n1".into(), "n2".into()],
    }
}

/// What a run left.
struct Ran {
    stopped: Stopped,
    events: Vec<Event>,
    judgement: Judgement,
    took: Duration,
}

/// Runs until `over`, reads everything back, and judges.
fn run(plan: Plan, sessions: &Sessions, over: impl Fn(&Load) -> bool) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let (workload, epoch) = (plan.workload, plan.epoch);
    let header =
        Header { raftq_history: VERSION, workload, promises: BTreeMap::new(), seed: plan.seed };
    let writer = HistoryWriter::create(&path, &header).expect("a history");
    let recorder = writer.recorder();
    let (names, start) = (plan.nodes.clone(), now());
    let load = Load::start(plan, Arc::clone(sessions), writer.recorder()).expect("clients");
    wait_for("the load", LIMIT, Duration::from_millis(1), || over(&load).then_some(()))
        .expect("it comes to its end");
    let took = since(start);
    let stopped = load.stop();
    let from = From { netns: None, nodes: &names, epoch };
    let _ = read_back(
        workload,
        &stopped.keys,
        sessions,
        &recorder,
        from,
        stopped.process,
        Duration::from_secs(2),
    );
    drop(recorder);
    writer.finish().expect("a whole history");
    let judgement = judge(&path, Budget::default()).expect("a history");
    let text = std::fs::read_to_string(&path).expect("it");
    let event = |line| serde_json::from_str(line).expect("an event");
    let events = text.lines().skip(1).map(event).collect();
    Ran { stopped, events, judgement, took }
}

fn calls(n: u64) -> impl Fn(&Load) -> bool {
    move |load| load.answered() >= n
}

fn sessions(store: &Store) -> Sessions {
    let (store, made) = (store.clone(), AtomicUsize::new(0));
    Arc::new(move |_| Ok(store.session(made.fetch_add(1, Ordering::Relaxed) as u64)))
}

/// A system that does the same to every call.
struct Always(fn() -> std::result::Result<Answer, Failure>);

impl Session for Always {
    fn call(&mut self, _: &Request, _: Duration) -> std::result::Result<Answer, Failure> {
        (self.0)()
    }
}

fn always(what: fn() -> std::result::Result<Answer, Failure>) -> Sessions {
    Arc::new(move |_| Ok(Box::new(Always(what))))
}

fn verdicts(judgement: &Judgement) -> Vec<&Verdict> {
    judgement.checks.iter().map(|check| &check.verdict).collect()
}

const ALL: [Workload; 5] =
    [Workload::Register, Workload::Append, Workload::Set, Workload::Counter, Workload::Files];

#[test]
fn a_system_that_only_loses_things_keeps_its_promises() {
    for workload in ALL {
        for lossy in [0, 5] {
            let store = Store::new(Bug::None, lossy);
            let ran = run(plan(workload), &sessions(&store), calls(250));
            let verdicts = verdicts(&ran.judgement);
            assert!(verdicts.iter().all(|v| **v == Verdict::Holds), "{workload:?}: {verdicts:?}");
            let [ok, failed, unknown] = ran.stopped.counts.totals();
            assert!(
                ok >= 250 && (lossy == 0 || failed > 0 && unknown > 0),
                "{ok} {failed} {unknown}"
            );
        }
    }
}

#[test]
fn a_system_with_a_bug_is_caught_by_every_workload() {
    for (workload, bug) in [
        (Workload::Register, Bug::Forgets(9)),
        (Workload::Register, Bug::Remembers(9)),
        (Workload::Register, Bug::Denies(9)),
        (Workload::Register, Bug::Overwrites(3)),
        (Workload::Append, Bug::Forgets(9)),
        (Workload::Append, Bug::Denies(9)),
        (Workload::Append, Bug::Remembers(9)),
        (Workload::Set, Bug::Forgets(9)),
        (Workload::Set, Bug::Denies(9)),
        (Workload::Counter, Bug::Forgets(9)),
        (Workload::Counter, Bug::Denies(9)),
        (Workload::Files, Bug::Forgets(9)),
        (Workload::Files, Bug::Remembers(9)),
        (Workload::Files, Bug::Denies(9)),
    ] {
        let store = Store::new(bug, 0);
        // A moment's rest, so that clients take turns and are not done one after the other.
        let plan = Plan { think: Duration::from_micros(50), ..plan(workload) };
        let lied = |load: &Load| load.answered() >= 300 && store.lies() >= 20;
        let ran = run(plan, &sessions(&store), lied);
        let caught =
            ran.judgement.checks.iter().any(|c| matches!(c.verdict, Verdict::Violated { .. }));
        assert!(caught, "{workload:?} {bug:?}: {:?}", verdicts(&ran.judgement));
    }
}

#[test]
fn a_client_whose_call_ended_unknown_goes_on_as_somebody_new() {
    let unknown = always(|| Err(Failure::Unknown("lost".into())));
    let mut plan = plan(Workload::Register);
    plan.mix = vec![(Function::Write, 1)];
    let enough = |load: &Load| load.shared.processes.load(Ordering::Relaxed) > 40;
    let ran = run(plan, &unknown, enough);
    let mut ended = HashSet::new();
    for event in &ran.events {
        assert!(!ended.contains(&event.process), "it is over: {event:?}");
        if event.kind == Kind::Info {
            ended.insert(event.process);
        }
    }
    assert!(ended.len() > 30, "{ended:?}");
    let last = ran.events.iter().filter(|e| e.is_final).map(|e| e.process).min();
    assert_eq!(last, Some(ran.stopped.process), "who reads back is nobody who called before");
    assert!(ended.iter().all(|process| *process < ran.stopped.process));
}

#[test]
fn the_same_seed_makes_the_same_calls() {
    let history = |seed| {
        let store = Store::new(Bug::None, 0);
        // One client: with several, whose turn it is decides who sees what.
        let plan = Plan { clients: 1, seed, ..plan(Workload::Register) };
        let ran = run(plan, &sessions(&store), calls(200));
        let mine = ran.events.into_iter().filter(|event| event.kind == Kind::Invoke);
        let mut calls = mine.map(|event| (event.f, event.key, event.value)).collect::<Vec<_>>();
        calls.truncate(200);
        calls
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

#[test]
fn each_client_of_a_seed_does_the_same_whoever_is_faster() {
    let of_each = || {
        let store = Store::new(Bug::None, 0);
        // Paced, so that each has its turn.
        let plan = Plan { per_key: 1_000_000, rate: Some(1000), ..plan(Workload::Set) };
        let ran = run(plan, &sessions(&store), calls(200));
        let mut of: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for event in ran.events.into_iter().filter(|e| e.kind == Kind::Invoke && !e.is_final) {
            of.entry(event.process).or_default().push((event.f, event.key, event.value));
        }
        of
    };
    let (one, other) = (of_each(), of_each());
    assert_eq!(one.len(), 4);
    for (process, calls) in one {
        let both = calls.len().min(other[&process].len());
        assert!(both > 10, "client {process} made {both} calls");
        assert_eq!(calls[..both], other[&process][..both], "client {process}");
    }
}

#[test]
fn a_rate_is_of_all_clients_and_is_not_exceeded() {
    let store = Store::new(Bug::None, 0);
    let plan = Plan { rate: Some(200), ..plan(Workload::Set) };
    let ran = run(plan, &sessions(&store), calls(100));
    let most = ran.took.as_secs_f64() * 200.0 + 8.0;
    let made = ran.stopped.counts.totals()[0];
    assert!((made as f64) < most, "{made} calls in {:?}", ran.took);
    // A machine that is too busy makes fewer, but not a client at a time.
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
}

#[test]
fn between_a_client_s_calls_is_its_think_time_with_a_rate_or_without() {
    for rate in [None, Some(1000)] {
        let store = Store::new(Bug::None, 0);
        let think = Duration::from_millis(20);
        let plan = Plan { clients: 1, think, rate, ..plan(Workload::Register) };
        let ran = run(plan, &sessions(&store), calls(10));
        let own: Vec<&Event> = ran.events.iter().filter(|event| !event.is_final).collect();
        for pair in own.windows(2).filter(|pair| pair[1].kind == Kind::Invoke) {
            assert!(pair[1].t - pair[0].t >= nanos(think), "{pair:?}");
        }
    }
}

#[test]
fn clients_that_sleep_for_hours_stop_at_once() {
    let store = Store::new(Bug::None, 0);
    let plan = Plan { clients: 100, rate: Some(1), ..plan(Workload::Set) };
    let begin = now();
    let ran = run(plan, &sessions(&store), calls(1));
    // The next call of most of them is more than ten seconds away.
    assert!(since(begin) < Duration::from_secs(10), "{:?}", since(begin));
    assert!(ran.stopped.counts.totals()[0] < 10);
}

#[test]
fn stamps_of_a_client_never_go_back() {
    let store = Store::new(Bug::None, 3);
    let ran = run(plan(Workload::Append), &sessions(&store), calls(300));
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for event in &ran.events {
        let before = last.insert(event.process, event.t).unwrap_or_default();
        assert!(event.t >= before, "{event:?}");
    }
}

#[test]
fn a_client_that_is_to_stay_stays_with_its_node() {
    let refusing = always(|| Err(Failure::NotDone("refused".into())));
    for (sticky, nodes) in [(true, 1), (false, 2)] {
        let plan = Plan { sticky, clients: 1, ..plan(Workload::Register) };
        let made = |load: &Load| load.shared.keys.used().len() > 1;
        let ran = run(Plan { per_key: 10, ..plan }, &refusing, made);
        let asked = ran.events.iter().filter(|event| !event.is_final);
        let asked: HashSet<_> = asked.map(|event| event.node.clone()).collect();
        assert_eq!(asked.len(), nodes, "{asked:?}");
    }
}

#[test]
fn why_nothing_was_answered_is_told_even_where_no_node_can_be_spoken_to() {
    let nobody: Sessions = Arc::new(|_| Err(Error::new("no driver")));
    let begin = now();
    let ran = run(plan(Workload::Set), &nobody, |_| since(begin) > Duration::from_millis(50));
    assert_eq!(ran.stopped.counts.totals(), [0; 3]);
    assert_eq!(ran.stopped.counts.error(), Some("no driver"));
    let refusing = always(|| Err(Failure::NotDone("a stone wall".into())));
    let ran = run(plan(Workload::Set), &refusing, |load| !load.shared.keys.used().is_empty());
    assert_eq!(ran.stopped.counts.totals()[0], 0);
    assert_eq!(ran.stopped.counts.error(), Some("a stone wall"));
}
