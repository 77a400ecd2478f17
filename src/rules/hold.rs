//! Whether a queue can hold what the delays of a table ask for.
//!
//! A packet that is delayed by `d` waits in the queue; at `max_rate` packets a second up to
//! `d * max_rate` wait together, and at most [`HELD_MAX`] may. Delays add up, so the sum is
//! taken over the rules that one packet can meet: on the same link, at the same time, and
//! with filters that do not exclude each other (TCP or UDP; of the ports at most two).
//!
//! Counter-example to adding up everything: one rule delays TCP by 2 s, another UDP by 2 s.
//! No packet waits 4 s, and 20,000 packets a second fill the queue no further than 2 s do.
//!
//! The work is bounded by [`WORK_MAX`]; if it does not suffice, a warning says so. At run time
//! the limit holds anyway, and what it drops is counted.

use super::compile::Compiled;
use super::diagnostic::{Diagnostic, Sink, quote};
use super::file::Action as Step;
use super::scalar::show;
use super::table::{Action, HELD_MAX, Rule, What, Window};
use super::written::Impair;
use crate::packet::{LinkId, Proto};
use crate::time::Nanos;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault};

/// Rules looked at, summed over links and times.
const WORK_MAX: usize = 50_000_000;

/// Activations of one rule that are compared with other rules.
const ACTIVATIONS_MAX: usize = 64;

const SECOND: u128 = 1_000_000_000;

/// Reports delays that the queue cannot hold.
pub(super) fn check(
    rules: &[Compiled<'_>],
    max_rate: u32,
    nodes: usize,
    link_name: &dyn Fn(LinkId) -> String,
    sink: &mut Sink,
) {
    let all: Nanos = rules.iter().map(|c| longest(&c.rule)).fold(Nanos::ZERO, |a, b| a + b);
    // Nearly always even the sum of everything fits.
    if fits(all, max_rate) {
        return;
    }
    let mut reported = HashSet::new();
    let mut work = WORK_MAX;
    for (link, met) in kinds_of_links(rules, nodes) {
        let Some(worst) = worst(rules, &met, max_rate, &mut work) else { continue };
        if reported.insert(worst.rules.clone()) {
            sink.push(too_much(rules, &worst, max_rate, &link_name(link)));
        }
    }
    if work == 0 {
        sink.push(
            Diagnostic::warning("not every delay was checked against the queue: too many rules")
                .help("what a full queue cannot hold is dropped and counted at run time"),
        );
    }
}

fn fits(delay: Nanos, max_rate: u32) -> bool {
    u128::from(delay.0) * u128::from(max_rate) <= u128::from(HELD_MAX) * SECOND
}

/// How long one rule can hold a packet.
fn longest(rule: &Rule) -> Nanos {
    let one = |action: &Action| match action {
        Action::Delay(delay) => delay.longest(),
        Action::Rate(rate) => rate.limit,
        // One slot after another, where they are full: how many, nobody knows before.
        Action::Slot(slot) => slot.every.longest(),
        // How long a hold lasts says little about how much comes meanwhile: TCP stops soon.
        Action::Hold(_)
        | Action::Accept
        | Action::Drop(_)
        | Action::Lose(_)
        | Action::Reorder(_)
        | Action::Duplicate(_)
        | Action::Corrupt(_)
        | Action::Reject(_)
        | Action::Mark(_)
        | Action::Reset
        | Action::Stall { .. }
        | Action::Trigger(_) => Nanos::ZERO,
    };
    // What is dropped in the end does not wait.
    if matches!(
        rule.actions.last(),
        Some(Action::Drop(What::Packets) | Action::Reset | Action::Reject(_))
    ) {
        return Nanos::ZERO;
    }
    rule.actions.iter().map(one).fold(Nanos::ZERO, |a, b| a + b)
}

/// Whether nothing that the rule could meet, on its links, goes past it.
fn ends_all(rule: &Rule) -> bool {
    let filter = &rule.filter;
    let narrow = filter.port.is_some()
        || filter.flow.is_some()
        || !filter.narrow.is_nothing()
        || filter.message.is_some()
        || filter.every_nth.is_some()
        || filter.first.is_some()
        || filter.chance.is_some();
    rule.ends() && !narrow && rule.on.is_none() && rule.sides.is_none()
}

/// Links that meet the same rules behave alike: one of each kind, with the rules it meets.
fn kinds_of_links(rules: &[Compiled<'_>], nodes: usize) -> Vec<(LinkId, Vec<usize>)> {
    let hasher = BuildHasherDefault::<rustc_hash::FxHasher>::default();
    let relevant: Vec<usize> = (0..rules.len())
        .filter(|i| longest(&rules[*i].rule) > Nanos::ZERO || ends_all(&rules[*i].rule))
        .collect();
    let mut kinds = vec![0_u64; nodes * nodes];
    for i in &relevant {
        for from in 0..nodes {
            let mut row = rules[*i].reach.row(from as u16);
            while row != 0 {
                let kind = &mut kinds[from * nodes + row.trailing_zeros() as usize];
                *kind = hasher.hash_one((*kind, *i + 1));
                row &= row - 1;
            }
        }
    }
    let mut seen = HashSet::new();
    let new = (0..nodes * nodes).filter(|link| kinds[*link] != 0 && seen.insert(kinds[*link]));
    let met = |link: usize| {
        let meets = |i: &usize| rules[*i].reach.row((link / nodes) as u16) >> (link % nodes) & 1;
        relevant.iter().copied().filter(|i| meets(i) == 1).collect()
    };
    new.map(|link| (LinkId(link as u16), met(link))).collect()
}

/// The largest sum of delays on a link.
struct Worst {
    sum: Nanos,
    at: Nanos,
    rules: Vec<usize>,
}

fn worst(rules: &[Compiled<'_>], met: &[usize], max_rate: u32, work: &mut usize) -> Option<Worst> {
    let sum = met.iter().fold(Nanos::ZERO, |sum, i| sum + longest(&rules[*i].rule));
    if fits(sum, max_rate) {
        return None;
    }
    let mut worst: Option<Worst> = None;
    for at in edges(rules, met) {
        if *work < met.len() {
            *work = 0;
            break;
        }
        *work -= met.len();
        for proto in [Proto::Tcp, Proto::Udp] {
            let (sum, rules) = held(rules, met, at, proto);
            if !fits(sum, max_rate) && worst.as_ref().is_none_or(|worst| sum > worst.sum) {
                worst = Some(Worst { sum, at, rules });
            }
        }
    }
    worst
}

/// The times at which the sum can grow: a delay begins, or a rule that kept packets from
/// later ones ends.
fn edges(rules: &[Compiled<'_>], met: &[usize]) -> Vec<Nanos> {
    let mut edges = Vec::new();
    for i in met {
        let window = window(&rules[*i].rule);
        let mut next = window.activation(Nanos::ZERO);
        for _ in 0..ACTIVATIONS_MAX {
            let Some((start, end)) = next else { break };
            edges.extend([start, end]);
            next = if end == Nanos::MAX { None } else { window.activation(end) };
        }
    }
    edges.sort_unstable();
    edges.dedup();
    edges.retain(|edge| *edge < Nanos::MAX);
    edges
}

/// When a rule may be active: one that waits to be switched on, at any time.
fn window(rule: &Rule) -> Window {
    if rule.window.by_switch() { Window::ALWAYS } else { rule.window }
}

/// The longest that a packet can be held at a time, and by which rules.
fn held(rules: &[Compiled<'_>], met: &[usize], at: Nanos, proto: Proto) -> (Nanos, Vec<usize>) {
    let mut base = (Nanos::ZERO, Vec::new());
    let mut ports: BTreeMap<u16, (Nanos, Vec<usize>)> = BTreeMap::new();
    for i in met {
        let rule = &rules[*i].rule;
        let active = window(rule).activation(at).is_some_and(|(start, _)| start <= at);
        if !active || rule.filter.proto.is_some_and(|only| only != proto) {
            continue;
        }
        let delay = longest(rule);
        if delay > Nanos::ZERO {
            let sum = match rule.filter.port {
                Some(port) => ports.entry(port).or_default(),
                None => &mut base,
            };
            sum.0 = sum.0 + delay;
            sum.1.push(*i);
        }
        if ends_all(rule) {
            break;
        }
    }
    // A packet has two ports, so it meets the rules of two at most.
    let mut ports: Vec<_> = ports.into_values().collect();
    ports.sort_by_key(|(sum, _)| std::cmp::Reverse(*sum));
    for (sum, rules) in ports.into_iter().take(2) {
        base.0 = base.0 + sum;
        base.1.extend(rules);
    }
    base.1.sort_unstable();
    base
}

fn too_much(rules: &[Compiled<'_>], worst: &Worst, max_rate: u32, link: &str) -> Diagnostic {
    let packets = u128::from(worst.sum.0) * u128::from(max_rate) / SECOND;
    let sum = show(worst.sum);
    let numbers =
        format!("at {max_rate} packets/s that is {packets} packets; at most {HELD_MAX} are held");
    let message = match worst.rules.as_slice() {
        [_] => format!("this delay can take {sum}: {numbers}"),
        several => {
            let names: Vec<String> =
                several.iter().take(4).map(|i| quote(&rules[*i].rule.name)).collect();
            let more = if several.len() > names.len() { " and more" } else { "" };
            format!(
                "from {} on, the delays of {}{more} add up to {sum} on {link}: {numbers}",
                show(worst.at),
                names.join(", ")
            )
        }
    };
    let longest = u128::from(HELD_MAX) * SECOND / u128::from(max_rate);
    // A round figure is easier to write down.
    let longest = if longest > 1_000_000 { longest / 1_000_000 * 1_000_000 } else { longest };
    let rate = u128::from(HELD_MAX) * SECOND / u128::from(worst.sum.0);
    let most = format!("delay by at most {} in all", show(Nanos(longest as u64)));
    let help = match rate {
        0 => most,
        rate => format!("{most}, or set cluster.max_rate to at most {rate}"),
    };
    let wrong = Diagnostic::error(message).help(help);
    let largest = worst.rules.iter().max_by_key(|i| longest_of(rules, **i));
    match largest.map(|i| &rules[*i]) {
        Some(blamed) => {
            let delay = blamed.entry.r#do.iter().find_map(|step| Some((step, field(&step.value)?)));
            let (span, field) =
                delay.map_or((blamed.entry.span, "do"), |(step, field)| (step.span, field));
            wrong.at(span).rule(blamed.rule.name.as_str()).field(field)
        }
        None => wrong,
    }
}

/// The field of a step that makes packets wait.
fn field(step: &Step) -> Option<&'static str> {
    match step {
        Step::Delay(_) => Some("do.delay"),
        Step::Impair(Impair::Rate(_)) => Some("do.rate"),
        Step::Impair(Impair::Slot(_)) => Some("do.slot"),
        _ => None,
    }
}

fn longest_of(rules: &[Compiled<'_>], i: usize) -> Nanos {
    longest(&rules[i].rule)
}
