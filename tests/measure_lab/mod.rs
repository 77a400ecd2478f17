//! Measuring what a network does to ordinary sockets: bulk over TCP, numbered datagrams over UDP,
//! and what the kernel of a namespace counts of them.
//!
//! Everything runs in this process, on threads inside the namespaces; on one shared loopback that
//! would be one node, so there the sender is a probe (`live_shared.rs`). It judges nothing.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::live_lab::{Family, LIMIT, Net, Raftq, STEP};
use raftq::kernel::caller::{Question, ask};
use raftq::time::Nanos;
use raftq_harness::clock::{now, pause, wait_for};
use raftq_harness::netns::Namespace;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a kernel counts in a namespace, named as `nstat` names it.
#[derive(Debug)]
pub struct Stats(HashMap<String, u64>);

impl Stats {
    pub fn of(space: &Namespace) -> Self {
        let read = || {
            ["netstat", "snmp", "snmp6"].map(|name| {
                fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("procfs")
            })
        };
        let [netstat, snmp, snmp6] = space.inside(read).expect("inside");
        let mut all = HashMap::new();
        for text in [netstat, snmp] {
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.chunks(2) {
                let [names, values] = pair else { panic!("names without values: {pair:?}") };
                let prefix = names.split(':').next().expect("a prefix");
                let both = names.split_whitespace().zip(values.split_whitespace()).skip(1);
                // Some limits are negative.
                let counts = both.filter_map(|(name, n)| Some((name, n.parse().ok()?)));
                all.extend(counts.map(|(name, n)| (format!("{prefix}{name}"), n)));
            }
        }
        let lines = snmp6.lines().filter_map(|line| line.split_once(char::is_whitespace));
        all.extend(lines.filter_map(|(name, n)| Some((name.to_owned(), n.trim().parse().ok()?))));
        Self(all)
    }

    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("this kernel does not count {name}"))
    }
}

/// A counter of a node now.
pub fn count(net: &Net, node: usize, name: &str) -> u64 {
    Stats::of(net.node(node)).get(name)
}

/// Nothing is sent again only because a busy machine answers late, and all that goes over a link
/// comes by one processor, so that only the rules of a test reorder it.
pub fn be_patient(net: &Net, nodes: usize) {
    for i in 0..nodes {
        let script = format!(
            "echo 1 >/sys/class/net/eth0/queues/rx-0/rps_cpus; \
             sysctl -qw net.ipv4.tcp_early_retrans=0; \
             ip route change 10.77.0.0/24 dev eth0 src 10.77.0.{} rto_min 10s; \
             ip -6 route change fd77::/64 dev eth0 metric 256 rto_min 10s",
            i + 1
        );
        net.node(i).run("sh", &["-ec", &script]).expect("the routes are there");
    }
    let ports = "for q in /sys/class/net/p*/queues/rx-0/rps_cpus; do echo 1 >$q; done";
    net.outside().run("sh", &["-ec", ports]).expect("ports are there");
}

/// Waits until a raftq holds nothing any more: whatever was to leave later has left at its time.
pub fn await_nothing_held(raftq: &Raftq<'_>) {
    await_answer(raftq, "/v1/status", "held", |held| held == 0);
}

/// Waits until a rule has matched so many segments.
pub fn await_matched(raftq: &Raftq<'_>, rule: &str, count: u32) {
    let target = format!("/v1/rules/{rule}");
    await_answer(raftq, &target, "matched", |matched| matched >= u64::from(count));
}

fn await_answer(raftq: &Raftq<'_>, target: &str, field: &str, enough: impl Fn(u64) -> bool) {
    let files = fs::read_dir(raftq.file("run")).expect("its folder").flatten();
    let mut paths = files.map(|file| file.path());
    let socket = paths.find(|path| path.extension().is_some_and(|e| e == "sock"));
    let socket = socket.expect("a control socket");
    let question = Question { method: "GET", target, body: None };
    let mut last = None;
    let found = wait_for(&format!("{field} of {target}"), LIMIT, STEP, || {
        let (status, body) = ask(&socket, &question, Nanos::from_secs(8)).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).expect("a document");
        last = answer[field].as_u64();
        last.filter(|n| enough(*n))
    });
    found.unwrap_or_else(|e| panic!("{e}: it was {last:?} last"));
}

/// Bytes at whose places any other bytes show.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// A transfer as its receiver saw it.
pub struct Moved {
    sent: Vec<u8>,
    pub bytes: Vec<u8>,
    /// From its first bytes to its last ones.
    pub took: Duration,
    /// How many of the bytes came behind the first ones.
    pub meanwhile: usize,
    /// The smallest round trip that its sender has measured.
    pub min_rtt: Duration,
}

impl Moved {
    /// Payload bits a second.
    pub fn rate(&self) -> f64 {
        self.meanwhile as f64 * 8.0 / self.took.as_secs_f64()
    }

    /// Where it is not as it was sent.
    pub fn changes(&self) -> Vec<(usize, u8)> {
        let pairs = self.bytes.iter().zip(&self.sent).enumerate();
        pairs.filter(|(_, (got, sent))| got != sent).map(|(i, (got, s))| (i, got ^ s)).collect()
    }

    /// Fails the test unless all of it came as it was sent.
    pub fn must_be_intact(&self, len: usize) {
        assert_eq!(self.bytes.len(), len);
        assert!(self.bytes == self.sent, "bytes were changed");
    }
}

/// A [`pattern`] goes from one node to another by TCP.
pub fn transfer(net: &Net, ends: (usize, usize), family: Family, len: usize) -> Moved {
    transfers(net, ends, family, len, 1).pop().expect("one")
}

/// The same on so many connections at once.
pub fn transfers(
    net: &Net,
    (from, to): (usize, usize),
    family: Family,
    len: usize,
    connections: usize,
) -> Vec<Moved> {
    let at = net.peer(to, family);
    let listener = net.node(to).inside(|| TcpListener::bind(at)).expect("inside");
    let (listener, sent) = (listener.expect("the port is free"), &pattern(len));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let stream = net.node(from).inside(|| TcpStream::connect(at)).expect("inside");
                    let mut stream = stream.expect("it listens");
                    stream.write_all(sent).expect("written");
                    // The answer says that all of it has been read; the connection is still there
                    // to be asked about.
                    stream.read_exact(&mut [0; 1]).expect("it is not reset");
                    min_rtt(net.node(from), stream.local_addr().expect("bound"))
                })
            })
            .collect();
        let receivers: Vec<_> = (0..connections)
            .map(|_| {
                let (mut stream, _) = listener.accept().expect("dialled");
                scope.spawn(move || {
                    let moved = receive(&mut stream, len);
                    stream.write_all(b".").expect("written");
                    moved
                })
            })
            .collect();
        let rtts: Vec<_> = senders.into_iter().map(|s| s.join().expect("it sent")).collect();
        let moved = receivers.into_iter().map(|r| r.join().expect("it read"));
        moved.zip(rtts).map(|(m, min_rtt)| Moved { sent: sent.clone(), min_rtt, ..m }).collect()
    })
}

/// Reads so much.
pub fn receive(stream: &mut TcpStream, len: usize) -> Moved {
    let (mut bytes, mut chunk) = (Vec::with_capacity(len), vec![0; 1 << 18]);
    let mut span = None;
    while bytes.len() < len {
        let got = stream.read(&mut chunk).expect("it is not reset");
        assert_ne!(got, 0, "it ended after {} bytes", bytes.len());
        bytes.extend(&chunk[..got]);
        let (first, _, early) = span.unwrap_or((now(), now(), got));
        span = Some((first, now(), early));
    }
    let (first, last, early) = span.expect("something came");
    let meanwhile = bytes.len() - early;
    let took = last.saturating_sub(first);
    Moved { sent: Vec::new(), bytes, took, meanwhile, min_rtt: Duration::ZERO }
}

/// What TCP itself has measured on the socket with this address.
fn min_rtt(space: &Namespace, local: SocketAddr) -> Duration {
    let port = format!("sport = :{}", local.port());
    let output = space.run("ss", &["-Htin", &port]).expect("ss");
    let text = String::from_utf8(output.stdout).expect("text");
    let (_, rest) = text.split_once("minrtt:").unwrap_or_else(|| panic!("no minrtt in {text:?}"));
    let ms = rest.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    Duration::from_secs_f64(ms.unwrap_or_else(|| panic!("no time in {rest:?}")) / 1e3)
}

/// Where datagrams of tests come from; markers come from elsewhere, so that rules can tell them.
pub const FROM: u16 = 5_001;

/// The number of a marker.
const MARKER: u32 = u32::MAX;

/// A datagram as it arrived.
#[derive(Clone, Debug)]
pub struct Got {
    pub number: u32,
    pub at: Duration,
    pub bytes: Vec<u8>,
}

/// Takes datagrams in, with the time of each.
pub struct Sink {
    at: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sink {
    pub fn open(net: &Net, node: usize, family: Family) -> Self {
        let at = net.peer(node, family);
        let socket = net.node(node).inside(|| UdpSocket::bind(at)).expect("inside");
        let socket = socket.expect("the port is free");
        // As root its size is not limited, and none of a test's datagrams is lost here.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(64 << 20))
            .expect("root may");
        socket.set_read_timeout(Some(STEP)).expect("it may");
        let (got, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, end) = (Arc::clone(&got), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            loop {
                // Asked before reading: what had come by then is taken in.
                let over = end.load(Ordering::Acquire);
                match socket.recv(&mut bytes) {
                    Ok(len) => into.lock().expect("nobody panics here").push(Got {
                        number: bytes.first_chunk().map_or(0, |b| u32::from_be_bytes(*b)),
                        at: now(),
                        bytes: bytes[..len].to_vec(),
                    }),
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        if over {
                            return;
                        }
                    }
                    Err(e) => panic!("a sink that cannot read: {e}"),
                }
            }
        });
        Self { at, got, ends, thread }
    }

    /// All that has arrived, in that order, markers aside.
    pub fn got(&self) -> Vec<Got> {
        let all = self.got.lock().expect("nobody panics there");
        all.iter().filter(|got| got.number != MARKER).cloned().collect()
    }

    /// Waits until so many have arrived.
    pub fn await_count(&self, count: usize) -> Vec<Got> {
        let all = wait_for(&format!("{count} datagrams"), LIMIT, STEP, || {
            let all = self.got();
            (all.len() >= count).then_some(all)
        });
        all.unwrap_or_else(|e| panic!("{e}: {} came", self.got().len()))
    }

    /// Waits until something has come that was sent behind all the rest, and that no rule is about.
    pub fn await_marker(&self, net: &Net, from: usize) {
        let socket = sender(net, from, SocketAddr::new(ip(net, from, self.at), 0));
        let marker = wait_for("a marker", LIMIT, STEP, || {
            socket.send_to(&MARKER.to_be_bytes(), self.at).expect("sent");
            let all = self.got.lock().expect("nobody panics there");
            all.iter().any(|got| got.number == MARKER).then_some(())
        });
        marker.expect("markers arrive");
    }

    /// Takes in what has arrived by now, and ends.
    pub fn end(self) -> Vec<Got> {
        let Self { got, ends, thread, .. } = self;
        ends.store(true, Ordering::Release);
        thread.join().expect("it could read");
        let all = got.lock().expect("nobody panics there");
        all.iter().filter(|got| got.number != MARKER).cloned().collect()
    }
}

/// One datagram to a node that takes it from nobody else's port, so that its sender was heard of.
pub fn greet(net: &Net, (from, to): (usize, usize), family: Family) {
    let sink = Sink::open(net, to, family);
    sink.await_marker(net, from);
    drop(sink.end());
}

fn ip(net: &Net, node: usize, like: SocketAddr) -> std::net::IpAddr {
    let family = if like.is_ipv4() { Family::V4 } else { Family::V6 };
    net.peer(node, family).ip()
}

fn sender(net: &Net, node: usize, at: SocketAddr) -> UdpSocket {
    let socket = net.node(node).inside(|| UdpSocket::bind(at)).expect("inside");
    socket.expect("the port is free")
}

/// Sends numbered datagrams of `size` bytes, 4 at least, and says when each was sent.
pub fn send(
    net: &Net,
    (from, to): (usize, usize),
    family: Family,
    (count, every, size): (u32, Duration, usize),
) -> Vec<Duration> {
    let at = net.peer(to, family);
    let socket = sender(net, from, SocketAddr::new(net.peer(from, family).ip(), FROM));
    let mut bytes = pattern(size);
    let start = now();
    (0..count)
        .map(|n| {
            let due = start + every * n;
            let early = due.saturating_sub(now());
            if early >= Duration::from_millis(2) {
                pause(early.saturating_sub(Duration::from_millis(1)));
            }
            while now() < due {
                std::hint::spin_loop();
            }
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let sent = now();
            socket.send_to(&bytes, at).expect("sent");
            sent
        })
        .collect()
}

/// The numbers, as they arrived.
pub fn numbers(all: &[Got]) -> Vec<u32> {
    all.iter().map(|got| got.number).collect()
}
