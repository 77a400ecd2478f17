//! The steps of `do`, checked against each other and given their meaning.

use super::compile::Compiled;
use super::diagnostic::{Diagnostic, Sink, quote};
use super::dist::DistTable;
use super::file::{Action as Step, At, DelayFields, Heal, Keep, ReleaseOrder, RuleEntry};
use super::impair::{Hold, Until};
use super::messages::Spoken;
use super::narrow::{PATTERNS_MAX, Pattern};
use super::scalar;
use super::table::{Action, Delay, Distribution, Rule, What};
use super::written::{ContainsFields, HoldFields, Impair, WrittenUntil};
use crate::time::Nanos;

/// Reads a table of a distribution, by the path that the rule file has.
pub(super) type Load<'l> = &'l dyn Fn(&str) -> Result<DistTable, String>;

/// The most tables of distributions in one rule file.
const TABLES_MAX: usize = 64;

/// What rules share, collected as they are compiled.
pub(super) struct Open<'l> {
    pub(super) patterns: Vec<Pattern>,
    pub(super) tables: Vec<DistTable>,
    paths: Vec<String>,
    load: Load<'l>,
}

impl<'l> Open<'l> {
    pub(super) fn new(load: Load<'l>) -> Self {
        Self { patterns: Vec::new(), tables: Vec::new(), paths: Vec::new(), load }
    }

    /// The index of a pattern.
    pub(super) fn pattern(
        &mut self,
        written: &At<ContainsFields>,
        push: &mut impl FnMut(Diagnostic),
    ) -> Option<u8> {
        let fields = &written.value;
        let pattern =
            Pattern { bytes: fields.bytes.value.clone(), at: fields.at.map(|at| at.value) };
        let known = self.patterns.iter().position(|known| *known == pattern);
        let index = known.unwrap_or(self.patterns.len());
        if index == PATTERNS_MAX {
            let wrong = format!("payloads are searched for more than {PATTERNS_MAX} things");
            let help = "leave some out, or search for what several have in common";
            push(Diagnostic::error(wrong).at(written.span).field("where.contains").help(help));
            return None;
        }
        if known.is_none() {
            self.patterns.push(pattern);
        }
        Some(index as u8)
    }

    /// The index of a table of a distribution.
    fn table(&mut self, path: &At<String>, push: &mut impl FnMut(Diagnostic)) -> Option<u16> {
        if let Some(known) = self.paths.iter().position(|known| *known == path.value) {
            return Some(known as u16);
        }
        let wrong = if self.paths.len() == TABLES_MAX {
            format!("more than {TABLES_MAX} tables of distributions")
        } else {
            match (self.load)(&path.value) {
                Ok(table) => {
                    self.tables.push(table);
                    self.paths.push(path.value.clone());
                    return Some((self.paths.len() - 1) as u16);
                }
                Err(wrong) => wrong,
            }
        };
        let help = "a table is a text of whole numbers, as netem's .dist files are; 8192 is one \
                    `jitter` later than `by`";
        push(Diagnostic::error(wrong).at(path.span).field("do.delay.table").help(help));
        None
    }
}

pub(super) fn actions(
    entry: &RuleEntry,
    open: &mut Open<'_>,
    push: &mut impl FnMut(Diagnostic),
) -> Vec<Action> {
    let mut end: Option<&At<Step>> = None;
    let mut actions = Vec::with_capacity(entry.r#do.len());
    for step in &entry.r#do {
        if let Some(end) = end {
            push(
                Diagnostic::error("this action is never reached")
                    .at(step.span)
                    .first(end.span)
                    .field("do")
                    .help(
                        "`accept`, `drop`, `reset`, `stall`, `reject` and `hold` end the rule: put \
                         them last",
                    ),
            );
            break;
        }
        let action = match &step.value {
            Step::Accept => Action::Accept,
            Step::Drop { what, .. } => Action::Drop(what.unwrap_or(What::Packets)),
            Step::Delay(fields) => Action::Delay(delay(fields, open, push)),
            Step::Reset => Action::Reset,
            Step::Stall { reset_after } => {
                Action::Stall { reset_after: reset_after.map(|at| at.value) }
            }
            Step::Impair(impair) => action(impair),
            // `processes.rs` has such rules.
            Step::Process(_) => continue,
        };
        if matches!(action, Action::Reorder(_)) && !actions.iter().any(is_delay) {
            let help = "write a list: do: [{ delay: 10ms }, { reorder: 25% }]";
            let wrong = Diagnostic::error(
                "nothing stands before it in this rule that a packet could overtake",
            );
            push(wrong.at(step.span).field("do.reorder").help(help));
        }
        if action.ends() {
            end = Some(step);
        }
        actions.push(action);
    }
    actions
}

fn is_delay(action: &Action) -> bool {
    matches!(action, Action::Delay(_) | Action::Rate(_) | Action::Slot(_))
}

fn action(impair: &Impair) -> Action {
    match impair {
        Impair::Lose(losing) => Action::Lose(*losing),
        Impair::Reorder(reorder) => Action::Reorder(*reorder),
        Impair::Duplicate(duplicate) => Action::Duplicate(*duplicate),
        Impair::Corrupt(corrupt) => Action::Corrupt(*corrupt),
        Impair::Rate(rate) => Action::Rate(*rate),
        Impair::Slot(slot) => Action::Slot(*slot),
        Impair::Reject(reject) => Action::Reject(*reject),
        Impair::Mark(mark) => Action::Mark(*mark),
        Impair::Hold(HoldFields { until, release }) => Action::Hold(Hold {
            until: match until.as_ref().map(|at| &at.value) {
                // The other rule may stand further behind: `link_holds` finds it.
                None | Some(WrittenUntil::Rule(_)) => Until::End,
                Some(WrittenUntil::Time(time)) => Until::Time(*time),
                Some(WrittenUntil::Event(event)) => Until::Event(*event),
            },
            reversed: release.is_some_and(|at| at.value == ReleaseOrder::Reversed),
        }),
    }
}

/// Finds the rules whose end is waited for, and complains of holds that hold nothing, or that
/// nothing ends.
pub(super) fn link_holds(compiled: &mut [Compiled<'_>], spoken: Spoken, sink: &mut Sink) {
    for i in 0..compiled.len() {
        let entry = compiled[i].entry;
        let held = entry.r#do.iter().find_map(|step| match &step.value {
            Step::Impair(Impair::Hold(fields)) => Some((step, fields)),
            _ => None,
        });
        let Some((step, fields)) = held else { continue };
        let name = compiled[i].rule.name.clone();
        let Some(At { value: until, span }) = &fields.until else {
            if is_endless(&compiled[i].rule) {
                let wrong = Diagnostic::warning("nothing ends this hold but the end of raftq");
                let way_out = "give the rule a `for`, or say { hold: { until: 20s } }";
                sink.push(wrong.at(step.span).rule(name.as_str()).field("do.hold").help(way_out));
            }
            continue;
        };
        let wrong = match until {
            WrittenUntil::Time(time) => too_early(*time, &compiled[i].rule),
            WrittenUntil::Event(_) => spoken.needs("an event", *span),
            WrittenUntil::Rule(other) => wait_for(compiled, i, other),
        };
        if let Some(wrong) = wrong {
            sink.push(wrong.at(*span).rule(name.as_str()).field("do.hold.until"));
        }
    }
}

fn is_endless(rule: &Rule) -> bool {
    match rule.on {
        Some(on) => on.lasts.is_none(),
        None => rule.window.lasts.is_none(),
    }
}

/// A hold that is over before its rule begins.
fn too_early(time: Nanos, rule: &Rule) -> Option<Diagnostic> {
    let early = rule.on.is_none() && time <= rule.window.at;
    early.then(|| {
        Diagnostic::error("that is over before the rule begins: it never holds anything")
            .help("`until` is a time of the rules' clock, as `at` is: write a later one")
    })
}

/// Ties a hold to the end of another rule.
fn wait_for(compiled: &mut [Compiled<'_>], i: usize, other: &str) -> Option<Diagnostic> {
    let found = compiled.iter().position(|c| c.rule.name == other);
    if found == Some(i) {
        let wrong = Diagnostic::error("its own end ends it in any case");
        return Some(wrong.help("leave `until` out"));
    }
    let Some(found) = found else {
        let names = compiled.iter().map(|c| c.rule.name.as_str());
        let near = super::diagnostic::nearest(other, names);
        let help = near.map_or("name a rule about packets of this file".to_owned(), |near| {
            format!("did you mean {}?", quote(near))
        });
        return Some(Diagnostic::error(format!("no rule is called {}", quote(other))).help(help));
    };
    let actions = compiled[i].rule.actions.iter_mut();
    let hold = actions.into_iter().find_map(|action| match action {
        Action::Hold(hold) => Some(hold),
        _ => None,
    });
    hold?.until = Until::Rule(found as u16);
    None
}

pub(super) fn keeps_held(step: &Step) -> bool {
    matches!(step, Step::Drop { keep: Some(Keep::Held), .. })
}

pub(super) fn heals_by_reset(step: &Step) -> bool {
    matches!(step, Step::Drop { heal: Some(Heal::Reset), .. })
}

fn delay(fields: &DelayFields, open: &mut Open<'_>, push: &mut impl FnMut(Diagnostic)) -> Delay {
    let jitter = fields.jitter.map_or(Nanos::ZERO, |jitter| jitter.value);
    if let Some(written) = fields.jitter.filter(|jitter| jitter.value > fields.by.value) {
        let shown = [jitter, fields.by.value].map(scalar::show);
        let message = format!("a jitter of {} is larger than the delay of {}", shown[0], shown[1]);
        push(
            Diagnostic::error(message)
                .at(written.span)
                .field("do.delay.jitter")
                .help("a packet cannot leave before it came: write at most `by`"),
        );
    }
    if fields.by.value == Nanos::ZERO {
        push(
            Diagnostic::error("a delay of 0s does nothing")
                .at(fields.by.span)
                .field("do.delay.by")
                .help("write how long packets are held, such as 20ms"),
        );
    }
    let shape = fields.table.as_ref().map(|at| (at.span, "table"));
    let shape = shape.or(fields.correlation.map(|at| (at.span, "correlation")));
    if let (Some((span, key)), Nanos::ZERO) = (shape, jitter) {
        let wrong = Diagnostic::error(format!("`{key}` shapes a jitter, and there is none"));
        push(wrong.at(span).field(format!("do.delay.{key}")).help("write `jitter`, such as 5ms"));
    }
    let table = fields.table.as_ref().and_then(|path| open.table(path, push));
    let word = fields.distribution.map_or(Distribution::Uniform, |at| at.value);
    Delay {
        by: fields.by.value,
        jitter,
        distribution: table
            .map_or(word, |index| open.tables[usize::from(index)].distribution(index)),
        order: fields.order.map(|order| order.value).unwrap_or_default(),
        correlation: fields.correlation.map_or(0, |at| at.value.0),
    }
}
