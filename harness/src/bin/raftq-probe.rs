//! Sockets of a small test program; see the library's `probe` for what the events mean.
//!
//! Exit code 0 when its work is done, 1 when its connection failed, 2 on bad arguments.

use clap::{Args, Parser, Subcommand};
use raftq_harness::clock::wait_for;
use raftq_harness::netns::{BridgeOptions, Bridged};
use raftq_harness::probe::ask::{Dial, Pace};
use raftq_harness::probe::{Event, Probe, Transport, ask, serve};
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Shows, one JSON line an event, what a network does to TCP and UDP")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer questions at once, tell messages, stream messages back on request
    Serve { transport: Transport, at: SocketAddr },
    /// Only tell what arrives
    Sink { transport: Transport, at: SocketAddr },
    /// Ask questions and tell each one's round trip
    Ask {
        #[command(flatten)]
        peer: Peer,
        /// How long to wait for an answer before the next question
        #[arg(long, value_parser = duration, default_value = "1s")]
        timeout: Duration,
        /// Dial anew when a connection failed or a question timed out
        #[arg(long)]
        redial: bool,
    },
    /// Send numbered messages one way
    Send {
        #[command(flatten)]
        peer: Peer,
        /// Have the server send as many on the same connection
        #[arg(long)]
        back: bool,
        /// How long to listen, and to send what stalled, after the last message
        #[arg(long, value_parser = duration, default_value = "1s")]
        linger: Duration,
    },
    /// Make a bridge with a sink on each of two nodes and hold it until killed, so that a test
    /// can see what an owner that dies leaves; prints each node's namespace and its sink's pid
    Hold,
}

#[derive(Args)]
struct Peer {
    transport: Transport,
    to: SocketAddr,
    /// The own address and port (port 0 for any)
    #[arg(long)]
    from: Option<SocketAddr>,
    #[arg(long, default_value_t = 100)]
    count: u32,
    #[arg(long, value_parser = duration, default_value = "20ms")]
    every: Duration,
    /// Listen there as well, without ever answering: on a loopback that several nodes share, a
    /// process is the node whose address it listens on
    #[arg(long = "as", value_name = "ADDRESS")]
    known_as: Option<SocketAddr>,
    /// Bytes of each message, 8 at least
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..))]
    size: u16,
    /// How long a dial may take
    #[arg(long, value_parser = duration, default_value = "1s")]
    dial_timeout: Duration,
}

impl Peer {
    fn dial(&self) -> Dial {
        let Self { transport, to, from, known_as, dial_timeout: limit, .. } = *self;
        Dial { transport, to, from, known_as, limit }
    }

    fn pace(&self) -> Pace {
        Pace { count: self.count, every: self.every, size: self.size }
    }
}

fn main() -> ExitCode {
    let outcome: io::Result<()> = match Cli::parse().command {
        Command::Serve { transport, at } => {
            let served = serve::serve(transport, at, false);
            served.inspect_err(|error| Event::failed(&error).print())
        }
        Command::Sink { transport, at } => {
            let served = serve::serve(transport, at, true);
            served.inspect_err(|error| Event::failed(&error).print())
        }
        Command::Ask { peer, timeout, redial } => {
            ask::ask(peer.dial(), peer.pace(), timeout, redial)
        }
        Command::Hold => hold().map_err(io::Error::other),
        Command::Send { peer, back, linger } => ask::send(peer.dial(), peer.pace(), back, linger),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raftq-probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> raftq_harness::Result<()> {
    let net = Bridged::new("rqhold", 2, BridgeOptions::default())?;
    let mut sinks = Vec::new();
    for (i, node) in net.nodes().iter().enumerate() {
        let at = SocketAddr::new(Bridged::v4(i), 7000);
        let mut sink = Probe::listen(node, "sink", "tcp", at)?;
        println!("{} {}", node.name(), sink.process().pid());
        sinks.push(sink);
    }
    wait_for("the end", Duration::MAX / 2, Duration::from_secs(1), || None)
}

/// A number and its unit: s, ms or us.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no time such as 20ms"))?;
    match &text[digits.len()..] {
        "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "us" => Ok(Duration::from_micros(number)),
        _ => Err(format!("{text:?} needs a unit: s, ms or us")),
    }
}
