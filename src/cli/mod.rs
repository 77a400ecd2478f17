//! Arguments to calls; nothing else.

mod attach;
mod check;
mod clean;
mod doctor;
mod lint;
mod node;
mod repeat;
mod replay;
mod report;
mod rules;
mod run;
mod simulate;
mod watch;

use crate::run::guardian;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Puts the network of a real Raft cluster under control.
///
/// Without a command it attaches to a running cluster and applies a rule file; it detaches
/// when the last rule has ended, after --for, or on Ctrl-C, and leaves the host as it was.
///
/// Exit codes: 0 holds, 1 violated, 2 undecided (packets were lost, a cut leaked, raftq was
/// stopped), 3 a rule never matched, 4 bad input, 5 failed (the host did not do its part).
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    attach: attach::AttachArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check rule files and print what they mean; needs no root
    Lint(lint::LintArgs),
    /// Print what rules make of recorded packets; needs no root
    Simulate(simulate::SimulateArgs),
    /// Start a cluster, clients and faults; judge; write a run folder
    Run(run::RunArgs),
    /// List or switch the rules of a raftq that runs, by name
    Rules(rules::RulesArgs),
    /// Show a running cluster live: roles, links, messages, rules; switch rules by key
    Watch(watch::WatchArgs),
    /// Run again what a folder has, and say how alike the two are
    Replay(replay::ReplayArgs),
    /// Make a run's report again from its folder; compare several runs
    Report(report::ReportArgs),
    /// Judge stored histories: were they linearizable, was anything lost
    Check(check::CheckArgs),
    /// Say what this host lacks, and the command that mends it
    Doctor(doctor::DoctorArgs),
    /// Remove everything that a killed raftq left behind, and nothing else
    Clean(clean::CleanArgs),
    /// One node of the embedded Raft key-value cluster
    Node(node::Args),
    /// The process that removes the rules when raftq cannot; started by raftq
    #[command(hide = true)]
    Guardian,
}

/// The command's entry.
#[must_use]
pub fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format_timestamp_millis()
        .init();
    match Cli::try_parse() {
        Ok(Cli { command: Some(Command::Lint(args)), .. }) => lint::run(&args),
        Ok(Cli { command: Some(Command::Simulate(args)), .. }) => simulate::run(&args),
        Ok(Cli { command: Some(Command::Run(args)), .. }) => run::run(&args),
        Ok(Cli { command: Some(Command::Rules(args)), .. }) => rules::run(&args),
        Ok(Cli { command: Some(Command::Watch(args)), .. }) => watch::run(&args),
        Ok(Cli { command: Some(Command::Replay(args)), .. }) => replay::run(&args),
        Ok(Cli { command: Some(Command::Report(args)), .. }) => report::run(&args),
        Ok(Cli { command: Some(Command::Check(args)), .. }) => check::run(&args),
        Ok(Cli { command: Some(Command::Doctor(args)), .. }) => doctor::run(&args),
        Ok(Cli { command: Some(Command::Clean(args)), .. }) => clean::run(&args),
        Ok(Cli { command: Some(Command::Node(args)), .. }) => node::run(&args),
        Ok(Cli { command: Some(Command::Guardian), .. }) => guardian::main(),
        Ok(Cli { command: None, attach }) => attach::run(&attach),
        Err(e) => {
            let code = if e.use_stderr() { crate::run::outcome::BAD_INPUT } else { 0 };
            let _ = e.print();
            ExitCode::from(code)
        }
    }
}
