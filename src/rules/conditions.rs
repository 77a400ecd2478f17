//! The conditions of `where`, checked against each other and given their meaning.

use super::actions::Open;
use super::diagnostic::{Diagnostic, Span};
use super::file::{Action as Step, RuleEntry, Where};
use super::impair::Part;
use super::messages::{self, Spoken};
use super::narrow::Narrow;
use super::table::{Bounds, Filter};
use super::written::Impair;
use crate::packet::Proto;

/// The most bytes of a packet on a loopback, whole.
const SIZE_MAX: u64 = 65_535 + 40;

pub(super) fn filter(
    entry: &RuleEntry,
    (spoken, open): (Spoken, &mut Open<'_>),
    push: &mut impl FnMut(Diagnostic),
) -> Filter {
    let tcp = messages::only_tcp(entry, push).then_some(Proto::Tcp);
    let Some(written) = &entry.r#where else { return Filter { proto: tcp, ..Filter::default() } };
    messages::counts(written, push);
    let tcp = tcp.or_else(|| of_tcp(written, push));
    Filter {
        proto: written.proto.map(|proto| proto.value).or(tcp),
        narrow: narrow(entry, written, open, push),
        message: messages::filter(written, spoken, push),
        every_nth: written.every_nth.map(|nth| nth.value),
        first: written.first.map(|first| first.value),
        port: written.port.map(|port| port.value),
        flow: written.flow.map(|flow| flow.value),
        // A chance of one is none, and spares the queue single segments.
        chance: written.chance.map(|chance| chance.value.0).filter(|share| *share < 1 << 32),
    }
}

/// Conditions that only TCP can meet.
fn of_tcp(written: &Where, push: &mut impl FnMut(Diagnostic)) -> Option<Proto> {
    let flags = written.flags.as_ref().map(|at| (at.span, "flags"));
    let (span, key) = flags.or(written.offset.as_ref().map(|at| (at.span, "offset")))?;
    if let Some(proto) = written.proto.filter(|proto| proto.value == Proto::Udp) {
        let wrong = Diagnostic::error(format!("UDP has no {key}: the rule can never match"));
        let help = "leave `proto` out, or the condition";
        push(wrong.at(span).first(proto.span).field(format!("where.{key}")).help(help));
    }
    Some(Proto::Tcp)
}

fn narrow(
    entry: &RuleEntry,
    written: &Where,
    open: &mut Open<'_>,
    push: &mut impl FnMut(Diagnostic),
) -> Narrow {
    let mut never = |bounds: Bounds, span: Span, most: u64, key: &str| {
        if bounds.least > most {
            let wrong = format!("no packet has more than {most}: the rule can never match");
            push(Diagnostic::error(wrong).at(span).field(format!("where.{key}")).help(
                "a GSO packet counts whole; the segments that it stands for are smaller still",
            ));
        }
    };
    for (bounds, key) in [(written.size, "size"), (written.payload, "payload")] {
        if let Some(at) = bounds {
            never(at.value, at.span, SIZE_MAX, key);
        }
    }
    too_little(entry, written, push);
    Narrow {
        dialled: written.dialled_by.map(|at| at.value),
        size: written.size.map(|at| at.value),
        payload: written.payload.map(|at| at.value),
        offset: written.offset.map(|at| at.value),
        flags: written.flags.map(|at| at.value),
        dscp: written.dscp.map(|at| at.value),
        ecn: written.ecn.map(|at| at.value),
        pattern: written.contains.as_ref().and_then(|at| open.pattern(at, push)),
    }
}

/// Payloads that are too short for what the rule wants of them.
fn too_little(entry: &RuleEntry, written: &Where, push: &mut impl FnMut(Diagnostic)) {
    let Some(payload) = written.payload else { return };
    let contains = written.contains.as_ref().map(|at| {
        let fields = &at.value;
        let from = fields.at.map_or(0, |at| u64::from(at.value));
        (at.span, "where.contains", from + fields.bytes.value.len() as u64)
    });
    let corrupts = entry.r#do.iter().filter_map(|step| match &step.value {
        Step::Impair(Impair::Corrupt(corrupt)) => Some((
            step.span,
            "do.corrupt",
            match corrupt.part {
                Part::Bit => 1,
                Part::Bytes { from, .. } => u64::from(from) + 1,
            },
        )),
        _ => None,
    });
    for (span, field, least) in contains.into_iter().chain(corrupts) {
        if payload.value.most < least {
            let wrong = format!("that takes a payload of at least {least} bytes: it can never be");
            let help = "ask for longer payloads, or for less of them";
            push(Diagnostic::error(wrong).at(span).first(payload.span).field(field).help(help));
        }
    }
}
