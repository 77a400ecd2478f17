//! A rule that needs single segments costs the other links nothing: bulk between namespaces, and
//! over a bridge, under a whole raftq. Needs root; run it by `make test`.

mod bulk_lab;
mod live_lab;

use bulk_lab::{be_patient, disorder, transfer};
use live_lab::{Family, Net, Raftq, Shape};
use serde_json::Value;
use std::fs;

const BULK: usize = 8 << 20;
/// Rolls dice for every segment of one link, and does nothing.
const ROLL: &str = "rules:\n  \
    - { name: roll, from: n1, to: n2, where: { chance: 50% }, do: accept, optional: true }\n  \
    - { name: pass, between: [any, any], do: accept }\n";
const PASS: &str = "rules:\n  - { name: pass, between: [any, any], do: accept }\n";

/// The longest packet that was judged on the way to a node.
fn longest(trace: &str, to: &str) -> u64 {
    let lines = trace.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line"));
    let lens = lines.filter(|line| line["to"] == to).filter_map(|line| line["len"].as_u64());
    lens.max().expect("some packets")
}

#[test]
fn a_chance_on_one_link_leaves_the_others_their_speed() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 3);
        be_patient(&net, 3);
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("trace.jsonl");
        let args = ["--json", "--trace", trace.to_str().expect("UTF-8")];
        let mut raftq = Raftq::attach(&net, ROLL, &args);
        raftq.await_active("roll");
        std::thread::scope(|scope| {
            for (from, to) in [(0, 1), (1, 2)] {
                let at = net.peer(to, Family::V4);
                let net = &net;
                scope.spawn(move || transfer(net.node(from), net.node(to), at, BULK));
            }
        });
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert!(ending.of_rule("roll", "matched") as usize >= BULK / 1_460, "{ending}");
        assert_eq!(disorder(&net, 3), 0, "{shape:?}\n{ending}");
        let trace = fs::read_to_string(&trace).expect("it was written");
        assert_eq!(longest(&trace, "n2"), 1_500, "single segments where dice are rolled");
        assert!(longest(&trace, "n3") > 10_000, "packets stay whole where none are");
    }
}

#[test]
fn a_rule_that_is_switched_in_the_middle_of_a_transfer_reorders_nothing() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 3);
        be_patient(&net, 3);
        let mut raftq = Raftq::attach(&net, PASS, &["--json"]);
        let mut changes = 0;
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| {
                transfer(net.node(0), net.node(1), net.peer(1, Family::V4), BULK * 16);
            });
            while !bulk.is_finished() {
                raftq.reload(if changes % 2 == 0 { ROLL } else { PASS });
                changes += 1;
            }
        });
        raftq.reload(ROLL);
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert!(changes >= 4, "{changes} changes in the middle of it are few");
        assert_eq!(disorder(&net, 3), 0, "{shape:?}\n{ending}");
    }
}
