//! Removes what killed tests and demos left on this host: namespaces, the processes inside and
//! folders on tmpfs. Whatever a living process owns, and anything not ours, is left alone.

use raftq_harness::{netns, owner};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut removed = match netns::clean_host() {
        Ok(removed) => removed,
        Err(error) => {
            eprintln!("harness-clean: {error}");
            return ExitCode::from(5);
        }
    };
    removed.extend(owner::clean_scratch());
    for what in &removed {
        println!("removed {what}");
    }
    ExitCode::SUCCESS
}
