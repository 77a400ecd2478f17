//! Leaders, votes, terms, elections.

use super::super::{Coverage, Election, Event, Invariant, Observer, Stand, What};
use super::{healthy, member, violates, watch};
use crate::time::Nanos;
use crate::wire::{Group, Kind};

const ELECTED: &str = "
    n1>n2 vote 2 last 0/0
    n1>n3 vote 2 last 0/0
    n2>n1 granted 2
    n3>n1 granted 2
    n1>n2 append 2 at 0/0 + 1/2 commit 0
    n1>n3 append 2 at 0/0 + 1/2 commit 0
    n2>n1 took 2 1
    n1>n2 append 2 at 1/2 commit 1
";

#[test]
fn an_election_holds_and_is_told() {
    let observer = watch(ELECTED);
    let watched = observer.finish();
    let [election] = &watched.elections[..] else { panic!("one: {watched:?}") };
    let Election { term, candidate, leader, votes, rivals, .. } = *election;
    assert_eq!((term, votes, rivals), (2, 2, 0));
    assert_eq!((candidate, leader), (Some(member("n1")), Some(member("n1"))));
    assert_eq!(watched.highest_term(), 2);
    let stand = |invariant| watched.stand(invariant).expect("each has one");
    assert_eq!(stand(Invariant::ElectionSafety), Stand::Holds(1));
    assert_eq!(stand(Invariant::OneVote), Stand::Holds(3), "its own, and two");
    assert_eq!(
        stand(Invariant::TermsHold),
        Stand::NotMade("no restarted member was heard before and after")
    );
    let group = Group::ONLY;
    let told: Vec<What> = observer.timeline().iter().map(|moment| moment.what).collect();
    assert_eq!(
        told,
        [
            What::TermChange { group, term: 2 },
            What::ElectionStarted { group, term: 2, candidate: member("n1") },
            What::LeaderElected { group, term: 2, leader: member("n1") },
        ]
    );
}

#[test]
fn a_split_vote_and_another_term_are_healthy() {
    healthy(
        "
        n1>n2 vote 2 last 0/0
        n2>n1 vote 2 last 0/0
        n1>n2 refused 2
        n2>n1 refused 2
        n2>n1 vote 3 last 0/0
        n1>n2 granted 3
        n2>n1 beat 3
        ",
    );
}

#[test]
fn an_old_leader_that_still_speaks_is_healthy() {
    healthy(&format!(
        "{ELECTED}
        n2>n3 vote 3 last 1/2
        n3>n2 granted 3
        n2>n3 append 3 at 1/2 + 2/3 commit 1
        n1>n3 append 2 at 1/2 + 2/2 commit 1
        n3>n1 took 3 1
        n1>n3 beat 2
        "
    ));
}

#[test]
fn two_leaders_in_a_term_are_not() {
    violates(
        "
        n1>n2 beat 4
        n1>n3 beat 4
        n3>n2 append 4 at 2/3 commit 1
        n1>n2 beat 4
        n3>n2 beat 4
        ",
        Invariant::ElectionSafety,
        &[1, 3],
        "n1 and n3 both led in term 4: a heartbeat at 1.000 s, an append at 3.000 s",
    );
    for message in ["snap 4 at 9/3", "go 4", "beat 4", "append 4 at 9/3"] {
        let observer = watch(&format!("n1>n2 beat 4\nn3>n2 {message}"));
        assert_eq!(observer.alarms().len(), 1, "{message}");
    }
    healthy("n1>n2 beat 4\nn3>n2 other 4\nn3>n2 alive 4\nn3>n2 took 4 1");
}

#[test]
fn groups_do_not_meddle() {
    healthy(
        "
        n1>n2 beat 4 in _meta_
        n3>n2 beat 4 in S-R3F-x
        n2>n1 granted 3 in _meta_
        n2>n3 granted 3 in S-R3F-x
        ",
    );
    violates(
        "n1>n2 beat 4 in _meta_\nn3>n2 beat 4 in _meta_",
        Invariant::ElectionSafety,
        &[1, 2],
        "n1 and n3 both led in term 4: a heartbeat at 1.000 s, a heartbeat at 2.000 s \
         (group _meta_)",
    );
}

#[test]
fn two_votes_in_a_term_are_seen() {
    violates(
        "
        n1>n2 vote 5 last 1/1
        n2>n1 granted 5
        n3>n2 vote 5 last 1/1
        n2>n3 granted 5
        n2>n3 granted 5
        ",
        Invariant::OneVote,
        &[2, 4],
        "n2 voted twice in term 5: for n1 at 2.000 s, and for n3 at 4.000 s",
    );
}

#[test]
fn a_vote_request_is_a_vote_for_oneself() {
    violates(
        "
        n1>n2 vote 5 last 1/1
        n2>n3 vote 5 last 1/1
        n2>n1 granted 5
        ",
        Invariant::OneVote,
        &[2, 3],
        "n2 voted twice in term 5: for itself at 2.000 s, and for n1 at 3.000 s",
    );
}

#[test]
fn a_vote_is_kept_over_a_restart_but_not_over_a_wipe() {
    let script = |what: &str| {
        format!(
            "
            n1>n2 vote 5 last 1/1
            n2>n1 granted 5
            end n2
            {what}
            n3>n2 vote 5 last 1/1
            n2>n3 granted 5
            "
        )
    };
    violates(
        &script("start n2"),
        Invariant::OneVote,
        &[2, 6],
        "n2 voted twice in term 5: for n1 at 2.000 s, and for n3 at 6.000 s",
    );
    healthy(&script("wipe n2\nstart n2"));
    healthy(&script("wipe n2"));
    healthy(&script("start n2\nwipe n2"));
}

#[test]
fn what_is_left_of_before_a_wipe_speaks_for_nobody() {
    healthy(
        "
        n1>n2 vote 5 last 1/1
        n2>n1 refused 5 @1
        end n2
        wipe n2
        n3>n2 vote 5 last 1/1 @2
        n2>n3 granted 5 @2
        n2>n1 granted 5 ~
        ",
    );
}

#[test]
fn an_answer_that_bears_the_term_before_the_vote_says_nothing_of_it() {
    // NATS 2.9: the voter's term as it was before it heard of the candidate's.
    healthy(
        "
        n1>n2 vote 1 last 0/0
        n3>n2 vote 1 last 0/0
        n2>n1 granted 1
        n3>n2 vote 2 last 0/0
        n2>n3 granted 1
        ",
    );
    healthy("n1>n2 vote 1 last 0/0\nn2>n1 granted 1\nn2>n3 granted 1");
    let script = |what: &str| {
        watch(&format!(
            "
            n3>n2 vote 1 last 0/0
            n1>n2 vote 1 last 0/0
            n2>n1 granted 1
            {what}
            n2>n3 granted 1
            "
        ))
    };
    assert_eq!(script("").alarms().len(), 1);
    assert_eq!(script("miss 1").alarms(), &[], "maybe n3 asked in term 2");
}

#[test]
fn votes_refused_and_pre_votes_bind_nobody() {
    healthy(
        "
        n1>n2 prevote 6 last 1/1
        n2>n1 pregranted 6
        n3>n2 prevote 6 last 1/1
        n2>n3 pregranted 6
        n1>n2 vote 6 last 1/1
        n2>n1 granted 6
        n3>n2 vote 6 last 1/1
        n2>n3 refused 6
        ",
    );
}

#[test]
fn a_restarted_member_that_is_in_a_lower_term_is_seen() {
    violates(
        "
        n2>n1 alive 7
        n2>n3 refused 6 @2
        end n2
        start n2
        n2>n1 prevote 6 last 1/1
        n2>n1 vote 6 last 1/1
        n2>n3 alive 6
        ",
        Invariant::TermsHold,
        &[1, 6],
        "n2 was in term 7 at 1.000 s, and after its restart is in term 6 at 6.000 s, though it \
         kept its data",
    );
}

#[test]
fn answers_to_a_leader_are_in_their_senders_term() {
    for answer in ["took 3 1", "alive 3"] {
        violates(
            &format!("n2>n1 alive 7\nend n2\nstart n2\nn2>n3 {answer}"),
            Invariant::TermsHold,
            &[1, 4],
            "n2 was in term 7 at 1.000 s, and after its restart is in term 3 at 4.000 s, though \
             it kept its data",
        );
    }
}

#[test]
fn terms_that_only_look_lower_are_healthy() {
    // Terms nobody adopted, before and after.
    healthy(
        "
        n2>n1 prevote 8 last 1/1
        n1>n2 pregranted 8
        n2>n1 other 9
        n2>n1 alive 7
        end n2
        start n2
        end n1
        start n1
        n2>n1 alive 7
        n1>n2 prerefused 7
        n2>n1 other 3
        ",
    );
    // What the old process had sent comes late, on its connection and on one from mid-stream.
    healthy(
        "
        n2>n1 alive 5 @1
        n2>n3 alive 7 @1
        n2>n3 alive 7 @2 ~
        end n2
        n2>n1 refused 5 @1
        n2>n1 refused 5 ~
        ",
    );
    healthy("n2>n1 refused 5 @1\nn2>n3 alive 7 @1\nend n2\nstart n2\nn2>n3 refused 5 ~");
    healthy(
        "
        n2>n3 refused 4
        n2>n1 alive 7
        end n2
        ",
    );
    // Without its data, everything may start anew.
    healthy("n2>n1 alive 5\nend n2\nwipe n2\nstart n2\nn2>n1 vote 1 last 0/0");
    // Order between connections is unknown within one process.
    healthy("n2>n1 refused 5 @1\nn2>n1 refused 4 @2\nn2>n3 refused 3");
}

#[test]
fn a_border_that_is_told_late_moves_what_was_seen_to_the_new_process() {
    let mut events = super::events(
        "
        n2>n1 refused 3 @1
        end n2
        n2>n1 refused 9 @2
        start n2
        n2>n3 refused 8 @3
        end n2
        start n2
        n2>n3 refused 9 @4
        ",
    );
    // The end was told only after the new process had spoken.
    events.swap(1, 2);
    let mut observer = Observer::new();
    for event in &events {
        observer.see(event);
    }
    assert_eq!(observer.alarms(), &[]);
}

#[test]
fn coverage_is_handed_on_with_its_share() {
    let coverage = Coverage { read_ns: 75, there_ns: 100, ..Coverage::default() };
    let mut observer = Observer::new();
    observer.see(&Event::Missed { at: Nanos(1), messages: 3 });
    observer.see(&Event::Coverage(coverage));
    let watched = observer.finish();
    assert_eq!((watched.missed, watched.coverage), (3, Some(coverage)));
    assert!((coverage.share() - 0.75).abs() < 1e-9);
    assert!((Coverage::default().share() - 1.0).abs() < 1e-9);
}

#[test]
fn alarms_are_bounded_and_the_rest_is_counted() {
    let both = (1..=150).map(|term| format!("n1>n2 beat {term}\nn3>n2 beat {term}"));
    let observer = watch(&both.collect::<Vec<_>>().join("\n"));
    assert_eq!(observer.alarms().len(), 100);
    let stand = observer.finish().stand(Invariant::ElectionSafety);
    assert_eq!(stand, Some(Stand::Violated(150)));
}

#[test]
fn when_everybody_was_wiped_all_begins_anew() {
    healthy(
        "
        n1>n2 append 2 at 0/0 + 1/2a commit 1
        n2>n1 took 2 1
        end n1
        end n2
        wipe n1
        wipe n2
        n2>n1 append 2 at 0/0 + 1/2b commit 0
        ",
    );
}

#[test]
fn each_kind_that_only_leaders_send_is_a_leaders() {
    let leaders = Kind::ALL.into_iter().filter(|kind| kind.is_leaders());
    assert_eq!(leaders.count(), 4);
}

#[test]
fn answers_of_an_unknown_group_are_not_put_together() {
    // Two groups of one member, each with its own term.
    let script = "n1>n2 refused 50 in ?\nend n1\nstart n1\nn1>n2 refused 3 in ?";
    healthy(script);
    let watched = watch(script).finish();
    assert_eq!((watched.groups.len(), watched.highest_term(), watched.told), (0, 0, 2));
}
