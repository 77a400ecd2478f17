//! HTTP over real sockets: a call is made once, and an answer means what the file says.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// What a stub server does with each connection, in turn; how often a request came in all.
fn serve(
    connections: usize,
    each: impl Fn(usize, &mut TcpStream) -> usize + Send + 'static,
) -> (u16, std::thread::JoinHandle<usize>, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let accepts = listener.try_clone().expect("a second handle");
    let serve = move || {
        let one = |i| each(i, &mut accepts.accept().expect("a call").0);
        (0..connections).map(one).sum()
    };
    (port, std::thread::spawn(serve), listener)
}

/// Whether a whole request came.
fn request(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    while !bytes.ends_with(b"\r\n\r\nv") {
        match stream.read(&mut part) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&part[..n]),
            _ => return false,
        }
    }
    true
}

/// Whether nobody has tried to connect beyond those who were accepted.
fn nobody_waits(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).expect("a socket");
    listener.accept().is_err()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn once(answer: &'static [u8], limit: Duration) -> std::result::Result<Answer, Failure> {
    let (port, server, listener) = serve(1, move |_, stream| {
        let came = request(stream);
        // A client that gives up early is no failure of the server.
        let _ = stream.write_all(answer);
        usize::from(came)
    });
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let found = session(&adapter, port).call(&write(), limit);
    assert_eq!(server.join().expect("a server"), 1, "asked once");
    assert!(nobody_waits(&listener), "a second attempt was made");
    found
}

#[test]
fn an_answer_means_what_the_adapter_says_and_anything_else_is_unknown() {
    assert_eq!(once(OK, LIMIT), Ok(Answer::Done));
    assert_eq!(
        once(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", LIMIT),
        Ok(Answer::Refused)
    );
    assert!(is_not_done(&once(b"HTTP/1.1 421 No\r\nContent-Length: 0\r\n\r\n", LIMIT)));
    for answer in [
        &b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 307 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"garbage\r\n\r\n",
        b"",
    ] {
        let found = once(answer, LIMIT);
        assert!(is_unknown(&found), "{}: {found:?}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn a_body_that_never_ends_is_unknown_at_the_limit() {
    let (done, ended) = mpsc::channel::<()>();
    let (port, server, _) = serve(1, move |_, stream| {
        let came = request(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow");
        // Until the client has its answer; the connection stays open as long.
        let _ = ended.recv();
        usize::from(came)
    });
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let begin = crate::clock::now();
    let found = session(&adapter, port).call(&write(), Duration::from_millis(200));
    let took = crate::clock::since(begin);
    drop(done);
    assert!(is_unknown(&found), "{found:?}");
    assert!(took >= Duration::from_millis(200) && took < LIMIT, "{took:?}");
    assert_eq!(server.join().expect("a server"), 1);
}

#[test]
fn a_body_of_more_than_sixteen_megabytes_is_unknown() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 17000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 17_000_000, b'x');
    let found = once(answer.leak(), LIMIT);
    assert!(is_unknown(&found), "{found:?}");
}

#[test]
fn a_refused_connection_is_surely_not_done() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let found = session(&adapter, port).call(&write(), LIMIT);
    assert!(is_not_done(&found), "{found:?}");
}

#[test]
fn a_request_on_a_kept_connection_that_dies_is_not_sent_again() {
    let (port, server, listener) = serve(1, |_, stream| {
        let first = request(stream);
        stream.write_all(OK).expect("an answer");
        // The second one is read, and then nothing more comes of this connection.
        usize::from(first) + usize::from(request(stream))
    });
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let mut session = session(&adapter, port);
    assert_eq!(session.call(&write(), LIMIT), Ok(Answer::Done));
    let second = session.call(&write(), LIMIT);
    assert!(is_unknown(&second), "{second:?}");
    assert_eq!(server.join().expect("a server"), 2, "the connection was kept");
    assert!(nobody_waits(&listener), "the second request was sent again");
}

#[test]
fn a_connection_that_was_closed_between_calls_costs_no_second_request() {
    let (closed, is_closed) = mpsc::channel();
    let (port, server, listener) = serve(2, move |_, stream| {
        let came = request(stream);
        stream.write_all(OK).expect("an answer");
        stream.shutdown(std::net::Shutdown::Both).expect("to close it");
        closed.send(()).expect("a test that waits");
        usize::from(came)
    });
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let mut session = session(&adapter, port);
    for _ in 0..2 {
        assert_eq!(session.call(&write(), LIMIT), Ok(Answer::Done));
        is_closed.recv().expect("a server");
    }
    assert_eq!(server.join().expect("a server"), 2, "each was sent once, the second anew");
    assert!(nobody_waits(&listener));
}
