//! Round trips between nodes, as the senders' own kernels measured them.
//!
//! Nothing is sent for it: TCP times its own acknowledgements, and `sock_diag` tells (`tcp_info`).
//! So a round trip holds whatever raftq delays on its way. It is that of a whole connection in one
//! direction of data: the time from a segment that `from` sent until its acknowledgement came back.
//!
//! Who is at the ends follows from addresses where each node has its own. On a shared stack it is
//! asked as for packets ([`Owners`]), once for each connection, and not more often than every two
//! seconds, since that looks at descriptors of processes.

use super::clock;
use super::diag::{Diag, Measured, Sock};
use super::owners::Owners;
use super::topology::{self, Plan};
use super::trouble::Trouble;
use crate::packet::{Endpoint, NodeId};
use crate::rules::table::Node;
use crate::time::Nanos;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io;

/// How often processes are looked at for who has a connection.
const SEARCH_EVERY: Nanos = Nanos::from_secs(2);

/// The most connections of a shared stack that are remembered.
const KNOWN_MAX: usize = 4_096;

/// What was measured from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Who measured it, and sent.
    pub from: NodeId,
    /// Who acknowledged.
    pub to: NodeId,
    /// The smoothed round trip of the connection that `from` has sent data on last, us.
    pub rtt_us: u32,
    /// How much that varies, us.
    pub varies_us: u32,
    /// The least of all its connections, us; none where nothing was measured yet.
    pub least_us: Option<u32>,
    /// Connections between the two.
    pub connections: u32,
    /// Segments that were sent again, over those that are open.
    pub resent: u64,
    idle_ms: u32,
}

/// The stack of one node, or of several.
struct Stack {
    diag: Diag,
    local: Vec<NodeId>,
    /// Where several nodes share it: who has which connection.
    shared: Option<Sharing>,
}

struct Sharing {
    owners: Owners,
    known: FxHashMap<(Endpoint, Endpoint), Option<NodeId>>,
    next_search: Nanos,
}

/// The stacks of all nodes.
pub struct Stacks {
    all: Vec<Stack>,
    /// Nodes by an address that is theirs alone.
    by_addr: FxHashMap<u128, Option<NodeId>>,
    by_end: FxHashMap<Endpoint, NodeId>,
}

impl Stacks {
    /// Opens them; those that cannot be opened are left out, each with its trouble.
    #[must_use]
    pub fn open(nodes: &[Node], plan: &Plan) -> (Self, Vec<Trouble>) {
        let (mut by_addr, mut by_end) = (FxHashMap::default(), FxHashMap::default());
        for (i, node) in nodes.iter().enumerate() {
            let id = NodeId(i as u16);
            for end in &node.endpoints {
                by_end.insert(*end, id);
                let place = by_addr.entry(end.addr).or_insert(Some(id));
                *place = place.filter(|other| *other == id);
            }
        }
        let (mut all, mut troubles, mut seen) = (Vec::new(), Vec::new(), FxHashSet::default());
        for id in (0..nodes.len()).map(|i| NodeId(i as u16)) {
            if seen.contains(&id) {
                continue;
            }
            match open(nodes, id, plan) {
                Ok(stack) => {
                    seen.extend(stack.local.iter().copied());
                    all.push(stack);
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        (Self { all, by_addr, by_end }, troubles)
    }

    /// What the kernel has measured by now, by sender and receiver.
    pub fn look(&mut self) -> io::Result<Vec<RoundTrip>> {
        let Self { all, by_addr, by_end } = self;
        let mut trips: FxHashMap<(NodeId, NodeId), RoundTrip> = FxHashMap::default();
        for stack in all {
            let mut socks: Vec<(Sock, Measured)> = Vec::new();
            let is_ours =
                |sock: &Sock| by_end.contains_key(&sock.local) || by_end.contains_key(&sock.remote);
            stack.diag.measured(|sock| {
                if let Some(measured) = sock.measured.filter(|_| is_ours(&sock)) {
                    socks.push((sock, measured));
                }
            })?;
            if let Some(sharing) = &mut stack.shared {
                sharing.learn(&socks)?;
            }
            for (sock, measured) in &socks {
                let who = |end: Endpoint, other: Endpoint| match &stack.shared {
                    Some(sharing) => sharing.who(by_end, end, other),
                    None => by_end.get(&end).copied().or(*by_addr.get(&end.addr)?),
                };
                let alone = Some(stack.local[0]).filter(|_| stack.local.len() == 1);
                let from = alone.or_else(|| who(sock.local, sock.remote));
                let (Some(from), Some(to)) = (from, who(sock.remote, sock.local)) else { continue };
                if from != to {
                    let trip = trips.entry((from, to)).or_insert_with(|| RoundTrip::none(from, to));
                    trip.add(measured);
                }
            }
        }
        let mut trips: Vec<RoundTrip> = trips.into_values().collect();
        trips.sort_by_key(|trip| (trip.from, trip.to));
        Ok(trips)
    }
}

fn open(nodes: &[Node], id: NodeId, plan: &Plan) -> Result<Stack, Trouble> {
    let (ns, local) = topology::home(nodes, id, plan)?;
    let ends = |id: &NodeId| (*id, nodes[usize::from(id.0)].endpoints.clone());
    let nodes: Vec<(NodeId, Vec<Endpoint>)> = local.iter().map(ends).collect();
    let opened = ns.enter(|| -> io::Result<(Diag, Option<Owners>)> {
        let owners = (nodes.len() > 1).then(|| Owners::open(nodes)).transpose()?;
        Ok((Diag::open()?, owners))
    });
    let (diag, owners) = opened.and_then(|opened| opened).map_err(|e| {
        let why = format!("the kernel does not list the sockets of {ns} ({e})");
        Trouble::new(why, "`raftq doctor` says what this host lacks")
    })?;
    let shared = owners.map(|owners| Sharing {
        owners,
        known: FxHashMap::default(),
        next_search: Nanos::ZERO,
    });
    Ok(Stack { diag, local, shared })
}

impl Sharing {
    /// Finds out who has connections that are new, and forgets those that are gone.
    fn learn(&mut self, socks: &[(Sock, Measured)]) -> io::Result<()> {
        let there: FxHashSet<_> = socks.iter().map(|(sock, _)| (sock.local, sock.remote)).collect();
        self.known.retain(|ends, _| there.contains(ends));
        let now = clock::now();
        let is_new = there.iter().any(|ends| !self.known.contains_key(ends));
        if !is_new || now < self.next_search {
            return Ok(());
        }
        self.next_search = now + SEARCH_EVERY;
        for found in self.owners.connections()? {
            let ends = [(found.a, found.b, found.a_node), (found.b, found.a, found.b_node)];
            for (end, other, node) in ends {
                if there.contains(&(end, other)) && self.known.len() < KNOWN_MAX {
                    self.known.insert((end, other), node);
                }
            }
        }
        Ok(())
    }

    /// Who holds the socket at `end`, where that is known.
    fn who(
        &self,
        by_end: &FxHashMap<Endpoint, NodeId>,
        end: Endpoint,
        other: Endpoint,
    ) -> Option<NodeId> {
        self.known.get(&(end, other)).copied().flatten().or_else(|| by_end.get(&end).copied())
    }
}

impl RoundTrip {
    fn none(from: NodeId, to: NodeId) -> Self {
        let (rtt_us, varies_us, idle_ms) = (0, 0, u32::MAX);
        Self { from, to, rtt_us, varies_us, least_us: None, connections: 0, resent: 0, idle_ms }
    }

    fn add(&mut self, measured: &Measured) {
        self.connections += 1;
        self.resent += u64::from(measured.resent);
        self.least_us = match (self.least_us, measured.least_us) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // A connection on which nothing is sent goes on telling what its handshake took.
        if measured.rtt_us > 0 && measured.idle_ms <= self.idle_ms {
            self.idle_ms = measured.idle_ms;
            (self.rtt_us, self.varies_us) = (measured.rtt_us, measured.varies_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_that_was_sent_on_last_tells_and_the_least_is_of_all() {
        let measured = |rtt_us, least_us, idle_ms| Measured {
            rtt_us,
            varies_us: 1,
            least_us,
            idle_ms,
            resent: 2,
        };
        let mut trip = RoundTrip::none(NodeId(0), NodeId(1));
        trip.add(&measured(900, Some(300), 50));
        trip.add(&measured(20_000, Some(700), 3));
        trip.add(&measured(100, None, 60_000));
        // One that has measured nothing tells nothing.
        trip.add(&measured(0, None, 0));
        assert_eq!((trip.rtt_us, trip.least_us), (20_000, Some(300)));
        assert_eq!((trip.connections, trip.resent), (4, 8));
    }
}
