//! Processes that cannot outlive the driver.
//!
//! Everything long-lived is started through `raftq-bench within`, which sets in one place what a
//! measured process needs: its core, its own session (Ctrl-C goes to the driver alone, which then
//! ends its children in order), and a signal for when the driver is gone, SIGKILL included.

use crate::Fault;
use crate::world::World;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getppid, setsid};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};

const LAST_WORDS_MS: u64 = 5_000;

/// A running process, ended and reaped on drop. Its output goes to files, so that no full pipe
/// ever holds it up.
pub(crate) struct Child {
    process: process::Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
    asked: usize,
}

impl Child {
    /// Starts `words` on core `cpu`, or wherever the kernel likes. SIGTERM is what it gets should
    /// the driver die.
    pub(crate) fn spawn(
        world: &World,
        cpu: impl Into<Option<usize>>,
        words: &[&str],
    ) -> Result<Self, Fault> {
        let pinned = cpu.into().map(|cpu| ["--cpu".to_owned(), cpu.to_string()]);
        let name = words.join(" ");
        let (out, err) = world.output_files();
        let process = Command::new(std::env::current_exe()?)
            .args(["within", "--parent", &process::id().to_string()])
            .args(pinned.iter().flatten())
            .arg("--")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()?;
        Ok(Self { process, name, out, err, asked: 0 })
    }

    /// Starts one of the load programs of this very binary in a namespace.
    pub(crate) fn load(world: &World, cpu: usize, netns: &str, words: &str) -> Result<Self, Fault> {
        let exe = std::env::current_exe()?;
        let exe = exe.to_str().ok_or("the path of raftq-bench is not UTF-8")?;
        let mut all = vec!["ip", "netns", "exec", netns, exe];
        all.extend(words.split(' '));
        Self::spawn(world, cpu, &all)
    }

    /// The process id, which `within` and the programs it becomes all share.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything it wrote to stdout so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// Waits until stdout or stderr contains `said`.
    pub(crate) fn wait_for(&mut self, world: &World, said: &str, ms: u64) -> Result<(), Fault> {
        world
            .until(ms, || {
                if self.output().contains(said) || self.complaint().contains(said) {
                    return Ok(Some(()));
                }
                match self.process.try_wait()? {
                    Some(status) => Err(self.fault(&format!("ended ({status}) before `{said}`"))),
                    None => Ok(None),
                }
            })?
            .ok_or_else(|| self.fault(&format!("did not say `{said}` within {ms} ms")))
    }

    /// Asks a sink for its total: (count, nanoseconds, lost).
    pub(crate) fn ask(&mut self, world: &World) -> Result<[u64; 3], Fault> {
        self.asked += 1;
        let asked = self.asked;
        self.process.stdin.as_mut().ok_or("a sink without stdin")?.write_all(b"\n")?;
        let answer = world.until(2_000, || {
            let text = self.output();
            let whole = text.matches('\n').count() > asked;
            Ok(whole.then(|| numbers(text.lines().nth(asked).unwrap_or_default())))
        })?;
        let answer = answer.ok_or_else(|| self.fault("did not answer"))?;
        answer.try_into().map_err(|_| self.fault("answered something else than three numbers"))
    }

    /// Waits for the end and returns what it printed.
    pub(crate) fn finish(&mut self, world: &World, ms: u64) -> Result<String, Fault> {
        let status = world.until(ms, || Ok(self.process.try_wait()?))?;
        match status {
            Some(_) => Ok(self.output()),
            None => Err(self.fault(&format!("did not end within {ms} ms"))),
        }
    }

    /// Sends a signal and waits for the end; returns what it printed.
    pub(crate) fn stop(&mut self, world: &World, signal: Signal) -> Result<String, Fault> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal)?;
        self.finish(world, LAST_WORDS_MS)
    }

    /// Everything it wrote to stderr so far.
    pub(crate) fn complaint(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    fn fault(&self, what: &str) -> Fault {
        format!("`{}` {what}; it said: {}", self.name, self.complaint().trim()).into()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SIGTERM first: raftq answers it by taking its rules out. Errors mean it has ended.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM);
            let gone = || matches!(self.process.try_wait(), Ok(Some(_)));
            if !crate::clock::poll_until(2_000, gone) {
                let _ = self.process.kill();
            }
        }
        let _ = self.process.wait();
    }
}

/// Becomes `words`, pinned to `cpu`, unless `parent` is gone already. Returns only on failure.
pub(crate) fn within(parent: u32, cpu: Option<usize>, words: &[String]) -> Fault {
    let prepare = || -> Result<(), Fault> {
        setsid()?;
        set_pdeathsig(Signal::SIGTERM)?;
        if getppid().as_raw().cast_unsigned() != parent {
            return Err("the driver is gone".into());
        }
        if let Some(cpu) = cpu {
            let mut set = CpuSet::new();
            set.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        SigSet::all().thread_unblock()?;
        Ok(())
    };
    if let Err(fault) = prepare() {
        return fault;
    }
    let Some((program, arguments)) = words.split_first() else {
        return "no command given after `--`".into();
    };
    format!("{program}: {}", Command::new(program).args(arguments).exec()).into()
}

/// The whole numbers of a line.
pub(crate) fn numbers(line: &str) -> Vec<u64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
