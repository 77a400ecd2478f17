//! `summary.json`: written at the end of a run, and read again.
//!
//! Its schema is `docs/summary.schema.json`, generated from the types. Who reads it should pass
//! over what he does not know: further fields come without another version.

use super::Summary;
use raftq_harness::schema;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::Path;

/// Its name in a run's folder.
pub const SUMMARY: &str = "summary.json";

/// The version of the format: another one where a field goes, or comes to mean something else.
pub const VERSION: u32 = 1;

/// The schema of `summary.json` as pretty JSON, ending with a newline.
#[must_use]
pub fn schema() -> String {
    schema::text(&schema::of_output::<Summary>("raftq summary"))
}

/// What tells a summary of this version from other files.
#[derive(Deserialize)]
struct Head {
    version: Option<u32>,
    verdict: Option<serde::de::IgnoredAny>,
}

impl Summary {
    /// As it stands in the file.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Writes `summary.json` into the run's folder.
    pub(in crate::run) fn write(&self, folder: &Path) -> raftq_harness::Result<()> {
        let path = folder.join(SUMMARY);
        fs::write(&path, self.json())
            .map_err(|e| raftq_harness::Error::new(format!("{}: {e}", path.display())))
    }

    /// Reads it from a run's folder. The error is for people, with a way out.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(SUMMARY);
        let at = path.display();
        let text = fs::read_to_string(&path).map_err(|e| unreadable(folder, &e))?;
        let again = format!("help: run it again: raftq replay {}", folder.display());
        let head: Head = serde_json::from_str(&text).map_err(|e| {
            let why = if e.is_eof() { "it ends too early, as if cut off" } else { "it is no JSON" };
            format!("{at}: {why} ({e})\n  {again}")
        })?;
        match head {
            Head { version: Some(VERSION), .. } => {}
            Head { version: Some(other), .. } => {
                return Err(format!(
                    "{at}: version {other} of the format; this raftq reads {VERSION}\n  help: read \
                     it with the raftq that wrote it, or {}",
                    again.trim_start_matches("help: ")
                ));
            }
            Head { version: None, verdict: Some(_) } => {
                return Err(format!(
                    "{at}: it has no version, as an older raftq left it\n  {again}"
                ));
            }
            Head { version: None, verdict: None } => {
                return Err(format!(
                    "{at}: this is not the summary of a run\n  help: name a folder that `raftq \
                     run` has made, such as runs/*"
                ));
            }
        }
        let mut summary: Self = serde_json::from_str(&text)
            .map_err(|e| format!("{at}: it is not as raftq writes it ({e})\n  {again}"))?;
        summary.folder = folder.display().to_string();
        Ok(summary)
    }
}

fn unreadable(folder: &Path, e: &io::Error) -> String {
    let at = folder.display();
    let help = "help: name a folder that `raftq run` has made, such as runs/*";
    match e.kind() {
        io::ErrorKind::NotFound if !folder.exists() => {
            format!("{at}: there is no such folder\n  {help}")
        }
        io::ErrorKind::NotADirectory => {
            format!("{at}: this is a file, not the folder of a run\n  {help}")
        }
        io::ErrorKind::NotFound => format!(
            "{at}: it has no {SUMMARY}: the run did not come to its end, or it is no run's \
             folder\n  help: what clients called until then is judged by raftq check \
             {at}/history*.jsonl"
        ),
        _ => format!("{at}: {SUMMARY} cannot be read ({e})\n  {help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: Option<&str>) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(text) = text {
            fs::write(folder.path().join(SUMMARY), text).expect("a file");
        }
        let why = Summary::read(folder.path()).expect_err("it is none");
        assert!(why.contains(&folder.path().display().to_string()), "no place: {why}");
        assert!(why.contains("\n  help: "), "no way out: {why}");
        why
    }

    #[test]
    fn what_is_no_summary_is_refused_with_the_place_and_a_way_out() {
        assert!(refused(None).contains("did not come to its end"));
        assert!(refused(Some("")).contains("cut off"));
        assert!(refused(Some("{ \"version\": 1,")).contains("cut off"));
        assert!(refused(Some("verdict: holds")).contains("no JSON"));
        assert!(refused(Some("{}")).contains("not the summary of a run"));
        assert!(refused(Some("{ \"verdict\": \"holds\" }")).contains("older raftq"));
        let newer = refused(Some("{ \"version\": 2, \"verdict\": \"holds\" }"));
        assert!(newer.contains("version 2") && newer.contains("reads 1"), "{newer}");
        let lacks = refused(Some("{ \"version\": 1, \"verdict\": \"holds\" }"));
        assert!(lacks.contains("missing field `scenario`"), "{lacks}");
        let missing = Summary::read(Path::new("/no/such/run")).expect_err("nothing is there");
        assert!(missing.contains("no such folder"), "{missing}");
        let file = Summary::read(Path::new("/etc/hostname")).expect_err("a file");
        assert!(file.contains("this is a file"), "{file}");
    }

    #[test]
    fn the_checked_in_schema_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.schema.json");
        let stored = fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == schema(),
            "docs/summary.schema.json is out of date: cargo run -- lint --summary-schema > \
             docs/summary.schema.json"
        );
    }
}
