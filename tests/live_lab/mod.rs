//! A laboratory for tests of the whole program: nodes in every shape that raftq attaches to,
//! probes on them, and raftq itself as a child under control.
//!
//! A raftq is told its rules as text and ended by [`Raftq::interrupt`] or by itself; either
//! way [`Ending`] is only given once the firewalls are as before, its record is gone and no
//! process of its own is left. Everything happens in namespaces made here.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use nix::sys::signal::Signal;
use raftq_harness::clock::{now, wait_for};
use raftq_harness::firewall::Rules;
use raftq_harness::netns::{BridgeOptions, Bridged, Namespace, Stack};
use raftq_harness::owner::Scratch;
use raftq_harness::probe::{Event, Probe, What};
use raftq_harness::process::{Launch, Process, running};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program under test.
pub const RAFTQ: &str = env!("CARGO_BIN_EXE_raftq");

/// The longest wait for anything that happens at once on a machine with time to spare.
pub const LIMIT: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
pub const STEP: Duration = Duration::from_millis(5);

/// No rules at all.
pub const NOTHING: &str = "rules: []\n";

/// How nodes are connected, and from where raftq attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A namespace each; raftq on the host is told which.
    Namespaces,
    /// The same nodes; raftq in the bridge's namespace is told addresses.
    Bridge,
    /// One loopback, 127.0.0.1 and `::1`, a port each.
    Ports,
    /// One loopback, 127.0.0.i, one port; no IPv6, which has but one such address.
    Addresses,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Namespaces, Self::Bridge, Self::Ports, Self::Addresses];

    /// Whether the nodes share a network stack.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Ports | Self::Addresses)
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Nodes for probes, counted from 0 and named from n1.
pub struct Net {
    pub shape: Shape,
    home: Home,
    nodes: usize,
}

enum Home {
    Bridged(Bridged),
    Stack(Stack),
}

impl Net {
    pub fn new(shape: Shape, nodes: usize) -> Self {
        let home = if shape.is_shared() {
            Home::Stack(Stack::new("rqlive").expect("a namespace"))
        } else {
            let net = Bridged::new("rqlive", nodes, BridgeOptions::default());
            Home::Bridged(net.expect("a bridge"))
        };
        Self { shape, home, nodes }
    }

    pub fn node(&self, i: usize) -> &Namespace {
        match &self.home {
            Home::Bridged(net) => &net.nodes()[i],
            Home::Stack(stack) => stack.namespace(),
        }
    }

    /// Where somebody is who is no node: the bridge's namespace, or the one there is.
    pub fn outside(&self) -> &Namespace {
        match &self.home {
            Home::Bridged(net) => net.hub(),
            Home::Stack(stack) => stack.namespace(),
        }
    }

    /// Where raftq runs; `None` on the host.
    pub fn inside(&self) -> Option<&Namespace> {
        (self.shape != Shape::Namespaces).then(|| self.outside())
    }

    /// The peer address of a node.
    pub fn peer(&self, i: usize, family: Family) -> SocketAddr {
        let port = if self.shape == Shape::Ports { 7001 + i as u16 } else { 7000 };
        let ip = match (self.shape, family) {
            (Shape::Namespaces | Shape::Bridge, Family::V4) => Bridged::v4(i),
            (Shape::Namespaces | Shape::Bridge, Family::V6) => Bridged::v6(i),
            (Shape::Ports, Family::V4) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (Shape::Ports, Family::V6) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            (Shape::Addresses, Family::V4) => IpAddr::V4(Ipv4Addr::new(127, 0, 0, i as u8 + 1)),
            (Shape::Addresses, Family::V6) => panic!("::1 is all there is of IPv6's loopback"),
        };
        SocketAddr::new(ip, port)
    }

    /// The families in which nodes have addresses.
    pub fn families(&self) -> &'static [Family] {
        if self.shape == Shape::Addresses { &[Family::V4] } else { &[Family::V4, Family::V6] }
    }

    /// The `cluster` section for a raftq that runs where [`Net::inside`] says.
    pub fn cluster(&self) -> String {
        let mut yaml = String::from("cluster:\n  nodes:\n");
        for i in 0..self.nodes {
            let peers: Vec<String> =
                self.families().iter().map(|f| format!("\"{}\"", self.peer(i, *f))).collect();
            let place = match self.inside() {
                Some(_) => String::new(),
                None => format!(", netns: {}", self.node(i).name()),
            };
            let _ = writeln!(yaml, "    n{}: {{ at: [{}]{place} }}", i + 1, peers.join(", "));
        }
        yaml
    }

    /// A server on a node, at its peer address.
    pub fn serve(&self, i: usize, transport: &str, family: Family) -> Probe {
        let at = self.peer(i, family);
        Probe::listen(self.node(i), "serve", transport, at).expect("it listens")
    }

    /// A probe of node `from` that asks node `to` or sends to it; `what` is the command's name.
    pub fn talk(
        &self,
        what: &str,
        wire: (&str, Family),
        ends: (usize, usize),
        args: &str,
    ) -> Probe {
        let (transport, family) = wire;
        let to = self.peer(ends.1, family).to_string();
        let known_as = self.peer(ends.0, family).to_string();
        let mut all = vec![what, transport, &to];
        if self.shape.is_shared() {
            all.extend(["--as", &known_as]);
        }
        all.extend(args.split_whitespace());
        Probe::start(self.node(ends.0), &all).expect("it starts")
    }

    /// All namespaces whose firewall could be touched, the host's too.
    fn spaces(&self) -> Vec<&Namespace> {
        match &self.home {
            Home::Bridged(net) => net.nodes().iter().chain([net.hub()]).collect(),
            Home::Stack(stack) => vec![stack.namespace()],
        }
    }
}

/// A raftq under a test's control.
pub struct Raftq<'n> {
    process: Process,
    folder: Scratch,
    before: Before<'n>,
}

/// What a raftq came to.
pub struct Ending {
    pub code: i32,
    /// The document of `--json`; null where there was none.
    pub json: Value,
    pub stdout: String,
    pub stderr: String,
}

impl<'n> Raftq<'n> {
    /// Attaches with these rules; fails the test where that fails.
    pub fn attach(net: &'n Net, rules: &str, args: &[&str]) -> Self {
        let mut raftq = Self::start(net, rules, args);
        raftq.await_line("attached to ");
        raftq
    }

    /// The same without waiting.
    pub fn start(net: &'n Net, rules: &str, args: &[&str]) -> Self {
        Self::start_with(&net.cluster(), net.spaces(), net.inside(), rules, args)
    }

    /// Any cluster, in a namespace or on the host, with the firewalls to be watched.
    pub fn start_with(
        cluster: &str,
        watched: Vec<&'n Namespace>,
        inside: Option<&Namespace>,
        rules: &str,
        args: &[&str],
    ) -> Self {
        let folder = Scratch::new("rqlive").expect("a folder");
        let before = Before::look(watched);
        let process = Process::spawn(launch(&folder, cluster, inside, rules, args));
        Self { process: process.expect("raftq can be started"), folder, before }
    }

    /// The rule file.
    pub fn rules(&self) -> PathBuf {
        self.folder.path().join("rules.yaml")
    }

    /// The file that names the cluster.
    pub fn cluster(&self) -> PathBuf {
        self.folder.path().join("cluster.yaml")
    }

    /// A path in its own folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits for a line with these words on its standard error, and gives it.
    pub fn await_line(&mut self, words: &str) -> String {
        self.await_nth(words, 0)
    }

    /// Waits until a rule is active.
    pub fn await_active(&mut self, rule: &str) {
        self.await_line(&format!("rule \"{rule}\" active"));
    }

    /// Waits until a rule has ended.
    pub fn await_ended(&mut self, rule: &str) {
        self.await_line(&format!("rule \"{rule}\" ended"));
    }

    /// Puts other rules in force by SIGHUP, and waits until they are.
    pub fn reload(&mut self, rules: &str) {
        let words = "new table in force";
        let already = count_lines(&self.stderr(), words);
        self.offer(rules);
        self.await_nth(words, already);
    }

    /// Writes other rules and sends SIGHUP.
    pub fn offer(&mut self, rules: &str) {
        fs::write(self.rules(), rules).expect("a file");
        self.process.signal(Signal::SIGHUP).expect("SIGHUP");
    }

    /// Ctrl-C; then as [`Raftq::end`].
    pub fn interrupt(self) -> Ending {
        self.process.signal(Signal::SIGINT).expect("SIGINT");
        self.end()
    }

    /// Waits until it has ended, and that nothing is left of it.
    pub fn end(mut self) -> Ending {
        let status = self.process.wait(LIMIT).expect("raftq ends");
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        self.before.must_be_back(&stderr);
        let records = records(self.folder.path());
        assert!(records.is_empty(), "records stay: {records:?}\n{stderr}");
        let code = status.code().unwrap_or_else(|| panic!("raftq ended with {status}\n{stderr}"));
        let json = serde_json::from_str(&stdout).unwrap_or(Value::Null);
        Ending { code, json, stdout, stderr }
    }

    fn await_nth(&mut self, words: &str, n: usize) -> String {
        let line = wait_for(words, LIMIT, STEP, || {
            // Asked before reading: what an ended process has printed is complete.
            let ended = self.process.ended();
            let text = self.process.stderr();
            let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
            let line = whole.lines().filter(|line| line.contains(words)).nth(n).map(str::to_owned);
            line.map(Ok).or_else(|| ended.map(Err))
        });
        match line {
            Ok(Ok(line)) => line,
            Ok(Err(status)) => {
                panic!("raftq ended ({status}) without {words:?}:\n{}", self.stderr())
            }
            Err(e) => panic!("{e}:\n{}", self.stderr()),
        }
    }
}

impl Ending {
    /// What a rule did.
    pub fn rule(&self, name: &str) -> &Value {
        let rules = self.json["rules"].as_array().map_or(&[][..], Vec::as_slice);
        let found = rules.iter().find(|rule| rule["name"] == name);
        found.unwrap_or_else(|| panic!("no rule {name:?} in the result:\n{self}"))
    }

    /// A counter of a link; 0 where no packet passed it.
    pub fn link(&self, from: &str, to: &str, what: &str) -> u64 {
        let links = self.json["links"].as_array().map_or(&[][..], Vec::as_slice);
        let found = links.iter().find(|link| link["from"] == from && link["to"] == to);
        found.map_or(0, |link| self.number(link, what))
    }

    /// A counter of a rule.
    pub fn of_rule(&self, name: &str, what: &str) -> u64 {
        self.number(self.rule(name), what)
    }

    /// A sum over the cluster.
    pub fn total(&self, what: &str) -> u64 {
        self.number(&self.json["totals"], what)
    }

    /// Fails the test unless it ended so, and lost, leaked and left unattributed nothing.
    pub fn must_be_clean(&self, code: i32) {
        assert_eq!(self.code, code, "{self}");
        for what in ["lost", "overflow", "unattributed", "refused", "unreadable"] {
            assert_eq!(self.total(what), 0, "{what}\n{self}");
        }
    }

    fn number(&self, of: &Value, what: &str) -> u64 {
        of[what].as_u64().unwrap_or_else(|| panic!("no {what} in {of}\n{self}"))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n{}\n{}", self.code, self.stderr, self.stdout)
    }
}

/// What raftq could leave behind, as it was before.
pub struct Before<'n> {
    firewalls: Vec<(&'n Namespace, Rules)>,
    processes: Vec<u32>,
}

impl<'n> Before<'n> {
    pub fn look(spaces: Vec<&'n Namespace>) -> Self {
        let read = |space: &'n Namespace| (space, Rules::of(space).expect("its rules"));
        let firewalls = spaces.into_iter().map(read).collect();
        Self { firewalls, processes: running(Path::new(RAFTQ)) }
    }

    /// Fails the test where a process is new, or a firewall is not as it was. `log` is told.
    pub fn must_be_back(&self, log: &str) {
        let gone = wait_for("raftq's last process to end", LIMIT, STEP, || {
            let mut all = running(Path::new(RAFTQ)).into_iter();
            all.all(|pid| self.processes.contains(&pid)).then_some(())
        });
        gone.unwrap_or_else(|e| panic!("{e}\n{log}"));
        for (space, before) in &self.firewalls {
            let changes = before.changes(&Rules::of(space).expect("its rules"));
            let name = space.name();
            assert!(changes.is_empty(), "the firewall of {name} changed: {changes:#?}\n{log}");
        }
    }
}

fn launch(
    folder: &Scratch,
    cluster: &str,
    inside: Option<&Namespace>,
    rules: &str,
    args: &[&str],
) -> Launch {
    let file = |name: &str| folder.path().join(name);
    fs::write(file("rules.yaml"), rules).expect("a file");
    fs::write(file("cluster.yaml"), cluster).expect("a file");
    // A test that shares its records with another raftq names that one's folder.
    let own = format!("RAFTQ_RUN_DIR={}", file("run").display());
    let mut all: Vec<OsString> = vec![own.into()];
    let (settings, options): (Vec<&str>, Vec<&str>) =
        args.iter().partition(|arg| arg.starts_with("RAFTQ_"));
    all.extend(settings.into_iter().map(Into::into));
    all.extend([RAFTQ.into(), "--rules".into(), file("rules.yaml").into()]);
    all.extend(["--cluster".into(), file("cluster.yaml").into()]);
    all.extend(options.into_iter().map(Into::into));
    Launch {
        name: "raftq".into(),
        // It becomes raftq, with the same process id.
        program: "/usr/bin/env".into(),
        args: all,
        netns: inside.map(Namespace::path),
        stdout: file("raftq.out"),
        stderr: file("raftq.err"),
        env: Vec::new(),
        ended_by: Signal::SIGTERM,
    }
}

/// The records in a raftq's own folder, and its control sockets.
fn records(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("run")).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "json" || e == "sock")).collect()
}

fn count_lines(text: &str, words: &str) -> usize {
    text.lines().filter(|line| line.contains(words)).count()
}

/// This moment, on the clock of the probes' events.
pub fn now_us() -> u64 {
    now().as_micros() as u64
}

/// The numbers of events of one kind after `from_us` and before `to_us`.
pub fn between(events: &[Event], what: What, from_us: u64, to_us: u64) -> Vec<u32> {
    let inside = |e: &&Event| e.what == what && e.at_us > from_us && e.at_us < to_us;
    events.iter().filter(inside).filter_map(|event| event.n).collect()
}

/// Waits until a probe has told `count` events of one kind after `from_us`.
pub fn await_more(probe: &mut Probe, what: What, count: usize, from_us: u64) -> Vec<Event> {
    let enough = |events: &[Event]| between(events, what, from_us, u64::MAX).len() >= count;
    let what = format!("{count} times {what:?}");
    probe.wait_until(&what, LIMIT, enough).unwrap_or_else(|e| panic!("{e}"))
}

/// The median round trip in microseconds of the questions answered after `from_us`.
pub fn median_after(events: &[Event], from_us: u64) -> u64 {
    let late = events.iter().filter(|event| event.at_us > from_us).cloned().collect::<Vec<_>>();
    raftq_harness::probe::median_us(&late).expect("some questions were answered")
}
