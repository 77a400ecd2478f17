//! The replicated map and list of members: entries in, values out. No time, no disk, no network.

use crate::command::{Changed, Command, Op};
use crate::members::Members;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Keys and their values, and who replicates them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    map: BTreeMap<String, String>,
    /// The members.
    pub(crate) members: Members,
}

impl Machine {
    /// What a cluster of these members begins with.
    pub(crate) fn first(members: Members) -> Self {
        Self { map: BTreeMap::new(), members }
    }

    /// Applies one change; whether its condition held.
    pub(crate) fn apply(&mut self, op: &Op) -> Changed {
        match op {
            Op::Put { key, value } => {
                self.map.insert(key.clone(), value.clone());
                true
            }
            Op::Cas { key, from, to } => {
                let holds = self.map.get(key) == from.as_ref();
                if holds {
                    self.map.insert(key.clone(), to.clone());
                }
                holds
            }
            Op::Delete { key } => self.map.remove(key).is_some(),
            Op::Claim { name, folder } => self.members.claim(name, *folder),
        }
    }

    /// Applies an entry's data, if it has any.
    pub(crate) fn apply_entry(&mut self, data: &[u8]) -> Option<(Command, Changed)> {
        let command = Command::decode(data)?;
        let changed = self.apply(&command.op);
        Some((command, changed))
    }

    /// A key's value.
    pub(crate) fn get(&self, key: &str) -> Option<&String> {
        self.map.get(key)
    }

    /// Keys with a prefix, in order.
    pub(crate) fn list<'m>(
        &'m self,
        prefix: &'m str,
    ) -> impl Iterator<Item = (&'m String, &'m String)> {
        let from = self.map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Everything, to be kept in a snapshot.
    pub(crate) fn save(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps of strings and numbers are always JSON")
    }

    /// Everything, from a snapshot.
    pub(crate) fn restore(data: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(data).map_err(|e| format!("no snapshot: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Op {
        Op::Put { key: key.into(), value: value.into() }
    }

    fn cas(from: Option<&str>, to: &str) -> Op {
        Op::Cas { key: "k".into(), from: from.map(Into::into), to: to.into() }
    }

    #[test]
    fn a_cas_changes_a_key_only_where_it_has_the_value_expected() {
        let mut machine = Machine::default();
        assert!(!machine.apply(&cas(Some("1"), "2")), "absent is not 1");
        assert!(machine.apply(&cas(None, "1")), "absent as expected");
        assert!(!machine.apply(&cas(None, "3")), "it is there by now");
        assert!(machine.apply(&cas(Some("1"), "2")));
        assert_eq!(machine.get("k"), Some(&"2".to_owned()));
    }

    #[test]
    fn a_listing_has_the_keys_with_the_prefix_and_no_others() {
        let mut machine = Machine::default();
        for key in ["a", "b/1", "b/2", "b0", "c"] {
            machine.apply(&put(key, "v"));
        }
        let keys: Vec<&str> = machine.list("b/").map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b/1", "b/2"]);
        assert_eq!(machine.list("").count(), 5);
    }

    #[test]
    fn a_snapshot_brings_everything_back() {
        let mut machine = Machine::default();
        machine.apply(&put("k", "\u{e9}\n\""));
        assert!(!machine.apply(&Op::Delete { key: "x".into() }));
        assert_eq!(Machine::restore(&machine.save()), Ok(machine));
        assert!(Machine::restore(b"{").is_err());
    }
}
