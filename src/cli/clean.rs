//! `raftq clean`: removes what killed raftqs left behind.

use super::lint::put;
use crate::kernel::clean::clean;
use crate::run::outcome::ENVIRONMENT;
use crate::run::status;
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
            status::put(&format!("raftq clean: {trouble}\n"));
            return ExitCode::from(ENVIRONMENT);
        }
    };
    let left = match raftq_harness::clean() {
        Ok(left) => left,
        Err(e) => {
            status::put(&format!("raftq clean: {e}\n"));
            return ExitCode::from(ENVIRONMENT);
        }
    };
    for what in &left {
        // For people; the document below is about packets.
        status::put(&format!("raftq clean: removed {what}, which a killed run left behind\n"));
    }
    if args.json {
        put(&format!("{:#}\n", serde_json::json!(report)));
    } else {
        put(&report.to_string());
    }
    ExitCode::from(if report.clean() { 0 } else { ENVIRONMENT })
}
