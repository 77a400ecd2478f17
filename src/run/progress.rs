//! How an experiment stands, in one line: the phase, who leads, how fast clients are, and what is
//! being done to the cluster.

use super::tone::{Line, Tone, bar};
use crate::time::Nanos;

/// Columns of the bar.
const BAR: usize = 12;

/// What the line tells.
#[derive(Clone, Debug)]
pub(super) struct Standing<'a> {
    /// The phase of the run.
    pub(super) phase: &'a str,
    /// What is left of it, where that is known.
    pub(super) left: Option<Nanos>,
    /// How much of it is over, from 0 to 1.
    pub(super) share: Option<f64>,
    /// Who leads, and in which term.
    pub(super) leader: Option<(String, Option<u64>)>,
    /// Calls answered a second.
    pub(super) rate: u64,
    /// Rules and faults that are active.
    pub(super) active: &'a [String],
}

impl Standing<'_> {
    /// The line; what matters least gives way where it is too long.
    pub(super) fn line(&self) -> Line {
        let bar = self.share.map_or(String::new(), |share| bar(share, BAR));
        let left = self.left.map_or(String::new(), |l| format!("{:.0} s left", l.as_secs_f64()));
        let (leader, tone) = match &self.leader {
            Some((name, Some(term))) => (format!("{name} leads term {term}"), Tone::Leader),
            Some((name, None)) => (format!("{name} leads"), Tone::Leader),
            None => ("nobody leads".to_owned(), Tone::Doubt),
        };
        let rate_tone = if self.rate == 0 { Tone::Doubt } else { Tone::Plain };
        let active = match self.active {
            [] => String::new(),
            active => format!("[{}]", active.join(", ")),
        };
        Line::new()
            .piece(self.phase, Tone::Strong, 9)
            .piece(bar, Tone::Quiet, 1)
            .piece(left, Tone::Plain, 5)
            .piece(leader, tone, 4)
            .piece(format!("{} calls/s", self.rate), rate_tone, 6)
            .list(active, Tone::Doubt, 7)
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;
    use crate::time::Nanos;

    #[test]
    fn what_matters_least_gives_way_on_a_narrow_terminal() {
        let active = ["cut the leader off".to_owned()];
        let standing = Standing {
            phase: "faults",
            left: Some(Nanos::from_secs(5)),
            share: Some(0.5),
            leader: Some(("n2".into(), Some(3))),
            rate: 312,
            active: &active,
        };
        let line = standing.line();
        assert_eq!(
            line.plain(),
            "faults  \u{2501}\u{2501}\u{2501}\u{2501}\u{2501}\u{2501}\u{2500}\u{2500}\u{2500}\
             \u{2500}\u{2500}\u{2500}  5 s left  n2 leads term 3  312 calls/s  [cut the leader off]"
        );
        assert_eq!(
            line.fitted(70, false),
            "faults  5 s left  n2 leads term 3  312 calls/s  [cut the leader off]"
        );
        assert_eq!(line.fitted(55, false), "faults  5 s left  312 calls/s  [cut the leader off]");
        assert_eq!(line.fitted(41, false), "faults  5 s left  312 calls/s  [cut the\u{2026}");
    }

    #[test]
    fn that_nobody_leads_is_told() {
        let standing = Standing {
            phase: "settling",
            left: None,
            share: None,
            leader: None,
            rate: 0,
            active: &[],
        };
        assert_eq!(standing.line().plain(), "settling  nobody leads  0 calls/s");
    }
}
