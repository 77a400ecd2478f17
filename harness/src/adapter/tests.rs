//! What adapter files say, what is told about wrong ones, and what answers are worth.

use super::*;
use crate::system::Request;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

fn read(text: &str, variants: &[&str]) -> Result<Adapter> {
    Adapter::read(text, Path::new("a.yaml"), "a", variants)
}

fn own(operations: &str) -> String {
    format!(
        "about: a test\nnode: {{ program: sh, ports: {{ peer: 1, client: 2 }} }}\n\
         base: 'http://{{{{ node.address }}}}:{{{{ node.ports.client }}}}'\n\
         status: {{ get: /, leads: 'true' }}\noperations:\n{operations}"
    )
}

const WRITE: &str = "  write:\n    promise: linearizable\n    put: '/{{ key | percent }}'\n    \
    body: '{{ value }}'\n    answers:\n      - { when: status == 200, is: done }\n      \
    - { when: status == 409, is: refused }\n      - { when: status == 421, is: not done }\n";

/// One answer to each connection; how often a request came.
fn serve(answers: Vec<&'static str>) -> (u16, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let serve = move || {
        let mut asked = 0;
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut bytes = [0; 4096];
            asked += usize::from(stream.read(&mut bytes).expect("a request") > 0);
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
        asked
    };
    (port, std::thread::spawn(serve))
}

fn write_to(port: u16) -> std::result::Result<crate::system::Answer, Failure> {
    let place = NodePlace {
        name: "n1".into(),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: BTreeMap::from([("peer".into(), 1), ("client".into(), port)]),
        data: PathBuf::new(),
        netns: None,
    };
    let adapter = read(&own(WRITE), &[]).expect("an adapter");
    let mut session = adapter.session(&[place], 0).expect("a session");
    let request = Request::Write { key: "k".into(), value: "v".into() };
    session.call(&request, Duration::from_secs(5))
}

#[test]
fn every_shipped_adapter_and_each_of_its_variants_loads() {
    for name in shipped() {
        let adapter = Adapter::load(name).expect("a shipped adapter");
        assert!(adapter.promises().len() >= 6, "{name} offers everything");
        for variant in adapter.inner.file.variants.keys() {
            let what = format!("{name}:{variant}");
            let loaded = Adapter::load(&what).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(loaded.name(), what);
        }
    }
}

#[test]
fn a_wrong_file_is_told_with_its_line() {
    let told = |text: &str| read(text, &[]).expect_err("refused").to_string();
    let unknown = told(&own(WRITE).replace("answers:", "anwsers:"));
    assert!(unknown.contains("a.yaml") && unknown.contains("anwsers"), "{unknown}");
    assert!(unknown.contains("line"), "{unknown}");
    assert!(told(&own(WRITE).replace("is: done", "when: 1 +")).contains("a.yaml"));
    assert!(told(&own(WRITE).replace("put:", "get: /\n    put:")).contains("exactly one of get"));
    let variant = read(&own(WRITE), &["fast"]).expect_err("refused").to_string();
    assert!(variant.contains("no variants"), "{variant}");
}

#[test]
fn an_answer_means_what_the_adapter_says_and_anything_else_is_unknown() {
    use crate::system::Answer;
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(Answer::Done)),
        ("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n", Ok(Answer::Refused)),
        ("HTTP/1.1 421 No\r\nContent-Length: 0\r\n\r\n", Err(true)),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Err(false)),
        ("HTTP/1.1 307 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", Err(false)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Err(false)),
        ("garbage\r\n\r\n", Err(false)),
        ("", Err(false)),
    ] {
        let (port, server) = serve(vec![answer]);
        let found = write_to(port);
        // Once: a second attempt would find nobody who accepts, and hang until its limit.
        assert_eq!(server.join().expect("a server"), 1, "{answer:?}");
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected), "{answer:?}"),
            Err(true) => assert!(matches!(found, Err(Failure::NotDone(_))), "{found:?}"),
            Err(false) => assert!(matches!(found, Err(Failure::Unknown(_))), "{found:?}"),
        }
    }
}

#[test]
fn a_refused_connection_is_surely_not_done() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    assert!(matches!(write_to(port), Err(Failure::NotDone(_))));
}
