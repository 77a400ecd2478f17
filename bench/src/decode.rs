//! What reading a message costs: captures of real clusters through `raftq::wire`, again and again.
//!
//! Taken are the connections that a capture neither opens nor ends, with all of their packets, bare
//! acknowledgements too. In each further round their bytes follow those of the round before, so
//! that they are new to the reader and every message is read. Counted is the CPU time of this
//! process, which other work on the machine disturbs less than the clock on the wall.

use crate::Fault;
use crate::clock::cpu_ns;
use crate::stats::median;
use pcap_file::pcap::PcapReader;
use raftq::packet::{Endpoint, PacketView, Proto, tcp_flags};
use raftq::time::Nanos;
use raftq::wire::{Protocol, Reader, Segment};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a message may take.
const TARGET_NS: f64 = 1_000.0;

/// Title, capture, protocol, port of the nodes.
const LOADS: [(&str, &str, Protocol, u16); 4] = [
    ("etcd, heartbeats", "etcd34-1-idle-heartbeats", Protocol::Etcd, 2380),
    ("etcd, writes", "etcd34-2-writes", Protocol::Etcd, 2380),
    ("embedded, heartbeats", "raftrs-1-idle-heartbeats", Protocol::Embedded, 7000),
    ("embedded, writes", "raftrs-2-writes", Protocol::Embedded, 7000),
];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The folder of the captures
    #[arg(long, default_value = "tests/pcaps")]
    captures: PathBuf,
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// How long one sample takes, in milliseconds
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
}

/// Measures each load so many times, in turn. Ends with 1 where the target is missed.
pub(crate) fn run(options: &Options) -> Result<u8, Fault> {
    let loads =
        LOADS.map(|(_, name, protocol, port)| Load::new(&options.captures, name, protocol, port));
    let mut samples: [Vec<Sample>; LOADS.len()] = std::array::from_fn(|_| Vec::new());
    for _ in 0..options.rounds {
        for (load, samples) in loads.iter().zip(&mut samples) {
            let load = load.as_ref().map_err(ToString::to_string)?;
            samples.push(load.sample(options.sample)?);
        }
    }
    let mut missed = false;
    for ((title, ..), samples) in LOADS.iter().zip(&samples) {
        let column = |of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<_>>();
        let by_message = column(|sample| sample.ns / sample.messages);
        let message = median(&by_message).ok_or("no round was made")?;
        let packet = median(&column(|s| s.ns / s.packets)).ok_or("no round was made")?;
        let (least, greatest) =
            by_message.iter().fold((f64::MAX, 0.0_f64), |(l, g), &ns| (l.min(ns), g.max(ns)));
        let met = message <= TARGET_NS;
        missed |= !met;
        println!(
            "{title}: {message:.0} ns a message ({least:.0} to {greatest:.0}), {packet:.0} ns a \
             packet; {}",
            if met { "met" } else { "missed" }
        );
    }
    println!("target: {TARGET_NS} ns a message; medians of {} rounds", options.rounds);
    Ok(u8::from(missed))
}

struct Packet {
    at: Nanos,
    src: Endpoint,
    dst: Endpoint,
    seq: u32,
    flags: u8,
    payload: Vec<u8>,
    /// By how much `seq` grows from round to round.
    stride: u32,
}

struct Load {
    protocol: Protocol,
    peers: Vec<Endpoint>,
    packets: Vec<Packet>,
    lasts: u64,
}

struct Sample {
    ns: f64,
    messages: f64,
    packets: f64,
}

impl Load {
    fn new(folder: &Path, name: &str, protocol: Protocol, port: u16) -> Result<Self, Fault> {
        let path = folder.join(format!("{name}.pcap"));
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut reader = PcapReader::new(file)?;
        let mut packets = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet?;
            packets.extend(tcp(Nanos(packet.timestamp.as_nanos() as u64), &packet.data));
        }
        let ends = |packet: &Packet| (packet.src.min(packet.dst), packet.src.max(packet.dst));
        let turns = tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST;
        let turned: HashSet<_> =
            packets.iter().filter(|packet| packet.flags & turns != 0).map(ends).collect();
        packets.retain(|packet| !turned.contains(&ends(packet)));
        let mut strides: HashMap<_, u32> = HashMap::new();
        for packet in &packets {
            *strides.entry((packet.src, packet.dst)).or_default() += packet.payload.len() as u32;
        }
        let mut peers = Vec::new();
        for packet in &mut packets {
            packet.stride = strides[&(packet.src, packet.dst)];
            peers.extend([packet.src, packet.dst].into_iter().filter(|end| end.port == port));
        }
        let (Some(first), Some(last)) = (packets.first(), packets.last()) else {
            return Err(format!("{}: no connection goes on throughout", path.display()).into());
        };
        let lasts = last.at.0 - first.at.0;
        Ok(Self { protocol, peers, packets, lasts })
    }

    /// Reads for so long.
    fn sample(&self, ms: u32) -> Result<Sample, Fault> {
        let mut reader = Reader::new(self.protocol, &self.peers);
        let mut messages = 0_u64;
        // Buffers grow, and directions are taken up, before counting starts.
        (0..3).for_each(|round| self.round(round, &mut reader, &mut messages));
        let before = messages;
        let start = cpu_ns(std::process::id())?;
        let mut round = 3;
        let ns = loop {
            self.round(round, &mut reader, &mut messages);
            round += 1;
            let ns = cpu_ns(std::process::id())? - start;
            if ns >= u64::from(ms) * 1_000_000 {
                break ns as f64;
            }
        };
        let lost = reader.coverage(Nanos::ZERO).lost;
        if lost > 0 || messages == before {
            return Err(format!("{} messages, {lost} times lost", messages - before).into());
        }
        let packets = f64::from(round - 3) * self.packets.len() as f64;
        Ok(Sample { ns, messages: (messages - before) as f64, packets })
    }

    fn round(&self, round: u32, reader: &mut Reader, messages: &mut u64) {
        for packet in &self.packets {
            let segment = Segment {
                at: Nanos(packet.at.0 + self.lasts * u64::from(round)),
                src: packet.src,
                dst: packet.dst,
                seq: packet.seq.wrapping_add(packet.stride.wrapping_mul(round)),
                flags: packet.flags,
                payload: &packet.payload,
                whole: true,
            };
            reader.take(&segment, &mut |_, message, entries| {
                *messages += 1;
                std::hint::black_box((message, entries));
            });
        }
    }
}

/// The TCP segment in a frame of Ethernet with IPv4.
fn tcp(at: Nanos, frame: &[u8]) -> Option<Packet> {
    let ip = frame.get(14..)?;
    let len = u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]);
    let view = PacketView::parse(ip, u32::from(len), 0).ok()?;
    let payload = ip.get(usize::from(view.header_len)..usize::from(len))?.to_vec();
    let (src, dst, seq, flags) = (view.src, view.dst, view.seq, view.flags);
    (view.proto == Proto::Tcp).then_some(Packet { at, src, dst, seq, flags, payload, stride: 0 })
}
