//! Adapters by the real program: the worked examples of `adapters/README.md` as they stand
//! there, the systems that raftq ships adapters for, and drivers that die with raftq.

use nix::sys::signal::Signal;
use raftq_harness::clock::wait_for;
use raftq_harness::netns::clean_host;
use raftq_harness::owner::Scratch;
use raftq_harness::process::{Launch, Process, running};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const RAFTQ: &str = env!("CARGO_BIN_EXE_raftq");

const LIMIT: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(20);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A short register workload that needs no more than reads and writes.
fn scenario(adapter: &str, mix: &str) -> String {
    format!(
        "cluster: {{ adapter: '{adapter}' }}\n\
         load: {{ workload: register, clients: 2, rate: 20, timeout: 2s, mix: {mix} }}\n\
         warm_up: 200ms\nlasts: 4s\nsettle: 200ms\nrules: []\n"
    )
}

fn run(folder: &Scratch, scenario: &str, env: &[(&str, String)]) -> (Option<i32>, String) {
    let (file, out) = (folder.path().join("s.yaml"), folder.path().join("run"));
    fs::write(&file, scenario).expect("a scenario");
    let mut command = Command::new(RAFTQ);
    command.arg("run").arg(file).arg("--out").arg(out).current_dir(root());
    let output = command.envs(env.iter().map(|(name, value)| (name, value))).output();
    let Output { status, stdout, stderr } = output.expect("raftq runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout) + &text(stderr))
}

/// The examples of the document, each between its fences.
fn examples() -> Vec<String> {
    let text = fs::read_to_string(root().join("adapters/README.md")).expect("the document");
    let parts = text.split("```yaml\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The programs of the examples, under the names that they have there.
fn programs(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir(&bin).expect("a folder");
    for file in ["kvd.py", "kvc.sh", "kvd-driver.py"] {
        let source = root().join("tests/live_adapters").join(file);
        let program = bin.join(file).with_extension("");
        fs::copy(source, &program).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    bin
}

#[test]
fn the_examples_of_the_document_work_as_they_stand_there() {
    let examples = examples();
    let [http, members, commands, driver] = examples.as_slice() else {
        panic!("four examples, not {}", examples.len());
    };
    let (beside, admin) = members.split_once("\nadmin:\n").expect("calls about the cluster");
    let join_args = beside.lines().find(|line| line.contains("join_args")).expect("a line");
    let whole = http.replace("  start_within:", &format!("{join_args}\n  start_within:"));
    let (common, _) = http.split_once("\noperations:\n").expect("the whole file");
    for (name, text) in [
        ("kvd", format!("{whole}\nadmin:\n{admin}")),
        ("kvd-commands", format!("{common}\noperations:\n{commands}")),
        ("kvd-driver", format!("{common}\n{driver}")),
    ] {
        let folder = Scratch::new("rqunit").expect("a folder");
        let own = folder.path().join("adapters").join(name);
        fs::create_dir_all(&own).expect("a folder");
        fs::write(own.join("adapter.yaml"), text).expect("an adapter");
        let path = std::env::var("PATH").unwrap_or_default();
        let env = [
            ("RAFTQ_ADAPTERS", folder.path().join("adapters").display().to_string()),
            ("PATH", format!("{}:{path}", programs(folder.path()).display())),
        ];
        let (code, said) = run(&folder, &scenario(name, "{ read: 1, write: 1 }"), &env);
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(said.contains("holds     linearizable"), "{name}: {said}");
        // Drivers in Python take their time to start, and until then nothing is done.
        let answered = said.split("register: ").nth(1).and_then(|rest| rest.split(' ').next());
        let answered = answered.and_then(|number| number.parse().ok()).unwrap_or(0);
        assert!(answered >= 20 && said.contains(", 0 unknown"), "{name}: {said}");
    }
}

#[test]
fn systems_from_elsewhere_hold() {
    for adapter in ["etcd:v3.5", "nats"] {
        let folder = Scratch::new("rqunit").expect("a folder");
        let mix = "{ read: 4, write: 3, cas: 3, remove: 1 }";
        let (code, said) = run(&folder, &scenario(adapter, mix), &[]);
        assert_eq!(code, Some(0), "{adapter} (`make setup build` gets it): {said}");
    }
}

#[test]
fn drivers_die_with_a_raftq_that_is_killed() {
    let folder = Scratch::new("rqunit").expect("a folder");
    let file = folder.path().join("s.yaml");
    fs::write(&file, scenario("nats", "{ read: 1, write: 1 }").replace("4s", "60s"))
        .expect("a scenario");
    let out = folder.path().join("run");
    let mut process = Process::spawn(Launch {
        name: "raftq".into(),
        program: RAFTQ.into(),
        args: vec!["run".into(), file.into(), "--out".into(), out.into()],
        env: vec![("RAFTQ_ADAPTERS".into(), root().join("adapters").display().to_string())],
        netns: None,
        stdout: folder.path().join("out"),
        stderr: folder.path().join("err"),
        ended_by: Signal::SIGKILL,
    })
    .expect("raftq starts");
    let attached = wait_for("an attached raftq", LIMIT, STEP, || {
        process.stderr().contains("attached").then_some(())
    });
    attached.unwrap_or_else(|e| panic!("{e}: {}", process.stderr()));
    let driver = fs::canonicalize(Path::new(RAFTQ).with_file_name("raftq-nats"));
    let driver = driver.expect("`make build` builds it beside raftq");
    assert!(!running(&driver).is_empty(), "drivers run");
    process.kill().expect("SIGKILL");
    wait_for("the drivers to die", LIMIT, STEP, || running(&driver).is_empty().then_some(()))
        .expect("no orphan");
    let cleaned = Command::new(RAFTQ).arg("clean").output().expect("raftq runs");
    assert_eq!(cleaned.status.code(), Some(0), "{}", String::from_utf8_lossy(&cleaned.stderr));
    clean_host().expect("a clean host");
}
