//! A system under test within the process, for tests: a map whose sessions may lose requests, lose
//! answers, or lie.

use crate::system::{Answer, Failure, Request, Session};
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Something that a system must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// Nothing of the kind.
    None,
    /// One in so many writes is acknowledged and forgotten.
    Forgets(u64),
    /// One in so many compare-and-sets does not compare.
    Overwrites(u64),
    /// One in so many reads and listings shows what was there [`LAG`] changes ago.
    Remembers(u64),
    /// One in so many writes that were done is said to be surely not done.
    Denies(u64),
}

/// How many changes a read that remembers is behind: far more than clients can have under way, so
/// that such a read is no mere neighbour of a change that has not ended yet.
const LAG: usize = 16;

#[derive(Debug, Default)]
struct Map {
    now: BTreeMap<String, String>,
    /// What was there before each of the last [`LAG`] changes, the oldest first.
    past: VecDeque<BTreeMap<String, String>>,
    calls: u64,
    lies: u64,
}

impl Map {
    fn shown(&self, remembers: bool) -> &BTreeMap<String, String> {
        self.past.front().filter(|_| remembers).unwrap_or(&self.now)
    }
}

/// The system. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Store {
    map: Arc<Mutex<Map>>,
    bug: Bug,
    /// Percent of requests that are lost, and of answers.
    lossy: u32,
}

impl Store {
    pub(super) fn new(bug: Bug, lossy: u32) -> Self {
        Self { map: Arc::default(), bug, lossy }
    }

    pub(super) fn session(&self, seed: u64) -> Box<dyn Session> {
        Box::new(Connection { store: self.clone(), rng: Rng::with_seed(seed) })
    }

    pub(super) fn value(&self, key: &str) -> Option<String> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).now.get(key).cloned()
    }

    /// How often the bug made a difference.
    pub(super) fn lies(&self) -> u64 {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).lies
    }

    fn apply(&self, request: &Request) -> (Answer, bool) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.calls += 1;
        let acts = |every: u64| map.calls.is_multiple_of(every);
        let (forgets, overwrites, remembers, denies) = match self.bug {
            Bug::None => (false, false, false, false),
            Bug::Forgets(n) => (acts(n), false, false, false),
            Bug::Overwrites(n) => (false, acts(n), false, false),
            Bug::Remembers(n) => (false, false, acts(n), false),
            Bug::Denies(n) => (false, false, false, acts(n)),
        };
        let shown = look(map.shown(remembers), request);
        map.lies += u64::from(shown != look(&map.now, request));
        if let Some(answer) = shown {
            return (answer, false);
        }
        let holds = match request {
            Request::Read { .. } | Request::List { .. } | Request::Write { .. } => true,
            Request::Cas { key, from, .. } => map.now.get(key) == Some(from),
            Request::Create { key, .. } => !map.now.contains_key(key),
            Request::Remove { key } => map.now.contains_key(key),
        };
        let overwrites =
            overwrites && matches!(request, Request::Cas { .. } | Request::Create { .. });
        if !holds && !overwrites {
            return (Answer::Refused, false);
        }
        map.lies += u64::from(!holds || forgets || denies);
        if !forgets {
            let before = map.now.clone();
            map.past.push_back(before);
            if map.past.len() > LAG {
                map.past.pop_front();
            }
            match request.clone() {
                Request::Write { key, value } | Request::Create { key, value } => {
                    map.now.insert(key, value);
                }
                Request::Cas { key, to, .. } => {
                    map.now.insert(key, to);
                }
                Request::Remove { key } => {
                    map.now.remove(&key);
                }
                Request::Read { .. } | Request::List { .. } => {}
            }
        }
        (Answer::Done, denies)
    }
}

/// What a read or a listing finds in `map`; `None` of a change.
fn look(map: &BTreeMap<String, String>, request: &Request) -> Option<Answer> {
    match request {
        Request::Read { key } => Some(Answer::Value(map.get(key).cloned())),
        Request::List { prefix } => {
            let pairs = map.iter().filter(|(key, _)| key.starts_with(prefix));
            Some(Answer::Listing(pairs.map(|(k, v)| (k.clone(), v.clone())).collect()))
        }
        _ => None,
    }
}

struct Connection {
    store: Store,
    rng: Rng,
}

impl Session for Connection {
    fn call(&mut self, request: &Request, _: Duration) -> Result<Answer, Failure> {
        let lossy = self.store.lossy;
        let mut lost = || self.rng.u32(0..100) < lossy;
        if lost() {
            return Err(Failure::NotDone("refused".into()));
        }
        if lost() {
            return Err(Failure::Unknown("the request was lost".into()));
        }
        let (answer, denied) = self.store.apply(request);
        if denied {
            return Err(Failure::NotDone("surely not done".into()));
        }
        if lost() {
            return Err(Failure::Unknown("the answer was lost".into()));
        }
        Ok(answer)
    }
}
