//! What rules ask of Raft, checked: messages in `where`, and the events of `on`.

use super::diagnostic::{Diagnostic, Sink, Span, quote};
use super::file::{Action as Step, At, Cluster, RuleEntry, Times, Where};
use super::processes;
use super::scalar::show;
use super::table::{MessageFilter, On, Reject};
use super::times::TIME_MIN;
use super::written::Impair;
use crate::packet::Proto;
use crate::time::Nanos;
use crate::wire::message::NAME_MAX;
use crate::wire::{Groups, Kind, Protocol};

/// What a cluster says of its protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spoken {
    pub(super) protocol: Option<Protocol>,
    /// Whether it says nothing, as opposed to something that was refused.
    pub(super) lacks: bool,
}

/// The protocol of a cluster, and the group that counts.
pub(super) fn spoken(cluster: Option<&Cluster>, sink: &mut Sink) -> (Spoken, Option<String>) {
    let Some(cluster) = cluster else { return (Spoken::default(), None) };
    let protocol = cluster.protocol.map(|at| at.value);
    let spoken = Spoken { protocol, lacks: cluster.lacks_protocol };
    let group = cluster.group.as_ref();
    if let Some(wrong) = group.and_then(|group| wrong_group(group, spoken)) {
        sink.push(wrong.field("cluster.group"));
    }
    (spoken, group.map(|group| group.value.clone()))
}

impl Spoken {
    /// Says what is missing where something needs the messages of the cluster.
    pub(super) fn needs(self, what: &str, span: Span) -> Option<Diagnostic> {
        let words = Protocol::ALL.map(Protocol::word).join(", ");
        let wrong = format!("{what} is read on the wire, and the cluster names no protocol");
        let help = format!("add `protocol:` to `cluster`: one of {words}");
        self.lacks.then(|| Diagnostic::error(wrong).at(span).help(help))
    }
}

fn wrong_group(group: &At<String>, spoken: Spoken) -> Option<Diagnostic> {
    if let Some(wrong) = spoken.needs("a group", group.span) {
        return Some(wrong);
    }
    if group.value.strip_suffix('*').unwrap_or(&group.value).len() > NAME_MAX {
        let message = format!("of a group's name only {NAME_MAX} bytes are kept");
        let help = format!("end it with a `*` behind at most {NAME_MAX} bytes");
        return Some(Diagnostic::error(message).at(group.span).help(help));
    }
    let protocol = spoken.protocol.filter(|protocol| protocol.word() != "nats")?;
    let message = format!("{} has one Raft group, which has no name", quote(protocol.word()));
    Some(Diagnostic::error(message).at(group.span).help("leave `group` out: it is for nats"))
}

/// What `where` asks of messages; none where it asks nothing.
pub(super) fn filter(
    written: &Where,
    spoken: Spoken,
    push: &mut impl FnMut(Diagnostic),
) -> Option<MessageFilter> {
    let kinds = written.message.as_deref();
    let spans = [
        kinds.and_then(|kinds| kinds.first()).map(|kind| kind.span),
        written.term.map(|at| at.span),
        written.entries.map(|at| at.span),
        written.from_role.map(|at| at.span),
        written.granted.map(|at| at.span),
        written.group.as_ref().map(|at| at.span),
    ];
    let keys = ["message", "term", "entries", "from_role", "granted", "group"];
    let (span, key) = spans.into_iter().zip(keys).find_map(|(span, key)| Some((span?, key)))?;
    if let Some(wrong) = spoken.needs(&format!("`{key}`"), span) {
        push(wrong.field(format!("where.{key}")));
    }
    if let Some(proto) = written.proto.filter(|proto| proto.value == Proto::Udp) {
        let wrong = Diagnostic::error("Raft messages are read on TCP: over UDP none ever matches");
        push(wrong.at(proto.span).first(span).field("where.proto").help("leave `proto` out"));
    }
    let kinds = kinds.map_or(MessageFilter::ANY.kinds, |kinds| {
        kinds.iter().fold(0, |bits, kind| bits | 1 << kind.value as u8)
    });
    let filter = MessageFilter {
        kinds,
        term: written.term.map(|at| at.value),
        entries: written.entries.map(|at| at.value),
        from_role: written.from_role.map(|at| at.value),
        granted: written.granted.map(|at| at.value),
        group: written.group.as_ref().map(|at| Groups::of(&at.value)),
    };
    let none = |kinds: &[Kind]| !kinds.iter().any(|kind| filter.has(*kind));
    let granting = [
        Kind::VoteAnswer,
        Kind::PreVoteAnswer,
        Kind::AppendAnswer,
        Kind::HeartbeatAnswer,
        Kind::SnapshotAnswer,
        Kind::Other,
    ];
    if let Some(granted) = written.granted.filter(|_| none(&granting)) {
        let wrong = Diagnostic::error("such a message grants nothing and refuses nothing");
        let help = "`granted` is for answers, such as message: vote_answer";
        push(wrong.at(granted.span).first(span).field("where.granted").help(help));
    }
    let some = written.entries.filter(|entries| entries.value.least > 0);
    if let Some(entries) = some.filter(|_| none(&[Kind::Append, Kind::Other])) {
        let wrong = Diagnostic::error("such a message never carries entries");
        let help = "entries come with message: append_entries";
        push(wrong.at(entries.span).first(span).field("where.entries").help(help));
    }
    let at_term = |wrong: &str| written.term.map(|at| Diagnostic::error(wrong).at(at.span));
    if let Some(wrong) = senseless_term(&filter, spoken).and_then(at_term) {
        let help = "leave `term` out, or name other messages";
        push(wrong.first(span).field("where.term").help(help));
    }
    let group = written.group.as_ref().filter(|_| !spoken.lacks);
    if let Some(wrong) = group.and_then(|group| wrong_group(group, spoken)) {
        push(wrong.field("where.group"));
    }
    Some(filter)
}

/// Why no message that is asked for can be within the bounds of its term.
fn senseless_term(filter: &MessageFilter, spoken: Spoken) -> Option<&'static str> {
    let bounds = filter.term?;
    let only = |kinds: &[Kind]| filter.kinds().all(|kind| kinds.contains(&kind));
    if spoken.protocol == Some(Protocol::Hashicorp) && only(&[Kind::TimeoutNow]) {
        return Some("`timeout_now` of hashicorp bears no term: the rule can never match");
    }
    // Answers of some systems bear the 0 of a member that has just been born.
    let never_answers_0 = matches!(spoken.protocol, Some(Protocol::Etcd | Protocol::Embedded));
    let asks = [
        Kind::VoteRequest,
        Kind::PreVoteRequest,
        Kind::Append,
        Kind::Heartbeat,
        Kind::Snapshot,
        Kind::TimeoutNow,
    ];
    let is_0 = bounds.most == 0 && (never_answers_0 || only(&asks));
    is_0.then_some("terms begin with 1: the rule can never match")
}

/// Complains of counts that count nothing.
pub(super) fn counts(written: &Where, push: &mut impl FnMut(Diagnostic)) {
    if let Some(first) = written.first.filter(|first| first.value == 0) {
        let wrong = Diagnostic::error("the first 0 are none: the rule can never match");
        push(wrong.at(first.span).field("where.first").help("write at least 1"));
    }
    if let Some(nth) = written.every_nth.filter(|nth| nth.value < 2) {
        let wrong = match nth.value {
            0 => Diagnostic::error("there is no 0th one: the rule can never match"),
            _ => Diagnostic::error("every 1st one is each of them"),
        };
        push(wrong.at(nth.span).field("where.every_nth").help("write at least 2, or leave it out"));
    }
}

/// The event that a rule follows; none where it goes by time.
pub(super) fn on(
    entry: &RuleEntry,
    spoken: Spoken,
    push: &mut impl FnMut(Diagnostic),
) -> Option<On> {
    let Some(on) = entry.on else {
        if let Some(after) = entry.after {
            let wrong = Diagnostic::error("`after` needs `on`: it counts from an event");
            let help = "say which, such as on: leader_elected; times from the start are `at`";
            push(wrong.at(after.span).field("after").help(help));
        }
        let without_end = entry.times.filter(|times| times.value == Times::Unlimited);
        if let Some(times) = without_end.filter(|_| entry.every.is_none()) {
            let wrong = Diagnostic::error("`times` needs `every` or `on`");
            let help = "say how often it comes back, such as every: 30s";
            push(wrong.at(times.span).field("times").help(help));
        }
        return None;
    };
    if let Some(wrong) = spoken.needs("an event", on.span) {
        push(wrong.field("on"));
    }
    for (time, field) in [(entry.at, "at"), (entry.every, "every")] {
        let Some(time) = time else { continue };
        let message = format!("`{field}` stands beside `on`: a time, or an event?");
        let help = match field {
            "at" => "for a time behind the event write `after`",
            _ => "each such event makes the rule active, `times` says how often",
        };
        push(Diagnostic::error(message).at(time.span).first(on.span).field(field).help(help));
    }
    let short = |after: &At<Nanos>| after.value > Nanos::ZERO && after.value < TIME_MIN;
    if let Some(after) = entry.after.filter(short) {
        let message = format!("{} is shorter than 1ms", show(after.value));
        let help = "write 0s for the very packet of the event, or at least 1ms";
        push(Diagnostic::error(message).at(after.span).field("after").help(help));
    }
    let links = entry.from.is_some() || entry.to.is_some() || entry.between.is_some();
    let is_fault = processes::is_meant(entry);
    Some(On {
        event: on.value,
        after: entry.after.map_or(Nanos::ZERO, |after| after.value),
        lasts: entry.r#for.map(|lasts| lasts.value.low).filter(|_| !is_fault),
        times: match entry.times.map(|times| times.value) {
            None => Some(1),
            Some(Times::Number(n)) => Some(n),
            Some(Times::Unlimited) => None,
        },
        fires: is_fault && !links && entry.r#where.is_none(),
    })
}

/// Actions that only TCP knows.
pub(super) fn only_tcp(entry: &RuleEntry, push: &mut impl FnMut(Diagnostic)) -> bool {
    let of_tcp = |step: &&At<Step>| {
        matches!(
            step.value,
            Step::Reset | Step::Stall { .. } | Step::Impair(Impair::Reject(Reject::TcpReset))
        )
    };
    let heals = |step: &&At<Step>| matches!(step.value, Step::Drop { heal: Some(_), .. });
    let proto = entry.r#where.as_ref().and_then(|written| written.proto);
    let udp = proto.filter(|proto| proto.value == Proto::Udp);
    if let (Some(step), Some(udp)) = (entry.r#do.iter().find(heals), udp) {
        let wrong = Diagnostic::error("UDP has no connections that could be reset at the end");
        push(wrong.at(step.span).first(udp.span).field("do").help("leave `heal` out"));
    }
    let Some(step) = entry.r#do.iter().find(of_tcp) else { return false };
    let proto = entry.r#where.as_ref().and_then(|written| written.proto);
    if let Some(proto) = proto.filter(|proto| proto.value == Proto::Udp) {
        let wrong = Diagnostic::error("UDP has no connections to reset or to stall");
        let help = "write `drop`, which loses a datagram for good";
        push(wrong.at(step.span).first(proto.span).field("do").help(help));
    }
    true
}

/// A drop of a message that does not lose it.
pub(super) fn warn_of_drop(entry: &RuleEntry, push: &mut impl FnMut(Diagnostic)) {
    let is_drop = |step: &&At<Step>| matches!(step.value, Step::Drop { .. });
    let Some(drop) = entry.r#do.iter().find(is_drop) else { return };
    let wrong = "a dropped message is not lost: TCP sends its segment again, and it arrives late";
    let help = "write `stall` to lose it and all behind it, or `reset` to lose its connection, too";
    push(Diagnostic::warning(wrong).at(drop.span).field("do").help(help));
}
