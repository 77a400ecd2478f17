//! Numbers in few columns, and text cut to fit.

/// A rate or a count that needs no more than five columns: `0`, `4.2`, `123`, `1.2k`, `34M`.
#[must_use]
pub fn short(number: f64) -> String {
    if number <= 0.0 {
        return "0".into();
    }
    let mut rest = number;
    for unit in ["", "k", "M", "G", "T"] {
        let whole = unit.is_empty() && rest.fract() == 0.0;
        if rest < 9.95 && !whole {
            return format!("{rest:.1}{unit}");
        }
        if rest < 999.5 {
            return format!("{rest:.0}{unit}");
        }
        rest /= 1_000.0;
    }
    "lots".into()
}

/// A rate that may not be known yet.
#[must_use]
pub fn rate(number: Option<f64>) -> String {
    number.map_or("-".into(), short)
}

/// A count.
#[must_use]
pub fn count(number: u64) -> String {
    short(number as f64)
}

/// A round trip of so many microseconds.
#[must_use]
pub fn trip(us: u32) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..10_000 => format!("{:.1}ms", f64::from(us) / 1e3),
        10_000..1_000_000 => format!("{:.0}ms", f64::from(us) / 1e3),
        _ => format!("{:.1}s", f64::from(us) / 1e6),
    }
}

/// A moment on the rules' clock.
#[must_use]
pub fn moment(seconds: f64) -> String {
    if seconds < 10_000.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") }
}

/// As much of a text as fits, with an ellipsis where it does not.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "\u{2026}" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_five_columns_at_most() {
        for (number, text) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (1.0, "1"),
            (4.25, "4.2"),
            (9.96, "10"),
            (123.4, "123"),
            (999.6, "1.0k"),
            (12_345.0, "12k"),
            (999_600.0, "1.0M"),
            (2.5e12, "2.5T"),
            (1e18, "lots"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
        for (us, text) in
            [(0, "0us"), (999, "999us"), (1_540, "1.5ms"), (21_400, "21ms"), (2_500_000, "2.5s")]
        {
            assert_eq!(trip(us), text);
        }
        assert_eq!((cut("abcdef", 6), cut("abcdef", 4)), ("abcdef".into(), "abc\u{2026}".into()));
    }
}
