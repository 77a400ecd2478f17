//! What a simulation tells, a line each: as text for people, or as JSON for machines. Times and
//! counts are whole numbers, so that a line is the same on every machine.

use super::Ended;
use super::words::{self, Fate, seconds};
use crate::engine::Extras;
use crate::run::outcome::{self, RuleOutcome};
use crate::run::summary;
use crate::time::Nanos;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Columns of the table at the end, whatever the terminal: the output is compared.
const WIDTH: u16 = 100;

/// A packet that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its number in the capture.
    pub number: u64,
    /// Since the first packet.
    pub at: Nanos,
    /// Sender and receiver, where both are nodes.
    pub link: Option<[&'a str; 2]>,
    /// What became of it.
    pub fate: Fate,
    /// The rule that decided, or the first that delayed.
    pub rule: Option<&'a str>,
    /// What else happens to it.
    pub extras: Extras,
    pub(super) now: Nanos,
    pub(super) zero: Nanos,
}

/// A packet that was held, and leaves.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// Its number in the capture.
    pub number: u64,
    /// Since the first packet.
    pub at: Nanos,
    /// Sender and receiver.
    pub link: Option<[&'a str; 2]>,
    /// Whether it was dropped while it was held.
    pub dropped: bool,
    /// Whether only its acknowledgement goes on.
    pub trimmed: bool,
    /// Whether it is a copy.
    pub copy: bool,
}

/// Something else that happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Since the first packet.
    pub at: Nanos,
    /// The rule or fault; none for what the wire told.
    pub rule: Option<String>,
    /// What.
    pub what: String,
}

/// Whoever is told.
pub trait Say {
    /// A packet was judged.
    fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()>;
    /// A packet that was held leaves.
    fn left(&mut self, left: &Left<'_>) -> io::Result<()>;
    /// Something happened.
    fn happened(&mut self, happened: &Happened) -> io::Result<()>;
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Text,
    /// An object a line.
    Json,
}

/// Writes everything down.
pub struct Writer<W> {
    out: W,
    form: Form,
    /// Whether only the end is written.
    summary: bool,
    /// Width of the column of links.
    width: usize,
    /// Packets by what became of them.
    fates: BTreeMap<&'static str, u64>,
    packets: u64,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`; `nodes` are the names that may stand in a line.
    pub fn new(out: W, form: Form, summary: bool, nodes: &[String]) -> Self {
        let longest = nodes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = longest * 2 + " -> ".len();
        Self { out, form, summary, width, fates: BTreeMap::new(), packets: 0 }
    }

    /// What each rule did, and the sums. Returns whether some rule that should have matched never
    /// did.
    pub fn end(&mut self, ended: &Ended) -> io::Result<bool> {
        let counters = ended.engine.counters();
        let rules = outcome::rules(&ended.table, counters);
        let totals = &counters.totals;
        match self.form {
            Form::Json => {
                let sums = json!({
                    "kind": "end",
                    "seed": ended.table.seed,
                    "packets": self.packets,
                    "lasted_ns": ended.lasted.0,
                    "fates": self.fates,
                    "held_most": totals.held_most.get(),
                    "unattributed": totals.unattributed.get(),
                    "backwards": ended.backwards,
                    "rules": rules,
                });
                writeln!(self.out, "{sums}")?;
            }
            Form::Text => self.end_in_words(ended, &rules)?,
        }
        self.out.flush()?;
        Ok(rules.iter().any(|rule| rule.matched == 0 && !rule.optional))
    }

    fn end_in_words(&mut self, ended: &Ended, rules: &[RuleOutcome]) -> io::Result<()> {
        let totals = &ended.engine.counters().totals;
        if !self.summary {
            writeln!(self.out)?;
        }
        if !rules.is_empty() {
            writeln!(self.out, "{}", summary::rules(rules, WIDTH))?;
        }
        let fates: Vec<_> = self.fates.iter().map(|(word, n)| format!("{n} {word}")).collect();
        let (packets, lasted) = (self.packets, seconds(ended.lasted));
        writeln!(
            self.out,
            "{packets} packets in {lasted} s: {}; at most {} held, seed {}",
            if fates.is_empty() { "none".to_owned() } else { fates.join(", ") },
            totals.held_most.get(),
            ended.table.seed,
        )?;
        for rule in rules.iter().filter(|rule| rule.matched == 0 && !rule.optional) {
            writeln!(self.out, "never matched: \"{}\"", rule.name)?;
        }
        if totals.unattributed.get() > 0 {
            writeln!(
                self.out,
                "{} packets belong to no link: their nodes share an address, or the loopback, and \
                 a recording does not tell who dialled",
                totals.unattributed.get()
            )?;
        }
        if ended.backwards > 0 {
            writeln!(
                self.out,
                "{} packets stand behind later ones: they count as come with these",
                ended.backwards
            )?;
        }
        Ok(())
    }

    fn line(&mut self, number: &str, at: Nanos, link: &str, words: &str) -> io::Result<()> {
        let (width, at) = (self.width, seconds(at));
        writeln!(self.out, "{number:>7} {at:>12}  {link:<width$}  {words}")
    }

    fn object(&mut self, object: &Value) -> io::Result<()> {
        writeln!(self.out, "{object}")
    }
}

impl<W: Write> Say for Writer<W> {
    fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let Packet { number, at, link, fate, rule, extras, now, zero } = *packet;
        self.packets += 1;
        *self.fates.entry(fate.word()).or_default() += 1;
        if self.summary {
            return Ok(());
        }
        let mut remarks = vec![fate.remark(now, zero)];
        remarks.extend(words::extras(&extras));
        remarks.retain(|remark| !remark.is_empty());
        let remark = remarks.join(", ");
        if self.form == Form::Json {
            let due = fate.due().map(|due| due.saturating_sub(zero).0);
            return self.object(&json!({
                "kind": "packet", "number": number, "t_ns": at.0, "link": link,
                "verdict": fate.word(), "due_ns": due, "remark": remark, "rule": rule,
            }));
        }
        let mut words = fate.word().to_owned();
        if !remark.is_empty() {
            let held = fate.word() == "held" || fate.word() == "rejected";
            let between = if held { " " } else { ", " };
            let _ = write!(words, "{between}{remark}");
        }
        if let Some(rule) = rule {
            let _ = write!(words, "  \"{rule}\"");
        }
        self.line(&number.to_string(), at, &shown(link), &words)
    }

    fn left(&mut self, left: &Left<'_>) -> io::Result<()> {
        let Left { number, at, link, dropped, trimmed, copy } = *left;
        if self.summary {
            return Ok(());
        }
        let what = match (dropped, trimmed) {
            (true, _) => "dropped while it was held",
            (false, true) => "leaves as its acknowledgement",
            (false, false) => "leaves",
        };
        if self.form == Form::Json {
            return self.object(&json!({
                "kind": "left", "number": number, "t_ns": at.0, "link": link, "what": what,
                "copy": copy,
            }));
        }
        let who = if copy { "a copy of packet" } else { "packet" };
        self.line("", at, &shown(link), &format!("{who} {number} {what}"))
    }

    fn happened(&mut self, happened: &Happened) -> io::Result<()> {
        let Happened { at, rule, what } = happened;
        if self.summary {
            return Ok(());
        }
        if self.form == Form::Json {
            let happened = json!({ "kind": "event", "t_ns": at.0, "rule": rule, "what": what });
            return self.object(&happened);
        }
        let rule = rule.as_ref().map_or(String::new(), |rule| format!("\"{rule}\" "));
        self.line("", *at, "*", &format!("{rule}{what}"))
    }
}

fn shown(link: Option<[&str; 2]>) -> String {
    link.map_or("-".to_owned(), |[from, to]| format!("{from} -> {to}"))
}
