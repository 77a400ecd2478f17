//! What this host lacks for raftq, and the command that mends it.
//!
//! Looks, and tries things out in a network namespace that exists only for it; the host's
//! own firewall is not touched. Without root it says what it could not try. Findings are
//! data: the command line prints them.

use super::inject::MARK;
use super::iptables::Flavour;
use super::netlink::{self, ACK, DUMP, Message};
use super::netns::NetNs;
use super::process;
use super::record;
use super::restore::{self, Running, which};
use super::topology::Family;
use super::trouble::Trouble;
use serde::Serialize;
use std::fs;
use std::io;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: State,
    /// Whether attaching fails without it.
    pub needed: bool,
    /// One sentence.
    pub detail: String,
    /// The command that mends it, or what else to do.
    pub mend: Option<String>,
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Ok,
    /// It is not.
    Missing,
    /// It could not be tried.
    Unknown,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        let (what, detail) = (what.into(), detail.into());
        Self { what, state: State::Ok, needed: true, detail, mend: None }
    }

    /// Something that is not there, and how to get it.
    pub fn missing(what: impl Into<String>, detail: impl Into<String>, mend: &str) -> Self {
        let mend = Some(mend.to_owned()).filter(|m| !m.is_empty());
        Self { state: State::Missing, mend, ..Self::ok(what, detail) }
    }

    /// Something that could not be tried, and how to try it.
    pub fn unknown(what: impl Into<String>, detail: impl Into<String>, mend: &str) -> Self {
        Self { state: State::Unknown, ..Self::missing(what, detail, mend) }
    }

    /// The same, but raftq works without it.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { needed: false, ..self }
    }

    /// Whether attaching would fail over it.
    #[must_use]
    pub fn stands_in_the_way(&self) -> bool {
        self.needed && self.state != State::Ok
    }
}

/// Looks at everything. `urgency` is tried on a thread of its own and names the scheduling
/// that the verdict loop would get.
#[must_use]
pub fn examine(urgency: impl FnOnce() -> &'static str + Send) -> Vec<Finding> {
    let flavour = Flavour::found();
    let mut all = privileges(flavour.as_ref().ok().copied());
    all.extend(programs(flavour.as_ref().ok().copied()));
    all.extend(kernel(flavour.ok()));
    all.push(scheduling(urgency));
    all.extend(surroundings());
    all
}

/// Capability numbers, from `linux/capability.h`.
const CAPABILITIES: [(u32, &str, &str); 5] = [
    (12, "CAP_NET_ADMIN", "packet queues and firewall rules"),
    (21, "CAP_SYS_ADMIN", "entering the network namespaces of nodes"),
    (process::CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "finding nodes and their sockets by process"),
    (13, "CAP_NET_RAW", "packets of raftq's own, and iptables of the legacy flavour"),
    (23, "CAP_SYS_NICE", "verdicts without waiting for other processes"),
];

/// Refuses where attaching is bound to fail later, and with another reason: without these
/// neither the namespaces of nodes can be looked into nor the firewall.
pub fn privileged() -> Result<(), Trouble> {
    let needed = &CAPABILITIES[..2];
    if needed.iter().all(|(number, ..)| process::holds(*number)) {
        return Ok(());
    }
    let way_out = if needed.iter().all(|(number, ..)| process::may_hold(*number)) {
        "run: sudo raftq ..."
    } else {
        // Even root cannot get what the bounding set lacks.
        "start the container with --cap-add NET_ADMIN --cap-add SYS_ADMIN"
    };
    Err(Trouble::new("raftq needs root, or the capabilities NET_ADMIN and SYS_ADMIN", way_out))
}

fn privileges(flavour: Option<Flavour>) -> Vec<Finding> {
    let check = |(number, name, what): (u32, &str, &str)| {
        let mend = if process::may_hold(number) {
            "sudo raftq doctor".to_owned()
        } else {
            // Even root cannot get what the bounding set lacks.
            format!("start the container with --cap-add {}", &name[4..])
        };
        let finding = if process::holds(number) {
            Finding::ok(name, what)
        } else {
            Finding::missing(name, format!("not held; needed for {what}"), &mend)
        };
        let needed = match name {
            "CAP_SYS_NICE" => false,
            "CAP_NET_RAW" => flavour == Some(Flavour::Legacy),
            _ => true,
        };
        if needed { finding } else { finding.optional() }
    };
    CAPABILITIES.into_iter().map(check).collect()
}

fn programs(flavour: Option<Flavour>) -> Vec<Finding> {
    const INSTALL: &str = "apt-get install iptables";
    let Some(flavour) = flavour else {
        return vec![Finding::missing("iptables", "not installed", INSTALL)];
    };
    let check = |(family, name): (Family, &str)| {
        if flavour.installed(family) {
            Finding::ok(name, format!("{flavour} flavour"))
        } else {
            Finding::missing(name, format!("{flavour} programs are incomplete"), INSTALL)
        }
    };
    let mut all: Vec<_> =
        [(Family::V4, "iptables"), (Family::V6, "ip6tables")].into_iter().map(check).collect();
    all[1].needed = false;
    all.push(match which("ip") {
        Some(_) => Finding::ok("ip", "for named network namespaces").optional(),
        None => Finding::missing("ip", "not installed", "apt-get install iproute2").optional(),
    });
    all
}

/// Tries out what only the kernel can tell.
fn kernel(flavour: Option<Flavour>) -> Vec<Finding> {
    let mut all = vec![sockets_by_owner(), bridges()];
    let fresh = match NetNs::fresh() {
        Ok(fresh) => fresh,
        Err(e) => {
            let detail = format!("no namespace to try it in could be made ({e})");
            let tried = ["packet queue", "NFQUEUE target"];
            all.extend(tried.map(|what| Finding::unknown(what, &detail, "sudo raftq doctor")));
            return all;
        }
    };
    all.push(outcome("packet queue", "nfnetlink_queue", true, &bind_queue(&fresh)));
    let Some(flavour) = flavour else { return all };
    let mut rule = |what: &str, family, needed, module: &str, rule: &str| {
        let text = format!("*mangle\n-A {rule}\nCOMMIT\n");
        let tried = restore::start(&fresh, flavour, family, text, None).and_then(Running::finish);
        all.push(outcome(what, module, needed, &tried));
    };
    let peer = "INPUT -p tcp --dport 1 -j NFQUEUE --queue-num 1 --queue-bypass";
    rule("NFQUEUE target", Family::V4, true, "xt_NFQUEUE", peer);
    rule("NFQUEUE target, IPv6", Family::V6, false, "ip6table_mangle xt_NFQUEUE", peer);
    let own = format!("INPUT -m mark --mark {MARK:#x} -j RETURN");
    rule("mark match", Family::V4, true, "xt_mark", &own);
    let bridged = "FORWARD -m physdev --physdev-is-bridged -j RETURN";
    rule("physdev match", Family::V4, false, "xt_physdev", bridged);
    all
}

fn outcome(what: &str, module: &str, needed: bool, tried: &io::Result<()>) -> Finding {
    let finding = match tried {
        Ok(()) => Finding::ok(what, "works"),
        Err(e) => Finding::missing(
            what,
            format!("does not work here ({e})"),
            &format!(
                "modprobe -a {module} (on the host, if this is a container; on cloud kernels \
                 first: apt-get install linux-modules-extra-$(uname -r))"
            ),
        ),
    };
    if needed { finding } else { finding.optional() }
}

/// Binds a queue as the loop would, and lets go of it.
fn bind_queue(ns: &NetNs) -> io::Result<()> {
    const NETLINK_NETFILTER: i32 = 12;
    const QUEUE_CONFIG: u16 = 3 << 8 | 2;
    const CFG_CMD: u16 = 1;
    const BIND: u8 = 1;
    // Family unspecified, version 0, queue 1 in network order.
    let bind = Message::new(QUEUE_CONFIG, ACK, &[0, 0, 0, 1]).attr(CFG_CMD, &[BIND, 0, 0, 0]);
    ns.enter(|| netlink::exchange(NETLINK_NETFILTER, vec![bind]))?.map(drop)
}

/// Asks for the listening TCP sockets, as attribution on a shared stack does.
fn sockets_by_owner() -> Finding {
    const NETLINK_SOCK_DIAG: i32 = 4;
    const BY_FAMILY: u16 = 20;
    const LISTEN: u32 = 1 << 10;
    let mut request = [0; 56];
    request[0] = libc::AF_INET as u8;
    request[1] = libc::IPPROTO_TCP as u8;
    request[4..8].copy_from_slice(&LISTEN.to_ne_bytes());
    let ask = Message::new(BY_FAMILY, DUMP, &request);
    let tried = netlink::exchange(NETLINK_SOCK_DIAG, vec![ask]).map(drop);
    outcome("socket owners", "tcp_diag udp_diag", false, &tried)
}

fn bridges() -> Finding {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/net/bridge/{name}"));
    let (v4, v6) = (setting("bridge-nf-call-iptables"), setting("bridge-nf-call-ip6tables"));
    let what = "bridged packets";
    match (v4, v6) {
        (Ok(v4), Ok(v6)) if v4.trim() == "1" && v6.trim() == "1" => {
            Finding::ok(what, "iptables sees them in this namespace").optional()
        }
        (Ok(_), _) => Finding::missing(
            what,
            "bridge-nf-call is 0 here: nodes behind a bridge must be attached to by namespace",
            "give nodes a `netns:`, `pid:` or `container:`; raftq does not change this setting",
        )
        .optional(),
        (Err(_), _) => Finding::missing(
            what,
            "br_netfilter is not loaded: nodes behind a bridge must be attached to by namespace",
            "give nodes a `netns:`, `pid:` or `container:`, or: modprobe br_netfilter (all bridged \
             traffic then passes the FORWARD rules)",
        )
        .optional(),
    }
}

fn scheduling(urgency: impl FnOnce() -> &'static str + Send) -> Finding {
    let granted = std::thread::scope(|scope| scope.spawn(urgency).join());
    let granted = granted.unwrap_or("nothing");
    match granted {
        "SCHED_FIFO" => Finding::ok("scheduling", granted).optional(),
        other => Finding::missing(
            "scheduling",
            format!("{other} instead of SCHED_FIFO: verdicts may be late on a busy machine"),
            "start raftq outside a control group that limits the CPU, with CAP_SYS_NICE",
        )
        .optional(),
    }
}

/// Limits of a container, and what former raftqs left.
fn surroundings() -> Vec<Finding> {
    let mut all = Vec::new();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|l| l.starts_with("Seccomp:") && l.ends_with('2')) {
        let detail = "a seccomp filter is in force; it may forbid setns and unshare";
        let mend = "docker run --security-opt seccomp=unconfined ...";
        all.push(Finding::missing("seccomp", detail, mend).optional());
    }
    if let Some(folder) = unwritable_folder() {
        let detail = format!("{folder} cannot be written");
        let mend = "run as root, or set RAFTQ_RUN_DIR to a folder that lasts until a reboot";
        all.push(Finding::missing("record folder", detail, mend));
    }
    let dead = record::all().iter().filter(|r| !record::live(r)).count();
    if dead > 0 {
        let detail = format!("{dead} killed raftqs have left records, maybe rules");
        all.push(Finding::missing("traces", detail, "sudo raftq clean").optional());
    }
    all
}

/// The run folder, or the first parent that exists, if it cannot be written.
fn unwritable_folder() -> Option<String> {
    let folder = record::folder();
    let exists = folder.ancestors().find(|path| path.exists())?;
    let may = nix::unistd::access(exists, nix::unistd::AccessFlags::W_OK);
    may.is_err().then(|| exists.display().to_string())
}
