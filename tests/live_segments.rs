//! A rule that needs single segments costs the other links nothing: bulk between namespaces, and
//! over a bridge, under a whole raftq. Needs root; run it by `make test`.

mod live_lab;

use live_lab::{Family, Net, Raftq, Shape};
use raftq_harness::netns::Namespace;
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

const BULK: usize = 8 << 20;
/// Rolls dice for every segment of one link, and does nothing.
const ROLL: &str = "rules:\n  \
    - { name: roll, from: n1, to: n2, where: { chance: 50% }, do: accept, optional: true }\n  \
    - { name: pass, between: [any, any], do: accept }\n";
const PASS: &str = "rules:\n  - { name: pass, between: [any, any], do: accept }\n";

/// Bytes go from one node to another; they must arrive as they are.
fn transfer(from: &Namespace, to: &Namespace, at: SocketAddr, len: usize) {
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

/// Nothing is sent again only because a busy machine answers late, and all that goes over a link
/// comes by one processor.
fn be_patient(net: &Net, nodes: usize) {
    for i in 0..nodes {
        let device = "echo 1 >/sys/class/net/eth0/queues/rx-0/rps_cpus";
        let script = format!(
            "{device}; sysctl -qw net.ipv4.tcp_early_retrans=0; \
             ip route change 10.77.0.0/24 dev eth0 src 10.77.0.{} rto_min 10s",
            i + 1
        );
        net.node(i).run("sh", &["-ec", &script]).expect("the route is there");
    }
    let ports = "for q in /sys/class/net/p*/queues/rx-0/rps_cpus; do echo 1 >$q; done";
    net.outside().run("sh", &["-ec", ports]).expect("ports are there");
}

/// Segments that came out of order, and those that were sent again, over all nodes.
fn disorder(net: &Net, nodes: usize) -> u64 {
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

/// The longest packet that was judged on the way to a node.
fn longest(trace: &str, to: &str) -> u64 {
    let lines = trace.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line"));
    let lens = lines.filter(|line| line["to"] == to).filter_map(|line| line["len"].as_u64());
    lens.max().expect("some packets")
}

#[test]
fn a_chance_on_one_link_leaves_the_others_their_speed() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 3);
        be_patient(&net, 3);
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("trace.jsonl");
        let args = ["--json", "--trace", trace.to_str().expect("UTF-8")];
        let mut raftq = Raftq::attach(&net, ROLL, &args);
        raftq.await_active("roll");
        std::thread::scope(|scope| {
            for (from, to) in [(0, 1), (1, 2)] {
                let at = net.peer(to, Family::V4);
                let net = &net;
                scope.spawn(move || transfer(net.node(from), net.node(to), at, BULK));
            }
        });
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert!(ending.of_rule("roll", "matched") as usize >= BULK / 1_460, "{ending}");
        assert_eq!(disorder(&net, 3), 0, "{shape:?}\n{ending}");
        let trace = fs::read_to_string(&trace).expect("it was written");
        assert_eq!(longest(&trace, "n2"), 1_500, "single segments where dice are rolled");
        assert!(longest(&trace, "n3") > 10_000, "packets stay whole where none are");
    }
}

#[test]
fn a_rule_that_is_switched_in_the_middle_of_a_transfer_reorders_nothing() {
    for shape in [Shape::Namespaces, Shape::Bridge] {
        let net = Net::new(shape, 3);
        be_patient(&net, 3);
        let mut raftq = Raftq::attach(&net, PASS, &["--json"]);
        let mut changes = 0;
        std::thread::scope(|scope| {
            let bulk = scope.spawn(|| {
                transfer(net.node(0), net.node(1), net.peer(1, Family::V4), BULK * 16);
            });
            while !bulk.is_finished() {
                raftq.reload(if changes % 2 == 0 { ROLL } else { PASS });
                changes += 1;
            }
        });
        raftq.reload(ROLL);
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert!(changes >= 4, "{changes} changes in the middle of it are few");
        assert_eq!(disorder(&net, 3), 0, "{shape:?}\n{ending}");
    }
}
