//! `--trace FILE`: every packet as a JSON line, written off the hot path.
//!
//! The loop puts a fixed-size record into a bounded ring; a thread of ordinary priority
//! writes them out. Where it cannot keep up, records are counted instead of kept, and the
//! last line of the file says how many.

use crate::engine::Decision;
use crate::packet::{Endpoint, PacketView, Proto};
use crate::rules::Table;
use crate::time::Nanos;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records that may wait to be written.
const RING: usize = 65_536;

/// How long the writer rests when there is nothing to write.
const IDLE: Duration = Duration::from_millis(10);

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Let through at once.
    Accepted,
    /// Dropped.
    Dropped,
    /// Only its acknowledgement went on.
    Trimmed,
    /// Held for that long.
    Held(Nanos),
    /// Dropped because as many were held as may be.
    Overflowed,
    /// Kept until its sender is known.
    Asked,
}

/// One packet, as the ring holds it.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Nanos,
    src: Endpoint,
    dst: Endpoint,
    link: Option<u16>,
    rule: Option<u16>,
    proto: Proto,
    flags: u8,
    len: u32,
    segments: u16,
    fate: Fate,
    table: u32,
}

/// The loop's end of a trace.
#[derive(Debug)]
pub struct Tracer {
    ring: Sender<Record>,
    lost: Arc<AtomicU64>,
    table: u32,
}

impl Tracer {
    /// Notes one packet; never waits.
    #[inline]
    pub fn note(&mut self, at: Nanos, view: &PacketView, decision: &Decision, fate: Fate) {
        let asked = fate == Fate::Asked;
        let record = Record {
            at,
            src: view.src,
            dst: view.dst,
            // Asked packets bear no link yet.
            link: decision.facts.filter(|_| !asked).map(|facts| facts.link.0),
            rule: decision.rule,
            proto: view.proto,
            flags: view.flags,
            len: view.len,
            segments: view.segments,
            fate,
            table: self.table,
        };
        if self.ring.try_send(record).is_err() {
            let lost = self.lost.load(Ordering::Relaxed);
            self.lost.store(lost + 1, Ordering::Relaxed);
        }
    }

    /// Rules are numbered by another table from now on.
    pub fn next_table(&mut self) {
        self.table += 1;
    }
}

/// The writing end of a trace.
#[derive(Debug)]
pub struct TraceWriter {
    thread: JoinHandle<io::Result<u64>>,
    lost: Arc<AtomicU64>,
    finished: Arc<AtomicBool>,
}

/// What a trace came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Traced {
    /// Lines written.
    pub packets: u64,
    /// Packets that were not written because the ring was full.
    pub lost: u64,
}

/// Names of nodes and rules, so that the lines speak of them.
#[derive(Clone, Debug)]
pub struct Names {
    tables: Arc<std::sync::Mutex<Vec<Arc<Table>>>>,
}

impl Names {
    /// The names of the first table.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self { tables: Arc::new(std::sync::Mutex::new(vec![table])) }
    }

    /// The names of the next table; add it before the table is put in force.
    pub fn add(&self, table: Arc<Table>) {
        self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(table);
    }

    fn get(&self, index: u32) -> Option<Arc<Table>> {
        let tables = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tables.get(index as usize).cloned()
    }
}

/// Creates the file and starts the thread that writes it. `start` is the zero of its times.
pub fn open(path: &Path, names: Names) -> io::Result<(Tracer, TraceWriter)> {
    let file = File::create(path)?;
    let (ring, records) = bounded(RING);
    let lost = Arc::new(AtomicU64::new(0));
    let finished = Arc::new(AtomicBool::new(false));
    let thread = {
        let (lost, finished) = (Arc::clone(&lost), Arc::clone(&finished));
        std::thread::Builder::new()
            .name("raftq-trace".into())
            .spawn(move || write_all(BufWriter::new(file), &records, &names, &lost, &finished))?
    };
    let tracer = Tracer { ring, lost: Arc::clone(&lost), table: 0 };
    Ok((tracer, TraceWriter { thread, lost, finished }))
}

impl TraceWriter {
    /// Waits until everything is written; call when the loop has ended.
    pub fn finish(self) -> io::Result<Traced> {
        self.finished.store(true, Ordering::Release);
        let packets = self
            .thread
            .join()
            .map_err(|_| io::Error::other("the thread that writes the trace panicked"))??;
        Ok(Traced { packets, lost: self.lost.load(Ordering::Relaxed) })
    }
}

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    src: std::net::SocketAddr,
    dst: std::net::SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    proto: &'static str,
    len: u32,
    segments: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    flags: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_us: Option<u64>,
}

fn write_all(
    mut out: impl Write,
    records: &Receiver<Record>,
    names: &Names,
    lost: &AtomicU64,
    finished: &AtomicBool,
) -> io::Result<u64> {
    let mut written = 0;
    let mut start = None;
    let mut table = names.get(0);
    let mut table_index = 0;
    loop {
        // A receiver that blocks would make the loop take a lock to wake it, so this one
        // looks now and then; the ring holds what comes in between.
        let Ok(record) = records.try_recv() else {
            if finished.load(Ordering::Acquire) && records.is_empty() {
                break;
            }
            std::thread::park_timeout(IDLE);
            continue;
        };
        if record.table != table_index {
            table_index = record.table;
            table = names.get(table_index);
        }
        let start = *start.get_or_insert(record.at);
        let line = line(&record, start, table.as_deref());
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
        written += 1;
    }
    let lost = lost.load(Ordering::Relaxed);
    if lost > 0 {
        writeln!(out, "{{\"lost\":{lost}}}")?;
    }
    out.flush()?;
    Ok(written)
}

fn line<'a>(record: &Record, start: Nanos, table: Option<&'a Table>) -> Line<'a> {
    let node = |pick: fn((crate::packet::NodeId, crate::packet::NodeId)) -> u16| {
        let (table, link) = (table?, record.link?);
        let ends = crate::packet::LinkId(link).ends(table.nodes.len());
        table.nodes.get(usize::from(pick(ends))).map(|node| node.name.as_str())
    };
    let (verdict, delay_us) = match record.fate {
        Fate::Accepted => ("accept", None),
        Fate::Dropped => ("drop", None),
        Fate::Trimmed => ("trim", None),
        Fate::Held(delay) => ("delay", Some(delay.0 / 1_000)),
        Fate::Overflowed => ("overflow", None),
        Fate::Asked => ("ask", None),
    };
    Line {
        t: record.at.saturating_sub(start).as_secs_f64(),
        src: record.src.socket_addr(),
        dst: record.dst.socket_addr(),
        from: node(|(from, _)| from.0),
        to: node(|(_, to)| to.0),
        proto: match record.proto {
            Proto::Tcp => "tcp",
            Proto::Udp => "udp",
        },
        len: record.len,
        segments: record.segments,
        flags: flag_letters(record.flags),
        rule: record.rule.and_then(|r| table?.rules.get(usize::from(r))).map(|r| r.name.as_str()),
        verdict,
        delay_us,
    }
}

/// TCP flags as tcpdump writes them: `S`, `F`, `R`, `P`, `.`.
fn flag_letters(flags: u8) -> String {
    use crate::packet::tcp_flags::{ACK, FIN, PSH, RST, SYN};
    [(FIN, 'F'), (SYN, 'S'), (RST, 'R'), (PSH, 'P'), (ACK, '.')]
        .into_iter()
        .filter_map(|(bit, letter)| (flags & bit != 0).then_some(letter))
        .collect()
}
