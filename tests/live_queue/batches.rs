//! A verdict over a batch never lets go what is kept: real packets, random answers.

use super::Tested;
use super::queue_lab::{Lab, QUEUE, arrived, number, send, take_all, view};
use raftq::kernel::clock;
use raftq::kernel::losses::Losses;
use raftq::kernel::queue::{Answer, Judge, LateAnswer, Packet};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const TO: &str = "127.0.0.1:7000";

/// Numbers without a pattern, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// Answers to come, in runs, so that batches come to be.
fn answers(random: &mut Random, count: u64) -> VecDeque<Answer<'static>> {
    let mut answers = VecDeque::new();
    let keep_one_in = 1 + random.below(60);
    while (answers.len() as u64) < count {
        let answer = match random.below(4) {
            _ if random.below(keep_one_in) == 0 => Answer::Keep,
            0 => Answer::Drop,
            _ => Answer::Accept,
        };
        let run = if matches!(answer, Answer::Keep) { 1 } else { 1 + random.below(40) };
        answers.extend((0..run).map(|_| answer));
    }
    answers
}

pub(crate) fn nothing_kept_escapes_whatever_the_answers<Q: Tested>() {
    let lab = Lab::new();
    lab.queue("-p udp --dport 7000", QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp(TO));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut sent, mut kept) = (0, Vec::new());
    // What the receiver must have, in the order of the answers.
    let mut expected = Vec::new();
    for round in 0..400 {
        let count = random.below(40) as u32;
        send(&from, TO, sent..sent + count, 64);
        sent += count;
        // Some packets stay for the next call, some calls find none.
        for _ in 0..random.below(3) {
            let mut coming = answers(&mut random, 64);
            let each = |packet: &Packet<'_>| {
                let answer = coming.pop_front().expect("a batch has 64 packets at most");
                match answer {
                    Answer::Keep => kept.push((packet.id, number(packet))),
                    Answer::Accept => expected.push(number(packet)),
                    _ => {}
                }
                answer
            };
            queue.receive(each).expect("receiving works");
            if random.below(2) == 0 {
                queue.flush().expect("sending works");
            }
        }
        let answered = if random.below(8) == 0 { kept.len() as u64 } else { random.below(6) };
        for _ in 0..answered.min(kept.len() as u64) {
            let (id, number) = kept.swap_remove(random.below(kept.len() as u64) as usize);
            let accept = random.below(2) == 0;
            let answer = if accept { LateAnswer::Accept } else { LateAnswer::Drop };
            queue.answer(id, answer).expect("it is kept");
            expected.extend(accept.then_some(number));
        }
        if random.below(2) == 0 {
            queue.flush().expect("sending works");
            assert_eq!(arrived(&at), std::mem::take(&mut expected), "round {round}");
        }
    }
    take_all(&mut queue, |packet| {
        expected.push(number(packet));
        Answer::Accept
    });
    queue.flush().expect("sending works");
    assert_eq!(arrived(&at), expected);
    assert!(sent > 5_000, "that were few packets: {sent}");
    assert_eq!(queue.faults().refused, 0);
    let left = Losses { waiting: kept.len() as u64, ..Losses::default() };
    assert_eq!(lab.losses(QUEUE), left);
}

pub(crate) fn one_kept_packet_anywhere_in_a_batch<Q: Tested>() {
    let lab = Lab::new();
    lab.queue("-p udp --dport 7000", QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, at) = (lab.udp("127.0.0.1:0"), lab.udp(TO));
    for len in [1, 2, 3, 64, 65, 130] {
        for place in [0, 1, len / 2, len - 1] {
            send(&from, TO, 0..len, 64);
            let mut kept = None;
            take_all(&mut queue, |packet| {
                if number(packet) != place.min(len - 1) {
                    return Answer::Accept;
                }
                kept = Some(packet.id);
                Answer::Keep
            });
            let others: Vec<u32> = (0..len).filter(|n| *n != place.min(len - 1)).collect();
            assert_eq!(arrived(&at), others, "{place} of {len} is kept");
            // A whole batch behind it does not take it along either.
            send(&from, TO, 1_000..1_064, 64);
            take_all(&mut queue, |_| Answer::Accept);
            assert_eq!(arrived(&at), (1_000..1_064).collect::<Vec<_>>());
            queue.answer(kept.expect("one"), LateAnswer::Accept).expect("it is kept");
            queue.flush().expect("sending works");
            assert_eq!(arrived(&at), [place.min(len - 1)]);
        }
    }
    assert_eq!(queue.faults().refused, 0);
}

/// Packets that tell when they were sent, and when their batch was here.
struct Stamped {
    here: u64,
    early: u32,
    judged: Arc<AtomicU32>,
}

impl Judge for Stamped {
    fn judge<'a>(&'a mut self, packet: &'a Packet<'_>) -> Answer<'a> {
        let at = usize::from(view(packet).header_len);
        let sent = u64::from_be_bytes(packet.bytes[at..at + 8].try_into().expect("8 bytes"));
        self.early += u32::from(self.here < sent);
        self.judged.fetch_add(1, Ordering::Release);
        Answer::Accept
    }
}

/// What is delayed counts from when a batch was here, and nothing may be early: while somebody
/// sends without a break, no packet is younger than a time that is read between the two.
pub(crate) fn what_is_judged_was_fetched_before<Q: Tested>() {
    const N: u32 = 5_000;
    let lab = Lab::new();
    lab.queue("-p udp --dport 7000", QUEUE);
    let mut queue: Q = lab.open(true);
    let (from, _at) = (lab.udp("127.0.0.1:0"), lab.udp(TO));
    let judged = Arc::new(AtomicU32::new(0));
    let mut judge = Stamped { here: 0, early: 0, judged: Arc::clone(&judged) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..N {
                // No more than the queue has room for.
                while n - judged.load(Ordering::Acquire) >= 200 {
                    std::hint::spin_loop();
                }
                let now = clock::now().0.to_be_bytes();
                from.send_to(&now, TO).expect("sent");
            }
        });
        while judged.load(Ordering::Acquire) < N {
            queue.fetch().expect("receiving works");
            judge.here = clock::now().0;
            queue.judge(&mut judge).expect("answering works");
            queue.flush().expect("sending works");
        }
    });
    assert_eq!(judge.early, 0, "of {N} packets so many were sent after their batch was fetched");
}
