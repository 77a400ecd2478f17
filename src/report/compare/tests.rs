//! Comparisons of made-up runs: what is called better, what is not, and what is told beside.

use super::judge::Mark;
use super::measure::Reading;
use super::*;
use crate::run::words::RunVerdict;

/// A run with these measures, of the scenario `demo` on `embedded`.
pub(crate) fn run(folder: &str, measures: &[(&'static str, f64)]) -> Measured {
    Measured {
        folder: folder.to_owned(),
        kind: RunKind {
            scenario: "demo".into(),
            adapter: "embedded".into(),
            nodes: 3,
            args: Vec::new(),
        },
        seed: 7,
        verdict: RunVerdict::Holds,
        checks: [("durable".to_owned(), CheckVerdict::Holds)].into(),
        measures: measures.iter().map(|(key, value)| (*key, Reading(*value))).collect(),
        rules: vec![Did { rule: "cut".into(), activations: 1, matched: Some(60), acted: Some(54) }],
        lacks: Vec::new(),
        texts: [Some("a: scenario".into()), None],
        raftq: None,
    }
}

fn alone(run: Measured) -> Part {
    Part { path: run.folder.clone(), repeated: false, runs: vec![run], notes: Vec::new() }
}

fn repeated(path: &str, runs: Vec<Measured>) -> Part {
    Part { path: path.into(), repeated: true, runs, notes: Vec::new() }
}

/// So many runs whose recovery lies about `recovery` and whose latency says nothing.
fn several(path: &str, n: u32, recovery: f64) -> Part {
    let one = |i: u32| {
        let jitter = f64::from(i * 7 % n) / 100.0;
        run(
            &format!("{path}/{i}"),
            &[
                ("recovery", recovery + jitter),
                ("latency_p99", 20.0 + f64::from(i * 3 % n)),
                ("throughput_faults", 100.0 * recovery + jitter),
                ("elections", 2.0),
            ],
        )
    };
    repeated(path, (0..n).map(one).collect())
}

fn compared(parts: Vec<Part>) -> Comparison {
    Comparison::among(Vec::new(), parts, Vec::new())
}

fn mark(comparison: &Comparison, key: &str) -> Mark {
    let row = comparison.measures.iter().find(|row| row.measure == key);
    row.unwrap_or_else(|| panic!("{key}")).judged[0].mark
}

#[test]
fn a_difference_that_every_run_shows_is_told_and_its_side_is_the_right_one() {
    let comparison = compared(vec![several("old", 8, 2.0), several("new", 8, 1.0)]);
    assert_eq!(mark(&comparison, "recovery"), Mark::Better);
    // Half as many calls a second are worse.
    assert_eq!(mark(&comparison, "throughput_faults"), Mark::Worse);
    assert_eq!(mark(&comparison, "latency_p99"), Mark::WithinNoise);
    assert_eq!(mark(&comparison, "elections"), Mark::WithinNoise, "all alike is not too few");
    let [conclusion] = comparison.conclusions.as_slice() else { panic!("one") };
    assert_eq!(conclusion.better, ["recovery after healing"]);
    assert_eq!(conclusion.worse, ["calls under faults"]);
    assert_eq!(
        conclusion.said,
        "B against A: better: recovery after healing; worse: calls under faults"
    );
    let row = &comparison.measures[0];
    let (low, high) = row.judged[0].interval.expect("enough runs");
    assert!(low <= -1.0 && (-1.0..0.0).contains(&high), "{low} {high}");
    let back = compared(vec![several("new", 8, 1.0), several("old", 8, 2.0)]);
    assert_eq!(mark(&back, "recovery"), Mark::Worse);
    assert_eq!(mark(&back, "throughput_faults"), Mark::Better);
}

#[test]
fn noise_is_called_nothing_and_so_are_too_few_runs() {
    let same = compared(vec![several("a", 8, 1.0), several("b", 8, 1.0)]);
    assert!(same.conclusions[0].says_something);
    assert!(same.conclusions[0].said.contains("nothing differs beyond noise in 8 and 8 runs"));
    let few = compared(vec![several("a", 3, 1.0), several("b", 3, 9.0)]);
    assert_eq!(mark(&few, "recovery"), Mark::TooFew);
    assert!(!few.conclusions[0].says_something);
    assert!(few.conclusions[0].said.contains("3 and 3 runs: too few for a statement"));
    let single = compared(vec![
        alone(run("x", &[("recovery", 1.0)])),
        alone(run("y", &[("recovery", 9.0)])),
    ]);
    assert_eq!(single.groups.len(), 2, "two runs of one kind are shown side by side");
    assert_eq!(mark(&single, "recovery"), Mark::TooFew);
    assert!(single.conclusions[0].said.contains("one run each: no statement"));
}

/// One of twenty rows is out of line by chance in most comparisons of groups that are alike; with
/// the level of one row alone that would be called a difference.
#[test]
fn where_many_rows_are_looked_at_a_single_lucky_one_is_unclear() {
    let keys: Vec<&'static str> = MEASURES.iter().map(|measure| measure.key).collect();
    let group = |path: &str, lucky: f64| {
        let one = |i: usize| {
            let mut measures: Vec<(&'static str, f64)> = keys
                .iter()
                .enumerate()
                .map(|(k, key)| (*key, ((i * 5 + k * 3 + path.len()) % 7) as f64))
                .collect();
            measures[0].1 = lucky + i as f64;
            run(&format!("{path}{i}"), &measures)
        };
        repeated(path, (0..5).map(one).collect())
    };
    let comparison = compared(vec![group("a", 0.0), group("bb", 3.0)]);
    let judged = comparison.measures[0].judged[0];
    assert!(judged.p.expect("a test") < 0.06, "{judged:?}");
    assert_eq!(judged.mark, Mark::Unclear, "{judged:?}");
    assert_eq!(comparison.conclusions[0].unclear, ["recovery after healing"]);
    assert!(comparison.conclusions[0].better.is_empty(), "{:?}", comparison.conclusions);
    assert!(judged.adjusted_p > judged.p, "{judged:?}");
}

/// As five runs of a cluster have shown it whose elections took longer: one main measure without
/// any overlap is found among the six, however many others there are.
#[test]
fn five_runs_each_find_what_all_of_them_show() {
    let group = |path: &str, longest: [f64; 5]| {
        let one = |(i, longest): (usize, f64)| {
            let noise = |k: usize| ((i * 5 + k * 3 + path.len()) % 7) as f64;
            let others = MEASURES.iter().enumerate().map(|(k, m)| (m.key, noise(k)));
            let longest = ("unavailable_longest", longest);
            let measures: Vec<(&'static str, f64)> =
                others.filter(|(key, _)| *key != longest.0).chain([longest]).collect();
            run(&format!("{path}{i}"), &measures)
        };
        repeated(path, longest.into_iter().enumerate().map(one).collect())
    };
    let before = group("a", [0.53, 0.61, 0.68, 0.69, 0.67]);
    let comparison = compared(vec![before, group("bb", [1.34, 1.35, 1.16, 0.99, 1.06])]);
    assert_eq!(mark(&comparison, "unavailable_longest"), Mark::Worse);
    assert_eq!(comparison.conclusions[0].worse, ["longest without a write"]);
}

#[test]
fn what_never_recovers_is_worse_than_any_time() {
    let never = |path: &str| {
        let one = |i: u32| run(&format!("{path}{i}"), &[("recovery", f64::INFINITY)]);
        repeated(path, (0..6).map(one).collect())
    };
    let comparison = compared(vec![several("old", 6, 1.0), never("new")]);
    assert_eq!(mark(&comparison, "recovery"), Mark::Worse);
    assert_eq!(comparison.measures[0].judged[0].shift, None);
    let text = comparison.text(100, false);
    assert!(text.contains("never any more"), "{text}");
    assert!(comparison.json().contains("\"never\""));
}

#[test]
fn checks_that_fail_more_often_are_worse() {
    let with = |path: &str, violated: usize| {
        let one = |i: usize| {
            let mut run = run(&format!("{path}{i}"), &[]);
            if i < violated {
                run.checks.insert("durable".into(), CheckVerdict::Violated);
                run.verdict = RunVerdict::Violated;
            }
            run
        };
        repeated(path, (0..9).map(one).collect())
    };
    let comparison = compared(vec![with("old", 0), with("new", 8)]);
    let row = &comparison.checks[0];
    assert_eq!(row.verdicts[1], Verdicts { violated: 8, holds: 1, ..Verdicts::default() });
    assert_eq!(row.judged[0].mark, Mark::Worse);
    assert_eq!(comparison.conclusions[0].worse, ["durable"]);
    let text = comparison.text(100, false);
    assert!(text.contains("violated 8/9, holds 1/9 worse"), "{text}");
}

#[test]
fn single_runs_of_one_kind_are_a_group_and_other_kinds_another_one() {
    let other = |folder: &str| {
        let mut run = run(folder, &[("recovery", 1.0)]);
        run.kind.args = vec!["--bug=slow".into()];
        run
    };
    let parts = ["x", "y"].map(|folder| alone(run(folder, &[("recovery", 1.0)])));
    let mut parts: Vec<Part> = parts.into();
    parts.extend(["z", "w"].map(|folder| alone(other(folder))));
    let comparison = compared(parts);
    let names: Vec<(&str, usize)> =
        comparison.groups.iter().map(|group| (&*group.name, group.runs.len())).collect();
    assert_eq!(
        names,
        [("demo, 3 nodes of embedded", 2), ("demo, 3 nodes of embedded --bug=slow", 2)]
    );
    let told = comparison.notes.join("\n");
    assert!(told.contains("A and B are of different arguments: none and --bug=slow"), "{told}");
}

#[test]
fn a_baseline_is_what_somebody_says_it_is() {
    let (base, others) = (several("old", 5, 2.0), several("new", 5, 1.0));
    let comparison = Comparison::among(vec![base], vec![others], Vec::new());
    assert_eq!((&*comparison.groups[0].name, &*comparison.groups[1].name), ("old", "new"));
    // Single runs of one kind are told apart by it, too.
    let single = |folder: &str| alone(run(folder, &[("recovery", 1.0)]));
    let comparison = Comparison::among(
        vec![single("1"), single("2")],
        vec![single("3"), single("4"), single("5")],
        Vec::new(),
    );
    let sizes: Vec<usize> = comparison.groups.iter().map(|group| group.runs.len()).collect();
    assert_eq!(sizes, [2, 3]);
}

#[test]
fn other_scenarios_and_other_texts_are_told() {
    let mut other = run("y", &[("recovery", 1.0)]);
    other.kind.scenario = "storm".into();
    other.raftq = Some("9.9.9".into());
    other.lacks = vec!["no latencies and no throughput: it is gone".into()];
    let mut first = run("x", &[("recovery", 1.0)]);
    first.raftq = Some("0.1.0".into());
    let told = compared(vec![alone(first), alone(other)]).notes.join("\n");
    for part in ["different scenarios: demo and storm", "versions of raftq: 0.1.0 and 9.9.9"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("y: no latencies"), "{told}");
    let mut edited = run("y", &[]);
    edited.texts[0] = Some("a: nother".into());
    let told = compared(vec![alone(run("x", &[])), alone(edited)]).notes.join("\n");
    assert!(told.contains("scenario.yaml is not the same text"), "{told}");
}

#[test]
fn a_terminal_of_eighty_columns_holds_the_tables() {
    let comparison = compared(vec![several("old", 8, 2.0), several("new", 8, 1.0)]);
    let text = comparison.text(80, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in ["recovery after healing", "-50 %", "better", "1x, 54 of 60", "A: old (8 runs)"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let coloured = comparison.text(80, true);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text);
    // More groups than fit are counted.
    let many = (0..9).map(|i| several(&format!("g{i}"), 2, 1.0)).collect();
    let text = compared(many).text(80, false);
    assert!(text.contains("... and 3 groups more"), "{text}");
}

#[test]
fn the_page_says_the_same_and_hostile_names_do_nothing() {
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let mut parts = vec![several("old", 6, 2.0), several(hostile, 6, 1.0)];
    parts[1].runs[0].rules[0].rule = hostile.into();
    let page = compared(parts).html(Path::new("."));
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;"), "it is shown as it is");
    for part in [
        "<!doctype html>",
        "prefers-color-scheme: dark",
        "@media print",
        "recovery after healing",
        "better: recovery after healing",
        "<circle",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "it asks nobody");
    assert!(!page.contains("<link") && !page.contains("url("), "nor loads anything: {page}");
    // Every run is a dot of every measure that it has: four of them, twelve runs.
    assert_eq!(page.matches("<circle").count(), 4 * 12);
}

#[test]
fn a_folder_that_is_no_run_is_told_and_the_others_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/summaries/holds.json");
    let good = folder.path().join("good");
    std::fs::create_dir(&good).expect("a folder");
    std::fs::copy(summary, good.join("summary.json")).expect("a summary");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let comparison = Comparison::of(&[], &[good.clone(), empty.clone()]).expect("one is there");
    assert_eq!(comparison.groups.len(), 1);
    assert_eq!(comparison.unread.len(), 1);
    assert!(comparison.unread[0].contains("did not come to its end"), "{:?}", comparison.unread);
    assert!(comparison.notes.iter().any(|note| note.contains("no latencies")));
    let nothing = Comparison::of(&[], &[empty]).expect_err("nothing is there");
    assert!(nothing.contains("no run to compare") && nothing.contains("help:"), "{nothing}");
}
