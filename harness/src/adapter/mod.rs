//! How raftq speaks to one Raft implementation: data in `adapters/`, read and obeyed here.
//!
//! An adapter says what to start for a node, how a node tells who leads, how each operation is
//! called, and above all what each answer is worth. `adapters/README.md` is its contract. What
//! an adapter's answers do not settle is unknown; nothing here guesses, repeats a call or
//! follows a redirect.
//!
//! ```text
//! file      what an adapter file says
//! tree      its text with the place of every value, and variants merged into it
//! check     everything that is wrong with it at once
//! find      where adapters and programs are
//! template  filling in names, keys and values; asking about answers
//! http      one call over a kept connection, and what surely was not sent
//! command   one run of a program
//! driver    a process that makes calls, spoken to in JSON lines
//! answer    what came back, and what it is worth
//! session   requests of clients, and questions about a node's state
//! admin     calls about the cluster itself: its members, its leader, its snapshots
//! members   which members a running cluster has
//! ```

mod admin;
mod answer;
mod check;
mod command;
mod driver;
mod file;
mod find;
mod http;
mod members;
mod session;
mod template;
mod tree;

use crate::error::Context as _;
use crate::system::{Failure, NodeStatus, Operation, Promise, Session};
use crate::{Error, Result};
use file::AdapterFile;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use template::Templates;

pub use admin::{Admin, Joining, Subject};
pub use check::schema;
pub use find::shipped;
pub use members::Member;

/// Where one node of a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodePlace {
    /// Its name, n1 for the first.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its ports by the adapter's names; `peer` and `client` are always there.
    pub ports: BTreeMap<String, u16>,
    /// Its own data folder; empty for a cluster that raftq did not start.
    pub data: PathBuf,
    /// The namespace it runs in; the owner's own without.
    pub netns: Option<PathBuf>,
}

/// What to start for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLaunch {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, beside that of raftq.
    pub env: Vec<(String, String)>,
    /// Files to be written before the start, each with its text.
    pub files: Vec<(PathBuf, String)>,
}

/// One implementation, ready to be spoken to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Adapter {
    inner: Arc<Inner>,
    extra: Vec<String>,
    logs: Option<PathBuf>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    file: AdapterFile,
    templates: Templates,
    drivers: Mutex<session::Drivers>,
}

/// Asks one node about its state, over a connection of its own.
pub trait Watch: Send {
    /// What the node says about itself.
    fn status(&mut self, limit: Duration) -> std::result::Result<NodeStatus, Failure>;
}

impl Adapter {
    /// Loads an adapter by name, `etcd`; with variants, `etcd:serializable`; or from a file.
    pub fn load(what: &str) -> Result<Self> {
        let (text, origin, variants) = find::text(what)?;
        Self::read(&text, &origin, what, &variants)
    }

    fn read(text: &str, origin: &Path, name: &str, variants: &[&str]) -> Result<Self> {
        let templates = Templates::new();
        let file = check::read(text, &origin.display().to_string(), variants, &templates)?;
        let inner = Inner { name: name.to_owned(), file, templates, drivers: Mutex::default() };
        Ok(Self { inner: Arc::new(inner), extra: Vec::new(), logs: None })
    }

    /// The same with further arguments for every node.
    #[must_use]
    pub fn with_extra(mut self, args: &[String]) -> Self {
        self.extra.extend_from_slice(args);
        self
    }

    /// The same with a folder for what drivers log; it is not kept without.
    #[must_use]
    pub fn with_logs(mut self, folder: &Path) -> Self {
        self.logs = Some(folder.to_owned());
        self
    }

    /// Its name, with the variants that were chosen.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A node's ports where nodes have addresses of their own, by name.
    #[must_use]
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.inner.file.node.ports
    }

    /// How long a cluster may take from its start until a leader is known.
    #[must_use]
    pub fn start_within(&self) -> Duration {
        self.inner.file.node.start_within.0
    }

    /// How long the system itself needs to take writes again after everything was healed; zero
    /// where the adapter does not say.
    #[must_use]
    pub fn recovers_within(&self) -> Duration {
        self.inner.file.node.recovers_within.map_or(Duration::ZERO, |length| length.0)
    }

    /// How its nodes speak Raft to each other, by the word that rule files have for it.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        self.inner.file.protocol.map(file::Protocol::word)
    }

    /// The names of its variants.
    pub fn variants(&self) -> impl Iterator<Item = &str> {
        self.inner.file.variants.keys().map(String::as_str)
    }

    /// What the system offers, and what it promises of each.
    #[must_use]
    pub fn promises(&self) -> BTreeMap<Operation, Promise> {
        self.inner
            .file
            .operations
            .iter()
            .map(|(operation, call)| (*operation, call.promise))
            .collect()
    }

    /// What to start for node `i`.
    pub fn launch(&self, nodes: &[NodePlace], i: usize, joining: &Joining) -> Result<NodeLaunch> {
        let node = &self.inner.file.node;
        let members: Vec<_> = joining.members.iter().map(|&i| about(nodes, i)).collect();
        let context = minijinja::context! { node => about(nodes, i), nodes => all(nodes), members };
        let join_args = node.join_args.iter().filter(|_| joining.joined);
        let fill = |text: &str| self.inner.templates.fill(text, &context);
        let program = fill(&node.program.0).context(|| "node.program".into())?;
        let program = find::program(&program)?;
        let args = node.args.iter().chain(&node.more_args).chain(join_args).map(|arg| fill(&arg.0));
        let args = args.chain(self.extra.iter().cloned().map(Ok));
        let data = &nodes[i].data;
        let files = node.files.iter().map(|(name, text)| Ok((data.join(name), fill(&text.0)?)));
        Ok(NodeLaunch {
            program,
            args: args.map(|arg| arg.map(OsString::from)).collect::<Result<_>>()?,
            env: node
                .env
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(&value.0)?)))
                .collect::<Result<_>>()?,
            files: files.collect::<Result<_>>()?,
        })
    }

    /// A client's connection to node `i`; opened by its first call, on that thread.
    pub fn session(&self, nodes: &[NodePlace], i: usize) -> Result<Box<dyn Session>> {
        Ok(Box::new(session::NodeSession::new(self, nodes, i)?))
    }

    /// A connection to node `i` for questions about its state.
    pub fn watch(&self, nodes: &[NodePlace], i: usize) -> Result<Box<dyn Watch>> {
        Ok(Box::new(session::StatusWatch::new(self, nodes, i)?))
    }
}

/// A node as templates see it.
fn about(nodes: &[NodePlace], i: usize) -> minijinja::Value {
    let node = &nodes[i];
    minijinja::context! {
        name => node.name,
        index => i + 1,
        // As URLs write it.
        address => match node.address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        },
        ports => node.ports,
        data => node.data.display().to_string(),
    }
}

fn all(nodes: &[NodePlace]) -> Vec<minijinja::Value> {
    (0..nodes.len()).map(|i| about(nodes, i)).collect()
}

/// An error about an adapter's own text.
fn wrong(what: impl Into<String>) -> Error {
    Error::new(what)
}

#[cfg(test)]
mod tests;
