//! Turns, patience and boxes that are full.

use super::queue_lab::{Lab, NONE, QUEUE, arrived, send, until};
use super::{N1, N2, Ready, Setup, Tested, compiled, peers, table};
use raftq::engine::Answer;
use raftq::kernel::clock;
use raftq::packet::NodeId;
use raftq::rules::Table;
use raftq::run::mailbox::Order;
use raftq::run::trace::{self, Asked, Names};
use raftq::time::Nanos;
use std::sync::Arc;

pub(crate) fn a_flood_in_one_queue_leaves_the_other_its_turn<Q: Tested>() {
    let lab = Lab::new();
    let table = table("  - { name: pass, between: [n1, n2], do: accept }\n");
    let ready = Ready::<Q>::new(&lab);
    let (a, b) = peers(&lab);
    // They wait in the queues until the loop starts; its trace tells whose turn it was.
    send(&a, N2, 0..20_000, 64);
    send(&b, N1, 0..200, 64);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("trace.jsonl");
    let names = Names::new(Arc::clone(&table));
    let (tracer, writer) = trace::open(&Asked::lines(&path), names).expect("it can be written");
    let running = ready.start(Setup { tracer: Some(tracer), ..Setup::new(&table) });
    until("all have arrived", || running.counters.totals.packets.get() == 20_200);
    running.stop();
    assert_eq!(arrived(&a), (0..200).collect::<Vec<_>>());
    assert_eq!(arrived(&b), (0..20_000).collect::<Vec<_>>());
    assert_eq!(writer.finish().traced.expect("it was written").lost, 0);
    let trace = std::fs::read_to_string(&path).expect("it can be read");
    let last = trace.lines().enumerate().filter(|(_, line)| line.contains(r#""to":"n1""#)).last();
    let (last, _) = last.expect("n1 was sent something");
    // Four batches of 64, each behind one of the other queue.
    assert!(last < 600, "packet {last} was the last of the small queue");
}

/// Two nodes on one address, so that diallers have to be asked for.
fn shared(unattributed: &str, rules: &str) -> Arc<Table> {
    compiled(&format!(
        "cluster:\n  nodes: {{ n1: \"127.0.0.1:7001\", n2: \"127.0.0.1:7002\" }}\n  \
         unattributed: {unattributed}\nrules:\n{rules}"
    ))
}

const CUT: &str = "  - { name: cut, from: n1, to: n2, do: drop }\n";

pub(crate) fn the_sender_that_nobody_names_is_given_up_after_a_while<Q: Tested>() {
    for (choice, passes) in [("accept", true), ("drop", false)] {
        let lab = Lab::new();
        let table = shared(choice, CUT);
        // The second question already finds the box full.
        let setup = Setup { shared: true, questions: 1, ..Setup::new(&table) };
        let running = Ready::<Q>::new(&lab).start(setup);
        let b = lab.udp("127.0.0.1:7002");
        let start = clock::now();
        for number in 0..3 {
            send(&lab.udp("127.0.0.1:0"), "127.0.0.1:7002", number..=number, 64);
        }
        until("they are given up", || running.counters.totals.unattributed.get() == 3);
        assert!(clock::now().saturating_sub(start) >= Nanos::from_millis(50), "that was early");
        running.settle();
        assert_eq!(arrived(&b), if passes { vec![0, 1, 2] } else { vec![] });
        assert_eq!(running.counters.totals.asked.get(), 3);
        assert_eq!(running.counters.rules[0].leaked.get(), if passes { 3 } else { 0 });
        assert!(running.questions.take().is_some() && running.questions.take().is_none());
        running.stop();
    }
}

pub(crate) fn the_sender_that_is_named_is_judged_at_once<Q: Tested>() {
    let lab = Lab::new();
    let table = shared("accept", CUT);
    let running = Ready::<Q>::new(&lab).start(Setup { shared: true, ..Setup::new(&table) });
    let b = lab.udp("127.0.0.1:7002");
    let ask = |number| {
        let dialler = lab.udp("127.0.0.1:0");
        send(&dialler, "127.0.0.1:7002", number..number + 5, 64);
        let mut question = None;
        until("the loop asks", || {
            question = running.questions.take();
            question.is_some()
        });
        question.expect("waited for")
    };
    let question = ask(0);
    assert_eq!(question.queue, 0);
    running.tell(Order::Answered(question, Answer::Node(NodeId(0))));
    until("n1 is cut off", || running.counters.rules[0].acted.get() == 5);
    let question = ask(10);
    running.tell(Order::Answered(question, Answer::Stranger));
    until("strangers are not", || running.counters.totals.foreign.get() == 5);
    let mut passed = Vec::new();
    until("theirs arrive", || {
        passed.extend(arrived(&b));
        passed.len() == 5
    });
    assert_eq!(passed, (10..15).collect::<Vec<_>>());
    assert_eq!(running.counters.totals.unattributed.get(), 0);
    assert_eq!(lab.losses(QUEUE).waiting, 0);
    running.stop();
}

pub(crate) fn a_box_of_reports_that_is_full_stops_nothing<Q: Tested>() {
    let lab = Lab::new();
    let table = table(
        "  - { name: flicker, between: [n1, n2], at: 1ms, every: 10ms, for: 5ms, do: accept }\n",
    );
    let running = Ready::<Q>::new(&lab).start(Setup { reports: 1, ..Setup::new(&table) });
    until("it has flickered", || running.counters.rules[0].activations.get() > 20);
    let (a, b) = peers(&lab);
    send(&a, N2, 0..100, 64);
    let mut all = Vec::new();
    until("all have arrived", || {
        all.extend(arrived(&b));
        all.len() == 100
    });
    assert_eq!(arrived(&a), NONE);
    running.stop();
}

/// Packets of one flow are held among those of another, which pass at once.
pub(crate) fn what_is_held_stays_until_it_is_due<Q: Tested>() {
    let lab = Lab::new();
    let delay = Nanos::from_millis(500);
    let table = table(
        "  - { name: late, from: n1, to: n2, where: { port: 9001 }, do: { delay: 500ms } }\n",
    );
    let running = Ready::<Q>::new(&lab).start(Setup::new(&table));
    let (slow, fast) = (lab.udp("127.0.0.1:9001"), lab.udp("127.0.0.1:9002"));
    let b = lab.udp(N2);
    let (mut early, mut sent) = (Vec::new(), 0);
    let start = clock::now();
    while clock::now() < start + Nanos::from_millis(300) {
        send(&slow, N2, sent..=sent, 64);
        send(&fast, N2, 1_000_000 + sent..1_000_000 + sent + 70, 64);
        sent += 70;
        until("the fast ones have arrived", || {
            early.extend(arrived(&b));
            early.iter().filter(|n| **n >= 1_000_000).count() == sent as usize
        });
        let now = clock::now();
        let slow_ones = early.iter().filter(|n| **n < 1_000_000).count();
        assert!(slow_ones == 0 || now >= start + delay, "{slow_ones} of {sent} came early");
    }
    let mut rest = early.into_iter().filter(|n| *n < 1_000_000).collect::<Vec<_>>();
    until("the slow ones have arrived", || {
        rest.extend(arrived(&b));
        rest.len() == sent as usize / 70
    });
    assert!(clock::now() >= start + delay);
    assert_eq!(rest, (0..sent).step_by(70).collect::<Vec<_>>());
    let ended = running.stop();
    assert_eq!((ended.faults.refused, ended.faults.garbled), (0, 0));
}
