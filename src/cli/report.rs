//! `raftq report RUN`: a run's report, made again from its folder.

use super::run::bad_input;
use crate::report;
use crate::run::outcome::{ENVIRONMENT, HOLDS};
use crate::run::status;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `raftq report`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The folder of a run, or of an attached session
    #[arg(value_name = "RUN", required = true, num_args = 1)]
    runs: Vec<PathBuf>,
    /// Where the report goes; report.html in the folder without
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print all that the report is told as one JSON document on stdout, and write no report
    #[arg(long, conflicts_with = "out")]
    json: bool,
}

/// Makes it, and says where it is.
pub(super) fn run(args: &ReportArgs) -> ExitCode {
    let [folder] = args.runs.as_slice() else {
        return bad_input("raftq: name one folder of a run\n");
    };
    one(args, folder)
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
