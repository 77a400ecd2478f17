//! What is said on the wire: heard by the verdict loop, watched on a thread of ordinary priority.
//!
//! The loop's end ([`Ear`]) reads each packet once and keeps what it completes for the engine;
//! then it puts fixed-size notes into a bounded ring. The other end ([`Watcher`]) gives them to the
//! [`Observer`] and, where asked to, writes them down, a JSON line each, so that they can be
//! checked again. Where it cannot keep up, messages are counted instead of told: that makes the
//! coverage smaller, and nothing else wrong, since each message testifies by itself.

use super::tally::{Tally, Teller};
use super::wire_outcome::WireOutcome;
use crate::kernel::queue::Packet;
use crate::observe::file::{self, Header};
use crate::observe::{Alarm, Event, Invariant, Observer, Seen, Watched};
use crate::packet::{LinkId, NodeId, PacketView};
use crate::rules::Table;
use crate::time::Nanos;
use crate::wire::{Coverage, Entry, Heard, Listener, Message, Protocol};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Notes that may wait to be watched.
const RING: usize = 65_536;

/// How long the watcher rests when there is nothing to read.
const IDLE: Duration = Duration::from_millis(5);

/// What goes through the ring. A message's entries come right behind it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the loop allocates nothing, so the ring holds all of it"
)]
enum Note {
    Message { at: Nanos, heard: Heard, link: Option<LinkId>, message: Message, entries: u32 },
    Entry(Entry),
    Missed { at: Nanos, messages: u64 },
}

/// Something that happened to a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// A moment at which the former process was gone and the new one was not there yet.
    pub at: Nanos,
    /// The node.
    pub node: NodeId,
    /// Whether the new one has lost its data.
    pub wiped: bool,
}

/// Tells a watcher that a process is started anew; before it is there.
#[derive(Clone, Debug)]
pub struct Births(Sender<Event>);

impl Births {
    /// Tells it. Where nobody watches any more it is of no interest.
    pub fn tell(&self, Restarted { at, node, wiped }: Restarted) {
        let wiped = wiped.then_some(Event::Wiped { at, node });
        let _ = self.0.send(wiped.unwrap_or(Event::Started { at, node }));
    }

    /// Tells that a process is gone, and that nobody will say when there is another one: what its
    /// node says from then on testifies to nothing.
    pub fn gone(&self, at: Nanos, node: NodeId) {
        let _ = self.0.send(Event::Ended { at, node });
    }
}

/// The loop's end.
#[derive(Debug)]
pub struct Ear {
    listener: Listener,
    ring: Sender<Note>,
    missed: u64,
    end: Sender<Coverage>,
    zero: Arc<AtomicU64>,
}

impl Ear {
    /// The rules' clock started then: the zero of all times.
    pub fn start(&self, at: Nanos) {
        self.zero.store(at.0.max(1), Ordering::Release);
    }

    /// Packets have passed unheard: nothing that is missing will come.
    pub fn stood_aside(&mut self, now: Nanos) {
        self.listener.reader().stood_aside(now);
    }

    /// Reads a packet; returns the messages that it completes, and their entries.
    #[inline]
    pub fn listen(
        &mut self,
        now: Nanos,
        view: &PacketView,
        packet: &Packet<'_>,
    ) -> (&[Message], &[Entry]) {
        self.listener.listen(now, view, packet.bytes)
    }

    /// Tells the watcher what was heard last, now that it is known on which link; never waits.
    #[inline]
    pub fn tell(&mut self, now: Nanos, link: Option<LinkId>) {
        self.missed += self.listener.take_missed();
        for (heard, message, entries) in self.listener.heard() {
            // All of it, or none: room for a message and its entries is taken at once, since
            // nobody else writes. One place is left for what is missed at the end.
            let room = RING - self.ring.len();
            if room < entries.len() + 2 + usize::from(self.missed > 0) {
                self.missed += 1;
                continue;
            }
            if self.missed > 0 {
                let messages = std::mem::take(&mut self.missed);
                let _ = self.ring.try_send(Note::Missed { at: now, messages });
            }
            let entries_len = entries.len() as u32;
            let note = Note::Message { at: now, heard, link, message, entries: entries_len };
            let _ = self.ring.try_send(note);
            for entry in entries {
                let _ = self.ring.try_send(Note::Entry(*entry));
            }
        }
        self.listener.forget();
    }

    /// Nothing more is heard: how much of everything could be read.
    pub fn finish(&mut self, now: Nanos) {
        if self.missed > 0 {
            let messages = std::mem::take(&mut self.missed);
            let _ = self.ring.try_send(Note::Missed { at: now, messages });
        }
        let _ = self.end.try_send(self.listener.reader().coverage(now));
    }
}

/// What a watcher leaves.
#[derive(Debug)]
pub struct Ended {
    /// What it saw.
    pub watched: Watched,
    /// Invariants that were violated, each with the messages that prove it.
    pub alarms: Vec<(Alarm, Vec<String>)>,
    /// By which protocol.
    pub protocol: Protocol,
    /// Why the file is not whole, if it is not.
    pub unwritten: Option<String>,
}

impl Ended {
    /// What an observer saw.
    #[must_use]
    pub fn of(observer: &Observer, protocol: Protocol, unwritten: Option<String>) -> Self {
        let alarms = observer.alarms().iter();
        let alarms = alarms.map(|alarm| (alarm.clone(), observer.evidence(alarm))).collect();
        Self { watched: observer.finish(), alarms, protocol, unwritten }
    }

    /// The same with the names of this table's nodes.
    #[must_use]
    pub fn outcome(&self, nodes: &[String]) -> WireOutcome {
        let Self { watched, alarms, protocol, unwritten } = self;
        WireOutcome::new(protocol.word(), nodes, watched, alarms, unwritten.clone())
    }
}

/// The watching end. Dropping it, too, waits until everything is watched.
#[derive(Debug)]
pub struct Watcher {
    /// The loop is over, or was given up: what is in the ring is all there will be.
    finished: Arc<AtomicBool>,
    thread: Option<JoinHandle<Ended>>,
    births: Sender<Event>,
    alarms: Receiver<(Invariant, String)>,
    tally: Arc<Tally>,
}

/// Opens both ends for a table that names a protocol; `None` where it does not.
pub fn open(table: &Table, file: Option<&Path>) -> io::Result<Option<(Ear, Watcher)>> {
    let Some(protocol) = table.protocol else { return Ok(None) };
    let peers: Vec<_> = table.nodes.iter().flat_map(|node| node.endpoints.clone()).collect();
    let (ring, notes) = bounded(RING);
    let (births, born) = unbounded();
    let (end, coverage) = bounded(1);
    let (tell, alarms) = unbounded();
    let zero = Arc::new(AtomicU64::new(0));
    let finished = Arc::new(AtomicBool::new(false));
    let names = table.nodes.iter().map(|node| node.name.clone()).collect();
    let header = Header::new(protocol.word(), names);
    let sink = file.map(|path| Sink::create(path, &header)).transpose()?;
    let watch = Watch {
        notes,
        born,
        coverage,
        finished: Arc::clone(&finished),
        zero: Arc::clone(&zero),
        nodes: table.nodes.len(),
        observer: Observer::new().named(header.nodes.clone()),
        protocol,
        sink,
        told: 0,
        tell,
        teller: Teller::new(table),
    };
    let tally = watch.teller.tally();
    let thread =
        std::thread::Builder::new().name("raftq-watch".into()).spawn(move || watch.run())?;
    let ear = Ear { listener: Listener::new(protocol, &peers), ring, missed: 0, end, zero };
    Ok(Some((ear, Watcher { finished, thread: Some(thread), births, alarms, tally })))
}

impl Watcher {
    /// For whoever starts processes.
    #[must_use]
    pub fn births(&self) -> Births {
        Births(self.births.clone())
    }

    /// What was heard so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The next violation that was not told yet: of what, and in a sentence.
    #[must_use]
    pub fn alarm(&self) -> Option<(Invariant, String)> {
        self.alarms.try_recv().ok()
    }

    /// Waits until everything is watched; call when the loop has ended.
    pub fn finish(mut self) -> io::Result<Option<Ended>> {
        self.join()
    }

    fn join(&mut self) -> io::Result<Option<Ended>> {
        self.finished.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Ok(None) };
        let panicked = |_| io::Error::other("the thread that watches the wire panicked");
        thread.join().map(Some).map_err(panicked)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Err(e) = self.join() {
            log::error!("{e}");
        }
    }
}

/// What the watching thread owns.
struct Watch {
    notes: Receiver<Note>,
    born: Receiver<Event>,
    coverage: Receiver<Coverage>,
    finished: Arc<AtomicBool>,
    zero: Arc<AtomicU64>,
    nodes: usize,
    observer: Observer,
    protocol: Protocol,
    sink: Option<Sink>,
    /// Alarms that were told so far.
    told: usize,
    tell: Sender<(Invariant, String)>,
    teller: Teller,
}

impl Watch {
    fn run(mut self) -> Ended {
        // Until the clock of all times has started the ring keeps what is heard; where the loop
        // ends before, there is nobody left who could start it.
        let over = |watch: &Self| {
            watch.finished.load(Ordering::Acquire) || Arc::strong_count(&watch.zero) == 1
        };
        while self.zero.load(Ordering::Acquire) == 0 && !over(&self) {
            std::thread::park_timeout(IDLE);
        }
        loop {
            match self.notes.try_recv() {
                Ok(note) => self.take(note),
                // A loop that is stuck keeps its end of the ring.
                Err(TryRecvError::Empty) if self.finished.load(Ordering::Acquire) => break,
                Err(TryRecvError::Empty) => {
                    self.hear_births();
                    std::thread::park_timeout(IDLE);
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        self.hear_births();
        if let Ok(coverage) = self.coverage.try_recv() {
            self.see(&Event::Coverage(coverage));
        }
        let unwritten = self.sink.and_then(Sink::finish);
        Ended::of(&self.observer, self.protocol, unwritten)
    }

    fn take(&mut self, note: Note) {
        // Whoever starts a process has told so before: it is here before anything the process
        // said can be.
        self.hear_births();
        match note {
            Note::Message { at, heard, link, message, entries } => {
                let (from, to) = match link.map(|link| link.ends(self.nodes)) {
                    Some((from, to)) => (Some(from), Some(to)),
                    None => (None, None),
                };
                let entries = (0..entries).map_while(|_| self.entry()).collect();
                let (at, opened) = (self.since(at), heard.opened.map(|at| self.since(at)));
                let Heard { flow, way, .. } = heard;
                self.see(&Event::Seen(Seen { at, flow, way, opened, from, to, message, entries }));
            }
            Note::Missed { at, messages } => {
                let at = self.since(at);
                self.see(&Event::Missed { at, messages });
            }
            // Each belongs to a message, and was taken with it.
            Note::Entry(_) => {}
        }
    }

    /// The next entry of a message; they are in the ring before it is read, or just coming.
    fn entry(&mut self) -> Option<Entry> {
        match self.notes.recv() {
            Ok(Note::Entry(entry)) => Some(entry),
            _ => None,
        }
    }

    fn hear_births(&mut self) {
        while let Ok(event) = self.born.try_recv() {
            let since = |at: Nanos| self.since(at);
            let event = match event {
                Event::Started { at, node } => Event::Started { at: since(at), node },
                Event::Ended { at, node } => Event::Ended { at: since(at), node },
                Event::Wiped { at, node } => Event::Wiped { at: since(at), node },
                other => other,
            };
            self.see(&event);
        }
    }

    fn see(&mut self, event: &Event) {
        self.teller.see(event);
        self.observer.see(event);
        for alarm in &self.observer.alarms()[self.told..] {
            let _ = self.tell.send((alarm.invariant, alarm.said.clone()));
        }
        self.told = self.observer.alarms().len();
        if let Some(sink) = &mut self.sink {
            sink.put(event);
        }
    }

    fn since(&self, at: Nanos) -> Nanos {
        at.saturating_sub(Nanos(self.zero.load(Ordering::Acquire)))
    }
}

/// The file of what was seen. A line that cannot be written is the last that is tried.
struct Sink {
    path: PathBuf,
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl Sink {
    fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "{}", header.line())?;
        Ok(Self { path: path.to_owned(), file, failed: None })
    }

    fn put(&mut self, event: &Event) {
        if self.failed.is_none() {
            self.failed = writeln!(self.file, "{}", file::line(event)).err();
        }
    }

    /// Why the file is not whole, if it is not.
    fn finish(mut self) -> Option<String> {
        let why = self.failed.or(self.file.flush().err())?;
        Some(format!("{} is not whole: {why}", self.path.display()))
    }
}
