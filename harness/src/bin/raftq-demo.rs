//! Cuts the leader of a real etcd cluster off and heals it, with every claim checked.
//!
//! Exit code 0 when all claims hold, 1 when one does not, 5 when the host lacks something, 130
//! after Ctrl-C; in every case nothing is left on the host.

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use raftq_harness::clock::{interrupt_waits, interrupted, now, since};
use raftq_harness::demo::{Demo, Failure, Topology};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Cuts the leader of a real etcd cluster off, and heals it", version)]
struct Cli {
    /// The raftq program
    #[arg(long, default_value = "target/release/raftq", env = "RAFTQ")]
    raftq: PathBuf,
    /// The rule file; it cuts the group `victim` off
    #[arg(long, default_value = "rules/partition.yaml")]
    rules: PathBuf,
    /// Where the nodes run
    #[arg(long, value_enum, default_value = "namespaces")]
    topology: Topology,
    /// Further arguments for raftq, after --
    #[arg(last = true)]
    raftq_args: Vec<OsString>,
}

fn main() -> ExitCode {
    let Cli { raftq, rules, topology, raftq_args } = Cli::parse();
    let start = now();
    end_by_guards();
    match (Demo { raftq, rules, topology, raftq_args }).run() {
        Ok(_) => {
            println!("All claims hold; it took {:.0} s.", since(start).as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(_) if interrupted() => {
            eprintln!("raftq-demo: interrupted; cleaned up");
            ExitCode::from(130)
        }
        Err(Failure::Claim(error)) => {
            eprintln!("raftq-demo: a claim does not hold: {error}");
            ExitCode::from(1)
        }
        Err(Failure::Environment(error)) => {
            eprintln!("raftq-demo: {error}");
            ExitCode::from(5)
        }
    }
}

/// Ctrl-C and the like make the waits fail, so that the guards run as after any error.
fn end_by_guards() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Before any thread is started: all of them inherit it, and the one below takes the signal.
    signals.thread_block().expect("a mask of known signals can be set");
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            interrupt_waits();
        }
    });
}
