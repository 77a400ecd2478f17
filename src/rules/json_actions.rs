//! Actions and conditions on packets for machines. Shares are numbers from 0 to 1.

use super::impair::{Losing, Lot, Part, Per, Until};
use super::narrow::{Dialled, Narrow};
use super::table::{Action, Bounds, Delay, Distribution, Loss, Order, Table};
use serde_json::{Value, json};

fn share(of: u64) -> f64 {
    of as f64 / 4_294_967_296.0
}

fn lot(lot: Lot) -> Value {
    json!({ "chance": share(lot.share), "correlation": share(lot.correlation) })
}

fn with(mut base: Value, more: &Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, more) {
        base.extend(more.clone());
    }
    base
}

/// Everything but what `json.rs` has.
pub(super) fn action(table: &Table, action: &Action) -> Value {
    match action {
        Action::Delay(of) => json!({ "delay": delay(of) }),
        Action::Lose(Losing::Lot(of)) => json!({ "loss": lot(*of) }),
        Action::Lose(Losing::Model(model)) => json!({ "loss": loss(model) }),
        Action::Reorder(of) => {
            json!({ "reorder": with(lot(of.lot), &json!({ "gap": of.gap })) })
        }
        Action::Duplicate(of) => {
            let more = json!({ "count": of.count, "delay_ns": of.delay.0 });
            json!({ "duplicate": with(lot(of.lot), &more) })
        }
        Action::Corrupt(of) => {
            let bytes = match of.part {
                Part::Bit => None,
                Part::Bytes { from, to } => Some([from, to]),
            };
            let checksum = if of.fixes_checksum { "right" } else { "wrong" };
            let more = json!({ "bytes": bytes, "checksum": checksum });
            json!({ "corrupt": with(lot(of.lot), &more) })
        }
        Action::Rate(of) => json!({ "rate": {
            "bits": of.bits,
            "overhead": of.overhead,
            "cell": of.cell,
            "cell_overhead": of.cell_overhead,
            "burst": of.burst,
            "limit_ns": of.limit.0,
            "per": match of.per {
                Per::Link => "link",
                Per::Flow => "flow",
            },
        } }),
        Action::Slot(of) => json!({ "slot": {
            "every": delay(&of.every),
            "packets": Some(of.packets).filter(|n| *n < u32::MAX),
            "bytes": Some(of.bytes).filter(|n| *n < u64::MAX),
        } }),
        Action::Reject(of) => json!({ "reject": { "with": of.word() } }),
        Action::Hold(of) => json!({ "hold": {
            "until": match of.until {
                Until::End => Value::Null,
                Until::Time(time) => json!({ "at_ns": time.0 }),
                Until::Event(event) => json!({ "event": event.word() }),
                Until::Rule(rule) => json!({ "end_of": table.rules[usize::from(rule)].name }),
            },
            "release": if of.reversed { "reversed" } else { "in_order" },
        } }),
        Action::Mark(of) => json!({ "mark": { "set": of.value, "mask": of.mask } }),
        Action::Accept
        | Action::Drop(_)
        | Action::Reset
        | Action::Stall { .. }
        | Action::Trigger(_) => Value::Null,
    }
}

fn delay(of: &Delay) -> Value {
    json!({
        "by_ns": of.by.0,
        "jitter_ns": of.jitter.0,
        "distribution": match of.distribution {
            Distribution::Uniform => json!("uniform"),
            Distribution::Normal => json!("normal"),
            Distribution::Pareto => json!("pareto"),
            Distribution::ParetoNormal => json!("paretonormal"),
            Distribution::Table { index, .. } => json!({ "table": index }),
        },
        "correlation": share(of.correlation),
        "order": match of.order {
            Order::Flow => "flow",
            Order::Free => "free",
        },
    })
}

fn loss(model: &Loss) -> Value {
    match model {
        Loss::GilbertElliott { p, r, one_minus_h, one_minus_k } => json!({ "gemodel": {
            "p": share(*p),
            "r": share(*r),
            "1-h": share(*one_minus_h),
            "1-k": share(*one_minus_k),
        } }),
        Loss::Markov { p13, p31, p32, p23, p14 } => json!({ "state": {
            "p13": share(*p13),
            "p31": share(*p31),
            "p32": share(*p32),
            "p23": share(*p23),
            "p14": share(*p14),
        } }),
    }
}

/// Conditions on the packet itself.
pub(super) fn narrow(table: &Table, of: &Narrow) -> Value {
    if of.is_nothing() {
        return Value::Null;
    }
    let bounds = |bounds: Bounds| json!([bounds.least, bounds.most]);
    let pattern = of.pattern.map(|index| &table.patterns[usize::from(index)]);
    json!({
        "dialled_by": of.dialled.map(|by| match by {
            Dialled::BySender => "sender",
            Dialled::ByReceiver => "receiver",
        }),
        "size": of.size.map(bounds),
        "payload": of.payload.map(bounds),
        "offset": of.offset.map(bounds),
        "flags": of.flags.map(|flags| json!({ "set": flags.set, "clear": flags.clear })),
        "dscp": of.dscp,
        "ecn": of.ecn,
        "contains": pattern.map(|pattern| json!({ "bytes": pattern.bytes, "at": pattern.at })),
    })
}
