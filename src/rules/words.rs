//! Actions and conditions on packets in words, for the link matrix.

use super::impair::{Losing, Lot, Part, Per, Until};
use super::narrow::{Dialled, ECN, FLAGS, Narrow, Pattern};
use super::scalar::show;
use super::table::{Action, Bounds, Delay, Distribution, Loss, Order, Rule, Table, What};
use crate::time::Nanos;
use std::fmt::Write as _;

/// A share of 2^32 as people write it.
pub(super) fn percent(share: u64) -> String {
    let shown = format!("{:.6}", share as f64 * 100.0 / 4_294_967_296.0);
    format!("{}%", shown.trim_end_matches('0').trim_end_matches('.'))
}

fn bits(bits: u64) -> String {
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    let unit = units.into_iter().find(|(size, _)| bits.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bits}bit"), |(size, unit)| format!("{}{unit}", bits / size))
}

/// An action in a cell.
pub(super) fn short(action: &Action) -> String {
    match action {
        Action::Accept => "accept".to_owned(),
        Action::Drop(What::Packets) => "drop".to_owned(),
        Action::Drop(What::Data) => "drop data".to_owned(),
        Action::Delay(delay) => format!("+{}", length(delay)),
        Action::Reset => "reset".to_owned(),
        Action::Stall { .. } => "stall".to_owned(),
        Action::Trigger(_) => "trigger".to_owned(),
        Action::Lose(Losing::Lot(lot)) => format!("loss {}", percent(lot.share)),
        Action::Lose(Losing::Model(_)) => "loss in bursts".to_owned(),
        Action::Reorder(_) => "reorder".to_owned(),
        Action::Duplicate(_) => "duplicate".to_owned(),
        Action::Corrupt(_) => "corrupt".to_owned(),
        Action::Rate(rate) => bits(rate.bits),
        Action::Slot(slot) => format!("slots {}", length(&slot.every)),
        Action::Reject(_) => "reject".to_owned(),
        Action::Hold(_) => "hold".to_owned(),
        Action::Mark(mark) => format!("mark {:#x}", mark.value),
    }
}

fn length(delay: &Delay) -> String {
    match delay.jitter {
        Nanos::ZERO => show(delay.by),
        jitter => format!("{}±{}", show(delay.by), show(jitter)),
    }
}

fn shape(delay: &Delay) -> String {
    let mut shape = match delay.distribution {
        Distribution::Uniform => String::new(),
        Distribution::Normal => ", normal".to_owned(),
        Distribution::Pareto => ", pareto".to_owned(),
        Distribution::ParetoNormal => ", paretonormal".to_owned(),
        Distribution::Table { .. } => ", by a table".to_owned(),
    };
    if delay.correlation > 0 {
        let _ = write!(shape, ", correlation {}", percent(delay.correlation));
    }
    shape
}

fn lot(lot: Lot) -> String {
    let mut words = percent(lot.share);
    if lot.correlation > 0 {
        let _ = write!(words, " with correlation {}", percent(lot.correlation));
    }
    words
}

/// An action in words.
pub(super) fn long(table: &Table, rule: &Rule, action: &Action) -> String {
    match action {
        Action::Delay(delay) => {
            let order = match delay.order {
                Order::Free => ", may reorder",
                Order::Flow => "",
            };
            format!("delay by {}{}{order}", length(delay), shape(delay))
        }
        Action::Drop(_) if rule.heals_by_reset => {
            format!("{}, at the end reset what it starved", short(action))
        }
        Action::Lose(Losing::Lot(of)) => format!("lose {}", lot(*of)),
        Action::Lose(Losing::Model(model)) => lose_by(model),
        Action::Reorder(of) => {
            let gap = if of.gap > 1 { format!(" of each {}th", of.gap) } else { String::new() };
            format!("let {}{gap} overtake", lot(of.lot))
        }
        Action::Duplicate(of) => {
            let mut words = format!("duplicate {}", lot(of.lot));
            if of.count > 1 {
                let _ = write!(words, ", {} copies", of.count);
            }
            if of.delay > Nanos::ZERO {
                let _ = write!(words, ", {} later", show(of.delay));
            }
            words
        }
        Action::Corrupt(of) => {
            let part = match of.part {
                Part::Bit => "one bit".to_owned(),
                Part::Bytes { from, to } => format!("bytes {from}..{to}"),
            };
            let seen = if of.fixes_checksum { "checksum made right" } else { "checksum wrong" };
            format!("corrupt {part} of {}, {seen}", lot(of.lot))
        }
        Action::Rate(of) => {
            let per = match of.per {
                Per::Link => "",
                Per::Flow => " for each flow",
            };
            let mut words = format!("rate {}{per}", bits(of.bits));
            if of.overhead != 0 {
                let _ = write!(words, ", {:+} bytes a packet", of.overhead);
            }
            if of.cell > 0 {
                let _ = write!(words, ", in cells of {}{:+} bytes", of.cell, of.cell_overhead);
            }
            if of.burst > 0 {
                let _ = write!(words, ", bursts of {} bytes", of.burst);
            }
            let _ = write!(words, ", drop what waits over {}", show(of.limit));
            words
        }
        Action::Slot(of) => {
            let mut words =
                format!("deliver in slots every {}{}", length(&of.every), shape(&of.every));
            if of.packets < u32::MAX {
                let _ = write!(words, ", {} packets each", of.packets);
            }
            if of.bytes < u64::MAX {
                let _ = write!(words, ", {} bytes each", of.bytes);
            }
            words
        }
        Action::Reject(of) => format!("reject with {}", of.word()),
        Action::Hold(of) => {
            let until = match of.until {
                Until::End => "the end".to_owned(),
                Until::Time(time) => show(time),
                Until::Event(event) => event.word().to_owned(),
                Until::Rule(rule) => format!("the end of {}", table.rules[usize::from(rule)].name),
            };
            let order = if of.reversed { ", the last leaves first" } else { "" };
            format!("hold until {until}{order}")
        }
        Action::Mark(of) if of.mask != u32::MAX => {
            format!("mark {:#x}/{:#x}", of.value, of.mask)
        }
        other => short(other),
    }
}

fn lose_by(model: &Loss) -> String {
    match model {
        Loss::GilbertElliott { p, r, one_minus_h, one_minus_k } => format!(
            "lose by Gilbert-Elliott p {} r {} 1-h {} 1-k {}",
            percent(*p),
            percent(*r),
            percent(*one_minus_h),
            percent(*one_minus_k),
        ),
        Loss::Markov { p13, p31, p32, p23, p14 } => format!(
            "lose by four states p13 {} p31 {} p32 {} p23 {} p14 {}",
            percent(*p13),
            percent(*p31),
            percent(*p32),
            percent(*p23),
            percent(*p14),
        ),
    }
}

/// Numbers in words.
pub(super) fn bounds(bounds: Bounds) -> String {
    match (bounds.least, bounds.most) {
        (least, u64::MAX) => format!("{least} or more"),
        (least, most) if least == most => least.to_string(),
        (0, most) => format!("{most} or less"),
        (least, most) => format!("{least} to {most}"),
    }
}

/// Conditions on the packet itself, one a word or a few.
pub(super) fn narrow(table: &Table, of: &Narrow) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(of.dialled.map(|by| match by {
        Dialled::BySender => "dialled by the sender".to_owned(),
        Dialled::ByReceiver => "dialled by the receiver".to_owned(),
    }));
    words.extend(of.size.map(|size| format!("packets of {} bytes", bounds(size))));
    words.extend(of.payload.map(|payload| format!("{} bytes of payload", bounds(payload))));
    words.extend(of.offset.map(|offset| format!("bytes {} of the stream", bounds(offset))));
    if let Some(flags) = of.flags {
        let of = |sign: &str, bits: u8| {
            let named = FLAGS.into_iter().filter(|(_, bit)| bits & bit != 0);
            named.map(|(name, _)| format!("{sign}{name}")).collect::<Vec<_>>()
        };
        words.push([of("", flags.set), of("!", flags.clear)].concat().join(" "));
    }
    words.extend(of.dscp.map(|dscp| format!("dscp {dscp}")));
    words.extend(of.ecn.map(|codes| {
        let names = ECN.into_iter().enumerate();
        let meant = names.filter(|(i, _)| codes & (1 << i) != 0).map(|(_, name)| name);
        format!("ecn {}", meant.collect::<Vec<_>>().join(" or "))
    }));
    words.extend(of.pattern.map(|index| contains(&table.patterns[usize::from(index)])));
    words
}

fn contains(pattern: &Pattern) -> String {
    let text = std::str::from_utf8(&pattern.bytes).ok();
    let shown = match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => format!("{text:?}"),
        None => pattern.bytes.iter().fold("0x".to_owned(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    };
    match pattern.at {
        Some(at) => format!("containing {shown} at {at}"),
        None => format!("containing {shown}"),
    }
}
