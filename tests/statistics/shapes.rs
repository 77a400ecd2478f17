//! The definitions of distributions of delays, calculated apart from the engine's functions: the
//! normal integral as a series and by Simpson's rule, where the engine has `erfc` and draws by Box
//! and Muller. It draws nothing; other test binaries take it in by its path.

/// One deviation of Pareto's distribution with the shape 3 is the square root of 3/4.
const STRETCH: f64 = 1.154_700_538_379_251_5;

/// How the engine's Pareto value is stretched, and where it is clamped, in deviations.
pub(crate) const PARETO: (f64, f64) = (STRETCH, 10.0);

/// Below a delay that is as likely anywhere.
pub(crate) fn uniform_below(by: f64, jitter: f64) -> impl Fn(f64) -> f64 {
    move |ns| ((ns - by + jitter) / (2.0 * jitter)).clamp(0.0, 1.0)
}

/// The normal distribution up to x, by Marsaglia's series: all terms are positive.
fn normal(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal(-x);
    }
    let (mut sum, mut term, mut i) = (x, x, 1.0);
    while term > sum * 1e-17 {
        i += 2.0;
        term *= x * x / i;
        sum += term;
    }
    0.5 + sum * density(x)
}

fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// Below a delay, in deviations, of a normal one that is clamped at four and at zero.
pub(crate) fn normal_below(by: f64, jitter: f64) -> impl Fn(f64) -> f64 {
    move |ns| match (ns - by) / jitter {
        x if ns <= 0.0 || x <= -4.0 => 0.0,
        x if x > 4.0 => 1.0,
        x => normal(x),
    }
}

/// Below a delay that is Pareto's with a shape of 3, stretched by so much, and clamped.
pub(crate) fn pareto_below(
    by: f64,
    jitter: f64,
    (stretch, clamp): (f64, f64),
) -> impl Fn(f64) -> f64 {
    move |ns| match (ns - by) / jitter {
        x if x > clamp => 1.0,
        x => 1.0 - (x / stretch + 1.5).max(1.0).powi(-3),
    }
}

/// Below a delay that is a quarter normal and three quarters Pareto at the same quantile: both
/// along a grid of quantiles that Simpson's rule sums up, and straight lines between.
pub(crate) fn pareto_normal_below(by: f64, jitter: f64) -> impl Fn(f64) -> f64 {
    const STEP: f64 = 1.0 / 1_024.0;
    let mut below = 0.0;
    let grid: Vec<(f64, f64)> = (-8 * 1_024..8 * 1_024)
        .map(|i| {
            let z = f64::from(i) * STEP;
            let middle = density(z - STEP / 2.0);
            below += STEP / 6.0 * (density(z - STEP) + 4.0 * middle + density(z));
            let pareto = ((1.0 - below).max(1e-18).cbrt().recip() - 1.5) * STRETCH;
            let x = 0.25 * z.clamp(-4.0, 4.0) + 0.75 * pareto.min(10.0);
            (by + jitter * x, below)
        })
        .collect();
    move |ns| {
        let i = grid.partition_point(|(at, _)| *at < ns);
        match (i.checked_sub(1).map(|i| grid[i]), grid.get(i)) {
            (Some((a, low)), Some((b, high))) => low + (high - low) * (ns - a) / (b - a),
            (None, _) => 0.0,
            (_, None) => 1.0,
        }
    }
}
