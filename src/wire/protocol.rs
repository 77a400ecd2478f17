//! The protocols that can be read, by name.

use super::decoder::{Connection, Decoder};
use super::embedded::Embedded;
use super::etcd::Etcd;
use super::hashicorp::Hashicorp;
use super::nats::Nats;

/// How a cluster's nodes speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The embedded node, and others that send tikv's raft-rs messages with a length before each.
    Embedded,
    /// etcd 3.4 and 3.5, between peers.
    Etcd,
    /// hashicorp/raft: Consul, Nomad and others, where TLS does not hide it.
    Hashicorp,
    /// NATS `JetStream`, on the routes between servers.
    Nats,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Embedded, Self::Etcd, Self::Hashicorp, Self::Nats];

    /// Its word in files and in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
            Self::Hashicorp => "hashicorp",
            Self::Nats => "nats",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.word() == word)
    }

    /// A decoder for a connection.
    #[must_use]
    pub fn decoder(self, connection: &Connection) -> Box<dyn Decoder> {
        match self {
            Self::Embedded => Box::new(Embedded::new(connection)),
            Self::Etcd => Box::new(Etcd::new(connection)),
            Self::Hashicorp => Box::new(Hashicorp::new(connection)),
            Self::Nats => Box::new(Nats::new(connection)),
        }
    }
}
