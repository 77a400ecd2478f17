//! The shell around the kernel: the only floor with I/O, and the only one with unsafe code.
//!
//! ```text
//! clock.rs      the one monotonic clock
//! netns.rs      network namespaces: find, enter, tell apart
//! topology.rs   where a cluster's packets can be queued exactly once
//! iptables.rs   own chain and jump, installed and removed atomically
//! nftables.rs   the one nf_tables message that iptables cannot send
//! owners/       which process holds a socket
//! nfqueue.rs    the fast queue socket
//! ```

pub mod clock;
pub mod owners;
