//! raftq puts the network of a real Raft cluster under control.
//!
//! The map, from the ground up; a file imports only from its own floor and below
//! (`tests/tidy.rs` checks it):
//!
//! ```text
//! 5  main.rs, cli/        arguments to calls; nothing else
//! 4  run/ report/ watch/  threads, schedule, attach, guardian; what a run tells its readers
//! 3  kernel/              queue socket, iptables, namespaces, socket owners, clock  (the only I/O)
//! 2  engine/ observe/     decide, hold, release; what messages tell                (pure)
//! 1  rules/ wire/         YAML -> table; bytes -> Raft messages                    (pure)
//! 0  packet.rs time.rs    checked views, ids, nanoseconds
//! ```
//!
//! Read `ARCHITECTURE.md` for why, `engine/mod.rs` for what happens to a packet.

pub mod cli;
pub mod engine;
pub mod kernel;
pub mod observe;
pub mod packet;
pub mod report;
pub mod rules;
pub mod run;
pub mod time;
pub mod watch;
pub mod wire;
