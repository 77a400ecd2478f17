//! How late held packets leave: a histogram a link, in nanoseconds.
//!
//! Histograms are made with the engine, so recording never allocates. In clusters of more
//! than 32 nodes all links share one, since a thousand links are past reading anyway.

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
