//! The asking side: `ask` and `send`.

use super::wire::{Dialled, Frame, Kind, Receiver, Sender, Taken, dial, listen_beside};
use super::{Event, Transport, What};
use crate::clock::{Deadline, now, pause};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Whom to talk to, and how.
#[derive(Debug, Clone, Copy)]
pub struct Dial {
    /// TCP or UDP.
    pub transport: Transport,
    /// The server.
    pub to: SocketAddr,
    /// The own address; the kernel's choice without.
    pub from: Option<SocketAddr>,
    /// Where it listens besides, so that raftq knows whose process it is.
    pub known_as: Option<SocketAddr>,
    /// How long a dial may take.
    pub limit: Duration,
}

/// How much, how fast, how big.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages or questions.
    pub count: u32,
    /// From the start of one to the start of the next.
    pub every: Duration,
    /// Bytes of each, the head of eight included.
    pub size: u16,
}

/// Asks `count` questions one after the other; an answer that takes longer than `timeout` is
/// told as late when it comes. With `redial` a connection that failed, or on which a question
/// timed out, is dialled anew; without, a connection that failed ends it.
pub fn ask(with: Dial, pace: Pace, timeout: Duration, redial: bool) -> io::Result<()> {
    let _known = listen_as(with)?;
    let mut asking = Asking { with, asked_us: Vec::new(), connection: None };
    let start = now();
    for n in 0..pace.count {
        let due = start + pace.every * n;
        asking.listen_until(Deadline::after(due.saturating_sub(now())));
        let outcome = asking.question(n, pace.size, timeout);
        let failed = match outcome {
            Ok(in_time) => !in_time,
            Err(error) => {
                Event { n: Some(n), ..Event::failed(&error) }.print();
                // Over UDP an error is an ICMP message about one datagram, not an end.
                if !redial && with.transport == Transport::Tcp {
                    return Err(error);
                }
                true
            }
        };
        if failed && redial {
            asking.connection = None;
        }
    }
    Event::now(What::Done).print();
    Ok(())
}

struct Asking {
    with: Dial,
    /// When each question was sent.
    asked_us: Vec<u64>,
    connection: Option<Dialled>,
}

impl Asking {
    /// Whether question `n` was answered in time.
    fn question(&mut self, n: u32, size: u16, timeout: Duration) -> io::Result<bool> {
        // Kept even where the dial fails, so that numbers and places stay in step.
        self.asked_us.push(now().as_micros() as u64);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(self.with)?),
        };
        self.asked_us[n as usize] = now().as_micros() as u64;
        connection.sender.send(Some(&Frame::sized(Kind::Question, n, size)))?;
        let deadline = Deadline::after(timeout);
        while let Some(frame) = connection.receiver.receive(deadline)? {
            if tell_answer(&frame, n, &self.asked_us) {
                return Ok(true);
            }
        }
        Event::about(What::TimedOut, n).print();
        Ok(false)
    }

    /// Waits for the next question's time, telling answers that come late.
    fn listen_until(&mut self, deadline: Deadline) {
        let Some(connection) = &mut self.connection else {
            return pause(deadline.left());
        };
        while !deadline.passed() {
            match connection.receiver.receive(deadline) {
                Ok(Some(frame)) => drop(tell_answer(&frame, u32::MAX, &self.asked_us)),
                Ok(None) => {}
                // The question that follows meets the same error and is told with it.
                Err(_) => pause(deadline.left()),
            }
        }
    }
}

/// Prints an answer; true when it is the one to question `n`.
fn tell_answer(frame: &Frame, n: u32, asked_us: &[u64]) -> bool {
    let Some(asked_us) = asked_us.get(frame.number as usize) else { return false };
    let in_time = frame.number == n;
    let event = Event::about(if in_time { What::Answered } else { What::Late }, frame.number);
    Event { us: Some(event.at_us.saturating_sub(*asked_us)), ..event }.print();
    in_time
}

/// Sends `count` numbered messages one way and goes on listening for `linger` after the last.
/// With `back` the server is asked to send as many on the same connection; each that arrives
/// is told.
pub fn send(with: Dial, pace: Pace, back: bool, linger: Duration) -> io::Result<()> {
    let _known = listen_as(with)?;
    let Dialled { mut sender, mut receiver, .. } =
        connect(with).inspect_err(|error| Event::failed(&error).print())?;
    let outcome = std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            if back {
                sender.send(Some(&stream_order(pace)))?;
            }
            send_all(&mut sender, pace, linger)
        });
        let all = pace.every * pace.count + linger;
        let expected = if back { pace.count } else { 0 };
        receive_all(&mut receiver, expected, with.transport, Deadline::after(all));
        sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    outcome.inspect_err(|error| Event::failed(&error).print())?;
    Event::now(What::Done).print();
    Ok(())
}

fn send_all(sender: &mut Sender, pace: Pace, linger: Duration) -> io::Result<()> {
    let start = now();
    let mut waiting = false;
    for n in 0..pace.count {
        pause((start + pace.every * n).saturating_sub(now()));
        match sender.send(Some(&Frame::sized(Kind::Message, n, pace.size))) {
            Ok(taken) => {
                waiting = taken != Taken::Whole;
                let what = if waiting { What::Stalled } else { What::Sent };
                Event::about(what, n).print();
            }
            Err(error) => match sender {
                Sender::Tcp(..) => return Err(error),
                Sender::Udp(..) => Event { n: Some(n), ..Event::failed(&error) }.print(),
            },
        }
    }
    let deadline = Deadline::after(linger);
    while waiting && !deadline.passed() {
        waiting = sender.send(None)? != Taken::Whole;
    }
    Ok(())
}

/// Tells what arrives, until all that is expected has or the deadline passes.
fn receive_all(receiver: &mut Receiver, expected: u32, transport: Transport, deadline: Deadline) {
    let mut got = 0;
    while got < expected && !deadline.passed() {
        match receiver.receive(deadline) {
            Ok(Some(frame)) if frame.kind == Kind::Message => {
                Event::about(What::Got, frame.number).print();
                got += 1;
            }
            Ok(_) => {}
            Err(error) => {
                Event::failed(&error).print();
                if transport == Transport::Tcp {
                    return;
                }
            }
        }
    }
}

fn stream_order(pace: Pace) -> Frame {
    let mut order = Frame::sized(Kind::Stream, pace.count, pace.size.max(12));
    let every = u32::try_from(pace.every.as_micros()).unwrap_or(u32::MAX);
    order.payload[..4].copy_from_slice(&every.to_be_bytes());
    order
}

/// The socket that says which node this is, where that was asked for; to be kept.
fn listen_as(with: Dial) -> io::Result<Option<Socket>> {
    with.known_as.map(listen_beside).transpose().inspect_err(|error| Event::failed(error).print())
}

fn connect(with: Dial) -> io::Result<Dialled> {
    let dialled = dial(with.transport, with.to, with.from, with.limit)?;
    let (local, peer) = (Some(dialled.local), Some(with.to));
    Event { local, peer, ..Event::now(What::Connected) }.print();
    Ok(dialled)
}
