//! What became of a packet, in words: one for machines, and a few for people.

use crate::engine::{Extras, Keep, Verdict};
use crate::time::Nanos;

/// What became of a packet, and why where its rule does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The engine said so.
    Judged(Verdict),
    /// It was to be held, and as many are held as may be.
    Overflowed,
    /// A node at one of its ends is silent.
    Silent,
    /// Its direction of its connection was stalled before.
    Stalled(Verdict),
    /// Nobody knows who sent it.
    Unattributed {
        /// Whether such packets are dropped.
        drop: bool,
    },
    /// It could not be read; such packets pass.
    Unreadable,
    /// It is no IP packet; raftq never sees such ones.
    Other,
}

impl Fate {
    /// One word, the same for all packets that fare alike.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Judged(verdict) | Self::Stalled(verdict) => word(verdict),
            Self::Overflowed | Self::Silent => "dropped",
            Self::Unattributed { drop } => word(if drop { Verdict::Drop } else { Verdict::Accept }),
            Self::Unreadable | Self::Other => "accepted",
        }
    }

    /// Until when it is held.
    #[must_use]
    pub fn due(self) -> Option<Nanos> {
        match self {
            Self::Judged(Verdict::Hold(keep)) => Some(keep.due).filter(|due| *due < Nanos::MAX),
            _ => None,
        }
    }

    /// What stands behind the word, for people; `now` is the time of the packet, `zero` that from
    /// which times are told.
    #[must_use]
    pub fn remark(self, now: Nanos, zero: Nanos) -> String {
        match self {
            Self::Judged(Verdict::Hold(Keep { due, trim, .. })) => {
                let trimmed = if trim { ", its data dropped" } else { "" };
                if due == Nanos::MAX {
                    return format!("until a rule lets it go{trimmed}");
                }
                let delay = due.saturating_sub(now);
                let millis = format!("{}.{:03}", delay.0 / 1_000_000, delay.0 / 1_000 % 1_000);
                format!("for {millis} ms, due {}{trimmed}", seconds(due.saturating_sub(zero)))
            }
            Self::Judged(Verdict::Reset { seq }) => format!("at {seq}"),
            Self::Judged(Verdict::Reject(with)) => format!("with {}", with.word()),
            Self::Judged(_) => String::new(),
            Self::Overflowed => "as many are held as may be".into(),
            Self::Silent => "a node is silent".into(),
            Self::Stalled(_) => "behind a stall".into(),
            Self::Unattributed { .. } => "nobody knows who sent it".into(),
            Self::Unreadable => "it cannot be read".into(),
            Self::Other => "no IP".into(),
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accepted",
        Verdict::Drop => "dropped",
        Verdict::Trim => "trimmed",
        Verdict::Reset { .. } => "reset",
        Verdict::Hold(_) => "held",
        Verdict::Reject(_) => "rejected",
        Verdict::Ask { .. } => "asked for",
    }
}

/// What else happens to a packet, a few words each.
#[must_use]
pub fn extras(extras: &Extras) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(extras.mark.map(|mark| format!("marked {:#x}/{:#x}", mark.value, mark.mask)));
    words.extend(extras.damage.map(|damage| {
        let sum = if damage.fixes_checksum { "right" } else { "wrong" };
        if damage.one_bit {
            let bit = damage.bits % (u64::from(damage.to - damage.from) * 8);
            return format!("bit {bit} of its payload changed, checksum {sum}");
        }
        format!("bytes {}..{} of its payload changed, checksum {sum}", damage.from, damage.to)
    }));
    words.extend(extras.copies.map(|copies| {
        let plural = if copies.count == 1 { "copy" } else { "copies" };
        let after = copies.after.0 / 1_000;
        format!("{} {plural}, {}.{:03} ms later", copies.count, after / 1_000, after % 1_000)
    }));
    words
}

/// A time in seconds with six decimals, cut and not rounded: without floating point.
#[must_use]
pub fn seconds(time: Nanos) -> String {
    format!("{}.{:06}", time.0 / 1_000_000_000, time.0 / 1_000 % 1_000_000)
}
