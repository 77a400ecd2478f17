//! `raftq clean`: removes what killed raftqs left behind.

use crate::kernel::clean::clean;
use std::process::ExitCode;

/// Something stays, or could not be looked at.
const ENVIRONMENT: u8 = 5;

/// Remove everything that a killed raftq left behind, and nothing else.
#[derive(clap::Args, Debug)]
pub struct CleanArgs {
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Cleans, and says what was done.
#[must_use]
pub fn run(args: &CleanArgs) -> ExitCode {
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
