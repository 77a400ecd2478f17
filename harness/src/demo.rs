//! The demonstration: the leader of a real etcd cluster is cut off by the real raftq and comes
//! back, and each claim about it is checked as the story is told.
//!
//! The claims: writes at the isolated node fail while those at the majority succeed; the
//! majority finds a new leader; after healing all nodes agree, and hold what the majority was
//! told is written; raftq leaves neither rules nor processes. What the isolated node was asked
//! to write has an unknown outcome: afterwards it may be there or not, but alike everywhere.
//!
//! Nothing here waits for a time: raftq's status lines and the nodes' answers say when.

use crate::clock::{now, since, wait_for};
use crate::error::Context;
use crate::etcd::{EtcdCluster, Options, Place, name};
use crate::firewall::Rules;
use crate::netns::{BridgeOptions, Bridged, Namespace, Stack};
use crate::process::{Launch, Process, running};
use crate::{Error, Result};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many nodes; the fewest that can lose one.
const NODES: usize = 3;

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// How long a write that should succeed may take.
const WRITE_MAX: Duration = Duration::from_secs(2);

/// How long the isolated node is given for a write: several round trips, many times over.
const ISOLATED_MAX: Duration = Duration::from_millis(800);

/// The longest wait for any of raftq's status lines; `rules/partition.yaml` needs ten seconds.
const LINE_MAX: Duration = Duration::from_secs(20);

/// What the majority writes.
const KEY: &str = "written-by-the-majority";

/// What the isolated node is asked to write.
const LOST_KEY: &str = "asked-of-the-isolated-node";

/// Where the nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A namespace per node on a bridge; raftq attaches from the host.
    Namespaces,
    /// The same, but raftq runs in the bridge's namespace and is told addresses only.
    Bridge,
    /// All on one loopback with a port each; raftq runs where they run.
    Loopback,
    /// All on one loopback with an address each, 127.0.0.1 and on, and one port.
    #[value(name = "127")]
    Addresses127,
}

/// What to show with.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The raftq program.
    pub raftq: PathBuf,
    /// The rule file; it cuts the leader off.
    pub rules: PathBuf,
    /// Where the nodes run.
    pub topology: Topology,
    /// Further arguments for raftq.
    pub raftq_args: Vec<OsString>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// From the cut to a new leader of the majority.
    pub new_leader_after: Duration,
    /// From the end of the cut until all nodes agreed.
    pub agreed_after: Duration,
    /// Writes at the majority that succeeded during the cut; none failed.
    pub majority_writes: u32,
    /// Writes at the isolated node that failed during the cut; none succeeded.
    pub isolated_failures: u32,
    /// What raftq printed to standard output.
    pub report: String,
}

/// Why it did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// The host lacks something, or was interrupted.
    Environment(Error),
    /// A claim does not hold.
    Claim(Error),
}

impl Demo {
    /// Tells the story on standard output, checking every claim.
    pub fn run(&self) -> std::result::Result<Seen, Failure> {
        let story = Story { start: now() };
        match self.topology {
            Topology::Namespaces | Topology::Bridge => {
                let net = Bridged::new("rqdemo", NODES, BridgeOptions::default());
                let net = net.map_err(Failure::Environment)?;
                let inside = (self.topology == Topology::Bridge).then_some(net.hub());
                self.on(Place::Bridged(&net), inside, &story)
            }
            Topology::Loopback | Topology::Addresses127 => {
                let stack = Stack::new("rqdemo").map_err(Failure::Environment)?;
                let place = match self.topology {
                    Topology::Addresses127 => Place::Addresses127(&stack),
                    _ => Place::Ports(&stack),
                };
                self.on(place, Some(stack.namespace()), &story)
            }
        }
    }

    fn on(
        &self,
        place: Place<'_>,
        inside: Option<&Namespace>,
        story: &Story,
    ) -> std::result::Result<Seen, Failure> {
        let raftq = fs::canonicalize(&self.raftq).context(|| {
            format!("there is no raftq at {}; `make build` makes it", self.raftq.display())
        });
        let raftq = raftq.map_err(Failure::Environment)?;
        let before = Traces::look(place, &raftq).map_err(Failure::Environment)?;
        let cluster = start(place, story).map_err(Failure::Environment)?;
        let attached = self.attach(&raftq, &cluster, inside, story);
        let mut attached = attached.map_err(Failure::Environment)?;
        let seen = show(&cluster, &mut attached, story).map_err(Failure::Claim)?;
        let gone = before.gone(place, &raftq).map_err(Failure::Claim);
        gone.map(|()| {
            story.tell("raftq left nothing: no process, and every firewall as it was before");
            seen
        })
    }

    /// Starts raftq on the cluster and waits until it says that it is attached.
    fn attach(
        &self,
        raftq: &Path,
        cluster: &EtcdCluster<'_>,
        inside: Option<&Namespace>,
        story: &Story,
    ) -> Result<Process> {
        let nodes = cluster.folder().join("cluster.yaml");
        // Where raftq runs among them, addresses are all it needs.
        let yaml = match inside {
            Some(_) => cluster.addresses_yaml(),
            None => cluster.cluster_yaml(),
        };
        // Who leads is read on the wire.
        let yaml = yaml.replacen("cluster:\n", "cluster:\n  protocol: etcd\n", 1);
        fs::write(&nodes, yaml).context(|| nodes.display().to_string())?;
        let mut args: Vec<OsString> = vec!["--rules".into(), self.rules.clone().into()];
        args.extend(["--cluster".into(), nodes.into()]);
        // Only a bound on a demo that is itself killed; the story ends raftq before.
        args.extend(["--for".into(), "60s".into()]);
        args.extend(self.raftq_args.iter().cloned());
        let shown: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        story.tell(&format!("$ raftq {}", shown.join(" ")));
        let mut process = Process::spawn(Launch {
            name: "raftq".into(),
            program: raftq.to_owned(),
            args,
            netns: inside.map(Namespace::path),
            stdout: cluster.folder().join("raftq.out"),
            stderr: cluster.folder().join("raftq.err"),
            env: Vec::new(),
            ended_by: Signal::SIGTERM,
        })?;
        await_line(&mut process, "attached")?;
        Ok(process)
    }
}

/// Lines with the time since the start.
struct Story {
    start: Duration,
}

impl Story {
    fn tell(&self, line: &str) {
        println!("{:6.2}s  {line}", since(self.start).as_secs_f64());
    }
}

/// A cluster that works.
fn start<'p>(place: Place<'p>, story: &Story) -> Result<EtcdCluster<'p>> {
    let cluster = EtcdCluster::start(place, NODES, &Options::default())?;
    let at = |i| format!("{} {}", name(i), place.peer(i));
    let nodes: Vec<String> = (0..NODES).map(at).collect();
    story.tell(&format!("etcd runs: {}", nodes.join(", ")));
    let write = cluster.put(0, KEY, "before the cut", WRITE_MAX);
    write.context(|| "a write before the cut".into())?;
    let agreed = cluster.agree(KEY, LINE_MAX)?;
    story.tell(&format!("{} leads, and all nodes hold a first write", name(agreed.leader)));
    Ok(cluster)
}

/// The story proper, from the cut to the end of raftq.
fn show(cluster: &EtcdCluster<'_>, raftq: &mut Process, story: &Story) -> Result<Seen> {
    story.tell(&format!("raftq: {}", await_line(raftq, "attached")?));
    let bound = await_line(raftq, "bound:")?;
    story.tell(&format!("raftq: {bound}"));
    let victim = heard_leader(&bound)?;
    let rest: Vec<usize> = (0..NODES).filter(|i| *i != victim).collect();
    story.tell(&format!("raftq: {}", await_line(raftq, "active")?));
    let cut = now();
    let first = cluster.start_put(victim, LOST_KEY, "0", ISOLATED_MAX);
    let elected =
        wait_for("a new leader of the majority", LINE_MAX, STEP, || cluster.leader_among(&rest))?;
    let new_leader_after = since(cut);
    let took = new_leader_after.as_secs_f64();
    story.tell(&format!("{} leads the majority {took:.2} s after the cut", name(elected)));
    match first.wait() {
        Ok(_) => return Err(Error::new(format!("{} still takes writes", name(victim)))),
        Err(why) => story.tell(&format!("a write at {} failed: {why}", name(victim))),
    }
    let (writes, failures) = write_through_the_cut(cluster, victim, elected, raftq)?;
    story.tell(&format!("raftq: {}", await_line(raftq, "ended")?));
    let healed = now();
    story.tell(&format!(
        "during the cut {writes} writes at {} succeeded, {failures} at {} failed",
        name(elected),
        name(victim)
    ));
    agree(cluster, writes, story)?;
    let agreed_after = since(healed);
    raftq.signal(Signal::SIGINT)?;
    let status = raftq.wait(Duration::from_secs(10))?;
    if !status.success() {
        return Err(Error::new(format!("raftq ended with {status}:\n{}", raftq.log_tail())));
    }
    story.tell("Ctrl-C to raftq; it detached and reported:");
    let report = raftq.stdout();
    println!("\n{}\n", report.trim_end());
    Ok(Seen {
        new_leader_after,
        agreed_after,
        majority_writes: writes,
        isolated_failures: failures + 1,
        report,
    })
}

/// Writes on both sides until raftq says that the cut has ended: how many succeeded at the
/// majority and how many failed at the isolated node.
fn write_through_the_cut(
    cluster: &EtcdCluster<'_>,
    victim: usize,
    elected: usize,
    raftq: &mut Process,
) -> Result<(u32, u32)> {
    let (mut writes, mut failures) = (0, 0);
    let ended = |raftq: &Process| find_line(raftq, "ended").is_some();
    wait_for("the end of the cut", LINE_MAX, STEP, || {
        let lost = cluster.start_put(victim, LOST_KEY, &writes.to_string(), ISOLATED_MAX);
        let kept = cluster.put(elected, KEY, &(writes + 1).to_string(), WRITE_MAX);
        if ended(raftq) {
            // The cut ended in between, so neither outcome says anything about it; only the
            // acknowledged write is one that has to be found later.
            writes += u32::from(kept.is_ok());
            let _ = lost.wait();
            return Some(Ok(()));
        }
        if let Err(why) = kept {
            return Some(Err(format!("a write at the majority's leader failed: {why}")));
        }
        writes += 1;
        match lost.wait() {
            Err(_) => failures += 1,
            // Such a write takes a while to come back; the line may have been printed since.
            Ok(_) if ended(raftq) => {}
            Ok(_) => return Some(Err(format!("{} took a write during the cut", name(victim)))),
        }
        None
    })?
    .map_err(Error::new)?;
    Ok((writes, failures))
}

/// All nodes follow one leader, hold the last write that the majority acknowledged, and hold
/// the same of what the isolated node was asked, be it nothing.
fn agree(cluster: &EtcdCluster<'_>, writes: u32, story: &Story) -> Result<()> {
    let kept = cluster.agree(KEY, LINE_MAX)?;
    // The write under way as the cut ended may have been applied without being acknowledged.
    let allowed = [writes.to_string(), (writes + 1).to_string()];
    let Some(value) = kept.value.filter(|value| allowed.contains(value)) else {
        return Err(Error::new(format!("the nodes do not hold write {writes} of the majority")));
    };
    let lost = cluster.agree(LOST_KEY, LINE_MAX)?;
    let (leader, took) = (name(kept.leader), (kept.after + lost.after).as_secs_f64());
    story.tell(&format!(
        "all nodes agree {took:.2} s after healing: {leader} leads, {KEY} is {value} everywhere"
    ));
    story.tell(&match lost.value {
        None => "of what the isolated node was asked to write nothing was applied".into(),
        Some(value) => format!(
            "a write asked of the isolated node ({value}) was applied after all, everywhere: \
             a time-out says nothing"
        ),
    });
    Ok(())
}

/// What raftq could leave behind.
struct Traces {
    firewalls: Vec<Rules>,
    processes: Vec<u32>,
}

impl Traces {
    fn look(place: Place<'_>, raftq: &Path) -> Result<Self> {
        let nodes = (0..NODES).map(|i| Rules::of(place.node(i)));
        let hub = std::iter::once_with(|| Rules::of(place.clients()));
        let firewalls = nodes.chain(hub).collect::<Result<_>>()?;
        Ok(Self { firewalls, processes: running(raftq) })
    }

    /// Waits a moment for raftq's helpers to end; the firewalls have to be right by then.
    fn gone(&self, place: Place<'_>, raftq: &Path) -> Result<()> {
        wait_for("raftq's last process to end", Duration::from_secs(3), STEP, || {
            let new = running(raftq).into_iter().find(|pid| !self.processes.contains(pid));
            new.is_none().then_some(())
        })?;
        let after = Self::look(place, raftq)?;
        let pairs = self.firewalls.iter().zip(&after.firewalls);
        let changes: Vec<String> = pairs.flat_map(|(old, new)| old.changes(new)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("raftq left the firewall changed:\n  {}", changes.join("\n  "))))
    }
}

/// Waits for a status line with that word; raftq ending before is an error with its log.
fn await_line(raftq: &mut Process, word: &str) -> Result<String> {
    let found = wait_for("that line", LINE_MAX, STEP, || {
        // Asked before reading: what an ended process has printed is complete.
        let ended = raftq.ended();
        let line = find_line(raftq, word);
        line.map(Ok).or_else(|| ended.map(|status| Err(Error::new(format!("it ended ({status})")))))
    });
    found.and_then(|found| found).map_err(|cause| {
        let tail = raftq.log_tail();
        Error::new(format!("{cause}; raftq printed no line with {word:?}, its log ends\n{tail}"))
    })
}

/// Who leads as raftq has heard, by the line that says whom a rule is bound to.
fn heard_leader(bound: &str) -> Result<usize> {
    let heard = bound.contains("as heard on the wire").then_some(bound);
    let said = heard.and_then(|line| line.split_once(" leads in term "));
    let name_of = said.and_then(|(before, _)| before.rsplit(['(', ' ']).next());
    (0..NODES)
        .find(|i| Some(name(*i).as_str()) == name_of)
        .ok_or_else(|| Error::new(format!("no leader was heard on the wire: {bound}")))
}

/// The first whole status line with a word, without the program's name.
fn find_line(raftq: &Process, word: &str) -> Option<String> {
    let text = raftq.stderr();
    let whole = &text[..=text.rfind('\n')?];
    let mut lines = whole.lines().filter_map(|line| line.strip_prefix("raftq: "));
    lines.find(|line| line.split_whitespace().any(|w| w == word)).map(str::to_owned)
}
