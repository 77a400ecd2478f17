//! What several tools have: delays, chances, bottlenecks. Each function makes a check of a line.
//!
//! Every check also shows a packet that the rule is not about, which passes at once and whole.

use crate::chain::Chain;
use crate::doc::Line;
use crate::engine_support::lab::{End, Fate, Lab, checksum_is_right, udp};
use crate::measure::{SIGMAS, autocorrelation, critical, deviation, distance};
use raftq::time::Nanos;

pub(crate) type Check = Box<dyn Fn(&Line)>;

/// Packets of a sample.
const N: usize = 40_000;

/// Time between them.
const APART: Nanos = Nanos::from_micros(100);

/// From which node to which.
#[derive(Clone, Copy)]
pub(crate) struct Way(pub(crate) u8, pub(crate) u8);

/// What n1 sends, and what it gets.
pub(crate) const OUT: Way = Way(1, 2);
pub(crate) const IN: Way = Way(2, 1);

pub(crate) fn check(of: impl Fn(&Line) + 'static) -> Check {
    Box::new(of)
}

pub(crate) const fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

/// A packet of the sample is `N` bytes of payload from one connection.
pub(crate) fn sample(line: &Line, way: Way) -> Lab {
    let mut lab = line.lab();
    lab.stream(N, APART, &udp((way.0, 40_000), way.1, 100));
    lab.run_until(lab.now + Nanos::from_secs(10));
    assert_leaves_others_alone(&mut lab);
    lab.fates.truncate(N);
    lab
}

/// n2 and n3 among themselves are not disturbed.
pub(crate) fn assert_leaves_others_alone(lab: &mut Lab) {
    for way in [Way(2, 3), Way(3, 2)] {
        assert!(passes(lab, way), "a packet of others is disturbed");
    }
}

/// Whether a packet from now passes at once, as it is.
pub(crate) fn passes(lab: &mut Lab, way: Way) -> bool {
    is_undisturbed(lab, lab.now, way)
}

/// The same for one at another time.
pub(crate) fn is_undisturbed(lab: &mut Lab, at: Nanos, Way(from, to): Way) -> bool {
    let number = lab.send(at, &udp((from, 41_000), to, 100));
    let fate = &lab.fates[number];
    fate.arrived() && fate.at == at && fate.changed.is_none() && fate.mark.is_none()
}

/// How late a packet of that time is; none where it does not arrive.
pub(crate) fn lateness(lab: &mut Lab, at: Nanos, Way(from, to): Way) -> Option<Nanos> {
    let number = lab.send(at, &udp((from, 41_000), to, 100));
    lab.run_until(at + Nanos::from_secs(5));
    let fate = &lab.fates[number];
    fate.arrived().then(|| fate.late())
}

/// Every packet is late by so much.
pub(crate) fn late(by: Nanos) -> Check {
    late_on(OUT, by)
}

pub(crate) fn late_on(way: Way, by: Nanos) -> Check {
    check(move |line| {
        let lab = sample(line, way);
        assert!(lab.fates.iter().all(|fate| fate.arrived() && fate.late() == by));
        assert!(lab.arrivals.is_sorted(), "and none overtakes");
    })
}

/// Packets are late by a distribution, and may overtake each other. Of two in a row a share of
/// `rho` is late by the same.
pub(crate) fn jittered<F: Fn(f64) -> f64>(rho: f64, below: impl Fn() -> F + 'static) -> Check {
    check(move |line| {
        let lab = sample(line, OUT);
        assert!(lab.fates.iter().all(Fate::arrived), "nothing is lost");
        assert!(!lab.arrivals.is_sorted(), "jitter reorders");
        let late: Vec<u64> = lab.fates.iter().map(|fate| fate.late().0).collect();
        // A value that is taken again tells nothing new: of n values the distribution function is
        // known as from n (1 - rho) / (1 + rho), as its variance is.
        let found = distance(late.clone(), below());
        let limit = critical(N as f64 * (1.0 - rho) / (1.0 + rho));
        assert!(found < limit, "a distance of {found}, at most {limit}");
        let again = late.windows(2).filter(|two| two[0] == two[1]).count() as f64 / N as f64;
        // Binomial. That two of 20 million nanoseconds are alike by chance is no matter, and a
        // table of 64 values is only asked without a correlation.
        let off = SIGMAS * (rho * (1.0 - rho) / N as f64).sqrt();
        assert!(rho == 0.0 || (again - rho).abs() < off, "{again} alike, {rho} +- {off}");
    })
}

/// Something happens by chance, correlated or not.
pub(crate) fn assert_chance(hits: &[bool], p: f64, rho: f64) {
    let n = hits.len() as f64;
    let found = hits.iter().filter(|hit| **hit).count() as f64 / n;
    // The variance of a mean whose parts correlate by rho^k.
    let off = SIGMAS * (p * (1.0 - p) * (1.0 + rho) / (1.0 - rho) / n).sqrt();
    assert!((found - p).abs() < off, "{found}, {p} +- {off}");
    let values: Vec<f64> = hits.iter().map(|hit| f64::from(u8::from(*hit))).collect();
    let kurtosis = (1.0 - 3.0 * p * (1.0 - p)) / (p * (1.0 - p));
    let (found, off) = (autocorrelation(&values, 1), SIGMAS * deviation(n, kurtosis, rho, 1));
    assert!((found - rho).abs() < off, "a correlation of {found}, {rho} +- {off}");
}

fn happens(way: Way, p: f64, rho: f64, hit: impl Fn(&Fate) -> bool + 'static) -> Check {
    check(move |line| {
        let lab = sample(line, way);
        let hits: Vec<bool> = lab.fates.iter().map(&hit).collect();
        assert_chance(&hits, p, rho);
        let others = lab.fates.iter().zip(&hits).filter(|(_, hit)| !**hit);
        for (fate, _) in others {
            let whole = fate.changed.is_none() && fate.copies.is_empty();
            assert!(fate.arrived() && whole && fate.late() == Nanos::ZERO, "{fate:?}");
        }
    })
}

/// A share of packets does not arrive.
pub(crate) fn lost(p: f64, rho: f64) -> Check {
    lost_on(OUT, p, rho)
}

pub(crate) fn lost_on(way: Way, p: f64, rho: f64) -> Check {
    happens(way, p, rho, |fate| fate.end == End::Dropped)
}

/// A share of packets arrives twice.
pub(crate) fn doubled(p: f64, rho: f64) -> Check {
    happens(OUT, p, rho, |fate| {
        let copied = !fate.copies.is_empty();
        assert!(!copied || (fate.arrived() && fate.copies == [fate.at]), "{fate:?}");
        copied
    })
}

/// A share of packets arrives with a bit changed and a checksum that does not fit.
pub(crate) fn damaged(p: f64, rho: f64) -> Check {
    happens(OUT, p, rho, |fate| {
        let Some(bytes) = &fate.changed else { return false };
        let whole = udp((1, 40_000), 2, 100);
        let head = usize::from(whole.view.header_len);
        let bits = |from: &[u8], to: &[u8]| -> u32 {
            from.iter().zip(to).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        assert_eq!(bits(&bytes[head..], &whole.bytes[head..]), 1, "one bit of the payload");
        assert_eq!(bytes[..head - 2], whole.bytes[..head - 2], "headers are left alone");
        assert!(fate.arrived() && !checksum_is_right(bytes));
        true
    })
}

/// Losses as a Markov chain has them: how many, and in how many runs.
pub(crate) fn lost_by(chain: fn() -> Chain) -> Check {
    check(move |line| {
        let lab = sample(line, OUT);
        let lost: Vec<bool> = lab.fates.iter().map(|fate| fate.end == End::Dropped).collect();
        let chain = chain();
        let share = |n: usize| n as f64 / N as f64;
        let rate = share(lost.iter().filter(|lost| **lost).count());
        let runs = share(lost.windows(2).filter(|two| !two[0] && two[1]).count());
        let wanted = [(rate, chain.rate(N as f64)), (runs, chain.runs(N as f64))];
        for (found, (mean, deviation)) in wanted {
            assert!((found - mean).abs() < SIGMAS * deviation, "{found}, not {mean}");
        }
        // One that arrives within a burst.
        let within = share(lost.windows(3).filter(|three| **three == [true, false, true]).count());
        let pairs = pairs(&chain);
        let at = |pair: usize| (chain.lost[pair / chain.lost.len()], pairs.lost[pair]);
        let (mean, deviation) =
            pairs.share(N as f64, |a, b| at(a) == (true, false) && pairs.lost[b]);
        assert!((within - mean).abs() < SIGMAS * deviation, "{within}, not {mean}");
    })
}

/// The chain whose states are two of a chain's states in a row.
fn pairs(chain: &Chain) -> Chain {
    let n = chain.lost.len();
    let row = |(_, j): (usize, usize)| {
        let way = |(k, l): (usize, usize)| if j == k { chain.to[j][l] } else { 0.0 };
        (0..n * n).map(|pair| way((pair / n, pair % n))).collect()
    };
    Chain {
        to: (0..n * n).map(|pair| row((pair / n, pair % n))).collect(),
        lost: (0..n * n).map(|pair| chain.lost[pair % n]).collect(),
    }
}

/// Of delayed packets some leave at once. Of `gap` in a row only the last may, and each behind it
/// until one does.
pub(crate) fn overtaking(by: Nanos, (p, rho): (f64, f64), gap: usize) -> Check {
    check(move |line| {
        let lab = sample(line, OUT);
        let late = |fate: &Fate| fate.late();
        assert!(
            lab.fates.iter().all(|fate| fate.arrived() && [Nanos::ZERO, by].contains(&late(fate)))
        );
        let first: Vec<bool> = lab.fates.iter().map(|fate| late(fate) == Nanos::ZERO).collect();
        let mut passed = 0;
        // Those that may overtake are drawn for like anything else.
        let mut draws = Vec::new();
        for overtakes in first {
            if passed + 1 >= gap {
                draws.push(overtakes);
            } else {
                assert!(!overtakes, "only {passed} were delayed before");
            }
            passed = if overtakes { 0 } else { passed + 1 };
        }
        if p < 1.0 {
            assert_chance(&draws, p, rho);
        } else {
            assert!(draws.iter().all(|overtakes| *overtakes));
        }
        assert!(!lab.arrivals.is_sorted(), "they overtake");
    })
}

/// A bottleneck: packets of several sizes that come at once leave one after the other, each behind
/// the time that its bytes take. `burst` of them pass at once before.
pub(crate) fn bottleneck(bits: u64, burst: u64, wire: fn(u64) -> u64) -> Check {
    check(move |line| {
        let mut lab = line.lab();
        let mut sent = Vec::new();
        for payload in [1_000, 0, 7, 1_472, 333].into_iter().cycle().take(50) {
            let packet = udp((1, 40_000), 2, payload);
            sent.push((lab.send(Nanos::ZERO, &packet), packet.bytes.len() as u64));
        }
        assert!(passes(&mut lab, Way(2, 1)), "the other direction has none");
        assert_leaves_others_alone(&mut lab);
        lab.run_until(Nanos::from_secs(5));
        let mut total = 0;
        for (number, bytes) in sent {
            total += wire(bytes);
            let due = Nanos(total.saturating_sub(burst) * 8_000_000_000 / bits);
            let fate = &lab.fates[number];
            // Each packet's time is cut to whole nanoseconds.
            let off = due.0.abs_diff(fate.at.0);
            assert!(fate.arrived() && off <= 50, "{fate:?}, and due at {due:?}");
        }
    })
}

/// What would wait longer than that is dropped: of packets of 1,250 bytes that come at once as
/// many arrive as take so long.
pub(crate) fn bounded(bits: u64, limit: Nanos) -> Check {
    check(move |line| {
        let mut lab = line.lab();
        let most = (limit.0 / (1_250 * 8_000_000_000 / bits)) as usize;
        lab.stream(most * 2, Nanos::ZERO, &udp((1, 40_000), 2, 1_222));
        lab.run_until(limit + ms(1));
        assert_eq!(lab.fates.iter().filter(|fate| fate.arrived()).count(), most);
        assert!(lab.fates[..most].iter().all(|fate| fate.arrived() && fate.at <= limit));
        assert!(lab.fates[most..].iter().all(|fate| fate.end == End::Dropped));
        assert_leaves_others_alone(&mut lab);
    })
}

/// A burst passes at the peak rate: half the burst is left when it is over, since both go on.
pub(crate) fn peaks(bits: u64, burst: u64) -> Check {
    check(move |line| {
        let mut lab = line.lab();
        // Of 100 bytes less than the peak's own bucket, so that nothing passes at once but that.
        lab.stream(400, Nanos::ZERO, &udp((1, 40_000), 2, 72));
        lab.run_until(Nanos::from_secs(5));
        for (i, fate) in lab.fates.iter().enumerate() {
            let bytes = (i as u64 + 1) * 100;
            let slow = bytes.saturating_sub(burst) * 8_000_000_000 / bits;
            let peak = bytes.saturating_sub(1_500) * 4_000_000_000 / bits;
            let due = slow.max(peak);
            assert!(fate.arrived() && due.abs_diff(fate.at.0) <= 400, "{i}: {fate:?}, {due}");
        }
        let third = lab.fates.len() / 3;
        assert!(lab.fates[third].at > Nanos::ZERO, "the burst does not pass at once");
    })
}
