//! Calls that are made by a driver: a process that speaks JSON lines on its standard input and
//! output. `adapters/README.md` is the contract.
//!
//! Calls bear a number, so that an answer that comes after its call was given up is never taken
//! for the next one's. A driver that ends, or says what is no answer, leaves every call that is
//! under way unknown, and is ended; the next call starts another one. What was not sent because
//! the driver was not ready, or was gone already, is surely not done.

use crate::clock::Deadline;
use crate::process::start_bound;
use crate::system::Failure;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The longest line of a driver.
const LINE_MAX_BYTES: u64 = 16 << 20;

/// Lines that wait for a driver to read them; it has stopped reading where they are more.
const WAITING_MAX: usize = 1024;

/// How a driver is started, and what it is told first.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// The first line.
    pub(super) hello: Value,
    /// Where its standard error goes.
    pub(super) log: Option<PathBuf>,
}

/// A driver that runs; ended when dropped.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    lines: Option<Sender<String>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether it has said that it is ready.
    ready: bool,
    /// Why no call can be made any more.
    broken: Option<String>,
    /// The number of the last call.
    last: u64,
    /// The calls under way.
    waiting: HashMap<u64, Sender<Map<String, Value>>>,
}

impl Driver {
    /// Starts it, in the namespace of the calling thread.
    pub(super) fn start(start: &Start) -> io::Result<Self> {
        let stderr = match &start.log {
            Some(log) => OpenOptions::new().create(true).append(true).open(log)?.into(),
            None => Stdio::null(),
        };
        let mut command = Command::new(&start.program);
        command.args(&start.args).envs(start.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = start_bound(command)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (lines, todo) = bounded(WAITING_MAX);
        // From here on dropping it ends the child.
        let made = Self { child, lines: Some(lines), shared: Arc::default() };
        let (stdin, stdout) = stdin.zip(stdout).expect("both were asked to be pipes");
        made.send(&start.hello).map_err(io::Error::other)?;
        let thread =
            |name: &str| std::thread::Builder::new().name(name.into()).stack_size(256 << 10);
        thread("driver in").spawn(move || write(stdin, &todo))?;
        let shared = Arc::clone(&made.shared);
        thread("driver out").spawn(move || shared.read(stdout))?;
        Ok(made)
    }

    /// Waits until it is ready for calls.
    pub(super) fn wait_ready(&self, deadline: Deadline) -> Result<(), String> {
        let mut state = self.shared.lock();
        loop {
            if let Some(why) = &state.broken {
                return Err(why.clone());
            }
            if state.ready {
                return Ok(());
            }
            if deadline.passed() {
                return Err("the driver was not ready in time".into());
            }
            let changed = self.shared.changed.wait_timeout(state, deadline.left());
            state = changed.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether calls can be made, or could be once it is ready.
    pub(super) fn works(&self) -> bool {
        self.shared.lock().broken.is_none()
    }

    /// Makes a call. What has been handed to the driver is unknown until it is answered.
    pub(super) fn call(
        &self,
        op: &str,
        mut fields: Map<String, Value>,
        deadline: Deadline,
    ) -> Result<Map<String, Value>, Failure> {
        let (answer, answered) = bounded(1);
        let id = self.shared.enter(answer).map_err(Failure::NotDone)?;
        let left = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX);
        fields.insert("id".into(), id.into());
        fields.insert("op".into(), op.into());
        fields.insert("limit_ms".into(), left.into());
        if let Err(why) = self.send(&Value::Object(fields)) {
            self.shared.lock().waiting.remove(&id);
            return Err(Failure::NotDone(why));
        }
        match answered.recv_timeout(deadline.left()) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                // The answer that may still come finds nobody.
                self.shared.lock().waiting.remove(&id);
                Err(Failure::Unknown("the driver did not answer in time".into()))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = self.shared.lock().broken.clone();
                Err(Failure::Unknown(why.unwrap_or_else(|| "the driver is gone".into())))
            }
        }
    }

    /// Puts a line into the queue; an error means that the driver will never see it.
    fn send(&self, line: &Value) -> Result<(), String> {
        let lines = self.lines.as_ref().expect("open until it is dropped");
        lines.try_send(format!("{line}\n")).map_err(|e| match e {
            TrySendError::Full(_) => "the driver has stopped reading".into(),
            TrySendError::Disconnected(_) => "the driver is gone".into(),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.lines = None;
        // Not yet reaped, so the number still means this child, and the group it leads.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a call and waits for its answer from here on.
    fn enter(&self, answer: Sender<Map<String, Value>>) -> Result<u64, String> {
        let mut state = self.lock();
        if let Some(why) = &state.broken {
            return Err(why.clone());
        }
        state.last += 1;
        let id = state.last;
        state.waiting.insert(id, answer);
        Ok(id)
    }

    fn read(&self, stdout: ChildStdout) {
        let mut stdout = BufReader::new(stdout);
        let why = loop {
            let mut line = Vec::new();
            match stdout.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line) {
                Ok(0) => break "the driver ended".to_owned(),
                Ok(_) => {}
                Err(e) => break format!("the driver cannot be heard: {e}"),
            }
            if let Err(why) = self.hear(&line) {
                break format!("the driver {why}: {}", excerpt(&line));
            }
        };
        let mut state = self.lock();
        state.broken = Some(why);
        // Dropping the senders tells everybody who waits.
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// One line of the driver; an error means that it does not keep to the contract.
    fn hear(&self, line: &[u8]) -> Result<(), &'static str> {
        let line: Map<String, Value> =
            serde_json::from_slice(line).map_err(|_| "said what is no JSON object on one line")?;
        let mut state = self.lock();
        if !state.ready {
            state.ready = line.get("ready") == Some(&Value::Bool(true));
            self.changed.notify_all();
            return if state.ready { Ok(()) } else { Err("is not ready") };
        }
        let id = line.get("id").and_then(Value::as_u64).ok_or("answered without an id")?;
        if id == 0 || id > state.last {
            return Err("answered a call that was never made");
        }
        // One that is not waited for any more is late, and says nothing to anybody.
        if let Some(answer) = state.waiting.remove(&id) {
            let _ = answer.send(line);
        }
        Ok(())
    }
}

fn write(mut stdin: ChildStdin, todo: &Receiver<String>) {
    for line in todo {
        // One that does not read any more has ended, and who reads from it sees that.
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim().chars().take(200).collect()
}

/// Where the log of the drivers of a node is.
pub(super) fn log(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("driver-{node}.log"))
}
