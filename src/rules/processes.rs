//! Rules about processes: which nodes, what is done to them, when.

use super::compile::window;
use super::diagnostic::{Diagnostic, Sink};
use super::file::{Action as Step, RuleEntry};
use super::sets::{Sets, Side};
use super::table::{Fault, ProcessAction};
use crate::packet::NodeId;

/// Whether an entry is about processes, not packets.
pub(super) fn is_meant(entry: &RuleEntry) -> bool {
    entry.node.is_some() || entry.r#do.iter().any(|step| matches!(step.value, Step::Process(_)))
}

/// Compiles it. `None` if something is wrong, which is then reported.
pub(super) fn fault(
    entry: &RuleEntry,
    name: String,
    sets: Option<&mut Sets<'_>>,
    sink: &mut Sink,
) -> Option<Fault> {
    let before = sink.errors();
    let mut dynamic = false;
    let nodes = sets.and_then(|sets| {
        sets.asked_roles = false;
        let side = Side { set: Some(entry.node.as_ref()?), field: "node" };
        let (bits, rest) = sets.side(side, &name, sink)?;
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
    let window = window(entry, &mut push);
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
    if entry.node.is_none() {
        let message = format!("`{}` is done to a process, and no `node` is named", action.name());
        push(Diagnostic::error(message).at(span).field("do").help("add `node: leader`, or a name"));
    }
    let packets = [&entry.from, &entry.to].into_iter().flatten().map(|set| set.span);
    let packets = packets.chain(entry.between.as_ref().map(|between| between.span));
    for span in packets {
        let help = "name the nodes with `node`; what passes between them is for another rule";
        push(Diagnostic::error("a rule about processes has no links").at(span).help(help));
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
