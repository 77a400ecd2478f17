//! Frames and the connections that carry them.
//!
//! A frame is eight bytes, kind, nought, payload length (16 bits) and number (32 bits), big
//! endian, and then the payload. Over UDP a frame is a datagram.
//!
//! A TCP sender never loses a frame's remainder: what the kernel does not take within a moment
//! waits in a buffer of the probe's own, which has a limit, and beyond it messages are refused.

use super::Transport;
use crate::clock::Deadline;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// The length of a frame's head in bytes.
pub const HEAD: usize = 8;

/// The largest datagram there is, in bytes.
pub const DATAGRAM_MAX: usize = 1 << 16;

/// How long a send may hold up its caller when the peer has stalled.
const SEND_MAX: Duration = Duration::from_millis(5);

/// What may wait in a sender of its own, in bytes.
const WAITING_MAX: usize = 1 << 20;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Wants an answer of the same number and length.
    Question = 1,
    /// Is that answer.
    Answer = 2,
    /// A message of a one-way stream.
    Message = 3,
    /// Asks for that many messages on this connection; the payload is the pace between them
    /// in microseconds (32 bits, big endian), padded to the length that each is to have.
    Stream = 4,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub kind: Kind,
    /// Its number within its direction.
    pub number: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of `size` bytes in all, head included; at least a head.
    #[must_use]
    pub fn sized(kind: Kind, number: u32, size: u16) -> Self {
        Self { kind, number, payload: vec![0; usize::from(size).saturating_sub(HEAD)] }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let length = u16::try_from(self.payload.len()).expect("a payload is under 64 KiB");
        let mut bytes = vec![self.kind as u8, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The first whole frame of `bytes` and its length; `None` until there is one.
    pub fn decode(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some(head) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let kind = match head[0] {
            1 => Kind::Question,
            2 => Kind::Answer,
            3 => Kind::Message,
            4 => Kind::Stream,
            other => return Err(io::Error::other(format!("no frame begins with {other}"))),
        };
        let end = HEAD + usize::from(u16::from_be_bytes([head[2], head[3]]));
        let number = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(payload) = bytes.get(HEAD..end) else { return Ok(None) };
        Ok(Some((Self { kind, number, payload: payload.to_vec() }, end)))
    }
}

/// The side of a connection that sends.
#[derive(Debug)]
pub enum Sender {
    /// With what the kernel has not taken yet.
    Tcp(TcpStream, Vec<u8>),
    /// To the socket's peer, or to the address given.
    Udp(UdpSocket, Option<SocketAddr>),
}

/// What became of a send that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The kernel has all of it.
    Whole,
    /// Some of it, or of what came before, waits in the sender.
    Waiting,
    /// The sender's own buffer is full too; the frame is gone.
    Refused,
}

impl Sender {
    /// Sends a frame, or what waits if there is none.
    pub fn send(&mut self, frame: Option<&Frame>) -> io::Result<Taken> {
        match self {
            Self::Udp(socket, to) => {
                let Some(frame) = frame else { return Ok(Taken::Whole) };
                let bytes = frame.encode();
                to.map_or_else(|| socket.send(&bytes), |to| socket.send_to(&bytes, to))?;
                Ok(Taken::Whole)
            }
            Self::Tcp(stream, waiting) => {
                if waiting.len() > WAITING_MAX {
                    flush(stream, waiting)?;
                    return Ok(Taken::Refused);
                }
                waiting.extend(frame.map(Frame::encode).unwrap_or_default());
                flush(stream, waiting)?;
                Ok(if waiting.is_empty() { Taken::Whole } else { Taken::Waiting })
            }
        }
    }
}

/// The side of a connection that receives.
#[derive(Debug)]
pub enum Receiver {
    /// With the bytes of a frame that is not yet whole.
    Tcp(TcpStream, Vec<u8>),
    /// From the socket's peer.
    Udp(UdpSocket),
}

impl Receiver {
    /// The next frame; `None` when the deadline passes first. A peer that closed its side is
    /// [`ErrorKind::UnexpectedEof`].
    pub fn receive(&mut self, deadline: Deadline) -> io::Result<Option<Frame>> {
        let mut bytes = vec![0; DATAGRAM_MAX];
        loop {
            if let Self::Tcp(_, waiting) = self
                && let Some((frame, length)) = Frame::decode(waiting)?
            {
                waiting.drain(..length);
                return Ok(Some(frame));
            }
            // Zero would mean no limit at all.
            let left = deadline.left().max(Duration::from_micros(1));
            let got = match self {
                Self::Tcp(stream, _) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut bytes)
                }
                Self::Udp(socket) => {
                    socket.set_read_timeout(Some(left))?;
                    socket.recv(&mut bytes)
                }
            };
            match (got, &mut *self) {
                (Err(error), _) if timed_out(&error) => {
                    if deadline.passed() {
                        return Ok(None);
                    }
                }
                (Err(error), _) => return Err(error),
                (Ok(0), Self::Tcp(..)) => return Err(ErrorKind::UnexpectedEof.into()),
                (Ok(length), Self::Tcp(_, waiting)) => waiting.extend(&bytes[..length]),
                (Ok(length), Self::Udp(_)) => {
                    let whole = Frame::decode(&bytes[..length])?;
                    return Ok(whole.map(|(frame, _)| frame));
                }
            }
        }
    }
}

/// A connection that was dialled: both its sides and its addresses.
#[derive(Debug)]
pub struct Dialled {
    /// Sends.
    pub sender: Sender,
    /// Receives.
    pub receiver: Receiver,
    /// Its own address.
    pub local: SocketAddr,
}

/// Dials `to`, from `from` if given, within `limit`. A UDP dial only fixes the addresses.
pub fn dial(
    transport: Transport,
    to: SocketAddr,
    from: Option<SocketAddr>,
    limit: Duration,
) -> io::Result<Dialled> {
    let socket = socket(transport, to)?;
    if let Some(from) = from {
        // A connection dialled again from a given port meets its predecessor in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(from))?;
    }
    match transport {
        Transport::Tcp => {
            socket.connect_timeout(&SockAddr::from(to), limit)?;
            let (sender, receiver) = tcp_sides(socket.into())?;
            let Sender::Tcp(stream, _) = &sender else { unreachable!("TCP's sender is TCP") };
            let local = stream.local_addr()?;
            Ok(Dialled { sender, receiver, local })
        }
        Transport::Udp => {
            socket.connect(&SockAddr::from(to))?;
            let socket: UdpSocket = socket.into();
            let local = socket.local_addr()?;
            let sender = Sender::Udp(socket.try_clone()?, None);
            Ok(Dialled { sender, receiver: Receiver::Udp(socket), local })
        }
    }
}

/// A socket bound to `at`; TCP's listens.
pub fn listen(transport: Transport, at: SocketAddr) -> io::Result<Socket> {
    let socket = socket(transport, at)?;
    if transport == Transport::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(at))?;
    if transport == Transport::Tcp {
        socket.listen(128)?;
    }
    Ok(socket)
}

/// A socket that listens at `at` beside others that do the same, and takes nothing: processes
/// that share a port are one node to whoever looks at socket owners.
pub fn listen_beside(at: SocketAddr) -> io::Result<Socket> {
    let socket = socket(Transport::Tcp, at)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(at))?;
    socket.listen(1)?;
    Ok(socket)
}

/// Both sides of a TCP connection, sending small frames at once.
pub fn tcp_sides(stream: TcpStream) -> io::Result<(Sender, Receiver)> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(SEND_MAX))?;
    let sender = Sender::Tcp(stream.try_clone()?, Vec::new());
    Ok((sender, Receiver::Tcp(stream, Vec::new())))
}

/// Whether an error only says that a socket's timeout passed.
#[must_use]
pub fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn socket(transport: Transport, address: SocketAddr) -> io::Result<Socket> {
    match transport {
        Transport::Tcp => {
            Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        }
        Transport::Udp => {
            Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        }
    }
}

fn flush(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        match stream.write(waiting) {
            Ok(length) => drop(waiting.drain(..length)),
            Err(error) if timed_out(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_any_split() {
        let frame = Frame::sized(Kind::Message, 70_000, 300);
        let bytes = frame.encode();
        assert_eq!(bytes.len(), 300);
        for cut in 0..bytes.len() {
            assert_eq!(Frame::decode(&bytes[..cut]).expect("the head is good"), None, "{cut}");
        }
        let followed = [bytes.clone(), vec![1]].concat();
        assert_eq!(Frame::decode(&followed).expect("good"), Some((frame, bytes.len())));
    }

    #[test]
    fn strange_bytes_are_an_error() {
        assert!(Frame::decode(b"GET / HTTP/1.1").is_err());
    }
}
