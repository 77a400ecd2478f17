//! The answering side: `serve` and `sink`.
//!
//! A thread a connection; they end with the program, which runs until it is killed.

use super::wire::{DATAGRAM_MAX, Frame, Kind, Sender, Taken, listen, tcp_sides, timed_out};
use super::{Event, Transport, What};
use crate::clock::{Deadline, pause};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest that a stalled sender waits before it tries again what it has left.
const PATIENCE: Duration = Duration::from_millis(50);

/// Serves until killed. A sink takes everything and sends nothing.
pub fn serve(transport: Transport, at: SocketAddr, sink: bool) -> io::Result<()> {
    let socket = listen(transport, at)?;
    let local = socket.local_addr()?.as_socket();
    Event { local, ..Event::now(What::Listening) }.print();
    match transport {
        Transport::Tcp => serve_tcp(&socket.into(), sink),
        Transport::Udp => serve_udp(&socket.into(), sink),
    }
}

fn serve_tcp(listener: &TcpListener, sink: bool) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept()?;
        Event { peer: Some(peer), ..Event::now(What::Connected) }.print();
        std::thread::spawn(move || {
            let why = match serve_connection(stream, peer, sink) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Event::failed(&error),
                _ => Event::now(What::Closed),
            };
            Event { peer: Some(peer), ..why }.print();
        });
    }
}

fn serve_connection(stream: TcpStream, peer: SocketAddr, sink: bool) -> io::Result<()> {
    let (sender, mut receiver) = tcp_sides(stream)?;
    let sender = Arc::new(Mutex::new(sender));
    loop {
        match receiver.receive(Deadline::after(PATIENCE))? {
            Some(frame) => take(&frame, peer, &sender, sink)?,
            // Nothing came: a chance for answers that the kernel had no room for.
            None => drop(send(&sender, None)?),
        }
    }
}

fn serve_udp(socket: &UdpSocket, sink: bool) -> io::Result<()> {
    let mut bytes = vec![0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((length, peer)) => match Frame::decode(&bytes[..length]) {
                Ok(Some((frame, _))) => {
                    let sender = Arc::new(Mutex::new(Sender::Udp(socket.try_clone()?, Some(peer))));
                    take(&frame, peer, &sender, sink).unwrap_or_else(|e| Event::failed(&e).print());
                }
                _ => Event::failed("a datagram that is no frame").print(),
            },
            Err(error) if timed_out(&error) => {}
            // A client's port that is closed again; the others go on.
            Err(error) => Event::failed(&error).print(),
        }
    }
}

fn take(
    frame: &Frame,
    peer: SocketAddr,
    sender: &Arc<Mutex<Sender>>,
    sink: bool,
) -> io::Result<()> {
    let tell = |what| Event { peer: Some(peer), ..Event::about(what, frame.number) }.print();
    match frame.kind {
        Kind::Question if !sink => {
            let answer = Frame { kind: Kind::Answer, ..frame.clone() };
            send(sender, Some(&answer))?;
            tell(What::Asked);
        }
        Kind::Stream if !sink => start_stream(frame, peer, Arc::clone(sender)),
        Kind::Question | Kind::Message => tell(What::Got),
        Kind::Stream | Kind::Answer => {}
    }
    Ok(())
}

/// Sends the numbered messages that a client asked for, at its pace, beside everything else.
fn start_stream(order: &Frame, peer: SocketAddr, sender: Arc<Mutex<Sender>>) {
    let pace = order.payload.first_chunk().map_or(0, |us| u32::from_be_bytes(*us));
    let (count, payload) = (order.number, order.payload.clone());
    let work = move || {
        for number in 0..count {
            let message = Frame { kind: Kind::Message, number, payload: payload.clone() };
            match send(&sender, Some(&message)) {
                Ok(taken) => {
                    let what = if taken == Taken::Whole { What::Sent } else { What::Stalled };
                    Event { peer: Some(peer), ..Event::about(what, number) }.print();
                }
                Err(error) => {
                    Event { peer: Some(peer), ..Event::failed(&error) }.print();
                    return;
                }
            }
            pause(Duration::from_micros(pace.into()));
        }
    };
    std::thread::spawn(work);
}

fn send(sender: &Mutex<Sender>, frame: Option<&Frame>) -> io::Result<Taken> {
    // A stream's thread that panicked leaves whole frames behind.
    sender.lock().unwrap_or_else(PoisonError::into_inner).send(frame)
}
