//! All that happens to packets at once, both ways: what TCP carries comes as it was sent, and each
//! action did its part. Needs root; run it by `make test`.

mod live_lab;
mod measure_lab;

use live_lab::{Ending, Family, Net, Raftq, Shape};
use measure_lab::{
    FROM, Sink, Stats, await_matched, await_nothing_held, count, greet, send, transfer,
};
use std::collections::HashSet;
use std::time::Duration;

const BULK: usize = 4 << 20;

const RULES: &str = "seed: 11
rules:
  - { name: lossy, between: [n1, n2], where: { payload: '>0' }, do: { loss: 1% } }
  - { name: shaky, between: [n1, n2], do: [{ delay: { by: 3ms, jitter: 1ms } }, { reorder: 1% }] }
  - { name: twice, between: [n1, n2], where: { chance: 2% }, do: { duplicate: { delay: 1ms } } }
  - { name: noisy, between: [n1, n2], where: { payload: '>100' }, do: { corrupt: 1% } }
  - { name: narrow, between: [n1, n2], do: { rate: 200mbit } }
";

const NAMES: [&str; 5] = ["lossy", "shaky", "twice", "noisy", "narrow"];

fn each_acted(ending: &Ending) {
    for name in NAMES {
        assert!(ending.of_rule(name, "acted") > 0, "{name}\n{ending}");
    }
}

/// Bulk both ways, one after the other.
fn in_all_weathers(shape: Shape, family: Family) {
    let net = Net::new(shape, 2);
    let raftq = Raftq::attach(&net, RULES, &["--json"]);
    for (from, to) in [(0, 1), (1, 0)] {
        transfer(&net, (from, to), family, BULK).must_be_intact(BULK);
    }
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    each_acted(&ending);
    let both = |name| count(&net, 0, name) + count(&net, 1, name);
    let (again, damaged) = (both("TcpRetransSegs"), both("TcpInCsumErrors"));
    let (lost, twice) = (ending.of_rule("lossy", "acted"), ending.of_rule("twice", "acted"));
    println!(
        "{shape:?} {family:?}: {lost} lost, {damaged} damaged, {again} sent again, {twice} twice, \
         {} came early",
        both("TcpExtTCPOFOQueue")
    );
    assert_eq!(damaged, ending.of_rule("noisy", "acted"), "{ending}");
    // A copy is of the packet as it came, and may arrive in place of one that was damaged.
    assert!(again + twice >= lost + damaged, "{ending}");
    assert_eq!(ending.total("injected") + ending.total("not_injected"), twice, "{ending}");
    for what in ["copies_lost", "undamaged", "not_injected"] {
        assert_eq!(ending.total(what), 0, "{what}\n{ending}");
    }
}

#[test]
fn bulk_comes_through_all_weathers_in_namespaces() {
    in_all_weathers(Shape::Namespaces, Family::V4);
    in_all_weathers(Shape::Namespaces, Family::V6);
}

#[test]
fn bulk_comes_through_all_weathers_behind_a_bridge() {
    in_all_weathers(Shape::Bridge, Family::V4);
    in_all_weathers(Shape::Bridge, Family::V6);
}

/// Without TCP to mend it, the books have to balance: what was sent is what came, less what was
/// lost or damaged, and with the copies.
fn the_books_balance(shape: Shape, family: Family, args: &[&str]) {
    const N: u32 = 2_000;
    let net = Net::new(shape, 2);
    let rules = format!(
        "seed: 11\nrules:\n  \
         - {{ name: lossy, from: n1, to: n2, where: {{ port: {FROM} }}, do: {{ loss: 5% }} }}\n  \
         - {{ name: shaky, from: n1, to: n2, where: {{ port: {FROM} }}, \
              do: {{ delay: {{ by: 20ms, jitter: 10ms }} }} }}\n  \
         - {{ name: twice, from: n1, to: n2, where: {{ port: {FROM} }}, \
              do: {{ duplicate: {{ chance: 5%, delay: 5ms }} }} }}\n  \
         - {{ name: noisy, from: n1, to: n2, where: {{ port: {FROM} }}, do: {{ corrupt: 5% }} }}\n"
    );
    let raftq = Raftq::attach(&net, &rules, &[args, &["--json"]].concat());
    let sink = Sink::open(&net, 1, family);
    greet(&net, (1, 0), family);
    send(&net, (0, 1), family, (N, Duration::from_micros(500), 400));
    await_matched(&raftq, "lossy", N);
    await_nothing_held(&raftq);
    let ending = raftq.interrupt();
    let got = sink.end();
    ending.must_be_clean(0);
    let acted = |name| ending.of_rule(name, "acted");
    let (lost, twice, noisy) = (acted("lossy"), acted("twice"), acted("noisy"));
    println!("{shape:?} {family:?} {args:?}: {lost} lost, {twice} twice, {noisy} damaged");
    assert!([lost, twice, noisy].iter().all(|n| *n > 50), "{ending}");
    assert_eq!(acted("shaky"), u64::from(N) - lost, "{ending}");
    let stats = Stats::of(net.node(1));
    let discarded = stats.get("UdpInCsumErrors") + stats.get("Udp6InCsumErrors");
    assert_eq!(discarded, noisy, "{ending}");
    assert_eq!(got.len() as u64, u64::from(N) - lost - noisy + twice, "{ending}");
    let numbers: HashSet<u32> = got.iter().map(|got| got.number).collect();
    assert!(numbers.len() as u64 >= u64::from(N) - lost - noisy, "{ending}");
}

#[test]
fn the_books_of_datagrams_balance() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        for family in [Family::V4, Family::V6] {
            the_books_balance(shape, family, &[]);
        }
    }
}

#[test]
fn the_books_of_datagrams_balance_by_the_nfq_crate() {
    the_books_balance(Shape::Namespaces, Family::V4, &["--queue", "nfq"]);
}
