//! `raftq clean`: removes what killed raftqs left behind.

use crate::kernel::clean::clean;
use crate::run::outcome::ENVIRONMENT;
use std::process::ExitCode;

/// Remove everything that a killed raftq left behind, and nothing else.
#[derive(clap::Args, Debug)]
pub(super) struct CleanArgs {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Cleans, and says what was done.
#[must_use]
pub(super) fn run(args: &CleanArgs) -> ExitCode {
    let report = match clean() {
        Ok(report) => report,
        Err(trouble) => {
            eprintln!("raftq clean: {trouble}");
            return ExitCode::from(ENVIRONMENT);
        }
    };
    if args.json {
        println!("{:#}", serde_json::json!(report));
    } else {
        print!("{report}");
    }
    ExitCode::from(if report.clean() { 0 } else { ENVIRONMENT })
}
