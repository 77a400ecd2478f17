//! Writers that keep putting, and for how long nobody succeeded.

use raftq_harness::clock::{now, pause, wait_for};
use raftq_harness::etcd::{EtcdCluster, Place};
use raftq_harness::http::Client;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writers at each node.
const WRITERS: usize = 2;
/// Between two writes of one writer.
const PACE: Duration = Duration::from_millis(5);
/// Of one write: short, so that there always is one that was started a moment ago.
const WRITE_MAX: Duration = Duration::from_millis(400);

/// A write that succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub started: Duration,
    pub ended: Duration,
}

impl Write {
    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.started)
    }
}

/// Writers at every node; they stop when this goes.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<Write>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(cluster: &EtcdCluster<'_>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(Mutex::new(Vec::new()));
        let writer = |number: usize| {
            let place: Place<'_> = cluster.place();
            let client = Client::new(Some(&place.clients().path())).expect("a client");
            let url = format!("http://{}/v3/kv/put", place.client(number % cluster.size()));
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || write(&client, &url, number, &stop, &done))
        };
        let threads = (0..cluster.size() * WRITERS).map(writer).collect();
        Self { stop, done, threads }
    }

    /// All writes that have succeeded since this was asked for the last time.
    pub fn take(&self) -> Vec<Write> {
        std::mem::take(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a successful write that was started after `since`; the time from then to
    /// its end.
    pub fn await_write(&self, since: Duration, limit: Duration) -> Duration {
        let next = || {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            let later =
                done.iter().filter(|w| w.started >= since).map(|w| w.ended.saturating_sub(since));
            later.min()
        };
        wait_for("a write that succeeds", limit, super::STEP, next).expect("the cluster goes on")
    }

    /// The longest time from `since` on in which no write succeeded; lets writers go on
    /// until it has looked at `window`.
    pub fn longest_silence(&self, since: Duration, window: Duration) -> Duration {
        pause((since + window).saturating_sub(now()));
        let end = now();
        let mut ends: Vec<_> = self.take().into_iter().map(|write| write.ended).collect();
        ends.retain(|at| *at > since);
        ends.push(end);
        ends.sort();
        let mut last = since;
        let silences =
            ends.into_iter().map(|at| at.saturating_sub(std::mem::replace(&mut last, at)));
        silences.max().unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn write(client: &Client, url: &str, number: usize, stop: &AtomicBool, done: &Mutex<Vec<Write>>) {
    // Base64 of "w0", "w1" ...: the third letter holds the last four bits of the digit.
    let key = ["dzA=", "dzE=", "dzI=", "dzM=", "dzQ=", "dzU="][number % 6];
    while !stop.load(Ordering::Relaxed) {
        let started = now();
        if client.post(url, json!({ "key": key, "value": "eA==" }), WRITE_MAX).is_ok() {
            let ended = now();
            done.lock().unwrap_or_else(PoisonError::into_inner).push(Write { started, ended });
        }
        pause(PACE);
    }
}
