//! Phases: named stretches of time, one behind the other, that rules are in.
//!
//! They are gone once a table is compiled: each rule's window has its place in time, and ends with
//! its phase. The table keeps their names and times for people.

use super::diagnostic::{Diagnostic, Sink, nearest, quote};
use super::file::{PhaseEntry, RuleEntry};
use super::scalar::show;
use super::times::TIME_MIN;
use super::window::{Part, drawn, key};
use crate::time::Nanos;

/// The most phases a file may have.
const PHASES_MAX: usize = 1_000;

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name, unique in the table.
    pub name: String,
    /// When it begins.
    pub start: Nanos,
    /// When it ends, exclusive.
    pub end: Nanos,
}

/// A phase as it was placed, with the shortest that its file allows.
struct Placed {
    phase: Phase,
    shortest: Nanos,
}

/// All phases of a file.
#[derive(Default)]
pub(super) struct Phases {
    placed: Vec<Placed>,
    /// Names of those that are wrong, so that nobody is told that there are none such.
    broken: Vec<String>,
}

impl Phases {
    /// Places the phases of a file; what is drawn is drawn from the seed and the phase's name.
    pub(super) fn new(entries: &[PhaseEntry], seed: u64, sink: &mut Sink) -> Self {
        let mut phases = Self::default();
        if let Some(entry) = entries.get(PHASES_MAX) {
            let message = format!("{} phases are more than {PHASES_MAX}", entries.len());
            sink.push(Diagnostic::error(message).at(entry.span).field("phases"));
        }
        for (i, entry) in entries.iter().enumerate() {
            let Some(name) = &entry.name else { continue };
            let before = sink.errors();
            let same = |former: &&PhaseEntry| {
                former.name.as_ref().is_some_and(|former| former.value == name.value)
            };
            if let Some(first) = entries[..i].iter().find(same).and_then(|it| it.name.as_ref()) {
                let message = format!("a second phase is called {}", quote(&name.value));
                let wrong = Diagnostic::error(message).at(name.span).first(first.span);
                let help = "give each phase its own name; rules are put into it by that";
                sink.push(wrong.field("phases").help(help));
                continue;
            }
            match phases.place(entry, &name.value, seed, sink) {
                Some(placed) if sink.errors() == before => phases.placed.push(placed),
                _ => phases.broken.push(name.value.clone()),
            }
        }
        phases
    }

    fn place(&self, entry: &PhaseEntry, name: &str, seed: u64, sink: &mut Sink) -> Option<Placed> {
        let mut wrong = |span, field: &str, message: String, help: &str| {
            sink.push(Diagnostic::error(message).at(span).field(field).help(help));
        };
        let lasts = entry.r#for?;
        if lasts.value.low < TIME_MIN {
            let message = format!("the phase {} is shorter than 1ms", quote(name));
            wrong(lasts.span, "phases.for", message, "write at least 1ms");
        }
        let former = self.placed.last();
        if let (Some(at), Some(overlap)) = (entry.at, entry.overlap) {
            let message = "`overlap` stands beside `at`: which of them says when?".to_owned();
            let help = "`at` counts from the start of the rules, `overlap` from the former's end";
            sink.push(
                Diagnostic::error(message)
                    .at(overlap.span)
                    .first(at.span)
                    .field("phases.overlap")
                    .help(help),
            );
            return None;
        }
        if let Some(overlap) = entry.overlap {
            match former {
                None if self.broken.is_empty() => {
                    let message = "there is no former phase to overlap".to_owned();
                    wrong(overlap.span, "phases.overlap", message, "leave `overlap` out");
                }
                Some(former) if overlap.value > former.shortest => {
                    let (name, length) = (quote(&former.phase.name), show(former.shortest));
                    let message = format!(
                        "{} is more than {name} lasts, which may be {length}",
                        show(overlap.value)
                    );
                    let help = "overlap by less, or say when it begins with `at`";
                    wrong(overlap.span, "phases.overlap", message, help);
                }
                _ => {}
            }
        }
        let key = key(name, seed ^ PHASE);
        let behind = former.map_or(Nanos::ZERO, |former| former.phase.end);
        let start = match (entry.at, entry.overlap) {
            (Some(at), _) => at.value.low + drawn(key, Part::At, 0, at.value.width()),
            (None, Some(overlap)) => behind.saturating_sub(overlap.value),
            (None, None) => behind,
        };
        let length = lasts.value.low + drawn(key, Part::Lasts, 0, lasts.value.width());
        let phase = Phase { name: name.to_owned(), start, end: start + length };
        Some(Placed { phase, shortest: lasts.value.low })
    }

    /// From when to when an entry is in force: its phase, or for ever.
    pub(super) fn of(
        &self,
        entry: &RuleEntry,
        push: &mut impl FnMut(Diagnostic),
    ) -> (Nanos, Nanos) {
        const ALWAYS: (Nanos, Nanos) = (Nanos::ZERO, Nanos::MAX);
        let Some(name) = &entry.r#in else { return ALWAYS };
        let Some(placed) = self.placed.iter().find(|it| it.phase.name == name.value) else {
            if !self.broken.contains(&name.value) {
                push(self.unknown(name.value.as_str()).at(name.span).field("in"));
            }
            return ALWAYS;
        };
        let behind = [
            ("at", entry.at.map(|at| (at.span, at.value.high))),
            ("after", entry.after.map(|after| (after.span, after.value))),
        ];
        for (field, time) in behind {
            let Some((span, most)) = time.filter(|(_, most)| *most >= placed.shortest) else {
                continue;
            };
            let (phase, length) = (quote(&placed.phase.name), show(placed.shortest));
            let message = format!(
                "{} is behind the end of {phase}, which may last {length} only",
                show(most)
            );
            let help = match field {
                "at" => "in a phase `at` counts from its start: write less, or leave `in` out",
                _ => "nothing goes on behind its phase: write less, or leave `in` out",
            };
            push(Diagnostic::error(message).at(span).field(field).help(help));
        }
        (placed.phase.start, placed.phase.end)
    }

    fn unknown(&self, name: &str) -> Diagnostic {
        let names = || self.placed.iter().map(|it| it.phase.name.as_str());
        let wrong = Diagnostic::error(format!("there is no phase {}", quote(name)));
        match nearest(name, names()) {
            Some(near) => wrong.help(format!("did you mean {}?", quote(near))),
            None if self.placed.is_empty() => {
                wrong.help("add `phases: [{ name: NAME, for: 10s }]` at the top of the file")
            }
            None => {
                wrong.help(format!("the phases are {}", names().collect::<Vec<_>>().join(", ")))
            }
        }
    }

    /// What was placed, in the order of the file.
    pub(super) fn into_vec(self) -> Vec<Phase> {
        self.placed.into_iter().map(|it| it.phase).collect()
    }
}

/// Keeps the draws of a phase apart from those of a rule of the same name.
const PHASE: u64 = 0x7068_6173_6500_0000;
