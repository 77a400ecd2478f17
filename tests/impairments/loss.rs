//! Loss: by chance, correlated, by both models, and of packets that are several segments.

use crate::chain::Chain;
use crate::engine_support::lab::{End, Lab, Packet, node};
use crate::engine_support::packet::{Build, flags};
use crate::measure::SIGMAS;
use crate::{EACH, assert_chance, dropped, ms, play};
use raftq::packet::Proto;
use raftq::time::Nanos;

#[test]
fn every_connection_loses_its_share_and_each_loss_hangs_on_the_one_before() {
    for (p, rho) in [(0.01, 0.0), (0.1, 0.0), (0.1, 0.25), (0.3, 0.6), (0.9, 0.25)] {
        let (p100, rho100) = (p * 100.0, rho * 100.0);
        let rule = format!(
            "{{ from: n1, do: {{ loss: {{ chance: {p100}%, correlation: {rho100}% }} }} }}"
        );
        for fates in play(&rule, ms(1)) {
            assert_chance(&rule, &dropped(&fates), p, rho);
        }
    }
}

/// `where: chance` and `drop` are another way to lose, and as long as nothing is correlated the
/// same.
#[test]
fn a_chance_and_a_drop_lose_their_share() {
    let rule = "{ from: n1, where: { chance: 20% }, do: { drop: { what: packets } } }";
    for fates in play(rule, ms(1)) {
        assert_chance(rule, &dropped(&fates), 0.2, 0.0);
    }
}

fn models() -> [(&'static str, Chain); 5] {
    [
        ("gemodel: { p: 2%, r: 30% }", Chain::gilbert_elliott(0.02, 0.3, 1.0, 0.0)),
        ("gemodel: { p: 5%, r: 25%, 1-h: 60% }", Chain::gilbert_elliott(0.05, 0.25, 0.6, 0.0)),
        (
            "gemodel: { p: 3%, r: 20%, 1-h: 70%, 1-k: 1% }",
            Chain::gilbert_elliott(0.03, 0.2, 0.7, 0.01),
        ),
        ("state: { p13: 2%, p31: 30% }", Chain::markov([0.02, 0.3, 0.0, 1.0, 0.0])),
        (
            "state: { p13: 5%, p31: 30%, p32: 10%, p23: 40%, p14: 1% }",
            Chain::markov([0.05, 0.3, 0.1, 0.4, 0.01]),
        ),
    ]
}

/// How much is lost, in how many runs, and so how long they are, in each connection by itself.
#[test]
fn every_connection_loses_in_bursts_as_its_model_says() {
    let n = EACH as f64;
    for (model, chain) in models() {
        let rule = format!("{{ from: n1, do: {{ loss: {{ {model} }} }} }}");
        for fates in play(&rule, ms(1)) {
            let lost = dropped(&fates);
            let rate = lost.iter().filter(|lost| **lost).count() as f64 / n;
            let runs = lost.windows(2).filter(|two| !two[0] && two[1]).count() as f64 / n;
            let (wanted, rate_off) = chain.rate(n);
            assert!((rate - wanted).abs() < SIGMAS * rate_off, "{model}: {rate}, not {wanted}");
            let (begins, runs_off) = chain.runs(n);
            assert!((runs - begins).abs() < SIGMAS * runs_off, "{model}: {runs}, not {begins}");
            // A quotient is off by at most what both of its parts are off, together.
            let (length, mean) = (rate / runs, wanted / begins);
            let off = SIGMAS * (rate_off / wanted + runs_off / begins);
            assert!((length / mean - 1.0).abs() < off, "{model}: {length}, not {mean}");
        }
    }
}

/// Where losses end with a fixed chance r, their runs are geometric: a chi-squared test of the
/// lengths 1, 2, ... of all connections together, which are independent.
#[test]
fn runs_of_the_simple_model_are_geometric() {
    let mut runs = Vec::new();
    for fates in play("{ from: n1, do: { loss: { gemodel: { p: 2%, r: 30% } } } }", ms(1)) {
        let lost = dropped(&fates);
        runs.extend(lost.split(|lost| !lost).map(<[bool]>::len).filter(|len| *len > 0));
    }
    let total = runs.len() as f64;
    let cells = 10_u8;
    let mut sum = 0.0;
    for cell in 1..=cells {
        let before = 0.7_f64.powi(i32::from(cell) - 1);
        let expected = total * if cell == cells { before } else { 0.3 * before };
        let found =
            runs.iter().filter(|len| (**len).min(usize::from(cells)) == usize::from(cell)).count()
                as f64;
        assert!(expected > 20.0, "a cell too small for the test");
        sum += (found - expected).powi(2) / expected;
    }
    // With 9 degrees of freedom 33.7 is exceeded in one case of 10,000.
    assert!(sum < 33.7, "{sum}");
}

/// What the kernel hands over as one packet is lost where one of its wire segments is: `arrives` is
/// the chance that four segments in a row arrive, of those that the model alone would have.
#[test]
fn a_packet_of_four_segments_is_lost_where_one_of_them_is() {
    let ends = (node(1, 40_000), node(2, 2380));
    let bits = flags("data").expect("a kind");
    let build = Build { seq: 1, ..Build::new(ends.0, ends.1, Proto::Tcp, bits, 4 * 1_460) };
    let packet = Packet::gso(&build, 1_500);
    assert_eq!(packet.view.segments, 4);
    let good = 1.0 - Chain::gilbert_elliott(0.02, 0.3, 1.0, 0.0).rate(1.0).0;
    // One behind another that arrives does so, too, where its draw is the same or another of those.
    let behind = |q: f64, rho: f64| q * (rho + (1.0 - rho) * q).powi(3);
    for (how, arrives, rho) in [
        ("loss: 5%", behind(0.95, 0.0), 0.0),
        ("loss: { chance: 10%, correlation: 60% }", behind(0.9, 0.6), 0.6),
        ("loss: { gemodel: { p: 2%, r: 30% } }", good * 0.98_f64.powi(3), 0.68_f64),
    ] {
        let mut lab = Lab::of(&format!("{{ from: n1, do: {{ {how} }} }}"));
        lab.stream(EACH, ms(1), &packet);
        let lost = lab.fates.iter().filter(|fate| fate.end == End::Dropped).count();
        let (found, p) = (lost as f64 / EACH as f64, 1.0 - arrives);
        // Packets of four depend on each other less than single segments do, at most by rho each.
        let spread = (1.0 + rho) / (1.0 - rho);
        let off = SIGMAS * (p * (1.0 - p) * spread / EACH as f64).sqrt();
        assert!((found - p).abs() < off, "{how}: {found}, {p} +- {off}");
    }
}

/// A loss that is over is over: nothing is lost before the rule begins nor behind its end.
#[test]
fn nothing_is_lost_outside_of_a_rules_time() {
    let rule = "{ from: n1, do: { loss: 50% }, at: 5s, for: 5s }";
    for fates in play(rule, ms(1)) {
        let lost = dropped(&fates);
        assert!(lost[..5_000].iter().chain(&lost[10_000..]).all(|lost| !lost));
        assert_chance(rule, &lost[5_000..10_000], 0.5, 0.0);
        assert!(fates.iter().all(|fate| fate.late() == Nanos::ZERO));
    }
}
