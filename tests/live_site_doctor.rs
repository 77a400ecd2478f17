//! The doctor's findings on a machine that can run these tests, and without privileges; and
//! what it says of other people's rules.

mod live_site_lab;

use live_site_lab::{FLAVOURS, Lab, need_root, node};
use raftq::kernel::chains::Spec;
use raftq::kernel::doctor::{self, Finding, State};
use raftq::kernel::foreign;
use raftq::kernel::iptables;
use raftq::kernel::topology;
use raftq::rules::table::Place;
use std::process::{Command, Stdio};

fn look(findings: &[Finding], what: &str) -> Finding {
    findings.iter().find(|f| f.what == what).unwrap_or_else(|| panic!("no {what}")).clone()
}

#[test]
fn all_that_is_needed_is_found_and_the_firewall_is_left_alone() {
    need_root();
    let lab = Lab::new("doctor");
    let before = lab.firewall();
    let findings = lab.ns.enter(|| doctor::examine(|| "SCHED_FIFO")).expect("entering");
    let in_the_way: Vec<_> = findings.iter().filter(|f| f.stands_in_the_way()).collect();
    assert!(in_the_way.is_empty(), "{in_the_way:#?}");
    for what in ["packet queue", "NFQUEUE target", "physdev match", "socket owners"] {
        assert_eq!(look(&findings, what).state, State::Ok, "{what}");
    }
    assert_eq!(lab.firewall(), before);
}

#[test]
fn without_privileges_each_thing_is_named_with_its_command() {
    need_root();
    // A thread without capabilities; no other thread loses them.
    let findings = std::thread::spawn(|| {
        drop_capabilities();
        doctor::examine(|| "ordinary scheduling")
    });
    let findings = findings.join().expect("it ran");
    for capability in ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"] {
        let finding = look(&findings, capability);
        assert!(finding.stands_in_the_way(), "{finding:?}");
        assert_eq!(finding.mend.as_deref(), Some("sudo raftq doctor"));
    }
    assert_eq!(look(&findings, "packet queue").state, State::Unknown);
    assert_eq!(look(&findings, "scheduling").state, State::Missing);
    let without_advice: Vec<_> =
        findings.iter().filter(|f| f.state != State::Ok && f.mend.is_none()).collect();
    assert!(without_advice.is_empty(), "{without_advice:#?}");
}

#[expect(unsafe_code, reason = "nix has no capset; the C library changes only this thread")]
fn drop_capabilities() {
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    // SAFETY: both point to arrays of the sizes that version 3 of the interface asks for.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", std::io::Error::last_os_error());
}

#[test]
fn rules_of_others_are_told_before_and_after_ours_are_in() {
    for flavour in FLAVOURS {
        let lab = Lab::new("foreign");
        let nodes = ["127.0.0.1:2381", "127.0.0.1:2382"]
            .map(|e| node(e, &[e], Place::Netns(lab.name.clone())));
        let plan = topology::plan(&nodes).expect("a plan");
        let spec = Spec { site: &plan.sites[0], nodes: &nodes, chain: "RAFTQ-f", queue: 4242 };
        let warnings = || foreign::warnings(&spec, flavour).expect("asked");
        let tables = format!("iptables-{flavour} -t mangle");
        assert_eq!(warnings(), [""; 0]);

        lab.run(&format!("{tables} -A INPUT -p tcp --dport 22 -j ACCEPT"));
        assert_eq!(warnings(), [""; 0], "{flavour}: another port is no matter");
        lab.run(&format!("{tables} -A INPUT -p tcp --dport 2381 -j ACCEPT"));
        assert!(warnings()[0].contains("--dport 2381"), "{flavour}: {:?}", warnings());

        let prepared = iptables::prepare(&spec, flavour).expect("prepared");
        iptables::install_all(&prepared).expect("installed");
        lab.run(&format!("{tables} -A INPUT -p tcp -j TTL --ttl-set 9"));
        let told = warnings();
        assert!(told.len() == 2 && told[1].contains("stands behind"), "{flavour}: {told:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_reason_to_panic() {
    need_root();
    let folder = tempfile::tempdir().expect("a folder");
    for args in [&["doctor"][..], &["doctor", "--json"], &["clean"], &["clean", "--json"]] {
        // The reader is gone before anything is written.
        let (_, writer) = std::io::pipe().expect("a pipe");
        let mut raftq = Command::new(env!("CARGO_BIN_EXE_raftq"));
        raftq.args(args).env("RAFTQ_RUN_DIR", folder.path()).stdout(writer);
        let output = raftq.stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{args:?}");
    }
}
