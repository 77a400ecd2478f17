//! How late held packets leave: a histogram a link, in nanoseconds.
//!
//! Histograms are made with the table, so recording never allocates. Clusters of more than
//! 32 nodes share one histogram, since a thousand links are past reading anyway.

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
    links: Vec<Histogram<u32>>,
    all: Histogram<u32>,
}

impl Lateness {
    /// Empty histograms for `links` link ids.
    #[must_use]
    pub fn new(links: usize) -> Self {
        let empty = Histogram::new_with_bounds(1_000, LATEST, 2).expect("the bounds are sound");
        let links = if links <= LINKS_MAX { vec![empty.clone(); links] } else { Vec::new() };
        Self { links, all: empty }
    }

    /// Notes that a packet of `link` left `late` after it was due.
    pub fn record(&mut self, link: LinkId, late: Nanos) {
        self.all.saturating_record(late.0);
        if let Some(histogram) = self.links.get_mut(usize::from(link.0)) {
            histogram.saturating_record(late.0);
        }
    }

    /// The histogram of one link, where it has its own.
    #[must_use]
    pub fn link(&self, link: LinkId) -> Option<&Histogram<u32>> {
        self.links.get(usize::from(link.0))
    }

    /// The histogram of all links.
    #[must_use]
    pub fn all(&self) -> &Histogram<u32> {
        &self.all
    }
}
