//! What is drawn for one connection, link, rule, part or seed says nothing about another.

use crate::{SEED, SIGMAS, draws, share};
use raftq::engine::dice::{Draw, correlated, lost, rule_key};
use raftq::packet::LinkId;
use raftq::rules::table::Loss;

const N: u32 = 50_000;

/// Two sequences of bits are independent: neither their bits nor their sizes go together.
fn assert_independent(what: &str, pairs: impl Iterator<Item = (u64, u64)>) {
    let (mut differ, mut product) = (0_u64, 0.0);
    let unit = |bits: u64| bits as f64 / 18_446_744_073_709_551_616.0 - 0.5;
    for (a, b) in pairs {
        differ += u64::from((a ^ b).count_ones());
        product += unit(a) * unit(b);
    }
    let n = f64::from(N);
    // Of 64 bits 32 differ, with a deviation of 4 a pair.
    let differ = differ as f64 / n;
    assert!((differ - 32.0).abs() < SIGMAS * 4.0 / n.sqrt(), "{what}: {differ} bits differ");
    // The product of two values, each with a variance of 1/12.
    let correlation = product / n * 12.0;
    assert!(correlation.abs() < SIGMAS / n.sqrt(), "{what}: {correlation}");
}

#[test]
fn draws_that_differ_in_anything_are_independent() {
    type Other = fn(Draw) -> Draw;
    let others: [(&str, Other); 9] = [
        ("the next connection", |d| Draw { connection: d.connection + 1, ..d }),
        ("a far connection", |d| Draw { connection: d.connection + (1 << 20), ..d }),
        ("the next link", |d| Draw { link: LinkId(d.link.0 + 1), ..d }),
        ("a far link", |d| Draw { link: LinkId(d.link.0 ^ 0x2100), ..d }),
        ("another rule", |d| Draw { rule: rule_key("statistics2"), ..d }),
        ("the next segment", |d| Draw { segment: d.segment + 1, ..d }),
        ("the next segment of the next connection", |d| Draw {
            segment: d.segment + 1,
            connection: d.connection + 1,
            ..d
        }),
        ("the next action", |d| d.of_action(3)),
        ("the rule's chance", |d| d.of_action(0)),
    ];
    for (what, other) in others {
        let pairs = draws(N).map(|draw| (draw.bits(SEED), other(draw).bits(SEED)));
        assert_independent(what, pairs);
    }
    for seed in [0, 6, 8, SEED << 32, !SEED] {
        let pairs = draws(N).map(|draw| (draw.bits(SEED), draw.bits(seed)));
        assert_independent("another seed", pairs);
    }
}

#[test]
fn the_draws_of_an_action_are_independent() {
    for (a, b) in (0..8).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let pairs = draws(N).map(|draw| (draw.and(a).bits(SEED), draw.and(b).bits(SEED)));
        assert_independent("two parts", pairs);
    }
}

/// The models remember, but each its own: of two connections both lose a packet as often as two
/// rates multiplied say.
#[test]
fn bursts_of_two_connections_are_independent() {
    let model = Loss::gilbert_elliott(share(0.05), Some(share(0.25)), None, None);
    let (mut here, mut there, mut both) = ((0, 0_u32), (0, 0_u32), 0_u32);
    for draw in draws(10 * N) {
        let first = lost(&model, &mut here.0, SEED, draw);
        let other = Draw { connection: draw.connection + 1, ..draw };
        let second = lost(&model, &mut there.0, SEED, other);
        here.1 += u32::from(first);
        there.1 += u32::from(second);
        both += u32::from(first && second);
    }
    let n = f64::from(10 * N);
    let rates = f64::from(here.1) / n * f64::from(there.1) / n;
    // A rate of 1/6 each; covariances of one fall by 0.7 a packet, so that those of the product of
    // two, less their means, fall by 0.49: the variance grows by 1.49 / 0.51.
    let variance = (1.0_f64 / 6.0 * 5.0 / 6.0).powi(2) * 1.49 / 0.51;
    let off = f64::from(both) / n - rates;
    assert!(off.abs() < SIGMAS * (variance / n).sqrt(), "{off}");
}

#[test]
fn correlated_values_of_two_connections_are_independent() {
    let (mut here, mut there) = (0, 0);
    let pairs = draws(20 * N).map(|draw| {
        let other = Draw { connection: draw.connection + 1, ..draw };
        let rho = share(0.5);
        (correlated(draw, SEED, rho, &mut here), correlated(other, SEED, rho, &mut there))
    });
    // Of 20 packets each the last: a value lives on from one to the next once in a million times,
    // so that the pairs are independent of each other. The lowest bit is always set in both; so
    // that it, too, differs in half of them, it is turned in every second one.
    let pairs = pairs.step_by(20).enumerate().map(|(i, (a, b))| (a, b ^ (i as u64 & 1)));
    assert_independent("correlated", pairs);
}
