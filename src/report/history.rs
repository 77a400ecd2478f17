//! Clients' histories, read again: their calls for the page, and what they come to.

use super::clocks::{of_run, signed};
use super::events::Near;
use super::story::{Calls, ClientLane, ErrorCount, LoadInfo, Micros};
use super::thin::Thin;
use hdrhistogram::Histogram;
use raftq_harness::check::call_text;
use raftq_harness::history::{Call, Event, Function, Header, Kind};
use rustc_hash::FxHashMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

/// Calls that a page gets, of all histories together.
const CALLS_MAX: usize = 200_000;

/// Different keys that have a place of their own.
const KEYS_MAX: usize = 20_000;

/// Different errors that are told.
const ERRORS_MAX: usize = 16;

/// The longest text of an error, in characters.
const WHY_MAX: usize = 200;

/// A call that somebody wants to find: of which history, whose, and when it began.
pub(super) type Wanted = (usize, u64, u64);

/// All calls of a run.
#[derive(Debug)]
pub(super) struct Histories {
    thin: Thin<Row>,
    lanes: Lanes,
    functions: Names,
    keys: Names,
    nodes: FxHashMap<String, i64>,
    /// What each history comes to.
    pub(super) loads: Vec<LoadInfo>,
    /// What is wrong with files, in words.
    pub(super) troubles: Vec<String>,
    /// When the last line was written.
    pub(super) last: Micros,
}

/// One call.
#[derive(Debug)]
struct Row {
    begin_ns: u64,
    begin: Micros,
    end: Micros,
    lane: usize,
    f: usize,
    key: i64,
    outcome: u8,
    node: i64,
    text: Box<str>,
    /// Whose it is, where somebody wants to find it.
    process: u64,
    load: usize,
}

/// Everything for the page.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) calls: Calls,
    pub(super) lanes: Vec<ClientLane>,
    pub(super) functions: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) texts: Vec<String>,
    pub(super) found: FxHashMap<Wanted, usize>,
    pub(super) left_out: u64,
}

impl Histories {
    /// For a run of these nodes.
    pub(super) fn new(nodes: &[String]) -> Self {
        let place = |(i, name): (usize, &String)| (name.clone(), signed(i));
        Self {
            thin: Thin::new(CALLS_MAX),
            lanes: Lanes::default(),
            functions: Names::default(),
            keys: Names::default(),
            nodes: nodes.iter().enumerate().map(place).collect(),
            loads: Vec::new(),
            troubles: Vec::new(),
            last: 0,
        }
    }

    /// Reads one. `matters` says which calls to keep whatever is left out.
    pub(super) fn read(
        &mut self,
        folder: &Path,
        name: &str,
        near: &Near,
        matters: &dyn Fn(&Wanted) -> bool,
    ) {
        // It has its place, whatever is wrong with it.
        self.loads.push(LoadInfo { history: name.to_owned(), ..LoadInfo::default() });
        let trouble = match File::open(folder.join(name)) {
            Ok(file) => self.lines(BufReader::new(file), near, matters).err(),
            Err(e) => Some(e.to_string()),
        };
        self.troubles.extend(trouble.map(|why| format!("{name}: {why}")));
    }

    fn lines(
        &mut self,
        mut file: BufReader<File>,
        near: &Near,
        matters: &dyn Fn(&Wanted) -> bool,
    ) -> Result<(), String> {
        let mut line = String::new();
        let mut number = 0;
        let mut next = |line: &mut String| {
            line.clear();
            number += 1;
            file.read_line(line).map(|n| (n > 0).then_some(number)).map_err(|e| e.to_string())
        };
        next(&mut line)?;
        let header: Header =
            serde_json::from_str(&line).map_err(|e| format!("the header is wrong: {e}"))?;
        let load = self.loads.len() - 1;
        let mut open: FxHashMap<u64, Event> = FxHashMap::default();
        let mut tally = Tally::new();
        let mut wrong = Ok(());
        while let Some(number) = next(&mut line)? {
            let event: Event = match serde_json::from_str(&line) {
                Ok(event) => event,
                // Whoever was killed has left half a line.
                Err(_) if !line.ends_with('\n') => break,
                Err(_) if line.trim().is_empty() => continue,
                Err(e) => {
                    wrong = Err(format!("line {number}: {e}; what stands before it is shown"));
                    break;
                }
            };
            self.last = self.last.max(of_run(event.t));
            if event.kind == Kind::Invoke {
                open.insert(event.process, event);
            } else if let Some(begun) = open.remove(&event.process) {
                tally.count(&begun, Some(&event));
                self.call(load, &begun, Some(&event), near, matters);
            }
        }
        // In order of their beginning, so that the same file makes the same page.
        let mut rest: Vec<Event> = open.into_values().collect();
        rest.sort_by_key(|event| (event.t, event.process));
        for begun in &rest {
            tally.count(begun, None);
            self.call(load, begun, None, near, matters);
        }
        let clients = self.lanes.of(load);
        let workload = format!("{:?}", header.workload).to_lowercase();
        let known = &mut self.loads[load];
        *known = tally.load(workload, std::mem::take(&mut known.history), clients);
        wrong
    }

    fn call(
        &mut self,
        load: usize,
        begun: &Event,
        ended: Option<&Event>,
        near: &Near,
        matters: &dyn Fn(&Wanted) -> bool,
    ) {
        let at = of_run(begun.t);
        let outcome = outcome(ended);
        let end = ended.filter(|_| outcome < 2).map_or(-1, |ended| of_run(ended.t));
        let matters = matters(&(load, begun.process, begun.t)) || outcome > 0 || near.has(at);
        let lane = self.lanes.place(load, begun);
        let row = Row {
            begin_ns: begun.t,
            begin: at,
            end,
            lane,
            f: self.functions.place(&format!("{:?}", begun.f).to_lowercase(), usize::MAX),
            key: begun.key.as_ref().map_or(-1, |key| {
                let place = self.keys.place(key, KEYS_MAX);
                if place == usize::MAX { -1 } else { signed(place) }
            }),
            outcome,
            node: begun.node.as_ref().and_then(|node| self.nodes.get(node)).copied().unwrap_or(-1),
            text: text(begun, ended).into(),
            process: begun.process,
            load,
        };
        self.thin.push(matters, row);
    }

    /// All calls, in order of their beginning.
    pub(super) fn finish(self, wanted: &dyn Fn(&Wanted) -> bool) -> Read {
        let (mut rows, left_out) = self.thin.weighed();
        rows.sort_by_key(|(row, _)| (row.begin_ns, row.lane));
        let mut read = Read { left_out, lanes: self.lanes.all, ..Read::default() };
        (read.functions, read.keys) = (self.functions.all, self.keys.all);
        let mut texts = Names::default();
        for (i, (row, weight)) in rows.into_iter().enumerate() {
            let key = (row.load, row.process, row.begin_ns);
            if wanted(&key) {
                read.found.insert(key, i);
            }
            let calls = &mut read.calls;
            calls.begin.push(row.begin);
            calls.end.push(row.end);
            calls.lane.push(row.lane);
            calls.f.push(row.f);
            calls.key.push(row.key);
            calls.outcome.push(row.outcome);
            calls.node.push(row.node);
            calls.text.push(texts.place(&row.text, usize::MAX));
            if left_out > 0 {
                calls.weight.push(weight);
            }
        }
        read.texts = texts.all;
        read
    }
}

/// 0 answered, 1 surely not done, 2 unknown.
fn outcome(ended: Option<&Event>) -> u8 {
    match ended.map(|ended| ended.kind) {
        Some(Kind::Ok) => 0,
        Some(Kind::Fail) => 1,
        _ => 2,
    }
}

/// A call as a person would say it.
fn text(begun: &Event, ended: Option<&Event>) -> String {
    let is_ok = ended.is_some_and(|ended| ended.kind == Kind::Ok);
    let answer = ended.filter(|_| is_ok).map_or(Value::Null, |ended| ended.value.clone());
    let only_reads = matches!(begun.f, Function::Read | Function::List);
    let said = if only_reads && !is_ok {
        let key = begun.key.as_deref().unwrap_or_default();
        format!("{:?} {key}", begun.f).to_lowercase().trim_end().to_owned()
    } else {
        let call = Call {
            process: begun.process,
            f: begun.f,
            key: Arc::from(begun.key.as_deref().unwrap_or_default()),
            asked: begun.value.clone(),
            answer,
            kind: ended.map_or(Kind::Info, |ended| ended.kind),
            done: ended.is_none_or(|ended| ended.done),
            begin: begun.t,
            end: None,
            is_final: begun.is_final,
            node: None,
        };
        call_text(&call, true)
    };
    let why = ended.and_then(|ended| ended.error.as_deref());
    match (outcome(ended), why) {
        (0, _) => said,
        (1, Some(why)) => format!("{said}: not done, {}", shortened(why)),
        (1, None) => format!("{said}: not done"),
        (_, Some(why)) => format!("{said}: unknown, {}", shortened(why)),
        (_, None) => format!("{said}: unknown, never answered"),
    }
}

fn shortened(why: &str) -> String {
    why.chars().take(WHY_MAX).collect()
}

/// Names, each with its place.
#[derive(Debug, Default)]
struct Names {
    all: Vec<String>,
    places: FxHashMap<String, usize>,
}

impl Names {
    /// Where a name stands; `usize::MAX` for one that there is no room for any more.
    fn place(&mut self, name: &str, max: usize) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        if self.all.len() >= max {
            return usize::MAX;
        }
        self.all.push(name.to_owned());
        self.places.insert(name.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// A lane for each client; whoever reads everything back at the end has one as well.
#[derive(Debug, Default)]
struct Lanes {
    all: Vec<ClientLane>,
    places: FxHashMap<(usize, Option<u64>), usize>,
}

impl Lanes {
    fn place(&mut self, load: usize, begun: &Event) -> usize {
        let client = (!begun.is_final).then_some(begun.client.unwrap_or(begun.process));
        *self.places.entry((load, client)).or_insert_with(|| {
            let name = client.map_or("read back".to_owned(), |client| format!("client {client}"));
            self.all.push(ClientLane { name, load });
            self.all.len() - 1
        })
    }

    /// How many clients a load has.
    fn of(&self, load: usize) -> usize {
        self.places.keys().filter(|(of, client)| *of == load && client.is_some()).count()
    }
}

/// What the calls of a history come to; the reads at the end are none of the clients'.
struct Tally {
    outcomes: [u64; 3],
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    fn new() -> Self {
        let latency = Histogram::new(3).expect("three digits are possible");
        Self { outcomes: [0; 3], latency, errors: BTreeMap::new() }
    }

    fn count(&mut self, begun: &Event, ended: Option<&Event>) {
        if begun.is_final {
            return;
        }
        let outcome = outcome(ended);
        self.outcomes[usize::from(outcome)] += 1;
        if let (0, Some(ended)) = (outcome, ended) {
            // It grows as it must; a call of centuries does not happen.
            let _ = self.latency.record(ended.t.saturating_sub(begun.t) / 1_000);
        }
        if let Some(why) = ended.and_then(|ended| ended.error.as_deref()) {
            let why = shortened(why);
            let known = self.errors.len() < ERRORS_MAX || self.errors.contains_key(&why);
            let why = if known { why } else { "other errors".to_owned() };
            *self.errors.entry(why).or_default() += 1;
        }
    }

    fn load(self, workload: String, history: String, clients: usize) -> LoadInfo {
        let mut errors: Vec<ErrorCount> =
            self.errors.into_iter().map(|(why, times)| ErrorCount { why, times }).collect();
        errors.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.why.cmp(&b.why)));
        let at = |quantile| signed(self.latency.value_at_quantile(quantile));
        let [ok, failed, unknown] = self.outcomes;
        LoadInfo {
            workload,
            history,
            clients,
            ok,
            failed,
            unknown,
            p50: at(0.5),
            p99: at(0.99),
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    const HISTORY: &str = r#"{"raftq_history":1,"workload":"register","seed":7}
{"t":1000,"process":1,"type":"invoke","f":"write","key":"a","value":"1","node":"n1"}
{"t":2000,"process":2,"type":"invoke","f":"read","key":"a","node":"n2"}
{"t":4000000,"process":2,"type":"ok","f":"read","key":"a","value":"1","node":"n2"}
{"t":5000000,"process":1,"type":"info","f":"write","key":"a","value":"1","error":"no answer"}
{"t":6000000,"process":3,"client":1,"type":"invoke","f":"cas","key":"b","value":["1","2"]}
{"t":7000000,"process":3,"client":1,"type":"fail","f":"cas","key":"b","error":"refused"}
{"t":8000000,"process":4,"type":"invoke","f":"read","key":"a","final":true}
{"t":9000000,"process":4,"type":"ok","f":"read","key":"a","value":"1","final":true}
{"t":9500000,"process":2,"type":"invoke","f":"read","key":"b"}
{"t":9600000,"process":2,"type":"o"#;

    fn read(text: &str) -> (Read, Vec<LoadInfo>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("history.jsonl"), text).expect("a file");
        let mut all = Histories::new(&["n1".into(), "n2".into()]);
        let matters = |wanted: &Wanted| *wanted == (0, 2, 2_000);
        all.read(folder.path(), "history.jsonl", &Near::default(), &matters);
        let (loads, troubles) = (all.loads.clone(), all.troubles.clone());
        (all.finish(&matters), loads, troubles)
    }

    #[test]
    fn calls_are_paired_by_process_and_stand_in_lanes_by_client() {
        let (read, loads, troubles) = read(HISTORY);
        assert_eq!(troubles, Vec::<String>::new(), "half a line is what a killed raftq leaves");
        let Calls { begin, end, lane, outcome, node, .. } = &read.calls;
        assert_eq!(*begin, [1, 2, 6_000, 8_000, 9_500]);
        assert_eq!(*end, [-1, 4_000, 7_000, 9_000, -1]);
        assert_eq!(*outcome, [2, 0, 1, 0, 2]);
        assert_eq!(*node, [0, 1, -1, -1, -1]);
        let lanes: Vec<&str> = lane.iter().map(|i| read.lanes[*i].name.as_str()).collect();
        assert_eq!(lanes, ["client 1", "client 2", "client 1", "read back", "client 2"]);
        let texts: Vec<&str> = read.calls.text.iter().map(|i| read.texts[*i].as_str()).collect();
        let expected = [
            "write a = 1: unknown, no answer",
            "read a: 1",
            "set b from 1 to 2: not done, refused",
            "read a: 1",
            "read b: unknown, never answered",
        ];
        assert_eq!(texts, expected);
        assert_eq!(read.found, FxHashMap::from_iter([((0, 2, 2_000), 1)]));
        let load = &loads[0];
        assert_eq!((load.clients, load.ok, load.failed, load.unknown), (2, 1, 1, 2));
        assert_eq!((load.p50, load.errors.len()), (3_999, 2));
    }

    #[test]
    fn calls_stand_for_those_that_are_left_out() {
        let mut text = HISTORY.lines().next().expect("a header").to_owned() + "\n";
        for i in 0..1_000 {
            let (begin, end) = (1_000_000 * i + 1_000, 1_000_000 * i + 900_000);
            let kind = if i % 100 == 0 { "fail" } else { "ok" };
            let call = r#""process":1,"f":"read","key":"a","node":"n1""#;
            writeln!(text, r#"{{"t":{begin},"type":"invoke",{call}}}"#).expect("a text grows");
            writeln!(text, r#"{{"t":{end},"type":"{kind}",{call}}}"#).expect("a text grows");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("history.jsonl"), text).expect("a file");
        let read = |max| {
            let mut all = Histories::new(&["n1".into()]);
            all.thin = Thin::new(max);
            all.read(folder.path(), "history.jsonl", &Near::default(), &|_| false);
            assert_eq!(all.troubles, Vec::<String>::new());
            all.finish(&|_| false)
        };
        let whole = read(1_000);
        assert_eq!((whole.left_out, whole.calls.begin.len()), (0, 1_000));
        assert!(whole.calls.weight.is_empty(), "each stands for itself");

        let Read { calls, left_out, .. } = read(100);
        assert_eq!(calls.weight.len(), calls.begin.len());
        assert_eq!(calls.begin.len() as u64 + left_out, 1_000);
        let sum = |outcome: u8| -> u32 {
            let of = |(_, o): &(&u32, &u8)| **o == outcome;
            calls.weight.iter().zip(&calls.outcome).filter(of).map(|(weight, _)| weight).sum()
        };
        assert_eq!(sum(1), 10, "failed ones are all there");
        assert!((990..1_022).contains(&sum(0)), "{} for 990", sum(0));
    }

    #[test]
    fn a_broken_line_is_told_with_its_place_and_what_stands_before_it_is_shown() {
        let mut lines: Vec<&str> = HISTORY.lines().collect();
        lines[4] = "}";
        let (read, _, troubles) = read(&lines.join("\n"));
        assert_eq!(read.calls.begin.len(), 2);
        assert!(troubles[0].starts_with("history.jsonl: line 5: "), "{troubles:?}");
    }
}
