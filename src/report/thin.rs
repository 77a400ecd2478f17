//! A stream of items of which only so many are kept: those that matter, and of the others every
//! second, fourth, eighth. Which these are hangs on the stream alone.

/// What is kept of a stream.
#[derive(Debug)]
pub(super) struct Thin<T> {
    max: usize,
    kept: Vec<Kept<T>>,
    /// Of those that matter, and of the others: how many came, and each so many-th is kept.
    seen: [u64; 2],
    strides: [u64; 2],
}

#[derive(Debug)]
struct Kept<T> {
    nth: u64,
    matters: bool,
    item: T,
}

impl<T> Thin<T> {
    /// At most `max` are kept at any time, which has to be one at least.
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), kept: Vec::new(), seen: [0, 0], strides: [1, 1] }
    }

    /// The next item, and whether it is one of those for which a reader looks.
    pub(super) fn push(&mut self, matters: bool, item: T) {
        let seen = &mut self.seen[usize::from(!matters)];
        let nth = *seen;
        *seen += 1;
        if self.keeps(nth, matters) {
            self.kept.push(Kept { nth, matters, item });
            while self.kept.len() > self.max {
                self.thin_out();
            }
        }
    }

    fn keeps(&self, nth: u64, matters: bool) -> bool {
        nth.is_multiple_of(self.strides[usize::from(!matters)])
    }

    fn thin_out(&mut self) {
        let others = self.kept.iter().filter(|kept| !kept.matters).count();
        // A quarter is for the others, so that the whole can still be seen.
        let which = usize::from(others > self.max / 4);
        self.strides[which] *= 2;
        let strides = self.strides;
        self.kept.retain(|kept| kept.nth.is_multiple_of(strides[usize::from(!kept.matters)]));
    }

    /// All that is kept, in the order in which it came, and how many are left out.
    pub(super) fn finish(self) -> (Vec<T>, u64) {
        let (kept, left_out) = self.weighed();
        (kept.into_iter().map(|(item, _)| item).collect(), left_out)
    }

    /// The same, each with how many of its class it stands for, itself among them: what counts
    /// kept ones alone takes the others for fewer than they were.
    pub(super) fn weighed(self) -> (Vec<(T, u32)>, u64) {
        let left_out = self.seen.iter().sum::<u64>() - self.kept.len() as u64;
        // The last strides are those of all that is kept: it is thinned whenever they grow.
        let weights = self.strides.map(|stride| u32::try_from(stride).unwrap_or(u32::MAX));
        let weigh = |kept: Kept<T>| (kept.item, weights[usize::from(!kept.matters)]);
        (self.kept.into_iter().map(weigh).collect(), left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_limit_everything_is_kept() {
        let mut thin = Thin::new(10);
        (0..10).for_each(|i| thin.push(i % 3 == 0, i));
        assert_eq!(thin.finish(), ((0..10).collect(), 0));
    }

    #[test]
    fn beyond_it_what_matters_is_kept_first_and_the_others_evenly() {
        let mut thin = Thin::new(100);
        (0..10_000).for_each(|i| thin.push((500..560).contains(&i), i));
        let (kept, left_out) = thin.finish();
        assert!(kept.len() <= 100 && kept.len() as u64 + left_out == 10_000, "{kept:?}");
        assert!((500..560).all(|i| kept.contains(&i)), "{kept:?}");
        let others: Vec<i32> = kept.into_iter().filter(|i| !(500..560).contains(i)).collect();
        assert!(others.len() > 10 && others.last() > Some(&9_000), "to the end: {others:?}");
    }

    #[test]
    fn weights_make_up_for_what_is_left_out() {
        let mut thin = Thin::new(100);
        (0..10_000_u32).for_each(|i| thin.push((500..560).contains(&i), i));
        let (kept, left_out) = thin.weighed();
        assert!(left_out > 9_000);
        let sum = |matters: bool| -> u32 {
            let of = |(i, _): &&(u32, u32)| (500..560).contains(i) == matters;
            kept.iter().filter(of).map(|(_, weight)| weight).sum()
        };
        assert_eq!(sum(true), 60, "what matters is all there, and stands for itself: {kept:?}");
        let stride = kept[0].1;
        assert!(stride > 1 && (9_940..9_940 + stride).contains(&sum(false)), "{kept:?}");
    }

    #[test]
    fn where_too_much_matters_that_is_thinned_as_well() {
        let mut thin = Thin::new(100);
        (0..10_000).for_each(|i| thin.push(i % 2 == 1, i));
        let (kept, left_out) = thin.finish();
        assert!(kept.len() <= 100 && left_out >= 9_900);
        let (odd, even): (Vec<i32>, Vec<i32>) = kept.iter().partition(|i| **i % 2 == 1);
        assert!(!odd.is_empty() && !even.is_empty(), "{kept:?}");
    }
}
