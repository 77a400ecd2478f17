//! Captures of real clusters, and what is read in them.
//!
//! `tests/pcaps/` has three nodes each of etcd 3.4 and 3.5, of tikv's raft-rs under a node like
//! the embedded one, of the embedded one itself, and of others. Taken on a bridge, the nodes at
//! 10.77.0.1 to .3; those named `loopback` on one loopback. `embedded-4-joins-leads-and-is-killed`
//! has one loopback, too: three nodes start, one of them takes 20 writes, a fourth is added, gets
//! a snapshot and the leadership, and is killed by SIGKILL; its successor takes 5 writes.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod golden;
pub(crate) mod recut;

use raftq::packet::{Endpoint, PacketView, Proto};
use raftq::run::capture::IpPacket;
use raftq::time::Nanos;
use raftq::wire::{Coverage, Entry, Heard, Message, Protocol, Reader, Segment};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A system of which there are captures.
pub(crate) struct System {
    /// What their names begin with.
    pub(crate) prefix: &'static str,
    pub(crate) protocol: Protocol,
    /// Where its nodes listen.
    pub(crate) port: u16,
}

/// All of them. Another protocol is another line.
pub(crate) const SYSTEMS: &[System] = &[
    System { prefix: "etcd34", protocol: Protocol::Etcd, port: 2380 },
    System { prefix: "etcd35", protocol: Protocol::Etcd, port: 2380 },
    System { prefix: "embedded", protocol: Protocol::Embedded, port: 7000 },
    System { prefix: "hraft", protocol: Protocol::Hashicorp, port: 8300 },
    System { prefix: "nats215", protocol: Protocol::Nats, port: 6222 },
    System { prefix: "nats29", protocol: Protocol::Nats, port: 6222 },
    System { prefix: "raftrs", protocol: Protocol::Embedded, port: 7000 },
];

/// A segment of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) at: Nanos,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    pub(crate) seq: u32,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) whole: bool,
}

impl Captured {
    pub(crate) fn segment(&self) -> Segment<'_> {
        let Self { at, src, dst, seq, flags, ref payload, whole } = *self;
        Segment { at, src, dst, seq, flags, payload, whole }
    }
}

/// A message with where it was heard and its entries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) at: Nanos,
    pub(crate) heard: Heard,
    pub(crate) message: Message,
    pub(crate) entries: Vec<Entry>,
}

/// A capture.
pub(crate) struct Capture {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) peers: Vec<Endpoint>,
    pub(crate) segments: Vec<Captured>,
}

/// The folder of the tests.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The names of all captures of these systems, in order.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("pcaps")).expect("the captures are there");
    let mut names: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.expect("a readable folder").file_name().into_string().ok()?;
            Some(name.strip_suffix(".pcap")?.to_owned())
        })
        .filter(|name| SYSTEMS.iter().any(|system| name.starts_with(system.prefix)))
        .collect();
    names.sort();
    names
}

/// Reads a capture. Times count from its first packet.
pub(crate) fn capture(name: &str) -> Capture {
    let path = folder().join("pcaps").join(format!("{name}.pcap"));
    let mut file = raftq::run::capture::Capture::open(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let system = SYSTEMS.iter().find(|system| name.starts_with(system.prefix)).expect("known");
    let (mut segments, mut first) = (Vec::new(), None);
    while let Some(packet) = file.next_packet().expect("a packet of a capture") {
        let at = Nanos(packet.at_ns - *first.get_or_insert(packet.at_ns));
        segments.push(segment(at, &packet.ip.expect("IP in Ethernet")));
    }
    let mut peers: Vec<_> = segments
        .iter()
        .flat_map(|segment| [segment.src, segment.dst])
        .filter(|end| end.port == system.port)
        .collect();
    peers.sort_unstable();
    peers.dedup();
    Capture { name: name.to_owned(), protocol: system.protocol, peers, segments }
}

/// The TCP segment in a packet.
fn segment(at: Nanos, ip: &IpPacket) -> Captured {
    let view = PacketView::parse(&ip.bytes, ip.len, 0).expect("a readable packet");
    assert_eq!(view.proto, Proto::Tcp);
    let shown = &ip.bytes[usize::from(view.header_len)..];
    Captured {
        at,
        src: view.src,
        dst: view.dst,
        seq: view.seq,
        flags: view.flags,
        payload: shown.to_vec(),
        whole: shown.len() == view.payload_len() as usize,
    }
}

/// Reads a capture, and says how many messages each segment made whole.
pub(crate) fn read_one_by_one(capture: &Capture, mut say: impl FnMut(usize, &Captured, usize)) {
    let mut reader = Reader::new(capture.protocol, &capture.peers);
    for (i, segment) in capture.segments.iter().enumerate() {
        let mut told = 0;
        reader.take(&segment.segment(), &mut |_, _, _| told += 1);
        say(i, segment, told);
    }
}

/// The segments of a capture that goes on as it was, for the so many-th time: its bytes follow
/// those of the time before. Only for captures that open and end no connection.
pub(crate) fn continued(capture: &Capture, round: u32) -> Vec<Captured> {
    let mut lengths = HashMap::new();
    for segment in &capture.segments {
        assert_eq!(segment.flags & 7, 0, "neither SYN nor FIN nor RST");
        let length: &mut u32 = lengths.entry((segment.src, segment.dst)).or_default();
        *length += segment.payload.len() as u32;
    }
    let last = capture.segments.last().expect("segments").at;
    let later = |segment: &Captured| Captured {
        at: Nanos(segment.at.0 + last.0 * u64::from(round)),
        seq: segment.seq.wrapping_add(round.wrapping_mul(lengths[&(segment.src, segment.dst)])),
        ..segment.clone()
    };
    capture.segments.iter().map(later).collect()
}

/// Reads segments as those of this capture's cluster.
pub(crate) fn read(capture: &Capture, segments: &[Captured]) -> (Vec<Told>, Coverage) {
    let mut reader = Reader::new(capture.protocol, &capture.peers);
    let mut told = Vec::new();
    for segment in segments {
        reader.take(&segment.segment(), &mut |heard, message, entries| {
            let (heard, message, entries) = (*heard, *message, entries.to_vec());
            told.push(Told { at: segment.at, heard, message, entries });
        });
    }
    let end = segments.last().map_or(Nanos::ZERO, |segment| segment.at);
    (told, reader.coverage(end))
}
