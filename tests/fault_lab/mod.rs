//! Ordinary sockets on nodes, and what the kernel counts of them: the witnesses of faults.
//!
//! Nothing here looks at packets: a fault is proved by what a program sees (bytes, errno) and by
//! the counters of `/proc/net/snmp` and `/proc/net/netstat` of the namespace.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::live_lab::{Family, LIMIT, Net, STEP};
use nix::libc;
use raftq_harness::clock::wait_for;
use raftq_harness::netns::Namespace;
use raftq_harness::probe::{Event, Probe, What};
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

/// What `connect`, `read` or `write` fails with.
pub const RESET: i32 = libc::ECONNRESET;
pub const REFUSED: i32 = libc::ECONNREFUSED;

/// A connection between two nodes, in two namespaces.
pub struct Pair {
    /// The end that dialled.
    pub client: TcpStream,
    pub server: TcpStream,
}

/// A node dials another one at its peer address.
pub fn pair(net: &Net, (from, to): (usize, usize), family: Family) -> Pair {
    let at = net.peer(to, family);
    let listener = net.node(to).inside(|| TcpListener::bind(at)).expect("inside");
    let listener = listener.expect("the port is free");
    pair_at(net, from, &listener)
}

/// The same, where somebody listens already.
pub fn pair_at(net: &Net, from: usize, listener: &TcpListener) -> Pair {
    let at = listener.local_addr().expect("bound");
    let client = net.node(from).inside(|| TcpStream::connect(at)).expect("inside");
    let client = client.expect("it listens");
    let (server, _) = listener.accept().expect("dialled");
    for end in [&client, &server] {
        end.set_nodelay(true).expect("it may");
        end.set_read_timeout(Some(LIMIT)).expect("it may");
        end.set_write_timeout(Some(LIMIT)).expect("it may");
    }
    Pair { client, server }
}

/// A socket on a node, at its peer address or another one.
pub fn udp(net: &Net, node: usize, at: SocketAddr) -> UdpSocket {
    let socket = net.node(node).inside(|| UdpSocket::bind(at)).expect("inside");
    let socket = socket.expect("the port is free");
    socket.set_read_timeout(Some(LIMIT)).expect("it may");
    socket
}

/// A free port at a node's address.
pub fn any_port(net: &Net, node: usize, family: Family) -> SocketAddr {
    SocketAddr::new(net.peer(node, family).ip(), 0)
}

/// Reads until there is an end: what came, and the error that ended it, if one did.
pub fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<i32>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    (bytes, errno(&end))
}

/// The error number of a call that failed.
pub fn errno<T>(result: &io::Result<T>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Whether nothing can be read yet.
pub fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("it may");
    let peeked = stream.peek(&mut [0; 1]).map_err(|e| e.kind());
    stream.set_nonblocking(false).expect("it may");
    peeked == Err(io::ErrorKind::WouldBlock)
}

/// A counter of the kernel's, such as `TcpEstabResets`, since the namespace is there.
pub fn counter(space: &Namespace, name: &str) -> u64 {
    let output = space.run("nstat", &["-asz", name]).expect("nstat counts");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// The same over the stacks of all nodes; a stack that they share counts once.
pub fn counters(net: &Net, nodes: usize, name: &str) -> u64 {
    let stacks = if net.shape.is_shared() { 1 } else { nodes };
    (0..stacks).map(|i| counter(net.node(i), name)).sum()
}

/// Waits until a probe was told such an error.
pub fn await_errno(probe: &mut Probe, errno: i32) -> Vec<Event> {
    let words = format!("(os error {errno})");
    let told = |event: &Event| {
        event.what == What::Failed && event.why.as_ref().is_some_and(|why| why.contains(&words))
    };
    // A probe that ended by the error has printed it.
    let events = wait_for(&words, LIMIT, STEP, || {
        let events = probe.events();
        events.iter().any(told).then_some(events)
    });
    events.unwrap_or_else(|e| panic!("{e}: {:#?}", probe.events()))
}
