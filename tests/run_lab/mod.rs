//! What tests of whole experiments share: the program, and that nothing of it is left.

use raftq_harness::clock::wait_for;
use raftq_harness::process::running;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The program.
pub(crate) const RAFTQ: &str = env!("CARGO_BIN_EXE_raftq");

/// How often a condition is looked at.
pub(crate) const STEP: Duration = Duration::from_millis(20);

/// Where the sources stand.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Node processes, and namespaces whose maker is gone: there are none between tests. Those of a
/// raftq that still runs are somebody else's.
pub(crate) fn left_behind() -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let ours = names.filter_map(|entry| entry.file_name().into_string().ok());
    let maker = |name: &str| name.strip_prefix("rqrun-")?.split('-').next().map(str::to_owned);
    let is_gone = |pid: String| !Path::new("/proc").join(pid).exists();
    let spaces = ours.filter(|name| maker(name).is_some_and(is_gone));
    let raftq = fs::canonicalize(RAFTQ).expect("the program");
    spaces.chain(running(&raftq).iter().map(|pid| format!("process {pid}"))).collect()
}

/// Waits until they are gone.
pub(crate) fn nothing_is_left() {
    let gone = wait_for("everything to be gone", Duration::from_secs(5), STEP, || {
        left_behind().is_empty().then_some(())
    });
    assert!(gone.is_ok(), "left behind: {:?}", left_behind());
}
