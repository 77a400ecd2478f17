//! The probe against systems that answer at once, late, never, or refuse.

use super::*;
use crate::clock::{pause, wait_for};
use crate::system::Failure;
use std::sync::atomic::AtomicU64;

const LIMIT: Duration = Duration::from_secs(20);

type Answered = std::result::Result<Answer, Failure>;

/// What a system does to a write that may take so long.
type Manner = fn(Duration) -> Answered;

struct Stub {
    manner: Manner,
    calls: Arc<AtomicU64>,
}

impl Session for Stub {
    fn call(&mut self, _: &Request, limit: Duration) -> Answered {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (self.manner)(limit)
    }
}

/// A probe of one node, how many calls it has made, and how many connections.
fn probe(manner: Manner) -> (Probe, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (calls, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, made) = (Arc::clone(&calls), Arc::clone(&opened));
    let sessions: Sessions = Arc::new(move |_| {
        made.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Stub { manner, calls: Arc::clone(&counted) }))
    });
    (Probe::start(1, &sessions, None, now()).expect("it starts"), calls, opened)
}

/// Lets the probe make so many calls, and returns what it saw and how long it was asked for.
fn after(calls: u64, (probe, made, _): (Probe, Arc<AtomicU64>, Arc<AtomicU64>)) -> Availability {
    let enough = || (made.load(Ordering::Relaxed) >= calls).then_some(());
    wait_for("calls of the probe", LIMIT, Duration::from_millis(5), enough).expect("they come");
    probe.finish()
}

/// One write was due each 50 ms, and was sent then unless the machine had no time: a loop that
/// waits for answers would send a sixth of them.
fn sent_on_time(seen: &Availability) {
    let last = seen.samples.last().expect("samples").sent;
    let due = last / nanos(EVERY) + 1;
    assert!((due..=due + 2).contains(&(seen.tried + seen.unsent)), "{due} were due: {seen:?}");
    assert!(seen.tried >= due / 2, "{due} were due: {seen:?}");
}

#[test]
fn answers_that_are_late_hold_up_no_later_write() {
    let late = |limit: Duration| {
        pause(limit.saturating_sub(Duration::from_millis(20)));
        Ok(Answer::Done)
    };
    let seen = after(20, probe(late));
    sent_on_time(&seen);
    assert_eq!(seen.succeeded, seen.tried);
}

#[test]
fn a_system_that_never_answers_is_asked_on_time_and_was_never_available() {
    let never = |limit: Duration| {
        pause(limit);
        Err(Failure::Unknown("no answer".into()))
    };
    let seen = after(20, probe(never));
    sent_on_time(&seen);
    assert_eq!(seen.succeeded, 0);
    let [window] = seen.unavailable.as_slice() else { panic!("{:?}", seen.unavailable) };
    assert!(!window.ended && window.from == seen.samples[0].sent, "{seen:?}");
}

#[test]
fn a_system_that_refuses_at_once_is_not_asked_faster() {
    let seen = after(10, probe(|_| Err(Failure::NotDone("refused".into()))));
    sent_on_time(&seen);
    assert_eq!((seen.succeeded, seen.unavailable.len()), (0, 1), "{seen:?}");
}

#[test]
fn calls_that_overrun_their_time_are_limited_and_told() {
    let stuck = |limit: Duration| {
        pause(limit * 7);
        Err(Failure::Unknown("no answer".into()))
    };
    let seen = after(WORKERS_MAX as u64 + 1, probe(stuck));
    assert!(seen.unsent > 0, "{seen:?}");
}

#[test]
fn at_rest_one_connection_a_node_is_enough() {
    let (probe, calls, opened) = probe(|_| Ok(Answer::Done));
    let seen = after(20, (probe, calls, Arc::clone(&opened)));
    sent_on_time(&seen);
    // A worker that was a moment late to wait for its next write has help from then on.
    assert!(opened.load(Ordering::Relaxed) <= 3, "{opened:?} connections");
}

#[test]
fn a_write_sent_before_a_moment_does_not_count_as_success_behind_it() {
    let late = |_| {
        pause(Duration::from_millis(200));
        Ok(Answer::Done)
    };
    let epoch = now();
    let sessions: Sessions =
        Arc::new(move |_| Ok(Box::new(Stub { manner: late, calls: Arc::default() })));
    let probe = Probe::start(1, &sessions, None, epoch).expect("it starts");
    let all = || probe.first_success_since(0);
    let step = Duration::from_millis(5);
    let first = wait_for("a success", LIMIT, step, all).expect("it comes");
    // Writes that are under way now will be acknowledged behind `first`.
    let since = || probe.first_success_since(first);
    let second = wait_for("a later success", LIMIT, step, since).expect("it comes");
    assert!(second >= first + 200_000_000, "sent at {first} or later, known at {second}");
}
