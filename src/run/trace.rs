//! `--trace FILE`: every packet as a JSON line, written off the hot path.
//!
//! The loop puts a fixed-size record into a bounded ring; a thread of ordinary priority
//! writes them out. Where it cannot keep up, records are counted instead of kept, and the
//! last line of the file says how many.
//!
//! A packet that is kept (`delay`, `ask`) bears its queue and id, and gets a second line when
//! it is answered, with the same two: until then nobody knows whether it passes, since a cut
//! may start while it is held. The kernel uses an id again only for a later packet.
//!
//! A packet between nodes that is dropped (`drop`) by no rule met the silence of one of them: a
//! fault was being done to its process. Or its connection was stalled by a rule that is gone.

use crate::engine::{Decision, Token, Verdict};
use crate::packet::{Endpoint, LinkId, NodeId, PacketView, Proto};
use crate::rules::Table;
use crate::time::Nanos;
use crossbeam_channel::{Receiver, Sender, bounded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
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
    /// A RST went on instead.
    Reset,
    /// Dropped, and its sender was told.
    Rejected,
    /// Went on with a changed payload.
    Corrupted,
    /// Held for that long; without a time, until a rule lets it go.
    Held(Option<Nanos>),
    /// Dropped because as many were held as may be.
    Overflowed,
    /// Kept until its sender is known.
    Asked,
    /// Comes again as single segments, each of which has a line of its own.
    Segmented,
    /// Let through, since it could not be read.
    Unreadable,
}

/// One line, as the ring holds it.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Nanos,
    /// Which packet; for those that are kept, and for their answers.
    token: Option<Token>,
    link: Option<LinkId>,
    rule: Option<u16>,
    /// `None` for answers: the packet has its line already.
    len: Option<u32>,
    /// What could be read of it.
    read: Option<Read>,
    fate: Fate,
    table: u32,
}

/// What is in a packet's headers.
#[derive(Clone, Copy, Debug)]
struct Read {
    src: Endpoint,
    dst: Endpoint,
    proto: Proto,
    flags: u8,
    segments: u16,
}

/// The loop's end of a trace.
#[derive(Debug)]
pub struct Tracer {
    ring: Sender<Record>,
    shared: Arc<Shared>,
    table: u32,
}

/// What both ends look at.
#[derive(Debug, Default)]
struct Shared {
    /// The start of the rules' clock, ns; 0 until it is known.
    start: AtomicU64,
    /// Packets without a line, because the ring was full.
    lost: AtomicU64,
    /// Answers without a line.
    answers_lost: AtomicU64,
    /// Nothing comes any more.
    finished: AtomicBool,
}

impl Tracer {
    /// The rules' clock started then: the zero of all times. Until it is known the ring
    /// keeps what comes.
    pub fn start(&self, at: Nanos) {
        self.shared.start.store(at.0.max(1), Ordering::Release);
    }

    /// Notes one packet; never waits.
    #[inline]
    pub fn note(
        &mut self,
        at: Nanos,
        token: Token,
        view: &PacketView,
        decision: &Decision,
        fate: Fate,
    ) {
        let asked = fate == Fate::Asked;
        let kept = asked || matches!(fate, Fate::Held(_));
        self.put(Record {
            at,
            token: kept.then_some(token),
            // Asked packets bear no link yet.
            link: decision.facts.filter(|_| !asked).map(|facts| facts.link),
            rule: decision.rule,
            len: Some(view.len),
            read: Some(Read {
                src: view.src,
                dst: view.dst,
                proto: view.proto,
                flags: view.flags,
                segments: view.segments,
            }),
            fate,
            table: self.table,
        });
    }

    /// Notes a packet that nobody judged: the rules are out already.
    pub fn passed(&mut self, at: Nanos, token: Token, view: &PacketView) {
        let decision = Decision {
            verdict: Verdict::Accept,
            facts: None,
            rule: None,
            extras: crate::engine::Extras::default(),
        };
        self.note(at, token, view, &decision, Fate::Accepted);
    }

    /// Notes a packet that could not be read.
    pub fn unreadable(&mut self, at: Nanos, len: u32) {
        self.put(Record {
            at,
            token: None,
            link: None,
            rule: None,
            len: Some(len),
            read: None,
            fate: Fate::Unreadable,
            table: self.table,
        });
    }

    /// Notes what became of a packet that was kept.
    #[inline]
    pub fn answered(&mut self, at: Nanos, token: Token, link: Option<LinkId>, fate: Fate) {
        self.put(Record {
            at,
            token: Some(token),
            link,
            rule: None,
            len: None,
            read: None,
            fate,
            table: self.table,
        });
    }

    fn put(&self, record: Record) {
        if self.ring.try_send(record).is_err() {
            let Shared { lost, answers_lost, .. } = &*self.shared;
            let count = if record.len.is_some() { lost } else { answers_lost };
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Rules are numbered by another table from now on.
    pub fn next_table(&mut self) {
        self.table += 1;
    }
}

/// The writing end of a trace. Dropping it, too, waits until everything is written.
#[derive(Debug)]
pub struct TraceWriter {
    thread: Option<JoinHandle<io::Result<u64>>>,
    shared: Arc<Shared>,
}

/// What a trace came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traced {
    /// Packets that have a line; those that were kept have another, for their answer.
    pub packets: u64,
    /// Packets that have none because the ring was full.
    pub lost: u64,
    /// Answers to packets that were kept that have none because the ring was full.
    pub answers_lost: u64,
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

/// Opens the file and starts the thread that writes it. What the file holds already stays
/// until the clock starts ([`Tracer::start`]); where it never does, the file is as before.
pub fn open(path: &Path, names: Names) -> io::Result<(Tracer, TraceWriter)> {
    let sink = Sink::open(path)?;
    let (ring, records) = bounded(RING);
    let shared = Arc::new(Shared::default());
    let thread = {
        let shared = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("raftq-trace".into())
            .spawn(move || write_all(sink, &records, &names, &shared))?
    };
    let tracer = Tracer { ring, shared: Arc::clone(&shared), table: 0 };
    Ok((tracer, TraceWriter { thread: Some(thread), shared }))
}

/// The file, untouched as yet.
struct Sink {
    file: File,
    /// Where it was not there before.
    new: Option<PathBuf>,
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { file, new: Some(path.to_owned()) }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Self { file: OpenOptions::new().write(true).open(path)?, new: None })
            }
            Err(e) => Err(e),
        }
    }

    fn begin(self) -> io::Result<BufWriter<File>> {
        // A pipe or a device has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(BufWriter::new(self.file))
    }

    fn leave(self) -> io::Result<()> {
        self.new.map_or(Ok(()), fs::remove_file)
    }
}

impl TraceWriter {
    /// Waits until everything is written; call when the loop has ended.
    pub fn finish(mut self) -> io::Result<Traced> {
        let packets = self.join()?;
        let Shared { lost, answers_lost, .. } = &*self.shared;
        Ok(Traced {
            packets,
            lost: lost.load(Ordering::Relaxed),
            answers_lost: answers_lost.load(Ordering::Relaxed),
        })
    }

    fn join(&mut self) -> io::Result<u64> {
        self.shared.finished.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Ok(0) };
        thread.join().map_err(|_| io::Error::other("the thread that writes the trace panicked"))?
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        if let Err(e) = self.join() {
            log::error!("the trace is not whole: {e}");
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(flatten)]
    read: Option<ReadLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_us: Option<u64>,
}

#[derive(Serialize)]
struct ReadLine {
    src: std::net::SocketAddr,
    dst: std::net::SocketAddr,
    proto: &'static str,
    segments: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    flags: String,
}

/// Returns how many packets have a line.
fn write_all(
    sink: Sink,
    records: &Receiver<Record>,
    names: &Names,
    shared: &Shared,
) -> io::Result<u64> {
    let start = loop {
        match shared.start.load(Ordering::Acquire) {
            0 if shared.finished.load(Ordering::Acquire) => return sink.leave().map(|()| 0),
            0 => std::thread::park_timeout(IDLE),
            start => break Nanos(start),
        }
    };
    let mut out = sink.begin()?;
    let mut packets = 0;
    let mut table = names.get(0);
    let mut table_index = 0;
    loop {
        // A receiver that blocks would make the loop take a lock to wake it, so this one
        // looks now and then; the ring holds what comes in between.
        let Ok(record) = records.try_recv() else {
            if shared.finished.load(Ordering::Acquire) && records.is_empty() {
                break;
            }
            std::thread::park_timeout(IDLE);
            continue;
        };
        if record.table != table_index {
            table_index = record.table;
            table = names.get(table_index);
        }
        serde_json::to_writer(&mut out, &line(&record, start, table.as_deref()))?;
        out.write_all(b"\n")?;
        packets += u64::from(record.len.is_some());
    }
    let lost = shared.lost.load(Ordering::Relaxed);
    let answers_lost = shared.answers_lost.load(Ordering::Relaxed);
    if lost + answers_lost > 0 {
        writeln!(out, "{{\"lost\":{lost},\"answers_lost\":{answers_lost}}}")?;
    }
    out.flush()?;
    Ok(packets)
}

fn line<'a>(record: &Record, start: Nanos, table: Option<&'a Table>) -> Line<'a> {
    let node = |pick: fn((NodeId, NodeId)) -> NodeId| {
        let (table, link) = (table?, record.link?);
        let node = pick(link.ends(table.nodes.len()));
        table.nodes.get(usize::from(node.0)).map(|node| node.name.as_str())
    };
    let (verdict, delay_us) = match record.fate {
        Fate::Accepted => ("accept", None),
        Fate::Dropped => ("drop", None),
        Fate::Trimmed => ("trim", None),
        Fate::Reset => ("reset", None),
        Fate::Rejected => ("reject", None),
        Fate::Corrupted => ("corrupt", None),
        Fate::Held(Some(delay)) => ("delay", Some(delay.0 / 1_000)),
        Fate::Held(None) => ("hold", None),
        Fate::Overflowed => ("overflow", None),
        Fate::Asked => ("ask", None),
        Fate::Segmented => ("segment", None),
        Fate::Unreadable => ("unreadable", None),
    };
    // What passes before the clock starts has a time below zero.
    let early = start.saturating_sub(record.at).as_secs_f64();
    Line {
        t: record.at.saturating_sub(start).as_secs_f64() - early,
        queue: record.token.map(|token| token.queue),
        id: record.token.map(|token| token.id),
        read: record.read.map(|read| ReadLine {
            src: read.src.socket_addr(),
            dst: read.dst.socket_addr(),
            proto: match read.proto {
                Proto::Tcp => "tcp",
                Proto::Udp => "udp",
            },
            segments: read.segments,
            flags: flag_letters(read.flags),
        }),
        from: node(|(from, _)| from),
        to: node(|(_, to)| to),
        len: record.len,
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
