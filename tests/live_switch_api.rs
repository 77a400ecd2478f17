//! Who may switch rules, by which way, and what becomes of those who do it wrongly, are stuck, or
//! ask at the last moment. Needs root; run it by `make test`.

mod api_lab;
mod live_lab;
mod switch_lab;

use api_lab::{call, must_be_described};
use live_lab::{LIMIT, Net, RAFTQ, Raftq, STEP, Shape};
use nix::sys::signal::Signal;
use raftq_harness::clock::{now, since, wait_for};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use switch_lab::{WAITS, asker, must_be_cut, must_be_healed, must_switch, pair, socket, sockets};

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
    let more = headers.lines().map(|line| line.to_owned() + "\r\n").collect::<Vec<_>>().concat();
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
        (&at, "PUT /v1/rules\nContent-Type: application/yaml".into(), TABLE, 422),
    ] {
        let (got, answer) = ask(&at, host, &head, body);
        assert_eq!(got, status, "{head} {answer}");
        assert!(answer["way_out"].as_str().is_some_and(|w| !w.is_empty()), "{answer}");
        assert!(!answer.to_string().contains("root:"), "nobody is read files to: {answer}");
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

/// Rules that would have raftq, which is root, read a file and say what is wrong with it.
const TABLE: &str =
    "rules: [{ do: { delay: { by: 9ms, jitter: 1ms, table: /etc/shadow } }, optional: true }]";

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
                        let got = stream.read_to_string(&mut answer);
                        // It was never let in, or has its answer: nothing ends half-way.
                        let whole = answer.contains("\r\n\r\n{") && answer.ends_with("}\n");
                        assert!(whole || answer.is_empty(), "{sent:?} {got:?} {answer}");
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
    // Both stand still before either dies: raftq starts another guardian in place of one that is
    // gone, and a stopped guardian is continued by the kernel once raftq is.
    nix::sys::signal::kill(guardian, Signal::SIGSTOP).expect("it lives");
    raftq.process().signal(Signal::SIGSTOP).expect("SIGSTOP");
    nix::sys::signal::kill(guardian, Signal::SIGKILL).expect("it lives");
    raftq.process().signal(Signal::SIGKILL).expect("SIGKILL");
    raftq.process().wait(LIMIT).expect("it is dead");
    assert!(path.exists());
    let refused = command(&raftq, &["list"]);
    assert!(text(&refused.stderr).contains("no raftq runs"), "{}", text(&refused.stderr));
    let clean = Command::new(RAFTQ).env("RAFTQ_RUN_DIR", raftq.file("run")).arg("clean").output();
    let clean = clean.expect("raftq runs");
    assert!(clean.status.success(), "{}", text(&clean.stdout));
    assert!(!path.exists(), "{}", text(&clean.stdout));
}
