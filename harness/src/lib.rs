//! Clusters of real processes, their clients, and the guards that leave nothing behind.
//!
//! This package cannot see packets: the code that judges what a cluster did knows only what its
//! clients were answered. From the ground up:
//!
//! ```text
//! bin/          raftq-demo, raftq-probe, harness-clean
//! demo          a leader cut off by raftq, told and checked
//! etcd          a cluster of etcd nodes: start, who leads, put and get, agreement
//! probe         request-answer and one-way streams over TCP and UDP, told as JSON lines
//! check         did the cluster keep its promises
//! clients       threads that call, the history they write, whether writes succeed
//! workload      what a client does next
//! cluster       real processes in their network: start, kill, pause, who leads, who belongs
//! adapter       how one Raft implementation is started, called and understood
//! history       what clients called and were answered
//! system        the words that adapters, clusters and clients share
//! http process  JSON calls from inside a namespace; processes that cannot outlive their owner
//! family        a node's process with all that it started, acted on as one
//! firewall      what it looks like, before and after
//! netns         a bridge with a namespace per node, or one namespace with loopback
//! schema        JSON schemas from types
//! owner clock   whose object a name is; waiting for conditions
//! error         causes as sentences
//! ```

pub mod adapter;
pub mod check;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod demo;
pub mod error;
pub mod etcd;
pub mod family;
pub mod firewall;
pub mod history;
pub mod http;
pub mod netns;
pub mod owner;
pub mod probe;
pub mod process;
pub mod schema;
pub mod system;
pub mod workload;

pub use error::{Error, Result};

/// Removes what killed owners left on this host, and names it: processes of their nodes,
/// namespaces with whoever is inside, folders. What a living process owns is left alone.
pub fn clean() -> Result<Vec<String>> {
    let mut removed = family::clean_processes()?;
    removed.extend(netns::clean_host()?);
    removed.extend(owner::clean_scratch());
    Ok(removed)
}
