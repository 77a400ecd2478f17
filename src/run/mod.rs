//! Threads, schedule, publication: what turns the parts into a running raftq.

pub mod mailbox;
pub mod spin;
pub mod trace;
pub mod trims;
pub mod verdict_loop;
