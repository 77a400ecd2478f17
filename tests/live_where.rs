//! The conditions of `where` that headers and bytes tell, each met by ordinary sockets between
//! namespaces: what it names is hit, and what stands beside it is not. Needs root; run it by
//! `make test`.

mod fault_lab;
mod live_lab;

use fault_lab::{RESET, any_port, pair, pair_at, read_all, udp};
use live_lab::{Family, LIMIT, Net, Raftq, Shape, await_more};
use nix::sys::socket::{setsockopt, sockopt};
use raftq_harness::probe::{Probe, What, numbers};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, UdpSocket};

const V4: Family = Family::V4;

fn two() -> Net {
    Net::new(Shape::Namespaces, 2)
}

/// Attaches with one rule from n1 to n2, active when this returns.
fn attach<'n>(net: &'n Net, where_: &str, do_: &str) -> Raftq<'n> {
    let rules =
        format!("rules: [{{ name: it, from: n1, to: n2, where: {{ {where_} }}, do: {do_} }}]\n");
    let mut raftq = Raftq::attach(net, &rules, &["--json"]);
    raftq.await_active("it");
    raftq
}

/// Ends a raftq whose rule hit exactly so many segments.
fn must_have_hit(raftq: Raftq<'_>, hits: u64) {
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    for what in ["matched", "acted"] {
        assert_eq!(ending.of_rule("it", what), hits, "{what}\n{ending}");
    }
}

/// What is sent, and what is done to its socket before.
type Datagram = (Vec<u8>, fn(&UdpSocket));

/// Sends datagrams from n1 to n2; gives those that came before the last one, which must come.
fn sieve(net: &Net, datagrams: &[Datagram]) -> Vec<Vec<u8>> {
    let at = net.peer(1, V4);
    let (from, to) = (udp(net, 0, any_port(net, 0, V4)), udp(net, 1, at));
    for (bytes, prepare) in datagrams {
        prepare(&from);
        from.send_to(bytes, at).expect("sent");
    }
    let mut came = Vec::new();
    let mut bytes = [0; 4096];
    while came.last() != datagrams.last().map(|(bytes, _)| bytes) {
        let len = to.recv(&mut bytes).expect("the last one comes");
        came.push(bytes[..len].to_vec());
    }
    came.pop();
    came
}

fn plain(_: &UdpSocket) {}

/// Sets the traffic class of what is sent from now on.
fn class<const TOS: i32>(socket: &UdpSocket) {
    setsockopt(socket, sockopt::Ipv4Tos, &TOS).expect("it may");
}

#[test]
fn size_counts_headers_and_payload_does_not() {
    for (where_, hit) in [
        ("size: \">128\"", vec![101, 200]),
        ("size: \"128..129\"", vec![100, 101]),
        ("size: 28", vec![0]),
        ("payload: \"<=100\"", vec![0, 7, 100]),
        ("payload: 101", vec![101]),
        ("payload: 0", vec![0]),
    ] {
        let net = two();
        let raftq = attach(&net, where_, "drop");
        // The last one comes, whatever is dropped.
        let all = [0, 7, 100, 101, 200, if where_.starts_with("size") { 50 } else { 150 }];
        let datagrams: Vec<_> =
            all.iter().map(|len| (vec![1; *len], plain as fn(&UdpSocket))).collect();
        let came: Vec<usize> = sieve(&net, &datagrams).iter().map(Vec::len).collect();
        let wanted: Vec<usize> = all[..5].iter().copied().filter(|l| !hit.contains(l)).collect();
        assert_eq!(came, wanted, "{where_}");
        must_have_hit(raftq, hit.len() as u64);
    }
}

#[test]
fn dscp_and_ecn_are_those_of_the_socket() {
    // Best effort; expedited forwarding; the same with ECT(0), ECT(1) and CE.
    let classes: [fn(&UdpSocket); 5] =
        [class::<0>, class::<0xb8>, class::<0xba>, class::<0xb9>, class::<0xbb>];
    for (where_, hit) in [
        ("dscp: 46", vec![1, 2, 3, 4]),
        ("dscp: 0", vec![0]),
        ("ecn: ce", vec![4]),
        ("ecn: [ect0, ect1]", vec![2, 3]),
        ("dscp: 46, ecn: not_ect", vec![1]),
    ] {
        let net = two();
        let raftq = attach(&net, where_, "drop");
        let mut datagrams: Vec<Datagram> =
            classes.iter().zip(0..).map(|(class, n)| (vec![n], *class)).collect();
        datagrams.push((vec![9], class::<0x20>));
        let came = sieve(&net, &datagrams).concat();
        let wanted: Vec<u8> = (0..5).filter(|n| !hit.contains(n)).collect();
        assert_eq!(came, wanted, "{where_}");
        must_have_hit(raftq, hit.len() as u64);
    }
}

#[test]
fn contains_looks_at_bytes_and_at_their_place() {
    let texts: [&[u8]; 4] = [b"needle", b"hay needle", b"nee dle", b"xneedle"];
    for (where_, hit) in [
        ("contains: needle", vec![0, 1, 3]),
        ("contains: { bytes: needle, at: 1 }", vec![3]),
        ("contains: 0x6e656564", vec![0, 1, 3]),
        ("contains: { bytes: 0x6e6565, at: 0 }", vec![0, 2]),
    ] {
        let net = two();
        let raftq = attach(&net, where_, "drop");
        let mut datagrams: Vec<Datagram> =
            texts.iter().map(|text| (text.to_vec(), plain as fn(&UdpSocket))).collect();
        datagrams.push((b"end".to_vec(), plain));
        let came = sieve(&net, &datagrams);
        let left = texts.iter().enumerate().filter(|(i, _)| !hit.contains(i));
        let wanted: Vec<Vec<u8>> = left.map(|(_, text)| text.to_vec()).collect();
        assert_eq!(came, wanted, "{where_}");
        must_have_hit(raftq, hit.len() as u64);
    }
}

/// Of bulk that comes as packets of many segments only the one that has the bytes is hit: dropped
/// once, it is sent again, and everything arrives.
#[test]
fn contains_finds_bytes_in_the_middle_of_bulk() {
    let net = two();
    let raftq = attach(&net, "contains: needle, first: 1", "drop");
    let mut pair = pair(&net, (0, 1), V4);
    let mut sent: Vec<u8> = (0..8 << 20).map(|i: u32| (i / 777) as u8 & 0x3f).collect();
    // Where one of them lies across two segments, the other does not.
    for at in [3_000_000, 3_000_020] {
        sent[at..at + 6].copy_from_slice(b"needle");
    }
    let wanted = sent.clone();
    let writer = std::thread::spawn(move || {
        pair.client.write_all(&sent).expect("it goes on");
        pair.client
    });
    let mut got = vec![0; wanted.len()];
    pair.server.read_exact(&mut got).expect("all of it comes");
    assert!(got == wanted, "what came is not what was sent");
    drop(writer.join().expect("it wrote"));
    must_have_hit(raftq, 1);
}

/// A connection that is cut after so many bytes, as `limit_data` of other proxies does.
#[test]
fn offset_cuts_a_stream_after_so_many_bytes() {
    const LIMIT_DATA: usize = 1_000_000;
    for (family, mss) in [(V4, 1_448), (Family::V6, 1_428)] {
        let net = two();
        let raftq = attach(&net, "offset: \">=1000000\"", "reset");
        let mut pair = pair(&net, (0, 1), family);
        let writer = std::thread::spawn(move || {
            let wrote = pair.client.write_all(&vec![3; 64 << 20]);
            (fault_lab::errno(&wrote), pair.client)
        });
        let (got, told) = read_all(&mut pair.server);
        assert_eq!(told, Some(RESET));
        assert!(got.len() <= LIMIT_DATA && got.len() + mss > LIMIT_DATA, "{} came", got.len());
        assert_eq!(writer.join().expect("it wrote").0, Some(RESET));
        let ending = raftq.interrupt();
        ending.must_be_clean(0);
        // What was in flight behind it is hit as well, of a connection that is no more.
        let hits = ending.of_rule("it", "acted");
        assert!(hits >= 1, "{ending}");
        assert_eq!(
            (ending.of_rule("it", "matched"), ending.total("resets")),
            (hits, 1),
            "{ending}"
        );
    }
}

#[test]
fn offset_drops_a_range_once_and_tcp_repairs_it() {
    let net = two();
    let raftq = attach(&net, "offset: \"100000..200000\", first: 5", "drop");
    let mut pair = pair(&net, (0, 1), V4);
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 777) as u8).collect();
    let (mut client, wanted) = (pair.client, sent.clone());
    let writer = std::thread::spawn(move || {
        client.write_all(&sent).expect("it goes on");
        client
    });
    let mut got = vec![0; wanted.len()];
    pair.server.read_exact(&mut got).expect("all of it comes");
    assert!(got == wanted, "what came is not what was sent");
    drop(writer.join().expect("it wrote"));
    must_have_hit(raftq, 5);
}

#[test]
fn dialled_by_tells_two_connections_apart() {
    for (who, cut) in [("sender", 0), ("receiver", 1)] {
        let net = two();
        let where_ = format!("dialled_by: {who}, payload: \">0\", first: 1");
        let raftq = attach(&net, &where_, "reset");
        let (one, two) = (pair(&net, (0, 1), V4), pair(&net, (1, 0), V4));
        // What n1 writes on each: the connection that it dialled, and the one that n2 did.
        let mut ends = [(one.client, one.server), (two.server, two.client)];
        for (i, (n1, _)) in ends.iter_mut().enumerate() {
            n1.write_all(b"hello").expect("it may");
            let shut = n1.shutdown(Shutdown::Write);
            // The one that is reset may be told of it by now.
            assert!(i == cut || shut.is_ok(), "{who} {i}: {shut:?}");
        }
        for (i, (_, n2)) in ends.iter_mut().enumerate() {
            let wanted = if i == cut { (vec![], Some(RESET)) } else { (b"hello".to_vec(), None) };
            assert_eq!(read_all(n2), wanted, "{who} {i}");
        }
        must_have_hit(raftq, 1);
    }
}

#[test]
fn a_syn_alone_can_be_refused() {
    let net = two();
    let at = net.peer(1, V4);
    let listener = net.node(1).inside(|| TcpListener::bind(at)).expect("inside").expect("free");
    let mut before = pair_at(&net, 0, &listener);
    let raftq = attach(&net, "flags: [syn, \"!ack\"]", "{ reject: tcp_reset }");
    let dialled = net.node(0).inside(|| std::net::TcpStream::connect(at)).expect("inside");
    assert_eq!(fault_lab::errno(&dialled), Some(fault_lab::REFUSED));
    before.client.write_all(b"still here").expect("it lives");
    before.server.read_exact(&mut [0; 10]).expect("it lives");
    must_have_hit(raftq, 1);
}

/// The last bytes are there long before the end.
#[test]
fn a_fin_can_be_held() {
    let net = two();
    let raftq = attach(&net, "flags: fin", "{ hold: { until: 4s } }");
    let mut pair = pair(&net, (0, 1), V4);
    pair.client.write_all(b"last words").expect("it may");
    pair.server.read_exact(&mut [0; 10]).expect("they come");
    pair.client.shutdown(Shutdown::Write).expect("it may");
    pair.server.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("it may");
    let early = pair.server.read(&mut [0; 1]).map_err(|e| e.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock), "the end comes late");
    pair.server.set_read_timeout(Some(LIMIT)).expect("it may");
    assert_eq!(read_all(&mut pair.server), (vec![], None));
    let ending = raftq.interrupt();
    ending.must_be_clean(0);
    // TCP sent it again, and that was held as well.
    assert!(ending.of_rule("it", "acted") >= 2, "{ending}");
    assert_eq!(ending.link("n1", "n2", "delayed"), ending.of_rule("it", "acted"), "{ending}");
}

/// What was opened before the rule goes on; what is opened now does not.
#[test]
fn flow_new_leaves_what_stands_alone() {
    let net = two();
    let at = net.peer(1, V4);
    let listener = net.node(1).inside(|| TcpListener::bind(at)).expect("inside").expect("free");
    let mut before = pair_at(&net, 0, &listener);
    let raftq = attach(&net, "flow: new, payload: \">0\"", "reset");
    before.client.write_all(b"old").expect("it lives");
    before.server.read_exact(&mut [0; 3]).expect("it comes");
    let mut now = pair_at(&net, 0, &listener);
    now.client.write_all(b"new").expect("it may");
    assert_eq!(read_all(&mut now.server), (vec![], Some(RESET)));
    before.client.write_all(b"old").expect("it lives");
    before.server.read_exact(&mut [0; 3]).expect("it comes");
    must_have_hit(raftq, 1);
}

#[test]
fn first_and_every_nth_count_what_meets_the_rest() {
    for (where_, hit) in [
        ("proto: udp, first: 3", vec![0, 1, 2]),
        ("proto: udp, every_nth: 4", vec![3, 7, 11, 15, 19]),
        ("proto: udp, every_nth: 4, first: 2", vec![3, 7]),
    ] {
        let net = two();
        let at = net.peer(1, V4);
        let mut sink = Probe::listen(net.node(1), "sink", "udp", at).expect("it listens");
        let raftq = attach(&net, where_, "drop");
        let args = "--count 21 --every 1ms";
        net.talk("send", ("udp", V4), (0, 1), args).finish(LIMIT).expect("it sends");
        let got = await_more(&mut sink, What::Got, 21 - hit.len(), 0);
        let wanted: Vec<u32> = (0..21).filter(|n| !hit.contains(n)).collect();
        assert_eq!(numbers(&got, What::Got), wanted, "{where_}");
        must_have_hit(raftq, hit.len() as u64);
    }
}
