//! The same packets in other files: pcap and pcapng, other links, other clocks, cut short. And
//! files that cannot be read, each with the number of the packet and a way out.

use pcap_file::pcap::{PcapHeader, PcapReader, PcapWriter, RawPcapPacket};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::simple_packet::SimplePacketBlock;
use pcap_file::{DataLink, TsResolution};
use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const CAPTURE: &str = "etcd34-2-writes";

const RULES: &str = "cluster:\n  nodes: { n1: 10.77.0.1:2380, n2: 10.77.0.2:2380, n3: \
                     10.77.0.3:2380 }\nrules:\n  - { name: slow, from: n1, do: { delay: { by: 4ms, \
                     jitter: 2ms } } }\n  - { name: lost, from: n2, where: { chance: 20% }, do: { \
                     drop: { what: packets } } }\n";

/// A frame of Ethernet with its time.
struct Frame {
    at: Duration,
    bytes: Vec<u8>,
}

fn frames() -> Vec<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pcaps");
    let file = File::open(path.join(format!("{CAPTURE}.pcap"))).expect("the capture");
    let mut reader = PcapReader::new(file).expect("a capture");
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.expect("a packet");
        frames.push(Frame { at: packet.timestamp, bytes: packet.data.into_owned() });
    }
    frames
}

struct Lab {
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        lab.rules(RULES);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rules(&self, text: &str) {
        fs::write(self.path("rules.yaml"), text).expect("a temporary file");
    }

    fn run(&self, pcap: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_raftq"))
            .args(["simulate", "rules.yaml", pcap])
            .current_dir(self.folder.path())
            .output()
            .expect("raftq can be started")
    }

    fn right(&self, pcap: &str) -> String {
        let output = self.run(pcap);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{pcap}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn wrong(&self, pcap: &str) -> String {
        let output = self.run(pcap);
        assert_eq!(output.status.code(), Some(4), "{pcap}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    /// A pcap of what `change` makes of each frame, the first `cut` bytes of it.
    fn pcap(&self, name: &str, link: u32, cut: usize, change: impl Fn(&[u8]) -> Vec<u8>) {
        let header = PcapHeader {
            datalink: DataLink::from(link),
            snaplen: cut as u32,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let file = File::create(self.path(name)).expect("a temporary file");
        let mut writer = PcapWriter::with_header(file, header).expect("a header");
        for Frame { at, bytes } in frames() {
            let frame = change(&bytes);
            let kept = &frame[..frame.len().min(cut)];
            let packet = RawPcapPacket {
                ts_sec: at.as_secs() as u32,
                ts_frac: at.subsec_nanos(),
                incl_len: kept.len() as u32,
                orig_len: frame.len() as u32,
                data: Cow::Borrowed(kept),
            };
            writer.write_raw_packet(&packet).expect("a packet");
        }
    }

    /// A pcapng whose times are in units of 10^-`resolution` s.
    fn pcapng(&self, name: &str, resolution: Option<u8>) {
        let file = File::create(self.path(name)).expect("a temporary file");
        let mut writer = PcapNgWriter::new(file).expect("a header");
        let mut interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
        interface.options.extend(resolution.map(InterfaceDescriptionOption::IfTsResol));
        writer.write_pcapng_block(interface).expect("an interface");
        let unit = 10_u128.pow(9 - u32::from(resolution.unwrap_or(6)));
        for Frame { at, bytes } in frames() {
            let packet = EnhancedPacketBlock {
                interface_id: 0,
                // The crate writes these nanoseconds as they are, whatever the unit.
                timestamp: Duration::from_nanos((at.as_nanos() / unit) as u64),
                original_len: bytes.len() as u32,
                data: Cow::Owned(bytes),
                options: Vec::new(),
            };
            writer.write_pcapng_block(packet).expect("a packet");
        }
    }
}

fn behind(head: &[u8], frame: &[u8]) -> Vec<u8> {
    [head, &frame[14..]].concat()
}

#[test]
fn the_same_packets_are_judged_alike_in_every_file() {
    let lab = Lab::new();
    lab.pcap("ethernet.pcap", 1, 65_535, <[u8]>::to_vec);
    let wanted = lab.right("ethernet.pcap");
    assert!(wanted.contains("\"slow\"") && wanted.contains("dropped  \"lost\""), "{wanted}");
    assert!(wanted.lines().count() > 500);
    lab.pcap("raw.pcap", 101, 65_535, |frame| behind(&[], frame));
    lab.pcap("vlan.pcap", 1, 65_535, |frame| {
        let tags = [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2];
        [&frame[..12], &tags, &frame[12..]].concat()
    });
    lab.pcap("cooked.pcap", 113, 65_535, |frame| {
        behind(&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0], frame)
    });
    lab.pcap("cooked2.pcap", 276, 65_535, |frame| {
        let mut head = [0; 20];
        (head[0], head[7], head[9]) = (8, 3, 1);
        behind(&head, frame)
    });
    lab.pcap("null.pcap", 0, 65_535, |frame| behind(&[2, 0, 0, 0], frame));
    lab.pcap("loop.pcap", 108, 65_535, |frame| behind(&[0, 0, 0, 2], frame));
    lab.pcap("padded.pcap", 1, 65_535, |frame| [frame, &[0; 6]].concat());
    lab.pcapng("nanoseconds.pcapng", Some(9));
    lab.pcapng("microseconds.pcapng", None);
    for other in [
        "raw.pcap",
        "vlan.pcap",
        "cooked.pcap",
        "cooked2.pcap",
        "null.pcap",
        "loop.pcap",
        "padded.pcap",
        "nanoseconds.pcapng",
        "microseconds.pcapng",
    ] {
        assert!(lab.right(other) == wanted, "{other} differs");
    }
}

#[test]
fn packets_cut_by_a_snap_length_are_judged_as_if_whole() {
    let lab = Lab::new();
    lab.pcap("whole.pcap", 1, 65_535, <[u8]>::to_vec);
    lab.pcap("cut.pcap", 1, 80, <[u8]>::to_vec);
    assert!(frames().iter().any(|frame| frame.bytes.len() > 80), "something was cut");
    assert!(lab.right("cut.pcap") == lab.right("whole.pcap"), "headers are enough");
    // What is shorter than its headers cannot be read, and passes.
    lab.pcap("headless.pcap", 1, 40, <[u8]>::to_vec);
    let output = lab.run("headless.pcap");
    assert_eq!(output.status.code(), Some(3), "no rule ever matches");
    assert!(String::from_utf8_lossy(&output.stdout).contains("accepted, it cannot be read"));
}

#[test]
fn frames_without_ip_are_passed_over() {
    let lab = Lab::new();
    let file = File::create(lab.path("arp.pcap")).expect("a temporary file");
    let mut writer = PcapWriter::new(file).expect("a header");
    let mut arp = vec![0; 60];
    (arp[12], arp[13]) = (8, 6);
    for data in [arp, vec![1, 2, 3], Vec::new()] {
        let packet = RawPcapPacket {
            ts_sec: 1,
            ts_frac: 0,
            incl_len: data.len() as u32,
            orig_len: data.len() as u32,
            data: Cow::Owned(data),
        };
        writer.write_raw_packet(&packet).expect("a packet");
    }
    lab.rules(&RULES.replace("do:", "optional: true, do:"));
    let told = lab.right("arp.pcap");
    assert_eq!(told.matches("accepted, no IP").count(), 3, "{told}");
}

#[test]
fn files_that_cannot_be_read_are_refused_at_their_packet() {
    let lab = Lab::new();
    lab.pcap("whole.pcap", 1, 65_535, <[u8]>::to_vec);
    let whole = fs::read(lab.path("whole.pcap")).expect("the capture");
    fs::write(lab.path("cut.pcap"), &whole[..whole.len() - 3]).expect("a temporary file");
    let told = lab.run("cut.pcap");
    let last = frames().len();
    let errors = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(4));
    let wanted = format!("cut.pcap: packet {last}: the file ends in the middle of it");
    assert!(errors.contains(&wanted), "{errors}");
    let before = String::from_utf8_lossy(&told.stdout).lines().count();
    assert!(before >= last - 1, "what could be read was told");

    fs::write(lab.path("text"), "no packets here, but text enough").expect("a temporary file");
    fs::write(lab.path("empty"), "").expect("a temporary file");
    for foreign in ["text", "empty"] {
        let errors = lab.wrong(foreign);
        assert!(errors.contains("neither a pcap nor a pcapng file"), "{errors}");
        assert!(errors.contains("help: record one with `tcpdump"), "{errors}");
    }
    assert!(lab.wrong("nowhere.pcap").contains("nowhere.pcap: cannot be opened"));
    lab.pcap("wifi.pcap", 105, 65_535, <[u8]>::to_vec);
    assert!(lab.wrong("wifi.pcap").contains("frames of link type 105 cannot be read"));

    let file = File::create(lab.path("simple.pcapng")).expect("a temporary file");
    let mut writer = PcapNgWriter::new(file).expect("a header");
    let interface = InterfaceDescriptionBlock::new(DataLink::ETHERNET, 0);
    writer.write_pcapng_block(interface).expect("an interface");
    let packet = SimplePacketBlock { original_len: 4, data: Cow::Borrowed(&[0; 4]) };
    writer.write_pcapng_block(packet).expect("a packet");
    drop(writer);
    assert!(lab.wrong("simple.pcapng").contains("packet 1: it has no time"));
}

/// Whatever bytes a file has, the answer is a result or an error, never a panic.
#[test]
fn damaged_files_never_panic() {
    let lab = Lab::new();
    lab.pcap("whole.pcap", 1, 65_535, <[u8]>::to_vec);
    lab.pcapng("whole.pcapng", Some(9));
    lab.rules(&RULES.replace("do:", "optional: true, do:"));
    for name in ["whole.pcap", "whole.pcapng"] {
        let whole = fs::read(lab.path(name)).expect("the capture");
        let whole = &whole[..whole.len().min(3_000)];
        let mut state = 1_u64;
        let mut next = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for _ in 0..150 {
            let mut bytes = whole.to_vec();
            for _ in 0..=next(6) {
                let at = next(bytes.len());
                bytes[at] = next(256) as u8;
            }
            bytes.truncate(bytes.len() - next(40));
            let mut capture =
                match raftq::run::capture::Capture::new(Box::new(std::io::Cursor::new(bytes))) {
                    Ok(capture) => capture,
                    Err(unread) => {
                        assert!(!unread.why.is_empty());
                        continue;
                    }
                };
            let mut packets = 0;
            while let Ok(Some(recorded)) = capture.next_packet() {
                packets += 1;
                assert_eq!(recorded.number, packets, "numbered as they come");
                assert!(recorded.ip.is_none_or(|ip| ip.bytes.len() <= ip.len as usize));
            }
        }
    }
}

#[test]
fn what_only_a_leader_can_tell_needs_a_protocol() {
    let lab = Lab::new();
    lab.pcap("whole.pcap", 1, 65_535, <[u8]>::to_vec);
    let cluster = RULES.lines().take(2).collect::<Vec<_>>().join("\n");
    let with = |rule: &str| lab.rules(&format!("{cluster}\nrules: [{{ name: it, {rule} }}]\n"));
    with("between: [leader, rest], do: drop");
    let errors = lab.wrong("whole.pcap");
    assert!(errors.contains("`it` asks who leads, and the cluster names no protocol"), "{errors}");
    assert!(errors.contains("add `protocol:` to `cluster`"), "{errors}");
    with("between: [random 1 followers, rest], do: drop");
    assert!(lab.wrong("whole.pcap").contains("`it` asks who leads"));
    // Any node will do, whoever leads.
    with("between: [random, rest], do: drop");
    assert!(lab.right("whole.pcap").contains("\"it\" bound: n"));
}
