//! Rules switched by name while raftq runs, and what becomes of packets meanwhile. Needs root; run
//! it by `make test`.

mod api_lab;
mod live_lab;
mod switch_lab;

use api_lab::call;
use live_lab::{Family, LIMIT, NOTHING, Net, Raftq, STEP, Shape, await_more, now_us};
use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::probe::{Probe, What};
use serde_json::{Value, json};
use std::fs;
use switch_lab::{
    UDP, WAITS, asker, must_be_cut, must_be_healed, must_switch, pair, socket, switch,
};

#[test]
fn switched_on_it_cuts_from_the_time_that_is_told_and_off_it_heals() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let trace = format!("{}.trace", std::env::temp_dir().join(net.node(0).name()).display());
    let raftq = Raftq::attach(&net, WAITS, &["--json", "--trace", &trace]);
    let socket = socket(&raftq);
    must_be_healed(&mut asker);
    let mut spans = Vec::new();
    for _ in 0..3 {
        let on = must_switch(&socket, "cut%20it", &json!({ "switch": "on" }));
        let (_, rule) = call(&socket, "GET", "/v1/rules/cut%20it", None);
        assert_eq!((&rule["state"], &rule["switched"]), (&json!("active"), &json!("on")));
        assert_eq!(rule["links"], json!(["n1 -> n2"]));
        must_be_cut(&mut asker);
        let off = must_switch(&socket, "cut%20it", &json!({ "switch": "off" }));
        must_be_healed(&mut asker);
        spans.push(span(&on, &off));
    }
    let (_, list) = call(&socket, "GET", "/v1/rules", None);
    let rule = &list["rules"][0];
    assert_eq!((&rule["state"], &rule["switched"]), (&json!("waiting"), &json!("off")));
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("cut it", "activations"), 3, "{ending}");
    let switched = ending.stderr.matches("\"cut it\" switched on by uid 0, pid ").count();
    assert_eq!(switched, 3, "{ending}");
    // Every packet from the time told on is judged by the table, and none before.
    let lines = fs::read_to_string(&trace).expect("a trace");
    fs::remove_file(&trace).expect("it is there");
    let (mut cut, mut passed) = (0, 0);
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        if line["from"] != "n1" || line.get("len").is_none() {
            continue;
        }
        let t = line["t"].as_f64().expect("a time");
        let inside = spans.iter().any(|(from, to)| t >= *from && t < *to);
        assert_eq!(line["verdict"] == "drop", inside, "{line} and {spans:?}");
        cut += usize::from(inside);
        passed += usize::from(!inside);
    }
    assert!(cut >= 9 && passed >= 15, "{cut} were cut and {passed} passed");
}

/// From one answer to the other, in seconds on the rules' clock.
fn span(from: &Value, to: &Value) -> (f64, f64) {
    let at = |answer: &Value| answer["in_force_s"].as_f64().expect("a time");
    let span = (at(from), at(to));
    assert!(span.0 < span.1, "{span:?}");
    span
}

#[test]
fn for_a_time_and_back_to_what_the_file_says() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rules = "rules:\n  - { name: always, to: n2, do: drop }\n  \
                 - { name: later, at: 1h, for: 1s, to: n2, do: drop }\n  \
                 - { name: asked, at: switch, for: 300ms, to: n2, do: drop }\n";
    let mut raftq = Raftq::attach(&net, rules, &["--json"]);
    let socket = socket(&raftq);
    must_be_cut(&mut asker);
    must_switch(&socket, "always", &json!({ "switch": "off" }));
    must_be_healed(&mut asker);
    must_switch(&socket, "always", &json!({ "switch": "auto" }));
    must_be_cut(&mut asker);
    must_switch(&socket, "always", &json!({ "switch": "off" }));
    for (rule, body, lasts) in [
        ("asked", json!({ "switch": "on" }), 0.3),
        ("asked", json!({ "switch": "on", "for": "500ms" }), 0.5),
        ("later", json!({ "switch": "on", "for": "400ms" }), 0.4),
    ] {
        let before = raftq.stderr().matches(&format!("rule \"{rule}\" ended")).count();
        let answer = must_switch(&socket, rule, &body);
        let until = answer["until_s"].as_f64().expect("it ends");
        let since = answer["in_force_s"].as_f64().expect("it began");
        assert!((until - since - lasts).abs() < 0.1, "{answer}");
        must_be_cut_once(&mut asker);
        wait_for("its end", LIMIT, STEP, || {
            let told = raftq.stderr().matches(&format!("rule \"{rule}\" ended")).count();
            (told > before).then_some(())
        })
        .expect("it ends by itself");
        must_be_healed(&mut asker);
        let (_, rule) = call(&socket, "GET", &format!("/v1/rules/{rule}"), None);
        assert_eq!(rule["state"], "ended", "{rule}");
    }
    let refused = switch(&socket, "asked", &json!({ "switch": "off", "for": "1s" }));
    assert_eq!(refused.0, 400);
    raftq.process().signal(Signal::SIGINT).expect("SIGINT");
    raftq.end().must_be_clean(0);
}

/// It ends by itself with the last rule, be that by the file or by a switch.
#[test]
fn what_is_switched_on_is_waited_for() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rules = "rules: [{ name: cut, to: n2, do: drop, for: 1s }]\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let socket = socket(&raftq);
    let answer = must_switch(&socket, "cut", &json!({ "switch": "on", "for": "2500ms" }));
    let (_, status) = call(&socket, "GET", "/v1/status", None);
    assert!(status["ends_in_s"].as_f64() > Some(1.5), "{status}");
    must_be_cut(&mut asker);
    let ending = raftq.end();
    ending.must_be_clean(0);
    let seconds = ending.json["seconds"].as_f64().expect("a time");
    assert!(seconds >= answer["until_s"].as_f64().expect("a time"), "{ending}");
    assert!(seconds < 5.0, "{ending}");
    must_be_healed(&mut asker);
}

/// A cut that lasts too short for several questions in a row.
fn must_be_cut_once(asker: &mut Probe) {
    await_more(asker, What::TimedOut, 1, now_us() - 100_000);
}

#[test]
fn what_is_held_when_its_rule_is_switched_off_keeps_its_due_time() {
    let net = Net::new(Shape::Namespaces, 2);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", net.peer(1, Family::V4)).expect("up");
    // Else those that come later stay behind those that are held, as in one flow they do.
    let rules = "rules: [{ name: slow, from: n1, to: n2, do: { delay: { by: 600ms, order: free } \
                 } }]\n";
    let trace = format!("{}.trace", std::env::temp_dir().join(net.node(0).name()).display());
    let raftq = Raftq::attach(&net, rules, &["--json", "--trace", &trace]);
    let socket = socket(&raftq);
    let held = || call(&socket, "GET", "/v1/status", None).1["held"].as_u64();
    let sender = net.talk("send", UDP, (0, 1), "--count 300 --every 2ms --size 64");
    wait_for("packets that are held", LIMIT, STEP, || (held() >= Some(50)).then_some(()))
        .expect("the rule holds them");
    let off = must_switch(&socket, "slow", &json!({ "switch": "off" }));
    assert!(held() > Some(0), "they are still held");
    sender.finish(LIMIT).expect("it sends");
    await_more(&mut sink, What::Got, 300, 0);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let off = off["in_force_s"].as_f64().expect("a time");
    let lines = fs::read_to_string(&trace).expect("a trace");
    fs::remove_file(&trace).expect("it is there");
    let (lines, answers): (Vec<Value>, Vec<Value>) = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .partition(|line| line.get("len").is_some());
    let t = |line: &Value| line["t"].as_f64().expect("a time");
    let mut left_late = 0;
    for line in lines.iter().filter(|line| line["from"] == "n1") {
        assert_eq!(line["verdict"] == "delay", t(line) < off, "{line}, off at {off}");
        if line["verdict"] == "delay" {
            let same = |a: &&Value| a["queue"] == line["queue"] && a["id"] == line["id"];
            let answer = answers.iter().find(same).expect("it left");
            assert!(t(answer) - t(line) >= 0.599_9, "{line} {answer}");
            left_late += usize::from(t(answer) > off);
        }
    }
    assert!(left_late >= 50, "{left_late} were held when it was switched off");
    assert_eq!(ending.of_rule("slow", "acted"), left_late as u64, "{ending}");
}

#[test]
fn other_rules_are_loaded_and_switches_stay_with_their_names() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let raftq = Raftq::attach(&net, WAITS, &["--json"]);
    let socket = socket(&raftq);
    must_switch(&socket, "cut%20it", &json!({ "switch": "on" }));
    must_be_cut(&mut asker);
    let two = "rules:\n  - { name: slow, to: n1, do: { delay: 1ms } }\n  \
               - { name: cut it, at: switch, from: n1, to: n2, do: drop }\n";
    let (status, answer) = call(&socket, "PUT", "/v1/rules", Some(two));
    assert_eq!((status, &answer["rules"]), (200, &json!(2)), "{answer}");
    must_be_cut(&mut asker);
    // What is wrong is told with its place, and changes nothing.
    let wrong = "rules: [{ name: cut it, between: [n1, n22], do: drop, fro: 1s }]\n";
    let (status, answer) = call(&socket, "PUT", "/v1/rules?name=my.yaml", Some(wrong));
    assert_eq!(status, 422, "{answer}");
    let diagnostics = answer["diagnostics"].as_array().expect("diagnostics");
    assert_eq!(diagnostics.len(), 2, "{answer}");
    let place = |d: &Value| d["file"] == "my.yaml" && d["line"] == 1 && d["column"].is_u64();
    assert!(diagnostics.iter().all(place), "{answer}");
    must_be_cut(&mut asker);
    let bound = "rules: [{ name: gone, node: n1, do: kill }]\n";
    assert_eq!(call(&socket, "PUT", "/v1/rules", Some(bound)).0, 409);
    let (status, answer) = call(&socket, "PUT", "/v1/rules", Some(NOTHING));
    assert_eq!((status, &answer["rules"]), (200, &json!(0)), "{answer}");
    must_be_healed(&mut asker);
    assert_eq!(switch(&socket, "cut%20it", &json!({ "switch": "off" })).0, 404);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert!(ending.stderr.contains("\"rules\" replaced by"), "{ending}");
}

#[test]
fn many_switch_at_once_and_each_is_answered_when_it_is_in_force() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rule = |i| format!("  - {{ name: r{i}, at: switch, from: n1, to: n2, do: drop }}\n");
    let rules = (0..12).map(rule).collect::<Vec<_>>().concat();
    let raftq = Raftq::attach(&net, &format!("rules:\n{rules}"), &["--json"]);
    let socket = socket(&raftq);
    for to in ["on", "off"] {
        std::thread::scope(|scope| {
            let asks: Vec<_> = (0..12)
                .map(|i| {
                    let socket = &socket;
                    scope.spawn(move || {
                        let rule = format!("r{i}");
                        must_switch(socket, &rule, &json!({ "switch": to }));
                        call(socket, "GET", &format!("/v1/rules/{rule}"), None).1
                    })
                })
                .collect();
            for ask in asks {
                let rule = ask.join().expect("it is answered");
                assert_eq!(rule["switched"], to, "{rule}");
                assert_eq!(rule["state"] == "active", to == "on", "{rule}");
            }
        });
        if to == "on" { must_be_cut(&mut asker) } else { must_be_healed(&mut asker) }
    }
    let ending = raftq.interrupt();
    for i in 0..12 {
        assert_eq!(ending.of_rule(&format!("r{i}"), "activations"), 1, "{ending}");
    }
}

/// The letter that `/proc` shows for a process.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

#[test]
fn what_is_done_to_a_process_is_done_and_undone_by_name() {
    let net = Net::new(Shape::Namespaces, 2);
    let (mut one, mut two) = (net.serve(0, "tcp", Family::V4), net.serve(1, "tcp", Family::V4));
    let (n1, n2) = (one.process().pid(), two.process().pid());
    let rules = "rules:\n  - { name: still, at: switch, node: n1, do: pause }\n  \
                 - { name: gone, at: switch, node: n1, do: kill, optional: true }\n";
    let raftq = Raftq::attach(&net, rules, &["--json", "--allow-process-faults"]);
    let socket = socket(&raftq);
    let stands = |wanted: bool| {
        wait_for("its state", LIMIT, STEP, || (is_stopped(n1) == wanted).then_some(()))
            .expect("it comes to that");
        assert!(!is_stopped(n2));
    };
    let state = || call(&socket, "GET", "/v1/rules/still", None).1["state"].clone();
    assert_eq!(state(), "waiting");
    must_switch(&socket, "still", &json!({ "switch": "on" }));
    stands(true);
    assert_eq!(state(), "active");
    assert_eq!(switch(&socket, "still", &json!({ "switch": "on" })).0, 409);
    must_switch(&socket, "still", &json!({ "switch": "off" }));
    stands(false);
    assert_eq!(state(), "waiting");
    let answer = must_switch(&socket, "still", &json!({ "switch": "on", "for": "300ms" }));
    assert!(answer["until_s"].is_number(), "{answer}");
    stands(true);
    stands(false);
    // Nobody would start it again.
    let (status, answer) = switch(&socket, "gone", &json!({ "switch": "on", "for": "1s" }));
    assert_eq!(status, 409, "{answer}");
    assert!(!is_stopped(n1));
    must_switch(&socket, "still", &json!({ "switch": "on" }));
    stands(true);
    let ending = raftq.interrupt();
    assert_eq!(ending.code, 0, "{ending}");
    // It goes on in any case.
    stands(false);
}
