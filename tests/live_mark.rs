//! Marks that iptables rules further on see: in a later table, on what passes at once, what was
//! held and what waited for its sender; bits that the mask leaves alone stay. Needs root; run it by
//! `make test`.

mod fault_lab;
mod live_lab;

use fault_lab::{REFUSED, await_errno};
use live_lab::{Ending, Family, LIMIT, Net, Raftq, Shape};
use raftq_harness::netns::Namespace;
use raftq_harness::probe::{Probe, What, numbers};

const MANY: u64 = 20;

/// Runs one of the tools of a family.
fn iptables(space: &Namespace, family: Family, rule: &str) -> String {
    let program = match family {
        Family::V4 => "iptables-nft",
        Family::V6 => "ip6tables-nft",
    };
    let args: Vec<&str> = rule.split_whitespace().collect();
    let output = space.run(program, &args).expect("rules can be put in");
    String::from_utf8(output.stdout).expect("text")
}

/// Counts datagrams to n2 by mark: behind the queue, in the filter table.
struct Counted<'n> {
    net: &'n Net,
    family: Family,
    marks: Vec<u32>,
}

impl<'n> Counted<'n> {
    /// Everything bears `former` before it is queued.
    fn new(net: &'n Net, family: Family, former: u32, marks: &[u32]) -> Self {
        let port = net.peer(1, family).port();
        let space = net.node(1);
        let put = |rule: &str| drop(iptables(space, family, rule));
        put(&format!("-t mangle -A PREROUTING -p udp --dport {port} -j MARK --set-mark {former}"));
        for mark in marks {
            put(&format!("-A INPUT -p udp --dport {port} -m mark --mark {mark:#x}"));
        }
        Self { net, family, marks: marks.to_vec() }
    }

    /// How many bore each mark.
    fn counts(&self) -> Vec<u64> {
        let list = iptables(self.net.node(1), self.family, "-nvxL INPUT");
        let count = |mark: &u32| {
            let line = list.lines().find(|line| line.ends_with(&format!("mark match {mark:#x}")));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or_else(|| panic!("no {mark:#x} in\n{list}"))
        };
        self.marks.iter().map(count).collect()
    }
}

/// n1 sends n2 datagrams, each of which arrives, under this rule.
fn marked(net: &Net, family: Family, rule: &str) -> Ending {
    let at = net.peer(1, family);
    let sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let mut raftq = Raftq::attach(net, rule, &["--json"]);
    raftq.await_active("mark");
    let args = format!("--count {MANY} --every 1ms");
    net.talk("send", ("udp", family), (0, 1), &args).finish(LIMIT).expect("it sends");
    let mut sink = sink;
    let got = live_lab::await_more(&mut sink, What::Got, MANY as usize, 0);
    assert_eq!(numbers(&got, What::Got), (0..MANY as u32).collect::<Vec<_>>());
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert_eq!(ending.of_rule("mark", "matched"), MANY, "{ending}");
    assert_eq!(ending.of_rule("mark", "acted"), MANY, "{ending}");
    ending
}

#[test]
fn a_mark_is_seen_behind_and_its_mask_keeps_the_other_bits() {
    for shape in [Shape::Namespaces, Shape::Ports, Shape::Addresses] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let counted = Counted::new(&net, family, 0x5fff, &[0x5fff, 0x10, 0x5f10, 0x30]);
            let rule =
                |do_: &str| format!("rules: [{{ name: mark, from: n1, to: n2, do: {do_} }}]\n");
            let mut wanted = vec![0; 4];
            for (do_, bears) in [
                ("{ mark: 0x10 }", 1),
                ("{ mark: { set: 0x10, mask: 0xff } }", 2),
                // What is held keeps its own bits as well.
                ("[{ mark: { set: 0x10, mask: 0xff } }, { delay: 20ms }]", 2),
                ("[{ mark: 0x10 }, { mark: { set: 0x20, mask: 0x20 } }, { delay: 20ms }]", 3),
                ("[{ mark: { set: 0x10, mask: 0xff } }, hold]", 2),
                ("accept", 0),
            ] {
                let mut rule = rule(do_);
                if do_.contains("hold") {
                    rule = rule.replace("hold]", "{ hold: { until: 1s } }]");
                }
                let ending = marked(&net, family, &rule);
                wanted[bears] += MANY;
                assert_eq!(counted.counts(), wanted, "{shape:?} {family:?} {do_}\n{ending}");
            }
        }
    }
}

/// A rule of the user's own does the rest: here it rejects what is marked.
#[test]
fn a_rule_behind_acts_on_what_is_marked() {
    for shape in [Shape::Namespaces, Shape::Ports] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let sink = Probe::listen(net.node(1), "sink", "tcp", net.peer(1, family));
            let mut sink = sink.expect("it listens");
            iptables(net.node(1), family, "-A INPUT -p tcp -m mark --mark 0x10 -j REJECT");
            let rules = "rules: [{ name: mark, from: n1, to: n2, do: { mark: 0x10 } }]\n";
            let mut raftq = Raftq::attach(&net, live_lab::NOTHING, &["--json"]);
            // Without a mark it is let in.
            net.talk("send", ("tcp", family), (0, 1), "--count 1").finish(LIMIT).expect("it sends");
            live_lab::await_more(&mut sink, What::Got, 1, 0);
            raftq.reload(rules);
            let args = "--count 1 --dial-timeout 20s";
            await_errno(&mut net.talk("send", ("tcp", family), (0, 1), args), REFUSED);
            let ending = raftq.interrupt();
            ending.must_be_clean(0);
            // The SYN, and what may have been left of the former connection.
            assert!(ending.of_rule("mark", "acted") >= 1, "{ending}");
        }
    }
}
