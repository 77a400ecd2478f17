//! The shapes of chance that rules name: models of loss, and distributions of delays.
//!
//! Types only, with netem's names (`man tc-netem`), so that what is known of netem can be carried
//! over; `engine/dice/` draws by them. A share is a whole number of 2^32 everywhere, so that the
//! same file means the same on every machine. Independent loss is no model here: it is a rule's
//! `chance`.

use crate::time::Nanos;

/// The share that means "always".
pub const ALWAYS: u64 = 1 << 32;

/// How many units of a [`Distribution::Table`] one deviation is, as in netem's files.
pub const TABLE_SCALE: i16 = 8192;

/// A model of loss with a memory, in netem's parameters, each a share of 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// netem's `loss gemodel p [ r [ 1-h [ 1-k ] ] ]`, after Gilbert and Elliott: a good state,
    /// in which it begins, and a bad one. [`Loss::gilbert_elliott`] has the defaults.
    GilbertElliott {
        /// From the good state to the bad one.
        p: u64,
        /// From the bad state to the good one.
        r: u64,
        /// Loss in the bad state.
        one_minus_h: u64,
        /// Loss in the good state.
        one_minus_k: u64,
    },
    /// netem's `loss state p13 [ p31 [ p32 [ p23 [ p14 ] ] ] ]`. In state 1, in which it begins,
    /// packets arrive; in 2 they arrive within a burst of loss; in 3 they are lost in a burst; in
    /// 4 one is lost alone, and the state is 1 with the next packet. [`Loss::markov`] has the
    /// defaults.
    Markov {
        /// From arriving to a burst.
        p13: u64,
        /// From a burst to arriving: it is over.
        p31: u64,
        /// From a burst to arriving within it.
        p32: u64,
        /// From there back to losing.
        p23: u64,
        /// From arriving to one that is lost alone.
        p14: u64,
    },
}

impl Loss {
    /// A Gilbert-Elliott model with netem's defaults for what is left out: `r` is `1 - p` (then
    /// losses are independent), `one_minus_h` everything, `one_minus_k` nothing.
    #[must_use]
    pub fn gilbert_elliott(
        p: u64,
        r: Option<u64>,
        one_minus_h: Option<u64>,
        one_minus_k: Option<u64>,
    ) -> Self {
        Self::GilbertElliott {
            p,
            r: r.unwrap_or(ALWAYS.saturating_sub(p)),
            one_minus_h: one_minus_h.unwrap_or(ALWAYS),
            one_minus_k: one_minus_k.unwrap_or(0),
        }
    }

    /// A model of four states with netem's defaults for what is left out: `p31` is `1 - p13` (then
    /// losses are independent), `p32` nothing, `p23` everything, `p14` nothing.
    #[must_use]
    pub fn markov(
        p13: u64,
        p31: Option<u64>,
        p32: Option<u64>,
        p23: Option<u64>,
        p14: Option<u64>,
    ) -> Self {
        Self::Markov {
            p13,
            p31: p31.unwrap_or(ALWAYS.saturating_sub(p13)),
            p32: p32.unwrap_or(0),
            p23: p23.unwrap_or(ALWAYS),
            p14: p14.unwrap_or(0),
        }
    }

    /// Which parameters ask for more than everything, alone or together; none where the model is
    /// possible. netem takes such values, and its 32 bits overflow.
    #[must_use]
    pub fn excess(&self) -> Option<&'static str> {
        let sums = match *self {
            Self::GilbertElliott { p, r, one_minus_h, one_minus_k } => {
                [("p", p), ("r", r), ("1-h", one_minus_h), ("1-k", one_minus_k)]
            }
            Self::Markov { p13, p31, p32, p23, p14 } => [
                ("p13 + p14", p13.saturating_add(p14)),
                ("p31 + p32", p31.saturating_add(p32)),
                ("p23", p23),
                ("p14", p14),
            ],
        };
        sums.into_iter().find(|(_, sum)| *sum > ALWAYS).map(|(name, _)| name)
    }
}

/// Shape of a delay's jitter. Whatever is drawn, no packet leaves before it came: below zero is
/// zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Evenly in `by - jitter ..= by + jitter`.
    #[default]
    Uniform,
    /// Mean `by`, standard deviation `jitter`, clamped at four deviations.
    Normal,
    /// Pareto with a shape of 3, moved and stretched to mean `by` and standard deviation `jitter`:
    /// at least `by` less 0.58 deviations, and a long tail. It is clamped at ten deviations, where
    /// one draw of a thousand lies; much of the deviation is beyond, so that 0.87 of it is left.
    ///
    /// netem's own table stretches by 4/3 where the square root of it would give one deviation, so
    /// that its `jitter` comes out 15 % wider, and ends at four deviations.
    Pareto,
    /// A quarter of a normal value and three quarters of the Pareto value at the same quantile, as
    /// netem's table is made. Mean `by`, at most 8.5 deviations above it, standard deviation 0.86
    /// of `jitter`.
    ParetoNormal,
    /// Drawn evenly from the values of a file, in units of `jitter / 8192` around `by`;
    /// [`DistTable::distribution`](super::DistTable::distribution) makes it.
    Table {
        /// Its place among [`Table::distributions`](super::Table::distributions).
        index: u16,
        /// Its largest value, by which a delay is bounded without the values at hand.
        largest: i16,
    },
}

impl Distribution {
    /// How far beyond the middle a draw may lie, at most.
    #[must_use]
    pub fn reach(self, jitter: Nanos) -> Nanos {
        let times = |n: u64| Nanos(jitter.0.saturating_mul(n));
        match self {
            Self::Uniform => jitter,
            // Draws beyond four deviations (6 in 100,000) are clamped.
            Self::Normal => times(4),
            Self::Pareto => times(10),
            Self::ParetoNormal => Nanos(times(17).0 / 2),
            Self::Table { largest, .. } => {
                Nanos(u64::try_from(scaled(jitter, largest)).unwrap_or_default())
            }
        }
    }
}

/// `jitter * value / 8192`, to the nearest nanosecond, halves away from zero, as netem counts.
#[must_use]
pub fn scaled(jitter: Nanos, value: i16) -> i64 {
    let scale = i128::from(TABLE_SCALE);
    let product = i128::from(jitter.0) * i128::from(value);
    let rounded = (product + product.signum() * scale / 2) / scale;
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_in_netem() {
        let third = ALWAYS / 3;
        let (p, rest) = (third, ALWAYS - third);
        assert_eq!(
            Loss::gilbert_elliott(p, None, None, None),
            Loss::GilbertElliott { p, r: rest, one_minus_h: ALWAYS, one_minus_k: 0 }
        );
        assert_eq!(
            Loss::markov(p, None, None, None, None),
            Loss::Markov { p13: p, p31: rest, p32: 0, p23: ALWAYS, p14: 0 }
        );
    }

    #[test]
    fn what_is_more_than_everything_is_named() {
        let half = Some(ALWAYS / 2);
        assert_eq!(Loss::markov(ALWAYS / 2, half, half, half, half).excess(), None);
        let over = Some(ALWAYS / 2 + 1);
        assert_eq!(Loss::markov(ALWAYS / 2, half, half, half, over).excess(), Some("p13 + p14"));
        assert_eq!(Loss::markov(ALWAYS / 2, half, over, half, half).excess(), Some("p31 + p32"));
        assert_eq!(Loss::gilbert_elliott(ALWAYS, None, None, None).excess(), None);
        assert_eq!(Loss::gilbert_elliott(1, Some(u64::MAX), None, None).excess(), Some("r"));
    }

    #[test]
    fn values_of_a_table_are_scaled_as_netem_does() {
        assert_eq!(scaled(Nanos(8192), 3), 3);
        assert_eq!(scaled(Nanos(4096), 1), 1, "a half goes away from zero");
        assert_eq!(scaled(Nanos(4096), -1), -1);
        assert_eq!(scaled(Nanos(4095), 1), 0);
        assert_eq!(scaled(Nanos(u64::MAX), i16::MAX), i64::MAX, "and never overflows");
    }
}
