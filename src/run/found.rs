//! A running cluster that an adapter found: its members, and who leads them.
//!
//! It is asked from the network namespace that raftq runs in, as its clients would ask it; where
//! clients live elsewhere, run raftq there (`ip netns exec NAME raftq ...`). Its processes are
//! not raftq's own, so nothing is done to them here; `signalled.rs` sends them signals.

use super::host::Host;
use crate::kernel::trouble::Trouble;
use crate::rules::Source;
use raftq_harness::adapter::{Adapter, Member};
use raftq_harness::cluster::{Roles, View};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// How long a member has to name the others.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// A cluster that was found.
#[derive(Debug)]
pub struct Found {
    members: Vec<Member>,
    roles: Roles,
    by: String,
    protocol: Option<&'static str>,
}

impl Found {
    /// Asks one URL after the other until a member answers.
    pub fn ask(adapter: &Adapter, urls: &[String]) -> Result<Self, Trouble> {
        let failed = |why: String| Trouble::new(why, "");
        let mut silent = Vec::new();
        let found = urls.iter().find_map(|url| match adapter.members(url, ANSWER_MAX) {
            Ok(members) => Some((members, url)),
            Err(e) => {
                silent.push(e.to_string());
                None
            }
        });
        let Some((members, by)) = found else {
            return Err(Trouble::new(
                format!("the cluster cannot be asked for its members: {}", silent.join("; ")),
                "name a URL for clients of a node that runs; where it is only reached from within \
                 a namespace, run raftq there: ip netns exec NAME raftq ...",
            ));
        };
        let places: Vec<_> = members.iter().map(Member::place).collect();
        let own = Path::new("/proc/self/ns/net");
        let roles =
            Roles::start(adapter, &places, own).map_err(|e| failed(format!("no roles: {e}")))?;
        Ok(Self { members, roles, by: by.clone(), protocol: adapter.protocol() })
    }

    /// The members as the cluster of a rule file.
    #[must_use]
    pub fn cluster(&self) -> Source {
        let mut yaml = String::from("cluster:\n");
        if let Some(protocol) = self.protocol {
            let _ = writeln!(yaml, "  protocol: {protocol}");
        }
        yaml.push_str("  nodes:\n");
        for member in &self.members {
            let _ = writeln!(yaml, "    \"{}\": \"{}\"", member.name, member.peer);
        }
        Source::new(format!("the members that {} named", self.by), yaml)
    }

    /// What a member said last.
    #[must_use]
    pub fn view(&self, i: usize) -> View {
        self.roles.view(i)
    }

    /// The members, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<String> =
            self.members.iter().map(|one| format!("{} at {}", one.name, one.peer)).collect();
        names.join(", ")
    }
}

impl Host for Found {
    fn leader(&self) -> Option<usize> {
        self.roles.leader().map(|(leader, _)| leader)
    }
}
