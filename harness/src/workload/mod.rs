//! What clients do next: pure, seeded, without time or network.
//!
//! A [`Generator`] belongs to one client. Keys are shared by all clients, so that they meet;
//! after some calls a key makes room for a new one, which bounds what judging costs. Every
//! value is written once only, so that whoever reads it knows who wrote it.
//!
//! `files` is a forest of small trees: directories within directories that are made and never
//! removed, and files in them that are written, read and removed. No call spans two trees.

mod keys;

use crate::history::{Function, Workload};
use crate::system::Operation;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

pub use keys::{Keys, Skew};

/// How many files each directory of `files` has room for.
const FILES: u32 = 3;

/// The directories of each tree of `files`, below its own name.
const DIRECTORIES: [&str; 3] = ["", "/s0", "/s0/s1"];

/// One call as the history will show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub f: Function,
    /// On what.
    pub key: String,
    /// The value at its invocation.
    pub value: Value,
}

/// The operations that a workload is made of; a system that lacks one cannot be asked to do it.
#[must_use]
pub fn needs(workload: Workload, mix: &[(Function, u32)]) -> Vec<Operation> {
    use Operation::{Cas, Create, List, Read, Remove, Write};
    let removes = mix.iter().any(|(f, weight)| *f == Function::Remove && *weight > 0);
    let mut needs = match workload {
        Workload::Register => vec![Read, Write, Cas, Create],
        Workload::Append | Workload::Counter => vec![Read, Cas, Create],
        Workload::Set => vec![Write, List],
        Workload::Files => vec![Read, Write, Create, List, Remove],
    };
    if removes && workload == Workload::Register {
        needs.push(Remove);
    }
    if workload == Workload::Register && mix.iter().all(|(f, w)| *f != Function::Cas || *w == 0) {
        needs.retain(|operation| !matches!(operation, Cas | Create));
    }
    needs
}

/// The weights of a workload where nobody says others.
#[must_use]
pub fn default_mix(workload: Workload) -> Vec<(Function, u32)> {
    use Function::{Add, Append, Cas, List, Make, Read, Remove, Write};
    match workload {
        Workload::Register => vec![(Read, 4), (Write, 4), (Cas, 2)],
        Workload::Append => vec![(Read, 1), (Append, 1)],
        Workload::Set => vec![(Read, 1), (Add, 9)],
        Workload::Counter => vec![(Read, 1), (Add, 1)],
        Workload::Files => vec![(Make, 1), (Write, 4), (Read, 4), (List, 2), (Remove, 1)],
    }
}

/// One client's choices.
#[derive(Debug)]
pub struct Generator {
    workload: Workload,
    client: u64,
    rng: Rng,
    mix: Vec<(Function, u32)>,
    keys: Arc<Keys>,
    written: u64,
    /// What this client last saw of a key, to make a compare-and-set that may succeed.
    seen: HashMap<String, Value>,
}

impl Generator {
    /// The choices of client number `client`; the same arguments, and the same order of calls
    /// on shared keys, make the same choices.
    #[must_use]
    pub fn new(
        workload: Workload,
        mix: &[(Function, u32)],
        keys: &Arc<Keys>,
        seed: u64,
        client: u64,
    ) -> Self {
        let mix = if mix.is_empty() { default_mix(workload) } else { mix.to_vec() };
        let rng = Rng::with_seed(seed ^ client.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self {
            workload,
            client,
            rng,
            mix,
            keys: Arc::clone(keys),
            written: 0,
            seen: HashMap::new(),
        }
    }

    /// What comes next.
    pub fn call(&mut self) -> Call {
        let f = self.function();
        let key = self.keys.choose(&mut self.rng);
        match self.workload {
            Workload::Register => self.register(f, key),
            Workload::Append | Workload::Set => {
                let value = if f == Function::Read { Value::Null } else { self.unique() };
                Call { f, key, value }
            }
            Workload::Counter => {
                let value = match f {
                    Function::Add => json!(self.rng.i64(-2..=5)),
                    _ => Value::Null,
                };
                Call { f, key, value }
            }
            Workload::Files => self.files(f, &key),
        }
    }

    /// What the client learned from an answer.
    pub fn saw(&mut self, key: &str, value: &Value) {
        if self.workload == Workload::Register {
            // A few thousand keys at most in a long run; older ones are not called again.
            if self.seen.len() > 10_000 {
                self.seen.clear();
            }
            self.seen.insert(key.to_owned(), value.clone());
        }
    }

    fn function(&mut self) -> Function {
        let total: u32 = self.mix.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.u32(0..total.max(1));
        for (f, weight) in &self.mix {
            if at < *weight {
                return *f;
            }
            at -= weight;
        }
        self.mix[0].0
    }

    fn unique(&mut self) -> Value {
        self.written += 1;
        json!(format!("c{}.{}", self.client, self.written))
    }

    fn register(&mut self, f: Function, key: String) -> Call {
        let value = match f {
            Function::Write => self.unique(),
            Function::Cas => {
                let from = self.seen.get(&key).cloned().unwrap_or(Value::Null);
                json!([from, self.unique()])
            }
            _ => Value::Null,
        };
        Call { f, key, value }
    }

    fn files(&mut self, f: Function, tree: &str) -> Call {
        let directory = format!("{tree}{}", DIRECTORIES[self.rng.usize(0..DIRECTORIES.len())]);
        let file = format!("{directory}/f{}", self.rng.u32(0..FILES));
        match f {
            Function::Make | Function::List => Call { f, key: directory, value: Value::Null },
            Function::Write => Call { f, key: file, value: self.unique() },
            _ => Call { f, key: file, value: Value::Null },
        }
    }
}

/// The reads that show what is there at the end.
#[must_use]
pub fn final_calls(workload: Workload, keys: &Keys) -> Vec<Call> {
    let call = |f, key| Call { f, key, value: Value::Null };
    let used = keys.used();
    match workload {
        Workload::Files => used
            .into_iter()
            .flat_map(|tree| DIRECTORIES.map(|below| format!("{tree}{below}")))
            .flat_map(|directory| {
                let files: Vec<Call> =
                    (0..FILES).map(|i| call(Function::Read, format!("{directory}/f{i}"))).collect();
                std::iter::once(call(Function::List, directory)).chain(files)
            })
            .collect(),
        _ => used.into_iter().map(|key| call(Function::Read, key)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn calls(workload: Workload, seed: u64, client: u64, n: usize) -> Vec<Call> {
        let keys = Arc::new(Keys::new("k", 3, Skew(0.0), 50));
        let mut generator = Generator::new(workload, &[], &keys, seed, client);
        (0..n).map(|_| generator.call()).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_others() {
        let all = |seed| calls(Workload::Register, seed, 1, 200);
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert_ne!(all(7), calls(Workload::Register, 7, 2, 200));
    }

    #[test]
    fn every_value_is_written_once_only() {
        for workload in [Workload::Register, Workload::Append, Workload::Set, Workload::Files] {
            let mut seen = HashSet::new();
            for client in 0..4 {
                for call in calls(workload, 1, client, 500) {
                    let value = match &call.value {
                        Value::Array(pair) => pair[1].clone(),
                        other => other.clone(),
                    };
                    assert!(value.is_null() || seen.insert(value), "{call:?}");
                }
            }
            assert!(seen.len() > 100);
        }
    }

    #[test]
    fn a_mix_is_kept_and_a_weight_of_zero_means_never() {
        let keys = Arc::new(Keys::new("k", 3, Skew(0.0), 50));
        let mix = [(Function::Read, 3), (Function::Write, 1), (Function::Cas, 0)];
        let mut generator = Generator::new(Workload::Register, &mix, &keys, 3, 0);
        let count = |calls: &[Call], f| calls.iter().filter(|call| call.f == f).count();
        let calls: Vec<Call> = (0..4000).map(|_| generator.call()).collect();
        assert_eq!(count(&calls, Function::Cas), 0);
        let reads = count(&calls, Function::Read);
        assert!((2850..3150).contains(&reads), "{reads} reads of about 3000");
    }

    #[test]
    fn clients_meet_in_directories_within_directories() {
        let all = calls(Workload::Files, 5, 1, 400);
        let made: HashSet<&str> =
            all.iter().filter(|c| c.f == Function::Make).map(|c| c.key.as_str()).collect();
        assert!(made.contains("k0.0") && made.contains("k0.0/s0"), "{made:?}");
        assert!(all.iter().any(|c| c.f == Function::Write && c.key.starts_with("k0.0/s0/s1/f")));
    }

    #[test]
    fn the_end_reads_every_key_that_was_called() {
        let keys = Arc::new(Keys::new("k", 2, Skew(0.0), 5));
        let mut generator = Generator::new(Workload::Files, &[], &keys, 3, 0);
        let called: HashSet<String> = (0..40)
            .map(|_| generator.call().key.split('/').next().expect("a name").to_owned())
            .collect();
        let read: HashSet<String> = final_calls(Workload::Files, &keys)
            .iter()
            .map(|call| call.key.split('/').next().expect("a name").to_owned())
            .collect();
        assert!(called.is_subset(&read), "{called:?} {read:?}");
    }
}
