//! Who is disturbed, and when: directions, nodes chosen by chance, schedules, ports.

use crate::checks::{Check, Way, check, is_undisturbed, lateness, ms};
use crate::engine_support::lab::{End, Fate, Lab, led_by, udp};
use raftq::run::binding;
use raftq::time::Nanos;

/// All ways between the nodes.
const WAYS: [Way; 6] = [Way(1, 2), Way(1, 3), Way(2, 1), Way(2, 3), Way(3, 1), Way(3, 2)];

fn is_one_of(Way(from, to): Way, ways: &[(u8, u8)]) -> bool {
    ways.contains(&(from, to))
}

/// On these ways nothing arrives, on the others everything at once.
pub(crate) fn cut(ways: &'static [(u8, u8)]) -> Check {
    check(move |line| {
        let mut lab = line.lab();
        for way in WAYS {
            let number = lab.send(lab.now, &udp((way.0, 40_000), way.1, 100));
            let dropped = lab.fates[number].end == End::Dropped;
            assert_eq!(dropped, is_one_of(way, ways), "{} to {}", way.0, way.1);
            assert!(dropped || lab.fates[number].arrived());
        }
    })
}

/// On these ways everything is late by so much, on the others nothing.
pub(crate) fn late_between(ways: &'static [(u8, u8)], by: Nanos) -> Check {
    check(move |line| assert_late_between(&mut line.lab(), ways, by))
}

fn assert_late_between(lab: &mut Lab, ways: &[(u8, u8)], by: Nanos) {
    for way in WAYS {
        let wanted = if is_one_of(way, ways) { by } else { Nanos::ZERO };
        let found = lateness(lab, lab.now, way);
        assert_eq!(found, Some(wanted), "{} to {}", way.0, way.1);
    }
}

/// What `n` nodes send is late, each activation chooses others, and each node is chosen at times.
pub(crate) fn random(n: usize, by: Nanos) -> Check {
    check(move |line| {
        let mut chosen = [0; 3];
        for activation in 0..60 {
            let choice = binding::choice("rule 1", 7, activation);
            let mut lab = Lab::new(line.table(Some(led_by(1, choice))));
            let mut late = Vec::new();
            for way in WAYS {
                let now = lab.now;
                match lateness(&mut lab, now, way) {
                    Some(Nanos::ZERO) => {}
                    found if found == Some(by) => late.push(way.0),
                    found => panic!("{found:?}"),
                }
            }
            late.dedup();
            assert_eq!(late.len(), n, "{late:?}");
            for node in &late {
                chosen[usize::from(*node) - 1] += 1;
            }
            assert_eq!(lab.fates.iter().filter(|fate| fate.late() == by).count(), n * 2);
        }
        // Each node has its chance of n / 3 sixty times: none of them is off by four deviations.
        let (mean, deviation) = (20.0 * n as f64, (60.0 * 2.0 / 9.0_f64).sqrt());
        for times in chosen {
            assert!((f64::from(times) - mean).abs() < 4.0 * deviation, "{chosen:?}");
        }
    })
}

/// What n1 sends is late for so long, and where it comes back, again and again.
pub(crate) fn scheduled(lasts: Nanos, every: Option<Nanos>, by: Nanos) -> Check {
    check(move |line| assert_scheduled(line.lab(), Way(1, 2), (lasts, every), by))
}

/// The same of a node that is chosen by chance.
pub(crate) fn random_scheduled(lasts: Nanos, every: Nanos, by: Nanos) -> Check {
    check(move |line| {
        random(1, by)(line);
        let roles = Some(led_by(1, binding::choice("rule 1", 7, 1)));
        let is_late =
            |way: &Way| lateness(&mut Lab::new(line.table(roles)), Nanos::ZERO, *way) == Some(by);
        let way = WAYS.into_iter().find(is_late).expect("somebody is late");
        assert_scheduled(Lab::new(line.table(roles)), way, (lasts, Some(every)), by);
    })
}

fn assert_scheduled(mut lab: Lab, way: Way, (lasts, every): (Nanos, Option<Nanos>), by: Nanos) {
    let other = Way(way.1, way.0);
    for round in 0..3 {
        let start = Nanos(every.map_or(0, |every| every.0 * round));
        if round == 0 || every.is_some() {
            for at in [start, start + Nanos(lasts.0 / 2), start + lasts.saturating_sub(ms(1))] {
                assert!(!is_undisturbed(&mut lab, at, way), "disturbed at {at:?}");
                assert!(is_undisturbed(&mut lab, at, other));
            }
        }
        let over = start + lasts + by + ms(1);
        assert!(is_undisturbed(&mut lab, over, way), "and not at {over:?}");
    }
    lab.run_until(lab.now + by);
    let late = lab.fates.iter().filter(|fate| fate.late() == by).count();
    assert_eq!(late, if every.is_some() { 9 } else { 3 });
    assert!(lab.fates.iter().all(Fate::arrived));
}
