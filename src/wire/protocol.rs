//! The protocols that can be read.

/// How a cluster speaks Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// raft-rs messages behind their length, as the embedded node sends them.
    Embedded,
    /// etcd's rafthttp.
    Etcd,
    /// hashicorp/raft: Consul, Nomad, Vault.
    Hashicorp,
    /// NATS, between its servers.
    Nats,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Embedded, Self::Etcd, Self::Hashicorp, Self::Nats];

    /// Its word in rule files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
            Self::Hashicorp => "hashicorp",
            Self::Nats => "nats",
        }
    }

    /// The protocol of that word.
    #[must_use]
    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.word() == word)
    }
}
