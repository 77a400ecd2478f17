//! The probe tells what happens to its sockets, over TCP and UDP, IPv4 and IPv6.
//! Needs root; run it by `make test`.

use nix::sys::signal::Signal;
use raftq_harness::netns::{BridgeOptions, Bridged};
use raftq_harness::probe::{Event, Probe, What, median_us, numbers};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

fn bridge() -> Bridged {
    Bridged::new("rqtest", 2, BridgeOptions::default()).expect("a bridge")
}

fn port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 7000)
}

/// Waits: a server prints a line after it has sent what the line is about.
fn tells(server: &mut Probe, what: What, all: &[u32]) {
    let complete = |events: &[Event]| numbers(events, what) == all;
    server.wait_until("the server to tell all", LIMIT, complete).expect("it tells all");
}

#[test]
fn every_question_is_answered_on_every_transport_and_family() {
    let net = bridge();
    for (transport, address) in [
        ("tcp", Bridged::v4(1)),
        ("tcp", Bridged::v6(1)),
        ("udp", Bridged::v4(1)),
        ("udp", Bridged::v6(1)),
    ] {
        let at = port(address);
        let mut server =
            Probe::listen(&net.nodes()[1], "serve", transport, at).expect("it listens");
        let to = at.to_string();
        let args = ["ask", transport, &to, "--count", "20", "--every", "1ms", "--size", "200"];
        let asker = Probe::start(&net.nodes()[0], &args).expect("it starts");
        let events = asker.finish(LIMIT).expect("it ends");
        let all: Vec<u32> = (0..20).collect();
        assert_eq!(numbers(&events, What::Answered), all, "{transport} {address}");
        assert!(median_us(&events).is_some_and(|us| us < 5_000), "{events:?}");
        tells(&mut server, What::Asked, &all);
    }
}

#[test]
fn messages_go_both_ways_on_one_connection() {
    let net = bridge();
    for transport in ["tcp", "udp"] {
        let at = port(Bridged::v4(1));
        let mut server =
            Probe::listen(&net.nodes()[1], "serve", transport, at).expect("it listens");
        let to = at.to_string();
        let args = ["send", transport, &to, "--count", "30", "--every", "2ms", "--back"];
        let sender = Probe::start(&net.nodes()[0], &args).expect("it starts");
        let events = sender.finish(LIMIT).expect("it ends");
        let all: Vec<u32> = (0..30).collect();
        assert_eq!(numbers(&events, What::Sent), all, "{transport}");
        assert_eq!(numbers(&events, What::Got), all, "{transport}");
        tells(&mut server, What::Got, &all);
        tells(&mut server, What::Sent, &all);
    }
}

#[test]
fn a_peer_that_stalls_makes_answers_late_and_nothing_else() {
    let net = bridge();
    let at = port(Bridged::v4(1));
    let mut server = Probe::listen(&net.nodes()[1], "serve", "tcp", at).expect("it listens");
    let to = at.to_string();
    let args = ["ask", "tcp", &to, "--count", "40", "--every", "5ms", "--timeout", "50ms"];
    let mut asker = Probe::start(&net.nodes()[0], &args).expect("it starts");
    let has = |what| move |events: &[Event]| events.iter().any(|event| event.what == what);
    asker.wait_until("an answer", LIMIT, has(What::Answered)).expect("answers come");
    server.process().pause().expect("SIGSTOP");
    asker.wait_until("a time-out", LIMIT, has(What::TimedOut)).expect("time-outs are told");
    server.process().resume().expect("SIGCONT");
    let events = asker.finish(LIMIT).expect("it goes on to its end");
    assert!(has(What::Late)(&events), "{events:?}");
    let mut answered = numbers(&events, What::Answered);
    answered.extend(numbers(&events, What::Late));
    answered.sort_unstable();
    assert_eq!(answered, (0..40).collect::<Vec<_>>(), "TCP loses none");
}

#[test]
fn a_restarted_server_is_dialled_anew_only_on_request() {
    let net = bridge();
    let at = port(Bridged::v4(1));
    let mut server = Probe::listen(&net.nodes()[1], "serve", "tcp", at).expect("it listens");
    let to = at.to_string();
    let base = ["ask", "tcp", &to, "--count", "400", "--every", "5ms", "--timeout", "50ms"];
    let mut stubborn = Probe::start(&net.nodes()[0], &base).expect("it starts");
    let again = [&base[..], &["--redial"]].concat();
    let mut redialler = Probe::start(&net.nodes()[0], &again).expect("it starts");
    for asker in [&mut stubborn, &mut redialler] {
        let some = |events: &[Event]| numbers(events, What::Answered).len() > 3;
        asker.wait_until("some answers", LIMIT, some).expect("answers come");
    }
    server.process().signal(Signal::SIGKILL).expect("SIGKILL");
    assert!(stubborn.finish(LIMIT).is_err(), "a lost connection ends it");
    let server = Probe::listen(&net.nodes()[1], "serve", "tcp", at).expect("it listens again");
    let events = redialler.finish(LIMIT).expect("it goes on to its end");
    assert!(!numbers(&server.events(), What::Asked).is_empty());
    assert!(events.iter().filter(|event| event.what == What::Connected).count() >= 2);
}
