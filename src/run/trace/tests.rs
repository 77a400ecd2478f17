//! Records in, blocks out: what tshark reads back of them; bounds that are reached, and counted.

use super::pcap::{Captured, Pcapng};
use super::*;
use crate::engine::{Copies, Damage};
use crate::packet::NodeId;
use crate::rules::Table;
use crate::rules::table::Mark;
use rtrb::RingBuffer;
use std::io::{self, Write};
use std::process::Command;

const RULES: &str = "\
cluster: { nodes: { n1: \"10.0.0.1:7000\", n2: [\"10.0.0.2:7000\", \"[fd00::2]:7000\"] } }
rules:
  - { name: cut, from: n1, to: n2, do: drop }
  - { name: slow, from: n1, to: n2, do: { delay: 20ms } }
";
const CUT: Option<u16> = Some(0);
const SLOW: Option<u16> = Some(1);

fn table() -> Arc<Table> {
    let compiled = crate::rules::compile("test.yaml", RULES, &[]);
    Arc::new(compiled.unwrap_or_else(|report| panic!("{report:?}")).table)
}

/// A whole packet from n1's to n2's address.
fn bytes(v6: bool) -> Vec<u8> {
    let end = |at: &str| Endpoint::new(at.parse().expect("an address"));
    let (src, dst) =
        if v6 { ("[fd00::1]:999", "[fd00::2]:7000") } else { ("10.0.0.1:999", "10.0.0.2:7000") };
    let mut out = [0; mangle::COMPOSED_MAX];
    let rst = Rst { src: end(src), dst: end(dst), seq: 1, ack: 1 };
    let len = mangle::rst(&rst, &mut out).expect("it has room");
    out[..len].to_vec()
}

fn at_ms(ms: u64) -> Nanos {
    Nanos::from_secs(1_000) + Nanos::from_millis(ms)
}

/// A packet from n1 to n2 that came so many ms after the start.
fn record(ms: u64, id: u32, fate: Fate, rule: Option<u16>) -> Record {
    Record {
        at: at_ms(ms),
        kind: Kind::Packet,
        token: Token { queue: 1, id },
        link: Some(LinkId::new(NodeId(0), NodeId(1), 2)),
        rule,
        len: 1_500,
        read: None,
        fate,
        extras: Extras::default(),
        due: None,
        table: 0,
        lined: false,
        taken: None,
        changed: false,
    }
}

fn answer(ms: u64, id: u32, fate: Fate, rule: Option<u16>) -> Record {
    Record { kind: Kind::Answer, ..record(ms, id, fate, rule) }
}

fn held(ms: u64, id: u32, for_ms: u64) -> Record {
    let delay = Nanos::from_millis(for_ms);
    let due = Some(at_ms(ms) + delay);
    Record { due, ..record(ms, id, Fate::Held(Some(delay)), SLOW) }
}

/// A file of these, and what it came to.
fn file(records: &[Record], all: bool, max: u64) -> (Vec<u8>, Captured) {
    let (mut out, table) = (Vec::new(), table());
    let wall = Nanos::from_secs(1_700_000_000);
    let mut pcapng = Pcapng::new(Ok(&mut out), (&table, "test.yaml, seed 7"), wall, (all, max));
    for record in records {
        let bytes = (record.kind == Kind::Packet).then(|| bytes(false));
        pcapng.take(*record, bytes, &table);
    }
    let captured = pcapng.finish(0);
    (out, captured)
}

/// What tshark says of a file, a line for each packet.
fn tshark(file: &[u8], fields: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wire.pcapng");
    std::fs::write(&path, file).expect("it can be written");
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-E", "separator=|", "-r"]).arg(&path);
    let output = command.args(fields.iter().flat_map(|field| ["-e", field])).output();
    let output =
        output.expect("tshark reads it; where there is none, `make setup-dev` installs it");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn comments(file: &[u8]) -> Vec<String> {
    tshark(file, &["frame.comment"])
}

#[test]
fn tshark_reads_packets_with_their_interface_time_and_number() {
    let dropped = record(5, 77, Fate::Dropped, CUT);
    let own = record(6, 77, Fate::Own(Own::ToSender), CUT);
    let (file, captured) = file(&[dropped, Record { len: 40, ..own }], false, 1 << 20);
    let fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.len",
        "frame.cap_len",
        "frame.packet_flags_direction",
        "frame.packet_id",
        "frame.interface_queue",
        "ip.dst",
        "frame.comment",
    ];
    let id = (1_u64 << 32) + 77;
    let dropped = format!(
        "1700001000.005000000|n2|1500|40|0x00000001|{id}|1|10.0.0.2|n1 -> n2: dropped by \"cut\""
    );
    let own = format!(
        "1700001000.006000000|n1|40|40|0x00000002|{id}|1|10.0.0.2|n1 -> n2: raftq's RST of \
         \"cut\": tells the segment's sender"
    );
    assert_eq!(tshark(&file, &fields), [dropped, own]);
    assert_eq!((captured.packets, captured.bytes), (2, file.len() as u64));
}

#[test]
fn raftq_itself_reads_what_it_wrote() {
    let (mut out, table) = (Vec::new(), table());
    let mut pcapng = Pcapng::new(Ok(&mut out), (&table, "v6"), Nanos::ZERO, (false, 1 << 20));
    let sixth = bytes(true);
    pcapng.take(record(5, 77, Fate::Dropped, CUT), Some(sixth.clone()), &table);
    pcapng.finish(0);
    let capture = crate::run::capture::Capture::new(Box::new(io::Cursor::new(out)));
    let packet = capture.expect("a capture").next_packet().expect("a packet").expect("one");
    assert_eq!(packet.at_ns, at_ms(5).0);
    assert_eq!(packet.ip.expect("IP").bytes, sixth);
}

/// Every way a packet can take, as its comment tells it.
#[test]
fn comments_tell_what_became_of_a_packet() {
    let marked = Extras { mark: Some(Mark { value: 7, mask: u32::MAX }), ..Extras::default() };
    let copied = Copies { count: 2, after: Nanos::ZERO };
    let copied = Extras { copies: Some(copied), ..Extras::default() };
    let damage = Damage { from: 4, to: 6, bits: 11, one_bit: true, fixes_checksum: false };
    let damaged = Extras { damage: Some(damage), ..Extras::default() };
    let stranger = Record { link: None, ..record(0, 0, Fate::Dropped, None) };
    let behind = Record { rule: None, due: Some(at_ms(50)), ..held(50, 21, 3) };
    let turn = Record { due: Some(at_ms(72)), ..held(70, 23, 5) };
    let gate = record(80, 24, Fate::Held(None), SLOW);
    let until = Record { due: Some(Nanos::MAX), ..gate };
    let left = answer(0, 20, Fate::Accepted, None);
    let copy = Token { queue: COPIES, id: 3 };
    let asked = Record { link: None, ..record(110, 27, Fate::Asked, None) };
    let records = [
        record(0, 1, Fate::Dropped, None),
        stranger,
        record(1, 2, Fate::Trimmed, CUT),
        record(2, 3, Fate::Reset, CUT),
        record(3, 4, Fate::Rejected, CUT),
        record(4, 5, Fate::Overflowed, SLOW),
        Record { extras: marked, ..record(5, 6, Fate::Accepted, CUT) },
        Record { extras: copied, ..record(6, 7, Fate::Accepted, CUT) },
        Record { extras: damaged, ..record(7, 8, Fate::Corrupted, CUT) },
        Record { extras: damaged, ..record(8, 9, Fate::Accepted, CUT) },
        Record { extras: marked, ..held(10, 20, 20) },
        Record { at: at_ms(30) + Nanos::from_micros(13), due: Some(at_ms(30)), ..left },
        behind,
        Record { due: Some(at_ms(53)), ..answer(53, 21, Fate::Accepted, None) },
        held(60, 22, 20),
        answer(67, 22, Fate::Dropped, CUT),
        turn,
        Record { due: Some(at_ms(75)), ..answer(75, 23, Fate::Accepted, None) },
        held(76, 30, 20),
        answer(77, 30, Fate::Accepted, None),
        until,
        answer(95, 24, Fate::Accepted, None),
        Record { token: copy, ..record(100, 0, Fate::Own(Own::Copy), SLOW) },
        Record { token: copy, ..answer(101, 0, Fate::Accepted, None) },
        asked,
        answer(112, 27, Fate::Dropped, CUT),
        Record { token: Token { queue: 1, id: 26 }, ..asked },
        Record { due: Some(at_ms(130)), ..answer(131, 26, Fate::Accepted, SLOW) },
        // Who passes when its sender is known was not disturbed.
        Record { token: Token { queue: 1, id: 28 }, ..asked },
        answer(112, 28, Fate::Accepted, None),
        record(113, 31, Fate::Own(Own::Instead), CUT),
        record(113, 31, Fate::Own(Own::Refusal), CUT),
        Record { link: None, ..record(114, 32, Fate::Own(Own::Healing), None) },
        held(120, 29, 20),
    ];
    let (file, captured) = file(&records, false, 1 << 20);
    let expected = "\
n1 -> n2: dropped by no rule that is there: an end of its link is silent, as a fault is being done \
to it, or its connection was stalled
dropped: its sender is not known
n1 -> n2: trimmed by \"cut\": of 1500 bytes the headers went on
n1 -> n2: dropped, and its connection reset by \"cut\"
n1 -> n2: dropped, and its sender refused by \"cut\"
n1 -> n2: dropped, to be held by \"slow\": as many packets are held as may be
n1 -> n2: marked 0x7 by \"cut\"
n1 -> n2: copied 2x by \"cut\"
n1 -> n2: corrupted by \"cut\": bit 3 of byte 5 of the payload changed, the checksum does not fit
n1 -> n2: spared the damage meant for it, as its bytes are not at hand by \"cut\"
n1 -> n2: held 20.013 ms (asked for 20 ms) by \"slow\", marked 0x7
n1 -> n2: held 3 ms behind earlier packets of its connection
n1 -> n2: held 7 ms (asked for 20 ms) by \"slow\", then dropped by \"cut\"
n1 -> n2: held 5 ms (asked for 2 ms, and to keep the order) by \"slow\"
n1 -> n2: held 1 ms (asked for 20 ms) by \"slow\", let go before its time: raftq let everything go
n1 -> n2: held 15 ms (asked for until it is let go) by \"slow\"
n1 -> n2: raftq's copy of \"slow\": sent 1 ms after its packet came
n1 -> n2: dropped by \"cut\", 2 ms after it came: its sender had to be asked for
n1 -> n2: held 21 ms by \"slow\", its sender being asked for first
n1 -> n2: raftq's RST of \"cut\": takes the place of the segment
n1 -> n2: raftq's refusal of \"cut\": tells the packet's sender
raftq's RST: ends a connection that a cut has starved
n1 -> n2: held (asked for 20 ms) by \"slow\"; what became of it is not told";
    assert_eq!(comments(&file), expected.lines().collect::<Vec<_>>());
    assert_eq!(captured.untold, 1, "{captured:?}");
}

/// A packet that is held lets what comes behind it wait, but not for long.
#[test]
fn packets_stand_in_the_order_in_which_they_came_as_far_as_a_second_reaches() {
    let short = [
        held(0, 1, 20),
        record(5, 2, Fate::Dropped, CUT),
        answer(20, 1, Fate::Accepted, None),
        record(30, 3, Fate::Dropped, CUT),
    ];
    let times = |records: &[Record]| {
        let (file, _) = file(records, false, 1 << 20);
        let times = tshark(&file, &["frame.time_epoch"]);
        let ms = |t: &String| (t.parse::<f64>().expect("a time") * 1e3).round() % 1e6;
        times.iter().map(ms).collect::<Vec<_>>()
    };
    assert_eq!(times(&short), [0.0, 5.0, 30.0]);
    let long = [
        held(0, 1, 5_000),
        record(5, 2, Fate::Dropped, CUT),
        record(2_000, 3, Fate::Dropped, CUT),
        answer(5_000, 1, Fate::Accepted, None),
        record(6_000, 4, Fate::Dropped, CUT),
    ];
    assert_eq!(times(&long), [5.0, 2_000.0, 0.0, 6_000.0]);
}

#[test]
fn a_file_ends_at_its_largest_size_and_says_so() {
    let records: Vec<_> = (0..100).map(|i| record(i, i as u32, Fate::Dropped, CUT)).collect();
    let (file, captured) = file(&records, false, 4_000);
    assert!(file.len() <= 4_000 && file.len() > 3_000, "{}", file.len());
    assert_eq!(captured.packets + captured.left_out, 100, "{captured:?}");
    assert!(captured.packets > 10, "{captured:?}");
    let comments = comments(&file);
    assert_eq!(comments.len() as u64, captured.packets);
    let missing = captured.left_out;
    let words = format!("this file lacks {missing} later packets, as it would exceed 4000 bytes");
    assert!(comments.last().is_some_and(|last| last.contains(&words)), "{comments:?}");
}

#[test]
fn what_is_held_too_much_of_is_written_untold() {
    let (mut out, table) = (Vec::new(), table());
    let mut pcapng = Pcapng::new(Ok(&mut out), (&table, ""), Nanos::ZERO, (false, 1 << 30));
    let large = || {
        let mut bytes = bytes(false);
        bytes.resize(60_000, 0);
        bytes
    };
    for id in 0..2_000 {
        pcapng.take(held(0, id, 20), Some(large()), &table);
    }
    for id in 0..2_000 {
        pcapng.take(answer(20, id, Fate::Accepted, None), None, &table);
    }
    let captured = pcapng.finish(0);
    assert_eq!(captured.packets, 2_000);
    // 64 MiB of them have room.
    assert!((800..1_000).contains(&captured.untold), "{captured:?}");
}

/// A disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_cannot_be_written_stops_nothing_and_says_why() {
    let table = table();
    let mut pcapng = Pcapng::new(Ok(Full), (&table, ""), Nanos::ZERO, (false, 1 << 20));
    for id in 0..10 {
        pcapng.take(record(0, id, Fate::Dropped, CUT), Some(bytes(false)), &table);
    }
    let captured = pcapng.finish(0);
    assert_eq!(captured.packets, 0);
    let why = captured.unwritten.expect("it says why");
    assert!(why.contains("space"), "{why}");
}

/// The loop's end with little room, and nobody who reads.
fn tracer(records: usize, bytes: usize, lines: bool) -> (Tracer, impl Sized) {
    let (ring, records) = crossbeam_channel::bounded(records);
    let (bytes, taken) = RingBuffer::new(bytes);
    let shared = Arc::new(Shared::default());
    let bytes = Some(bytes);
    let tracer = Tracer { ring, bytes, lines, captures_all: false, shared, table: 0 };
    (tracer, (records, taken))
}

#[test]
fn rings_that_are_full_count_what_they_do_not_take() {
    let bytes = bytes(false);
    let packet =
        Packet { id: 1, bytes: &bytes, len: bytes.len() as u32, gso: false, mark: 0, from: None };
    let view = PacketView::parse(packet.bytes, packet.len, 0).expect("it can be read");
    let token = Token { queue: 0, id: 1 };
    let note = |tracer: &mut Tracer, fate, times| {
        let verdict = if fate == Fate::Accepted { Verdict::Accept } else { Verdict::Drop };
        let decision = Decision { verdict, facts: None, rule: None, extras: Extras::default() };
        for _ in 0..times {
            let went = Went { fate, instead: None };
            tracer.note(Nanos(1), (token, &packet), &view, &decision, went);
        }
    };
    let counts = |tracer: &Tracer| {
        let Shared { lost, uncaptured, .. } = &*tracer.shared;
        (lost.load(Ordering::Relaxed), uncaptured.load(Ordering::Relaxed))
    };
    // Room for three packets of bytes, and for many records.
    let (mut few_bytes, _keep) = tracer(100, 3 * bytes.len(), true);
    note(&mut few_bytes, Fate::Dropped, 10);
    assert_eq!(counts(&few_bytes), (0, 7), "they keep their lines");
    let (mut few_records, _keep) = tracer(4, 1_000, true);
    note(&mut few_records, Fate::Dropped, 10);
    assert_eq!(counts(&few_records), (6, 6));
    // What nobody asks for is not noted at all.
    let (mut unasked, _keep) = tracer(4, 1_000, false);
    note(&mut unasked, Fate::Accepted, 10);
    assert_eq!((counts(&unasked), unasked.ring.len()), ((0, 0), 0));
}
