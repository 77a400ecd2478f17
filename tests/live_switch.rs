//! Rules switched by name while raftq runs: by the control socket, by `raftq rules` and by the
//! loopback, and what becomes of packets meanwhile. Needs root; run it by `make test`.

mod api_lab;
mod live_lab;

use api_lab::{call, must_be_described};
use live_lab::{
    Family, LIMIT, NOTHING, Net, RAFTQ, Raftq, STEP, Shape, await_more, between, now_us,
};
use nix::sys::signal::Signal;
use raftq_harness::clock::{now, since, wait_for};
use raftq_harness::probe::{Probe, What};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const UDP: (&str, Family) = ("udp", Family::V4);
const ASK: &str = "--count 60000 --every 10ms --timeout 100ms";

/// Nothing happens until somebody switches it on.
const WAITS: &str = "rules: [{ name: cut it, at: switch, from: n1, to: n2, do: drop }]\n";

fn pair() -> (Net, Probe) {
    let net = Net::new(Shape::Namespaces, 2);
    let server = net.serve(1, "udp", Family::V4);
    (net, server)
}

fn asker(net: &Net) -> Probe {
    let mut asker = net.talk("ask", UDP, (0, 1), ASK);
    await_more(&mut asker, What::Answered, 3, 0);
    asker
}

fn must_be_cut(asker: &mut Probe) {
    let from_us = now_us();
    let events = await_more(asker, What::TimedOut, 3, from_us);
    let answered = between(&events, What::Answered, from_us, u64::MAX);
    assert!(answered.len() <= 1, "{answered:?} were answered");
}

fn must_be_healed(asker: &mut Probe) {
    await_more(asker, What::Answered, 5, now_us());
}

/// The control socket of a raftq that has just attached.
fn socket(raftq: &Raftq<'_>) -> PathBuf {
    wait_for("the control socket", LIMIT, STEP, || sockets(&raftq.file("run")).pop())
        .expect("it is there")
}

fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "sock")).collect()
}

fn switch(socket: &Path, rule: &str, body: &Value) -> (u16, Value) {
    call(socket, "POST", &format!("/v1/rules/{rule}"), Some(&body.to_string()))
}

fn must_switch(socket: &Path, rule: &str, body: &Value) -> Value {
    let (status, answer) = switch(socket, rule, body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// `raftq rules ...` of that raftq's host.
fn command(raftq: &Raftq<'_>, args: &[&str]) -> Output {
    let mut command = Command::new(RAFTQ);
    command.env("RAFTQ_RUN_DIR", raftq.file("run")).arg("rules").args(args);
    command.output().expect("raftq runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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
        spans.push((&on, &off).into_span());
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

trait Span {
    fn into_span(self) -> (f64, f64);
}

impl Span for (&Value, &Value) {
    /// From one answer to the other, in seconds on the rules' clock.
    fn into_span(self) -> (f64, f64) {
        let at = |answer: &Value| answer["in_force_s"].as_f64().expect("a time");
        let span = (at(self.0), at(self.1));
        assert!(span.0 < span.1, "{span:?}");
        span
    }
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
    let rules: String = (0..12)
        .map(|i| format!("  - {{ name: r{i}, at: switch, from: n1, to: n2, do: drop }}\n"))
        .collect();
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

#[test]
fn somebody_who_is_stuck_delays_neither_others_nor_the_end() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let raftq = Raftq::attach(&net, WAITS, &["--json"]);
    let socket = socket(&raftq);
    let half = b"POST /v1/rules/cut%20it HTTP/1.1\r\nContent-Length: 50\r\n\r\n{";
    let stuck: Vec<UnixStream> = (0..40)
        .map(|i| {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            let said = if i % 2 == 0 { &b""[..] } else { &half[..] };
            // Those who have been here longest made room for others.
            let _ = stream.write_all(said);
            stream
        })
        .collect();
    let start = now();
    must_switch(&socket, "cut%20it", &json!({ "switch": "on" }));
    assert!(since(start) < Duration::from_secs(1), "{:?}", since(start));
    must_be_cut(&mut asker);
    let start = now();
    raftq.interrupt().must_be_clean(0);
    assert!(since(start) < Duration::from_secs(3), "{:?}", since(start));
    must_be_healed(&mut asker);
    drop(stuck);
}

#[test]
fn another_user_is_refused_even_where_he_reaches_the_socket() {
    let (net, _server) = pair();
    let raftq = Raftq::attach(&net, WAITS, &["--json"]);
    let socket = socket(&raftq);
    let mode = fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A copy that everybody may run.
    let program = raftq.file("anybody");
    fs::copy(RAFTQ, &program).expect("a copy");
    let ask = || {
        let mut command = Command::new(&program);
        command.env("RAFTQ_RUN_DIR", raftq.file("run")).args(["rules", "off", "cut it"]);
        let output = command.uid(65_534).gid(65_534).output().expect("raftq runs as nobody");
        (output.status.code(), text(&output.stderr))
    };
    let folder = program.parent().expect("a folder").to_owned();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("its owner");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("its owner");
    let (code, said) = ask();
    assert!(code == Some(5) && said.contains("sudo raftq rules"), "{code:?} {said}");
    fs::set_permissions(raftq.file("run"), Permissions::from_mode(0o755)).expect("its owner");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("its owner");
    let (code, said) = ask();
    assert!(code == Some(4) && said.contains("not yours (uid 65534"), "{code:?} {said}");
    let (_, rule) = call(&socket, "GET", "/v1/rules/cut%20it", None);
    assert_eq!(rule["switched"], "auto", "{rule}");
    raftq.interrupt();
}

#[test]
fn people_switch_by_the_command_and_are_told_ways_out() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let raftq = Raftq::attach(&net, WAITS, &["--json"]);
    socket(&raftq);
    let output = command(&raftq, &["on", "cut it", "--for", "1h"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.starts_with("\"cut it\" is on since ") && said.contains(", until "), "{said}");
    must_be_cut(&mut asker);
    let listed = text(&command(&raftq, &["list"]).stdout);
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["rule", "state", "switched", "matched", "acted", "do"]);
    assert_eq!(lines[1][..4], ["cut", "it", "active", "on"], "{listed}");
    let json: Value =
        serde_json::from_slice(&command(&raftq, &["auto", "cut it", "--json"]).stdout)
            .expect("a document");
    assert_eq!(json["switched"], "auto", "{json}");
    must_be_healed(&mut asker);
    let file = raftq.file("other.yaml");
    let file = file.to_str().expect("a plain path");
    fs::write(file, "rules: [{ name: b, form: n1, do: drop }]\n").expect("a file");
    for (args, code, words) in [
        (&["off", "cut at"][..], 4, "did you mean `cut it`?"),
        (&["load", file], 4, "other.yaml:1:"),
        (&["load", "/nowhere.yaml"], 4, "/nowhere.yaml cannot be read"),
        (&["list", "--run", "none"], 5, "no raftq runs as none"),
    ] {
        let output = command(&raftq, args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?} {said}");
        assert!(said.contains(words), "{args:?} {said}");
    }
    fs::write(file, "rules: [{ name: b, from: n1, do: drop }]\n").expect("a file");
    let output = command(&raftq, &["load", file]);
    assert!(text(&output.stdout).contains("1 rules"), "{}", text(&output.stderr));
    must_be_cut(&mut asker);
    let net2 = Net::new(Shape::Namespaces, 2);
    let shared = format!("RAFTQ_RUN_DIR={}", raftq.file("run").display());
    let second = Raftq::attach(&net2, WAITS, &[&shared, "--json"]);
    wait_for("both sockets", LIMIT, STEP, || {
        (sockets(&raftq.file("run")).len() == 2).then_some(())
    })
    .expect("each has one");
    let output = command(&raftq, &["list"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert_eq!(said.matches("nodes n1, n2").count(), 2, "{said}");
    let id = sockets(&raftq.file("run"))[0].file_stem().expect("its id").to_owned();
    let output = command(&raftq, &["list", "--run", id.to_str().expect("hexadecimal")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    second.interrupt();
    let folder = raftq.file("run");
    raftq.interrupt();
    assert!(sockets(&folder).is_empty());
    let output = Command::new(RAFTQ).env("RAFTQ_RUN_DIR", &folder).args(["rules", "list"]).output();
    let output = output.expect("raftq runs");
    assert!(text(&output.stderr).contains("no raftq runs on this host; start one"));
}

/// Asks by the loopback, as a browser or a script does.
fn ask(at: &str, host: &str, head: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let length = body.len();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let more: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    let all =
        format!("{line} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(all.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (top, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = top.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    let value = serde_json::from_str(body).expect("JSON");
    let (method, target) = line.split_once(' ').expect("a request line");
    must_be_described(method, target, status, &value);
    (status, value)
}

#[test]
fn the_loopback_serves_those_on_this_host_and_no_web_page() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, WAITS, &["--json", "--listen", "127.0.0.1:0"]);
    let line = raftq.await_line("the API is at http://");
    let at = line.rsplit("http://").next().expect("an address").trim().to_owned();
    let json = "Content-Type: application/json";
    let on = "{\"switch\":\"on\"}";
    let post = format!("POST /v1/rules/cut%20it\n{json}");
    for (host, head, body, status) in [
        ("evil.example", post.clone(), on, 403),
        (&at, format!("{post}\nOrigin: http://evil.example"), on, 403),
        (&at, "POST /v1/rules/cut%20it\nContent-Type: text/plain".into(), on, 415),
        (&at, post.clone(), "{", 400),
        (&at, "POST /v1/rules/other\nContent-Type: application/json".into(), on, 404),
        (&at, "GET /v1/nothing".into(), "", 404),
        (&at, "DELETE /v1/rules".into(), "", 405),
        (&at, "PUT /v1/rules\nContent-Type: application/yaml".into(), "rules: {", 422),
    ] {
        let (got, answer) = ask(&at, host, &head, body);
        assert_eq!(got, status, "{head} {answer}");
        assert!(answer["way_out"].as_str().is_some_and(|w| !w.is_empty()), "{answer}");
    }
    must_be_healed(&mut asker);
    let (status, answer) = ask(&at, &at, &post, on);
    assert_eq!(status, 200, "{answer}");
    assert!(answer["by"].as_str().is_some_and(|by| by.starts_with("127.0.0.1:")), "{answer}");
    must_be_cut(&mut asker);
    // Another cannot have the same address, and is told before it touches anything.
    let other = Net::new(Shape::Namespaces, 2);
    let taken = Raftq::start(&other, WAITS, &["--listen", &at]).end();
    assert!(taken.code == 5 && taken.stderr.contains("another port"), "{taken}");
    let outside = Raftq::start(&other, WAITS, &["--listen", "0.0.0.0:0"]).end();
    assert!(outside.stderr.contains("no loopback address"), "{outside}");
    raftq.interrupt().must_be_clean(0);
}

/// Whatever is under way when somebody presses Ctrl-C is answered, and raftq ends as ever.
#[test]
fn calls_that_are_under_way_at_the_end_are_answered() {
    let (net, _server) = pair();
    let raftq = Raftq::attach(&net, WAITS, &["--json"]);
    let socket = socket(&raftq);
    let pid = raftq_pid(&socket);
    let answers = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8)
            .map(|i| {
                let socket = &socket;
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    // Until raftq is gone.
                    while let Ok(mut stream) = UnixStream::connect(socket) {
                        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
                        let body = format!("{{\"switch\":\"{}\"}}", ["on", "off"][i % 2]);
                        let head = "POST /v1/rules/cut%20it HTTP/1.1\r\nContent-Type: \
                                    application/json";
                        let length = body.len();
                        let all = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
                        let mut answer = String::new();
                        let sent = stream.write_all(all.as_bytes());
                        let heard = stream.read_to_string(&mut answer);
                        // It was never let in, or has its answer: nothing ends half-way.
                        let whole = answer.contains("\r\n\r\n{") && answer.ends_with("}\n");
                        assert!(whole || answer.is_empty(), "{sent:?} {heard:?} {answer}");
                        answers.push(answer.split(' ').nth(1).map(str::to_owned));
                    }
                    answers
                })
            })
            .collect();
        wait_for("some switches", LIMIT, STEP, || {
            (raftq.stderr().matches("switched").count() > 20).then_some(())
        })
        .expect("they are switched");
        nix::sys::signal::kill(pid, Signal::SIGINT).expect("SIGINT");
        let all: Vec<_> = asks.into_iter().map(|ask| ask.join().expect("it ends")).collect();
        all.concat()
    });
    let codes: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
    assert!(codes.iter().all(|code| ["200", "503"].contains(code)), "{codes:?}");
    assert!(codes.iter().filter(|code| **code == "200").count() > 20, "{codes:?}");
    raftq.end();
}

fn raftq_pid(socket: &Path) -> nix::unistd::Pid {
    let (_, status) = call(socket, "GET", "/v1/status", None);
    nix::unistd::Pid::from_raw(status["pid"].as_i64().expect("a pid") as i32)
}

#[test]
fn the_socket_goes_with_a_killed_raftq_and_with_its_guardian_by_clean() {
    let (net, _server) = pair();
    let mut raftq = Raftq::attach(&net, WAITS, &["--json"]);
    let path = socket(&raftq);
    raftq.process().signal(Signal::SIGKILL).expect("SIGKILL");
    let gone = || (!path.exists()).then_some(());
    wait_for("the guardian", LIMIT, STEP, gone).expect("it removes the socket");
    drop(raftq);
    let mut raftq = Raftq::attach(&net, WAITS, &[]);
    let path = socket(&raftq);
    let line = raftq.await_line("guardian ");
    let guardian = line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its pid");
    let guardian = nix::unistd::Pid::from_raw(guardian);
    // Stopped, it cannot be seen to be gone, and does nothing.
    nix::sys::signal::kill(guardian, Signal::SIGSTOP).expect("it lives");
    raftq.process().signal(Signal::SIGKILL).expect("SIGKILL");
    raftq.process().wait(LIMIT).expect("it is dead");
    nix::sys::signal::kill(guardian, Signal::SIGKILL).expect("it lives");
    assert!(path.exists());
    let refused = command(&raftq, &["list"]);
    assert!(text(&refused.stderr).contains("no raftq runs"), "{}", text(&refused.stderr));
    let clean = Command::new(RAFTQ).env("RAFTQ_RUN_DIR", raftq.file("run")).arg("clean").output();
    let clean = clean.expect("raftq runs");
    assert!(clean.status.success(), "{}", text(&clean.stdout));
    assert!(!path.exists(), "{}", text(&clean.stdout));
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
