//! Single datagrams: accepted, dropped, kept, replaced, lost.

use super::Tested;
use super::queue_lab::{Lab, NONE, QUEUE, arrived, next, number, send, take_all};
use nix::sys::socket::{setsockopt, sockopt};
use pnet_packet::udp::{MutableUdpPacket, ipv4_checksum};
use raftq::kernel::losses::Losses;
use raftq::kernel::queue::{Answer, LateAnswer, QueueOptions};
use std::io::ErrorKind;
use std::net::Ipv4Addr;

const RULE: &str = "-p udp --dport 7000";
const FAMILIES: [(&str, &str); 2] = [("127.0.0.1:0", "127.0.0.1:7000"), ("[::1]:0", "[::1]:7000")];

pub(crate) fn accepted_ones_arrive_and_dropped_ones_do_not<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    let mut queue: Q = lab.open(true);
    for (any, to) in FAMILIES {
        let (from, at) = (lab.udp(any), lab.udp(to));
        send(&from, to, 0..40, 64);
        assert_eq!(arrived(&at), NONE, "they wait for a verdict");
        let mut seen = 0;
        take_all(&mut queue, |packet| {
            seen += 1;
            if number(packet).is_multiple_of(3) { Answer::Drop } else { Answer::Accept }
        });
        assert_eq!(seen, 40);
        let expected: Vec<u32> = (0..40).filter(|n| n % 3 != 0).collect();
        assert_eq!(arrived(&at), expected);
    }
    assert_eq!((queue.faults().refused, queue.faults().garbled), (0, 0));
}

pub(crate) fn kept_ones_wait_and_are_answered_in_any_order<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    // Without GSO the kernel completes checksums before it copies.
    let mut queue: Q = lab.open(false);
    for (any, to) in FAMILIES {
        let (from, at) = (lab.udp(any), lab.udp(to));
        send(&from, to, 0..10, 64);
        let mut kept = Vec::new();
        take_all(&mut queue, |packet| {
            kept.push((packet.id, packet.bytes.to_vec()));
            Answer::Keep
        });
        assert_eq!(arrived(&at), NONE);
        for (i, number) in [7, 0, 3, 9, 1, 8, 2, 6, 4, 5].into_iter().enumerate() {
            let (id, bytes) = &kept[number];
            let answer = match i % 3 {
                0 => LateAnswer::Drop,
                1 => LateAnswer::Accept,
                // As it was: its checksum is still right.
                _ => LateAnswer::Replace(bytes, None),
            };
            queue.answer(*id, answer).expect("it is kept");
            queue.flush().expect("sending works");
        }
        assert_eq!(arrived(&at), [0, 3, 1, 8, 6, 4], "{to}");
    }
    assert_eq!(queue.faults().refused, 0);
}

pub(crate) fn a_replacement_arrives_when_its_checksum_is_right<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp("127.0.0.1:7000"));
    for right in [true, false] {
        from.send_to(b"hello", "127.0.0.1:7000").expect("sent");
        let mut kept = None;
        take_all(&mut queue, |packet| {
            kept = Some((packet.id, packet.bytes.to_vec()));
            Answer::Keep
        });
        let (id, mut bytes) = kept.expect("it was queued");
        bytes[28..33].copy_from_slice(b"HELLO");
        let mut udp = MutableUdpPacket::new(&mut bytes[20..]).expect("a whole header");
        let lo = Ipv4Addr::LOCALHOST;
        let sum = ipv4_checksum(&udp.to_immutable(), &lo, &lo);
        udp.set_checksum(if right { sum } else { sum ^ 0x0101 });
        queue.answer(id, LateAnswer::Replace(&bytes, None)).expect("it is kept");
        queue.flush().expect("sending works");
        // That a wrong one is refused shows that somebody looked.
        assert_eq!(next(&at), right.then(|| b"HELLO".to_vec()));
    }
}

pub(crate) fn a_copy_that_is_cut_does_not_cut_the_packet<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    let mut queue: Q = lab.open_with(QueueOptions { copy: 128, ..QueueOptions::new(QUEUE, true) });
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp("127.0.0.1:7000"));
    for len in [4, 99, 100, 101, 129, 1_200, 60_000] {
        for keep in [false, true] {
            send(&from, "127.0.0.1:7000", 5..6, len);
            let mut kept = None;
            take_all(&mut queue, |packet| {
                assert_eq!(packet.len as usize, len + 28);
                assert_eq!(packet.bytes.len(), (len + 28).min(128));
                kept = Some(packet.id);
                if keep { Answer::Keep } else { Answer::Accept }
            });
            if keep {
                queue.answer(kept.expect("queued"), LateAnswer::Accept).expect("kept");
                queue.flush().expect("sending works");
            }
            let whole = next(&at).expect("it arrived");
            assert_eq!(whole.len(), len);
            assert!(whole[4..].iter().all(|b| *b == 5));
        }
    }
}

pub(crate) fn hundreds_at_once_arrive_in_order<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp("127.0.0.1:7000"));
    for count in [1, 63, 64, 65, 700, 5_000] {
        send(&from, "127.0.0.1:7000", 0..count, 64);
        take_all(&mut queue, |_| Answer::Accept);
        assert_eq!(arrived(&at), (0..count).collect::<Vec<_>>());
    }
    assert_eq!(lab.losses(QUEUE), Losses::default());
}

/// The kernel drops what it keeps when the packets' device goes down.
pub(crate) fn verdicts_for_packets_that_are_gone_are_counted<Q: Tested>() {
    let lab = Lab::new();
    lab.queue(RULE, QUEUE);
    lab.run("ip link add rq0 type veth peer name rq1 && ip link set rq1 up");
    lab.run("ip addr add 10.9.0.1/24 dev rq0 && ip link set rq0 up");
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp("127.0.0.1:7000"));
    let mut kept = Vec::new();
    let mut keep_all = |queue: &mut Q, numbers| {
        send(&from, "127.0.0.1:7000", numbers, 64);
        let mut ids = Vec::new();
        take_all(queue, |packet| {
            ids.push(packet.id);
            Answer::Keep
        });
        kept.append(&mut ids);
    };
    keep_all(&mut queue, 0..3);
    lab.run("ip link set lo down && ip link set lo up");
    assert_eq!(lab.losses(QUEUE).waiting, 0, "the kernel has dropped them");
    keep_all(&mut queue, 3..6);
    let answer = |queue: &mut Q, id| {
        queue.answer(id, LateAnswer::Accept).expect("that it is gone is not an error");
        queue.flush().expect("nor here");
    };
    for &id in &kept[..3] {
        answer(&mut queue, id);
    }
    assert_eq!(arrived(&at), NONE);
    send(&from, "127.0.0.1:7000", 10..20, 64);
    take_all(&mut queue, |_| Answer::Accept);
    assert_eq!(queue.faults().refused, 3);
    assert_eq!(arrived(&at), (10..20).collect::<Vec<_>>(), "those that are kept stay");
    for &id in &kept[3..] {
        answer(&mut queue, id);
    }
    assert_eq!(arrived(&at), [3, 4, 5]);
    take_all(&mut queue, |_| Answer::Accept);
    assert_eq!(queue.faults().refused, 3);
}

pub(crate) fn a_number_is_bound_once<Q: Tested>() {
    let (lab, other) = (Lab::new(), Lab::new());
    let first: Q = lab.open(true);
    let options = QueueOptions::new(QUEUE, true);
    let second = lab.inside(|| Q::bind(options).err()).expect("it is taken");
    assert_eq!(second.kind(), ErrorKind::PermissionDenied);
    let _elsewhere: Q = other.open(true);
    drop(first);
    let _again: Q = lab.open(true);
}

pub(crate) fn losses_are_counted_where_they_happen<Q: Tested>() {
    let (lab, other) = (Lab::new(), Lab::new());
    lab.queue(RULE, QUEUE);
    let options = QueueOptions { max_len: 10, ..QueueOptions::new(QUEUE, true) };
    let mut queue: Q = lab.open_with(options);
    let _elsewhere: Q = other.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp("127.0.0.1:7000"));
    send(&from, "127.0.0.1:7000", 0..30, 64);
    let full = Losses { waiting: 10, queue_dropped: 20, user_dropped: 0 };
    assert_eq!(lab.losses(QUEUE), full);
    assert_eq!(other.losses(QUEUE), Losses::default());
    assert_eq!(lab.losses(QUEUE + 1), Losses::default(), "nobody is bound to that one");
    take_all(&mut queue, |_| Answer::Accept);
    assert_eq!(arrived(&at), (0..10).collect::<Vec<_>>());
    assert_eq!(lab.losses(QUEUE), Losses { waiting: 0, ..full });
    drop(queue);

    let mut queue: Q = lab.open(true);
    setsockopt(&queue.fd(), sockopt::RcvBuf, &4_096).expect("it may be small");
    send(&from, "127.0.0.1:7000", 0..100, 64);
    let losses = lab.losses(QUEUE);
    assert!(losses.user_dropped > 50, "{losses:?}");
    assert_eq!(losses.waiting + losses.user_dropped, 100);
    take_all(&mut queue, |_| Answer::Accept);
    assert_eq!(arrived(&at).len() as u64, losses.waiting);
}
