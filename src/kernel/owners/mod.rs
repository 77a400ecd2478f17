//! Finds which node's process holds a socket, for nodes that share one network stack.
//!
//! On loopback the source address of a packet does not say which node sent it: nearly all
//! systems dial from 127.0.0.1 and any port. Here a node is the set of processes that hold
//! its listening socket (forks and supervisors included), and a packet's sender is who holds
//! the socket at its source. The kernel names the socket's inode (`../diag.rs`), the descriptors
//! in `/proc` name the process (`procfs.rs`), `answer.rs` has the words for the outcome.
//!
//! It never guesses: a socket that belongs to no node, to several or to nobody gets an answer
//! of its own. What it remembers it checks again before it is used, because inodes and
//! process ids come back. It costs microseconds to milliseconds, so it is for a helper
//! thread; the hot loop keeps the answer by 4-tuple.
//!
//! Left out: TCP through a proxy on the same host (the proxy is then the sender), and
//! transports of the endpoints: a node that listens on TCP is known by that socket; only where
//! nobody listens on TCP does the UDP socket bound there make the node.

mod answer;
mod procfs;

pub use answer::{Connection, Found, NodeSet, Owner, State};

use crate::kernel::diag::{Diag, Sock, StateFlags};
use crate::packet::{Endpoint, NODES_MAX, NodeId, Proto};
use netlink_packet_sock_diag::constants::{TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT};
use procfs::{HeldFd, OwnCgroup};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::io;

/// The most sockets of nodes that are remembered; what is beyond is looked for each time.
const HELD_MAX: usize = 65_536;
/// The most processes remembered as no nodes, so that a steady client costs no full scan.
const STRANGERS_MAX: usize = 16;

/// Finds which node process holds a socket in one network namespace.
pub struct Owners {
    nodes: Vec<(NodeId, Vec<Endpoint>)>,
    endpoints: FxHashMap<Endpoint, NodeId>,
    diag: Diag,
    listeners: Listeners,
    /// The processes that held a listener when all were looked at.
    known: Vec<u32>,
    /// The last processes that were found to be no nodes.
    strangers: VecDeque<u32>,
    /// Sockets of nodes by inode, as of the last scan.
    held: FxHashMap<u32, Held>,
    /// Cgroups that are one node's own.
    cgroups: FxHashMap<u64, (NodeId, OwnCgroup)>,
}

/// The sockets that make a process a node.
#[derive(Default, PartialEq)]
struct Listeners {
    by_inode: FxHashMap<u32, NodeSet>,
    missing: NodeSet,
}

#[derive(Clone, Copy)]
struct Held {
    pid: u32,
    fd: HeldFd,
    nodes: NodeSet,
}

/// What a look at the descriptors of some processes found.
#[derive(Default)]
struct Scan {
    /// Processes that hold a listener, and whose.
    holders: Vec<(u32, NodeSet)>,
    /// The nodes that hold the wanted socket.
    nodes: NodeSet,
    /// A process that is no node and holds the wanted socket.
    stranger: Option<u32>,
    /// Processes that we may not look at.
    refused: usize,
}

impl Owners {
    /// Opens the socket in the network namespace of the calling thread, and stays there.
    ///
    /// Nothing is looked up yet: call [`Owners::refresh`] once the rules are in place. Errors
    /// are a kernel without `sock_diag`, and nodes that cannot be told apart by endpoint.
    pub fn open(nodes: Vec<(NodeId, Vec<Endpoint>)>) -> io::Result<Self> {
        let mut endpoints = FxHashMap::default();
        for (node, ends) in &nodes {
            for end in ends {
                let other = endpoints.insert(*end, *node).filter(|other| other != node);
                if other.is_some() || usize::from(node.0) >= NODES_MAX {
                    let text = format!("{}: two nodes, or more than {NODES_MAX}", text_of(*end));
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
            }
        }
        Ok(Self {
            nodes,
            endpoints,
            diag: Diag::open()?,
            listeners: Listeners::default(),
            known: Vec::new(),
            strangers: VecDeque::new(),
            held: FxHashMap::default(),
            cgroups: FxHashMap::default(),
        })
    }

    /// Looks anew who listens on the peer ports, and at every process for who holds them.
    ///
    /// A wildcard listener counts for every endpoint with its port that has no closer one. The
    /// error that matters is `PermissionDenied`: a port's holder may not be looked at.
    pub fn refresh(&mut self) -> io::Result<Found> {
        self.listeners = self.listening()?;
        let scan = self.scan_all(None)?;
        let found = self.found(&scan);
        if scan.refused > 0 && !found.unseen.is_empty() {
            let text = format!(
                "{} processes may not be looked at, and one holds {}: run as root with \
                 CAP_SYS_PTRACE",
                scan.refused,
                self.endpoints_of(found.unseen)
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(found)
    }

    /// Whether every node listened when that was last looked at.
    #[must_use]
    pub const fn all_listen(&self) -> bool {
        self.listeners.missing.is_empty()
    }

    /// All TCP connections that touch a peer port, with the node at each end: for those that
    /// are older than the attach. Refreshes, so that what it says is of one moment.
    pub fn connections(&mut self) -> io::Result<Vec<Connection>> {
        let ports: Vec<u16> = self.endpoints.keys().map(|end| end.port).collect();
        let mut socks = Vec::new();
        let states = StateFlags::all() - StateFlags::LISTEN;
        self.diag.all(Proto::Tcp, &states, |sock| {
            if ports.contains(&sock.local.port) || ports.contains(&sock.remote.port) {
                socks.push(sock);
            }
        })?;
        // The scan comes after the dump: a socket of the dump that is still open is then found.
        self.refresh()?;
        let mut connections: FxHashMap<(Endpoint, Endpoint), Connection> = FxHashMap::default();
        for sock in socks {
            let (a, b) = self.dialler_first(sock.local, sock.remote);
            let connection = connections.entry((a, b)).or_insert_with(|| Connection {
                a,
                b,
                a_node: self.endpoints.get(&a).copied(),
                b_node: self.endpoints.get(&b).copied(),
                state: State::Open,
            });
            connection.state = connection.state.max(state_of(&sock));
            let node = self.remembered(&sock).node();
            if sock.local == a {
                connection.a_node = node;
            } else {
                connection.b_node = node;
            }
        }
        let mut connections: Vec<Connection> = connections.into_values().collect();
        connections.sort_by_key(|connection| (connection.a, connection.b));
        Ok(connections)
    }

    /// Who holds the socket whose own end is `local` and whose other end is `remote`: for a
    /// packet, its source and its destination. Works while the packet waits in a queue.
    ///
    /// A UDP port that several processes share is [`Owner::Ambiguous`] unless all are one node.
    pub fn owner(&mut self, proto: Proto, local: Endpoint, remote: Endpoint) -> io::Result<Owner> {
        let socks = match proto {
            Proto::Tcp => Vec::from_iter(self.diag.connection(local, remote)?),
            Proto::Udp => self.diag.senders(local, remote)?,
        };
        // A node that is still missing may be about to listen in a process that is known as
        // another's: then what is known of that process is wrong from one packet to the next.
        if !self.listeners.missing.is_empty() {
            self.listen_again()?;
        }
        let mut owners = Vec::with_capacity(socks.len());
        for sock in &socks {
            owners.push(self.owner_of(proto, sock)?);
        }
        Ok(agree(&owners))
    }

    fn owner_of(&mut self, proto: Proto, sock: &Sock) -> io::Result<Owner> {
        match self.remembered(sock) {
            Owner::Unseen => {}
            owner => return Ok(owner),
        }
        let mut first: Vec<u32> = self.known.clone();
        first.extend(&self.strangers);
        let mut scan = self.scan(&first, Some(sock.inode));
        if scan.nodes.is_empty() {
            // No known node: somebody restarted, a fork dials, or it is a stranger indeed.
            let changed = self.listen_again()?;
            if scan.stranger.is_some() && !changed {
                return Ok(Owner::Stranger);
            }
            scan = self.scan_all(Some(sock.inode))?;
        }
        if !scan.nodes.is_empty() {
            return Ok(self.among(scan.nodes, sock));
        }
        if let Some(pid) = scan.stranger {
            self.strangers.truncate(STRANGERS_MAX - 1);
            self.strangers.push_front(pid);
            return Ok(Owner::Stranger);
        }
        // Nobody holds it: it was closed while we looked, or we cannot see who does.
        let now = match proto {
            Proto::Tcp => self.diag.connection(sock.local, sock.remote)?,
            Proto::Udp => {
                let socks = self.diag.senders(sock.local, sock.remote)?;
                socks.into_iter().find(|now| now.inode == sock.inode)
            }
        };
        Ok(now.map_or(Owner::Gone, |now| self.remembered(&now)))
    }

    /// The answer that needs no scan; [`Owner::Unseen`] where it takes one.
    fn remembered(&self, sock: &Sock) -> Owner {
        if sock.inode == 0 {
            // A connection that nobody holds, at a peer port: only a listener has such
            // children, not accepted yet or closed already. At any other end it is an orphan.
            return self
                .endpoints
                .get(&sock.local)
                .map_or(Owner::Orphan, |node| Owner::Node(*node));
        }
        match sock.cgroup.and_then(|id| self.cgroups.get(&id)) {
            Some((node, cgroup)) if cgroup.is_own() => return Owner::Node(*node),
            _ => {}
        }
        match self.held.get(&sock.inode) {
            // Inodes are used again, so the descriptor must still lead there.
            Some(held) if procfs::still_holds(held.pid, held.fd) => self.among(held.nodes, sock),
            _ => Owner::Unseen,
        }
    }

    /// Several nodes in one process are told apart only by the peer port itself.
    fn among(&self, nodes: NodeSet, sock: &Sock) -> Owner {
        let at_port = self.endpoints.get(&sock.local).filter(|node| nodes.contains(**node));
        nodes.only().or(at_port.copied()).map_or(Owner::Ambiguous(nodes), Owner::Node)
    }

    /// Reads the listeners anew; whether they changed, and with them what was known.
    fn listen_again(&mut self) -> io::Result<bool> {
        let listeners = self.listening()?;
        let changed = listeners != self.listeners;
        if changed {
            self.listeners = listeners;
            self.held.clear();
            self.cgroups.clear();
        }
        Ok(changed)
    }

    fn listening(&mut self) -> io::Result<Listeners> {
        let mut listeners = Listeners::default();
        let mut socks = Vec::new();
        self.diag.all(Proto::Tcp, &StateFlags::LISTEN, |sock| socks.push(sock))?;
        listeners.take(&self.nodes, &socks, NodeSet::default());
        if !listeners.missing.is_empty() {
            let found = listeners.found(&self.nodes);
            socks.clear();
            match self.diag.all(Proto::Udp, &StateFlags::CLOSE, |sock| socks.push(sock)) {
                // Without udp_diag a cluster on TCP can still be watched.
                Err(err) if err.kind() == io::ErrorKind::Unsupported => {}
                other => other?,
            }
            listeners.take(&self.nodes, &socks, found);
        }
        Ok(listeners)
    }

    /// Looks at every process there is, and takes from it who the nodes are.
    fn scan_all(&mut self, wanted: Option<u32>) -> io::Result<Scan> {
        let scan = self.scan(&procfs::pids()?, wanted);
        self.known = scan.holders.iter().map(|(pid, _)| *pid).collect();
        self.cgroups.clear();
        for (node, _) in &self.nodes {
            let shared =
                |(_, nodes): &(u32, NodeSet)| nodes.contains(*node) && nodes.only().is_none();
            if scan.holders.iter().any(shared) {
                continue;
            }
            if let Some(cgroup) = OwnCgroup::of(scan.pids_of(*node)) {
                self.cgroups.insert(cgroup.id, (*node, cgroup));
            }
        }
        Ok(scan)
    }

    /// Looks at the descriptors of `pids`; what a process is follows from what it holds now,
    /// so that a process id that was used again cannot pass for a node.
    fn scan(&mut self, pids: &[u32], wanted: Option<u32>) -> Scan {
        let mut scan = Scan::default();
        let mut fds = Vec::new();
        self.held.clear();
        for pid in pids {
            if procfs::sockets_of(*pid, &mut fds).is_err() {
                scan.refused += 1;
                continue;
            }
            let mut nodes = NodeSet::default();
            for fd in &fds {
                nodes.extend(self.listeners.by_inode.get(&fd.inode).copied().unwrap_or_default());
            }
            let holds_wanted = fds.iter().any(|fd| Some(fd.inode) == wanted);
            if nodes.is_empty() {
                scan.stranger = if holds_wanted { Some(*pid) } else { scan.stranger };
                continue;
            }
            scan.holders.push((*pid, nodes));
            if holds_wanted {
                scan.nodes.extend(nodes);
            }
            for fd in &fds {
                if self.held.len() < HELD_MAX {
                    let new = Held { pid: *pid, fd: *fd, nodes };
                    self.held.entry(fd.inode).or_insert(new).nodes.extend(nodes);
                }
            }
        }
        scan
    }

    fn found(&self, scan: &Scan) -> Found {
        let mut found = Found {
            missing: self.listeners.missing,
            by_cgroup: self.cgroups.values().map(|(node, _)| *node).collect(),
            ..Found::default()
        };
        for (node, _) in &self.nodes {
            let own = |(_, nodes): &(u32, NodeSet)| nodes.only() == Some(*node);
            let pids = scan.pids_of(*node);
            if pids.is_empty() {
                if !found.missing.contains(*node) {
                    found.unseen.insert(*node);
                }
                continue;
            }
            if !scan.holders.iter().any(own) {
                found.ambiguous.insert(*node);
            }
            found.nodes.push((*node, pids));
        }
        found
    }

    fn dialler_first(&self, one: Endpoint, other: Endpoint) -> (Endpoint, Endpoint) {
        let peer_port = |end: &Endpoint| self.endpoints.contains_key(end);
        match (peer_port(&one), peer_port(&other)) {
            (false, true) => (one, other),
            (true, false) => (other, one),
            _ => (one.min(other), one.max(other)),
        }
    }

    fn endpoints_of(&self, nodes: NodeSet) -> String {
        let ends = self.nodes.iter().filter(|(node, _)| nodes.contains(*node));
        let texts: Vec<String> = ends.flat_map(|(_, ends)| ends).map(|end| text_of(*end)).collect();
        texts.join(", ")
    }
}

impl Listeners {
    /// Enters the closest of `socks` for each endpoint, leaving out the nodes in `done`.
    fn take(&mut self, nodes: &[(NodeId, Vec<Endpoint>)], socks: &[Sock], done: NodeSet) {
        for (node, ends) in nodes.iter().filter(|(node, _)| !done.contains(*node)) {
            for end in ends {
                let closest = socks.iter().filter_map(|sock| sock.covers(*end)).max();
                let closest =
                    socks.iter().filter(|s| closest.is_some() && s.covers(*end) == closest);
                for sock in closest.filter(|sock| sock.inode != 0) {
                    self.by_inode.entry(sock.inode).or_default().insert(*node);
                }
            }
        }
        let found = self.found(nodes);
        let all = nodes.iter().map(|(node, _)| *node);
        self.missing = all.filter(|node| !found.contains(*node)).collect();
    }

    fn found(&self, nodes: &[(NodeId, Vec<Endpoint>)]) -> NodeSet {
        let found = |node: &NodeId| self.by_inode.values().any(|set| set.contains(*node));
        nodes.iter().map(|(node, _)| *node).filter(found).collect()
    }
}

impl Scan {
    fn pids_of(&self, node: NodeId) -> Vec<u32> {
        let holders = self.holders.iter().filter(|(_, nodes)| nodes.contains(node));
        holders.map(|(pid, _)| *pid).collect()
    }
}

/// One answer for all sockets that may have sent a datagram.
fn agree(owners: &[Owner]) -> Owner {
    let Some((first, others)) = owners.split_first() else { return Owner::Gone };
    if others.iter().all(|owner| owner == first) {
        return *first;
    }
    let mut nodes = NodeSet::default();
    for owner in owners {
        match owner {
            Owner::Node(node) => nodes.insert(*node),
            Owner::Ambiguous(set) => nodes.extend(*set),
            _ => {}
        }
    }
    if nodes.is_empty() { Owner::Stranger } else { Owner::Ambiguous(nodes) }
}

const fn state_of(sock: &Sock) -> State {
    match sock.state {
        TCP_ESTABLISHED => State::Open,
        TCP_SYN_SENT | TCP_SYN_RECV => State::Opening,
        _ => State::Closing,
    }
}

fn text_of(end: Endpoint) -> String {
    end.socket_addr().to_string()
}
