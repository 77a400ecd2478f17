//! `raftq lint`: checks rule files without privileges and prints what they mean.

use crate::rules::{self, Compiled, Inputs, Report, SetArg};
use crate::run::outcome::BAD_INPUT;
use crate::run::{repeat, status, verdict};
use serde_json::json;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `raftq lint`.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct LintArgs {
    /// Rule files
    #[arg(
        required_unless_present_any = [
            "schema",
            "scenario_schema",
            "adapter_schema",
            "summary_schema",
            "repeat_schema",
        ],
        value_name = "RULES.yaml"
    )]
    pub(super) files: Vec<PathBuf>,
    /// Take the cluster from this file, instead of the one in the rule files
    #[arg(long, value_name = "FILE")]
    pub(super) cluster: Option<PathBuf>,
    /// Say which nodes a group stands for (repeatable)
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    pub(super) sets: Vec<SetArg>,
    /// Print diagnostics and tables as one JSON document
    #[arg(long)]
    pub(super) json: bool,
    /// Print the JSON schema of rule files
    #[arg(long, hide = true)]
    pub(super) schema: bool,
    /// Print the JSON schema of scenario files
    #[arg(long, hide = true)]
    pub(super) scenario_schema: bool,
    /// Print the JSON schema of adapter files
    #[arg(long, hide = true)]
    pub(super) adapter_schema: bool,
    /// Print the JSON schema of a run's summary.json
    #[arg(long, hide = true)]
    pub(super) summary_schema: bool,
    /// Print the JSON schema of repeat.json
    #[arg(long, hide = true)]
    pub(super) repeat_schema: bool,
}

/// Runs it: tables go to stdout, diagnostics to stderr; 0, or 4 if a file has an error.
#[must_use]
pub(super) fn run(args: &LintArgs) -> ExitCode {
    if args.schema {
        return print(&rules::schema(), false);
    }
    if args.scenario_schema {
        return print(&rules::scenario::schema(), false);
    }
    if args.adapter_schema {
        return print(&raftq_harness::adapter::schema(), false);
    }
    if args.summary_schema {
        return print(&verdict::schema(), false);
    }
    if args.repeat_schema {
        return print(&repeat::schema(), false);
    }
    let inputs: Vec<Result<Inputs, Report>> = args
        .files
        .iter()
        .map(|path| Inputs::read(path, args.cluster.as_deref(), &args.sets))
        .collect();
    let concerned = concerned(&args.sets, &inputs);
    let compile = |inputs: Inputs| {
        let sets = inputs.sets.iter().filter(|set| {
            !concerned.contains(set.name()) || inputs.rules.text().contains(set.name())
        });
        // Who leads is known once a rule becomes active; here the first node stands for it.
        let roles = Some(rules::Roles::imagined());
        Inputs { sets: sets.cloned().collect(), roles, ..inputs }.compile()
    };
    let results = inputs.into_iter().map(|inputs| inputs.and_then(compile));
    let results: Vec<(&Path, Result<Compiled, Report>)> =
        args.files.iter().map(PathBuf::as_path).zip(results).collect();
    let failed = results.iter().any(|(_, result)| result.is_err());
    if args.json {
        let files = results.iter().map(|(path, result)| file_json(path, result));
        return print(&format!("{:#}\n", files.collect::<serde_json::Value>()), failed);
    }
    let color = status::color();
    let mut out = String::new();
    for (path, result) in &results {
        let report = match result {
            Ok(compiled) => {
                if !out.is_empty() {
                    out.push('\n');
                }
                let table = rules::matrix(&compiled.table);
                let _ = write!(out, "{}: {table}", path.display());
                &compiled.warnings
            }
            Err(report) => report,
        };
        // A closed stderr is no reason to fail: the exit code still tells.
        let _ = write_report(report, color);
    }
    print(&out, failed)
}

/// The groups of `--set` that some file mentions. Other files among many need not use them;
/// a group that no file mentions is misspelt, and each file says so.
fn concerned<'a>(sets: &'a [SetArg], inputs: &[Result<Inputs, Report>]) -> HashSet<&'a str> {
    let mentions =
        |name: &str| inputs.iter().flatten().any(|inputs| inputs.rules.text().contains(name));
    sets.iter().map(SetArg::name).filter(|name| mentions(name)).collect()
}

fn write_report(report: &Report, color: bool) -> std::io::Result<()> {
    if report.is_empty() {
        return Ok(());
    }
    writeln!(std::io::stderr(), "{}", report.render(color))
}

fn file_json(path: &Path, result: &Result<Compiled, Report>) -> serde_json::Value {
    let (table, report) = match result {
        Ok(compiled) => (Some(rules::table_json(&compiled.table)), &compiled.warnings),
        Err(report) => (None, report),
    };
    json!({ "file": path.display().to_string(), "diagnostics": report.json(), "table": table })
}

fn print(text: &str, failed: bool) -> ExitCode {
    put(text);
    if failed { ExitCode::from(BAD_INPUT) } else { ExitCode::SUCCESS }
}

/// Writes to stdout. Whoever closed the pipe has read what they wanted, which is no reason to
/// panic, as `print!` would.
pub(super) fn put(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
