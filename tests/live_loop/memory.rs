//! Counts what the loop's thread allocates: nothing, once it is warm.

use super::queue_lab::{Lab, arrived, send, until};
use super::{N1, N2, Ready, Setup, peers, table};
use raftq::kernel::nfqueue::NfQueue;
use raftq::run::trace::{self, Asked, Names, Pcap, Written};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator; notes what watched threads do.
struct Watched;

/// Where the calls of one thread are counted.
pub(crate) type Calls = &'static AtomicU64;

thread_local! {
    static CALLS: Cell<Option<Calls>> = const { Cell::new(None) };
}

/// A counter of its own for each loop, since tests may run side by side.
pub(crate) fn calls() -> Calls {
    Box::leak(Box::default())
}

/// From now on, what this thread allocates and frees is counted there.
pub(crate) fn watch_this_thread(calls: Calls) {
    CALLS.set(Some(calls));
}

fn note() {
    if let Some(calls) = CALLS.get() {
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: as for this method.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note();
        // SAFETY: as for this method.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as for this method.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

const RULES: &str = "
  - { name: lose some, from: n1, to: n2, where: { chance: 5% }, do: drop }
  - name: jitter
    from: n1
    to: n2
    where: { chance: 50% }
    do: { delay: { by: 2ms, jitter: 1ms, distribution: normal } }
  - { name: now and then, from: n2, to: n1, at: 10ms, every: 20ms, for: 10ms, do: drop }
  - { name: late, from: n2, to: n1, do: { delay: { by: 1ms } } }
";

#[test]
fn a_packet_on_its_way_allocates_nothing() {
    way_of_packets(|_| Asked::default());
}

#[test]
fn a_packet_that_is_traced_allocates_nothing_either() {
    way_of_packets(|folder| Asked::lines(&folder[0]));
}

#[test]
fn a_packet_that_is_captured_allocates_nothing_either() {
    way_of_packets(|folder| {
        let pcap = Pcap { path: &folder[1], all: true, max: 100_000_000, title: "a test" };
        Asked { lines: Some(&folder[0]), pcap: Some(pcap) }
    });
}

fn way_of_packets(asked: fn(&[PathBuf; 2]) -> Asked<'_>) {
    let lab = Lab::new();
    let table = table(RULES);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = ["trace.jsonl", "wire.pcapng"].map(|name| folder.path().join(name));
    let asked = asked(&paths);
    let on_record = asked.lines.is_some();
    let opened = on_record.then(|| trace::open(&asked, Names::new(Arc::clone(&table))));
    let (tracer, writer) = opened.map(|opened| opened.expect("it can be written")).unzip();
    let running = Ready::<NfQueue>::new(&lab).start(Setup { tracer, ..Setup::new(&table) });
    let (a, b) = peers(&lab);
    let mut sent = 0;
    let mut burst = |count: u32| {
        for _ in 0..count {
            send(&a, N2, 0..60, 64);
            send(&b, N1, 0..60, 64);
            sent += 120;
            // The sockets are to have room, and the loop is to sleep and spin in between.
            until("the loop has taken them in", || running.counters.totals.packets.get() == sent);
            arrived(&a);
            arrived(&b);
        }
        until("all that was held is out", || running.counters.totals.held.get() == 0);
    };
    burst(20);
    let before = running.calls.load(Ordering::Relaxed);
    assert!(before > 0, "making the loop allocates, or nobody counts");
    burst(200);
    assert_eq!(running.calls.load(Ordering::Relaxed) - before, 0);
    for rule in &running.counters.rules {
        assert!(rule.acted.get() > 100, "every rule has been at work");
    }
    let ended = running.stop();
    assert_eq!((ended.faults.refused, ended.faults.garbled), (0, 0));
    let Some(writer) = writer else { return };
    let Written { traced, captured, .. } = writer.finish();
    let came = traced.expect("it was written");
    assert_eq!(came.packets + came.lost, sent);
    if asked.pcap.is_some() {
        let captured = captured.expect("it was written");
        assert_eq!(captured.packets + captured.lost, sent);
        assert!(captured.packets > 1_000, "{captured:?}");
    }
}
