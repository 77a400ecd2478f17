//! Where a cluster's peer packets can be queued, each exactly once.
//!
//! A packet is queued where its receiver is: in `mangle INPUT` of the receiver's namespace,
//! or in `mangle FORWARD` of the bridge that it crosses. Every site takes only packets to
//! its own nodes, so two sites never take the same one. Refuses mixtures in which some
//! packets would pass no site, and never changes a bridge's settings. Next: `chains.rs`
//! for the rules of a site, `iptables.rs` for how they get in.

use super::clock;
use super::links::{self, LinkAddr, addresses};
use super::netns::{self, NetNs};
use super::trouble::Trouble;
use crate::packet::NodeId;
use crate::rules::table::{Node, Place};
use crate::time::Nanos;
use serde::{Deserialize, Serialize};
use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a node whose place no path tells is searched for.
const SEARCH_EVERY: Nanos = Nanos::from_secs(10);

/// How the nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Nodes in namespaces of their own: addresses identify them.
    Namespaces,
    /// Nodes behind a bridge of the current namespace: addresses identify them.
    Bridge,
    /// Several nodes in one network stack: senders are told apart by socket owner.
    Loopback,
}

/// The chain of the mangle table that a site's packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// `INPUT`: the receiver lives in this namespace.
    Input,
    /// `FORWARD`, bridged packets only: the receiver is behind a bridge.
    BridgeForward,
}

/// An address family, as iptables divides the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4: `iptables`.
    V4,
    /// IPv6: `ip6tables`.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One namespace in which packets are queued, and the nodes they are queued for.
#[derive(Clone, Debug)]
pub struct Site {
    /// The namespace.
    pub ns: NetNs,
    /// The hook in it.
    pub hook: Hook,
    /// The nodes whose packets arrive here, in the order of the table.
    pub local: Vec<NodeId>,
    /// Several nodes share this stack: a sender in it is known only by its socket.
    pub shared: bool,
    /// The families in which these nodes have endpoints.
    pub families: Vec<Family>,
}

/// All sites of a cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the nodes are connected.
    pub topology: Topology,
    /// The sites; every node is local to exactly one.
    pub sites: Vec<Site>,
    /// One line for people: what was found, and where packets are queued.
    pub reason: String,
}

/// Finds out where the nodes are and where their packets are to be queued.
pub fn plan(nodes: &[Node]) -> Result<Plan, Trouble> {
    let here = Here::look()?;
    let found = nodes.iter().map(|n| here.find(n)).collect::<Result<Vec<_>, _>>()?;
    let behind = |spot: &Spot| matches!(spot, Spot::Behind(_));
    if found.iter().any(behind) {
        match here.bridge_plan(nodes, &found) {
            Ok(plan) => return Ok(plan),
            // Where the bridge cannot be used the nodes' own namespaces may be known.
            Err(refusal) => {
                let owners = found.into_iter().zip(nodes).map(|(spot, node)| match spot {
                    Spot::Behind(_) => here.search(node)?.map(Spot::In).ok_or(refusal.clone()),
                    spot @ Spot::In(_) => Ok(spot),
                });
                return namespaces_plan(nodes, &owners.collect::<Result<Vec<_>, _>>()?);
            }
        }
    }
    namespaces_plan(nodes, &found)
}

/// The namespace in which a node's own sockets are, and the nodes that share it: behind a bridge
/// it is searched for.
pub fn home(nodes: &[Node], id: NodeId, plan: &Plan) -> Result<(NetNs, Vec<NodeId>), Trouble> {
    let site = plan.sites.iter().find(|site| site.local.contains(&id));
    if let Some(site) = site.filter(|site| site.hook == Hook::Input) {
        return Ok((site.ns.clone(), site.local.clone()));
    }
    let node = &nodes[usize::from(id.0)];
    let hub = &plan.sites[0].ns;
    // Another bridge of this machine may lead to the same addresses.
    let owns = |ns: &NetNs| {
        let present = addresses(ns).unwrap_or_default();
        ips(node).all(|ip| present.iter().any(|a| a.addr == ip))
            && links::behind_bridge(hub, ns).unwrap_or(false)
    };
    let candidates = [NetNs::all_named, NetNs::all_of_processes];
    let ns = candidates.iter().find_map(|all| all().into_iter().find(owns)).ok_or_else(|| {
        Trouble::new(
            format!("no namespace is found that has the addresses of node {}", node.name),
            "give it a `netns:`, `pid:` or `container:`",
        )
    })?;
    let present = addresses(&ns).map_err(|e| unread(&ns, &e))?;
    let is_here = |node: &Node| ips(node).all(|ip| present.iter().any(|a| a.addr == ip));
    let here = nodes.iter().enumerate().filter(|(_, node)| is_here(node));
    let here = here.map(|(i, _)| NodeId(i as u16)).collect();
    Ok((ns, here))
}

/// Nodes that have left the namespace they were found in, as after a restart of a container or
/// with a name made anew: their packets pass no hook of ours. A place that leads nowhere tells
/// nothing, for the node may only be down. Cheap while all is as it was; where it takes a
/// search it is made every ten seconds at most. A node behind a bridge is met wherever it is.
#[must_use]
pub fn moved(nodes: &[Node], plan: &Plan) -> Vec<String> {
    let may_search = LazyCell::new(may_search);
    let apart = plan.sites.iter().filter(|site| site.hook == Hook::Input);
    let placed = apart.flat_map(|site| site.local.iter().map(move |id| (site, id)));
    let elsewhere = placed.filter_map(|(site, id)| {
        let node = &nodes[usize::from(id.0)];
        let now = match &node.place {
            Place::Netns(name) => netns::id_at(&netns::path_of_name(name)),
            Place::Pid(pid) => netns::id_at(&netns::path_of_pid(*pid)),
            Place::Container(_) | Place::Unsaid => {
                let hint = site.ns.reference().path.as_deref();
                let as_before = hint.and_then(netns::id_at) == Some(site.ns.id());
                if as_before || !*may_search {
                    return None;
                }
                let found = match &node.place {
                    Place::Container(name) => Some(NetNs::of_container(name).ok()?),
                    _ => Here::look().ok()?.search(node).ok()?,
                };
                found.map(|ns| ns.id())
            }
        };
        let left = now.is_some_and(|now| now != site.ns.id());
        left.then(|| format!("{} has left {}, as a restart does", node.name, site.ns))
    });
    elsewhere.collect()
}

/// Whether the last search was long enough ago.
fn may_search() -> bool {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = clock::now();
    let may = now.0 >= NEXT.load(Ordering::Relaxed);
    if may {
        NEXT.store((now + SEARCH_EVERY).0, Ordering::Relaxed);
    }
    may
}

/// Where a node was found.
enum Spot {
    /// Its stack is in this namespace.
    In(NetNs),
    /// It is behind this bridge of the current namespace.
    Behind(String),
}

/// The current namespace and its addresses.
struct Here {
    ns: NetNs,
    addrs: Vec<LinkAddr>,
}

impl Here {
    fn look() -> Result<Self, Trouble> {
        let ns = NetNs::current().map_err(|e| {
            Trouble::new(format!("the own network namespace cannot be opened ({e})"), "mount /proc")
        })?;
        let addrs = addresses(&ns).map_err(|e| unread(&ns, &e))?;
        Ok(Self { ns, addrs })
    }

    fn find(&self, node: &Node) -> Result<Spot, Trouble> {
        let ns = match &node.place {
            Place::Unsaid => return self.find_by_address(node),
            Place::Netns(name) => NetNs::named(name),
            Place::Pid(pid) => NetNs::of_pid(*pid),
            Place::Container(name) => NetNs::of_container(name),
        }
        .map_err(|t| Trouble::new(format!("node {}: {}", node.name, t.cause), t.way_out))?;
        let present = addresses(&ns).map_err(|e| unread(&ns, &e))?;
        match ips(node).find(|ip| !present.iter().any(|a| a.is_local(*ip))) {
            None => Ok(Spot::In(ns)),
            Some(ip) => Err(Trouble::new(
                format!("node {}: {ns} has no address {ip} ({})", node.name, list(&present)),
                "correct the address, or name the namespace that has it",
            )),
        }
    }

    fn find_by_address(&self, node: &Node) -> Result<Spot, Trouble> {
        if ips(node).all(|ip| self.addrs.iter().any(|a| a.is_local(ip))) {
            return Ok(Spot::In(self.ns.clone()));
        }
        if let Some(bridge) = self.bridge_to(node) {
            return Ok(Spot::Behind(bridge));
        }
        self.search(node)?.map(Spot::In).ok_or_else(|| {
            let ips: Vec<_> = ips(node).map(|ip| ip.to_string()).collect();
            Trouble::new(
                format!(
                    "node {}: {} is neither an address of this network namespace, nor behind a \
                     bridge in it, nor in a namespace that could be looked into",
                    node.name,
                    ips.join(" with ")
                ),
                "give the node a `netns:`, `pid:` or `container:`, or run raftq in the namespace \
                 that holds the nodes' bridge",
            )
        })
    }

    /// The bridge that leads to all addresses of the node, by the longest prefix.
    fn bridge_to(&self, node: &Node) -> Option<String> {
        let mut bridges = ips(node).map(|ip| {
            let nearest = self.addrs.iter().filter(|a| a.reaches(ip)).max_by_key(|a| a.prefix)?;
            (nearest.bridge && nearest.addr != ip).then_some(&nearest.link)
        });
        let first = bridges.next()??;
        bridges.all(|b| b == Some(first)).then(|| first.clone())
    }

    /// The one namespace that owns the node's addresses: a named one, else a process'.
    fn search(&self, node: &Node) -> Result<Option<NetNs>, Trouble> {
        // Every namespace has a loopback of its own: those addresses say nothing.
        if ips(node).any(|ip| ip.is_loopback()) {
            return Ok(None);
        }
        for candidates in [NetNs::all_named, NetNs::all_of_processes] {
            let mut owners = candidates().into_iter().filter(|ns| {
                let present = addresses(ns).unwrap_or_default();
                ns.id() != self.ns.id() && ips(node).all(|ip| present.iter().any(|a| a.addr == ip))
            });
            let first = owners.next();
            if let (Some(a), Some(b)) = (&first, owners.next()) {
                return Err(Trouble::new(
                    format!("node {}: {a} and {b} both have its addresses", node.name),
                    "say which with `netns:` or `pid:`",
                ));
            }
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }

    fn bridge_plan(&self, nodes: &[Node], found: &[Spot]) -> Result<Plan, Trouble> {
        let mut bridges = BTreeSet::new();
        for (node, spot) in nodes.iter().zip(found) {
            match spot {
                Spot::Behind(bridge) => bridges.insert(bridge.clone()),
                Spot::In(ns) => return Err(mixture(node, ns, nodes, found)),
            };
        }
        if bridges.len() > 1 {
            return Err(Trouble::new(
                format!("the nodes are behind several bridges ({bridges:?})"),
                "packets between bridges are routed, not bridged; give each node a `netns:`",
            ));
        }
        let bridge = bridges.into_iter().next().unwrap_or_default();
        let all: Vec<NodeId> = (0..nodes.len()).map(|i| NodeId(i as u16)).collect();
        let families = families(nodes, &all);
        for family in &families {
            self.bridged_packets_reach(*family, &bridge)?;
        }
        let reason = format!(
            "{} nodes behind bridge {bridge}: queued once in mangle FORWARD as they cross it",
            nodes.len()
        );
        let hook = Hook::BridgeForward;
        let site = Site { ns: self.ns.clone(), hook, local: all, shared: false, families };
        Ok(Plan { topology: Topology::Bridge, sites: vec![site], reason })
    }

    /// Whether iptables sees what the bridge forwards. It is never switched on here: that
    /// would put all bridged traffic under the user's FORWARD rules.
    fn bridged_packets_reach(&self, family: Family, bridge: &str) -> Result<(), Trouble> {
        let setting = match family {
            Family::V4 => "bridge-nf-call-iptables",
            Family::V6 => "bridge-nf-call-ip6tables",
        };
        let path = format!("/proc/sys/net/bridge/{setting}");
        let value = self.ns.enter(|| fs::read_to_string(&path)).and_then(|read| read);
        let state = match value {
            Ok(text) if text.trim() == "1" => return Ok(()),
            Ok(text) => format!("{setting} is {} here", text.trim()),
            Err(_) => "the module br_netfilter is not loaded".to_owned(),
        };
        Err(Trouble::new(
            format!(
                "bridge {bridge} leads to the nodes, but hides its packets from iptables: {state}"
            ),
            format!(
                "give each node a `netns:`, `pid:` or `container:` so that packets are queued \
                 there; or switch it on yourself, knowing that all bridged traffic then passes \
                 the FORWARD rules: modprobe br_netfilter && sysctl net.bridge.{setting}=1"
            ),
        ))
    }
}

fn mixture(node: &Node, ns: &NetNs, nodes: &[Node], found: &[Spot]) -> Trouble {
    let is_behind = |(_, spot): &(&Node, &Spot)| matches!(spot, Spot::Behind(_));
    let behind = nodes.iter().zip(found).find(is_behind).map_or("another", |(n, _)| &n.name);
    Trouble::new(
        format!(
            "node {} is in {ns} and node {behind} behind a bridge: no one hook sees the packets \
             of both directions once",
            node.name
        ),
        "give every node behind the bridge a `netns:`, `pid:` or `container:`",
    )
}

fn namespaces_plan(nodes: &[Node], found: &[Spot]) -> Result<Plan, Trouble> {
    let mut sites: Vec<Site> = Vec::new();
    for (i, spot) in found.iter().enumerate() {
        let Spot::In(ns) = spot else { continue };
        let id = NodeId(i as u16);
        match sites.iter_mut().find(|site| site.ns.id() == ns.id()) {
            Some(site) => site.local.push(id),
            None => sites.push(Site {
                ns: ns.clone(),
                hook: Hook::Input,
                local: vec![id],
                shared: false,
                families: Vec::new(),
            }),
        }
    }
    for site in &mut sites {
        site.shared = site.local.len() > 1;
        site.families = families(nodes, &site.local);
    }
    unreachable_loopback(nodes, &sites)?;
    if let [only] = sites.as_slice()
        && only.shared
    {
        let reason = format!(
            "{} nodes in one network stack ({}): queued once in mangle INPUT, senders told apart \
             by socket owner",
            nodes.len(),
            only.ns
        );
        return Ok(Plan { topology: Topology::Loopback, sites, reason });
    }
    let places: Vec<_> = sites.iter().map(|site| place(nodes, site)).collect();
    let reason = format!("queued once in mangle INPUT of the receiver: {}", places.join(", "));
    Ok(Plan { topology: Topology::Namespaces, sites, reason })
}

fn place(nodes: &[Node], site: &Site) -> String {
    let names: Vec<_> = site.local.iter().map(|n| nodes[usize::from(n.0)].name.as_str()).collect();
    format!("{} in {}", names.join(" and "), site.ns)
}

/// A node that listens on loopback can be reached only from its own namespace.
fn unreachable_loopback(nodes: &[Node], sites: &[Site]) -> Result<(), Trouble> {
    if sites.len() < 2 {
        return Ok(());
    }
    let on_loopback = nodes.iter().find(|node| ips(node).all(|ip| ip.is_loopback()));
    on_loopback.map_or(Ok(()), |node| {
        Err(Trouble::new(
            format!(
                "node {} is on a loopback address, but the nodes are spread over {} network \
                 namespaces: no peer elsewhere can reach it",
                node.name,
                sites.len()
            ),
            "give the address that its peers dial",
        ))
    })
}

fn families(nodes: &[Node], local: &[NodeId]) -> Vec<Family> {
    let of = |id: &NodeId| ips(&nodes[usize::from(id.0)]).map(Family::of);
    local.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The addresses of a node, as written.
pub fn ips(node: &Node) -> impl Iterator<Item = IpAddr> + '_ {
    node.endpoints.iter().map(|e| e.socket_addr().ip())
}

fn list(present: &[LinkAddr]) -> String {
    let all: Vec<_> = present.iter().map(|a| a.addr.to_string()).collect();
    if all.is_empty() { "it has none at all".into() } else { format!("it has {}", all.join(", ")) }
}

fn unread(ns: &NetNs, e: &io::Error) -> Trouble {
    let way_out = match e.kind() {
        io::ErrorKind::PermissionDenied => "run as root; in a container CAP_SYS_ADMIN is needed",
        _ => "`raftq doctor` says what this host lacks",
    };
    Trouble::new(format!("the addresses of {ns} cannot be read ({e})"), way_out)
}
