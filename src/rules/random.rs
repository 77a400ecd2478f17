//! Random models.
/// Placeholder until merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// GE
    GilbertElliott {
        /// p
        p: u64,
        /// r
        r: u64,
        /// 1-h
        one_minus_h: u64,
        /// 1-k
        one_minus_k: u64,
    },
    /// 4-state
    Markov {
        /// p13
        p13: u64,
        /// p31
        p31: u64,
        /// p32
        p32: u64,
        /// p23
        p23: u64,
        /// p14
        p14: u64,
    },
}
