//! Commands and drivers: what their answers are worth, and what happens when they misbehave.

use super::*;
use crate::owner::{Scratch, runs};

fn call(adapter: &str, request: &Request, limit: Duration) -> std::result::Result<Answer, Failure> {
    session(&read(adapter, &[]).expect("an adapter"), 1).call(request, limit)
}

/// A write by a shell's script, and what its ends mean.
fn command(script: &str) -> String {
    let script = script.replace('\'', "''");
    format!(
        "  write:\n    promise: linearizable\n    command: [sh, -c, '{script}', sh, \
         '{{{{ value }}}}']\n    stdin: 'in {{{{ key }}}}'\n    answers:\n      \
         - {{ when: exit == 0 and body.ok, is: done }}\n      \
         - {{ when: exit == 1, is: refused }}\n      \
         - {{ when: '\"never\" in stderr', is: not done }}\n"
    )
}

fn run(script: &str) -> std::result::Result<Answer, Failure> {
    call(&own(&command(script)), &write(), LIMIT)
}

#[test]
fn a_command_is_judged_by_its_exit_and_what_it_printed() {
    assert_eq!(run(r#"[ "$(cat)-$1" = "in k-v" ] && echo "{\"ok\": true}""#), Ok(Answer::Done));
    assert_eq!(run("exit 1"), Ok(Answer::Refused));
    assert!(is_not_done(&run("echo never >&2; exit 4")));
    for script in ["echo {}", "exit 7", "kill -9 $$", "yes | head -c 17000000"] {
        let found = run(script);
        assert!(is_unknown(&found), "{script}: {found:?}");
    }
    let missing = own(&command("")).replace("[sh,", "[no-such-program,");
    let found = call(&missing, &write(), LIMIT);
    assert!(is_not_done(&found), "{found:?}");
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_what_it_started_and_is_unknown() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    let pids = scratch.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {}; wait", pids.display());
    let found = call(&own(&command(&script)), &write(), Duration::from_millis(500));
    assert!(is_unknown(&found), "{found:?}");
    let text = std::fs::read_to_string(pids).expect("it ran");
    for pid in text.split_whitespace() {
        let pid: u32 = pid.parse().expect("a number");
        let gone = crate::clock::wait_for("its end", LIMIT, Duration::from_millis(5), || {
            (!runs(pid)).then_some(())
        });
        assert!(gone.is_ok(), "{pid} runs on");
    }
}

/// A driver in Python: `answer(line)` is the test's own, and may use `say` and `sys`.
fn driver(scratch: &Scratch, answer: &str) -> String {
    let path = scratch.path().join("driver.py");
    let text = format!(
        "import json, sys, time, os\n\
         def say(line):\n    text = line if isinstance(line, str) else json.dumps(line)\n    \
         print(text, flush=True)\n\
         hello = json.loads(sys.stdin.readline())\n\
         assert hello['node']['name'] == 'n1' and hello['options'] == {{'a': 1}}\n\
         def answer(line):\n{answer}\n\
         say({{'ready': True}})\n\
         for text in sys.stdin:\n    answer(json.loads(text))\n"
    );
    std::fs::write(&path, text).expect("a driver");
    let top = format!(
        "driver: {{ program: python3, args: ['{}'], options: {{ a: 1 }} }}\n",
        path.display()
    );
    let by = |name: &str| format!("  {name}: {{ promise: linearizable, driver: {name} }}\n");
    top + &own(&["write", "read", "list", "cas"].map(by).concat())
}

fn read_key() -> Request {
    Request::Read { key: "k".into() }
}

#[test]
fn a_driver_says_what_its_answers_are_worth() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    let adapter = driver(
        &scratch,
        "    id, op = line['id'], line['op']\n    assert line['limit_ms'] > 0\n    \
         if op == 'read': say({'id': id, 'value': 'it' if line['key'] == 'k' else None})\n    \
         elif op == 'list': say({'id': id, 'listing': [{'key': 'b', 'value': '2'}, \
         {'key': 'a', 'value': '1'}]})\n    \
         elif op == 'cas': say({'id': id, 'is': 'not done', 'why': 'a reason'})\n    \
         else: say({'id': id, 'is': line['value']})\n",
    );
    let adapter = read(&adapter, &[]).expect("an adapter");
    let mut session = session(&adapter, 1);
    let mut ask = |request: Request| session.call(&request, LIMIT);
    assert_eq!(ask(read_key()), Ok(Answer::Value(Some("it".into()))));
    assert_eq!(ask(Request::Read { key: "x".into() }), Ok(Answer::Value(None)));
    let pairs = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
    assert_eq!(ask(Request::List { prefix: String::new() }), Ok(Answer::Listing(pairs)));
    let cas = Request::Cas { key: "k".into(), from: "1".into(), to: "2".into() };
    assert_eq!(ask(cas), Err(Failure::NotDone("a reason".into())));
    let mut write = |value: &str| ask(Request::Write { key: "k".into(), value: value.into() });
    assert_eq!(write("done"), Ok(Answer::Done));
    assert_eq!(write("refused"), Ok(Answer::Refused));
    for value in ["unknown", "nonsense"] {
        assert!(is_unknown(&write(value)), "{value}");
    }
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_calls() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    // The first answer comes only with the second call, and before its own.
    let adapter = driver(
        &scratch,
        "    if line['id'] == 2: say({'id': 1, 'value': 'late'})\n    \
         if line['id'] > 1: say({'id': line['id'], 'value': str(line['id'])})\n",
    );
    // Shared, so that the same process goes on after a call that was given up.
    let adapter = adapter.replace("options:", "shared: true, options:");
    let adapter = read(&adapter, &[]).expect("an adapter");
    let mut session = session(&adapter, 1);
    // Ready within the limit of the first call, however slow the machine is.
    while is_not_done(&session.call(&read_key(), Duration::from_millis(300))) {}
    let second = session.call(&read_key(), LIMIT);
    assert_eq!(second, Ok(Answer::Value(Some("2".into()))));
}

#[test]
fn a_driver_that_misbehaves_leaves_its_call_unknown_and_the_next_one_gets_another() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    for wrong in [
        "sys.exit(3)",
        "say('garbage')",
        "say('[1]')",
        "say({'is': 'done'})",
        "say({'id': 99, 'is': 'done'})",
        "os.close(1); time.sleep(60)",
    ] {
        let mark = scratch.path().join("mark");
        let _ = std::fs::remove_file(&mark);
        let adapter = driver(
            &scratch,
            &format!(
                "    if not os.path.exists('{mark}'):\n        \
                 open('{mark}', 'w').close()\n        \
                 {wrong}\n    \
                 else: say({{'id': line['id'], 'is': 'done'}})\n",
                mark = mark.display()
            ),
        );
        let adapter = read(&adapter, &[]).expect("an adapter");
        let mut session = session(&adapter, 1);
        let first = session.call(&write(), LIMIT);
        assert!(is_unknown(&first), "{wrong}: {first:?}");
        assert_eq!(session.call(&write(), LIMIT), Ok(Answer::Done), "{wrong}");
    }
}

#[test]
fn a_driver_that_is_not_ready_has_done_nothing() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    let file = driver(&scratch, "    pass");
    let path = scratch.path().join("driver.py");
    for text in ["print('{\"ready\": false, \"why\": \"refused\"}')", "", "print('hello')"] {
        std::fs::write(&path, text).expect("a driver");
        let found = call(&file, &write(), LIMIT);
        assert!(is_not_done(&found), "{text}: {found:?}");
    }
    let missing = file.replace("program: python3", "program: no-such-program");
    assert!(is_not_done(&call(&missing, &write(), LIMIT)));
}

#[test]
fn a_driver_is_handed_on_to_the_next_session_and_ends_with_the_adapter() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    let file = driver(&scratch, "    say({'id': line['id'], 'value': str(os.getpid())})");
    let adapter = read(&file, &[]).expect("an adapter");
    let pid = |session: &mut Box<dyn Session>| match session.call(&read_key(), LIMIT) {
        Ok(Answer::Value(Some(pid))) => pid.parse::<u32>().expect("a number"),
        other => panic!("no pid: {other:?}"),
    };
    let mut one = session(&adapter, 1);
    let first = pid(&mut one);
    let mut beside = session(&adapter, 1);
    assert_ne!(pid(&mut beside), first, "two sessions have two drivers");
    drop(one);
    let mut next = session(&adapter, 1);
    assert_eq!(pid(&mut next), first, "the next one gets the one that is free");
    drop((beside, next, adapter));
    assert!(!runs(first), "it outlived the adapter");
}

#[test]
fn a_driver_that_starts_slower_than_calls_last_is_ready_in_the_end() {
    let scratch = Scratch::new("rqunit").expect("a folder");
    let file = driver(&scratch, "    say({'id': line['id'], 'is': 'done'})");
    let path = scratch.path().join("driver.py");
    let text = std::fs::read_to_string(&path).expect("a driver");
    std::fs::write(&path, text.replace("hello =", "time.sleep(0.4)\nhello =")).expect("a driver");
    let adapter = read(&file, &[]).expect("an adapter");
    let ready = crate::clock::wait_for("an answer", LIMIT, Duration::from_millis(1), || {
        // A session that failed is dropped, as clients do.
        let answer = session(&adapter, 1).call(&write(), Duration::from_millis(100));
        (answer == Ok(Answer::Done)).then_some(())
    });
    assert!(ready.is_ok(), "every session began anew");
}
