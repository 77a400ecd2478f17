//! Markov chains by brute force: what a model of loss comes to in the long run, and how far a
//! sample of it may be off. It knows no closed form; `loss.rs` compares both.

/// A chain, and in which of its states a packet is lost.
pub(super) struct Chain {
    /// Probability to go from state i to state j.
    pub(super) to: Vec<Vec<f64>>,
    pub(super) lost: Vec<bool>,
}

/// Steps after which every chain here has forgotten where it began: their slowest eigenvalue is
/// below 0.95, and 0.95^1000 is 5e-23.
const STEPS: usize = 1_000;

impl Chain {
    /// Gilbert and Elliott's model: the states are good and bad, each arriving and lost.
    pub(super) fn gilbert_elliott(p: f64, r: f64, bad: f64, good: f64) -> Self {
        let by_state = [good, bad];
        let change = [[1.0 - p, p], [r, 1.0 - r]];
        let row = |from: usize| {
            let way = |to: usize| {
                let lost = if to % 2 == 1 { by_state[to / 2] } else { 1.0 - by_state[to / 2] };
                change[from / 2][to / 2] * lost
            };
            (0..4).map(way).collect()
        };
        Self { to: (0..4).map(row).collect(), lost: vec![false, true, false, true] }
    }

    /// netem's four states, in the order of its manual.
    pub(super) fn markov([p13, p31, p32, p23, p14]: [f64; 5]) -> Self {
        let to = vec![
            vec![1.0 - p13 - p14, 0.0, p13, p14],
            vec![0.0, 1.0 - p23, p23, 0.0],
            vec![p31, p32, 1.0 - p31 - p32, 0.0],
            vec![1.0, 0.0, 0.0, 0.0],
        ];
        Self { to, lost: vec![false, false, true, true] }
    }

    fn len(&self) -> usize {
        self.to.len()
    }

    /// How much of its time it spends in each state.
    pub(super) fn stationary(&self) -> Vec<f64> {
        let mut now = vec![1.0 / self.len() as f64; self.len()];
        for _ in 0..STEPS {
            now = (0..self.len())
                .map(|j| (0..self.len()).map(|i| now[i] * self.to[i][j]).sum())
                .collect();
        }
        now
    }

    /// The mean of something that is true or not of two packets in a row, by their states, and the
    /// standard deviation of its share among n pairs: the variance of one and all covariances,
    /// summed up, over n.
    pub(super) fn share(&self, n: f64, is: impl Fn(usize, usize) -> bool) -> (f64, f64) {
        let all = 0..self.len();
        let stationary = self.stationary();
        let value = |i: usize, j: usize| if is(i, j) { self.to[i][j] } else { 0.0 };
        let next: Vec<f64> = all.clone().map(|i| all.clone().map(|j| value(i, j)).sum()).collect();
        let mean: f64 = all.clone().map(|i| stationary[i] * next[i]).sum();
        // Where the pair ends, if it is one of those that count.
        let ends: Vec<f64> =
            all.clone().map(|j| all.clone().map(|i| stationary[i] * value(i, j)).sum()).collect();
        let mut later = next;
        let mut variance = mean * (1.0 - mean);
        for _ in 0..STEPS {
            let both: f64 = all.clone().map(|j| ends[j] * later[j]).sum();
            variance += 2.0 * (both - mean * mean);
            later =
                all.clone().map(|i| all.clone().map(|j| self.to[i][j] * later[j]).sum()).collect();
        }
        (mean, (variance / n).sqrt())
    }

    /// The share of packets that are lost, and its deviation.
    pub(super) fn rate(&self, n: f64) -> (f64, f64) {
        self.share(n, |_, j| self.lost[j])
    }

    /// The share of packets with which a run of losses begins, and its deviation.
    pub(super) fn runs(&self, n: f64) -> (f64, f64) {
        self.share(n, |i, j| !self.lost[i] && self.lost[j])
    }

    /// The probability that a run of losses is exactly so long, from 1 to `longest`.
    pub(super) fn lengths(&self, longest: usize) -> Vec<f64> {
        let all = 0..self.len();
        let stationary = self.stationary();
        let begins = |j: usize| -> f64 {
            let from = all.clone().filter(|i| !self.lost[*i]);
            if self.lost[j] { from.map(|i| stationary[i] * self.to[i][j]).sum() } else { 0.0 }
        };
        let mut now: Vec<f64> = all.clone().map(begins).collect();
        let total: f64 = now.iter().sum();
        let mut lengths = Vec::new();
        for _ in 0..longest {
            let alive: f64 = now.iter().sum();
            now = all
                .clone()
                .map(|j| {
                    let on = all.clone().map(|i| now[i] * self.to[i][j]).sum();
                    if self.lost[j] { on } else { 0.0 }
                })
                .collect();
            lengths.push((alive - now.iter().sum::<f64>()) / total);
        }
        lengths
    }
}
