//! Delays, by distribution, from 64 bits.
//!
//! The functions of `libm` give the same bits on every machine. Nothing here remembers: where a
//! delay hangs on the one before, it is the bits that do (`correlated.rs`).

use crate::rules::scaled;
use crate::rules::table::{Delay, DistTable, Distribution};
use crate::time::Nanos;

/// How far a normal value and a Pareto value may lie from their mean, in deviations.
const NORMAL_MAX: f64 = 4.0;
const PARETO_MAX: f64 = 10.0;

/// Mean and variance of a Pareto value with the shape 3.
const PARETO_MEAN: f64 = 1.5;
const PARETO_VARIANCE: f64 = 0.75;

/// One delay, drawn with 64 random bits; `tables` are those of the rule table. Never below zero,
/// never above [`Delay::longest`].
#[must_use]
pub fn delay(delay: &Delay, tables: &[DistTable], bits: u64) -> Nanos {
    if delay.jitter == Nanos::ZERO {
        return delay.by;
    }
    let deviations = match delay.distribution {
        Distribution::Uniform => unit(bits) * 2.0 - 1.0,
        Distribution::Normal => normal(bits),
        Distribution::Pareto => pareto(above_zero(bits)),
        Distribution::ParetoNormal => pareto_normal(bits),
        Distribution::Table { index, .. } => {
            let value = tables.get(usize::from(index)).map_or(0, |table| pick(table, bits));
            return Nanos(delay.by.0.saturating_add_signed(scaled(delay.jitter, value)));
        }
    };
    let drawn = delay.by.0 as f64 + delay.jitter.0 as f64 * deviations;
    #[expect(clippy::cast_sign_loss, reason = "clamped at zero")]
    Nanos(drawn.max(0.0) as u64).min(delay.longest())
}

/// A number in `[0, 1)` from the upper 53 bits.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in `(0, 1]`, for what has no value at zero.
fn above_zero(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A standard normal value by Box and Muller's transform, from both halves of the bits.
fn normal(bits: u64) -> f64 {
    let u = ((bits >> 32) as f64 + 1.0) / 4_294_967_296.0;
    let v = (bits & 0xffff_ffff) as f64 / 4_294_967_296.0;
    let value = libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v);
    value.clamp(-NORMAL_MAX, NORMAL_MAX)
}

/// The Pareto value above which a share of `tail` lies, in deviations from the mean.
fn pareto(tail: f64) -> f64 {
    let value = (1.0 / libm::cbrt(tail) - PARETO_MEAN) / libm::sqrt(PARETO_VARIANCE);
    value.min(PARETO_MAX)
}

/// A normal value, and the Pareto value above which as much lies: netem makes its table of the
/// two tables' values at the same place, not of two draws.
fn pareto_normal(bits: u64) -> f64 {
    let normal = normal(bits);
    let tail = 0.5 * libm::erfc(normal / std::f64::consts::SQRT_2);
    0.25 * normal + 0.75 * pareto(tail)
}

/// One of the values, each as likely as the others.
fn pick(table: &DistTable, bits: u64) -> i16 {
    let values = table.values();
    let at = (u128::from(bits) * values.len() as u128) >> 64;
    values.get(at as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::table::Order;

    #[test]
    fn no_draw_is_outside_its_bounds() {
        let table = DistTable::parse("-20000 0 9000").expect("a table");
        let mut shapes = vec![Distribution::Uniform, Distribution::Normal, Distribution::Pareto];
        shapes.extend([Distribution::ParetoNormal, table.distribution(0)]);
        let ends = [0, 1, u64::MAX, u64::MAX - 1, 1 << 63, 0xffff_ffff, 0xffff_ffff << 32, 1 << 32];
        for distribution in shapes {
            for (by, jitter) in [(20_000_000, 5_000_000), (1, 1), (3, 0), (u64::MAX / 2, 1 << 60)] {
                let (by, jitter) = (Nanos(by), Nanos(jitter));
                let shape = Delay { by, jitter, distribution, order: Order::Flow, correlation: 0 };
                for bits in ends {
                    let drawn = delay(&shape, std::slice::from_ref(&table), bits);
                    assert!(drawn <= shape.longest(), "{shape:?} {bits:x}: {drawn:?}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_distributions() {
        let by = Nanos::from_millis(20);
        let jitter = Nanos::from_millis(5);
        let shape =
            |distribution| Delay { by, jitter, distribution, order: Order::Flow, correlation: 0 };
        let ms = |distribution, bits| delay(&shape(distribution), &[], bits).0 / 1_000;
        assert_eq!(ms(Distribution::Uniform, 0), 15_000);
        assert_eq!(ms(Distribution::Uniform, u64::MAX), 25_000);
        assert_eq!(ms(Distribution::Pareto, 0), 70_000, "ten deviations");
        assert_eq!(ms(Distribution::Pareto, u64::MAX), 17_113, "20 ms less 5 ms / sqrt(3)");
        // No bits at all: the longest radius, and the angle that points upwards.
        assert_eq!(ms(Distribution::Normal, 0), 40_000, "four deviations");
        assert_eq!(ms(Distribution::ParetoNormal, 0), 62_500, "eight and a half");
    }
}
