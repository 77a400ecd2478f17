//! Who holds a socket, asked of the real kernel about real processes.
//!
//! Each test has a network namespace of its own, which ends with its thread, and children of
//! its own (`child.rs`) that it kills. Needs root and fails without it.

mod child;

use child::{Role, end};
use raftq::kernel::clock;
use raftq::kernel::owners::{NodeSet, Owner, Owners, State};
use raftq::packet::{Endpoint, NodeId, Proto};
use raftq::time::Nanos;
use std::path::{Path, PathBuf};
use std::process::Command;

const N1: NodeId = NodeId(0);
const N2: NodeId = NodeId(1);
const N3: NodeId = NodeId(2);
const P1: &str = "127.0.0.1:2380";
const P2: &str = "127.0.0.1:2480";

#[test]
#[ignore = "the child that the other tests start; it obeys its standard input"]
fn role_of_a_child() {
    child::play();
}

/// Runs a test in a new network namespace whose loopback is up.
fn in_namespace<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    assert!(nix::unistd::geteuid().is_root(), "needs root: run `sudo make test`");
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("CAP_SYS_ADMIN");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success(), "`ip link set lo up` failed");
        test()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Owners of nodes 0, 1, 2... with one endpoint each.
fn owners(addrs: &[&str]) -> Owners {
    let nodes = addrs.iter().enumerate().map(|(i, addr)| (NodeId(i as u16), vec![end(addr)]));
    Owners::open(nodes.collect()).unwrap()
}

fn tcp(owners: &mut Owners, local: Endpoint, remote: Endpoint) -> Owner {
    owners.owner(Proto::Tcp, local, remote).unwrap()
}

fn listening(addr: &str) -> Role {
    let mut role = Role::spawn();
    role.listen(addr, 16);
    role
}

/// Two nodes that listen on `listen` and are known by `known`; the second dials `to`.
fn second_dials_first(listen: [&str; 2], known: [&str; 2], to: &str) {
    let mut n1 = listening(listen[0]);
    let mut n2 = listening(listen[1]);
    let mut owners = owners(&known);
    let found = owners.refresh().unwrap();
    assert!(found.is_complete(), "{found:?}");
    assert_eq!(found.nodes, [(N1, vec![n1.pid()]), (N2, vec![n2.pid()])]);
    let (_, local) = n2.dial(to);
    let remote = end(to);
    assert_eq!(tcp(&mut owners, local, remote), Owner::Node(N2));
    assert_eq!(tcp(&mut owners, remote, local), Owner::Node(N1), "in the accept queue");
    assert_eq!(n1.accept(0), local);
    assert_eq!(tcp(&mut owners, remote, local), Owner::Node(N1), "accepted");
    assert_eq!(tcp(&mut owners, local, remote), Owner::Node(N2), "remembered");
}

#[test]
fn a_dialler_is_found_on_ipv4() {
    in_namespace(|| second_dials_first([P1, P2], [P1, P2], P1));
}

#[test]
fn a_dialler_is_found_on_ipv6() {
    let ends = ["[::1]:2380", "[::1]:2480"];
    in_namespace(move || second_dials_first(ends, ends, ends[0]));
}

#[test]
fn a_dual_stack_listener_is_known_by_its_ipv4_address() {
    in_namespace(|| second_dials_first(["[::]:2380", "[::]:2480"], [P1, P2], P1));
}

#[test]
fn a_dual_stack_listener_is_known_by_its_ipv6_address() {
    let known = ["[::1]:2380", "[::1]:2480"];
    in_namespace(move || second_dials_first(["[::]:2380", "[::]:2480"], known, known[0]));
}

#[test]
fn a_dual_stack_dialler_of_a_mapped_address_is_found() {
    in_namespace(|| {
        second_dials_first(["[::]:2380", "[::]:2480"], [P1, P2], "[::ffff:127.0.0.1]:2380");
    });
}

#[test]
fn a_wildcard_listener_of_ipv4_counts_for_every_address() {
    in_namespace(|| second_dials_first(["0.0.0.0:2380", "0.0.0.0:2480"], [P1, P2], P1));
}

#[test]
fn nodes_on_two_addresses_and_one_port_are_told_apart() {
    let ends = ["127.0.0.2:2380", "127.0.0.1:2380"];
    in_namespace(move || second_dials_first(ends, ends, ends[0]));
}

#[test]
fn a_listener_of_the_address_takes_it_from_a_wildcard() {
    // The first listens on every address; the endpoint of the second is a closer one.
    in_namespace(|| {
        let (n1, n2) = (listening("[::]:2380"), listening("127.0.0.2:2380"));
        let found = owners(&["127.0.0.1:2380", "127.0.0.2:2380"]).refresh().unwrap();
        assert_eq!(found.nodes, [(N1, vec![n1.pid()]), (N2, vec![n2.pid()])]);
    });
}

#[test]
fn a_dialler_whose_syn_nobody_answers_is_found() {
    in_namespace(|| {
        let mut n1 = Role::spawn();
        n1.listen(P1, 0);
        let mut n2 = listening(P2);
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        // The first fills the accept queue; the SYN of the second is dropped by the kernel.
        n2.dial(P1);
        let (_, local) = n2.dial(P1);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N2));
        let connections = owners.connections().unwrap();
        let opening = connections.iter().find(|c| c.a == local).unwrap();
        assert_eq!(opening.state, State::Opening);
        assert_eq!((opening.a_node, opening.b_node), (Some(N2), Some(N1)));
    });
}

#[test]
fn a_dialler_bound_to_a_device_is_found() {
    in_namespace(|| {
        let (_n1, mut n2) = (listening(P1), listening(P2));
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        let local = n2.dial_on(P1, "lo");
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N2));
    });
}

#[test]
fn a_stranger_is_no_node_each_time() {
    in_namespace(|| {
        let (_n1, _n2, mut client) = (listening(P1), listening(P2), Role::spawn());
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        for _ in 0..3 {
            let (_, local) = client.dial(P1);
            assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Stranger);
        }
    });
}

#[test]
fn a_stranger_that_begins_to_listen_becomes_a_node() {
    in_namespace(|| {
        let (_n1, mut n2) = (listening(P1), Role::spawn());
        let mut owners = owners(&[P1, P2]);
        assert_eq!(owners.refresh().unwrap().missing, NodeSet::from_iter([N2]));
        let (_, early) = n2.dial(P1);
        assert_eq!(tcp(&mut owners, early, end(P1)), Owner::Stranger);
        n2.listen(P2, 16);
        assert_eq!(tcp(&mut owners, early, end(P1)), Owner::Node(N2));
        let (_, late) = n2.dial(P1);
        assert_eq!(tcp(&mut owners, late, end(P1)), Owner::Node(N2));
    });
}

#[test]
fn a_closed_socket_is_an_orphan() {
    in_namespace(|| {
        let (mut n1, mut n2) = (listening(P1), listening(P2));
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        let (number, local) = n2.dial(P1);
        n1.accept(0);
        // The other side keeps it open: FIN_WAIT2, and no process has it.
        n2.close(number);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Orphan);
        let connections = owners.connections().unwrap();
        assert_eq!(connections.len(), 1, "{connections:?}");
        assert_eq!((connections[0].a, connections[0].b), (local, end(P1)));
        assert_eq!((connections[0].a_node, connections[0].b_node), (None, Some(N1)));
        assert_eq!(connections[0].state, State::Closing);
    });
}

#[test]
fn a_socket_that_never_was_is_gone() {
    in_namespace(|| {
        let (_n1, _n2) = (listening(P1), listening(P2));
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        assert_eq!(tcp(&mut owners, end("127.0.0.1:9"), end(P1)), Owner::Gone);
        // The kernel's lookup would name the listener here.
        assert_eq!(tcp(&mut owners, end(P1), end("127.0.0.1:9")), Owner::Gone);
        assert_eq!(owners.owner(Proto::Udp, end(P1), end(P2)).unwrap(), Owner::Gone);
    });
}

#[test]
fn a_restart_with_a_new_pid_is_noticed() {
    in_namespace(|| {
        let (mut n1, mut n2) = (listening(P1), listening(P2));
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        for _ in 0..3 {
            let (_, local) = n2.dial(P1);
            assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N2));
            drop(n2);
            assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Orphan);
            n2 = listening(P2);
        }
        drop(n1);
        n1 = listening(P1);
        let (_, local) = n1.dial(P2);
        assert_eq!(tcp(&mut owners, local, end(P2)), Owner::Node(N1));
    });
}

#[test]
fn a_fork_that_inherits_the_listener_is_the_node() {
    in_namespace(|| {
        let (mut n1, n2) = (listening(P1), listening(P2));
        let heir = n1.share(0);
        let mut owners = owners(&[P1, P2]);
        let found = owners.refresh().unwrap();
        let mut pids = vec![n1.pid(), heir.0];
        pids.sort_unstable();
        assert_eq!(found.nodes, [(N1, pids), (N2, vec![n2.pid()])]);
        drop(n1);
        let found = owners.refresh().unwrap();
        assert_eq!(found.nodes[0], (N1, vec![heir.0]));
    });
}

#[test]
fn one_process_for_two_nodes_is_ambiguous() {
    in_namespace(|| {
        let mut both = listening(P1);
        let mut owners = owners(&[P1, P2, "127.0.0.1:2580"]);
        owners.refresh().unwrap();
        let (_, local) = both.dial(P1);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N1));
        // What was known of the process is wrong from here on, without a refresh.
        both.listen(P2, 16);
        let two = NodeSet::from_iter([N1, N2]);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Ambiguous(two));
        let n3 = listening("127.0.0.1:2580");
        let found = owners.refresh().unwrap();
        assert_eq!(found.ambiguous, two);
        assert_eq!(found.nodes[2], (N3, vec![n3.pid()]));
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Ambiguous(two));
        both.accept(0);
        assert_eq!(tcp(&mut owners, end(P1), local), Owner::Node(N1), "told by the port");
    });
}

#[test]
fn a_supervisor_that_holds_all_ports_leaves_the_nodes_apart() {
    in_namespace(|| {
        let mut supervisor = listening(P1);
        let _n1 = supervisor.share(0);
        supervisor.listen(P2, 16);
        let found = owners(&[P1, P2]).refresh().unwrap();
        // The first has a process of its own, the second only the supervisor.
        assert_eq!(found.ambiguous, NodeSet::from_iter([N2]));
    });
}

#[test]
fn connections_older_than_the_attach_are_all_known() {
    in_namespace(|| {
        let (mut n1, mut n2, mut client) = (listening(P1), listening("[::]:2480"), Role::spawn());
        let mut expected = vec![
            (n2.dial(P1).1, end(P1), Some(N2), Some(N1)),
            (n1.dial(P2).1, end(P2), Some(N1), Some(N2)),
            (client.dial(P2).1, end(P2), None, Some(N2)),
            (n1.dial("[::1]:2480").1, end("[::1]:2480"), Some(N1), None),
        ];
        n1.accept(0);
        let connections = owners(&[P1, P2]).connections().unwrap();
        assert!(connections.iter().all(|c| c.state == State::Open), "{connections:?}");
        let mut known: Vec<_> =
            connections.iter().map(|c| (c.a, c.b, c.a_node, c.b_node)).collect();
        // The last is at no endpoint of a node, so neither end is the dialled one.
        for c in &mut known {
            if c.0 == end("[::1]:2480") {
                *c = (c.1, c.0, c.3, c.2);
            }
        }
        known.sort_unstable();
        expected.sort_unstable();
        assert_eq!(known, expected);
    });
}

#[test]
fn udp_senders_are_found_connected_or_not() {
    in_namespace(|| {
        let (mut n1, mut n2, mut client) = (Role::spawn(), Role::spawn(), Role::spawn());
        n1.udp(P1);
        n2.udp("[::]:2480");
        let mut owners = owners(&[P1, P2]);
        assert!(owners.refresh().unwrap().is_complete());
        let mut udp = |local, remote| owners.owner(Proto::Udp, local, remote).unwrap();
        assert_eq!(udp(end(P1), end(P2)), Owner::Node(N1), "bound to its address");
        assert_eq!(udp(end(P2), end(P1)), Owner::Node(N2), "bound to both wildcards");
        let (_, free) = n2.udp("127.0.0.1:0");
        assert_eq!(udp(free, end(P1)), Owner::Node(N2), "not connected");
        let (number, _) = n2.udp("0.0.0.0:0");
        let local = n2.connect(number, P1);
        assert_eq!(udp(local, end(P1)), Owner::Node(N2), "connected");
        assert_eq!(udp(local, end(P2)), Owner::Gone, "connected to another");
        let (_, local) = client.udp("127.0.0.1:0");
        assert_eq!(udp(local, end(P1)), Owner::Stranger);
        let (number, local) = n1.udp("[::1]:0");
        assert_eq!(udp(local, end("[::1]:2480")), Owner::Node(N1), "IPv6");
        n1.close(number);
        assert_eq!(udp(local, end("[::1]:2480")), Owner::Gone);
    });
}

#[test]
fn a_udp_port_that_two_processes_share_is_ambiguous() {
    in_namespace(|| {
        let (mut n1, mut n2, mut client) = (listening(P1), listening(P2), Role::spawn());
        let mut owners = owners(&[P1, P2]);
        owners.refresh().unwrap();
        let (_, local) = n1.udp("127.0.0.1:7000");
        assert_eq!(owners.owner(Proto::Udp, local, end(P2)).unwrap(), Owner::Node(N1));
        client.udp("127.0.0.1:7000");
        let one = Owner::Ambiguous(NodeSet::from_iter([N1]));
        assert_eq!(owners.owner(Proto::Udp, local, end(P2)).unwrap(), one);
        n2.udp("127.0.0.1:7000");
        let two = Owner::Ambiguous(NodeSet::from_iter([N1, N2]));
        assert_eq!(owners.owner(Proto::Udp, local, end(P2)).unwrap(), two);
    });
}

/// A cgroup v2 of the test's own; it goes when its processes are reaped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let target = fields.next()?;
            (fields.next()? == "cgroup2").then(|| target.to_owned())
        });
        let mount = mount.expect("needs cgroup v2 mounted: `mount -t cgroup2 none /mnt`");
        let path = Path::new(&mount).join(format!("rqowners-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("needs a writable cgroup v2: run outside a container");
        Self(path)
    }

    fn enter(&self, role: &Role) {
        std::fs::write(self.0.join("cgroup.procs"), role.pid().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[test]
fn nodes_with_cgroups_of_their_own_are_known_by_them() {
    in_namespace(|| {
        let (first, second) = (Cgroup::new("n1"), Cgroup::new("n2"));
        let (mut n1, mut n2) = (Role::spawn(), Role::spawn());
        let mut client = Role::spawn();
        first.enter(&n1);
        second.enter(&n2);
        n1.listen(P1, 16);
        n2.listen(P2, 16);
        let mut owners = owners(&[P1, P2]);
        assert_eq!(owners.refresh().unwrap().by_cgroup, NodeSet::from_iter([N1, N2]));
        let (_, local) = n2.dial(P1);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N2));
        measure("owner, by cgroup", || tcp(&mut owners, local, end(P1)));
        // A stranger in the same cgroup makes it nobody's own from that moment.
        second.enter(&client);
        let (_, local) = client.dial(P1);
        assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Stranger);
        assert_eq!(owners.refresh().unwrap().by_cgroup, NodeSet::from_iter([N1]));
    });
}

#[test]
fn without_the_privilege_to_look_the_error_says_so() {
    in_namespace(|| {
        let _n1 = listening(P1);
        let mut weak = Role::spawn_by(&["setpriv", "--bounding-set=-sys_ptrace"]);
        let outcome = weak.survey(P1);
        assert!(outcome.starts_with("PermissionDenied"), "{outcome}");
        assert!(outcome.contains(P1) && outcome.contains("CAP_SYS_PTRACE"), "{outcome}");
    });
}

#[test]
fn a_dialler_that_may_not_be_looked_at_is_no_stranger() {
    in_namespace(|| {
        let mut weak = Role::spawn_by(&["setpriv", "--bounding-set=-sys_ptrace"]);
        weak.listen(P1, 16);
        let (_, own) = weak.dial(P1);
        assert_eq!(weak.ask(P1, own, end(P1)), Owner::Node(N1).to_string());
        let mut client = Role::spawn();
        let (_, foreign) = client.dial(P1);
        assert_eq!(weak.ask(P1, foreign, end(P1)), Owner::Unseen.to_string());
    });
}

#[test]
fn what_was_opened_in_a_namespace_is_asked_from_outside() {
    let (mut owners, _n1, mut n2) = in_namespace(|| {
        let (n1, n2) = (listening(P1), listening(P2));
        (owners(&[P1, P2]), n1, n2)
    });
    assert!(owners.refresh().unwrap().is_complete());
    let (_, local) = n2.dial(P1);
    assert_eq!(tcp(&mut owners, local, end(P1)), Owner::Node(N2));
}

#[test]
fn two_nodes_at_one_endpoint_are_refused() {
    let nodes = vec![(N1, vec![end(P1)]), (N2, vec![end(P1)])];
    assert!(Owners::open(nodes).is_err());
}

/// Prints what the questions cost; claims nothing.
#[test]
fn what_it_costs() {
    in_namespace(|| {
        let (_n1, mut n2, mut client) = (listening(P1), listening(P2), Role::spawn());
        let mut owners = owners(&[P1, P2]);
        measure("refresh", || owners.refresh().unwrap());
        measure("connections", || owners.connections().unwrap());
        let mut local = n2.dial(P1).1;
        measure("owner, remembered", || tcp(&mut owners, local, end(P1)));
        let gone = end("127.0.0.1:9");
        measure("owner, gone", || tcp(&mut owners, gone, end(P1)));
        let (_, udp) = n2.udp("127.0.0.1:0");
        measure("owner, UDP", || owners.owner(Proto::Udp, udp, end(P1)).unwrap());
        let mut one_down = self::owners(&[P1, P2, "127.0.0.1:2580"]);
        one_down.refresh().unwrap();
        measure("owner, remembered, a node is down", || tcp(&mut one_down, local, end(P1)));
        let mut spans = [Vec::new(), Vec::new()];
        for _ in 0..12 {
            for (role, spans) in [&mut n2, &mut client].into_iter().zip(&mut spans) {
                local = role.dial(P1).1;
                let start = clock::now();
                tcp(&mut owners, local, end(P1));
                spans.push(clock::now() - start);
            }
        }
        report("owner, new socket of a node", &mut spans[0]);
        report("owner, new socket of a known stranger", &mut spans[1]);
    });
}

fn measure<T>(what: &str, mut question: impl FnMut() -> T) {
    let mut spans = Vec::new();
    for _ in 0..50 {
        let start = clock::now();
        std::hint::black_box(question());
        spans.push(clock::now() - start);
    }
    report(what, &mut spans);
}

fn report(what: &str, spans: &mut [Nanos]) {
    spans.sort_unstable();
    let us = |span: Nanos| span.0 / 1000;
    let (p50, max) = (us(spans[spans.len() / 2]), us(spans[spans.len() - 1]));
    println!("{what}: p50 {p50} us, max {max} us");
}
