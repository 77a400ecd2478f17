//! The guardian: a small process that takes the rules away when raftq cannot.
//!
//! A reader that is stuck cuts the cluster, bypass or not: packets wait for verdicts that
//! never come. So before any rule goes in, a second process is started that knows what to
//! remove. It watches the loop's heartbeat in a shared page, and a pipe that closes when
//! raftq dies. It has a process group of its own, so that Ctrl-C and Ctrl-Z do not reach it.
//!
//! Who removes the rules is decided by one compare-and-swap on the shared page: either
//! raftq has left the attached phase, or the guardian has.

use crate::kernel::clock;
use crate::kernel::door;
use crate::kernel::heart::{Heart, Phase};
use crate::kernel::iptables::{self, Installed};
use crate::kernel::pidfd;
use crate::kernel::poll::Poller;
use crate::kernel::record;
use crate::time::Nanos;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

/// A heartbeat older than this means that the loop is stuck.
pub const STUCK: Nanos = Nanos::from_millis(500);

/// How often the guardian looks.
const LOOK: Nanos = Nanos::from_millis(50);

/// A guardian that looks as late as this was kept from it.
const FROZEN: Nanos = Nanos::from_millis(250);

/// What the guardian is told before anything goes in.
#[derive(Debug, Serialize, Deserialize)]
struct Charge {
    run_id: String,
    installed: Vec<Installed>,
}

/// raftq's hold on its guardian.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    /// Closing it tells the guardian that raftq is gone.
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts it and tells it what to remove.
    pub fn start(heart: &Heart, run_id: &str, installed: &[Installed]) -> io::Result<Self> {
        let page = heart.as_fd().try_clone_to_owned()?;
        let mut child = Command::new("/proc/self/exe")
            .arg("guardian")
            .stdin(Stdio::piped())
            // The page is passed on as its standard output, which it has no other use for.
            .stdout(Stdio::from(page))
            .process_group(0)
            .spawn()?;
        let mut pipe = child.stdin.take();
        let charge = Charge { run_id: run_id.into(), installed: installed.to_vec() };
        if let Some(pipe) = &mut pipe {
            serde_json::to_writer(&mut *pipe, &charge)?;
            pipe.write_all(b"\n")?;
        }
        Ok(Self { child, pipe })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is gone although it should not be.
    pub fn is_gone(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets it go; everything is cleaned up, and the page says so.
    pub fn dismiss(mut self) {
        drop(self.pipe.take());
        // Somebody may have stopped it. It has not been waited for, so the number is its own.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT);
        if let Err(e) = self.child.wait() {
            log::warn!("the guardian cannot be waited for: {e}");
        }
    }
}

/// The guardian process itself: `raftq guardian`, started by raftq only.
#[must_use]
pub fn main() -> ExitCode {
    match guard() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&e.to_string());
            ExitCode::from(5)
        }
    }
}

fn guard() -> io::Result<()> {
    let heart = Heart::open(io::stdout().as_fd().try_clone_to_owned()?).map_err(|_| {
        io::Error::other("this is started by raftq itself; there is nothing to do by hand")
    })?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if !line.ends_with('\n') {
        // raftq died before it had said what it would put in, so it never did.
        return Ok(());
    }
    let charge: Charge = serde_json::from_str(&line)?;
    let mut poller = Poller::new()?;
    let stdin = io::stdin();
    poller.add(stdin.as_fd())?;
    let (mut look_again, mut looked, mut thawed) = (Nanos::ZERO, clock::now(), Nanos::ZERO);
    loop {
        // Nothing more comes through the pipe, so it is readable only when it is closed.
        let gone = poller.wait(LOOK)? > 0;
        let now = clock::now();
        // Late itself, it was frozen together with raftq, as in a paused container, and who
        // goes on first is chance.
        if now.saturating_sub(looked) > FROZEN {
            thawed = now;
        }
        looked = now;
        match heart.phase() {
            Phase::Finished => return Ok(()),
            _ if gone => {
                after_death(&charge);
                return Ok(());
            }
            Phase::Attached
                if now.saturating_sub(heart.last_beat().max(thawed)) > STUCK
                    && heart.change(Phase::Attached, Phase::TakenAway) =>
            {
                take_away(&charge, "raftq does not answer any more");
                look_again = clock::now() + STUCK;
            }
            // Stopped in the middle of its attach, raftq may have left programs behind that
            // put rules in only now.
            Phase::TakenAway if now > look_again => {
                look_again = now + STUCK;
                if charge.installed.iter().any(|i| i.stands().unwrap_or(false)) {
                    take_away(&charge, "rules came in although raftq does not answer");
                }
            }
            _ => {}
        }
    }
}

/// raftq is gone, but programs that it had started to put rules in may not be: they hold the
/// lock. Its queues went with it, so its rules let packets pass, and there is time to wait.
fn after_death(charge: &Charge) {
    // Before anything that may take its time.
    resume(charge);
    // Nobody listens there any more, whatever becomes of the rules.
    if let Err(e) = door::forget(&door::path(&charge.run_id)) {
        say(&format!("its control socket stays ({e})"));
    }
    let lock = record::lock();
    if let Err(e) = &lock {
        say(&e.to_string());
    }
    if take_away(charge, "raftq is gone") {
        let ours = |r: &record::Record| r.run_id == charge.run_id;
        if let Some(Err(e)) = record::all().into_iter().find(ours).map(|r| r.forget()) {
            say(&format!("its record stays ({e}): run `raftq clean`"));
        }
    }
}

/// Lets go on whoever raftq has stopped; returns whether that could be done.
fn resume(charge: &Charge) -> bool {
    match pidfd::resume_all(&charge.run_id) {
        Ok(0) => true,
        Ok(n) => {
            say(&format!("{n} processes that raftq had stopped go on"));
            true
        }
        Err(e) => {
            say(&format!("processes that raftq had stopped may not go on ({e})"));
            false
        }
    }
}

/// Removes everything; returns whether nothing is left.
fn take_away(charge: &Charge, why: &str) -> bool {
    let mut whole = resume(charge);
    for (installed, result) in charge.installed.iter().zip(iptables::remove_all(&charge.installed))
    {
        if let Err(e) = result {
            whole = false;
            say(&format!("{}: {e}", installed.ns.label));
        }
    }
    let outcome =
        if whole { "its rules are removed" } else { "some of its rules stay: run `raftq clean`" };
    say(&format!("{why}; {outcome}"));
    whole
}

/// The terminal may be gone with raftq; then nobody is told, and the work goes on.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "raftq guardian: {text}");
}
