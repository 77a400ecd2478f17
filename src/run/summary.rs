//! The tables at the end of a run, for people.

use super::outcome::{LinkOutcome, Outcome, RuleOutcome};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Links shown; the rest is in the JSON document.
const LINKS_MAX: usize = 40;

/// A run in words and tables, at most `width` columns wide.
#[must_use]
pub fn summary(outcome: &Outcome, width: u16) -> String {
    let mut out = String::new();
    if !outcome.rules.is_empty() {
        out += &rules(&outcome.rules, width);
    }
    if outcome.links.is_empty() {
        out += "\nNo packet passed between the nodes.\n";
    } else {
        out += &links(&outcome.links, width);
    }
    let t = &outcome.totals;
    let _ = writeln!(
        out,
        "\n{:.1} s, {} packets, {} lost, {} unattributed, at most {} held",
        outcome.seconds, t.packets, t.lost, t.unattributed, t.held_most
    );
    if t.resets + t.stalled > 0 {
        let _ = writeln!(
            out,
            "{} connections reset, {} packets lost behind stalls",
            t.resets, t.stalled
        );
    }
    if let Some(wire) = &outcome.wire {
        let _ = write!(out, "\nSeen on the wire:\n{}", wire.text());
    }
    // Without packets that stand for several segments the parts add up to the sum.
    let parts = outcome.links.iter().map(|link| link.packets).sum::<u64>()
        + t.foreign
        + t.unreadable
        + t.unattributed;
    if parts > t.packets {
        out +=
            "The tables count wire segments, of which the kernel hands over many as one packet.\n";
    }
    out
}

/// What each rule did, as a table.
pub(super) fn rules(rules: &[RuleOutcome], width: u16) -> String {
    let mut table = table(width, &["rule", "active", "matched", "acted", "first", "last"]);
    for rule in rules {
        table.add_row(vec![
            Cell::new(&rule.name),
            right(format!("{}x", rule.activations)),
            right(rule.matched),
            right(rule.acted),
            right(seconds(rule.first_s)),
            right(seconds(rule.last_s)),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn links(links: &[LinkOutcome], width: u16) -> String {
    let head = ["link", "packets", "dropped", "trimmed", "delayed", "late p50", "p99"];
    let mut table = table(width, &head);
    for link in links.iter().take(LINKS_MAX) {
        let late = link.lateness.as_ref();
        table.add_row(vec![
            Cell::new(format!("{} -> {}", link.from, link.to)),
            right(link.packets),
            right(link.dropped),
            right(link.trimmed),
            right(link.delayed),
            right(late.map_or_else(|| "-".into(), |l| micros(l.p50_us))),
            right(late.map_or_else(|| "-".into(), |l| micros(l.p99_us))),
        ]);
    }
    let mut out = format!("\n{}\n", table.trim_fmt());
    if let Some(more) = links.len().checked_sub(LINKS_MAX).filter(|more| *more > 0) {
        let _ = writeln!(out, "... and {more} more links: see --json");
    }
    out
}

/// A table without lines; the first column is text, the others are numbers.
pub(crate) fn table(width: u16, head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    let cell = |(i, name): (usize, &&str)| match i {
        0 => Cell::new(name),
        _ => right(name),
    };
    table.set_header(head.iter().enumerate().map(cell).collect::<Vec<_>>());
    table
}

/// A cell of a column of numbers.
pub(crate) fn right(value: impl std::fmt::Display) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |s| format!("{s:.2} s"))
}

fn micros(us: f64) -> String {
    if us < 1_000.0 { format!("{us:.0} us") } else { format!("{:.1} ms", us / 1e3) }
}
