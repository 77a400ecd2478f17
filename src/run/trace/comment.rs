//! What a captured packet's comment says: its link, what became of it, and by which rule.
//!
//! ```text
//! n1 -> n2: held 20.013 ms (asked for 20 ms) by "slow"
//! n1 -> n2: held 7.2 ms (asked for 20 ms) by "slow", then dropped by "cut"
//! n2 -> n1: dropped by "cut"
//! ```

use super::{Fate, Own, Record};
use crate::engine::{Damage, Extras};
use crate::packet::{LinkId, NodeId};
use crate::rules::Table;
use crate::time::Nanos;
use std::fmt::Write as _;

/// The most bytes of a comment; names are cut off there.
const COMMENT_MAX: usize = 2_000;

/// What a packet that was kept was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) record: &'a Record,
    /// The table that numbers its rule.
    pub(super) table: &'a Table,
}

/// The comment of a packet; `answer` is what became of one that was kept, where that is known.
pub(super) fn comment(record: &Record, table: &Table, answer: Option<Answered<'_>>) -> String {
    let mut out = String::new();
    if let Some(link) = answer.and_then(|answer| answer.record.link).or(record.link) {
        let (from, to) = ends(link, table);
        let _ = write!(out, "{from} -> {to}: ");
    }
    match (record.fate, answer) {
        (Fate::Own(own), answer) => put_own(&mut out, own, record, (table, answer)),
        (Fate::Held(delay), answer) => put_held(&mut out, (record, delay), table, answer),
        (Fate::Asked, Some(answer)) => put_asked(&mut out, record, answer),
        _ => put_judged(&mut out, record, table),
    }
    cut(out)
}

/// The names of a link's ends.
fn ends(link: LinkId, table: &Table) -> (&str, &str) {
    let (from, to) = link.ends(table.nodes.len());
    let name = |NodeId(id): NodeId| table.nodes.get(usize::from(id)).map_or("?", |n| &n.name);
    (name(from), name(to))
}

fn cut(mut text: String) -> String {
    if text.len() > COMMENT_MAX {
        let end = (0..=COMMENT_MAX).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text += "...";
    }
    text
}

/// ` by "slow"`; nothing where no rule did it.
fn by(rule: Option<u16>, table: &Table) -> String {
    let rule = rule.and_then(|rule| table.rules.get(usize::from(rule)));
    rule.map_or(String::new(), |rule| format!(" by \"{}\"", rule.name))
}

/// A packet whose fate was known when it was judged.
fn put_judged(out: &mut String, record: &Record, table: &Table) {
    let by = by(record.rule, table);
    let _ = match record.fate {
        Fate::Dropped if by.is_empty() => write!(out, "{}", no_rule("dropped", record)),
        Fate::Dropped => write!(out, "dropped{by}"),
        Fate::Trimmed if by.is_empty() => write!(out, "{}", no_rule("trimmed", record)),
        Fate::Trimmed => write!(out, "trimmed{by}: of {} bytes the headers went on", record.len),
        Fate::Reset => write!(out, "dropped, and its connection reset{by}"),
        Fate::Rejected => write!(out, "dropped, and its sender refused{by}"),
        Fate::Overflowed => {
            write!(out, "dropped, to be held{by}: as many packets are held as may be")
        }
        Fate::Asked => write!(out, "kept while its sender was asked for; no answer is told"),
        Fate::Unreadable => write!(out, "let pass: its headers cannot be read"),
        Fate::Corrupted => {
            let damage = record.extras.damage.map_or(String::new(), |damage| said(&damage));
            write!(out, "corrupted{by}: {damage}")
        }
        Fate::Accepted | Fate::Held(_) | Fate::Segmented | Fate::Own(_) => {
            let done = extras(&record.extras, record.fate);
            write!(out, "{}{by}", if done.is_empty() { "let pass" } else { &done })
        }
    };
    if !matches!(record.fate, Fate::Accepted) {
        let rest = Extras { damage: None, ..record.extras };
        put_rest(out, &extras(&rest, record.fate));
    }
}

/// Why something was done that no rule did.
fn no_rule(what: &str, record: &Record) -> String {
    match record.link {
        Some(_) => format!(
            "{what} by no rule that is there: an end of its link is silent, as a fault is being \
             done to it, or its connection was stalled"
        ),
        None => format!("{what}: its sender is not known"),
    }
}

/// A packet that was held for a time, or until a rule let it go.
fn put_held(
    out: &mut String,
    (record, delay): (&Record, Option<Nanos>),
    table: &Table,
    answer: Option<Answered<'_>>,
) {
    let by = by(record.rule, table);
    match answer {
        Some(Answered { record: left, .. }) => {
            let _ = write!(out, "held {}", ms(left.at.saturating_sub(record.at)));
        }
        None => *out += "held",
    }
    let own = record.due.filter(|due| *due < Nanos::MAX);
    let own = own.map(|due| due.saturating_sub(record.at));
    match (own, delay) {
        (Some(Nanos::ZERO), _) => *out += " behind earlier packets of its connection",
        (Some(own), Some(delay)) if own < delay => {
            let _ = write!(out, " (asked for {}, and to keep the order)", ms(own));
        }
        (Some(own), _) => {
            let _ = write!(out, " (asked for {})", ms(own));
        }
        (None, _) => *out += " (asked for until it is let go)",
    }
    *out += &by;
    put_rest(out, &extras(&record.extras, record.fate));
    match answer {
        Some(Answered { record: left, table }) => match left.fate {
            Fate::Dropped => {
                let by = self::by(left.rule, table);
                let _ = write!(out, ", then dropped{by}");
                if by.is_empty() {
                    *out += ": its connection was reset, or its host lost";
                }
            }
            Fate::Trimmed => {
                let _ = write!(out, ", then trimmed: of {} bytes the headers went on", record.len);
            }
            Fate::Corrupted => {
                let damage = record.extras.damage.map_or(String::new(), |damage| said(&damage));
                let _ = write!(out, ", then corrupted: {damage}");
            }
            // What a rule holds is due at no time of its own.
            Fate::Accepted if left.due.is_none() && own.is_some() => {
                *out += ", let go before its time: raftq let everything go";
            }
            _ if record.extras.damage.is_some() => *out += ", spared the damage meant for it",
            _ => {}
        },
        None => *out += "; what became of it is not told",
    }
}

/// A packet whose sender was asked for.
fn put_asked(out: &mut String, record: &Record, Answered { record: left, table }: Answered<'_>) {
    let kept = ms(left.at.saturating_sub(record.at));
    let by = by(left.rule, table);
    let _ = match (left.fate, left.due) {
        (Fate::Dropped, _) if by.is_empty() => write!(out, "{}", no_rule("dropped", left)),
        (Fate::Dropped, _) => write!(out, "dropped{by}"),
        (_, Some(_)) => write!(out, "held {kept}{by}, its sender being asked for first"),
        _ => {
            let done = extras(&left.extras, left.fate);
            write!(out, "{}{by}", if done.is_empty() { "let pass" } else { &done })
        }
    };
    if left.fate == Fate::Dropped || left.due.is_none() {
        let _ = write!(out, ", {kept} after it came: its sender had to be asked for");
    }
}

/// A packet of raftq's own.
fn put_own(
    out: &mut String,
    own: Own,
    record: &Record,
    (table, answer): (&Table, Option<Answered<'_>>),
) {
    let rule = record.rule.and_then(|rule| table.rules.get(usize::from(rule)));
    let rule = rule.map_or(String::new(), |rule| format!(" of \"{}\"", rule.name));
    let _ = match (own, answer) {
        (Own::Copy, Some(answer)) => {
            let behind = ms(answer.record.at.saturating_sub(record.at));
            write!(out, "raftq's copy{rule}: sent {behind} after its packet came")
        }
        (Own::Copy, None) => write!(out, "raftq's copy{rule}: when it was sent is not told"),
        (Own::Instead, _) => write!(out, "raftq's RST{rule}: takes the place of the segment"),
        (Own::ToSender, _) => write!(out, "raftq's RST{rule}: tells the segment's sender"),
        (Own::Refusal, _) => write!(out, "raftq's refusal{rule}: tells the packet's sender"),
        (Own::Healing, _) => write!(out, "raftq's RST: ends a connection that a cut has starved"),
    };
}

fn put_rest(out: &mut String, done: &str) {
    if !done.is_empty() {
        let _ = write!(out, ", {done}");
    }
}

/// What else was done to a packet that went on.
fn extras(extras: &Extras, fate: Fate) -> String {
    let mut done = Vec::new();
    if let Some(copies) = extras.copies {
        done.push(format!("copied {}x", copies.count));
    }
    if let Some(mark) = extras.mark {
        done.push(match mark.mask {
            u32::MAX => format!("marked {:#x}", mark.value),
            mask => format!("marked {:#x}/{mask:#x}", mark.value),
        });
    }
    if extras.damage.is_some() && fate == Fate::Accepted {
        done.push("spared the damage meant for it, as its bytes are not at hand".into());
    }
    done.join(", ")
}

/// How a payload was changed.
fn said(damage: &Damage) -> String {
    let Damage { from, to, bits, one_bit, fixes_checksum } = *damage;
    let sum = if fixes_checksum { "fits" } else { "does not fit" };
    let part = if one_bit {
        let bit = bits % (u64::from(to - from).max(1) * 8);
        format!("bit {} of byte {}", bit % 8, u64::from(from) + bit / 8)
    } else if to - from == 1 {
        format!("byte {from}")
    } else {
        format!("bytes {from} to {}", to - 1)
    };
    format!("{part} of the payload changed, the checksum {sum}")
}

/// A span in milliseconds, to the microsecond: `20.013 ms`, `20 ms`.
fn ms(span: Nanos) -> String {
    let us = span.0 / 1_000;
    let text = format!("{}.{:03}", us / 1_000, us % 1_000);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}
