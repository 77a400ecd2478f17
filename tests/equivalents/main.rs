//! Each line of `docs/equivalents.md` is a test: its rules compile without a warning, and do in
//! simulation what the other tool's documentation says of the option beside them.
//!
//! The packets are made here, the engine and its clock are the real ones, and everything is seeded:
//! a check says the same for good. Thresholds are those of `tests/statistics/`: a right
//! implementation passes by any seed in all but one of 10,000 cases.
//!
//! ```text
//! doc.rs     reads the tables;  figures.rs  alters rules, to see that it is noticed
//! checks.rs  what several tools have: delays, chances, bottlenecks;  cuts.rs  who is cut, and when
//! netem.rs   tc-netem and tc-tbf;  toxiproxy.rs  pumba.rs  chaos_mesh.rs
//! ```

mod chaos_mesh;
mod checks;
mod cuts;
mod doc;
mod figures;
mod netem;
mod pumba;
mod toxiproxy;

#[path = "../statistics/chain.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod chain;
#[path = "../engine_support/mod.rs"]
mod engine_support;
#[path = "../statistics/measure.rs"]
mod measure;
#[path = "../statistics/shapes.rs"]
mod shapes;

use checks::Check;
use doc::Line;
use std::collections::BTreeMap;
use std::path::Path;

fn document() -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/equivalents.md");
    doc::lines(&std::fs::read_to_string(path).expect("the tables are there"))
}

type Checks = Vec<(&'static str, Check)>;

/// The checks of each tool, by its heading.
fn all_checks() -> [(&'static str, Checks); 5] {
    [
        ("tc-netem", netem::checks()),
        ("tc-tbf", netem::tbf_checks()),
        ("Toxiproxy", toxiproxy::checks()),
        ("Pumba", pumba::checks()),
        ("Chaos Mesh", chaos_mesh::checks()),
    ]
}

/// Runs the checks of one tool, all of them, and tells every line that fails.
fn run(tool: &str) {
    let lines = document();
    let (_, checks) = all_checks().into_iter().find(|(name, _)| *name == tool).expect("a tool");
    let mut failed = Vec::new();
    for line in lines.iter().filter(|line| line.tool == tool && !line.rules.is_empty()) {
        let (_, check) = checks.iter().find(|(option, _)| *option == line.option).expect("checks");
        let run = std::panic::AssertUnwindSafe(|| check(line));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(line.option.as_str());
        }
    }
    assert!(failed.is_empty(), "{tool}: {failed:#?}");
}

#[test]
fn every_line_has_its_check_and_every_check_its_line() {
    let lines = document();
    let mut wrong = Vec::new();
    let mut checks: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (tool, of) in &all_checks() {
        for (option, _) in of {
            *checks.entry((tool, option)).or_default() += 1;
        }
    }
    for line in &lines {
        let checked = checks.remove(&(line.tool.as_str(), line.option.as_str())).unwrap_or(0);
        let has_something = !line.rules.is_empty() || !line.top.is_empty();
        match (has_something, line.none, checked) {
            (true, _, 1) | (false, true, 0) => {}
            (true, _, n) => wrong.push(format!("{}, {}: {n} checks", line.tool, line.option)),
            (false, ..) => {
                wrong.push(format!("{}, {}: neither a rule nor *None*", line.tool, line.option));
            }
        }
        if line.none && line.remark.is_empty() {
            wrong.push(format!("{}, {}: no reason why not", line.tool, line.option));
        }
    }
    wrong.extend(checks.keys().map(|(tool, option)| format!("{tool}, {option}: no line")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(lines.len() > 100, "only {} lines were read", lines.len());
}

#[test]
fn every_rule_compiles_without_a_warning() {
    let mut wrong = Vec::new();
    for line in document() {
        let roles = Some(engine_support::lab::led_by(1, 0));
        if let Err(why) = engine_support::lab::compile(&line.rules, &line.top, roles) {
            wrong.push(format!("{}, {}:\n{why}", line.tool, line.option));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A check is worth what it refuses: any figure of any rule halved, or one made three.
#[test]
fn a_figure_that_is_another_is_found_out() {
    let checks = all_checks();
    let (mut tried, mut missed) = (0, Vec::new());
    for line in document() {
        let Some((_, of)) = checks.iter().find(|(tool, _)| *tool == line.tool) else { continue };
        let Some((_, check)) = of.iter().find(|(option, _)| *option == line.option) else {
            continue;
        };
        for (rule, other) in figures::altered(&line.rules) {
            let mut rules = line.rules.clone();
            rules[rule].clone_from(&other);
            let led = Some(engine_support::lab::led_by(1, 0));
            if engine_support::lab::compile(&rules, &line.top, led).is_err() {
                continue;
            }
            let altered = Line { rules, ..line.clone() };
            tried += 1;
            let run = std::panic::AssertUnwindSafe(|| check(&altered));
            if std::panic::catch_unwind(run).is_ok() {
                missed.push(format!("{}, {}: {other}", line.tool, line.option));
            }
        }
    }
    assert!(missed.is_empty(), "of {tried} were not found out:\n{}", missed.join("\n"));
    assert!(tried > 150, "only {tried} figures");
}

#[test]
fn netem_does() {
    run("tc-netem");
}

#[test]
fn tbf_does() {
    run("tc-tbf");
}

#[test]
fn toxiproxy_does() {
    run("Toxiproxy");
}

#[test]
fn pumba_does() {
    run("Pumba");
}

#[test]
fn chaos_mesh_does() {
    run("Chaos Mesh");
}
