//! Copies, damage, and packets that overtake.

use crate::engine_support::lab::{Fate, Lab, checksum_is_right, tcp, udp};
use crate::measure::{SIGMAS, critical, distance};
use crate::{EACH, assert_chance, ms, play};
use raftq::time::Nanos;

fn hits(fates: &[Fate], hit: impl Fn(&Fate) -> bool) -> Vec<bool> {
    assert!(fates.iter().all(Fate::arrived), "nothing is lost");
    fates.iter().map(hit).collect()
}

#[test]
fn a_share_of_packets_is_copied() {
    for (p, rho) in [(0.1, 0.0), (0.4, 0.5)] {
        let (p100, rho100) = (p * 100.0, rho * 100.0);
        let rule = format!(
            "{{ from: n1, do: {{ duplicate: {{ chance: {p100}%, correlation: {rho100}%, \
             count: 3, delay: 2ms }} }} }}"
        );
        for fates in play(&rule, ms(1)) {
            assert_chance(&rule, &hits(&fates, |fate| !fate.copies.is_empty()), p, rho);
            for fate in fates.iter().filter(|fate| !fate.copies.is_empty()) {
                assert_eq!(fate.copies, [fate.at + ms(2); 3]);
            }
        }
    }
}

#[test]
fn copies_follow_a_packet_that_is_late_itself() {
    let rule = "{ from: n1, do: [{ delay: { by: 20ms, jitter: 5ms } }, { duplicate: 30% }] }";
    for fates in play(rule, ms(1)) {
        let copied = hits(&fates, |fate| !fate.copies.is_empty());
        assert_chance(rule, &copied, 0.3, 0.0);
        assert!(fates.iter().all(|fate| fate.copies.iter().all(|at| *at == fate.at)));
    }
}

/// Which bit of a payload is changed is as likely as any other.
#[test]
fn a_share_of_packets_has_any_one_bit_changed() {
    let rule = "{ from: n1, do: { corrupt: { chance: 20%, correlation: 40% } } }";
    let clean = udp((1, 40_000), 2, 100);
    let head = usize::from(clean.view.header_len);
    let mut places = Vec::new();
    for fates in play(rule, ms(1)) {
        assert_chance(rule, &hits(&fates, |fate| fate.changed.is_some()), 0.2, 0.4);
        for bytes in fates.iter().filter_map(|fate| fate.changed.as_ref()) {
            let bits = bytes[head..].iter().zip(&clean.bytes[head..]).enumerate();
            let changed: Vec<(usize, u8)> =
                bits.map(|(i, (a, b))| (i, a ^ b)).filter(|(_, bits)| *bits != 0).collect();
            let [(byte, bits)] = changed[..] else { panic!("{changed:?}") };
            assert_eq!(bits.count_ones(), 1);
            places.push(byte as u64 * 8 + u64::from(bits.trailing_zeros()));
        }
    }
    let n = places.len() as f64;
    assert!(n > 15_000.0);
    assert!(distance(places, |bit| (bit / 800.0).clamp(0.0, 1.0)) < critical(n));
}

/// Bytes that are named are all changed, and with a right checksum a program gets them.
#[test]
fn named_bytes_are_changed_and_checksums_fit_where_they_are_to() {
    for (checksum, right) in [("right", true), ("wrong", false)] {
        let rule = format!(
            "{{ from: n1, do: {{ corrupt: {{ chance: 50%, bytes: 10..14, \
             checksum: {checksum} }} }} }}"
        );
        let mut lab = Lab::of(&rule);
        let clean = tcp((1, 40_000), 2, "data", (1, 100));
        let head = usize::from(clean.view.header_len);
        lab.stream(EACH, ms(1), &clean);
        assert_chance(&rule, &hits(&lab.fates, |fate| fate.changed.is_some()), 0.5, 0.0);
        for bytes in lab.fates.iter().filter_map(|fate| fate.changed.as_ref()) {
            assert_eq!(checksum_is_right(bytes), right);
            let pairs = bytes[head..].iter().zip(&clean.bytes[head..]).enumerate();
            assert!(pairs.into_iter().all(|(i, (a, b))| (a != b) == (10..14).contains(&i)));
        }
    }
}

#[test]
fn a_share_of_packets_overtakes() {
    for (p, rho) in [(0.1, 0.0), (0.25, 0.5)] {
        let (p100, rho100) = (p * 100.0, rho * 100.0);
        let rule = format!(
            "{{ from: n1, do: [{{ delay: 10ms }}, {{ reorder: {{ chance: {p100}%, \
             correlation: {rho100}% }} }}] }}"
        );
        for fates in play(&rule, ms(1)) {
            assert_chance(&rule, &hits(&fates, |fate| fate.late() == Nanos::ZERO), p, rho);
            assert!(fates.iter().all(|fate| [Nanos::ZERO, ms(10)].contains(&fate.late())));
        }
    }
}

/// With a gap g and a chance p one of `g - 1 + 1/p` packets overtakes.
#[test]
fn a_gap_is_kept_in_each_connection() {
    let rule = "{ from: n1, do: [{ delay: 10ms }, { reorder: { chance: 25%, gap: 5 } }] }";
    for fates in play(rule, ms(1)) {
        let first = hits(&fates, |fate| fate.late() == Nanos::ZERO);
        let at: Vec<usize> = (0..first.len()).filter(|i| first[*i]).collect();
        assert!(at[0] >= 4 && at.windows(2).all(|two| two[1] - two[0] >= 5));
        let found = at.len() as f64 / EACH as f64;
        // The time from one to the next is 4 and a geometric number with mean 4 and variance 12:
        // so many renewals have the variance n * 12 / 8^3.
        let off = SIGMAS * (12.0 / 512.0 / EACH as f64).sqrt();
        assert!((found - 0.125).abs() < off, "{found}, 1/8 +- {off}");
    }
}

/// A connection that is dialled anew is another one: nothing of the old one is remembered.
#[test]
fn a_connection_that_is_dialled_anew_counts_anew() {
    let mut lab = Lab::of("{ from: n1, do: [{ delay: 10ms }, { reorder: { gap: 5 } }] }");
    let segment = |seq| tcp((1, 40_000), 2, "data", (seq, 1));
    for i in 0..4 {
        lab.send(ms(i), &segment(1 + i as u32));
    }
    lab.send(ms(50), &tcp((1, 40_000), 2, "syn", (70_000, 0)));
    for i in 0..9 {
        lab.send(ms(51 + i), &segment(70_001 + i as u32));
    }
    lab.run_until(ms(100));
    let first: Vec<usize> =
        (0..lab.fates.len()).filter(|i| lab.fates[*i].late() == Nanos::ZERO).collect();
    assert_eq!(first, [4 + 4, 4 + 9], "the fifth and the tenth of the new one");
}
