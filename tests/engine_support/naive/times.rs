//! The engine's stupid twin: when a rule is active, by definition.

use raftq::rules::table::Rule;
use raftq::time::Nanos;

/// Start and end of a rule's activation of that number, counted from 0.
fn nth(rule: &Rule, k: u64) -> Option<(Nanos, Nanos)> {
    let window = &rule.window;
    let times = match (window.every, window.times) {
        (None, _) => 1,
        (Some(_), times) => times.map_or(u64::MAX, u64::from),
    };
    let start = Nanos(window.at.0 + k * window.every.map_or(0, |every| every.0));
    (k < times).then_some((start, window.lasts.map_or(Nanos::MAX, |lasts| start + lasts)))
}

/// The activation that would cover a time, were each as long as its period.
fn number(rule: &Rule, now: Nanos) -> u64 {
    rule.window.every.map_or(0, |every| now.saturating_sub(rule.window.at).0 / every.0)
}

/// Which activation of a rule covers a time.
pub(super) fn activation(rule: &Rule, now: Nanos) -> Option<u64> {
    let k = number(rule, now);
    nth(rule, k).filter(|&(start, end)| start <= now && now < end).map(|_| k)
}

/// Starts and ends of a rule around a time.
pub(super) fn edges(rule: &Rule, now: Nanos) -> impl Iterator<Item = Nanos> {
    let k = number(rule, now);
    let around = [nth(rule, k), nth(rule, k + 1)];
    around.into_iter().flatten().flat_map(|(start, end)| [start, end])
}
