//! Medians, and ratios of what was measured in the same round.

/// The middle value; the mean of the two middle ones when their number is even.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The ratio of two medians, with the least and the greatest ratio within one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of_medians: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

/// `over[i]` and `under[i]` come from the same round: what disturbed the machine then disturbed
/// both, and their ratio less than either.
pub(crate) fn ratio(over: &[f64], under: &[f64]) -> Option<Ratio> {
    let of_medians = median(over)? / median(under)?;
    let rounds = over.iter().zip(under).map(|(a, b)| a / b);
    let (least, greatest) =
        rounds.fold((f64::MAX, f64::MIN), |(low, high), r| (low.min(r), high.max(r)));
    Some(Ratio { of_medians, least, greatest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_spans_its_rounds() {
        let ratio = ratio(&[2.0, 6.0, 3.0], &[1.0, 2.0, 2.0]);
        assert_eq!(ratio, Some(Ratio { of_medians: 1.5, least: 1.5, greatest: 3.0 }));
    }
}
