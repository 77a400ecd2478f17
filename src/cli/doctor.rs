//! `raftq doctor`: prints what the host lacks and how to mend it.

use crate::kernel::chains::Spec;
use crate::kernel::doctor::{self, Finding, State};
use crate::kernel::foreign;
use crate::kernel::iptables::Flavour;
use crate::kernel::topology;
use crate::rules::table::Node;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The environment is not fit.
const ENVIRONMENT: u8 = 5;
/// The rule file is not.
const BAD_INPUT: u8 = 4;

/// Say what this host lacks, and the command that mends it.
#[derive(clap::Args, Debug)]
pub struct DoctorArgs {
    /// Also find this file's nodes, and rules of others that would take their packets.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Runs the checks. `load` reads the nodes of a rule file or gives the rendered errors;
/// `urgency` names the scheduling that the calling thread gets when it asks for the best.
#[must_use]
pub fn run(
    args: &DoctorArgs,
    load: impl FnOnce(&Path) -> Result<Vec<Node>, String>,
    urgency: impl FnOnce() -> &'static str + Send,
) -> ExitCode {
    let nodes = match args.rules.as_deref().map(load).transpose() {
        Ok(nodes) => nodes,
        Err(text) => {
            eprintln!("{}", text.trim_end());
            return ExitCode::from(BAD_INPUT);
        }
    };
    let mut findings = doctor::examine(urgency);
    findings.extend(nodes.iter().flat_map(|nodes| cluster(nodes)));
    let fit = !findings.iter().any(Finding::stands_in_the_way);
    if args.json {
        println!("{:#}", json!({ "fit": fit, "findings": findings }));
    } else {
        print(&findings, fit);
    }
    ExitCode::from(if fit { 0 } else { ENVIRONMENT })
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

fn print(findings: &[Finding], fit: bool) {
    for finding in findings {
        let state = match (finding.state, finding.needed) {
            (State::Ok, _) => "ok",
            (State::Missing, true) => "MISSING",
            (State::Missing, false) => "note",
            (State::Unknown, _) => "untried",
        };
        println!("{state:8} {}: {}", finding.what, finding.detail);
        if let Some(mend) = &finding.mend {
            println!("         -> {mend}");
        }
    }
    let summary = if fit { "raftq can work here" } else { "raftq cannot work here yet" };
    println!("{summary}");
}
