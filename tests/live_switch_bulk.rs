//! Rules that need single segments, or all bytes, switched by name in the middle of bulk: TCP sees
//! no disorder, and what arrives is what was sent. Needs root; run it by `make test`.

mod api_lab;
mod bulk_lab;
mod live_lab;
mod switch_lab;

use bulk_lab::{be_patient, disorder, transfer};
use live_lab::{Family, Net, Raftq, Shape};
use serde_json::json;
use switch_lab::{must_switch, socket};

const BULK: usize = 128 << 20;

/// Both match bulk without doing anything to it; without either packets of many segments pass.
const RULES: &str = "rules:\n  \
    - { name: roll, at: switch, from: n1, to: n2, where: { chance: 50% }, do: { delay: 1us } }\n  \
    - { name: look, at: switch, from: n1, to: n2, where: { contains: never }, do: drop, \
        optional: true }\n  \
    - { name: pass, between: [any, any], do: accept }\n";

#[test]
fn switching_by_name_in_the_middle_of_bulk_reorders_nothing() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        be_patient(&net, 2);
        let raftq = Raftq::attach(&net, RULES, &["--json"]);
        let socket = socket(&raftq);
        let mut switches = 0;
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| {
                transfer(net.node(0), net.node(1), net.peer(1, Family::V4), BULK);
            });
            // On and off, one or both of them.
            let steps = [("roll", "on"), ("look", "on"), ("roll", "off"), ("look", "off")];
            for (rule, to) in steps.iter().cycle() {
                if bulk.is_finished() && *to == "on" && *rule == "roll" {
                    break;
                }
                must_switch(&socket, rule, &json!({ "switch": to }));
                switches += 1;
            }
        });
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        eprintln!("{shape:?}: {switches} switches in {} MiB", BULK >> 20);
        assert!(switches >= 8, "{switches} switches in the middle of it are few");
        assert!(ending.of_rule("roll", "acted") >= 100, "{ending}");
        let (matched, acted) = (ending.of_rule("roll", "matched"), ending.of_rule("roll", "acted"));
        assert!(acted * 3 > matched && acted * 3 < matched * 2, "half of them\n{ending}");
        assert!(ending.of_rule("pass", "matched") > matched / 2, "{ending}");
        assert_eq!(disorder(&net, 2), 0, "{shape:?}\n{ending}");
    }
}
