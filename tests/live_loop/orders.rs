//! What the loop is told: tables, draining, stopping.

use super::queue_lab::{Lab, NONE, QUEUE, arrived, send, until};
use super::{N1, N2, Ready, Report, Setup, Tested, peers, table};
use raftq::kernel::clock;
use raftq::kernel::losses::Losses;
use raftq::run::mailbox::Order;
use raftq::time::Nanos;
use std::sync::atomic::{AtomicBool, Ordering};

const PASS: &str = "  - { name: pass, between: [n1, n2], do: accept }\n";
const SLOW: &str = "  - { name: slow, between: [n1, n2], do: { delay: { by: 3ms } } }\n";
const CUT: &str = "  - { name: cut, from: n1, to: n2, do: drop }\n";
const HOLD: &str = "  - { name: hold, between: [n1, n2], do: { delay: { by: 3s } } }\n";

pub(crate) fn tables_change_while_packets_flow<Q: Tested>() {
    let lab = Lab::new();
    let plain = table(PASS);
    let slow = table(&format!("{SLOW}{PASS}"));
    let tables = [&slow, &plain];
    let mut running = Ready::<Q>::new(&lab).start(Setup::new(&plain));
    let (a, b) = peers(&lab);
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for i in 0..300 {
        send(&a, N2, i * 20..i * 20 + 20, 64);
        send(&b, N1, i * 20..i * 20 + 10, 64);
        if i % 3 == 0 {
            running.adopt(tables[(i / 3) as usize % tables.len()]);
        }
        send(&b, N1, i * 20 + 10..i * 20 + 20, 64);
        at_a.extend(arrived(&a));
        at_b.extend(arrived(&b));
    }
    for _ in 0..100 {
        running.hear_adopted();
    }
    let all: Vec<u32> = (0..6_000).collect();
    until("all have arrived", || {
        at_a.extend(arrived(&a));
        at_b.extend(arrived(&b));
        at_a.len() == 6_000 && at_b.len() == 6_000
    });
    assert_eq!(at_a, all);
    assert_eq!(at_b, all);
    let pass = running.table.rules.iter().position(|rule| rule.name == "pass").expect("is last");
    assert_eq!(running.counters.rules[pass].matched.get(), 12_000);
    assert_eq!(running.counters.totals.packets.get(), 12_000);
    let ended = running.stop();
    assert_eq!((ended.faults.refused, ended.faults.garbled), (0, 0));
    for number in [QUEUE, QUEUE + 1] {
        assert_eq!(lab.losses(number), Losses::default());
    }
}

pub(crate) fn a_table_acts_from_its_acknowledgement_on<Q: Tested>() {
    let lab = Lab::new();
    let (plain, cut) = (table(PASS), table(&format!("{CUT}{PASS}")));
    let mut running = Ready::<Q>::new(&lab).start(Setup::new(&plain));
    let (a, b) = peers(&lab);
    for round in 0..20 {
        let passed = running.counters.totals.packets.get();
        send(&a, N2, 0..50, 64);
        until("they are judged", || running.counters.totals.packets.get() == passed + 50);
        running.adopt(&cut);
        running.hear_adopted();
        assert_eq!(arrived(&b), (0..50).collect::<Vec<_>>(), "round {round}");
        let passed = running.counters.totals.packets.get();
        send(&a, N2, 50..100, 64);
        send(&b, N1, 0..50, 64);
        until("they are judged", || running.counters.totals.packets.get() == passed + 100);
        running.adopt(&plain);
        running.hear_adopted();
        assert_eq!(arrived(&b), NONE, "round {round}");
        assert_eq!(arrived(&a), (0..50).collect::<Vec<_>>(), "round {round}");
    }
    running.stop();
}

pub(crate) fn draining_lets_everything_out_in_order<Q: Tested>() {
    let lab = Lab::new();
    let running = Ready::<Q>::new(&lab).start(Setup::new(&table(HOLD)));
    let (a, b) = peers(&lab);
    send(&a, N2, 0..500, 64);
    send(&b, N1, 0..500, 64);
    until("all are held", || running.counters.totals.held.get() == 1_000);
    assert_eq!((arrived(&a), arrived(&b)), (vec![], vec![]));
    assert_eq!(lab.losses(QUEUE).waiting, 500);
    running.tell(Order::Drain);
    running.hear(|report| matches!(report, Report::Drained(_)));
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    until("all are out", || {
        at_a.extend(arrived(&a));
        at_b.extend(arrived(&b));
        at_a.len() + at_b.len() == 1_000
    });
    let all: Vec<u32> = (0..500).collect();
    assert_eq!((at_a, at_b), (all.clone(), all));
    // What comes now passes, and at once.
    send(&a, N2, 0..10, 64);
    let mut later = Vec::new();
    until("they pass", || {
        later.extend(arrived(&b));
        later.len() == 10
    });
    assert_eq!(running.counters.totals.held.get(), 0);
    running.stop();
}

pub(crate) fn stopping_empties_the_queues<Q: Tested>() {
    // Held by the loop, or still in the queue because the clock has not been started.
    for started in [true, false] {
        let lab = Lab::new();
        let ready = Ready::<Q>::new(&lab);
        let setup = Setup::new(&table(HOLD));
        let (a, b) = peers(&lab);
        let running = if started { ready.start(setup) } else { ready.run(setup) };
        send(&a, N2, 0..500, 64);
        if started {
            until("all are held", || running.counters.totals.held.get() == 500);
        }
        send(&b, N1, 0..200, 64);
        assert_eq!(arrived(&b), NONE);
        lab.run("iptables-nft -t mangle -F && ip6tables-nft -t mangle -F");
        let ended = running.stop();
        assert_eq!(ended.faults.refused, 0);
        assert_eq!(arrived(&b), (0..500).collect::<Vec<_>>(), "started: {started}");
        assert_eq!(arrived(&a), (0..200).collect::<Vec<_>>(), "started: {started}");
    }
}

/// As when the rules could not be removed.
pub(crate) fn stopping_does_not_wait_for_a_flood_to_end<Q: Tested>() {
    let lab = Lab::new();
    let running = Ready::<Q>::new(&lab).start(Setup::new(&table(PASS)));
    let (a, _b) = peers(&lab);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    send(&a, N2, 0..100, 4);
                }
            });
        }
        until("the flood is on", || running.counters.totals.packets.get() > 1_000);
        running.tell(Order::Stop);
        let start = clock::now();
        while !running.thread.is_finished() && clock::now() < start + Nanos::from_secs(10) {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(running.thread.is_finished(), "it still empties the queue");
    });
}

pub(crate) fn mail_wakes_a_loop_without_packets<Q: Tested>() {
    let lab = Lab::new();
    let mut running = Ready::<Q>::new(&lab).run(Setup::new(&table(PASS)));
    let start = clock::now();
    running.tell(Order::Start(Vec::new(), None));
    running.hear(|report| matches!(report, Report::Started(_)));
    for _ in 0..40 {
        running.adopt(&table(PASS));
        running.hear_adopted();
    }
    // By itself it wakes every 100 ms.
    let took = clock::now().saturating_sub(start);
    assert!(took < Nanos::from_secs(2), "41 orders took {} s", took.as_secs_f64());
    running.stop();
}
