//! What every `summary.json` has to be: as its schema says, and read without losing a byte.

#![allow(unreachable_pub, reason = "a module of tests")]

use raftq::run::verdict::{self, Summary};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Reads the summary of a run's folder, by raftq's own reader and by its schema.
pub fn stored(folder: &Path) -> Summary {
    let text = fs::read_to_string(folder.join(verdict::SUMMARY)).expect("a summary");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let wrong = strangers(&document);
    assert!(wrong.is_empty(), "not as the schema says:\n{}\n{text}", wrong.join("\n"));
    let summary = Summary::read(folder).expect("a summary");
    // A field that only one direction knows would be lost here.
    assert!(summary.json() == text, "read and written again it differs:\n{}", summary.json());
    summary
}

/// What the schema does not allow, each with its place.
pub fn strangers(document: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(&verdict::schema()).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    schema.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
}
