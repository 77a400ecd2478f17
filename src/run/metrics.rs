//! Metrics in the words of Prometheus: what is measured, as a document in one of its two formats.
//!
//! Pure; the main thread fills it in (`control/measuring.rs`) when somebody asks. Names follow its
//! conventions: counters end in `_total`, which the encoder adds, and units are base units. How
//! many series there are is bounded where they are filled in.

use crate::engine::lateness::BOUNDS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// How the document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, which everybody reads.
    Text,
    /// `OpenMetrics`, for whoever asks for it.
    OpenMetrics,
}

impl Format {
    /// The one that a request prefers, by its header `Accept`.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let best = |kind: &str| {
            let ranges = accept.unwrap_or_default().split(',').map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let named = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(kind));
                let q = parts.find_map(|p| p.strip_prefix("q=").and_then(|q| q.parse().ok()));
                if named { q.unwrap_or(1.0) } else { 0.0 }
            });
            ranges.fold(0.0, f64::max)
        };
        let open = best("application/openmetrics-text");
        if open > 0.0 && open >= best("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// The content type of the document.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Labels of a series.
pub type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// Everything that is measured, in the order in which it was put in.
#[derive(Debug, Default)]
pub struct Metrics(Vec<Family>);

/// One metric.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Count(u64),
    Gauge(u64),
    Seconds(f64),
    Info,
    /// Counts by bucket, and the sum, s.
    Late([u64; BOUNDS.len() + 1], f64),
}

/// A metric that is being filled in.
#[derive(Debug)]
pub struct Filled<'a>(&'a mut Family);

impl Metrics {
    /// What only grows; its name without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Filled<'_> {
        self.family(name, help, None, MetricType::Counter)
    }

    /// What goes up and down.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Filled<'_> {
        self.family(name, help, None, MetricType::Gauge)
    }

    /// A time, s; its name without `_seconds`.
    pub fn seconds(&mut self, name: &'static str, help: &'static str, value: f64) {
        let family = self.family(name, help, Some(Unit::Seconds), MetricType::Gauge);
        family.0.series.push(Series { labels: Vec::new(), value: Value::Seconds(value) });
    }

    /// What never changes, as labels; its name without `_info`.
    pub fn info<const N: usize>(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels<'_, N>,
    ) {
        let family = self.family(name, help, None, MetricType::Info);
        family.0.series.push(Series { labels: owned(labels), value: Value::Info });
    }

    /// How late packets were, from what [`Late::read`](crate::engine::lateness::Late::read) gives;
    /// its name without `_seconds`.
    pub fn lateness(
        &mut self,
        name: &'static str,
        help: &'static str,
        (buckets, sum_ns): ([u64; BOUNDS.len() + 1], u64),
    ) {
        let family = self.family(name, help, Some(Unit::Seconds), MetricType::Histogram);
        let value = Value::Late(buckets, sum_ns as f64 / 1e9);
        family.0.series.push(Series { labels: Vec::new(), value });
    }

    fn family(
        &mut self,
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        kind: MetricType,
    ) -> Filled<'_> {
        self.0.push(Family { name, help, unit, kind, series: Vec::new() });
        Filled(self.0.last_mut().expect("it was just put in"))
    }

    /// The document.
    #[must_use]
    pub fn document(self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        let written = match format {
            Format::Text => prometheus_text::encode(&mut text, &registry),
            Format::OpenMetrics => text::encode(&mut text, &registry),
        };
        written.expect("writing into a string cannot fail");
        text
    }
}

impl Filled<'_> {
    /// A series without labels of a counter.
    pub fn is(mut self, value: u64) {
        self.put([], value);
    }

    fn put<const N: usize>(&mut self, labels: Labels<'_, N>, value: u64) {
        let value = match self.0.kind {
            MetricType::Counter => Value::Count(value),
            _ => Value::Gauge(value),
        };
        self.0.series.push(Series { labels: owned(labels), value });
    }

    /// A series of each.
    pub fn all<'l, const N: usize>(
        mut self,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) {
        for (labels, value) in series {
            self.put(labels, value);
        }
    }
}

fn owned<const N: usize>(labels: Labels<'_, N>) -> Vec<(&'static str, String)> {
    labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A metric of nothing would be a name without a value.
        for family in self.0.iter().filter(|family| !family.series.is_empty()) {
            let Family { name, help, unit, kind, series } = family;
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for Series { labels, value } in series {
                match (labels.as_slice(), value) {
                    (labels, Value::Info) => metric.encode_info(&labels)?,
                    ([], value) => write(&mut metric, value)?,
                    (labels, value) => write(&mut metric.encode_family(&labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(n) => metric.encode_counter::<NoLabelSet, u64, u64>(n, None),
        Value::Gauge(n) => metric.encode_gauge(n),
        Value::Seconds(s) => metric.encode_gauge(s),
        // Only as labels, which the caller writes.
        Value::Info => Ok(()),
        Value::Late(counts, sum) => {
            let bounds = BOUNDS.iter().map(|ns| *ns as f64 / 1e9).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
            let count = counts.iter().sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, &buckets, None)
        }
    }
}
