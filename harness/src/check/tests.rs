//! The clever searches against a stupid one, and small histories with known verdicts.

use super::operation::Operation;
use super::search::{Found, decide, search};
use super::state::{Action, Listing, State, step};
use super::*;
use crate::history::{Call, Function, Kind};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

fn operation(process: u64, action: Action, begin: u64, end: Option<u64>) -> Operation<'static> {
    // A few small calls a case: a test may keep them.
    let call = Box::leak(Box::new(Call {
        process,
        f: if action.only_reads() { Function::Read } else { Function::Write },
        key: "k".into(),
        asked: Value::Null,
        answer: Value::Null,
        kind: if end.is_some() { Kind::Ok } else { Kind::Info },
        done: true,
        begin,
        end,
        is_final: false,
        node: None,
    }));
    Operation { action, begin, end, judged: true, call }
}

/// Tries every order of every choice of unknown operations.
fn brute_force(operations: &[Operation<'_>], state: &State, done: u32) -> bool {
    let left = |i: &usize| done & (1 << i) == 0;
    let answered = |i: &usize| operations[*i].end.is_some();
    if !(0..operations.len()).filter(left).any(|i| answered(&i)) {
        return true;
    }
    (0..operations.len()).filter(left).any(|i| {
        let first = (0..operations.len())
            .filter(left)
            .all(|j| operations[j].end.is_none_or(|end| end >= operations[i].begin));
        first
            && step(state, &operations[i].action)
                .is_some_and(|next| brute_force(operations, &next, done | (1 << i)))
    })
}

/// Begin and length of up to seven operations, some of them unknown.
fn times() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    let one = (0_u64..12, prop_oneof![4 => (0_u64..6).prop_map(Some), 1 => Just(None)]);
    prop::collection::vec(one, 1..8)
        .prop_map(|all| all.into_iter().map(|(b, l)| (b, l.map(|l| b + l))).collect())
}

fn with(actions: Vec<Action>, times: Vec<(u64, Option<u64>)>) -> Vec<Operation<'static>> {
    actions
        .into_iter()
        .zip(times)
        .zip(0..)
        .map(|((action, (begin, end)), process)| {
            // A read without an answer says nothing.
            let end = if action.only_reads() { Some(end.unwrap_or(begin + 3)) } else { end };
            operation(process, action, begin, end)
        })
        .collect()
}

fn agree(operations: &[Operation<'_>], initial: &State) {
    let all: Vec<&Operation<'_>> = operations.iter().collect();
    let expected = if brute_force(operations, initial, 0) { Found::Order } else { Found::None };
    assert_eq!(decide(&all, initial, Budget::default()), expected, "{operations:#?}");
    assert_eq!(search(&all, initial, Budget::default()), expected, "search: {operations:#?}");
    if expected == Found::None {
        let object = operation::Object {
            name: "key k".into(),
            initial: initial.clone(),
            operations: operations.to_vec(),
        };
        let evidence = evidence::of(&object, Budget::default());
        // What is shown contradicts itself, and nothing in it was made up.
        let mut left: Vec<&Operation<'_>> = operations.iter().collect();
        let shown: Vec<Operation<'_>> = evidence
            .lines
            .iter()
            .map(|line| {
                let is_it = |o: &&Operation<'_>| {
                    o.call.process == line.process
                        && o.begin == line.begin
                        && (line.end.is_none() || line.end == o.end)
                };
                let at = left.iter().position(is_it).expect("an operation of the history");
                Operation { end: line.end, ..left.remove(at).clone() }
            })
            .collect();
        assert!(!brute_force(&shown, initial, 0), "{evidence}\n{operations:#?}");
        assert!(shown.len() <= operations.len());
    }
}

fn register() -> impl Strategy<Value = Action> {
    let value = || prop_oneof![1 => Just(None), 4 => (0_u32..3).prop_map(Some)];
    prop_oneof![
        3 => value().prop_map(Action::Read),
        3 => value().prop_map(Action::Write),
        1 => (value(), value()).prop_map(|(from, to)| Action::Cas(from, to)),
        1 => value().prop_map(Action::IsNot),
        1 => Just(Action::Remove),
    ]
}

/// A directory 0 with a file 1 in it, and a directory 2 with a file 3: what a listing of either
/// shows is named 0 for the file and 1 for the directory.
fn listing(inner: bool, names: Option<Vec<u32>>) -> Action {
    let below = if inner { vec![(3, 0)] } else { vec![(1, 0), (2, 1), (3, 1)] };
    let below = Arc::new(below.into_iter().collect());
    Action::List(Listing { directory: Some(if inner { 2 } else { 0 }), names, below })
}

fn tree() -> impl Strategy<Value = Action> {
    let directory = || prop_oneof![Just(0_u32), Just(2)];
    let file = || prop_oneof![Just(1_u32), Just(3)];
    prop_oneof![
        2 => directory().prop_map(Action::Make),
        1 => directory().prop_map(Action::IsThere),
        2 => (file(), 0_u32..3).prop_map(|(n, c)| Action::WriteFile(n, c)),
        2 => (file(), prop::option::of(0_u32..3)).prop_map(|(n, c)| Action::ReadFile(n, c)),
        1 => file().prop_map(Action::RemoveFile),
        1 => file().prop_map(Action::RemoveAnyFile),
        2 => (any::<bool>(), prop::option::of(prop::collection::btree_set(0_u32..2, 0..3)))
            .prop_map(|(inner, names)| listing(inner, names.map(|n| n.into_iter().collect()))),
    ]
}

fn list() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => (0_u32..3).prop_map(Action::Append),
        1 => prop::collection::vec(0_u32..3, 0..3).prop_map(Action::ReadList),
    ]
}

fn set() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => (0_u32..3).prop_map(Action::Put),
        1 => prop::collection::btree_set(0_u32..3, 0..3)
            .prop_map(|set| Action::ReadSet(set.into_iter().collect())),
    ]
}

fn text() -> impl Strategy<Value = Action> {
    let word = || prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned);
    prop_oneof![
        2 => word().prop_map(Action::AddText),
        1 => word().prop_map(Action::PutText),
        2 => prop::collection::vec(word(), 0..3).prop_map(|w| Action::ReadText(w.concat())),
    ]
}

/// Cases of each property; `RAFTQ_CASES` asks for a longer run.
fn cases() -> u32 {
    std::env::var("RAFTQ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1500)
}

/// A register with unique values, as clients make them, and unknown ones among them: every
/// value but 0 is written once at most, in few moments, so that many begin and end together.
fn unique() -> impl Strategy<Value = Vec<Action>> {
    let one = prop_oneof![
        4 => prop::option::weighted(0.9, 1_u32..5).prop_map(Action::Read),
        4 => Just(Action::Write(Some(0))),
    ];
    prop::collection::vec(one, 8).prop_map(|mut all| {
        let mut fresh = 1..;
        for action in &mut all {
            if let Action::Write(value) = action {
                *value = fresh.next();
            }
        }
        all
    })
}

/// Crowded: begin and length of up to eight operations within a few moments.
fn crowded() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    let one = (0_u64..5, prop_oneof![3 => (0_u64..3).prop_map(Some), 1 => Just(None)]);
    prop::collection::vec(one, 1..9)
        .prop_map(|all| all.into_iter().map(|(b, l)| (b, l.map(|l| b + l))).collect())
}

/// The same, more than half of the changes unknown.
fn mostly_unknown() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
    let one = (0_u64..6, prop_oneof![2 => (0_u64..3).prop_map(Some), 3 => Just(None)]);
    prop::collection::vec(one, 4..9)
        .prop_map(|all| all.into_iter().map(|(b, l)| (b, l.map(|l| b + l))).collect())
}

/// A register of two values, so that many changes do the same.
fn few_values() -> impl Strategy<Value = Action> {
    let value = || prop_oneof![1 => Just(None), 4 => (0_u32..2).prop_map(Some)];
    prop_oneof![
        4 => value().prop_map(Action::Read),
        4 => value().prop_map(Action::Write),
        3 => (value(), value()).prop_map(|(from, to)| Action::Cas(from, to)),
        1 => value().prop_map(Action::IsNot),
        1 => Just(Action::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_register_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(register(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::Value(None));
    }

    #[test]
    fn a_register_with_unique_values_gets_the_verdict_of_brute_force(
        reads in prop::collection::vec(prop::option::of(0_u32..7), 7), times in times(),
    ) {
        // Every other operation writes a value of its own.
        let action = |(i, read): (usize, Option<u32>)| match i % 2 {
            0 => Action::Write(Some(i as u32)),
            _ => Action::Read(read),
        };
        let actions = reads.into_iter().enumerate().map(action).collect();
        agree(&with(actions, times), &State::Value(None));
    }

    #[test]
    fn zones_decide_crowded_histories_as_brute_force_does(
        actions in unique(), times in crowded(), first in prop::option::of(Just(1_u32)),
    ) {
        // A value that nobody writes, or none.
        let initial = State::Value(first.map(|_| 9));
        let operations = with(actions, times);
        let all: Vec<&Operation<'_>> = operations.iter().collect();
        let expected = brute_force(&operations, &initial, 0);
        prop_assert_eq!(zones::decide(&all, &initial), Some(expected), "{:#?}", operations);
        agree(&operations, &initial);
    }

    #[test]
    fn a_crowded_register_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(register(), 8), times in crowded(),
    ) {
        agree(&with(actions, times), &State::Value(None));
    }

    /// Few values, and most changes unknown: what search passes over, it must find elsewhere.
    #[test]
    fn a_register_of_mostly_unknown_changes_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(few_values(), 8), times in mostly_unknown(),
    ) {
        agree(&with(actions, times), &State::Value(None));
    }

    #[test]
    fn a_text_of_mostly_unknown_changes_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(text(), 8), times in mostly_unknown(),
    ) {
        agree(&with(actions, times), &State::Text(String::new()));
    }

    #[test]
    fn a_tree_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(tree(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::Tree(BTreeMap::new()));
    }

    #[test]
    fn a_list_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(list(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::List(Vec::new()));
    }

    #[test]
    fn a_set_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(set(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::Set(Vec::new()));
    }

    #[test]
    fn a_text_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(text(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::Text(String::new()));
    }

    #[test]
    fn a_sum_gets_the_verdict_of_brute_force(
        numbers in prop::collection::vec((any::<bool>(), -2_i64..4), 7), times in times(),
    ) {
        let action = |(add, n)| if add { Action::Add(n) } else { Action::ReadSum(n) };
        agree(&with(numbers.into_iter().map(action).collect(), times), &State::Sum(0));
    }

    /// Whatever the direct questions call a violation has no order either.
    #[test]
    fn direct_questions_never_accuse_a_history_that_has_an_order(
        actions in prop::collection::vec(prop_oneof![set(), list()], 7), times in times(),
        is_set in any::<bool>(),
    ) {
        let (keep, initial): (fn(&Action) -> bool, _) = if is_set {
            (|a| matches!(a, Action::Put(_) | Action::ReadSet(_)), State::Set(Vec::new()))
        } else {
            (|a| matches!(a, Action::Append(_) | Action::ReadList(_)), State::List(Vec::new()))
        };
        let mut elements = std::collections::HashSet::new();
        // Elements are added once, as clients do.
        let once = |a: &Action| match a {
            Action::Put(e) | Action::Append(e) => elements.insert(*e),
            _ => true,
        };
        let actions: Vec<Action> = actions.into_iter().filter(keep).filter(once).collect();
        let operations = with(actions, times);
        let object =
            operation::Object { name: "it".into(), initial: initial.clone(), operations };
        let objects = [object];
        let check = if is_set { direct::set(&objects) } else { direct::append(&objects) };
        if matches!(check.verdict, Verdict::Violated { .. }) {
            prop_assert!(!brute_force(&objects[0].operations, &initial, 0), "{check:#?}");
        }
    }
}

#[test]
fn a_budget_that_ends_leaves_it_undecided() {
    // Twenty additions at once, and a sum that no choice of them makes.
    let mut operations: Vec<Operation<'_>> =
        (0..20).map(|i| operation(i, Action::Add(2 << i), 0, Some(100))).collect();
    operations.push(operation(20, Action::ReadSum(1), 200, Some(201)));
    let all: Vec<&Operation<'_>> = operations.iter().collect();
    let few = Budget { configurations: 1000 };
    assert_eq!(search(&all, &State::Sum(0), few), Found::Exhausted);
}
