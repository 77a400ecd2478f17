//! Thousands of simulated runs: a healthy cluster never alarms, a buggy one does, and each alarm
//! is true by what the simulator knows.

use super::super::{Alarm, Event, Invariant, Observer, Stand, file};
use super::parts::{Bug, Truth};
use super::recorded;
use super::sim::World;
use crate::wire::Kind;
use std::collections::HashMap;

const STEPS: u32 = 1_200;

/// How many runs of each sort; more on request.
fn runs(usual: u64) -> u64 {
    let asked = std::env::var("RAFTQ_SIMULATED_RUNS");
    asked.ok().and_then(|runs| runs.parse().ok()).unwrap_or(usual)
}

fn watch(events: &[Event]) -> Observer {
    let mut observer = Observer::new();
    for event in events {
        observer.see(event);
    }
    observer
}

/// What the simulator says of an alarm.
fn is_true(alarm: &Alarm, truth: &Truth) -> bool {
    let last = alarm.evidence.last().expect("evidence");
    let node = usize::from(last.from.expect("known here").0);
    let term = last.message.term.expect("all of them bear it");
    match alarm.invariant {
        Invariant::ElectionSafety => truth.leaders[&term].len() > 1,
        Invariant::OneVote => {
            let mut votes = truth.votes.iter();
            votes.any(|(&(who, _, when), whom)| (who, when) == (node, term) && whom.len() > 1)
        }
        Invariant::TermsHold => truth.came_back_lower.contains(&node),
        Invariant::LogMatching => last.entries.iter().any(|entry| truth.sent[&entry.at].len() > 1),
        Invariant::LeaderAppendOnly => {
            let mut own = truth.own.iter();
            own.any(|(&(who, when, _), terms)| (who, when) == (node, term) && terms.len() > 1)
        }
        Invariant::LeaderCompleteness => {
            let terms = |append: bool| {
                let all = alarm.evidence.iter().map(|seen| seen.message);
                all.filter(move |m| !append || m.kind == Kind::Append).filter_map(|m| m.term)
            };
            let (low, high) = (terms(true).min(), terms(false).max());
            let committed = low.and_then(|term| truth.committed.get(&term));
            let elected = high.and_then(|term| truth.elected.get(&term));
            committed.into_iter().flatten().any(|log| {
                // The simulator alters data only on its way.
                let lacks = |other: &Vec<_>| log.len() > other.len() || log != &other[..log.len()];
                elected.into_iter().flatten().any(lacks)
            })
        }
        Invariant::CommitsOwnTerm => truth.counted_old.contains(&term),
    }
}

#[test]
fn a_healthy_cluster_never_alarms() {
    let mut stands: HashMap<Invariant, u64> = HashMap::new();
    for seed in 0..runs(1_500) {
        let (_, events) = World::run(seed, None, STEPS);
        let observer = watch(&events);
        assert_eq!(observer.alarms(), &[], "seed {seed}");
        for (invariant, stand) in observer.finish().stands {
            if let Stand::Holds(_) = stand {
                *stands.entry(invariant).or_default() += 1;
            }
        }
    }
    // Each was put to the test in a good part of the runs.
    for invariant in Invariant::ALL {
        let made = stands.get(&invariant).copied().unwrap_or(0);
        assert!(made * 4 > runs(1_500), "{invariant:?} in {made} runs: {stands:?}");
    }
}

/// Runs with a bug: each alarm is true. Returns in how many runs there was one, and how many of
/// each invariant.
fn buggy(bug: Bug) -> (u64, HashMap<Invariant, u64>) {
    let mut alarmed = 0;
    let mut of_each = HashMap::new();
    for seed in 0..runs(300) {
        let (world, events) = World::run(seed, Some(bug), STEPS);
        let observer = watch(&events);
        for alarm in observer.alarms() {
            assert!(is_true(alarm, &world.truth), "{bug:?}, seed {seed}: {alarm:?}");
            *of_each.entry(alarm.invariant).or_default() += 1;
        }
        alarmed += u64::from(!observer.alarms().is_empty());
    }
    (alarmed, of_each)
}

/// Of a hundred runs at least so many raise an alarm, and some raise each of these.
fn caught(bug: Bug, percent: u64, by: &[Invariant]) {
    let (alarmed, of_each) = buggy(bug);
    println!("{bug:?}: {alarmed} of {} runs, {of_each:?}", runs(300));
    assert!(alarmed * 100 >= percent * runs(300), "{bug:?}: {alarmed} runs, {of_each:?}");
    for invariant in by {
        assert!(of_each.contains_key(invariant), "{bug:?}: {of_each:?}");
    }
}

#[test]
fn a_forgotten_vote_is_caught() {
    // Two votes happen in a third of the runs; half of them are seen by one who is told all.
    caught(Bug::ForgetVote, 10, &[Invariant::OneVote]);
}

#[test]
fn a_forgotten_term_is_caught() {
    caught(Bug::ForgetTerm, 45, &[Invariant::TermsHold]);
}

#[test]
fn votes_for_a_log_that_is_behind_are_caught() {
    caught(Bug::VoteForBehind, 30, &[Invariant::LeaderCompleteness]);
}

#[test]
fn a_small_quorum_is_caught() {
    caught(Bug::SmallQuorum, 55, &[Invariant::LeaderCompleteness]);
}

#[test]
fn a_lost_tail_is_caught() {
    caught(Bug::LoseTail, 25, &[Invariant::LeaderCompleteness]);
}

#[test]
fn counting_earlier_terms_is_caught() {
    caught(Bug::CountOldTerms, 20, &[Invariant::CommitsOwnTerm]);
}

#[test]
fn altered_entries_are_caught() {
    caught(Bug::AlterEntries, 30, &[Invariant::LogMatching]);
}

#[test]
fn what_nodes_without_data_do_is_never_taken_for_a_broken_word() {
    let (_, of_each) = buggy(Bug::Wipe);
    assert!(!of_each.contains_key(&Invariant::TermsHold), "{of_each:?}");
    assert!(!of_each.contains_key(&Invariant::OneVote), "{of_each:?}");
}

#[test]
fn recorded_events_say_the_same() {
    for seed in 0..runs(30) {
        let (_, events) = World::run(seed, Some(Bug::VoteForBehind), STEPS);
        let (_, again) = file::read(&recorded(&events)).expect("what was written can be read");
        assert_eq!(events, again);
        let (live, offline) = (watch(&events), watch(&again));
        assert_eq!(live.alarms(), offline.alarms());
        assert_eq!(live.timeline(), offline.timeline());
        assert_eq!(live.finish(), offline.finish());
    }
}
