//! Files that are no rule files at all, cluster files, and limits on size and number.

use raftq::rules::{self, Inputs, Report, SetArg, Source};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

const CLUSTER: &str = "cluster: { nodes: { n1: 10.77.0.1:2380, n2: 10.77.0.2:2380 } }\n";

fn first_error(report: &Report) -> String {
    report.errors().next().map(|error| error.message.clone()).unwrap_or_default()
}

fn refused(path: &Path) -> String {
    first_error(&rules::load(path, &[]).expect_err("it is no rule file"))
}

#[test]
fn missing_file() {
    let message = refused(Path::new("/nowhere/rules.yaml"));
    assert_eq!(message, "cannot read /nowhere/rules.yaml: there is no such file");
}

#[test]
fn directory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(refused(folder.path()).ends_with("it is a directory"));
}

#[test]
fn a_hundred_megabytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("large.yaml");
    let file = File::create(&path).expect("a temporary file");
    // A file of holes: refused by its length, so that nobody reads the zeros.
    file.set_len(100 << 20).expect("a sparse file");
    assert!(refused(&path).ends_with("its size of 100 MiB is larger than 4 MiB"));
}

#[test]
fn endless() {
    assert!(refused(Path::new("/dev/zero")).ends_with("it is larger than 4 MiB"));
}

#[test]
fn not_utf8() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("latin1.yaml");
    fs::write(&path, b"rules: []\n# caf\xe9\n").expect("a temporary file");
    assert!(refused(&path).ends_with("line 2 is not UTF-8 (byte 15 of the file)"));
}

#[test]
fn both_unreadable_files_are_named() {
    let missing = Path::new("/nowhere/a.yaml");
    let report = Inputs::read(missing, Some(Path::new("/nowhere/b.yaml")), &[]).expect_err("both");
    assert_eq!(report.errors().count(), 2);
    assert!(report.render(false).contains("/nowhere/b.yaml"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = format!("{CLUSTER}rules:\n  - {{ \"\\e[31mred\": 1, do: drop }}\n");
    let report = rules::compile("bell.yaml", &text, &[]).expect_err("there is no such key");
    assert!(!report.render(false).contains('\u{1b}'), "{}", report.render(false));
}

#[test]
fn a_long_line_is_not_printed() {
    let text = format!("{CLUSTER}rules: [{}]\n", "{ do: nothing }, ".repeat(10_000));
    let report = rules::compile("long.yaml", &text, &[]).expect_err("there is no such action");
    let shown = report.render(false);
    assert!(shown.len() < 100_000 && shown.contains("long.yaml:2:"), "{}", shown.len());
    assert!(shown.contains("and 9800 more of these"));
}

fn with_cluster(rules: &str, cluster: &str, sets: &[&str]) -> Result<rules::Compiled, Report> {
    Inputs {
        roles: None,
        seed: None,
        rules: Source::new("rules.yaml", rules),
        cluster: Some(Source::new("cluster.yaml", cluster)),
        sets: sets.iter().map(|arg| SetArg::parse(arg).expect(arg)).collect(),
    }
    .compile()
}

#[test]
fn a_cluster_file_replaces_the_cluster() {
    let rules = "cluster: { nodes: { x: 10.0.0.1:1 } }\ngroups: { victim: }\n\
                 rules: [{ between: [victim, rest], do: drop }]\n";
    let compiled = with_cluster(rules, &format!("{CLUSTER}groups: {{ victim: n2 }}\n"), &[]);
    let table = compiled.expect("the groups of the cluster file count").table;
    assert_eq!(table.nodes.len(), 2);
    assert_eq!(table.rules[0].links.len(), 2);
}

#[test]
fn set_is_stronger_than_both_files() {
    let rules = "groups: { a: n1 }\nrules: [{ from: a, to: any, do: accept }]\n";
    let cluster = format!("{CLUSTER}groups: {{ a: n1 }}\n");
    let table = with_cluster(rules, &cluster, &["a=n2"]).expect("right").table;
    assert_eq!(table.link_name(table.rules[0].links[0]), "n2 -> n1");
}

#[test]
fn an_error_in_the_cluster_file_names_it() {
    let report = with_cluster("rules: []\n", "cluster:\n  nodes: { n1: here }\nrules: []\n", &[]);
    let report = report.expect_err("no address, and rules where none belong");
    let shown = report.render(false);
    assert!(shown.contains("cluster.yaml:2:16"), "{shown}");
    assert!(shown.contains("a cluster file has no key `rules`"), "{shown}");
}

#[test]
fn a_report_shows_file_line_column_and_caret() {
    let text = format!("{CLUSTER}rules:\n  - {{ name: cut, from: n3, do: drop }}\n");
    let shown = rules::compile("cut.yaml", &text, &[]).expect_err("no n3").render(false);
    let expected = "\
error: there is no node or group `n3`
 --> cut.yaml:3:24
  |
3 |   - { name: cut, from: n3, do: drop }
  |                        ^^
  |
  = note: in rule `cut`, `from`
  = help: did you mean `n1`?
";
    assert_eq!(shown, expected);
    let report = rules::compile("cut.yaml", &text, &[]).expect_err("no n3");
    assert!(report.render(true).contains("\u{1b}["));
    assert_eq!(report.json()[0]["line"], 3);
}

fn many(rules: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = format!("{CLUSTER}rules:\n");
    for i in 0..rules {
        let _ = writeln!(text, "  - {}", one(i));
    }
    text
}

#[test]
fn twenty_thousand_rules_are_enough() {
    let rule = |_| "{ from: n1, where: { port: 80 }, do: accept }".to_owned();
    let table = rules::compile("many.yaml", &many(20_000, rule), &[]).expect("right").table;
    assert_eq!(table.rules.len(), 20_000);
    let report = rules::compile("many.yaml", &many(20_001, rule), &[]).expect_err("too many");
    assert_eq!(first_error(&report), "20001 rules are more than 20000");
}

#[test]
fn random_rules_are_counted() {
    let rule = |i: usize| match i % 2 {
        0 => "{ from: n1, where: { chance: 1% }, do: accept }".to_owned(),
        _ => "{ from: n1, do: { delay: { by: 2us, jitter: 1us } } }".to_owned(),
    };
    assert!(rules::compile("many.yaml", &many(1_024, rule), &[]).is_ok());
    let report = rules::compile("many.yaml", &many(1_025, rule), &[]).expect_err("too many");
    assert_eq!(first_error(&report), "more than 1024 rules have a chance or a jitter");
}

#[test]
fn set_arguments() {
    for wrong in ["victim", "=n1", "victim=", "a b=n1", "victim=n1,,n2", "any=n1", "leader=n1"] {
        assert!(SetArg::parse(wrong).is_err(), "{wrong}");
    }
    assert!(SetArg::parse("victim=n1, n2").is_ok());
}

#[test]
fn a_table_of_delays_is_found_beside_its_rules_and_kept_under_its_name() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let tables = folder.path().join("tables");
    fs::create_dir(&tables).expect("a folder");
    fs::write(tables.join("steps.dist"), "# two steps\n-8192 8192\n").expect("a table");
    let text = "cluster: { nodes: { n1: 10.0.0.1:1, n2: 10.0.0.2:1 } }\nrules:\n  - { do: { delay: \
                { by: 10ms, jitter: 5ms, table: tables/steps.dist } } }\n";
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, text).expect("rules");
    let table = rules::load(&rules, &[]).expect("good rules").table;
    let [dist] = table.distributions.as_slice() else { panic!("{table:?}") };
    assert_eq!((dist.values(), dist.file_name()), ([-8192, 8192].as_slice(), Some("steps.dist")));
    // As a run's folder has them: no folder of tables, but what was in it.
    let kept = tempfile::tempdir().expect("a scratch folder");
    fs::write(kept.path().join("steps.dist"), dist.text()).expect("a table");
    fs::write(kept.path().join("rules.yaml"), text).expect("rules");
    let again = rules::load(&kept.path().join("rules.yaml"), &[]).expect("good rules").table;
    assert_eq!(again.distributions, table.distributions);
    let inputs = rules::Inputs::read(&rules, None, &[]).expect("readable");
    let rules = inputs.rules.clone().without_files();
    let refused = rules::Inputs { rules, ..inputs }.compile().expect_err("no file is read");
    assert!(refused.render(false).contains("cannot name files of this host"));
}
