//! The shell around the kernel: the only floor with I/O, and the only one with unsafe code.
//!
//! ```text
//! clock.rs      the one monotonic clock
//! trouble.rs    an error with a way out
//! netlink.rs    a few netlink requests by hand
//! netns.rs      network namespaces: find, enter, tell apart (container.rs: by container)
//! links.rs      interfaces and addresses of a namespace
//! topology.rs   where a cluster's packets can be queued exactly once
//! chains.rs     a site's rules as text
//! iptables.rs   own chain and jump, installed and removed atomically (restore.rs: programs)
//! foreign.rs    rules of others that hide packets from ours, or ours from them
//! record.rs     what was put in, written down first (clean.rs: removal after a death)
//! door.rs       the control socket and the loopback address (http.rs: requests; caller.rs: the
//!               other end)
//! diag.rs       the kernel's list of sockets (round_trips.rs: what it measured between nodes)
//! doctor.rs     what this host lacks
//! process.rs    whether a process lives, and since when
//! pidfd.rs      signals to processes that raftq did not start
//! nftables.rs   the few nf_tables messages that iptables cannot send
//! owners/       which process holds a socket
//! queue.rs      a packet queue as the loop sees it
//! nfqueue.rs    the fast queue socket, nfq_twin.rs its twin
//!               (nfnetlink.rs: messages as bytes; outbox.rs: answers as messages)
//! inject.rs     packets of raftq's own
//! losses.rs     packets that a queue lost
//! heart.rs poll.rs sched.rs   the loop's heartbeat, waiting and urgency
//! ```

pub mod caller;
pub mod chains;
pub mod clean;
pub mod clock;
pub mod container;
mod diag;
pub mod doctor;
pub mod door;
pub mod foreign;
pub mod heart;
pub mod http;
pub mod inject;
pub mod iptables;
pub mod links;
pub mod losses;
pub mod netlink;
pub mod netns;
mod nfnetlink;
pub mod nfq_twin;
pub mod nfqueue;
pub mod nftables;
mod outbox;
pub mod owners;
pub mod pidfd;
pub mod poll;
pub mod process;
pub mod queue;
pub mod record;
pub mod restore;
pub mod round_trips;
pub mod sched;
pub mod signals;
pub mod topology;
pub mod trouble;
