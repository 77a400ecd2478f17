//! A running raftq under control: how it ends and with which code, other rules by SIGHUP, a
//! trace, a second raftq, somebody else at the firewall, and refusals. Needs root; run it by
//! `make test`.

mod live_lab;

use live_lab::{
    Before, Family, LIMIT, NOTHING, Net, RAFTQ, Raftq, Shape, await_more, between, now_us,
};
use nix::sys::signal::Signal;
use raftq_harness::clock::{now, since};
use raftq_harness::netns::Namespace;
use raftq_harness::owner::Scratch;
use raftq_harness::probe::{Probe, What, numbers};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

const UDP: (&str, Family) = ("udp", Family::V4);

/// Asks for minutes.
const ASK: &str = "--count 60000 --every 10ms --timeout 100ms";

const CUT: &str = "rules: [{ name: cut, between: [n1, n2], do: drop }]\n";

/// Two nodes, the second of which answers.
fn pair() -> (Net, Probe) {
    let net = Net::new(Shape::Namespaces, 2);
    let server = net.serve(1, "udp", Family::V4);
    (net, server)
}

/// An asker on n1 that has had answers.
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

#[test]
fn other_rules_come_in_force_by_sighup() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, NOTHING, &["--json"]);
    must_be_healed(&mut asker);
    raftq.reload(CUT);
    must_be_cut(&mut asker);
    // The rule that stays keeps its counts; the clock goes on, so that `at` has passed.
    raftq.reload(
        "rules:\n  - { name: another, from: n2, to: n1, do: { delay: 1ms } }\n  \
         - { name: cut, between: [n1, n2], do: drop, at: 1ms }\n",
    );
    must_be_cut(&mut asker);
    raftq.reload("rules: [{ name: another, from: n2, to: n1, do: { delay: 1ms } }]\n");
    must_be_healed(&mut asker);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    for words in ["rule \"cut\" ended (no longer in the file)", "rule \"cut\" was active 1x: "] {
        assert_eq!(ending.stderr.matches(words).count(), 1, "{words}\n{ending}");
    }
    assert!(ending.of_rule("another", "acted") >= 5, "{ending}");
    assert_eq!(ending.json["rules"].as_array().map(Vec::len), Some(1), "{ending}");
    assert!(ending.link("n1", "n2", "dropped") > 0, "{ending}");
}

/// The second comes before the loop has said that it adopted the first.
#[test]
fn one_reload_after_another() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, NOTHING, &["--json"]);
    let slow =
        |i: u32| format!("  - {{ name: slow {i}, from: n1, to: n2, do: {{ delay: 1ms }} }}\n");
    for i in 0..20 {
        raftq.offer(&format!("rules:\n{}", slow(i)));
        raftq.offer(&format!("rules:\n{}{}", slow(i), slow(i + 100)));
    }
    raftq.reload(CUT);
    must_be_cut(&mut asker);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.json["rules"][0]["name"], "cut", "{ending}");
    assert!(ending.of_rule("cut", "matched") > 0, "{ending}");
    // Each edge names a rule of its own table.
    let active = |line: &&str| line.contains(" active") && !line.contains(" was active");
    let told: Vec<&str> = ending.stderr.lines().filter(active).collect();
    let mut once = told.clone();
    once.sort_by_key(|line| line.split('"').nth(1));
    once.dedup_by_key(|line| line.split('"').nth(1));
    assert_eq!(once.len(), told.len(), "{ending}");
}

#[test]
fn a_broken_file_leaves_the_former_rules_in_force() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, CUT, &["--json"]);
    must_be_cut(&mut asker);
    raftq.offer("rules: [{ name: cut, between: [n1, n22], do: drop, fro: 1s }]\n");
    raftq.await_line("the rules were not re-read, the former stay in force: the file has errors");
    // Both errors, each with its place.
    let said = raftq.stderr();
    for words in ["n22", "fro", "rules.yaml:1:"] {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    must_be_cut(&mut asker);
    fs::remove_file(raftq.rules()).expect("it is there");
    raftq.process().signal(Signal::SIGHUP).expect("SIGHUP");
    raftq.await_line("rules.yaml");
    must_be_cut(&mut asker);
    raftq.reload(NOTHING);
    must_be_healed(&mut asker);
    assert_eq!(raftq.interrupt().code, 0);
}

#[test]
fn another_cluster_is_refused_while_attached() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, CUT, &["--json"]);
    let other = net.cluster().replace(":7000", ":7009");
    fs::write(raftq.cluster(), other).expect("a file");
    raftq.offer(NOTHING);
    raftq.await_line("the nodes are not those that raftq is attached to");
    must_be_cut(&mut asker);
    let read = net.cluster().replacen("cluster:", "cluster:\n  protocol: etcd", 1);
    fs::write(raftq.cluster(), read).expect("a file");
    raftq.offer(NOTHING);
    raftq.await_line("are not those that raftq listens by");
    must_be_cut(&mut asker);
    raftq.interrupt().must_be_clean(0);
}

/// One line a packet, whatever became of it, and another for the answer to a held one.
#[test]
fn a_trace_has_every_packet() {
    let net = Net::new(Shape::Namespaces, 3);
    let sink = |i: usize| {
        let at = net.peer(i, Family::V4);
        Probe::listen(net.node(i), "sink", "udp", at).expect("it listens")
    };
    let (mut late, gone) = (sink(1), sink(2));
    let rules = "rules:\n  - { name: late, from: n1, to: n2, do: { delay: 5ms } }\n  \
                 - { name: gone, from: n1, to: n3, do: drop }\n";
    let folder = Scratch::new("rqlive").expect("a folder");
    let file = folder.path().join("trace.jsonl");
    let args = ["--json", "--trace", file.to_str().expect("a plain path")];
    let raftq = Raftq::attach(&net, rules, &args);
    for to in [1, 2] {
        let sender = net.talk("send", UDP, (0, to), "--count 500 --every 1ms --size 64");
        sender.finish(LIMIT).expect("it sends");
    }
    await_more(&mut late, What::Got, 500, 0);
    let ending = raftq.interrupt();
    assert_eq!(numbers(&gone.events(), What::Got), Vec::<u32>::new());
    ending.must_be_clean(0);
    assert_eq!(ending.json["trace"]["packets"], 1000, "{ending}");
    assert_eq!(ending.json["trace"]["lost"], 0, "{ending}");

    let text = fs::read_to_string(&file).expect("a trace");
    let (lines, answers): (Vec<Value>, Vec<Value>) = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"))
        .partition(|line| line.get("len").is_some());
    assert_eq!(lines.len(), 1000);
    let times: Vec<f64> = lines.iter().filter_map(|line| line["t"].as_f64()).collect();
    assert!(times.len() == 1000 && times.is_sorted(), "packets are in their order");
    for (to, rule, verdict) in [("n2", "late", "delay"), ("n3", "gone", "drop")] {
        let mut of: Vec<&Value> = lines.iter().filter(|line| line["to"] == to).collect();
        assert_eq!(of.len(), 500, "{to}");
        of.retain(|line| {
            line["from"] == "n1"
                && line["rule"] == rule
                && line["verdict"] == verdict
                && line["proto"] == "udp"
                // 64 bytes of probe, 8 of UDP, 20 of IP.
                && line["len"] == 92
                && line["segments"] == 1
        });
        assert_eq!(of.len(), 500, "{to}: {}", lines[0]);
        // What was held has another line for its answer, by the same queue and id.
        for line in of.iter().filter(|_| rule == "late") {
            let same = |a: &&Value| a["queue"] == line["queue"] && a["id"] == line["id"];
            let found: Vec<&Value> = answers.iter().filter(same).collect();
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(found[0]["verdict"], "accept", "{}", found[0]);
            let held = found[0]["t"].as_f64().zip(line["t"].as_f64()).map(|(out, in_)| out - in_);
            assert!(held >= Some(0.004_9), "{line} {}", found[0]);
        }
        let delayed = of.iter().filter(|line| line["delay_us"] == 5_000).count();
        assert_eq!(delayed, if rule == "late" { 500 } else { 0 });
    }
}

#[test]
fn a_rule_that_never_matched_is_told() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rules = |optional: &str| {
        format!(
            "rules:\n  - {{ name: idle, from: n1, to: n2, where: {{ proto: tcp }}, do: drop\
             {optional} }}\n  - {{ name: busy, from: n1, to: n2, do: {{ delay: 1ms }} }}\n"
        )
    };
    for (optional, code) in [("", 3), (", optional: true", 0)] {
        let raftq = Raftq::attach(&net, &rules(optional), &["--json"]);
        must_be_healed(&mut asker);
        let ending = raftq.interrupt();
        ending.must_be_clean(code);
        assert_eq!(ending.of_rule("idle", "matched"), 0);
        assert!(ending.of_rule("busy", "matched") > 0);
        let warned = ending.stderr.contains("rule `idle` never matched");
        assert_eq!(warned, code == 3, "{ending}");
        assert_eq!(ending.json["exit_code"], code, "{ending}");
    }
    // One whose time had not come says so.
    let later = "rules: [{ name: later, between: [n1, n2], do: drop, at: 1h }]\n";
    let ending = Raftq::attach(&net, later, &["--json"]).interrupt();
    assert_eq!(ending.code, 3, "{ending}");
    assert!(ending.stderr.contains("it never became active"), "{ending}");
}

#[test]
fn it_ends_when_its_time_is_over() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let start = now();
    let raftq = Raftq::attach(&net, CUT, &["--json", "--for", "1s"]);
    must_be_cut(&mut asker);
    let ending = raftq.end();
    assert!(since(start) >= Duration::from_secs(1));
    must_be_healed(&mut asker);
    ending.must_be_clean(0);
    assert!(ending.json["seconds"].as_f64() >= Some(1.0), "{ending}");
}

#[test]
fn it_ends_with_its_last_rule() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rules = "rules:\n  - { name: slow, to: n2, do: { delay: 2ms }, for: 400ms }\n  \
                 - { name: cut, to: n2, do: drop, for: 300ms, every: 600ms, times: 2 }\n";
    let ending = Raftq::attach(&net, rules, &["--json"]).end();
    must_be_healed(&mut asker);
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("cut", "activations"), 2, "{ending}");
    assert!(ending.json["seconds"].as_f64() >= Some(0.9), "{ending}");
    for words in ["rule \"cut\" active", "rule \"cut\" ended"] {
        assert_eq!(ending.stderr.matches(words).count(), 2, "{words}\n{ending}");
    }
}

#[test]
fn every_signal_that_ends_it_lets_the_cluster_go() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        let mut raftq = Raftq::attach(&net, CUT, &["--json"]);
        must_be_cut(&mut asker);
        raftq.process().signal(signal).expect("a signal");
        raftq.end().must_be_clean(0);
        must_be_healed(&mut asker);
    }
}

/// For people: a line on what is going on, and tables at the end.
#[test]
fn people_are_told_what_it_did() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let rules = "rules: [{ name: slow down, from: n1, to: n2, do: { delay: 2ms } }]\n";
    let mut raftq = Raftq::attach(&net, rules, &[]);
    let line = raftq.await_line(" packets  ");
    for words in ["matched", "held", "lost", "[slow down]"] {
        assert!(line.contains(words), "{words} is missing in {line:?}");
    }
    must_be_healed(&mut asker);
    let ending = raftq.interrupt();
    assert_eq!(ending.code, 0, "{ending}");
    for words in ["rule", "matched", "acted", "first", "last", "late p50", "p99", "slow down"] {
        assert!(ending.stdout.contains(words), "{words} is missing in\n{ending}");
    }
    for link in ["n1 -> n2", "n2 -> n1"] {
        assert!(ending.stdout.contains(link), "{link} is missing in\n{ending}");
    }
    let quiet = Raftq::start(&net, rules, &["--quiet", "--for", "500ms"]).end();
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet}");
}

#[test]
fn a_second_raftq_on_the_same_cluster_is_refused() {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut first = Raftq::attach(&net, CUT, &["--json"]);
    let shared = format!("RAFTQ_RUN_DIR={}", first.file("run").display());
    let second = Raftq::start(&net, NOTHING, &[&shared, "--json"]).end();
    assert_eq!(second.code, 5, "{second}");
    let pid = first.process().pid();
    let reason = format!("another raftq (pid {pid}) already controls this cluster");
    assert!(second.stderr.contains(&reason), "{second}");
    assert!(second.stderr.contains(&format!("kill {pid}")), "a way out\n{second}");
    must_be_cut(&mut asker);
    first.interrupt().must_be_clean(0);
    must_be_healed(&mut asker);
    // And now it may.
    let third = Raftq::attach(&net, CUT, &["--json"]);
    must_be_cut(&mut asker);
    third.interrupt().must_be_clean(0);
}

/// The name of raftq's chain in a namespace.
fn chain(space: &Namespace) -> String {
    let save = space.run("iptables-save", &["-t", "mangle"]).expect("a save").stdout;
    let save = String::from_utf8_lossy(&save).into_owned();
    let name = save.lines().find_map(|line| {
        line.strip_prefix(':')?
            .split(' ')
            .next()
            .filter(|name| name.starts_with("RAFTQ-"))
            .map(str::to_owned)
    });
    name.unwrap_or_else(|| panic!("raftq's chain is not in\n{save}"))
}

/// What a script of the user's does to our rules.
fn somebody_removes(remove: impl Fn(&Namespace)) {
    let (net, _server) = pair();
    let mut asker = asker(&net);
    let mut raftq = Raftq::attach(&net, CUT, &["--json"]);
    must_be_cut(&mut asker);
    for i in [0, 1] {
        remove(net.node(i));
    }
    must_be_healed(&mut asker);
    raftq.await_line("iptables rules were found removed or changed by somebody else");
    let ending = raftq.interrupt();
    assert_eq!(ending.code, 2, "{ending}");
    let warnings = ending.json["warnings"].as_array().expect("warnings");
    let told = |w: &Value| w.as_str().is_some_and(|w| w.contains("packets pass unseen"));
    assert!(warnings.iter().any(told), "{ending}");
    assert_eq!(ending.stderr.matches("packets pass unseen").count(), 1, "told once\n{ending}");
}

#[test]
fn a_chain_that_somebody_empties_is_told() {
    somebody_removes(|space| {
        let flush = ["-t", "mangle", "-F", &chain(space)];
        space.run("iptables", &flush).expect("flushed");
    });
}

#[test]
fn rules_that_somebody_removes_are_told() {
    somebody_removes(|space| {
        let chain = chain(space);
        space.run("iptables", &["-t", "mangle", "-F", "INPUT"]).expect("flushed");
        space.run("iptables", &["-t", "mangle", "-F", &chain]).expect("flushed");
        space.run("iptables", &["-t", "mangle", "-X", &chain]).expect("deleted");
    });
}

/// Nothing is attached where something is wrong with what was given.
#[test]
fn bad_input_is_refused_before_anything_is_done() {
    let net = Net::new(Shape::Namespaces, 2);
    for (rules, words) in [
        ("rules: [{ between: [n1, n9], do: drop }]\n", "n9"),
        ("rules: [{ between: [n1, n2], do: dorp }]\n", "drop"),
        ("rules: {\n", "rules.yaml"),
        ("groups: { victim: }\nrules: [{ between: [victim, rest], do: drop }]\n", "--set"),
        ("rules: [{ between: [n1, n2], do: { delay: 1h } }]\n", "max_rate"),
    ] {
        let ending = Raftq::start(&net, rules, &["--json"]).end();
        assert_eq!(ending.code, 4, "{rules}{ending}");
        assert!(ending.stderr.contains(words), "{words} is missing\n{ending}");
        assert_eq!(ending.stdout, "", "{ending}");
    }
    for args in [&["--for", "soon"][..], &["--set", "x=n77"], &["--no-such-flag"]] {
        let ending = Raftq::start(&net, NOTHING, args).end();
        assert_eq!(ending.code, 4, "{args:?}: {ending}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_refused() {
    let net = Net::new(Shape::Namespaces, 2);
    for (cluster, words) in [
        (net.cluster().replace("10.77.0.2", "10.77.0.77"), "10.77.0.77"),
        (net.cluster().replace(net.node(1).name(), "rqlive-nowhere"), "rqlive-nowhere"),
    ] {
        let watched = vec![net.node(0), net.node(1)];
        let ending = Raftq::start_with(&cluster, watched, None, NOTHING, &[]).end();
        assert_eq!(ending.code, 5, "{ending}");
        assert!(ending.stderr.contains("n2") && ending.stderr.contains(words), "{ending}");
    }
}

/// The program and its files lie where everybody may read them; only the privileges lack.
#[test]
fn without_privileges_it_says_so() {
    let net = Net::new(Shape::Namespaces, 2);
    let before = Before::look(vec![net.node(0), net.node(1)]);
    let folder = Scratch::new("rqlive").expect("a folder");
    let file = |name: &str| folder.path().join(name);
    fs::copy(RAFTQ, file("raftq")).expect("a copy");
    fs::write(file("rules.yaml"), NOTHING).expect("a file");
    for cluster in [net.cluster(), "cluster: { nodes: { n1: \"127.0.0.1:1\" } }\n".into()] {
        fs::write(file("cluster.yaml"), cluster).expect("a file");
        for path in [folder.path().to_owned(), file("raftq")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(file("raftq"))
            .args([
                "--for".as_ref(),
                "5s".as_ref(),
                "--rules".as_ref(),
                file("rules.yaml").as_os_str(),
            ])
            .args(["--cluster".as_ref(), file("cluster.yaml").as_os_str()])
            .env_remove("RAFTQ_RUN_DIR")
            .output()
            .expect("setpriv of util-linux");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(said.contains("root"), "the way out is missing: {said}");
        assert!(!said.contains("panicked") && said.lines().count() <= 4, "{said}");
        before.must_be_back(&said);
    }
}
