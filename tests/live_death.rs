//! raftq dies, or stops, while it holds packets of a cluster that takes writes: the cluster
//! goes on within its election timeout plus a second, and the firewall is as it was.
//!
//! Each death is died a few times; `make test-deaths` does it twenty times each and prints
//! the measured gaps. Needs root; run it by `make test`.

mod death_lab;

use death_lab::load::Load;
use death_lab::{DELAY, Lab, Raftq, SOON, STEP, end, state};
use nix::sys::signal::Signal;
use raftq_harness::clock::{now, wait_for};
use raftq_harness::etcd::{EtcdCluster, Options, Place};
use std::path::PathBuf;
use std::time::Duration;

/// An election timeout, and a second.
const GAP_MAX: Duration = Duration::from_secs(2);
/// How long the cluster is watched after a death: an election that a stall brings about
/// starts within two election timeouts.
const WATCHED: Duration = Duration::from_millis(2_500);

fn deaths() -> usize {
    match std::env::var("RAFTQ_DEATHS") {
        Ok(text) => text.parse().expect("RAFTQ_DEATHS is a number"),
        Err(_) => 4,
    }
}

/// An etcd cluster under load, and the rule file of raftq for it.
struct Scene<'p> {
    lab: &'p Lab,
    load: Load,
    cluster: EtcdCluster<'p>,
    rules: PathBuf,
    gaps: Vec<Duration>,
    silences: Vec<Duration>,
}

impl<'p> Scene<'p> {
    fn new(lab: &'p Lab) -> Self {
        let cluster = EtcdCluster::start(Place::Bridged(&lab.net), 3, &Options::default());
        let cluster = cluster.expect("etcd starts");
        let rules = lab.write("rules.yaml", &(cluster.cluster_yaml() + DELAY));
        let load = Load::start(&cluster);
        Self { lab, load, cluster, rules, gaps: Vec::new(), silences: Vec::new() }
    }

    /// A raftq whose delay is seen to act on the writes of a cluster that is well.
    fn attach(&mut self) -> Raftq {
        self.cluster.wait_for_leader(SOON).expect("a leader");
        let raftq = Raftq::attach(self.lab, &self.rules);
        self.see_delay();
        raftq
    }

    /// A write takes a round trip between nodes, each way of which is held 5 ms or more.
    fn see_delay(&self) {
        let since = now();
        self.load.await_write(since, SOON);
        let writes = self.load.take();
        let shortest =
            writes.iter().filter(|w| w.started >= since).map(death_lab::load::Write::took);
        let shortest = shortest.min().expect("there is one");
        assert!(shortest >= Duration::from_millis(10), "a write took {shortest:?} only");
    }

    /// Does it to raftq, and sees that the cluster goes on in time.
    fn survive(&mut self, death: impl FnOnce()) {
        self.load.take();
        let since = now();
        death();
        let gap = self.load.await_write(since, SOON);
        assert!(gap <= GAP_MAX, "the first write succeeded after {gap:?}");
        self.gaps.push(gap);
        let silence = self.load.longest_silence(since, WATCHED);
        assert!(silence <= GAP_MAX, "no write succeeded for {silence:?}");
        self.silences.push(silence);
    }

    fn report(mut self, death: &str) {
        for (what, times) in
            [("next write after", &mut self.gaps), ("longest silence", &mut self.silences)]
        {
            times.sort();
            let ms = |at: usize| times[at].as_millis();
            println!(
                "{death}, {} times: {what} {} ms median, {} ms max",
                times.len(),
                ms(times.len() / 2),
                ms(times.len() - 1)
            );
        }
    }
}

#[test]
fn killed() {
    let lab = Lab::new(3);
    let mut scene = Scene::new(&lab);
    for _ in 0..deaths() {
        let raftq = scene.attach();
        scene.survive(|| raftq.signal(Signal::SIGKILL));
        lab.await_nothing_left();
    }
    scene.report("SIGKILL");
}

#[test]
fn killed_together_with_its_guardian_and_cleaned() {
    let lab = Lab::new(3);
    let others = Lab::new(2);
    // The living raftq shares the run folder, as all raftqs of a host do.
    let other_rules = others.rules_file(DELAY);
    let mut scene = Scene::new(&lab);
    let mut other = Raftq::start(
        &lab,
        "other",
        None,
        &["--rules", other_rules.to_str().expect("a plain path")],
    );
    other.await_line("attached to", 1);
    let standing = others.changes();
    assert!(!standing.is_empty());
    for _ in 0..deaths() {
        let mut raftq = scene.attach();
        // Stopped first, or it could start a new guardian in between.
        scene.survive(|| {
            raftq.signal(Signal::SIGSTOP);
            raftq.await_stop();
            end(raftq.guardian());
            raftq.signal(Signal::SIGKILL);
        });
        raftq.exit_code();
        assert!(!lab.changes().is_empty(), "nobody was left to remove the rules");
        let output = lab.clean();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("removed its rules") && said.contains("left alone"), "{said}");
        assert_eq!(lab.changes(), Vec::<String>::new());
        assert_eq!(others.changes(), standing);
    }
    scene.report("SIGKILL to raftq and its guardian");
    other.signal(Signal::SIGINT);
    assert_eq!(other.exit_code(), Some(0));
    lab.await_nothing_left();
    others.await_nothing_left();
}

#[test]
fn stopped() {
    let lab = Lab::new(3);
    let mut scene = Scene::new(&lab);
    for _ in 0..deaths() {
        let mut raftq = scene.attach();
        scene.survive(|| raftq.signal(Signal::SIGSTOP));
        lab.await_firewall_as_before();
        assert_eq!(state(raftq.process.pid()), Some('T'), "the guardian did it");
        raftq.signal(Signal::SIGCONT);
        assert_eq!(raftq.exit_code(), Some(5));
        let said = raftq.process.stderr();
        assert!(said.contains("the guardian removed the rules"), "{said}");
        lab.await_nothing_left();
    }
    scene.report("SIGSTOP");
}

#[test]
fn stopped_from_the_terminal_and_continued() {
    let lab = Lab::new(3);
    let mut scene = Scene::new(&lab);
    for _ in 0..deaths() {
        let mut raftq = scene.attach();
        scene.survive(|| raftq.signal(Signal::SIGTSTP));
        raftq.await_stop();
        assert_eq!(lab.changes(), Vec::<String>::new(), "it detached before it stopped");
        let since = now();
        let undisturbed = || {
            let writes = scene.load.take();
            let fast = |w: &&death_lab::load::Write| {
                w.started >= since && w.took() < Duration::from_millis(10)
            };
            writes.iter().find(fast).map(drop)
        };
        wait_for("a write without delay", SOON, STEP, undisturbed).expect("nothing is delayed");
        raftq.signal(Signal::SIGCONT);
        raftq.await_line("in force again", 1);
        assert!(!lab.changes().is_empty());
        scene.see_delay();
        raftq.signal(Signal::SIGINT);
        // The delay was to act all the time, and did not.
        assert_eq!(raftq.exit_code(), Some(2), "{}", raftq.process.log_tail());
        let said = raftq.process.stderr();
        assert!(said.contains("stopped from") && said.contains("undecided"), "{said}");
        lab.await_nothing_left();
    }
    scene.report("SIGTSTP");
}
