//! Calls about the cluster itself: members added and removed, leadership handed over, snapshots
//! forced. What an adapter offers of these stands in its section `admin`.

use super::session::NodeSession;
use super::{Adapter, NodePlace, about, wrong};
use crate::Result;
use crate::system::{Answer, Failure};
use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// What may be asked of a cluster about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Admin {
    /// To take a node in.
    Add,
    /// To put a node out.
    Remove,
    /// To make a node the leader.
    Transfer,
    /// To make a node take a snapshot and drop its log.
    Compact,
}

impl Admin {
    /// Its word in adapter files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Transfer => "transfer",
            Self::Compact => "compact",
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who is asked for such a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Asked {
    /// The leader of the moment.
    #[default]
    Leader,
    /// The node that the call is about.
    Target,
}

/// Whom a call asks, and about whom; nodes are counted from 0.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The node that is asked.
    pub asked: usize,
    /// The node that it is about.
    pub target: usize,
    /// That node's id as a member, as it told it last.
    pub member: Option<&'s str>,
}

/// How a node finds its cluster when it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The nodes that belong to the cluster, this one included, counted from 0.
    pub members: Vec<usize>,
    /// Whether it was added to a cluster that ran already.
    pub joined: bool,
}

impl Joining {
    /// A new cluster of this size.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self { members: (0..nodes).collect(), joined: false }
    }
}

impl Adapter {
    /// Whether the system has a call for this.
    #[must_use]
    pub fn offers(&self, what: Admin) -> bool {
        self.inner.file.admin.contains_key(&what)
    }

    /// Whether the node that it is about has to be asked itself, instead of the leader.
    #[must_use]
    pub fn asks_target(&self, what: Admin) -> bool {
        let call = self.inner.file.admin.get(&what);
        call.is_some_and(|call| call.at == Asked::Target)
    }

    /// Makes such a call once. The error says that there is none, or that it cannot be made.
    pub fn administer(
        &self,
        what: Admin,
        nodes: &[NodePlace],
        subject: Subject<'_>,
        limit: Duration,
    ) -> Result<std::result::Result<Answer, Failure>> {
        let call = self.inner.file.admin.get(&what);
        let call = call.ok_or_else(|| wrong(not_offered(self.name(), what)))?;
        let mut session =
            NodeSession::new(self, nodes, subject.asked)?.about(target(nodes, subject));
        // For a driver, which gets no templates.
        let name = ("target", nodes[subject.target].name.as_str());
        let member = subject.member.map(|member| ("member", member));
        let arguments: Vec<_> = std::iter::once(name).chain(member).collect();
        Ok(session.asked(&call.ask, &call.answers, &arguments, limit))
    }
}

/// For whoever wanted it.
fn not_offered(adapter: &str, what: Admin) -> String {
    format!("the adapter {adapter} does not offer `{what}`")
}

/// The node that a call is about, with its id if it has told one: a template that needs an id
/// which nobody knows is an error.
fn target(nodes: &[NodePlace], subject: Subject<'_>) -> Value {
    let target = about(nodes, subject.target);
    match subject.member {
        Some(member) => context! { member, ..target },
        None => target,
    }
}
