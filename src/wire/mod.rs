//! Raft in the bytes of real systems: pure, no I/O, no clock.
//!
//! ```text
//! stream.rs     one direction of a TCP connection: its bytes in order, each once
//! reader.rs     all connections of a cluster, and what is read on them
//! decoder.rs    what a protocol has to do: the trait
//! embedded.rs, etcd/, hashicorp.rs, nats/    the protocols
//! message.rs    what all of them come to: one common message
//! ```
//!
//! Nothing here guesses. A decoder that loses the thread says so, and reads on only from a point
//! at which the framing is certain; meanwhile that direction testifies to nothing.

pub mod decoder;
pub mod message;
pub mod protocol;

pub use decoder::{Connection, Decoder, Known, Step, Tell, Way};
pub use message::{Entry, Group, Kind, Member, Message, Position};
pub use protocol::Protocol;
