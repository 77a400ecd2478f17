//! The models of loss: how much is lost, in which bursts, and how long each state lasts.

use crate::chain::Chain;
use crate::{SEED, SIGMAS, draws, share};
use raftq::engine::dice::lost;
use raftq::rules::table::Loss;

const N: u32 = 1_000_000;

/// p, r, 1-h, 1-k: Gilbert and Elliott's, Gilbert's, the simple one, and netem's default for a p.
const GILBERT_ELLIOTT: [[f64; 4]; 4] =
    [[0.03, 0.2, 0.7, 0.01], [0.05, 0.25, 0.6, 0.0], [0.02, 0.3, 1.0, 0.0], [0.1, 0.9, 1.0, 0.0]];

/// p13, p31, p32, p23, p14: four states, three, single losses beside bursts, two, and netem's
/// default for a p13.
const MARKOV: [[f64; 5]; 5] = [
    [0.05, 0.3, 0.1, 0.4, 0.01],
    [0.02, 0.1, 0.2, 0.15, 0.0],
    [0.03, 0.25, 0.0, 1.0, 0.04],
    [0.02, 0.3, 0.0, 1.0, 0.0],
    [0.1, 0.9, 0.0, 1.0, 0.0],
];

fn gilbert_elliott([p, r, bad, good]: [f64; 4]) -> (Loss, Chain) {
    let [p_share, r_share, bad_share, good_share] = [p, r, bad, good].map(share);
    let model = Loss::gilbert_elliott(p_share, Some(r_share), Some(bad_share), Some(good_share));
    (model, Chain::gilbert_elliott(p, r, bad, good))
}

fn markov(parameters: [f64; 5]) -> (Loss, Chain) {
    let [p13, p31, p32, p23, p14] = parameters.map(share);
    (Loss::markov(p13, Some(p31), Some(p32), Some(p23), Some(p14)), Chain::markov(parameters))
}

fn models() -> impl Iterator<Item = (Loss, Chain)> {
    GILBERT_ELLIOTT.map(gilbert_elliott).into_iter().chain(MARKOV.map(markov))
}

/// What becomes of each packet, and the state behind it.
fn run(model: &Loss) -> (Vec<bool>, Vec<u64>) {
    let mut state = 0;
    draws(N).map(|draw| (lost(model, &mut state, SEED, draw), state)).unzip()
}

/// The lengths of the runs of losses that have begun and ended.
fn runs(losses: &[bool]) -> Vec<usize> {
    let runs = losses.split(|lost| !lost).map(<[bool]>::len);
    runs.filter(|len| *len > 0).collect()
}

#[test]
fn the_solver_agrees_with_the_closed_forms() {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    for [p, r, bad, good] in GILBERT_ELLIOTT {
        let chain = Chain::gilbert_elliott(p, r, bad, good);
        let rate = (r * good + p * bad) / (p + r);
        assert!(near(chain.rate(1.0).0, rate), "{rate}");
        if good == 0.0 {
            // A loss means the bad state: the run goes on if that stays, and loses again.
            let goes_on = (1.0 - r) * bad;
            assert!(near(rate / chain.runs(1.0).0, 1.0 / (1.0 - goes_on)), "{goes_on}");
        }
        // Covariances fall by 1 - p - r a packet; summed up they give the rate's variance.
        let (falls, apart) = (1.0 - p - r, bad - good);
        let states = p * r / (p + r).powi(2) * apart * apart;
        let variance = rate * (1.0 - rate) + 2.0 * states * falls / (1.0 - falls);
        assert!(near(chain.rate(1.0).1, variance.sqrt()), "{variance}");
    }
    for [p13, p31, p32, p23, p14] in MARKOV {
        let chain = Chain::markov([p13, p31, p32, p23, p14]);
        // What enters a state leaves it: 3 by 2 and 1, 2 by 3, 4 by 1.
        let weights = [1.0, p13 * p32 / (p31 * p23), p13 / p31, p14];
        let sum: f64 = weights.iter().sum();
        for (found, weight) in chain.stationary().iter().zip(weights) {
            assert!(near(*found, weight / sum), "{found}, not {}", weight / sum);
        }
        let begins = (p13 + p14 + weights[1] * p23) / sum;
        assert!(near(chain.runs(1.0).0, begins), "{begins}");
    }
}

#[test]
fn as_much_is_lost_as_the_model_says() {
    for (model, chain) in models() {
        let (losses, _) = run(&model);
        let found = losses.iter().filter(|lost| **lost).count() as f64 / f64::from(N);
        let (rate, deviation) = chain.rate(f64::from(N));
        assert!((found - rate).abs() < SIGMAS * deviation, "{model:?}: {found}, not {rate}");
        assert!(deviation < rate * 0.02, "and narrowly enough to tell");
    }
}

#[test]
fn runs_of_losses_are_as_many_and_as_long_as_the_model_says() {
    for (model, chain) in models() {
        let (losses, _) = run(&model);
        let found = losses.windows(2).filter(|two| !two[0] && two[1]).count() as f64;
        let (begins, deviation) = chain.runs(f64::from(N));
        let off = (found / f64::from(N) - begins).abs();
        assert!(off < SIGMAS * deviation, "{model:?}: {found} runs, {begins} expected");

        let (rate, rate_deviation) = chain.rate(f64::from(N));
        let runs = runs(&losses);
        let mean = runs.iter().sum::<usize>() as f64 / runs.len() as f64;
        // A quotient is off by at most what both of its parts are off, together.
        let may = SIGMAS * (deviation / begins + rate_deviation / rate);
        let wanted = rate / begins;
        assert!((mean / wanted - 1.0).abs() < may, "{model:?}: mean {mean}, not {wanted}");
    }
}

/// Where each run begins anew, whatever was before, their lengths are independent, and a
/// chi-squared test fits: all but the general models of either kind.
#[test]
fn the_lengths_of_runs_are_distributed_as_the_model_says() {
    let general = [gilbert_elliott(GILBERT_ELLIOTT[0]).0, markov(MARKOV[0]).0];
    let mut tested = 0;
    for (model, chain) in models().filter(|(model, _)| !general.contains(model)) {
        let runs = runs(&run(&model).0);
        let total = runs.len() as f64;
        let lengths = chain.lengths(200);
        let mut expected: Vec<f64> = lengths.iter().map(|p| p * total).collect();
        // Each cell has to expect 20 at least; the last one takes what is longer.
        let cells = expected.iter().take_while(|e| **e >= 20.0).count();
        let rest = total - expected[..cells].iter().sum::<f64>();
        expected.truncate(cells);
        expected.push(rest);
        let counted = |cell: usize| runs.iter().filter(move |len| (**len - 1).min(cells) == cell);
        let sum: f64 = (0..=cells)
            .filter(|cell| expected[*cell] > 1e-6)
            .map(|cell| {
                let found = counted(cell).count() as f64;
                (found - expected[cell]).powi(2) / expected[cell]
            })
            .sum();
        let limit = chi_squared(cells as f64);
        assert!(sum < limit, "{model:?}: {sum} of at most {limit}, {cells} cells");
        tested += 1;
    }
    assert_eq!(tested, 7);
}

/// What a chi-squared value exceeds in one case of 10,000, by Wilson and Hilferty.
fn chi_squared(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 3.719 * part.sqrt()).powi(3)
}

#[test]
fn each_state_lasts_as_long_as_the_model_says() {
    for (model, chain) in MARKOV.map(markov) {
        let (_, states) = run(&model);
        for state in 0..4 {
            let found = states.iter().filter(|s| **s == state as u64).count() as f64 / f64::from(N);
            let (wanted, deviation) = chain.share(f64::from(N), |_, j| j == state);
            let off = (found - wanted).abs();
            assert!(off <= SIGMAS * deviation, "{model:?}, {state}: {found}, not {wanted}");
        }
    }
}

/// A burst in netem's sense is what lies between two times in state 1: losses, and what arrives
/// between them. Entered in state 3, it lasts `(1 + p32 / p23) / p31` packets.
#[test]
fn a_burst_with_arrivals_in_it_lasts_as_long_as_the_model_says() {
    let parameters @ [_, p31, p32, p23, _] = MARKOV[1];
    let (_, states) = run(&markov(parameters).0);
    let bursts: Vec<f64> = states
        .split(|state| *state == 0)
        .filter(|burst| !burst.is_empty())
        .map(|burst| burst.len() as f64)
        .collect();
    let n = bursts.len() as f64;
    let mean = bursts.iter().sum::<f64>() / n;
    let wanted = (1.0 + p32 / p23) / p31;
    // Bursts are independent. Their deviation is the sample's, which so many know to a few percent,
    // hence a tenth more.
    let variance = bursts.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (n - 1.0);
    assert!(n > 10_000.0, "{n} bursts");
    let off = (mean - wanted).abs();
    assert!(off < 1.1 * SIGMAS * (variance / n).sqrt(), "{mean}, not {wanted}");
}

#[test]
fn what_is_left_out_makes_losses_independent() {
    for model in [
        Loss::gilbert_elliott(share(0.1), None, None, None),
        Loss::markov(share(0.1), None, None, None, None),
    ] {
        let (losses, _) = run(&model);
        let lost = losses.iter().filter(|lost| **lost).count() as f64;
        let both = losses.windows(2).filter(|two| two[0] && two[1]).count() as f64;
        // Of independent losses a tenth is followed by another: a binomial share.
        let deviation = (0.1 * 0.9 / lost).sqrt();
        assert!((both / lost - 0.1).abs() < SIGMAS * deviation, "{model:?}: {both} of {lost}");
    }
}

/// What is a little wrong is refused: another parameter by a twentieth of itself.
#[test]
fn a_model_that_is_a_twentieth_off_is_found_out() {
    let [p, r, bad, good] = GILBERT_ELLIOTT[0];
    let (losses, _) = run(&gilbert_elliott([p * 1.05, r, bad, good]).0);
    let found = losses.iter().filter(|lost| **lost).count() as f64 / f64::from(N);
    let (rate, deviation) = Chain::gilbert_elliott(p, r, bad, good).rate(f64::from(N));
    assert!((found - rate).abs() > SIGMAS * deviation, "{found} and {rate}");

    let [p13, p31, p32, p23, p14] = MARKOV[0];
    let (losses, _) = run(&markov([p13, p31 * 1.05, p32, p23, p14]).0);
    let found = losses.iter().filter(|lost| **lost).count() as f64 / f64::from(N);
    let (rate, deviation) = Chain::markov(MARKOV[0]).rate(f64::from(N));
    assert!((found - rate).abs() > SIGMAS * deviation, "{found} and {rate}");
}
