//! A cluster of real processes that an adapter describes: started, disturbed, and ended.
//!
//! Dropping a [`Cluster`] ends its processes and removes its namespaces, in this order. After a
//! SIGKILL of the owner the processes end by their death signal, and `harness-clean` or `raftq
//! clean` removes the rest. It knows nothing of packets: what a dead or silent node's packets do
//! is for others.
//!
//! ```text
//! place     which address and ports each node has
//! node      one process with its data, its log and its state
//! roles     who leads, asked again and again beside everything else
//! ```

mod node;
mod place;
mod roles;

use crate::adapter::{Adapter, NodePlace};
use crate::clock::{Deadline, wait_for};
use crate::netns::Namespace;
use crate::owner::Scratch;
use crate::{Error, Result};
use node::Node;
use place::Net;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use node::NodeState;
pub use place::Topology;
pub use roles::{Roles, View};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes.
    pub nodes: usize,
    /// Where they run.
    pub topology: Topology,
    /// The folder for their logs, `nodes/n1.log` and on.
    pub folder: PathBuf,
}

/// A running cluster; nodes are counted from 0 and named from n1.
#[derive(Debug)]
pub struct Cluster {
    // Asked threads go first, then processes, then the network that they run in.
    roles: Roles,
    nodes: Vec<Mutex<Node>>,
    places: Vec<NodePlace>,
    adapter: Adapter,
    net: Net,
    _data: Scratch,
}

impl Cluster {
    /// Starts every node and waits until all of them follow one leader. The error names the
    /// node and bears the end of its log.
    pub fn start(adapter: &Adapter, options: &Options) -> Result<Self> {
        let data = Scratch::new("rqdata")?;
        let net = Net::new(options.topology, options.nodes)?;
        let places = net.places(adapter.ports(), options.nodes, data.path());
        let logs = options.folder.join("nodes");
        fs::create_dir_all(&logs)
            .map_err(|e| Error::new(format!("making {}: {e}", logs.display())))?;
        Net::check_distinct(&places)?;
        let mut nodes = Vec::new();
        for (i, place) in places.iter().enumerate() {
            net.check_ports(place)?;
            let log = logs.join(format!("{}.log", place.name));
            let mut node = Node::new(&place.name, place.data.clone(), log);
            node.start(adapter.launch(&places, i)?, place.netns.clone())?;
            nodes.push(Mutex::new(node));
        }
        let roles = Roles::start(adapter, &places, &net.clients().path())?;
        let cluster = Self { roles, nodes, places, adapter: adapter.clone(), net, _data: data };
        cluster.wait_for_leader(adapter.start_within())?;
        Ok(cluster)
    }

    /// How many nodes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Node `i`'s name.
    #[must_use]
    pub fn name(&self, i: usize) -> &str {
        &self.places[i].name
    }

    /// Where the nodes are.
    #[must_use]
    pub fn places(&self) -> &[NodePlace] {
        &self.places
    }

    /// The adapter it was started by.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The namespace that clients call from.
    #[must_use]
    pub fn clients(&self) -> &Namespace {
        self.net.clients()
    }

    /// The namespace that raftq has to be in, where nodes share one.
    #[must_use]
    pub fn shared_stack(&self) -> Option<&Namespace> {
        self.net.shared()
    }

    /// Who leads, as last heard.
    #[must_use]
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The `cluster` section that makes raftq find these nodes.
    #[must_use]
    pub fn cluster_yaml(&self) -> String {
        let mut yaml = String::from("cluster:\n  nodes:\n");
        for place in &self.places {
            let at = std::net::SocketAddr::new(place.address, place.ports["peer"]);
            let netns = match &place.netns {
                Some(path) => format!(", netns: \"{}\"", path.display()),
                None => String::new(),
            };
            let _ = writeln!(yaml, "    {}: {{ at: \"{at}\"{netns} }}", place.name);
        }
        yaml
    }

    /// SIGKILL; returns when the process is reaped, and its sockets with it.
    pub fn kill(&self, i: usize) -> Result<()> {
        self.node(i).kill()
    }

    /// SIGSTOP; returns when the process stands still.
    pub fn pause(&self, i: usize) -> Result<()> {
        self.node(i).pause()
    }

    /// Lets a paused node go on.
    pub fn resume(&self, i: usize) -> Result<()> {
        self.node(i).resume()
    }

    /// Starts a node again that was killed, with the data it had.
    pub fn restart(&self, i: usize) -> Result<()> {
        let launch = self.adapter.launch(&self.places, i)?;
        self.net.check_ports(&self.places[i])?;
        self.node(i).start(launch, self.places[i].netns.clone())
    }

    /// Removes a killed node's data. Raft does not survive that: the node has forgotten what it
    /// voted and promised.
    pub fn wipe(&self, i: usize) -> Result<()> {
        self.node(i).wipe()
    }

    /// How node `i` is.
    #[must_use]
    pub fn state(&self, i: usize) -> NodeState {
        self.node(i).state()
    }

    /// Nodes that ended without being told to, with how they ended and the end of their logs.
    #[must_use]
    pub fn died(&self) -> Vec<(usize, String)> {
        let told = |i: usize| {
            let mut node = self.node(i);
            match node.state() {
                NodeState::Died(how) => {
                    Some((i, format!("{how}; its log ends\n{}", node.log_tail())))
                }
                _ => None,
            }
        };
        (0..self.size()).filter_map(told).collect()
    }

    /// Everything as it was: paused nodes go on, killed ones are started again.
    pub fn mend(&self) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for i in 0..self.size() {
            match self.state(i) {
                NodeState::Paused => {
                    self.resume(i)?;
                    done.push(format!("resumed {}", self.name(i)));
                }
                NodeState::Down => {
                    self.restart(i)?;
                    done.push(format!("restarted {}", self.name(i)));
                }
                NodeState::Running | NodeState::Died(_) => {}
            }
        }
        Ok(done)
    }

    /// Waits until every running node follows the same leader. A node that ends meanwhile is an
    /// error at once.
    pub fn wait_for_leader(&self, limit: Duration) -> Result<usize> {
        let deadline = Deadline::after(limit);
        let found = wait_for("a leader that all nodes follow", limit, STEP, || {
            if let Some((i, how)) = self.died().into_iter().next() {
                return Some(Err(Error::new(format!("{} ended by itself: {how}", self.name(i)))));
            }
            self.followed_by_all().map(Ok)
        });
        match found {
            Ok(found) => found,
            Err(_) if deadline.passed() => Err(Error::new(format!(
                "no leader was found within {limit:?} of the start; the nodes said last\n{}",
                self.last_words()
            ))),
            Err(interrupted) => Err(interrupted),
        }
    }

    fn followed_by_all(&self) -> Option<usize> {
        let running: Vec<usize> =
            (0..self.size()).filter(|&i| self.state(i) == NodeState::Running).collect();
        self.roles.agreed(&running)
    }

    /// What each node said last, and the ends of their logs.
    #[must_use]
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        for i in 0..self.size() {
            let tail = self.node(i).log_tail();
            let _ = writeln!(words, "  {}: {}\n{tail}", self.name(i), self.roles.last_word(i));
        }
        words
    }

    fn node(&self, i: usize) -> MutexGuard<'_, Node> {
        // A thread that panicked inside has left a process that can still be ended.
        self.nodes[i].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's log.
    #[must_use]
    pub fn log(&self, i: usize) -> PathBuf {
        self.node(i).log().to_owned()
    }
}
