//! Finding nodes: where packets would pass no hook, or the way to a node is not plain,
//! attaching is refused with the reason and a way out.

mod live_site_lab;

use live_site_lab::{Lab, Star, at, need_root, node, run, until};
use raftq::kernel::links;
use raftq::kernel::netns::{NetNs, free_queue};
use raftq::kernel::topology::{self, Family, Hook, Plan, Topology};
use raftq::kernel::trouble::Trouble;
use raftq::rules::table::{Node, Place};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

fn plan_in(lab: &Lab, nodes: &[Node]) -> Result<Plan, Trouble> {
    lab.ns.enter(|| topology::plan(nodes)).expect("entering")
}

/// The refusal says both words and offers something.
fn refused(result: Result<Plan, Trouble>, words: [&str; 2]) {
    let trouble = match result {
        Ok(plan) => panic!("not refused: {}", plan.reason),
        Err(trouble) => trouble,
    };
    for word in words {
        assert!(trouble.cause.contains(word), "{word:?} is not in: {trouble}");
    }
    assert!(!trouble.way_out.is_empty(), "{trouble}");
}

/// A process that waits in a namespace until it is dropped.
struct Waiter(Child);

impl Waiter {
    fn new(lab: &Lab) -> Self {
        let spawn = || Command::new("sleep").arg("60").stdin(Stdio::null()).spawn();
        Self(lab.ns.enter(spawn).expect("entering").expect("sleep runs"))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_namespace_by_name_by_path_and_by_pid_is_the_same() {
    let lab = Lab::new("ways");
    let waiter = Waiter::new(&lab);
    let by_path = NetNs::named(&format!("/run/netns/{}", lab.name)).expect("a path");
    let by_pid = NetNs::of_pid(waiter.0.id()).expect("a pid");
    assert_eq!([by_path.id(), by_pid.id()], [lab.ns.id(); 2]);
    assert_ne!(NetNs::current().expect("here").id(), lab.ns.id());
    let inside = lab.ns.enter(|| NetNs::current().expect("here").id()).expect("entering");
    assert_eq!(inside, lab.ns.id());
}

#[test]
fn a_name_made_anew_is_another_namespace_and_a_process_leads_back_to_the_old() {
    let lab = Lab::new("anew");
    let waiter = Waiter::new(&lab);
    run(&format!("ip netns del {0} && ip netns add {0}", lab.name));
    assert_ne!(NetNs::named(&lab.name).expect("it was made anew").id(), lab.ns.id());
    let found = NetNs::find(lab.ns.reference()).expect("looked").expect("by its process");
    assert_eq!(found.id(), lab.ns.id());
    drop(waiter);
}

#[test]
fn nodes_are_found_by_pid_and_nodes_with_one_namespace_share_a_site() {
    let star = Star::new(2);
    let waiters = [Waiter::new(&star.nodes[0]), Waiter::new(&star.nodes[1])];
    let nodes = [
        node("a", &["10.77.0.1:2380"], Place::Pid(waiters[0].0.id())),
        node("b", &["10.77.0.1:2381"], Place::Netns(star.nodes[0].name.clone())),
        node("c", &["10.77.0.2:2380", "[fd77::2]:2380"], Place::Pid(waiters[1].0.id())),
    ];
    let plan = topology::plan(&nodes).expect("a plan");
    assert_eq!(plan.topology, Topology::Namespaces);
    let [first, second] = plan.sites.as_slice() else { panic!("{}", plan.reason) };
    assert!(first.shared && !second.shared);
    assert_eq!(first.families, [Family::V4]);
    assert_eq!(second.families, [Family::V4, Family::V6]);
}

#[test]
fn an_address_that_the_named_namespace_lacks_is_refused() {
    let lab = Lab::new("lacks");
    let nodes = [node("n1", &["10.88.0.1:2380"], Place::Netns(lab.name.clone()))];
    refused(topology::plan(&nodes), ["n1", "10.88.0.1"]);
    let nodes = [node("n1", &["10.88.0.1:2380"], Place::Netns("rqsite-none".into()))];
    refused(topology::plan(&nodes), ["n1", "rqsite-none"]);
    let nodes = [node("n1", &["10.88.0.1:2380"], Place::Pid(u32::MAX))];
    refused(topology::plan(&nodes), ["n1", "4294967295"]);
}

#[test]
fn an_address_that_is_nowhere_is_refused() {
    need_root();
    refused(
        topology::plan(&[node("n1", &["192.0.2.77:2380"], Place::Unsaid)]),
        ["n1", "192.0.2.77"],
    );
}

#[test]
fn an_address_without_more_is_found_in_the_named_namespaces() {
    let a = Lab::new("here");
    a.run("ip addr add 10.91.7.1/32 dev lo");
    let b = Lab::new("there");
    b.run("ip addr add 10.91.7.2/32 dev lo");
    let nodes = [
        node("n1", &["10.91.7.1:2380"], Place::Unsaid),
        node("n2", &["10.91.7.2:2380"], Place::Unsaid),
    ];
    let plan = topology::plan(&nodes).expect("a plan");
    assert_eq!(plan.topology, Topology::Namespaces);
    assert_eq!(plan.sites[0].ns.id(), a.ns.id());
    assert_eq!(plan.sites[1].ns.id(), b.ns.id());

    b.run("ip addr add 10.91.7.1/32 dev lo");
    refused(topology::plan(&nodes), ["n1", "both have"]);
}

#[test]
fn a_node_on_the_bridges_own_address_among_others_behind_it_needs_namespaces() {
    // In a mount namespace of its own nobody could find the nodes' namespaces; here they
    // can be found, so they are used.
    let star = Star::new(2);
    star.hub.run("ip addr add 10.92.0.254/24 dev br0");
    star.nodes[0].run("ip addr add 10.92.0.1/24 dev eth0");
    let nodes = [
        node("hub", &["10.92.0.254:2380"], Place::Unsaid),
        node("n1", &["10.92.0.1:2380"], Place::Unsaid),
    ];
    let plan = plan_in(&star.hub, &nodes).expect("a plan");
    assert!(plan.sites.iter().all(|site| site.hook == Hook::Input), "{}", plan.reason);
    assert_eq!(plan.sites.len(), 2);

    let hidden = [nodes[0].clone(), node("n9", &["10.92.0.9:2380"], Place::Unsaid)];
    refused(plan_in(&star.hub, &hidden), ["hub", "n9"]);
}

#[test]
fn a_bridge_that_hides_its_packets_is_refused_and_its_setting_stays() {
    let star = Star::new(2);
    star.hub.run("ip addr add 10.93.0.254/24 dev br0");
    star.hub.run("echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables");
    let nodes = [
        node("n1", &["10.93.0.1:2380"], Place::Unsaid),
        node("n2", &["10.93.0.2:2380"], Place::Unsaid),
    ];
    refused(plan_in(&star.hub, &nodes), ["br0", "bridge-nf-call-iptables is 0"]);
    assert_eq!(star.hub.run("cat /proc/sys/net/bridge/bridge-nf-call-iptables"), "0\n");

    // Where the nodes' namespaces can be found there is no need of the bridge.
    for (i, lab) in star.nodes.iter().enumerate() {
        lab.run(&format!("ip addr add 10.93.0.{}/24 dev eth0", i + 1));
    }
    let plan = plan_in(&star.hub, &nodes).expect("a plan");
    assert_eq!(plan.topology, Topology::Namespaces, "{}", plan.reason);
}

#[test]
fn nodes_behind_two_bridges_are_refused() {
    let lab = Lab::new("two");
    for (i, net) in ["10.94.1.254", "10.94.2.254"].iter().enumerate() {
        lab.run(&format!("ip link add br{i} type bridge && ip link set br{i} up"));
        lab.run(&format!("ip addr add {net}/24 dev br{i}"));
    }
    let nodes = [
        node("n1", &["10.94.1.1:2380"], Place::Unsaid),
        node("n2", &["10.94.2.1:2380"], Place::Unsaid),
    ];
    refused(plan_in(&lab, &nodes), ["several bridges", "br1"]);
}

#[test]
fn a_loopback_address_among_namespaces_is_refused() {
    let star = Star::new(2);
    let nodes = [
        node("n1", &["127.0.0.1:2380"], Place::Netns(star.nodes[0].name.clone())),
        node("n2", &["10.77.0.2:2380"], Place::Netns(star.nodes[1].name.clone())),
    ];
    refused(topology::plan(&nodes), ["n1", "loopback"]);
}

#[test]
fn a_namespace_behind_a_bridge_is_known_by_its_cable() {
    let (one, other) = (Star::new(2), Star::new(1));
    let behind = |hub: &Lab, lab: &Lab| links::behind_bridge(&hub.ns, &lab.ns).expect("asked");
    assert!(behind(&one.hub, &one.nodes[0]) && behind(&one.hub, &one.nodes[1]));
    assert!(!behind(&one.hub, &other.nodes[0]) && !behind(&other.hub, &one.nodes[0]));
    assert!(!behind(&one.nodes[0], &one.nodes[1]));
}

#[test]
fn a_queue_number_that_is_bound_is_not_chosen() {
    let lab = Lab::new("queue");
    let free = free_queue(&lab.ns, &[]).expect("asked");
    let _bound = lab.ns.enter(|| {
        let mut queue = nfq::Queue::open().expect("opened");
        queue.bind(free).expect("bound");
        queue
    });
    let next = free_queue(&lab.ns, &[free + 1]).expect("asked");
    assert_eq!(next, free + 2);
    // Another namespace has queues of its own.
    assert_eq!(free_queue(&Lab::new("other").ns, &[]).expect("asked"), free);
}

#[test]
fn the_families_of_a_bridge_are_checked_apart() {
    let star = Star::new(2);
    star.hub.run("echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables");
    let nodes = |family| {
        let make = |i: usize| node(&format!("n{i}"), &[&at(family, i, 2380)], Place::Unsaid);
        [make(1), make(2)]
    };
    let v4 = plan_in(&star.hub, &nodes(Family::V4)).expect("a plan");
    assert_eq!(v4.topology, Topology::Bridge);
}

/// A name made anew, an address that is elsewhere now: what runs there passes no hook of ours.
#[test]
fn a_node_in_a_new_namespace_is_noticed() {
    let (named, found) = (Lab::new("named"), Lab::new("found"));
    named.run("ip addr add 10.91.8.1/32 dev lo");
    found.run("ip addr add 10.91.8.2/32 dev lo");
    let nodes = [
        node("n1", &["10.91.8.1:2380"], Place::Netns(named.name.clone())),
        node("n2", &["10.91.8.2:2380"], Place::Unsaid),
    ];
    let plan = topology::plan(&nodes).expect("a plan");
    let moved = || topology::moved(&nodes, &plan);
    assert_eq!(moved(), [""; 0]);
    run(&format!("ip netns del {}", named.name));
    assert_eq!(moved(), [""; 0], "it may only be down");
    run(&format!("ip netns add {}", named.name));
    let n1 = format!("n1 has left netns {}, as a restart does", named.name);
    assert_eq!(moved(), std::slice::from_ref(&n1));
    run(&format!("ip netns del {0} && ip netns add {0}", found.name));
    let again = NetNs::named(&found.name).expect("made anew");
    again.enter(|| run("ip addr add 10.91.8.2/32 dev lo")).expect("entering");
    assert_eq!(moved(), [n1, format!("n2 has left netns {}, as a restart does", found.name)]);
}

/// The whole program: a warning, and an undecided result.
#[test]
fn raftq_tells_that_a_node_has_left() {
    let star = Star::new(2);
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = [0, 1].map(|i| star.nodes[i].name.as_str());
    let rules = format!(
        "cluster: {{ nodes: {{ n1: {{ at: 10.77.0.1:2380, netns: {a} }}, \
         n2: {{ at: 10.77.0.2:2380, netns: {b} }} }} }}\nrules: []\n"
    );
    std::fs::write(folder.path().join("rules.yaml"), rules).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_raftq"));
    command.arg("--rules").arg(folder.path().join("rules.yaml")).args(["--for", "4s", "--json"]);
    command.env("RAFTQ_RUN_DIR", folder.path().join("run"));
    let raftq = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("raftq");
    until("it is attached", || star.nodes[1].firewall().contains("RAFTQ-"));
    run(&format!("ip netns del {b} && ip netns add {b}"));
    let output = raftq.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("n2 has left netns {b}")), "{said}");
}

/// A rule file of addresses only: what is told is the cause, not that they cannot be found.
#[test]
fn who_forgets_sudo_is_told_so() {
    let star = Star::new(2);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(env!("CARGO_BIN_EXE_raftq"), file("raftq")).expect("a copy");
    let rules = "cluster: { nodes: { n1: 10.77.0.1:2380, n2: 10.77.0.2:2380 } }\nrules: []\n";
    std::fs::write(file("rules.yaml"), rules).expect("a file");
    for name in [".", "raftq", "rules.yaml"] {
        let all_may = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(file(name), all_may).expect("chmod");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(file("raftq")).arg("--rules").arg(file("rules.yaml"));
    command.env("RAFTQ_RUN_DIR", file("run"));
    let output = star.hub.ns.enter(|| command.output()).expect("entering").expect("setpriv");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let words = "raftq needs root, or the capabilities NET_ADMIN and SYS_ADMIN; run: sudo raftq";
    assert!(said.contains(words) && said.lines().count() == 1, "{said}");
}
