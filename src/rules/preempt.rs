//! Rules that a former one always pre-empts: they can never match.
//!
//! Only what one former rule does by itself is seen, not what several do together; and of the
//! rules that end the walk only the first [`ENDING_MAX`] are compared with those behind them,
//! so that thousands of rules do not take a quadratic time. It is a warning, not a proof.

use super::compile::Compiled;
use super::diagnostic::{Diagnostic, Sink, quote};
use super::table::{Filter, Rule, Window};

/// Rules that end the walk and are compared with all that follow.
const ENDING_MAX: usize = 128;

/// Warns of each rule that can never match.
pub(super) fn warn(rules: &[Compiled<'_>], sink: &mut Sink) {
    let mut ending: Vec<&Compiled<'_>> = Vec::new();
    for later in rules {
        let former = ending.iter().find(|former| preempts(former, later));
        if let Some(former) = former {
            let message =
                format!("it never matches: {} takes every packet before", quote(&former.rule.name));
            let span = |c: &Compiled<'_>| c.entry.name.as_ref().map_or(c.entry.span, |n| n.span);
            sink.push(
                Diagnostic::warning(message)
                    .at(span(later))
                    .first(span(former))
                    .rule(later.rule.name.as_str())
                    .help("rules are tried in the order of the file: put the narrower one first"),
            );
        } else if ending.len() < ENDING_MAX && later.rule.ends() {
            ending.push(later);
        }
    }
}

fn preempts(former: &Compiled<'_>, later: &Compiled<'_>) -> bool {
    // What is active or hit only at times takes nothing for sure.
    let timed = former.rule.on.is_none() && !former.rule.window.by_switch();
    let sure = timed && former.rule.sides.is_none();
    sure && is_weaker(&former.rule, &later.rule)
        && covers(&former.rule.window, &later.rule.window)
        && former.reach.covers(&later.reach)
}

/// Whether the former rule's filter lets through all that the later one's does.
fn is_weaker(former: &Rule, later: &Rule) -> bool {
    let (f, l): (&Filter, &Filter) = (&former.filter, &later.filter);
    // The age of a flow counts from the rule's own activation, so that it compares only
    // between rules that become active together.
    let same_age = f.flow == l.flow && former.window == later.window;
    f.chance.is_none()
        && f.message.is_none()
        && f.first.is_none()
        && (f.narrow.is_nothing() || f.narrow == l.narrow)
        && f.every_nth.is_none()
        && (f.proto.is_none() || f.proto == l.proto)
        && (f.port.is_none() || f.port == l.port)
        && (f.flow.is_none() || same_age)
}

/// Whether the former window is open whenever the later one is.
fn covers(former: &Window, later: &Window) -> bool {
    if former == later {
        return true;
    }
    let end = later.end();
    let open = former.activation(later.at);
    open.is_some_and(|(start, until)| start <= later.at && end <= until)
}
