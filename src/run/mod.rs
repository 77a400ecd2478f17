//! Threads, schedule, publication: what turns the parts into a running raftq.

pub mod asker;
pub mod attach;
pub mod attached;
mod cluster_host;
pub mod control;
pub mod disturb;
pub mod experiment;
pub mod found;
pub mod guardian;
pub mod healing;
pub mod host;
mod listening;
mod loads;
pub mod mailbox;
pub mod outcome;
pub mod reach;
pub mod schedule;
pub mod signalled;
pub mod spin;
pub mod status;
pub mod summary;
pub mod trace;
pub mod trims;
pub mod verdict;
pub mod verdict_loop;
pub mod watch;
pub mod verdict_text;
