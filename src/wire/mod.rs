//! Raft in the bytes of real systems: pure, no I/O, no clock.
//!
//! ```text
//! stream.rs     one direction of a TCP connection: its bytes in order, each once
//! thread.rs     what a decoder makes of them: what is kept, passed over, lost and regained
//! reader.rs     all connections of a cluster, and what is read on them
//! listener.rs   what one packet after the other completes
//! coverage.rs   how much of what was there was read
//! protocol.rs   the protocols by name
//! decoder.rs    what a protocol has to do: the trait
//! embedded.rs, etcd/, hashicorp/, nats/    the protocols
//! proto.rs, raftpb.rs    protobuf, and the messages that two of them share
//! message.rs    what all of them come to: one common message
//! ```
//!
//! Nothing here guesses. A decoder that loses the thread says so, and reads on only from a point
//! at which the framing is certain; meanwhile that direction testifies to nothing.

mod coverage;
pub mod decoder;
#[cfg(test)]
mod driven;
pub mod embedded;
pub mod etcd;
pub mod hashicorp;
pub mod listener;
pub mod message;
pub mod nats;
mod proto;
pub mod protocol;
mod raftpb;
pub mod reader;
#[cfg(test)]
mod reader_tests;
pub mod stream;
#[cfg(test)]
mod stream_tests;
mod thread;
#[cfg(test)]
mod thread_tests;

pub use coverage::Coverage;
pub use decoder::{Connection, Decoder, Known, Step, Tell, Way};
pub use listener::Listener;
pub use message::{Entry, Group, Groups, Kind, Member, Message, Position};
pub use protocol::Protocol;
pub use reader::{Heard, Reader, Segment};

/// The guide's example is compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../docs/wire.md")]
struct Guide;
