//! Packets that a rule holds until something ends that: nothing arrives before, everything after,
//! in the order that was asked for. Needs root; run it by `make test`.

mod api_lab;
mod bulk_lab;
mod fault_lab;
mod live_lab;
mod switch_lab;

use api_lab::call;
use fault_lab::{counters, is_silent, pair};
use live_lab::{Family, LIMIT, Net, Raftq, STEP, Shape, await_more};
use raftq_harness::clock::wait_for;
use raftq_harness::probe::{Probe, What, numbers};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use switch_lab::{must_switch, socket};

const MANY: u32 = 60;

/// Waits until raftq holds so many packets.
fn await_held(socket: &Path, least: u64) {
    let held = || call(socket, "GET", "/v1/status", None).1["held"].as_u64();
    wait_for("packets that are held", LIMIT, STEP, || (held() >= Some(least)).then_some(()))
        .expect("the rule holds them");
}

/// n1 sends numbered datagrams, which are held until `end` does something; returns in which order
/// they came.
fn held_order(
    (shape, family): (Shape, Family),
    rules: &str,
    end: impl FnOnce(&mut Raftq<'_>, &Path),
) -> Vec<u32> {
    let net = Net::new(shape, 2);
    let at = net.peer(1, family);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let mut raftq = Raftq::attach(&net, rules, &["--json"]);
    raftq.await_active("keep");
    let socket = socket(&raftq);
    let args = format!("--count {MANY} --every 1ms");
    net.talk("send", ("udp", family), (0, 1), &args).finish(LIMIT).expect("it sends");
    await_held(&socket, u64::from(MANY));
    assert!(numbers(&sink.events(), What::Got).is_empty(), "{shape:?}: nothing came yet");
    end(&mut raftq, &socket);
    let got = await_more(&mut sink, What::Got, MANY as usize, 0);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    for what in ["matched", "acted"] {
        assert_eq!(ending.of_rule("keep", what), u64::from(MANY), "{what}\n{ending}");
    }
    assert_eq!(ending.link("n1", "n2", "delayed"), u64::from(MANY), "{ending}");
    numbers(&got, What::Got)
}

fn sorted() -> Vec<u32> {
    (0..MANY).collect()
}

fn off() -> Value {
    json!({ "switch": "off" })
}

#[test]
fn the_rules_end_lets_them_go_in_order_or_reversed() {
    for shape in Shape::ALL {
        for (release, wanted) in
            [("in_order", sorted()), ("reversed", sorted().into_iter().rev().collect())]
        {
            let rules = format!(
                "rules: [{{ name: keep, from: n1, to: n2, where: {{ proto: udp }}, \
                 do: {{ hold: {{ release: {release} }} }}, for: 1h }}]\n"
            );
            let order = held_order((shape, Family::V4), &rules, |_, socket| {
                must_switch(socket, "keep", &off());
            });
            assert_eq!(order, wanted, "{shape:?} {release}");
        }
    }
}

#[test]
fn the_end_of_another_rule_lets_them_go() {
    let rules = "rules:\n  \
        - { name: keep, from: n1, to: n2, where: { proto: udp }, \
        do: { hold: { until: { end_of: other } } } }\n  \
        - { name: other, from: n2, to: n1, do: { delay: 1ms }, optional: true }\n";
    for family in [Family::V4, Family::V6] {
        let order = held_order((Shape::Namespaces, family), rules, |_, socket| {
            must_switch(socket, "other", &off());
        });
        assert_eq!(order, sorted());
    }
}

/// Ctrl-C is an end like any other: nothing that is held is lost.
#[test]
fn ctrl_c_lets_them_go_in_order() {
    for shape in [Shape::Namespaces, Shape::Bridge, Shape::Ports] {
        let net = Net::new(shape, 2);
        let at = net.peer(1, Family::V4);
        let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
        let rules = "rules: [{ name: keep, from: n1, to: n2, do: hold, for: 1h }]\n";
        let mut raftq = Raftq::attach(&net, rules, &["--json"]);
        raftq.await_active("keep");
        let socket = socket(&raftq);
        let args = format!("--count {MANY} --every 1ms");
        net.talk("send", ("udp", Family::V4), (0, 1), &args).finish(LIMIT).expect("it sends");
        await_held(&socket, u64::from(MANY));
        assert!(numbers(&sink.events(), What::Got).is_empty(), "{shape:?}: nothing came yet");
        let ending = raftq.interrupt();
        let got = await_more(&mut sink, What::Got, MANY as usize, 0);
        assert_eq!(numbers(&got, What::Got), sorted(), "{shape:?}");
        ending.must_be_clean(0);
        assert_eq!(ending.of_rule("keep", "acted"), u64::from(MANY), "{ending}");
    }
}

/// The trace tells when each came, and when it left: not before the time, and none held longer.
#[test]
fn a_time_lets_them_go() {
    let net = Net::new(Shape::Namespaces, 2);
    let at = net.peer(1, Family::V4);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let rules = "rules: [{ name: keep, from: n1, to: n2, do: { hold: { until: 3s } } }]\n";
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.jsonl");
    let args = ["--json", "--trace", trace.to_str().expect("UTF-8")];
    let raftq = Raftq::attach(&net, rules, &args);
    // All that is held comes at once, and has to fit the sink's buffer.
    let args = "--count 200 --every 25ms";
    let sender = net.talk("send", ("udp", Family::V4), (0, 1), args);
    let got = await_more(&mut sink, What::Got, 200, 0);
    assert_eq!(numbers(&got, What::Got), (0..200).collect::<Vec<_>>());
    sender.finish(LIMIT).expect("it sends");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let text = fs::read_to_string(&trace).expect("a trace");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (lines, answers): (Vec<_>, Vec<_>) = lines.partition(|line| line.get("len").is_some());
    let t = |line: &Value| line["t"].as_f64().expect("a time");
    let held = lines.iter().filter(|line| line["rule"] == "keep").count();
    assert!((30..200).contains(&held), "{held} were held");
    assert_eq!(ending.of_rule("keep", "acted"), held as u64, "{ending}");
    assert_eq!(ending.link("n1", "n2", "delayed"), held as u64, "{ending}");
    assert_eq!(answers.len(), held);
    for line in lines.iter().filter(|line| line["from"] == "n1") {
        assert_eq!(line["rule"] == "keep", t(line) < 3.0, "{line}");
    }
    assert!(answers.iter().all(|line| t(line) >= 3.0), "{answers:?}");
}

/// What TCP sent again meanwhile was held as well, so that it gets more than it waits for, but in
/// order and whole, be that as single segments or as packets of many. Reversed it is whole, too.
#[test]
fn tcp_comes_out_of_it_whole() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        bulk_lab::one_processor(&net, 2);
        for &family in net.families() {
            for (where_, release) in [
                ("where: { payload: \">0\" }, ", "in_order"),
                ("", "in_order"),
                ("where: { payload: \">0\" }, ", "reversed"),
            ] {
                let rules = format!(
                    "rules: [{{ name: keep, at: switch, from: n1, to: n2, {where_}\
                     do: {{ hold: {{ release: {release} }} }} }}]\n"
                );
                let disorder = tcp_is_held(&net, family, &rules);
                let what = format!("{shape:?} {family:?} {where_} {release}");
                assert_eq!(disorder > 0, release == "reversed", "{what}: {disorder}");
            }
        }
    }
}

/// A stream is held till TCP has sent again, and comes whole; returns how often it saw disorder.
fn tcp_is_held(net: &Net, family: Family, rules: &str) -> u64 {
    let raftq = Raftq::attach(net, rules, &["--json"]);
    let socket = socket(&raftq);
    let mut pair = pair(net, (0, 1), family);
    let before = counters(net, 2, "TcpExtTCPOFOQueue");
    must_switch(&socket, "keep", &json!({ "switch": "on" }));
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 777) as u8).collect();
    let again = counters(net, 1, "TcpRetransSegs");
    std::thread::scope(|scope| {
        let client = &mut pair.client;
        scope.spawn(|| client.write_all(&sent).expect("it goes on"));
        // The first flight, and what is sent again of it.
        wait_for("TCP to send again", LIMIT, STEP, || {
            (counters(net, 1, "TcpRetransSegs") >= again + 2).then_some(())
        })
        .expect("nothing was acknowledged");
        await_held(&socket, 3);
        assert!(is_silent(&pair.server), "nothing came yet");
        must_switch(&socket, "keep", &off());
        let mut got = vec![0; sent.len()];
        pair.server.read_exact(&mut got).expect("it all comes");
        assert!(got == sent, "what came is not what was sent");
    });
    let disorder = counters(net, 2, "TcpExtTCPOFOQueue") - before;
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert!(ending.of_rule("keep", "acted") >= 3, "{ending}");
    disorder
}
