//! `raftq-nats`: speaks to one NATS node for raftq, as a driver. `adapters/README.md` says how
//! drivers are spoken to: JSON lines, one call or answer each.
//!
//! It has one connection to one node. When that is lost it ends: the client would connect anew
//! and send what had waited meanwhile, long after raftq took the call for over. Ending leaves
//! what is under way unknown, as it is, and raftq starts another driver.
//!
//! ```text
//! line      what is said between raftq and a driver
//! bucket    reading and changing keys, and what each outcome is worth
//! name      keys as NATS takes them
//! ```

mod bucket;
mod line;
mod name;

use async_nats::ConnectOptions;
use bucket::Bucket;
use line::{Asked, Hello, Outcome};
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::LocalSet;

/// How long a node may take to answer a new connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftq-nats: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until its input ends.
async fn serve() -> io::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(first) = lines.next_line().await? else { return Ok(()) };
    let hello: Hello = serde_json::from_str(&first)?;
    let bucket = match connect(&hello).await {
        Ok(client) => Rc::new(Bucket::new(client, &hello)),
        Err(error) => {
            say(&serde_json::json!({ "ready": false, "why": error.to_string() }));
            return Err(io::Error::other(error));
        }
    };
    say(&serde_json::json!({ "ready": true }));
    while let Some(text) = lines.next_line().await? {
        let asked: Asked = serde_json::from_str(&text)?;
        let bucket = Rc::clone(&bucket);
        tokio::task::spawn_local(async move {
            let limit = Duration::from_millis(asked.limit_ms);
            let outcome = tokio::time::timeout(limit, bucket.perform(&asked.request)).await;
            let outcome = outcome.unwrap_or_else(|_| Outcome::unknown("no answer in time"));
            say(&outcome.line(asked.id));
        });
    }
    Ok(())
}

async fn connect(hello: &Hello) -> Result<async_nats::Client, async_nats::ConnectError> {
    let dialled = AtomicBool::new(false);
    let options = ConnectOptions::new()
        .name("raftq")
        .connection_timeout(CONNECT_MAX)
        .ignore_discovered_servers()
        // Asked before every attempt: the second one would be after a loss.
        .reconnect_delay_callback(move |_| {
            if dialled.swap(true, Ordering::Relaxed) {
                eprintln!("raftq-nats: the connection was lost");
                std::process::exit(1);
            }
            Duration::ZERO
        });
    options.connect(format!("nats://{}:{}", hello.node.address, hello.node.ports.client)).await
}

/// Says one line, whole; without a reader there is nothing left to do.
fn say(line: &Value) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
