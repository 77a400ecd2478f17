//! `raftq --rules FILE`: attach to a running cluster.

mod own;

pub(super) use own::OwnArgs;

use super::report;
use super::run::{bad_input, is_free};
use crate::kernel::restore::Flavour;
use crate::kernel::trouble::Trouble;
use crate::rules::{Inputs, Report, Roles, SetArg, Table};
use crate::run::attach::{Options, QueueKind};
use crate::run::control::{self, Run};
use crate::run::disturb::Hosted;
use crate::run::found::Found;
use crate::run::host::{Host, Unasked};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT, Outcome, VIOLATED};
use crate::run::reach::Reach;
use crate::run::session::Session;
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

/// Which cluster it is attached to, and how: the same with a view and without.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Target {
    /// Take the cluster from this file, instead of the one in the rule file
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// Ask the running cluster at this URL for its members, instead of naming them in a file;
    /// rules may then say `leader` and the like (repeatable: the first that answers is taken)
    #[arg(long, value_name = "URL", requires = "adapter", conflicts_with = "cluster")]
    attach: Vec<String>,
    /// How the system at --attach is spoken to: a name in adapters/, or a file
    #[arg(long, value_name = "NAME", requires = "attach")]
    adapter: Option<String>,
    /// Let rules kill, crash, stop, pause and resume the processes that listen at the nodes' peer
    /// addresses; nobody starts them again, but whoever was paused goes on in any case
    #[arg(long)]
    allow_process_faults: bool,
    /// Say which nodes a group stands for (repeatable)
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    sets: Vec<SetArg>,
    /// Detach after this time, e.g. 30s; else when the last rule has ended, or the view is left,
    /// or on Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = crate::rules::duration)]
    lasts: Option<Nanos>,
    /// Seed of the random decisions, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Which iptables; the host's own if not said
    #[arg(long, value_name = "WHICH")]
    iptables: Option<FlavourArg>,
    /// Do not ask for real-time scheduling
    #[arg(long)]
    no_realtime: bool,
}

/// Arguments of attaching.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(group = clap::ArgGroup::new("captured").args(["pcap", "out"]).multiple(true))]
pub(super) struct AttachArgs {
    /// The rule file
    #[arg(long, value_name = "FILE", required = true)]
    rules: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Serve the API (docs/openapi.yaml) at this loopback address, too, to whoever is on this host;
    /// the control socket, for `raftq rules`, is always there
    #[arg(long, value_name = "127.0.0.1:PORT")]
    listen: Option<SocketAddr>,
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
    /// Which packets --pcap has, or wire.pcapng in the folder
    #[arg(long, value_name = "WHICH", requires = "captured", default_value = "disturbed")]
    capture: CaptureWord,
    /// The most bytes that it may have; what comes first is kept
    #[arg(long, value_name = "SIZE", requires = "captured", default_value = CAPTURE_MAX,
        value_parser = crate::rules::size)]
    capture_max: u64,
    /// Log every Raft message to this file, a JSON line each, where the cluster names its protocol;
    /// `raftq check` judges it again
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    wire: Option<PathBuf>,
    /// Leave a folder with everything that happened, and a report of it: events, Raft's messages
    /// where the cluster names its protocol, wire.pcapng, summary.json, report.html
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Tell only warnings and the result
    #[arg(long, short)]
    quiet: bool,
    /// Which implementation of the packet queue
    #[arg(long, value_name = "WHICH", default_value = "raw")]
    queue: QueueArg,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum QueueArg {
    /// raftq's own netlink socket
    #[default]
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
    match perform(args, |table, run| control::run(table, &run)) {
        Ok(came) => {
            let told = came.result.as_ref().map_or(0, |outcome| outcome.told);
            came.tell(told, args.json)
        }
        Err(code) => code,
    }
}

/// What came of attaching, and the folder of the session, where one was asked for.
struct Came {
    result: Result<Outcome, Trouble>,
    session: Option<Session>,
}

/// Reads everything, and has `go` attach; where something is wrong before, that is told.
fn perform(
    args: &AttachArgs,
    go: impl FnOnce(Table, Run<'_>) -> Result<Outcome, Trouble>,
) -> Result<Came, ExitCode> {
    let color = status::color();
    let found = find(args)?.map(Arc::new);
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
                return Err(ExitCode::from(BAD_INPUT));
            }
            (compiled.table, inputs)
        }
        Err(report) => {
            status::put(&report.render(color));
            return Err(ExitCode::from(BAD_INPUT));
        }
    };
    let session = open(args, &inputs, &table, found.as_ref())?;
    let host: Option<(Arc<dyn Host>, Reach)> = match (args.target.allow_process_faults, &found) {
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
    let pcap = args.pcap.as_deref().or(session.as_ref().map(Session::pcap));
    let pcap = pcap.filter(|_| args.capture != CaptureWord::None);
    let all = args.capture == CaptureWord::All;
    let run = Run {
        options: Options {
            queue: match args.queue {
                QueueArg::Raw => QueueKind::Raw,
                QueueArg::Nfq => QueueKind::Nfq,
            },
            urgent: !args.target.no_realtime,
            flavour: args.target.iptables.map(|flavour| match flavour {
                FlavourArg::Nft => Flavour::Nft,
                FlavourArg::Legacy => Flavour::Legacy,
            }),
            trace: args.trace.as_deref(),
            pcap: pcap.map(|path| Pcap { path, all, max: args.capture_max, title: &title }),
            wire: args.wire.as_deref().or(session.as_ref().and_then(Session::wire)),
        },
        lasts: args.target.lasts,
        quiet: args.quiet,
        reload: Box::new(|| read()?.compile()),
        load: Box::new(|rules, roles| {
            let roles = roles.or(inputs.roles);
            Inputs { rules, roles, ..inputs.clone() }.compile()
        }),
        listen: args.listen,
        host,
        record: session.as_ref().map(Session::recorder),
        told: None,
        beside: None,
        behind: None,
    };
    let result = go(table, run);
    Ok(Came { result, session })
}

impl Came {
    /// Prints it, closes the folder, and gives the exit code; as many of the warnings as `told`
    /// were seen already.
    fn tell(self, told: usize, json: bool) -> ExitCode {
        let outcome = match self.result {
            Ok(outcome) => outcome.judged(),
            Err(trouble) => {
                status::put(&format!("raftq: {trouble}\n"));
                if let Some(session) = self.session {
                    session.abandon();
                }
                return ExitCode::from(ENVIRONMENT);
            }
        };
        for warning in &outcome.warnings[told..] {
            status::put(&format!("raftq: warning: {warning}\n"));
        }
        let mut text = if json {
            serde_json::to_string_pretty(&outcome).unwrap_or_default() + "\n"
        } else {
            summary::summary(&outcome, status::width())
        };
        let mut code = outcome.exit_code;
        match self.session.map(|session| session.close(outcome).1) {
            None => {}
            Some(Ok(folder)) => {
                let line = report::line(&folder);
                text += if json { "" } else { &line };
            }
            // It was asked for, and is not there.
            Some(Err(why)) => {
                status::put(&format!("raftq: the folder of this session is not whole: {why}\n"));
                code = if code == VIOLATED { code } else { ENVIRONMENT };
            }
        }
        // A reader that has gone away has seen what it wanted.
        let _ = io::stdout().write_all(text.as_bytes());
        ExitCode::from(code)
    }
}

/// The folder of this session, where one is asked for.
fn open(
    args: &AttachArgs,
    inputs: &Inputs,
    table: &Table,
    found: Option<&Arc<Found>>,
) -> Result<Option<Session>, ExitCode> {
    let Some(folder) = &args.out else { return Ok(None) };
    let refuse =
        |why: &dyn std::fmt::Display| bad_input(&format!("raftq: {}: {why}\n", folder.display()));
    is_free(folder).map_err(|why| refuse(&why))?;
    let session = Session::open(folder, inputs, table, args.target.adapter.as_deref(), found);
    session.map(Some).map_err(|e| refuse(&format!("{e}; name another --out")))
}

/// The cluster at `--attach`, if it is named so; else the exit code.
fn find(args: &AttachArgs) -> Result<Option<Found>, ExitCode> {
    let Some(name) = &args.target.adapter else { return Ok(None) };
    let fail = |why: &dyn std::fmt::Display, code| {
        status::put(&format!("raftq: {why}\n"));
        ExitCode::from(code)
    };
    let adapter = Adapter::load(name).map_err(|e| fail(&e, BAD_INPUT))?;
    adapter.check_members(&args.target.attach).map_err(|e| fail(&e, BAD_INPUT))?;
    let found = Found::ask(&adapter, &args.target.attach).map_err(|e| fail(&e, ENVIRONMENT))?;
    if !args.quiet {
        status::put(&format!("raftq: found {}\n", found.names()));
    }
    Ok(Some(found))
}

/// The files, and the cluster that was found.
fn read(args: &AttachArgs, found: Option<&Found>) -> Result<Inputs, Report> {
    let cluster = args.target.cluster.as_deref();
    let inputs = match &args.rules {
        Some(rules) => Inputs::read(rules, cluster, &args.target.sets)?,
        None => Inputs::without_rules(cluster, &args.target.sets)?,
    };
    let inputs = Inputs { seed: args.target.seed, ..inputs };
    let Some(found) = found else { return Ok(inputs) };
    Ok(Inputs { cluster: Some(found.cluster()), roles: Some(Roles::imagined()), ..inputs })
}
