//! Entries, commits, and what later leaders make of them.

use super::super::{Invariant, Stand};
use super::{healthy, violates, watch};

/// n1 leads in term 2 and has entries 1 to 3 committed.
const COMMITTED: &str = "
    n1>n2 append 2 at 0/0 + 1/2a 2/2b 3/2c commit 0
    n2>n1 took 2 3
    n1>n2 append 2 at 3/2 commit 3
";

#[test]
fn other_entries_of_the_same_index_and_term_are_seen() {
    violates(
        "
        n1>n2 append 2 at 0/0 + 1/2a 2/2b commit 0
        n1>n3 append 2 at 0/0 + 1/2a 2/2x commit 0
        n1>n3 append 2 at 0/0 + 1/2a 2/2x commit 0
        ",
        Invariant::LogMatching,
        &[1, 2],
        "entry 2 of term 2 is not the same in two appends: that of n1 at 1.000 s, and that of n1 \
         at 2.000 s",
    );
    violates(
        "
        n1>n2 append 2 at 0/0 + 1/2a 2/2b commit 0
        n3>n2 append 4 at 1/2 + 2/2x commit 0
        ",
        Invariant::LogMatching,
        &[1, 2],
        "entry 2 of term 2 is not the same in two appends: that of n1 at 1.000 s, and that of n3 \
         at 2.000 s",
    );
}

#[test]
fn uncommitted_entries_may_be_overwritten() {
    healthy(
        "
        n1>n2 append 2 at 0/0 + 1/2a 2/2b 3/2c commit 1
        n2>n3 vote 3 last 1/2
        n3>n2 granted 3
        n2>n3 append 3 at 1/2 + 2/3x commit 1
        n2>n1 append 3 at 1/2 + 2/3x commit 2
        n2>n1 append 3 at 2/3 + 3/3y commit 3
        ",
    );
}

#[test]
fn a_later_leader_that_goes_on_is_healthy() {
    let script = format!(
        "{COMMITTED}
        n2>n3 vote 3 last 3/2
        n3>n2 granted 3
        n2>n3 append 3 at 3/2 + 4/3d commit 3
        n2>n3 append 3 at 0/0 + 1/2a 2/2b 3/2c 4/3d commit 3
        n2>n1 append 3 at 3/2 + 4/3d commit 3
        n2>n1 append 3 at 4/3 commit 4
        "
    );
    healthy(&script);
    let watched = watch(&script).finish();
    let stand = |invariant| watched.stand(invariant).expect("each has one");
    for invariant in [Invariant::LogMatching, Invariant::LeaderCompleteness] {
        assert!(matches!(stand(invariant), Stand::Holds(n) if n > 2), "{:?}", stand(invariant));
    }
    assert!(matches!(stand(Invariant::LeaderAppendOnly), Stand::Holds(_)));
}

#[test]
fn commits_that_go_back_are_no_violation() {
    healthy(&format!(
        "{COMMITTED}
        n1>n3 append 2 at 3/2 commit 1
        n1>n2 append 2 at 3/2 commit 2 @2
        n1>n2 beat 2 commit 0
        n1>n2 append 2 at 3/2 commit 3
        "
    ));
    // hashicorp: heartbeats bear no commit; etcd: at most what the receiver is known to have.
    healthy("n1>n2 beat 2\nn1>n2 beat 2 commit 9\nn3>n2 vote 3 last 4/2\nn3>n2 beat 3 commit 0");
}

#[test]
fn a_leader_that_changes_its_own_log_is_seen() {
    violates(
        "
        n1>n2 append 4 at 1/2 + 2/3b commit 0
        n1>n2 append 4 at 2/4 + 3/4c commit 0
        ",
        Invariant::LeaderAppendOnly,
        &[1, 2],
        "n1, leader of term 4, had an entry of term 3 at index 2 at 1.000 s, and one of term 4 at \
         2.000 s",
    );
}

#[test]
fn what_was_committed_and_is_overwritten_is_seen() {
    let said = "n1, leader of term 2, had declared everything up to 3 committed at 3.000 s, with \
                an entry of term 2 at 2; n3, leader of term 4, has one of term 4 there at 4.000 s";
    violates(
        &format!("{COMMITTED}\nn3>n2 append 4 at 1/2 + 2/4x commit 1"),
        Invariant::LeaderCompleteness,
        &[1, 3, 4],
        said,
    );
    violates(
        &format!("{COMMITTED}\nn3>n2 append 4 at 2/4 + 3/4x commit 1"),
        Invariant::LeaderCompleteness,
        &[1, 3, 4],
        said,
    );
}

#[test]
fn it_is_seen_in_whatever_order_it_comes() {
    violates(
        "
        n3>n2 append 4 at 1/2 + 2/4x commit 1
        n1>n2 append 2 at 1/2 + 2/2b commit 0
        n1>n2 append 2 at 2/2 commit 2
        ",
        Invariant::LeaderCompleteness,
        &[1, 2, 3],
        "n1, leader of term 2, had declared everything up to 2 committed at 3.000 s, with an entry \
         of term 2 at 2; n3, leader of term 4, has one of term 4 there at 1.000 s",
    );
}

#[test]
fn a_leader_whose_log_was_behind_is_seen_when_it_speaks() {
    healthy(&format!("{COMMITTED}\nn3>n2 vote 4 last 1/2\nn2>n3 refused 4\nn1>n3 beat 5"));
    violates(
        &format!("{COMMITTED}\nn3>n2 vote 4 last 1/2\nn2>n3 granted 4\nn3>n2 beat 4"),
        Invariant::LeaderCompleteness,
        &[3, 4, 6],
        "n1, leader of term 2, had declared everything up to 3 committed at 3.000 s; n3 leads in \
         term 4 with a log that ended at 1 (term 2) when it stood at 4.000 s",
    );
    violates(
        &format!("{COMMITTED}\nn3>n2 vote 4 last 9/1\nn3>n2 beat 4"),
        Invariant::LeaderCompleteness,
        &[1, 3, 4, 5],
        "n1, leader of term 2, had declared everything up to 3 committed, with an entry of term 2 \
         at 3 at 3.000 s; n3 leads in term 4 with a log that ended at 9 (term 1) when it stood at \
         4.000 s",
    );
    // The leader of the earlier term is heard last.
    violates(
        "
        n3>n2 vote 4 last 1/2
        n3>n2 beat 4
        n1>n2 append 2 at 3/2 commit 3
        ",
        Invariant::LeaderCompleteness,
        &[1, 2, 3],
        "n1, leader of term 2, had declared everything up to 3 committed at 3.000 s; n3 leads in \
         term 4 with a log that ended at 1 (term 2) when it stood at 1.000 s",
    );
}

#[test]
fn a_violation_after_a_wipe_says_so() {
    let observer = watch(&format!(
        "{COMMITTED}
        n3>n2 refused 2
        end n2
        wipe n2
        start n2
        n3>n2 vote 4 last 1/2
        n3>n2 beat 4
        "
    ));
    let said: Vec<&str> = observer.alarms().iter().map(|alarm| alarm.said.as_str()).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("; a node had been started without its data"), "{said:?}");
}

#[test]
fn a_snapshot_stands_for_the_log_it_covers() {
    violates(
        &format!("{COMMITTED}\nn3>n2 snap 4 at 3/3"),
        Invariant::LeaderCompleteness,
        &[1, 3, 4],
        "n1, leader of term 2, had declared everything up to 3 committed at 3.000 s, with an entry \
         of term 2 at 3; n3, leader of term 4, has one of term 3 there at 4.000 s",
    );
    healthy(&format!("{COMMITTED}\nn3>n2 snap 4 at 3/2\nn3>n2 append 4 at 3/2 + 4/4d commit 3"));
}

#[test]
fn a_commit_by_an_earlier_terms_count_is_seen() {
    violates(
        "
        n1>n2 append 4 at 3/2 + 4/4d commit 1
        n1>n2 append 4 at 1/2 + 2/2b 3/2c 4/4d commit 1
        n1>n2 append 4 at 4/4 + 5/4e commit 2
        ",
        Invariant::CommitsOwnTerm,
        &[1, 2, 3],
        "n1, leader of term 4, raised its commit from 1 at 1.000 s to 2 at 3.000 s, where an entry \
         of term 2 stands: copies of an earlier term's entries must not count",
    );
}

#[test]
fn commits_that_only_seem_to_rise_to_earlier_terms_are_healthy() {
    // Learnt before the election; the first append in that direction tells it.
    healthy(
        "
        n1>n2 append 4 at 3/2 + 4/4d commit 3
        n1>n2 append 4 at 4/4 commit 4
        ",
    );
    // Each append's commit cut to what it covers: a follower that catches up.
    healthy(
        "
        n1>n2 append 4 at 0/0 + 1/2a commit 1
        n1>n2 append 4 at 1/2 + 2/2b commit 2
        n1>n2 append 4 at 2/2 + 3/2c 4/4d commit 4
        n1>n2 append 4 at 4/4 + 5/4e commit 4
        ",
    );
    // On two connections, or in two directions, nothing is known of the order.
    healthy(
        "
        n1>n2 append 4 at 1/2 + 2/2b 3/2c 4/4d commit 1 @1
        n1>n2 append 4 at 4/4 + 5/4e commit 2 @2
        n1>n3 append 4 at 4/4 + 5/4e commit 3
        ",
    );
    // A new term of the same leader learns anew.
    healthy(
        "
        n1>n2 append 4 at 1/2 + 2/2b 3/2c 4/4d commit 1
        n1>n2 append 6 at 3/2 + 4/4d 5/6e commit 3
        ",
    );
}
