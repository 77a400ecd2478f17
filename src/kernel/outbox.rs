//! Answers on their way to the kernel, as bytes: verdicts one behind the other, and one
//! `VERDICT_BATCH` for a run of equal ones where that is sound.
//!
//! A batch verdict releases every packet up to the one it names, in whatever order they
//! were answered. With packet 3 kept, a batch for 4 to 9 would let 3 go as well. So a run
//! is written as a batch only while nothing is kept at all; what is kept later has a larger
//! id than the run, and what was kept earlier has ended it.
//!
//! It sends nothing, and it trusts its caller in one thing: that [`Outbox::late`] is called
//! once for each packet that was kept, and for no other.

use super::nfnetlink::Builder;
use super::nfqueue::BATCH;
use super::queue::{Answer, LateAnswer, Packet, REPLACE_MAX};
use crate::engine::mangle::{self, HEADERS_MAX};
use std::io;

/// Netfilter's subsystem of packet queues, as message types bear it.
pub(super) const SUBSYS_QUEUE: u16 = 3 << 8;
const MSG_VERDICT: u16 = SUBSYS_QUEUE | 1;
const MSG_VERDICT_BATCH: u16 = SUBSYS_QUEUE | 3;

const ATTR_VERDICT_HDR: u16 = 2;
const ATTR_PAYLOAD: u16 = 10;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Answers should be sent before they grow beyond this.
const FULL: usize = 32 * 1024;

/// Bytes of a verdict without payload.
const VERDICT_LEN: usize = 32;

/// Verdict messages of one queue, until they are sent.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: Builder,
    number: u16,
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
    /// No answers yet for the queue with that number.
    pub(super) fn new(number: u16) -> Self {
        // Full of late answers it still takes a batch of immediate ones, trimmed all of them.
        let buffer = Builder::with_capacity(FULL + BATCH * (VERDICT_LEN + 4 + HEADERS_MAX));
        Self { buffer, number, run: None, kept: 0 }
    }

    /// The immediate answer to a packet; they come in the order of the packets' ids.
    pub(super) fn answer(&mut self, packet: &Packet<'_>, answer: Answer) {
        match answer {
            Answer::Accept => self.extend_run(packet.id, NF_ACCEPT),
            Answer::Drop => self.extend_run(packet.id, NF_DROP),
            Answer::Keep => {
                self.end_run();
                self.kept += 1;
            }
            Answer::Trim(view) => {
                self.rewritten(packet.id, |out| mangle::trim(packet.bytes, &view, out));
            }
            Answer::Reset(view, seq) => {
                self.rewritten(packet.id, |out| mangle::reset(packet.bytes, &view, seq, out));
            }
        }
    }

    /// Other headers go on instead of a packet; it is dropped where they cannot be written.
    fn rewritten(&mut self, id: u32, write: impl FnOnce(&mut [u8; HEADERS_MAX]) -> Option<usize>) {
        self.end_run();
        let mut out = [0; HEADERS_MAX];
        match write(&mut out) {
            Some(len) => self.single(id, NF_ACCEPT, Some(&out[..len])),
            None => self.single(id, NF_DROP, None),
        }
    }

    /// The answer to a packet that was kept.
    pub(super) fn late(&mut self, id: u32, answer: LateAnswer<'_>) -> io::Result<()> {
        self.end_run();
        match answer {
            LateAnswer::Accept => self.single(id, NF_ACCEPT, None),
            LateAnswer::Drop => self.single(id, NF_DROP, None),
            LateAnswer::Replace(bytes) if bytes.len() <= REPLACE_MAX => {
                self.single(id, NF_ACCEPT, Some(bytes));
            }
            LateAnswer::Replace(_) => return Err(super::queue::too_long()),
        }
        self.kept = self.kept.saturating_sub(1);
        Ok(())
    }

    /// Writes the run so far; to be called before the bytes are sent.
    pub(super) fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let kind = if run.len == 1 { MSG_VERDICT } else { MSG_VERDICT_BATCH };
        self.verdict(kind, run.last, run.verdict, None);
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
            self.single(id, verdict, None);
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

    fn single(&mut self, id: u32, verdict: u32, payload: Option<&[u8]>) {
        self.verdict(MSG_VERDICT, id, verdict, payload);
    }

    fn verdict(&mut self, kind: u16, id: u32, verdict: u32, payload: Option<&[u8]>) {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&verdict.to_be_bytes());
        header[4..].copy_from_slice(&id.to_be_bytes());
        self.buffer.begin(kind, 0, self.number);
        self.buffer.attribute(ATTR_VERDICT_HDR, &header);
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

    /// What the kernel makes of the bytes: the packets it holds, and the verdicts it gave,
    /// each with the payload that came with it.
    #[derive(Default)]
    struct Kernel {
        held: Vec<u32>,
        given: BTreeMap<u32, (u32, Vec<u8>)>,
        messages: usize,
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
                let payload = attributes.get(1).map_or(Vec::new(), |(_, bytes)| bytes.to_vec());
                assert!(self.held.contains(&id), "a verdict for a packet that is gone: {id}");
                let batch = message.kind == MSG_VERDICT_BATCH;
                let named = |held: &u32| if batch { *held <= id } else { *held == id };
                for id in self.held.iter().copied().filter(named) {
                    self.given.insert(id, (verdict, payload.clone()));
                }
                self.held.retain(|held| !named(held));
            }
            out.clear();
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Packets come, and each is accepted, dropped or kept.
        Receive(Vec<u8>),
        /// One of those that are kept is answered: which, and how.
        Late(prop::sample::Index, u8),
        Send,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Runs are common, kept packets rare enough that runs come to be.
        let answer = prop_oneof![6 => Just(0u8), 3 => Just(1), 1 => Just(2)];
        let step = prop_oneof![
            prop::collection::vec(answer, 1..20).prop_map(Step::Receive),
            (any::<prop::sample::Index>(), 0u8..3).prop_map(|(i, how)| Step::Late(i, how)),
            Just(Step::Send),
        ];
        prop::collection::vec(step, 1..60)
    }

    fn packet(id: u32) -> Packet<'static> {
        Packet { id, bytes: &[], len: 0, gso: false }
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_was_answered_and_nothing_kept_escapes(steps in steps()) {
            let (mut out, mut kernel) = (Outbox::new(7), Kernel::default());
            let (mut next, mut kept, mut answered) = (0, Vec::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Receive(answers) => {
                        for how in answers {
                            next += 1;
                            kernel.held.push(next);
                            let answer = [Answer::Accept, Answer::Drop, Answer::Keep];
                            out.answer(&packet(next), answer[usize::from(how)]);
                            match how {
                                0 => drop(answered.insert(next, (NF_ACCEPT, vec![]))),
                                1 => drop(answered.insert(next, (NF_DROP, vec![]))),
                                _ => kept.push(next),
                            }
                        }
                        // As the queue does at the end of each batch.
                        out.end_run();
                    }
                    Step::Late(which, how) if !kept.is_empty() => {
                        let id = kept.swap_remove(which.index(kept.len()));
                        let (answer, expected) = match how {
                            0 => (LateAnswer::Accept, (NF_ACCEPT, vec![])),
                            1 => (LateAnswer::Drop, (NF_DROP, vec![])),
                            _ => (LateAnswer::Replace(b"other"), (NF_ACCEPT, b"other".to_vec())),
                        };
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
        let (mut out, mut kernel) = (Outbox::new(7), Kernel::default());
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
        let (mut out, mut kernel) = (Outbox::new(7), Kernel::default());
        kernel.held.extend([1, 2, 3]);
        out.answer(&packet(1), Answer::Keep);
        assert!(out.late(1, LateAnswer::Replace(&vec![0; REPLACE_MAX + 1])).is_err());
        out.answer(&packet(2), Answer::Accept);
        out.answer(&packet(3), Answer::Accept);
        kernel.act(&mut out);
        assert_eq!(kernel.held, [1]);
        out.late(1, LateAnswer::Replace(&vec![9; REPLACE_MAX])).expect("just fits");
        kernel.act(&mut out);
        assert_eq!(kernel.given[&1].1.len(), REPLACE_MAX);
    }
}
