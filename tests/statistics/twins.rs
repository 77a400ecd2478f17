//! The models of loss beside twins that were written from netem's manual, draw by draw.
//!
//! The manual names states and probabilities; where several ways lead from a state, the order in
//! which a draw is compared with them is that of the kernel.

use proptest::prelude::*;
use raftq::engine::dice::{Draw, lost};
use raftq::packet::LinkId;
use raftq::rules::table::{ALWAYS, Loss};

/// The ways from each state of `loss state`, with their probabilities; else it stays.
fn ways(state: u8, [p13, p31, p32, p23, p14]: [u64; 5]) -> Vec<(u8, u64)> {
    match state {
        1 => vec![(4, p14), (3, p13)],
        2 => vec![(3, p23)],
        3 => vec![(2, p32), (1, p31)],
        4 => vec![(1, ALWAYS)],
        _ => unreachable!("the manual has four states"),
    }
}

/// Goes one way by a draw of 0 to 2^32 - 1.
fn step(state: u8, drawn: u64, ways: Vec<(u8, u64)>) -> u8 {
    let mut sum = 0;
    for (to, share) in ways {
        if (sum..sum + share).contains(&drawn) {
            return to;
        }
        sum += share;
    }
    state
}

fn any_share() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(ALWAYS), 0..=ALWAYS, (0..=ALWAYS / 50)]
}

/// Two shares that are not more than everything together.
fn two() -> impl Strategy<Value = (u64, u64)> {
    (any_share(), any_share()).prop_map(|(a, b)| (a, b.min(ALWAYS - a)))
}

proptest! {
    #[test]
    fn four_states(
        (p13, p14) in two(), (p31, p32) in two(), p23 in any_share(), seed: u64,
    ) {
        let model = Loss::markov(p13, Some(p31), Some(p32), Some(p23), Some(p14));
        prop_assert_eq!(model.excess(), None);
        let (mut state, mut twin) = (0, 1);
        for segment in 0..300 {
            let draw = Draw { rule: !seed, link: LinkId(1), connection: 2, segment, part: 16 };
            let is_lost = lost(&model, &mut state, seed, draw);
            twin = step(twin, draw.bits(seed) >> 32, ways(twin, [p13, p31, p32, p23, p14]));
            prop_assert_eq!(is_lost, twin == 3 || twin == 4);
            prop_assert_eq!(state, u64::from(twin) - 1);
        }
    }

    #[test]
    fn gilbert_and_elliott(
        p in any_share(), r in any_share(), bad in any_share(), good in any_share(), seed: u64,
    ) {
        let model = Loss::gilbert_elliott(p, Some(r), Some(bad), Some(good));
        prop_assert_eq!(model.excess(), None);
        let (mut state, mut is_bad) = (0, false);
        for segment in 0..300 {
            let draw = Draw { rule: seed, link: LinkId(9), connection: 1, segment, part: 8 };
            let [change, loss] = [8, 9].map(|part| Draw { part, ..draw }.bits(seed) >> 32);
            let wanted = loss < if is_bad { bad } else { good };
            prop_assert_eq!(lost(&model, &mut state, seed, draw), wanted);
            is_bad = if is_bad { change >= r } else { change < p };
            prop_assert_eq!(state == 1, is_bad);
        }
    }
}
