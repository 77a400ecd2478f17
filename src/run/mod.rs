//! Threads, schedule, publication: what turns the parts into a running raftq.

pub mod asker;
pub mod attach;
pub mod guardian;
pub mod mailbox;
pub mod spin;
pub mod trace;
pub mod trims;
pub mod verdict_loop;
