//! The probe: a small program whose sockets show what a network does to traffic.
//!
//! `raftq-probe serve` answers, `ask` measures round trips, `send` streams numbered messages
//! (and has them streamed back on the same connection), `sink` only listens; over TCP and UDP,
//! IPv4 and IPv6. Everything that happens is one JSON line, an [`Event`], with the time of the
//! host's monotonic clock, which all namespaces share. A peer that stalls is told, never fatal.
//!
//! Tests start probes through [`Probe`]; the program itself is in `bin/raftq-probe.rs`, its
//! connections in [`wire`], what it does with them in [`serve`] and [`ask`].

pub mod ask;
pub mod serve;
pub mod wire;

use crate::clock::{now, wait_for};
use crate::netns::Namespace;
use crate::process::{Launch, Process};
use crate::{Error, Result, owner};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// A stream of frames.
    Tcp,
    /// A frame a datagram.
    Udp,
}

/// What happened to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The server's socket is bound.
    Listening,
    /// A dial succeeded, or a server took a connection.
    Connected,
    /// A question came in and was answered.
    Asked,
    /// A question's answer came in time; `us` is the round trip.
    Answered,
    /// No answer came in time; the question still counts as asked.
    TimedOut,
    /// An answer came after its question had timed out; `us` is the round trip.
    Late,
    /// A numbered message was handed to the kernel.
    Sent,
    /// A numbered message arrived.
    Got,
    /// The kernel's send buffer is full; the message waits in the probe's own.
    Stalled,
    /// A dial, a send or a read failed; `why` says how.
    Failed,
    /// The peer closed the connection.
    Closed,
    /// All that was to be done is done.
    Done,
}

/// One line of a probe's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// What.
    pub what: What,
    /// The message's or question's number, counted from 0 in each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// A round trip in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us: Option<u64>,
    /// The probe's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other side's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Event {
    /// An event of this moment without particulars.
    #[must_use]
    pub fn now(what: What) -> Self {
        let at_us = now().as_micros() as u64;
        Self { at_us, what, n: None, us: None, local: None, peer: None, why: None }
    }

    /// An event about a numbered message.
    #[must_use]
    pub fn about(what: What, n: u32) -> Self {
        Self { n: Some(n), ..Self::now(what) }
    }

    /// A failure and its cause.
    #[must_use]
    pub fn failed(why: &(impl ToString + ?Sized)) -> Self {
        Self { why: Some(why.to_string()), ..Self::now(What::Failed) }
    }

    /// Prints it as one line, at once: readers follow the file while the probe runs.
    pub fn print(&self) {
        let line = serde_json::to_string(self).expect("an event is plain data");
        println!("{line}");
    }
}

/// A probe under a test's control; ends when dropped.
#[derive(Debug)]
pub struct Probe {
    process: Process,
    // After the process: it writes there until it has ended.
    _scratch: owner::Scratch,
}

impl Probe {
    /// Starts `raftq-probe ARGS` in a namespace.
    pub fn start(space: &Namespace, args: &[&str]) -> Result<Self> {
        let scratch = owner::Scratch::new("rqprobe")?;
        let launch = Launch {
            name: format!("raftq-probe {}", args.join(" ")),
            program: find_probe()?,
            args: args.iter().map(Into::into).collect(),
            netns: Some(space.path()),
            stdout: scratch.path().join("events"),
            stderr: scratch.path().join("log"),
            env: Vec::new(),
            ended_by: Signal::SIGKILL,
        };
        Ok(Self { process: Process::spawn(launch)?, _scratch: scratch })
    }

    /// Starts a server (`kind` is serve or sink) and waits until it listens.
    pub fn listen(space: &Namespace, kind: &str, transport: &str, at: SocketAddr) -> Result<Self> {
        let mut probe = Self::start(space, &[kind, transport, &at.to_string()])?;
        probe.wait_until("a server that listens", Duration::from_secs(5), |events| {
            events.iter().any(|event| event.what == What::Listening)
        })?;
        Ok(probe)
    }

    /// Its process, to pause or kill.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All its events so far; a line that is not yet whole is left for the next look.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.process.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until its events satisfy `enough`, and gives them.
    pub fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        enough: impl Fn(&[Event]) -> bool,
    ) -> Result<Vec<Event>> {
        let found = wait_for(what, limit, Duration::from_millis(5), || {
            // Asked before reading: what an ended probe has printed is complete.
            let ended = self.process.ended();
            let events = self.events();
            if enough(&events) {
                return Some(Ok(events));
            }
            ended.map(|status| Err(Error::new(format!("ended ({status}) before {what}"))))
        });
        let tail = |error| Error::new(format!("{error}\n{}", self.describe()));
        found.and_then(|found| found).map_err(tail)
    }

    /// Waits until it has done its work, and gives all its events.
    pub fn finish(mut self, limit: Duration) -> Result<Vec<Event>> {
        let status = self.process.wait(limit)?;
        if status.success() {
            return Ok(self.events());
        }
        Err(Error::new(format!("ended with {status}\n{}", self.describe())))
    }

    fn describe(&self) -> String {
        let events = self.process.stdout();
        let lines: Vec<&str> = events.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n    ");
        format!("{}:\n    {last}\n{}", self.process.launch().name, self.process.log_tail())
    }
}

/// The numbers of all events of one kind, in order.
#[must_use]
pub fn numbers(events: &[Event], what: What) -> Vec<u32> {
    events.iter().filter(|event| event.what == what).filter_map(|event| event.n).collect()
}

/// The median round trip in microseconds of the questions that were answered in time.
#[must_use]
pub fn median_us(events: &[Event]) -> Option<u64> {
    let answered = events.iter().filter(|event| event.what == What::Answered);
    let mut trips: Vec<u64> = answered.filter_map(|event| event.us).collect();
    trips.sort_unstable();
    trips.get(trips.len() / 2).copied()
}

/// The probe program: beside the calling program, or one folder up where that is a test.
pub fn find_probe() -> Result<PathBuf> {
    let name = format!("raftq-probe{}", std::env::consts::EXE_SUFFIX);
    let here = std::env::current_exe().map_err(|error| Error::new(error.to_string()))?;
    let folders = here.ancestors().skip(1).take(2).map(Path::to_path_buf);
    let missing = "raftq-probe is not built; `cargo build -p raftq-harness --bins` does it";
    let mut files = folders.map(|folder| folder.join(&name));
    files.find(|file| file.is_file()).ok_or_else(|| Error::new(missing))
}
