//! Rules about single Raft messages, on a real etcd cluster: they act on those, and on nothing
//! else. Needs root and `make setup`; run it by `make test`.

mod live_lab;
mod wire_lab;

use raftq_harness::clock::{now, since, wait_for};
use raftq_harness::etcd::{EtcdCluster, name};
use raftq_harness::netns::Bridged;
use std::time::Duration;
use wire_lab::{CALL, LIMIT, Left, Line, STEP, Wired, etcd, net, others};

const LATE: Duration = Duration::from_millis(700);

/// The packets whose messages come to the first `n` that fit, with how many these are: the last
/// packet may bring more than are missing.
fn first_packets(
    left: &Left,
    n: usize,
    fit: impl Fn(&Line) -> bool,
) -> (Vec<(i64, usize, usize)>, u64) {
    let mut packets = Vec::new();
    let mut count = 0;
    for line in left.judged(fit) {
        let (from, to) = line.link().expect("it was judged");
        let packet = (line.at, from, to);
        let new = packets.last() != Some(&packet);
        if new && count >= n as u64 {
            break;
        }
        if new {
            packets.push(packet);
        }
        count += 1;
    }
    (packets, count)
}

fn packets(lines: &[&Line]) -> Vec<(i64, usize, usize)> {
    lines.iter().map(|line| (line.at, line.node("from"), line.node("to"))).collect()
}

fn value(etcd: &EtcdCluster<'_>, node: usize, key: &str) -> Option<String> {
    etcd.get_local(node, key, CALL).expect("it answers")
}

fn await_value(etcd: &EtcdCluster<'_>, node: usize, key: &str) {
    let what = format!("{key} at {}", name(node));
    let there = wait_for(&what, LIMIT, STEP, || value(etcd, node, key));
    there.unwrap_or_else(|e| panic!("{e}\n{}", etcd.log_tails()));
}

fn five_heartbeats_are_dropped(net: &Bridged, etcd: &EtcdCluster<'_>) {
    const RULE: &str = "five heartbeats";
    let rules = format!(
        "rules: [{{ name: {RULE}, where: {{ message: heartbeat, first: 5 }}, do: drop }}]\n"
    );
    let wired = Wired::to(net, etcd, &rules);
    let heartbeats = |all: &[Line]| all.iter().filter(|line| line.is("heartbeat")).count();
    wired.await_messages("a dozen heartbeats", |all| heartbeats(all) > 12);
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    let (expected, count) = first_packets(&left, 5, |line| line.is("heartbeat"));
    assert_eq!(packets(&left.by_rule(RULE)), expected);
    for what in ["matched", "acted"] {
        assert_eq!(left.ending.of_rule(RULE, what), count, "{}", left.ending);
    }
    // Of all that was captured nothing else was disturbed.
    let dropped: Vec<_> = left.trace.iter().filter(|line| line.verdict() != "accept").collect();
    assert_eq!(packets(&dropped), expected);
    assert!(dropped.iter().all(|line| line.verdict() == "drop" && line.it["rule"] == RULE));
}

fn one_write_is_late(net: &Bridged, etcd: &EtcdCluster<'_>) {
    const RULE: &str = "a late write";
    // One segment to each follower: a write needs but one of them.
    let rules = format!(
        "rules: [{{ name: {RULE}, where: {{ message: append_entries, entries: \">0\", \
         from_role: leader, first: 2 }}, do: {{ delay: 700ms }} }}]\n"
    );
    let leader = etcd.leader().expect("a leader");
    let write = |key: &str| etcd.put(leader, key, "kept", CALL).expect("a write");
    let mut wired = Wired::to(net, etcd, "rules: []\n");
    wired.raftq.await_line(&format!("{} leads in term", name(leader)));
    write("before");
    for node in others(leader) {
        await_value(etcd, node, "before");
    }
    wired.raftq.reload(&rules);
    let start = now();
    write("late");
    let took = since(start);
    write("after");
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    assert!(took >= LATE, "the write waited for its entry: {took:?}");
    let late = left.by_rule(RULE);
    assert!(late.iter().all(|line| line.it["delay_us"] == 700_000), "{late:?}");
    let mut to: Vec<_> = late.iter().map(|line| (line.node("from"), line.node("to"))).collect();
    to.sort_unstable();
    let mut expected = others(leader).map(|follower| (leader, follower));
    expected.sort_unstable();
    assert_eq!(to, expected, "{late:?}");
    assert_eq!(left.ending.of_rule(RULE, "acted"), 2, "{}", left.ending);
    let brings = |line: &Line| line.is("append_entries") && line.number("entries") > 0;
    for packet in &late {
        assert!(left.within(packet).iter().any(|line| brings(line)), "{}", packet.it);
    }
    // The writes before and behind it were not late.
    assert!(!left.judged(|line| brings(line) && line.at < late[0].at).is_empty());
    assert!(!left.judged(|line| brings(line) && line.at > late[1].at).is_empty());
    // What else was held is what stood behind it in its direction.
    let held = left.trace.iter().filter(|line| line.it["delay_us"].is_u64());
    for line in held.filter(|line| line.it["rule"] != RULE) {
        assert!(line.it["rule"].is_null() && line.at > late[0].at, "{}", line.it);
        assert!(late.iter().any(|late| late.flow() == line.flow()), "{}", line.it);
    }
}

#[test]
fn a_rule_acts_on_the_messages_that_it_names_and_on_nothing_else() {
    let net = net();
    let (etcd, _) = etcd(&net);
    five_heartbeats_are_dropped(&net, &etcd);
    etcd.agree("none", LIMIT).expect("all follow one leader");
    one_write_is_late(&net, &etcd);
    assert_eq!(etcd.agree("after", LIMIT).expect("they agree").value.as_deref(), Some("kept"));
}

fn a_stalled_follower_gets_no_entries(net: &Bridged, etcd: &EtcdCluster<'_>) {
    const RULE: &str = "stalled";
    let leader = etcd.leader().expect("a leader");
    let [behind, other] = others(leader);
    let (from, to) = (name(leader), name(behind));
    let rules = format!(
        "rules: [{{ name: {RULE}, from: {from}, to: {to}, where: {{ message: append_entries, \
         entries: \">0\" }}, do: stall }}]\n"
    );
    let term = etcd.status(leader).expect("its status").term;
    let wired = Wired::to(net, etcd, &rules);
    etcd.put(leader, "stalled", "kept", CALL).expect("the other one is a majority with it");
    await_value(etcd, other, "stalled");
    // Its heartbeats, on another connection, are answered all the while.
    let mut stalled = None;
    wired.await_messages("heartbeats behind the stall", |all| {
        let is = |line: &Line, kind: &str, ends| line.is(kind) && line.link() == Some(ends);
        let entry = |line: &&Line| {
            is(line, "append_entries", (leader, behind)) && line.number("entries") > 0
        };
        stalled = stalled.or(all.iter().find(entry).map(|line| line.at));
        let later = |kind: &str, ends| {
            let after = all.iter().filter(|line| Some(line.at) > stalled);
            stalled.is_some() && after.filter(|line| is(line, kind, ends)).count() > 2
        };
        later("heartbeat", (leader, behind)) && later("heartbeat_answer", (behind, leader))
    });
    assert_eq!(value(etcd, behind, "stalled"), None, "the entry is lost");
    let status = etcd.status(behind).expect("its status");
    assert!(status.leader.is_some() && status.term == term, "it still follows: {status:?}");
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    let lost = left.by_rule(RULE);
    assert!(!lost.is_empty() && lost.iter().all(|line| line.is_from_to(leader, behind)));
    assert_eq!(lost[0].at, stalled.expect("it began"), "from the entry on");
    let ways = left.trace.iter().filter(|line| line.is_from_to(leader, behind));
    let (dead, alive): (Vec<_>, Vec<_>) =
        ways.filter(|line| line.at > lost[0].at).partition(|line| line.flow() == lost[0].flow());
    // Acknowledgements pass, and no more, until raftq lets go.
    let end = lost.last().expect("some").at;
    let passed: Vec<_> = dead.iter().filter(|line| line.pushes() && line.at <= end).collect();
    assert!(passed.iter().all(|line| line.verdict() == "drop" || line.verdict() == "trim"));
    assert!(!passed.is_empty(), "it was sent again and again");
    assert!(alive.iter().any(|line| line.verdict() == "accept" && line.pushes()));
    // Nothing that brings an entry came through on any other.
    let brings = |line: &Line| line.is("append_entries") && line.number("entries") > 0;
    let first = left.within(lost[0]).into_iter().find(|line| brings(line)).expect("an entry");
    for packet in alive.iter().filter(|line| line.verdict() == "accept") {
        let inside = left.within(packet).into_iter().filter(|l| l.it["flow"] != first.it["flow"]);
        assert_eq!(inside.filter(|line| brings(line)).count(), 0, "{}", packet.it);
    }
}

fn a_reset_breaks_the_connection(net: &Bridged, etcd: &mut EtcdCluster<'_>) {
    const RULE: &str = "broken";
    let leader = etcd.leader().expect("a leader");
    let [hit, _] = others(leader);
    let (from, to) = (name(leader), name(hit));
    let rules = format!(
        "rules: [{{ name: {RULE}, from: {from}, to: {to}, where: {{ message: append_entries, \
         entries: \">0\", first: 1 }}, do: reset }}]\n"
    );
    let known = etcd.process(hit).stderr().len();
    let wired = Wired::to(net, etcd, &rules);
    etcd.put(leader, "reset", "kept", CALL).expect("a write");
    // Whoever lost it dials anew, and catches up.
    await_value(etcd, hit, "reset");
    let said = wait_for("its log to say so", LIMIT, STEP, || {
        etcd.process(hit).stderr()[known..].contains("connection reset by peer").then_some(())
    });
    said.unwrap_or_else(|e| panic!("{e}\n{}", etcd.log_tails()));
    let left = wired.interrupt();
    left.ending.must_be_clean(0);
    let by_rule = left.by_rule(RULE);
    let [reset] = by_rule.as_slice() else { panic!("one packet: {by_rule:?}") };
    assert_eq!(reset.verdict(), "reset", "{}", reset.it);
    assert!(left.within(reset).iter().any(|line| line.number("entries") > 0), "{}", reset.it);
    let dials = |line: &&Line| {
        line.at > reset.at && line.it["flags"] == "S" && line.is_from_to(hit, leader)
    };
    assert!(left.trace.iter().any(|line| dials(&line)), "it dials the stream anew");
    assert_eq!(left.ending.of_rule(RULE, "acted"), 1, "{}", left.ending);
}

#[test]
fn a_connection_is_stalled_or_reset_from_a_message_on() {
    let net = net();
    let (mut etcd, _) = etcd(&net);
    a_stalled_follower_gets_no_entries(&net, &etcd);
    let agreed = etcd.agree("stalled", LIMIT).expect("what was stalled arrives in the end");
    assert_eq!(agreed.value.as_deref(), Some("kept"));
    a_reset_breaks_the_connection(&net, &mut etcd);
    assert_eq!(etcd.agree("reset", LIMIT).expect("they agree").value.as_deref(), Some("kept"));
}
