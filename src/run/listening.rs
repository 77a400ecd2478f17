//! Hearing Ctrl-C while the main thread waits for something else.

use super::experiment::Failure;
use crate::kernel::poll;
use crate::kernel::signals::{Signals, Wish};
use crate::time::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A thread that hears Ctrl-C while the main thread waits for something else; the waits of the
/// harness end by it. The fault phase hears for itself.
pub(super) struct Listening {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(signals: &Arc<Signals>) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let (signals, stopped) = (Arc::clone(signals), Arc::clone(&stop));
        let listen = move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some(Wish::End | Wish::Reload) = signals.next() {
                    raftq_harness::clock::interrupt_waits();
                }
                poll::pause(Nanos::from_millis(20));
            }
        };
        let thread = std::thread::Builder::new().name("raftq-signals".into()).spawn(listen);
        let thread = thread.map_err(|e| Failure::Environment(format!("no thread: {e}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
