//! Bulk between nodes, and how to tell whether TCP saw it out of order.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use crate::live_lab::Net;
use raftq_harness::netns::Namespace;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Bytes go from one node to another; they must arrive as they are.
pub fn transfer(from: &Namespace, to: &Namespace, at: SocketAddr, len: usize) {
    let listener = to.inside(|| TcpListener::bind(at)).expect("inside").expect("the port is free");
    let sent: Vec<u8> = (0..len).map(|i| (i / 777) as u8).collect();
    let (listener, sent) = (&listener, &sent);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stream = from.inside(|| TcpStream::connect(at)).expect("inside");
            stream.expect("it listens").write_all(sent).expect("written");
        });
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("dialled");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).expect("it ends");
            assert!(read == *sent, "{} bytes arrived, and not as they were sent", read.len());
        });
        server.join().expect("it read what was sent");
    });
}

/// All that goes over a link comes by one processor, which keeps it in order.
pub fn one_processor(net: &Net, nodes: usize) {
    for i in 0..nodes {
        let device = "echo 1 >/sys/class/net/eth0/queues/rx-0/rps_cpus";
        net.node(i).run("sh", &["-ec", device]).expect("the device is there");
    }
    let ports = "for q in /sys/class/net/p*/queues/rx-0/rps_cpus; do echo 1 >$q; done";
    net.outside().run("sh", &["-ec", ports]).expect("ports are there");
}

/// The same, and nothing is sent again only because a busy machine answers late.
pub fn be_patient(net: &Net, nodes: usize) {
    one_processor(net, nodes);
    for i in 0..nodes {
        let script = format!(
            "sysctl -qw net.ipv4.tcp_early_retrans=0; \
             ip route change 10.77.0.0/24 dev eth0 src 10.77.0.{} rto_min 10s",
            i + 1
        );
        net.node(i).run("sh", &["-ec", &script]).expect("the route is there");
    }
}

/// Segments that came out of order, and those that were sent again, over all nodes.
pub fn disorder(net: &Net, nodes: usize) -> u64 {
    let count = |i: usize| {
        let args = ["-asz", "TcpExtTCPOFOQueue", "TcpRetransSegs"];
        let output = net.node(i).run("nstat", &args).expect("nstat counts");
        let text = String::from_utf8(output.stdout).expect("text");
        let lines = text.lines().filter(|line| line.starts_with("Tcp"));
        lines
            .map(|l| l.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()))
            .map(|n| n.expect("a number"))
            .sum::<u64>()
    };
    (0..nodes).map(count).sum()
}
