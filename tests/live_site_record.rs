//! Records: `raftq clean` removes what the dead left and spares the living, and a second
//! raftq on the same cluster is refused.
//!
//! All tests share this process and its run folder, so each looks only for its own runs.

mod live_site_lab;

use live_site_lab::{FLAVOURS, Lab, Star, at, need_root, node, until};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use raftq::kernel::chains::Spec;
use raftq::kernel::clean::{Report, clean};
use raftq::kernel::iptables::{self, Flavour};
use raftq::kernel::record::{self, Record};
use raftq::kernel::topology::{self, Family};
use raftq::rules::table::{Node, Place};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time in a run folder of its own; the folder is told by environment.
fn alone(name: &str) -> (MutexGuard<'static, ()>, tempfile::TempDir) {
    static ONE: Mutex<()> = Mutex::new(());
    need_root();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::Builder::new().prefix(name).tempdir().expect("a folder");
    set_folder(&folder.path().join("raftq"));
    (guard, folder)
}

#[expect(unsafe_code, reason = "the environment is the interface under test")]
fn set_folder(path: &std::path::Path) {
    // SAFETY: every test of this file holds the lock, and no other thread reads meanwhile.
    unsafe { std::env::set_var("RAFTQ_RUN_DIR", path) };
}

/// What `raftq` does to attach, without a loop.
fn attach(nodes: &[Node], flavour: Flavour) -> Record {
    let _lock = record::lock().expect("locked");
    let plan = topology::plan(nodes).expect("a plan");
    attach_as_planned(nodes, &plan, flavour)
}

fn attach_as_planned(nodes: &[Node], plan: &topology::Plan, flavour: Flavour) -> Record {
    let mut record = Record::new(nodes, plan).expect("a record");
    let chain = record.chain();
    let others = record::installed();
    let mut all = Vec::new();
    for site in &plan.sites {
        let spec = Spec { site, nodes, chain: &chain, queue: 4242 };
        all.extend(iptables::prepare(&spec, flavour).expect("prepared"));
    }
    record.intend(&mut all, &others);
    record.save().expect("written");
    iptables::install_all(&all).expect("installed");
    record
}

/// Makes a record one of a process that has ended.
fn die(record: &mut Record) {
    let mut child = Command::new("true").stdin(Stdio::null()).spawn().expect("true runs");
    child.wait().expect("it ends");
    record.pid = child.id();
    record.save().expect("written");
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, signal).expect("our own child");
}

fn two_nodes(lab: &Lab) -> [Node; 2] {
    ["n1:2381", "n2:2382"].map(|text| {
        let (name, port) = text.split_once(':').expect("a colon");
        node(name, &[&format!("127.0.0.1:{port}")], Place::Netns(lab.name.clone()))
    })
}

fn cleaned() -> Report {
    let report = clean().expect("cleaned");
    assert!(report.clean(), "{report}");
    report
}

#[test]
fn what_the_dead_left_goes_and_the_living_stay() {
    for flavour in FLAVOURS {
        let (_guard, _folder) = alone("dead");
        let (dead_lab, live_lab) = (Lab::new("dead"), Lab::new("live"));
        let mut dead = attach(&two_nodes(&dead_lab), flavour);
        die(&mut dead);
        let live = attach(&two_nodes(&live_lab), flavour);
        let standing = live_lab.firewall();

        let report = cleaned();
        assert_eq!(report.cleaned.len(), 1, "{report}");
        assert_eq!(report.cleaned[0].run_id, dead.run_id);
        assert_eq!(report.spared.len(), 1, "{report}");
        assert_eq!(dead_lab.firewall().trim(), "", "{flavour}");
        assert_eq!(live_lab.firewall(), standing);
        let ids: Vec<_> = record::all().into_iter().map(|r| r.run_id).collect();
        assert_eq!(ids, std::slice::from_ref(&live.run_id));

        let again = cleaned();
        assert!(again.cleaned.is_empty(), "{again}");
    }
}

#[test]
fn the_dead_and_the_living_in_one_namespace_part() {
    for flavour in FLAVOURS {
        let (_guard, _folder) = alone("both");
        let lab = Lab::new("both");
        let mut dead = attach(&two_nodes(&lab), flavour);
        die(&mut dead);
        let other = [5001, 5002].map(|p| {
            node(&p.to_string(), &[&format!("127.0.0.1:{p}")], two_nodes(&lab)[0].place.clone())
        });
        let live = attach(&other, flavour);
        cleaned();
        assert!(!lab.firewall().contains(&dead.chain()));
        assert!(live.installed.iter().all(|i| i.stands().expect("asked")));
        for removal in iptables::remove_all(&live.installed) {
            removal.expect("removed");
        }
        live.forget().expect("forgotten");
        assert_eq!(lab.firewall().trim(), "", "the last to leave tidies up, {flavour}");
    }
}

#[test]
fn an_intent_without_rules_and_a_lost_namespace_leave_only_a_record() {
    let (_guard, _folder) = alone("intent");
    let (lab, lost) = (Lab::new("intent"), Lab::new("lost"));
    let mut never = attach(&two_nodes(&lab), Flavour::Nft);
    iptables::remove_all(&never.installed);
    die(&mut never);
    let mut gone = attach(&two_nodes(&lost), Flavour::Nft);
    die(&mut gone);
    // The record holds no namespace open, but this process' copies do.
    drop((never, gone));
    drop(lost);
    let report = cleaned();
    assert_eq!(report.cleaned.len(), 2, "{report}");
    assert!(report.cleaned.iter().all(|c| c.removed_in.is_empty()), "{report}");
    assert!(record::all().is_empty());
}

#[test]
fn a_second_raftq_on_the_same_cluster_is_refused() {
    let (_guard, _folder) = alone("second");
    let (lab, elsewhere) = (Lab::new("second"), Lab::new("elsewhere"));
    let nodes = two_nodes(&lab);
    let mut first = attach(&nodes, Flavour::Nft);
    let conflict = |nodes: &[Node]| {
        record::conflict(nodes, &topology::plan(nodes).expect("a plan")).map(|r| r.run_id)
    };
    assert_eq!(conflict(&nodes), Some(first.run_id.clone()));
    assert_eq!(conflict(&nodes[..1]), Some(first.run_id.clone()), "one node in common is enough");
    assert_eq!(conflict(&two_nodes(&elsewhere)), None, "the same addresses elsewhere");
    let text = first.refusal().to_string();
    assert!(text.contains(&std::process::id().to_string()) && text.contains("n1, n2"), "{text}");
    let mut other = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("a child");
    let stopped = Record { pid: other.id(), ..first.clone() };
    signal(&other, Signal::SIGSTOP);
    until("it is stopped", || stopped.refusal().to_string().contains("kill -CONT"));
    signal(&other, Signal::SIGCONT);
    until("it goes on", || !stopped.refusal().to_string().contains("kill -CONT"));
    other.kill().and_then(|()| other.wait()).expect("it ends");
    die(&mut first);
    assert_eq!(conflict(&nodes), None, "the dead control nothing");
    cleaned();
}

#[test]
fn one_cluster_from_its_bridge_and_from_its_namespaces_is_the_same_cluster() {
    let (_guard, _folder) = alone("bridge");
    let (star, other) = (Star::new(2), Star::new(2));
    let named = |star: &Star| {
        [1, 2].map(|i| {
            let place = Place::Netns(star.nodes[i - 1].name.clone());
            node(&format!("n{i}"), &[&at(Family::V4, i, 2380)], place)
        })
    };
    let bare = [1, 2].map(|i| node(&format!("n{i}"), &[&at(Family::V4, i, 2380)], Place::Unsaid));
    let from_bridge = |star: &Star| {
        star.hub.ns.enter(|| topology::plan(&bare)).expect("entering").expect("a plan")
    };
    let first = attach_as_planned(&bare, &from_bridge(&star), Flavour::Nft);
    let plan = |nodes: &[Node]| topology::plan(nodes).expect("a plan");
    assert!(record::conflict(&named(&star), &plan(&named(&star))).is_some());
    assert!(record::conflict(&named(&other), &plan(&named(&other))).is_none());
    iptables::remove_all(&first.installed);
    first.forget().expect("forgotten");

    let second = attach(&named(&star), Flavour::Nft);
    assert!(record::conflict(&bare, &from_bridge(&star)).is_some());
    assert!(record::conflict(&bare, &from_bridge(&other)).is_none());
    iptables::remove_all(&second.installed);
    second.forget().expect("forgotten");
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_nothing_is_made_where_nothing_was() {
    let (_guard, folder) = alone("unreadable");
    assert!(clean().expect("cleaned").clean());
    assert!(!folder.path().join("raftq").exists(), "cleaning makes no folder");
    drop(record::lock().expect("locked"));
    std::fs::write(folder.path().join("raftq/x.json"), "{").expect("written");
    let report = clean().expect("cleaned");
    assert!(!report.clean() && report.to_string().contains("x.json"), "{report}");
}

#[test]
fn a_record_of_a_former_boot_or_of_a_pid_used_again_is_dead() {
    let (_guard, _folder) = alone("boot");
    let lab = Lab::new("boot");
    let nodes = two_nodes(&lab);
    let record = Record::new(&nodes, &topology::plan(&nodes).expect("a plan")).expect("a record");
    assert!(record::live(&record));
    assert!(!record::live(&Record { boot_id: "another".into(), ..record.clone() }));
    assert!(!record::live(&Record { start_time: record.start_time + 1, ..record }));
}
