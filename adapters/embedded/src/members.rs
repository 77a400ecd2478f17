//! Who belongs to the cluster: names, addresses, and ids that are never used again.
//!
//! It is part of what is replicated. A change travels as the context of the crate's
//! configuration change, and snapshots carry the whole list, so that every member knows the
//! addresses of all others, also after a restart.
//!
//! An id is a *promise of memory*: whoever votes under it has to know what it voted before. A
//! member that was removed and comes back with empty data therefore gets a new id, under its
//! old name; and a folder has to claim the id of its member, once, before it speaks under it.

use crate::command::CommandId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its name; no two members share one.
    pub(crate) name: String,
    /// Where its peers find it.
    pub(crate) address: SocketAddr,
    /// Which folder speaks as this member; `None` until one came for it.
    claim: Option<u64>,
}

/// All members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    by_id: BTreeMap<u64, Member>,
    /// The lowest id that was never used.
    next: u64,
}

/// A change of the members, beside that of the crate's own list of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Whose it is.
    pub(crate) id: CommandId,
    /// What it does.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(crate) enum What {
    /// A new member.
    Add {
        /// The id it gets.
        node: u64,
        /// Its name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A member goes.
    Remove {
        /// Its id.
        node: u64,
    },
}

impl Members {
    /// The members that a cluster begins with. Their folders are theirs from the start.
    pub(crate) fn first<'m>(all: impl Iterator<Item = (u64, &'m str, SocketAddr)>) -> Self {
        let claim = Some(0);
        let by_id: BTreeMap<u64, Member> = all
            .map(|(id, name, address)| (id, Member { name: name.to_owned(), address, claim }))
            .collect();
        let next = by_id.last_key_value().map_or(1, |(id, _)| id + 1);
        Self { by_id, next }
    }

    /// Every member with its id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.by_id.iter().map(|(id, member)| (*id, member))
    }

    /// All ids.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }

    /// The name of an id.
    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        self.by_id.get(&id).map(|member| member.name.as_str())
    }

    /// The member of a name.
    pub(crate) fn find(&self, name: &str) -> Option<(u64, &Member)> {
        self.iter().find(|(_, member)| member.name == name)
    }

    /// The id of the next member.
    pub(crate) fn next_id(&self) -> u64 {
        self.next
    }

    /// Whether this id was a member's, and is no longer. An id that is not known at all may be
    /// a member's whose addition was not heard of yet.
    pub(crate) fn is_removed(&self, id: u64) -> bool {
        id < self.next && !self.by_id.contains_key(&id)
    }

    /// Applies a change; whether it was one.
    pub(crate) fn apply(&mut self, what: &What) -> bool {
        match what {
            What::Add { node, name, address } => {
                if *node < self.next || self.find(name).is_some() {
                    return false;
                }
                let member = Member { name: name.clone(), address: *address, claim: None };
                self.by_id.insert(*node, member);
                self.next = node + 1;
                true
            }
            What::Remove { node } => self.by_id.remove(node).is_some(),
        }
    }

    /// Why a folder cannot speak as the member of this name, for all that is known here.
    pub(crate) fn refuses(&self, name: &str, folder: u64) -> Option<String> {
        match self.find(name).map(|(_, member)| member.claim) {
            None => Some(format!("{name} is no member yet; add it")),
            Some(Some(other)) if other != folder => Some(format!(
                "{name} is a member with data of its own; remove it, and add it again"
            )),
            Some(_) => None,
        }
    }

    /// Lets a folder speak as the member of this name; whether it may.
    pub(crate) fn claim(&mut self, name: &str, folder: u64) -> bool {
        let member = self.by_id.values_mut().find(|member| member.name == name);
        member.is_some_and(|member| *member.claim.get_or_insert(folder) == folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn three() -> Members {
        Members::first(
            [(1, "n1", address(1)), (2, "n2", address(2)), (3, "n3", address(3))].into_iter(),
        )
    }

    fn add(members: &mut Members, name: &str) -> u64 {
        let node = members.next_id();
        let what = What::Add { node, name: name.into(), address: address(9) };
        assert!(members.apply(&what), "{name} is added");
        node
    }

    #[test]
    fn a_name_that_comes_back_gets_an_id_that_was_never_used() {
        let mut members = three();
        assert!(members.apply(&What::Remove { node: 3 }));
        assert!(members.is_removed(3) && !members.is_removed(4));
        assert_eq!(add(&mut members, "n3"), 4);
        assert!(members.apply(&What::Remove { node: 4 }));
        assert_eq!(add(&mut members, "n3"), 5);
        assert_eq!(members.ids(), [1, 2, 5]);
        assert_eq!(members.name(5), Some("n3"));
    }

    #[test]
    fn nothing_is_added_twice_or_under_an_old_id() {
        let mut members = three();
        let again = What::Add { node: 4, name: "n2".into(), address: address(9) };
        assert!(!members.apply(&again), "the name is taken");
        let old = What::Add { node: 3, name: "n4".into(), address: address(9) };
        assert!(!members.apply(&old), "the id is taken");
        assert!(!members.apply(&What::Remove { node: 7 }));
        assert_eq!(members, three());
    }

    #[test]
    fn one_folder_speaks_as_a_member_and_no_other() {
        let mut members = three();
        assert!(!members.claim("n1", 77), "it was there from the start");
        assert!(!members.claim("n4", 77), "it is no member yet");
        assert!(members.refuses("n4", 77).is_some_and(|why| why.contains("no member yet")));
        add(&mut members, "n4");
        assert_eq!(members.refuses("n4", 77), None);
        assert!(members.claim("n4", 77));
        assert!(members.claim("n4", 77), "the same folder asks again");
        assert_eq!(members.refuses("n4", 77), None);
        assert!(!members.claim("n4", 78), "its data was wiped meanwhile");
        assert!(members.refuses("n4", 78).is_some_and(|why| why.contains("remove it")));
    }
}
