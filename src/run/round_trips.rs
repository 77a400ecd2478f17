//! The thread that asks the kernel for round trips, about once a second and only while somebody
//! looks: it starts with the first look, and ends when nobody has looked for a while.

use crate::kernel::clock;
use crate::kernel::round_trips::{RoundTrip, Stacks};
use crate::kernel::topology::Plan;
use crate::rules::table::Node;
use crate::time::Nanos;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the kernel is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How long it goes on for nobody.
const ALONE: Nanos = Nanos::from_secs(10);

/// How often stacks are looked for that were not found.
const SEARCH_EVERY: Nanos = Nanos::from_secs(10);

/// What was measured last, and why it is not all, where it is not.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// By sender and receiver.
    pub trips: Vec<RoundTrip>,
    /// What is in the way.
    pub trouble: Option<String>,
}

/// The main thread's hold on it. Dropping it ends the thread.
#[derive(Debug, Default)]
pub struct RoundTrips {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    looked: Mutex<Looked>,
    /// When somebody looked last, ns.
    wanted: AtomicU64,
    end: AtomicBool,
}

impl RoundTrips {
    /// What is known by now; from here on it is asked for.
    pub fn look(&mut self, nodes: &[Node], plan: &Plan) -> Looked {
        self.shared.wanted.store(clock::now().0, Ordering::Release);
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let (shared, nodes, plan) = (Arc::clone(&self.shared), nodes.to_vec(), plan.clone());
            let thread = std::thread::Builder::new().name("raftq-trips".into());
            match thread.spawn(move || shared.keep_looking(&nodes, &plan)) {
                Ok(thread) => self.thread = Some(thread),
                Err(e) => self.shared.put(Looked {
                    trouble: Some(format!("no thread for round trips ({e})")),
                    ..Looked::default()
                }),
            }
        }
        self.shared.looked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RoundTrips {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn keep_looking(&self, nodes: &[Node], plan: &Plan) {
        let (mut stacks, mut troubles) = Stacks::open(nodes, plan);
        let mut next_search = clock::now() + SEARCH_EVERY;
        while !self.end.load(Ordering::Acquire) {
            let now = clock::now();
            if now.saturating_sub(Nanos(self.wanted.load(Ordering::Acquire))) > ALONE {
                break;
            }
            if !troubles.is_empty() && now >= next_search {
                (stacks, troubles) = Stacks::open(nodes, plan);
                next_search = now + SEARCH_EVERY;
            }
            let trouble = troubles.first().map(ToString::to_string);
            self.put(match stacks.look() {
                Ok(trips) => Looked { trips, trouble },
                Err(e) => Looked { trips: Vec::new(), trouble: trouble.or(Some(e.to_string())) },
            });
            std::thread::park_timeout(EVERY);
        }
        // What nobody keeps up to date is not to be shown.
        self.put(Looked::default());
    }

    fn put(&self, looked: Looked) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = looked;
    }
}
