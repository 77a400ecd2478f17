//! `raftq replay RUN`: a run again, from its folder.

use super::report;
use super::run::{self, Job};
use crate::run::replay::{Comparison, Recipe};
use crate::run::trace::{CAPTURE_MAX, CaptureWord};
use crate::run::{tone, verdict_text};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `raftq replay`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The folder of a run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The folder for the new run; runs/TIME-NAME without
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Log every packet of the fault phase, even if the run did not
    #[arg(long)]
    trace: bool,
    /// Which packets of the fault phase are captured in wire.pcapng; as in the run if not said
    #[arg(long, value_name = "WHICH")]
    capture: Option<CaptureWord>,
    /// The most bytes that wire.pcapng may have; what comes first is kept
    #[arg(long, value_name = "SIZE", default_value = CAPTURE_MAX,
        value_parser = crate::rules::size)]
    capture_max: u64,
    /// Print the result and the comparison as one JSON document on stdout
    #[arg(long)]
    json: bool,
    /// Tell only warnings and the result
    #[arg(long, short)]
    quiet: bool,
}

/// Repeats it, says what came of it and how alike the two are. It ends as the new run does.
pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    let recipe = Recipe::read(&args.run);
    let read = recipe.and_then(|recipe| Ok((recipe.replacements(&args.run)?, recipe)));
    let (replace, recipe) = match read {
        Ok(read) => read,
        Err(why) => return run::bad_input(&format!("raftq: {why}\n")),
    };
    let job = Job {
        scenario: Recipe::scenario_file(&args.run),
        replace,
        out: args.out.clone(),
        repeats: Some(args.run.display().to_string()),
        trace: recipe.trace || args.trace,
        capture: (args.capture.unwrap_or(recipe.capture), args.capture_max),
        listen: None,
        quiet: args.quiet,
    };
    let (summary, folder) = match run::perform(&job) {
        Ok(made) => made,
        Err(ended) => return ended.into(),
    };
    let compared = Comparison::of(&args.run, &folder);
    let report = report::line(&folder);
    let text = if args.json {
        let both = json!({ "run": &summary, "compared": &compared });
        serde_json::to_string_pretty(&both).unwrap_or_default() + "\n"
    } else {
        format!("{}{report}{compared}", verdict_text::text(&summary, tone::color(&io::stdout())))
    };
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(summary.exit_code)
}
