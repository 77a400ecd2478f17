//! TCP: connections, trimmed and replaced segments, and what GSO makes of them.
//! The second queue, which cuts GSO packets up, has its tests in `second.rs`.

use super::Tested;
use super::queue_lab::{Lab, QUEUE, pump, view};
use pnet_packet::tcp::{MutableTcpPacket, ipv4_checksum};
use raftq::kernel::losses::Losses;
use raftq::kernel::queue::{Answer, LateAnswer, Packet};
use raftq::packet::{PacketView, tcp_flags};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

const PORT: u16 = 7001;
const V4: &str = "127.0.0.1:7001";
const V6: &str = "[::1]:7001";
/// From the dialling end to the other.
const THERE: &str = "-p tcp --dport 7001";
const BACK: &str = "-p tcp --sport 7001";
const BULK: usize = 8 << 20;

pub(crate) fn a_connection_is_made_and_carries_its_bytes<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(THERE, QUEUE);
    lab.queue(BACK, QUEUE);
    let mut queue: Q = lab.open(true);
    for addr in [V4, V6] {
        let listener = lab.inside(|| TcpListener::bind(addr)).expect("the port is free");
        let listener = &listener;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut stream = lab.inside(|| TcpStream::connect(addr)).expect("accepted");
                stream.write_all(b"question").expect("written");
                let mut answer = [0; 6];
                stream.read_exact(&mut answer).expect("answered");
                assert_eq!(&answer, b"answer");
            });
            let server = scope.spawn(move || {
                let (mut stream, _) = listener.accept().expect("dialled");
                let mut question = [0; 8];
                stream.read_exact(&mut question).expect("asked");
                stream.write_all(b"answer").expect("written");
            });
            let done = || client.is_finished() && server.is_finished();
            pump(&mut queue, "both have talked", |_| Answer::Accept, done);
        });
    }
}

pub(crate) fn a_trimmed_segment_acknowledges_and_carries_nothing<Q: Tested>() {
    for addr in [V4, V6] {
        trimmed::<Q>(addr, false, 5);
    }
}

pub(crate) fn a_trimmed_gso_packet_acknowledges_and_carries_nothing<Q: Tested>() {
    for addr in [V4, V6] {
        trimmed::<Q>(addr, true, 20_000);
    }
}

/// The client's data and FIN are trimmed, and its bare acknowledgements dropped: what the
/// server is acknowledged comes with trimmed segments alone.
fn trimmed<Q: Tested>(addr: &str, gso: bool, len: usize) {
    let lab = Lab::new();
    lab.run("ip link set lo mtu 1500");
    lab.queue(THERE, QUEUE);
    let (mut client, mut server) = lab.tcp(addr);
    client.set_nodelay(true).expect("it may be");
    let mut queue: Q = lab.open(gso);
    let (trims, whole, fins) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let each = |packet: &Packet<'_>| {
        let view: PacketView = view(packet);
        if !view.carries_data() {
            return Answer::Drop;
        }
        trims.set(trims.get() + 1);
        whole.set(whole.get() + usize::from(packet.gso));
        fins.set(fins.get() + usize::from(view.flags & tcp_flags::FIN != 0));
        Answer::Trim(view, None)
    };
    server.write_all(&[7; 100]).expect("written");
    assert_eq!(lab.unacknowledged(PORT), 100);
    client.write_all(&vec![9; len]).expect("written");
    pump(&mut queue, "a trimmed segment acknowledges", each, || lab.unacknowledged(PORT) == 0);
    assert!(trims.get() > 0);
    assert_eq!(whole.get() > 0, gso, "whether GSO packets were there to be trimmed");
    nothing_to_read(&mut server);
    client.shutdown(Shutdown::Write).expect("it may speak no more");
    // Behind more data than the shrunken window takes, no FIN is sent.
    if !gso {
        pump(&mut queue, "a FIN was trimmed", each, || fins.get() > 0);
        nothing_to_read(&mut server);
    }
    let waits = lab.run(&format!("ss -Htn 'dport = :{PORT}'"));
    let unacknowledged = waits.split_whitespace().nth(2).and_then(|n| n.parse().ok());
    assert!(unacknowledged >= Some(len), "the client still has to send it all: {waits}");

    // Undisturbed, retransmissions mend it.
    let read = RefCell::new(Vec::new());
    pump(&mut queue, "all is read", |_| Answer::Accept, || ends(&mut server, &read));
    assert_eq!(*read.borrow(), vec![9; len]);
    assert_eq!(queue.faults().refused, 0);
}

fn nothing_to_read(server: &mut TcpStream) {
    let read = server.read(&mut [0; 10]);
    assert_eq!(read.map_err(|e| e.kind()), Err(ErrorKind::WouldBlock));
}

/// Reads what there is; whether the stream has ended.
fn ends(server: &mut TcpStream, read: &RefCell<Vec<u8>>) -> bool {
    match server.read_to_end(&mut read.borrow_mut()) {
        Ok(_) => true,
        Err(e) if e.kind() == ErrorKind::WouldBlock => false,
        Err(e) => panic!("reading: {e}"),
    }
}

/// A segment becomes a RST: its receiver hears of it at once, its sender with what it sends next.
pub(crate) fn a_segment_that_was_made_a_reset_ends_its_connection<Q: Tested>() {
    for addr in [V4, V6] {
        let lab = Lab::new();
        lab.queue(THERE, QUEUE);
        let (mut client, mut server) = lab.tcp(addr);
        client.set_nodelay(true).expect("it may be");
        let mut queue: Q = lab.open(false);
        client.write_all(b"before").expect("written");
        let read = RefCell::new([0; 6]);
        let has_read = || server.read_exact(&mut *read.borrow_mut()).is_ok();
        pump(&mut queue, "what was sent before arrives", |_| Answer::Accept, has_read);
        client.write_all(b"the message").expect("written");
        let reset = Cell::new(false);
        let each = |packet: &Packet<'_>| {
            let view = view(packet);
            if view.carries_data() && !reset.replace(true) {
                return Answer::Reset(view, view.seq);
            }
            Answer::Accept
        };
        let heard = || match server.read(&mut [0; 10]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            read => {
                assert_eq!(read.map_err(|e| e.kind()), Err(ErrorKind::ConnectionReset), "{addr}");
                true
            }
        };
        pump(&mut queue, "its receiver is told", each, heard);
        assert!(reset.get());
        let told = || {
            let written = client.write(b"next").map_err(|e| e.kind());
            matches!(written, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
        };
        pump(&mut queue, "the sender is told", |_| Answer::Accept, told);
        assert_eq!(queue.faults().refused, 0);
    }
}

pub(crate) fn a_replaced_segment_is_what_the_peer_reads<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(THERE, QUEUE);
    let (mut client, mut server) = lab.tcp(V4);
    let mut queue: Q = lab.open(false);
    client.write_all(b"hello").expect("written");
    let kept = RefCell::new(None);
    let each = |packet: &Packet<'_>| {
        let view = view(packet);
        if !view.carries_data() || kept.borrow().is_some() {
            return Answer::Drop;
        }
        *kept.borrow_mut() = Some((packet.id, packet.bytes.to_vec(), view));
        Answer::Keep
    };
    pump(&mut queue, "the segment is kept", each, || kept.borrow().is_some());
    let (id, mut bytes, view) = kept.take().expect("it is");
    let start = usize::from(view.header_len);
    bytes[start..].copy_from_slice(b"HELLO");
    let mut tcp = MutableTcpPacket::new(&mut bytes[20..]).expect("a whole header");
    let lo = Ipv4Addr::LOCALHOST;
    let sum = ipv4_checksum(&tcp.to_immutable(), &lo, &lo);
    tcp.set_checksum(sum);
    queue.answer(id, LateAnswer::Replace(&bytes, None)).expect("it is kept");
    queue.flush().expect("sending works");
    let mut read = [0; 10];
    assert_eq!(server.read(&mut read).expect("it has arrived"), 5);
    assert_eq!(&read[..5], b"HELLO");
}

/// A bulk transfer over a link with an MTU of 1500; `each` sees every packet on the way
/// there. Returns when the receiver has it all.
fn bulk<Q: Tested>(lab: &Lab, queue: &mut Q, mut each: impl FnMut(&mut Q, u32, bool)) {
    let listener = lab.inside(|| TcpListener::bind(V4)).expect("the port is free");
    let listener = &listener;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = lab.inside(|| TcpStream::connect(V4)).expect("accepted");
            stream.write_all(&vec![3; BULK]).expect("written");
        });
        let server = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("dialled");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).expect("it ends");
            assert!(read.len() == BULK && read.iter().all(|b| *b == 3));
        });
        while !server.is_finished() {
            let seen = RefCell::new(Vec::new());
            let note = |packet: &Packet<'_>| {
                seen.borrow_mut().push((packet.len, packet.gso));
                Answer::Accept
            };
            let done = || server.is_finished() || !seen.borrow().is_empty();
            pump(queue, "packets flow", note, done);
            seen.take().into_iter().for_each(|(len, gso)| each(queue, len, gso));
        }
        server.join().expect("it read what was sent");
    });
}

pub(crate) fn segments_come_one_by_one_or_whole<Q: Tested>() {
    for gso in [false, true] {
        let lab = Lab::new();
        lab.run("ip link set lo mtu 1500");
        lab.queue(THERE, QUEUE);
        let mut queue: Q = lab.open(gso);
        let (mut longest, mut whole) = (0, 0);
        bulk(&lab, &mut queue, |_, len, flagged| {
            assert_eq!(len > 1_500, flagged && len > 1_500, "unflagged and {len} bytes");
            longest = longest.max(len);
            whole += usize::from(flagged);
        });
        assert_eq!(longest > 1_500, gso, "the longest packet had {longest} bytes");
        assert_eq!(whole > 0, gso, "{whole} packets were whole");
        assert_eq!(lab.losses(QUEUE), Losses::default());
    }
}
