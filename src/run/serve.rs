//! The thread that lets others in: reads requests, refuses what makes no sense, hands the rest to
//! the main thread, and sends its answers back.
//!
//! It never waits for anybody in particular. Who sends nothing, or half a request, or does not
//! read, costs a place until his time is over, or until somebody else needs it; what the main
//! thread does not answer in time is answered for it.

use super::api::{self, Command, Routed};
use super::mailbox::{Inbox, Post, post};
use crate::kernel::clock;
use crate::kernel::door::{Door, Stream, Visitor};
use crate::kernel::http::{self, Answer, Read};
use crate::kernel::trouble::Trouble;
use crate::time::Nanos;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The most that are let in by one door at a time.
pub const PLACES: usize = 16;

/// How long a request may take to come, an answer to be found, and to be taken.
const PATIENCE: Nanos = Nanos::from_secs(5);

/// How long the rest of a refused request is read, so that its answer is not lost.
const REST: Nanos = Nanos::from_secs(1);

/// How long nobody is let in where letting in has failed.
const DEAF: Nanos = Nanos::from_millis(100);

/// What the main thread is asked.
#[derive(Debug)]
pub struct Call {
    /// To be given back with the answer.
    pub id: u64,
    /// Who asks.
    pub by: Visitor,
    /// What for.
    pub command: Command,
    /// When nobody waits for the answer any more.
    pub until: Nanos,
}

/// The main thread's hold on it. Dropping it closes the doors; who still waits is told so.
#[derive(Debug)]
pub struct Server {
    /// What is asked.
    pub calls: Inbox<Call>,
    answers: Post<(u64, Answer)>,
    end: Arc<AtomicBool>,
    bell: super::mailbox::Bell,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens for business.
    pub fn start(doors: Vec<Door>) -> Result<Self, Trouble> {
        let failed = |e: io::Error| Trouble::new(format!("no thread for the API ({e})"), "");
        let places = PLACES * doors.len().max(1);
        let (calls_out, calls) = post(places).map_err(failed)?;
        // Some are for those who have stopped waiting.
        let (answers, answers_in) = post(4 * places).map_err(failed)?;
        let (end, bell) = (Arc::new(AtomicBool::new(false)), answers_in.bell.clone());
        let mut house = House {
            doors,
            guests: Vec::new(),
            calls: calls_out,
            answers: answers_in,
            end: Arc::clone(&end),
            next_id: 0,
            deaf_until: Nanos::ZERO,
        };
        let thread = std::thread::Builder::new().name("raftq-api".into());
        let thread = thread.spawn(move || house.keep()).map_err(failed)?;
        Ok(Self { calls, answers, end, bell, thread: Some(thread) })
    }

    /// Answers a call.
    pub fn answer(&self, id: u64, answer: Answer) {
        // There is room for as many as may wait; who has gone needs none.
        let _ = self.answers.send((id, answer));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Somebody who was let in.
struct Guest {
    stream: Stream,
    who: Visitor,
    door: usize,
    doing: Doing,
    until: Nanos,
}

enum Doing {
    /// He speaks.
    Speaking(Vec<u8>),
    /// His call was handed on.
    Waiting(u64),
    /// He is told; so much of it he has.
    Told(Vec<u8>, usize),
    /// He was told; what he still says is not heard.
    Leaving,
    Gone,
}

struct House {
    doors: Vec<Door>,
    guests: Vec<Guest>,
    calls: Post<Call>,
    answers: Inbox<(u64, Answer)>,
    end: Arc<AtomicBool>,
    next_id: u64,
    /// Until when no door is looked at.
    deaf_until: Nanos,
}

impl House {
    fn keep(&mut self) {
        while !self.end.load(Ordering::Acquire) {
            self.wait();
            self.pass_on();
            let now = clock::now();
            for i in 0..self.guests.len() {
                self.attend(i, now);
            }
            self.guests.retain(|guest| !matches!(guest.doing, Doing::Gone));
            self.let_in(now);
        }
        // What the main thread has answered is theirs, and nobody is left without a word.
        self.pass_on();
        for guest in &mut self.guests {
            if matches!(guest.doing, Doing::Waiting(_) | Doing::Speaking(_)) {
                let way_out = "the cluster runs undisturbed; start another raftq to disturb it";
                guest.tell(&Answer::error(503, "raftq is detaching", way_out));
            }
        }
    }

    /// What the main thread has answered.
    fn pass_on(&mut self) {
        self.answers.open();
        while let Some((id, answer)) = self.answers.take() {
            let waits = |guest: &&mut Guest| matches!(guest.doing, Doing::Waiting(n) if n == id);
            if let Some(guest) = self.guests.iter_mut().find(waits) {
                guest.tell(&answer);
            }
        }
    }

    /// Until something is to be done.
    fn wait(&mut self) {
        let now = clock::now();
        let doors = if now < self.deaf_until { 0 } else { self.doors.len() };
        let bell = PollFd::new(self.answers.bell.as_fd(), PollFlags::POLLIN);
        let open = self.doors.iter().take(doors);
        let open = open.map(|door| PollFd::new(door.as_fd(), PollFlags::POLLIN));
        let guests = self.guests.iter().map(|guest| {
            let flags = match guest.doing {
                Doing::Speaking(_) | Doing::Leaving => PollFlags::POLLIN,
                Doing::Told(..) => PollFlags::POLLOUT,
                // That he goes is told all the same.
                Doing::Waiting(_) | Doing::Gone => PollFlags::empty(),
            };
            PollFd::new(guest.stream.as_fd(), flags)
        });
        let mut all: Vec<PollFd<'_>> = [bell].into_iter().chain(open).chain(guests).collect();
        let deaf = (doors == 0).then_some(self.deaf_until);
        let next = self.guests.iter().map(|guest| guest.until).chain(deaf).min();
        let next = next.map(|until| until.saturating_sub(now));
        let time = next.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.0.div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
        });
        // An error is a signal's, and then everything is looked at in vain.
        let _ = poll(&mut all, time);
        // It would be said again and again of somebody who waits for his answer. By the loopback
        // it is not told from somebody who has said all that he wants to.
        let hung_up =
            |fd: &PollFd<'_>| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP));
        let gone: Vec<bool> = all.iter().skip(1 + doors).map(hung_up).collect();
        drop(all);
        for (guest, gone) in self.guests.iter_mut().zip(gone) {
            if gone && matches!(guest.doing, Doing::Waiting(_)) {
                guest.doing = Doing::Gone;
            }
        }
    }

    fn let_in(&mut self, now: Nanos) {
        for i in 0..self.doors.len() {
            // As many as there are places for come in at a time; others wait for their turn.
            for _ in 0..PLACES {
                let (stream, who) = match self.doors[i].let_in() {
                    Ok(Some(came)) => came,
                    Ok(None) => break,
                    Err(e) => {
                        // Such as too many open files; trying at once again would not help.
                        log::debug!("nobody can come in: {e}");
                        self.deaf_until = now + DEAF;
                        break;
                    }
                };
                self.make_room(i);
                let doing = Doing::Speaking(Vec::new());
                let mut guest = Guest { stream, who, door: i, doing, until: now + PATIENCE };
                let full = self.guests.iter().filter(|other| other.door == i).count() >= PLACES;
                if !who.is_welcome() {
                    let why = format!("this raftq is not yours ({who})");
                    guest.tell(&Answer::error(403, &why, "ask as its user, or as root: sudo"));
                } else if full {
                    let why = format!("{PLACES} calls are under way already");
                    guest.tell(&Answer::error(503, &why, "try again in a moment"));
                }
                self.guests.push(guest);
                let last = self.guests.len() - 1;
                self.attend(last, now);
            }
        }
        self.guests.retain(|guest| !matches!(guest.doing, Doing::Gone));
    }

    /// Where a door's places are taken, whoever has been speaking or leaving for longest goes.
    fn make_room(&mut self, door: usize) {
        let here = |guest: &&Guest| guest.door == door;
        if self.guests.iter().filter(here).count() < PLACES {
            return;
        }
        let idle = |guest: &Guest| {
            guest.door == door && !matches!(guest.doing, Doing::Waiting(_) | Doing::Told(..))
        };
        let oldest = (0..self.guests.len()).filter(|&i| idle(&self.guests[i]));
        if let Some(i) = oldest.min_by_key(|&i| self.guests[i].until) {
            self.guests.remove(i);
        }
    }

    fn attend(&mut self, i: usize, now: Nanos) {
        let guest = &mut self.guests[i];
        if let Doing::Speaking(_) = &guest.doing
            && let Some(request) = guest.listen()
        {
            let routed = api::route(&request, &guest.who);
            self.next_id += 1;
            match routed {
                Routed::Answer(answer) => guest.tell(&answer),
                Routed::Command(command) => {
                    let (id, by) = (self.next_id, guest.who);
                    guest.until = now + PATIENCE;
                    guest.doing = Doing::Waiting(id);
                    let call = Call { id, by, command, until: guest.until };
                    if self.calls.send(call).is_err() {
                        let way_out = "try again in a moment";
                        guest.tell(&Answer::error(503, "too many calls are under way", way_out));
                    }
                }
            }
        }
        match guest.doing {
            Doing::Told(..) => guest.say(),
            Doing::Leaving => guest.hear_out(),
            _ => {}
        }
        if now >= guest.until {
            guest.lose_patience();
        }
    }
}

impl Guest {
    /// Reads what has come; gives a request once it is whole.
    fn listen(&mut self) -> Option<http::Request> {
        let Doing::Speaking(said) = &mut self.doing else { return None };
        let mut part = [0; 16 << 10];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => {
                    self.doing = Doing::Gone;
                    return None;
                }
                Ok(n) => said.extend(&part[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.doing = Doing::Gone;
                    return None;
                }
            }
            match http::read(said) {
                Read::More { waits: false } => {}
                Read::More { waits: true } => {
                    // It fits into any buffer; who cannot be told it goes on without in a while.
                    let _ = self.stream.write(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Read::Whole(request) => return Some(request),
                Read::Refused(answer) => {
                    self.tell(&answer);
                    return None;
                }
            }
        }
    }

    fn tell(&mut self, answer: &Answer) {
        self.until = clock::now() + PATIENCE;
        self.doing = Doing::Told(answer.bytes(), 0);
        self.say();
    }

    fn say(&mut self) {
        let Doing::Told(words, at) = &mut self.doing else { return };
        while *at < words.len() {
            match self.stream.write(&words[*at..]) {
                Ok(n) => *at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.doing = Doing::Gone;
                    return;
                }
            }
        }
        self.stream.end();
        self.doing = Doing::Leaving;
        self.until = clock::now() + REST;
        self.hear_out();
    }

    /// Reads until he is done, so that closing does not take the answer back.
    fn hear_out(&mut self) {
        let mut part = [0; 16 << 10];
        // Who sends without end is closed on.
        for _ in 0..http::BODY_MAX / part.len() {
            match self.stream.read(&mut part) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => break,
            }
        }
        self.doing = Doing::Gone;
    }

    /// His time is over.
    fn lose_patience(&mut self) {
        match self.doing {
            Doing::Speaking(_) => {
                let why = "the request did not come within 5 s";
                self.tell(&Answer::error(408, why, "send it in one go"));
            }
            Doing::Waiting(_) => {
                let why = "raftq did not get to it within 5 s; it may still come into force";
                self.tell(&Answer::error(504, why, "GET /v1/rules says what is in force"));
            }
            Doing::Told(..) | Doing::Leaving | Doing::Gone => self.doing = Doing::Gone,
        }
    }
}
