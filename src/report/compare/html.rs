//! A comparison as one page, without script and without network: it opens from a disk, prints, and
//! is read without colour.

use super::judge::Mark;
use super::measure::Side;
use super::text::{changed, interval};
use super::{Comparison, Group, MeasureRow, Measured};
use crate::report::{REPORT, html};
use minijinja::context;
use serde::Serialize;
use std::path::{Component, Path, PathBuf};

const TEMPLATE: &str = include_str!("page.html");

/// Pixels of a strip from its least value to its greatest.
const STRIP: f64 = 200.0;

/// Room at each end of it, so that no dot is cut.
const MARGIN: f64 = 6.0;

/// Pixels of a group's line in a strip.
const LINE: f64 = 14.0;

/// The page; links stand as seen from `folder`.
pub(super) fn page(comparison: &Comparison, folder: &Path) -> String {
    html::render(TEMPLATE, context! { view => View::new(comparison, folder) })
}

/// What the template is told; every text is ready.
#[derive(Serialize)]
struct View {
    title: String,
    raftq: &'static str,
    groups: Vec<GroupView>,
    single: bool,
    pair: bool,
    checks: Vec<RowView>,
    measures: Vec<RowView>,
    rules: Vec<RowView>,
    conclusions: Vec<(String, &'static str)>,
    notes: Vec<String>,
    unread: Vec<String>,
    lines: f64,
    nothing_else: &'static str,
}

#[derive(Serialize)]
struct GroupView {
    letter: String,
    name: String,
    runs: Vec<RunView>,
}

#[derive(Serialize)]
struct RunView {
    folder: String,
    link: Option<String>,
    seed: String,
    verdict: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct RowView {
    name: String,
    better: &'static str,
    cells: Vec<CellView>,
    change: String,
    interval: String,
    mark: &'static str,
    p: String,
    strip: Option<Strip>,
}

#[derive(Serialize)]
struct CellView {
    text: String,
    range: String,
    mark: &'static str,
}

/// Every run as a dot, a line a group.
#[derive(Serialize)]
struct Strip {
    least: String,
    most: String,
    told: String,
    dots: Vec<Dot>,
    ticks: Vec<Dot>,
}

#[derive(Serialize)]
struct Dot {
    x: f64,
    y: f64,
}

/// The measures that stand beside each run.
const BESIDE: [&str; 5] =
    ["recovery", "unavailable_longest", "latency_p99", "throughput_faults", "elections"];

impl View {
    fn new(comparison: &Comparison, folder: &Path) -> Self {
        let groups = &comparison.groups;
        let single = groups.iter().all(|group| group.runs.len() == 1);
        let pair = groups.len() == 2;
        let checks = comparison.checks.iter().map(|row| {
            let cells = row.verdicts.iter().enumerate().map(|(i, verdicts)| CellView {
                text: verdicts.text(),
                range: String::new(),
                mark: i.checked_sub(1).map_or("", |i| row.judged[i].mark.word_of_check()),
            });
            let p = row.judged.first().and_then(|judged| judged.adjusted_p);
            RowView { cells: cells.collect(), p: probability(p), ..RowView::of(&row.check) }
        });
        let rules = comparison.rules.iter().map(|row| {
            let told = row.did.iter().map(|did| did.map_or_else(|| "-".into(), |did| did.text()));
            let cell = |text| CellView { text, range: String::new(), mark: "" };
            RowView { cells: told.map(cell).collect(), ..RowView::of(&row.rule) }
        });
        let title = match groups.as_slice() {
            [] => "no run".to_owned(),
            groups => groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(" against "),
        };
        Self {
            title,
            raftq: env!("CARGO_PKG_VERSION"),
            groups: groups.iter().map(|group| GroupView::of(comparison, group, folder)).collect(),
            single,
            pair,
            checks: checks.collect(),
            measures: comparison.measures.iter().map(|row| measured(groups, row, pair)).collect(),
            rules: rules.collect(),
            conclusions: comparison
                .conclusions
                .iter()
                .map(|one| {
                    let sign = match (one.worse.is_empty(), one.better.is_empty()) {
                        (false, _) => "worse",
                        (true, false) => "better",
                        (true, true) => "none",
                    };
                    (one.said.clone(), sign)
                })
                .collect(),
            notes: comparison.notes.clone(),
            unread: comparison.unread.clone(),
            lines: LINE * groups.len() as f64,
            nothing_else: super::NOTHING_ELSE,
        }
    }
}

impl GroupView {
    fn of(comparison: &Comparison, group: &Group, folder: &Path) -> Self {
        let cells = |run: &Measured| {
            let unit = |key: &str| comparison.measures.iter().find(|row| row.measure == key);
            let told = BESIDE.iter().map(|key| {
                let value = run.measure(key).zip(unit(key));
                value.map_or_else(|| "-".into(), |(value, row)| row.unit.show(value))
            });
            told.collect()
        };
        let runs = group.runs.iter().map(|run| RunView {
            folder: run.folder.clone(),
            link: link(folder, Path::new(&run.folder)),
            seed: run.seed.to_string(),
            verdict: run.verdict.to_string(),
            cells: cells(run),
        });
        Self { letter: group.letter.clone(), name: group.name.clone(), runs: runs.collect() }
    }
}

impl RowView {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            better: "",
            cells: Vec::new(),
            change: String::new(),
            interval: String::new(),
            mark: "",
            p: String::new(),
            strip: None,
        }
    }
}

fn measured(groups: &[Group], row: &MeasureRow, pair: bool) -> RowView {
    let cells = row.spread.iter().enumerate().map(|(i, spread)| CellView {
        text: spread.map_or_else(|| "-".into(), |spread| row.unit.show(spread.median.0)),
        range: spread.filter(|spread| spread.runs > 1).map_or_else(String::new, |spread| {
            format!("{} to {}", row.unit.show(spread.least.0), row.unit.show(spread.most.0))
        }),
        mark: i.checked_sub(1).map_or("", |i| row.judged[i].mark.word()),
    });
    let judged = row.judged.first().filter(|_| pair);
    RowView {
        better: match row.better {
            Side::Lower => "less is better",
            Side::Higher => "more is better",
            Side::Neither => "",
        },
        cells: cells.collect(),
        change: judged.map_or_else(String::new, |judged| changed(row.unit, &row.spread, judged)),
        interval: judged.map_or_else(String::new, |judged| interval(row.unit, judged)),
        mark: judged.map_or("", |judged| match judged.mark {
            Mark::TooFew => "too few runs",
            mark => mark.word(),
        }),
        p: probability(judged.and_then(|judged| judged.adjusted_p)),
        strip: strip(groups, row),
        ..RowView::of(row.name)
    }
}

fn probability(p: Option<f64>) -> String {
    match p {
        None => String::new(),
        Some(p) if p < 0.001 => "p < 0.001".to_owned(),
        Some(p) => format!("p = {p:.3}"),
    }
}

/// All values on one line a group, from the least of all to the greatest; those that never came
/// stand at the far end.
fn strip(groups: &[Group], row: &MeasureRow) -> Option<Strip> {
    let values: Vec<Vec<f64>> = groups.iter().map(|group| group.values(row.measure)).collect();
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let least = finite().fold(f64::INFINITY, f64::min);
    let most = finite().fold(f64::NEG_INFINITY, f64::max);
    let never = values.iter().flatten().any(|value| value.is_infinite());
    if values.iter().map(Vec::len).sum::<usize>() < 2 || least > most {
        return None;
    }
    // A place of its own for what never came, behind all that did.
    let room = if never { STRIP - 30.0 } else { STRIP };
    let at = |value: f64| {
        let x = match value {
            value if value.is_infinite() => STRIP,
            value if most > least => room * (value - least) / (most - least),
            _ => room / 2.0,
        };
        ((x + MARGIN) * 10.0).round() / 10.0
    };
    let line = |i: usize| LINE * (i as f64 + 0.5);
    let dots = values
        .iter()
        .enumerate()
        .flat_map(|(i, values)| values.iter().map(move |value| Dot { x: at(*value), y: line(i) }));
    let ticks =
        row.spread.iter().enumerate().filter_map(|(i, spread)| {
            spread.map(|spread| Dot { x: at(spread.median.0), y: line(i) })
        });
    Some(Strip {
        least: row.unit.show(least),
        most: if never { "never".to_owned() } else { row.unit.show(most) },
        told: format!("{}: every run from {} on", row.name, row.unit.show(least)),
        dots: dots.collect(),
        ticks: ticks.collect(),
    })
}

/// From the page to a run's report, where there is one.
fn link(folder: &Path, run: &Path) -> Option<String> {
    let report = run.join(REPORT).canonicalize().ok()?;
    let here = folder.canonicalize().ok()?;
    let path = relative(&here, &report);
    // Each part by itself, so that a sign in a name is no part of the address.
    let part = |part: Component<'_>| {
        let text = part.as_os_str().to_string_lossy().into_owned();
        percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let parts = path.components().map(|one| match one {
        Component::ParentDir => "..".to_owned(),
        one => part(one),
    });
    Some(parts.collect::<Vec<_>>().join("/"))
}

/// The way from one absolute path to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn a_way_goes_up_to_what_paths_have_in_common_and_down_again() {
        let way = |from, to| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/a/b", "/a/b/run/report.html"), "run/report.html");
        assert_eq!(way("/a/b/c", "/a/d/report.html"), "../../d/report.html");
        assert_eq!(way("/", "/x"), "x");
    }
}
