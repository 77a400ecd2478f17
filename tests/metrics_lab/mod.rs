//! Expositions of metrics: read line by line, judged by Prometheus' own `promtool`, and scraped by
//! Prometheus itself; and the queries of the dashboard.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of tests")]

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::process::{Launch, Process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program of Prometheus, where `make setup-dev` puts it.
fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/prometheus/usr/bin");
    let own = folder.join(name);
    if own.is_file() { own } else { name.into() }
}

/// `promtool` with these arguments and this input; fails the test where it finds anything.
pub fn must_please_promtool(args: &[&str], input: &str) {
    let mut command = Command::new(program("promtool"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is there; `make setup-dev` unpacks it");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{input}");
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A document in the text format.
#[derive(Debug, Default)]
pub struct Exposition {
    pub text: String,
    pub samples: Vec<Sample>,
    /// By the name of the metric.
    pub types: BTreeMap<String, String>,
}

impl Exposition {
    pub fn read(text: &str) -> Self {
        let mut all = Self { text: text.to_owned(), ..Self::default() };
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                let before = all.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} twice");
            } else if !line.starts_with('#') {
                let series = line.rsplit_once(' ').expect("a value").0;
                assert!(seen.insert(series.to_owned()), "{series} twice");
                all.samples.push(sample(line));
            }
        }
        all
    }

    /// The value of the series with these labels, all of them.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && sample.labels.len() == labels.len()
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|is| is == value))
        };
        self.samples.iter().find(has).map(|sample| sample.value)
    }

    /// The same, where it has to be there, as a whole number.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.get(name, labels);
        let value = value.unwrap_or_else(|| panic!("no {name} {labels:?}\n{}", self.text));
        value.to_string().parse().expect("a whole number")
    }

    /// Names of metrics with the labels that their series have, histograms by their samples.
    pub fn families(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Sample { name, labels, .. } in &self.samples {
            all.entry(name.clone()).or_default().extend(labels.keys().cloned());
        }
        all
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
    };
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}').expect("the end of the labels");
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"").expect("a label");
        let (mut value, mut chars) = (String::new(), quoted.chars());
        loop {
            match chars.next().expect("the end of a value") {
                '"' => break,
                '\\' => value.push(match chars.next().expect("an escaped character") {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(key.to_owned(), value);
        rest = chars.as_str().trim_start_matches(',');
    }
    Sample { name: name.to_owned(), labels, value }
}

/// An address at which nobody listens.
pub fn free() -> String {
    let one = TcpListener::bind("127.0.0.1:0").expect("a port");
    one.local_addr().expect("its address").to_string()
}

/// A Prometheus that scrapes one raftq; it ends with this.
pub struct Prometheus {
    at: String,
    process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one, and waits until it has scraped.
    pub fn start(raftq: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, at) = (folder.path().join("prometheus.yml"), free());
        let scrape = format!(
            "scrape_configs:\n  - job_name: raftq\n    scrape_interval: 200ms\n    \
             scrape_timeout: 200ms\n    static_configs: [{{ targets: [\"{raftq}\"] }}]\n"
        );
        fs::write(&config, scrape).expect("a file");
        let path = |name: &str| folder.path().join(name);
        let process = Process::spawn(Launch {
            name: "prometheus".into(),
            program: program("prometheus"),
            args: vec![
                format!("--config.file={}", config.display()).into(),
                format!("--storage.tsdb.path={}", path("data").display()).into(),
                format!("--web.listen-address={at}").into(),
            ],
            env: Vec::new(),
            netns: None,
            stdout: path("out"),
            stderr: path("err"),
            ended_by: Signal::SIGKILL,
        });
        let process = process.expect("`make setup-dev` unpacks it");
        let prometheus = Self { at, process, _folder: folder };
        let limit = Duration::from_secs(30);
        wait_for("a scrape", limit, Duration::from_millis(20), || {
            let up = prometheus.try_ask("up")?;
            (up["data"]["result"][0]["value"][1] == "1").then_some(())
        })
        .unwrap_or_else(|e| panic!("{e}: {}", prometheus.process.stderr()));
        prometheus
    }

    /// What it says to a query.
    pub fn ask(&self, query: &str) -> Value {
        self.try_ask(query).unwrap_or_else(|| panic!("no answer to {query}"))
    }

    fn try_ask(&self, query: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.at).ok()?;
        let body = format!("query={}", percent(query));
        let head = format!(
            "POST /api/v1/query HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A file of the project.
pub fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn dashboard() -> Value {
    serde_json::from_str(&read("docs/grafana/raftq.json")).expect("JSON")
}

/// Every query of the dashboard, with the legend of what it gives.
pub fn queries() -> Vec<(String, String)> {
    let board = dashboard();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let panels = board["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}
