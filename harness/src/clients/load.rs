//! The clients' threads: their pace, what they count, and how they stop.

use super::perform::{Outcome, perform};
use super::writer::Recorder;
use crate::clock::{now, pause};
use crate::error::Context;
use crate::history::{Event, Function, Kind, Workload};
use crate::netns::enter;
use crate::system::Session;
use crate::workload::{Call, Generator, Keys, Skew};
use crate::{Error, Result};
use crossbeam_channel::bounded;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a client's thread needs of stack; there may be thousands.
const STACK: usize = 512 << 10;

/// The longest step of a pause, so that stopping takes no longer.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a number of clients does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which workload.
    pub workload: Workload,
    /// How many clients, at least one.
    pub clients: usize,
    /// Calls a second of all of them; as fast as answers come without.
    pub rate: Option<u32>,
    /// Different keys in use at a time.
    pub keys: usize,
    /// Which of them are preferred.
    pub skew: f64,
    /// Weights by function; empty for the workload's own.
    pub mix: Vec<(Function, u32)>,
    /// Rest between a client's calls.
    pub think: Duration,
    /// After which a call is given up.
    pub timeout: Duration,
    /// Whether a client stays with its node, whatever that answers.
    pub sticky: bool,
    /// After how many calls a key makes room for a new one.
    pub per_key: u64,
    /// Seed of all choices.
    pub seed: u64,
    /// When the run's clock started.
    pub epoch: Duration,
    /// The namespace to call from.
    pub netns: Option<PathBuf>,
    /// The nodes' names.
    pub nodes: Vec<String>,
}

/// Makes a session with a node, counted from 0.
pub type Sessions = Arc<dyn Fn(usize) -> Result<Box<dyn Session>> + Send + Sync>;

/// What became of all calls so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Calls by function: answered, surely not done, unknown.
    pub calls: BTreeMap<String, [u64; 3]>,
    /// How long answered calls took, in microseconds.
    pub p50_us: u64,
    /// The same, for the slowest of a hundred.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
    /// Lines that the history lacks because it could not be written.
    pub unrecorded: u64,
}

impl Counts {
    /// Answered, surely not done, and unknown, over all functions.
    #[must_use]
    pub fn totals(&self) -> [u64; 3] {
        self.calls
            .values()
            .fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
    }
}

/// Clients under way; dropping stops them.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    keys: Arc<Keys>,
    sessions: Sessions,
    recorder: Recorder,
    stop: AtomicBool,
    processes: AtomicU64,
    answered: AtomicU64,
    unrecorded: AtomicU64,
    tally: Mutex<Tally>,
}

struct Tally {
    calls: BTreeMap<String, [u64; 3]>,
    latency: Histogram<u64>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("plan", &self.shared.plan).finish_non_exhaustive()
    }
}

impl Load {
    /// Starts every client.
    pub fn start(plan: Plan, sessions: Sessions, recorder: Recorder) -> Result<Self> {
        if plan.clients == 0 {
            return Err(Error::new("no clients at all; ask for one at least"));
        }
        let keys =
            Arc::new(Keys::new(prefix(plan.workload), plan.keys, Skew(plan.skew), plan.per_key));
        let latency = Histogram::new(3).context(|| "the latency histogram".into())?;
        let shared = Arc::new(Shared {
            keys,
            sessions,
            recorder,
            stop: AtomicBool::new(false),
            processes: AtomicU64::new(plan.clients as u64),
            answered: AtomicU64::new(0),
            unrecorded: AtomicU64::new(0),
            tally: Mutex::new(Tally { calls: BTreeMap::new(), latency }),
            plan,
        });
        let mut load = Self { shared, threads: Vec::new() };
        for i in 0..load.shared.plan.clients {
            let thread = load.client(i)?;
            load.threads.push(thread);
        }
        Ok(load)
    }

    fn client(&self, i: usize) -> Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let (ready, started) = bounded(1);
        let work = move || {
            let entered = shared.plan.netns.as_deref().map_or(Ok(()), enter);
            let usable = entered.is_ok();
            let _ = ready.send(entered);
            if usable {
                Client::new(&shared, i).run();
            }
        };
        let thread = std::thread::Builder::new().name(format!("client {i}")).stack_size(STACK);
        let thread = thread.spawn(work).context(|| format!("the thread of client {i}"))?;
        started.recv().unwrap_or_else(|_| Err(Error::new("a client's thread ended at once")))?;
        Ok(thread)
    }

    /// Calls answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// The keys that clients meet on.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.shared.keys)
    }

    /// A process number that nobody has used.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.shared.processes.load(Ordering::Relaxed)
    }

    /// Lets every client end the call it is in, and counts everything.
    #[must_use]
    pub fn stop(mut self) -> Counts {
        self.join();
        let tally = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| tally.latency.value_at_quantile(quantile);
        Counts {
            calls: tally.calls.clone(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: tally.latency.max(),
            unrecorded: self.shared.unrecorded.load(Ordering::Relaxed),
        }
    }

    fn join(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// What the keys of a workload begin with, so that several can run beside each other.
fn prefix(workload: Workload) -> &'static str {
    match workload {
        Workload::Register => "r",
        Workload::Append => "a",
        Workload::Set => "s",
        Workload::Counter => "c",
        Workload::Files => "d",
    }
}

/// One client.
struct Client<'s> {
    shared: &'s Shared,
    generator: Generator,
    process: u64,
    node: usize,
    session: Option<Box<dyn Session>>,
    calls: BTreeMap<String, [u64; 3]>,
    latency: Histogram<u64>,
}

impl<'s> Client<'s> {
    fn new(shared: &'s Shared, i: usize) -> Self {
        let plan = &shared.plan;
        let generator = Generator::new(plan.workload, &plan.mix, &shared.keys, plan.seed, i as u64);
        Self {
            shared,
            generator,
            process: i as u64,
            node: i % plan.nodes.len().max(1),
            session: None,
            calls: BTreeMap::new(),
            latency: Histogram::new(3).expect("three digits are possible"),
        }
    }

    fn run(mut self) {
        let plan = &self.shared.plan;
        let period = plan.rate.map(|rate| Duration::from_secs(1) * plan.clients as u32 / rate);
        // Clients begin spread over one period, not all at once.
        let share = (self.process as u32).min(plan.clients as u32);
        let mut due = now() + period.map_or(Duration::ZERO, |p| p * share / plan.clients as u32);
        while self.wait_until(due) {
            let call = self.generator.call();
            self.one(&call);
            due = match period {
                // A client that is late goes on from now: nobody catches up on missed calls.
                Some(period) => (due + period).max(now().saturating_sub(period)),
                None => now() + plan.think,
            };
        }
        self.hand_in();
    }

    /// Whether the client is to go on.
    fn wait_until(&self, due: Duration) -> bool {
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = due.saturating_sub(now());
            if left.is_zero() {
                return true;
            }
            pause(left.min(PAUSE_MAX));
        }
    }

    fn one(&mut self, call: &Call) {
        let shared = self.shared;
        let plan = &shared.plan;
        if self.session.is_none() {
            self.session = (shared.sessions)(self.node).ok();
        }
        let Some(session) = self.session.as_deref_mut() else {
            return self.move_on();
        };
        let node = plan.nodes.get(self.node).cloned();
        let begin = now();
        let line = Event {
            t: nanos(begin.saturating_sub(plan.epoch)),
            process: self.process,
            kind: Kind::Invoke,
            f: call.f,
            key: Some(call.key.clone()),
            value: call.value.clone(),
            done: true,
            is_final: false,
            node,
            error: None,
        };
        if !shared.recorder.put(line.clone()) {
            shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        let outcome = perform(session, plan.workload, call, plan.timeout);
        let end = now();
        self.count(call.f, &outcome, end.saturating_sub(begin));
        let Outcome { kind, value, done, error } = outcome;
        if kind == Kind::Ok && done {
            self.learn(call, &value);
        }
        let t = nanos(end.saturating_sub(plan.epoch));
        if !shared.recorder.put(Event { t, kind, value, done, error, ..line }) {
            shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        match kind {
            Kind::Info => {
                self.process = shared.processes.fetch_add(1, Ordering::Relaxed);
                self.move_on();
            }
            Kind::Fail => self.move_on(),
            Kind::Ok | Kind::Invoke => {}
        }
    }

    fn learn(&mut self, call: &Call, value: &serde_json::Value) {
        match call.f {
            Function::Cas => self.generator.saw(&call.key, &value[1]),
            Function::Read | Function::Write | Function::Remove => {
                self.generator.saw(&call.key, value);
            }
            _ => {}
        }
    }

    /// To the next node, unless it is to stay, over a new connection; a moment later, since a
    /// refused call takes no time, and a client of nodes that are down would do nothing else.
    fn move_on(&mut self) {
        self.session = None;
        if !self.shared.plan.sticky {
            self.node = (self.node + 1) % self.shared.plan.nodes.len().max(1);
        }
        if self.shared.plan.rate.is_none() {
            pause(Duration::from_millis(10));
        }
    }

    fn count(&mut self, f: Function, outcome: &Outcome, took: Duration) {
        let name = format!("{f:?}").to_lowercase();
        let column = match outcome.kind {
            Kind::Ok | Kind::Invoke => 0,
            Kind::Fail => 1,
            Kind::Info => 2,
        };
        self.calls.entry(name).or_default()[column] += 1;
        if column == 0 {
            // It grows as it must; a call of centuries does not happen.
            let _ = self.latency.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            self.shared.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hand_in(self) {
        let mut tally = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, counts) in self.calls {
            let sum = tally.calls.entry(name).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let _ = tally.latency.add(&self.latency);
    }
}

/// Nanoseconds, as the history counts.
pub(super) fn nanos(t: Duration) -> u64 {
    u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)
}
