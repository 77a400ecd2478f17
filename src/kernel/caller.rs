//! The other end of a control socket: finds it, asks one thing and reads the answer, and waits
//! for nobody longer than it was told to.

use super::clock;
use crate::time::Nanos;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The most bytes of an answer.
const ANSWER_MAX: u64 = 64 << 20;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query, encoded.
    pub target: &'a str,
    /// The type of a body, and the body.
    pub body: Option<(&'a str, &'a [u8])>,
}

/// Asks at a socket, and gives status and body. An error of kind `TimedOut` where that took
/// longer than `limit`; of kind `ConnectionRefused` or `NotFound` where nobody is there.
pub fn ask(path: &Path, question: &Question<'_>, limit: Nanos) -> io::Result<(u16, Vec<u8>)> {
    let until = clock::now() + limit;
    let mut stream = dial(path, limit).map_err(timed_out)?;
    let (kind, body) = question.body.unwrap_or_default();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: raftq\r\nConnection: close\r\n",
        question.method, question.target
    );
    if question.body.is_some() {
        let _ = write!(head, "Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    // Who refuses a request may stop reading it, and its answer is there all the same.
    let sent = [head.as_bytes(), body].iter().try_for_each(|part| send(&mut stream, part, until));
    match (read(&mut stream, until), sent) {
        (Ok(answer), Ok(())) => parse(&answer),
        (Ok(answer), Err(e)) => parse(&answer).map_err(|_| e),
        (Err(e), _) => Err(e),
    }
}

/// A connection; where the socket has no room for another it waits, as no other call here may.
fn dial(path: &Path, limit: Nanos) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let time = TimeVal::new(
        i64::try_from(limit.0 / 1_000_000_000).unwrap_or(i64::MAX),
        i64::try_from(limit.0 % 1_000_000_000 / 1_000).unwrap_or(0),
    );
    setsockopt(&fd, sockopt::SendTimeout, &time)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

fn send(stream: &mut UnixStream, mut bytes: &[u8], until: Nanos) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let n = stream.write(bytes).map_err(timed_out)?;
        bytes = &bytes[n..];
    }
    Ok(())
}

fn read(stream: &mut UnixStream, until: Nanos) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend(&part[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // It was closed with something unread; what came before is whole, or it shows.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(answer),
            Err(e) => return Err(timed_out(e)),
        }
        if answer.len() as u64 > ANSWER_MAX {
            return Err(io::Error::other("the answer does not end"));
        }
    }
}

fn parse(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is not whole");
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut headers);
    let head = match parsed.parse(answer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Err(broken()),
        Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e.to_string())),
    };
    let length = parsed.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let body = &answer[head..];
    if length != Some(body.len()) {
        return Err(broken());
    }
    Ok((parsed.code.unwrap_or(0), body.to_vec()))
}

fn left(until: Nanos) -> io::Result<Duration> {
    match until.saturating_sub(clock::now()) {
        Nanos::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(Duration::from_nanos(left.0)),
    }
}

/// A timeout of a socket shows as an operation that would have to wait.
fn timed_out(e: io::Error) -> io::Error {
    match e.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => e,
    }
}
