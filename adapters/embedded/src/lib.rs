//! One node of a small, honest Raft key-value cluster, on tikv's `raft` crate.
//!
//! It is the system that raftq can always start: pre-vote, check-quorum, linearizable reads, a
//! write-ahead log with fsync, snapshots, and an HTTP API. It dials its peers from its own
//! address, so that a packet's sender is plain even on 127.0.0.x. It is not a database:
//! everything is in memory, and a value is as large as a JSON body may be.
//!
//! ```text
//! config     what a node is told on its command line
//! server     the threads: opens everything, and ends when told or when the disk fails
//! http       requests to tasks, answers to JSON
//! core       the one thread that holds Raft: inputs, ready loop, pending requests
//! core/kept  what is written to disk, and when; snapshots of its own and of the leader
//! core/admin members come and go, leadership moves, the log is compacted
//! peers      connections to and from the other nodes; the framing on the wire
//! join       how a node that joins learns its id
//! storage    what the crate reads its log from
//! wal disk   the log on disk; the snapshot on disk
//! machine    the map of keys and values, and the members (pure)
//! members    who belongs to the cluster; ids are never used again (pure)
//! command    what is proposed and what comes of it (pure)
//! bugs       deliberate ones, at the crate's border; a healthy node runs none of it
//! clock      the one reading of time
//! ```

pub mod bugs;
mod clock;
mod command;
mod config;
mod core;
mod disk;
mod http;
mod join;
mod machine;
mod members;
mod peers;
mod pending;
mod server;
mod storage;
mod wal;

pub use config::NodeArgs;
pub use server::{BAD_INPUT, ENVIRONMENT, Trouble, run};
