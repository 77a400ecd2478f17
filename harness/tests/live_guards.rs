//! Whatever the harness makes on a host goes with its owner, however that one ends.
//! Needs root; run it by `make test`.

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::firewall::Rules;
use raftq_harness::netns::{BridgeOptions, Bridged, Stack};
use raftq_harness::owner::{Scratch, runs};
use raftq_harness::probe::{Probe, find_probe};
use raftq_harness::process::{Launch, Process, inside_namespace};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// `raftq-probe ARGS` outside any namespace of ours.
fn launch(scratch: &Scratch, args: &[&str]) -> Launch {
    Launch {
        name: args.join(" "),
        program: find_probe().expect("built beside this test"),
        args: args.iter().map(Into::into).collect(),
        netns: None,
        stdout: scratch.path().join("out"),
        stderr: scratch.path().join("err"),
        env: Vec::new(),
        ended_by: Signal::SIGKILL,
    }
}

#[test]
fn a_panic_leaves_no_namespace_no_process_and_no_folder() {
    let mut made: Vec<PathBuf> = Vec::new();
    let mut pid = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let net = Bridged::new("rqtest", 2, BridgeOptions::default()).expect("a bridge");
        let stack = Stack::new("rqtest").expect("a namespace");
        let scratch = Scratch::new("rqtest").expect("a folder");
        let at = SocketAddr::new(Bridged::v4(0), 7000);
        let mut sink = Probe::listen(&net.nodes()[0], "sink", "tcp", at).expect("a sink");
        pid = sink.process().pid();
        made.extend(net.nodes().iter().map(raftq_harness::netns::Namespace::path));
        made.extend([net.hub().path(), stack.namespace().path(), scratch.path().to_owned()]);
        assert!(made.iter().all(|path| path.exists()) && runs(pid));
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    let left: Vec<_> = made.iter().filter(|path| path.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!runs(pid), "the sink ended with its guard");
}

#[test]
fn a_killed_owner_leaves_no_process_and_what_it_leaves_is_cleaned() {
    let mine = Stack::new("rqtest").expect("a namespace");
    let scratch = Scratch::new("rqtest").expect("a folder");
    let mut owner = Process::spawn(launch(&scratch, &["hold"])).expect("it starts");
    let held = wait_for("two sinks", LIMIT, STEP, || {
        let lines: Vec<_> = owner.stdout().lines().map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    });
    let held = held.unwrap_or_else(|error| panic!("{error}\n{}", owner.log_tail()));
    let held: Vec<(PathBuf, u32)> = held
        .iter()
        .map(|line| line.split_once(' ').expect("a name and a pid"))
        .map(|(name, pid)| (Path::new("/run/netns").join(name), pid.parse().expect("a pid")))
        .collect();
    for (space, pid) in &held {
        assert_eq!(inside_namespace(space), [*pid]);
    }

    owner.kill().expect("SIGKILL");
    wait_for("the orphans to end", LIMIT, STEP, || {
        held.iter().all(|(_, pid)| !runs(*pid)).then_some(())
    })
    .expect("a process dies with its owner");

    // A process that got in from elsewhere keeps nothing alive either.
    let inside = Launch { netns: Some(held[0].0.clone()), ..launch(&scratch, &["sink", "tcp"]) };
    let address = ["127.0.0.1:7000".into()];
    let inside = Launch { args: [&inside.args[..], &address].concat(), ..inside };
    let mut stranger = Process::spawn(inside).expect("it starts");
    let output = Command::new(env!("CARGO_BIN_EXE_harness-clean")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for (space, _) in &held {
        assert!(!space.exists(), "{} is left; it said:\n{said}", space.display());
        let name = space.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(said.contains(name), "{said}");
    }
    assert!(!stranger.wait(LIMIT).expect("it was ended").success());
    assert!(mine.namespace().path().exists(), "what a living process owns stays");
    assert!(scratch.path().exists());
}

#[test]
fn a_rule_that_is_left_is_seen() {
    let stack = Stack::new("rqtest").expect("a namespace");
    let before = Rules::of(stack.namespace()).expect("rules");
    let rule = ["-t", "mangle", "-A", "INPUT", "-j", "ACCEPT"];
    stack.namespace().run("iptables", &rule).expect("a rule");
    let after = Rules::of(stack.namespace()).expect("rules");
    let changes = before.changes(&after);
    assert!(changes.iter().any(|line| line == "+ -A INPUT -j ACCEPT"), "{changes:?}");
    assert_eq!(before.changes(&before), Vec::<String>::new());
}
