//! A running total that answers the driver: one line on stdin, one line on stdout.

use crate::clock::now_ns;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// One writer adds, the answering thread reads.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    count: Arc<AtomicU64>,
}

impl Meter {
    /// Starts answering, and says `ready`. `lost` is asked at each answer for what the socket
    /// itself threw away: a measurement with losses there says nothing about the queue.
    pub(crate) fn start(lost: impl Fn() -> u64 + Send + 'static) -> Self {
        let meter = Self::default();
        let shown = meter.clone();
        thread::spawn(move || shown.answer(&lost));
        println!("ready");
        meter
    }

    /// Adds what has arrived.
    pub(crate) fn add(&self, more: u64) {
        self.count.fetch_add(more, Relaxed);
    }

    fn answer(&self, lost: &dyn Fn() -> u64) {
        for line in stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            let reply = format!("{} {} {}\n", self.count.load(Relaxed), now_ns(), lost());
            if stdout().write_all(reply.as_bytes()).and_then(|()| stdout().flush()).is_err() {
                break;
            }
        }
    }
}
