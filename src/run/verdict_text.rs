//! A verdict for people: what was done to the cluster, what clients felt of it, what was
//! checked, and where to look next.

use super::experiment::WIRE;
use super::outcome::{HOLDS, NEVER_MATCHED, UNDECIDED, VIOLATED};
use super::tone::{Tone, paint};
use super::verdict::Summary;
use super::words::CheckVerdict;
use raftq_harness::clients::{Counts, Window};
use raftq_harness::history::Workload;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Things done to nodes that are told; a storm does hundreds.
const DONE_MAX: usize = 12;

/// The whole text; its last lines are the verdict.
#[must_use]
pub fn text(summary: &Summary, color: bool) -> String {
    let mut text = String::new();
    disturbed(&mut text, summary);
    felt(&mut text, summary);
    if let Some(wire) = &summary.network.wire {
        let _ = write!(text, "\nSeen on the wire:\n{}", wire.text());
    }
    checked(&mut text, summary, color);
    ended(&mut text, summary, color);
    text
}

fn disturbed(text: &mut String, summary: &Summary) {
    let (from, to) = summary.faults_ns;
    let took = seconds(to.saturating_sub(from));
    let Summary { nodes, adapter, network, done, .. } = summary;
    let _ = writeln!(text, "\nDone to {nodes} nodes of {adapter} in {took:.1} s:");
    for rule in &network.rules {
        let _ = writeln!(
            text,
            "  \"{}\": active {}x, {} packets matched, {} acted on",
            rule.name, rule.activations, rule.matched, rule.acted
        );
    }
    for one in done.iter().take(DONE_MAX) {
        let _ = writeln!(text, "  {:.1} s  {one}", one.t.as_secs_f64());
    }
    if done.len() > DONE_MAX {
        let _ = writeln!(text, "  and {} more, in events.jsonl", done.len() - DONE_MAX);
    }
    if network.rules.is_empty() && done.is_empty() {
        let _ = writeln!(text, "  nothing");
    }
    // Why a run is undecided may stand nowhere else.
    for warning in &network.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
}

fn felt(text: &mut String, summary: &Summary) {
    let _ = writeln!(text, "\nFelt by clients:");
    for (workload, counts) in &summary.calls {
        calls(text, *workload, counts);
    }
    let _ = writeln!(text, "  {}", writes(&summary.unavailable, summary.probed));
}

fn calls(text: &mut String, workload: Workload, counts: &Counts) {
    let [ok, failed, unknown] = counts.totals();
    let name = format!("{workload:?}").to_lowercase();
    let _ =
        write!(text, "  {name}: {ok} calls answered, {failed} surely not done, {unknown} unknown");
    let _ = match ok {
        0 => writeln!(text),
        _ => writeln!(
            text,
            "; half took under {:.1} ms, 99 % under {:.1} ms",
            counts.p50_us as f64 / 1e3,
            counts.p99_us as f64 / 1e3,
        ),
    };
    if let Some(why) = counts.error() {
        let times = counts.errors.get(why).copied().unwrap_or_default();
        let _ = writeln!(text, "  {name}: most often it was: {why} ({times} times)");
    }
}

/// How long writes did not succeed.
fn writes(windows: &[Window], (tried, succeeded): (u64, u64)) -> String {
    let length = |window: &Window| window.to - window.from;
    if tried == 0 {
        return "whether writes succeeded all the time was not asked".into();
    }
    if succeeded == 0 {
        return "no write ever succeeded".into();
    }
    let Some(longest) = windows.iter().max_by_key(|window| length(window)) else {
        return "never longer than 0.15 s without a successful write".into();
    };
    let mut told = format!("{:.2} s at most without a successful write", seconds(length(longest)));
    let all: u64 = windows.iter().map(length).sum();
    if windows.len() > 1 {
        let _ = write!(told, "; {} such times, {:.2} s together", windows.len(), seconds(all));
    }
    if windows.last().is_some_and(|last| !last.ended) {
        told += "; none succeeded any more at the end";
    }
    told
}

fn checked(text: &mut String, summary: &Summary, color: bool) {
    let mut by_promise: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (operation, promise) in &summary.promises {
        let word = |of: &dyn std::fmt::Debug| format!("{of:?}").to_lowercase();
        by_promise.entry(word(promise)).or_default().push(word(operation));
    }
    let promises: Vec<String> = by_promise
        .into_iter()
        .map(|(promise, operations)| format!("{}: {promise}", operations.join(", ")))
        .collect();
    let _ = writeln!(text, "\nChecked against what is promised ({}):", promises.join("; "));
    for finding in &summary.findings {
        let word = format!("{:9}", finding.verdict);
        let word = paint(&word, Tone::of_verdict(finding.verdict.word()), color);
        let _ = writeln!(text, "  {word} {:12} {}", finding.check, finding.detail);
    }
}

/// The verdict in a few lines, for whoever reads nothing else.
fn ended(text: &mut String, summary: &Summary, color: bool) {
    let Summary { verdict, scenario, seed, folder, exit_code, nodes, adapter, .. } = summary;
    let next = match *exit_code {
        HOLDS => "nothing contradicts what is promised; another seed does other things",
        VIOLATED => "the evidence stands above, and in summary.json; what nodes said, in nodes/",
        UNDECIDED => "what stands in the way of an answer is told above",
        NEVER_MATCHED => "what the rule was to meet never came; see events.jsonl",
        _ => "the host did not do its part; the reason stands above",
    };
    let word = paint(verdict.word(), Tone::of_verdict(verdict.word()), color);
    let _ = writeln!(text, "\n{word}: {scenario} with seed {seed}, {nodes} nodes of {adapter}");
    for verdict in [CheckVerdict::Violated, CheckVerdict::Undecided] {
        let of_word = summary.findings.iter().filter(|finding| finding.verdict == verdict);
        let checks: Vec<&str> = of_word.map(|finding| finding.check.as_str()).collect();
        if !checks.is_empty() {
            let word = verdict.word();
            let painted = paint(&format!("{word:9}"), Tone::of_verdict(word), color);
            let _ = writeln!(text, "  {painted} {}", counted(&checks));
        }
    }
    let _ = writeln!(text, "  {next}");
    let paths = summary.histories.iter().map(|(history, _)| format!("{folder}/{history}"));
    let wire = summary.network.wire.is_some().then(|| format!("{folder}/{WIRE}"));
    let judged: Vec<String> = paths.chain(wire).collect();
    let _ = writeln!(text, "  folder    {folder}");
    if !judged.is_empty() {
        let _ = writeln!(text, "  again     raftq check {}", judged.join(" "));
    }
}

/// Names in the order in which they came first, with how often where that is more than once.
fn counted(names: &[&str]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, n)) => *n += 1,
            None => counts.push((name, 1)),
        }
    }
    let told = counts.into_iter().map(|(name, n)| match n {
        1 => name.to_owned(),
        n => format!("{name} ({n}x)"),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn window(from: u64, to: u64, ended: bool) -> Window {
        Window { from: from * S, to: to * S, ended }
    }

    #[test]
    fn the_longest_time_without_a_write_is_told_and_what_came_of_it() {
        assert!(writes(&[], (0, 0)).contains("was not asked"));
        assert!(writes(&[window(0, 9, false)], (9, 0)).contains("no write ever succeeded"));
        assert!(writes(&[], (9, 9)).contains("never longer"));
        let one = writes(&[window(1, 3, true)], (9, 5));
        assert_eq!(one, "2.00 s at most without a successful write");
        let two = writes(&[window(1, 3, true), window(5, 6, false)], (9, 5));
        assert!(two.contains("2 such times, 3.00 s together"), "{two}");
        assert!(two.ends_with("at the end"), "{two}");
    }

    #[test]
    fn checks_that_failed_more_than_once_stand_once() {
        assert_eq!(counted(&["durable", "run", "durable"]), "durable (2x), run");
    }

    #[test]
    fn a_workload_without_an_answer_tells_why_and_no_times() {
        let mut counts = Counts::default();
        counts.errors.insert("no JSON".into(), 7);
        let mut text = String::new();
        calls(&mut text, Workload::Set, &counts);
        assert!(text.contains("no JSON (7 times)") && !text.contains("half"), "{text}");
    }
}
