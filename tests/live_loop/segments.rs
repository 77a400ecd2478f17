//! Rules that need single segments get them, on their links only, and nothing is overtaken.

use super::queue_lab::{LIMIT, Lab, QUEUE, until};
use super::{N1, N2, Ready, Running, Setup, compiled, table};
use raftq::engine::Answer;
use raftq::kernel::clock;
use raftq::kernel::losses::Losses;
use raftq::kernel::nfqueue::NfQueue;
use raftq::packet::NodeId;
use raftq::rules::Table;
use raftq::run::mailbox::Order;
use raftq::run::trace::{self, Asked, Names};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PASS: &str = "  - { name: pass, between: [n1, n2], do: accept }\n";
/// Needs single segments, and does nothing.
const CHANCE: &str = "  - { name: roll, from: n1, to: n2, where: { chance: 50% }, do: accept }\n";
const SLOW: &str = "  - { name: slow, from: n1, to: n2, do: { delay: { by: 2ms } } }\n";
const BULK: usize = 6 << 20;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 777) as u8).collect()
}

/// Sends from `from` to the node at `to`, whose bytes must arrive as they are.
fn transfer(lab: &Lab, from: &str, to: &str, len: usize) {
    let listener = lab.inside(|| TcpListener::bind(to)).expect("the port is free");
    let (listener, sent) = (&listener, bytes(len));
    std::thread::scope(|scope| {
        scope.spawn(|| dial(lab, from, to).write_all(&sent).expect("written"));
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("dialled");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).expect("it ends");
            assert!(read == sent, "{} bytes arrived, and not as they were sent", read.len());
        });
        server.join().expect("it read what was sent");
    });
}

/// A connection that is dialled from a certain address.
fn dial(lab: &Lab, from: &str, to: &str) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;
    lab.inside(|| {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let addr = |text: &str| SockaddrStorage::from(text.parse::<SocketAddr>().expect("one"));
        bind(socket.as_raw_fd(), &addr(from))?;
        connect(socket.as_raw_fd(), &addr(to))?;
        Ok::<_, nix::Error>(TcpStream::from(socket))
    })
    .expect("somebody listens")
}

/// Nothing was lost, refused or overtaken.
fn must_be_in_order(lab: &Lab, running: Running) {
    assert_eq!(lab.disorder(), [0, 0]);
    let ended = running.stop();
    assert_eq!((ended.faults.refused, ended.faults.garbled), (0, 0));
    for number in QUEUE..QUEUE + 4 {
        let lost = Losses { waiting: 0, ..lab.losses(number) };
        assert_eq!(lost, Losses::default());
    }
}

#[test]
fn a_link_with_a_chance_gets_segments_and_the_others_stay_fast() {
    let lab = Lab::new();
    lab.be_ethernet();
    let table = table(&format!("{CHANCE}{PASS}"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("trace.jsonl");
    let names = Names::new(Arc::clone(&table));
    let (tracer, writer) = trace::open(&Asked::lines(&path), names).expect("it can be written");
    let ready = Ready::<NfQueue>::in_pairs(&lab);
    let running = ready.start(Setup { tracer: Some(tracer), ..Setup::new(&table) });
    std::thread::scope(|scope| {
        scope.spawn(|| transfer(&lab, "127.0.0.1:0", N2, BULK));
        scope.spawn(|| transfer(&lab, "127.0.0.2:0", N1, BULK));
    });
    let rolled = running.counters.rules[0].matched.get();
    assert!(rolled as usize >= BULK / 1_460, "{rolled} segments matched");
    must_be_in_order(&lab, running);
    assert!(writer.finish().untraced.is_none(), "it was written");
    let trace = std::fs::read_to_string(&path).expect("it can be read");
    let longest = |to: &str| {
        let lines = trace.lines().filter(|line| line.contains(&format!(r#""to":"{to}""#)));
        let lens = lines.filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("a line")["len"].as_u64()
        });
        lens.max().expect("some packets")
    };
    assert_eq!(longest("n2"), 1_500, "single segments where a chance is rolled");
    assert!(longest("n1") > 10_000, "packets stay whole where none is");
}

/// Rules come and go while a transfer is on its way.
fn switched(rules: [&str; 2]) -> u64 {
    let lab = Lab::new();
    lab.be_ethernet();
    let tables = rules.map(table);
    let mut running = Ready::<NfQueue>::in_pairs(&lab).start(Setup::new(&tables[0]));
    let over = AtomicBool::new(false);
    let mut changes = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            transfer(&lab, "127.0.0.1:0", N2, BULK * 4);
            over.store(true, Ordering::Relaxed);
        });
        let limit = clock::now() + LIMIT;
        while !over.load(Ordering::Relaxed) && clock::now() < limit {
            changes += 1;
            let before = running.counters.totals.packets.get();
            running.adopt(&tables[changes % 2]);
            running.hear_adopted();
            until("some packets have passed", || {
                over.load(Ordering::Relaxed) || running.counters.totals.packets.get() > before + 40
            });
        }
    });
    assert!(changes > 10, "{changes} changes were few");
    let rolls = running.table.rules.iter().position(|rule| rule.name == "roll");
    let rolled = rolls.map_or(0, |i| running.counters.rules[i].matched.get());
    until("all that was held is out", || running.counters.totals.held.get() == 0);
    must_be_in_order(&lab, running);
    rolled
}

#[test]
fn a_rule_that_comes_and_goes_in_the_middle_of_a_transfer_reorders_nothing() {
    switched([&format!("{CHANCE}{PASS}"), PASS]);
}

#[test]
fn nor_does_it_where_packets_of_both_queues_are_held() {
    switched([&format!("{CHANCE}{SLOW}"), SLOW]);
}

fn shared(rules: &str) -> Arc<Table> {
    let nodes = "{ n1: \"127.0.0.1:7001\", n2: \"127.0.0.1:7002\" }";
    compiled(&format!("cluster: {{ nodes: {nodes} }}\nrules:\n{rules}"))
}

/// Data of a connection whose dialler nobody knows yet; `later` comes into force while it waits.
fn asked(first: &str, later: Option<&str>) {
    let lab = Lab::new();
    lab.be_ethernet();
    let ready = Ready::<NfQueue>::in_pairs(&lab);
    let setup = Setup { shared: true, ..Setup::new(&shared(first)) };
    // The loop does not read yet, and nothing is queued before the connection is there.
    lab.run("iptables-nft -t mangle -I INPUT -j ACCEPT");
    let (mut client, mut server) = lab.tcp("127.0.0.1:7002");
    lab.run("iptables-nft -t mangle -D INPUT 1");
    let mut running = ready.start(setup);
    let sent = bytes(12_000);
    client.write_all(&sent).expect("written");
    let mut question = None;
    until("the loop asks", || {
        question = running.questions.take();
        question.is_some()
    });
    let question = question.expect("waited for");
    assert_eq!(question.queue, 0, "it is asked of a stack, not of a queue");
    if let Some(later) = later {
        running.adopt(&shared(later));
        running.hear_adopted();
    }
    running.tell(Order::Answered(question, Answer::Node(NodeId(0))));
    let mut read = Vec::new();
    until("all has arrived", || {
        let _ = server.read_to_end(&mut read);
        read.len() == sent.len()
    });
    assert!(read == sent);
    let rolled = running.counters.rules[0].matched.get();
    assert!(rolled >= 9, "{rolled} segments matched");
    let packets = running.counters.totals.packets.get();
    assert!(packets >= 9, "they were judged one by one: {packets}");
    assert_eq!(running.counters.totals.unattributed.get(), 0);
    must_be_in_order(&lab, running);
}

#[test]
fn what_waits_for_its_sender_was_cut_up_before() {
    asked(CHANCE, None);
}

#[test]
fn what_waited_is_cut_up_where_its_sender_needs_it() {
    asked(PASS, Some(CHANCE));
}

#[test]
fn on_their_way_segments_allocate_nothing() {
    let lab = Lab::new();
    lab.be_ethernet();
    let table = table(&format!("{CHANCE}{PASS}"));
    let running = Ready::<NfQueue>::in_pairs(&lab).start(Setup::new(&table));
    transfer(&lab, "127.0.0.1:0", N2, BULK);
    let before = running.calls.load(Ordering::Relaxed);
    assert!(before > 0, "making the loop allocates, or nobody counts");
    transfer(&lab, "127.0.0.1:0", N2, BULK);
    assert_eq!(running.calls.load(Ordering::Relaxed) - before, 0);
    must_be_in_order(&lab, running);
}
