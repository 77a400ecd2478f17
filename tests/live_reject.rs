//! Rejected packets: their senders are told at once, as a host or a router on the way would, in
//! every shape and family. Needs root; run it by `make test`.

mod fault_lab;
mod live_lab;

use fault_lab::{REFUSED, await_errno, counters};
use live_lab::{Ending, Family, LIMIT, Net, Raftq, Shape};
use nix::libc::{EACCES, EHOSTUNREACH, ENETUNREACH};
use raftq_harness::probe::{Event, Probe, What, numbers};

/// A word, and what a socket is told by it in IPv4 and IPv6.
const WORDS: [(&str, [i32; 2]); 5] = [
    ("port_unreachable", [REFUSED; 2]),
    ("host_unreachable", [EHOSTUNREACH; 2]),
    ("net_unreachable", [ENETUNREACH; 2]),
    ("admin_prohibited", [EHOSTUNREACH, EACCES]),
    ("tcp_reset", [REFUSED; 2]),
];

fn rule(proto: &str, word: &str) -> String {
    format!(
        "rules: [{{ name: no, from: n1, to: n2, where: {{ proto: {proto} }}, \
         do: {{ reject: {word} }} }}]\n"
    )
}

/// Nothing that n1 sends n2 comes there; a sink shows it, and what n2 sends n1 does.
fn rejects(
    (net, family): (&Net, Family),
    proto: &str,
    word: &str,
    probe: impl Fn(&Net) -> Vec<Event>,
) -> (Vec<Event>, Ending) {
    let at = net.peer(1, family);
    let sink = Probe::listen(net.node(1), "sink", proto, at).expect("it listens");
    let raftq = Raftq::attach(net, &rule(proto, word), &["--json"]);
    let events = probe(net);
    let ending = raftq.interrupt();
    let what = format!("{word} {:?} {family:?}\n{ending}", net.shape);
    let came = sink.events().into_iter().filter(|event| event.what != What::Listening);
    assert_eq!(came.collect::<Vec<_>>(), [], "{what}");
    ending.must_be_clean(0);
    let matched = ending.of_rule("no", "matched");
    assert_eq!(ending.of_rule("no", "acted"), matched, "{what}");
    assert_eq!(ending.link("n1", "n2", "dropped"), matched, "{what}");
    (events, ending)
}

#[test]
fn a_dial_fails_at_once_with_the_word_that_was_chosen() {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            for (word, errnos) in WORDS {
                let again = counters(&net, 1, "TcpRetransSegs");
                let (_, ending) = rejects((&net, family), "tcp", word, |net| {
                    let args = "--count 1 --dial-timeout 20s";
                    let mut dialler = net.talk("send", ("tcp", family), (0, 1), args);
                    await_errno(&mut dialler, errnos[usize::from(family == Family::V6)])
                });
                let what = format!("{word} {shape:?} {family:?}\n{ending}");
                // TCP would have dialled again a second later.
                assert_eq!(ending.of_rule("no", "matched"), 1, "{what}");
                assert_eq!(counters(&net, 1, "TcpRetransSegs"), again, "{what}");
            }
        }
    }
}

/// Linux tells a socket without `IP_RECVERR` only of errors that it calls fatal, whatever a network
/// does; the others are seen in what its stack counts.
#[test]
fn a_datagram_is_refused_at_its_socket() {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            for (word, errnos) in &WORDS[..4] {
                let errno = errnos[usize::from(family == Family::V6)];
                let heard = || match family {
                    Family::V4 => counters(&net, 1, "IcmpInDestUnreachs"),
                    Family::V6 => counters(&net, 1, "Icmp6InDestUnreachs"),
                };
                let before = heard();
                let fatal = ["port_unreachable", "admin_prohibited"].contains(word);
                let (events, ending) = rejects((&net, family), "udp", word, |net| {
                    let timeout = if fatal { "10s" } else { "50ms" };
                    let args = format!("--count 4 --every 60ms --timeout {timeout}");
                    let mut asker = net.talk("ask", ("udp", family), (0, 1), &args);
                    if fatal {
                        await_errno(&mut asker, errno);
                    }
                    asker.finish(LIMIT).expect("UDP goes on")
                });
                let what = format!("{word} {shape:?} {family:?}\n{ending}\n{events:#?}");
                // Each was sent, and each was told.
                assert_eq!(ending.of_rule("no", "matched"), 4, "{what}");
                assert_eq!(heard() - before, 4, "{what}");
                let told = numbers(&events, if fatal { What::Failed } else { What::TimedOut });
                assert_eq!(told, [0, 1, 2, 3], "{what}");
            }
        }
    }
}

/// A connection that stands is not torn down by errors of ICMP, which RFC 1122 calls soft there;
/// a RST ends it.
#[test]
fn a_connection_that_stands_is_ended_by_a_rst_alone() {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let _server = net.serve(1, "tcp", family);
            let rules = |word: &str| {
                format!(
                    "rules: [{{ name: no, from: n1, to: n2, where: {{ payload: \">0\" }}, at: 1s, \
                     do: {{ reject: {word} }} }}]\n"
                )
            };
            let mut raftq = Raftq::attach(&net, &rules("host_unreachable"), &["--json"]);
            let args = "--count 1000 --every 20ms --timeout 100ms";
            let mut asker = net.talk("ask", ("tcp", family), (0, 1), args);
            raftq.await_active("no");
            live_lab::await_more(&mut asker, What::TimedOut, 2, live_lab::now_us());
            assert!(numbers(&asker.events(), What::Failed).is_empty());
            raftq.reload(&rules("tcp_reset"));
            await_errno(&mut asker, fault_lab::RESET);
            let ending = raftq.interrupt();
            ending.must_be_clean(0);
            assert!(ending.of_rule("no", "acted") >= 3, "{ending}");
        }
    }
}
