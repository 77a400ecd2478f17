//! Two folders, written by hand, and what is said of them.

use super::*;
use std::fs;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a temporary file");
    }
    folder
}

fn compared(first: &[(&str, &str)], second: &[(&str, &str)]) -> Comparison {
    let (first, second) = (folder(first), folder(second));
    Comparison::of(first.path(), second.path())
}

const EVENTS: &str = r#"{"t_ns":1000000000,"rule":"cut","what":"bound: n1>n2","nodes":["n1>n2"]}
{"t_ns":1000000000,"rule":"cut","what":"active"}
{"t_ns":3000000000,"rule":"cut","what":"ended"}
{"t_ns":4000000000,"rule":"gone","what":"kill n3; silent from here on","nodes":["n3"]}
{"t_ns":4010000000,"rule":"gone","what":"n3 kill done","nodes":["n3"]}
{"t_ns":4500000000,"rule":"wire","what":"n2 leads in term 2","nodes":["n2"]}
"#;

#[test]
fn a_schedule_is_the_same_but_for_what_the_system_did() {
    let moved = EVENTS
        .replace("1000000000", "1040000000")
        .replace("4500000000", "9900000000")
        .replace("4010000000", "4900000000");
    let same = compared(&[("events.jsonl", EVENTS)], &[("events.jsonl", &moved)]).schedule;
    assert_eq!((same.events, same.same, same.apart_ns), (4, 4, 40_000_000));
    assert!(same.differences.is_empty(), "{:?}", same.differences);
}

#[test]
fn what_differs_is_told() {
    let other = EVENTS
        .replace("\"nodes\":[\"n1>n2\"]", "\"nodes\":[\"n2>n1\"]")
        .replace("3000000000", "3200000000")
        .replace("\"rule\":\"gone\"", "\"rule\":\"lost\"");
    let schedule = compared(&[("events.jsonl", EVENTS)], &[("events.jsonl", &other)]).schedule;
    assert_eq!((schedule.events, schedule.same), (4, 1));
    let wanted = [
        "\"cut\" bound at 1.000 s: n2>n1, was n1>n2",
        "\"cut\" ended at 3.200 s, was at 3.000 s",
        "\"gone\" kill at 4.000 s: not repeated",
        "\"lost\" kill at 4.000 s: only now",
    ];
    assert_eq!(schedule.differences, wanted);
}

const HEAD: &str = "{\"raftq_history\":1,\"workload\":\"register\",\"seed\":7}\n";

fn history(lines: &[&str]) -> String {
    let line = |line: &&str| format!("{{\"t\":1,\"type\":\"invoke\",{line}}}\n");
    HEAD.to_owned() + &lines.iter().map(line).collect::<String>()
}

#[test]
fn calls_are_compared_as_far_as_both_went() {
    let first = history(&[
        r#""process":0,"f":"write","key":"k0.3","value":"c0.1""#,
        r#""process":1,"f":"read","key":"k1.0","value":null"#,
        r#""process":0,"f":"cas","key":"k1.1","value":["c1.4","c0.2"]"#,
        r#""process":2,"client":0,"f":"read","key":"k2.0","value":null"#,
        r#""process":9,"f":"read","key":"k2.0","value":null,"final":true"#,
    ]);
    let second = history(&[
        r#""process":1,"f":"read","key":"k1.5","value":null"#,
        r#""process":1,"f":"read","key":"k1.5","value":null"#,
        r#""process":0,"f":"write","key":"k0.0","value":"c0.1""#,
        r#""process":0,"f":"cas","key":"k1.0","value":[null,"c0.2"]"#,
        r#""process":0,"f":"read","key":"k0.0","value":null"#,
    ]);
    let files = [("history.jsonl", first.as_str())];
    let all = compared(&files, &[("history.jsonl", &second)]);
    let [calls] = all.calls.as_slice() else { panic!("one history") };
    assert_eq!((calls.clients, calls.common, calls.alike, calls.made), (2, 4, 3, [4, 5]));
    assert_eq!(calls.differences, ["client 0, call 3: read k0 null, was read k2 null"]);
    let text = all.to_string();
    assert!(text.contains("calls: 3 of 4 that 2 clients made in both are the same"), "{text}");
    assert!(text.contains("not compared, since not both runs logged"), "{text}");
}

#[test]
fn decisions_are_compared_where_both_are_there() {
    let line = |to: &str, verdict: &str| {
        format!(
            "{{\"t\":1,\"from\":\"n1\",\"to\":\"{to}\",\"rule\":\"r\",\"verdict\":\"{verdict}\"}}\n"
        )
    };
    let plain = "{\"t\":1,\"from\":\"n1\",\"to\":\"n2\",\"verdict\":\"accept\"}\n";
    let first = line("n2", "drop") + plain + &line("n2", "delay") + &line("n3", "drop");
    let second = line("n2", "drop") + &line("n2", "drop") + &line("n3", "drop") + plain;
    let files = [("trace.jsonl", first.as_str())];
    let decisions = compared(&files, &[("trace.jsonl", &second)]).decisions.expect("both");
    assert_eq!((decisions.decided, decisions.alike), ([3, 3], 2));
    assert!(compared(&files, &[]).decisions.is_none());
}
