//! Connections, links and rules know nothing of each other; the same repeats, and only the same.

use crate::engine_support::lab::{Fate, Lab, udp};
use crate::measure::SIGMAS;
use crate::{CONNECTIONS, EACH, dropped, ms, numbers, play, played};
use raftq::time::Nanos;

/// Two sequences go together no more than by chance: a mean of products of standardised values,
/// each sequence with a correlation of its own. The variance of such a product's mean is
/// `(1 + rho^2) / (1 - rho^2)` over n, as its parts correlate by rho^2k.
fn assert_apart(what: &str, a: &[f64], b: &[f64], rho: f64) {
    let n = a.len() as f64;
    let standard = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        values.iter().map(|x| (x - mean) / deviation).collect()
    };
    let found: f64 = standard(a).iter().zip(standard(b)).map(|(a, b)| a * b).sum::<f64>() / n;
    let off = SIGMAS * ((1.0 + rho * rho) / (1.0 - rho * rho) / n).sqrt();
    assert!(found.abs() < off, "{what}: {found}, 0 +- {off}");
}

#[test]
fn each_connection_has_its_own_losses() {
    // The simple model's losses correlate by 1 - p - r.
    for (how, rho) in [
        ("loss: 20%", 0.0),
        ("loss: { chance: 20%, correlation: 50% }", 0.5),
        ("loss: { gemodel: { p: 10%, r: 30% } }", 0.6),
    ] {
        let connections = play(&format!("{{ from: n1, do: {{ {how} }} }}"), ms(1));
        let lost: Vec<Vec<f64>> =
            connections.iter().map(|fates| numbers(&dropped(fates))).collect();
        for (i, a) in lost.iter().enumerate() {
            for b in &lost[..i] {
                assert_apart(how, a, b, rho);
            }
        }
    }
}

#[test]
fn each_connection_has_its_own_delays() {
    for rho in [0, 60] {
        let rule = format!(
            "{{ from: n1, do: {{ delay: {{ by: 20ms, jitter: 10ms, order: free, \
             correlation: {rho}% }} }} }}"
        );
        let connections = play(&rule, ms(1));
        let late = |fates: &Vec<Fate>| -> Vec<f64> {
            fates.iter().map(|fate| fate.late().0 as f64).collect()
        };
        let late: Vec<Vec<f64>> = connections.iter().map(late).collect();
        for (i, a) in late.iter().enumerate() {
            for b in &late[..i] {
                assert_apart(&rule, a, b, f64::from(rho) / 100.0);
            }
        }
    }
}

/// Both directions of a connection, and links beside each other.
#[test]
fn each_link_has_its_own_losses() {
    let mut lab = Lab::of("{ do: { loss: 20% } }");
    let ways = [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)];
    let packets = ways.map(|(from, to)| udp((from, 2_380), to, 100));
    for i in 0..EACH as u64 {
        for packet in &packets {
            lab.send(Nanos(1_000_000 * i), packet);
        }
    }
    let lost: Vec<Vec<f64>> = (0..ways.len())
        .map(|way| {
            let fates: Vec<Fate> = lab.fates.iter().skip(way).step_by(6).cloned().collect();
            numbers(&dropped(&fates))
        })
        .collect();
    for (i, a) in lost.iter().enumerate() {
        for b in &lost[..i] {
            assert_apart("links", a, b, 0.0);
        }
    }
}

/// Slots belong to links: those of another link, another rule or another seed are others.
#[test]
fn each_link_has_its_own_slots() {
    let slots = |name: &str, top: &str, to: u8| -> Vec<f64> {
        let rule = format!("{{ name: {name}, from: n1, do: {{ slot: 10ms..30ms }} }}");
        let mut lab = Lab::with(&[&rule], top);
        // Each packet opens a slot of its own.
        lab.stream(5_000, ms(40), &udp((1, 40_000), to, 100));
        lab.run_until(lab.now + ms(40));
        lab.fates.iter().map(|fate| fate.late().0 as f64).collect()
    };
    let one = slots("a", "seed: 5", 2);
    assert_eq!(one, slots("a", "seed: 5", 2));
    assert_apart("another link", &one, &slots("a", "seed: 5", 3), 0.0);
    assert_apart("another rule", &one, &slots("b", "seed: 5", 2), 0.0);
    assert_apart("another seed", &one, &slots("a", "seed: 6", 2), 0.0);
}

/// Two rules that lose a fifth each lose 36 % together, and what is late hangs on neither.
#[test]
fn rules_and_actions_draw_by_themselves() {
    let rules = ["{ from: n1, do: { loss: 20% } }", "{ from: n1, do: { loss: 20% } }"];
    for fates in played(&mut Lab::with(&rules, ""), ms(1)) {
        crate::assert_chance("two rules", &dropped(&fates), 0.36, 0.0);
    }
    let rule = "{ from: n1, do: [{ delay: { by: 20ms, jitter: 10ms, order: free } }, \
                { duplicate: 50% }, { corrupt: 50% }] }";
    for fates in play(rule, ms(1)) {
        let late: Vec<f64> = fates.iter().map(|fate| fate.late().0 as f64).collect();
        let copied: Vec<bool> = fates.iter().map(|fate| !fate.copies.is_empty()).collect();
        let changed: Vec<bool> = fates.iter().map(|fate| fate.changed.is_some()).collect();
        assert_apart("late and copied", &late, &numbers(&copied), 0.0);
        assert_apart("late and changed", &late, &numbers(&changed), 0.0);
        assert_apart("copied and changed", &numbers(&copied), &numbers(&changed), 0.0);
    }
}

/// A rule with everything that is drawn.
const ALL: [&str; 3] = [
    "{ name: a, from: n1, do: { loss: { gemodel: { p: 2%, r: 30% } } } }",
    "{ name: b, from: n1, do: [{ delay: { by: 20ms, jitter: 5ms, distribution: pareto, \
     correlation: 20% } }, { reorder: { chance: 10%, gap: 3 } }] }",
    "{ name: c, from: n1, do: [{ duplicate: 10% }, { corrupt: 10% }] }",
];

/// What became of each packet but for when it was sent: how late it was, too, where packets are so
/// far apart that none waits for another.
fn outcome(rules: &[&str], top: &str, port: u16, apart: Nanos) -> Vec<String> {
    let mut lab = Lab::with(rules, top);
    for i in 0..2_000 {
        for connection in 0..CONNECTIONS as u16 {
            lab.send(Nanos(apart.0 * i), &udp((1, port + connection * 7), 2, 100));
        }
    }
    lab.run_until(lab.now + Nanos::from_secs(1));
    let body = |bytes: &[u8]| bytes[28..].to_vec();
    let tell = |fate: &Fate| {
        let (end, late) = (fate.end, fate.late());
        let changed = fate.changed.as_deref().map(body);
        format!("{end:?} {late:?} {} {changed:?}", fate.copies.len())
    };
    lab.fates.iter().map(tell).collect()
}

#[test]
fn what_is_drawn_hangs_on_the_seed_and_not_on_ports_or_times() {
    let once = outcome(&ALL, "seed: 5", 40_000, ms(100));
    assert_eq!(once, outcome(&ALL, "seed: 5", 40_000, ms(100)));
    assert_eq!(once, outcome(&ALL, "seed: 5", 20_000, ms(100)), "other ports");
    assert_eq!(once, outcome(&ALL, "seed: 5", 40_000, ms(170)), "other times");
    let other = outcome(&ALL, "seed: 6", 40_000, ms(100));
    let alike = once.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(alike < once.len() / 2, "another seed: {alike} of {} alike", once.len());
}

/// The order of rules and what stands between them is no part of a draw; the name of a rule is.
#[test]
fn what_is_drawn_hangs_on_the_name_of_its_rule_and_not_on_its_place() {
    let outcome = |rules: &[&str]| outcome(rules, "seed: 5", 40_000, ms(100));
    let alone = outcome(&ALL[1..2]);
    let between = "{ name: x, from: n1, do: { mark: 1 } }";
    let losing = "{ name: y, from: n3, do: { loss: 50% } }";
    assert_eq!(alone, outcome(&[between, losing, ALL[1]]));
    assert_ne!(alone, outcome(&[&ALL[1].replace("name: b", "name: z")]));
}
