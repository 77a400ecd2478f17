//! Metrics of a raftq that runs, against what it answers otherwise and what it comes to in the end;
//! and the stored exposition that the dashboard is held against. Needs root; run it by `make test`.

mod api_lab;
mod live_lab;
mod metrics_lab;
mod run_lab;
mod switch_lab;

use api_lab::call;
use live_lab::{Raftq, await_more};
use metrics_lab::{Exposition, Prometheus, free, must_please_promtool, queries};
use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::probe::What;
use run_lab::{LIMIT, STEP, start_text};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use switch_lab::{UDP, must_switch, pair, socket};

fn metrics(socket: &Path) -> Exposition {
    let (status, answer) = call(socket, "GET", "/metrics", None);
    assert_eq!(status, 200, "{answer}");
    Exposition::read(answer.as_str().expect("text"))
}

/// A request on the loopback as Prometheus makes it; head and body of the answer.
fn scrape(at: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {at}\r\nAccept: {accept}\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

const RULES: &str = "\
rules:
  - { name: slow, from: n1, to: n2, do: { delay: 3ms } }
  - { name: \"cut \\\"it\\\" off\", at: switch, from: n2, to: n1, do: drop }
";

/// Once nothing comes any more, metrics, API and result are about the same packets.
#[test]
fn what_is_measured_is_what_the_api_says_and_what_it_comes_to() {
    const ASKED: usize = 60;
    let (net, _server) = pair();
    let raftq = Raftq::attach(&net, RULES, &["--json"]);
    let socket = socket(&raftq);
    let first = metrics(&socket);
    let mut asker = net.talk("ask", UDP, (0, 1), "--count 60 --every 5ms --timeout 200ms");
    await_more(&mut asker, What::Answered, ASKED / 2, 0);
    must_switch(&socket, "cut%20%22it%22%20off", &serde_json::json!({ "switch": "on" }));
    let cut = metrics(&socket);
    await_more(&mut asker, What::TimedOut, 3, 0);
    drop(asker);
    // What was asked last is on its way for 3 ms more, and is answered. Somebody who is gone asks
    // nothing more, but it may wait in the queue while metrics are read: it is there the next time.
    let over = |all: &Exposition| {
        let came = |from, to| all.count("raftq_link_segments_total", &[("from", from), ("to", to)]);
        came("n1", "n2") == came("n2", "n1") && all.count("raftq_held_packets", &[]) == 0
    };
    let idle = wait_for("nothing to come any more", LIMIT, STEP, || {
        (over(&metrics(&socket)) && over(&metrics(&socket))).then(|| metrics(&socket))
    });
    let all = idle.expect("it is over");
    must_please_promtool(&["check", "metrics"], &all.text);
    let (_, status) = call(&socket, "GET", "/v1/status", None);
    let (_, rules) = call(&socket, "GET", "/v1/rules", None);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);

    let slow = [("rule", "slow")];
    let off = [("rule", "cut \"it\" off")];
    for (name, labels, api, end) in [
        ("raftq_packets_total", &[][..], &status["packets"], ending.total("packets")),
        ("raftq_held_packets_max", &[], &Value::Null, ending.total("held_most")),
        ("raftq_unattributed_packets_total", &[], &status["unattributed"], 0),
        (
            "raftq_rule_matched_total",
            &slow,
            &rules["rules"][0]["matched"],
            ending.of_rule("slow", "matched"),
        ),
        (
            "raftq_rule_acted_total",
            &slow,
            &rules["rules"][0]["acted"],
            ending.of_rule("slow", "acted"),
        ),
        (
            "raftq_rule_acted_total",
            &off,
            &rules["rules"][1]["acted"],
            ending.of_rule("cut \"it\" off", "acted"),
        ),
        ("raftq_rule_activations_total", &off, &rules["rules"][1]["activations"], 1),
    ] {
        let measured = all.count(name, labels);
        assert_eq!(measured, end, "{name} {labels:?} {ending}");
        assert!(api.is_null() || *api == measured, "{name} {labels:?}: {api}, not {measured}");
    }
    let link = |from, to| [("from", from), ("to", to)];
    let verdict = |from, to, verdict| [("from", from), ("to", to), ("verdict", verdict)];
    for (from, to) in [("n1", "n2"), ("n2", "n1")] {
        let segments = all.count("raftq_link_segments_total", &link(from, to));
        assert_eq!(segments, ending.link(from, to, "packets"), "{from} {to} {ending}");
        for kind in ["dropped", "trimmed", "delayed"] {
            let measured = all.count("raftq_link_verdicts_total", &verdict(from, to, kind));
            assert_eq!(measured, ending.link(from, to, kind), "{from} {to} {kind} {ending}");
        }
    }
    let delayed = all.count("raftq_link_verdicts_total", &verdict("n1", "n2", "delayed"));
    let dropped = all.count("raftq_link_verdicts_total", &verdict("n2", "n1", "dropped"));
    assert!(delayed > ASKED as u64 / 2 && dropped >= 3, "{delayed} {dropped}");
    // Lateness is that of the histogram which the result is made of.
    let late = &ending.json["totals"]["lateness"];
    let count = all.count("raftq_lateness_seconds_count", &[]);
    assert_eq!(Some(count), late["count"].as_u64(), "{ending}");
    assert_eq!(count, delayed);
    let sum = all.get("raftq_lateness_seconds_sum", &[]).expect("a sum");
    let seconds = |key: &str| late[key].as_f64().expect("a time") / 1e6;
    assert!(sum > 0.0 && sum <= seconds("max_us") * count as f64, "{sum} {late}");
    let buckets = all.samples.iter().filter(|one| one.name == "raftq_lateness_seconds_bucket");
    let below = buckets.filter(|one| {
        // The histogram's own figures are good to one part in a hundred.
        one.labels["le"].parse::<f64>().is_ok_and(|le| le >= seconds("max_us") * 1.01)
    });
    let below: Vec<String> = below.map(|one| one.value.to_string()).collect();
    assert!(!below.is_empty() && below.iter().all(|one| *one == count.to_string()), "{below:?}");
    // Before, and while the cut was on.
    assert_eq!(first.count("raftq_link_verdicts_total", &verdict("n1", "n2", "delayed")), 0);
    let active = |all: &Exposition, rule| {
        all.count("raftq_rule_active", &[("rule", rule), ("kind", "packets")])
    };
    assert_eq!((active(&first, off[0].1), active(&cut, off[0].1)), (0, 1));
    assert_eq!(active(&first, "slow"), 1);
    assert_eq!(all.get("raftq_term", &[]), None, "nobody is known to lead");
}

/// A leader that goes on alone is a violation, which has to be seen.
const SCENARIO: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 6, rate: 300, timeout: 300ms, sticky: true }
warm_up: 200ms
lasts: 60s
settle: 0s
rules:
  - { name: slow, from: any, to: any, do: { delay: 1ms } }
  - { name: the leader alone, at: 300ms, for: 3s, every: 4s, between: [leader, rest], do: drop }
  - { name: gone, at: switch, node: n1, do: kill }
checks: [invariants]
";

#[test]
fn a_run_is_scraped_and_a_violation_is_seen() {
    let at = free();
    let args = ["--seed", "1", "--listen", &at, "--node-arg=--bug=small-quorum"];
    let mut run = start_text(SCENARIO, &args);
    run.await_word("attached to");
    let text = "text/plain;version=0.0.4";
    let open = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3";
    let (head, _) = scrape(&at, open);
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0"), "{head}");
    let (head, _) = scrape(&at, text);
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    let look = || Exposition::read(&scrape(&at, text).1);
    let led = wait_for("a leader", LIMIT, STEP, || {
        let all = look();
        all.get("raftq_term", &[]).map(|term| (all, term))
    });
    let (led, term) = led.expect("somebody leads");
    let leads = led.samples.iter().filter(|one| one.name == "raftq_leader");
    let leads: Vec<f64> = leads.map(|one| one.value).collect();
    assert_eq!((leads.len(), leads.iter().sum::<f64>()), (3, 1.0), "{}", led.text);
    assert!(term >= 1.0);
    let prometheus = Prometheus::start(&at);
    run.await_word("violated on the wire: ");
    let all = look();
    let violations = all.samples.iter().filter(|one| one.name == "raftq_violations_total");
    let violations: f64 = violations.map(|one| one.value).sum();
    assert!(violations >= 1.0, "{}", all.text);
    must_please_promtool(&["check", "metrics"], &all.text);
    is_as_stored(&all);
    shows(&prometheus);
    run.process.signal(Signal::SIGINT).expect("a signal");
    let ran = run.ends();
    let summary = ran.summary();
    let alarms = summary["network"]["wire"]["alarms"].as_array().map_or(0, Vec::len);
    assert!(violations <= alarms as f64, "{violations} of {alarms}");
    let slow = summary["network"]["rules"][0]["matched"].as_u64().expect("a count");
    let measured = all.count("raftq_rule_matched_total", &[("rule", "slow")]);
    assert!(measured > 0 && measured <= slow, "{measured} of {slow}");
}

/// Prometheus itself has the run, and answers every query of the dashboard; where a series has not
/// been there for two scrapes yet it is asked again.
fn shows(prometheus: &Prometheus) {
    for (query, _) in queries() {
        let expr = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        // What is only there when something went wrong.
        let may_be_empty = expr.ends_with("> 0");
        wait_for(&expr, LIMIT, STEP, || {
            let answer = prometheus.ask(&expr);
            assert_eq!(answer["status"], "success", "{expr}: {answer}");
            let found = answer["data"]["result"].as_array().expect("a result").len();
            (found > 0 || may_be_empty).then_some(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    }
    let violations = prometheus.ask("sum(raftq_violations_total)");
    let violations = violations["data"]["result"][0]["value"][1].as_str().expect("a value");
    assert!(violations.parse::<f64>().is_ok_and(|n| n >= 1.0), "{violations}");
}

/// `tests/metrics/run.prom` has the same metrics and labels; with `UPDATE_GOLDEN` it is this one.
fn is_as_stored(all: &Exposition) {
    let path = run_lab::root().join("tests/metrics/run.prom");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &all.text).expect("it can be written");
    }
    let stored = std::fs::read_to_string(&path).expect("it; UPDATE_GOLDEN=1 makes it");
    let stored = Exposition::read(&stored);
    assert_eq!(all.types, stored.types);
    assert_eq!(all.families(), stored.families());
}
