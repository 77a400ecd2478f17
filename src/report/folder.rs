//! Which folder is one of a run, and what is in it.

use super::junit::JUNIT;
use super::story::FileInfo;
use super::trace::TRACE;
use crate::run::experiment::{PCAP, WIRE};
use crate::run::recorder::EVENTS;
use crate::run::replay::RECIPE;
use crate::run::sampler::LOGS;
use crate::run::verdict::SUMMARY;
use std::fmt;
use std::fs;
use std::path::Path;

/// Why there is no story at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    why: String,
    way_out: &'static str,
}

impl Unreadable {
    pub(super) fn new(why: String, way_out: &'static str) -> Self {
        Self { why, way_out }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.why, self.way_out)
    }
}

impl std::error::Error for Unreadable {}

/// Files of a folder, in the order in which a reader wants them, and what is in them.
const FILES: [(&str, &str); 14] = [
    (SUMMARY, "the result, for machines"),
    (JUNIT, "the checks, for CI"),
    ("history.jsonl", "what clients called and were answered"),
    (EVENTS, "what was done and what happened, a line each"),
    (WIRE, "Raft's messages, as seen on the wire"),
    (PCAP, "packets with what became of them, for Wireshark"),
    (TRACE, "every packet, and what became of it"),
    ("nodes", "what the nodes logged"),
    (LOGS, "when nodes' logs had grown how far"),
    ("scenario.yaml", "the scenario"),
    ("rules.yaml", "the rules"),
    ("cluster.yaml", "the cluster"),
    (RECIPE, "what is needed to repeat it"),
    ("seed", "the seed of everything random"),
];

/// Refuses what is none.
pub(super) fn is_run(folder: &Path) -> Result<(), Unreadable> {
    const WAY_OUT: &str = "name a folder that `raftq run`, or `raftq --rules FILE --out`, has made";
    let wrong = |why: &str| Err(Unreadable::new(format!("{}: {why}", folder.display()), WAY_OUT));
    match fs::metadata(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => wrong("there is no such folder"),
        Err(e) => wrong(&format!("it cannot be read ({e})")),
        Ok(found) if !found.is_dir() => wrong("this is a file, not the folder of a run"),
        Ok(_) => {
            let known = [SUMMARY, EVENTS, WIRE, RECIPE];
            let any = known.iter().any(|name| folder.join(name).is_file());
            if any || !histories(folder).is_empty() {
                Ok(())
            } else {
                wrong("it is no run's folder: none of a run's files is in it")
            }
        }
    }
}

/// The histories of a folder, by name.
pub(super) fn histories(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("history") && name.strip_suffix(".jsonl").is_some())
        .collect();
    // history-10.jsonl stands behind history-9.jsonl.
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

/// Those that are there.
pub(super) fn files(folder: &Path, nodes: &[String]) -> Vec<FileInfo> {
    let mut files = Vec::new();
    for (name, what) in FILES {
        let named = |name: &str| FileInfo { name: name.to_owned(), what: what.to_owned() };
        match name {
            "history.jsonl" => files.extend(histories(folder).iter().map(|n| named(n))),
            "nodes" => {
                let logs = nodes.iter().map(|node| format!("nodes/{node}.log"));
                let there = logs.filter(|log| folder.join(log).is_file());
                files.extend(there.map(|log| named(&log)));
            }
            name if folder.join(name).is_file() => files.push(named(name)),
            _ => {}
        }
    }
    files
}

/// A word of a shell's command line.
pub(super) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_run_is_refused_with_a_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = |path: &Path| is_run(path).expect_err("no run").to_string();
        let none = said(&folder.path().join("none"));
        assert!(none.contains("no such folder") && none.contains("help: "), "{none}");
        assert!(said(folder.path()).contains("no run's folder"));
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("a file");
        assert!(said(&file).contains("this is a file"));
    }

    #[test]
    fn words_of_commands_are_quoted_where_a_shell_would_take_them_apart() {
        assert_eq!(shell("runs/20261126T211500-storm"), "runs/20261126T211500-storm");
        assert_eq!(shell("my run's"), "'my run'\\''s'");
        assert_eq!(shell(""), "''");
    }
}
