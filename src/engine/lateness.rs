//! How late held packets leave: a histogram a link, in nanoseconds; and one over all links that is
//! read from outside while it grows ([`Late`]).
//!
//! Histograms are made with the engine, so recording never allocates. In clusters of more
//! than 32 nodes all links share one, since a thousand links are past reading anyway.

use super::counters::Count;
use crate::packet::LinkId;
use crate::time::Nanos;
use hdrhistogram::Histogram;

/// Longest lateness told apart, ns; anything later counts as this.
const LATEST: u64 = 60_000_000_000;

/// The most links with a histogram of their own.
const LINKS_MAX: usize = 1_024;

/// Lateness of the packets of every link.
#[derive(Clone, Debug)]
pub struct Lateness {
    /// One a link, or a single one for all.
    histograms: Vec<Histogram<u32>>,
}

impl Lateness {
    /// Empty histograms for `links` link ids.
    #[must_use]
    pub fn new(links: usize) -> Self {
        let empty = Histogram::new_with_bounds(1_000, LATEST, 2).expect("the bounds are sound");
        Self { histograms: vec![empty; if links <= LINKS_MAX { links } else { 1 }] }
    }

    /// Notes that a packet of `link` left `late` after it was due.
    pub fn record(&mut self, link: LinkId, late: Nanos) {
        let at = if self.histograms.len() == 1 { 0 } else { usize::from(link.0) };
        self.histograms[at].saturating_record(late.0);
    }

    /// The histogram of one link, where it has its own.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&Histogram<u32>> {
        self.histograms.get(usize::from(link.0)).filter(|_| self.histograms.len() > 1)
    }

    /// The histogram of all links together.
    #[must_use]
    pub fn all(&self) -> Histogram<u32> {
        let mut all = self.histograms[0].clone();
        for histogram in &self.histograms[1..] {
            // Made alike, so one always fits into the other.
            all.add(histogram).expect("histograms of the same bounds");
        }
        all
    }
}

/// Upper bounds of the buckets of [`Late`], ns; a packet that is later than all of them is counted
/// behind the last.
pub const BOUNDS: [u64; 15] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Lateness over all links, as counters: one writer, any number of readers.
#[derive(Debug, Default)]
pub struct Late {
    /// Packets by bucket, the last one without a bound.
    buckets: [Count; BOUNDS.len() + 1],
    /// All of it together, ns.
    sum: Count,
}

impl Late {
    /// Notes that a packet left `late` after it was due.
    #[inline]
    pub(super) fn note(&self, late: Nanos) {
        let at = BOUNDS.iter().position(|bound| late.0 <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[at].add(1);
        self.sum.add(late.0);
    }

    /// Packets by bucket, and the sum of their lateness, ns. Read while it grows, the sum may be a
    /// packet apart.
    #[must_use]
    pub fn read(&self) -> ([u64; BOUNDS.len() + 1], u64) {
        (std::array::from_fn(|i| self.buckets[i].get()), self.sum.get())
    }

    /// Takes over what another one has counted.
    pub(super) fn inherit(&self, old: &Self) {
        for (old, new) in old.buckets.iter().zip(&self.buckets) {
            new.set(old.get());
        }
        self.sum.set(old.sum.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_from_outside_is_what_the_histogram_says() {
        let (mut histogram, late) = (Lateness::new(1), Late::default());
        let mut sum = 0;
        // Around each bound, and far behind the last.
        let around = BOUNDS.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for ns in around.chain([0, 30_000_000_000]) {
            histogram.record(LinkId(0), Nanos(ns));
            late.note(Nanos(ns));
            sum += ns;
        }
        let (buckets, total) = late.read();
        assert_eq!(total, sum);
        assert_eq!(buckets.iter().sum::<u64>(), histogram.all().len());
        // Bound minus one and bound itself stand below it, and the one behind the former bound.
        assert_eq!(buckets[0], 3);
        assert_eq!(buckets[1..BOUNDS.len()], [3; BOUNDS.len() - 1]);
        assert_eq!(buckets[BOUNDS.len()], 2);
        assert!(BOUNDS.is_sorted());
        let next = Late::default();
        next.inherit(&late);
        assert_eq!(next.read(), late.read());
    }
}
