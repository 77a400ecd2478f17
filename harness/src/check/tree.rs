//! The paths of `files`, and which of them make one object.
//!
//! A file belongs to the directory that it lies in. A listing reads everything below its
//! directory, so a directory that is listed is one object with all that lie below it; without
//! listings, each is an object of its own.

use crate::history::{Call, Function};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// Every path of a history, by number.
#[derive(Debug, Default)]
pub(super) struct Tree<'c> {
    files: BTreeMap<&'c str, u32>,
    directories: BTreeMap<&'c str, u32>,
    listed: BTreeSet<&'c str>,
    /// What listings of a directory show, filled as it is asked for.
    below: HashMap<&'c str, Arc<BTreeMap<u32, u32>>>,
    names: HashMap<String, u32>,
}

impl<'c> Tree<'c> {
    /// All paths that any call names.
    pub(super) fn of(calls: &'c [Call]) -> Self {
        let mut tree = Self::default();
        for (i, call) in calls.iter().enumerate() {
            let (number, key) = (i as u32, &*call.key);
            match call.f {
                Function::Make => tree.directories.entry(key).or_insert(number),
                Function::List => {
                    tree.listed.insert(key);
                    tree.directories.entry(key).or_insert(number)
                }
                _ => tree.files.entry(key).or_insert(number),
            };
        }
        tree
    }

    /// The object of a call: the topmost listed directory around it, else its own directory.
    pub(super) fn object_of(&self, call: &'c Call) -> &'c str {
        let own = match call.f {
            Function::Make | Function::List => &*call.key,
            _ => call.key.rsplit_once('/').map_or("", |(directory, _)| directory),
        };
        if self.listed.contains("") {
            return "";
        }
        let above = own.match_indices('/').map(|(at, _)| &own[..at]).chain([own]);
        above.into_iter().find(|path| self.listed.contains(path)).unwrap_or(own)
    }

    /// The number of a file.
    pub(super) fn file(&self, path: &str) -> u32 {
        self.files[path]
    }

    /// The number of a directory. No file has it: both come from the call that named them first.
    pub(super) fn directory(&self, path: &str) -> u32 {
        self.directories[path]
    }

    /// The names in an answer, sorted by number; none for an absent directory.
    pub(super) fn names(&mut self, answer: &Value) -> Option<Vec<u32>> {
        let names = answer.as_array()?;
        let mut names: Vec<u32> =
            names.iter().map(|name| self.name(name.as_str().unwrap_or_default())).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// What lies below a directory, each with the name that shows it there.
    pub(super) fn below(&mut self, directory: &'c str) -> Arc<BTreeMap<u32, u32>> {
        if let Some(known) = self.below.get(directory) {
            return Arc::clone(known);
        }
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let shown = |paths: &BTreeMap<&'c str, u32>| -> Vec<(u32, &'c str)> {
            let from = paths.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
            from.map_while(|(path, number)| Some((*number, path.strip_prefix(prefix.as_str())?)))
                .filter_map(|(number, rest)| Some((number, rest.split('/').next()?)))
                .filter(|(_, name)| !name.is_empty())
                .collect()
        };
        let all = [shown(&self.files), shown(&self.directories)].concat();
        let below = all.into_iter().map(|(number, name)| (number, self.name(name))).collect();
        let below = Arc::new(below);
        self.below.insert(directory, Arc::clone(&below));
        below
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.insert(name.to_owned(), number);
        number
    }
}
