//! What a node is told on its command line.

use crate::bugs::Bug;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `raftq node`.
#[derive(Debug, Clone, clap::Args)]
pub struct NodeArgs {
    /// This node's name, one of those in --peers
    #[arg(long)]
    pub name: String,
    /// The folder for its log and snapshot; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The nodes that the cluster begins with, or with --join those that may be asked; this one
    /// included, with the address for its peers
    #[arg(long, value_name = "NAME=IP:PORT,...", value_parser = Peers::parse)]
    pub peers: Peers,
    /// Where clients call by HTTP
    #[arg(long, value_name = "IP:PORT")]
    pub listen_client: SocketAddr,
    /// With an empty --data, wait to be added to a cluster that exists, instead of beginning one
    #[arg(long)]
    pub join: bool,
    /// How long a follower waits for its leader before it stands for election; up to twice
    #[arg(long, value_name = "MS", default_value = "500", value_parser = ms(50, 60_000))]
    pub election_ms: u64,
    /// Time between a leader's heartbeats
    #[arg(long, value_name = "MS", default_value = "50", value_parser = ms(5, 10_000))]
    pub heartbeat_ms: u64,
    /// After how long a request that got no answer from the cluster is given up
    #[arg(long, value_name = "MS", default_value = "5000", value_parser = ms(10, 600_000))]
    pub request_ms: u64,
    /// Take a snapshot, and drop the log before it, each time so many entries were applied
    #[arg(long, value_name = "N", default_value = "10000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_every: u64,
    /// A name that the nodes of one cluster share, and no other cluster has
    #[arg(long, value_name = "NAME", default_value = "raftq")]
    pub cluster: String,
    /// Run with a deliberate bug (repeatable)
    #[arg(long = "bug", value_name = "NAME", value_enum)]
    pub bugs: Vec<Bug>,
}

fn ms(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(least..=most)
}

/// The nodes of the command line; ids are given in the order of the names, from 1. Who is a
/// member later on is in `members.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers(BTreeMap<String, SocketAddr>);

impl Peers {
    fn parse(text: &str) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for one in text.split(',') {
            let (name, address) = one
                .split_once('=')
                .ok_or_else(|| format!("`{one}` is not NAME=IP:PORT, such as n1=10.0.0.1:2380"))?;
            let address: SocketAddr = address
                .parse()
                .map_err(|_| format!("`{address}` is not IP:PORT, such as 10.0.0.1:2380"))?;
            if name.is_empty() || peers.insert(name.to_owned(), address).is_some() {
                return Err(format!("the name `{name}` is empty, or there twice"));
            }
        }
        let addresses: std::collections::BTreeSet<_> = peers.values().collect();
        if addresses.len() < peers.len() {
            return Err("two nodes have the same address".into());
        }
        Ok(Self(peers))
    }

    /// Every member: id, name and address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &str, SocketAddr)> {
        (1..).zip(&self.0).map(|(id, (name, address))| (id, name.as_str(), *address))
    }

    /// The id and address of a name.
    pub(crate) fn find(&self, name: &str) -> Option<(u64, SocketAddr)> {
        self.iter().find(|(_, n, _)| *n == name).map(|(id, _, address)| (id, address))
    }
}

impl NodeArgs {
    /// The time of one tick; a heartbeat is one.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// Ticks that a follower waits at least.
    pub(crate) fn election_ticks(&self) -> usize {
        usize::try_from(self.election_ms / self.heartbeat_ms).unwrap_or(usize::MAX).max(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_numbered_by_name() {
        let peers = Peers::parse("n2=10.0.0.2:1,n1=10.0.0.1:1").expect("peers");
        assert_eq!(peers.find("n1").map(|(id, _)| id), Some(1));
        assert_eq!(
            peers.iter().map(|(id, name, _)| (id, name)).collect::<Vec<_>>(),
            [(1, "n1"), (2, "n2")]
        );
    }

    #[test]
    fn wrong_members_are_refused_with_what_is_wrong() {
        let told = |text: &str| Peers::parse(text).expect_err("refused");
        assert!(told("n1").contains("NAME=IP:PORT"));
        assert!(told("n1=host:1").contains("`host:1` is not IP:PORT"));
        assert!(told("n1=10.0.0.1:1,n1=10.0.0.2:1").contains("there twice"));
        assert!(told("n1=10.0.0.1:1,n2=10.0.0.1:1").contains("the same address"));
    }
}
