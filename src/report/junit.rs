//! `junit.xml`: a run as a suite of tests, for whoever runs raftq among other checks.
//!
//! A check is a test case. Violated is a failure. Undecided is an error, since a run that says
//! nothing must not look as if it had passed; where there was nothing to check the case is skipped.
//! Two cases are always there: `rules`, that each rule met something, and `run`, that nothing stood
//! in the way of an answer. So all is well here exactly where the exit code is 0.

use crate::run::experiment::{Experiment, Failure};
use crate::run::outcome::{HOLDS, NEVER_MATCHED};
use crate::run::verdict::{Finding, Summary};
use crate::run::words::CheckVerdict;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// Its name in a run's folder.
pub const JUNIT: &str = "junit.xml";

/// The findings about the run itself rather than about the cluster.
const RUN: &str = "run";

/// When a run was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its start, as RFC 3339 says; left out where that cannot be read.
    pub began: String,
    /// How long it took.
    pub took: Duration,
}

/// Several suites as one document.
#[must_use]
pub fn document(suites: impl IntoIterator<Item = TestSuite>) -> String {
    let mut report = Report::new("raftq");
    report.add_test_suites(suites);
    let timed: Vec<Duration> = report.test_suites.iter().filter_map(|suite| suite.time).collect();
    report.time = (!timed.is_empty()).then(|| timed.iter().sum());
    // Only a writer can fail, and a string does not.
    let text = report.to_string().unwrap_or_default();
    // Jenkins' schema (junit-10.xsd) allows this count on suites only, and refuses the whole file.
    text.replacen(&format!(" skipped=\"{}\"", report.skipped), "", 1)
}

/// Writes the document of one suite into the run's folder.
pub fn write(folder: &Path, suite: TestSuite) -> Result<(), String> {
    let path = folder.join(JUNIT);
    std::fs::write(&path, document([suite])).map_err(|e| format!("{}: {e}", path.display()))
}

/// The suites of a run's folder, as they were written; none where it has none that can be read.
#[must_use]
pub fn read(folder: &Path) -> Option<Vec<TestSuite>> {
    let text = std::fs::read_to_string(folder.join(JUNIT)).ok()?;
    Report::deserialize_from_str(&text).ok().map(|report| report.test_suites)
}

/// A run that left no document of its own.
#[must_use]
pub fn missing(name: &str, why: &str) -> TestSuite {
    let mut suite = TestSuite::new(name);
    let mut cases = Cases { classname: name.to_owned(), seen: HashMap::new() };
    suite.add_test_case(cases.case(RUN, error("failed", why)));
    suite
}

/// A run that was judged.
#[must_use]
pub fn suite(summary: &Summary, made: &Made) -> TestSuite {
    let named = [
        ("adapter", summary.adapter.clone()),
        ("nodes", summary.nodes.to_string()),
        ("node arguments", summary.args.join(" ")),
        ("verdict", summary.verdict.to_string()),
        ("exit code", summary.exit_code.to_string()),
        ("packets", summary.network.totals.packets.to_string()),
        ("topology", summary.network.topology.clone()),
        ("scheduling", summary.network.scheduling.to_string()),
    ];
    let mut suite = begin(&summary.scenario, summary.seed, &named, made);
    let mut cases = Cases { classname: summary.scenario.clone(), seen: HashMap::new() };
    for finding in summary.findings.iter().filter(|finding| finding.check != RUN) {
        suite.add_test_case(cases.of(finding));
    }
    suite.add_test_case(cases.case("rules", rules(summary)));
    let all_well = suite.failures + suite.errors == 0;
    suite.add_test_case(cases.case(RUN, run(summary, all_well)));
    suite
}

/// A run of which nothing was judged.
#[must_use]
pub fn failed(run: &Experiment, failure: &Failure, made: &Made) -> TestSuite {
    let scenario = &run.scenario;
    let named = [("adapter", run.adapter.name().to_owned()), ("nodes", scenario.nodes.to_string())];
    let mut suite = begin(&scenario.name, scenario.seed, &named, made);
    let (kind, why) = match failure {
        Failure::Environment(why) => ("failed", why.clone()),
        Failure::Interrupted(why) => ("undecided", why.clone()),
        Failure::Input(report) => ("bad input", report.render(false)),
    };
    let mut cases = Cases { classname: scenario.name.clone(), seen: HashMap::new() };
    suite.add_test_case(cases.case(RUN, error(kind, &why)));
    suite
}

fn begin(scenario: &str, seed: u64, named: &[(&str, String)], made: &Made) -> TestSuite {
    let mut suite = TestSuite::new(scenario);
    suite.timestamp = made.began.parse().ok();
    suite.set_time(made.took);
    suite.add_property(("scenario", scenario));
    suite.add_property(("seed", seed.to_string().as_str()));
    for (name, value) in named.iter().filter(|(_, value)| !value.is_empty()) {
        suite.add_property((*name, value.as_str()));
    }
    suite.add_property(("raftq", env!("CARGO_PKG_VERSION")));
    suite
}

/// Cases by name: with several workloads a check is made several times.
struct Cases {
    classname: String,
    seen: HashMap<String, u32>,
}

impl Cases {
    fn of(&mut self, finding: &Finding) -> TestCase {
        let status = match finding.verdict {
            CheckVerdict::Holds => TestCaseStatus::success(),
            CheckVerdict::Violated => {
                told(NonSuccessKind::Failure, finding.verdict.word(), &finding.detail)
            }
            CheckVerdict::Undecided => error(finding.verdict.word(), &finding.detail),
            CheckVerdict::NotMade => skipped(&finding.detail),
        };
        let mut case = self.case(&finding.check, status);
        if finding.verdict == CheckVerdict::Holds {
            case.set_system_out(finding.detail.as_str());
        }
        case
    }

    fn case(&mut self, name: &str, status: TestCaseStatus) -> TestCase {
        let seen = self.seen.entry(name.to_owned()).or_default();
        *seen += 1;
        let name = if *seen == 1 { name.to_owned() } else { format!("{name} {seen}") };
        let mut case = TestCase::new(name, status);
        case.set_classname(self.classname.as_str());
        case
    }
}

/// Whether each rule met something.
fn rules(summary: &Summary) -> TestCaseStatus {
    let rules = &summary.network.rules;
    let never = rules.iter().filter(|rule| rule.matched == 0 && !rule.optional);
    let never: Vec<&str> = never.map(|rule| rule.name.as_str()).collect();
    match never.as_slice() {
        [] if rules.is_empty() => skipped("no rule is about packets"),
        [] => TestCaseStatus::success(),
        _ if summary.network.interrupted => skipped("the run was ended before they could match"),
        names => error("never matched", &format!("never matched: {}", names.join(", "))),
    }
}

/// Whether anything stood in the way of an answer.
fn run(summary: &Summary, all_well: bool) -> TestCaseStatus {
    let network = &summary.network;
    let about_it = summary.findings.iter().filter(|finding| finding.check == RUN);
    let mut why: Vec<&str> = about_it.map(|finding| finding.detail.as_str()).collect();
    let passed = matches!(network.exit_code, HOLDS | NEVER_MATCHED);
    if !passed {
        why.extend(network.warnings.iter().map(String::as_str));
    }
    let unexplained = all_well && summary.exit_code != HOLDS;
    if why.is_empty() && passed && !unexplained {
        return TestCaseStatus::success();
    }
    let word = summary.verdict.word();
    if why.is_empty() { error(word, word) } else { error(word, &why.join("\n")) }
}

fn error(kind: &str, why: &str) -> TestCaseStatus {
    told(NonSuccessKind::Error, kind, why)
}

/// The first line as the message, and everything as the text.
fn told(kind: NonSuccessKind, word: &str, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(why.lines().next().unwrap_or_default());
    status.set_description(why);
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}
