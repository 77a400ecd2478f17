//! Network namespaces as guards: a bridge with one namespace per node, or one with loopback.
//!
//! [`Bridged`] is the shape of a real cluster (addresses identify nodes); [`Stack`] is several
//! nodes on one machine's loopback. Both are built by `ip`, whose batch mode costs one process
//! a namespace, and removed on drop, a panic's drop included. What an owner left that a SIGKILL
//! ended is found by its name ([`crate::owner`]) and removed by [`clean_host`]. No thread is
//! held: who needs a socket inside calls [`Namespace::inside`].
//!
//! Refused here: routes, addresses or rules in the host's own namespace.

use crate::error::Context;
use crate::owner::{self, Owner};
use crate::{Error, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Where `ip` keeps the names of namespaces.
const NAMES: &str = "/run/netns";

/// One named network namespace, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new(name: String) -> Result<Self> {
        // The guard comes first: a command that was interrupted may have made the name.
        let made = Self { name };
        ip(None, &format!("netns add {}\n", made.name))?;
        Ok(made)
    }

    /// The name that `ip netns` and raftq's `netns:` take.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NAMES).join(&self.name)
    }

    /// Calls `work` on a short-lived thread inside; sockets that it returns stay inside.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| enter(&path).map(|()| work()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a short command inside, to its end, and gives what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<Output> {
        let command = || format!("{program} {} in {}", args.join(" "), self.name);
        let output = Command::new("ip")
            .args(["netns", "exec", &self.name, program])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .context(command)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::new(format!("{}: {}: {said}", command(), output.status)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// What may be said about a [`Bridged`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BridgeOptions {
    /// The links' MTU in bytes; the kernel's default without.
    pub mtu: Option<u32>,
}

/// A hub namespace with a bridge (10.77.0.254/24, `fd77::fe/64`) and `n` node namespaces with
/// `eth0` at 10.77.0.i/24 and `fd77::i/64`, i from 1.
#[derive(Debug)]
pub struct Bridged {
    // Nodes go first: removing a node's end of a link removes the bridge's end with it.
    nodes: Vec<Namespace>,
    hub: Namespace,
}

impl Bridged {
    /// Builds it; `prefix` begins with `rq` and shows in every name, n is 1 to 200.
    pub fn new(prefix: &str, n: usize, options: BridgeOptions) -> Result<Self> {
        assert!((1..=200).contains(&n), "1 to 200 nodes have an address each, not {n}");
        need_root()?;
        let base = owner::unique(prefix);
        let hub = Namespace::new(format!("{base}-hub"))?;
        let mut made = Self { nodes: Vec::new(), hub };
        for i in 1..=n {
            made.nodes.push(Namespace::new(format!("{base}-n{i}"))?);
        }
        ip(Some(&made.hub), &made.hub_script(options))?;
        for (i, node) in made.nodes.iter().enumerate() {
            ip(Some(node), &node_script(i, options))?;
        }
        Ok(made)
    }

    /// The namespace with the bridge, from where clients call.
    #[must_use]
    pub fn hub(&self) -> &Namespace {
        &self.hub
    }

    /// The nodes' namespaces, n1 first.
    #[must_use]
    pub fn nodes(&self) -> &[Namespace] {
        &self.nodes
    }

    /// Node `i`'s IPv4 address, counted from 0: n1 is 10.77.0.1.
    #[must_use]
    pub fn v4(i: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 0, host(i)))
    }

    /// Node `i`'s IPv6 address, counted from 0: n1 is `fd77::1`.
    #[must_use]
    pub fn v6(i: usize) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(host(i))))
    }

    fn hub_script(&self, options: BridgeOptions) -> String {
        let mtu = mtu(options);
        // Without spanning tree a port forwards at once; without snooping no multicast of
        // IPv6's neighbour discovery is ever held back for a querier that is not there.
        let mut script = String::from(
            "link set lo up\n\
             link add br0 type bridge stp_state 0 mcast_snooping 0\n\
             addr add 10.77.0.254/24 dev br0\n\
             addr add fd77::fe/64 dev br0 nodad\n",
        );
        let port = |(i, node): (usize, &Namespace)| {
            let (port, name) = (i + 1, node.name());
            [
                format!("link add p{port}{mtu} type veth peer name eth0{mtu} netns {name}\n"),
                format!("link set p{port} master br0 up\n"),
            ]
        };
        script.extend(self.nodes.iter().enumerate().flat_map(port));
        script + "link set br0 up\n"
    }
}

/// One namespace with `lo` up, for clusters whose nodes share a machine's loopback.
#[derive(Debug)]
pub struct Stack {
    space: Namespace,
}

impl Stack {
    /// Builds it; `prefix` begins with `rq`.
    pub fn new(prefix: &str) -> Result<Self> {
        need_root()?;
        let space = Namespace::new(format!("{}-lo", owner::unique(prefix)))?;
        ip(Some(&space), "link set lo up\n")?;
        Ok(Self { space })
    }

    /// The one namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.space
    }
}

/// Moves the calling thread into the namespace that `path` stands for, for good.
pub fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).context(|| format!("opening {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).context(|| format!("entering {}", path.display()))
}

/// Removes the namespaces of owners that are gone, ending the processes still inside, and
/// names what it removed. Namespaces of living owners, and other people's, are not touched.
pub fn clean_host() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    let Ok(names) = fs::read_dir(NAMES) else { return Ok(removed) };
    for entry in names {
        let name = entry.context(|| format!("reading {NAMES}"))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if Owner::of(name).is_none_or(Owner::lives) {
            continue;
        }
        let path = Path::new(NAMES).join(name);
        for pid in crate::process::inside_namespace(&path) {
            crate::process::end_stranger(pid, &path);
            removed.push(format!("process {pid} in {name}"));
        }
        remove(name);
        if path.exists() {
            return Err(Error::new(format!("cannot remove namespace {name}; are you root?")));
        }
        removed.push(format!("namespace {name}"));
    }
    Ok(removed)
}

/// The (device, inode) of a namespace: its identity, where a name may be made anew.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Says at once, instead of by a strange error of `ip`, that this takes root.
fn need_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(
        "making network namespaces needs root: run it by sudo, or as root (the targets of the \
         Makefile use sudo by themselves)",
    ))
}

fn node_script(i: usize, options: BridgeOptions) -> String {
    let (v4, v6, mtu) = (Bridged::v4(i), Bridged::v6(i), mtu(options));
    // nodad: an address in duplicate detection refuses binds for a second or two.
    format!(
        "link set lo up\n\
         link set eth0{mtu} up\n\
         addr add {v4}/24 dev eth0\n\
         addr add {v6}/64 dev eth0 nodad\n"
    )
}

fn mtu(options: BridgeOptions) -> String {
    options.mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default()
}

fn host(i: usize) -> u8 {
    u8::try_from(i + 1).expect("a bridge has at most 200 nodes")
}

/// One `ip -batch`, in `space` or in the caller's namespace; its errors name the line.
fn ip(space: Option<&Namespace>, script: &str) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(space) = space {
        command.args(["-n", space.name()]);
    }
    let step = || format!("ip -batch for {}", space.map_or(script.trim(), Namespace::name));
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("{} (is iproute2 installed? `make setup` does it)", step()))?;
    let mut input = child.stdin.take().expect("stdin was asked to be a pipe");
    // A child that ended early breaks the pipe; its status and stderr say why.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    let output = child.wait_with_output().context(step)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(format!("{}: {said}", step())))
}

/// Removes a name that may or may not be there; drop has nobody to tell, `clean_host` looks.
fn remove(name: &str) {
    if Path::new(NAMES).join(name).exists() {
        let _ = ip(None, &format!("netns del {name}\n"));
    }
}
