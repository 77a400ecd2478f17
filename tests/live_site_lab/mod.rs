//! A small laboratory for tests of the host side: namespaces that delete themselves, a
//! bridge, packets sent and counted, firewalls compared.
//!
//! Everything happens in namespaces made here; the machine's own is never touched.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use raftq::kernel::clock;
use raftq::kernel::iptables::Flavour;
use raftq::kernel::netns::NetNs;
use raftq::kernel::topology::Family;
use raftq::packet::Endpoint;
use raftq::rules::table::{Node, Place};
use raftq::time::Nanos;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub const FLAVOURS: [Flavour; 2] = [Flavour::Nft, Flavour::Legacy];

/// Fails the test where it cannot work, saying how to run it.
pub fn need_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network namespaces: run it as root, e.g. `sudo -E make test`"
    );
}

/// A namespace of its own; deleted when it goes.
pub struct Lab {
    pub name: String,
    pub ns: NetNs,
}

impl Lab {
    pub fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        need_root();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rqsite-{}-{n}-{what}", std::process::id());
        run(&format!("ip netns add {name}"));
        run(&format!("ip -n {name} link set lo up"));
        let ns = NetNs::named(&name).expect("it was just made");
        Self { name, ns }
    }

    /// Runs a command inside and gives its output; fails the test when it fails.
    pub fn run(&self, command: &str) -> String {
        self.ns.enter(|| run(command)).expect("entering")
    }

    /// Feeds a restore of this flavour.
    pub fn restore(&self, flavour: Flavour, family: Family, text: &str) {
        let tables = tables(family);
        self.run(&format!("printf '{text}' | {tables}-{flavour}-restore --noflush"));
    }

    /// The whole firewall as text that compares: no comments, no counters, and no tables
    /// of the legacy flavour in which there is nothing but its default chains.
    pub fn firewall(&self) -> String {
        let mut all = Vec::new();
        for family in [Family::V4, Family::V6] {
            for flavour in FLAVOURS {
                let save = self.run(&format!("{}-{flavour}-save 2>/dev/null", tables(family)));
                let save = without_counters(&save);
                all.extend(match flavour {
                    Flavour::Nft => save,
                    Flavour::Legacy => without_empty_tables(&save),
                });
            }
        }
        // By family: the order between families tells only which table came first, and both
        // of ours are made at once.
        let families = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];
        all.extend(families.map(|family| self.run(&format!("nft list ruleset {family}"))));
        all.join("\n")
    }

    /// How often the queue rules of `chain` were hit, both flavours and families together.
    pub fn queued(&self, chain: &str) -> u64 {
        let mut sum = 0;
        for family in [Family::V4, Family::V6] {
            for flavour in FLAVOURS {
                let save = self.run(&format!("{}-{flavour}-save -c 2>/dev/null", tables(family)));
                let ours = save.lines().filter(|l| l.contains(chain) && l.contains("NFQUEUE"));
                sum += ours.map(packets).sum::<u64>();
            }
        }
        sum
    }

    /// A UDP socket bound inside. A port that was just closed stays taken for an instant
    /// where another test's child, between fork and exec, still has the socket.
    pub fn udp(&self, addr: &str) -> UdpSocket {
        let mut bound = None;
        until("the port is free", || {
            let socket = self.ns.enter(|| UdpSocket::bind(addr)).expect("entering");
            match socket {
                Err(e) if e.kind() == ErrorKind::AddrInUse => {}
                other => bound = Some(other.unwrap_or_else(|e| panic!("bind {addr}: {e}"))),
            }
            bound.is_some()
        });
        bound.expect("waited for")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A hub namespace with a bridge, and one namespace a node with `eth0` on it. Addresses are
/// those of real set-ups, `10.77.0.i` and `fd77::i`, the hub's own end in 254.
pub struct Star {
    pub hub: Lab,
    pub nodes: Vec<Lab>,
}

impl Star {
    pub fn new(count: usize) -> Self {
        let hub = Lab::new("hub");
        hub.run("ip link add br0 type bridge && ip link set br0 up");
        hub.run("ip addr add 10.77.0.254/24 dev br0 && ip addr add fd77::fe/64 dev br0 nodad");
        let join = |i: usize| {
            let node = Lab::new(&format!("n{i}"));
            let (h, n) = (&hub.name, &node.name);
            run(&format!("ip -n {h} link add p{i} type veth peer name eth0 netns {n}"));
            run(&format!("ip -n {h} link set p{i} master br0 up"));
            run(&format!("ip -n {n} addr add 10.77.0.{i}/24 dev eth0"));
            run(&format!("ip -n {n} addr add fd77::{i}/64 dev eth0 nodad"));
            run(&format!("ip -n {n} link set eth0 up"));
            node
        };
        let nodes: Vec<Lab> = (1..=count).map(join).collect();
        let star = Self { hub, nodes };
        star.wait_until_connected();
        star
    }

    /// Neighbours are found and the bridge forwards: each pair has exchanged a packet.
    fn wait_until_connected(&self) {
        for family in [Family::V4, Family::V6] {
            for from in 1..=self.nodes.len() {
                for to in (1..=self.nodes.len()).filter(|to| *to != from) {
                    let a = self.nodes[from - 1].udp(&at(family, from, 9));
                    let b = self.nodes[to - 1].udp(&at(family, to, 9));
                    until("two nodes of the star reach each other", || {
                        let _ = a.send_to(b"x", b.local_addr().expect("bound"));
                        receive(&b, 20).is_some()
                    });
                }
            }
        }
    }
}

/// `10.77.0.i:port` or `[fd77::i]:port`.
pub fn at(family: Family, i: usize, port: u16) -> String {
    match family {
        Family::V4 => format!("10.77.0.{i}:{port}"),
        Family::V6 => format!("[fd77::{i}]:{port}"),
    }
}

/// A node as a rule file would give it.
pub fn node(name: &str, endpoints: &[&str], place: Place) -> Node {
    let endpoint = |text: &&str| Endpoint::new(text.parse().expect("an endpoint"));
    Node { name: name.into(), endpoints: endpoints.iter().map(endpoint).collect(), place }
}

/// Sends `count` datagrams one by one, each of which must arrive.
pub fn send(from: &UdpSocket, to: &UdpSocket, count: u32) {
    let addr = to.local_addr().expect("bound");
    send_to(from, to, addr, count);
}

/// Likewise, to another address of the receiver.
pub fn send_to(from: &UdpSocket, to: &UdpSocket, addr: SocketAddr, count: u32) {
    for _ in 0..count {
        from.send_to(b"datagram", addr).expect("sent");
        assert!(receive(to, 2000).is_some(), "a datagram to {addr} did not arrive");
    }
}

/// The next datagram's sender, within some milliseconds.
pub fn receive(socket: &UdpSocket, limit_ms: u16) -> Option<SocketAddr> {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::from(limit_ms)).expect("poll");
    (ready > 0).then(|| socket.recv_from(&mut [0; 64]).expect("a datagram is there").1)
}

/// Asks again and again until it is so; fails the test after ten seconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = clock::now() + Nanos::from_secs(10);
    while !holds() {
        assert!(clock::now() < limit, "waited ten seconds: {what}");
        poll(&mut [], PollTimeout::from(5u8)).expect("poll");
    }
}

/// Runs a shell command and gives its output; fails the test when it fails.
pub fn run(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .output()
        .expect("sh can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {} {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn tables(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// An address without its port.
pub fn ip(endpoint: &str) -> IpAddr {
    endpoint.parse::<SocketAddr>().expect("an endpoint").ip()
}

fn packets(line: &str) -> u64 {
    let count = line.strip_prefix('[').and_then(|rest| rest.split(':').next());
    count.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no counter in {line}"))
}

fn without_counters(save: &str) -> Vec<String> {
    let lines = save.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or(line).to_owned()).collect()
}

fn without_empty_tables(lines: &[String]) -> Vec<String> {
    let tables = lines.split_inclusive(|line| line == "COMMIT");
    let used = |table: &&[String]| table.iter().any(|l| l.starts_with("-A") || l.ends_with('-'));
    tables.filter(used).flatten().cloned().collect()
}
