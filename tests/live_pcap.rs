//! Captured packets of real nodes, read back by tshark: one for each packet that a rule acted on,
//! with a comment that names it; delays that agree with the trace; what TCP made of it; and the
//! bounds. Needs root and tshark; run it by `make test`.

mod fault_lab;
mod live_lab;
mod measure_lab;
mod run_lab;

use fault_lab::{Pair, RESET, pair, read_all};
use live_lab::{Ending, Family, LIMIT, Net, Raftq, Shape, await_more, now_us};
use measure_lab::await_nothing_held;
use raftq_harness::probe::{Probe, What};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

/// What tshark is asked for, in this order.
const FIELDS: [&str; 11] = [
    "frame.comment",
    "frame.interface_name",
    "frame.packet_flags_direction",
    "frame.packet_id",
    "tcp.seq_raw",
    "tcp.len",
    "tcp.analysis.retransmission",
    "tcp.flags.reset",
    "tcp.checksum.status",
    "udp.checksum.status",
    "frame.len",
];

/// A packet as tshark has it.
#[derive(Debug)]
struct Frame {
    comment: String,
    node: String,
    /// Whether raftq made it.
    own: bool,
    id: u64,
    seq: u32,
    tcp_len: u32,
    again: bool,
    rst: bool,
    /// tshark's words for a checksum: 0 is bad, 1 good.
    checksum: String,
    len: usize,
}

fn frames(path: &Path) -> Vec<Frame> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=f"]);
    for check in ["tcp", "udp"] {
        command.args(["-o", &format!("{check}.check_checksum:TRUE")]);
    }
    command.arg("-r").arg(path).args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.output();
    let output =
        output.expect("tshark reads it; where there is none, `make setup-dev` installs it");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text").lines().map(frame).collect()
}

fn frame(line: &str) -> Frame {
    let fields: Vec<&str> = line.split('|').collect();
    assert_eq!(fields.len(), FIELDS.len(), "{line}");
    let number = |i: usize| fields[i].parse::<u64>().unwrap_or_default();
    Frame {
        comment: fields[0].to_owned(),
        node: fields[1].to_owned(),
        own: fields[2].ends_with('2'),
        id: number(3),
        seq: number(4) as u32,
        tcp_len: number(5) as u32,
        again: !fields[6].is_empty(),
        rst: fields[7] == "1" || fields[7] == "True",
        checksum: [fields[8], fields[9]].concat(),
        len: number(10) as usize,
    }
}

/// The packets that came, and were disturbed by this rule.
fn by<'a>(frames: &'a [Frame], rule: &str) -> Vec<&'a Frame> {
    let words = format!("by \"{rule}\"");
    frames.iter().filter(|frame| !frame.own && frame.comment.contains(&words)).collect()
}

/// Nodes with stacks of their own, in both families.
fn everywhere(test: impl Fn(&Net, Family)) {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            test(&net, family);
        }
    }
}

/// A raftq that captures, and the folder of its files.
struct Capturing<'n> {
    raftq: Raftq<'n>,
    folder: tempfile::TempDir,
}

impl<'n> Capturing<'n> {
    fn attach(net: &'n Net, rules: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [pcap, trace] = ["wire.pcapng", "trace.jsonl"].map(|name| folder.path().join(name));
        let files = ["--json", "--pcap", pcap.to_str().expect("UTF-8")];
        let lines = ["--trace", trace.to_str().expect("UTF-8")];
        let raftq = Raftq::attach(net, rules, &[&files[..], &lines, args].concat());
        Self { raftq, folder }
    }

    fn end(self) -> (Ending, Vec<Frame>, Vec<Value>) {
        let ending = self.raftq.interrupt();
        let frames = frames(&self.folder.path().join("wire.pcapng"));
        let capture = &ending.json["capture"];
        assert_eq!(capture["packets"], frames.len(), "{ending}");
        assert_eq!((&capture["lost"], &capture["untold"]), (&0.into(), &0.into()), "{ending}");
        let text = fs::read_to_string(self.folder.path().join("trace.jsonl")).expect("a trace");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        (ending, frames, lines.collect())
    }
}

/// Says something many times, until all of it has arrived.
fn say(pair: &mut Pair, times: usize) {
    let mut heard = vec![0; 100];
    for _ in 0..times {
        pair.client.write_all(&[7; 100]).expect("it may");
        pair.server.read_exact(&mut heard).expect("it arrives");
    }
}

/// Datagrams from n1 to n2, all of which arrive.
fn datagrams(net: &Net, family: Family, count: usize) {
    let at = net.peer(1, family);
    let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
    let args = format!("--count {count} --every 2ms");
    let send = net.talk("send", ("udp", family), (0, 1), &args);
    send.finish(LIMIT).expect("it sends");
    await_more(&mut sink, What::Got, count, 0);
}

const THREE: &str = "seed: 5\nrules:\n  \
    - { name: end, from: n1, to: n2, where: { contains: STOP }, do: reset }\n  \
    - { name: lose, from: n1, to: n2, where: { proto: tcp, payload: \">0\", chance: 30% }, \
        do: drop }\n  \
    - { name: slow, from: n1, to: n2, where: { proto: udp }, do: { delay: 20ms } }\n";

/// One frame for each packet that a rule acted on, and three of a reset: the segment, and what both
/// ends are sent instead.
#[test]
fn every_disturbed_packet_is_there_and_names_its_rule() {
    everywhere(|net, family| {
        let capturing = Capturing::attach(net, THREE, &[]);
        let mut pair = pair(net, (0, 1), family);
        say(&mut pair, 20);
        datagrams(net, family, 50);
        pair.client.write_all(b"STOP").expect("it may");
        assert_eq!(read_all(&mut pair.server).1, Some(RESET));
        assert_eq!(read_all(&mut pair.client).1, Some(RESET));
        let (ending, frames, lines) = capturing.end();
        ending.must_be_clean(0);
        let what = format!("{:?} {family:?}\n{ending}\n{frames:#?}", net.shape);
        for rule in ["end", "lose", "slow"] {
            let acted = ending.of_rule(rule, "acted");
            assert!(acted > 0, "{rule}\n{what}");
            assert_eq!(by(&frames, rule).len() as u64, acted, "{rule}\n{what}");
        }
        assert!(frames.iter().all(|frame| frame.own || frame.node == "n2"), "{what}");
        delays_agree(&by(&frames, "slow"), &lines, &what);
        let ended = by(&frames, "end")[0];
        let own: Vec<&Frame> = frames.iter().filter(|frame| frame.own).collect();
        assert_eq!(own.iter().map(|f| f.node.as_str()).collect::<Vec<_>>(), ["n2", "n1"], "{what}");
        for rst in own {
            assert!(rst.rst && rst.id == ended.id && rst.checksum == "1", "{rst:?}\n{what}");
        }
    });
}

/// What the comments of held packets say is not less than what was asked for, and what the trace
/// says as well.
fn delays_agree(slow: &[&Frame], lines: &[Value], what: &str) {
    let mut came = HashMap::new();
    let mut took = HashMap::new();
    for line in lines {
        let (Some(queue), Some(id)) = (line["queue"].as_u64(), line["id"].as_u64()) else {
            continue;
        };
        let t = line["t"].as_f64().expect("a time") * 1e3;
        match came.remove(&(queue << 32 | id)) {
            None => drop(came.insert(queue << 32 | id, t)),
            Some(then) => drop(took.insert(queue << 32 | id, t - then)),
        }
    }
    for frame in slow {
        let told = frame.comment.split("held ").nth(1).and_then(|rest| rest.split(' ').next());
        let told: f64 = told.and_then(|ms| ms.parse().ok()).expect("how long it was held, in ms");
        assert!(told >= 20.0, "{frame:?}\n{what}");
        assert!((told - took[&frame.id]).abs() < 0.002, "{frame:?} {}\n{what}", took[&frame.id]);
    }
}

/// On a shared stack the first packet of each connection waits until its sender is known.
#[test]
fn a_packet_whose_sender_is_asked_for_names_its_rule_as_well() {
    for shape in [Shape::Ports, Shape::Addresses] {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let rules = "rules: [{ name: slow, from: n1, to: n2, do: { delay: 20ms } }]\n";
            let _server = net.serve(1, "udp", family);
            // They are there before raftq is, which knows their processes then.
            let ends = ("udp", family);
            let mut asker = net.talk("ask", ends, (0, 1), "--count 6000 --every 20ms");
            await_more(&mut asker, What::Answered, 1, 0);
            let capturing = Capturing::attach(&net, rules, &[]);
            await_more(&mut asker, What::Answered, 50, now_us());
            // What is held at the end leaves early.
            drop(asker);
            await_nothing_held(&capturing.raftq);
            let (ending, frames, lines) = capturing.end();
            let what = format!("{shape:?} {family:?}\n{ending}\n{frames:#?}");
            let slow = by(&frames, "slow");
            assert!(slow.len() >= 20, "{what}");
            assert_eq!(slow.len() as u64, ending.of_rule("slow", "acted"), "{what}");
            let waited = slow.iter().filter(|f| f.comment.contains("its sender being asked for"));
            // On a busy machine the answer may come after its time, and all before it pass.
            let too_late = ending.total("unattributed") > 0;
            assert!(waited.count() > 0 || too_late, "{what}");
            delays_agree(&slow, &lines, &what);
        }
    }
}

/// Every segment that was dropped comes again, and tshark knows it for what it is.
#[test]
fn what_was_dropped_is_seen_to_come_again() {
    let net = Net::new(Shape::Namespaces, 2);
    for &family in net.families() {
        let capturing = Capturing::attach(&net, THREE, &["--capture", "all"]);
        let mut pair = pair(&net, (0, 1), family);
        say(&mut pair, 30);
        datagrams(&net, family, 5);
        pair.client.write_all(b"STOP").expect("it may");
        assert_eq!(read_all(&mut pair.server).1, Some(RESET));
        let (ending, frames, lines) = capturing.end();
        let dropped = by(&frames, "lose");
        assert!(dropped.len() > 3, "{ending}");
        let again = |lost: &&&Frame| {
            let later = frames.iter().skip_while(|frame| !std::ptr::eq(*frame, **lost)).skip(1);
            let mut later = later.filter(|frame| frame.again && frame.node == lost.node);
            later.any(|frame| lost.seq.wrapping_sub(frame.seq) < frame.tcp_len)
        };
        assert_eq!(dropped.iter().filter(again).count(), dropped.len(), "{frames:#?}");
        // All of them: what the trace has, and what raftq sent itself.
        let own = frames.iter().filter(|frame| frame.own).count();
        let packets = lines.iter().filter(|line| line.get("len").is_some()).count();
        assert_eq!(frames.len(), packets + own, "{ending}");
    }
}

/// What is changed is there as it was delivered.
#[test]
fn changed_packets_are_there_as_they_went_on() {
    let rules = "seed: 5\nrules:\n  \
        - { name: wrong, from: n1, to: n2, where: { proto: udp, chance: 30% }, \
            do: [{ corrupt: {} }, { delay: 5ms }] }\n  \
        - { name: ack only, from: n1, to: n2, where: { proto: tcp, payload: \">0\", chance: 30% }, \
            do: { drop: { what: data } } }\n  \
        - { name: twice, from: n2, to: n1, where: { proto: tcp, payload: \">0\" }, \
            do: { duplicate: 100% } }\n";
    everywhere(|net, family| {
        let capturing = Capturing::attach(net, rules, &[]);
        let mut pair = pair(net, (0, 1), family);
        say(&mut pair, 20);
        pair.server.write_all(b"answer").expect("it may");
        pair.client.read_exact(&mut [0; 6]).expect("it arrives");
        let at = net.peer(1, family);
        let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
        let send = net.talk("send", ("udp", family), (0, 1), "--count 60 --every 2ms");
        send.finish(LIMIT).expect("it sends");
        await_more(&mut sink, What::Got, 20, 0);
        let (ending, frames, _) = capturing.end();
        ending.must_be_clean(0);
        let what = format!("{:?} {family:?}\n{ending}\n{frames:#?}", net.shape);
        for rule in ["wrong", "ack only", "twice"] {
            let acted = ending.of_rule(rule, "acted");
            assert!(acted > 0, "{rule}\n{what}");
            assert_eq!(by(&frames, rule).len() as u64, acted, "{rule}\n{what}");
        }
        let corrupted = |frame: &&&Frame| frame.comment.contains("then corrupted: bit");
        let wrong = by(&frames, "wrong");
        // A packet whose sender had to be asked for first goes on as it is.
        assert!(wrong.iter().filter(corrupted).count() + 1 >= wrong.len(), "{what}");
        assert!(wrong.iter().filter(corrupted).all(|frame| frame.checksum == "0"), "{what}");
        for trimmed in by(&frames, "ack only") {
            assert!(trimmed.len < 100 && trimmed.tcp_len == 0, "{trimmed:?}\n{what}");
            assert_eq!(trimmed.checksum, "1", "{trimmed:?}\n{what}");
        }
        let copies: Vec<&Frame> = frames.iter().filter(|frame| frame.own).collect();
        assert_eq!(copies.len() as u64, ending.total("injected"), "{what}");
        for copy in copies {
            assert!(copy.comment.contains("copy of \"twice\""), "{copy:?}\n{what}");
            assert_eq!((copy.tcp_len, copy.checksum.as_str()), (6, "1"), "{copy:?}\n{what}");
        }
    });
}

/// The file ends where it was told to, and everybody is told; nothing is undecided by that.
#[test]
fn a_file_that_is_full_is_told() {
    let net = Net::new(Shape::Namespaces, 2);
    let rules = "rules: [{ name: slow, from: n1, to: n2, do: { delay: 5ms } }]\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wire.pcapng");
    let pcap = path.to_str().expect("UTF-8");
    let args = ["--json", "--pcap", pcap, "--capture-max", "10kB"];
    let raftq = Raftq::attach(&net, rules, &args);
    datagrams(&net, Family::V4, 200);
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let size = fs::metadata(&path).expect("a file").len();
    assert!(size <= 10_000 && size > 9_000, "{size}");
    let frames = frames(&path);
    let capture = &ending.json["capture"];
    assert_eq!(capture["packets"], frames.len(), "{ending}");
    let left_out = capture["left_out"].as_u64().expect("a number");
    assert_eq!(frames.len() as u64 + left_out, 200, "{ending}");
    let words = format!("{left_out} later packets are not in the file of packets");
    let warnings = ending.json["warnings"].to_string();
    assert!(warnings.contains(&words) && warnings.contains("--capture-max"), "{ending}");
}

const SLOW_RUN: &str = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50 }
warm_up: 200ms
settle: 200ms
rules:
  - { name: slow, between: [leader, rest], do: { delay: 3ms }, for: 1s }
";

/// A run's folder has the file of its fault phase, unless nobody wants it.
#[test]
fn a_run_leaves_its_disturbed_packets() {
    let ran = run_lab::run_text(SLOW_RUN, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let network = &ran.summary()["network"];
    let frames = frames(&ran.out.join("wire.pcapng"));
    let slow = by(&frames, "slow").len() as u64;
    assert!(slow > 20, "{network}");
    assert!(Some(slow) <= network["rules"][0]["acted"].as_u64(), "{network}");
    assert_eq!(network["capture"]["packets"], frames.len(), "{network}");
    let ran = run_lab::run_text(SLOW_RUN, &["--capture", "none"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert!(!ran.out.join("wire.pcapng").exists());
}
