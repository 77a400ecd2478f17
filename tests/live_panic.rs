//! A panic of raftq's main thread detaches on its way out.
//!
//! The panic happens in a program that uses raftq as a library, and since raftq starts itself
//! as its guardian, this file is that program, the guardian and the test in one. Needs root;
//! run it by `make test`.

mod death_lab;

use death_lab::{DELAY, Lab, SOON, STEP};
use nix::sys::signal::Signal;
use raftq::rules::Inputs;
use raftq::run::attach::{Options, QueueKind, attach};
use raftq::run::guardian;
use raftq_harness::clock::wait_for;
use raftq_harness::process::{Launch, Process, running};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("guardian") => return guardian::main(),
        Some("panic") => attach_and_panic(Path::new(&args[2])),
        // A test runner's own arguments.
        _ => a_panic_detaches(),
    }
    println!("test a_panic_detaches ... ok");
    ExitCode::SUCCESS
}

fn attach_and_panic(rules: &Path) {
    let compiled = Inputs::read(rules, None, &[]).and_then(Inputs::compile).expect("good rules");
    let options = Options {
        queue: QueueKind::Raw,
        urgent: false,
        flavour: None,
        trace: None,
        pcap: None,
        wire: None,
    };
    let attached = attach(Arc::new(compiled.table), &options).expect("attached");
    assert!(attached.missing_rules().is_empty() && attached.guardian_pid() != 0);
    panic!("on purpose, with {} nodes attached", attached.table.nodes.len());
}

fn a_panic_detaches() {
    let lab = Lab::new(2);
    let rules = lab.rules_file(DELAY);
    let this = std::env::current_exe().expect("this program");
    let file = |name: &str| lab.scratch.path().join(name);
    let set = format!("RAFTQ_RUN_DIR={}", lab.run_folder().display());
    let args = [set.into(), this.clone().into(), "panic".into(), rules.into()];
    let mut process = Process::spawn(Launch {
        name: "panic".into(),
        program: "/usr/bin/env".into(),
        args: args.to_vec(),
        netns: None,
        stdout: file("out"),
        stderr: file("err"),
        env: Vec::new(),
        ended_by: Signal::SIGTERM,
    })
    .expect("it starts");
    let status = process.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(101), "{}", process.log_tail());
    assert!(process.stderr().contains("on purpose, with 2 nodes"), "{}", process.log_tail());
    assert_eq!(lab.changes(), Vec::<String>::new(), "before its process ended");
    let alone = || (running(&this) == [std::process::id()]).then_some(());
    wait_for("the guardian's end", SOON, STEP, alone).expect("it ends");
    lab.await_nothing_left();
}
