//! Answers on their way to the kernel, as bytes: verdicts one behind the other, and one
//! `VERDICT_BATCH` for a run of equal ones where that is sound.
//!
//! A batch verdict releases every packet up to the one it names, in whatever order they
//! were answered. With packet 3 kept, a batch for 4 to 9 would let 3 go as well. So a run
//! is written as a batch only while nothing is kept at all; what is kept later has a larger
//! id than the run, and what was kept earlier has ended it. Packets that bear a mark, other bytes
//! or the number of a second queue are answered one by one.
//!
//! It sends nothing, and it trusts its caller in one thing: that [`Outbox::late`] is called
//! once for each packet that was kept, and for no other.

use super::nfnetlink::Builder;
use super::queue::{Answer, LateAnswer, Packet, REPLACE_MAX};
use crate::engine::mangle::{self, HEADERS_MAX};
use std::io;

/// Netfilter's subsystem of packet queues, as message types bear it.
pub(super) const SUBSYS_QUEUE: u16 = 3 << 8;
const MSG_VERDICT: u16 = SUBSYS_QUEUE | 1;
const MSG_VERDICT_BATCH: u16 = SUBSYS_QUEUE | 3;

const ATTR_VERDICT_HDR: u16 = 2;
const ATTR_MARK: u16 = 3;
const ATTR_PAYLOAD: u16 = 10;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NF_QUEUE: u32 = 3;
/// Lets packets pass where nobody reads the queue that they are sent to.
const BYPASS: u32 = 0x8000;

/// Answers should be sent before they grow beyond this.
const FULL: usize = 32 * 1024;

/// Bytes of a verdict without payload, and with a mark.
const VERDICT_LEN: usize = 40;

/// Verdict messages of one queue, until they are sent.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: Builder,
    number: u16,
    /// Sends a packet to the second queue, where there is one.
    segment: u32,
    run: Option<Run>,
    /// Packets that were kept and not answered yet.
    kept: usize,
}

/// Packets in a row with one verdict.
#[derive(Clone, Copy, Debug)]
struct Run {
    verdict: u32,
    last: u32,
    len: u32,
}

impl Outbox {
    /// No answers yet for the queue with that number, and a second one behind it.
    pub(super) fn new(number: u16, second: Option<u16>) -> Self {
        // Nearly full it still takes the longest answer, and the run that this ends.
        let buffer = Builder::with_capacity(FULL + 2 * VERDICT_LEN + REPLACE_MAX + 8);
        let to = |second| u32::from(second) << 16 | BYPASS | NF_QUEUE;
        Self { buffer, number, segment: second.map_or(NF_ACCEPT, to), run: None, kept: 0 }
    }

    /// The immediate answer to a packet; they come in the order of the packets' ids.
    pub(super) fn answer(&mut self, packet: &Packet<'_>, answer: Answer<'_>) {
        match answer {
            Answer::Accept => self.extend_run(packet.id, NF_ACCEPT),
            Answer::Drop => self.extend_run(packet.id, NF_DROP),
            Answer::Keep => {
                self.end_run();
                self.kept += 1;
            }
            Answer::Mark(mark) => self.alone(packet.id, NF_ACCEPT, Some(mark), None),
            Answer::Segment => self.alone(packet.id, self.segment, None, None),
            Answer::Replace(bytes, mark) if bytes.len() <= REPLACE_MAX => {
                self.alone(packet.id, NF_ACCEPT, mark, Some(bytes));
            }
            Answer::Replace(..) => self.alone(packet.id, NF_DROP, None, None),
            Answer::Trim(view, mark) => {
                self.rewritten(packet.id, mark, |out| mangle::trim(packet.bytes, &view, out));
            }
            Answer::Reset(view, seq) => {
                self.rewritten(packet.id, None, |out| mangle::reset(packet.bytes, &view, seq, out));
            }
        }
    }

    /// Other headers go on instead of a packet; it is dropped where they cannot be written.
    fn rewritten(
        &mut self,
        id: u32,
        mark: Option<u32>,
        write: impl FnOnce(&mut [u8; HEADERS_MAX]) -> Option<usize>,
    ) {
        let mut out = [0; HEADERS_MAX];
        match write(&mut out) {
            Some(len) => self.alone(id, NF_ACCEPT, mark, Some(&out[..len])),
            None => self.alone(id, NF_DROP, None, None),
        }
    }

    /// The answer to a packet that was kept.
    pub(super) fn late(&mut self, id: u32, answer: LateAnswer<'_>) -> io::Result<()> {
        match answer {
            LateAnswer::Accept => self.alone(id, NF_ACCEPT, None, None),
            LateAnswer::Mark(mark) => self.alone(id, NF_ACCEPT, Some(mark), None),
            LateAnswer::Drop => self.alone(id, NF_DROP, None, None),
            LateAnswer::Replace(bytes, mark) if bytes.len() <= REPLACE_MAX => {
                self.alone(id, NF_ACCEPT, mark, Some(bytes));
            }
            LateAnswer::Replace(..) => return Err(super::queue::too_long()),
            LateAnswer::Segment => self.alone(id, self.segment, None, None),
        }
        self.kept = self.kept.saturating_sub(1);
        Ok(())
    }

    /// Writes the run so far; to be called before the bytes are sent.
    pub(super) fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let kind = if run.len == 1 { MSG_VERDICT } else { MSG_VERDICT_BATCH };
        self.verdict(kind, run.last, run.verdict, None, None);
    }

    /// What to send.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.bytes()
    }

    /// Whether it is time to send.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() > FULL
    }

    /// Forgets what was sent.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    fn extend_run(&mut self, id: u32, verdict: u32) {
        if self.kept > 0 {
            self.alone(id, verdict, None, None);
            return;
        }
        match &mut self.run {
            Some(run) if run.verdict == verdict => {
                run.last = id;
                run.len += 1;
            }
            _ => {
                self.end_run();
                self.run = Some(Run { verdict, last: id, len: 1 });
            }
        }
    }

    /// A verdict that concerns no other packet; what was to be a run has to be written before it.
    fn alone(&mut self, id: u32, verdict: u32, mark: Option<u32>, payload: Option<&[u8]>) {
        self.end_run();
        self.verdict(MSG_VERDICT, id, verdict, mark, payload);
    }

    fn verdict(
        &mut self,
        kind: u16,
        id: u32,
        verdict: u32,
        mark: Option<u32>,
        payload: Option<&[u8]>,
    ) {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&verdict.to_be_bytes());
        header[4..].copy_from_slice(&id.to_be_bytes());
        self.buffer.begin(kind, 0, self.number);
        self.buffer.attribute(ATTR_VERDICT_HDR, &header);
        if let Some(mark) = mark {
            self.buffer.attribute(ATTR_MARK, &mark.to_be_bytes());
        }
        if let Some(bytes) = payload {
            self.buffer.attribute(ATTR_PAYLOAD, bytes);
        }
        self.buffer.end();
    }
}

#[cfg(test)]
mod tests {
    use super::super::netlink::attrs;
    use super::super::nfnetlink::messages;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A verdict, the mark that came with it, and the payload.
    type Given = (u32, Option<u32>, Vec<u8>);

    /// What the kernel makes of the bytes: the packets it holds, and the verdicts it gave.
    #[derive(Default)]
    struct Kernel {
        held: Vec<u32>,
        given: BTreeMap<u32, Given>,
        messages: usize,
    }

    /// The verdict that sends a packet to queue 9.
    const TO_SECOND: u32 = 0x0009_8003;

    fn outbox() -> Outbox {
        Outbox::new(7, Some(9))
    }

    impl Kernel {
        fn act(&mut self, out: &mut Outbox) {
            out.end_run();
            for message in messages(out.bytes()) {
                self.messages += 1;
                let attributes: Vec<_> = attrs(&message.body[4..]).collect();
                let (kind, header) = attributes[0];
                assert_eq!(kind, ATTR_VERDICT_HDR);
                let word = |at| u32::from_be_bytes(header[at..at + 4].try_into().expect("four"));
                let (verdict, id) = (word(0), word(4));
                let value = |kind| attributes.iter().find(|(k, _)| *k == kind).map(|(_, v)| *v);
                let mark = value(ATTR_MARK).map(|v| u32::from_be_bytes(v.try_into().expect("4")));
                let payload = value(ATTR_PAYLOAD).unwrap_or_default().to_vec();
                assert!(self.held.contains(&id), "a verdict for a packet that is gone: {id}");
                let batch = message.kind == MSG_VERDICT_BATCH;
                let runs = verdict <= NF_ACCEPT && attributes.len() == 1;
                assert!(runs || !batch, "a batch may only accept or drop: {attributes:?}");
                let named = |held: &u32| if batch { *held <= id } else { *held == id };
                for id in self.held.iter().copied().filter(named) {
                    self.given.insert(id, (verdict, mark, payload.clone()));
                }
                self.held.retain(|held| !named(held));
            }
            out.clear();
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Packets come, and each is answered or kept.
        Receive(Vec<u8>),
        /// One of those that are kept is answered: which, and how.
        Late(prop::sample::Index, u8),
        Send,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Runs are common, kept packets rare enough that runs come to be.
        let answer = prop_oneof![60 => Just(0u8), 30 => Just(1), 10 => Just(2), 5 => 3u8..7];
        let step = prop_oneof![
            prop::collection::vec(answer, 1..20).prop_map(Step::Receive),
            (any::<prop::sample::Index>(), 0u8..6).prop_map(|(i, how)| Step::Late(i, how)),
            Just(Step::Send),
        ];
        prop::collection::vec(step, 1..60)
    }

    fn packet(id: u32) -> Packet<'static> {
        Packet { id, bytes: &[], len: 0, gso: false, mark: 0, from: None }
    }

    /// Answers, and what is to come of each; nothing where the packet is kept.
    fn immediate(how: u8) -> (Answer<'static>, Option<Given>) {
        static TOO_LONG: [u8; REPLACE_MAX + 1] = [0; REPLACE_MAX + 1];
        match how {
            0 => (Answer::Accept, Some((NF_ACCEPT, None, vec![]))),
            1 => (Answer::Drop, Some((NF_DROP, None, vec![]))),
            2 => (Answer::Keep, None),
            3 => (Answer::accept(Some(77)), Some((NF_ACCEPT, Some(77), vec![]))),
            4 => (
                Answer::Replace(b"other", Some(78)),
                Some((NF_ACCEPT, Some(78), b"other".to_vec())),
            ),
            5 => (Answer::Replace(&TOO_LONG, Some(79)), Some((NF_DROP, None, vec![]))),
            _ => (Answer::Segment, Some((TO_SECOND, None, vec![]))),
        }
    }

    fn late(how: u8) -> (LateAnswer<'static>, Given) {
        match how {
            0 => (LateAnswer::accept(None), (NF_ACCEPT, None, vec![])),
            1 => (LateAnswer::Drop, (NF_DROP, None, vec![])),
            2 => (LateAnswer::Replace(b"other", None), (NF_ACCEPT, None, b"other".to_vec())),
            3 => (LateAnswer::Mark(80), (NF_ACCEPT, Some(80), vec![])),
            4 => (LateAnswer::Replace(b"x", Some(81)), (NF_ACCEPT, Some(81), b"x".to_vec())),
            _ => (LateAnswer::Segment, (TO_SECOND, None, vec![])),
        }
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_was_answered_and_nothing_kept_escapes(steps in steps()) {
            let (mut out, mut kernel) = (outbox(), Kernel::default());
            let (mut next, mut kept, mut answered) = (0, Vec::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Receive(answers) => {
                        for how in answers {
                            next += 1;
                            kernel.held.push(next);
                            let (answer, expected) = immediate(how);
                            out.answer(&packet(next), answer);
                            match expected {
                                Some(expected) => drop(answered.insert(next, expected)),
                                None => kept.push(next),
                            }
                        }
                        // As the queue does at the end of each batch.
                        out.end_run();
                    }
                    Step::Late(which, how) if !kept.is_empty() => {
                        let id = kept.swap_remove(which.index(kept.len()));
                        let (answer, expected) = late(how);
                        out.late(id, answer).expect("short enough");
                        answered.insert(id, expected);
                    }
                    Step::Late(..) => {}
                    Step::Send => kernel.act(&mut out),
                }
            }
            kernel.act(&mut out);
            prop_assert_eq!(&kernel.given, &answered);
            prop_assert_eq!(kernel.held.len(), kept.len());
        }
    }

    #[test]
    fn a_run_is_one_message_until_something_is_kept() {
        let (mut out, mut kernel) = (outbox(), Kernel::default());
        let receive = |kernel: &mut Kernel, out: &mut Outbox, ids: std::ops::Range<u32>, a| {
            kernel.messages = 0;
            for id in ids {
                kernel.held.push(id);
                out.answer(&packet(id), a);
            }
            kernel.act(out);
            kernel.messages
        };
        assert_eq!(receive(&mut kernel, &mut out, 1..65, Answer::Accept), 1);
        assert_eq!(receive(&mut kernel, &mut out, 65..66, Answer::Keep), 0);
        assert_eq!(receive(&mut kernel, &mut out, 66..70, Answer::Accept), 4);
        assert_eq!(kernel.held, [65]);
        out.late(65, LateAnswer::Accept).expect("no bytes");
        assert_eq!(receive(&mut kernel, &mut out, 70..134, Answer::Drop), 2);
        assert!(kernel.held.is_empty());
    }

    #[test]
    fn a_replacement_that_no_attribute_can_hold_is_refused_and_the_packet_stays_kept() {
        let (mut out, mut kernel) = (outbox(), Kernel::default());
        kernel.held.extend([1, 2, 3]);
        out.answer(&packet(1), Answer::Keep);
        assert!(out.late(1, LateAnswer::Replace(&vec![0; REPLACE_MAX + 1], None)).is_err());
        out.answer(&packet(2), Answer::Accept);
        out.answer(&packet(3), Answer::Accept);
        kernel.act(&mut out);
        assert_eq!(kernel.held, [1]);
        out.late(1, LateAnswer::Replace(&vec![9; REPLACE_MAX], None)).expect("just fits");
        kernel.act(&mut out);
        assert_eq!(kernel.given[&1].2.len(), REPLACE_MAX);
    }
    #[test]
    fn what_bears_a_mark_or_goes_to_the_second_queue_takes_nobody_along() {
        for how in 3..7 {
            let (mut out, mut kernel) = (outbox(), Kernel::default());
            let (answer, expected) = immediate(how);
            for id in 1..=9 {
                kernel.held.push(id);
                out.answer(&packet(id), if id == 5 { answer } else { Answer::Accept });
            }
            kernel.act(&mut out);
            assert_eq!(kernel.messages, 3, "a run, a verdict and a run");
            assert_eq!(kernel.given[&5], expected.expect("it is not kept"));
            assert_eq!(
                kernel.given.values().filter(|g| **g == (NF_ACCEPT, None, vec![])).count(),
                8
            );
        }
    }

    #[test]
    fn without_a_second_queue_packets_go_on() {
        let (mut out, mut kernel) = (Outbox::new(7, None), Kernel::default());
        kernel.held.push(1);
        out.answer(&packet(1), Answer::Segment);
        kernel.act(&mut out);
        assert_eq!(kernel.given[&1], (NF_ACCEPT, None, vec![]));
    }
}
