//! Connections between nodes: one in each direction of each pair, dialled by who speaks.
//!
//! On the wire, from the dialling node to the one that listens, and nothing the other way:
//!
//! ```text
//! preamble  "raftq-node/1 <cluster> <id of the dialling node> <its address for peers>\n"
//! frames    length u32 BE | a protobuf eraftpb.Message of that length
//! ```
//!
//! The address is for a listener that has not heard of this member yet: it may be asked for its
//! vote by one whose addition it missed. A node that joins asks otherwise, see `join.rs`.
//!
//! A node dials from its own peer address, with any port, so that the sender of a packet is
//! plain. Nothing is sent twice: what cannot be sent is dropped and counted, as Raft allows.

use crate::core::Input;
use crate::http::Reply;
use crate::join::{self, PREAMBLE as JOIN};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use protobuf::Message as _;
use raft::SnapshotStatus;
use raft::eraftpb::{Message, MessageType};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Messages that wait for one peer; further ones are dropped.
const WAITING_MAX: usize = 4096;

/// The most ways to other nodes. Members are few; a stranger that dials again and again under
/// new ids gets no more threads than this.
const WAYS_MAX: usize = 64;

/// The largest frame that is believed.
const FRAME_MAX: usize = 1 << 30;

/// The most bytes of one write, unless a single message is larger.
const WRITE_MAX: usize = 1 << 20;

/// How long dialling may take.
const DIAL_MAX: Duration = Duration::from_secs(1);

/// How long sent bytes may stay unacknowledged before the connection is given up: TCP's own
/// patience would keep a healed link silent for many seconds.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Between two attempts to dial: from, to.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(320));

/// What a member's connection begins with.
const PREAMBLE: &str = "raftq-node/1";

/// What a node needs to speak with its peers.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// This node's id.
    pub(crate) id: u64,
    /// Its peer address.
    pub(crate) address: SocketAddr,
}

/// The ways to all peers.
#[derive(Debug)]
pub(crate) struct Peers {
    identity: Identity,
    core: Sender<Input>,
    ways: HashMap<u64, Sender<Message>>,
    /// Messages that found their way full.
    pub(crate) dropped: u64,
}

impl Peers {
    /// No way yet.
    pub(crate) fn new(identity: Identity, core: Sender<Input>) -> Self {
        Self { identity, core, ways: HashMap::new(), dropped: 0 }
    }

    /// Makes a way to a peer, with a thread of its own, unless there is one.
    pub(crate) fn meet(&mut self, id: u64, address: SocketAddr) {
        if id == self.identity.id || self.ways.contains_key(&id) || self.ways.len() >= WAYS_MAX {
            return;
        }
        let (way, messages) = bounded(WAITING_MAX);
        let (identity, core) = (self.identity.clone(), self.core.clone());
        let run = move || speak(&identity, id, address, &messages, &core);
        match std::thread::Builder::new().name(format!("to {id}")).spawn(run) {
            Ok(_) => drop(self.ways.insert(id, way)),
            Err(e) => log::error!("no thread for the way to node {id}: {e}"),
        }
    }

    /// Ends the ways to nodes that are gone, once what waits for them is sent.
    pub(crate) fn part(&mut self, gone: impl Fn(u64) -> bool) {
        self.ways.retain(|id, _| !gone(*id));
    }

    /// Sends, or drops.
    pub(crate) fn send(&mut self, message: Message) {
        let Some(way) = self.ways.get(&message.to) else { return };
        if let Err(TrySendError::Full(_)) = way.try_send(message) {
            self.dropped += 1;
        }
    }
}

/// Takes connections of peers for as long as the process lives.
pub(crate) fn listen(
    identity: &Identity,
    listener: TcpListener,
    core: Sender<Input>,
) -> io::Result<()> {
    let cluster = identity.cluster.clone();
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let (cluster, core) = (cluster.clone(), core.clone());
            let hear = move || match hear(&stream, &cluster, &core) {
                Ok(()) => {}
                Err(e) => log::info!("a peer's connection ended: {e}"),
            };
            if let Err(e) = std::thread::Builder::new().name("from".into()).spawn(hear) {
                log::error!("no thread for a peer's connection: {e}");
            }
        }
    };
    std::thread::Builder::new().name("peers".into()).spawn(accept).map(drop)
}

/// Who dialled, and what for.
#[derive(Debug, PartialEq)]
enum Caller {
    /// A member, by its id, with its address.
    Member(u64, SocketAddr),
    /// The folder of a node of this name, which wants to know its id.
    Joining(String, u64),
}

fn caller(line: &str, cluster: &str) -> Option<Caller> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [PREAMBLE, theirs, id, address] if *theirs == cluster => {
            Some(Caller::Member(id.parse().ok()?, address.parse().ok()?))
        }
        [JOIN, theirs, name, folder] if *theirs == cluster => {
            Some(Caller::Joining((*name).to_owned(), folder.parse().ok()?))
        }
        _ => None,
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn hear(stream: &TcpStream, cluster: &str, core: &Sender<Input>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    reader.by_ref().take(256).read_line(&mut line)?;
    match caller(&line, cluster) {
        Some(Caller::Member(from, address)) => {
            log::info!("node {from} is connected");
            if core.send(Input::Met(from, address)).is_ok() {
                hear_member(reader, from, core)?;
            }
            log::info!("node {from} closed its connection");
            Ok(())
        }
        Some(Caller::Joining(name, folder)) => {
            let (reply, answer) = Reply::to_joining();
            let _ = core.send(Input::Join(name, folder, reply));
            join::answer(stream, &answer)
        }
        None => Err(bad(format!("{line:?} is nobody of the cluster {cluster}"))),
    }
}

fn hear_member(
    mut reader: BufReader<&TcpStream>,
    from: u64,
    core: &Sender<Input>,
) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        match reader.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_MAX {
            return Err(bad(format!("a message of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes)?;
        let message = Message::parse_from_bytes(&bytes).map_err(|e| bad(e.to_string()))?;
        if message.from != from && message.get_msg_type() != MessageType::MsgPropose {
            return Err(bad(format!("node {from} speaks as node {}", message.from)));
        }
        if core.send(Input::Peer(message)).is_err() {
            return Ok(());
        }
    }
}

fn speak(
    identity: &Identity,
    to: u64,
    address: SocketAddr,
    messages: &Receiver<Message>,
    core: &Sender<Input>,
) {
    let mut wait = BACK_OFF.0;
    let mut last_told = String::new();
    loop {
        match dial(identity, address) {
            Ok(stream) => {
                wait = BACK_OFF.0;
                last_told.clear();
                log::info!("connected to node {to}");
                let Err(e) = pass_on(&stream, to, messages, core) else { return };
                log::info!("the connection to node {to} ended: {e}");
            }
            Err(e) => {
                // Told once, not for each of many attempts.
                if last_told != e.to_string() {
                    log::info!("node {to} cannot be reached: {e}");
                    last_told = e.to_string();
                }
            }
        }
        // What waited meanwhile is stale; Raft sends anew what still matters.
        for message in messages.try_iter() {
            lost(&message, core);
        }
        if core.send(Input::Unreachable(to)).is_err() || !pause(messages, wait, core) {
            return;
        }
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// Lets time pass, dropping what there is to send; whether the way is still wanted.
fn pause(messages: &Receiver<Message>, wait: Duration, core: &Sender<Input>) -> bool {
    let until = crate::clock::now() + wait;
    loop {
        match messages.recv_deadline(until) {
            Ok(message) => lost(&message, core),
            Err(e) => return e.is_timeout(),
        }
    }
}

fn lost(message: &Message, core: &Sender<Input>) {
    if message.get_msg_type() == MessageType::MsgSnapshot {
        let _ = core.send(Input::Snapshot(message.to, SnapshotStatus::Failure));
    }
}

/// Returns only by an error, or when the way is not wanted any more.
fn pass_on(
    mut stream: &TcpStream,
    to: u64,
    messages: &Receiver<Message>,
    core: &Sender<Input>,
) -> io::Result<()> {
    let mut out = Vec::new();
    while let Ok(first) = messages.recv() {
        out.clear();
        let mut snapshots = 0;
        for message in std::iter::once(first).chain(messages.try_iter()) {
            snapshots += u32::from(message.get_msg_type() == MessageType::MsgSnapshot);
            let bytes = message.write_to_bytes()?;
            out.extend((bytes.len() as u32).to_be_bytes());
            out.extend(bytes);
            if out.len() > WRITE_MAX {
                break;
            }
        }
        let sent = stream.write_all(&out);
        let status = if sent.is_ok() { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        for _ in 0..snapshots {
            let _ = core.send(Input::Snapshot(to, status));
        }
        sent?;
    }
    Ok(())
}

fn dial(identity: &Identity, to: SocketAddr) -> io::Result<TcpStream> {
    let Identity { cluster, id, address } = identity;
    let mut stream = dial_from(*address, to)?;
    stream.write_all(format!("{PREAMBLE} {cluster} {id} {address}\n").as_bytes())?;
    Ok(stream)
}

/// A connection between these two nodes.
pub(crate) fn dial_from(own: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // From our own address, with any port.
    socket.bind(&SockAddr::from(SocketAddr::new(own.ip(), 0)))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))?;
    socket.connect_timeout(&SockAddr::from(to), DIAL_MAX)?;
    Ok(TcpStream::from(socket))
}
