//! Two nodes that talk, a raftq between them, and its control socket.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::api_lab::call;
use crate::live_lab::{Family, LIMIT, Net, Raftq, STEP, Shape, await_more, between, now_us};
use raftq_harness::clock::wait_for;
use raftq_harness::probe::{Probe, What};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

pub const UDP: (&str, Family) = ("udp", Family::V4);
pub const ASK: &str = "--count 60000 --every 10ms --timeout 100ms";

/// Nothing happens until somebody switches it on.
pub const WAITS: &str = "rules: [{ name: cut it, at: switch, from: n1, to: n2, do: drop }]\n";

pub fn pair() -> (Net, Probe) {
    let net = Net::new(Shape::Namespaces, 2);
    let server = net.serve(1, "udp", Family::V4);
    (net, server)
}

pub fn asker(net: &Net) -> Probe {
    let mut asker = net.talk("ask", UDP, (0, 1), ASK);
    await_more(&mut asker, What::Answered, 3, 0);
    asker
}

pub fn must_be_cut(asker: &mut Probe) {
    let from_us = now_us();
    let events = await_more(asker, What::TimedOut, 3, from_us);
    let answered = between(&events, What::Answered, from_us, u64::MAX);
    assert!(answered.len() <= 1, "{answered:?} were answered");
}

pub fn must_be_healed(asker: &mut Probe) {
    await_more(asker, What::Answered, 5, now_us());
}

/// The control socket of a raftq that has just attached.
pub fn socket(raftq: &Raftq<'_>) -> PathBuf {
    wait_for("the control socket", LIMIT, STEP, || sockets(&raftq.file("run")).pop())
        .expect("it is there")
}

pub fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "sock")).collect()
}

pub fn switch(socket: &Path, rule: &str, body: &Value) -> (u16, Value) {
    call(socket, "POST", &format!("/v1/rules/{rule}"), Some(&body.to_string()))
}

pub fn must_switch(socket: &Path, rule: &str, body: &Value) -> Value {
    let (status, answer) = switch(socket, rule, body);
    assert_eq!(status, 200, "{answer}");
    answer
}
