//! Cuts, as the sockets on both sides see them: one way and both ways, of data and of packets,
//! of connections old and new. Needs root; run it by `make test`.

mod live_lab;

use live_lab::{Family, LIMIT, NOTHING, Net, Raftq, Shape, await_more, between, now_us};
use raftq_harness::probe::{Event, Probe, What, numbers};

const TCP: (&str, Family) = ("tcp", Family::V4);

/// A connection from n1 to n2 on which both ends send for minutes.
const STREAM: &str = "--count 6000 --every 20ms --size 100 --back";

/// One that asks for minutes, and never waits long.
const ASK: &str = "--count 6000 --every 20ms --timeout 100ms";

fn cut(what: &str) -> String {
    format!("rules: [{{ name: deaf, from: n1, to: n2, do: {{ drop: {{ what: {what} }} }} }}]\n")
}

/// A server on n2 and a stream from n1 to it: with a server for each, whatever a server tells
/// is of that stream.
struct Stream {
    server: Probe,
    client: Probe,
}

impl Stream {
    fn new(net: &Net, family: Family) -> Self {
        let server = net.serve(1, "tcp", family);
        let mut client = net.talk("send", ("tcp", family), (0, 1), STREAM);
        await_more(&mut client, What::Got, 10, 0);
        Self { server, client }
    }

    /// The messages that n1 handed to the kernel after `from_us` and before `to_us` for sure:
    /// an event is told after its send, so the first may have been sent earlier.
    fn sent(&self, from_us: u64, to_us: u64) -> Vec<u32> {
        let events = self.client.events();
        let handed = |e: &&Event| matches!(e.what, What::Sent | What::Stalled);
        let inside = |e: &&Event| e.at_us > from_us && e.at_us < to_us;
        let all = events.iter().filter(handed).filter(inside).filter_map(|event| event.n);
        all.skip(1).collect()
    }

    /// What of n1's messages arrived at n2 before `to_us`.
    fn heard(&self, to_us: u64) -> Vec<u32> {
        between(&self.server.events(), What::Got, 0, to_us)
    }

    /// Both sides have everything up to the newest of what was sent so far, in order.
    fn heals(&mut self) {
        let last = *numbers(&self.client.events(), What::Sent).last().expect("it sends");
        let told = format!("message {last} at the side that was deaf");
        let server = &mut self.server;
        let heard = server
            .wait_until(&told, LIMIT, |events| numbers(events, What::Got).contains(&last))
            .unwrap_or_else(|e| panic!("{e}"));
        in_order(&numbers(&heard, What::Got));
        in_order(&numbers(&self.client.events(), What::Got));
    }
}

/// TCP gives everything once and in its order.
fn in_order(numbers: &[u32]) {
    let all: Vec<u32> = (0..numbers.len() as u32).collect();
    assert_eq!(numbers, all);
}

/// One connection is older than the attach, one was dialled under raftq's eyes.
fn one_way_cut_of_data(shape: Shape, args: &[&str]) {
    let net = Net::new(shape, 2);
    let mut streams = vec![Stream::new(&net, Family::V4)];
    let mut raftq = Raftq::attach(&net, NOTHING, &[args, &["--json"]].concat());
    streams.push(Stream::new(&net, Family::V6));
    raftq.reload(&cut("data"));
    let cut_us = now_us();
    for stream in &mut streams {
        await_more(&mut stream.client, What::Got, 80, cut_us);
    }
    let end_us = now_us();
    for stream in &streams {
        let (sent, heard) = (stream.sent(cut_us, end_us), stream.heard(end_us));
        assert!(sent.len() > 40, "n1 goes on sending: {sent:?}");
        let slipped: Vec<_> = sent.iter().filter(|n| heard.contains(n)).collect();
        assert!(slipped.is_empty(), "{shape:?}: the deaf side heard {slipped:?}");
    }
    let ending = raftq.interrupt();
    for stream in &mut streams {
        stream.heals();
    }
    ending.must_be_clean(0);
    assert!(ending.of_rule("deaf", "acted") > 0, "{ending}");
    let cut = ending.link("n1", "n2", "trimmed") + ending.link("n1", "n2", "dropped");
    assert_eq!(cut, ending.of_rule("deaf", "acted"), "{ending}");
    assert!(ending.link("n1", "n2", "trimmed") > 0, "{ending}");
    for what in ["trimmed", "dropped", "delayed"] {
        assert_eq!(ending.link("n2", "n1", what), 0, "{what} on the way back\n{ending}");
    }
}

#[test]
fn one_way_cut_of_data_in_namespaces() {
    one_way_cut_of_data(Shape::Namespaces, &[]);
}

#[test]
fn one_way_cut_of_data_behind_a_bridge() {
    one_way_cut_of_data(Shape::Bridge, &[]);
}

#[test]
fn one_way_cut_of_data_on_loopback() {
    one_way_cut_of_data(Shape::Ports, &[]);
}

/// Acknowledgements go the way that is cut, so the way back stalls, too.
#[test]
fn one_way_cut_of_packets_stalls_both_ways() {
    let net = Net::new(Shape::Namespaces, 2);
    let mut stream = Stream::new(&net, Family::V4);
    let raftq = Raftq::attach(&net, &cut("packets"), &["--json", "--queue", "nfq"]);
    let cut_us = now_us();
    await_more(&mut stream.server, What::Sent, 80, cut_us);
    let end_us = now_us();
    let (sent, heard) = (stream.sent(cut_us, end_us), stream.heard(end_us));
    assert!(sent.iter().all(|n| !heard.contains(n)), "sent {sent:?}, heard {heard:?}");
    // A first window's worth arrives before the sender misses its acknowledgements.
    let back = between(&stream.client.events(), What::Got, cut_us, end_us);
    assert!(back.len() < 40, "{} of 80 came back", back.len());
    let ending = raftq.interrupt();
    stream.heals();
    ending.must_be_clean(0);
    assert_eq!(ending.link("n1", "n2", "dropped"), ending.of_rule("deaf", "acted"), "{ending}");
    assert_eq!(ending.link("n1", "n2", "trimmed"), 0, "{ending}");
    assert_eq!(ending.link("n2", "n1", "dropped"), 0, "{ending}");
}

/// Both transports and families at once; they heal while raftq is still attached.
fn connections_old_and_new(shape: Shape, args: &[&str]) {
    let net = Net::new(shape, 2);
    let mut wires = Vec::new();
    for family in net.families() {
        wires.extend([("tcp", *family), ("udp", *family)]);
    }
    let _servers: Vec<Probe> = wires.iter().map(|(t, f)| net.serve(1, t, *f)).collect();
    let again = format!("{ASK} --redial --dial-timeout 200ms");
    let ask = |wire: &(&'static str, Family)| net.talk("ask", *wire, (0, 1), ASK);
    let mut old: Vec<Probe> = wires.iter().map(ask).collect();
    for probe in &mut old {
        await_more(probe, What::Answered, 5, 0);
    }
    let cut =
        |at: &str| format!("rules: [{{ name: cut, between: [n1, n2], do: drop, at: {at} }}]\n");
    let mut raftq = Raftq::attach(&net, &cut("1ms"), &[args, &["--json"]].concat());
    raftq.await_active("cut");
    let cut_us = now_us();
    let mut new: Vec<Probe> =
        wires.iter().map(|wire| net.talk("ask", *wire, (0, 1), &again)).collect();
    for (probe, wire) in old.iter_mut().zip(&wires) {
        let events = await_more(probe, What::TimedOut, 3, cut_us);
        // The answer to a question from before the cut may be told after its start.
        let answered = between(&events, What::Answered, cut_us, u64::MAX).len();
        assert!(answered <= 1, "{wire:?}: {answered} answers came through the cut");
    }
    for (probe, wire) in new.iter_mut().zip(&wires) {
        let failed = |e: &Event| matches!(e.what, What::Failed | What::TimedOut);
        let told = format!("{wire:?}: a dial or question that fails");
        let seen = probe.wait_until(&told, LIMIT, |events| events.iter().any(failed));
        let seen = seen.unwrap_or_else(|e| panic!("{e}"));
        assert!(!seen.iter().any(|e| e.what == What::Answered), "{wire:?}: {seen:?}");
    }
    // The same rule, which keeps its counts, at a time that will not come.
    raftq.reload(&cut("1h"));
    for probe in old.iter_mut().chain(&mut new) {
        await_more(probe, What::Answered, 10, now_us());
    }
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("cut", "leaked"), 0, "{ending}");
    assert_eq!(ending.of_rule("cut", "activations"), 1, "{ending}");
    let dropped = ending.link("n1", "n2", "dropped") + ending.link("n2", "n1", "dropped");
    assert_eq!(dropped, ending.of_rule("cut", "acted"), "{ending}");
    assert!(dropped > 0, "{ending}");
}

#[test]
fn connections_old_and_new_are_cut_and_heal_in_namespaces() {
    connections_old_and_new(Shape::Namespaces, &[]);
}

#[test]
fn connections_old_and_new_are_cut_and_heal_on_loopback() {
    connections_old_and_new(Shape::Ports, &["--queue", "nfq"]);
}

#[test]
fn connections_old_and_new_are_cut_and_heal_on_loopback_addresses() {
    connections_old_and_new(Shape::Addresses, &[]);
}

/// `flow: new` spares what was there when the rule became active; `established` what was not.
fn a_cut_of_some_flows(shape: Shape) {
    let net = Net::new(shape, 2);
    let _server = net.serve(1, "tcp", Family::V4);
    let mut old = net.talk("ask", TCP, (0, 1), ASK);
    await_more(&mut old, What::Answered, 5, 0);
    let mut raftq = Raftq::attach(&net, NOTHING, &["--json"]);
    let mut younger = net.talk("ask", TCP, (0, 1), ASK);
    await_more(&mut younger, What::Answered, 5, 0);

    let rule = |name: &str, age: &str| {
        format!(
            "rules: [{{ name: {name}, between: [n1, n2], where: {{ flow: {age} }}, do: drop }}]\n"
        )
    };
    raftq.reload(&rule("the-new", "new"));
    let from_us = now_us();
    let dials = format!("{ASK} --redial --dial-timeout 300ms");
    let mut new = net.talk("ask", TCP, (0, 1), &dials);
    let events = new
        .wait_until("two dials that fail", LIMIT, |e| numbers(e, What::Failed).len() >= 2)
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(!events.iter().any(|e| e.what == What::Connected), "{events:?}");
    for probe in [&mut old, &mut younger] {
        await_more(probe, What::Answered, 20, from_us);
    }

    // The rules of before are forgotten with their counts, so one more that only counts.
    raftq.reload(&rule("the-others", "established"));
    let from_us = now_us();
    for probe in [&mut old, &mut younger] {
        await_more(probe, What::TimedOut, 3, from_us);
        assert!(between(&probe.events(), What::Answered, from_us, u64::MAX).len() <= 1);
    }
    let mut newest = net.talk("ask", TCP, (0, 1), ASK);
    await_more(&mut newest, What::Answered, 20, from_us);
    let end_us = now_us();
    let ending = raftq.interrupt();
    for probe in [&mut old, &mut younger, &mut new, &mut newest] {
        await_more(probe, What::Answered, 5, end_us);
    }
    ending.must_be_clean(0);
    let acted = ending.of_rule("the-others", "acted");
    assert!(acted > 0, "{ending}");
    let all = ending.link("n1", "n2", "dropped") + ending.link("n2", "n1", "dropped");
    assert!(all > acted, "the dials were dropped by the former rule\n{ending}");
}

#[test]
fn a_cut_of_some_flows_in_namespaces() {
    a_cut_of_some_flows(Shape::Namespaces);
}

#[test]
fn a_cut_of_some_flows_on_loopback() {
    a_cut_of_some_flows(Shape::Ports);
}

/// A listener on every address of both families is reached by either, and is one node.
#[test]
fn a_dual_stack_listener_is_cut_in_both_families() {
    let net = Net::new(Shape::Ports, 2);
    let at = "[::]:7002".parse().expect("an address");
    let _servers =
        ["tcp", "udp"].map(|t| Probe::listen(net.node(1), "serve", t, at).expect("it listens"));
    let wires =
        [("tcp", Family::V4), ("tcp", Family::V6), ("udp", Family::V4), ("udp", Family::V6)];
    let mut old = wires.map(|wire| net.talk("ask", wire, (0, 1), ASK));
    for probe in &mut old {
        await_more(probe, What::Answered, 5, 0);
    }
    let rules = "rules: [{ name: cut, between: [n1, n2], do: drop }]\n";
    let raftq = Raftq::attach(&net, rules, &["--json"]);
    let cut_us = now_us();
    for probe in &mut old {
        await_more(probe, What::TimedOut, 3, cut_us);
        assert!(between(&probe.events(), What::Answered, cut_us, u64::MAX).len() <= 1);
    }
    let ending = raftq.interrupt();
    for probe in &mut old {
        await_more(probe, What::Answered, 5, now_us());
    }
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("cut", "leaked"), 0, "{ending}");
}

#[test]
fn a_cut_of_one_link_spares_the_others() {
    let net = Net::new(Shape::Namespaces, 3);
    let _servers = [1, 2].map(|i| net.serve(i, "tcp", Family::V4));
    let mut cut = net.talk("ask", TCP, (0, 1), ASK);
    let mut spared = net.talk("ask", TCP, (0, 2), ASK);
    let raftq = Raftq::attach(&net, "rules: [{ between: [n1, n2], do: drop }]\n", &["--json"]);
    let from_us = now_us();
    await_more(&mut cut, What::TimedOut, 3, from_us);
    await_more(&mut spared, What::Answered, 50, from_us);
    let late = between(&spared.events(), What::TimedOut, from_us, u64::MAX);
    assert!(late.is_empty(), "{late:?} timed out on a link that is not cut");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.link("n1", "n3", "dropped") + ending.link("n3", "n1", "dropped"), 0);
    assert!(ending.link("n1", "n2", "dropped") > 0, "{ending}");
    await_more(&mut cut, What::Answered, 5, now_us());
}
