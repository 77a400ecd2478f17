//! The thread that lets others in: nobody who is slow, silent or talks rubbish keeps others
//! waiting, or raftq from ending.

use raftq::kernel::door::Door;
use raftq::kernel::http::Answer;
use raftq::run::api::Command;
use raftq::run::serve::{PLACES, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing here takes as long where nobody is kept waiting.
const SOON: Duration = Duration::from_secs(3);

fn start() -> (Server, SocketAddr) {
    let door = Door::loopback("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let Door::Loopback(_, at) = &door else { panic!("it is a loopback") };
    let at = *at;
    (Server::start(vec![door]).expect("a thread"), at)
}

fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&at, SOON).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    stream
}

fn say(at: SocketAddr, text: &str) -> TcpStream {
    let mut stream = dial(at);
    stream.write_all(text.as_bytes()).expect("it is sent");
    stream
}

fn get(at: SocketAddr, path: &str) -> TcpStream {
    say(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n"))
}

/// All that comes; the status code stands first.
fn hear(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap_or_else(|e| panic!("{e} behind {text:?}"));
    text
}

fn status(answer: &str) -> u16 {
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// What the main thread does: answers each call by its command.
fn answer_all(server: &Server) -> usize {
    server.calls.open();
    let mut n = 0;
    while let Some(call) = server.calls.take() {
        assert_eq!(call.command, Command::Status);
        server.answer(call.id, Answer::json(200, &json!({ "id": call.id })));
        n += 1;
    }
    n
}

/// Until so many calls have come.
fn answer(server: &Server, wanted: usize) {
    let start = raftq::kernel::clock::now();
    let mut n = 0;
    while n < wanted {
        n += answer_all(server);
        let took = raftq::kernel::clock::now().saturating_sub(start);
        assert!(took.0 < SOON.as_nanos() as u64, "{n} of {wanted} calls came");
        raftq::kernel::poll::pause(raftq::time::Nanos::from_millis(1));
    }
}

fn is_quick(what: impl FnOnce()) {
    let start = raftq::kernel::clock::now();
    what();
    let took = raftq::kernel::clock::now().saturating_sub(start);
    assert!(took.0 < SOON.as_nanos() as u64, "it took {took:?}");
}

#[test]
fn those_who_say_nothing_or_half_or_rubbish_keep_nobody_waiting() {
    let (server, at) = start();
    // More than there are places.
    let mut stuck: Vec<TcpStream> = (0..PLACES * 2).map(|_| dial(at)).collect();
    stuck.extend((0..PLACES).map(|_| say(at, "POST /v1/rules/a HTTP/1.1\r\nContent-Le")));
    let half = format!("PUT /v1/rules HTTP/1.1\r\nHost: {at}\r\nContent-Length: 100\r\n\r\nrul");
    stuck.extend((0..PLACES).map(|_| say(at, &half)));
    is_quick(|| {
        for text in ["\u{0}\u{1}\u{2}\r\n\r\n", "HELO there\r\n\r\n", "GET\r\n\r\n"] {
            assert_eq!(status(&hear(&say(at, text))), 400, "{text:?}");
        }
        let asks = get(at, "/v1/status");
        answer(&server, 1);
        let heard = hear(&asks);
        assert_eq!(status(&heard), 200, "{heard}");
        assert!(heard.contains("\"id\""), "{heard}");
        let itself = hear(&get(at, "/v1/openapi.yaml"));
        assert!(itself.contains("openapi: 3.1"), "it needs nobody else");
    });
    is_quick(|| drop(server));
    drop(stuck);
}

#[test]
fn many_at_once_get_each_their_own_answer() {
    let (server, at) = start();
    let asking: Vec<TcpStream> = (0..PLACES).map(|_| get(at, "/v1/status")).collect();
    answer(&server, PLACES);
    let mut heard: Vec<String> = asking.iter().map(hear).collect();
    assert!(heard.iter().all(|answer| status(answer) == 200), "{heard:?}");
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), PLACES, "each its own");
}

#[test]
fn one_more_than_there_are_places_for_is_told_so_at_once() {
    let (server, at) = start();
    let waiting: Vec<TcpStream> = (0..PLACES).map(|_| get(at, "/v1/status")).collect();
    is_quick(|| assert_eq!(status(&hear(&get(at, "/v1/status"))), 503));
    // Who has gone is answered in vain, and makes room.
    drop(waiting);
    is_quick(|| {
        answer(&server, PLACES);
        let asks = get(at, "/v1/status");
        answer(&server, 1);
        assert_eq!(status(&hear(&asks)), 200);
    });
}

#[test]
fn who_waits_is_told_when_raftq_ends_or_does_not_get_to_it() {
    let (server, at) = start();
    let late = get(at, "/v1/status");
    let never = dial(at);
    let answer = hear(&late);
    assert_eq!(status(&answer), 504, "{answer}");
    assert!(answer.contains("may still come into force"), "{answer}");
    let answer = hear(&never);
    assert_eq!(status(&answer), 408, "{answer}");
    let waits = get(at, "/v1/status");
    // It has been handed on.
    while !server.calls.may_have() {
        raftq::kernel::poll::pause(raftq::time::Nanos::from_millis(1));
    }
    is_quick(|| drop(server));
    let answer = hear(&waits);
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(TcpStream::connect_timeout(&at, SOON).is_err(), "nobody listens any more");
}

#[test]
fn a_refused_body_is_answered_although_it_is_still_being_sent() {
    let (_server, at) = start();
    let head = format!("PUT /v1/rules HTTP/1.1\r\nHost: {at}\r\nContent-Length: 9999999\r\n\r\n");
    let mut stream = say(at, &head);
    // It is refused by its head; what is sent on meanwhile takes no answer away.
    for _ in 0..64 {
        if stream.write_all(&[b'#'; 1 << 14]).is_err() {
            break;
        }
    }
    assert_eq!(status(&hear(&stream)), 413);
}

#[test]
fn no_address_but_the_loopback_is_listened_at() {
    for address in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let trouble = Door::loopback(address.parse().expect("an address")).expect_err(address);
        assert!(trouble.cause.contains("no loopback address"), "{trouble}");
        assert!(trouble.way_out.contains("127.0.0.1:"), "{trouble}");
    }
    let (_server, at) = start();
    let taken = Door::loopback(at).expect_err("somebody listens there");
    assert!(taken.way_out.contains("another port"), "{taken}");
}
