//! A cluster of real etcd nodes: starting it, who leads, put and get, agreement.
//!
//! Calls go to etcd's HTTP/JSON gateway from the clients' namespace. What their errors mean for
//! a write: [`CallError::NotSent`] surely did nothing; everything else is **unknown**, also an
//! answer of 500 or 503, because a proposal that timed out may still be committed.
//!
//! Left out: authentication, TLS, changes of membership.

use crate::clock::{now, since, wait_for};
use crate::http::{CallError, Client, Pending};
use crate::netns::{Bridged, Namespace, Stack};
use crate::owner::Scratch;
use crate::process::{Launch, Process};
use crate::{Error, Result};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a node's own status, which needs no quorum, may take.
const STATUS_MAX: Duration = Duration::from_millis(500);

/// How often a condition on the cluster is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Where the nodes run; the place outlives the cluster.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    /// A namespace each, peers at 10.77.0.i:2380, clients at 10.77.0.i:2379.
    Bridged(&'p Bridged),
    /// One loopback, 127.0.0.1, with peers at port 2380 + 100 i and clients one below.
    Ports(&'p Stack),
    /// One loopback, peers at 127.0.0.i:2380, clients at 127.0.0.i:2379.
    Addresses127(&'p Stack),
}

/// How the nodes are set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Between two heartbeats of the leader.
    pub heartbeat: Duration,
    /// After which a follower without a heartbeat stands for election.
    pub election: Duration,
    /// How long the start may take until a leader is agreed on.
    pub start_max: Duration,
    /// The etcd program; [`find_etcd`]'s without.
    pub program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_secs(1),
            start_max: Duration::from_secs(20),
            program: None,
        }
    }
}

/// What a node says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its member id.
    pub member: u64,
    /// The member id of the leader it follows, itself included; none in a minority.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
}

/// What all nodes agreed on, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The leader's index.
    pub leader: usize,
    /// The key's value, the same at every node; none if the key is not there.
    pub value: Option<String>,
    /// How long it took until all agreed.
    pub after: Duration,
}

/// A running cluster; nodes are counted from 0 and named from n1.
#[derive(Debug)]
pub struct EtcdCluster<'p> {
    place: Place<'p>,
    nodes: Vec<Node>,
    // Last: the data goes when no node writes any more.
    scratch: Scratch,
}

#[derive(Debug)]
struct Node {
    process: Process,
    client: Client,
    base: String,
}

impl<'p> EtcdCluster<'p> {
    /// Starts `n` nodes and waits until all of them follow one leader.
    pub fn start(place: Place<'p>, n: usize, options: &Options) -> Result<Self> {
        let program = options.program.clone().map_or_else(find_etcd, Ok)?;
        let scratch = Scratch::new("rqetcd")?;
        let peers: Vec<String> =
            (0..n).map(|i| format!("{}=http://{}", name(i), place.peer(i))).collect();
        let peers = peers.join(",");
        let mut nodes = Vec::new();
        for i in 0..n {
            let launch = launch(place, i, &program, &peers, options, scratch.path());
            let process = Process::spawn(launch)?;
            let client = Client::new(Some(&place.clients().path()))?;
            nodes.push(Node { process, client, base: format!("http://{}", place.client(i)) });
        }
        let mut cluster = Self { place, nodes, scratch };
        cluster.wait_for_leader(options.start_max)?;
        Ok(cluster)
    }

    /// How many nodes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Where its nodes run.
    #[must_use]
    pub fn place(&self) -> Place<'p> {
        self.place
    }

    /// The folder, on tmpfs where there is one, with the nodes' data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Node `i`'s process, to kill, pause and resume.
    pub fn process(&mut self, i: usize) -> &mut Process {
        &mut self.nodes[i].process
    }

    /// Starts a node again that was killed, with the data it had.
    pub fn restart(&mut self, i: usize) -> Result<()> {
        let node = &mut self.nodes[i];
        if node.process.ended().is_none() {
            return Err(Error::new(format!("{} still runs; kill it before a restart", name(i))));
        }
        node.process = Process::spawn(node.process.launch().clone())?;
        Ok(())
    }

    /// Waits until every node follows the same leader; a node that has ended is an error at once.
    pub fn wait_for_leader(&mut self, limit: Duration) -> Result<usize> {
        let agreed = wait_for("a leader that all etcd nodes follow", limit, STEP, || {
            for node in &mut self.nodes {
                if let Some(status) = node.process.ended() {
                    return Some(Err(format!("{} ended ({status})", node.process.launch().name)));
                }
            }
            self.followed_by_all().map(Ok)
        });
        agreed.and_then(|found| found.map_err(Error::new)).map_err(|cause| self.with_logs(&cause))
    }

    /// The node that leads with the highest term, asking all at once; during a cut an old
    /// leader may still believe in itself.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.leader_among(&(0..self.size()).collect::<Vec<_>>())
    }

    /// The same, asking some nodes only.
    #[must_use]
    pub fn leader_among(&self, asked: &[usize]) -> Option<usize> {
        let statuses = self.statuses(asked);
        let leads = |(i, status): (usize, Status)| {
            (status.leader == Some(status.member)).then_some((status.term, i))
        };
        statuses.into_iter().filter_map(leads).max().map(|(_, i)| i)
    }

    /// What node `i` says about itself.
    pub fn status(&self, i: usize) -> std::result::Result<Status, CallError> {
        read_status(self.ask_status(i))
    }

    /// Writes through node `i`.
    pub fn put(
        &self,
        i: usize,
        key: &str,
        value: &str,
        limit: Duration,
    ) -> std::result::Result<(), CallError> {
        self.start_put(i, key, value, limit).wait().map(drop)
    }

    /// The same without waiting; the node's other calls queue up behind it.
    #[must_use]
    pub fn start_put(&self, i: usize, key: &str, value: &str, limit: Duration) -> Pending {
        let body = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) });
        self.call(i, "/v3/kv/put", body, limit)
    }

    /// A linearizable read through node `i`; `None` where the key is not there.
    pub fn get(
        &self,
        i: usize,
        key: &str,
        limit: Duration,
    ) -> std::result::Result<Option<String>, CallError> {
        self.range(i, json!({ "key": BASE64.encode(key) }), limit)
    }

    /// What node `i` itself holds, possibly stale: it asks no other node.
    pub fn get_local(
        &self,
        i: usize,
        key: &str,
        limit: Duration,
    ) -> std::result::Result<Option<String>, CallError> {
        self.range(i, json!({ "key": BASE64.encode(key), "serializable": true }), limit)
    }

    /// Waits until all nodes follow one leader, answer linearizable reads of `key` with one
    /// value, and hold that value themselves.
    pub fn agree(&self, key: &str, limit: Duration) -> Result<Agreement> {
        let start = now();
        let found = wait_for("all etcd nodes to agree", limit, STEP, || {
            let leader = self.followed_by_all()?;
            let value = self.get(0, key, STATUS_MAX).ok()?;
            let same = (0..self.size()).all(|i| {
                self.get(i, key, STATUS_MAX).as_ref() == Ok(&value)
                    && self.get_local(i, key, STATUS_MAX).as_ref() == Ok(&value)
            });
            same.then(|| Agreement { leader, value, after: since(start) })
        });
        found.map_err(|cause| self.with_logs(&cause))
    }

    /// The `cluster` section that makes raftq find these nodes from the host, or on a loopback
    /// from inside.
    #[must_use]
    pub fn cluster_yaml(&self) -> String {
        // On a loopback raftq runs inside the one namespace.
        let Place::Bridged(net) = self.place else { return self.addresses_yaml() };
        let mut yaml = String::from("cluster:\n  nodes:\n");
        for i in 0..self.size() {
            let (name, peer, space) = (name(i), self.place.peer(i), net.nodes()[i].name());
            let _ = writeln!(yaml, "    {name}: {{ at: \"{peer}\", netns: {space} }}");
        }
        yaml
    }

    /// The same without namespaces, for a raftq that runs where the addresses say it all.
    #[must_use]
    pub fn addresses_yaml(&self) -> String {
        let node = |i| format!("    {}: {{ at: \"{}\" }}\n", name(i), self.place.peer(i));
        let nodes: String = (0..self.size()).map(node).collect();
        format!("cluster:\n  nodes:\n{nodes}")
    }

    fn with_logs(&self, cause: &Error) -> Error {
        Error::new(format!("{cause}; the logs end\n{}", self.log_tails()))
    }

    /// The last lines of every node's log.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let tail = |node: &Node| {
            format!("  {}:\n{}\n", node.process.launch().name, node.process.log_tail())
        };
        self.nodes.iter().map(tail).collect()
    }

    fn followed_by_all(&self) -> Option<usize> {
        let statuses = self.statuses(&(0..self.size()).collect::<Vec<_>>());
        let leader = statuses.first()?.1.leader?;
        let unanimous = statuses.len() == self.size()
            && statuses.iter().all(|(_, status)| status.leader == Some(leader));
        let leads = |(i, status): &(usize, Status)| (status.member == leader).then_some(*i);
        if unanimous { statuses.iter().find_map(leads) } else { None }
    }

    /// The statuses of those that answer; all are asked before any answer is awaited.
    fn statuses(&self, asked: &[usize]) -> Vec<(usize, Status)> {
        let calls: Vec<_> = asked.iter().map(|&i| (i, self.ask_status(i))).collect();
        calls.into_iter().filter_map(|(i, call)| Some((i, read_status(call).ok()?))).collect()
    }

    fn ask_status(&self, i: usize) -> Pending {
        self.call(i, "/v3/maintenance/status", json!({}), STATUS_MAX)
    }

    fn range(
        &self,
        i: usize,
        body: Value,
        limit: Duration,
    ) -> std::result::Result<Option<String>, CallError> {
        let answer = self.call(i, "/v3/kv/range", body, limit).wait()?;
        let Some(found) = answer.pointer("/kvs/0") else { return Ok(None) };
        // The gateway leaves out what is empty.
        let value = found.get("value").and_then(Value::as_str).unwrap_or_default();
        let bytes = BASE64.decode(value).map_err(|error| CallError::Unknown(error.to_string()))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn call(&self, i: usize, path: &str, body: Value, limit: Duration) -> Pending {
        let node = &self.nodes[i];
        node.client.start(&format!("{}{path}", node.base), body, limit)
    }
}

impl Place<'_> {
    /// Node `i`'s peer address.
    #[must_use]
    pub fn peer(self, i: usize) -> SocketAddr {
        self.address(i, 0)
    }

    /// Node `i`'s client address.
    #[must_use]
    pub fn client(self, i: usize) -> SocketAddr {
        self.address(i, 1)
    }

    /// The namespace of node `i`.
    #[must_use]
    pub fn node(&self, i: usize) -> &Namespace {
        match self {
            Self::Bridged(net) => &net.nodes()[i],
            Self::Ports(stack) | Self::Addresses127(stack) => stack.namespace(),
        }
    }

    /// The namespace that clients call from.
    #[must_use]
    pub fn clients(&self) -> &Namespace {
        match self {
            Self::Bridged(net) => net.hub(),
            Self::Ports(stack) | Self::Addresses127(stack) => stack.namespace(),
        }
    }

    fn address(self, i: usize, below: u16) -> SocketAddr {
        let number = u8::try_from(i + 1).expect("a cluster has a few nodes");
        match self {
            Self::Bridged(_) => SocketAddr::new(Bridged::v4(i), 2380 - below),
            Self::Addresses127(_) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, number)), 2380 - below)
            }
            Self::Ports(_) => {
                let port = 2380 + 100 * u16::from(number) - below;
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
            }
        }
    }
}

/// A node's name: n1 for the first.
#[must_use]
pub fn name(i: usize) -> String {
    format!("n{}", i + 1)
}

/// The etcd program: `.tools/etcd` of this tree as `make setup` lays it, else the PATH's.
pub fn find_etcd() -> Result<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let ours = tree.map(|folder| folder.join(".tools/etcd/usr/bin/etcd"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let theirs: Vec<_> = std::env::split_paths(&path).map(|folder| folder.join("etcd")).collect();
    let missing = "there is no etcd in .tools/ or in PATH; `make setup` unpacks Debian's";
    ours.chain(theirs).find(|file| file.is_file()).ok_or_else(|| Error::new(missing))
}

fn read_status(call: Pending) -> std::result::Result<Status, CallError> {
    let answer = call.wait()?;
    // The gateway writes 64-bit numbers as strings, and leaves out those that are zero.
    let number = |at: &str| answer.pointer(at).and_then(Value::as_str)?.parse::<u64>().ok();
    let member = number("/header/member_id")
        .ok_or_else(|| CallError::Unknown(format!("no etcd status: {answer}")))?;
    let term = number("/raftTerm").unwrap_or(0);
    Ok(Status { member, leader: number("/leader").filter(|id| *id != 0), term })
}

fn launch(
    place: Place<'_>,
    i: usize,
    program: &Path,
    peers: &str,
    options: &Options,
    scratch: &Path,
) -> Launch {
    let peer = format!("http://{}", place.peer(i));
    let client = format!("http://{}", place.client(i));
    let data = scratch.join(name(i));
    let flags = [
        ("name", name(i)),
        ("data-dir", data.display().to_string()),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("initial-cluster", peers.to_owned()),
        ("initial-cluster-state", "new".to_owned()),
        ("heartbeat-interval", options.heartbeat.as_millis().to_string()),
        ("election-timeout", options.election.as_millis().to_string()),
        ("logger", "zap".to_owned()),
    ];
    let log = scratch.join(format!("{}.log", name(i)));
    Launch {
        name: format!("etcd {}", name(i)),
        program: program.to_owned(),
        args: flags.iter().map(|(flag, value)| format!("--{flag}={value}").into()).collect(),
        netns: Some(place.node(i).path()),
        stdout: log.clone(),
        stderr: log,
        env: Vec::new(),
        ended_by: Signal::SIGKILL,
    }
}
