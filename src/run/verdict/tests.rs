//! What a verdict follows from.

use super::*;
use raftq_harness::clients::Sample;

const S: u64 = 1_000_000_000;

fn found(recovery: Option<Recovery>) -> Findings {
    let availability = Availability { tried: 10, succeeded: 9, ..Availability::default() };
    Findings { availability, recovery, ..Findings::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "as it stands among the findings")]
fn recovery(after_ns: Option<u64>) -> Option<Recovery> {
    Some(Recovery { healed_ns: 0, after_ns, limit_ns: 5 * S })
}

#[test]
fn recovery_in_time_holds_and_a_late_one_is_a_violation_however_long_the_run_went_on() {
    assert_eq!(recovers(&found(recovery(Some(5 * S)))).verdict, CheckVerdict::Holds);
    assert_eq!(recovers(&found(recovery(Some(6 * S)))).verdict, CheckVerdict::Violated);
    assert_eq!(recovers(&found(recovery(None))).verdict, CheckVerdict::Violated);
    assert_eq!(recovers(&found(None)).verdict, CheckVerdict::Undecided);
    let nothing = Findings { recovery: recovery(None), ..Findings::default() };
    assert_eq!(recovers(&nothing).verdict, CheckVerdict::Undecided);
}

fn seen(unavailable: Vec<Window>) -> Availability {
    let sample = Sample { sent: 3 * S, known: 3 * S, node: 0, ok: true };
    Availability {
        tried: 10,
        succeeded: 9,
        unavailable,
        samples: vec![sample],
        ..Default::default()
    }
}

#[test]
fn a_time_without_writes_that_reaches_over_healing_counts_and_one_behind_it_does_not() {
    let window = |from: u64, to: u64| vec![Window { from: from * S, to: to * S, ended: true }];
    let verdict = |windows| available(&seen(windows), (2 * S, 5 * S)).verdict;
    assert_eq!(verdict(Vec::new()), CheckVerdict::Holds);
    assert_eq!(verdict(window(3, 4)), CheckVerdict::Violated);
    assert_eq!(verdict(window(4, 8)), CheckVerdict::Violated);
    assert_eq!(verdict(window(1, 3)), CheckVerdict::Violated);
    assert_eq!(verdict(window(6, 8)), CheckVerdict::Holds);
    assert_eq!(verdict(window(0, 1)), CheckVerdict::Holds);
}

#[test]
fn what_was_not_asked_was_not_available_for_all_we_know() {
    assert_eq!(available(&Availability::default(), (0, S)).verdict, CheckVerdict::Undecided);
    let before = available(&seen(Vec::new()), (5 * S, 9 * S));
    assert_eq!(before.verdict, CheckVerdict::Undecided, "{}", before.detail);
    let unsent = Availability { unsent: 5, ..seen(Vec::new()) };
    assert_eq!(available(&unsent, (2 * S, 5 * S)).verdict, CheckVerdict::Undecided);
}

#[test]
fn a_check_of_nothing_says_that_it_was_not_made() {
    let check = |operations| Check {
        name: "durable".into(),
        verdict: Verdict::Holds,
        operations,
        objects: 0,
    };
    assert_eq!(of_check(&check(0)).verdict, CheckVerdict::NotMade);
    assert_eq!(of_check(&check(1)).verdict, CheckVerdict::Holds);
}
