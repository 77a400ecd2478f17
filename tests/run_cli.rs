//! Wrong scenarios and histories, told without root and before anything is started.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn raftq(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_raftq"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let Output { status, stdout, stderr } = output.expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.yaml");
    fs::write(&path, text).expect("a scenario");
    let (code, _, stderr) = raftq(&["run", path.to_str().expect("a path")]);
    assert_eq!(code, Some(4), "{stderr}");
    stderr
}

#[test]
fn unknown_adapters_workloads_and_checks_are_bad_input() {
    let told = refused("cluster: { adapter: zookeeper }\nload: { workload: set }\nrules: []\n");
    assert!(told.contains("there is no adapter `zookeeper`") && told.contains("etcd"), "{told}");
    let told = refused("cluster: { adapter: etcd:nine }\nload: { workload: set }\nrules: []\n");
    assert!(told.contains("no variant is called `nine`"), "{told}");
    let told = refused(
        "cluster: { adapter: embedded }\nload: { workload: sets, clients: 0 }\nchecks: [nice]\n",
    );
    for part in ["did you mean `set`?", "s.yaml:2:34", "`nice` is not valid here"] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[test]
fn rules_that_contradict_themselves_are_refused_in_the_scenario_s_own_lines() {
    let told = refused(
        "cluster: { adapter: embedded }\nload: { workload: set }\nrules:\n  \
         - { node: n1, do: drop }\n  - { do: kill }\n  - { node: n9, do: kill }\n  \
         - { node: n1, do: restart, for: 2s }\n  - { node: n1, do: kill, for: 5s, every: 2s }\n",
    );
    for part in [
        "s.yaml:4:",
        "s.yaml:5:",
        "s.yaml:6:",
        "s.yaml:7:",
        "s.yaml:8:",
        "no `node` is named",
        "there is no node or group `n9`",
        "over at once and cannot last",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[test]
fn an_adapter_that_is_unknown_is_shown_in_its_line() {
    let told = refused("cluster: { adapter: zookeeper }\nload: { workload: set }\nrules: []\n");
    assert!(told.contains("s.yaml:1:21"), "{told}");
}

#[test]
fn a_folder_that_has_files_already_or_is_one_is_not_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("notes");
    fs::write(&file, "mine").expect("a file");
    let refuse = |out: &Path| {
        let out = out.to_str().expect("a path");
        let (code, _, stderr) = raftq(&["run", "tests/scenarios/sanity.yaml", "--out", out]);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains(out), "{stderr}");
        stderr
    };
    assert!(refuse(folder.path()).contains("has files in it already"));
    assert!(refuse(&file).contains("this is a file"));
    assert_eq!(fs::read_to_string(&file).expect("it"), "mine");
    let (code, _, stderr) =
        raftq(&["run", "tests/scenarios/sanity.yaml", "--out", "/proc/no/folder"]);
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("the run folder /proc/no/folder"), "{stderr}");
}

#[test]
fn files_that_are_no_scenario_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("empty.yaml"), "").expect("a file");
    fs::write(path("binary.yaml"), [0xff, 0xfe, 0]).expect("a file");
    for (file, part) in [
        (folder.path().display().to_string(), "it is a directory"),
        (path("missing.yaml"), "there is no such file"),
        (path("empty.yaml"), "the file is empty"),
        (path("binary.yaml"), "not UTF-8"),
    ] {
        let (code, _, stderr) = raftq(&["run", &file]);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains(part) && stderr.contains(&file), "{stderr}");
    }
    let (code, _, stderr) = raftq(&["run", "tests/scenarios/sanity.yaml", "--nodes", "0"]);
    assert_eq!(code, Some(4), "{stderr}");
}

#[test]
fn a_system_that_lacks_an_operation_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let adapter = folder.path().join("a.yaml");
    fs::write(
        &adapter,
        "about: reads only\nnode: { program: sh, ports: { peer: 1, client: 2 } }\nbase: http://x\n\
         status: { get: /, leads: 'true' }\noperations:\n  read: { promise: stale, get: /, \
         answers: [] }\n",
    )
    .expect("an adapter");
    let told = refused(&format!(
        "cluster: {{ adapter: {} }}\nload: {{ workload: counter }}\nrules: []\n",
        adapter.display()
    ));
    assert!(told.contains("needs cas, create"), "{told}");
}

#[test]
fn an_attached_raftq_does_nothing_to_processes_and_knows_no_leader() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.yaml");
    let nodes = "cluster: { nodes: { n1: 127.0.0.1:1, n2: 127.0.0.2:1 } }\n";
    for (rule, part) in [
        ("{ from: leader, do: drop }", "cannot tell yet who `leader` is"),
        ("{ node: n1, do: kill }", "raftq did not start"),
    ] {
        fs::write(&path, format!("{nodes}rules: [{rule}]\n")).expect("rules");
        let (code, _, stderr) = raftq(&["--rules", path.to_str().expect("a path")]);
        assert!(code == Some(4) || code == Some(5), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn check_tells_violations_in_words_and_by_its_exit_code() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/tests/histories");
    let path = |name: &str| own.join(name).display().to_string();
    let bad = path("a-stale-read-violates-linearizable.jsonl");
    let (code, stdout, _) = raftq(&["check", &bad]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("> ") && stdout.contains("read k: a"), "{stdout}");
    let good = path("removed-and-made-again.jsonl");
    let (code, stdout, _) = raftq(&["check", "--json", &good]);
    assert_eq!(code, Some(0));
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(json[0]["judgement"]["checks"][0]["verdict"], "holds");
    let (code, _, stderr) = raftq(&["check", "Cargo.toml"]);
    assert_eq!(code, Some(4));
    assert!(stderr.contains("Cargo.toml is no history"), "{stderr}");
}

#[test]
fn what_the_adapter_does_not_offer_is_refused_before_anything_starts() {
    let scenario = |rule: &str| {
        format!("cluster: {{ adapter: etcd }}\nload: {{ workload: set }}\nrules:\n  - {rule}\n")
    };
    let told = refused(&scenario("{ name: shrink, node: n1, do: compact }"));
    let why = "the rule `shrink` needs `compact`, which the adapter etcd does not offer";
    assert!(told.contains(why), "{told}");
    assert!(told.contains("`admin` section") && told.contains("optional: true"), "{told}");
}

#[test]
fn an_action_that_is_misspelt_or_lasts_wrongly_is_told_with_those_that_exist() {
    let told = refused(
        "cluster: { adapter: etcd }\nload: { workload: set }\nrules:\n  \
         - { node: n1, do: rolling-restart }\n  - { node: n1, do: transfer, for: 2s }\n  \
         - { do: replace }\n  - { from: n1, do: replace }\n",
    );
    for part in [
        "s.yaml:4:",
        "did you mean `rolling restart`?",
        "s.yaml:5:",
        "`transfer` is over at once and cannot last",
        "kill, crash, stop, pause, remove",
        "s.yaml:6:",
        "`replace` is done to a process, and no `node` is named",
        "s.yaml:7:",
        "`replace` cannot be triggered by a packet",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[test]
fn a_replay_needs_the_folder_of_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let at = path.to_str().expect("a path");
    let refused = || {
        let (code, _, stderr) = raftq(&["replay", at]);
        assert_eq!(code, Some(4), "{stderr}");
        stderr
    };
    let told = refused();
    assert!(told.contains("there is no such folder") && told.contains("help: name a"), "{told}");
    fs::create_dir(&path).expect("a folder");
    assert!(refused().contains("it has no run.json: it is no run's folder"));
    fs::write(path.join("scenario.yaml"), "").expect("a file");
    assert!(refused().contains("run it by hand: raftq run"), "an older raftq's");
    fs::write(path.join("run.json"), "{}").expect("a file");
    assert!(refused().contains("run.json: it does not say what a run was made of"));
    let recipe = |more: &str| {
        let text =
            format!("{{\"raftq_run\":1,\"raftq\":\"0\",\"scenario\":\"s\",\"seed\":1{more}}}");
        fs::write(path.join("run.json"), text).expect("a file");
    };
    recipe(",\"topology\":\"moon\"");
    assert!(refused().contains("`topology`"));
    recipe(",\"sets\":[\"x\"]");
    assert!(refused().contains("`sets`: write NAME=NODE"));
    recipe("");
    let told = refused();
    assert!(told.contains("scenario.yaml") && told.contains("run/"), "its scenario: {told}");
    fs::remove_dir_all(&path).expect("it can be removed");
    fs::write(&path, "").expect("a file");
    assert!(refused().contains("this is a file, not the folder of a run"));
}

#[test]
fn several_runs_are_compared_and_what_is_no_run_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, summary: &str| {
        let run = folder.path().join(name);
        fs::create_dir(&run).expect("a folder");
        fs::copy(Path::new("tests/summaries").join(summary), run.join("summary.json"))
            .expect("a summary");
        run.to_str().expect("a path").to_owned()
    };
    let (held, bad) = (run("held", "holds.json"), run("bad", "violated.json"));
    let page = folder.path().join("page.html");
    let at = page.to_str().expect("a path");
    let (code, stdout, stderr) = raftq(&["report", &held, &bad, "--html", at]);
    assert_eq!(code, Some(0), "{stderr}");
    for part in [
        "recovery after healing",
        "violated",
        "A and B are of different scenarios: demo and lonely",
        "one run each: no statement",
        "no latencies and no throughput",
    ] {
        let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(part), "{part}:\n{stdout}");
    }
    assert!(fs::read_to_string(&page).expect("a page").contains("one run each: no statement"));

    // The others are compared all the same, and the end says that one was not.
    let none = folder.path().join("none");
    let none = none.to_str().expect("a path");
    let (code, stdout, stderr) = raftq(&["report", none, "--baseline", &held, &bad, "--json"]);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("no such folder") && stderr.contains("help: "), "{stderr}");
    let compared: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(compared["groups"][0]["runs"].as_array().map(Vec::len), Some(2));
    let refused = |args: &[&str], why: &str| {
        let (code, _, stderr) = raftq(args);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains(why) && stderr.contains("help: "), "{stderr}");
    };
    refused(&["report", &held, "--html", at], "nothing to compare it with");
    refused(&["report", &held, &bad, "--out", at], "--out is for the report of one run");
    refused(&["report", none, none], "there is no run to compare");
}
