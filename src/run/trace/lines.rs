//! A record as a JSON line.

use super::{Fate, Kind, Record};
use crate::packet::{NodeId, Proto};
use crate::rules::Table;
use crate::time::Nanos;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(flatten)]
    read: Option<ReadLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_us: Option<u64>,
}

#[derive(Serialize)]
struct ReadLine {
    src: std::net::SocketAddr,
    dst: std::net::SocketAddr,
    proto: &'static str,
    segments: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    flags: String,
}

/// Writes the line of a record; times count from `start`.
pub(super) fn write(
    out: &mut impl Write,
    record: &Record,
    start: Nanos,
    table: Option<&Table>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &line(record, start, table))?;
    out.write_all(b"\n")
}

fn line<'a>(record: &Record, start: Nanos, table: Option<&'a Table>) -> Line<'a> {
    let node = |pick: fn((NodeId, NodeId)) -> NodeId| {
        let (table, link) = (table?, record.link?);
        let node = pick(link.ends(table.nodes.len()));
        table.nodes.get(usize::from(node.0)).map(|node| node.name.as_str())
    };
    let (verdict, delay_us) = match record.fate {
        Fate::Accepted => ("accept", None),
        Fate::Dropped => ("drop", None),
        Fate::Trimmed => ("trim", None),
        Fate::Reset => ("reset", None),
        Fate::Rejected => ("reject", None),
        Fate::Corrupted => ("corrupt", None),
        Fate::Held(Some(delay)) => ("delay", Some(delay.0 / 1_000)),
        Fate::Held(None) => ("hold", None),
        Fate::Overflowed => ("overflow", None),
        Fate::Asked => ("ask", None),
        Fate::Segmented => ("segment", None),
        Fate::Unreadable => ("unreadable", None),
        // Has no line.
        Fate::Own(_) => ("own", None),
    };
    let answer = record.kind == Kind::Answer;
    let kept = answer || matches!(record.fate, Fate::Asked | Fate::Held(_));
    // The rule that decided stands with the packet.
    let rule = record.rule.filter(|_| !answer);
    // What passes before the clock starts has a time below zero.
    let early = start.saturating_sub(record.at).as_secs_f64();
    Line {
        t: record.at.saturating_sub(start).as_secs_f64() - early,
        queue: kept.then_some(record.token.queue),
        id: kept.then_some(record.token.id),
        read: record.read.map(|read| ReadLine {
            src: read.src.socket_addr(),
            dst: read.dst.socket_addr(),
            proto: match read.proto {
                Proto::Tcp => "tcp",
                Proto::Udp => "udp",
            },
            segments: read.segments,
            flags: flag_letters(read.flags),
        }),
        from: node(|(from, _)| from),
        to: node(|(_, to)| to),
        len: (!answer).then_some(record.len),
        rule: rule.and_then(|r| table?.rules.get(usize::from(r))).map(|r| r.name.as_str()),
        verdict,
        delay_us,
    }
}

/// TCP flags as tcpdump writes them: `S`, `F`, `R`, `P`, `.`.
fn flag_letters(flags: u8) -> String {
    use crate::packet::tcp_flags::{ACK, FIN, PSH, RST, SYN};
    [(FIN, 'F'), (SYN, 'S'), (RST, 'R'), (PSH, 'P'), (ACK, '.')]
        .into_iter()
        .filter_map(|(bit, letter)| (flags & bit != 0).then_some(letter))
        .collect()
}
