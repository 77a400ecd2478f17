//! Which keys clients meet on: so many at a time, each for so many calls.

use fastrand::Rng;
use std::sync::atomic::{AtomicU64, Ordering};

/// The exponent of Zipf's law over the keys in use; 0 for evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Skew(pub f64);

/// The keys of one workload, shared by its clients.
#[derive(Debug)]
pub struct Keys {
    name: String,
    /// Calls so far on each place; a place's key changes every `per_key` of them.
    calls: Vec<AtomicU64>,
    per_key: u64,
    /// Sum of the weights up to each place.
    weights: Vec<f64>,
}

impl Keys {
    /// `n` keys at a time, each for `per_key` calls; `name` begins every key.
    #[must_use]
    pub fn new(name: &str, n: usize, skew: Skew, per_key: u64) -> Self {
        let mut sum = 0.0;
        let weight = |i: usize| {
            sum += 1.0 / ((i + 1) as f64).powf(skew.0);
            sum
        };
        let weights = (0..n.max(1)).map(weight).collect();
        let calls = (0..n.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self { name: name.to_owned(), calls, per_key: per_key.max(1), weights }
    }

    /// The key of the next call.
    pub fn choose(&self, rng: &mut Rng) -> String {
        let total = self.weights.last().copied().unwrap_or(1.0);
        let at = rng.f64() * total;
        let place = self.weights.partition_point(|sum| *sum <= at).min(self.calls.len() - 1);
        let before = self.calls[place].fetch_add(1, Ordering::Relaxed);
        self.key(place, before / self.per_key)
    }

    /// Every key that was ever chosen.
    #[must_use]
    pub fn used(&self) -> Vec<String> {
        let of_place = |(place, calls): (usize, &AtomicU64)| {
            let lives = calls.load(Ordering::Relaxed).div_ceil(self.per_key);
            (0..lives).map(move |life| self.key(place, life))
        };
        self.calls.iter().enumerate().flat_map(of_place).collect()
    }

    fn key(&self, place: usize, life: u64) -> String {
        format!("{}{place}.{life}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_room_for_a_new_one_after_its_calls() {
        let keys = Keys::new("k", 1, Skew(0.0), 3);
        let mut rng = Rng::with_seed(1);
        let chosen: Vec<String> = (0..7).map(|_| keys.choose(&mut rng)).collect();
        assert_eq!(chosen, ["k0.0", "k0.0", "k0.0", "k0.1", "k0.1", "k0.1", "k0.2"]);
        assert_eq!(keys.used(), ["k0.0", "k0.1", "k0.2"]);
    }

    #[test]
    fn skew_prefers_the_first_keys() {
        let keys = Keys::new("k", 10, Skew(1.0), u64::MAX);
        let mut rng = Rng::with_seed(1);
        for _ in 0..10_000 {
            keys.choose(&mut rng);
        }
        let of = |place: usize| keys.calls[place].load(Ordering::Relaxed);
        // Zipf's first place has 1/2.93 of all calls, the last a tenth of that.
        assert!((3200..3650).contains(&of(0)), "{}", of(0));
        assert!((250..450).contains(&of(9)), "{}", of(9));
    }
}
