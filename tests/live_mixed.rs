//! Two nodes on one network stack and a third with its own: each sender is found where it
//! is, whichever queue sees its packets.
//! Needs root and `make setup`; run it by `make test`.

mod live_lab;

use live_lab::{Family, Net, Raftq, Shape, await_more, now_us};
use raftq_harness::netns::Bridged;
use raftq_harness::probe::{Probe, What};

/// A node of the shared stack that asks the third node.
fn ask(net: &Net, listens: &str, to: &str) -> Probe {
    let args = [
        "ask",
        "tcp",
        to,
        "--as",
        listens,
        "--count",
        "100000",
        "--every",
        "10ms",
        "--timeout",
        "100ms",
    ];
    Probe::start(net.node(0), &[&args[..], &["--redial"]].concat()).expect("it starts")
}

#[test]
fn a_sender_on_a_shared_stack_is_found_by_the_queue_of_another() {
    let net = Net::new(Shape::Namespaces, 2);
    let (home, away) = (Bridged::v4(0), Bridged::v4(1));
    let (n1, n2) = (format!("{home}:7001"), format!("{home}:7002"));
    let n3 = net.peer(1, Family::V4).to_string();
    assert!(n3.starts_with(&away.to_string()));
    let cluster = format!(
        "cluster:\n  nodes:\n    n1: {{ at: \"{n1}\", netns: {shared} }}\n    \
         n2: {{ at: \"{n2}\", netns: {shared} }}\n    n3: {{ at: \"{n3}\", netns: {own} }}\n",
        shared = net.node(0).name(),
        own = net.node(1).name(),
    );
    let _third = net.serve(1, "tcp", Family::V4);
    let mut cut = ask(&net, &n1, &n3);
    let mut spared = ask(&net, &n2, &n3);
    for probe in [&mut cut, &mut spared] {
        await_more(probe, What::Answered, 5, 0);
    }
    let rules = "rules: [{ name: cut, between: [n1, n3], do: drop }]\n";
    let spaces = vec![net.node(0), net.node(1)];
    let mut raftq = Raftq::start_with(&cluster, spaces, None, rules, &["--json"]);
    raftq.await_line("attached to ");
    raftq.await_active("cut");
    let from = now_us();
    await_more(&mut spared, What::Answered, 50, from);
    // Dials during the cut are the harder part: their SYNs are seen by the third node's queue.
    await_more(&mut cut, What::Failed, 2, from);
    let ending = raftq.interrupt();
    assert_eq!(ending.code, 0, "{ending}");
    assert_eq!(ending.of_rule("cut", "leaked"), 0, "{ending}");
    assert_eq!(ending.total("unattributed"), 0, "{ending}");
    assert!(ending.link("n1", "n3", "dropped") > 0, "{ending}");
    assert_eq!(ending.link("n2", "n3", "dropped"), 0, "{ending}");
    assert!(ending.link("n2", "n3", "packets") > 50, "{ending}");
    await_more(&mut cut, What::Answered, 1, now_us());
}
