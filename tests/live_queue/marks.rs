//! Marks that packets bear from raftq on, and packets that become others at once.

use super::Tested;
use super::queue_lab::{Lab, QUEUE, arrived, next, number, send, take_all, view};
use pnet_packet::udp::{MutableUdpPacket, ipv4_checksum};
use raftq::kernel::queue::{Answer, Judge, LateAnswer, Packet};
use std::net::{Ipv4Addr, TcpStream};

const TO: &str = "127.0.0.1:7000";

/// How many packets that came behind the queue bore each of these marks.
fn marked(lab: &Lab, marks: &[u32]) -> Vec<u64> {
    let counts = lab.run("iptables-nft -w -t filter -L INPUT -nvx");
    let of = |mark: &u32| {
        let word = format!("mark match 0x{mark:x}");
        let line = counts.lines().find(|line| line.trim_end().ends_with(&word));
        let packets = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        packets.unwrap_or_else(|| panic!("no count of {word}:\n{counts}"))
    };
    marks.iter().map(of).collect()
}

fn count_marks(lab: &Lab, marks: &[u32]) {
    for mark in marks {
        lab.run(&format!("iptables-nft -w -t filter -A INPUT -m mark --mark {mark}"));
    }
}

pub(crate) fn a_mark_is_borne_by_what_goes_on<Q: Tested>() {
    let lab = Lab::new();
    lab.queue("-p udp --dport 7000", QUEUE);
    count_marks(&lab, &[21, 22, 23, 24]);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp(TO));
    // Marked ones among a run, first and last of it, and one that was kept.
    send(&from, TO, 0..60, 64);
    let mut kept = Vec::new();
    take_all(&mut queue, |packet| match number(packet) {
        n @ (0 | 30 | 59) => Answer::Mark(21 + n % 2),
        n @ 10..=12 => {
            let mut bytes = packet.bytes.to_vec();
            sum_up(&mut bytes);
            kept.push((n, packet.id, bytes));
            Answer::Keep
        }
        _ => Answer::accept(None),
    });
    assert_eq!(marked(&lab, &[21, 22, 23, 24]), [2, 1, 0, 0]);
    let others: Vec<u32> = (0..60).filter(|n| !(10..13).contains(n)).collect();
    assert_eq!(arrived(&at), others);
    for (n, id, bytes) in &kept {
        let answer = match n {
            10 => LateAnswer::accept(Some(23)),
            11 => LateAnswer::Replace(bytes, Some(24)),
            _ => LateAnswer::accept(None),
        };
        queue.answer(*id, answer).expect("it is kept");
    }
    queue.flush().expect("sending works");
    assert_eq!(arrived(&at), [10, 11, 12]);
    assert_eq!(marked(&lab, &[21, 22, 23, 24]), [2, 1, 1, 1]);
    assert_eq!(queue.faults().refused, 0);
    a_trimmed_segment_bears_one_too::<Q>();
}

fn a_trimmed_segment_bears_one_too<Q: Tested>() {
    let lab = Lab::new();
    lab.queue("-p tcp --dport 7001", QUEUE);
    count_marks(&lab, &[25]);
    let (client, _server): (TcpStream, TcpStream) = lab.tcp("127.0.0.1:7001");
    let mut queue: Q = lab.open(false);
    std::io::Write::write_all(&mut &client, b"hello").expect("written");
    super::queue_lab::pump(
        &mut queue,
        "a trimmed segment has passed with its mark",
        |packet| Answer::Trim(view(packet), Some(25)),
        || marked(&lab, &[25]) != [0],
    );
}

/// What is handed back needs a full checksum, also where nothing was changed.
fn sum_up(datagram: &mut [u8]) {
    let mut udp = MutableUdpPacket::new(&mut datagram[20..]).expect("a whole header");
    udp.set_checksum(0);
    let lo = Ipv4Addr::LOCALHOST;
    let sum = ipv4_checksum(&udp.to_immutable(), &lo, &lo);
    udp.set_checksum(sum);
}

/// Datagrams go on as others: each with its number in another order of bytes.
struct Turned(Vec<u8>);

impl Judge for Turned {
    fn judge<'a>(&'a mut self, packet: &'a Packet<'_>) -> Answer<'a> {
        let number = number(packet);
        if number.is_multiple_of(3) {
            return Answer::Accept;
        }
        let at = usize::from(view(packet).header_len);
        self.0.clear();
        self.0.extend_from_slice(packet.bytes);
        self.0[at..at + 4].copy_from_slice(&number.to_le_bytes());
        sum_up(&mut self.0);
        Answer::Replace(&self.0, None)
    }
}

pub(crate) fn other_bytes_go_on_at_once<Q: Tested>() {
    let lab = Lab::new();
    lab.queue("-p udp --dport 7000", QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp(TO));
    send(&from, TO, 1..200, 64);
    let mut judge = Turned(Vec::new());
    while queue.receive_with(&mut judge).expect("receiving works") > 0 {
        queue.flush().expect("sending works");
    }
    for n in 1u32..200 {
        let payload = next(&at).expect("it has arrived");
        let expected = if n.is_multiple_of(3) { n.to_be_bytes() } else { n.to_le_bytes() };
        assert_eq!(payload[..4], expected, "datagram {n}");
    }
    assert_eq!(queue.faults().refused, 0);
}
