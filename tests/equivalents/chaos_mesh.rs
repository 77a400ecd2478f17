//! Chaos Mesh: `NetworkChaos`.

use crate::Checks;
use crate::checks::{
    OUT, bottleneck, bounded, check, damaged, doubled, jittered, late, lost, ms, overtaking, peaks,
    sample,
};
use crate::cuts::{cut, late_between, random, scheduled};
use crate::engine_support::lab::Fate;
use crate::measure::SIGMAS;
use crate::shapes::uniform_below;
use raftq::time::Nanos;

const MBIT: u64 = 1_000_000;
const BY: Nanos = ms(10);

pub(crate) fn checks() -> Checks {
    let mut checks = netem();
    checks.extend(bandwidth());
    checks.extend(where_and_when());
    checks
}

fn netem() -> Checks {
    vec![
        ("action: delay latency: 10ms", late(BY)),
        ("delay: jitter: 5ms", jittered(0.0, || uniform_below(10e6, 5e6))),
        ("delay: correlation: 50", jittered(0.5, || uniform_below(10e6, 5e6))),
        ("delay: reorder: { reorder: 50 }", overtaking(BY, (0.5, 0.0), 1)),
        ("delay: reorder: { reorder: 50, correlation: 50 }", overtaking(BY, (0.5, 0.5), 1)),
        ("delay: reorder: { reorder: 50, gap: 5 }", overtaking(BY, (0.5, 0.0), 5)),
        ("action: loss loss: 10", lost(0.1, 0.0)),
        ("loss: correlation: 25", lost(0.1, 0.25)),
        ("action: duplicate duplicate: 40", doubled(0.4, 0.0)),
        ("duplicate: correlation: 25", doubled(0.4, 0.25)),
        ("action: corrupt corrupt: 40", damaged(0.4, 0.0)),
        ("corrupt: correlation: 25", damaged(0.4, 0.25)),
        ("rate: rate: 1mbps", bottleneck(8 * MBIT, 0, |bytes| bytes + 14)),
        (
            "action: netem",
            check(|line| {
                let lab = sample(line, OUT);
                let n = lab.fates.len() as f64;
                let arrived: Vec<&Fate> = lab.fates.iter().filter(|fate| fate.arrived()).collect();
                assert!(arrived.iter().all(|fate| fate.late() == BY));
                let copied = arrived.iter().filter(|fate| fate.copies == [fate.at]).count() as f64;
                let (arrived, copied) = (arrived.len() as f64 / n, copied / n);
                // Independent of each other: of what arrives four of ten arrive twice.
                for (found, p) in [(arrived, 0.9), (copied, 0.9 * 0.4_f64)] {
                    let off = SIGMAS * (p * (1.0 - p) / n).sqrt();
                    assert!((found - p).abs() < off, "{found}, {p} +- {off}");
                }
            }),
        ),
    ]
}

fn bandwidth() -> Checks {
    vec![
        ("action: bandwidth rate: 1mbps", bottleneck(8 * MBIT, 0, |bytes| bytes)),
        ("bandwidth: limit: 100000", bounded(8 * MBIT, ms(100))),
        ("bandwidth: buffer: 10000", bottleneck(8 * MBIT, 10_000, |bytes| bytes)),
        ("bandwidth: peakrate: 2000000 minburst: 1500", peaks(8 * MBIT, 10_000)),
    ]
}

fn where_and_when() -> Checks {
    const ALL: &[(u8, u8)] = &[(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)];
    let s = Nanos::from_secs;
    vec![
        ("action: partition direction: to", cut(&[(1, 2), (1, 3)])),
        ("action: partition direction: from", cut(&[(2, 1), (3, 1)])),
        ("action: partition direction: both", cut(&[(1, 2), (1, 3), (2, 1), (3, 1)])),
        ("direction: from of other actions", late_between(&[(2, 1), (3, 1)], BY)),
        ("direction: both of other actions", late_between(&[(1, 2), (1, 3), (2, 1), (3, 1)], BY)),
        ("target: selector", late_between(&[(1, 2)], BY)),
        ("mode: one", random(1, BY)),
        ("mode: all", late_between(ALL, BY)),
        ("mode: fixed value: 2", random(2, BY)),
        ("duration: 30s", scheduled(s(30), None, BY)),
        ("Schedule: @every 60s", scheduled(s(30), Some(s(60)), BY)),
    ]
}
