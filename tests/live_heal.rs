//! Cuts that end by resets: whoever lost something is told at the end of the rule, where TCP alone
//! would wait for its timer; whoever lost nothing lives on. Needs root; run it by `make test`.

mod api_lab;
mod fault_lab;
mod live_lab;
mod switch_lab;

use fault_lab::{Pair, RESET, counters, errno, pair, pair_at};
use live_lab::{Family, LIMIT, Net, Raftq, STEP, Shape, await_more};
use raftq_harness::clock::{now, since, wait_for};
use raftq_harness::probe::What;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use switch_lab::{must_switch, socket};

/// TCP tries again 0.2, 0.6, 1.4, 3.0 and 6.2 seconds after what it lost.
const CUT: Duration = Duration::from_millis(3_400);

fn rules(heal: &str) -> String {
    format!(
        "rules: [{{ name: cut, at: switch, between: [n1, n2], do: {{ drop: {{ {heal} }} }} }}]\n"
    )
}

/// What an end that writes and reads comes to.
struct Outcome {
    /// The error that ended it.
    errno: Option<i32>,
    /// When that was.
    at: Duration,
}

/// Writes something about every 50 ms until it is told, by that or by what it reads, that the
/// connection is over, or until something comes although the cut is `over`.
fn talk(stream: &mut TcpStream, over: &AtomicBool) -> Outcome {
    let start = now();
    let mut reader = stream.try_clone().expect("descriptors are left");
    reader.set_read_timeout(Some(Duration::from_millis(50))).expect("it may");
    let mut due = start;
    loop {
        assert!(since(start) < LIMIT, "nothing happens any more");
        if now() >= due {
            due = now() + Duration::from_millis(50);
            let wrote = stream.write_all(&[7; 10]);
            if wrote.is_err() {
                return Outcome { errno: errno(&wrote), at: now() };
            }
        }
        match reader.read(&mut [0; 4096]) {
            Ok(len) if len > 0 && !over.load(Relaxed) => {}
            Ok(_) => return Outcome { errno: None, at: now() },
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Outcome { errno: e.raw_os_error(), at: now() },
        }
    }
}

/// Both ends of a pair talk while the cut lasts; returns what each was told, and how long after the
/// end was ordered.
fn cut_while_they_talk(
    net: &Net,
    (heal, family): (&str, Family),
    check: impl FnOnce(&live_lab::Ending),
) -> [(Option<i32>, Duration); 2] {
    let raftq = Raftq::attach(net, &rules(heal), &["--json"]);
    let socket = socket(&raftq);
    let at = net.peer(1, family);
    let listener = net.node(1).inside(|| TcpListener::bind(at)).expect("inside");
    let listener = listener.expect("the port is free");
    let Pair { mut client, mut server } = pair_at(net, 0, &listener);
    let mut quiet = pair_at(net, 0, &listener);
    quiet.client.write_all(b"before").expect("it may");
    quiet.server.read_exact(&mut [0; 6]).expect("it comes");
    let over = &AtomicBool::new(false);
    let (end, outcomes) = std::thread::scope(|scope| {
        // Both stay open till the other one is told: what closes with bytes unread sends a RST.
        let talkers = [&mut client, &mut server].map(|end| scope.spawn(move || talk(end, over)));
        must_switch(&socket, "cut", &json!({ "switch": "on" }));
        let start = now();
        wait_for("the cut to last", LIMIT, STEP, || (since(start) >= CUT).then_some(()))
            .expect("time passes");
        over.store(true, Relaxed);
        let end = now();
        must_switch(&socket, "cut", &json!({ "switch": "off" }));
        (end, talkers.map(|talker| talker.join().expect("it ends")))
    });
    // What lost nothing goes on.
    quiet.server.write_all(b"behind").expect("it lives");
    quiet.client.read_exact(&mut [0; 6]).expect("it lives");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    assert!(ending.of_rule("cut", "acted") >= 8, "{ending}");
    check(&ending);
    outcomes.map(|it| {
        let took = it.at.checked_sub(end);
        (it.errno, took.unwrap_or_else(|| panic!("{:?} before the end\n{ending}", it.errno)))
    })
}

#[test]
fn a_cut_with_resets_is_over_when_it_ends() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let names = ["TcpEstabResets", "TcpExtTCPChallengeACK"];
            let before = names.map(|name| counters(&net, 2, name));
            let healed = cut_while_they_talk(&net, ("heal: reset", family), |ending| {
                assert_eq!(ending.total("resets"), 1, "{ending}");
            });
            let after = names.map(|name| counters(&net, 2, name));
            assert_eq!(after[0] - before[0], 2, "both ends were told by a RST");
            assert_eq!(after[1] - before[1], 0, "and believed it");
            let plain = cut_while_they_talk(&net, ("what: packets", family), |ending| {
                assert_eq!(ending.total("resets"), 0, "{ending}");
            });
            for (end, (told, took)) in ["dialler", "listener"].iter().zip(healed) {
                eprintln!("{shape:?} {family:?} {end}: told {took:?} after the cut");
                assert_eq!(told, Some(RESET), "{shape:?} {family:?} {end}");
            }
            let slowest = plain.iter().map(|(_, took)| *took).max().expect("two");
            for (told, took) in plain {
                eprintln!("{shape:?} {family:?} plain: something comes {took:?} after the cut");
                assert_eq!(told, None, "the connection goes on");
            }
            let told = healed.iter().map(|(_, took)| *took).max().expect("two");
            assert!(told * 2 < slowest, "{told:?} with resets, {slowest:?} without");
        }
    }
}

/// Nodes that share a stack, too: an answer that does not come is waited for, till both ends are
/// told.
#[test]
fn both_ends_are_told_in_every_shape() {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let mut server = net.serve(1, "tcp", family);
            let raftq = Raftq::attach(&net, &rules("heal: reset"), &["--json"]);
            let socket = socket(&raftq);
            let args = "--count 1000 --every 5ms --timeout 20s";
            let mut asker = net.talk("ask", ("tcp", family), (0, 1), args);
            await_more(&mut asker, What::Answered, 5, 0);
            must_switch(&socket, "cut", &json!({ "switch": "on" }));
            let acted = || {
                let (_, rule) = api_lab::call(&socket, "GET", "/v1/rules/cut", None);
                rule["acted"].as_u64() >= Some(2)
            };
            wait_for("it to be cut", LIMIT, STEP, || acted().then_some(())).expect("it is");
            must_switch(&socket, "cut", &json!({ "switch": "off" }));
            fault_lab::await_errno(&mut asker, RESET);
            fault_lab::await_errno(&mut server, RESET);
            let ending = raftq.interrupt();
            ending.must_be_clean(0);
            assert_eq!(ending.total("resets"), 1, "{shape:?} {family:?}\n{ending}");
        }
    }
}

/// What a new cut drops of packets that were held is lost to it as well.
#[test]
fn what_was_held_when_it_began_is_reset_too() {
    let rules = "rules:\n  \
        - { name: cut, at: switch, from: n1, to: n2, do: { drop: { heal: reset } } }\n  \
        - { name: late, from: n1, to: n2, where: { payload: \">0\" }, do: { delay: 3s } }\n";
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        let raftq = Raftq::attach(&net, rules, &["--json"]);
        let socket = socket(&raftq);
        let mut pair = pair(&net, (0, 1), Family::V4);
        pair.client.write_all(b"held").expect("it may");
        let held = || api_lab::call(&socket, "GET", "/v1/status", None).1["held"].as_u64();
        wait_for("it is held", LIMIT, STEP, || (held() >= Some(1)).then_some(())).expect("held");
        must_switch(&socket, "cut", &json!({ "switch": "on" }));
        must_switch(&socket, "cut", &json!({ "switch": "off" }));
        assert_eq!(fault_lab::read_all(&mut pair.server), (vec![], Some(RESET)), "{shape:?}");
        assert_eq!(fault_lab::read_all(&mut pair.client), (vec![], Some(RESET)), "{shape:?}");
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert_eq!(ending.total("resets"), 1, "{ending}");
    }
}

/// The end of raftq ends a cut like any other end.
#[test]
fn ctrl_c_resets_what_lost_something() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        let rules = "rules: [{ name: cut, between: [n1, n2], where: { payload: \">0\" }, \
                     do: { drop: { heal: reset } } }]\n";
        let raftq = Raftq::attach(&net, rules, &["--json"]);
        let socket = socket(&raftq);
        let mut pair = pair(&net, (0, 1), Family::V4);
        pair.client.write_all(b"lost").expect("it may");
        let dropped = || {
            let (_, rule) = api_lab::call(&socket, "GET", "/v1/rules/cut", None);
            rule["acted"].as_u64() >= Some(1)
        };
        wait_for("it is lost", LIMIT, STEP, || dropped().then_some(())).expect("dropped");
        let ending = raftq.interrupt();
        assert_eq!(fault_lab::read_all(&mut pair.server), (vec![], Some(RESET)), "{shape:?}");
        assert_eq!(fault_lab::read_all(&mut pair.client), (vec![], Some(RESET)), "{shape:?}");
        ending.must_be_clean(0);
        assert_eq!(ending.total("resets"), 1, "{ending}");
    }
}
