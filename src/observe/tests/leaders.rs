//! Who leads, and what turns, as the verdict loop is told.

use super::super::{Event, Leaders, Role, Turn, adopted_term};
use super::events;
use crate::packet::NodeId;
use crate::wire::{Group, Kind, Message, Position};

/// Hears a script; the turns of each line.
fn hear(leaders: &mut Leaders, script: &str) -> Vec<Vec<Turn>> {
    let heard = events(script).into_iter().map(|event| {
        let Event::Seen(seen) = event else { panic!("messages only") };
        leaders.hear(seen.from, &seen.message, &seen.entries).iter().collect()
    });
    heard.collect()
}

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

#[test]
fn an_election_turns_step_by_step() {
    let mut leaders = Leaders::default();
    let turns = hear(
        &mut leaders,
        "
        n2>n1 prevote 5 last 3/4
        n2>n1 vote 5 last 3/4
        n2>n3 vote 5 last 3/4
        n1>n2 granted 5
        n2>n1 append 5 at 2/4 + 3/4
        n2>n1 append 5 at 3/4 + 4/5
        n2>n1 append 5 at 4/5 + 5/5
        ",
    );
    assert_eq!(
        turns,
        [
            vec![],
            vec![Turn::TermChange { term: 5, by: N2 }, Turn::ElectionStarted { node: N2, term: 5 }],
            vec![],
            vec![],
            vec![Turn::LeaderElected { node: N2, term: 5 }],
            vec![Turn::FirstEntry { node: N2, term: 5 }],
            vec![],
        ]
    );
    assert_eq!(leaders.leader(), Some((N2, 5)));
    assert_eq!((leaders.role(N2), leaders.role(N1)), (Role::Leader, Role::Follower));
    assert_eq!(
        (leaders.role(NodeId(3)), leaders.role(NodeId(500))),
        (Role::Unknown, Role::Unknown)
    );
    // All of it may come of one message.
    let turns = hear(&mut leaders, "n1>n2 append 7 at 4/5 + 5/7");
    let term = 7;
    assert_eq!(
        turns[0],
        [
            Turn::TermChange { term, by: N1 },
            Turn::LeaderElected { node: N1, term },
            Turn::FirstEntry { node: N1, term },
        ]
    );
}

#[test]
fn an_old_leader_is_not_believed_and_a_candidate_is_one() {
    let mut leaders = Leaders::default();
    hear(&mut leaders, "n1>n2 beat 4\nn2>n1 vote 5 last 3/4");
    assert_eq!((leaders.role(N1), leaders.role(N2)), (Role::Leader, Role::Candidate));
    assert_eq!(leaders.leader(), Some((N1, 4)), "nobody else was heard to lead");
    hear(&mut leaders, "n2>n1 beat 5\nn1>n2 beat 4\nn1>n3 append 4 at 1/1 + 2/4");
    assert_eq!(leaders.leader(), Some((N2, 5)));
    assert_eq!((leaders.role(N1), leaders.role(N2)), (Role::Follower, Role::Leader));
    assert_eq!(leaders.term(), 5);
    // A leader that stands again is a candidate.
    hear(&mut leaders, "n2>n1 vote 6 last 3/4");
    assert_eq!(leaders.role(N2), Role::Candidate);
}

#[test]
fn a_leader_without_a_node_leads_once_its_node_is_known() {
    let mut leaders = Leaders::default();
    let beat = Message { term: Some(3), ..Message::new(Kind::Heartbeat) };
    assert!(leaders.hear(None, &beat, &[]).is_empty());
    assert_eq!((leaders.leader(), leaders.term()), (None, 3));
    let turns: Vec<Turn> = leaders.hear(Some(N1), &beat, &[]).iter().collect();
    let term = 3;
    assert_eq!(turns, [Turn::TermChange { term, by: N1 }, Turn::LeaderElected { node: N1, term }]);
}

#[test]
fn what_nobody_known_has_shown_is_told_by_the_first_who_is() {
    let mut leaders = Leaders::default();
    hear(&mut leaders, "n1>n2 beat 2");
    let term = 3;
    let vote = Message { term: Some(term), ..Message::new(Kind::VoteRequest) };
    let previous = Some(Position { index: 1, term });
    let append = Message { entries: 1, previous, kind: Kind::Append, ..vote };
    let mut turns = |from, message| leaders.hear(from, &message, &[]).iter().collect::<Vec<_>>();
    assert_eq!(turns(None, vote), []);
    // One who is behind shows nothing new.
    let beat = Message { term: Some(2), ..Message::new(Kind::Heartbeat) };
    assert_eq!(turns(Some(N1), beat), []);
    let started = Turn::ElectionStarted { node: N2, term };
    assert_eq!(turns(Some(N2), vote), [Turn::TermChange { term, by: N2 }, started]);
    assert_eq!(turns(Some(N1), vote), []);
    assert_eq!(turns(None, append), []);
    let node = N2;
    assert_eq!(
        turns(Some(N2), append),
        [Turn::LeaderElected { node, term }, Turn::FirstEntry { node, term }]
    );
    assert_eq!(turns(Some(N2), append), []);
}

#[test]
fn each_group_has_terms_that_were_there_before() {
    let mut leaders = Leaders::default();
    hear(&mut leaders, "n1>n2 beat 57 in _meta_");
    assert!(!leaders.is_watched(57) && leaders.is_watched(58));
    hear(&mut leaders, "n2>n3 beat 3 in S-R3F-a");
    assert!(!leaders.is_watched(3) && leaders.is_watched(4));
    let mut leaders = Leaders::default();
    hear(&mut leaders, "n2>n3 vote 3 last 0/0");
    assert!(!leaders.is_watched(2) && leaders.is_watched(3));
}

#[test]
fn the_group_that_counts_is_the_first_without_an_underscore_or_the_one_asked_for() {
    let script = "
        n1>n2 beat 4 in _meta_
        n2>n1 beat 2 in S-R3F-one
        n3>n1 beat 9 in S-R3F-two
    ";
    let led = |group: Option<&str>| {
        let mut leaders = Leaders::of(group);
        hear(&mut leaders, script);
        leaders.leader()
    };
    assert_eq!(led(None), Some((N2, 2)));
    assert_eq!(led(Some("_meta_")), Some((N1, 4)));
    assert_eq!(led(Some("S-R3F-t*")), Some((NodeId(3), 9)));
    assert_eq!(led(Some("C-*")), None);
    let mut leaders = Leaders::default();
    assert_eq!(hear(&mut leaders, "n1>n2 beat 4 in _meta_")[0].len(), 2);
    assert_eq!(leaders.leader(), Some((N1, 4)), "the only one there is");
}

#[test]
fn the_group_asked_for_finds_a_place_among_many() {
    let mut leaders = Leaders::of(Some("wanted"));
    for i in 0..40 {
        hear(&mut leaders, &format!("n1>n2 beat 4 in group{i}"));
    }
    assert_eq!(leaders.leader(), None);
    hear(&mut leaders, "n2>n1 beat 2 in wanted");
    assert_eq!(leaders.leader(), Some((N2, 2)));
}

#[test]
fn only_what_a_sender_stands_by_is_its_term() {
    let term = |kind, granted| {
        adopted_term(&Message { term: Some(5), granted, ..Message::new(kind) }).is_some()
    };
    let adopted: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| term(kind, None)).collect();
    let not = [Kind::PreVoteRequest, Kind::PreVoteAnswer, Kind::Other];
    assert_eq!(adopted.len() + not.len(), Kind::ALL.len());
    assert!(not.iter().all(|kind| !adopted.contains(kind)));
    assert!(term(Kind::PreVoteAnswer, Some(false)) && !term(Kind::PreVoteAnswer, Some(true)));
    assert_eq!(adopted_term(&Message { term: Some(0), ..Message::new(Kind::Heartbeat) }), None);
}

#[test]
fn answers_whose_group_is_not_known_take_no_place_and_never_count() {
    let mut leaders = Leaders::default();
    let lost = Message { group: Group::UNKNOWN, ..Message::new(Kind::AppendAnswer) };
    assert!(leaders.hear(Some(N1), &lost, &[]).is_empty());
    let refused = Message { kind: Kind::VoteAnswer, granted: Some(false), term: Some(9), ..lost };
    assert!(leaders.hear(Some(N1), &refused, &[]).is_empty());
    assert_eq!((leaders.group(), leaders.term()), (None, 0));
    // Nor does a group of which no term was heard.
    hear(&mut leaders, "n1>n2 other 3 in S-R3F-quiet\nn1>n2 beat 4 in S-R3F-one");
    assert_eq!(leaders.group(), Some(Group::named(b"S-R3F-one")));
    assert_eq!(leaders.leader(), Some((N1, 4)));
}
