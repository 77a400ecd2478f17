//! Both packet queues, ours and the `nfq` crate's, do the same to real packets.
//!
//! One suite over the trait, run for each implementation, in namespaces of its own.

mod batches;
mod datagrams;
mod marks;
mod second;
mod segments;

#[path = "../queue_lab/mod.rs"]
mod queue_lab;

use queue_lab::QUEUE;
use raftq::kernel::nfq_twin::NfqTwin;
use raftq::kernel::nfqueue::NfQueue;
use raftq::kernel::queue::{PacketQueue, QueueOptions};
use std::io;

/// A queue under test.
trait Tested: PacketQueue + Send + Sized + 'static {
    /// Binds, in the namespace of the calling thread.
    fn bind(options: QueueOptions) -> io::Result<Self>;
}

impl Tested for NfQueue {
    fn bind(options: QueueOptions) -> io::Result<Self> {
        Self::open(options)
    }
}

impl Tested for NfqTwin {
    fn bind(options: QueueOptions) -> io::Result<Self> {
        Self::open(options)
    }
}

impl queue_lab::Lab {
    fn open<Q: Tested>(&self, gso: bool) -> Q {
        self.open_with(QueueOptions::new(QUEUE, gso))
    }

    fn open_with<Q: Tested>(&self, options: QueueOptions) -> Q {
        self.inside(|| Q::bind(options)).expect("nobody else is bound here")
    }
}

macro_rules! both {
    ($($suite:ident::$test:ident),* $(,)?) => {
        mod ours { $(#[test] fn $test() { super::$suite::$test::<super::NfQueue>(); })* }
        mod twin { $(#[test] fn $test() { super::$suite::$test::<super::NfqTwin>(); })* }
    };
}

both! {
    datagrams::accepted_ones_arrive_and_dropped_ones_do_not,
    datagrams::kept_ones_wait_and_are_answered_in_any_order,
    datagrams::a_replacement_arrives_when_its_checksum_is_right,
    datagrams::a_copy_that_is_cut_does_not_cut_the_packet,
    datagrams::hundreds_at_once_arrive_in_order,
    datagrams::verdicts_for_packets_that_are_gone_are_counted,
    datagrams::a_number_is_bound_once,
    datagrams::losses_are_counted_where_they_happen,
    segments::a_connection_is_made_and_carries_its_bytes,
    segments::a_trimmed_segment_acknowledges_and_carries_nothing,
    segments::a_trimmed_gso_packet_acknowledges_and_carries_nothing,
    segments::a_segment_that_was_made_a_reset_ends_its_connection,
    segments::a_replaced_segment_is_what_the_peer_reads,
    segments::segments_come_one_by_one_or_whole,
    marks::a_mark_is_borne_by_what_goes_on,
    marks::other_bytes_go_on_at_once,
    batches::nothing_kept_escapes_whatever_the_answers,
    batches::one_kept_packet_anywhere_in_a_batch,
    batches::what_is_judged_was_fetched_before,
}
