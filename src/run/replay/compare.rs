//! How alike a run and its repetition are, read from their folders.
//!
//! Compared is what is meant to be the same. Clients are compared as far as both went: calls of
//! one client in their order, each by what is called, on which of the keys, and what is written.
//! Which life of a key it meets, and what a compare-and-set expects, hangs on the answers of the
//! system, and is left out.

use crate::rules::table::ProcessAction;
use crate::time::Nanos;
use raftq_harness::history::{Event, Function, Kind};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How far apart two starts may be that count as the same: the main thread starts what depends on
/// roles, and has other work.
const APART_MAX: Nanos = Nanos::from_millis(100);

/// Differences that are told.
const TOLD_MAX: usize = 8;

/// What came of comparing.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The folder of the run that was repeated.
    pub of: String,
    /// Starts and ends.
    pub schedule: Schedule,
    /// Calls, by history.
    pub calls: Vec<Calls>,
    /// What rules decided; only where both runs logged every packet.
    pub decisions: Option<Decisions>,
    /// The verdicts of both.
    pub verdicts: [Option<String>; 2],
}

/// Starts and ends of rules, faults and phases.
#[derive(Debug, Default, Serialize)]
pub struct Schedule {
    /// How many the run had.
    pub events: usize,
    /// How many of them were repeated, at the same time and about the same nodes.
    pub same: usize,
    /// How far the times of those are apart at most.
    pub apart_ns: u64,
    /// What differs, in words.
    pub differences: Vec<String>,
}

/// The calls of one workload.
#[derive(Debug, Serialize)]
pub struct Calls {
    /// Its file's name in both folders.
    pub history: String,
    /// Clients in both.
    pub clients: usize,
    /// Calls that both made, as far as each client went in both.
    pub common: usize,
    /// How many of them are alike, from each client's first on.
    pub alike: usize,
    /// How many each run made in all.
    pub made: [usize; 2],
    /// Where clients part.
    pub differences: Vec<String>,
}

/// What rules decided, packet by packet of each link.
#[derive(Debug, Serialize)]
pub struct Decisions {
    /// Packets of each run that a rule decided about.
    pub decided: [usize; 2],
    /// How many decisions are alike, from each link's first on.
    pub alike: usize,
}

impl Comparison {
    /// Compares the folders of two runs.
    #[must_use]
    pub fn of(first: &Path, second: &Path) -> Self {
        Self {
            of: first.display().to_string(),
            schedule: schedule(first, second),
            calls: calls(first, second),
            decisions: decisions(first, second),
            verdicts: [first, second].map(verdict),
        }
    }
}

/// A start or an end.
struct Edge {
    t: Nanos,
    nodes: Vec<String>,
}

/// Those of a run, by who and what, each in order.
type Edges = BTreeMap<(String, String), Vec<Edge>>;

fn schedule(first: &Path, second: &Path) -> Schedule {
    let (was, is) = (edges(first), edges(second));
    let mut result = Schedule::default();
    for (key @ (rule, what), was) in &was {
        let is = is.get(key).map_or(&[][..], Vec::as_slice);
        result.events += was.len();
        for (n, edge) in was.iter().enumerate() {
            let Some(other) = is.get(n) else {
                let seconds = edge.t.as_secs_f64();
                result.tell(format!("\"{rule}\" {what} at {seconds:.3} s: not repeated"));
                continue;
            };
            let apart = edge.t.0.abs_diff(other.t.0);
            let times = [edge.t, other.t].map(Nanos::as_secs_f64);
            if apart > APART_MAX.0 {
                let [then, now] = times;
                result.tell(format!("\"{rule}\" {what} at {now:.3} s, was at {then:.3} s"));
            } else if edge.nodes != other.nodes {
                let [now, then] = [other, edge].map(|edge| edge.nodes.join(", "));
                let at = times[1];
                result.tell(format!("\"{rule}\" {what} at {at:.3} s: {now}, was {then}"));
            } else {
                result.same += 1;
                result.apart_ns = result.apart_ns.max(apart);
            }
        }
    }
    for ((rule, what), is) in &is {
        let known = was.get(&(rule.clone(), what.clone())).map_or(0, Vec::len);
        for edge in is.iter().skip(known) {
            let seconds = edge.t.as_secs_f64();
            result.tell(format!("\"{rule}\" {what} at {seconds:.3} s: only now"));
        }
    }
    result
}

impl Schedule {
    fn tell(&mut self, difference: String) {
        self.differences.push(difference);
    }
}

fn edges(folder: &Path) -> Edges {
    let mut edges = Edges::new();
    for line in lines(&folder.join("events.jsonl")) {
        let (Some(rule), Some(what)) = (line["rule"].as_str(), line["what"].as_str()) else {
            continue;
        };
        let Some(kind) = kind(what) else { continue };
        let nodes = line["nodes"].as_array().into_iter().flatten();
        let nodes = nodes.filter_map(|node| node.as_str().map(str::to_owned)).collect();
        let edge = Edge { t: Nanos(line["t_ns"].as_u64().unwrap_or(0)), nodes };
        edges.entry((rule.to_owned(), kind.to_owned())).or_default().push(edge);
    }
    edges
}

/// What an event is, where it belongs to the schedule.
fn kind(what: &str) -> Option<&str> {
    match what {
        "active" | "ended" | "phase begins" | "phase ends" => return Some(what),
        _ if what.starts_with("bound: ") => return Some("bound"),
        _ if what.starts_with("over, ") => return Some("over"),
        _ => {}
    }
    let action = |action: &ProcessAction| {
        what.strip_prefix(action.name()).is_some_and(|rest| rest.starts_with(' '))
    };
    ProcessAction::ALL.iter().find(|it| action(it)).map(|it| it.name())
}

fn calls(first: &Path, second: &Path) -> Vec<Calls> {
    let entries = std::fs::read_dir(first).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("history") && name.strip_suffix(".jsonl").is_some())
        .collect();
    names.sort();
    names.into_iter().map(|name| calls_of(name, first, second)).collect()
}

fn calls_of(history: String, first: &Path, second: &Path) -> Calls {
    let [was, is] = [first, second].map(|folder| by_client(&folder.join(&history)));
    let made = [&was, &is].map(|clients| clients.values().map(Vec::len).sum());
    let mut result =
        Calls { history, clients: 0, common: 0, alike: 0, made, differences: Vec::new() };
    for (client, was) in &was {
        let Some(is) = is.get(client) else { continue };
        let common = was.len().min(is.len());
        let alike = was.iter().zip(is).take_while(|(a, b)| a == b).count();
        result.clients += 1;
        result.common += common;
        result.alike += alike;
        if alike < common {
            let (now, then) = (&is[alike], &was[alike]);
            let number = alike + 1;
            let told = format!("client {client}, call {number}: {now}, was {then}");
            result.differences.push(told);
        }
    }
    result
}

/// What each client called, in order; without the reads at the end.
fn by_client(history: &Path) -> BTreeMap<u64, Vec<String>> {
    let mut clients = BTreeMap::<u64, Vec<String>>::new();
    for line in lines(history).skip(1) {
        let Ok(event) = serde_json::from_value::<Event>(line) else { continue };
        if event.kind == Kind::Invoke && !event.is_final {
            let client = event.client.unwrap_or(event.process);
            clients.entry(client).or_default().push(called(&event));
        }
    }
    clients
}

/// A call without what hangs on the system's answers.
fn called(event: &Event) -> String {
    let key = event.key.as_deref().unwrap_or_default();
    // `k2.7/s0` is the eighth life of the third key.
    let (name, below) = key.find('/').map_or((key, ""), |at| key.split_at(at));
    let place = name.rsplit_once('.').map_or(name, |(place, _)| place);
    let value = match (&event.value, event.f) {
        (Value::Array(pair), Function::Cas) => pair.get(1).cloned().unwrap_or(Value::Null),
        (value, _) => value.clone(),
    };
    format!("{:?} {place}{below} {value}", event.f).to_lowercase()
}

fn decisions(first: &Path, second: &Path) -> Option<Decisions> {
    const TRACE: &str = "trace.jsonl";
    let paths = [first, second].map(|folder| folder.join(TRACE));
    if !paths.iter().all(|path| path.is_file()) {
        return None;
    }
    let [was, is] = paths.map(|path| by_link(&path));
    let decided = [&was, &is].map(|links| links.values().map(Vec::len).sum());
    let alike = was.iter().filter_map(|(link, was)| is.get(link).map(|is| (was, is)));
    let alike = alike.map(|(was, is)| was.iter().zip(is).take_while(|(a, b)| a == b).count());
    Some(Decisions { decided, alike: alike.sum() })
}

/// What rules decided on each link, in order.
fn by_link(trace: &Path) -> BTreeMap<[String; 2], Vec<[String; 2]>> {
    let mut links = BTreeMap::<_, Vec<_>>::new();
    for line in lines(trace) {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let (Some(from), Some(to), Some(rule), Some(verdict)) =
            (text("from"), text("to"), text("rule"), text("verdict"))
        else {
            continue;
        };
        links.entry([from, to]).or_default().push([rule, verdict]);
    }
    links
}

fn verdict(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("summary.json")).ok()?;
    let summary: Value = serde_json::from_str(&text).ok()?;
    summary["verdict"].as_str().map(str::to_owned)
}

/// The lines of a file that are JSON; none where there is no file. A run that was killed leaves the
/// last one cut.
fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let lines = File::open(path).ok().map(|file| BufReader::new(file).lines());
    let lines = lines.into_iter().flatten().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok())
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, schedule, calls, decisions, verdicts } = self;
        writeln!(f, "\nRepeated from {of}:")?;
        let apart = Nanos(schedule.apart_ns).0 as f64 / 1e6;
        writeln!(
            f,
            "  schedule: {} of {} starts and ends are the same, {apart:.1} ms apart at most",
            schedule.same, schedule.events
        )?;
        told(f, &schedule.differences)?;
        for one in calls {
            let Calls { history, clients, common, alike, made: [then, now], .. } = one;
            writeln!(
                f,
                "  calls: {alike} of {common} that {clients} clients made in both are the same \
                 ({now} now, {then} before; {history})"
            )?;
            told(f, &one.differences)?;
        }
        match decisions {
            Some(Decisions { decided: [then, now], alike }) => writeln!(
                f,
                "  decisions: {alike} are the same from the first of their link on ({now} now, \
                 {then} before): what comes\n             hangs on the system's own timing"
            )?,
            None => writeln!(
                f,
                "  decisions: not compared, since not both runs logged their packets (--trace)"
            )?,
        }
        let word = |verdict: &Option<String>| verdict.clone().unwrap_or("no verdict".into());
        let [then, now] = verdicts.each_ref().map(word);
        if then == now {
            writeln!(f, "  verdict: {now}, as before")
        } else {
            writeln!(f, "  verdict: {now}, was {then}")
        }
    }
}

fn told(f: &mut fmt::Formatter<'_>, differences: &[String]) -> fmt::Result {
    let mut text = String::new();
    for difference in differences.iter().take(TOLD_MAX) {
        let _ = writeln!(text, "    {difference}");
    }
    if let Some(more) = differences.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "    and {more} more");
    }
    f.write_str(&text)
}

#[cfg(test)]
mod tests;
