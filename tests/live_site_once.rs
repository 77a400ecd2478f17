//! Every peer packet is queued exactly once, and clients' packets never: counted in every
//! topology, both flavours, both families. Nobody reads the queues, so that packets pass by
//! bypass and only the rules' counters tell of them.

mod live_site_lab;

use live_site_lab::{FLAVOURS, Lab, Star, at, node, send, send_to};
use raftq::kernel::chains::Spec;
use raftq::kernel::iptables::{self, Flavour, Installed};
use raftq::kernel::topology::{self, Family, Hook, Plan, Topology};
use raftq::rules::table::{Node, Place};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const CHAIN: &str = "RAFTQ-test";
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The rules of a plan, removed at the end.
struct Attached(Vec<Installed>);

impl Attached {
    fn new(plan: &Plan, nodes: &[Node], flavour: Flavour) -> Self {
        let mut all = Vec::new();
        for site in &plan.sites {
            let spec = Spec { site, nodes, chain: CHAIN, queue: 4242 };
            all.extend(iptables::prepare(&spec, flavour).expect("prepared"));
        }
        iptables::install_all(&all).expect("installed");
        Self(all.into_iter().map(|p| p.installed).collect())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for removal in iptables::remove_all(&self.0) {
            removal.expect("removed");
        }
    }
}

fn star_nodes(star: &Star, family: Family, named: bool) -> Vec<Node> {
    let place = |lab: &Lab| if named { Place::Netns(lab.name.clone()) } else { Place::Unsaid };
    let make = |(i, lab): (usize, &Lab)| {
        node(&format!("n{}", i + 1), &[&at(family, i + 1, 2380)], place(lab))
    };
    star.nodes.iter().enumerate().map(make).collect()
}

/// How often the rules were hit, over the hub and all nodes.
fn queued(star: &Star) -> u64 {
    star.nodes.iter().chain([&star.hub]).map(|lab| lab.queued(CHAIN)).sum()
}

/// Peers talk in both directions of every pair; clients and other ports talk too.
fn exercise(star: &Star, family: Family) -> u64 {
    let [a, b, c] = star.nodes.as_slice() else { panic!("three nodes") };
    let peer = |lab: &Lab, i| lab.udp(&at(family, i, 2380));
    let (pa, pb, pc) = (peer(a, 1), peer(b, 2), peer(c, 3));
    send(&pa, &pb, 10);
    send(&pb, &pc, 7);
    // A dialler's port is any; its answers come from the peer port.
    let dialler = a.udp(&at(family, 1, 0));
    send(&dialler, &pc, 5);
    send(&pc, &dialler, 5);
    // None of these is peer traffic.
    let client_port = b.udp(&at(family, 2, 2379));
    send(&dialler, &client_port, 11);
    send(&client_port, &dialler, 11);
    let outsider = star.hub.udp(&at(family, 254, 0).replace("::254", "::fe"));
    send(&outsider, &pb, 13);
    send(&pb, &outsider, 13);
    27
}

#[test]
fn nodes_in_named_namespaces_from_outside() {
    let star = Star::new(3);
    for flavour in FLAVOURS {
        for family in FAMILIES {
            let nodes = star_nodes(&star, family, true);
            let plan = topology::plan(&nodes).expect("a plan");
            assert_eq!(plan.topology, Topology::Namespaces, "{}", plan.reason);
            assert_eq!(plan.sites.len(), 3);
            let _attached = Attached::new(&plan, &nodes, flavour);
            let expected = exercise(&star, family);
            assert_eq!(queued(&star), expected, "{flavour} {family:?}");
        }
    }
}

#[test]
fn nodes_behind_a_bridge_need_nothing_but_addresses() {
    let star = Star::new(3);
    for flavour in FLAVOURS {
        for family in FAMILIES {
            let nodes = star_nodes(&star, family, false);
            let plan = star.hub.ns.enter(|| topology::plan(&nodes)).expect("entering");
            let plan = plan.expect("a plan");
            assert_eq!(plan.topology, Topology::Bridge, "{}", plan.reason);
            assert_eq!(plan.sites[0].hook, Hook::BridgeForward);
            let _attached = Attached::new(&plan, &nodes, flavour);
            let expected = exercise(&star, family);
            assert_eq!(queued(&star), expected, "{flavour} {family:?}");
        }
    }
}

#[test]
fn tcp_over_a_star_is_counted_as_the_peers_see_it() {
    let star = Star::new(2);
    let [a, b] = star.nodes.as_slice() else { panic!("two nodes") };
    for named in [true, false] {
        let nodes = star_nodes(&star, Family::V4, named);
        let plan = star.hub.ns.enter(|| topology::plan(&nodes)).expect("entering").expect("plan");
        let _attached = Attached::new(&plan, &nodes, Flavour::Nft);
        // A counter of the user's own, in a hook behind ours, sees what arrives.
        for lab in [a, b] {
            lab.run("iptables -t security -A INPUT -p tcp");
        }
        let listener = b.ns.enter(|| TcpListener::bind("10.77.0.2:2380")).expect("in").expect("b");
        let dial = || TcpStream::connect("10.77.0.2:2380");
        let mut dialled = a.ns.enter(dial).expect("in").expect("connected");
        let (mut accepted, _) = listener.accept().expect("accepted");
        dialled.write_all(&vec![7; 100_000]).expect("written");
        dialled.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut read = Vec::new();
        accepted.read_to_end(&mut read).expect("read");
        assert_eq!(read.len(), 100_000);
        drop(accepted);
        assert_eq!(dialled.read_to_end(&mut read).expect("closed"), 0);
        // The last acknowledgement may be under way while the counters are read.
        let arrived = || {
            [a, b].map(|lab| counted(&lab.run("iptables-save -c -t security"))).iter().sum::<u64>()
        };
        live_site_lab::until("the counters agree", || queued(&star) == arrived());
        assert!(arrived() > 6);
        for lab in [a, b] {
            lab.run("iptables -t security -F INPUT");
        }
    }
}

fn counted(save: &str) -> u64 {
    let line = save.lines().find(|l| l.contains("-A INPUT -p tcp")).expect("the counting rule");
    line[1..].split(':').next().and_then(|n| n.parse().ok()).expect("a counter")
}

#[test]
fn loopback_with_a_port_for_each_node() {
    loopback(["127.0.0.1:2381", "127.0.0.1:2382"], ["127.0.0.1:0", "127.0.0.1:2379"]);
    loopback(["[::1]:2381", "[::1]:2382"], ["[::1]:0", "[::1]:2379"]);
}

#[test]
fn loopback_with_an_address_for_each_node_and_one_port() {
    loopback(["127.0.0.1:2380", "127.0.0.2:2380"], ["127.0.0.1:0", "127.0.0.2:2379"]);
}

fn loopback(peers: [&str; 2], [any, client]: [&str; 2]) {
    let lab = Lab::new("lo");
    let nodes: Vec<Node> =
        ["n1", "n2"].iter().zip(peers).map(|(n, p)| node(n, &[p], Place::Unsaid)).collect();
    for flavour in FLAVOURS {
        let plan = lab.ns.enter(|| topology::plan(&nodes)).expect("entering").expect("a plan");
        assert_eq!(plan.topology, Topology::Loopback, "{}", plan.reason);
        assert!(plan.sites[0].shared);
        let _attached = Attached::new(&plan, &nodes, flavour);
        let [n1, n2] = peers.map(|p| lab.udp(p));
        let (dialler, client) = (lab.udp(any), lab.udp(client));
        send(&n1, &n2, 10);
        // Real systems dial from 127.0.0.1 and any port, whoever they are.
        send(&dialler, &n2, 5);
        send(&n2, &dialler, 5);
        send(&dialler, &client, 11);
        send(&client, &dialler, 11);
        assert_eq!(lab.queued(CHAIN), 20, "{flavour} {peers:?}");
    }
}

#[test]
fn a_socket_that_listens_on_every_address_is_reached_all_the_same() {
    let lab = Lab::new("any");
    let nodes = [
        node("n1", &["127.0.0.1:2381"], Place::Unsaid),
        node("n2", &["127.0.0.1:2382"], Place::Unsaid),
    ];
    let plan = lab.ns.enter(|| topology::plan(&nodes)).expect("entering").expect("a plan");
    let _attached = Attached::new(&plan, &nodes, Flavour::Nft);
    let (wide, dialler) = (lab.udp("0.0.0.0:2381"), lab.udp("127.0.0.1:0"));
    send_to(&dialler, &wide, "127.0.0.1:2381".parse().expect("an address"), 4);
    assert_eq!(lab.queued(CHAIN), 4);
}

/// The queue rules are in the last chain; many jump to it, which must not hide that.
#[test]
fn an_emptied_last_chain_is_noticed() {
    let star = Star::new(3);
    for flavour in FLAVOURS {
        let apart = topology::plan(&star_nodes(&star, Family::V4, true)).expect("a plan");
        let bare = star_nodes(&star, Family::V4, false);
        let bridge = star.hub.ns.enter(|| topology::plan(&bare)).expect("entering");
        for plan in [apart, bridge.expect("a plan")] {
            let attached = Attached::new(&plan, &bare, flavour);
            let stand = || attached.0.iter().map(|i| i.stands().expect("asked"));
            assert!(stand().all(|stands| stands), "{flavour} {}", plan.reason);
            for installed in &attached.0 {
                let last = installed.chains.last().expect("chains");
                let flush = format!("iptables-{flavour} -t mangle -F {last}");
                star.nodes.iter().chain([&star.hub]).for_each(|lab| {
                    if lab.ns.id() == installed.ns.id {
                        lab.run(&flush);
                    }
                });
            }
            assert!(stand().all(|stands| !stands), "{flavour} {}", plan.reason);
        }
    }
}
