//! The newer actions, read whole: from the tree to what the table has. Each is checked by itself.

use super::diagnostic::{Diagnostic, Span, quote};
use super::document::{Node, Value};
use super::fields::{Object, Reader};
use super::file::{Action, At, Bits, Chance, Range, ReleaseOrder, Word};
use super::impair::{COPIES_MAX, Corrupt, Duplicate, Losing, Lot, Mark, Part, Rate, Reorder, Slot};
use super::scalar::{self, Refused, show};
use super::table::{Delay, Distribution, Event, Loss, Order, Reject};
use super::written::{
    Checksum, CorruptFields, DuplicateFields, GilbertElliottFields, HoldFields, Impair, LossFields,
    MarkFields, RateFields, RejectFields, ReorderFields, SlotFields, StateFields, WrittenUntil,
};
use crate::time::Nanos;

pub(super) const LOSS_KEYS: &[&str] = &["chance", "correlation", "gemodel", "state"];
pub(super) const GEMODEL_KEYS: &[&str] = &["p", "r", "1-h", "1-k"];
pub(super) const STATE_KEYS: &[&str] = &["p13", "p31", "p32", "p23", "p14"];
pub(super) const REORDER_KEYS: &[&str] = &["chance", "correlation", "gap"];
pub(super) const DUPLICATE_KEYS: &[&str] = &["chance", "correlation", "count", "delay"];
pub(super) const CORRUPT_KEYS: &[&str] = &["chance", "correlation", "bytes", "checksum"];
pub(super) const RATE_KEYS: &[&str] =
    &["bits", "overhead", "cell", "cell_overhead", "burst", "limit", "per"];
pub(super) const SLOT_KEYS: &[&str] = &["every", "jitter", "distribution", "packets", "bytes"];
pub(super) const REJECT_KEYS: &[&str] = &["with"];
pub(super) const HOLD_KEYS: &[&str] = &["until", "release"];
pub(super) const MARK_KEYS: &[&str] = &["set", "mask"];

const ALL: u64 = 1 << 32;

/// How long a packet waits for its turn at most, where that is not said.
const RATE_LIMIT: Nanos = Nanos::from_secs(1);

/// An action that is one word.
pub(super) fn word(text: &str) -> Option<Action> {
    let impair = match text {
        "reject" => Impair::Reject(Reject::default()),
        "hold" => Impair::Hold(HoldFields { until: None, release: None }),
        _ => return None,
    };
    Some(Action::Impair(impair))
}

/// What is missing where an action stands alone that needs a value.
pub(super) fn without_value(text: &str) -> Option<Diagnostic> {
    let example = match text {
        "loss" => "loss: 1%",
        "reorder" => "reorder: 25%",
        "duplicate" => "duplicate: 1%",
        "corrupt" => "corrupt: 1%",
        "rate" => "rate: 100mbit",
        "slot" => "slot: 20ms",
        "mark" => "mark: 0x10",
        _ => return None,
    };
    let wrong = Diagnostic::error(format!("{} needs a value", quote(text)));
    Some(wrong.help(format!("write {{ {example} }}")))
}

/// Reads one of [`WORDS`] from the map that has it.
pub(super) fn field(reader: &mut Reader<'_>, object: &Object<'_>) -> Option<Action> {
    let impair = [
        reader.field(object, "loss", loss),
        reader.field(object, "reorder", reorder),
        reader.field(object, "duplicate", duplicate),
        reader.field(object, "corrupt", corrupt),
        reader.field(object, "rate", rate),
        reader.field(object, "slot", slot),
        reader.field(object, "mark", mark),
        reader.field(object, "reject", reject),
        reader.field(object, "hold", hold),
    ];
    impair.into_iter().flatten().next().map(Action::Impair)
}

fn is_short(node: &Node) -> bool {
    matches!(node.value, Value::Scalar { .. })
}

fn lot(chance: Option<At<Chance>>, correlation: Option<At<Chance>>) -> Lot {
    let share = |at: Option<At<Chance>>, else_: u64| at.map_or(else_, |at| at.value.0);
    Lot { share: share(chance, ALL), correlation: share(correlation, 0) }
}

fn loss(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    if is_short(node) {
        let chance = reader.chance(node)?;
        return Some(Impair::Lose(Losing::Lot(lot(Some(chance), None))));
    }
    let before = reader.sink.errors();
    let object = reader.object(node, "`loss`", LOSS_KEYS)?;
    let fields = LossFields {
        chance: reader.field(&object, "chance", Reader::chance),
        correlation: reader.field(&object, "correlation", correlation),
        gemodel: reader.field(&object, "gemodel", gemodel),
        state: reader.field(&object, "state", state),
    };
    let said = LOSS_KEYS.iter().filter(|key| **key != "correlation" && object.key(key).is_some());
    let said: Vec<_> = said.copied().collect();
    let wrong = match (said.as_slice(), object.key("correlation")) {
        ([_], None) | (["chance"], Some(_)) => None,
        ([], _) => Some((node.span, "`loss` does not say what is lost".to_owned())),
        ([_], Some(span)) => Some((span, "`correlation` belongs to `chance`".to_owned())),
        ([one, other, ..], _) => Some((
            object.key(other).unwrap_or(node.span),
            format!("{} stands beside {}", quote(other), quote(one)),
        )),
    };
    if let (Some((span, wrong)), true) = (wrong, reader.sink.errors() == before) {
        let help = "keep one of chance (with its correlation), gemodel and state";
        reader.report(Diagnostic::error(wrong).at(span).help(help));
    }
    let model = fields.gemodel.as_ref().map(gilbert_elliott);
    let model = model.or_else(|| fields.state.as_ref().map(markov));
    Some(Impair::Lose(match model {
        Some(model) => Losing::Model(model),
        None => Losing::Lot(lot(Some(fields.chance?), fields.correlation)),
    }))
}

fn gilbert_elliott(fields: &GilbertElliottFields) -> Loss {
    let share = |at: Option<At<Chance>>| at.map(|at| at.value.0);
    let (h, k) = (share(fields.one_minus_h), share(fields.one_minus_k));
    Loss::gilbert_elliott(fields.p.value.0, share(fields.r), h, k)
}

fn markov(fields: &StateFields) -> Loss {
    let share = |at: Option<At<Chance>>| at.map(|at| at.value.0);
    let (p31, p32) = (share(fields.p31), share(fields.p32));
    Loss::markov(fields.p13.value.0, p31, p32, share(fields.p23), share(fields.p14))
}

fn gemodel(reader: &mut Reader<'_>, node: &Node) -> Option<GilbertElliottFields> {
    let object = reader.object(node, "`gemodel`", GEMODEL_KEYS)?;
    reader.require(&object, "p", "`gemodel`", "write { gemodel: { p: 1%, r: 10% } }");
    let p = reader.field(&object, "p", Reader::chance);
    Some(GilbertElliottFields {
        r: reader.field(&object, "r", Reader::share),
        one_minus_h: reader.field(&object, "1-h", Reader::share),
        one_minus_k: reader.field(&object, "1-k", Reader::share),
        p: p?,
    })
}

fn state(reader: &mut Reader<'_>, node: &Node) -> Option<StateFields> {
    let object = reader.object(node, "`state`", STATE_KEYS)?;
    reader.require(&object, "p13", "`state`", "write { state: { p13: 1%, p31: 50% } }");
    let p13 = reader.field(&object, "p13", Reader::chance);
    let fields = StateFields {
        p31: reader.field(&object, "p31", Reader::share),
        p32: reader.field(&object, "p32", Reader::share),
        p23: reader.field(&object, "p23", Reader::share),
        p14: reader.field(&object, "p14", Reader::share),
        p13: p13?,
    };
    if let Some(sum) = markov(&fields).excess() {
        let wrong = format!("{sum} is more than 100%");
        let help = "they are ways out of one state: make their sum at most 100%";
        reader.report(Diagnostic::error(wrong).at(node.span).help(help));
    }
    Some(fields)
}

/// A correlation may not be 100%: nothing would ever be drawn anew.
pub(super) fn correlation(reader: &mut Reader<'_>, node: &Node) -> Option<At<Chance>> {
    let share = reader.share(node)?;
    if share.value.0 >= ALL {
        let wrong = "with a correlation of 100% the first draw would decide all";
        reader.report(Diagnostic::error(wrong).at(node.span).help("write at most 99.9%"));
        return None;
    }
    Some(share)
}

fn reorder(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    if is_short(node) {
        let lot = lot(Some(reader.chance(node)?), None);
        return Some(Impair::Reorder(Reorder { lot, gap: 1 }));
    }
    let before = reader.sink.errors();
    let object = reader.object(node, "`reorder`", REORDER_KEYS)?;
    let fields = ReorderFields {
        chance: reader.field(&object, "chance", Reader::chance),
        correlation: reader.field(&object, "correlation", correlation),
        gap: reader.field(&object, "gap", Reader::whole_u32),
    };
    let some = fields.chance.is_some() || fields.gap.is_some_and(|gap| gap.value > 1);
    if !some && reader.sink.errors() == before {
        let help = "write { reorder: 25% }, or { reorder: { gap: 5 } } for each fifth packet";
        let wrong = Diagnostic::error("if every packet overtakes, none is delayed");
        reader.report(wrong.at(node.span).help(help));
    }
    let gap = fields.gap.map_or(1, |gap| gap.value);
    Some(Impair::Reorder(Reorder { lot: lot(fields.chance, fields.correlation), gap }))
}

fn duplicate(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    if is_short(node) {
        let lot = lot(Some(reader.chance(node)?), None);
        return Some(Impair::Duplicate(Duplicate { lot, count: 1, delay: Nanos::ZERO }));
    }
    let object = reader.object(node, "`duplicate`", DUPLICATE_KEYS)?;
    let count = |reader: &mut Reader<'_>, node: &Node| {
        let count = reader.whole(node, 1, u64::from(COPIES_MAX))?;
        Some(At { value: count.value as u32, span: count.span })
    };
    let fields = DuplicateFields {
        chance: reader.field(&object, "chance", Reader::chance),
        correlation: reader.field(&object, "correlation", correlation),
        count: reader.field(&object, "count", count),
        delay: reader.field(&object, "delay", Reader::duration),
    };
    Some(Impair::Duplicate(Duplicate {
        lot: lot(fields.chance, fields.correlation),
        count: fields.count.map_or(1, |count| count.value as u8),
        delay: fields.delay.map_or(Nanos::ZERO, |delay| delay.value),
    }))
}

fn corrupt(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    let fields = if is_short(node) {
        let chance = Some(reader.chance(node)?);
        CorruptFields { chance, correlation: None, bytes: None, checksum: None }
    } else {
        let object = reader.object(node, "`corrupt`", CORRUPT_KEYS)?;
        CorruptFields {
            chance: reader.field(&object, "chance", Reader::chance),
            correlation: reader.field(&object, "correlation", correlation),
            bytes: reader.field(&object, "bytes", |reader, node| {
                reader.scalar(node, "a range of bytes such as 0..4", byte_range)
            }),
            checksum: reader.field(&object, "checksum", Reader::word),
        }
    };
    let part =
        fields.bytes.map_or(Part::Bit, |at| Part::Bytes { from: at.value.0, to: at.value.1 });
    Some(Impair::Corrupt(Corrupt {
        lot: lot(fields.chance, fields.correlation),
        part,
        fixes_checksum: fields.checksum.is_some_and(|at| at.value == Checksum::Right),
    }))
}

/// Reads `0..4`, or `7` for `7..8`.
fn byte_range(text: &str) -> Result<(u16, u16), Refused> {
    let refuse = |why: &str| Refused {
        why: why.to_owned(),
        help: "write a range such as 0..4, from the first byte to the one behind the last"
            .to_owned(),
    };
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (number(from), number(to)),
        None => (number(text), number(text).and_then(|at| at.checked_add(1))),
    };
    match (from, to) {
        (Some(from), Some(to)) if from < to => Ok((from, to)),
        (Some(_), Some(_)) => Err(refuse("this range has no bytes")),
        _ => Err(refuse("this is no range of bytes")),
    }
}

fn rate(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    let fields = if is_short(node) {
        let bits = bits(reader, node)?;
        RateFields {
            bits,
            overhead: None,
            cell: None,
            cell_overhead: None,
            burst: None,
            limit: None,
            per: None,
        }
    } else {
        let object = reader.object(node, "`rate`", RATE_KEYS)?;
        reader.require(&object, "bits", "`rate`", "write { rate: { bits: 100mbit } }");
        let bits = reader.field(&object, "bits", bits);
        let fields = RateFields {
            overhead: reader.field(&object, "overhead", signed),
            cell: reader.field(&object, "cell", Reader::whole_u32),
            cell_overhead: reader.field(&object, "cell_overhead", signed),
            burst: reader.field(&object, "burst", Reader::size),
            limit: reader.field(&object, "limit", Reader::duration),
            per: reader.field(&object, "per", Reader::word),
            bits: bits?,
        };
        if let (Some(span), None) = (object.key("cell_overhead"), object.key("cell")) {
            let wrong = Diagnostic::error("`cell_overhead` needs `cell`");
            reader.report(wrong.at(span).help("write cell: 48, or leave it out"));
        }
        fields
    };
    let limit = fields.limit.map_or(RATE_LIMIT, |limit| limit.value);
    if let Some(written) = fields.limit.filter(|limit| limit.value == Nanos::ZERO) {
        let wrong = Diagnostic::error("if nothing may wait, nearly everything is dropped");
        reader.report(wrong.at(written.span).help("write how long packets may wait: 1s"));
    }
    let rate = Rate {
        bits: fields.bits.value.0,
        overhead: fields.overhead.map_or(0, |at| at.value),
        cell: fields.cell.map_or(0, |at| at.value),
        cell_overhead: fields.cell_overhead.map_or(0, |at| at.value),
        burst: fields.burst.map_or(0, |at| at.value.0),
        limit,
        per: fields.per.map(|at| at.value).unwrap_or_default(),
    };
    let one = rate.takes(1_500, 1);
    let never = |at: &At<Nanos>| at.value > Nanos::ZERO && one > at.value && rate.burst < 1_500;
    if let Some(written) = fields.limit.filter(never) {
        let wrong = format!("a packet of 1500 bytes takes {}: none ever passes", show(one));
        let help = "`limit` is how long a packet may wait, its own time on the line included";
        reader.report(Diagnostic::warning(wrong).at(written.span).help(help));
    }
    Some(Impair::Rate(rate))
}

fn bits(reader: &mut Reader<'_>, node: &Node) -> Option<At<Bits>> {
    reader.scalar(node, "a rate such as 100mbit", |text| scalar::bits(text).map(Bits))
}

fn signed(reader: &mut Reader<'_>, node: &Node) -> Option<At<i32>> {
    reader.scalar(node, "a number of bytes", |text| {
        text.parse::<i32>().ok().filter(|n| n.unsigned_abs() <= 65_535).ok_or_else(|| Refused {
            why: "this is no number of bytes".to_owned(),
            help: "write a whole number from -65535 to 65535".to_owned(),
        })
    })
}

fn slot(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    let fields = if is_short(node) {
        let every = reader.range(node)?;
        SlotFields { every, jitter: None, distribution: None, packets: None, bytes: None }
    } else {
        let object = reader.object(node, "`slot`", SLOT_KEYS)?;
        reader.require(&object, "every", "`slot`", "write { slot: { every: 20ms } }");
        let every = reader.field(&object, "every", Reader::range);
        SlotFields {
            jitter: reader.field(&object, "jitter", Reader::duration),
            distribution: reader.field(&object, "distribution", Reader::word),
            packets: reader.field(&object, "packets", Reader::whole_u32),
            bytes: reader.field(&object, "bytes", Reader::size),
            every: every?,
        }
    };
    let At { value: Range { low, high }, span } = fields.every;
    let mut wrong = |span: Span, wrong: String, help: &str| {
        reader.report(Diagnostic::error(wrong).at(span).help(help));
    };
    if high == Nanos::ZERO {
        wrong(span, "a slot every 0s changes nothing".to_owned(), "write such as 20ms");
    }
    let ranged = fields.jitter.filter(|_| low < high);
    if let Some(jitter) = ranged {
        let help = "write a range, or one time with its jitter";
        wrong(jitter.span, "`jitter` stands beside a range".to_owned(), help);
    } else if let Some(jitter) = fields.jitter.filter(|jitter| jitter.value > low) {
        let message = format!("a jitter of {} is larger than {}", show(jitter.value), show(low));
        wrong(
            jitter.span,
            message,
            "a slot cannot come before the last one: write at most `every`",
        );
    }
    // A range is a uniform distribution around its middle.
    let half = Nanos((high.0 - low.0) / 2);
    let every = Delay {
        by: low + half,
        jitter: fields.jitter.map_or(half, |at| at.value),
        distribution: fields.distribution.map_or(Distribution::Uniform, |at| at.value),
        order: Order::Flow,
        correlation: 0,
    };
    Some(Impair::Slot(Slot {
        every,
        packets: fields.packets.map_or(u32::MAX, |at| at.value),
        bytes: fields.bytes.map_or(u64::MAX, |at| at.value.0),
    }))
}

fn reject(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    if is_short(node) {
        return reader.word(node).map(|at| Impair::Reject(at.value));
    }
    let object = reader.object(node, "`reject`", REJECT_KEYS)?;
    reader.require(&object, "with", "`reject`", "write { reject: host_unreachable }");
    let fields = RejectFields { with: reader.field(&object, "with", Reader::word)? };
    Some(Impair::Reject(fields.with.value))
}

fn hold(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    let object = reader.object(node, "`hold`", HOLD_KEYS)?;
    let until = reader.field(&object, "until", until);
    let release: Option<At<ReleaseOrder>> = reader.field(&object, "release", Reader::word);
    Some(Impair::Hold(HoldFields { until, release }))
}

fn until(reader: &mut Reader<'_>, node: &Node) -> Option<At<WrittenUntil>> {
    if !is_short(node) {
        let object = reader.object(node, "`until`", &["end_of"])?;
        reader.require(&object, "end_of", "`until`", "write { end_of: RULE }, or a time");
        let rule = reader.field(&object, "end_of", Reader::text)?;
        return Some(At { value: WrittenUntil::Rule(rule.value), span: rule.span });
    }
    let events = || Event::WORDS.iter().map(|(word, _)| *word);
    reader.scalar(node, "a time, an event, or { end_of: RULE }", |text| {
        if let Some((_, event)) = Event::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(WrittenUntil::Event(*event));
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return scalar::duration(text).map(WrittenUntil::Time);
        }
        let near = super::diagnostic::nearest(text, events());
        Err(Refused {
            why: format!("{} is neither a time nor an event", quote(text)),
            help: near.map_or_else(
                || {
                    let events = events().collect::<Vec<_>>().join(", ");
                    format!("write a time such as 20s, or one of {events}")
                },
                |near| format!("did you mean {}?", quote(near)),
            ),
        })
    })
}

fn mark(reader: &mut Reader<'_>, node: &Node) -> Option<Impair> {
    let number = |reader: &mut Reader<'_>, node: &Node| {
        reader.scalar(node, "a mark such as 0x10", scalar::mark)
    };
    if is_short(node) {
        let value = number(reader, node)?.value;
        return Some(Impair::Mark(Mark { value, mask: u32::MAX }));
    }
    let object = reader.object(node, "`mark`", MARK_KEYS)?;
    reader.require(&object, "set", "`mark`", "write { mark: 0x10 }");
    let set = reader.field(&object, "set", number);
    let fields = MarkFields { mask: reader.field(&object, "mask", number), set: set? };
    let mask = fields.mask.map_or(u32::MAX, |at| at.value);
    if let Some(written) = fields.mask.filter(|at| fields.set.value & !at.value != 0) {
        let wrong = Diagnostic::error("the mark has bits that its mask leaves alone");
        reader.report(wrong.at(written.span).help("let the mask cover the mark"));
    }
    Some(Impair::Mark(Mark { value: fields.set.value, mask }))
}
