//! Measures raftq beside an accept-all loop in C and beside no queue at all.
//!
//! ```text
//! main.rs    the commands
//! driver.rs   the rounds of `run`, and what it leaves in BENCHMARKS.md
//! clients.rs  those of `clients`: the verdict loop with and without a thousand clients
//! measure.rs  one sample of each experiment
//! engine.rs   nothing, the C loop, or raftq between the packets' ends
//! world.rs    the namespaces, removed on every way out
//! child.rs    processes that cannot outlive the driver
//! load/       sources and sinks of traffic, one process each
//! checker.rs  `raftq check` on a million calls; history.rs: which calls
//! decode.rs  messages of captures through `raftq::wire`
//! table.rs   what rules cost by their number
//! report.rs   the table, ratios and targets; stats.rs: medians
//! clock.rs    time, and the CPU time of another process
//! ```
//!
//! It imports nothing of raftq: what is measured does not take part in measuring. The exceptions
//! are `load/beside.rs`, which puts the verdict loop and clients into one process, as `raftq run`
//! does, and is itself what is measured, and `decode.rs` and `table.rs`, which measure one part of
//! raftq alone each.
//! The driver refuses to tune the machine; what it needs to be fair it does to all engines alike.

mod checker;
mod child;
mod clients;
mod clock;
mod decode;
mod driver;
mod engine;
mod history;
mod load;
mod measure;
mod report;
mod stats;
mod table;
mod world;

use clap::{Parser, Subcommand};
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// What went wrong, as a sentence for the user.
pub(crate) type Fault = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send UDP datagrams of 64 bytes
    Flood {
        from: SocketAddr,
        to: SocketAddr,
        seconds: f64,
        /// Datagrams a second; flat out without it
        #[arg(long)]
        rate: Option<u32>,
    },
    /// Count UDP datagrams
    Sink { at: SocketAddr },
    /// Measure TCP round trips of 200 bytes
    Ping { to: SocketAddr, warm: f64, seconds: f64 },
    /// Answer `ping`
    Echo { at: SocketAddr },
    /// Write one TCP stream
    Pour { to: SocketAddr },
    /// Read TCP streams and count bytes
    Drain { at: SocketAddr },
    /// Burn a share of a core
    Spin {
        #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
    },
    /// Compare the verdict loop with and without a thousand clients beside it; as root
    #[command(args_override_self = true)]
    Clients(clients::Options),
    /// Be raftq with a rule file, and with clients of a system that is a map in this process
    Beside(load::beside::Options),
    /// The process that removes the rules when `beside` cannot; started by it
    #[command(hide = true)]
    Guardian,
    /// Compare no queue, the C loop and raftq; as root
    #[command(args_override_self = true)]
    Run(driver::Options),
    /// Measure `raftq check` on a million calls
    Check(checker::Options),
    /// Measure what reading a message costs, on captures of real clusters
    Decode(decode::Options),
    /// Measure what rules cost by their number
    Table(table::Options),
    /// Judge packets, to be counted from outside
    #[command(hide = true)]
    TableOnce(table::Once),
    /// Write such a history to stdout
    History(history::Shape),
    /// Measure one history once
    #[command(hide = true)]
    CheckOnce { raftq: PathBuf, history: PathBuf },
    /// Become another program that ends with its parent
    #[command(hide = true)]
    Within {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        cpu: Option<usize>,
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Wait for the end of stdin, then delete namespaces and a folder
    #[command(hide = true)]
    Reap { folder: PathBuf, namespaces: Vec<String> },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Guardian) {
        return raftq::run::guardian::main();
    }
    match dispatch(command) {
        Ok(code) => ExitCode::from(code),
        Err(fault) => {
            eprintln!("raftq-bench: {fault}");
            ExitCode::from(5)
        }
    }
}

fn dispatch(command: Command) -> Result<u8, Fault> {
    match command {
        Command::Flood { from, to, seconds, rate } => load::udp::flood(from, to, seconds, rate)?,
        Command::Sink { at } => load::udp::sink(at)?,
        Command::Ping { to, warm, seconds } => load::tcp::ping(to, warm, seconds)?,
        Command::Echo { at } => load::tcp::echo(at)?,
        Command::Pour { to } => load::tcp::pour(to)?,
        Command::Drain { at } => load::tcp::drain(at)?,
        Command::Spin { percent } => load::spin::spin(percent),
        Command::Run(options) => return driver::run(&options),
        Command::Clients(options) => return clients::run(&options),
        Command::Beside(options) => load::beside::beside(&options)?,
        Command::Guardian => unreachable!("it has an exit code of its own"),
        Command::Check(options) => return checker::run(&options),
        Command::Decode(options) => return decode::run(&options),
        Command::Table(options) => return table::run(&options),
        Command::TableOnce(once) => table::once(once)?,
        Command::History(shape) => {
            history::write(&shape, &mut BufWriter::new(std::io::stdout().lock()))?;
        }
        Command::CheckOnce { raftq, history } => checker::once(&raftq, &history)?,
        Command::Within { parent, cpu, words } => return Err(child::within(parent, cpu, &words)),
        Command::Reap { folder, namespaces } => world::reap(&folder, &namespaces)?,
    }
    Ok(0)
}
