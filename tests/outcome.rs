//! What a run's exit code follows from, and that each reason is told.

use raftq::engine::{Engine, Limits, Prepared};
use raftq::kernel::inject::Injected;
use raftq::kernel::losses::Losses;
use raftq::kernel::queue::Faults;
use raftq::rules::{Table, compile};
use raftq::run::attached::Detached;
use raftq::run::outcome::{Circumstances, ENVIRONMENT, HOLDS, NEVER_MATCHED, Outcome, UNDECIDED};
use raftq::run::verdict_loop::Ended;
use std::sync::Arc;

fn table(more: &str) -> Arc<Table> {
    let text = format!(
        "cluster: {{ nodes: {{ n1: 10.77.0.1:2380, n2: 10.77.0.2:2380 }} }}\n\
         rules: [{{ name: cut, between: [n1, n2], do: drop, for: 1s{more} }}]\n"
    );
    Arc::new(compile("test.yaml", &text, &[]).expect("a right file").table)
}

/// A run in which all went well, changed by `change`.
fn outcome(more: &str, change: impl FnOnce(&mut Circumstances, &mut Detached)) -> Outcome {
    let table = table(more);
    let prepared = Prepared::new(Arc::clone(&table), None, |_| false);
    let counters = Arc::clone(prepared.counters());
    let limits = Limits { queues: 1, held: 1, flows: 1 };
    let engine = Engine::new(prepared, limits);
    counters.rules[0].matched.add(7);
    counters.rules[0].activations.add(1);
    let mut run = Circumstances {
        table,
        counters,
        topology: "nowhere".into(),
        scheduling: "none",
        seconds: 1.0,
        warnings: Vec::new(),
        told: 0,
        rules_removed: false,
        undecided: false,
        interrupted: false,
        broken: false,
    };
    let mut detached = Detached {
        ended: Ended { engine, faults: Faults::default(), injected: Injected::default() },
        losses: Losses::default(),
        traced: None,
        captured: None,
        watched: None,
        troubles: Vec::new(),
        rules_removed: false,
        released: None,
    };
    change(&mut run, &mut detached);
    Outcome::new(run, &detached)
}

#[track_caller]
fn must_tell(outcome: &Outcome, code: u8, words: &str) {
    assert_eq!(outcome.exit_code, code, "{:?}", outcome.warnings);
    assert!(outcome.warnings.iter().any(|w| w.contains(words)), "{:?}", outcome.warnings);
}

#[test]
fn a_run_in_which_all_went_well_holds_and_warns_of_nothing() {
    let outcome = outcome("", |_, _| {});
    assert_eq!((outcome.exit_code, outcome.warnings.len()), (HOLDS, 0));
}

#[test]
fn lost_packets_leave_it_undecided() {
    let lost = outcome("", |_, detached| detached.losses.user_dropped = 3);
    must_tell(&lost, UNDECIDED, "3 packets were lost before raftq saw them");
    let full = outcome("", |_, detached| detached.losses.queue_dropped = 2);
    must_tell(&full, UNDECIDED, "2 packets were lost before raftq saw them");
}

#[test]
fn packets_that_found_no_room_leave_it_undecided() {
    let outcome = outcome("", |run, _| run.counters.totals.overflow.add(5));
    must_tell(&outcome, UNDECIDED, "5 packets were dropped because as many were held");
}

#[test]
fn a_leaky_cut_leaves_it_undecided() {
    let outcome = outcome("", |run, _| {
        run.counters.totals.unattributed.add(4);
        run.counters.rules[0].leaked.add(4);
    });
    must_tell(&outcome, UNDECIDED, "the cut `cut` is leaky: 4 packets");
    must_tell(&outcome, UNDECIDED, "4 packets could not be attributed");
}

#[test]
fn unattributed_packets_beside_no_cut_are_only_warned_of() {
    let outcome = outcome("", |run, _| run.counters.totals.unattributed.add(4));
    must_tell(&outcome, HOLDS, "4 packets could not be attributed");
}

#[test]
fn rules_that_were_gone_at_the_end_leave_it_undecided() {
    let outcome = outcome("", |_, detached| detached.rules_removed = true);
    must_tell(&outcome, UNDECIDED, "found removed by somebody else");
}

#[test]
fn a_rule_that_never_matched_is_its_own_code_unless_it_is_optional() {
    let zero = |run: &mut Circumstances, _: &mut Detached| run.counters.rules[0].matched.set(0);
    must_tell(&outcome("", zero), NEVER_MATCHED, "rule `cut` never matched");
    assert_eq!(outcome(", optional: true", zero).exit_code, HOLDS);
    let never_active = outcome("", |run, detached| {
        zero(run, detached);
        run.counters.rules[0].activations.set(0);
    });
    must_tell(&never_active, NEVER_MATCHED, "it never became active");
}

#[test]
fn what_the_host_failed_at_comes_before_everything_else() {
    let outcome = outcome("", |run, detached| {
        run.counters.rules[0].matched.set(0);
        detached.losses.user_dropped = 3;
        detached.troubles.push("rules stay behind in netns n1".into());
    });
    must_tell(&outcome, ENVIRONMENT, "rules stay behind");
    must_tell(&outcome, ENVIRONMENT, "never matched");
}
