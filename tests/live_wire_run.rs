//! What whole experiments hear: it stands in the run's folder, and whoever judges the record again
//! comes to the same. Needs root and `make setup`; run it by `make test`.

mod run_lab;
mod summary_lab;

use run_lab::{RAFTQ, Ran, run, run_text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use summary_lab::stored;

const CUT: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 100, timeout: 300ms }
warm_up: 200ms
settle: 200ms
rules:
  - { name: cut the leader off, between: [leader, rest], do: drop, at: 300ms, for: 2500ms }
";

const NATS: &str = "\
cluster: { adapter: nats }
load: { workload: register, clients: 2, rate: 20, timeout: 2s, mix: { read: 1, write: 1 } }
warm_up: 200ms
settle: 200ms
rules:
  - { name: slow leader, from: leader, do: { delay: 1ms }, at: 2500ms, for: 1s }
";

/// `raftq check`: its exit code and its document.
fn check(path: &Path) -> (Option<i32>, Value) {
    let done =
        Command::new(RAFTQ).args(["check", "--json"]).arg(path).output().expect("raftq runs");
    let text = String::from_utf8_lossy(&done.stdout);
    (done.status.code(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
}

/// The record says the same as the run did, to the last word.
fn is_judged_the_same_again(ran: &Ran, code: i32) -> Value {
    let live = ran.summary()["network"]["wire"].clone();
    assert!(live.is_object(), "{}", ran.said());
    let (again, document) = check(&ran.out.join("wire.jsonl"));
    assert_eq!(again, Some(code), "{document}");
    assert_eq!(document[0]["wire"], live);
    // The whole folder has the record in it.
    let (whole, document) = check(&ran.out);
    let all = document.as_array().expect("a list");
    assert!(all.iter().any(|one| one["wire"] == live), "{document}");
    assert!(whole == Some(code) || code == 0, "{whole:?}: {document}");
    live
}

/// What was heard, as it stands among the events: when, and in words.
fn turns(ran: &Ran) -> Vec<(u64, String)> {
    let events = ran.events();
    let lines = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let heard = lines.filter(|one| one["rule"] == "wire");
    heard
        .map(|one| {
            let what = one["what"].as_str().expect("words").to_owned();
            assert!(what.starts_with(one["nodes"][0].as_str().expect("a node")), "{one}");
            (one["t_ns"].as_u64().expect("a time"), what)
        })
        .collect()
}

#[test]
fn a_healthy_run_tells_its_elections_and_its_record_holds_again() {
    let ran = run_text(CUT, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(ran.check("invariants"), "holds");
    assert!(ran.stdout.contains("Seen on the wire:"), "{}", ran.stdout);
    let wire = is_judged_the_same_again(&ran, 0);
    let turns = turns(&ran);
    assert!(turns.is_sorted_by_key(|(t, _)| t), "{turns:?}");
    let elections = wire["elections"].as_array().expect("elections");
    assert!(elections.len() > 1, "the others had an election: {wire}");
    let mut before = 0;
    for election in elections {
        let term = election["term"].as_u64().expect("a term");
        assert!(term > before, "{wire}");
        before = term;
        // Who led, and who stood first, as the loop heard it and as the watcher saw it.
        let said = |who: &Value, what: &str| {
            let words = format!("{} {what} term {term}", who.as_str().unwrap_or_default());
            assert!(
                who.is_null() || turns.iter().any(|(_, one)| *one == words),
                "{words}: {turns:?}"
            );
        };
        said(&election["leader"], "leads in");
        said(&election["candidate"], "stands for");
    }
    let events = ran.events();
    assert!(events.contains("as heard on the wire"), "{events}");
    let record = fs::read_to_string(ran.out.join("wire.jsonl")).expect("the record");
    let seen = record.lines().filter(|line| line.contains("\"event\":\"seen\"")).count() as u64;
    assert_eq!(wire["coverage"]["messages"].as_u64(), Some(seen), "each message has its line");
}

#[test]
fn a_vote_that_is_forgotten_is_caught_while_it_runs_and_from_the_record() {
    // Whether the second candidate stands in the same term is a matter of luck.
    let caught = (1..=3).find_map(|seed| {
        let args = ["--node-arg=--bug=forget-vote", "--seed", &seed.to_string()];
        let ran = run("wire/votes.yaml", &args);
        let code = ran.code.unwrap_or_else(|| panic!("{}", ran.said()));
        let wire = is_judged_the_same_again(&ran, code);
        (code == 1).then_some((ran, wire))
    });
    let (ran, wire) = caught.expect("one of three runs provokes it");
    assert_eq!(ran.check("invariants"), "violated");
    let summary = stored(&ran.out);
    assert!(summary.network.wire.is_some_and(|wire| !wire.alarms.is_empty()));
    let alarm = &wire["alarms"][0];
    assert_eq!(alarm["invariant"], "one_vote", "{alarm}");
    assert_eq!(alarm["evidence"].as_array().map(Vec::len), Some(2), "{alarm}");
    let said = alarm["said"].as_str().expect("a sentence");
    assert!(ran.stderr.contains(&format!("violated on the wire: {said}")), "{}", ran.stderr);
    let events = ran.events();
    let told = events.lines().any(|line| line.contains("\"invariants\"") && line.contains(said));
    assert!(told, "{events}");
}

/// In two seconds each group is heard, by its leader's heartbeats if by nothing else; before that
/// the nodes would be asked. The group that counts is the bucket's, not the one of the servers
/// themselves, although each server is heard in both.
#[test]
fn of_several_groups_the_buckets_leader_is_meant() {
    let ran = run_text(NATS, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let wire = is_judged_the_same_again(&ran, 0);
    let groups = wire["groups"].as_array().expect("groups");
    assert!(groups.iter().any(|one| one["group"] == "_meta_"), "{wire}");
    let bucket = |one: &&Value| one["group"].as_str().is_some_and(|name| name.starts_with("S-R3F"));
    let heard = groups.iter().find(bucket).expect("the bucket's group")["leader"].clone();
    // Whoever leads the bucket says so in its own log, and nobody else does.
    let led = "JetStream cluster new stream leader for '$G > KV_raftq'";
    let log = |node: &String| fs::read_to_string(ran.out.join("nodes").join(format!("{node}.log")));
    let nodes = ["n1", "n2", "n3"].map(str::to_owned);
    let leaders: Vec<_> =
        nodes.iter().filter(|node| log(node).expect("a log").contains(led)).collect();
    assert_eq!(leaders.len(), 1, "nobody made it change hands: {leaders:?}");
    assert_eq!(heard, leaders[0].as_str());
    let bound = format!("({} leads in term ", leaders[0]);
    let events = ran.events();
    let told = events.lines().find(|line| line.contains("bound: ")).expect("it was bound");
    assert!(told.contains(&bound) && told.contains("as heard on the wire"), "{told}");
    let rule = &ran.summary()["network"]["rules"][0];
    assert!(rule["acted"].as_u64() > Some(0), "{rule}");
}
