//! The driver against a server of the test's own: one connection, never a second one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};

struct Driver {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Driver {
    fn start(port: u16) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_raftq-nats"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut driver = Self { child, out };
        let node = format!(r#"{{"address": "127.0.0.1", "ports": {{"client": {port}}}}}"#);
        driver.say(&format!(
            r#"{{"hello": 1, "node": {node}, "nodes": [{node}], "options": {{"bucket": "b"}}}}"#
        ));
        driver
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "{line}").expect("it reads");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it is heard");
        line
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_server_it_is_not_ready_and_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let mut driver = Driver::start(port);
    assert!(driver.hear().contains(r#""ready":false"#));
    assert_eq!(driver.hear(), "");
    assert!(!driver.child.wait().expect("it ends").success());
}

#[test]
fn a_connection_that_is_lost_under_a_write_is_never_made_anew() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let mut driver = Driver::start(port);
    let (mut stream, _) = listener.accept().expect("the driver dials");
    let info = r#"INFO {"server_id":"x","server_name":"x","version":"2.9.10","go":"","host":"",
        "port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
    let info = info.split_whitespace().collect::<Vec<_>>().join(" ");
    write!(stream, "{info}\r\n").expect("a client");
    let mut heard = String::new();
    let mut hear_until = |stream: &mut std::net::TcpStream, word: &str| {
        let mut bytes = [0; 1024];
        while !heard.contains(word) {
            let n = stream.read(&mut bytes).expect("a client that speaks");
            assert_ne!(n, 0, "it hung up before {word}: {heard}");
            heard.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    };
    hear_until(&mut stream, "PING\r\n");
    stream.write_all(b"PONG\r\n").expect("a client");
    assert!(driver.hear().contains(r#""ready":true"#));
    driver.say(r#"{"id": 1, "op": "write", "key": "k", "value": "v", "limit_ms": 60000}"#);
    // The write is read, and the connection dies without an answer.
    hear_until(&mut stream, "$KV.b.k");
    drop(stream);
    assert_eq!(driver.hear(), "", "it ends without a word about the call");
    assert!(!driver.child.wait().expect("it ends").success());
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "it dialled again");
}
