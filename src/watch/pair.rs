//! Two looks at the same raftq, and the rates between them.

use crate::run::snapshot::{LinkSeen, RuleSeen, Snapshot};
use std::collections::VecDeque;

/// The least time between the two, s, where there is a choice: rates over less jump about.
const APART_S: f64 = 0.95;

/// Looks that are kept.
const KEPT: usize = 8;

/// The last look, and one from about a second before.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The last.
    pub now: &'a Snapshot,
    /// The other; none at the beginning.
    pub before: Option<&'a Snapshot>,
}

/// The last few looks.
#[derive(Clone, Debug, Default)]
pub struct Looks(VecDeque<Snapshot>);

impl Looks {
    /// Takes a look in. Those of another raftq, or of later on its clock, are no use any more.
    pub fn push(&mut self, look: Snapshot) {
        self.0.retain(|old| old.run == look.run && old.t_s < look.t_s);
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(look);
    }

    /// The two that a frame is drawn from.
    #[must_use]
    pub fn pair(&self) -> Option<Pair<'_>> {
        let now = self.0.back()?;
        let far = |old: &&Snapshot| now.t_s - old.t_s >= APART_S;
        let earlier = || self.0.iter().rev().skip(1);
        let before = earlier().find(far).or_else(|| earlier().last());
        Some(Pair { now, before })
    }
}

/// What a link saw in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkRates {
    /// Segments.
    pub packets: f64,
    /// Bytes.
    pub bytes: f64,
    /// Segments dropped, trimmed ones included: their data was.
    pub dropped: f64,
    /// Segments delayed.
    pub delayed: f64,
}

impl Pair<'_> {
    /// From two counts to a rate a second; none before there are two looks.
    fn rate(&self, now: u64, before: impl FnOnce(&Snapshot) -> u64) -> Option<f64> {
        let former = self.before?;
        let seconds = self.now.t_s - former.t_s;
        // A rule that was loaded anew counts from zero.
        (seconds > 0.0).then(|| now.saturating_sub(before(former)) as f64 / seconds)
    }

    /// Packets a second over the whole cluster.
    #[must_use]
    pub fn packets(&self) -> Option<f64> {
        self.rate(self.now.totals.packets, |old| old.totals.packets)
    }

    /// Messages a second that a node sends.
    #[must_use]
    pub fn messages_of(&self, node: usize) -> Option<f64> {
        let count = |look: &Snapshot| look.nodes.get(node).map_or(0, |node| node.messages);
        self.rate(count(self.now), count)
    }

    /// Messages of a kind a second.
    #[must_use]
    pub fn messages(&self, kind: &str) -> Option<f64> {
        let count = |look: &Snapshot| {
            let found = look.messages.kinds.iter().find(|seen| seen.kind == kind);
            found.map_or(0, |seen| seen.count)
        };
        self.rate(count(self.now), count)
    }

    /// A link by its ends, where it is known.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> Option<&LinkSeen> {
        link(self.now, from, to)
    }

    /// What it sees in a second.
    #[must_use]
    pub fn rates(&self, seen: &LinkSeen) -> Option<LinkRates> {
        let old = |look: &Snapshot| link(look, seen.from, seen.to).cloned().unwrap_or_default();
        Some(LinkRates {
            packets: self.rate(seen.packets, |look| old(look).packets)?,
            bytes: self.rate(seen.bytes, |look| old(look).bytes)?,
            dropped: self.rate(seen.dropped + seen.trimmed, |look| {
                let old = old(look);
                old.dropped + old.trimmed
            })?,
            delayed: self.rate(seen.delayed, |look| old(look).delayed)?,
        })
    }

    /// How often a rule acts in a second; none where it does not count, or was not listed before.
    #[must_use]
    pub fn acts(&self, rule: &RuleSeen) -> Option<f64> {
        let acted = rule.acted?;
        let find = |look: &Snapshot| {
            look.rules.list.iter().find(|old| old.name == rule.name).and_then(|old| old.acted)
        };
        let old = find(self.before?)?;
        self.rate(acted, |_| old)
    }
}

fn link(look: &Snapshot, from: usize, to: usize) -> Option<&LinkSeen> {
    // They come in the order of their ends.
    let at = look.links.binary_search_by_key(&(from, to), |seen| (seen.from, seen.to)).ok()?;
    look.links.get(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(t_s: f64, packets: u64) -> Snapshot {
        let mut look = Snapshot { t_s, run: "a".into(), ..Snapshot::default() };
        look.totals.packets = packets;
        look.links.push(LinkSeen {
            from: 0,
            to: 1,
            packets,
            bytes: 100 * packets,
            ..Default::default()
        });
        look
    }

    #[test]
    fn rates_are_over_about_a_second_and_never_negative() {
        let mut looks = Looks::default();
        assert!(looks.pair().is_none());
        looks.push(look(1.0, 10));
        assert_eq!(looks.pair().and_then(|pair| pair.packets()), None);
        looks.push(look(1.5, 20));
        assert_eq!(looks.pair().and_then(|pair| pair.packets()), Some(20.0));
        looks.push(look(2.0, 50));
        looks.push(look(2.5, 80));
        // From 1.5 s, which is the last that is a second away.
        let pair = looks.pair().expect("looks");
        assert_eq!(pair.packets(), Some(60.0));
        let rates = pair.rates(pair.link(0, 1).expect("it is there")).expect("two looks");
        assert_eq!((rates.packets, rates.bytes), (60.0, 6_000.0));
        assert!(pair.link(1, 0).is_none());
        looks.push(look(3.5, 0));
        assert_eq!(looks.pair().and_then(|pair| pair.packets()), Some(0.0));
        // Another raftq has another clock.
        looks.push(Snapshot { run: "b".into(), ..look(0.5, 7) });
        assert!(looks.pair().expect("a look").before.is_none());
    }
}
