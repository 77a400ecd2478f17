//! The load: small programs that the driver starts, each one process on one core.
//!
//! ```text
//! udp.rs    flood and its sink: 64-byte datagrams, flat out or paced
//! tcp.rs    ping and echo (round trips), pour and drain (one bulk stream)
//! beside.rs raftq with clients in the same process
//! spin.rs   a competitor that only burns its core
//! meter.rs  what sinks share: a total that is printed whenever the driver asks
//! ```
//!
//! Sinks say `ready` once they listen, then answer each line on stdin with one line
//! `COUNT NANOSECONDS LOST`. Sources run for the time they are given. None of them checks what it
//! receives: they count, and the driver compares.

pub(crate) mod beside;
pub(crate) mod meter;
pub(crate) mod spin;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::io;

/// What every load program returns.
pub(crate) type Done = io::Result<()>;
