//! A loopback of its own with rules that queue, sockets on it, and packets told apart.
//!
//! Packets are queued in mangle INPUT, so a datagram that is sent is in its queue before
//! the sending call returns, and one that is let go is at its receiver before the verdict's
//! call returns: nothing here has to wait for UDP.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use nix::sys::socket::{setsockopt, sockopt};
use raftq::kernel::clock;
use raftq::kernel::losses::{LossReader, Losses};
use raftq::kernel::poll::{self, Poller};
use raftq::kernel::queue::{Answer, Packet, PacketQueue};
use raftq::packet::PacketView;
use raftq::time::Nanos;
use raftq_harness::netns::Stack;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};

/// The queue that the tests bind.
pub const QUEUE: u16 = 4242;

/// No datagram has arrived.
pub const NONE: [u32; 0] = [];

/// Longer than anything here takes on a busy machine.
pub const LIMIT: Nanos = Nanos::from_secs(20);

/// A namespace with loopback, gone when this is.
pub struct Lab(Stack);

impl Lab {
    pub fn new() -> Self {
        Self(Stack::new("rqqueue").expect("run as root, e.g. `sudo make test`"))
    }

    /// Runs `f` on a thread inside; sockets that it makes stay inside.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.0.namespace().inside(f).expect("the namespace is there")
    }

    /// Runs a shell command inside and gives what it printed.
    pub fn run(&self, command: &str) -> String {
        let output = self.0.namespace().run("sh", &["-ec", command]).expect("the command works");
        String::from_utf8(output.stdout).expect("commands print text")
    }

    /// Queues what matches, of both families.
    pub fn queue(&self, what: &str, number: u16) {
        for tables in ["iptables-nft", "ip6tables-nft"] {
            self.queue_by(tables, what, number);
        }
    }

    /// Queues what matches, of one family.
    pub fn queue_by(&self, tables: &str, what: &str, number: u16) {
        let target = format!("-j NFQUEUE --queue-num {number} --queue-bypass");
        self.run(&format!("{tables} -w -t mangle -A INPUT {what} {target}"));
    }

    /// A socket that never blocks and holds thousands of datagrams.
    pub fn udp(&self, addr: &str) -> UdpSocket {
        let socket = self.inside(|| UdpSocket::bind(addr)).expect("the port is free");
        socket.set_nonblocking(true).expect("sockets can be");
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("root may");
        setsockopt(&socket, sockopt::SndBufForce, &(64 << 20)).expect("root may");
        socket
    }

    /// A connection: the dialling end and the other. Needs a queue without a reader.
    pub fn tcp(&self, addr: &str) -> (TcpStream, TcpStream) {
        self.inside(|| {
            let listener = TcpListener::bind(addr).expect("the port is free");
            let client = TcpStream::connect(addr).expect("nobody reads the queue");
            let (server, _) = listener.accept().expect("connected");
            server.set_nonblocking(true).expect("sockets can be");
            (client, server)
        })
    }

    /// Bytes that the connected sockets with that local port have not been acknowledged.
    pub fn unacknowledged(&self, port: u16) -> u64 {
        let list = self.run(&format!("ss -Htn 'sport = :{port}'"));
        let column = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
        list.lines().map(|line| column(line).expect("Send-Q is a number")).sum()
    }

    /// Makes loopback carry what Ethernet does, so that bulk is cut up; and TCP patient: on a busy
    /// machine an acknowledgement may come late, and nothing is sent again for that alone. All
    /// packets come by one processor: whoever sends from two is reordered by loopback itself.
    pub fn be_ethernet(&self) {
        self.run("ip link set lo mtu 1500; sysctl -qw net.ipv4.tcp_early_retrans=0");
        self.run("echo 1 >/sys/class/net/lo/queues/rx-0/rps_cpus");
        for to in ["127.0.0.0/8", "127.0.0.1"] {
            let route = format!("local {to} dev lo src 127.0.0.1 table local rto_min 10s");
            self.run(&format!("ip route change {route}"));
        }
    }

    /// What TCP here has counted: segments out of order, and those that were sent again.
    pub fn disorder(&self) -> [u64; 2] {
        let text = self.run("nstat -asz TcpExtTCPOFOQueue TcpRetransSegs");
        ["TcpExtTCPOFOQueue", "TcpRetransSegs"].map(|name| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        })
    }

    /// What the kernel counts of a queue here, read from outside.
    pub fn losses(&self, number: u16) -> Losses {
        let reader = self.inside(|| LossReader::open(number)).expect("the module is loaded");
        reader.read().expect("/proc can be read")
    }
}

/// Sends datagrams with these numbers, each of `len` bytes.
pub fn send(from: &UdpSocket, to: &str, numbers: impl Iterator<Item = u32>, len: usize) {
    for number in numbers {
        let mut payload = vec![number as u8; len.max(4)];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        from.send_to(&payload, to).expect("the buffer is large");
    }
}

/// The numbers of the datagrams that have arrived; their payload must be as it was sent.
pub fn arrived(at: &UdpSocket) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(payload) = next(at) {
        let number = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
        assert!(payload[4..].iter().all(|b| *b == number as u8), "datagram {number} was changed");
        numbers.push(number);
    }
    numbers
}

/// The next datagram, if one has arrived.
pub fn next(at: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    match at.recv(&mut buffer) {
        Ok(len) => Some(buffer[..len].to_vec()),
        Err(e) if e.kind() == ErrorKind::WouldBlock => None,
        Err(e) => panic!("receiving: {e}"),
    }
}

/// The packet's headers.
pub fn view(packet: &Packet<'_>) -> PacketView {
    PacketView::parse(packet.bytes, packet.len, 0).expect("only TCP and UDP are queued")
}

/// The number of a datagram.
pub fn number(packet: &Packet<'_>) -> u32 {
    let at = usize::from(view(packet).header_len);
    u32::from_be_bytes(packet.bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Takes in everything that waits; answers are handed over.
pub fn take_all<Q: PacketQueue>(
    queue: &mut Q,
    mut each: impl FnMut(&Packet<'_>) -> Answer<'static>,
) {
    while queue.receive(&mut each).expect("receiving works") > 0 {
        queue.flush().expect("sending works");
    }
}

/// Answers packets until `done`; fails the test where that takes too long.
pub fn pump<Q: PacketQueue>(
    queue: &mut Q,
    what: &str,
    mut each: impl FnMut(&Packet<'_>) -> Answer<'static>,
    mut done: impl FnMut() -> bool,
) {
    let mut poller = Poller::new().expect("polling works");
    poller.add(queue.fd()).expect("polling works");
    let limit = clock::now() + LIMIT;
    while !done() {
        assert!(clock::now() < limit, "it took too long until {what}");
        poller.wait(Nanos::from_millis(5)).expect("polling works");
        queue.receive(&mut each).expect("receiving works");
        queue.flush().expect("sending works");
    }
}

/// Waits for a condition that no queue has part in.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = clock::now() + LIMIT;
    while !done() {
        assert!(clock::now() < limit, "it took too long until {what}");
        poll::pause(Nanos::from_millis(2));
    }
}
