//! Where others come in: a socket beside the run's record, for its owner only, and a loopback
//! address for whoever is on this host.
//!
//! Says who came, and reads and writes without waiting. What is asked is `http.rs`'s and the
//! API's business.

use super::record;
use super::trouble::Trouble;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Uid;
use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The ending of control sockets in the run folder.
pub const ENDING: &str = "sock";

/// One place to come in by. Dropping it closes it, and deletes the socket's file.
#[derive(Debug)]
pub enum Door {
    /// By a socket in the run folder.
    Own(UnixListener, PathBuf),
    /// By an address of the loopback.
    Loopback(TcpListener, SocketAddr),
}

impl Door {
    /// The control socket of a run, which none but its owner and root may use.
    pub fn own(run_id: &str) -> io::Result<Self> {
        let path = path(run_id);
        // A run id is never used twice, so that what lies there is of nobody.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        // Who came before this line is asked who he is, too.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self::Own(listener, path))
    }

    /// An address of the loopback; any other is refused, since whoever reaches it may cut the
    /// cluster.
    pub fn loopback(address: SocketAddr) -> Result<Self, Trouble> {
        if !address.ip().is_loopback() {
            return Err(Trouble::new(
                format!("{address} is no loopback address: others could cut the cluster by it"),
                format!("--listen 127.0.0.1:{0} or [::1]:{0}", address.port()),
            ));
        }
        let listen = || -> io::Result<_> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok(Self::Loopback(listener, bound))
        };
        listen().map_err(|e| {
            Trouble::new(
                format!("nothing can listen at {address} ({e})"),
                "name another port with --listen; 0 takes a free one",
            )
        })
    }

    /// The next who came, if anybody did.
    pub fn let_in(&self) -> io::Result<Option<(Stream, Visitor)>> {
        let came = match self {
            Self::Own(listener, _) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                let who = getsockopt(&stream, sockopt::PeerCredentials)?;
                Ok((Stream::Own(stream), Visitor::User { uid: who.uid(), pid: who.pid() }))
            }),
            Self::Loopback(listener, at) => listener.accept().and_then(|(stream, from)| {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok((Stream::Loopback(stream), Visitor::Address { from, at: *at }))
            }),
        };
        match came {
            Ok(came) => Ok(Some(came)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(listener, _) => listener.as_fd(),
            Self::Loopback(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Own(_, path) = self {
            let _ = fs::remove_file(path);
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(_, path) => path.display().fmt(f),
            Self::Loopback(_, at) => write!(f, "http://{at}"),
        }
    }
}

/// The control socket of a run.
#[must_use]
pub fn path(run_id: &str) -> PathBuf {
    record::folder().join(format!("{run_id}.{ENDING}"))
}

/// The control sockets that lie in the run folder: the run's id and the path of each.
pub fn sockets() -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(record::folder())? {
        let path = entry?.path();
        let is_socket = path.extension().is_some_and(|ending| ending == ENDING);
        if let Some(id) = path.file_stem().filter(|_| is_socket) {
            found.push((id.to_string_lossy().into_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Deletes a file, which may be gone already.
pub fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Who came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// By the socket: a user of this host, and his process.
    User {
        /// The user.
        uid: u32,
        /// The process.
        pid: i32,
    },
    /// By the loopback.
    Address {
        /// His address.
        from: SocketAddr,
        /// Ours.
        at: SocketAddr,
    },
}

impl Visitor {
    /// Whether he may ask for anything at all. By the loopback everybody on this host may.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        match self {
            Self::User { uid, .. } => *uid == 0 || *uid == Uid::effective().as_raw(),
            Self::Address { .. } => true,
        }
    }
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { uid, pid } => write!(f, "uid {uid}, pid {pid}"),
            Self::Address { from, .. } => from.fmt(f),
        }
    }
}

/// A connection that never makes anybody wait.
#[derive(Debug)]
pub enum Stream {
    /// By the socket.
    Own(UnixStream),
    /// By the loopback.
    Loopback(TcpStream),
}

impl Stream {
    /// Nothing more goes out. What still comes is to be read before it is closed, or the other
    /// side may lose what was sent.
    pub fn end(&self) {
        // It fails where the other side has gone.
        let _ = match self {
            Self::Own(stream) => stream.shutdown(Shutdown::Write),
            Self::Loopback(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(stream) => stream.as_fd(),
            Self::Loopback(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => stream.read(to),
            Self::Loopback(stream) => stream.read(to),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(stream) => stream.write(from),
            Self::Loopback(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
