//! What a node has started is acted on as one and ends with it, whatever becomes of raftq.
//! Needs root; run it by `make test`.

mod run_lab;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raftq_harness::adapter::Adapter;
use raftq_harness::clock::{now, since, wait_for};
use raftq_harness::cluster::{Cluster, NodeState, Options, Topology};
use raftq_harness::owner::{Scratch, unique};
use raftq_harness::process::{Launch, Process};
use run_lab::{LIMIT, RAFTQ, STEP, clean, marked, script_adapter, start_text};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// The script, its two stubborn children, the real node; each stubborn one sleeps by a child.
const FAMILY_MIN: usize = 4;

fn start(topology: Topology) -> (Cluster, Scratch) {
    let folder = Scratch::new("rqunit").expect("a folder");
    let adapter = script_adapter(&folder);
    let adapter = Adapter::load(adapter.to_str().expect("a path")).expect("an adapter");
    let options = Options { nodes: 3, topology, folder: folder.path().to_owned() };
    (Cluster::start(&adapter, &options).expect("a cluster"), folder)
}

/// The processes of each of this process's nodes, by the mark that they share, oldest first.
fn families() -> Vec<Vec<u32>> {
    let own = format!("rqnode-{}-", std::process::id());
    let all = marked("RAFTQ_NODE", |mark| mark.starts_with(&own));
    let mut families: Vec<(u32, Vec<u32>)> = Vec::new();
    for pid in all {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&environment).into_owned();
        let mark = text.split('\0').find_map(|one| one.strip_prefix("RAFTQ_NODE=")).map(counted);
        let Some(Some(k)) = mark else { continue };
        match families.iter_mut().find(|(other, _)| *other == k) {
            Some((_, family)) => family.push(pid),
            None => families.push((k, vec![pid])),
        }
    }
    families.sort();
    families.into_iter().map(|(_, family)| family).collect()
}

/// The number that ends a mark: nodes are started in order.
fn counted(mark: &str) -> Option<u32> {
    mark.rsplit_once('-')?.1.parse().ok()
}

fn states(pids: &[u32]) -> String {
    let state = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    pids.iter().filter_map(state).collect()
}

#[test]
fn a_node_is_paused_resumed_and_killed_with_all_that_it_started() {
    let (cluster, _folder) = start(Topology::Namespaces);
    let before = families();
    assert_eq!(before.len(), 3, "{before:?}");
    assert!(before.iter().all(|family| family.len() >= FAMILY_MIN), "{before:?}");

    cluster.pause(0).expect("a pause");
    let stopped = states(&families()[0]);
    assert!(stopped.len() >= FAMILY_MIN && stopped.chars().all(|s| s == 'T'), "{stopped}");
    assert!(!states(&before[1]).contains('T'), "the others go on");
    cluster.resume(0).expect("it goes on");
    let runs = || (!states(&families()[0]).contains('T')).then_some(());
    wait_for("all to go on", LIMIT, STEP, runs).expect("they do");

    cluster.kill(0).expect("a kill");
    assert_eq!(cluster.state(0), NodeState::Down);
    assert_eq!(families().len(), 2, "nothing of it is left, all of the others is");
    cluster.restart(0).expect("its ports are free");
    cluster.wait_for_leader(LIMIT).expect("a leader");
    assert!(cluster.died().is_empty(), "{:?}", cluster.died());
    drop(cluster);
    assert_eq!(families(), Vec::<Vec<u32>>::new());
}

#[test]
fn one_that_does_not_hear_sigterm_is_killed_in_the_end_and_this_is_said() {
    let (cluster, _folder) = start(Topology::Loopback);
    let at = now();
    let said = cluster.stop(1).expect("a stop").expect("it had to be killed");
    assert!(said.contains("had not ended 10s after SIGTERM and was killed"), "{said}");
    assert!(since(at) >= Duration::from_secs(10), "it had its time");
    assert_eq!(families().len(), 2);
    let log = fs::read_to_string(cluster.log(1)).expect("a log");
    assert!(log.contains("--- raftq: it had not ended"), "{log}");
}

#[test]
fn a_death_that_nobody_ordered_is_told_when_it_happens() {
    let (cluster, _folder) = start(Topology::Addresses127);
    let (tell, told) = channel();
    cluster.on_death(move |death| {
        let _ = tell.send((death.clone(), now()));
    });
    cluster.kill(0).expect("ordered");
    cluster.restart(0).expect("and undone");
    cluster.wait_for_leader(LIMIT).expect("a leader");
    // The script itself, not one of its children.
    let script = families()[0].iter().copied().min().expect("n2's script");
    let at = now();
    kill(Pid::from_raw(i32::try_from(script).expect("a pid")), Signal::SIGKILL).expect("killed");
    let (death, heard) = told.recv_timeout(LIMIT).expect("it is told");
    assert_eq!((death.node, death.name.as_str()), (1, "n2"));
    assert!(death.how.starts_with("signal: 9"), "{}", death.how);
    // Tens of milliseconds on a machine with time to spare.
    let took = heard.saturating_sub(at);
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(families().len(), 2, "its children ended with it");
    assert!(told.try_recv().is_err(), "once, and only what nobody ordered");
    assert_eq!(cluster.died(), [death]);
}

#[test]
fn a_death_is_a_violation_on_the_terminal_and_in_the_events() {
    let text = "\
cluster: { adapter: embedded }
load: { workload: register, clients: 2, rate: 50, timeout: 300ms }
warm_up: 200ms
lasts: 3s
settle: 200ms
rules: []
";
    let mut run = start_text(text, &[]);
    run.await_word("attached");
    let own = format!("rqnode-{}-", run.process.pid());
    let nodes = marked("RAFTQ_NODE", |mark| mark.starts_with(&own));
    assert_eq!(nodes.len(), 3);
    let victim = i32::try_from(nodes[0]).expect("a pid");
    kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it was there");
    run.await_word("warning: n");
    let ran = run.ends();
    assert_eq!(ran.code, Some(1), "{}", ran.said());
    assert_eq!(ran.check("processes"), "violated");
    let events = ran.events();
    let deaths = || events.lines().filter(|line| line.contains("ended by itself: signal: 9"));
    // Told once to people, and once as the state that the process is in.
    let (states, told): (Vec<&str>, Vec<&str>) =
        deaths().partition(|line| line.contains("\"state\":\"down\""));
    assert_eq!((states.len(), told.len()), (1, 1), "{events}");
}

/// A process with this in its environment, which nobody may end.
fn bystander(folder: &Scratch, mark: &str) -> Process {
    Process::spawn(Launch {
        name: "a bystander".into(),
        program: "sleep".into(),
        args: vec!["600".into()],
        env: vec![("RAFTQ_NODE".into(), mark.into())],
        netns: None,
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("sleep exists")
}

fn scenario(adapter: &std::path::Path) -> String {
    let load = "{ workload: register, clients: 2, rate: 50 }";
    let adapter = adapter.display();
    format!("cluster: {{ adapter: {adapter} }}\nload: {load}\nlasts: 60s\nrules: []\n")
}

#[test]
fn after_a_sigkill_clean_ends_what_outlived_it_and_nobody_else() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let text = scenario(&script_adapter(&folder));
    // A node of a living owner, and somebody else's idea of such a name.
    let mut others = [bystander(&folder, &unique("rqnode")), bystander(&folder, "blue")];
    // In another namespace of processes numbers mean others: its owner may live there.
    let name = format!("RAFTQ_NODE=rqnode-{}-1-0", std::process::id());
    let elsewhere = Launch {
        program: "unshare".into(),
        args: ["--pid", "--fork", "--kill-child", "env", &name, "sleep", "600"]
            .map(Into::into)
            .to_vec(),
        ..others[0].launch().clone()
    };
    let mut elsewhere = Process::spawn(Launch { env: Vec::new(), ..elsewhere }).expect("unshare");
    let inside = || !marked("RAFTQ_NODE", |mark| name.ends_with(mark)).is_empty();
    wait_for("the one inside", LIMIT, STEP, || inside().then_some(())).expect("it runs");
    for topology in ["namespaces", "loopback", "127"] {
        let mut run = start_text(&text, &["--topology", topology]);
        run.await_word("attached");
        let owner = format!("rqnode-{}-", run.process.pid());
        let nodes = || marked("RAFTQ_NODE", |mark| mark.starts_with(&owner));
        assert!(nodes().len() >= 3 * FAMILY_MIN, "{:?}", nodes());
        run.process.kill().expect("SIGKILL");
        let said = clean();
        assert!(said.contains("removed process"), "{topology}: {said}");
        assert_eq!(nodes(), Vec::<u32>::new(), "{topology}");
        run.nothing_is_left();
        assert!(others.iter_mut().all(|other| other.ended().is_none()), "{topology}: {said}");
        assert!(elsewhere.ended().is_none() && inside(), "{topology}: {said}");
    }
}

#[test]
fn a_killed_shell_does_not_take_the_experiment_along() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let path = folder.path().join("s.yaml");
    fs::write(&path, run_lab::SHORT).expect("a scenario");
    let mark = unique("rqtest");
    let line =
        format!("'{RAFTQ}' run '{}' --out '{}/run'; exit", path.display(), folder.path().display());
    let mut shell = Command::new("sh")
        .args(["-c", &line])
        .env("RAFTQ_TEST_SHELL", &mark)
        .current_dir(run_lab::root())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let processes = || marked("RAFTQ_TEST_SHELL", |value| value == mark);
    // The shell, raftq, and the nodes.
    let runs = || (processes().len() >= 5).then_some(());
    wait_for("nodes to run", LIMIT, STEP, runs).expect("they do");
    shell.kill().expect("SIGKILL");
    shell.wait().expect("it is gone");
    wait_for("the experiment's own end", LIMIT, STEP, || processes().is_empty().then_some(()))
        .expect("nothing runs on");
    assert!(folder.path().join("run/summary.json").is_file(), "it was judged all the same");
}
