//! `raftq run SCENARIO.yaml`: a whole experiment.

use super::{repeat, report};
use crate::kernel::clock;
use crate::rules::scenario::{Replacements, Scenario, TopologyWord};
use crate::rules::{Report, SetArg};
use crate::run::experiment::{Experiment, Failure};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT, UNDECIDED};
use crate::run::repeat::TIMES_MAX;
use crate::run::replay::Recipe;
use crate::run::trace::{CAPTURE_MAX, CaptureWord};
use crate::run::verdict::Summary;
use crate::run::{status, tone, verdict_text};
use raftq_harness::adapter::Adapter;
use raftq_harness::check::Budget;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `raftq run`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The scenario file
    #[arg(value_name = "SCENARIO.yaml")]
    scenario: PathBuf,
    /// Another system than the scenario's: a name in adapters/, with variants as in
    /// etcd:serializable, or a file
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Another number of nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=30))]
    nodes: Option<u32>,
    /// Where the nodes run
    #[arg(long, value_name = "WHERE")]
    topology: Option<TopologyWord>,
    /// A further argument for every node, such as --bug=stale-reads (repeatable)
    #[arg(long = "node-arg", value_name = "ARG", allow_hyphen_values = true)]
    node_args: Vec<String>,
    /// Serve the API (docs/openapi.yaml) at this loopback address, too, to whoever is on this host,
    /// during the fault phase; the control socket, for `raftq rules`, is there in any case
    #[arg(long, value_name = "127.0.0.1:PORT")]
    listen: Option<SocketAddr>,
    /// Say which nodes a group stands for (repeatable)
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    sets: Vec<SetArg>,
    /// Seed of everything random, instead of the file's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Make so many runs, each with a seed of its own, drawn from the first; say how often it was
    /// violated, and leave them in one folder (repeat.json, junit.xml, and a folder a run)
    #[arg(long, value_name = "N", value_parser = times())]
    pub(super) repeat: Option<u32>,
    /// The folder for this run; runs/TIME-NAME without
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Log every packet of the fault phase, too: trace.jsonl in the run's folder
    #[arg(long)]
    trace: bool,
    /// Which packets of the fault phase are written with their bytes, and what became of each:
    /// wire.pcapng in the run's folder, for Wireshark and tshark
    #[arg(long, value_name = "WHICH", default_value = "disturbed")]
    capture: CaptureWord,
    /// The most bytes that wire.pcapng may have; what comes first is kept
    #[arg(long, value_name = "SIZE", default_value = CAPTURE_MAX,
        value_parser = crate::rules::size)]
    capture_max: u64,
    /// Print the result as one JSON document on stdout
    #[arg(long)]
    pub(super) json: bool,
    /// Tell only warnings and the result
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// A run that is to be made.
#[derive(Clone)]
pub(super) struct Job {
    /// The scenario file.
    pub(super) scenario: PathBuf,
    /// What replaces values in it.
    pub(super) replace: Replacements,
    /// The folder, if one is named.
    pub(super) out: Option<PathBuf>,
    /// The folder of the run that it repeats.
    pub(super) repeats: Option<String>,
    /// Whether every packet is logged.
    pub(super) trace: bool,
    /// Which packets are captured, and the most bytes of them.
    pub(super) capture: (CaptureWord, u64),
    /// Where the API is served, too.
    pub(super) listen: Option<SocketAddr>,
    /// Whether only warnings and the result are told.
    pub(super) quiet: bool,
}

impl RunArgs {
    pub(super) fn job(&self) -> Job {
        Job {
            scenario: self.scenario.clone(),
            replace: Replacements {
                adapter: self.adapter.clone(),
                nodes: self.nodes,
                topology: self.topology,
                seed: self.seed,
                args: self.node_args.clone(),
                sets: self.sets.clone(),
                ..Replacements::default()
            },
            out: self.out.clone(),
            repeats: None,
            trace: self.trace,
            capture: (self.capture, self.capture_max),
            listen: self.listen,
            quiet: self.quiet,
        }
    }
}

/// How often a scenario may be repeated.
fn times() -> impl clap::builder::TypedValueParser<Value = u32> {
    clap::value_parser!(u32).range(1..=i64::from(TIMES_MAX))
}

/// Runs it, and says what came of it.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    if let Some(times) = args.repeat {
        return repeat::run(args, times);
    }
    match perform(&args.job()) {
        Ok((summary, folder)) => {
            let report = report::line(&folder);
            let color = tone::color(&io::stdout());
            let text = if args.json {
                summary.json()
            } else {
                verdict_text::text(&summary, color) + &report
            };
            // A reader that has gone away has seen what it wanted.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::from(summary.exit_code)
        }
        Err(ended) => ended.into(),
    }
}

/// Why there is no summary. It has been told.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code.
    pub(super) code: u8,
    /// In words.
    pub(super) why: String,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(ended.code)
    }
}

/// Runs it; what came of it, and its folder. Where nothing did, that is told.
pub(super) fn perform(job: &Job) -> Result<(Summary, PathBuf), Ended> {
    let (experiment, warnings) = prepare(job)?;
    status::put(&warnings);
    execute(experiment)
}

/// Checks everything that can be wrong before anything is started; and the warnings, for people.
pub(super) fn prepare(job: &Job) -> Result<(Experiment, String), Ended> {
    let (scenario, warnings) =
        Scenario::load(&job.scenario, &job.replace).map_err(|report| refuse(&report))?;
    let adapter = Adapter::load(&scenario.adapter)
        .map_err(|e| refuse(&scenario.refuse_adapter(&e.to_string())))?;
    let folder = job.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(format!("{}-{}", clock::stamp(), scenario.name))
    });
    if let Err(why) = is_free(&folder) {
        return Err(ended(&format!("{}: {why}", folder.display()), BAD_INPUT));
    }
    let recipe = Recipe::new(&scenario, &job.replace, job.trace);
    let experiment = Experiment {
        scenario,
        adapter,
        recipe: Recipe { repeats: job.repeats.clone(), capture: job.capture.0, ..recipe },
        folder,
        quiet: job.quiet,
        trace: job.trace,
        capture: job.capture,
        listen: job.listen,
        budget: Budget::default(),
    };
    experiment.check().map_err(|report| refuse(&report))?;
    Ok((experiment, warnings.render(status::color())))
}

/// Runs what was prepared.
pub(super) fn execute(experiment: Experiment) -> Result<(Summary, PathBuf), Ended> {
    match experiment.run() {
        Ok(summary) => Ok((summary, experiment.folder)),
        Err(Failure::Input(report)) => Err(refuse(&report)),
        Err(Failure::Environment(why)) => Err(ended(&why, ENVIRONMENT)),
        Err(Failure::Interrupted(why)) => {
            let told = if experiment.folder.exists() {
                report::line(&experiment.folder)
            } else {
                String::new()
            };
            Err(ended(format!("{why}\n{told}").trim_end(), UNDECIDED))
        }
    }
}

fn refuse(report: &Report) -> Ended {
    status::put(&report.render(status::color()));
    Ended { code: BAD_INPUT, why: report.render(false) }
}

/// Whether a folder is there to be filled: files of another run would be taken for this one's.
pub(super) fn is_free(folder: &Path) -> Result<(), String> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err("this folder has files in it already; name another --out".into()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            Err("this is a file; name a folder by --out".into())
        }
        Err(e) => Err(format!("{e}; name another --out")),
    }
}

fn ended(why: &str, code: u8) -> Ended {
    status::put(&format!("raftq: {why}\n"));
    Ended { code, why: why.to_owned() }
}

pub(super) fn bad_input(why: &str) -> ExitCode {
    status::put(why);
    ExitCode::from(BAD_INPUT)
}
