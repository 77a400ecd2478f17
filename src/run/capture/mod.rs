//! Recorded packets: pcap and pcapng files, one IP packet after the other, with their times.
//!
//! Packets are numbered from 1, as other tools do. `frames.rs` finds the IP packet in a frame. It
//! refuses what it cannot read with the number of the packet, and guesses nothing: a packet without
//! a time, or of a link type that it does not know, is an error. What a short snap length has cut
//! off is not there, and is not made up.

mod frames;

use frames::LinkType;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{PcapError, TsResolution};
use std::fmt;
use std::fs::File;
use std::io::{Chain, Cursor, Read};
use std::path::Path;

/// A recorded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its number in the file, from 1.
    pub number: u64,
    /// When it was recorded: nanoseconds since 1970.
    pub at_ns: u64,
    /// Its IP packet; none in a frame that carries something else.
    pub ip: Option<IpPacket>,
}

/// The IP packet of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Its first bytes, as many as were recorded; without what pads a frame.
    pub bytes: Vec<u8>,
    /// How long it was, as its header says; as the frame says where that says nothing.
    pub len: u32,
}

/// What is wrong with a file of packets.
#[derive(Debug)]
pub struct Unread {
    /// At which packet, if it is one.
    pub packet: Option<u64>,
    /// What is wrong, in a sentence.
    pub why: String,
    /// A way out.
    pub help: &'static str,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet) = self.packet {
            write!(f, "packet {packet}: ")?;
        }
        write!(f, "{}", self.why)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n  help: {}", self.help) }
    }
}

/// A file of packets, read as it is asked for.
pub struct Capture {
    reader: Kind,
    /// Packets read so far.
    packets: u64,
}

type Bytes = Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

enum Kind {
    Pcap(PcapReader<Bytes>, LinkType),
    Ng(Box<PcapNgReader<Bytes>>),
}

/// The first four bytes of a pcapng file, in either order of bytes.
const NG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const NO_CAPTURE: &str = "record one with `tcpdump -i any -w FILE 'tcp port 2380'`";

impl Capture {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, Unread> {
        let file = File::open(path).map_err(|e| wrong(None, &format!("cannot be opened ({e})")))?;
        Self::new(Box::new(file))
    }

    /// Reads the head of a file.
    pub fn new(mut file: Box<dyn Read>) -> Result<Self, Unread> {
        let mut magic = Vec::new();
        file.by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(|e| wrong(None, &format!("cannot be read ({e})")))?;
        let is_ng = magic == NG_MAGIC;
        let bytes = Cursor::new(magic).chain(file);
        let foreign = |_| Unread {
            packet: None,
            why: "this is neither a pcap nor a pcapng file".into(),
            help: NO_CAPTURE,
        };
        let reader = if is_ng {
            Kind::Ng(Box::new(PcapNgReader::new(bytes).map_err(foreign)?))
        } else {
            let reader = PcapReader::new(bytes).map_err(foreign)?;
            let link = link_type(u32::from(reader.header().datalink), None)?;
            Kind::Pcap(reader, link)
        };
        Ok(Self { reader, packets: 0 })
    }

    /// The next packet; none at the end of the file.
    pub fn next_packet(&mut self) -> Result<Option<Recorded>, Unread> {
        let number = self.packets + 1;
        let frame = match &mut self.reader {
            Kind::Pcap(reader, link) => next_of_pcap(reader, *link, number),
            Kind::Ng(reader) => next_of_ng(reader, number),
        };
        let Some(Frame { at_ns, link, data, len }) = frame? else { return Ok(None) };
        self.packets = number;
        let ip = frames::ip_packet(link, &data, len);
        let ip = ip.map(|(bytes, len)| IpPacket { bytes: bytes.to_vec(), len });
        Ok(Some(Recorded { number, at_ns, ip }))
    }
}

/// A frame as the file has it.
struct Frame {
    at_ns: u64,
    link: LinkType,
    data: Vec<u8>,
    /// How long it was before a snap length cut it.
    len: u32,
}

fn next_of_pcap(
    reader: &mut PcapReader<Bytes>,
    link: LinkType,
    number: u64,
) -> Result<Option<Frame>, Unread> {
    let unit = match reader.header().ts_resolution {
        TsResolution::MicroSecond => 1_000,
        TsResolution::NanoSecond => 1,
    };
    // The raw form, since the checked one refuses what a snap length has cut.
    let packet = match reader.next_raw_packet() {
        None => return Ok(None),
        Some(packet) => packet.map_err(|e| broken(number, &e))?,
    };
    let fraction = u64::from(packet.ts_frac) * unit;
    if fraction >= 1_000_000_000 {
        return Err(wrong(Some(number), "its time has more than a second of nanoseconds"));
    }
    if packet.incl_len > packet.orig_len {
        return Err(wrong(Some(number), "more of it was recorded than there was"));
    }
    Ok(Some(Frame {
        at_ns: u64::from(packet.ts_sec) * 1_000_000_000 + fraction,
        link,
        len: packet.orig_len,
        data: packet.data.into_owned(),
    }))
}

fn next_of_ng(reader: &mut PcapNgReader<Bytes>, number: u64) -> Result<Option<Frame>, Unread> {
    loop {
        // What the file says of an interface, once the packet has let the reader go.
        let (interface, units, len, data) = match reader.next_block() {
            None => return Ok(None),
            Some(Err(e)) => return Err(broken(number, &e)),
            Some(Ok(Block::EnhancedPacket(packet))) => {
                let units = packet.timestamp.as_nanos();
                (packet.interface_id, units, packet.original_len, packet.data.into_owned())
            }
            Some(Ok(Block::Packet(packet))) => {
                let (interface, units) = (packet.interface_id, packet.timestamp);
                let data = packet.data.into_owned();
                (u32::from(interface), u128::from(units), packet.original_len, data)
            }
            Some(Ok(Block::SimplePacket(_))) => {
                return Err(Unread {
                    packet: Some(number),
                    why: "it has no time (a simple packet block)".into(),
                    help: "record it with times, as tcpdump and Wireshark do",
                });
            }
            Some(Ok(_)) => continue,
        };
        let Some(described) = reader.interfaces().get(interface as usize) else {
            let why = format!("it names interface {interface}, which the file does not describe");
            return Err(wrong(Some(number), &why));
        };
        let (mut resolution, mut offset) = (6, 0);
        for option in &described.options {
            match option {
                InterfaceDescriptionOption::IfTsResol(value) => resolution = *value,
                InterfaceDescriptionOption::IfTsOffset(seconds) => offset = *seconds,
                _ => {}
            }
        }
        let far = || wrong(Some(number), "its time is beyond all that nanoseconds can count");
        let at_ns = nanos(units, resolution).ok_or_else(far)?;
        let offset = offset.checked_mul(1_000_000_000).ok_or_else(far)?;
        let at_ns = at_ns.checked_add(offset).ok_or_else(far)?;
        let link = link_type(u32::from(described.linktype), Some(number))?;
        if data.len() > len as usize {
            return Err(wrong(Some(number), "more of it was recorded than there was"));
        }
        return Ok(Some(Frame { at_ns, link, data, len }));
    }
}

/// A time in units of 10^-n seconds, or with the highest bit set of 2^-n (pcapng, 4.2,
/// `if_tsresol`).
fn nanos(units: u128, resolution: u8) -> Option<u64> {
    let exponent = u32::from(resolution & 0x7f);
    let per_second = if resolution & 0x80 == 0 {
        10_u128.checked_pow(exponent)?
    } else {
        1_u128.checked_shl(exponent).filter(|units| *units > 0)?
    };
    u64::try_from(units.checked_mul(1_000_000_000)? / per_second).ok()
}

fn link_type(number: u32, packet: Option<u64>) -> Result<LinkType, Unread> {
    // The upper bits say what stands behind a frame, which nobody reads here.
    LinkType::of(number & 0x03ff_ffff).ok_or_else(|| Unread {
        packet,
        why: format!("frames of link type {number} cannot be read"),
        help: "Ethernet, raw IP, Linux cooked (`tcpdump -i any`) and loopback ones can",
    })
}

fn broken(number: u64, error: &PcapError) -> Unread {
    let cut = |e: &std::io::Error| e.kind() == std::io::ErrorKind::UnexpectedEof;
    match error {
        PcapError::IoError(e) if cut(e) => Unread {
            packet: Some(number),
            why: "the file ends in the middle of it, or it claims an impossible length".into(),
            help: "end the recording with Ctrl-C, so that it is whole",
        },
        PcapError::IoError(e) => wrong(Some(number), &format!("cannot be read ({e})")),
        other => wrong(Some(number), &format!("the file is damaged ({other})")),
    }
}

fn wrong(packet: Option<u64>, why: &str) -> Unread {
    Unread { packet, why: why.to_owned(), help: "" }
}
