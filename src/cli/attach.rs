//! `raftq --rules FILE`: attach to a running cluster.

use crate::kernel::restore::Flavour;
use crate::rules::{Inputs, Report, Roles, SetArg};
use crate::run::attach::{Options, QueueKind};
use crate::run::control::{self, Run};
use crate::run::disturb::Hosted;
use crate::run::found::Found;
use crate::run::host::{Host, Unasked};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::run::reach::Reach;
use crate::run::signalled::Signalled;
use crate::run::trace::{CAPTURE_MAX, CaptureWord, Pcap};
use crate::run::{status, summary};
use crate::time::Nanos;
use clap::ValueEnum;
use raftq_harness::adapter::Adapter;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of attaching.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct AttachArgs {
    /// The rule file
    #[arg(long, value_name = "FILE", required = true)]
    rules: Option<PathBuf>,
    /// Take the cluster from this file, instead of the one in the rule file
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// Ask the running cluster at this URL for its members, instead of naming them in a file; rules
    /// may then say `leader` and the like (repeatable: the first that answers is taken)
    #[arg(long, value_name = "URL", requires = "adapter", conflicts_with = "cluster")]
    attach: Vec<String>,
    /// How the system at --attach is spoken to: a name in adapters/, or a file
    #[arg(long, value_name = "NAME", requires = "attach")]
    adapter: Option<String>,
    /// Let rules kill, crash, stop, pause and resume the processes that listen at the nodes' peer
    /// addresses; nobody starts them again, but whoever was paused goes on in any case
    #[arg(long)]
    allow_process_faults: bool,
    /// Serve the API (docs/openapi.yaml) at this loopback address, too, to whoever is on this host;
    /// the control socket, for `raftq rules`, is always there
    #[arg(long, value_name = "127.0.0.1:PORT")]
    listen: Option<SocketAddr>,
    /// Say which nodes a group stands for (repeatable)
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    sets: Vec<SetArg>,
    /// Detach after this time, e.g. 30s; else when the last rule has ended, or on Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = crate::rules::duration)]
    lasts: Option<Nanos>,
    /// Seed of the random decisions, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the result as one JSON document on stdout
    #[arg(long)]
    json: bool,
    /// Log every packet to this file, a JSON line each
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write packets with their bytes, and what became of each as its comment, to this file, for
    /// Wireshark and tshark (pcapng)
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Which packets --pcap has
    #[arg(long, value_name = "WHICH", requires = "pcap", default_value = "disturbed")]
    capture: CaptureWord,
    /// The most bytes that --pcap may have; what comes first is kept
    #[arg(long, value_name = "SIZE", requires = "pcap", default_value = CAPTURE_MAX,
        value_parser = crate::rules::size)]
    capture_max: u64,
    /// Log every Raft message to this file, a JSON line each, where the cluster names its protocol;
    /// `raftq check` judges it again
    #[arg(long, value_name = "FILE")]
    wire: Option<PathBuf>,
    /// Tell only warnings and the result
    #[arg(long, short)]
    quiet: bool,
    /// Which implementation of the packet queue
    #[arg(long, value_name = "WHICH", default_value = "raw")]
    queue: QueueArg,
    /// Which iptables; the host's own if not said
    #[arg(long, value_name = "WHICH")]
    iptables: Option<FlavourArg>,
    /// Do not ask for real-time scheduling
    #[arg(long)]
    no_realtime: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum QueueArg {
    /// raftq's own netlink socket
    Raw,
    /// The `nfq` crate
    Nfq,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FlavourArg {
    Nft,
    Legacy,
}

/// Attaches, and prints what came of it.
pub(super) fn run(args: &AttachArgs) -> ExitCode {
    let color = status::color();
    let found = match find(args) {
        Ok(found) => found.map(Arc::new),
        Err(code) => return code,
    };
    let read = || read(args, found.as_deref());
    let given = read().and_then(|inputs| Ok((inputs.clone().compile()?, inputs)));
    let (table, inputs) = match given {
        Ok((compiled, inputs)) => {
            status::put(&compiled.warnings.render(color));
            if args.wire.is_some() && compiled.table.protocol.is_none() {
                status::put(
                    "raftq: --wire logs Raft messages, and the cluster names no protocol: add \
                     `protocol:` to `cluster`\n",
                );
                return ExitCode::from(BAD_INPUT);
            }
            (compiled.table, inputs)
        }
        Err(report) => {
            status::put(&report.render(color));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let host: Option<(Arc<dyn Host>, Reach)> = match (args.allow_process_faults, &found) {
        (true, _) => Some((Arc::new(Signalled::new(found.clone())), Reach::Signals)),
        (false, Some(found)) => Some((Arc::<Found>::clone(found), Reach::Nothing)),
        // Who leads is heard, where that can be.
        (false, None) => Some((Arc::new(Unasked), Reach::Nothing)),
    };
    let host = host.map(|(host, reach)| Hosted {
        host,
        reach,
        bind: Box::new(|roles| Inputs { roles: Some(roles), ..inputs.clone() }.compile()),
    });
    let title = args.rules.as_deref().map_or(String::new(), |path| path.display().to_string());
    let pcap = args.pcap.as_deref().filter(|_| args.capture != CaptureWord::None);
    let all = args.capture == CaptureWord::All;
    let run = Run {
        options: Options {
            queue: match args.queue {
                QueueArg::Raw => QueueKind::Raw,
                QueueArg::Nfq => QueueKind::Nfq,
            },
            urgent: !args.no_realtime,
            flavour: args.iptables.map(|flavour| match flavour {
                FlavourArg::Nft => Flavour::Nft,
                FlavourArg::Legacy => Flavour::Legacy,
            }),
            trace: args.trace.as_deref(),
            pcap: pcap.map(|path| Pcap { path, all, max: args.capture_max, title: &title }),
            wire: args.wire.as_deref(),
        },
        lasts: args.lasts,
        quiet: args.quiet,
        reload: Box::new(|| read()?.compile()),
        load: Box::new(|rules, roles| {
            let roles = roles.or(inputs.roles);
            Inputs { rules, roles, ..inputs.clone() }.compile()
        }),
        listen: args.listen,
        host,
        told: None,
        beside: None,
    };
    match control::run(table, &run) {
        Ok(outcome) => {
            let outcome = outcome.judged();
            for warning in &outcome.warnings[outcome.told..] {
                status::put(&format!("raftq: warning: {warning}\n"));
            }
            let text = if args.json {
                serde_json::to_string_pretty(&outcome).unwrap_or_default() + "\n"
            } else {
                summary::summary(&outcome, status::width())
            };
            // A reader that has gone away has seen what it wanted.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::from(outcome.exit_code)
        }
        Err(trouble) => {
            status::put(&format!("raftq: {trouble}\n"));
            ExitCode::from(ENVIRONMENT)
        }
    }
}

/// The cluster at `--attach`, if it is named so; else the exit code.
fn find(args: &AttachArgs) -> Result<Option<Found>, ExitCode> {
    let Some(name) = &args.adapter else { return Ok(None) };
    let fail = |why: &dyn std::fmt::Display, code| {
        status::put(&format!("raftq: {why}\n"));
        ExitCode::from(code)
    };
    let adapter = Adapter::load(name).map_err(|e| fail(&e, BAD_INPUT))?;
    adapter.check_members(&args.attach).map_err(|e| fail(&e, BAD_INPUT))?;
    let found = Found::ask(&adapter, &args.attach).map_err(|e| fail(&e, ENVIRONMENT))?;
    if !args.quiet {
        status::put(&format!("raftq: found {}\n", found.names()));
    }
    Ok(Some(found))
}

/// The files, and the cluster that was found.
fn read(args: &AttachArgs, found: Option<&Found>) -> Result<Inputs, Report> {
    let rules = args.rules.as_deref().unwrap_or_else(|| std::path::Path::new(""));
    let inputs = Inputs::read(rules, args.cluster.as_deref(), &args.sets)?;
    let inputs = Inputs { seed: args.seed, ..inputs };
    let Some(found) = found else { return Ok(inputs) };
    Ok(Inputs { cluster: Some(found.cluster()), roles: Some(Roles::imagined()), ..inputs })
}
