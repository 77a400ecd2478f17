//! `history.jsonl`, streamed: whole lines, on disk a moment after they happened.

use crate::clock::pause;
use crate::error::Context;
use crate::history::{Event, Header};
use crate::{Error, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that wait to be written; whoever has more to say waits, too.
const WAITING_MAX: usize = 65_536;

/// How long a line may wait for the disk. The writer sleeps that long between two looks: woken
/// by every line it would be the busiest thread of all.
const FLUSH_AFTER: Duration = Duration::from_millis(20);

/// Writes one history; ends it properly when finished.
#[derive(Debug)]
pub struct HistoryWriter {
    path: PathBuf,
    lines: Option<Sender<Event>>,
    thread: Option<JoinHandle<io::Result<u64>>>,
    failed: Arc<OnceLock<String>>,
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
        let failure = Arc::new(OnceLock::new());
        let told = Arc::clone(&failure);
        let work = move || {
            write(&mut out, &todo).inspect_err(|e| {
                let _ = told.set(e.to_string());
            })
        };
        let thread = std::thread::Builder::new().name("history".into()).spawn(work);
        let thread = thread.context(failed)?;
        let (lines, thread, path) = (Some(lines), Some(thread), path.to_owned());
        Ok(Self { path, lines, thread, failed: failure })
    }

    /// Why it cannot be written any more, where that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.failed.get().map(|why| Error::new(format!("{}: {why}", self.what())))
    }

    fn what(&self) -> String {
        format!("the history {} could not be written whole", self.path.display())
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
        written.context(|| self.what())
    }
}

fn write(out: &mut BufWriter<File>, todo: &Receiver<Event>) -> io::Result<u64> {
    let mut written = 0;
    loop {
        match todo.try_recv() {
            Ok(event) => {
                serde_json::to_writer(&mut *out, &event)?;
                out.write_all(b"\n")?;
                written += 1;
                // Under load there is always one more, so the disk has its turn by number, too.
                if written % 1000 == 0 {
                    out.flush()?;
                }
            }
            Err(TryRecvError::Empty) => {
                out.flush()?;
                pause(FLUSH_AFTER);
            }
            Err(TryRecvError::Disconnected) => {
                out.flush()?;
                return Ok(written);
            }
        }
    }
}
