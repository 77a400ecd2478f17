//! The conditions of `where`, read from the tree.

use super::diagnostic::{Diagnostic, nearest, quote};
use super::document::{Node, Value};
use super::fields::Reader;
use super::file::{At, Where};
use super::narrow::{ECN, FLAGS, Flags, PATTERN_MAX};
use super::scalar::Refused;
use super::written::ContainsFields;

pub(super) const WHERE_KEYS: &[&str] = &[
    "proto",
    "port",
    "flow",
    "dialled_by",
    "size",
    "payload",
    "offset",
    "flags",
    "dscp",
    "ecn",
    "contains",
    "message",
    "term",
    "entries",
    "from_role",
    "granted",
    "group",
    "every_nth",
    "first",
    "chance",
];
pub(super) const CONTAINS_KEYS: &[&str] = &["bytes", "at"];

pub(super) fn filter(reader: &mut Reader<'_>, node: &Node) -> Option<Where> {
    let object = reader.object(node, "`where`", WHERE_KEYS)?;
    Some(Where {
        proto: reader.field(&object, "proto", Reader::word),
        port: reader.field(&object, "port", Reader::port),
        flow: reader.field(&object, "flow", Reader::word),
        dialled_by: reader.field(&object, "dialled_by", Reader::word),
        size: reader.field(&object, "size", Reader::bounds),
        payload: reader.field(&object, "payload", Reader::bounds),
        offset: reader.field(&object, "offset", Reader::bounds),
        flags: reader.field(&object, "flags", flags),
        dscp: reader.field(&object, "dscp", |reader, node| {
            let dscp = reader.whole(node, 0, 63)?;
            Some(At { value: dscp.value as u8, span: dscp.span })
        }),
        ecn: reader.field(&object, "ecn", ecn),
        contains: reader.field(&object, "contains", contains),
        message: reader.field(&object, "message", |r, node| r.one_or_list(node, Reader::word)),
        term: reader.field(&object, "term", Reader::bounds),
        entries: reader.field(&object, "entries", Reader::bounds),
        from_role: reader.field(&object, "from_role", Reader::word),
        granted: reader.field(&object, "granted", Reader::boolean),
        group: reader.field(&object, "group", Reader::text),
        every_nth: reader.field(&object, "every_nth", Reader::count),
        first: reader.field(&object, "first", Reader::count),
        chance: reader.field(&object, "chance", Reader::chance),
    })
}

fn flags(reader: &mut Reader<'_>, node: &Node) -> Option<At<Flags>> {
    let words = reader.one_or_list(node, |reader, node| {
        reader.scalar(node, "a TCP flag such as syn", |text| {
            let (name, wanted) = text.strip_prefix('!').map_or((text, true), |name| (name, false));
            let known = FLAGS.iter().find(|(word, _)| *word == name);
            known.map(|(_, bit)| (*bit, wanted)).ok_or_else(|| unknown(text, name))
        })
    })?;
    let mut flags = Flags::default();
    for At { value: (bit, wanted), .. } in &words {
        if *wanted { flags.set |= bit } else { flags.clear |= bit }
    }
    if flags.set & flags.clear != 0 {
        let wrong = Diagnostic::error("no packet has a flag and has it not");
        reader.report(wrong.at(node.span).help("keep one of the two"));
        return None;
    }
    Some(At { value: flags, span: node.span })
}

fn unknown(text: &str, name: &str) -> Refused {
    let words = || FLAGS.iter().map(|(word, _)| *word);
    Refused {
        why: format!("there is no TCP flag {}", quote(text)),
        help: match nearest(name, words()) {
            Some(near) => format!("did you mean {}?", quote(near)),
            None => format!("the flags are {}", words().collect::<Vec<_>>().join(", ")),
        },
    }
}

fn ecn(reader: &mut Reader<'_>, node: &Node) -> Option<At<u8>> {
    let codes = reader.one_or_list(node, |reader, node| {
        reader.scalar(node, "a word about congestion such as ce", |text| {
            ECN.iter().position(|word| *word == text).ok_or_else(|| Refused {
                why: format!("{} is not valid here", quote(text)),
                help: format!("the words are {}", ECN.join(", ")),
            })
        })
    })?;
    let value = codes.iter().fold(0, |bits, code| bits | 1 << code.value);
    Some(At { value, span: node.span })
}

fn contains(reader: &mut Reader<'_>, node: &Node) -> Option<At<ContainsFields>> {
    let fields = if let Value::Scalar { .. } = node.value {
        ContainsFields { bytes: bytes(reader, node)?, at: None }
    } else {
        let object = reader.object(node, "`contains`", CONTAINS_KEYS)?;
        reader.require(&object, "bytes", "`contains`", "write { bytes: 0x0a1b, at: 0 }");
        let wanted = reader.field(&object, "bytes", bytes);
        let at = reader.field(&object, "at", |reader, node| {
            let at = reader.whole(node, 0, u64::from(u16::MAX))?;
            Some(At { value: at.value as u16, span: at.span })
        });
        ContainsFields { bytes: wanted?, at }
    };
    Some(At { value: fields, span: node.span })
}

/// A text, or bytes in hexadecimal behind `0x`.
fn bytes(reader: &mut Reader<'_>, node: &Node) -> Option<At<Vec<u8>>> {
    // What is quoted is a text, whatever it looks like.
    let plain = matches!(node.value, Value::Scalar { plain: true, .. });
    reader.scalar(node, "a text, or bytes such as 0x0a1b", |text| {
        let refuse = |why: &str| Refused {
            why: why.to_owned(),
            help: format!("write 1 to {PATTERN_MAX} bytes: a text, or pairs of digits behind 0x"),
        };
        let bytes = match text.strip_prefix("0x").filter(|_| plain) {
            Some(digits) => hex(digits).ok_or_else(|| refuse("these are no bytes"))?,
            None => text.as_bytes().to_vec(),
        };
        match bytes.len() {
            0 => Err(refuse("every payload contains nothing")),
            1..=PATTERN_MAX => Ok(bytes),
            _ => Err(refuse("that is too long to be searched for")),
        }
    })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}
