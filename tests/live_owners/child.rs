//! A process that opens sockets when told: this test binary, run once more.
//!
//! One command a line on its standard input, one answer each on its standard output, after
//! an `@`. Sockets are numbered from 0 in the order of their making. It ends with its input.

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockname,
    listen, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;
use raftq::kernel::owners::Owners;
use raftq::packet::{Endpoint, NodeId, Proto};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The parent's end: kills and reaps the process when dropped.
pub(crate) struct Role {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    sockets: usize,
}

impl Role {
    pub(crate) fn spawn() -> Self {
        Self::spawn_by(&[])
    }

    /// Spawns it by way of another command, such as `setpriv`.
    pub(crate) fn spawn_by(prefix: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut words = prefix.iter().map(std::convert::AsRef::as_ref).chain([own.as_os_str()]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .args(["--ignored", "--exact", "role_of_a_child", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output, sockets: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Listens on TCP, beside others if need be; `backlog` connections more than one may wait.
    pub(crate) fn listen(&mut self, addr: &str, backlog: u32) -> usize {
        self.tell(&format!("listen {addr} {backlog}"));
        self.made()
    }

    /// Dials and does not wait for the answer: the new socket's number and its own end.
    pub(crate) fn dial(&mut self, to: &str) -> (usize, Endpoint) {
        let local = self.tell(&format!("dial {to}"));
        (self.made(), end(&local))
    }

    /// The same, on a socket bound to a device.
    pub(crate) fn dial_on(&mut self, to: &str, device: &str) -> Endpoint {
        let local = self.tell(&format!("dial {to} {device}"));
        self.made();
        end(&local)
    }

    /// Binds a UDP port that others may bind, too.
    pub(crate) fn udp(&mut self, addr: &str) -> (usize, Endpoint) {
        let local = self.tell(&format!("udp {addr}"));
        (self.made(), end(&local))
    }

    /// Connects a UDP socket; its own end afterwards.
    pub(crate) fn connect(&mut self, number: usize, to: &str) -> Endpoint {
        end(&self.tell(&format!("connect {number} {to}")))
    }

    /// Accepts on a listener; the other end.
    pub(crate) fn accept(&mut self, number: usize) -> Endpoint {
        let peer = self.tell(&format!("accept {number}"));
        self.made();
        end(&peer)
    }

    pub(crate) fn close(&mut self, number: usize) {
        self.tell(&format!("close {number}"));
    }

    /// Starts a process that inherits the socket, and outlives this one.
    pub(crate) fn share(&mut self, number: usize) -> Heir {
        Heir(self.tell(&format!("share {number}")).parse().unwrap())
    }

    /// Looks for nodes at these addresses from within the process: the outcome as text.
    pub(crate) fn survey(&mut self, addrs: &str) -> String {
        self.tell(&format!("survey {addrs}"))
    }

    /// Asks, from within the process, for a socket's owner, of one node: the answer as text.
    pub(crate) fn ask(&mut self, node: &str, local: Endpoint, remote: Endpoint) -> String {
        self.tell(&format!("ask {node} {} {}", local.socket_addr(), remote.socket_addr()))
    }

    fn made(&mut self) -> usize {
        self.sockets += 1;
        self.sockets - 1
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            let len = self.output.read_line(&mut line).unwrap();
            assert_ne!(len, 0, "the child ended at: {command}");
            if let Some(answer) = line.trim_end().strip_prefix('@') {
                return answer.to_owned();
            }
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A process that inherited a socket; its parent or init reaps it.
pub(crate) struct Heir(pub(crate) u32);

impl Drop for Heir {
    fn drop(&mut self) {
        kill(Pid::from_raw(self.0.cast_signed()), Signal::SIGKILL).unwrap();
    }
}

pub(crate) fn end(text: &str) -> Endpoint {
    Endpoint::new(text.parse().unwrap())
}

/// The child's end: does what it is told until its input ends.
pub(crate) fn play() {
    let mut sockets: Vec<Option<OwnedFd>> = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        // The test runner's own words stand on the line before.
        println!("\n@{}", obey(&words, &mut sockets));
    }
}

fn obey(words: &[&str], sockets: &mut Vec<Option<OwnedFd>>) -> String {
    let number = |text: &str| text.parse::<usize>().unwrap();
    let of = |sockets: &[Option<OwnedFd>], text: &str| {
        sockets[number(text)].as_ref().unwrap().as_raw_fd()
    };
    let made = match words {
        ["listen", addr, backlog] => {
            let fd = open(addr, SockType::Stream, SockFlag::empty());
            setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
            setsockopt(&fd, sockopt::ReusePort, &true).unwrap();
            bind(fd.as_raw_fd(), &storage(addr)).unwrap();
            listen(&fd, Backlog::new(backlog.parse::<i32>().unwrap()).unwrap()).unwrap();
            fd
        }
        ["dial", addr, device @ ..] => {
            let fd = open(addr, SockType::Stream, SockFlag::SOCK_NONBLOCK);
            for device in device {
                setsockopt(&fd, sockopt::BindToDevice, &device.into()).unwrap();
            }
            let outcome = connect(fd.as_raw_fd(), &storage(addr));
            assert!(matches!(outcome, Ok(()) | Err(nix::Error::EINPROGRESS)), "{outcome:?}");
            fd
        }
        ["udp", addr] => {
            let fd = open(addr, SockType::Datagram, SockFlag::empty());
            setsockopt(&fd, sockopt::ReusePort, &true).unwrap();
            bind(fd.as_raw_fd(), &storage(addr)).unwrap();
            fd
        }
        ["accept", socket] => {
            let fd = sockets[number(socket)].as_ref().unwrap().try_clone().unwrap();
            let (stream, peer) = TcpListener::from(fd).accept().unwrap();
            sockets.push(Some(stream.into()));
            return peer.to_string();
        }
        ["connect", socket, addr] => {
            let raw = of(sockets, socket);
            connect(raw, &storage(addr)).unwrap();
            return getsockname::<SockaddrStorage>(raw).unwrap().to_string();
        }
        ["close", socket] => {
            sockets[number(socket)] = None;
            return String::new();
        }
        ["share", socket] => return share(sockets[number(socket)].as_ref().unwrap()),
        ["survey", addrs @ ..] => return survey(addrs),
        ["ask", node, local, remote] => {
            let mut owners = Owners::open(vec![(NodeId(0), vec![end(node)])]).unwrap();
            return owners.owner(Proto::Tcp, end(local), end(remote)).unwrap().to_string();
        }
        _ => panic!("not a command: {words:?}"),
    };
    let local: SockaddrStorage = getsockname(made.as_raw_fd()).unwrap();
    sockets.push(Some(made));
    local.to_string()
}

fn storage(addr: &str) -> SockaddrStorage {
    addr.parse::<SocketAddr>().unwrap().into()
}

fn open(addr: &str, kind: SockType, flags: SockFlag) -> OwnedFd {
    let v4 = addr.parse::<SocketAddr>().unwrap().is_ipv4();
    let family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, kind, flags | SockFlag::SOCK_CLOEXEC, None).unwrap()
}

/// Duplicates without close-on-exec and starts a process that has the duplicate.
fn share(fd: &OwnedFd) -> String {
    let inherited = nix::unistd::dup(fd).unwrap();
    let mut heir = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    drop(inherited);
    let pid = heir.id();
    // Reaps it once somebody ends it.
    std::thread::spawn(move || heir.wait());
    pid.to_string()
}

fn survey(addrs: &[&str]) -> String {
    let nodes = addrs.iter().enumerate().map(|(i, addr)| (NodeId(i as u16), vec![end(addr)]));
    let found = Owners::open(nodes.collect()).and_then(|mut owners| owners.refresh());
    match found {
        Ok(found) => format!("{found:?}"),
        Err(err) => format!("{:?}: {err}", err.kind()),
    }
}
