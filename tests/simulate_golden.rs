//! Rules over real captures: each file in `tests/golden/simulate/` names its capture and says what
//! comes of it. Where it says so the whole output is written out; else its events and its end, and
//! digests of all lines, as text and as JSON, which are the same on every machine.
//!
//! `UPDATE_GOLDEN=1` writes what comes of them now; read the difference before you keep it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xxhash_rust::xxh3::xxh3_64;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn simulate(rules: &Path, pcap: &Path, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_raftq"))
        .arg("simulate")
        .args([rules, pcap])
        .args(more)
        .output()
        .expect("raftq can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", rules.display());
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// What a rule file comes to, in short.
fn render(rules: &Path) -> String {
    let text = fs::read_to_string(rules).expect("a rule file");
    let pcap = text.lines().next().and_then(|line| line.strip_prefix("# pcap: "));
    let pcap = tests().join("pcaps").join(format!("{}.pcap", pcap.expect("it names a capture")));
    let all = simulate(rules, &pcap, &[]);
    let json = simulate(rules, &pcap, &["--json"]);
    assert_eq!(all, simulate(rules, &pcap, &[]), "the same twice");
    let lines = all.lines().filter(|line| !line.is_empty());
    for line in json.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is an object");
    }
    if text.contains("\n# Written out whole") {
        return all;
    }
    let is_event = |line: &&str| line.get(22..24) == Some("* ");
    let mut out: String = lines.clone().filter(is_event).fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{}", line.trim_start());
        out
    });
    let _ = writeln!(out);
    out += &simulate(rules, &pcap, &["--summary"]);
    let (text, json_digest) = (xxh3_64(all.as_bytes()), xxh3_64(json.as_bytes()));
    let _ = writeln!(out, "\n{} lines: {text:016x}, as JSON {json_digest:016x}", lines.count());
    out
}

#[test]
fn the_same_packets_rules_and_seed_give_the_same_output() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let folder = tests().join("golden/simulate");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the rule files are there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 5, "only {} rule files were found", names.len());
    let mut wrong = Vec::new();
    for rules in names {
        let got = render(&rules);
        let path = rules.with_extension("txt");
        if update {
            fs::write(&path, &got).expect("the text can be written");
            continue;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        if got != wanted {
            let same = wanted.lines().zip(got.lines()).take_while(|(a, b)| a == b).count();
            let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
            wrong.push(format!(
                "{} line {}\n- {}\n+ {}",
                path.display(),
                same + 1,
                line(&wanted),
                line(&got)
            ));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 would write\n\n{}", wrong.join("\n"));
}

#[test]
fn another_seed_draws_anew() {
    let rules = tests().join("golden/simulate/delays-keep-order-and-drops-come-first.yaml");
    let pcap = tests().join("pcaps/raftrs-0-startup.pcap");
    let seeds = ["3", "4", "5"].map(|seed| simulate(&rules, &pcap, &["--seed", seed]));
    assert_eq!(seeds[0], simulate(&rules, &pcap, &[]), "3 is the file's own");
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2]);
}

#[test]
fn a_group_may_be_given() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules.yaml");
    let text = "cluster: { nodes: { n1: 10.77.0.1:7000, n3: 10.77.0.3:7000 } }\n\
                groups: { victim: }\n\
                rules: [{ name: cut, from: victim, to: any, do: { drop: { what: packets } } }]\n";
    fs::write(&rules, text).expect("a temporary file");
    let pcap = tests().join("pcaps/raftrs-0-startup.pcap");
    let of = |victim: &str| simulate(&rules, &pcap, &["--set", victim]);
    assert!(of("victim=n1").contains("n1 -> n3  dropped  \"cut\""));
    assert!(!of("victim=n1").contains("n3 -> n1  dropped"));
    assert!(of("victim=n3").contains("n3 -> n1  dropped  \"cut\""));
}
