//! Every peer packet is queued exactly once, in every shape, and nothing else is: raftq's own
//! sums against datagrams whose number is known, and against counting rules of our own.
//! Needs root; run it by `make test`.

mod live_lab;

use live_lab::{Family, LIMIT, NOTHING, Net, Raftq, STEP, Shape, await_more, now_us};
use raftq_harness::clock::wait_for;
use raftq_harness::netns::Namespace;
use raftq_harness::probe::{Probe, What};
use std::net::SocketAddr;

/// Datagrams from n1 to n2, some from n2 to n3, and some that are no peer's.
fn datagrams(shape: Shape, args: &[&str]) {
    let net = Net::new(shape, 3);
    let raftq = Raftq::attach(&net, NOTHING, &[args, &["--json"]].concat());
    let families = net.families();
    for family in families {
        let sink = |i: usize| {
            let at = net.peer(i, *family);
            Probe::listen(net.node(i), "sink", "udp", at).expect("it listens")
        };
        let mut sinks = [sink(1), sink(2)];
        let away = SocketAddr::new(net.peer(1, *family).ip(), 9_999);
        let mut other = Probe::listen(net.node(1), "sink", "udp", away).expect("it listens");
        let send = |to: SocketAddr, more: &str| {
            let to = to.to_string();
            let mut args = vec!["send", "udp", &to, "--every", "1ms", "--linger", "1ms"];
            args.extend(more.split_whitespace());
            Probe::start(net.node(0), &args).expect("it starts").finish(LIMIT).expect("it sends");
        };
        // On a loopback a sender that owns no peer port is nobody, and is counted as such.
        let own = net.peer(0, *family);
        let known_as = if shape.is_shared() { format!(" --as {own}") } else { String::new() };
        send(net.peer(1, *family), &format!("--count 200{known_as}"));
        send(net.peer(2, *family), &format!("--count 70{known_as}"));
        send(away, "--count 50");
        await_more(&mut sinks[0], What::Got, 200, 0);
        await_more(&mut sinks[1], What::Got, 70, 0);
        await_more(&mut other, What::Got, 50, 0);
    }
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let times = families.len() as u64;
    assert_eq!(ending.total("packets"), 270 * times, "{shape:?}\n{ending}");
    assert_eq!(ending.link("n1", "n2", "packets"), 200 * times, "{ending}");
    assert_eq!(ending.link("n1", "n3", "packets"), 70 * times, "{ending}");
    assert_eq!(ending.total("foreign"), 0, "{ending}");
    // It says what it found, and where it took hold.
    let hook = if shape == Shape::Bridge { "mangle FORWARD" } else { "mangle INPUT" };
    let said = ending.json["topology"].as_str().expect("a sentence");
    assert!(said.contains(hook), "{said}");
    assert_eq!(said.contains("socket owner"), shape.is_shared(), "{said}");
}

/// Whole connections, large segments included, against counters at the very entrance of the
/// receivers' stacks.
fn connections(shape: Shape, args: &[&str]) {
    let net = Net::new(shape, 2);
    let spaces: Vec<&Namespace> =
        if shape.is_shared() { vec![net.node(0)] } else { vec![net.node(0), net.node(1)] };
    let all = [("iptables", Family::V4), ("ip6tables", Family::V6)];
    let programs: Vec<&str> =
        all.iter().filter(|(_, f)| net.families().contains(f)).map(|(p, _)| *p).collect();
    for space in &spaces {
        for program in &programs {
            let count = ["-t", "raw", "-A", "PREROUTING", "-p", "tcp"];
            space.run(program, &count).expect("a counting rule");
        }
    }
    let _servers: Vec<Probe> = net.families().iter().map(|f| net.serve(1, "tcp", *f)).collect();
    let raftq = Raftq::attach(&net, NOTHING, &[args, &["--json"]].concat());
    for family in net.families() {
        for size in [64, 20_000] {
            let args = format!("--count 50 --every 1ms --size {size}");
            let asker = net.talk("ask", ("tcp", *family), (0, 1), &args);
            asker.finish(LIMIT).expect("all is answered");
        }
    }
    // The last acknowledgement of a connection ends its server's side.
    wait_for("the connections' ends", LIMIT, STEP, || {
        spaces.iter().all(|space| open_connections(space) == 0).then_some(())
    })
    .expect("they end");
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    let counted: u64 = spaces
        .iter()
        .flat_map(|space| programs.iter().map(|program| counted(space, program)))
        .sum();
    assert!(counted > 200 * net.families().len() as u64, "{counted}");
    assert_eq!(ending.total("packets"), counted, "{shape:?}\n{ending}");
}

/// Connections that may still send something.
fn open_connections(space: &Namespace) -> usize {
    let output = space.run("ss", &["-Htan"]).expect("ss of iproute2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|l| !l.starts_with("LISTEN") && !l.starts_with("TIME-WAIT")).count()
}

fn counted(space: &Namespace, program: &str) -> u64 {
    let output = space.run(&format!("{program}-save"), &["-c", "-t", "raw"]).expect("a save");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("-A PREROUTING -p tcp"));
    let number = line.and_then(|line| line.strip_prefix('[')?.split(':').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no counter in {text}"))
}

/// From the host a node is found by a process of it, or by its addresses alone; these are our
/// own, because raftq rightly refuses to choose where two namespaces have the same.
#[test]
fn a_node_is_found_by_pid_or_by_address() {
    let net = Net::new(Shape::Namespaces, 2);
    let ip = |i: usize| format!("fd78:{:x}::{}", std::process::id() & 0xffff, i + 1);
    let mut sinks = [0, 1].map(|i| {
        let own = format!("{}/64", ip(i));
        let add = ["addr", "add", &own, "dev", "eth0", "nodad"];
        net.node(i).run("ip", &add).expect("an address");
        let at = format!("[{}]:7000", ip(i)).parse().expect("an address");
        Probe::listen(net.node(i), "sink", "udp", at).expect("it listens")
    });
    let node = |i: usize, pid: &dyn Fn(usize) -> String| {
        format!("    n{}: {{ at: \"[{}]:7000\"{} }}\n", i + 1, ip(i), pid(i))
    };
    let pids = sinks.each_mut().map(|sink| sink.process().pid());
    for place in [&|i: usize| format!(", pid: {}", pids[i]), &|_| String::new()]
        as [&dyn Fn(usize) -> String; 2]
    {
        let cluster = format!("cluster:\n  nodes:\n{}{}", node(0, place), node(1, place));
        let watched = vec![net.node(0), net.node(1), net.outside()];
        let mut raftq = Raftq::start_with(&cluster, watched, None, NOTHING, &["--json"]);
        raftq.await_line("attached to ");
        let from_us = now_us();
        let to = format!("[{}]:7000", ip(1));
        let send = ["send", "udp", &to, "--count", "60", "--every", "1ms"];
        let sender = Probe::start(net.node(0), &send).expect("it starts");
        sender.finish(LIMIT).expect("it sends");
        await_more(&mut sinks[1], What::Got, 60, from_us);
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        assert_eq!(ending.total("packets"), 60, "{ending}");
        assert_eq!(ending.link("n1", "n2", "packets"), 60, "{ending}");
    }
}

#[test]
fn every_datagram_is_queued_once_in_every_shape() {
    for shape in Shape::ALL {
        datagrams(shape, &[]);
    }
}

#[test]
fn every_datagram_is_queued_once_by_the_nfq_crate() {
    for shape in [Shape::Namespaces, Shape::Ports] {
        datagrams(shape, &["--queue", "nfq"]);
    }
}

#[test]
fn every_datagram_is_queued_once_by_legacy_iptables() {
    for shape in [Shape::Namespaces, Shape::Ports] {
        datagrams(shape, &["--iptables", "legacy"]);
    }
}

#[test]
fn every_packet_of_a_connection_is_queued_once_in_every_shape() {
    for shape in Shape::ALL {
        connections(shape, &[]);
    }
}

#[test]
fn every_packet_of_a_connection_is_queued_once_by_the_nfq_crate() {
    for shape in [Shape::Namespaces, Shape::Ports] {
        connections(shape, &["--queue", "nfq"]);
    }
}
