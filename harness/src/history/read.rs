//! Files to calls. What a file is shows in its first line; anything wrong is told with its place.
//!
//! - **JSON lines** as raftq writes them. A last line that is not whole is what a killed raftq
//!   leaves; it is left out, and told. Calls without an answer are unknown.
//! - **Jepsen's log** of one register: `... process :type :f value`, tab-separated. `:fail :cas`
//!   was decided: the register had another value. `:info` was never answered.
//! - **EDN** of key-value calls: `{:process 0, :type :invoke, :f :get, :key "k", :value nil}`;
//!   `append` adds to the end of a text.

use super::call::{Calls, Line, Pairing};
use super::{Function, Header, Kind, VERSION, Workload};
use crate::error::Context;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Which rules the values of a history follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Those of its header's workload.
    Workload,
    /// Texts by key, with `get`, `put` and `append`.
    Texts,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<(Calls, Model)> {
    let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let at = |place: Place, why: Error| {
        let column = place.column.map_or(String::new(), |column| format!("{column}:"));
        Error::new(format!("{}:{}:{column} {why}", path.display(), place.line))
    };
    if first.trim_start().starts_with('{') && first.contains("\"raftq_history\"") {
        return json_lines(&text, at).map(|calls| (calls, Model::Workload));
    }
    if first.trim_start().starts_with("{:") {
        return lines(&text, Workload::Register, edn_line, at).map(|calls| (calls, Model::Texts));
    }
    if first.contains(":invoke") {
        return lines(&text, Workload::Register, jepsen_line, at)
            .map(|calls| (calls, Model::Workload));
    }
    if first.is_empty() {
        return Err(Error::new(format!(
            "{} is empty: not even the header of a history is there",
            path.display()
        )));
    }
    Err(Error::new(format!(
        "{} is no history: it begins neither with {{\"raftq_history\": {VERSION}, ...}} nor like a \
         log of Jepsen's or EDN; `raftq run` writes history.jsonl into its run folder",
        path.display()
    )))
}

/// Where in a file something is wrong; both count from 1.
#[derive(Debug, Clone, Copy)]
struct Place {
    line: usize,
    column: Option<usize>,
}

impl Place {
    fn line(line: usize) -> Self {
        Self { line, column: None }
    }
}

/// What a line has to look like, for errors.
const EXAMPLE: &str = r#"{"t":1,"process":1,"type":"invoke","f":"read","key":"k"}"#;

fn json_lines(text: &str, at: impl Fn(Place, Error) -> Error) -> Result<Calls> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (i, first) = lines.next().ok_or_else(|| Error::new("empty"))?;
    let header: Header =
        serde_json::from_str(first).map_err(|e| wrong(i + 1, &e, "the header is wrong", &at))?;
    if header.raftq_history != VERSION {
        let what =
            format!("version {} of the format; this raftq reads {VERSION}", header.raftq_history);
        return Err(at(Place::line(i + 1), Error::new(what)));
    }
    let whole = text.ends_with('\n');
    let mut notes = Vec::new();
    let mut pairing = Pairing::default();
    let mut lines = lines.peekable();
    while let Some((i, line)) = lines.next() {
        match serde_json::from_str::<Line<'_>>(line) {
            Ok(line) => pairing.take(line).map_err(|e| at(Place::line(i + 1), e))?,
            Err(_) if lines.peek().is_none() && !whole => {
                notes.push(format!(
                    "line {}, the last, is cut off, as a killed raftq leaves it; it was left out",
                    i + 1
                ));
            }
            Err(e) => {
                let what = format!("no line of a history, such as {EXAMPLE}");
                return Err(wrong(i + 1, &e, &what, &at));
            }
        }
    }
    Ok(Calls { header, calls: pairing.finish(), notes })
}

/// An error of the parser, with its column; it counts lines within the one line it is given.
fn wrong(
    line: usize,
    e: &serde_json::Error,
    what: &str,
    at: impl Fn(Place, Error) -> Error,
) -> Error {
    let told = e.to_string();
    let told = told.split(" at line 1 column").next().unwrap_or_default();
    let place = Place { line, column: (e.column() > 0).then(|| e.column()) };
    at(place, Error::new(format!("{what}: {told}")))
}

/// A line of another tool's, or `None` for one that is about something else.
type Foreign = Result<Option<Line<'static>>>;

fn lines(
    text: &str,
    workload: Workload,
    read: impl Fn(u64, &str) -> Foreign,
    at: impl Fn(Place, Error) -> Error,
) -> Result<Calls> {
    let mut pairing = Pairing::default();
    for (i, line) in text.lines().enumerate() {
        let event = read(i as u64, line);
        let taken = event.and_then(|event| event.map_or(Ok(()), |event| pairing.take(event)));
        taken.map_err(|e| at(Place::line(i + 1), e))?;
    }
    let header = Header { raftq_history: VERSION, workload, promises: BTreeMap::new(), seed: 0 };
    Ok(Calls { header, calls: pairing.finish(), notes: Vec::new() })
}

fn event(
    t: u64,
    process: u64,
    kind: Kind,
    f: Function,
    key: String,
    value: Value,
) -> Line<'static> {
    Line {
        t,
        process,
        kind,
        f,
        key: Some(key.into()),
        value,
        done: true,
        is_final: false,
        node: None,
    }
}

fn kind(word: &str) -> Result<Kind> {
    Ok(match word {
        ":invoke" => Kind::Invoke,
        ":ok" => Kind::Ok,
        ":fail" => Kind::Fail,
        ":info" => Kind::Info,
        other => return Err(Error::new(format!("`{other}` is no type of a line"))),
    })
}

fn jepsen_line(t: u64, line: &str) -> Foreign {
    let Some((_, fields)) = line.split_once("jepsen.util - ") else { return Ok(None) };
    let fields: Vec<&str> = fields.split('\t').map(str::trim).collect();
    let [process, word, f, value] = fields.as_slice() else { return Ok(None) };
    let Ok(process) = process.parse() else { return Ok(None) };
    let kind = kind(word)?;
    let (f, value) = match *f {
        ":read" => (Function::Read, number(value)),
        ":write" => (Function::Write, number(value)),
        ":cas" => (Function::Cas, pair(value)),
        other => return Err(Error::new(format!("`{other}` is no call on a register"))),
    };
    let timed_out = fields[3] == ":timed-out";
    let mut event = event(t, process, kind, f, String::new(), value);
    if kind == Kind::Fail && f == Function::Cas && !timed_out {
        (event.kind, event.done) = (Kind::Ok, false);
    }
    Ok(Some(event))
}

fn number(text: &str) -> Value {
    text.parse::<i64>().map_or(Value::Null, |number| json!(number))
}

fn pair(text: &str) -> Value {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split_whitespace().map(number).collect()
}

fn edn_line(t: u64, line: &str) -> Foreign {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let field = |name: &str| {
        let rest = line.split_once(&format!(":{name} "))?.1;
        if let Some(text) = rest.strip_prefix('"') {
            return Some(text[..text.find('"')?].to_owned());
        }
        Some(rest.split([',', '}']).next()?.trim().to_owned())
    };
    let need = |name: &str| field(name).ok_or_else(|| Error::new(format!("no :{name}")));
    let process = need("process")?.parse().context(|| "the process".into())?;
    let value = match line.split_once(":value ") {
        Some((_, rest)) if rest.starts_with('"') => json!(need("value")?),
        _ => Value::Null,
    };
    let f = match need("f")?.as_str() {
        ":get" => Function::Read,
        ":put" => Function::Write,
        ":append" => Function::Append,
        other => return Err(Error::new(format!("`{other}` is no call on texts"))),
    };
    Ok(Some(event(t, process, kind(&need("type")?)?, f, need("key")?, value)))
}
