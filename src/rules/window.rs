//! When a rule is active: one window, or one that comes back, fixed or drawn from the seed.
//!
//! A window is a pure function of time: whoever asks, and in whatever order, gets the same
//! activations. What is drawn, is drawn by hashing (seed, rule's name, number of the activation),
//! evenly over its range. So that any moment is found at once, distances come
//! round again after 1,024 activations; how long each lasts never does.

use super::table::ProcessAction;
use crate::time::Nanos;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// After so many activations the same distances are drawn again.
const ROUND: u64 = 1_024;

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

/// When a rule is active, counted from the moment the first table came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Start of the first activation; where it was a range, what was drawn.
    pub at: Nanos,
    /// Length of each activation, the least where it is drawn; `None`: until the end.
    pub lasts: Option<Nanos>,
    /// Distance between the starts of two activations, the least where it is drawn; never less
    /// than an activation lasts.
    pub every: Option<Nanos>,
    /// Number of activations; `None`: one without `every`, unlimited with it.
    pub times: Option<u32>,
    /// What is drawn for each activation anew.
    pub draws: Option<Draws>,
    /// No activation starts from then on, and the last one ends; [`Nanos::MAX`] for "never".
    pub until: Nanos,
}

/// What is drawn for each activation anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// From the seed and the rule's name.
    pub key: u64,
    /// How much longer than `lasts` it may last.
    pub lasts: Nanos,
    /// How much later than `every` the next one may begin.
    pub every: Nanos,
    /// Whether each activation lasts until the next one begins.
    pub whole: bool,
}

/// One activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its number, from 0.
    pub number: u64,
    /// When it starts.
    pub start: Nanos,
    /// When it ends, exclusive; [`Nanos::MAX`] for "never".
    pub end: Nanos,
}

/// What a draw is for; it enters the hash.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Part {
    At = 0,
    Lasts = 1,
    Every = 2,
}

/// A time from 0 to `most`, both included, each as likely: the `number`-th of its kind. Whole
/// milliseconds where `most` is, so that people can read them.
pub(super) fn drawn(key: u64, part: Part, number: u64, most: Nanos) -> Nanos {
    if most == Nanos::ZERO {
        return Nanos::ZERO;
    }
    let mut bytes = [0; 9];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8] = part as u8;
    let unit = if most.0.is_multiple_of(MILLI) { MILLI } else { 1 };
    let values = u128::from(most.0 / unit) + 1;
    let bits = u128::from(xxh3_64_with_seed(&bytes, key));
    Nanos(((bits * values) >> 64) as u64 * unit)
}

/// The key of all draws of a rule's times.
pub(super) fn key(name: &str, seed: u64) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

impl Window {
    /// Always active.
    pub const ALWAYS: Self = Self {
        at: Nanos::ZERO,
        lasts: None,
        every: None,
        times: None,
        draws: None,
        until: Nanos::MAX,
    };

    /// Never active.
    pub const NEVER: Self = Self { at: Nanos(u64::MAX / 2), lasts: Some(Nanos(1)), ..Self::ALWAYS };

    /// Stands for `at` where nothing but a switch makes a rule active.
    pub const SWITCH: Nanos = Nanos(u64::MAX - 1);

    /// Whether it becomes active only when somebody switches it on by name.
    #[must_use]
    pub fn by_switch(&self) -> bool {
        self.at == Self::SWITCH
    }

    /// The activation that covers time `t`, or else the next one after it: `(start, end)`.
    /// `None` when no activation is left, or none lasts any time. `end` is exclusive,
    /// [`Nanos::MAX`] for "never".
    #[must_use]
    pub fn activation(&self, t: Nanos) -> Option<(Nanos, Nanos)> {
        self.covering(t).map(|it| (it.start, it.end))
    }

    /// The same, with its number.
    #[must_use]
    pub fn covering(&self, t: Nanos) -> Option<Activation> {
        let last = self.last_number().filter(|_| !self.by_switch())?;
        // The last to have started by `t`, and where that is over the one behind it.
        let number = self.number(t).min(last);
        [Some(number), number.checked_add(1)].into_iter().flatten().find_map(|number| {
            // A start past the end of the clock is no start.
            let start = self.start(number).filter(|_| number <= last)?;
            let end = self.end_of(number, start);
            (t < end && start < end).then_some(Activation { number, start, end })
        })
    }

    /// When an activation ends that started then, be it later than planned.
    #[must_use]
    pub fn end_of(&self, number: u64, start: Nanos) -> Nanos {
        self.length(number).map_or(Nanos::MAX, |lasts| start + lasts).min(self.until)
    }

    /// Whether each activation ends by itself.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.lasts.is_some() || self.until < Nanos::MAX
    }

    /// How much longer than the least the `number`-th activation lasts.
    #[must_use]
    pub fn longer(&self, number: u64) -> Nanos {
        self.draws.map_or(Nanos::ZERO, |it| drawn(it.key, Part::Lasts, number, it.lasts))
    }

    /// When the last activation of a fault ends: one that is over at once does so at its start.
    /// When it is switched on nobody knows.
    #[must_use]
    pub fn end_of_fault(&self, action: ProcessAction) -> Nanos {
        let at_once = action.undone_by().is_none() && self.lasts.is_none() && !self.by_switch();
        if at_once { self.at } else { self.end() }
    }

    /// When the last activation ends; [`Nanos::MAX`] for "never".
    #[must_use]
    pub fn end(&self) -> Nanos {
        if self.by_switch() {
            return Nanos::MAX;
        }
        let by_until = match self.until {
            Nanos::MAX => u64::MAX,
            until => self.number(Nanos(until.0.saturating_sub(1))),
        };
        let last = match (self.every, self.times) {
            (None, _) => 0,
            (Some(_), None) => by_until,
            (Some(_), Some(times)) => u64::from(times.saturating_sub(1)).min(by_until),
        };
        if last == u64::MAX {
            return Nanos::MAX;
        }
        self.start(last).map_or(Nanos::MAX, |start| self.end_of(last, start))
    }

    /// The number of the last activation; none where there is not one.
    fn last_number(&self) -> Option<u64> {
        match (self.every, self.times) {
            (None, _) => Some(0),
            (Some(_), None) => Some(u64::MAX),
            (Some(_), Some(times)) => u64::from(times).checked_sub(1),
        }
    }

    /// The least distance between two starts, and what draws more.
    fn period(&self) -> (u64, Option<Draws>) {
        let least = self.every.unwrap_or(Nanos::MAX).0.max(1);
        (least, self.draws.filter(|it| self.every.is_some() && it.every > Nanos::ZERO))
    }

    /// From the start of an activation to that of the next one.
    fn distance(least: u64, draws: &Draws, number: u64) -> u128 {
        let more = drawn(draws.key, Part::Every, number % ROUND, draws.every);
        u128::from(least) + u128::from(more.0)
    }

    fn length(&self, number: u64) -> Option<Nanos> {
        let lasts = self.lasts?;
        match (self.draws, self.period()) {
            (Some(Draws { whole: true, .. }), (least, Some(draws))) => {
                let distance = Self::distance(least, &draws, number);
                Some(Nanos(u64::try_from(distance).unwrap_or(u64::MAX)))
            }
            _ => Some(lasts + self.longer(number)),
        }
    }

    /// The last activation that has started by `t`, if there were no end of them; else the first.
    fn number(&self, t: Nanos) -> u64 {
        let since = t.saturating_sub(self.at).0;
        let (least, Some(draws)) = self.period() else { return since / self.period().0 };
        let since = u128::from(since);
        let mut sum = 0;
        for number in 0..ROUND {
            sum += Self::distance(least, &draws, number);
            if sum > since {
                return number;
            }
        }
        let (rounds, rest) = (since / sum, since % sum);
        let mut sum = 0;
        let in_round = (0..ROUND).find(|&number| {
            sum += Self::distance(least, &draws, number);
            sum > rest
        });
        // A round of distances is not shorter than what is left of one.
        (rounds as u64).saturating_mul(ROUND).saturating_add(in_round.unwrap_or(ROUND - 1))
    }

    /// When an activation starts; none past the end of the clock.
    fn start(&self, number: u64) -> Option<Nanos> {
        let behind = match self.period() {
            (least, None) => least.checked_mul(number)?,
            (least, Some(draws)) => {
                let sum = |of: u64| (0..of).map(|n| Self::distance(least, &draws, n)).sum::<u128>();
                let rounds = u128::from(number / ROUND);
                let whole = if rounds == 0 { 0 } else { rounds.checked_mul(sum(ROUND))? };
                u64::try_from(whole.checked_add(sum(number % ROUND))?).ok()?
            }
        };
        Some(Nanos(behind.checked_add(self.at.0)?))
    }
}
