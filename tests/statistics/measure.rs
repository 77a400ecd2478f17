//! How far a sample is from what it should be, and how far it may be. It draws nothing; other test
//! binaries take it in by its path.

#![allow(dead_code, reason = "every test binary compiles all of it and uses a part")]

/// How many standard deviations an estimate may be off: a normal one is further off in 6 cases of
/// 100,000.
pub(crate) const SIGMAS: f64 = 4.0;

/// The largest distance between the distribution of whole numbers drawn and that of a value which
/// was cut to them; `below(x)` is the probability that the value is smaller than x.
pub(crate) fn distance(mut drawn: Vec<u64>, below: impl Fn(f64) -> f64) -> f64 {
    drawn.sort_unstable();
    let n = drawn.len() as f64;
    let mut worst = 0.0_f64;
    let mut before = 0;
    while before < drawn.len() {
        let value = drawn[before];
        let behind = before + drawn[before..].iter().take_while(|d| **d == value).count();
        let (left, right) = (below(value as f64), below(value as f64 + 1.0));
        worst = worst.max((before as f64 / n - left).abs());
        worst = worst.max((behind as f64 / n - right).abs());
        before = behind;
    }
    worst
}

/// The distance that n independent values exceed in one case of 10,000: by Kolmogorov's limit
/// `2 exp(-2 d^2 n)`, so that `d = sqrt(ln(20,000) / (2 n))`. For values that are not continuous
/// it is less still.
pub(crate) fn critical(n: f64) -> f64 {
    (20_000_f64.ln() / (2.0 * n)).sqrt()
}

/// The autocorrelation of a sequence at a lag.
pub(crate) fn autocorrelation(values: &[f64], lag: usize) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let pairs = values.iter().zip(&values[lag..]);
    pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / variance
}

/// The standard deviation of an autocorrelation, at most: a product of two standardised values has
/// at most the variance `kurtosis`, and two such products m packets apart have nothing in common
/// but by a value that was repeated all the way from one pair to the other, which has a
/// probability of rho^(m - lag). So the covariances sum up to `1 + 2 (lag + rho / (1 - rho))` of
/// the variance.
pub(crate) fn deviation(n: f64, kurtosis: f64, rho: f64, lag: usize) -> f64 {
    (kurtosis * (1.0 + 2.0 * (lag as f64 + rho / (1.0 - rho))) / n).sqrt()
}
