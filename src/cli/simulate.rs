//! `raftq simulate RULES PCAP`: the rules over recorded packets, without privileges.

use crate::rules::{Inputs, Roles, SetArg};
use crate::run::capture::Capture;
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT, NEVER_MATCHED};
use crate::run::simulate::say::{Form, Writer};
use crate::run::simulate::{Failure, Simulation};
use crate::run::status;
use std::io::{self, BufWriter, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `raftq simulate`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// The rule file
    #[arg(value_name = "RULES.yaml")]
    rules: PathBuf,
    /// The recorded packets: pcap or pcapng
    #[arg(value_name = "PCAP")]
    pcap: PathBuf,
    /// Take the cluster from this file, instead of the one in the rule file
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// Say which nodes a group stands for (repeatable)
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    sets: Vec<SetArg>,
    /// Seed of everything random, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What a device carries at a time, bytes: longer packets count as several segments; 0: none do
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    mtu: u32,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
    /// Print only what each rule did
    #[arg(long)]
    summary: bool,
}

/// Runs it; what becomes of the packets goes to stdout.
pub(super) fn run(args: &SimulateArgs) -> ExitCode {
    let color = status::color();
    let inputs = Inputs::read(&args.rules, args.cluster.as_deref(), &args.sets);
    let inputs =
        inputs.map(|inputs| Inputs { roles: Some(Roles::imagined()), seed: args.seed, ..inputs });
    let compiled = inputs.and_then(|inputs| Ok((inputs.clone().compile()?, inputs)));
    let (compiled, inputs) = match compiled {
        Ok(compiled) => compiled,
        Err(report) => return refuse(&report.render(color)),
    };
    status::put(&compiled.warnings.render(color));
    let pcap = args.pcap.display();
    let mut capture = match Capture::open(&args.pcap) {
        Ok(capture) => capture,
        Err(unread) => return refuse(&format!("raftq: {pcap}: {unread}\n")),
    };
    let names: Vec<_> = compiled.table.nodes.iter().map(|node| node.name.clone()).collect();
    let bind = |roles| Inputs { roles: Some(roles), ..inputs.clone() }.compile();
    let form = if args.json { Form::Json } else { Form::Text };
    let out = BufWriter::new(io::stdout().lock());
    let mut writer = Writer::new(out, form, args.summary, &names);
    let ended = Simulation::new(compiled.table, &bind, args.mtu)
        .and_then(|simulation| simulation.run(&mut capture, &mut writer))
        .and_then(|ended| Ok(writer.end(&ended)?));
    match ended {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(NEVER_MATCHED),
        // Whoever closed the pipe has read what they wanted.
        Err(Failure::Output(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(e)) => {
            status::put(&format!("raftq: the output cannot be written ({e})\n"));
            ExitCode::from(ENVIRONMENT)
        }
        Err(failure) => {
            // What was told until then is right, and comes before the error.
            drop(writer);
            match failure {
                Failure::Capture(unread) => refuse(&format!("raftq: {pcap}: {unread}\n")),
                Failure::Rules(why) => {
                    refuse(&format!("raftq: {}: {}\n", args.rules.display(), why.trim_end()))
                }
                Failure::Gap(number) => refuse(&format!(
                    "raftq: {pcap}: packet {number} comes more than 6 hours after the one before \
                     it\n  help: time is gone through as it was recorded: cut the capture there, \
                     or mend the packet's time\n"
                )),
                Failure::Output(_) => ExitCode::SUCCESS,
            }
        }
    }
}

fn refuse(why: &str) -> ExitCode {
    status::put(why);
    ExitCode::from(BAD_INPUT)
}
