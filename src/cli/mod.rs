//! Arguments to calls; nothing else.

pub mod lint;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about)]
enum Command {
    /// Check rule files and show what they mean
    Lint(lint::LintArgs),
}

/// The command's entry.
#[must_use]
pub fn main() -> ExitCode {
    match Command::parse() {
        Command::Lint(args) => lint::run(&args),
    }
}
