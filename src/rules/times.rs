//! From the times of an entry to its [`Window`]: checked, drawn from the seed, cut to its phase.

use super::diagnostic::Diagnostic;
use super::file::{At, Range, RuleEntry, Times};
use super::phases::Phases;
use super::scalar::show;
use super::window::{Draws, Part, Window, drawn, key};
use crate::time::Nanos;

/// The shortest `for` and `every`: the verdict loop runs before everything else, and shorter
/// ones would keep it from packets.
pub(super) const TIME_MIN: Nanos = Nanos::from_millis(1);

/// What times are drawn from and counted from.
#[derive(Clone, Copy)]
pub(super) struct Clock<'a> {
    pub(super) seed: u64,
    pub(super) phases: &'a Phases,
}

/// When the rule of this name is active. For one that follows an event: when that counts, and what
/// is drawn for how long it lasts.
pub(super) fn window(
    entry: &RuleEntry,
    name: &str,
    clock: Clock<'_>,
    push: &mut impl FnMut(Diagnostic),
) -> Window {
    lengths(entry, push);
    let key = key(name, clock.seed);
    let (at, lasts, every) = (entry.at, entry.r#for, entry.every);
    let more = |range: Option<At<Range>>| range.map_or(Nanos::ZERO, |range| range.value.width());
    let least = |range: Option<At<Range>>| range.map(|range| range.value.low);
    let draws = Draws { key, lasts: more(lasts), every: more(every), whole: false };
    let draws = Some(draws).filter(|it| it.lasts > Nanos::ZERO || it.every > Nanos::ZERO);
    let (from, until) = clock.phases.of(entry, push);
    if entry.on.is_some() {
        // What stands beside it is looked at where events are.
        return Window { at: from, until, draws, ..Window::ALWAYS };
    }
    if at.is_some_and(|at| at.value.low == Window::SWITCH) {
        by_switch(entry, push);
        let lasts = least(lasts);
        return Window { at: Window::SWITCH, lasts, draws, ..Window::ALWAYS };
    }
    repeats(entry, push);
    let start =
        at.map_or(Nanos::ZERO, |at| at.value.low + drawn(key, Part::At, 0, at.value.width()));
    Window {
        at: from + start,
        lasts: least(lasts),
        every: least(every),
        times: match entry.times.as_ref().map(|times| times.value) {
            Some(Times::Number(n)) => Some(n),
            Some(Times::Unlimited) | None => None,
        },
        draws,
        until,
    }
}

/// Times that are wrong each by itself.
fn lengths(entry: &RuleEntry, push: &mut impl FnMut(Diagnostic)) {
    let mut wrong = |span, field: &str, message: String, help: &str| {
        push(Diagnostic::error(message).at(span).field(field).help(help));
    };
    if let Some(lasts) = entry.r#for.filter(|lasts| lasts.value.low == Nanos::ZERO) {
        let message = "a rule that lasts 0s can never match".to_owned();
        wrong(lasts.span, "for", message, "leave `for` out to keep it active until the end");
    }
    for (written, field) in [(entry.r#for, "for"), (entry.every, "every")] {
        let short = |time: &At<Range>| time.value.low > Nanos::ZERO && time.value.low < TIME_MIN;
        if let Some(time) = written.filter(short) {
            let message = format!("{} is shorter than 1ms", show(time.value.low));
            let help = "raftq would do nothing but start and end this rule: write at least 1ms";
            wrong(time.span, field, message, help);
        }
    }
    if let Some(times) = entry.times.filter(|times| times.value == Times::Number(0)) {
        let message = "a rule that becomes active 0 times can never match".to_owned();
        wrong(times.span, "times", message, "leave the rule out, or write at least 1");
    }
}

/// Times that do not fit together.
fn repeats(entry: &RuleEntry, push: &mut impl FnMut(Diagnostic)) {
    let mut wrong = |span, field: &str, message: String, help: &str| {
        push(Diagnostic::error(message).at(span).field(field).help(help));
    };
    match (entry.every, entry.r#for, entry.times.filter(|t| t.value != Times::Unlimited)) {
        (None, _, Some(times)) => {
            let help = "say how often it comes back, such as every: 30s";
            wrong(times.span, "times", "`times` needs `every` or `on`".to_owned(), help);
        }
        (Some(every), None, _) => {
            let help = "say how long each activation lasts, such as for: 5s";
            wrong(every.span, "every", "`every` needs `for`".to_owned(), help);
        }
        (Some(every), Some(lasts), _) if every.value.low < lasts.value.high => {
            let shown = [every.value.low, lasts.value.high].map(show);
            let is_drawn = every.value.is_drawn() || lasts.value.is_drawn();
            let message = if is_drawn {
                format!("it may begin anew after {}, and may last {}", shown[0], shown[1])
            } else {
                format!("it would begin anew every {}, but lasts {}", shown[0], shown[1])
            };
            let help = if is_drawn {
                "`every` counts from start to start: make its least at least the most of `for`"
            } else {
                "`every` counts from start to start: make it at least as long as `for`"
            };
            wrong(every.span, "every", message, help);
        }
        _ => {}
    }
}

/// What stands beside the word for a rule that waits to be switched on.
fn by_switch(entry: &RuleEntry, push: &mut impl FnMut(Diagnostic)) {
    let others = [
        (entry.every.map(|at| at.span), "every", "as often as somebody switches it on"),
        (entry.times.map(|at| at.span), "times", "as often as somebody switches it on"),
        (entry.r#in.as_ref().map(|at| at.span), "in", "when somebody switches it on, and no phase"),
    ];
    for (span, field, when) in others {
        let Some(span) = span else { continue };
        let wrong = Diagnostic::error(format!("`{field}` stands beside `at: switch`"));
        push(wrong.at(span).field(field).help(format!("it becomes active {when}")));
    }
}

/// When a rule that triggers a fault is armed: from each start on until the next one, since `for`
/// says when the fault is undone.
pub(super) fn armed(entry: &RuleEntry, name: &str, clock: Clock<'_>) -> Window {
    let window = window(entry, name, clock, &mut |_| {});
    if entry.on.is_some() {
        return Window { draws: None, ..window };
    }
    let draws = window.draws.filter(|it| it.every > Nanos::ZERO);
    let draws = draws.map(|it| Draws { lasts: Nanos::ZERO, whole: true, ..it });
    Window { lasts: window.every, draws, ..window }
}
