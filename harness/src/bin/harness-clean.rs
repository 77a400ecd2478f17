//! Removes what killed tests and demos left on this host: nodes' processes, namespaces, the
//! processes inside and folders on tmpfs. Whatever a living process owns, and anything not ours,
//! is left alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    let removed = match raftq_harness::clean() {
        Ok(removed) => removed,
        Err(error) => {
            eprintln!("harness-clean: {error}");
            return ExitCode::from(5);
        }
    };
    for what in &removed {
        println!("removed {what}");
    }
    ExitCode::SUCCESS
}
