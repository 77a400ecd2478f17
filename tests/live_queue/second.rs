//! The second queue: GSO packets that are sent to it come again as the segments of the wire.

use super::queue_lab::{LIMIT, Lab, QUEUE, view};
use raftq::kernel::clock;
use raftq::kernel::losses::Losses;
use raftq::kernel::nfqueue::NfQueue;
use raftq::kernel::poll::Poller;
use raftq::kernel::queue::{Answer, LateAnswer, Packet, PacketQueue, QueueOptions};
use raftq::time::Nanos;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const AT: &str = "127.0.0.1:7001";
const BULK: usize = 8 << 20;
const SECOND: u16 = QUEUE + 1;

fn open(lab: &Lab, options: QueueOptions) -> NfQueue {
    lab.inside(|| NfQueue::open(options)).expect("nobody else is bound here")
}

fn bytes() -> Vec<u8> {
    (0..BULK).map(|i| (i / 1000) as u8).collect()
}

/// A bulk transfer while `round` is called again and again; its bytes must arrive as they are.
fn transfer(lab: &Lab, queue: &mut NfQueue, mut round: impl FnMut(&mut NfQueue)) {
    let listener = lab.inside(|| TcpListener::bind(AT)).expect("the port is free");
    let (listener, sent) = (&listener, bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = lab.inside(|| TcpStream::connect(AT)).expect("accepted");
            stream.write_all(&sent).expect("written");
        });
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("dialled");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).expect("it ends");
            assert!(read == sent, "{} bytes arrived, and not as they were sent", read.len());
        });
        let mut poller = Poller::new().expect("polling works");
        poller.add(queue.fd()).expect("polling works");
        let limit = clock::now() + LIMIT;
        while !server.is_finished() {
            assert!(clock::now() < limit, "the transfer takes too long");
            poller.wait(Nanos::from_millis(5)).expect("polling works");
            round(queue);
        }
        server.join().expect("it read what was sent");
    });
}

/// Packets are sent there at once, or kept first.
fn cut_up(late: bool) {
    let lab = Lab::new();
    lab.be_ethernet();
    lab.queue("-p tcp --dport 7001", QUEUE);
    let mut second = open(&lab, QueueOptions::of_segments(SECOND));
    let mut first = open(&lab, QueueOptions::new(QUEUE, true).before(Some(SECOND)));
    let (mut whole, mut cut, mut kept) = (0u32, 0u32, Vec::new());
    transfer(&lab, &mut first, |first| {
        let each = |packet: &Packet<'_>| {
            whole += u32::from(packet.gso);
            if late {
                kept.push(packet.id);
                return Answer::Keep;
            }
            Answer::Segment
        };
        first.receive(each).expect("receiving works");
        for id in kept.drain(..) {
            first.answer(id, LateAnswer::Segment).expect("it is kept");
        }
        first.flush().expect("sending works");
        assert!(!first.has_unsent());
        let mut each = |packet: &Packet<'_>| {
            assert!(!packet.gso && packet.len <= 1_500, "{} bytes", packet.len);
            assert_eq!(packet.bytes.len(), packet.len as usize, "it is copied whole");
            cut += u32::from(view(packet).payload_len() > 0);
            Answer::Accept
        };
        while second.receive(&mut each).expect("receiving works") > 0 {
            second.flush().expect("sending works");
        }
    });
    assert!(whole > 10, "{whole} packets were GSO");
    assert!(cut as usize >= BULK / 1_460, "{cut} segments came for {BULK} bytes");
    assert_eq!(lab.disorder(), [0, 0]);
    for number in [QUEUE, SECOND] {
        // The acknowledgement of the end may have come behind the last look.
        let lost = Losses { waiting: 0, ..lab.losses(number) };
        assert_eq!(lost, Losses::default());
    }
    assert_eq!((first.faults().refused, second.faults().refused), (0, 0));
}

#[test]
fn what_is_sent_there_comes_again_cut_up_in_order_and_whole() {
    cut_up(false);
}

#[test]
fn so_does_what_was_kept() {
    cut_up(true);
}

#[test]
fn where_nobody_reads_it_packets_pass() {
    let lab = Lab::new();
    lab.be_ethernet();
    lab.queue("-p tcp --dport 7001", QUEUE);
    let mut second = Some(open(&lab, QueueOptions::of_segments(SECOND)));
    let mut first = open(&lab, QueueOptions::new(QUEUE, true).before(Some(SECOND)));
    let (mut before, mut after) = (0u32, 0u32);
    transfer(&lab, &mut first, |first| {
        let each = |packet: &Packet<'_>| {
            *(if second.is_some() { &mut before } else { &mut after }) += u32::from(packet.gso);
            Answer::Segment
        };
        first.receive(each).expect("receiving works");
        first.flush().expect("sending works");
        if let Some(queue) = &mut second {
            while queue.receive(|_| Answer::Accept).expect("receiving works") > 0 {
                queue.flush().expect("sending works");
            }
            if before > 10 {
                // Its socket closes with it, as where raftq dies.
                second = None;
            }
        }
    });
    assert!(before > 10 && after > 10, "{before} before, {after} after it was gone");
    assert_eq!(lab.disorder(), [0, 0]);
    assert_eq!(first.faults().refused, 0);
}
