//! Packets of raftq's own reach a node as if they came by the network, in every shape of cluster
//! and both families, and are not queued again. Needs root; run it by `make test`.
//!
//! The queues here are bound, and read only where a test says so: what was queued by mistake would
//! stay where it is. Filters of foreign sources are as strict as they can be.

mod live_lab;

use live_lab::{Family, LIMIT, Net, STEP, Shape};
use raftq::kernel::chains::Spec;
use raftq::kernel::inject::{Injected, Injectors};
use raftq::kernel::iptables::{self, Flavour};
use raftq::kernel::nfqueue::NfQueue;
use raftq::kernel::queue::{Answer, Packet, PacketQueue, QueueOptions};
use raftq::kernel::topology::{self, Plan};
use raftq::packet::{PacketView, Proto, tcp_flags};
use raftq::rules;
use raftq_harness::clock::wait_for;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

const QUEUE: u16 = 4242;

/// A cluster of two nodes whose packets are queued, and ways to inject.
struct Lab<'n> {
    net: &'n Net,
    family: Family,
    queues: Vec<NfQueue>,
    injectors: Injectors,
}

/// A packet as it was queued.
struct Seen {
    bytes: Vec<u8>,
    view: PacketView,
}

impl<'n> Lab<'n> {
    fn new(net: &'n Net, family: Family) -> Self {
        for i in 0..2 {
            let strict = "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.lo.rp_filter=1 \
                          net.ipv4.conf.all.accept_local=0";
            net.node(i).run("sh", &["-ec", strict]).expect("sysctl");
        }
        let text = format!("{}rules: []\n", net.cluster());
        let table = rules::compile("test.yaml", &text, &[]).expect("a table").table;
        let plan = || topology::plan(&table.nodes).expect("a plan");
        let plan: Plan = match net.inside() {
            Some(space) => space.inside(plan).expect("inside"),
            None => plan(),
        };
        let mut queues = Vec::new();
        for site in &plan.sites {
            let options = QueueOptions::of_segments(QUEUE);
            let queue = site.ns.enter(|| NfQueue::open(options)).expect("inside");
            let mut queue = queue.expect("nobody else is bound here");
            queue.tell_neighbours(true);
            queues.push(queue);
            let spec = Spec { site, nodes: &table.nodes, chain: "RAFTQ-inject", queue: QUEUE };
            let rules = iptables::prepare(&spec, Flavour::Nft).expect("rules can be made");
            iptables::install_all(&rules).expect("they can be put in");
        }
        let injectors = Injectors::open(&table.nodes, &plan).expect("root may");
        assert_eq!(injectors.learns(), net.shape == Shape::Bridge);
        Self { net, family, queues, injectors }
    }

    /// Where node 0 talks from: on addresses of its own a stack has more of them than nodes.
    fn from(&self) -> SocketAddr {
        match self.net.shape {
            Shape::Addresses => "127.0.0.77:0".parse().expect("an address"),
            _ => SocketAddr::new(self.net.peer(0, self.family).ip(), 0),
        }
    }

    fn udp(&self, node: usize, at: SocketAddr) -> UdpSocket {
        let socket = self.net.node(node).inside(|| UdpSocket::bind(at)).expect("inside");
        let socket = socket.expect("the port is free");
        socket.set_nonblocking(true).expect("sockets can be");
        socket
    }

    /// Answers what comes until one packet is as wanted, which is answered so.
    fn take(
        &mut self,
        what: &str,
        wanted: impl Fn(&PacketView) -> bool,
        answer: Answer<'static>,
    ) -> Seen {
        let Self { queues, injectors, .. } = self;
        let taken = wait_for(what, LIMIT, STEP, || {
            let mut taken = None;
            for queue in &mut *queues {
                let each = |packet: &Packet<'_>| {
                    let view = PacketView::parse(packet.bytes, packet.len, 0).expect("TCP or UDP");
                    if let Some(from) = packet.from {
                        injectors.learn(view.src.addr, from);
                    }
                    if taken.is_none() && wanted(&view) {
                        taken = Some(Seen { bytes: packet.bytes.to_vec(), view });
                        return answer;
                    }
                    Answer::Accept
                };
                queue.receive(each).expect("receiving works");
                queue.flush().expect("sending works");
            }
            taken
        });
        taken.unwrap_or_else(|e| panic!("{:?} {:?}: {e}", self.net.shape, self.family))
    }

    /// Behind a bridge nobody is found before something was heard of them.
    fn hear_of(&mut self, node: usize) {
        if !self.injectors.learns() {
            return;
        }
        let at = self.net.peer(node, self.family);
        let socket = self.udp(node, SocketAddr::new(at.ip(), 0));
        let port = socket.local_addr().expect("bound").port();
        socket.send_to(b"here I am", self.net.peer(1 - node, self.family)).expect("sent");
        self.take("it is heard of", |view| view.src.port == port, Answer::Drop);
    }
}

/// The Internet checksum.
fn sum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0u32;
    for pair in parts.concat().chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// A whole packet; the checksum of its transport is written at `sum_at`.
fn packet(from: IpAddr, to: IpAddr, proto: u8, mut body: Vec<u8>, sum_at: usize) -> Vec<u8> {
    let (src, dst) = (octets(from), octets(to));
    let len = (body.len() as u16).to_be_bytes();
    // ICMP of IPv4 has no pseudo header.
    let pseudo = [&src[..], &dst, &[0, 0], &len, &[0, proto]].concat();
    let pseudo: &[u8] = if proto == 1 { &[] } else { &pseudo };
    let total = sum(&[pseudo, &body]);
    body[sum_at..sum_at + 2].copy_from_slice(&total);
    let mut ip = if from.is_ipv4() {
        let all = (body.len() as u16 + 20).to_be_bytes();
        let mut ip = vec![0x45, 0, all[0], all[1], 0, 7, 0x40, 0, 64, proto, 0, 0];
        ip.extend([src, dst].concat());
        let total = sum(&[&ip]);
        ip[10..12].copy_from_slice(&total);
        ip
    } else {
        let mut ip = vec![0x60, 0, 0, 0, len[0], len[1], proto, 64];
        ip.extend([src, dst].concat());
        ip
    };
    ip.extend(body);
    ip
}

/// A RST that the receiver of a segment would send.
fn rst(seen: &Seen) -> Vec<u8> {
    let PacketView { src, dst, header_len, .. } = seen.view;
    let (src, dst) = (src.socket_addr(), dst.socket_addr());
    let ip_len = if src.is_ipv4() { 20 } else { 40 };
    assert!(usize::from(header_len) > ip_len);
    let acknowledged = &seen.bytes[ip_len + 8..ip_len + 12];
    let mut tcp = [dst.port().to_be_bytes(), src.port().to_be_bytes()].concat();
    tcp.extend(acknowledged);
    tcp.extend([0, 0, 0, 0, 5 << 4, tcp_flags::RST, 0, 0, 0, 0, 0, 0]);
    packet(dst.ip(), src.ip(), 6, tcp, 16)
}

/// "Port unreachable", as the receiver of a packet would send it.
fn unreachable(seen: &Seen) -> Vec<u8> {
    let (src, dst) = (seen.view.src.socket_addr().ip(), seen.view.dst.socket_addr().ip());
    let (proto, kind, code) = if src.is_ipv4() { (1, 3, 3) } else { (58, 1, 4) };
    let mut icmp = vec![kind, code, 0, 0, 0, 0, 0, 0];
    icmp.extend(&seen.bytes[..usize::from(seen.view.header_len)]);
    packet(dst, src, proto, icmp, 2)
}

/// Every shape and family.
fn everywhere(test: impl Fn(&mut Lab<'_>)) {
    for shape in Shape::ALL {
        let net = Net::new(shape, 2);
        for &family in net.families() {
            let mut lab = Lab::new(&net, family);
            test(&mut lab);
            let failed = lab.injectors.counts().failed;
            let not_heard_of = u64::from(shape == Shape::Bridge);
            assert!(failed <= not_heard_of, "{shape:?} {family:?}: {failed} failed");
            // The next family has rules and queues of its own.
            drop(lab);
            for i in 0..2 {
                let clear = "iptables-nft -t mangle -F; ip6tables-nft -t mangle -F; \
                             iptables-nft -t mangle -X; ip6tables-nft -t mangle -X";
                for space in [net.node(i), net.outside()] {
                    space.run("sh", &["-ec", clear]).expect("flushed");
                }
            }
        }
    }
}

#[test]
fn a_datagram_arrives_twice() {
    everywhere(|lab| {
        let at = lab.net.peer(1, lab.family);
        let (from, to) = (lab.udp(0, lab.from()), lab.udp(1, at));
        from.send_to(b"twice", at).expect("sent");
        let seen = lab.take("it is queued", |view| view.dst.port == at.port(), Answer::Accept);
        assert_eq!(seen.view.proto, Proto::Udp);
        if lab.net.shape == Shape::Bridge {
            let early = lab.injectors.send(&seen.bytes).map_err(|e| e.kind());
            assert_eq!(early, Err(ErrorKind::NotFound), "nothing was heard of n2");
            assert_eq!(lab.injectors.counts(), Injected { sent: 0, failed: 1 });
        }
        lab.hear_of(1);
        lab.injectors.send(&seen.bytes).expect("sent");
        let mut arrived = Vec::new();
        let twice = wait_for("both to arrive", LIMIT, STEP, || {
            let mut bytes = [0; 100];
            while let Ok((len, by)) = to.recv_from(&mut bytes) {
                arrived.push((bytes[..len].to_vec(), by));
            }
            (arrived.len() >= 2).then_some(())
        });
        let shape = (lab.net.shape, lab.family);
        twice.unwrap_or_else(|e| panic!("{shape:?}: {e}; arrived: {arrived:?}"));
        let by = from.local_addr().expect("bound");
        assert_eq!(arrived, vec![(b"twice".to_vec(), by); 2], "{shape:?}");
    });
}

#[test]
fn a_reset_ends_a_connection_at_its_senders_side() {
    everywhere(|lab| {
        let at = lab.net.peer(1, lab.family);
        let listener = lab.net.node(1).inside(|| TcpListener::bind(at)).expect("inside");
        let listener = listener.expect("the port is free");
        let (net, from) = (lab.net, lab.from());
        std::thread::scope(|scope| {
            let dialled = scope.spawn(|| dial(net, from, at).expect("accepted"));
            let syn = |view: &PacketView| view.is_dial();
            lab.take("a SYN", syn, Answer::Accept);
            let answered = |v: &PacketView| v.src.port == at.port() || v.payload_len() == 0;
            lab.take("an answer", answered, Answer::Accept);
            let mut client = dialled.join().expect("dialled");
            client.write_all(b"hello").expect("written");
            let data = |view: &PacketView| view.payload_len() == 5;
            let seen = lab.take("data", data, Answer::Drop);
            lab.injectors.send(&rst(&seen)).expect("sent");
            client.set_read_timeout(Some(LIMIT)).expect("it may");
            let read = client.read(&mut [0; 9]).map_err(|e| e.kind());
            assert_eq!(read, Err(ErrorKind::ConnectionReset), "{:?} {:?}", net.shape, lab.family);
        });
        drop(listener);
    });
}

fn dial(net: &Net, from: SocketAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;
    let inside = || {
        let domain = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(domain, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(TcpStream::from(socket))
    };
    net.node(0).inside(inside).expect("inside")
}

#[test]
fn an_unreachable_port_refuses_datagrams() {
    everywhere(|lab| {
        let at = lab.net.peer(1, lab.family);
        let from = lab.udp(0, lab.from());
        from.connect(at).expect("it may");
        from.send(b"hello").expect("sent");
        let seen = lab.take("it is queued", |view| view.dst.port == at.port(), Answer::Drop);
        lab.injectors.send(&unreachable(&seen)).expect("sent");
        let refused = wait_for("it is refused", LIMIT, STEP, || {
            let got = from.recv(&mut [0; 9]).map_err(|e| e.kind());
            (got != Err(ErrorKind::WouldBlock)).then_some(got)
        });
        let shape = (lab.net.shape, lab.family);
        assert_eq!(refused.expect("told"), Err(ErrorKind::ConnectionRefused), "{shape:?}");
    });
}

#[test]
fn an_unreachable_port_refuses_connections() {
    everywhere(|lab| {
        let at = lab.net.peer(1, lab.family);
        let (net, from) = (lab.net, lab.from());
        let dialled = std::thread::scope(|scope| {
            let dialled = scope.spawn(|| dial(net, from, at).map(drop).map_err(|e| e.kind()));
            let seen = lab.take("a SYN", PacketView::is_dial, Answer::Drop);
            lab.injectors.send(&unreachable(&seen)).expect("sent");
            dialled.join().expect("it ends")
        });
        let shape = (lab.net.shape, lab.family);
        assert_eq!(dialled, Err(ErrorKind::ConnectionRefused), "{shape:?}");
    });
}
