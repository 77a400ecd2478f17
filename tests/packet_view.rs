//! The checked packet view and the one change made to packets, against bytes built by hand.

mod engine_support;

use engine_support::packet::{Build, flags, sum, transport_sum};
use proptest::prelude::*;
use raftq::engine::mangle::{HEADERS_MAX, can_reset, can_trim, copy, reset, trim};
use raftq::packet::{PacketView, Proto, Unreadable, tcp_flags};
use std::net::IpAddr;

const A: &str = "10.77.0.1:40000";
const B: &str = "10.77.0.2:2380";
const A6: &str = "[fd77::1]:40000";
const B6: &str = "[fd77::2]:2380";
const DATA: u8 = tcp_flags::ACK | tcp_flags::PSH;

fn read(build: &Build) -> Result<PacketView, Unreadable> {
    let bytes = build.bytes();
    PacketView::parse(&bytes, bytes.len() as u32, 0)
}

fn view(build: &Build) -> PacketView {
    read(build).expect("a readable packet")
}

#[test]
fn reads_both_families_and_transports() {
    for (a, b, ip) in [(A, B, 20), (A6, B6, 40)] {
        let tcp = view(&Build { seq: 77, ..Build::tcp(a, b, DATA, 100) });
        assert_eq!(tcp.src.socket_addr().to_string(), a);
        assert_eq!(tcp.dst.socket_addr().to_string(), b);
        assert_eq!((tcp.proto, tcp.flags, tcp.seq), (Proto::Tcp, DATA, 77));
        assert_eq!((tcp.header_len, tcp.len), (ip + 20, u32::from(ip) + 120));
        assert_eq!((tcp.payload_len(), tcp.segments), (100, 1));

        let udp = view(&Build::udp(a, b, 9));
        assert_eq!((udp.proto, udp.flags, udp.seq), (Proto::Udp, 0, 0));
        assert_eq!((udp.header_len, udp.payload_len()), (ip + 8, 9));
    }
}

#[test]
fn options_belong_to_the_headers() {
    let build = Build {
        ip_options: vec![1; 8],
        tcp_options: vec![1; 12],
        ..Build::tcp(A, B, tcp_flags::ACK, 0)
    };
    let view = view(&build);
    assert_eq!((view.header_len, view.payload_len()), (20 + 8 + 20 + 12, 0));
    assert_eq!(view.dst.port, 2380);
    assert!(!view.carries_data());
}

#[test]
fn extension_headers_are_walked() {
    let hop_by_hop = (0, vec![0, 1, 4, 0, 0, 0, 0]);
    let destination = (60, [&[1][..], &[0; 14]].concat());
    let first_fragment = (44, vec![0, 0, 1, 0, 0, 0, 9]);
    let extensions = vec![hop_by_hop, destination, first_fragment];
    let build = Build { extensions, ..Build::tcp(A6, B6, DATA, 5) };
    let view = view(&build);
    assert_eq!((view.header_len, view.payload_len()), (40 + 8 + 16 + 8 + 20, 5));
    assert_eq!(view.src.port, 40000);
}

#[test]
fn fragments_behind_the_first_have_no_ports() {
    let more = 0x2000;
    let first = Build { fragment: more, ..Build::udp(A, B, 100) };
    assert_eq!(view(&first).dst.port, 2380);
    let second = Build { fragment: more | 0xd, ..Build::udp(A, B, 100) };
    assert_eq!(read(&second), Err(Unreadable::Fragment));
    let last = Build { extensions: vec![(44, vec![0, 0, 8, 0, 0, 0, 9])], ..Build::udp(A6, B6, 9) };
    assert_eq!(read(&last), Err(Unreadable::Fragment));
}

#[test]
fn cut_headers_are_refused_and_cut_payload_is_not() {
    let with_extension = Build { extensions: vec![(0, vec![0; 7])], ..Build::tcp(A6, B6, DATA, 9) };
    let builds = [
        Build { ip_options: vec![1; 8], ..Build::tcp(A, B, DATA, 50) },
        Build::udp(A, B, 50),
        Build::tcp(A6, B6, DATA, 50),
        with_extension,
    ];
    for build in builds {
        let (bytes, whole) = (build.bytes(), view(&build));
        // Of TCP options only the length is needed.
        let needed = usize::from(whole.header_len);
        for len in 0..bytes.len() {
            let read = PacketView::parse(&bytes[..len], bytes.len() as u32, 0);
            let wanted = if len < needed { Err(Unreadable::Truncated) } else { Ok(whole) };
            assert_eq!(read, wanted, "{len} bytes of {build:?}");
        }
    }
}

#[test]
fn fields_that_contradict_each_other_are_malformed() {
    let good = Build::tcp(A, B, DATA, 0).bytes();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        PacketView::parse(&bytes, bytes.len() as u32, 0)
    };
    let malformed = Err(Unreadable::Malformed);
    assert_eq!(changed(0, 0x55), malformed, "IP version 5");
    assert_eq!(changed(0, 0x44), malformed, "an IPv4 header of 16 bytes");
    assert_eq!(changed(32, 0x40), malformed, "a TCP header of 16 bytes");
    assert_eq!(changed(32, 0xf0), malformed, "a TCP header longer than the packet");
    assert_eq!(changed(9, 1), Err(Unreadable::OtherProtocol), "ICMP");
    assert_eq!(PacketView::parse(&[], 0, 0), Err(Unreadable::Truncated));
}

#[test]
fn a_gso_packet_counts_the_segments_of_its_device() {
    let bytes = Build::tcp(A, B, DATA, 0).bytes();
    let segments = |payload: u32, mtu| {
        PacketView::parse(&bytes, 40 + payload, mtu).expect("a readable packet").segments
    };
    assert_eq!(segments(4000, 0), 1, "not a GSO packet");
    assert_eq!(segments(1460, 1500), 1);
    assert_eq!(segments(1461, 1500), 2);
    assert_eq!(segments(65_000, 1500), 45);
    assert_eq!(segments(0, 1500), 1);
    assert_eq!(segments(500_000, 40), 1, "a device that carries headers only");
    assert_eq!(segments(500_000, 41), u16::MAX);
}

#[test]
fn data_is_payload_syn_fin_and_any_udp() {
    let carries = |kind, payload| {
        let flags = flags(kind).expect("a kind of segment");
        view(&Build::tcp(A, B, flags, payload)).carries_data()
    };
    assert!(carries("syn", 0) && carries("synack", 0) && carries("fin", 0) && carries("data", 1));
    assert!(!carries("ack", 0) && !carries("rst", 0));
    assert!(view(&Build::udp(A, B, 0)).carries_data());
}

/// Trims a packet and checks everything about the result that a receiver checks.
fn trimmed(build: &Build) -> Option<(Vec<u8>, PacketView)> {
    let (bytes, before) = (build.bytes(), view(build));
    let mut out = [0xaa; HEADERS_MAX];
    let len = trim(&bytes[..bytes.len().min(HEADERS_MAX)], &before, &mut out)?;
    let out = out[..len].to_vec();
    let after = PacketView::parse(&out, len as u32, 0).expect("a readable acknowledgement");
    let (ip_len, addresses) = match build.src.ip() {
        IpAddr::V4(_) => {
            let ip_len = usize::from(out[0] & 15) * 4;
            assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), len);
            assert_eq!(sum(&out[..ip_len]), 0xffff, "the header's checksum");
            (ip_len, 12..20)
        }
        IpAddr::V6(_) => {
            assert_eq!(usize::from(u16::from_be_bytes([out[4], out[5]])), len - 40);
            (40, 8..40)
        }
    };
    let sum = transport_sum(&out[addresses], &[], 6, &out[ip_len..]);
    assert_eq!(sum, 0xffff, "the segment's checksum");
    assert_eq!((after.src, after.dst, after.seq), (before.src, before.dst, before.seq));
    assert_eq!(after.flags, before.flags & !(tcp_flags::FIN | tcp_flags::PSH));
    assert!(!after.carries_data());
    let ack = ip_len + 8..ip_len + 12;
    assert_eq!(out[ack.clone()], bytes[ack], "what it acknowledges");
    assert_eq!(out[ip_len + 20..], bytes[ip_len + 20..len], "its options");
    Some((out, after))
}

#[test]
fn a_trimmed_segment_is_a_right_acknowledgement() {
    for (a, b) in [(A, B), (A6, B6)] {
        for (payload, options) in [(0, 0), (1, 0), (100, 12), (1400, 40)] {
            let fin = Build::tcp(a, b, DATA | tcp_flags::FIN, payload);
            let build = Build { seq: 0xfffe_dcba, tcp_options: vec![1; options], ..fin };
            assert!(trimmed(&build).is_some(), "{build:?}");
        }
    }
    let options = Build { ip_options: vec![1; 40], ..Build::tcp(A, B, DATA, 33) };
    assert!(trimmed(&options).is_some());
}

#[test]
fn what_has_no_acknowledgement_worth_keeping_is_not_trimmed() {
    for kind in ["syn", "synack", "rst"] {
        let view = view(&Build::tcp(A, B, flags(kind).expect("a kind of segment"), 10));
        assert!(!can_trim(&view), "{kind}");
    }
    assert!(!can_trim(&view(&Build::udp(A, B, 10))));
    let first_fragment = Build { fragment: 0x2000, ..Build::tcp(A, B, DATA, 100) };
    assert!(trimmed(&first_fragment).is_none());
    let extensions = vec![(0, vec![0, 1, 4, 0, 0, 0, 0])];
    assert!(trimmed(&Build { extensions, ..Build::tcp(A6, B6, DATA, 100) }).is_none());
    // The copy ends inside the options.
    let bytes = Build { tcp_options: vec![1; 40], ..Build::tcp(A, B, DATA, 0) }.bytes();
    let view = PacketView::parse(&bytes, 80, 0).expect("a readable packet");
    assert_eq!(trim(&bytes[..60], &view, &mut [0; HEADERS_MAX]), None);
}

#[test]
fn a_reset_is_for_the_receiver_and_bears_the_number_that_it_expects() {
    for (a, b) in [(A, B), (A6, B6)] {
        for (payload, options) in [(0, 0), (1, 0), (100, 12), (1400, 40)] {
            let fin = Build::tcp(a, b, DATA | tcp_flags::FIN, payload);
            let build = Build { seq: 0xfffe_dcba, tcp_options: vec![1; options], ..fin };
            let (bytes, before) = (build.bytes(), view(&build));
            let mut out = [0; HEADERS_MAX];
            let len = reset(&bytes, &before, 0x0123_4567, &mut out).expect("it can be reset");
            let after = PacketView::parse(&out[..len], len as u32, 0).expect("readable");
            assert_eq!(after.flags, tcp_flags::RST | tcp_flags::ACK);
            assert_eq!((after.seq, after.payload_len()), (0x0123_4567, 0));
            assert_eq!((after.src, after.dst), (before.src, before.dst));
            let (ip_len, addresses) = if a == A { (20, 12..20) } else { (40, 8..40) };
            let sum = transport_sum(&out[addresses], &[], 6, &out[ip_len..len]);
            assert_eq!(sum, 0xffff, "the segment's checksum");
            let ack = ip_len + 8..ip_len + 12;
            assert_eq!(out[ack.clone()], bytes[ack], "what it acknowledges");
        }
    }
}

#[test]
fn what_nobody_would_take_for_a_reset_is_not_made_one() {
    for (kind, can) in [("syn", false), ("synack", true), ("ack", true), ("rst", false)] {
        let view = view(&Build::tcp(A, B, flags(kind).expect("a kind of segment"), 10));
        assert_eq!(can_reset(&view), can, "{kind}");
    }
    assert!(!can_reset(&view(&Build::udp(A, B, 10))));
    let bytes = Build::tcp(A, B, DATA, 100).bytes();
    let gso = PacketView::parse(&bytes, 4_000, 1_500).expect("a readable packet");
    assert!(gso.segments > 1 && !can_reset(&gso));
    let first_fragment = Build { fragment: 0x2000, ..Build::tcp(A, B, DATA, 100) };
    assert!(!can_reset(&view(&first_fragment)));
    // The copy ends inside the options.
    let bytes = Build { tcp_options: vec![1; 40], ..Build::tcp(A, B, DATA, 0) }.bytes();
    let view = PacketView::parse(&bytes, 80, 0).expect("a readable packet");
    assert_eq!(reset(&bytes[..60], &view, 1, &mut [0; HEADERS_MAX]), None);
}

/// Nothing is written beside the tests; a failure prints its smallest case.
/// A queue may have packets whose checksum is only begun.
#[test]
fn a_copy_has_the_checksum_that_the_packet_will_have() {
    for (a, b) in [(A, B), (A6, B6)] {
        for build in [Build::tcp(a, b, DATA, 9), Build::udp(a, b, 9)] {
            let (right, view) = (build.bytes(), view(&build));
            let mut begun = right.clone();
            let sum_at = match view.proto {
                Proto::Tcp => right.len() - 9 - 4,
                Proto::Udp => right.len() - 9 - 2,
            };
            begun[sum_at] ^= 0x55;
            let mut out = [0; 100];
            assert_eq!(copy(&begun, &view, &mut out), Some(right.len()));
            assert_eq!(out[..right.len()], right);
            assert_eq!(copy(&begun[..right.len() - 1], &view, &mut out), None, "not all of it");
            assert_eq!(copy(&begun, &view, &mut out[..right.len() - 1]), None, "no room");
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn no_bytes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in 0_u8..3, wire in any::<u32>(), mtu in any::<u32>(),
    ) {
        no_panic(bytes, version, wire, mtu);
    }

    #[test]
    fn no_damage_to_a_packet_panics(
        six in any::<bool>(), udp in any::<bool>(), payload in 0_usize..300,
        damage in prop::collection::vec((0_usize..100, any::<u8>()), 0..6),
        cut in 0_usize..300, wire in 0_u32..70_000, mtu in 0_u32..9_000,
    ) {
        let (a, b) = if six { (A6, B6) } else { (A, B) };
        let build = if udp { Build::udp(a, b, payload) } else { Build::tcp(a, b, DATA, payload) };
        let mut bytes = build.bytes();
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut);
        no_panic(bytes, 2, wire, mtu);
    }
}

fn no_panic(mut bytes: Vec<u8>, version: u8, wire: u32, mtu: u32) {
    if let (Some(first), true) = (bytes.first_mut(), version < 2) {
        *first = *first & 0x0f | (0x40 + 0x20 * version);
    }
    let Ok(view) = PacketView::parse(&bytes, wire, mtu) else { return };
    assert!(view.segments > 0 && view.len >= u32::from(view.header_len));
    let mut out = [0; HEADERS_MAX];
    if let Some(len) = trim(&bytes, &view, &mut out) {
        assert!(PacketView::parse(&out[..len], len as u32, 0).is_ok());
    }
    if let Some(len) = reset(&bytes, &view, 7, &mut out) {
        assert!(PacketView::parse(&out[..len], len as u32, 0).is_ok());
    }
}
