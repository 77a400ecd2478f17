//! Rules about whoever leads, on a real etcd cluster of which nothing is known but its packets:
//! who that is is heard. Needs root and `make setup`; run it by `make test`.

mod live_lab;
mod wire_lab;

use raftq_harness::clock::wait_for;
use raftq_harness::etcd::{EtcdCluster, name};
use raftq_harness::netns::Bridged;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use wire_lab::{CALL, LIMIT, Left, Line, STEP, Wired, etcd, net, others};

/// A write that cannot succeed is given up after this.
const LOST: Duration = Duration::from_secs(1);

const CUT: &str = "\
rules:
  - { name: cut the leader off, between: [leader, rest], do: drop, at: 200ms, for: 5m }
";

const SLOW: &str = "\
rules:
  - { name: slow leader, from: { leader: current }, do: { delay: 3ms } }
";

/// The others have a leader of their own, in a higher term than `term`.
fn another_leads(etcd: &EtcdCluster<'_>, old: usize, term: u64) -> usize {
    let leads = |i: &usize| {
        let status = etcd.status(*i).ok().filter(|status| status.term > term);
        status.is_some_and(|status| status.leader == Some(status.member))
    };
    let found = wait_for("another leader", LIMIT, STEP, || others(old).into_iter().find(leads));
    found.unwrap_or_else(|e| panic!("{e}\n{}", etcd.log_tails()))
}

/// All follow one leader, and hold what was written.
fn all_is_well(etcd: &EtcdCluster<'_>, key: &str) {
    let agreed = etcd.agree(key, LIMIT).expect("the nodes agree");
    assert_eq!(agreed.value.as_deref(), Some("kept"), "{key}");
}

#[test]
fn a_leader_that_is_heard_is_cut_off_another_is_elected_and_it_heals() {
    let net = net();
    let (etcd, old) = etcd(&net);
    let term = etcd.status(old).expect("its status").term;
    let mut wired = Wired::to(&net, &etcd, CUT);
    let bound = wired.raftq.await_line("as heard on the wire");
    let heard = format!("({} leads in term {term}, as heard on the wire)", name(old));
    assert!(bound.contains(&heard), "{heard}:\n{bound}");
    wired.raftq.await_active("cut the leader off");
    let new = another_leads(&etcd, old, term);
    wired.raftq.await_line(&format!("{} leads in term ", name(new)));
    assert!(etcd.put(old, "lost", "?", LOST).is_err(), "a leader that is cut off keeps nothing");
    etcd.put(new, "key", "kept", CALL).expect("the new leader has a majority");
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    assert_eq!(left.ending.of_rule("cut the leader off", "activations"), 1);
    for link in left.ending.json["links"].as_array().expect("links") {
        let cut = link["from"] == name(old).as_str() || link["to"] == name(old).as_str();
        assert_eq!(cut, link["dropped"].as_u64() > Some(0), "{} led: {link}", name(old));
    }
    let (_, elected, later) = left.next_leader(term);
    let elections = left.ending.json["wire"]["elections"].as_array().expect("elections");
    let mut leaders = elections.iter().map(|one| (one["term"].as_u64(), one["leader"].as_str()));
    let (first, second) = (name(old), name(elected));
    assert_eq!(leaders.next(), Some((Some(term), Some(first.as_str()))), "{}", left.ending);
    assert!(leaders.any(|one| one == (Some(later), Some(second.as_str()))), "{}", left.ending);
    all_is_well(&etcd, "key");
}

/// The leader stands still until another one is told, and goes on: who that is, in which term.
fn depose(etcd: &mut EtcdCluster<'_>, wired: &mut Wired<'_>, term: u64) -> (usize, u64) {
    let (old, heard) = wired.await_leader(term - 1);
    assert_eq!(heard, term, "n{} leads", old + 1);
    etcd.process(old).pause().expect("it stands still");
    let elected = wired.await_leader(term);
    etcd.process(old).resume().expect("it goes on");
    assert_ne!(elected.0, old);
    elected
}

fn the_current_leader_is_followed(net: &Bridged, etcd: &mut EtcdCluster<'_>) {
    let old = etcd.wait_for_leader(LIMIT).expect("a leader");
    let term = etcd.status(old).expect("its status").term;
    let mut wired = Wired::to(net, etcd, SLOW);
    etcd.put(old, "slow", "kept", CALL).expect("a write");
    depose(etcd, &mut wired, term);
    etcd.put(another_leads(etcd, old, term), "slow", "kept", CALL).expect("a write");
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    let (from, new, _) = left.next_leader(term);
    assert_ne!(old, new);
    let slowed = left.by_rule("slow leader");
    assert!(slowed.iter().all(|line| line.verdict() == "delay"), "{slowed:?}");
    let (before, after): (Vec<&Line>, Vec<&Line>) =
        slowed.into_iter().partition(|line| line.at < from);
    assert!(!before.is_empty() && before.iter().all(|line| line.node("from") == old));
    // The very packet that shows who leads is the new leader's first.
    assert!(!after.is_empty() && after.iter().all(|line| line.node("from") == new));
    assert_eq!(after[0].at, from, "{}", after[0].it);
    all_is_well(etcd, "slow");
}

/// The rule of the shipped file.
const RULE: &str = "cut the new leader off";

/// The shipped rule, with a cut that lasts until it is ended.
fn first_entry() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/first-entry.yaml");
    let text = fs::read_to_string(path).expect("the rules");
    let (_, rules) = text.split_once("\nrules:").expect("rules");
    assert!(rules.contains("for: 5s"), "{rules}");
    format!("rules:{}", rules.replace("for: 5s", "for: 5m"))
}

fn a_new_leader_is_cut_off_with_its_first_entry(net: &Bridged, etcd: &mut EtcdCluster<'_>) {
    let old = etcd.wait_for_leader(LIMIT).expect("a leader");
    let term = etcd.status(old).expect("its status").term;
    let mut wired = Wired::to(net, etcd, &first_entry());
    let (victim, its_term) = depose(etcd, &mut wired, term);
    wired.raftq.await_active(RULE);
    let heir = another_leads(etcd, victim, its_term);
    etcd.put(heir, "first", "kept", CALL).expect("the next leader has a majority");
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    assert_eq!(left.ending.of_rule(RULE, "activations"), 1, "{}", left.ending);
    in_that_order(&left, term, (victim, its_term));
    all_is_well(etcd, "first");
}

/// One leads, sends its first entry, nothing of it passes any more, and another one leads.
fn in_that_order(left: &Left, term: u64, (victim, its_term): (usize, u64)) {
    let (led, elected, elected_in) = left.next_leader(term);
    assert_eq!((elected, elected_in), (victim, its_term), "{}", left.ending);
    let cut = left.by_rule(RULE);
    let first = cut[0];
    let entry = left.within(first);
    let brings = |line: &Line| {
        line.is("append_entries") && line.number("entries") > 0 && line.number("term") == its_term
    };
    assert!(entry.iter().any(|line| brings(line)), "{}: {entry:?}", first.it);
    let all = left.judged(brings);
    assert_eq!(all[0].at, first.at, "it is cut off with its first one");
    let (next, another, next_term) = left.next_leader(its_term);
    assert_ne!(another, victim);
    assert!(led <= first.at && first.at < next);
    let of_it = |line: &&Line| {
        let ends = [&line.it["from"], &line.it["to"]];
        (first.at..next).contains(&line.at) && ends.contains(&&name(victim).into())
    };
    let of_it = left.trace.iter().filter(of_it);
    // The batch of that moment may have begun with packets of before.
    let passed = of_it.filter(|line| line.verdict() != "drop" && line.at > first.at);
    assert_eq!(passed.map(|line| &line.it).collect::<Vec<_>>(), Vec::<&Value>::new(), "passed");
    let at = |words: &str| left.ending.stderr.find(words).expect("it is told");
    let order = [
        at(&format!("{} leads in term {its_term}", name(victim))),
        at(&format!("rule \"{RULE}\" active")),
        at(&format!("{} leads in term {next_term}", name(another))),
    ];
    assert!(order.is_sorted(), "{}", left.ending.stderr);
}

#[test]
fn rules_follow_elections() {
    let net = net();
    let (mut etcd, _) = etcd(&net);
    the_current_leader_is_followed(&net, &mut etcd);
    a_new_leader_is_cut_off_with_its_first_entry(&net, &mut etcd);
}
