//! The engine's golden scripts: one claim a file in `tests/engine/`, named by the claim.
//!
//! A script is a table, packets and times; under each line stands what came of it. The
//! language is described in `engine_support/script.rs`. `UPDATE_GOLDEN=1` writes what comes
//! of them now; read the difference before you keep it.

mod engine_support;

use engine_support::script;
use std::fs;
use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine");
    let entries = fs::read_dir(&folder).expect("the scripts are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    paths.sort();
    paths
}

#[test]
fn every_script_says_what_it_said() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let scripts = scripts();
    assert!(scripts.len() > 20, "only {} scripts were found", scripts.len());
    let mut wrong = Vec::new();
    for path in scripts {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let wanted = fs::read_to_string(&path).expect("a readable script");
        let got = script::run(&wanted);
        if update {
            fs::write(&path, &got).expect("the script can be written");
        } else if got != wanted {
            wrong.push(format!("{name}:\n{}", difference(&wanted, &got)));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 would write\n\n{}", wrong.join("\n"));
}

/// The first lines in which the two differ.
fn difference(wanted: &str, got: &str) -> String {
    let (mut wanted, mut got) = (wanted.lines().peekable(), got.lines().peekable());
    let mut last = "";
    while wanted.peek().is_some() && wanted.peek() == got.peek() {
        last = wanted.next().unwrap_or_default();
        got.next();
    }
    let show = |sign: &str, line: Option<&str>| format!("{sign} {}", line.unwrap_or("(end)"));
    [format!("  {last}"), show("-", wanted.next()), show("+", got.next())].join("\n")
}
