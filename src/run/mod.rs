//! Threads, schedule, publication: what turns the parts into a running raftq.
