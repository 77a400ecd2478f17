//! Naive twins of what remembers: a bottleneck, slots and a gap, each computed for every packet
//! from the list of all packets before it, with no state of its own. Both have to agree on each.

use crate::engine_support::lab::{End, Fate, Lab, udp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use raftq::engine::dice::{Draw, rule_key};
use raftq::packet::{LinkId, NodeId};
use raftq::time::Nanos;
use std::fmt::Write;

/// A packet of the list: when it comes, from a port of n1 or n2 to n3, and how long it is.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    from: u8,
    port: u16,
    payload: usize,
}

impl Sent {
    /// Bytes from its IP header on: 20 of IPv4, 8 of UDP.
    fn bytes(&self) -> u64 {
        self.payload as u64 + 28
    }

    fn is_with(&self, other: &Self, per_flow: bool) -> bool {
        self.from == other.from && (!per_flow || self.port == other.port)
    }
}

/// Half of the lists are on a grid of 100 us and 100 bytes, so that times and limits meet exactly.
fn packets() -> impl Strategy<Value = Vec<Sent>> {
    let pause = prop_oneof![4 => 0_u64..300_000, 2 => Just(0), 1 => 0_u64..20_000_000];
    let payload = prop_oneof![0_usize..1_472, Just(972)];
    let one = (pause, 1_u8..3, 0_u16..2, payload);
    (prop::collection::vec(one, 1..80), any::<bool>()).prop_map(|(list, grid)| {
        let mut at = 0;
        list.into_iter()
            .map(|(pause, from, port, payload)| {
                at += if grid { pause - pause % 100_000 } else { pause };
                let payload = if grid { payload - payload % 100 + 72 } else { payload };
                Sent { at, from, port: 40_000 + port, payload: payload.min(1_472) }
            })
            .collect()
    })
}

/// A time, often one of the grid.
fn time(range: std::ops::Range<u64>) -> impl Strategy<Value = u64> {
    (range, any::<bool>())
        .prop_map(|(time, grid)| if grid { (time / 100_000).max(1) * 100_000 } else { time })
}

fn play(rule: &str, list: &[Sent]) -> Lab {
    let mut lab = Lab::of(rule);
    for sent in list {
        lab.send(Nanos(sent.at), &udp((sent.from, sent.port), 3, sent.payload));
    }
    lab.run_until(lab.now + Nanos::from_secs(60));
    lab
}

/// When it arrived; none where it was dropped.
fn arrival(fate: &Fate) -> Option<u64> {
    match fate.end {
        End::Arrived => Some(fate.at.0),
        End::Dropped => None,
        other => panic!("{other:?}"),
    }
}

/// A token bucket as network calculus has it: a packet leaves as soon as no stretch of packets up
/// to it is more than the burst and what the rate has passed since the first of them came.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Nanoseconds that a byte takes, whole, so that both compute the same.
    byte: u64,
    burst: u64,
    limit: u64,
    overhead: u64,
    cell: u64,
    cell_overhead: u64,
    per_flow: bool,
}

impl Bucket {
    fn wire(&self, bytes: u64) -> u64 {
        match self.cell {
            0 => bytes + self.overhead,
            cell => (bytes + self.overhead).div_ceil(cell) * (cell + self.cell_overhead),
        }
    }

    fn rule(&self) -> String {
        let Self { byte, burst, limit, overhead, cell, cell_overhead, per_flow } = self;
        let bits = 8_000_000_000 / byte;
        let mut rule = format!("{{ to: n3, do: {{ rate: {{ bits: {bits}bit, limit: {limit}ns");
        if *burst > 0 {
            write!(rule, ", burst: {burst}").expect("a string takes everything");
        }
        if *cell > 0 {
            write!(rule, ", cell: {cell}, cell_overhead: {cell_overhead}")
                .expect("a string takes everything");
        }
        let per = if *per_flow { "flow" } else { "link" };
        rule + &format!(", overhead: {overhead}, per: {per} }} }} }}")
    }

    /// When each arrives, from the list of all.
    fn arrivals(&self, list: &[Sent]) -> Vec<Option<u64>> {
        let mut arrivals: Vec<Option<u64>> = Vec::new();
        for (i, sent) in list.iter().enumerate() {
            let passed = |k: &usize| {
                list[*k].is_with(sent, self.per_flow) && (*k == i || arrivals[*k].is_some())
            };
            let mut due = sent.at;
            for first in (0..=i).filter(passed) {
                let stretch = (first..=i).filter(passed).map(|k| self.wire(list[k].bytes()));
                let more = stretch.sum::<u64>().saturating_sub(self.burst);
                due = due.max(list[first].at + more * self.byte);
            }
            arrivals.push((due - sent.at <= self.limit).then_some(due));
        }
        arrivals
    }
}

fn buckets() -> impl Strategy<Value = Bucket> {
    let byte = prop::sample::select(vec![100_u64, 800, 1_000, 8_000]);
    let cell = prop_oneof![Just((0_u64, 0_u64)), Just((48, 5)), (1_u64..200, 0_u64..20)];
    let burst = prop_oneof![Just(0_u64), 1_u64..10_000];
    let overhead = prop_oneof![Just(0_u64), 1_u64..100];
    (byte, burst, time(1_000..5_000_000), overhead, cell, any::<bool>()).prop_map(
        |(byte, burst, limit, overhead, (cell, cell_overhead), per_flow)| Bucket {
            byte,
            burst,
            limit,
            overhead,
            cell,
            cell_overhead,
            per_flow,
        },
    )
}

/// Slots from the list: the members of each, all that there were.
fn slots(list: &[Sent], every: u64, packets: usize, bytes: u64) -> Vec<u64> {
    let mut slots: Vec<(u64, Vec<Sent>)> = Vec::new();
    let mut due = Vec::new();
    for sent in list {
        let of_link = |(_, members): &&mut (u64, Vec<Sent>)| members[0].from == sent.from;
        let open = slots.iter_mut().rfind(of_link);
        let mut from = sent.at;
        if let Some((begins, members)) = open.filter(|(begins, _)| *begins > sent.at) {
            let used: u64 = members.iter().map(Sent::bytes).sum();
            if members.len() < packets && used + sent.bytes() <= bytes {
                members.push(*sent);
                due.push(*begins);
                continue;
            }
            from = *begins;
        }
        slots.push((from + every, vec![*sent]));
        due.push(from + every);
    }
    due
}

/// Who overtakes, from the list: a packet may where as many of its connection as a gap has, less
/// one, were not allowed to or not hit since the last one that did.
fn overtakers(list: &[Sent], chance: u64, gap: usize) -> Vec<bool> {
    let mut overtakes: Vec<bool> = Vec::new();
    for (i, sent) in list.iter().enumerate() {
        let before: Vec<usize> = (0..i).filter(|k| list[*k].is_with(sent, true)).collect();
        let since = before.iter().rev().take_while(|k| !overtakes[**k]).count();
        // Connections of a link are numbered as they come.
        let mut connections: Vec<u16> = Vec::new();
        for other in list[..=i].iter().filter(|other| other.is_with(sent, false)) {
            if !connections.contains(&other.port) {
                connections.push(other.port);
            }
        }
        let number = connections.iter().position(|port| *port == sent.port).expect("itself");
        let draw = Draw {
            rule: rule_key("rule 1"),
            link: LinkId::new(NodeId(u16::from(sent.from) - 1), NodeId(2), 3),
            connection: number as u32 + 1,
            segment: before.len() as u32 + 1,
            part: 0,
        };
        let hit = chance == 100 || draw.of_action(2).happens(0, (chance << 32) / 100);
        overtakes.push(since + 1 >= gap && hit);
    }
    overtakes
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        // The same lists for good; with another number others.
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_bottleneck_is_a_token_bucket(list in packets(), bucket in buckets()) {
        let lab = play(&bucket.rule(), &list);
        let found: Vec<_> = lab.fates.iter().map(arrival).collect();
        prop_assert_eq!(found, bucket.arrivals(&list));
    }

    #[test]
    fn slots_are_what_they_are_made_of(
        list in packets(),
        every in time(1_000..5_000_000),
        packets in prop_oneof![Just(usize::MAX), 1_usize..8],
        bytes in prop_oneof![Just(u64::MAX), 500_u64..5_000],
    ) {
        let mut rule = format!("{{ to: n3, do: {{ slot: {{ every: {every}ns");
        if packets < usize::MAX {
            write!(rule, ", packets: {packets}").expect("a string takes everything");
        }
        if bytes < u64::MAX {
            write!(rule, ", bytes: {bytes}").expect("a string takes everything");
        }
        let lab = play(&(rule + " } } }"), &list);
        let found: Vec<_> = lab.fates.iter().filter_map(arrival).collect();
        prop_assert_eq!(found, slots(&list, every, packets, bytes));
    }

    #[test]
    fn a_gap_is_what_lies_between_two_that_overtake(
        list in packets(),
        by in time(1_000..5_000_000),
        chance in 1_u64..=100,
        gap in 2_usize..7,
    ) {
        let reorder = format!("{{ reorder: {{ chance: {chance}%, gap: {gap} }} }}");
        let lab = play(&format!("{{ to: n3, do: [{{ delay: {by}ns }}, {reorder}] }}"), &list);
        let overtakes = overtakers(&list, chance, gap);
        let at: Vec<_> = list.iter().zip(&overtakes)
            .map(|(sent, first)| sent.at + if *first { 0 } else { by })
            .collect();
        let found: Vec<_> = lab.fates.iter().filter_map(arrival).collect();
        prop_assert_eq!(&found, &at);
        // What is due goes before what comes at the same time.
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by_key(|i| (at[*i], overtakes[*i], *i));
        prop_assert_eq!(&lab.arrivals, &order);
    }
}
