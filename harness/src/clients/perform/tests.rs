//! What each answer makes of a call, one at a time and against systems that lose some.

use super::super::store::{Bug, Store};
use super::*;
use std::collections::VecDeque;

const LIMIT: Duration = Duration::from_secs(1);

type Answered = Result<Answer, Failure>;

/// Answers as told, and writes down what it was asked.
struct Script {
    answers: VecDeque<Answered>,
    asked: Vec<Request>,
}

impl Session for Script {
    fn call(&mut self, request: &Request, _: Duration) -> Answered {
        self.asked.push(request.clone());
        self.answers.pop_front().expect("an answer; nothing more was to be asked")
    }
}

fn called(workload: Workload, f: Function, value: Value, answers: &[Answered]) -> Ran {
    let mut script = Script { answers: answers.to_vec().into(), asked: Vec::new() };
    let call = Call { f, key: "k".into(), value };
    let outcome = perform(&mut script, workload, &call, LIMIT);
    assert!(script.answers.is_empty(), "not everything was asked: {:?}", script.asked);
    (outcome, script.asked)
}

type Ran = (Outcome, Vec<Request>);

fn unknown() -> Answered {
    Err(Failure::Unknown("lost".into()))
}

fn not_done() -> Answered {
    Err(Failure::NotDone("refused".into()))
}

#[expect(clippy::unnecessary_wraps, reason = "one answer among others")]
fn value(text: &str) -> Answered {
    Ok(Answer::Value(Some(text.to_owned())))
}

fn cas(from: &str, to: &str) -> Request {
    Request::Cas { key: "k".into(), from: from.into(), to: to.into() }
}

const ABSENT: Answered = Ok(Answer::Value(None));
const DONE: Answered = Ok(Answer::Done);
const REFUSED: Answered = Ok(Answer::Refused);

#[test]
fn what_changes_something_is_unknown_unless_the_system_decided_it() {
    use Function::{Add, Cas, Make, Remove, Write};
    use Workload::{Files, Register, Set};
    let cases = [
        (Register, Write, json!("v")),
        (Register, Cas, json!(["a", "b"])),
        (Register, Cas, json!([null, "b"])),
        (Register, Remove, Value::Null),
        (Set, Add, json!("v")),
        (Files, Make, Value::Null),
        (Files, Write, json!("v")),
        (Files, Remove, Value::Null),
    ];
    for (workload, f, argument) in cases {
        for (answer, kind, done) in [
            (DONE, Kind::Ok, true),
            (REFUSED, Kind::Ok, false),
            (not_done(), Kind::Fail, true),
            (unknown(), Kind::Info, true),
            // An answer to something else leaves open what became of this.
            (ABSENT, Kind::Info, true),
            (Ok(Answer::Listing(Vec::new())), Kind::Info, true),
        ] {
            let (outcome, _) = called(workload, f, argument.clone(), std::slice::from_ref(&answer));
            let what = format!("{workload:?} {f:?} {argument}: {answer:?}");
            assert_eq!((outcome.kind, outcome.done), (kind, done), "{what}");
            assert_eq!(outcome.value, argument, "{what}");
            assert_eq!(outcome.error.is_some(), kind != Kind::Ok, "{what}");
        }
    }
}

#[test]
fn a_read_is_answered_or_did_nothing_and_shows_nothing_then() {
    use Workload::{Append, Counter, Files, Register, Set};
    for workload in [Register, Append, Counter, Set, Files] {
        for answer in [not_done(), unknown(), DONE, REFUSED] {
            let (outcome, _) =
                called(workload, Function::Read, Value::Null, std::slice::from_ref(&answer));
            let what = format!("{workload:?}: {answer:?}");
            assert_eq!((outcome.kind, outcome.value), (Kind::Fail, Value::Null), "{what}");
        }
    }
    let read = |workload, answer| called(workload, Function::Read, Value::Null, &[answer]).0.value;
    assert_eq!(read(Register, value("v")), json!("v"));
    assert_eq!(read(Register, ABSENT), Value::Null);
    // A register holds text, however it looks.
    assert_eq!(read(Register, value("7")), json!("7"));
    assert_eq!(read(Counter, value("7")), json!(7));
    assert_eq!(read(Counter, ABSENT), json!(0));
    assert_eq!(read(Append, value("[\"a\",\"b\"]")), json!(["a", "b"]));
    assert_eq!(read(Append, ABSENT), Value::Null);
    // What is no list is shown as it is, and is nothing that any order explains.
    assert_eq!(read(Append, value("[\"a\"")), json!("[\"a\""));
}

#[test]
fn a_compare_and_set_of_an_absent_key_creates_it() {
    let (_, asked) = called(Workload::Register, Function::Cas, json!([null, "b"]), &[DONE]);
    assert_eq!(asked, [Request::Create { key: "k".into(), value: "b".into() }]);
    let (_, asked) = called(Workload::Register, Function::Cas, json!(["a", "b"]), &[DONE]);
    assert_eq!(asked, [cas("a", "b")]);
}

#[test]
fn an_append_and_an_addition_are_tried_until_nobody_else_was_faster() {
    let append =
        |answers: &[Answered]| called(Workload::Append, Function::Append, json!("x"), answers);
    let (outcome, asked) = append(&[ABSENT, REFUSED, value("[\"y\"]"), DONE]);
    assert_eq!(outcome, Outcome::ok(json!("x")));
    assert_eq!(asked[1], Request::Create { key: "k".into(), value: "[\"x\"]".into() });
    assert_eq!(asked[3], cas("[\"y\"]", "[\"y\",\"x\"]"));
    let add = |answers: &[Answered]| called(Workload::Counter, Function::Add, json!(-2), answers);
    let (outcome, asked) = add(&[value("5"), REFUSED, value("7"), DONE]);
    assert_eq!(outcome, Outcome::ok(json!(-2)));
    assert_eq!((&asked[1], &asked[3]), (&cas("5", "3"), &cas("7", "5")));
}

#[test]
fn an_update_has_surely_not_happened_until_a_compare_and_set_is_unknown_and_then_ends() {
    for (workload, f, argument) in [
        (Workload::Append, Function::Append, json!("x")),
        (Workload::Counter, Function::Add, json!(3)),
    ] {
        for (answers, kind) in [
            (vec![unknown()], Kind::Fail),
            (vec![not_done()], Kind::Fail),
            (vec![DONE], Kind::Fail),
            (vec![ABSENT, not_done()], Kind::Fail),
            (vec![ABSENT, unknown()], Kind::Info),
            (vec![ABSENT, ABSENT], Kind::Info),
            (vec![ABSENT, REFUSED, unknown()], Kind::Fail),
            (vec![ABSENT, REFUSED, ABSENT, unknown()], Kind::Info),
            // What cannot be read must not be overwritten.
            (vec![value("no JSON")], Kind::Fail),
        ] {
            let (outcome, _) = called(workload, f, argument.clone(), &answers);
            assert_eq!(outcome.kind, kind, "{workload:?}: {answers:?}");
            assert_eq!(outcome.value, argument);
        }
    }
}

#[test]
fn an_update_that_is_always_too_slow_gives_up_and_did_nothing() {
    struct Busy;
    impl Session for Busy {
        fn call(&mut self, request: &Request, limit: Duration) -> Answered {
            assert!(limit <= Duration::from_millis(30), "{limit:?}");
            match request {
                Request::Read { .. } => ABSENT,
                _ => REFUSED,
            }
        }
    }
    let call = Call { f: Function::Append, key: "k".into(), value: json!("x") };
    let limit = Duration::from_millis(30);
    let outcome = perform(&mut Busy, Workload::Append, &call, limit);
    assert_eq!(outcome.kind, Kind::Fail);
}

/// Whatever gets lost: what was answered is there once, what surely did not happen is not, and
/// what nobody knows is there once at most.
#[test]
fn no_loss_makes_an_outcome_wrong() {
    for seed in 0..300 {
        let store = Store::new(Bug::None, 15);
        let mut session = store.session(seed);
        let mut outcomes = Vec::new();
        for i in 0..20 {
            let element = json!(format!("e{i}"));
            let list = Call { f: Function::Append, key: "list".into(), value: element.clone() };
            let list = perform(&mut *session, Workload::Append, &list, LIMIT).kind;
            let sum = Call { f: Function::Add, key: "sum".into(), value: json!(1 << i) };
            let sum = perform(&mut *session, Workload::Counter, &sum, LIMIT).kind;
            let set = Call { f: Function::Add, key: "s".into(), value: element.clone() };
            let set = perform(&mut *session, Workload::Set, &set, LIMIT).kind;
            outcomes.push((element, list, sum, set));
        }
        let list = store.value("list").map_or(json!([]), |text| json_of(Some(text)));
        let list = list.as_array().expect("a list").clone();
        let sum: u64 = store.value("sum").map_or(0, |text| text.parse().expect("a number"));
        for (i, (element, in_list, in_sum, in_set)) in outcomes.into_iter().enumerate() {
            let there = list.iter().filter(|one| **one == element).count();
            let is_right = |kind, there| match kind {
                Kind::Ok => there == 1,
                Kind::Fail => there == 0,
                Kind::Info | Kind::Invoke => there <= 1,
            };
            assert!(is_right(in_list, there), "seed {seed}: {element} is there {there} times");
            assert!(is_right(in_sum, (sum >> i & 1) as usize), "seed {seed}: {sum} and 2^{i}");
            let key = format!("set/s/{}", text(&element));
            let there = usize::from(store.value(&key).is_some());
            assert!(is_right(in_set, there), "seed {seed}: {element} is in the set {there} times");
        }
    }
}
