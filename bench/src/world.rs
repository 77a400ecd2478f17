//! The namespaces that everything happens in, and their removal on every way out.
//!
//! ```text
//!   n1 d0 10.77.0.1 ===== 10.77.0.2 d0 n2      a bare veth pair: flood, round trips, delay
//!   n1 e0 10.78.0.1 - br0 in hub - 10.78.0.2 e0 n2      a bridge: bulk
//! ```
//!
//! A reaper process holds the other end of a pipe. When the driver ends in whatever way, SIGKILL
//! included, the pipe closes and the reaper deletes the namespaces and the scratch folder. Nothing
//! else on the host is touched.

use crate::Fault;
use crate::child::numbers;
use crate::clock::{now_ns, poll_until};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write, stdin};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

/// Two nodes, a hub, a scratch folder.
pub(crate) struct World {
    pub(crate) n1: String,
    pub(crate) n2: String,
    pub(crate) hub: String,
    folder: PathBuf,
    files: Cell<usize>,
    signals: SignalFd,
    reaper: process::Child,
}

impl World {
    /// Makes everything anew under names that carry this process's id.
    pub(crate) fn make() -> Result<Self, Fault> {
        let id = process::id();
        let [n1, n2, hub] = ["n1", "n2", "hub"].map(|part| format!("rqbench{id}-{part}"));
        let folder = std::env::temp_dir().join(format!("rqbench{id}"));
        fs::create_dir_all(&folder)?;
        let signals = catch_signals()?;
        let reaper = Command::new(std::env::current_exe()?)
            .arg("reap")
            .arg(&folder)
            .args([&n1, &n2, &hub])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let world = Self { n1, n2, hub, folder, files: Cell::new(0), signals, reaper };
        world.wire()?;
        Ok(world)
    }

    /// A new file of the scratch folder with this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Fresh names for a process's stdout and stderr.
    pub(crate) fn output_files(&self) -> (PathBuf, PathBuf) {
        let number = self.files.replace(self.files.get() + 1);
        let path = |kind| self.folder.join(format!("{number}.{kind}"));
        (path("out"), path("err"))
    }

    /// Asks `done` until it has an answer or `ms` are over; an error when Ctrl-C comes.
    pub(crate) fn until<T>(
        &self,
        ms: u64,
        mut done: impl FnMut() -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        let deadline = now_ns() + ms * 1_000_000;
        loop {
            if let Some(answer) = done()? {
                return Ok(Some(answer));
            }
            if now_ns() >= deadline {
                return Ok(None);
            }
            self.wait(2)?;
        }
    }

    /// Lets `ms` go by; an error when Ctrl-C comes.
    pub(crate) fn wait(&self, ms: u64) -> Result<(), Fault> {
        let deadline = now_ns() + ms * 1_000_000;
        loop {
            let left = deadline.saturating_sub(now_ns()).div_ceil(1_000_000);
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(left.min(60_000) as u16))?;
            if ready > 0 {
                return Err("interrupted".into());
            }
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// Loads rules into a namespace's mangle table, which holds nothing else afterwards.
    pub(crate) fn firewall(netns: &str, rules: &str) -> Result<(), Fault> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", netns, "iptables-restore", "-w"])
            .stdin(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("iptables-restore without stdin")?.write_all(rules.as_bytes())?;
        if child.wait()?.success() {
            return Ok(());
        }
        Err(format!("iptables-restore in {netns} refused these rules:\n{rules}").into())
    }

    /// What is in a namespace's mangle table.
    pub(crate) fn saved_firewall(netns: &str) -> Result<String, Fault> {
        let words = ["netns", "exec", netns, "iptables-save", "-t", "mangle"];
        let output = Command::new("ip").args(words).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Packets that wait for a verdict in a namespace's queues: the third column of the kernel's
    /// table, whose file does not exist before the first queue.
    pub(crate) fn waiting_packets(netns: &str) -> Result<u64, Fault> {
        let words = ["netns", "exec", netns, "cat", "/proc/net/netfilter/nfnetlink_queue"];
        let output = Command::new("ip").args(words).output()?;
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(table.lines().filter_map(|line| numbers(line).get(2).copied()).sum())
    }

    fn wire(&self) -> Result<(), Fault> {
        let Self { n1, n2, hub, .. } = self;
        for netns in [n1, n2, hub] {
            ip(&format!("netns add {netns}"))?;
            ip(&format!("-n {netns} link set lo up"))?;
        }
        ip(&format!("-n {n1} link add d0 type veth peer name d0 netns {n2}"))?;
        ip(&format!("-n {hub} link add br0 type bridge"))?;
        // By this address raftq finds the bridge that leads to the nodes.
        ip(&format!("-n {hub} address add 10.78.0.254/24 dev br0"))?;
        ip(&format!("-n {hub} link set br0 up"))?;
        for (number, netns) in [(1, n1), (2, n2)] {
            ip(&format!("-n {hub} link add v{number} type veth peer name e0 netns {netns}"))?;
            ip(&format!("-n {hub} link set v{number} master br0 up"))?;
            ip(&format!("-n {netns} address add 10.77.0.{number}/24 dev d0"))?;
            ip(&format!("-n {netns} address add 10.78.0.{number}/24 dev e0"))?;
            ip(&format!("-n {netns} link set d0 up"))?;
            ip(&format!("-n {netns} link set e0 up"))?;
        }
        let switch = "net.bridge.bridge-nf-call-iptables=1";
        ip(&format!("netns exec {hub} sysctl -q -w {switch}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The closed pipe is the order to clean up; waiting makes the next run start clean.
        drop(self.reaper.stdin.take());
        let _ = self.reaper.wait();
    }
}

/// The reaper: waits for the driver's end, then deletes what it made.
pub(crate) fn reap(folder: &Path, namespaces: &[String]) -> Result<(), Fault> {
    SigSet::all().thread_block()?;
    let _ = stdin().read_to_end(&mut Vec::new());
    for netns in namespaces.iter().filter(|n| Path::new("/run/netns").join(n).exists()) {
        // The children get SIGTERM with the driver's end; raftq then takes its own rules out.
        poll_until(3_000, || {
            let pids = Command::new("ip").args(["netns", "pids", netns]).output();
            pids.is_ok_and(|output| output.stdout.is_empty())
        });
        ip(&format!("netns delete {netns}"))?;
    }
    Ok(fs::remove_dir_all(folder)?)
}

fn catch_signals() -> Result<SignalFd, Fault> {
    let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

fn ip(words: &str) -> Result<(), Fault> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip {words}` failed (root is needed): {}", said.trim()).into())
}
