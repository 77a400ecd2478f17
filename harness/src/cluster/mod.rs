//! A cluster of real processes that an adapter describes: started, disturbed, and ended.
//!
//! Dropping a [`Cluster`] ends its processes and removes its namespaces, in this order. After a
//! SIGKILL of the owner the processes end by their death signal, and `harness-clean` or `raftq
//! clean` removes the rest. It knows nothing of packets: what a dead or silent node's packets do
//! is for others.
//!
//! ```text
//! place     which address and ports each node has
//! node      one node with its processes, its data, its log and its state
//! deaths    nodes that end without being told to, noticed at once
//! roles     who leads, asked again and again beside everything else
//! members   who belongs to the cluster: added, removed, replaced; leadership, snapshots
//! ```

mod deaths;
mod members;
mod node;
mod place;
mod roles;

use crate::adapter::{Adapter, NodePlace};
use crate::clock::{Deadline, interrupted, wait_for};
use crate::error::Context as _;
use crate::netns::Namespace;
use crate::owner::Scratch;
use crate::{Error, Result};
use deaths::{Deaths, Watchman};
use node::Node;
use place::Net;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use deaths::{Change, ChangedTo, Death, Start};
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
    // Threads go first, then processes, then the network that they run in.
    roles: Roles,
    _watchman: Watchman,
    nodes: Arc<Vec<Mutex<Node>>>,
    deaths: Arc<Deaths>,
    given_up: AtomicBool,
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
        let deaths = Deaths::new()?;
        let node = |(i, place): (usize, &NodePlace)| {
            let log = logs.join(format!("{}.log", place.name));
            let own = (i, place.name.as_str());
            Mutex::new(Node::new(own, place.data.clone(), log, Arc::clone(&deaths)))
        };
        let nodes = Arc::new(places.iter().enumerate().map(node).collect::<Vec<_>>());
        let watchman = Watchman::start(&deaths, &nodes)?;
        let roles = Roles::start(adapter, &places, &net.clients().path())?;
        let adapter = adapter.clone();
        let given_up = AtomicBool::new(false);
        let cluster = Self {
            roles,
            _watchman: watchman,
            nodes,
            deaths,
            given_up,
            places,
            adapter,
            net,
            _data: data,
        };
        for i in 0..cluster.size() {
            cluster.restart(i)?;
        }
        let limit = cluster.adapter.start_within();
        cluster.wait_for_leader(limit)?;
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
        let mut yaml = String::from("cluster:\n");
        if let Some(protocol) = self.adapter.protocol() {
            let _ = writeln!(yaml, "  protocol: {protocol}");
        }
        yaml.push_str("  nodes:\n");
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

    /// SIGTERM, and SIGKILL if it has not ended after a while, which is then said.
    pub fn stop(&self, i: usize) -> Result<Option<String>> {
        self.node(i).stop()
    }

    /// Starts a node that is down, with the data it has.
    pub fn restart(&self, i: usize) -> Result<()> {
        if !self.is_member(i) {
            let name = self.name(i);
            return Err(Error::new(format!("{name} was removed; it comes back by `add`")));
        }
        let launch = self.adapter.launch(&self.places, i, &self.joining(i));
        let launch = launch.context(|| self.name(i).to_owned())?;
        self.net.check_ports(&self.places[i])?;
        self.node(i).start(launch, self.places[i].netns.clone())
    }

    /// Stops a node, starts it, and waits until it and all others that run follow one leader.
    pub fn roll(&self, i: usize) -> Result<Option<String>> {
        let killed = self.stop(i)?;
        self.restart(i)?;
        self.wait_until_agreed(
            self.adapter.start_within(),
            &format!("the start of {}", self.name(i)),
        )?;
        Ok(killed)
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

    /// Ends what waits for the cluster itself, on other threads, now and from now on: changes of
    /// membership, and starts that wait for a leader. What was begun may be half done.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) || interrupted()
    }

    /// Every death so far that nobody ordered.
    #[must_use]
    pub fn died(&self) -> Vec<Death> {
        // Whoever ended just now has its say first.
        for i in 0..self.size() {
            let _ = self.state(i);
        }
        self.deaths.all()
    }

    /// Has every such death told when it happens, and those that there were. Called on a thread
    /// of the cluster's, so it must not ask the cluster anything.
    pub fn on_death(&self, tell: impl Fn(&Death) + Send + 'static) {
        self.deaths.tell(Box::new(tell));
    }

    /// Has every start from now on told, before its process is there. Called on whatever thread
    /// starts it, so it must not ask the cluster anything.
    pub fn on_start(&self, tell: impl Fn(&Start) + Send + 'static) {
        self.deaths.tell_starts(Box::new(tell));
    }

    /// Has everything told from now on that becomes of nodes' processes. Called on whatever thread
    /// does it, so it must not ask the cluster anything.
    pub fn on_change(&self, tell: impl Fn(&Change) + Send + 'static) {
        self.deaths.tell_changes(Box::new(tell));
    }

    /// Everything as it was: paused nodes go on, those that are down are started again. What was
    /// removed from the cluster stays removed.
    pub fn mend(&self) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for i in 0..self.size() {
            match self.state(i) {
                NodeState::Paused => {
                    self.resume(i)?;
                    done.push(format!("resumed {}", self.name(i)));
                }
                NodeState::Down if self.is_member(i) => {
                    self.restart(i)?;
                    done.push(format!("restarted {}", self.name(i)));
                }
                NodeState::Down | NodeState::Running | NodeState::Died(_) => {}
            }
        }
        Ok(done)
    }

    /// Waits until every running node follows the same leader. A node that ended by itself is an
    /// error at once.
    pub fn wait_for_leader(&self, limit: Duration) -> Result<usize> {
        self.wait_until_agreed(limit, "the start")
    }

    fn wait_until_agreed(&self, limit: Duration, since: &str) -> Result<usize> {
        let deadline = Deadline::after(limit);
        let found = wait_for("a leader that all nodes follow", limit, STEP, || {
            if self.has_given_up() {
                return Some(Err(Error::new(format!(
                    "given up waiting for a leader after {since}"
                ))));
            }
            let dead = (0..self.size()).find_map(|i| match self.state(i) {
                NodeState::Died(how) => Some((i, how)),
                _ => None,
            });
            if let Some((i, how)) = dead {
                let (name, tail) = (self.name(i), self.node(i).log_tail());
                let told = format!("{name} ended by itself: {how}; its log ends\n{tail}");
                return Some(Err(Error::new(told)));
            }
            self.followed_by_all().map(Ok)
        });
        match found {
            Ok(found) => found,
            Err(_) if deadline.passed() => Err(Error::new(format!(
                "no leader was found within {limit:?} of {since}; the nodes said last\n{}",
                self.last_words()
            ))),
            Err(interrupted) => Err(interrupted),
        }
    }

    fn followed_by_all(&self) -> Option<usize> {
        let running: Vec<usize> =
            (0..self.size()).filter(|&i| self.state(i) == NodeState::Running).collect();
        // What a node said before it was started again means another life of it.
        let fresh = |&i: &usize| self.roles.view(i).at >= self.node(i).started();
        running.iter().all(fresh).then(|| self.roles.agreed(&running)).flatten()
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
