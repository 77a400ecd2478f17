//! Members of the embedded cluster come and go, leadership moves, and logs are compacted, while
//! somebody writes: nothing that was acknowledged is lost, and no id is used again.
//!
//! Real processes on addresses of 127.0.0.0/8 that only this test uses; no root is needed.

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// The client address of node n1, n2...
fn client(node: usize) -> SocketAddr {
    address(node, 2379)
}

fn address(node: usize, port: u16) -> SocketAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high.max(1), low, node as u8], port))
}

/// One request; status and JSON, or nothing where nobody answers.
fn call(node: usize, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect_timeout(&client(node), Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(6))).ok()?;
    let body = body.to_string();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

fn status(node: usize) -> Value {
    call(node, "GET", "/status", &Value::Null).map_or(Value::Null, |(_, body)| body)
}

/// The one of these nodes that leads, once there is one.
fn leader(nodes: &[usize]) -> usize {
    let leads = |node: &&usize| status(**node)["role"] == "leader";
    wait_for("a leader", LIMIT, STEP, || nodes.iter().find(leads).copied()).expect("a leader")
}

/// Asks the leader until it does it; a change that is under way, or a new leader, is waited for.
fn admin(nodes: &[usize], what: &str, body: &Value) -> Value {
    wait_for(what, LIMIT, STEP, || {
        let (status, body) = call(leader(nodes), "POST", &format!("/admin/{what}"), body)?;
        (status == 200).then_some(body)
    })
    .unwrap_or_else(|e| panic!("{what} {body}: {e}"))
}

fn start(folder: &Scratch, node: usize, of: RangeInclusive<usize>, join: bool) -> Process {
    let peers: Vec<String> = of.map(|i| format!("n{i}={}", address(i, 2380))).collect();
    let mut args = vec![
        "node".to_owned(),
        format!("--name=n{node}"),
        format!("--data={}", folder.path().join(format!("n{node}")).display()),
        format!("--peers={}", peers.join(",")),
        format!("--listen-client={}", client(node)),
        "--snapshot-every=500".to_owned(),
        "--election-ms=1000".to_owned(),
    ];
    args.extend(join.then(|| "--join".to_owned()));
    let log = folder.path().join(format!("n{node}.log"));
    Process::spawn(Launch {
        name: format!("n{node}"),
        program: env!("CARGO_BIN_EXE_raftq").into(),
        args: args.into_iter().map(Into::into).collect(),
        env: vec![("RUST_LOG".into(), "info".into())],
        netns: None,
        stdout: log.clone(),
        stderr: log,
        ended_by: Signal::SIGKILL,
    })
    .expect("a node starts")
}

/// Somebody who writes one key after the other, to whichever node takes it.
struct Writer {
    over: Arc<AtomicBool>,
    written: Arc<Mutex<BTreeMap<String, String>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(nodes: usize) -> Self {
        let (over, written) = <(Arc<AtomicBool>, Arc<Mutex<BTreeMap<_, _>>>)>::default();
        let (ends, into) = (Arc::clone(&over), Arc::clone(&written));
        let thread = std::thread::spawn(move || {
            for i in (0..).take_while(|_| !ends.load(Ordering::Relaxed)) {
                let (key, value) = (format!("k{i:06}"), i.to_string());
                let path = format!("/kv/{key}");
                let answer = call(1 + i % nodes, "PUT", &path, &json!({ "value": value }));
                if answer.is_some_and(|(status, _)| status == 200) {
                    into.lock().expect("no panic").insert(key, value);
                }
            }
        });
        Self { over, written, thread }
    }

    fn count(&self) -> usize {
        self.written.lock().expect("no panic").len()
    }

    /// Waits for more to be written: the cluster takes writes.
    fn goes_on(&self) {
        let before = self.count();
        wait_for("more writes", LIMIT, STEP, || (self.count() > before + 20).then_some(()))
            .expect("the cluster takes writes");
    }

    fn stop(self) -> BTreeMap<String, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer ends");
        std::mem::take(&mut *self.written.lock().expect("no panic"))
    }
}

/// Writes; a node that knows no leader yet is asked anew.
fn put(node: usize, key: &str, value: &str) {
    let (path, body) = (format!("/kv/{key}"), json!({ "value": value }));
    let written = wait_for("a leader", LIMIT, STEP, || {
        let (status, said) = call(node, "PUT", &path, &body).expect("an answer");
        assert!(status == 200 || said["outcome"] == "not done", "{status} {said}");
        (status == 200).then_some(())
    });
    written.expect("it is written");
}

/// Waits until this node holds what the leader applied.
fn caught_up(node: usize, nodes: &[usize]) {
    let goal = status(leader(nodes))["applied"].as_u64();
    wait_for("the new node", LIMIT, STEP, || {
        (status(node)["applied"].as_u64() >= goal).then_some(())
    })
    .unwrap_or_else(|e| panic!("n{node} catches up to {goal:?}: {e}; {}", status(node)));
}

fn members(node: usize) -> Vec<(String, u64)> {
    let shown = status(node)["members"].clone();
    let all = shown.as_array().cloned().unwrap_or_default();
    let member = |m: &Value| {
        assert_eq!(m["voter"], true, "{m}");
        (m["name"].as_str().unwrap_or_default().to_owned(), m["id"].as_u64().unwrap_or_default())
    };
    all.iter().map(member).collect()
}

#[test]
fn members_come_and_go_while_somebody_writes() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let mut nodes: Vec<Process> = (1..=3).map(|i| start(&folder, i, 1..=3, false)).collect();
    leader(&[1, 2, 3]);
    let writer = Writer::start(3);
    writer.goes_on();

    // 3 -> 4: the new one is started before it is added, and gets a snapshot.
    nodes.push(start(&folder, 4, 1..=4, true));
    wait_for("n4 to wait", LIMIT, STEP, || (status(4)["role"] == "joining").then_some(()))
        .expect("n4 waits");
    let (code, refused) = call(4, "PUT", "/kv/x", &json!({ "value": "x" })).expect("an answer");
    assert_eq!((code, &refused["outcome"]), (503, &json!("not done")), "{refused}");
    let n4 = json!({ "name": "n4", "address": address(4, 2380) });
    assert_eq!(admin(&[1, 2, 3], "add", &n4)["id"], 4);
    assert_eq!(admin(&[1, 2, 3], "add", &n4)["id"], 4, "once more changes nothing");
    caught_up(4, &[1, 2, 3, 4]);
    assert!(status(4)["snapshot"].as_u64() > Some(1), "{}", status(4));
    writer.goes_on();

    // A follower changes nothing, and says who leads.
    let leads = leader(&[1, 2, 3, 4]);
    let follower = (1..=4).find(|i| *i != leads).expect("a follower");
    let (code, told) =
        call(follower, "POST", "/admin/remove", &json!({ "name": "n4" })).expect("it");
    assert_eq!((code, &told["outcome"]), (503, &json!("not done")), "{told}");
    assert_eq!(told["leader"], format!("n{leads}"));

    // Leadership moves to a node of choice, then to anybody.
    let to = (1..=4).find(|i| *i != leads).expect("another");
    let moved = admin(&[1, 2, 3, 4], "transfer", &json!({ "to": format!("n{to}") }));
    assert_eq!(moved["leader"], format!("n{to}"));
    assert_eq!(leader(&[1, 2, 3, 4]), to);
    let moved = admin(&[1, 2, 3, 4], "transfer", &json!({}));
    assert_ne!(moved["leader"], format!("n{to}"));
    writer.goes_on();

    // n2 is removed; the leader hands over first if it is n2, to be asked after that.
    if leader(&[1, 2, 3, 4]) == 2 {
        admin(&[1, 2, 3, 4], "transfer", &json!({ "to": "n1" }));
    }
    admin(&[1, 3, 4], "remove", &json!({ "name": "n2" }));
    admin(&[1, 3, 4], "remove", &json!({ "name": "n2" }));
    wait_for("n2", LIMIT, STEP, || (status(2)["role"] == "removed").then_some(()))
        .expect("n2 knows that it is removed");
    let (code, refused) = call(2, "PUT", "/kv/x", &json!({ "value": "x" })).expect("an answer");
    assert_eq!((code, &refused["outcome"]), (503, &json!("not done")), "{refused}");
    let term = status(2)["term"].clone();
    writer.goes_on();
    assert_eq!(status(2)["role"], "removed");
    assert_eq!(status(2)["term"], term, "it does not stand for election any more");

    // It comes back with empty data, started before it is added: under a new id.
    nodes[1].kill().expect("n2 ends");
    std::fs::remove_dir_all(folder.path().join("n2")).expect("its data is gone");
    nodes[1] = start(&folder, 2, 1..=4, true);
    let n2 = json!({ "name": "n2", "address": address(2, 2380) });
    assert_eq!(admin(&[1, 3, 4], "add", &n2)["id"], 5);
    caught_up(2, &[1, 2, 3, 4]);
    assert_eq!(status(2)["id"], 5);
    let all = [("n1", 1), ("n3", 3), ("n4", 4), ("n2", 5)].map(|(name, id)| (name.to_owned(), id));
    assert_eq!(members(1), all);
    assert_eq!(members(2), all);

    // All are killed and come back by their data alone; the first ones were told of three.
    nodes.clear();
    let mut nodes: Vec<Process> = (1..=3).map(|i| start(&folder, i, 1..=3, false)).collect();
    nodes.push(start(&folder, 4, 1..=4, true));
    leader(&[1, 2, 3, 4]);
    assert_eq!(members(3), all, "addresses and ids outlive a restart");
    writer.goes_on();
    let written = writer.stop();
    for node in 1..=4 {
        let (code, listing) = call(node, "GET", "/kv", &Value::Null).expect("an answer");
        assert_eq!(code, 200, "{listing}");
        let pairs = listing["keys"].as_array().expect("pairs");
        let held: BTreeMap<&str, &str> = pairs
            .iter()
            .filter_map(|pair| Some((pair["key"].as_str()?, pair["value"].as_str()?)))
            .collect();
        let lost: Vec<_> =
            written.iter().filter(|(k, v)| held.get(k.as_str()) != Some(&v.as_str())).collect();
        assert!(lost.is_empty(), "n{node} lost {lost:?} of {}", written.len());
    }
}

#[test]
fn a_compacted_log_is_gone_and_wiped_data_does_not_come_back_under_its_id() {
    let folder = Scratch::new("rqunit").expect("a folder");
    // Addresses of their own: both tests may run at once.
    let mut nodes: Vec<Process> = (11..=13).map(|i| start(&folder, i, 11..=13, false)).collect();
    let all = [11, 12, 13];
    leader(&all);
    for i in 0..30 {
        put(11, &format!("k{i}"), "v");
    }
    let (code, said) = call(11, "POST", "/admin/compact", &Value::Null).expect("an answer");
    assert_eq!((code, &said["done"]), (200, &json!(true)), "{said}");
    assert_eq!(said["snapshot"], status(11)["applied"], "{said}");
    let log = std::fs::metadata(folder.path().join("n11/wal")).expect("a log").len();
    assert!(log < 200, "{log} bytes of log are left");

    // Wiped without having been removed: its id is in use, by data that is gone.
    nodes[1].kill().expect("n12 ends");
    std::fs::remove_dir_all(folder.path().join("n12")).expect("its data is gone");
    nodes[1] = start(&folder, 12, 11..=13, true);
    let refused = "n12 is a member with data of its own";
    wait_for(refused, LIMIT, STEP, || nodes[1].stderr().contains(refused).then_some(()))
        .expect("the old id is refused");
    assert_eq!(status(12)["role"], "joining", "{}", status(12));
    admin(&[11, 13], "remove", &json!({ "name": "n12" }));
    let n12 = json!({ "name": "n12", "address": address(12, 2380) });
    assert_eq!(admin(&[11, 13], "add", &n12)["id"], 4);
    caught_up(12, &all);
    assert_eq!(status(12)["id"], 4);
}

#[test]
fn a_member_that_missed_its_removal_disturbs_nobody() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let all = [21, 22, 23];
    let mut nodes: Vec<Process> = all.iter().map(|i| start(&folder, *i, 21..=23, false)).collect();
    let leads = leader(&all);
    let gone = if leads == 23 { 22 } else { 23 };
    let others: Vec<usize> = all.iter().copied().filter(|i| *i != gone).collect();
    put(gone, "k", "v");
    nodes[gone - 21].kill().expect("it ends");
    admin(&others, "remove", &json!({ "name": format!("n{gone}") }));
    let term = status(leads)["term"].clone();

    nodes[gone - 21] = start(&folder, gone, 21..=23, false);
    wait_for("it to stand", LIMIT, STEP, || {
        let log = nodes[gone - 21].stderr();
        let (_, of_this_life) = log.rsplit_once("speaks with peers")?;
        of_this_life.contains("pre-candidate").then_some(())
    })
    .expect("it knows of no removal, and stands for election");
    for i in 0..20 {
        put(leads, &format!("k{i}"), "v");
    }
    let (code, _) = call(gone, "GET", "/kv/k", &Value::Null).expect("an answer");
    assert_eq!(code, 503, "it does not read for anybody");
    assert_eq!(status(leads)["role"], "leader");
    assert_eq!(status(leads)["term"], term);

    // The leader may be removed, too, and the last one goes on alone.
    admin(&[leads], "remove", &json!({ "name": format!("n{leads}") }));
    assert_eq!(status(leads)["role"], "removed");
    let last = others.into_iter().find(|i| *i != leads).expect("one of two");
    assert_eq!(leader(&[last]), last);
    put(last, "k", "w");
    let (_, read) = call(last, "GET", "/kv/k", &Value::Null).expect("an answer");
    assert_eq!(read["value"], "w");
}
