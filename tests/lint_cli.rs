//! `raftq lint` as a command: what goes where, and with which exit code.

use std::path::Path;
use std::process::{Command, Output};

fn lint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raftq"))
        .arg("lint")
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("raftq can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is UTF-8")
}

#[test]
fn a_right_file_is_shown_on_stdout() {
    let output = lint(&["rules/slow.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("rules/slow.yaml: 3 nodes, 1 rule"));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn errors_go_to_stderr_with_exit_code_4() {
    let output = lint(&["tests/lint/unknown_node.yaml"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stdout), "");
    let errors = text(&output.stderr);
    assert!(errors.contains("tests/lint/unknown_node.yaml:7:11"), "{errors}");
    assert!(!errors.contains('\x1b'), "a pipe gets no colours: {errors}");
}

#[test]
fn a_warning_is_no_failure() {
    let output = lint(&["tests/lint/one_way_drop.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).starts_with("warning: "));
    assert!(!output.stdout.is_empty());
}

#[test]
fn one_bad_file_among_many_fails() {
    let output = lint(&["rules/slow.yaml", "tests/lint/empty.yaml", "rules/halves.yaml"]);
    assert_eq!(output.status.code(), Some(4));
    let tables = text(&output.stdout);
    assert!(tables.contains("rules/slow.yaml: ") && tables.contains("rules/halves.yaml: "));
}

#[test]
fn a_set_need_not_concern_every_file() {
    let files = ["rules/slow.yaml", "rules/partition.yaml", "--set", "victim=n2"];
    let output = lint(&files);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let output = lint(&["rules/slow.yaml", "rules/halves.yaml", "--set", "victim=n2"]);
    assert_eq!(text(&output.stderr).matches("no rule uses this group").count(), 2);
}

#[test]
fn a_cluster_of_ones_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cluster.yaml");
    std::fs::write(&path, "cluster: { nodes: { a: 127.0.0.1:1, b: 127.0.0.1:2 } }\n")
        .expect("a temporary file");
    let path = path.to_str().expect("a plain path");
    let output = lint(&["rules/partition.yaml", "--cluster", path, "--set", "victim=b"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("  a          -     drop"));
}

#[test]
fn json_holds_tables_and_diagnostics() {
    let output = lint(&["--json", "rules/one-way.yaml", "tests/lint/unknown_node.yaml"]);
    assert_eq!(output.status.code(), Some(4));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
    assert_eq!(json[0]["table"]["rules"][0]["links"][0], serde_json::json!(["n2", "n1"]));
    assert_eq!(json[0]["table"]["rules"][0]["at_ns"], 2_000_000_000_u64);
    assert!(json[1]["table"].is_null());
    assert_eq!(json[1]["diagnostics"][0]["line"], 7);
    assert_eq!(json[1]["diagnostics"][0]["help"], "did you mean `n1`?");
}

#[test]
fn a_malformed_set_is_refused_with_an_example() {
    let output = lint(&["rules/partition.yaml", "--set", "victim"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("victim=n2"));
}
