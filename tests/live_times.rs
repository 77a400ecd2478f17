//! Phases, and times that are drawn: what `raftq lint` says is when packets are hit, to the
//! millisecond, and what raftq tells. Needs root; run it by `make test`.

mod live_lab;

use live_lab::{Family, LIMIT, Net, RAFTQ, Raftq, Shape, await_more};
use raftq_harness::probe::{Probe, What, numbers};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::process::Command;

const RULES: &str = "seed: 11\n\
    phases:\n  \
    - { name: calm, for: 300ms..600ms }\n  \
    - { name: storm, for: 2s..3s }\n\
    rules:\n  \
    - { name: gusts, in: storm, at: 50ms..200ms, for: 100ms..250ms, every: 300ms..500ms, \
        from: n1, to: n2, do: drop }\n  \
    - { name: late, in: calm, from: n1, to: n2, do: { delay: 1ms } }\n  \
    - { name: once, at: 1s..2s, for: 300ms..900ms, from: n2, to: n1, do: drop, \
        optional: true }\n";

/// Seconds, as lint and raftq write times.
fn seconds(text: &str) -> f64 {
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("no time: {text:?}"));
    match text.strip_suffix("ms") {
        Some(ms) => number(ms) / 1_000.0,
        None => number(text.strip_suffix('s').unwrap_or(text)),
    }
}

/// When lint says that what n1 sends n2 is dropped: from, to.
fn said(text: &str) -> Vec<(f64, f64)> {
    let mut cells: HashMap<&str, bool> = HashMap::new();
    let mut spans = Vec::new();
    for section in text.split("\n\n") {
        let mut lines = section.lines();
        let first = lines.next().unwrap_or_default();
        let (heading, rest) = first.split_once(": ").unwrap_or((first, ""));
        let Some((from, to)) = heading.split_once(" to ").filter(|_| !heading.contains("rule"))
        else {
            continue;
        };
        let drops = match rest.strip_prefix("as ") {
            Some(like) => cells[like],
            None => lines.any(|line| line.trim().starts_with("n1 ") && line.contains("drop")),
        };
        cells.insert(heading, drops);
        if drops {
            spans.push((seconds(from), seconds(to)));
        }
    }
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Where something else begins meanwhile lint begins a new section.
    spans.dedup_by(|next, former| {
        let goes_on = next.0 - former.1 < 1e-9;
        former.1 = if goes_on { next.1 } else { former.1 };
        goes_on
    });
    spans
}

/// When raftq told such a thing, in seconds.
fn told(stderr: &str, words: &str) -> Vec<f64> {
    let lines = stderr.lines().filter(|line| line.ends_with(words));
    lines.map(|line| seconds(line.split_whitespace().nth(1).expect("a time"))).collect()
}

/// Each was told at its time or soon after: a busy machine writes late, but never early.
fn must_be_told(what: &str, told: &[f64], planned: &[f64]) {
    assert_eq!(told.len(), planned.len(), "{what}: {told:?}, planned {planned:?}");
    for (told, planned) in told.iter().zip(planned) {
        let late = told - planned;
        assert!((-0.001..0.5).contains(&late), "{what}: {told} for {planned}");
    }
}

#[test]
fn packets_are_hit_when_lint_says() {
    let net = Net::new(Shape::Namespaces, 2);
    let at = net.peer(1, Family::V4);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.jsonl");
    let args = ["--json", "--trace", trace.to_str().expect("UTF-8")];
    let raftq = Raftq::attach(&net, RULES, &args);
    let mut command = Command::new(RAFTQ);
    command.arg("lint").arg(raftq.rules()).arg("--cluster").arg(raftq.cluster());
    let output = command.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let spans = said(&text);
    assert!(spans.len() >= 4, "{spans:?}\n{text}");
    let args = "--count 1500 --every 2ms --size 64";
    let sender = net.talk("send", ("udp", Family::V4), (0, 1), args);
    let ending = raftq.end();
    ending.must_be_clean(0);
    sender.finish(LIMIT).expect("it sends");
    let lines = fs::read_to_string(&trace).expect("a trace");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (mut dropped, mut passed) = (0, 0);
    for line in lines.filter(|line| line["from"] == "n1" && line.get("len").is_some()) {
        let t = line["t"].as_f64().expect("a time");
        let inside = spans.iter().any(|(from, to)| t >= *from && t < *to);
        assert_eq!(line["verdict"] == "drop", inside, "{line}, and {spans:?}");
        *(if inside { &mut dropped } else { &mut passed }) += 1;
    }
    eprintln!("{dropped} dropped in {spans:?}, {passed} passed");
    assert!(dropped >= 100 && passed >= 100, "{dropped} dropped, {passed} passed");
    assert_eq!(ending.of_rule("gusts", "acted"), dropped, "{ending}");
    assert_eq!(ending.of_rule("gusts", "activations"), spans.len() as u64, "{ending}");
    let got = await_more(&mut sink, What::Got, 1_500 - dropped as usize, 0);
    assert_eq!(numbers(&got, What::Got).len(), 1_500 - dropped as usize);
    let starts: Vec<f64> = spans.iter().map(|span| span.0).collect();
    let ends: Vec<f64> = spans.iter().map(|span| span.1).collect();
    let heard = |words: &str| told(&ending.stderr, words);
    must_be_told("a gust begins", &heard("rule \"gusts\" active"), &starts);
    must_be_told("a gust ends", &heard("rule \"gusts\" ended"), &ends);
    for phase in ["calm", "storm"] {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("phase {phase}: ")));
        let (from, to) = line.and_then(|line| line.split_once(" to ")).expect("a phase");
        let words = |what: &str| heard(&format!("\"{phase}\" phase {what}"));
        must_be_told("a phase begins", &words("begins"), &[seconds(from)]);
        // Nothing happens in what is left of the last one, and raftq ends before.
        let ends = if phase == "calm" { &[seconds(to)][..] } else { &[] };
        must_be_told("a phase ends", &words("ends"), ends);
    }
}
