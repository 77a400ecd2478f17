//! What runs are compared by: each measure with its unit and its better side.

use serde::{Serialize, Serializer};

/// Which side of a measure is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither: it says how alike the runs were.
    Neither,
}

/// In what a measure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// A second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Of a hundred.
    #[serde(rename = "%")]
    Percent,
    /// A number of things.
    #[serde(rename = "1")]
    Count,
}

/// One measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// For machines.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its better side.
    pub better: Side,
}

const fn lower(key: &'static str, name: &'static str, unit: Unit) -> Measure {
    Measure { key, name, unit, better: Side::Lower }
}

const fn higher(key: &'static str, name: &'static str, unit: Unit) -> Measure {
    Measure { key, name, unit, better: Side::Higher }
}

/// All of them, in the order in which they are told.
pub const MEASURES: &[Measure] = &[
    lower("recovery", "recovery after healing", Unit::Seconds),
    lower("unavailable_longest", "longest without a write", Unit::Seconds),
    lower("unavailable_sum", "without a write, together", Unit::Seconds),
    lower("unanswered", "calls not answered", Unit::Percent),
    higher("throughput_before", "calls before faults", Unit::PerSecond),
    higher("throughput_faults", "calls under faults", Unit::PerSecond),
    lower("latency_p50", "latency p50", Unit::Millis),
    lower("latency_p90", "latency p90", Unit::Millis),
    lower("latency_p99", "latency p99", Unit::Millis),
    lower("latency_before_p50", "before faults p50", Unit::Millis),
    lower("latency_before_p90", "before faults p90", Unit::Millis),
    lower("latency_before_p99", "before faults p99", Unit::Millis),
    lower("latency_faults_p50", "under faults p50", Unit::Millis),
    lower("latency_faults_p90", "under faults p90", Unit::Millis),
    lower("latency_faults_p99", "under faults p99", Unit::Millis),
    Measure { key: "elections", name: "elections", unit: Unit::Count, better: Side::Neither },
    lower("election_longest", "longest election", Unit::Seconds),
];

/// A value of a measure; infinite where it never came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading(pub f64);

impl Serialize for Reading {
    /// A number, or `never`: JSON has no infinity.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else {
            serializer.serialize_str("never")
        }
    }
}

impl Unit {
    /// A value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        if value.is_infinite() {
            return "never".to_owned();
        }
        match self {
            Self::Seconds => format!("{value:.2} s"),
            Self::Millis if value.abs() >= 99.95 => format!("{value:.0} ms"),
            Self::Millis if value.abs() >= 9.995 => format!("{value:.1} ms"),
            Self::Millis => format!("{value:.2} ms"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Percent => format!("{value:.1} %"),
            Self::Count => format!("{}", (value * 10.0).round() / 10.0),
        }
    }

    /// An interval of differences, with one unit.
    #[must_use]
    pub fn show_interval(self, (low, high): (f64, f64)) -> String {
        let high = self.show(high);
        // A negative zero is no sign.
        let low = self.show(low + 0.0);
        let unit = high.split_once(' ').map_or("", |(_, unit)| unit);
        let low = low.strip_suffix(unit).unwrap_or(&low).trim_end();
        let sign = |text: &str| if text.starts_with('-') { "" } else { "+" };
        format!("{}{low} to {}{high}", sign(low), sign(&high))
    }
}

/// By how much the second lies above the first; in percent where that says something.
#[must_use]
pub fn change(unit: Unit, before: f64, after: f64) -> String {
    if before.is_infinite() || after.is_infinite() {
        return match (before.is_infinite(), after.is_infinite()) {
            (true, true) => "never, as before",
            (true, false) => "no longer never",
            _ => "never any more",
        }
        .to_owned();
    }
    // What looks alike is told as alike.
    if unit.show(before) == unit.show(after) {
        return "same".to_owned();
    }
    let percent = (after / before - 1.0) * 100.0;
    if before > 0.0 && percent.abs() < 999.5 && !matches!(unit, Unit::Percent | Unit::Count) {
        return format!("{percent:+.0} %");
    }
    let difference = unit.show(after - before);
    if difference.starts_with('-') { difference } else { format!("+{difference}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_measure_has_a_key_and_a_name_of_its_own_that_fits_a_table() {
        let keys: BTreeSet<&str> = MEASURES.iter().map(|measure| measure.key).collect();
        let names: BTreeSet<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        assert_eq!((keys.len(), names.len()), (MEASURES.len(), MEASURES.len()));
        assert!(names.iter().all(|name| name.len() <= 26), "{names:?}");
    }

    #[test]
    fn values_have_as_many_digits_as_mean_something() {
        assert_eq!(Unit::Seconds.show(0.8156), "0.82 s");
        assert_eq!(
            [2.895, 37.311, 99.96, 1200.0].map(|ms| Unit::Millis.show(ms)),
            ["2.90 ms", "37.3 ms", "100 ms", "1200 ms"]
        );
        assert_eq!(Unit::Count.show(3.0), "3");
        assert_eq!(Unit::Count.show(2.5), "2.5");
        assert_eq!(Unit::Seconds.show(f64::INFINITY), "never");
        assert_eq!(Unit::Seconds.show_interval((-0.3, -0.05)), "-0.30 to -0.05 s");
        assert_eq!(Unit::Count.show_interval((-1.0, 2.0)), "-1 to +2");
        assert_eq!(
            serde_json::to_string(&[Reading(1.5), Reading(f64::INFINITY)]).expect("it"),
            "[1.5,\"never\"]"
        );
    }

    #[test]
    fn a_change_is_told_in_percent_where_that_says_something() {
        assert_eq!(change(Unit::Seconds, 2.0, 1.0), "-50 %");
        assert_eq!(change(Unit::Millis, 2.0, 4.5), "+125 %");
        assert_eq!(change(Unit::Seconds, 0.01, 5.0), "+4.99 s");
        assert_eq!(change(Unit::Seconds, 0.0, 0.5), "+0.50 s");
        assert_eq!(change(Unit::Percent, 1.0, 0.5), "-0.5 %");
        assert_eq!(change(Unit::Count, 3.0, 4.0), "+1");
        assert_eq!(change(Unit::Seconds, 0.811, 0.812), "same");
        assert_eq!(change(Unit::Seconds, 1.0, f64::INFINITY), "never any more");
        assert_eq!(change(Unit::Seconds, f64::INFINITY, 1.0), "no longer never");
    }
}
