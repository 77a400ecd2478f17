//! Where adapters and the programs of their systems are.
//!
//! Adapters: `$RAFTQ_ADAPTERS`, `adapters/` of the working directory or one above it, the same
//! of raftq's own program, and last those that were compiled in. Programs: `.tools/` beside
//! such a folder, where `make setup` unpacks what is not to be installed, then the PATH.

use super::wrong;
use crate::error::Context;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The adapters that come with raftq, by name, for where their folder is not at hand.
const SHIPPED: &[(&str, &str)] = &[
    ("embedded", include_str!("../../../adapters/embedded/adapter.yaml")),
    ("etcd", include_str!("../../../adapters/etcd/adapter.yaml")),
    ("nats", include_str!("../../../adapters/nats/adapter.yaml")),
];

/// Their names.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of an adapter, where it is from, and the variants that were asked for.
pub(super) fn text(what: &str) -> Result<(String, PathBuf, Vec<&str>)> {
    if Path::new(what).extension().is_some_and(|ending| ending == "yaml") {
        let path = PathBuf::from(what);
        let text = fs::read_to_string(&path).context(|| format!("the adapter {what}"))?;
        return Ok((text, path, Vec::new()));
    }
    let mut parts = what.split(':');
    let name = parts.next().unwrap_or_default();
    let variants = parts.collect();
    for folder in folders() {
        let path = folder.join(name).join("adapter.yaml");
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok((text, path, variants));
        }
    }
    match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        Some((_, text)) => {
            Ok(((*text).to_owned(), format!("the shipped adapter {name}").into(), variants))
        }
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    let mut known: Vec<String> = shipped().map(str::to_owned).collect();
    for folder in folders() {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let with_file = entries.filter(|e| e.path().join("adapter.yaml").is_file());
        known.extend(with_file.filter_map(|e| e.file_name().into_string().ok()));
    }
    known.sort();
    known.dedup();
    wrong(format!(
        "there is no adapter `{name}`; there are {}, and adapters/README.md says how to add one",
        known.join(", ")
    ))
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("RAFTQ_ADAPTERS") {
        return vec![folder.into()];
    }
    bases().into_iter().map(|base| base.join("adapters")).filter(|f| f.is_dir()).collect()
}

/// Where adapters/ and .tools/ may stand.
fn bases() -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_default();
    let program = std::env::current_exe().unwrap_or_default();
    let all = here.ancestors().chain(program.ancestors().skip(1));
    all.map(Path::to_owned).collect()
}

/// raftq's own program; another one in tests.
pub(super) fn raftq() -> String {
    let own = std::env::var_os("RAFTQ_PROGRAM").map(PathBuf::from);
    let own = own.or_else(|| std::env::current_exe().ok()).unwrap_or_else(|| "raftq".into());
    own.display().to_string()
}

/// A program that is built together with raftq's own and stands beside it; else its name, to be
/// found in the PATH.
pub(super) fn beside(name: &str) -> String {
    let own = PathBuf::from(raftq());
    // Cargo puts test programs one folder deeper.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.map_or_else(|| name.to_owned(), |file| file.display().to_string())
}

/// A program that `make setup` unpacked, such as `etcd/usr/bin/etcd`; else its last name, to be
/// found in the PATH.
pub(super) fn tool(name: &str) -> String {
    let ours = bases().into_iter().map(|base| base.join(".tools").join(name));
    let last = name.rsplit('/').next().unwrap_or(name);
    ours.filter(|file| file.is_file())
        .map(|file| file.display().to_string())
        .next()
        .unwrap_or_else(|| last.to_owned())
}

/// A program's path; one without a slash is looked for in the PATH.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if name.contains('/') {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(wrong(format!("there is no program at {name}, which the adapter names")))
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&folders).map(|folder| folder.join(name));
    found.find(|file| file.is_file()).ok_or_else(|| {
        wrong(format!(
            "there is no program `{name}` in .tools/, beside raftq or in the PATH; for the shipped \
             adapters `make setup build` gets them"
        ))
    })
}
