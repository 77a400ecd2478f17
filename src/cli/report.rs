//! `raftq report RUN`: a run's report, made again from its folder. Several runs are compared.

use super::run::bad_input;
use crate::report;
use crate::report::compare::Comparison;
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT, HOLDS};
use crate::run::repeat::Repeat;
use crate::run::{status, tone};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `raftq report`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The folder of a run, or of an attached session. Several runs are compared; the folder of
    /// `raftq run --repeat` stands for all of its runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Compare with these runs; without, runs of one scenario, adapter, size and arguments are a
    /// group, and so is what --repeat made, and the first group is the baseline
    #[arg(long, value_name = "RUN", num_args = 1..)]
    baseline: Vec<PathBuf>,
    /// Where the report of one run goes; report.html in the folder without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the comparison as a page, too
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    html: Option<PathBuf>,
    /// Print all that the report is told as one JSON document on stdout, and write no report
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// Makes it, and says where it is; or compares.
pub(super) fn run(args: &ReportArgs) -> ExitCode {
    match args.runs.as_slice() {
        [folder] if args.baseline.is_empty() && !Repeat::is_there(folder) => {
            if args.html.is_some() {
                return bad_input(
                    "raftq: this is one run, and nothing to compare it with\n  help: --out names \
                     another file for its report; more runs, or --baseline, are compared\n",
                );
            }
            one(args, folder)
        }
        _ => several(args),
    }
}

/// Compares. What could not be read is told, and makes the end that of bad input, but does not keep
/// the others from being compared.
fn several(args: &ReportArgs) -> ExitCode {
    if args.out.is_some() {
        return bad_input(
            "raftq: --out is for the report of one run\n  help: --html names a page for the \
             comparison\n",
        );
    }
    let comparison = match Comparison::of(&args.baseline, &args.runs) {
        Ok(comparison) => comparison,
        Err(why) => return bad_input(&format!("raftq: {why}\n")),
    };
    if let Some(path) = &args.html {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let page = comparison.html(folder.unwrap_or(Path::new(".")));
        if let Err(e) = fs::write(path, page) {
            status::put(&format!("raftq: {}: {e}; name another file by --html\n", path.display()));
            return ExitCode::from(ENVIRONMENT);
        }
    }
    let text = if args.json {
        comparison.json()
    } else {
        comparison.text(status::width(), tone::color(&io::stdout()))
    };
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    for why in &comparison.unread {
        status::put(&format!("raftq: {why}\n"));
    }
    ExitCode::from(if comparison.unread.is_empty() { HOLDS } else { BAD_INPUT })
}

fn one(args: &ReportArgs, folder: &Path) -> ExitCode {
    let story = match report::tell(folder) {
        Ok(story) => story,
        Err(why) => return bad_input(&format!("raftq: {why}\n")),
    };
    let text = if args.json {
        serde_json::to_string(&story).unwrap_or_default() + "\n"
    } else {
        match report::write(&story, folder, args.out.as_deref()) {
            Ok(path) => format!("{}\n", path.display()),
            Err(why) => {
                status::put(&format!("raftq: {why}\n"));
                return ExitCode::from(ENVIRONMENT);
            }
        }
    };
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(HOLDS)
}

/// Makes the report of a run that has just ended, and says where it is. That it cannot be made is
/// told, and changes nothing else.
pub(super) fn line(folder: &Path) -> String {
    let made = report::tell(folder).and_then(|story| report::write(&story, folder, None));
    match made {
        Ok(path) => format!("  report    {}\n", path.display()),
        Err(why) => {
            status::put(&format!("raftq: warning: there is no report: {why}\n"));
            String::new()
        }
    }
}
