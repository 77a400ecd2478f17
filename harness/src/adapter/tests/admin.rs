//! Calls about the cluster itself, and how a node is started that joins it.

use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

const ADMIN: &str = "admin:\n  remove:\n    \
    post: '/out/{{ target.name }}/{{ target.member }}'\n    \
    answers:\n      - { when: status == 200, is: done }\n      \
    - { when: status == 409, is: refused }\n  \
    compact:\n    at: target\n    post: /snapshot\n    \
    answers: [{ when: status == 200, is: done }]\n";

fn places(port: u16) -> Vec<NodePlace> {
    let place = |i: u16| NodePlace {
        name: format!("n{i}"),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: BTreeMap::from([("peer".into(), 1), ("client".into(), port)]),
        data: PathBuf::new(),
        netns: None,
    };
    (1..=3).map(place).collect()
}

fn remove(port: u16, member: Option<&str>) -> std::result::Result<Answer, Failure> {
    let adapter = read(&(own(WRITE) + ADMIN), &[]).expect("an adapter");
    let subject = Subject { asked: 0, target: 1, member };
    let limit = Duration::from_secs(5);
    adapter.administer(Admin::Remove, &places(port), subject, limit).expect("it is offered")
}

#[test]
fn a_change_of_members_is_told_of_its_target_and_answered_as_the_file_says() {
    for (status, expected) in
        [("200 OK", Some(Answer::Done)), ("409 No", Some(Answer::Refused)), ("503 Later", None)]
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serve = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a call");
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).expect("a request");
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("an answer");
            String::from_utf8_lossy(&bytes[..n]).into_owned()
        });
        let answer = remove(port, Some("77"));
        assert!(serve.join().expect("served").starts_with("POST /out/n2/77 "));
        assert_eq!(answer.as_ref().ok(), expected.as_ref(), "{status}: {answer:?}");
    }
}

#[test]
fn an_id_that_nobody_told_is_not_made_up() {
    let why = remove(1, None).expect_err("not called");
    assert!(matches!(&why, Failure::NotDone(why) if why.contains("undefined")), "{why:?}");
}

#[test]
fn what_an_adapter_does_not_offer_is_known_before_and_told() {
    let adapter = read(&(own(WRITE) + ADMIN), &[]).expect("an adapter");
    assert!(adapter.offers(Admin::Remove) && !adapter.offers(Admin::Add));
    assert!(adapter.asks_target(Admin::Compact) && !adapter.asks_target(Admin::Remove));
    let subject = Subject { asked: 0, target: 1, member: None };
    let told = adapter.administer(Admin::Add, &places(1), subject, Duration::from_secs(1));
    let told = told.expect_err("refused").to_string();
    assert!(told.contains("the adapter a does not offer `add`"), "{told}");
}

#[test]
fn a_wrong_call_of_the_cluster_itself_is_told_by_its_name() {
    let told = |from: &str, to: &str| {
        let text = own(WRITE) + ADMIN;
        assert!(text.contains(from), "{from}");
        read(&text.replace(from, to), &[]).expect_err("refused").to_string()
    };
    let compact = "    post: /snapshot\n";
    for (from, to, word) in [
        (compact, "", "admin.compact: it needs exactly one of get, put, post, delete"),
        (compact, "    promise: stale\n    post: /snapshot\n", "there is no key `promise` here"),
        ("at: target", "at: anybody", "`anybody` is not valid here"),
        ("is: refused", "value: text", "admin.remove: its answers bear no data"),
        ("    promise: linearizable\n", "", "operations.write needs `promise`"),
        (
            "    promise: linearizable\n",
            "    promise: linearizable\n    at: leader\n",
            "there is no key `at` here",
        ),
        ("  compact:", "  compacts:", "did you mean `compact`?"),
    ] {
        let told = told(from, to);
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn a_node_that_joins_is_started_for_the_members_of_then() {
    let text = own(WRITE).replace(
        "program: sh,",
        "program: sh, args: ['{% for n in members %}{{ n.name }}:{{ n.index }} {% endfor %}', \
         '{{ nodes | length }}'], join_args: [--join],",
    );
    let adapter = read(&text, &[]).expect("an adapter");
    let args = |joining: &Joining| adapter.launch(&places(1), 2, joining).expect("a launch").args;
    assert_eq!(args(&Joining::new(3)), ["n1:1 n2:2 n3:3 ", "3"]);
    let late = Joining { members: vec![0, 2], joined: true };
    assert_eq!(args(&late), ["n1:1 n3:3 ", "3", "--join"]);
}
