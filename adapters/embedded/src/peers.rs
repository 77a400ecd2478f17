//! Connections between nodes: one in each direction of each pair, dialled by who speaks.
//!
//! On the wire, from the dialling node to the one that listens, and nothing the other way:
//!
//! ```text
//! preamble  "raftq-node/1 <cluster> <id of the dialling node>\n"
//! frames    length u32 BE | a protobuf eraftpb.Message of that length
//! ```
//!
//! A node dials from its own peer address, with any port, so that the sender of a packet is
//! plain. Nothing is sent twice: what cannot be sent is dropped and counted, as Raft allows.

use crate::core::Input;
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
    ways: HashMap<u64, Sender<Message>>,
    /// Messages that found their way full.
    pub(crate) dropped: u64,
}

impl Peers {
    /// Starts a thread for each peer.
    pub(crate) fn start(
        identity: &Identity,
        peers: impl Iterator<Item = (u64, SocketAddr)>,
        core: &Sender<Input>,
    ) -> io::Result<Self> {
        let mut ways = HashMap::new();
        for (id, address) in peers.filter(|(id, _)| *id != identity.id) {
            let (way, messages) = bounded(WAITING_MAX);
            let (identity, core) = (identity.clone(), core.clone());
            let run = move || speak(&identity, id, address, &messages, &core);
            std::thread::Builder::new().name(format!("to {id}")).spawn(run)?;
            ways.insert(id, way);
        }
        Ok(Self { ways, dropped: 0 })
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
    members: Vec<u64>,
    core: Sender<Input>,
) -> io::Result<()> {
    let cluster = identity.cluster.clone();
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let (cluster, members, core) = (cluster.clone(), members.clone(), core.clone());
            let hear = move || match hear(&stream, &cluster, &members, &core) {
                Ok(from) => log::info!("node {from} closed its connection"),
                Err(e) => log::info!("a peer's connection ended: {e}"),
            };
            if let Err(e) = std::thread::Builder::new().name("from".into()).spawn(hear) {
                log::error!("no thread for a peer's connection: {e}");
            }
        }
    };
    std::thread::Builder::new().name("peers".into()).spawn(accept).map(drop)
}

fn hear(
    stream: &TcpStream,
    cluster: &str,
    members: &[u64],
    core: &Sender<Input>,
) -> io::Result<u64> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut line = String::new();
    reader.by_ref().take(256).read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let from = match words.as_slice() {
        ["raftq-node/1", theirs, id] if *theirs == cluster => id.parse().ok(),
        _ => None,
    };
    let from: u64 = from
        .filter(|id| members.contains(id))
        .ok_or_else(|| bad(format!("{line:?} is no member of the cluster {cluster}")))?;
    log::info!("node {from} is connected");
    loop {
        let mut length = [0; 4];
        match reader.read_exact(&mut length) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(from),
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
            return Ok(from);
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
        if core.send(Input::Unreachable(to)).is_err() {
            return;
        }
        pause(messages, wait, core);
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// Lets time pass, dropping what there is to send.
fn pause(messages: &Receiver<Message>, wait: Duration, core: &Sender<Input>) {
    let until = crate::clock::now() + wait;
    while let Ok(message) = messages.recv_deadline(until) {
        lost(&message, core);
    }
}

fn lost(message: &Message, core: &Sender<Input>) {
    if message.get_msg_type() == MessageType::MsgSnapshot {
        let _ = core.send(Input::Snapshot(message.to, SnapshotStatus::Failure));
    }
}

/// Returns only by an error, or when the node ends.
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
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    // From our own address, with any port.
    socket.bind(&SockAddr::from(SocketAddr::new(identity.address.ip(), 0)))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))?;
    socket.connect_timeout(&SockAddr::from(to), DIAL_MAX)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(format!("raftq-node/1 {} {}\n", identity.cluster, identity.id).as_bytes())?;
    Ok(stream)
}
