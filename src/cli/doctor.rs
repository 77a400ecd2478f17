//! `raftq doctor`: prints what the host lacks and how to mend it.

use super::lint::put;
use crate::kernel::chains::Spec;
use crate::kernel::doctor::{self, Finding, State};
use crate::kernel::foreign;
use crate::kernel::iptables::Flavour;
use crate::kernel::sched;
use crate::kernel::topology;
use crate::rules::table::Node;
use crate::rules::{Inputs, Report, SetArg};
use crate::run::outcome::{BAD_INPUT, ENVIRONMENT};
use crate::run::status;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say what this host lacks, and the command that mends it.
#[derive(clap::Args, Debug)]
pub(super) struct DoctorArgs {
    /// Also find this file's nodes, and rules of others that would take their packets.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Take the cluster from this file, instead of the one in the rule file.
    #[arg(long, value_name = "FILE", requires = "rules")]
    cluster: Option<PathBuf>,
    /// Say which nodes a group stands for (repeatable).
    #[arg(long = "set", value_name = "NAME=NODE,...", value_parser = SetArg::parse)]
    sets: Vec<SetArg>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs the checks: 0 where raftq can work here, 5 where it cannot.
#[must_use]
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let nodes = match args.rules.as_deref().map(|rules| nodes(rules, args)).transpose() {
        Ok(nodes) => nodes,
        Err(report) => {
            status::put(&report.render(false));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let mut findings = doctor::examine(|| sched::become_urgent().name());
    findings.extend(nodes.iter().flat_map(|nodes| cluster(nodes)));
    let fit = !findings.iter().any(Finding::stands_in_the_way);
    if args.json {
        put(&format!("{:#}\n", json!({ "fit": fit, "findings": findings })));
    } else {
        put(&text(&findings, fit));
    }
    ExitCode::from(if fit { 0 } else { ENVIRONMENT })
}

fn nodes(rules: &Path, args: &DoctorArgs) -> Result<Vec<Node>, Report> {
    let inputs = Inputs::read(rules, args.cluster.as_deref(), &args.sets)?;
    Ok(inputs.compile()?.table.nodes)
}

/// Where the nodes are, and whose rules are in the way.
fn cluster(nodes: &[Node]) -> Vec<Finding> {
    let plan = match topology::plan(nodes) {
        Ok(plan) => plan,
        Err(t) => return vec![Finding::missing("cluster", t.cause, &t.way_out)],
    };
    let mut all = vec![Finding::ok("cluster", plan.reason)];
    let Ok(flavour) = Flavour::found() else { return all };
    for site in &plan.sites {
        let spec = Spec { site, nodes, chain: "RAFTQ", queue: 0 };
        match foreign::warnings(&spec, flavour) {
            Ok(sentences) => all.extend(
                sentences
                    .into_iter()
                    .map(|sentence| Finding::missing("rules of others", sentence, "").optional()),
            ),
            Err(e) => all.push(
                Finding::unknown("rules of others", e.to_string(), "sudo raftq doctor").optional(),
            ),
        }
    }
    all
}

fn text(findings: &[Finding], fit: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match (finding.state, finding.needed) {
            (State::Ok, _) => "ok",
            (State::Missing, true) => "MISSING",
            (State::Missing, false) => "note",
            (State::Unknown, _) => "untried",
        };
        let _ = writeln!(text, "{state:8} {}: {}", finding.what, finding.detail);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "         -> {mend}");
        }
    }
    let summary = if fit { "raftq can work here" } else { "raftq cannot work here yet" };
    text + summary + "\n"
}
