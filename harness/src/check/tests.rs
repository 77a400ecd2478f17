//! The clever searches against a stupid one, and small histories with known verdicts.

use super::operation::Operation;
use super::search::{Found, decide, search};
use super::state::{Action, State, step};
use super::*;
use crate::history::{Call, Function, Kind};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

fn operation(action: Action, begin: u64, end: Option<u64>) -> Operation {
    let call = Call {
        process: begin,
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
    };
    Operation { action, begin, end, judged: true, call }
}

/// Tries every order of every choice of unknown operations.
fn brute_force(operations: &[Operation], state: &State, done: u32) -> bool {
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

fn with(actions: Vec<Action>, times: Vec<(u64, Option<u64>)>) -> Vec<Operation> {
    actions
        .into_iter()
        .zip(times)
        .map(|(action, (begin, end))| {
            // A read without an answer says nothing.
            let end = if action.only_reads() { Some(end.unwrap_or(begin + 3)) } else { end };
            operation(action, begin, end)
        })
        .collect()
}

fn agree(operations: &[Operation], initial: &State) {
    let all: Vec<&Operation> = operations.iter().collect();
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
        let shown: Vec<Operation> = evidence
            .lines
            .iter()
            .map(|line| {
                let of = |o: &&Operation| o.begin == line.begin && o.call.process == line.process;
                let whole =
                    operations.iter().filter(of).find(|o| line.end.is_none() || o.end == line.end);
                Operation { end: line.end, ..whole.expect("an operation of the history").clone() }
            })
            .collect();
        // Two operations of one moment cannot be told apart by their lines.
        let mut begins: Vec<u64> = operations.iter().map(|o| o.begin).collect();
        begins.sort_unstable();
        begins.dedup();
        if begins.len() == operations.len() {
            assert!(!brute_force(&shown, initial, 0), "{evidence}\n{operations:#?}");
        }
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

fn directory() -> impl Strategy<Value = Action> {
    let name = || 0_u32..2;
    prop_oneof![
        1 => Just(Action::Make),
        1 => Just(Action::IsThere),
        2 => (name(), 0_u32..3).prop_map(|(n, c)| Action::WriteFile(n, c)),
        2 => (name(), prop::option::of(0_u32..3)).prop_map(|(n, c)| Action::ReadFile(n, c)),
        1 => name().prop_map(Action::RemoveFile),
        1 => name().prop_map(Action::RemoveAnyFile),
        2 => prop::option::of(prop::collection::btree_set(name(), 0..3))
            .prop_map(|names| Action::List(names.map(|n| n.into_iter().collect()))),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

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
    fn a_directory_gets_the_verdict_of_brute_force(
        actions in prop::collection::vec(directory(), 7), times in times(),
    ) {
        agree(&with(actions, times), &State::Directory(false, BTreeMap::new()));
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
    let mut operations: Vec<Operation> =
        (0..20).map(|i| operation(Action::Add(2 << i), 0, Some(100))).collect();
    operations.push(operation(Action::ReadSum(1), 200, Some(201)));
    let all: Vec<&Operation> = operations.iter().collect();
    let few = Budget { configurations: 1000 };
    assert_eq!(search(&all, &State::Sum(0), few), Found::Exhausted);
}
