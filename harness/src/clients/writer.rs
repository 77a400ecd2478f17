//! `history.jsonl`, streamed: whole lines, on disk a moment after they happened.

use crate::error::Context;
use crate::history::{Event, Header};
use crate::{Error, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait to be written; whoever has more to say waits, too.
const WAITING_MAX: usize = 65_536;

/// How long a line may wait for the disk.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// Writes one history; ends it properly when finished.
#[derive(Debug)]
pub struct HistoryWriter {
    lines: Option<Sender<Event>>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

/// Where clients put their lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder(Sender<Event>);

impl Recorder {
    /// Puts a line; waits where the disk is behind. False where the writer has failed: then the
    /// history is not whole, and [`HistoryWriter::finish`] says why.
    #[must_use]
    pub fn put(&self, event: Event) -> bool {
        self.0.send(event).is_ok()
    }
}

impl HistoryWriter {
    /// Begins the file with its header.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        let failed = || format!("the history {}", path.display());
        let mut out = BufWriter::new(File::create(path).context(failed)?);
        let line = serde_json::to_string(header).context(failed)?;
        writeln!(out, "{line}").and_then(|()| out.flush()).context(failed)?;
        let (lines, todo) = bounded(WAITING_MAX);
        let thread = std::thread::Builder::new().name("history".into());
        let thread = thread.spawn(move || write(&mut out, &todo)).context(failed)?;
        Ok(Self { lines: Some(lines), thread: Some(thread) })
    }

    /// A place to put lines.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder(self.lines.clone().expect("taken only when finished"))
    }

    /// Waits until everything is on disk; how many lines that is. Every recorder must be gone.
    pub fn finish(mut self) -> Result<u64> {
        drop(self.lines.take());
        let thread = self.thread.take().expect("finished once only");
        let written = thread.join().map_err(|_| Error::new("the history's thread panicked"))?;
        written.context(|| "the history could not be written whole".into())
    }
}

fn write(out: &mut BufWriter<File>, todo: &Receiver<Event>) -> io::Result<u64> {
    let mut written = 0;
    loop {
        match todo.recv_timeout(FLUSH_AFTER) {
            Ok(event) => {
                serde_json::to_writer(&mut *out, &event)?;
                out.write_all(b"\n")?;
                written += 1;
                // Under load the wait never runs out, so the disk has its turn by number, too.
                if written % 1000 == 0 {
                    out.flush()?;
                }
            }
            Err(RecvTimeoutError::Timeout) => out.flush()?,
            Err(RecvTimeoutError::Disconnected) => {
                out.flush()?;
                return Ok(written);
            }
        }
    }
}
