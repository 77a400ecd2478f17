//! Models of loss: Gilbert and Elliott's, and that of four states, as the kernel's `sch_netem.c`
//! steps them (`loss_gilb_ell`, `loss_4state`).
//!
//! Two differences, both too small to measure: there a draw that equals a bound exactly is no
//! transition at all, and loss in the bad state has one value of 2^32 less. And a sum of shares
//! over 100 % overflows there; [`Loss::excess`] names it.
//!
//! The models do not know what TCP makes of a loss: the segment that is sent again is another
//! packet, and steps the model again.

use super::{Draw, happens};
use crate::rules::table::Loss;

/// States of Gilbert and Elliott's model; every model begins with state 0.
const BAD: u64 = 1;
const GOOD: u64 = 0;

/// States of the model of four, one less than their number in netem's manual.
const ARRIVES: u64 = 0;
const ARRIVES_IN_BURST: u64 = 1;
const LOST_IN_BURST: u64 = 2;
const LOST_ALONE: u64 = 3;

/// Whether the next packet is lost. `state` is 0 before the first one, and again where the model
/// is another; otherwise what the call before left: for Gilbert and Elliott 0 (good) and 1 (bad),
/// for four states one less than their number in netem's manual.
///
/// Takes one draw for the transition, which is `draw`, and for Gilbert and Elliott the one behind
/// it for the loss.
pub fn lost(model: &Loss, state: &mut u64, seed: u64, draw: Draw) -> bool {
    match *model {
        Loss::GilbertElliott { p, r, one_minus_h, one_minus_k } => {
            // The state changes for the next packet: this one is lost by the state it came in.
            let (change, to, loss) = match *state {
                BAD => (r, GOOD, one_minus_h),
                _ => (p, BAD, one_minus_k),
            };
            if draw.happens(seed, change) {
                *state = to;
            }
            draw.and(1).happens(seed, loss)
        }
        Loss::Markov { p13, p31, p32, p23, p14 } => {
            let bits = draw.bits(seed);
            // Here the state that is entered decides: one draw takes one of up to three ways.
            *state = match *state {
                ARRIVES_IN_BURST if happens(bits, p23) => LOST_IN_BURST,
                ARRIVES_IN_BURST => ARRIVES_IN_BURST,
                LOST_IN_BURST if happens(bits, p32) => ARRIVES_IN_BURST,
                LOST_IN_BURST if happens(bits, p32.saturating_add(p31)) => ARRIVES,
                LOST_IN_BURST => LOST_IN_BURST,
                LOST_ALONE => ARRIVES,
                _ if happens(bits, p14) => LOST_ALONE,
                _ if happens(bits, p14.saturating_add(p13)) => LOST_IN_BURST,
                _ => ARRIVES,
            };
            matches!(*state, LOST_IN_BURST | LOST_ALONE)
        }
    }
}
