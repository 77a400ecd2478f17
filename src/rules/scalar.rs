//! Durations, percentages and whole numbers, from text and back.
//!
//! All arithmetic is in whole numbers: the same text gives the same value everywhere.

use super::file::Range;
use super::table::Bounds;
use crate::time::Nanos;

/// Why a scalar is refused, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: String,
    pub(super) help: String,
}

/// The longest duration: a year. No rule needs more, and sums of a few cannot overflow.
const LONGEST: Nanos = Nanos::from_secs(365 * 24 * 3600);

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `10s`, `1.5s` or `1m30s`.
pub(super) fn duration(text: &str) -> Result<Nanos, Refused> {
    let refuse = |why: &str, help: &str| Refused { why: why.to_owned(), help: help.to_owned() };
    let shape = || refuse("this is not a duration", "write a number and its unit, such as 10s");
    if text.starts_with('-') {
        return Err(refuse("a duration cannot be negative", "times count forward: write 10s"));
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, behind) = decimal(rest).ok_or_else(shape)?;
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        if unit.is_empty() {
            return Err(refuse(
                "this duration has no unit",
                &format!("write {text}s for seconds, or {text}ms for milliseconds"),
            ));
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Refused {
                why: format!("{} is not a unit of time", super::diagnostic::quote(unit)),
                help: "units are ns, us, ms, s, m and h, right behind the number".to_owned(),
            });
        };
        total = total.saturating_add(number.times(u128::from(*size)));
        rest = next;
    }
    if text.is_empty() {
        return Err(shape());
    }
    match u64::try_from(total).map(Nanos) {
        Ok(nanos) if nanos <= LONGEST => Ok(nanos),
        _ => Err(refuse("this duration is longer than a year", "write at most 8760h")),
    }
}

/// Reads a duration, or `5s..10s`.
pub(super) fn range(text: &str) -> Result<Range, Refused> {
    let Some((low, high)) = text.split_once("..") else {
        let fixed = duration(text)?;
        return Ok(Range { low: fixed, high: fixed });
    };
    let (low, high) = (low.trim_end(), high.trim_start());
    if low.is_empty() || high.is_empty() {
        return Err(Refused {
            why: "this range has one end only".to_owned(),
            help: "write both, such as 5s..10s".to_owned(),
        });
    }
    let range = Range { low: duration(low)?, high: duration(high)? };
    if range.low > range.high {
        return Err(Refused {
            why: "this range ends before it begins".to_owned(),
            help: format!("write {high}..{low}"),
        });
    }
    Ok(range)
}

/// Units and their sizes; the longest of those that fit is meant.
type Units = &'static [(&'static str, u128)];

/// Bits a second.
const RATES: Units = &[
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("tbit", 1_000_000_000_000),
    ("kibit", 1 << 10),
    ("mibit", 1 << 20),
    ("gibit", 1 << 30),
    ("tibit", 1 << 40),
];

/// Bytes.
const SIZES: Units = &[
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
];

/// Reads `100mbit` or `100mbit/s` as bits a second. `100mbps` is refused: tc means bytes by it.
pub(super) fn bits(text: &str) -> Result<u64, Refused> {
    let bare = text.strip_suffix("/s").unwrap_or(text);
    let help = "write a number of bits a second, such as 100mbit";
    sized(bare, RATES, u128::from(u64::MAX / 16), "this is no rate", help)
}

/// Reads `16KiB` as bytes.
pub(super) fn size(text: &str) -> Result<u64, Refused> {
    sized(text, SIZES, 1 << 40, "this is no number of bytes", "write such as 1500, 64KiB or 1MB")
}

fn sized(text: &str, units: Units, most: u128, why: &str, help: &str) -> Result<u64, Refused> {
    let refuse = |why: &str| Refused { why: why.to_owned(), help: help.to_owned() };
    let (number, unit) = decimal(text.trim()).ok_or_else(|| refuse(why))?;
    let unit = unit.trim().to_ascii_lowercase();
    let Some((_, size)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(refuse(why));
    };
    match number.times(*size) {
        0 => Err(refuse("that is nothing")),
        n if n > most => Err(refuse("that is too much")),
        n => Ok(n as u64),
    }
}

/// Reads `0x10` or `16`.
pub(super) fn mark(text: &str) -> Result<u32, Refused> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| Refused {
        why: "this is no mark".to_owned(),
        help: "write a number of at most 32 bits, such as 0x10".to_owned(),
    })
}

/// Reads a percentage that may be 0.
pub(super) fn share(text: &str) -> Result<u64, Refused> {
    match decimal(text) {
        Some((number, "%")) if number.digits == 0 => Ok(0),
        _ => percentage(text),
    }
}

/// Reads `33%` or `0.5%` as a share of 2^32.
pub(super) fn percentage(text: &str) -> Result<u64, Refused> {
    let refuse = |why: &str, help: String| Refused { why: why.to_owned(), help };
    let write = || "write a percentage, such as 33%".to_owned();
    if text.starts_with('-') {
        return Err(refuse("a chance cannot be negative", write()));
    }
    let Some((number, unit)) = decimal(text) else {
        return Err(refuse("this is not a percentage", write()));
    };
    if unit.is_empty() {
        return Err(refuse("this chance has no percent sign", format!("write {text}%")));
    }
    if unit != "%" {
        return Err(refuse("this is not a percentage", write()));
    }
    if number.digits > 100 * number.scale {
        return Err(refuse("a chance cannot be over 100%", "write at most 100%".to_owned()));
    }
    // Rounded to the nearest share.
    let whole = 100 * number.scale;
    let share = ((number.digits << 32) + whole / 2) / whole;
    if share == 0 {
        let help = "leave the rule out, or write at least 0.0000001%".to_owned();
        return Err(refuse("with this chance the rule can never match", help));
    }
    Ok(share as u64)
}

/// Reads digits and nothing else.
pub(super) fn whole(text: &str, least: u64, most: u64) -> Result<u64, Refused> {
    let range = || {
        if most == u64::MAX {
            format!("write a whole number, {least} or more")
        } else {
            format!("write a whole number from {least} to {most}")
        }
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refused { why: "this is not a whole number".to_owned(), help: range() });
    }
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Refused { why: "this number is out of range".to_owned(), help: range() }),
    }
}

/// Reads `3`, `=3`, `>3`, `>=3`, `<3`, `<=3` or `3..5`.
pub(super) fn bounds(text: &str) -> Result<Bounds, Refused> {
    if let Some((least, most)) = text.split_once("..") {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        return match (number(least), number(most)) {
            (Some(least), Some(most)) if least <= most => Ok(Bounds { least, most }),
            _ => Err(Refused {
                why: "this is no range of numbers".to_owned(),
                help: "write the smaller one first, such as 3..5; both belong to it".to_owned(),
            }),
        };
    }
    let split = text.find(|c: char| !matches!(c, '<' | '>' | '=')).unwrap_or(text.len());
    let (sign, number) = text.split_at(split);
    let help = || "write a number, or in quotes \">3\", \">=3\", \"<3\" or \"<=3\"".to_owned();
    let number = number.trim_start();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refused {
            why: "this is not a number or a comparison".to_owned(),
            help: help(),
        });
    }
    let out_of_range = || Refused { why: "no number can be like this".to_owned(), help: help() };
    let number: u64 = number.parse().map_err(|_| out_of_range())?;
    let bounds = match sign {
        "" | "=" => Some((number, number)),
        ">=" => Some((number, u64::MAX)),
        "<=" => Some((0, number)),
        ">" => number.checked_add(1).map(|least| (least, u64::MAX)),
        "<" => number.checked_sub(1).map(|most| (0, most)),
        _ => {
            let why = format!("{} is not a comparison", super::diagnostic::quote(sign));
            return Err(Refused { why, help: help() });
        }
    };
    let (least, most) = bounds.ok_or_else(out_of_range)?;
    Ok(Bounds { least, most })
}

/// A decimal number: `digits / scale`.
struct Decimal {
    digits: u128,
    scale: u128,
}

impl Decimal {
    fn times(&self, factor: u128) -> u128 {
        self.digits.saturating_mul(factor) / self.scale
    }
}

/// A decimal number at the start of a text, and what stands behind it.
fn decimal(text: &str) -> Option<(Decimal, &str)> {
    // More digits than this mean nothing in nanoseconds, and could overflow.
    const DIGITS_MAX: usize = 18;
    const DECIMALS_MAX: usize = 12;
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    if whole.is_empty() || whole.len() > DIGITS_MAX {
        return None;
    }
    let (decimals, rest) = match rest.strip_prefix('.') {
        Some(behind) => behind.split_at(digits(behind)),
        None => ("0", rest),
    };
    if decimals.is_empty() || decimals.len() > DECIMALS_MAX {
        return None;
    }
    let scale = 10_u128.pow(decimals.len() as u32);
    let whole: u128 = whole.parse().ok()?;
    let decimals: u128 = decimals.parse().ok()?;
    Some((Decimal { digits: whole * scale + decimals, scale }, rest))
}

/// A duration for people, exact: `1.5s`, `20ms`, `1m30s`.
pub(super) fn show(span: Nanos) -> String {
    const MINUTE: u64 = 60_000_000_000;
    let ns = span.0;
    if span == Nanos::MAX {
        return "forever".to_owned();
    }
    if ns < MINUTE || !ns.is_multiple_of(1_000_000_000) {
        let (size, unit) = match ns {
            0 | 1_000_000_000.. => (1_000_000_000, "s"),
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "us"),
            _ => (1, "ns"),
        };
        let decimals = format!("{:09}", u128::from(ns % size) * (1_000_000_000 / u128::from(size)));
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        return format!("{}{point}{decimals}{unit}", ns / size);
    }
    let seconds = ns / 1_000_000_000;
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}"));
    shown.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show() {
        for (text, ns) in [
            ("10s", 10_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("20ms", 20_000_000),
            ("250us", 250_000),
            ("7ns", 7),
            ("0s", 0),
            ("1h30m", 5_400_000_000_000),
        ] {
            assert_eq!(duration(text), Ok(Nanos(ns)), "{text}");
            assert_eq!(duration(&show(Nanos(ns))), Ok(Nanos(ns)), "{text} shown and read");
        }
        assert_eq!(show(Nanos(1_500_000)), "1.5ms");
        assert_eq!(show(Nanos(61_500_000_000)), "61.5s");
        assert_eq!(show(Nanos(90_000_000_000)), "1m30s");
    }

    #[test]
    fn durations_that_are_none() {
        for text in ["", "s", "10", "-1s", "1,5s", "10 s", "1.s", ".5s", "9000h", "5 minutes"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("99999999999999999999999999999s").is_err());
        assert!(duration(&"999999999999999h".repeat(100_000)).is_err());
    }

    #[test]
    fn percentages() {
        assert_eq!(percentage("100%"), Ok(1 << 32));
        assert_eq!(percentage("50%"), Ok(1 << 31));
        assert_eq!(percentage("0.5%"), Ok(21_474_836));
        for text in ["0%", "0.00000000001%", "100.1%", "33", "-1%", "%", "half", "33 %"] {
            assert!(percentage(text).is_err(), "{text}");
        }
    }
}
