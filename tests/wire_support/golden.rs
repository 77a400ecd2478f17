//! What a capture holds, as text for people: elections, terms, leaders, messages by kind and
//! member, how far the log went, and the first messages one by one.

use super::{Capture, Told, read};
use raftq::wire::{Coverage, Group, Kind, Member, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use xxhash_rust::xxh3::Xxh3;

/// Messages that are shown one by one.
const SHOWN: usize = 40;

/// Short names of members: by the node they speak from, which is what people know them by.
struct Names(BTreeMap<Member, String>);

impl Names {
    fn new(told: &[Told]) -> Self {
        let mut names = BTreeMap::new();
        for Told { heard, message, .. } in told {
            if let Some(from) = message.from {
                let ip = heard.src.socket_addr().ip().to_string();
                let node = ip.rsplit('.').next().unwrap_or_default();
                names.entry(from).or_insert_with(|| format!("n{node}"));
            }
        }
        Self(names)
    }

    fn of(&self, member: Option<Member>) -> String {
        match member {
            None => "?".to_owned(),
            Some(member) => {
                self.0.get(&member).cloned().unwrap_or_else(|| format!("{:x}", member.0))
            }
        }
    }
}

/// The text of a capture.
pub(crate) fn render(capture: &Capture) -> String {
    let (told, coverage) = read(capture, &capture.segments);
    let names = Names::new(&told);
    let mut out = String::new();
    let _ = writeln!(out, "# {} as {}\n", capture.name, capture.protocol.word());
    for (member, name) in &names.0 {
        let _ = writeln!(out, "{name} is {:x}", member.0);
    }
    shown_coverage(&mut out, &coverage);
    let groups: BTreeSet<Group> = told.iter().map(|told| told.message.group).collect();
    for group in groups {
        let of_group: Vec<_> = told.iter().filter(|told| told.message.group == group).collect();
        if group != Group::ONLY {
            let _ = writeln!(out, "\n## group {}", group.name());
        }
        elections(&mut out, &of_group, &names);
        counts(&mut out, &of_group, &names);
        log(&mut out, &of_group);
    }
    let _ = writeln!(out, "\nfirst messages");
    for told in told.iter().take(SHOWN) {
        let _ = writeln!(out, "  {}", line(told, &names));
    }
    out
}

fn shown_coverage(out: &mut String, coverage: &Coverage) {
    let Coverage { flows, whole_flows, read, skipped, unread, lost, regained, .. } = coverage;
    let _ = writeln!(
        out,
        "\n{flows} connections, {whole_flows} from their first byte; {} messages in {read} bytes, \
         {skipped} passed over, {unread} unread\n\
         lost {lost} times, taken up {regained} times, {} directions lost at the end, read {:.1} %",
        coverage.all_messages(),
        coverage.lost_now,
        coverage.share() * 100.0,
    );
}

/// Terms in the order in which they are first seen: who stood, who was for it, who led.
fn elections(out: &mut String, told: &[&Told], names: &Names) {
    let mut terms: BTreeMap<u64, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut leaders: BTreeMap<u64, BTreeMap<String, String>> = BTreeMap::new();
    for told in told {
        let Message { kind, term, from, to, granted, .. } = told.message;
        let Some(term) = term else { continue };
        let (from, to) = (names.of(from), names.of(to));
        let at = told.at.as_secs_f64();
        let (candidate, what) = match kind {
            Kind::VoteRequest | Kind::PreVoteRequest => {
                (from, format!("{} to {to} at {at:.3}", kind.word()))
            }
            Kind::VoteAnswer | Kind::PreVoteAnswer => {
                let answer = if granted == Some(true) { "granted" } else { "refused" };
                (to, format!("{} {answer} by {from} at {at:.3}", kind.word()))
            }
            _ if kind.is_leaders() => {
                let leads = format!("leads, first {} at {at:.3}", kind.word());
                leaders.entry(term).or_default().entry(from).or_insert(leads);
                continue;
            }
            _ => continue,
        };
        terms.entry(term).or_default().entry(candidate).or_default().push(what);
    }
    let all: BTreeSet<u64> = terms.keys().chain(leaders.keys()).copied().collect();
    let _ = writeln!(out);
    for term in all {
        let _ = writeln!(out, "term {term}");
        for (candidate, events) in terms.get(&term).into_iter().flatten() {
            let _ = writeln!(out, "  {candidate} stands");
            let shown = if events.len() > 16 { 12 } else { events.len() };
            for event in &events[..shown] {
                let _ = writeln!(out, "    {event}");
            }
            if shown < events.len() {
                let _ = writeln!(out, "    and {} more", events.len() - shown);
            }
        }
        for (leader, what) in leaders.get(&term).into_iter().flatten() {
            let _ = writeln!(out, "  {leader} {what}");
        }
    }
}

fn counts(out: &mut String, told: &[&Told], names: &Names) {
    let mut counts: BTreeMap<String, BTreeMap<Kind, u64>> = BTreeMap::new();
    for Told { message, .. } in told {
        *counts.entry(names.of(message.from)).or_default().entry(message.kind).or_default() += 1;
    }
    let _ = writeln!(out, "\nmessages");
    for (member, kinds) in counts {
        let kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{n} {}", kind.word())).collect();
        let _ = writeln!(out, "  {member}: {}", kinds.join(", "));
    }
}

fn log(out: &mut String, told: &[&Told]) {
    let mut entries = BTreeSet::new();
    let (mut sent, mut counted) = (0, 0);
    for told in told {
        sent += u64::from(told.message.entries);
        counted += told.entries.len() as u64;
        entries.extend(told.entries.iter().map(|entry| (entry.at, entry.hash)));
    }
    let commit = told.iter().filter(|t| t.message.kind == Kind::Append);
    let commit = commit.filter_map(|told| told.message.commit).max();
    let mut digest = Xxh3::new();
    for (at, hash) in &entries {
        for number in [at.index, at.term, *hash] {
            digest.update(&number.to_le_bytes());
        }
    }
    let positions: BTreeSet<_> = entries.iter().map(|(at, _)| *at).collect();
    let _ = writeln!(
        out,
        "\nlog: {sent} entries sent, {counted} of them read; {} positions with {} contents, \
         digest {:016x}",
        positions.len(),
        entries.len(),
        digest.digest()
    );
    if let (Some(first), Some(last)) = (positions.first(), positions.last()) {
        let _ = writeln!(
            out,
            "from {} of term {} to {} of term {}",
            first.index, first.term, last.index, last.term
        );
    }
    let _ = match commit {
        Some(commit) => writeln!(out, "highest commit of an append: {commit}"),
        None => writeln!(out, "no append"),
    };
}

/// One message on one line.
fn line(told: &Told, names: &Names) -> String {
    let Told { at, heard, message, entries } = told;
    let mut line = format!(
        "{:9.6} flow {} {} > {} {}",
        at.as_secs_f64(),
        heard.flow,
        names.of(message.from),
        names.of(message.to),
        message.kind.word()
    );
    let mut say = |what: &str, value: Option<u64>| {
        let _ = value.map(|value| write!(line, " {what} {value}"));
    };
    say("term", message.term);
    say("after", message.previous.map(|p| p.index));
    say("of", message.previous.map(|p| p.term));
    say("index", message.index);
    say("commit", message.commit);
    let _ = message.granted.map(|granted| write!(line, " {}", if granted { "yes" } else { "no" }));
    if message.entries > 0 {
        let _ = write!(line, " entries {}", message.entries);
    }
    for entry in entries.iter().take(3) {
        let _ =
            write!(line, " [{} of {}: {:08x}]", entry.at.index, entry.at.term, entry.hash >> 32);
    }
    line
}
