//! The thread that puts packets down, and what it writes into.

use super::pcap::{Captured, Pcapng};
use super::{Asked, BYTES, Kind, Pcap, RING, Record, Shared, Tracer, lines};
use crate::kernel::clock;
use crate::rules::Table;
use crate::time::Nanos;
use crossbeam_channel::{Receiver, bounded};
use rtrb::{Consumer, RingBuffer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the writer rests when there is nothing to write.
const IDLE: Duration = Duration::from_millis(10);

/// The writing end of a trace. Dropping it, too, waits until everything is written.
#[derive(Debug)]
pub struct TraceWriter {
    thread: Option<JoinHandle<Put>>,
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

/// What everything came to that was to be put down.
#[derive(Debug, Default)]
pub struct Written {
    /// The lines, where they were asked for.
    pub traced: Option<Traced>,
    /// Why they are not whole, where they are not.
    pub untraced: Option<io::Error>,
    /// The packets with their bytes.
    pub captured: Option<Captured>,
}

/// What the thread leaves.
#[derive(Debug, Default)]
struct Put {
    lines: Option<io::Result<u64>>,
    captured: Option<Captured>,
}

/// Names of nodes and rules, so that what is written speaks of them.
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

/// Opens the files and starts the thread that writes them. What a file holds already stays
/// until the clock starts ([`Tracer::start`]); where it never does, the file is as before. The
/// error names the file.
pub fn open(
    asked: &Asked<'_>,
    names: Names,
) -> Result<(Tracer, TraceWriter), (PathBuf, io::Error)> {
    let sink = |path: &Path| Sink::open(path).map_err(|e| (path.to_owned(), e));
    let lines = asked.lines.map(sink).transpose()?;
    let pcap = asked.pcap.map(|pcap| Ok((sink(pcap.path)?, About::of(&pcap)))).transpose()?;
    let (ring, records) = bounded(RING);
    let (bytes, taken) = pcap.is_some().then(|| RingBuffer::new(BYTES)).unzip();
    let shared = Arc::new(Shared::default());
    let thread = {
        let shared = Arc::clone(&shared);
        let source = Source { records, bytes: taken, names, shared };
        std::thread::Builder::new()
            .name("raftq-trace".into())
            .spawn(move || source.write_all((lines, pcap)))
            .map_err(|e| (asked.lines.unwrap_or(Path::new("packets")).to_owned(), e))?
    };
    let tracer = Tracer {
        ring,
        bytes,
        lines: asked.lines.is_some(),
        captures_all: asked.pcap.is_some_and(|pcap| pcap.all),
        shared: Arc::clone(&shared),
        table: 0,
    };
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

/// What a file of packets says of itself.
struct About {
    title: String,
    all: bool,
    max: u64,
}

impl About {
    fn of(pcap: &Pcap<'_>) -> Self {
        Self { title: pcap.title.to_owned(), all: pcap.all, max: pcap.max }
    }
}

impl TraceWriter {
    /// Waits until everything is written; call when the loop has ended.
    #[must_use]
    pub fn finish(mut self) -> Written {
        let Put { lines, captured } = self.join();
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { lost, answers_lost, .. } = &*self.shared;
        let (lost, answers_lost) = (get(lost), get(answers_lost));
        let traced = |packets| Traced { packets, lost, answers_lost };
        match lines.transpose() {
            Ok(lines) => Written { traced: lines.map(traced), untraced: None, captured },
            Err(e) => Written { traced: None, untraced: Some(e), captured },
        }
    }

    fn join(&mut self) -> Put {
        self.shared.finished.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Put::default() };
        thread.join().unwrap_or_else(|_| {
            let why = "the thread that puts packets down panicked";
            Put { lines: Some(Err(io::Error::other(why))), captured: None }
        })
    }
}

impl Drop for TraceWriter {
    fn drop(&mut self) {
        if let Some(Err(e)) = self.join().lines {
            log::error!("the trace is not whole: {e}");
        }
    }
}

/// Where records come from.
struct Source {
    records: Receiver<Record>,
    bytes: Option<Consumer<u8>>,
    names: Names,
    shared: Arc<Shared>,
}

/// A file of lines under way.
struct Lines {
    out: BufWriter<File>,
    packets: u64,
}

impl Lines {
    fn take(&mut self, record: &Record, start: Nanos, table: &Table) -> io::Result<()> {
        lines::write(&mut self.out, record, start, Some(table))?;
        self.packets += u64::from(record.kind == Kind::Packet);
        Ok(())
    }

    fn finish(mut self, shared: &Shared) -> io::Result<u64> {
        let lost = shared.lost.load(Ordering::Relaxed);
        let answers_lost = shared.answers_lost.load(Ordering::Relaxed);
        if lost + answers_lost > 0 {
            writeln!(self.out, "{{\"lost\":{lost},\"answers_lost\":{answers_lost}}}")?;
        }
        self.out.flush()?;
        Ok(self.packets)
    }
}

impl Source {
    fn write_all(mut self, (lines, pcap): (Option<Sink>, Option<(Sink, About)>)) -> Put {
        let start = loop {
            match self.shared.start.load(Ordering::Acquire) {
                0 if self.shared.finished.load(Ordering::Acquire) => {
                    let left = pcap.map_or(Ok(()), |(sink, _)| sink.leave());
                    let lines = lines.map(|sink| sink.leave().and(left).map(|()| 0));
                    return Put { lines, captured: None };
                }
                0 => std::thread::park_timeout(IDLE),
                start => break Nanos(start),
            }
        };
        let Some(mut table) = self.names.get(0) else { return Put::default() };
        let mut lines = lines.map(|sink| Ok(Lines { out: sink.begin()?, packets: 0 }));
        let mut pcap = pcap.map(|(sink, about)| {
            let About { title, all, max } = about;
            let head = format!("{title}, seed {}; {}", table.seed, if all { ALL } else { SOME });
            Pcapng::new(sink.begin(), (&table, &head), clock::since_1970(), (all, max))
        });
        let mut index = 0;
        // A receiver that blocks would make the loop take a lock to wake it, so this one
        // looks now and then; the ring holds what comes in between.
        loop {
            let Ok(record) = self.records.try_recv() else {
                if self.shared.finished.load(Ordering::Acquire) && self.records.is_empty() {
                    break;
                }
                if let Some(pcap) = &mut pcap {
                    pcap.rest(clock::now());
                }
                std::thread::park_timeout(IDLE);
                continue;
            };
            if record.table != index {
                index = record.table;
                table = self.names.get(index).unwrap_or(table);
            }
            if let Some(Ok(open)) = lines.as_mut().filter(|_| record.lined)
                && let Err(e) = open.take(&record, start, &table)
            {
                lines = Some(Err(e));
            }
            let bytes = self.bytes_of(&record);
            if let Some(pcap) = &mut pcap {
                pcap.take(record, bytes, &table);
            }
        }
        Put {
            lines: lines.map(|lines| lines.and_then(|lines| lines.finish(&self.shared))),
            captured: pcap.map(|pcap| pcap.finish(self.shared.uncaptured.load(Ordering::Relaxed))),
        }
    }

    /// The bytes of a packet; they were put in before its record was.
    fn bytes_of(&mut self, record: &Record) -> Option<Vec<u8>> {
        let mut bytes = vec![0; record.taken? as usize];
        let whole = self.bytes.as_mut()?.pop_entire_slice(&mut bytes);
        whole.expect("the loop puts a packet's bytes in before it says so");
        Some(bytes)
    }
}

const ALL: &str = "all packets that raftq saw";
const SOME: &str = "the packets that raftq did not simply let pass";
