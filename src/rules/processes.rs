//! Rules about processes: which nodes, what is done to them, when.
//!
//! With links or `where` it is a packet that triggers what is done: then it becomes a fault and
//! also a rule among the others, which is armed at its time and triggers the fault once.

use super::diagnostic::{Diagnostic, Sink};
use super::file::{Action as Step, RuleEntry};
use super::sets::{Sets, Side};
use super::table::{Action, Fault, OpenSet, ProcessAction, Rule, Trigger, Window};
use super::times::{self, Clock};
use crate::packet::NodeId;
use crate::time::Nanos;

/// Whether an entry is about processes, not packets.
pub(super) fn is_meant(entry: &RuleEntry) -> bool {
    entry.node.is_some() || entry.r#do.iter().any(|step| matches!(step.value, Step::Process(_)))
}

/// Whether a packet triggers it.
pub(super) fn is_triggered(entry: &RuleEntry) -> bool {
    let links = entry.from.is_some() || entry.to.is_some() || entry.between.is_some();
    is_meant(entry) && (links || entry.r#where.is_some() || entry.on.is_some())
}

/// The nodes of a fault that follows an event; [`fault`] complains of what is wrong with them.
pub(super) fn open_node(entry: &RuleEntry, sets: &mut Sets<'_>) -> OpenSet {
    let side = Side { set: entry.node.as_ref(), field: "node" };
    let event = entry.on.map(|on| on.value);
    let node = side.set.and_then(|_| sets.open_side(side, event, "", &mut Sink::default()));
    node.unwrap_or_default()
}

/// The rule whose first packet triggers a fault, the table's `index`-th.
pub(super) fn trigger(entry: &RuleEntry, rule: Rule, fault: &Fault, index: usize) -> Rule {
    let named = |bits, node: &NodeId| bits | 1 << node.0;
    let trigger = Trigger {
        fault: index as u16,
        nodes: entry.node.as_ref().map_or(0, |_| fault.nodes.iter().fold(0, named)),
        drops_held: fault.action == ProcessAction::Crash,
    };
    // The fault's nodes may depend on who leads, where its links do not.
    Rule { actions: vec![Action::Trigger(trigger)], dynamic: rule.dynamic || fault.dynamic, ..rule }
}

/// Compiles it. `None` if something is wrong, which is then reported.
pub(super) fn fault(
    entry: &RuleEntry,
    name: String,
    sets: Option<&mut Sets<'_>>,
    clock: Clock<'_>,
    sink: &mut Sink,
) -> Option<Fault> {
    let before = sink.errors();
    let mut dynamic = false;
    let nodes = sets.and_then(|sets| {
        sets.asked_roles = false;
        if entry.node.is_none() && is_triggered(entry) {
            return Some(0);
        }
        let side = Side { set: Some(entry.node.as_ref()?), field: "node" };
        let (bits, rest) = match entry.on {
            // Whom the words mean, the engine tells.
            Some(on) => sets
                .open_side(side, Some(on.value), &name, sink)
                .map(|open| (open.named, open.rest))?,
            None => sets.side(side, &name, sink)?,
        };
        dynamic = sets.asked_roles;
        if rest {
            let wrong = Diagnostic::error("`rest` has no other side here").help("name the nodes");
            sink.push(wrong.at(entry.node.as_ref()?.span).rule(name.as_str()).field("node"));
        }
        Some(bits)
    });
    if entry.broken {
        return None;
    }
    let mut push = |wrong: Diagnostic| sink.push(wrong.rule(name.as_str()));
    let window = fault_window(entry, &name, clock, &mut push);
    let action = match entry.r#do.as_slice() {
        [step] => match step.value {
            Step::Process(action) => Some(action),
            _ => None,
        },
        _ => None,
    };
    let span = entry.r#do.first().map_or(entry.span, |step| step.span);
    let Some(action) = action else {
        let words = ProcessAction::words();
        let help =
            format!("write one of {words}; packets are for rules with `from`, `to` or `between`");
        push(
            Diagnostic::error("`node` is about a process, and this is done to packets")
                .at(span)
                .field("do")
                .help(help),
        );
        return None;
    };
    if entry.node.is_none() && !is_triggered(entry) {
        let message = format!("`{}` is done to a process, and no `node` is named", action.name());
        push(
            Diagnostic::error(message)
                .at(span)
                .field("do")
                .help("add `node: leader`, or a name; or `from:`, for the sender of a packet"),
        );
    }
    if !action.silences() && entry.on.is_some() {
        let message = format!("`{}` cannot follow an event", action.name());
        let help = "only what is done to a process at once can: kill, crash, pause, restart, wipe";
        push(Diagnostic::error(message).at(span).field("do").help(help));
    } else if !action.silences() && is_triggered(entry) {
        let message = format!("`{}` cannot be triggered by a packet", action.name());
        let help = "leave `from`, `to`, `between` and `where` out: it is done at a time";
        push(Diagnostic::error(message).at(span).field("do").help(help));
    }
    if let Some(lasts) =
        entry.r#for.filter(|_| action.undone_by().is_none() && entry.every.is_none())
    {
        let message = format!("`{}` is over at once and cannot last", action.name());
        let lasting = ProcessAction::ALL.into_iter().filter(|one| one.undone_by().is_some());
        let lasting: Vec<&str> = lasting.map(ProcessAction::name).collect();
        let help = format!("leave `for` out, or write one of {}", lasting.join(", "));
        push(Diagnostic::error(message).at(lasts.span).field("for").help(help));
    }
    let nodes = nodes.filter(|_| sink.errors() == before)?;
    let nodes = (0..128).filter(|i| nodes & (1 << i) != 0).map(NodeId).collect();
    let optional = entry.optional.is_some_and(|optional| optional.value);
    Some(Fault { name, action, nodes, window, dynamic, optional })
}

/// When a fault is done and undone; after an event, how long behind it that is.
fn fault_window(
    entry: &RuleEntry,
    name: &str,
    clock: Clock<'_>,
    push: &mut impl FnMut(Diagnostic),
) -> Window {
    let window = times::window(entry, name, clock, push);
    let lasts = entry.r#for.map(|lasts| lasts.value.low);
    if entry.on.is_some() { Window { lasts, at: Nanos::ZERO, ..window } } else { window }
}
