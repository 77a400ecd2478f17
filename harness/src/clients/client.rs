//! One client: when it calls, what it writes down, and how it goes on.

use super::counts::Tally;
use super::load::{Shared, nanos};
use super::perform::{Outcome, perform};
use crate::clock::now;
use crate::history::{Event, Function, Kind};
use crate::system::Session;
use crate::workload::{Call, Generator};
use serde_json::Value;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::park_timeout;
use std::time::Duration;

/// How long a client that is not paced rests before it tries the next node: a refused call
/// takes no time, and a client of nodes that are down would do nothing else.
const REST: Duration = Duration::from_millis(10);

/// One client.
pub(super) struct Client<'s> {
    shared: &'s Shared,
    generator: Generator,
    number: u64,
    process: u64,
    node: usize,
    session: Option<Box<dyn Session>>,
    tally: Tally,
}

impl<'s> Client<'s> {
    pub(super) fn new(shared: &'s Shared, i: usize) -> Self {
        let plan = &shared.plan;
        let generator = Generator::new(plan.workload, &plan.mix, &shared.keys, plan.seed, i as u64);
        Self {
            shared,
            generator,
            number: i as u64,
            process: i as u64,
            node: i % plan.nodes.len().max(1),
            session: None,
            tally: Tally::new(),
        }
    }

    /// Calls until it is told to stop.
    pub(super) fn run(mut self) {
        let plan = &self.shared.plan;
        let period = plan.rate.map(|rate| Duration::from_secs(1) * plan.clients as u32 / rate);
        // Clients begin spread over one period, not all at once.
        let share = (self.process as u32).min(plan.clients as u32);
        let mut due = now() + period.map_or(Duration::ZERO, |p| p * share / plan.clients as u32);
        while self.wait_until(due) {
            let call = self.generator.call();
            let answered = self.one(&call);
            let rested = now() + plan.think;
            due = match period {
                // A client that is late goes on from now: nobody catches up on missed calls.
                Some(period) => (due + period).max(now().saturating_sub(period)).max(rested),
                None if answered => rested,
                None => rested.max(now() + REST),
            };
        }
        let mut sum = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add(self.tally);
    }

    /// Whether the client is to go on. It sleeps through: whoever stops it wakes it, and a
    /// thousand clients that look around now and then would be felt beside them.
    fn wait_until(&self, due: Duration) -> bool {
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = due.saturating_sub(now());
            if left.is_zero() {
                return true;
            }
            park_timeout(left);
        }
    }

    /// Makes one call and writes it down; whether it was answered.
    fn one(&mut self, call: &Call) -> bool {
        let shared = self.shared;
        let plan = &shared.plan;
        if self.session.is_none() {
            match (shared.sessions)(self.node) {
                Ok(session) => self.session = Some(session),
                Err(why) => self.tally.error(&why.to_string(), 1),
            }
        }
        let Some(mut session) = self.session.take() else {
            self.move_on();
            return false;
        };
        let begin = now();
        let line = Event {
            t: nanos(begin.saturating_sub(plan.epoch)),
            process: self.process,
            client: (self.process != self.number).then_some(self.number),
            kind: Kind::Invoke,
            f: call.f,
            key: Some(call.key.clone()),
            value: call.value.clone(),
            done: true,
            is_final: false,
            node: plan.nodes.get(self.node).cloned(),
            error: None,
        };
        self.record(line.clone());
        let outcome = perform(&mut *session, plan.workload, call, plan.timeout);
        let end = now();
        self.session = Some(session);
        if self.tally.call(call.f, &outcome, end.saturating_sub(begin)) {
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        let Outcome { kind, value, done, error } = outcome;
        if kind == Kind::Ok && done {
            self.learn(call, &value);
        }
        let t = nanos(end.saturating_sub(plan.epoch));
        self.record(Event { t, kind, value, done, error, ..line });
        if kind == Kind::Info {
            // The call may still take effect: whoever goes on is somebody else.
            self.process = shared.processes.fetch_add(1, Ordering::Relaxed);
        }
        if kind != Kind::Ok {
            self.move_on();
        }
        kind == Kind::Ok
    }

    fn record(&self, line: Event) {
        if !self.shared.recorder.put(line) {
            self.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn learn(&mut self, call: &Call, value: &Value) {
        match call.f {
            Function::Cas => self.generator.saw(&call.key, &value[1]),
            Function::Read | Function::Write | Function::Remove => {
                self.generator.saw(&call.key, value);
            }
            _ => {}
        }
    }

    /// To the next node, unless it is to stay, over a new connection.
    fn move_on(&mut self) {
        self.session = None;
        if !self.shared.plan.sticky {
            self.node = (self.node + 1) % self.shared.plan.nodes.len().max(1);
        }
    }
}
