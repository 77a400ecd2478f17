//! A laboratory for what raftq hears: a real etcd cluster behind a bridge, raftq attached to it
//! with every packet and every message written down, and both read together afterwards.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::live_lab::{Ending, Raftq};
use raftq_harness::clock::wait_for;
use raftq_harness::etcd::{EtcdCluster, Options, Place, name};
use raftq_harness::netns::{BridgeOptions, Bridged, Namespace};
use raftq_harness::owner::Scratch;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The longest wait for anything; elections of a busy machine included.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub const STEP: Duration = Duration::from_millis(20);

/// A call that has no reason to fail.
pub const CALL: Duration = Duration::from_secs(15);

/// Three namespaces behind a bridge.
pub fn net() -> Bridged {
    Bridged::new("rqlive", 3, BridgeOptions::default()).expect("a bridge")
}

/// etcd in them, with a leader, and at rest: what nodes enter by themselves when they have started,
/// their own names and the version of the cluster, is there.
pub fn etcd(net: &Bridged) -> (EtcdCluster<'_>, usize) {
    let mut etcd = EtcdCluster::start(Place::Bridged(net), 3, &Options::default()).expect("etcd");
    let words = ["set initial cluster version", "published local member to cluster"];
    let rests = wait_for("etcd to come to rest", LIMIT, STEP, || {
        let logs: Vec<String> = (0..3).map(|i| etcd.process(i).stderr()).collect();
        words.iter().all(|words| logs.iter().all(|log| log.contains(words))).then_some(())
    });
    rests.unwrap_or_else(|e| panic!("{e}\n{}", etcd.log_tails()));
    let leader = etcd.wait_for_leader(LIMIT).expect("a leader");
    (etcd, leader)
}

/// The others of three nodes.
pub fn others(node: usize) -> [usize; 2] {
    [(node + 1) % 3, (node + 2) % 3]
}

/// A raftq that listens to etcd.
pub struct Wired<'n> {
    pub raftq: Raftq<'n>,
    folder: Scratch,
}

/// What it left.
pub struct Left {
    pub ending: Ending,
    pub trace: Vec<Line>,
    pub wire: Vec<Line>,
}

/// A line of the trace or of the messages, with its time in ns on the rules' clock.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: i64,
    pub it: Value,
}

impl<'n> Wired<'n> {
    /// Attaches, and waits until it is.
    pub fn attach(net: &'n Bridged, cluster: &str, rules: &str, args: &[&str]) -> Self {
        let folder = Scratch::new("rqlive").expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (trace, wire) = (file("trace"), file("wire"));
        let own = ["--json", "--trace", &trace, "--wire", &wire];
        let all: Vec<&str> = own.into_iter().chain(args.iter().copied()).collect();
        let spaces: Vec<&Namespace> = net.nodes().iter().chain([net.hub()]).collect();
        let mut raftq = Raftq::start_with(cluster, spaces, None, rules, &all);
        raftq.await_line("attached to ");
        Self { raftq, folder }
    }

    /// The same to this cluster, whose protocol is named.
    pub fn to(net: &'n Bridged, etcd: &EtcdCluster<'_>, rules: &str) -> Self {
        Self::attach(net, &speaking(etcd, "etcd"), rules, &[])
    }

    /// Waits until messages that were written down fit; the last ones may still be on their way.
    pub fn await_messages(&self, what: &str, mut fit: impl FnMut(&[Line]) -> bool) {
        let path = self.folder.path().join("wire");
        let found = wait_for(what, LIMIT, STEP, || fit(&messages(&path)).then_some(()));
        found.unwrap_or_else(|e| panic!("{e}:\n{}", self.raftq.stderr()));
    }

    /// Waits until raftq tells that somebody leads in a higher term than `term`: who, and in which.
    pub fn await_leader(&mut self, term: u64) -> (usize, u64) {
        let found = wait_for("a leader to be told", LIMIT, STEP, || {
            let said = self.raftq.stderr();
            let whole = &said[..said.rfind('\n').unwrap_or(0)];
            whole.lines().filter_map(leads).find(|(_, its)| *its > term)
        });
        found.unwrap_or_else(|e| panic!("{e}:\n{}", self.raftq.stderr()))
    }

    /// Ctrl-C; then as [`Wired::end`].
    pub fn interrupt(self) -> Left {
        let Self { raftq, folder } = self;
        Left::read(raftq.interrupt(), folder.path())
    }

    /// Waits until it has ended by itself.
    pub fn end(self) -> Left {
        let Self { raftq, folder } = self;
        Left::read(raftq.end(), folder.path())
    }
}

/// Who leads, and in which term, where a line tells that and nothing else.
fn leads(line: &str) -> Option<(usize, u64)> {
    let (who, term) = line.split_once(" leads in term ")?;
    let node = (0..3).find(|i| who.split_whitespace().last() == Some(&name(*i)))?;
    Some((node, term.parse().ok()?))
}

/// The cluster with a protocol.
pub fn speaking(etcd: &EtcdCluster<'_>, protocol: &str) -> String {
    etcd.cluster_yaml().replace("cluster:\n", &format!("cluster:\n  protocol: {protocol}\n"))
}

fn parsed(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn messages(path: &Path) -> Vec<Line> {
    let seen = parsed(path).into_iter().filter(|it| it["event"] == "seen");
    seen.map(|it| Line { at: it["at"].as_i64().expect("a time"), it }).collect()
}

impl Left {
    fn read(ending: Ending, folder: &Path) -> Self {
        let trace = parsed(&folder.join("trace")).into_iter();
        // The trace's times are a share of a nanosecond off.
        let at = |it: &Value| (it["t"].as_f64().unwrap_or(-1.0) * 1e9).round() as i64;
        let trace = trace.map(|it| Line { at: at(&it), it }).collect();
        Self { ending, trace, wire: messages(&folder.join("wire")) }
    }

    /// Packets on which a rule acted; those that were kept have no second line here.
    pub fn by_rule(&self, rule: &str) -> Vec<&Line> {
        self.trace.iter().filter(|line| line.it["rule"] == rule).collect()
    }

    /// Messages that were judged: both ends are known.
    pub fn judged(&self, fit: impl Fn(&Line) -> bool) -> Vec<&Line> {
        self.wire.iter().filter(|line| line.link().is_some() && fit(line)).collect()
    }

    /// The messages that a packet made whole, as far as a batch's one time tells.
    pub fn within(&self, packet: &Line) -> Vec<&Line> {
        let (from, to) = (packet.node("from"), packet.node("to"));
        self.judged(|line| line.at == packet.at && line.link() == Some((from, to)))
    }

    /// The first message of a leader in a higher term than `term`: when, who, and in which.
    pub fn next_leader(&self, term: u64) -> (i64, usize, u64) {
        let leads = |line: &&Line| line.is("append_entries") || line.is("heartbeat");
        let first = self.wire.iter().filter(leads).find(|line| line.number("term") > term);
        let first = first.unwrap_or_else(|| panic!("nobody led after {term}:\n{}", self.ending));
        (first.at, first.link().expect("it was judged").0, first.number("term"))
    }
}

impl Line {
    pub fn is(&self, kind: &str) -> bool {
        self.it["kind"] == kind
    }

    /// A number of it; 0 where it is left out.
    pub fn number(&self, what: &str) -> u64 {
        self.it[what].as_u64().unwrap_or(0)
    }

    /// An end of a packet in the trace, which is known there.
    pub fn node(&self, end: &str) -> usize {
        let all = (0..3).find(|i| self.it[end] == name(*i).as_str());
        all.unwrap_or_else(|| panic!("no node {end}: {}", self.it))
    }

    /// The two ends of a message, by number.
    pub fn link(&self) -> Option<(usize, usize)> {
        let end = |end: &str| self.it[end].as_u64().map(|n| n as usize);
        Some((end("from")?, end("to")?))
    }

    /// Whether a packet in the trace is between these nodes in this direction.
    pub fn is_from_to(&self, from: usize, to: usize) -> bool {
        self.it["from"] == name(from).as_str() && self.it["to"] == name(to).as_str()
    }

    pub fn verdict(&self) -> &str {
        self.it["verdict"].as_str().unwrap_or_default()
    }

    /// Whether a packet in the trace carries data that is to be read at once, as all of etcd's do.
    pub fn pushes(&self) -> bool {
        self.it["flags"].as_str().is_some_and(|flags| flags.contains('P'))
    }

    /// The addresses of a packet in the trace.
    pub fn flow(&self) -> (&Value, &Value) {
        (&self.it["src"], &self.it["dst"])
    }
}
